//! Content that needs no decoding: chunks of BDAT checked, and the size of a message computed.
//!
//! Layer 2.
//!
//! ```
//! use smtp_checkpoint::dot::canonical_size;
//!
//! assert_eq!(canonical_size(b"one\r\ntwo\r\n"), 10);
//! assert_eq!(canonical_size(b"one\r\ntwo"), 10);
//! ```

use core::ops::ControlFlow;

use super::faults::{FaultKind, Faults};
use super::scan::{Job, Kernel, dispatch, scan};
use super::{CR, LF};
use crate::offset::OctetOffset;

/// Finds faults in the content of BDAT (RFC 3030 §2), where no dot is special.
///
/// Chunk boundaries mean nothing: CR at the end of one and LF at the start of the next are a line
/// end. With BODY=BINARYMIME all octets are content (RFC 3030 §3), and nothing needs checking.
///
/// ```
/// use smtp_checkpoint::dot::ContentChecker;
///
/// let mut checker = ContentChecker::new();
/// checker.check(b"one\r");
/// checker.check(b"\n\0");
/// assert_eq!(checker.offset().get(), 6);
/// assert_eq!(checker.faults().nul, Some(5.into()));
/// assert_eq!(checker.finish().bare_cr, None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ContentChecker {
    offset: u64,
    after_cr: bool,
    faults: Faults,
}

impl ContentChecker {
    /// A checker for a whole message.
    pub fn new() -> Self {
        Self::default()
    }

    /// A checker for what follows after a restart at this offset. `previous` is the octet before
    /// it, the last one stored (`None` at 0): a chunk may have been cut between CR and LF.
    pub fn starting_at(offset: OctetOffset, previous: Option<u8>) -> Self {
        Self {
            offset: offset.get(),
            after_cr: previous == Some(CR),
            faults: Faults::default(),
        }
    }

    /// Takes the next octets of the content.
    pub fn check(&mut self, octets: &[u8]) {
        let (Some(&first), Some(&last)) = (octets.first(), octets.last()) else {
            return;
        };
        let (start, mut faults) = (self.offset, self.faults);
        faults.note(self.after_cr, first, start);
        let run = Run {
            octets,
            start,
            faults,
        };
        self.faults = dispatch(run, octets.len());
        self.after_cr = last == CR;
        self.offset = start.saturating_add(octets.len() as u64);
    }

    /// Octets of content so far, those before a restart included.
    pub fn offset(&self) -> OctetOffset {
        self.offset.into()
    }

    /// What was found wrong so far. A CR that is the last octet so far is no fault yet.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// [`faults`](Self::faults) at offsets below `cut`: those that belong to a record whose
    /// content is cut there.
    pub fn faults_before(&self, cut: OctetOffset) -> Faults {
        self.faults.before(cut)
    }

    /// What was found wrong in the whole content, now that LAST has come: a CR at its end is bare.
    pub fn finish(&self) -> Faults {
        let mut faults = self.faults;
        if self.after_cr {
            faults.record(FaultKind::BareCr, self.offset.saturating_sub(1).into());
        }
        faults
    }
}

/// Checking with the kernel that the machine has.
struct Run<'o> {
    octets: &'o [u8],
    start: u64,
    faults: Faults,
}

impl Job for Run<'_> {
    type Output = Faults;

    #[inline(always)]
    fn run<K: Kernel>(mut self, kernel: K) -> Faults {
        let _ = scan::<K, false, ()>(kernel, self.octets, false, |mut events| {
            while let Some(at) = events.next() {
                if let Some([before, octet]) = self.octets.get(at.wrapping_sub(1)..at + 1) {
                    let offset = self.start.saturating_add(at as u64);
                    self.faults.note(*before == CR, *octet, offset);
                }
            }
            ControlFlow::Continue(())
        });
        self.faults
    }
}

/// Counts the octets of a message as DATA transfers it: with the CRLF that ends its last line,
/// also where the sender has to add it (RFC 1845 §4, RFC 1870 §5).
///
/// ```
/// use smtp_checkpoint::dot::CanonicalLength;
///
/// let mut length = CanonicalLength::new();
/// length.update(b"one\r");
/// length.update(b"\ntwo");
/// assert_eq!(length.get(), 10);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CanonicalLength {
    octets: u64,
    last: [u8; 2],
}

impl CanonicalLength {
    /// The count for an empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the next octets of the content, whose line ends are CRLF.
    pub fn update(&mut self, content: &[u8]) {
        self.octets = self.octets.saturating_add(content.len() as u64);
        match content {
            [] => {}
            [last] => self.last = [self.last[1], *last],
            [.., before, last] => self.last = [*before, *last],
        }
    }

    /// The size if the message ends here, in octets.
    pub fn get(&self) -> u64 {
        if self.octets == 0 || self.last == [CR, LF] {
            self.octets
        } else {
            self.octets.saturating_add(2)
        }
    }
}

/// The size of a message as DATA transfers it, in octets: [`CanonicalLength`] at once.
pub fn canonical_size(content: &[u8]) -> u64 {
    let mut length = CanonicalLength::new();
    length.update(content);
    length.get()
}

#[cfg(test)]
mod tests {
    use super::super::naive;
    use super::*;

    #[test]
    fn every_string_in_every_two_pieces() {
        naive::all_strings(6, |octets| {
            let whole = naive::faults_of(octets, true);
            let size = naive::canonical_size(octets);
            assert_eq!(canonical_size(octets), size, "{octets:?}");
            for cut in 0..=octets.len() {
                let (first, second) = octets.split_at(cut);
                let mut checker = ContentChecker::new();
                checker.check(first);
                assert_eq!(checker.faults(), naive::faults_of(first, false));
                checker.check(second);
                assert_eq!(checker.faults(), naive::faults_of(octets, false));
                assert_eq!(checker.finish(), whole, "{octets:?} cut at {cut}");
                assert_eq!(checker.offset().get(), octets.len() as u64);

                // A restart finds what the first session had not found below the cut.
                let mut start = ContentChecker::new();
                start.check(first);
                let at = start.offset();
                let mut rest = ContentChecker::starting_at(at, first.last().copied());
                rest.check(second);
                assert_eq!(start.faults_before(at).merge(rest.finish()), whole);

                let mut length = CanonicalLength::new();
                length.update(first);
                length.update(second);
                assert_eq!(length.get(), size, "{octets:?} cut at {cut}");
            }
        });
    }
}
