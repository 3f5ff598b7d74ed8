//! A reply in a slice, read without an allocation.
//!
//! Layer 1. For callers that have the whole reply in one buffer, such as an engine of their own
//! that only asks what a 355 says.
//!
//! ```
//! use smtp_checkpoint::offset::OctetOffset;
//! use smtp_checkpoint::reply::{ParsedReply, ReplyRef};
//!
//! let input = b"355 6135 is the transaction offset\r\n250 next";
//! let ParsedReply::Complete { reply, consumed } = ReplyRef::parse(input) else {
//!     panic!("the reply is complete");
//! };
//! assert_eq!(consumed, 36);
//! assert_eq!(OctetOffset::from_reply_text(reply.first_line())?.get(), 6135);
//! # Ok::<(), smtp_checkpoint::offset::OffsetError>(())
//! ```

use alloc::vec::Vec;

use memchr::memchr;

use super::read::{Position, parse_line};
use super::{Reply, ReplyCode, ReplyError, Severity};
use crate::class::run_from;
use crate::line::split_line;

/// A complete reply that stands in a slice.
///
/// ```
/// use smtp_checkpoint::reply::{ParsedReply, ReplyRef};
///
/// assert_eq!(ReplyRef::parse(b"250-one\r\n250 tw"), ParsedReply::Incomplete);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyRef<'a> {
    code: ReplyCode,
    /// The lines as they came, each with its CRLF, all of them checked.
    wire: &'a [u8],
    /// Octets of the first line, without its CRLF.
    first: usize,
}

/// What stands at the start of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParsedReply<'a> {
    /// A complete reply.
    Complete {
        /// The reply.
        reply: ReplyRef<'a>,
        /// Its length with the last CRLF, in octets.
        consumed: usize,
    },
    /// The start of a reply: read on and parse again from the same start.
    Incomplete,
    /// Not a reply.
    Malformed(ReplyError),
}

impl<'a> ReplyRef<'a> {
    /// Reads the reply at the start of `input`. It has no limit but the length of `input`: a
    /// caller that reads on after [`ParsedReply::Incomplete`] bounds it.
    #[must_use]
    pub fn parse(input: &'a [u8]) -> ParsedReply<'a> {
        match Self::find(input) {
            Ok(Some(reply)) => ParsedReply::Complete {
                reply,
                consumed: reply.wire.len(),
            },
            Ok(None) => ParsedReply::Incomplete,
            Err(error) => ParsedReply::Malformed(error),
        }
    }

    fn find(input: &'a [u8]) -> Result<Option<Self>, ReplyError> {
        let Some(line) = split_line(input) else {
            return Ok(None);
        };
        let (line, mut rest) = line?;
        let first = parse_line(line)?;
        let first_len = line.len();
        let mut position = first.position;
        while let Position::MoreFollow = position {
            if let Some(tail) = behind_same(rest, line) {
                rest = tail;
                continue;
            }
            let Some(line) = split_line(rest) else {
                return Ok(None);
            };
            let (line, tail) = line?;
            let parsed = parse_line(line)?;
            if parsed.code != first.code {
                return Err(ReplyError::CodeChanged);
            }
            (position, rest) = (parsed.position, tail);
        }
        let len = input.len().saturating_sub(rest.len());
        let wire = input.get(..len).unwrap_or_default();
        let code = first.code;
        Ok(Some(Self {
            code,
            wire,
            first: first_len,
        }))
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// What the first digit of the code says.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// The text of each line, without code, separator and CRLF. There is always at least one.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.wire;
        core::iter::from_fn(move || {
            // All lines are sound, so that each LF ends one.
            let (line, tail) = rest.split_at_checked(memchr(b'\n', rest)? + 1)?;
            rest = tail;
            Some(line.get(4..line.len() - 2).unwrap_or_default())
        })
    }

    /// The lines as they came.
    pub(crate) const fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// Octets of the first line as it came, with its CRLF.
    pub(crate) const fn first_octets(&self) -> usize {
        self.first + 2
    }

    /// The text of the first line. The offset of a 355 stands here.
    #[must_use]
    pub fn first_line(&self) -> &'a [u8] {
        // The code may be all there is.
        self.wire.get(4..self.first).unwrap_or_default()
    }

    /// The reply in memory of its own, as [`ReplyReader`](super::ReplyReader) would have read it.
    #[must_use]
    pub fn to_reply(&self) -> Reply {
        let mut text = Vec::with_capacity(self.wire.len());
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                text.push(b'\n');
            }
            text.extend_from_slice(line);
        }
        Reply::from_parts(self.code, None, text.into())
    }
}

/// What follows the first line of `input`, if it begins like `first`, code and "-", and its text is as
/// nearly every text: no controls. All others are for [`split_line`].
#[inline(always)]
fn behind_same<'a>(input: &'a [u8], first: &[u8]) -> Option<&'a [u8]> {
    let (begin, text) = input.split_first_chunk::<4>()?;
    if first.first_chunk() != Some(begin) {
        return None;
    }
    text.get(run_from(b' ', text)..)?.strip_prefix(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::reply::ReplyReader;
    use bytes::Bytes;

    /// What the reader makes of the same octets.
    fn by_reader(input: &[u8]) -> Option<Result<Reply, ReplyError>> {
        let mut bytes = Bytes::copy_from_slice(input);
        ReplyReader::new().read(&mut bytes, &Limits::default())
    }

    #[test]
    fn it_reads_what_the_reader_reads() {
        const PARTS: [&[u8]; 7] = [b"250", b"-", b" ", b"550 x", b"\r", b"\r\n", b"a\n"];
        for len in 0..=5u32 {
            for word in 0..PARTS.len().pow(len) {
                let mut input = Vec::new();
                let mut rest = word;
                for _ in 0..len {
                    input.extend_from_slice(PARTS[rest % PARTS.len()]);
                    rest /= PARTS.len();
                }
                let outcome = match ReplyRef::parse(&input) {
                    ParsedReply::Complete { reply, consumed } => {
                        assert!(input[..consumed].ends_with(b"\r\n"));
                        assert_eq!(reply.first_line(), reply.to_reply().first_line());
                        Some(Ok(reply.to_reply()))
                    }
                    ParsedReply::Incomplete => None,
                    ParsedReply::Malformed(error) => Some(Err(error)),
                };
                assert_eq!(outcome, by_reader(&input), "{input:?}");
            }
        }
    }

    #[test]
    fn what_follows_the_reply_is_left() {
        let input = b"250-a\r\n250 b\r\n221 c\r\n";
        let ParsedReply::Complete { reply, consumed } = ReplyRef::parse(input) else {
            panic!("complete");
        };
        assert!(reply.lines().eq([b"a", b"b"]));
        assert_eq!(&input[consumed..], b"221 c\r\n");
    }
}
