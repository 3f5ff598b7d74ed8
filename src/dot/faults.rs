//! What may be wrong with content: bare CR, bare LF, NUL; and who minds.
//!
//! Layer 2. [`Faults`] is plain data that goes into a record: what was found before the cut of a
//! restart still counts after it (RFC 1845 §4 says nothing of it; the rule is this crate's).
//!
//! ```
//! use smtp_checkpoint::dot::{ContentChecker, FaultKind, FaultPolicy};
//!
//! let mut checker = ContentChecker::new();
//! checker.check(b"one\ntwo\r\n");
//! let faults = checker.finish();
//! let fault = faults.refused_by(FaultPolicy::KEEP_NUL).unwrap();
//! assert_eq!((fault.kind, fault.at.get()), (FaultKind::BareLf, 3));
//! ```

use super::LF;
use crate::offset::OctetOffset;

/// One kind of fault in content. RFC 5321 §2.3.8 lets CR and LF appear only together; RFC 5321
/// §4.5.2 and RFC 5322 §4.1 take NUL out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// CR that no LF follows.
    BareCr,
    /// LF that no CR precedes.
    BareLf,
    /// The octet 0.
    Nul,
}

/// One fault and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What it is.
    pub kind: FaultKind,
    /// The canonical offset of the octet at fault.
    pub at: OctetOffset,
}

/// What was found wrong in content so far: of each kind, the canonical offset of the first one.
///
/// ```
/// use smtp_checkpoint::dot::{FaultKind, Faults};
///
/// let mut faults = Faults::default();
/// assert!(faults.is_empty());
/// faults.record(FaultKind::Nul, 12.into());
/// faults.record(FaultKind::Nul, 7.into());
/// faults.record(FaultKind::BareCr, 20.into());
/// assert_eq!(faults.nul, Some(7.into()));
/// assert_eq!(faults.before(20.into()).bare_cr, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The first CR without LF.
    pub bare_cr: Option<OctetOffset>,
    /// The first LF without CR.
    pub bare_lf: Option<OctetOffset>,
    /// The first octet 0.
    pub nul: Option<OctetOffset>,
}

impl Faults {
    /// Whether nothing was found.
    pub const fn is_empty(&self) -> bool {
        self.bare_cr.is_none() && self.bare_lf.is_none() && self.nul.is_none()
    }

    /// Where the first fault of this kind is.
    pub const fn get(&self, kind: FaultKind) -> Option<OctetOffset> {
        match kind {
            FaultKind::BareCr => self.bare_cr,
            FaultKind::BareLf => self.bare_lf,
            FaultKind::Nul => self.nul,
        }
    }

    /// Takes note of a fault. Of each kind the one with the lowest offset stays.
    pub fn record(&mut self, kind: FaultKind, at: OctetOffset) {
        let slot = match kind {
            FaultKind::BareCr => &mut self.bare_cr,
            FaultKind::BareLf => &mut self.bare_lf,
            FaultKind::Nul => &mut self.nul,
        };
        *slot = Some(slot.map_or(at, |known| known.min(at)));
    }

    /// Takes note of what is wrong with the octet at `at`, and with a CR before it.
    #[inline(never)]
    pub(super) fn note(&mut self, after_cr: bool, octet: u8, at: u64) {
        if after_cr && octet != LF {
            self.record(FaultKind::BareCr, at.saturating_sub(1).into());
        }
        if !after_cr && octet == LF {
            self.record(FaultKind::BareLf, at.into());
        }
        if octet == 0 {
            self.record(FaultKind::Nul, at.into());
        }
    }

    /// What is in either: the faults of a record and those of the session that went on with it.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for fault in other.iter() {
            self.record(fault.kind, fault.at);
        }
        self
    }

    /// What remains when the content is cut to its first `cut` octets.
    ///
    /// Nothing gets lost by keeping only first ones: if the first of a kind is not below the cut,
    /// none is.
    #[must_use]
    pub fn before(self, cut: OctetOffset) -> Self {
        let below = |at: Option<OctetOffset>| at.filter(|at| *at < cut);
        Self {
            bare_cr: below(self.bare_cr),
            bare_lf: below(self.bare_lf),
            nul: below(self.nul),
        }
    }

    /// The fault with the lowest offset.
    pub fn first(&self) -> Option<Fault> {
        self.iter().min_by_key(|fault| fault.at)
    }

    /// The fault with the lowest offset among those that the policy refuses.
    pub fn refused_by(&self, policy: FaultPolicy) -> Option<Fault> {
        self.iter()
            .filter(|fault| policy.get(fault.kind) == Octets::Refuse)
            .min_by_key(|fault| fault.at)
    }

    /// The first fault of each kind that was found.
    pub fn iter(&self) -> impl Iterator<Item = Fault> + use<> {
        let faults = *self;
        [FaultKind::BareCr, FaultKind::BareLf, FaultKind::Nul]
            .into_iter()
            .filter_map(move |kind| faults.get(kind).map(|at| Fault { kind, at }))
    }
}

/// What becomes of content with a fault. It is never mended: that would move every offset after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Octets {
    /// The message is refused.
    Refuse,
    /// The octets are data like any other.
    Keep,
}

/// What becomes of content with faults, kind by kind.
///
/// ```
/// use smtp_checkpoint::dot::{FaultPolicy, Octets};
///
/// let policy = FaultPolicy { bare_lf: Octets::Keep, ..FaultPolicy::KEEP_NUL };
/// assert_eq!(policy.bare_cr, Octets::Refuse);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultPolicy {
    /// CR without LF.
    pub bare_cr: Octets,
    /// LF without CR.
    pub bare_lf: Octets,
    /// The octet 0.
    pub nul: Octets,
}

impl FaultPolicy {
    /// Every fault is refused: what a client should send by.
    pub const REFUSE_ALL: Self = Self {
        bare_cr: Octets::Refuse,
        bare_lf: Octets::Refuse,
        nul: Octets::Refuse,
    };
    /// Bare CR and bare LF are refused, NUL is kept: what a server should receive by.
    pub const KEEP_NUL: Self = Self {
        nul: Octets::Keep,
        ..Self::REFUSE_ALL
    };
    /// Nothing is refused.
    pub const KEEP_ALL: Self = Self {
        bare_cr: Octets::Keep,
        bare_lf: Octets::Keep,
        nul: Octets::Keep,
    };

    /// What becomes of content with a fault of this kind.
    pub const fn get(&self, kind: FaultKind) -> Octets {
        match kind {
            FaultKind::BareCr => self.bare_cr,
            FaultKind::BareLf => self.bare_lf,
            FaultKind::Nul => self.nul,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(cr: Option<u64>, lf: Option<u64>, nul: Option<u64>) -> Faults {
        Faults {
            bare_cr: cr.map(OctetOffset::from),
            bare_lf: lf.map(OctetOffset::from),
            nul: nul.map(OctetOffset::from),
        }
    }

    #[test]
    fn merging_keeps_the_lowest_of_each_kind() {
        let merged = faults(Some(5), None, Some(9)).merge(faults(Some(7), Some(1), Some(2)));
        assert_eq!(merged, faults(Some(5), Some(1), Some(2)));
        assert_eq!(
            merged.first().map(|fault| fault.kind),
            Some(FaultKind::BareLf)
        );
    }

    #[test]
    fn a_cut_drops_what_is_at_or_after_it() {
        let all = faults(Some(5), Some(1), Some(9));
        assert_eq!(all.before(5.into()), faults(None, Some(1), None));
        assert_eq!(all.before(6.into()), faults(Some(5), Some(1), None));
        assert!(all.before(0.into()).is_empty());
        for one in 0..3 {
            let at = |kind| (kind == one).then_some(3);
            assert!(!faults(at(0), at(1), at(2)).is_empty(), "{one}");
        }
    }

    #[test]
    fn a_policy_passes_over_what_it_keeps() {
        let nul_first = faults(Some(5), None, Some(1));
        let refused = |policy| nul_first.refused_by(policy).map(|fault| fault.kind);
        assert_eq!(refused(FaultPolicy::REFUSE_ALL), Some(FaultKind::Nul));
        assert_eq!(refused(FaultPolicy::KEEP_NUL), Some(FaultKind::BareCr));
        assert_eq!(refused(FaultPolicy::KEEP_ALL), None);
    }
}
