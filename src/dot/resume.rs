//! Where an encoder may go on after a 355, and where not.
//!
//! Layer 2.
//!
//! ```
//! use smtp_checkpoint::dot::DotEncoder;
//!
//! // The server has "one\r\n"; what is left begins with a dot.
//! let mut encoder = DotEncoder::resume(5.into(), b"\r\n", Some(b'.'))?;
//! assert!(encoder.at_line_start());
//! # Ok::<(), smtp_checkpoint::dot::ResumeError>(())
//! ```

use thiserror::Error;

use super::encode::{DotEncoder, State};
use super::{CR, LF};
use crate::offset::OctetOffset;

/// Why a restart at an offset would corrupt the message, or cannot be told not to (CP-33).
///
/// The server's decoder begins at the start of a line (RFC 1845 §4). It reads what follows
/// differently from one that has the octets before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResumeError {
    /// The offset is between CR and LF.
    #[error("the offset is inside CRLF")]
    InsideCrlf,
    /// The offset is within a line and before a dot, which the server would remove.
    #[error("the offset is within a line and before a dot")]
    MidLineDot,
    /// Fewer octets before the offset were given than it takes to tell: two, or one for offset 1.
    #[error("too few octets before the offset were given")]
    LookbehindTooShort,
}

impl DotEncoder {
    /// An encoder for the content from `offset` on, after a 355 with it.
    ///
    /// `lookbehind` ends with the canonical octets right before the offset: two, or as many as
    /// there are. `next` is the canonical octet at the offset, `None` at the end. Where the offset
    /// is within or after the CRLF that was added to an unfinished last line, that CRLF is part of
    /// the canonical octets.
    ///
    /// # Errors
    ///
    /// [`ResumeError`], if the server would not store what a fresh transaction stores (CP-33). An
    /// offset beyond the message is the caller's to refuse: it knows the size.
    ///
    /// ```
    /// use smtp_checkpoint::dot::{DotEncoder, ResumeError};
    ///
    /// let message = b"Subject: x\r\n\r\nend.\r\n";
    /// let resume = |at: usize| {
    ///     let before = &message[at.saturating_sub(2)..at];
    ///     DotEncoder::resume((at as u64).into(), before, message.get(at).copied())
    /// };
    /// assert!(resume(14).is_ok());
    /// assert!(resume(16).is_ok());
    /// assert_eq!(resume(13).err(), Some(ResumeError::InsideCrlf));
    /// assert_eq!(resume(17).err(), Some(ResumeError::MidLineDot));
    /// ```
    pub fn resume(
        offset: OctetOffset,
        lookbehind: &[u8],
        next: Option<u8>,
    ) -> Result<Self, ResumeError> {
        let state = match (offset.get(), lookbehind) {
            (0, _) | (_, [.., CR, LF]) => State::LineStart,
            // At the end of the message a CR is either bare, which no fresh transaction of a
            // strict client sends, or the first half of the CRLF that it added.
            (_, [.., CR]) if matches!(next, None | Some(LF)) => {
                return Err(ResumeError::InsideCrlf);
            }
            (_, []) | (2.., [_]) => return Err(ResumeError::LookbehindTooShort),
            _ if next == Some(b'.') => return Err(ResumeError::MidLineDot),
            _ => State::Text,
        };
        Ok(Self {
            state,
            offset: offset.get(),
            ..Self::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FaultPolicy, naive};
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_is_resumed_is_stored_as_if_it_had_not_been() {
        let mut stored = (0, 0);
        naive::all_strings(5, |content| {
            // Canonical octets: with the CRLF that is added.
            let mut canonical = content.to_vec();
            canonical.resize(naive::canonical_size(content) as usize, 0);
            if canonical.len() > content.len() {
                canonical.truncate(content.len());
                canonical.extend(b"\r\n");
            }
            for at in 0..=canonical.len() {
                let (before, after) = canonical.split_at(at);
                let near = &before[before.len().saturating_sub(2)..];
                let inside = before.ends_with(b"\r") && after.starts_with(b"\n");
                let line_start = at == 0 || before.ends_with(b"\r\n");
                let dot = !line_start && after.starts_with(b".");
                let encoder = DotEncoder::resume((at as u64).into(), near, after.first().copied());
                match encoder {
                    Err(error) => {
                        assert_eq!(error == ResumeError::InsideCrlf, inside, "{content:?} {at}");
                        assert_eq!(error == ResumeError::MidLineDot, dot, "{content:?} {at}");
                        stored.0 += 1;
                    }
                    Ok(encoder) => {
                        assert!(!inside && !dot);
                        assert_eq!(encoder.at_line_start(), line_start, "{content:?} {at}");
                        let mut encoder = encoder.with_policy(FaultPolicy::KEEP_ALL);
                        let mut wire = Vec::new();
                        encoder
                            .encode_with(&mut &*after, |octets| wire.extend(octets))
                            .unwrap();
                        wire.extend(encoder.finish().unwrap());
                        let mut whole = before.to_vec();
                        whole.extend(naive::decode(&wire).content);
                        // At the very end, within a line, the CRLF is yet to come.
                        assert!(whole.starts_with(&canonical), "{content:?} {at}");
                        assert_eq!(whole.len() as u64, encoder.offset().get());
                        stored.1 += 1;
                    }
                }
            }
        });
        assert!(stored.0 > 1000 && stored.1 > 1000);
    }

    #[test]
    fn a_resume_without_what_came_before_is_refused() {
        let resume = |at: u64, before: &[u8]| DotEncoder::resume(at.into(), before, None).err();
        assert_eq!(resume(0, b""), None);
        assert_eq!(resume(1, b""), Some(ResumeError::LookbehindTooShort));
        assert_eq!(resume(1, b"a"), None);
        assert_eq!(resume(2, b"a"), Some(ResumeError::LookbehindTooShort));
        assert_eq!(resume(2, b"\n"), Some(ResumeError::LookbehindTooShort));
        assert_eq!(resume(9, b"\r"), Some(ResumeError::InsideCrlf));
    }
}
