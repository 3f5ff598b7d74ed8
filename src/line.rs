//! Octets to lines: CRLF framing that is bounded and finds its way back after a line too long.
//!
//! Layer 1. Only CRLF ends a line. A bare CR, a bare LF or a NUL inside of one makes the whole
//! line an error, reported when its CRLF arrives: always one outcome for one line, so what one
//! side takes for one command can never be two for the other (RFC 5321 §2.3.8, §4.1.1.4).
//!
//! ```
//! use bytes::Bytes;
//! use smtp_checkpoint::line::{LineError, LineReader};
//!
//! let mut lines = LineReader::new();
//! let mut input = Bytes::from_static(b"NOOP\r\nNOOP x\nRSET\r\nQU");
//! assert_eq!(lines.read(&mut input, 512), Some(Ok(Bytes::from_static(b"NOOP"))));
//! assert_eq!(lines.read(&mut input, 512), Some(Err(LineError::BareLf)));
//! assert_eq!(lines.read(&mut input, 512), None);
//! assert!(lines.is_mid_line());
//!
//! let mut input = Bytes::from_static(b"IT\r\n");
//! assert_eq!(lines.read(&mut input, 512), Some(Ok(Bytes::from_static(b"QUIT"))));
//! ```

use alloc::vec::Vec;
use core::{fmt, mem};

use bytes::{Buf, Bytes};
use memchr::{memchr_iter, memchr3};
use thiserror::Error;

use crate::class::run_from;

/// Whether octets of the client's stand behind the command that is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Following {
    /// None.
    Nothing,
    /// Some, be it part of a line: its client does not wait for the reply.
    Input,
}

/// What is wrong with a line that was read to its CRLF and skipped. To a command that is too long a
/// server says [`LINE_TOO_LONG`](crate::reply::standard::LINE_TOO_LONG), to the others
/// [`BAD_OCTET`](crate::reply::standard::BAD_OCTET).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum LineError {
    /// Longer than the limit.
    #[error("line too long")]
    TooLong,
    /// A CR that no LF follows.
    #[error("bare CR in a line")]
    BareCr,
    /// An LF that no CR precedes.
    #[error("bare LF in a line")]
    BareLf,
    /// A NUL.
    #[error("NUL in a line")]
    Nul,
}

/// Cuts input into lines, wherever the transport happened to split it.
///
/// Memory is taken only for a line that did not arrive in one piece, never more than the limit,
/// and is given away with the line: between lines the reader holds none.
///
/// ```
/// use bytes::Bytes;
/// use smtp_checkpoint::line::{LineError, LineReader};
///
/// let mut lines = LineReader::new();
/// let mut input = Bytes::from_static(b"much too long\r\nshort\r\n");
/// assert_eq!(lines.read(&mut input, 8), Some(Err(LineError::TooLong)));
/// assert_eq!(lines.read(&mut input, 8), Some(Ok(Bytes::from_static(b"short"))));
/// ```
#[derive(Default)]
pub struct LineReader {
    /// The start of a line whose end has not come, a CR at its end included.
    partial: Vec<u8>,
    skipping: Skipping,
    /// The first octets of the line that was refused last.
    refused: [u8; START],
    /// Why it was, until it is told.
    error: Option<LineError>,
}

/// As much of a refused line as tells its verb.
const START: usize = 5;

/// Whether the rest of a line that is too long is being skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Skipping {
    #[default]
    No,
    Yes,
    /// The last octet skipped was a CR.
    YesAfterCr,
}

impl LineReader {
    /// The least memory taken for a partial line, so that single octets do not grow it each.
    const FIRST_CAPACITY: usize = 64;

    /// A reader at the start of a line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            partial: Vec::new(),
            skipping: Skipping::No,
            refused: [0; START],
            error: None,
        }
    }

    /// Reads up to one line and advances `input` behind it; `None` where the line is not complete
    /// (then `input` has been taken whole).
    ///
    /// The line comes without its CRLF. Where it stands whole in `input` it is a slice of it, and
    /// keeps that buffer alive as long as it lives. `limit` counts the octets of the line with
    /// its CRLF and may change from call to call; the one that holds is the one given when the
    /// octets arrive.
    ///
    /// # Errors
    ///
    /// The line was read to its end but is not one: see [`LineError`]. The next call goes on with
    /// the next line. A line over `limit` is skipped in constant memory and reported once, at its
    /// CRLF; within `limit` the first faulty octet decides.
    pub fn read(&mut self, input: &mut Bytes, limit: usize) -> Option<Result<Bytes, LineError>> {
        let line = self.read_any(input, limit)?;
        Some(self.take_error().map_or(Ok(line), Err))
    }

    /// The same in two steps, for a caller in a hurry: where the line is not one, the error is for
    /// [`take_error`](Self::take_error). (A result of both is moved about in odd pieces.)
    pub(crate) fn read_any(&mut self, input: &mut Bytes, limit: usize) -> Option<Bytes> {
        if input.is_empty() {
            return None;
        }
        if self.skipping != Skipping::No {
            return self.skip(input);
        }
        if self.partial.is_empty() {
            // In one pass: the line as it should be, whole and with nothing wrong.
            let first = memchr3(b'\r', b'\n', 0, input).unwrap_or(input.len());
            let end = first.saturating_add(2);
            if end <= limit && input.get(first..end) == Some(b"\r\n") {
                let mut line = input.split_to(end);
                line.truncate(first);
                return Some(line);
            }
        }
        let cr_before = self.partial.last() == Some(&b'\r');
        match end_of_line(input, cr_before) {
            Some(end) => Some(self.finish(input, end, limit)),
            None => {
                self.keep(input, limit);
                None
            }
        }
    }

    /// How long the line at the start of `input` is, without its CRLF, where it stands there whole
    /// and nothing is wrong with it; such a line need not be read. `None` says nothing.
    #[cfg(feature = "session")]
    #[inline]
    pub(crate) fn whole(&self, input: &[u8], limit: usize) -> Option<usize> {
        if self.is_mid_line() {
            return None;
        }
        // The first control mostly is the CR at its end.
        let len = run_from(b' ', input);
        let fits = len.saturating_add("\r\n".len()) <= limit;
        (fits && input.get(len..)?.starts_with(b"\r\n")).then_some(len)
    }

    /// Whether the line that `input` begins or goes on with begins with `start`, in any case.
    #[cfg(feature = "session")]
    pub(crate) fn begins(&self, start: &[u8], input: &[u8]) -> bool {
        let mut octets = self.partial.iter().chain(input);
        let mut is_next = |wanted: &u8| {
            octets
                .next()
                .is_some_and(|o| o.eq_ignore_ascii_case(wanted))
        };
        self.skipping == Skipping::No && start.iter().all(&mut is_next)
    }

    /// What was wrong with the line that was read last.
    pub(crate) fn take_error(&mut self) -> Option<LineError> {
        self.error.take()
    }

    /// Whether the start of a line has been taken in whose end has not come.
    #[must_use]
    pub fn is_mid_line(&self) -> bool {
        !self.partial.is_empty() || self.skipping != Skipping::No
    }

    /// Octets of a partial line that are held; 0 too while a line that is too long is skipped.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// The first five octets of the line that [`read`](Self::read) refused last, with NULs behind a
    /// shorter one: enough for [`is_bdat`](crate::command::is_bdat).
    #[must_use]
    pub const fn refused_start(&self) -> [u8; START] {
        self.refused
    }

    fn refuse(&mut self, first: &[u8], second: &[u8]) {
        let mut octets = first.iter().chain(second);
        self.refused = [0; START].map(|_: u8| octets.next().copied().unwrap_or(0));
    }

    /// The line ends at `end` in `input`, behind its LF.
    fn finish(&mut self, input: &mut Bytes, end: usize, limit: usize) -> Bytes {
        let last = input.split_to(end.min(input.len()));
        let partial = mem::take(&mut self.partial);
        if partial.len().saturating_add(last.len()) > limit {
            self.refuse(&partial, &last);
            self.error = Some(LineError::TooLong);
            return Bytes::new();
        }
        let mut line = if partial.is_empty() {
            last
        } else {
            let mut whole = partial;
            whole.reserve_exact(last.len());
            whole.extend_from_slice(&last);
            Bytes::from(whole)
        };
        line.truncate(line.len().saturating_sub(2));
        if let Err(error) = check_line(&line) {
            self.refuse(&line, &[]);
            self.error = Some(error);
            return Bytes::new();
        }
        line
    }

    /// No line end in `input`: keeps it, unless no end that may come can make the line fit.
    fn keep(&mut self, input: &mut Bytes, limit: usize) {
        let ends_in_cr = input.last() == Some(&b'\r');
        let len = self.partial.len().saturating_add(input.len());
        let least = len.saturating_add(if ends_in_cr { 1 } else { 2 });
        if least > limit {
            let partial = mem::take(&mut self.partial);
            self.refuse(&partial, input);
            self.skipping = if ends_in_cr {
                Skipping::YesAfterCr
            } else {
                Skipping::Yes
            };
        } else {
            if len > self.partial.capacity() {
                let capacity = (self.partial.capacity().saturating_mul(2))
                    .max(Self::FIRST_CAPACITY)
                    .min(limit)
                    .max(len);
                self.partial
                    .reserve_exact(capacity.saturating_sub(self.partial.len()));
            }
            self.partial.extend_from_slice(input);
        }
        input.advance(input.len());
    }

    fn skip(&mut self, input: &mut Bytes) -> Option<Bytes> {
        match end_of_line(input, self.skipping == Skipping::YesAfterCr) {
            Some(end) => {
                input.advance(end.min(input.len()));
                self.skipping = Skipping::No;
                self.error = Some(LineError::TooLong);
                Some(Bytes::new())
            }
            None => {
                self.skipping = if input.last() == Some(&b'\r') {
                    Skipping::YesAfterCr
                } else {
                    Skipping::Yes
                };
                input.advance(input.len());
                None
            }
        }
    }
}

/// Without the octets held: they may be part of a password.
impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("buffered", &self.buffered())
            .field("skipping", &self.skipping)
            .finish()
    }
}

/// The index behind the first CRLF; `cr_before` where a CR stands right before `input`.
pub(crate) fn end_of_line(input: &[u8], cr_before: bool) -> Option<usize> {
    memchr_iter(b'\n', input)
        .find(|&lf| match lf.checked_sub(1) {
            Some(before) => input.get(before) == Some(&b'\r'),
            None => cr_before,
        })
        .map(|lf| lf + 1)
}

/// A line without its CRLF, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first line of `input`; `None` where it has no end.
pub(crate) fn split_line(input: &[u8]) -> Option<Result<Split<'_>, LineError>> {
    // The first control mostly is the CR at its end.
    let (line, behind) = input.split_at_checked(run_from(b' ', input))?;
    if let [b'\r', b'\n', rest @ ..] = behind {
        return Some(Ok((line, rest)));
    }
    let (line, rest) = input.split_at_checked(end_of_line(input, false)?)?;
    let line = line.get(..line.len().checked_sub(2)?)?;
    Some(check_line(line).map(|()| (line, rest)))
}

/// Checks that `line`, without its CRLF, holds none of the octets that no line may hold.
pub(crate) fn check_line(line: &[u8]) -> Result<(), LineError> {
    match memchr3(b'\r', b'\n', 0, line).and_then(|at| line.get(at)) {
        None => Ok(()),
        Some(b'\r') => Err(LineError::BareCr),
        Some(b'\n') => Err(LineError::BareLf),
        Some(_) => Err(LineError::Nul),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    type Outcome = Result<Vec<u8>, LineError>;

    /// The reader over pieces; what is left over is not a line.
    fn lines_of(pieces: &[&[u8]], limit: usize) -> Vec<Outcome> {
        let mut reader = LineReader::new();
        let mut outcomes = Vec::new();
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(outcome) = reader.read(&mut input, limit) {
                outcomes.push(outcome.map(|line| line.to_vec()));
            }
            assert!(input.is_empty());
            assert!(reader.partial.capacity() <= limit);
        }
        outcomes
    }

    /// The naive twin: one input, one octet at a time, no limit on memory.
    fn naive(mut input: &[u8], limit: usize) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(at) = input.windows(2).position(|two| two == b"\r\n") {
            let line = &input[..at];
            let fault = line.iter().find_map(|octet| match octet {
                b'\r' => Some(LineError::BareCr),
                b'\n' => Some(LineError::BareLf),
                0 => Some(LineError::Nul),
                _ => None,
            });
            outcomes.push(match fault {
                _ if at + 2 > limit => Err(LineError::TooLong),
                Some(error) => Err(error),
                None => Ok(line.to_vec()),
            });
            input = &input[at + 2..];
        }
        outcomes
    }

    #[test]
    fn every_split_of_every_short_input_reads_as_the_naive_twin() {
        const ALPHABET: [u8; 4] = [b'a', b'\r', b'\n', 0];
        for len in 0..=6u32 {
            for word in 0..4usize.pow(len) {
                let input: Vec<u8> = (0..len)
                    .map(|place| ALPHABET[(word >> (2 * place)) & 3])
                    .collect();
                for limit in [0, 2, 4, 100] {
                    let expected = naive(&input, limit);
                    for cuts in 0..1usize << len.saturating_sub(1) {
                        let mut pieces = vec![];
                        let mut start = 0;
                        for at in 1..input.len() {
                            if cuts >> (at - 1) & 1 == 1 {
                                pieces.push(&input[start..at]);
                                start = at;
                            }
                        }
                        pieces.push(&input[start..]);
                        assert_eq!(lines_of(&pieces, limit), expected, "{pieces:?} {limit}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_command_with_a_bad_octet_is_one_line_and_one_error() {
        for (input, error) in [
            (&b"NOOP a\0b\r\n"[..], LineError::Nul),
            (b"NOOP a\rRSET\r\n", LineError::BareCr),
            (b"NOOP x\nRSET\r\n", LineError::BareLf),
            (b"\n\r\r\n", LineError::BareLf),
        ] {
            assert_eq!(lines_of(&[input], 512), [Err(error)], "{input:?}");
        }
    }

    #[cfg(feature = "session")]
    #[test]
    fn a_line_that_is_whole_reads_as_that() {
        const ALPHABET: [u8; 5] = [b'a', b'\t', b'\r', b'\n', 0];
        for word in 0..5usize.pow(6) {
            let input: Vec<u8> = (0..6)
                .map(|place| ALPHABET[word / 5usize.pow(place) % 5])
                .collect();
            for limit in [0, 3, 4, 100] {
                let whole = LineReader::new().whole(&input, limit);
                let read = LineReader::new().read(&mut Bytes::copy_from_slice(&input), limit);
                let line = read.and_then(Result::ok);
                // Some are left to be read.
                let plain = line.filter(|line| !line.contains(&b'\t'));
                assert_eq!(whole, plain.map(|line| line.len()), "{input:?} {limit}");
            }
        }
        let mut reader = LineReader::new();
        assert_eq!(reader.read(&mut Bytes::from_static(b"NO"), 512), None);
        assert_eq!(reader.whole(b"OP\r\n", 512), None);
    }

    #[test]
    fn a_whole_line_is_a_slice_of_the_input() {
        let mut input = Bytes::from_static(b"EHLO a\r\nrest");
        let at = input.as_ptr();
        let line = LineReader::new().read(&mut input, 512).unwrap().unwrap();
        assert_eq!(line.as_ptr(), at);
        assert_eq!(&input[..], b"rest");
    }

    #[test]
    fn the_limit_counts_the_crlf_and_holds_across_pieces() {
        let fits: &[&[u8]] = &[b"abcdef", b"\r", b"\n"];
        assert_eq!(lines_of(fits, 8), [Ok(b"abcdef".to_vec())]);
        let over: &[&[u8]] = &[b"abcdef", b"g", b"\r", b"\n", b"ok\r\n"];
        assert_eq!(
            lines_of(over, 8),
            [Err(LineError::TooLong), Ok(b"ok".to_vec())]
        );
    }

    #[test]
    fn a_refused_line_tells_its_start() {
        let mut reader = LineReader::new();
        for (pieces, start) in [
            (&[&b"BDAT 5\nx\r\n"[..]][..], b"BDAT "),
            (&[b"BD", b"AT 5\nx\r\n"], b"BDAT "),
            (&[b"b", b"dat 5            ", b"\r\n"], b"bdat "),
            (&[b"A\0\r\n"], b"A\0\0\0\0"),
        ] {
            let mut outcome = None;
            for piece in pieces {
                outcome = reader.read(&mut Bytes::from_static(piece), 12);
            }
            assert!(matches!(outcome, Some(Err(_))));
            assert_eq!(reader.refused_start(), *start);
        }
    }

    #[test]
    fn a_line_of_a_gibibyte_takes_no_memory_and_is_one_error() {
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        let mut reader = LineReader::new();
        for _ in 0..1024 {
            let mut input = chunk.clone();
            assert_eq!(reader.read(&mut input, 2048), None);
            assert_eq!(reader.partial.capacity(), 0);
        }
        assert!(reader.is_mid_line());
        assert_eq!(reader.buffered(), 0);
        let mut input = Bytes::from_static(b"\r\nNOOP\r\n");
        assert_eq!(reader.read(&mut input, 2048), Some(Err(LineError::TooLong)));
        assert!(!reader.is_mid_line());
        assert_eq!(
            reader.read(&mut input, 2048),
            Some(Ok(Bytes::from_static(b"NOOP")))
        );
    }

    #[test]
    fn no_memory_is_held_between_lines() {
        let mut reader = LineReader::new();
        let mut input = Bytes::from_static(b"HEL");
        assert_eq!(reader.read(&mut input, 512), None);
        assert_eq!(reader.buffered(), 3);
        let shown = std::format!("{reader:?}");
        assert_eq!(shown, "LineReader { buffered: 3, skipping: No }");
        let mut input = Bytes::from_static(b"O a\r\n");
        assert!(reader.read(&mut input, 512).is_some());
        assert_eq!(reader.partial.capacity(), 0);
        assert!(!reader.is_mid_line());
    }

    #[test]
    fn memory_doubles_when_it_is_full_and_not_before() {
        let mut reader = LineReader::new();
        for octets in 1..=512 {
            assert_eq!(reader.read(&mut Bytes::from_static(b"x"), 514), None);
            let capacity = match octets {
                1..=64 => 64,
                65..=128 => 128,
                129..=256 => 256,
                _ => 512,
            };
            assert_eq!(reader.partial.capacity(), capacity, "{octets}");
        }
    }
}
