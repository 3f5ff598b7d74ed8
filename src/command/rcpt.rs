//! RCPT and its parameters.
//!
//! Layer 1. Borrowed from the line; parsing takes no memory.
//!
//! ```
//! use smtp_checkpoint::command::{Command, Notify, NotifyOn};
//!
//! let line = b"RCPT TO:<a@b.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bx@b.example";
//! let Command::Rcpt(rcpt) = Command::parse(line)? else { unreachable!() };
//! assert_eq!(rcpt.notify, Some(Notify::On(NotifyOn::FAILURE | NotifyOn::DELAY)));
//! assert!(rcpt.orcpt.unwrap().address.decoded().eq(*b"a+x@b.example"));
//! # Ok::<(), smtp_checkpoint::command::CommandError>(())
//! ```

use alloc::vec::Vec;
use core::ops::BitOr;

use super::error::CommandError;
use super::mail::set;
use super::params::{self, Parameter, UnknownParameters, ends};
use super::path::{ForwardPath, scan_forward_path, scan_usual};
use super::xtext::XText;
use crate::class::{ADDR_TYPE, each, eight, first_below, run, split_run};
use crate::word::{CASELESS, Word, caseless};

/// Events that a DSN is wanted for; one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotifyOn(u8);

impl NotifyOn {
    /// Delivery.
    pub const SUCCESS: Self = Self(1);
    /// Failure.
    pub const FAILURE: Self = Self(2);
    /// Delay.
    pub const DELAY: Self = Self(4);

    const fn parse(name: &[u8]) -> Option<Self> {
        const SUCCESS: Word = Word::new(b"SUCCESS");
        const FAILURE: Word = Word::new(b"FAILURE");
        const DELAY: Word = Word::new(b"DELAY");
        Some(match Word::new(name) {
            SUCCESS => Self::SUCCESS,
            FAILURE => Self::FAILURE,
            DELAY => Self::DELAY,
            _ => return None,
        })
    }

    const NAMES: [(Self, &'static [u8]); 3] = [
        (Self::SUCCESS, b"SUCCESS"),
        (Self::FAILURE, b"FAILURE"),
        (Self::DELAY, b"DELAY"),
    ];

    /// Whether all of `events` are wanted.
    #[must_use]
    pub const fn contains(self, events: Self) -> bool {
        self.0 & events.0 == events.0
    }
}

impl BitOr for NotifyOn {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `NOTIFY=` (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notify {
    /// `NEVER`, which stands alone.
    Never,
    /// A list of events.
    On(NotifyOn),
}

impl Notify {
    fn parse(value: &[u8]) -> Option<Self> {
        if value.eq_ignore_ascii_case(b"NEVER") {
            return Some(Self::Never);
        }
        let mut events = NotifyOn(0);
        for item in value.split(|octet| *octet == b',') {
            events = events | NotifyOn::parse(item)?;
        }
        Some(Self::On(events))
    }

    /// The value at the start of `octets`, up to white space or the end, and what follows it.
    #[inline(always)]
    fn leading(octets: &[u8]) -> Option<(Self, &[u8])> {
        const NEVER: u64 = caseless(b"NEVER");
        const SUCCESS: u64 = caseless(b"SUCCESS");
        const FAILURE: u64 = caseless(b"FAILURE");
        const DELAY: u64 = caseless(b"DELAY");
        let (mut rest, mut events) = (octets, NotifyOn(0));
        loop {
            let number = eight(rest);
            // No name has eight letters.
            let end = first_below(number, b' ' + 1) | first_below(number ^ each(b','), 1);
            let before = (end & end.wrapping_neg()) >> 7;
            events = match number & before.checked_sub(1)? & CASELESS {
                SUCCESS => events | NotifyOn::SUCCESS,
                FAILURE => events | NotifyOn::FAILURE,
                DELAY => events | NotifyOn::DELAY,
                NEVER => {
                    let behind = octets.get(b"NEVER".len()..)?;
                    return (events.0 == 0 && ends(behind)).then_some((Self::Never, behind));
                }
                _ => return None,
            };
            rest = rest.get(end.trailing_zeros() as usize / 8..)?;
            match rest.split_first() {
                Some((b',', next)) => rest = next,
                _ => return ends(rest).then_some((Self::On(events), rest)),
            }
        }
    }

    pub(super) fn write_to(self, line: &mut Vec<u8>) {
        match self {
            Self::Never => line.extend_from_slice(b"NEVER"),
            Self::On(events) => {
                let wanted = NotifyOn::NAMES
                    .into_iter()
                    .filter(|(event, _)| events.contains(*event));
                for (at, (_, name)) in wanted.enumerate() {
                    if at > 0 {
                        line.push(b',');
                    }
                    line.extend_from_slice(name);
                }
            }
        }
    }
}

/// `ORCPT=` (RFC 3461 §4.2): the recipient that the sender named first.
///
/// `==` compares the address type without regard to case, the address decoded.
#[derive(Debug, Clone, Copy)]
pub struct Orcpt<'a> {
    /// The address type as it came: an atom, `rfc822` mostly.
    pub addr_type: &'a [u8],
    /// The address. For the type `utf-8` it may hold UTF-8 as such; the `\x{..}` of RFC 6533 §3
    /// are not decoded.
    pub address: XText<'a>,
}

impl<'a> Orcpt<'a> {
    /// The value at the start of `octets`, up to white space or the end, and what follows it, if it
    /// is of the type `rfc822`.
    #[inline(always)]
    fn leading(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (addr_type, rest) = octets.split_at_checked(b"rfc822".len())?;
        if !addr_type.eq_ignore_ascii_case(b"rfc822") {
            return None;
        }
        let (address, behind) = XText::leading(rest.strip_prefix(b";")?)?;
        ends(behind).then_some((Self { addr_type, address }, behind))
    }

    fn parse(value: &'a [u8]) -> Option<Self> {
        let (addr_type, address) = split_run(ADDR_TYPE, value);
        let address = address.strip_prefix(b";")?;
        if addr_type.is_empty() || address.is_empty() {
            return None;
        }
        let address = if addr_type.eq_ignore_ascii_case(b"utf-8") {
            XText::parse_utf8(address)?
        } else {
            XText::parse(address)?
        };
        // It goes into the header of a DSN some day.
        address
            .is_free_of_controls()
            .then_some(Self { addr_type, address })
    }

    /// Whether the address holds UTF-8 as such, which is for transactions with SMTPUTF8 only
    /// (RFC 6533 §3).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.address.as_bytes().is_ascii()
    }
}

pub(super) fn is_addr_type(addr_type: &[u8]) -> bool {
    !addr_type.is_empty() && run(ADDR_TYPE, addr_type) == addr_type.len()
}

impl PartialEq for Orcpt<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.addr_type.eq_ignore_ascii_case(other.addr_type) && self.address == other.address
    }
}

impl Eq for Orcpt<'_> {}

/// A RCPT command (RFC 5321 §4.1.1.3).
#[derive(Debug, Clone, Copy)]
pub struct Rcpt<'a> {
    /// The forward-path.
    pub forward_path: ForwardPath<'a>,
    /// Whether the path had its angle brackets. RFC 5321 wants them, not every client writes them.
    pub bracketed: bool,
    /// `NOTIFY=`.
    pub notify: Option<Notify>,
    /// `ORCPT=`.
    pub orcpt: Option<Orcpt<'a>>,
    parameters: &'a [u8],
}

const KNOWN: &[&[u8]] = &[b"NOTIFY", b"ORCPT"];

impl<'a> Rcpt<'a> {
    /// A RCPT for the postmaster and nothing else.
    pub(crate) const POSTMASTER: Rcpt<'static> = Rcpt {
        forward_path: ForwardPath::Postmaster,
        bracketed: true,
        notify: None,
        orcpt: None,
        parameters: &[],
    };

    /// Reads what stands behind `TO:` and its white space.
    #[inline(always)]
    pub(super) fn parse(argument: &'a [u8]) -> Result<Self, CommandError> {
        let scanned = match scan_usual(argument) {
            Some(scanned) => scanned,
            None => scan_forward_path(argument).map_err(CommandError::ForwardPath)?,
        };
        let mut rcpt = Rcpt {
            forward_path: scanned.path,
            bracketed: scanned.bracketed,
            parameters: scanned.rest,
            ..Rcpt::POSTMASTER
        };
        let mut rest = scanned.rest;
        let mut unknown = 0;
        loop {
            if let Some(behind) = rcpt.take_usual(rest) {
                rest = behind;
                continue;
            }
            let Some(parameter) = params::next(&mut rest)? else {
                break;
            };
            if !rcpt.take(parameter)? {
                params::check_unknown(parameter, rcpt.parameters, rest, unknown)?;
                unknown += 1;
            }
        }
        Ok(rcpt)
    }

    /// Takes a parameter off `rest` that is as usual: one with nothing wrong, nothing rare and not
    /// there before. All others are for [`take`](Self::take).
    #[inline(always)]
    fn take_usual(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        const NOTIFY: u64 = caseless(b"NOTIFY=");
        const ORCPT: u64 = caseless(b"ORCPT=");
        let (keyword, value) = params::usual(rest)?;
        match keyword {
            NOTIFY if self.notify.is_none() => {
                let (notify, behind) = Notify::leading(value)?;
                self.notify = Some(notify);
                Some(behind)
            }
            ORCPT if self.orcpt.is_none() => {
                let (orcpt, behind) = Orcpt::leading(value)?;
                self.orcpt = Some(orcpt);
                Some(behind)
            }
            _ => None,
        }
    }

    /// Takes a known parameter; `false` where it is not one.
    #[inline(always)]
    fn take(&mut self, parameter: Parameter<'a>) -> Result<bool, CommandError> {
        use CommandError as E;
        const NOTIFY: Word = Word::new(b"NOTIFY");
        const ORCPT: Word = Word::new(b"ORCPT");
        match parameter.word() {
            NOTIFY => {
                let notify = Notify::parse(parameter.required(E::Notify)?).ok_or(E::Notify)?;
                set(&mut self.notify, notify)?;
            }
            ORCPT => {
                let orcpt = Orcpt::parse(parameter.required(E::Orcpt)?).ok_or(E::Orcpt)?;
                set(&mut self.orcpt, orcpt)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The parameters that this crate does not know, in order, octet for octet. Unless its own
    /// configuration knows them, a server answers 555 5.5.4 (RFC 5321 §4.1.1.11).
    #[must_use]
    pub fn unknown_parameters(&self) -> UnknownParameters<'a> {
        UnknownParameters::new(self.parameters, KNOWN)
    }

    /// Whether there is any parameter at all. After HELO nothing is offered that has one.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        !self.parameters.is_empty()
    }

    pub(super) fn knows(keyword: &[u8]) -> bool {
        KNOWN
            .iter()
            .any(|known| keyword.eq_ignore_ascii_case(known))
    }

    /// Whether `other` repeats this recipient in a restart.
    ///
    /// Compared: the path (its domain without regard to case), NOTIFY (none is not the same as
    /// FAILURE), ORCPT. Nothing else.
    #[must_use]
    pub fn same_recipient(&self, other: &Rcpt<'_>) -> bool {
        self.forward_path.same_forward_path(&other.forward_path)
            && self.notify == other.notify
            && self.orcpt == other.orcpt
    }

    /// The parameters as they came, for rewriting the line.
    pub(super) const fn raw_parameters(&self) -> &'a [u8] {
        self.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn rcpt(argument: &str) -> Result<Rcpt<'_>, CommandError> {
        Rcpt::parse(argument.as_bytes())
    }

    #[test]
    fn notify() {
        let notify = |value: &str| rcpt(&format!("<a@b> NOTIFY={value}")).map(|rcpt| rcpt.notify);
        let on = |events| Ok(Some(Notify::On(events)));
        assert_eq!(notify("never"), Ok(Some(Notify::Never)));
        assert_eq!(notify("Delay"), on(NotifyOn::DELAY));
        assert_eq!(
            notify("FAILURE,SUCCESS"),
            on(NotifyOn::SUCCESS | NotifyOn::FAILURE)
        );
        for bad in ["NEVER,DELAY", "DELAY,NEVER", "DELAY,", ",DELAY", "ALWAYS"] {
            assert_eq!(notify(bad), Err(CommandError::Notify), "{bad}");
        }
    }

    #[test]
    fn orcpt() {
        let orcpt = |value: &str| rcpt(&format!("<a@b> ORCPT={value}")).map(|_| ());
        for good in [
            "rfc822;a@b",
            "x400;c+3Dus",
            "utf-8;\\x{fc}@b",
            "UTF-8;ü@b",
            "rfc822;;",
        ] {
            assert_eq!(orcpt(good), Ok(()), "{good}");
        }
        for bad in [
            "a@b",
            ";a@b",
            "rfc822;",
            "rfc822;ü@b",
            "rfc822;a+0D+0Ab",
            "rf(;a",
            "rfc822;a=b",
        ] {
            assert_eq!(orcpt(bad), Err(CommandError::Orcpt), "{bad}");
        }
    }

    #[test]
    fn repeated_recipients() {
        let stored = "<a@B> NOTIFY=DELAY,FAILURE ORCPT=rfc822;a";
        let same = |other| rcpt(stored).unwrap().same_recipient(&rcpt(other).unwrap());
        assert!(same("a@b ORCPT=RFC822;+61 NOTIFY=FAILURE,DELAY X=1"));
        assert!(!same("<A@b> NOTIFY=DELAY,FAILURE ORCPT=rfc822;a"));
        assert!(!same("<a@b> NOTIFY=DELAY ORCPT=rfc822;a"));
        assert!(!same("<a@b> NOTIFY=DELAY,FAILURE ORCPT=rfc822;A"));
        assert!(!same("<a@b> NOTIFY=DELAY,FAILURE"));
        assert!(!same("<Postmaster> NOTIFY=DELAY,FAILURE ORCPT=rfc822;a"));
    }

    #[test]
    fn duplicates_and_unknown() {
        let twice = rcpt("<a@b> NOTIFY=NEVER notify=NEVER").unwrap_err();
        assert_eq!(twice, CommandError::DuplicateParameter);
        let sized = rcpt("<a@b> SIZE=1").unwrap();
        assert!(sized.unknown_parameters().next().unwrap().is(b"size"));
    }
}
