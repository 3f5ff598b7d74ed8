//! The encoder of DATA: canonical octets in, wire octets out.
//!
//! Layer 2. The callback and batch forms hand out slices of the content and static dots, so that
//! large content is not copied.
//!
//! ```
//! use smtp_checkpoint::dot::{DotEncoder, EncodeError};
//!
//! let mut encoder = DotEncoder::new();
//! let mut wire = Vec::new();
//! encoder.encode_with(&mut &b".one\r\ntwo"[..], |octets| wire.extend_from_slice(octets))?;
//! assert_eq!(encoder.canonical_len(), 11);
//! wire.extend_from_slice(encoder.finish()?);
//! assert_eq!(wire, b"..one\r\ntwo\r\n.\r\n");
//! # Ok::<(), EncodeError>(())
//! ```

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::batch::{Batch, Piece};
use super::faults::{Fault, FaultKind, FaultPolicy, Octets};
use super::scan::{Job, Kernel, dispatch, is_dot_line, scan};
use super::{CR, LF};
use crate::offset::OctetOffset;

/// What [`DotEncoder::encode`] and [`DotEncoder::encode_batch`] stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeStatus {
    /// All content given is used up.
    NeedContent,
    /// As much was put out as may be; content is left.
    OutputFull,
}

/// Why content is not sent. The data can then not be ended either: the connection has to be
/// closed, or what was sent would be taken for the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// CR that no LF follows (RFC 5321 §2.3.8).
    #[error("bare CR at octet {} of the content", .at.get())]
    BareCr {
        /// Its canonical offset.
        at: OctetOffset,
    },
    /// LF that no CR precedes (RFC 5321 §2.3.8).
    #[error("bare LF at octet {} of the content", .at.get())]
    BareLf {
        /// Its canonical offset.
        at: OctetOffset,
    },
    /// The octet 0 (RFC 5322 §4.1).
    #[error("NUL at octet {} of the content", .at.get())]
    Nul {
        /// Its canonical offset.
        at: OctetOffset,
    },
    /// Content or another end after [`DotEncoder::finish`].
    #[error("the end of the data was already written")]
    Finished,
}

impl From<Fault> for EncodeError {
    fn from(Fault { kind, at }: Fault) -> Self {
        match kind {
            FaultKind::BareCr => Self::BareCr { at },
            FaultKind::BareLf => Self::BareLf { at },
            FaultKind::Nul => Self::Nul { at },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// After CRLF, or at the start: a dot is doubled.
    LineStart,
    /// Within a line.
    Text,
    /// A CR is held until it is known whether it may be sent.
    Cr,
    /// Nothing more may be sent.
    Closed(EncodeError),
}

/// Writes the content of DATA (RFC 5321 §4.5.2), counting canonical octets (RFC 1845 §4).
///
/// Strict: bare CR, bare LF and NUL are refused unless a [`FaultPolicy`] keeps them. All that
/// comes before the octet at fault is put out, nothing at or after it. From then on every call
/// gives the same error.
///
/// ```
/// use bytes::BytesMut;
/// use smtp_checkpoint::dot::{DotEncoder, EncodeError, EncodeStatus};
///
/// let mut encoder = DotEncoder::new();
/// let mut out = BytesMut::new();
/// let mut content = &b"one\r\n.two\n"[..];
/// assert_eq!(encoder.encode(&mut content, &mut out, 4), Ok(EncodeStatus::OutputFull));
/// assert_eq!(
///     encoder.encode(&mut content, &mut out, 1024),
///     Err(EncodeError::BareLf { at: 9.into() })
/// );
/// assert_eq!(&out[..], b"one\r\n..two");
/// ```
#[derive(Debug, Clone)]
pub struct DotEncoder {
    pub(super) state: State,
    pub(super) offset: u64,
    pub(super) policy: FaultPolicy,
}

impl Default for DotEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DotEncoder {
    /// An encoder for a whole message that refuses every fault.
    pub const fn new() -> Self {
        Self {
            state: State::LineStart,
            offset: 0,
            policy: FaultPolicy::REFUSE_ALL,
        }
    }

    /// The same encoder with another policy.
    #[must_use]
    pub const fn with_policy(mut self, policy: FaultPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Encodes as much content as fits, appends no more than `max_out` octets to `out`, and
    /// advances `content` over what it took.
    ///
    /// With `max_out` below 2 nothing is taken: a doubled dot is not cut in two.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: see there for what has to follow.
    pub fn encode(
        &mut self,
        content: &mut &[u8],
        out: &mut BytesMut,
        max_out: usize,
    ) -> Result<EncodeStatus, EncodeError> {
        let octets = *content;
        out.reserve(octets.len().min(max_out));
        let (taken, result) = self.run_bounded(octets, max_out, |piece| {
            out.extend_from_slice(piece.octets())
        });
        *content = octets.get(taken..).unwrap_or_default();
        result.map(|()| status(content))
    }

    /// Encodes all content given and advances `content` over it. `sink` gets the wire octets in
    /// order, in slices that are never empty.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: see there for what has to follow.
    pub fn encode_with(
        &mut self,
        content: &mut &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), EncodeError> {
        let octets = *content;
        let (taken, result) = self.run(octets, |piece| sink(piece.octets()));
        *content = octets.get(taken..).unwrap_or_default();
        result
    }

    /// [`encode`](Self::encode) into a list: long runs are slices that share the memory of
    /// `content`, short neighbours are copied together.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: see there for what has to follow.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use smtp_checkpoint::dot::{DotEncoder, EncodeError, EncodeStatus};
    ///
    /// let (mut encoder, mut out) = (DotEncoder::new(), Vec::new());
    /// let mut content = Bytes::from_static(b"one\r\n.two\r\n");
    /// let status = encoder.encode_batch(&mut content, &mut out, 1024)?;
    /// assert_eq!(status, EncodeStatus::NeedContent);
    /// assert_eq!(out.concat(), b"one\r\n..two\r\n");
    /// # Ok::<(), EncodeError>(())
    /// ```
    pub fn encode_batch(
        &mut self,
        content: &mut Bytes,
        out: &mut Vec<Bytes>,
        max_out: usize,
    ) -> Result<EncodeStatus, EncodeError> {
        let mut batch = Batch::new(content, out, max_out);
        let (taken, result) = self.run_bounded(content, max_out, |piece| batch.push(piece));
        batch.flush();
        content.advance(taken);
        result.map(|()| status(content))
    }

    /// Ends the data: gives the last octets to send, with CRLF if the last line is unfinished.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: a CR at the end of the content is bare; what was refused before stays
    /// refused; the data ends once.
    pub fn finish(&mut self) -> Result<&'static [u8], EncodeError> {
        let (end, added): (&[u8], _) = match self.state {
            State::Closed(error) => return Err(error),
            State::LineStart => (b".\r\n", 0),
            State::Text => (b"\r\n.\r\n", 2),
            State::Cr => {
                self.judge(FaultKind::BareCr, self.offset)?;
                (b"\r\r\n.\r\n", 3)
            }
        };
        self.offset = self.offset.saturating_add(added);
        self.state = State::Closed(EncodeError::Finished);
        Ok(end)
    }

    /// Canonical octets put out so far, those before a restart included. A CR at the end of the
    /// content so far is held until the octet after it is known. After [`finish`](Self::finish)
    /// it is the size of the message.
    pub fn offset(&self) -> OctetOffset {
        self.offset.into()
    }

    /// The size of the message if the content ends here, in canonical octets: with the CRLF that
    /// is added to an unfinished last line (CP-09).
    pub fn canonical_len(&self) -> u64 {
        let unsent = match self.state {
            State::LineStart | State::Closed(_) => 0,
            State::Text => 2,
            State::Cr => 3,
        };
        self.offset.saturating_add(unsent)
    }

    /// Whether the next octet of content begins a line.
    pub fn at_line_start(&self) -> bool {
        self.state == State::LineStart
    }

    /// Closes the encoder if the policy refuses this.
    fn judge(&mut self, kind: FaultKind, at: u64) -> Result<(), EncodeError> {
        match self.policy.get(kind) {
            Octets::Keep => Ok(()),
            Octets::Refuse => {
                let error = EncodeError::from(Fault {
                    kind,
                    at: at.into(),
                });
                self.state = State::Closed(error);
                Err(error)
            }
        }
    }

    /// Encodes what fits in `max_out`; returns octets taken.
    #[inline(always)]
    fn run_bounded<'c>(
        &mut self,
        content: &'c [u8],
        max_out: usize,
        mut emit: impl FnMut(Piece<'c>),
    ) -> (usize, Result<(), EncodeError>) {
        let (mut taken, mut room) = (0, max_out);
        loop {
            if let State::Closed(error) = self.state {
                return (taken, Err(error));
            }
            if room < 2 || taken == content.len() {
                return (taken, Ok(()));
            }
            // n octets become at most n + 1 + (n + 2) / 3: a held CR, and a dot for every three.
            // One octet becomes at most two.
            let most = ((room - 2) / 4 * 3).max(1);
            let rest = content.get(taken..).unwrap_or_default();
            let part = rest.get(..most).unwrap_or(rest);
            let mut put = 0;
            let (read, result) = self.run(part, |piece| {
                put += piece.octets().len();
                emit(piece);
            });
            taken += read;
            room = room.saturating_sub(put);
            if result.is_err() {
                return (taken, result);
            }
        }
    }

    /// Encodes all of `content`; returns octets taken.
    #[inline(always)]
    fn run<'c>(
        &mut self,
        content: &'c [u8],
        emit: impl FnMut(Piece<'c>),
    ) -> (usize, Result<(), EncodeError>) {
        let encoder = self;
        let octets = content.len();
        dispatch(
            Run {
                encoder,
                content,
                emit,
            },
            octets,
        )
    }

    /// What stands before the first octet of a content: a held CR, or a dot to double.
    fn begin<'c>(&mut self, first: u8, mut emit: impl FnMut(Piece<'c>)) -> Result<(), EncodeError> {
        match (self.state, first) {
            (State::Cr, _) => {
                if first != LF {
                    self.judge(FaultKind::BareCr, self.offset)?;
                }
                emit(Piece::Static(b"\r"));
                self.offset = self.offset.saturating_add(1);
            }
            (State::LineStart, b'.') => emit(Piece::Static(b".")),
            (_, LF) => self.judge(FaultKind::BareLf, self.offset)?,
            _ => {}
        }
        if first == 0 {
            self.judge(FaultKind::Nul, self.offset)?;
        }
        Ok(())
    }
}

/// Encoding with the kernel that the machine has.
struct Run<'e, 'c, E> {
    encoder: &'e mut DotEncoder,
    content: &'c [u8],
    emit: E,
}

impl<'c, E: FnMut(Piece<'c>)> Job for Run<'_, 'c, E> {
    type Output = (usize, Result<(), EncodeError>);

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let (encoder, content, mut emit) = (self.encoder, self.content, self.emit);
        if let State::Closed(error) = encoder.state {
            return (0, Err(error));
        }
        let (Some(&first), Some(&last)) = (content.first(), content.last()) else {
            return (0, Ok(()));
        };
        if let Err(error) = encoder.begin(first, &mut emit) {
            return (0, Err(error));
        }

        let after_cr = encoder.state == State::Cr;
        let (base, policy) = (encoder.offset, encoder.policy);
        let mut start = 0;
        // What was wrong with the first octet is dealt with; it may still be an LF before a dot.
        let begins = after_cr && content.starts_with(b"\n.");
        let refused = scan::<K, true, _>(
            kernel,
            content,
            begins,
            #[inline(always)]
            |mut events| {
                while let Some(at) = events.next() {
                    if events.is_before_dot(at) || is_dot_line(content, at, after_cr) {
                        emit(Piece::Input(content.get(start..=at).unwrap_or_default()));
                        emit(Piece::Static(b"."));
                        start = at + 1;
                        continue;
                    }
                    let before = at.checked_sub(1).and_then(|before| content.get(before));
                    let cr_before = before == Some(&CR);
                    let octet = content.get(at);
                    let refuses = |kind| policy.get(kind) == Octets::Refuse;
                    let refused = if cr_before && octet != Some(&LF) && refuses(FaultKind::BareCr) {
                        (FaultKind::BareCr, at - 1)
                    } else if !cr_before && octet == Some(&LF) && refuses(FaultKind::BareLf) {
                        (FaultKind::BareLf, at)
                    } else if octet == Some(&0) && refuses(FaultKind::Nul) {
                        (FaultKind::Nul, at)
                    } else {
                        continue;
                    };
                    return ControlFlow::Break(refused);
                }
                ControlFlow::Continue(())
            },
        )
        .break_value();

        // A CR at the end is held.
        let held = usize::from(last == CR);
        let end = refused.map_or(content.len() - held, |(_, at)| at);
        if start < end {
            emit(Piece::Input(content.get(start..end).unwrap_or_default()));
        }
        encoder.offset = base.saturating_add(end as u64);
        if let Some((kind, _)) = refused {
            return (end, encoder.judge(kind, encoder.offset));
        }
        encoder.state = match content {
            [.., CR] => State::Cr,
            [.., CR, LF] => State::LineStart,
            [LF] if after_cr => State::LineStart,
            _ => State::Text,
        };
        (content.len(), Ok(()))
    }
}

fn status(left: &[u8]) -> EncodeStatus {
    if left.is_empty() {
        EncodeStatus::NeedContent
    } else {
        EncodeStatus::OutputFull
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
