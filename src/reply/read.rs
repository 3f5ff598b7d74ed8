//! Octets to replies, as they come.
//!
//! Layer 1.
//!
//! ```
//! use bytes::Bytes;
//! use smtp_checkpoint::limits::Limits;
//! use smtp_checkpoint::reply::{ReplyCode, ReplyReader};
//!
//! let limits = Limits::default();
//! let mut replies = ReplyReader::new();
//! let mut input = Bytes::from_static(b"355-6135 is the offset\r\n355 mo");
//! assert_eq!(replies.read(&mut input, &limits), None);
//! let mut input = Bytes::from_static(b"re text\r\n");
//! let reply = replies.read(&mut input, &limits).unwrap()?;
//! assert_eq!(reply.code(), ReplyCode::CHECKPOINT_OFFSET);
//! assert_eq!(reply.first_line(), b"6135 is the offset");
//! # Ok::<(), smtp_checkpoint::reply::ReplyError>(())
//! ```

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;
use thiserror::Error;

use super::{Reply, ReplyCode};
use crate::limits::Limits;
use crate::line::{LineError, LineReader};

/// The rule that a server's reply breaks. Where one reply ends and the next begins is then not
/// certain any more, so the session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ReplyError {
    /// A line is longer than [`Limits::reply_line`], or holds a bare CR, a bare LF or a NUL.
    #[error("reply: {0}")]
    Line(#[from] LineError),
    /// A line does not begin with three digits from 100 to 599.
    #[error("reply line without a reply code")]
    NoCode,
    /// Something other than "-", SPACE or the end of the line follows the code.
    #[error("neither \"-\" nor SPACE behind the reply code")]
    Separator,
    /// The lines of one reply have different codes (RFC 5321 §4.2.1).
    #[error("reply code changes within a reply")]
    CodeChanged,
    /// More lines than [`Limits::reply_lines`].
    #[error("too many lines in a reply")]
    TooManyLines,
    /// More octets than [`Limits::reply_octets`].
    #[error("reply too long")]
    TooLong,
}

/// Reads replies from input that was split anywhere.
///
/// Between replies it holds no memory. An error is final: every later call reports it again and
/// takes no input.
///
/// ```
/// use bytes::Bytes;
/// use smtp_checkpoint::limits::Limits;
/// use smtp_checkpoint::reply::{ReplyError, ReplyReader};
///
/// let mut replies = ReplyReader::new();
/// let mut input = Bytes::from_static(b"250-one\r\n550 two\r\n");
/// let error = Some(Err(ReplyError::CodeChanged));
/// assert_eq!(replies.read(&mut input, &Limits::default()), error);
/// assert_eq!(replies.read(&mut input, &Limits::default()), error);
/// ```
#[derive(Debug, Default)]
pub struct ReplyReader {
    lines: LineReader,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// The next line begins a reply.
    #[default]
    Between,
    /// Lines were read that announced another one.
    Within {
        code: ReplyCode,
        /// The text so far, with an LF between two lines.
        text: Vec<u8>,
        lines: usize,
        /// Octets so far, as they stood on the wire.
        octets: usize,
    },
    Failed(ReplyError),
}

/// A line of a reply: its code, whether it is the last, and the length of what precedes the text.
pub(super) struct ReplyLine {
    pub(super) code: ReplyCode,
    pub(super) position: Position,
    pub(super) text_at: usize,
}

pub(super) enum Position {
    MoreFollow,
    Last,
}

impl ReplyReader {
    /// A reader at the start of a reply.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lines: LineReader::new(),
            state: State::Between,
        }
    }

    /// Reads up to one reply and advances `input` behind it; `None` where the reply is not
    /// complete (then `input` has been taken whole).
    ///
    /// The text of a reply of one line may be a slice of `input` and keeps that buffer alive;
    /// [`Reply::compact`] copies what is to be kept.
    ///
    /// # Errors
    ///
    /// The rule that the reply breaks; see [`ReplyError`].
    pub fn read(
        &mut self,
        input: &mut Bytes,
        limits: &Limits,
    ) -> Option<Result<Reply, ReplyError>> {
        if let State::Failed(error) = self.state {
            return Some(Err(error));
        }
        loop {
            let line = self.lines.read(input, limits.reply_line)?;
            match line
                .map_err(ReplyError::Line)
                .and_then(|line| self.take(line, limits))
            {
                Ok(None) => {}
                Ok(Some(reply)) => return Some(Ok(reply)),
                Err(error) => {
                    self.state = State::Failed(error);
                    return Some(Err(error));
                }
            }
        }
    }

    /// Whether the start of a reply has been taken in whose end has not come.
    #[must_use]
    pub fn is_mid_reply(&self) -> bool {
        matches!(self.state, State::Within { .. }) || self.lines.is_mid_line()
    }

    fn take(&mut self, mut line: Bytes, limits: &Limits) -> Result<Option<Reply>, ReplyError> {
        let parsed = parse_line(&line)?;
        let on_wire = line.len().saturating_add(2);
        let line_text = line.split_off(parsed.text_at.min(line.len()));

        let (mut text, lines, octets) = match mem::take(&mut self.state) {
            State::Within {
                code,
                mut text,
                lines,
                octets,
            } => {
                if code != parsed.code {
                    return Err(ReplyError::CodeChanged);
                }
                text.push(b'\n');
                (text, lines.saturating_add(1), octets)
            }
            State::Between | State::Failed(_) => (Vec::new(), 1, 0),
        };
        let octets = octets.saturating_add(on_wire);
        if lines > limits.reply_lines {
            return Err(ReplyError::TooManyLines);
        }
        if octets > limits.reply_octets {
            return Err(ReplyError::TooLong);
        }
        match (parsed.position, lines) {
            (Position::Last, 1) => Ok(Some(Reply::from_parts(parsed.code, None, line_text))),
            (Position::Last, _) => {
                text.extend_from_slice(&line_text);
                Ok(Some(Reply::from_parts(parsed.code, None, text.into())))
            }
            (Position::MoreFollow, _) => {
                text.extend_from_slice(&line_text);
                self.state = State::Within {
                    code: parsed.code,
                    text,
                    lines,
                    octets,
                };
                Ok(None)
            }
        }
    }
}

pub(super) fn parse_line(line: &[u8]) -> Result<ReplyLine, ReplyError> {
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::NoCode)?;
    let code = ReplyCode::parse(digits).ok_or(ReplyError::NoCode)?;
    let (position, text_at) = match rest.first() {
        None => (Position::Last, 3),
        Some(b' ') => (Position::Last, 4),
        Some(b'-') => (Position::MoreFollow, 4),
        Some(_) => return Err(ReplyError::Separator),
    };
    Ok(ReplyLine {
        code,
        position,
        text_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset::{OctetOffset, OffsetError};
    use alloc::format;

    fn read(input: &'static [u8]) -> Option<Result<Reply, ReplyError>> {
        let mut bytes = Bytes::from_static(input);
        ReplyReader::new().read(&mut bytes, &Limits::default())
    }

    fn lines(reply: &Reply) -> Vec<&[u8]> {
        reply.lines().collect()
    }

    #[test]
    fn replies_are_read_with_their_text_octet_for_octet() {
        for (input, code, text) in [
            (&b"250\r\n"[..], 250, &[&b""[..]][..]),
            (b"250 \r\n", 250, &[b""]),
            (b"250-\r\n250\r\n", 250, &[b"", b""]),
            (b"250-a\r\n250- b\r\n250 c-\r\n", 250, &[b"a", b" b", b"c-"]),
            (b"299 2.0.0 caf\xe9\r\n", 299, &[b"2.0.0 caf\xe9"]),
            (b"355  6135 x\r\n", 355, &[b" 6135 x"]),
            (
                b"120 DATA processing in progress\r\n",
                120,
                &[b"DATA processing in progress"],
            ),
        ] {
            let reply = read(input).unwrap().unwrap();
            assert_eq!(reply.code().get(), code);
            assert_eq!(lines(&reply), text);
        }
    }

    #[test]
    fn broken_replies_are_refused_by_name() {
        for (input, error) in [
            (&b"\r\n"[..], ReplyError::NoCode),
            (b"25\r\n", ReplyError::NoCode),
            (b"600 x\r\n", ReplyError::NoCode),
            (b"099 x\r\n", ReplyError::NoCode),
            (b"Hello\r\n", ReplyError::NoCode),
            (b"2500 x\r\n", ReplyError::Separator),
            (b"250\tx\r\n", ReplyError::Separator),
            (b"250-x\r\n251 x\r\n", ReplyError::CodeChanged),
            (b"250-x\r\nx\r\n", ReplyError::NoCode),
            (b"250 a\n250 b\r\n", ReplyError::Line(LineError::BareLf)),
            (b"250 a\0\r\n", ReplyError::Line(LineError::Nul)),
        ] {
            assert_eq!(read(input), Some(Err(error)), "{input:?}");
        }
    }

    #[test]
    fn the_offset_of_a_355_is_read_from_the_first_line() {
        let of = |input| OctetOffset::from_reply_text(read(input).unwrap().unwrap().first_line());
        assert_eq!(of(b"355 6135\r\n"), Ok(OctetOffset::new(6135)));
        assert_eq!(
            of(b"355-6135 is the offset\r\n355 more text\r\n"),
            Ok(OctetOffset::new(6135))
        );
        assert_eq!(
            of(b"355-Hello\r\n355 6135 is it\r\n"),
            Err(OffsetError::NoNumber)
        );
        assert_eq!(of(b"355  6135 x\r\n"), Err(OffsetError::NoNumber));
        assert_eq!(of(b"355\r\n"), Err(OffsetError::NoNumber));
    }

    #[test]
    fn a_reply_cut_anywhere_reads_the_same() {
        let input = b"250-mx.example\r\n250-CHECKPOINT\r\n250 SIZE 0\r\n221 bye\r\n";
        for cut in 0..=input.len() {
            let mut reader = ReplyReader::new();
            let mut replies = Vec::new();
            for piece in [&input[..cut], &input[cut..]] {
                let mut piece = Bytes::copy_from_slice(piece);
                while let Some(reply) = reader.read(&mut piece, &Limits::default()) {
                    replies.push(reply.unwrap());
                }
            }
            assert_eq!(replies.len(), 2, "{cut}");
            assert_eq!(lines(&replies[0]).len(), 3);
            assert_eq!(lines(&replies[1]), [b"bye"]);
            assert!(!reader.is_mid_reply());
        }
    }

    #[test]
    fn bounds_hold_at_their_edge_and_an_error_is_final() {
        let input = "250-1234\r\n250-1234\r\n250 1234\r\n";
        for (line, lines, octets, error) in [
            (10, 3, 30, None),
            (9, 3, 30, Some(ReplyError::Line(LineError::TooLong))),
            (10, 2, 30, Some(ReplyError::TooManyLines)),
            (10, 3, 29, Some(ReplyError::TooLong)),
        ] {
            let limits = Limits {
                reply_line: line,
                reply_lines: lines,
                reply_octets: octets,
                ..Limits::default()
            };
            let mut bytes = Bytes::from(format!("{input}250 again\r\n"));
            let mut reader = ReplyReader::new();
            let outcome = reader.read(&mut bytes, &limits).unwrap();
            assert_eq!(outcome.as_ref().err(), error.as_ref());
            if error.is_some() {
                assert_eq!(reader.read(&mut bytes, &limits), Some(outcome));
            }
        }
    }
}
