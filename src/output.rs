//! Octets on their way to the transport: lent or moved out, and counted until transmitted.
//!
//! Layer 4, private; both sessions write here. What depends on transmission (the TLS hand-over,
//! the end of a session, a 355 that the peer has seen) compares a position in the stream with
//! what has been transmitted.

use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::error::UsageError;

/// A position in the stream of all octets ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position(u64);

/// The most that a buffer is kept for when it is empty.
const KEPT: u32 = 2 * 1024;

/// Enough for the replies to a usual group.
const FIRST: usize = 256;

#[derive(Default)]
pub(crate) struct Output {
    waiting: BytesMut,
    /// The most that has waited at a time since the buffer was new.
    most: u32,
    /// Small buffers are kept when they are empty.
    keeps: bool,
    /// Moved out and not yet reported as transmitted.
    taken: usize,
    transmitted: u64,
}

/// Without the octets: they may be a password, or the message.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("waiting", &self.waiting.len())
            .field("most", &self.most)
            .field("keeps", &self.keeps)
            .field("taken", &self.taken)
            .field("transmitted", &self.transmitted)
            .finish()
    }
}

impl Output {
    /// Where to write.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.waiting
    }

    /// Writes octets that stand ready. Where there is no buffer they get one of their size: mostly
    /// they are all that is said at a time.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        if self.waiting.capacity() == 0 {
            self.waiting = BytesMut::from(octets);
        } else {
            self.waiting.extend_from_slice(octets);
        }
    }

    /// From here on a small buffer is kept although it is empty, so that the next reply takes no
    /// new one. Without it an idle session holds none.
    pub(crate) fn keep(&mut self) {
        if !self.keeps {
            self.keeps = true;
            if self.waiting.capacity() == 0 {
                self.waiting = BytesMut::with_capacity(FIRST);
            }
        }
    }

    fn note_most(&mut self) {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.most = self.most.max(waiting);
    }

    /// What has not been moved out, for transports that tell when they are ready.
    pub(crate) fn lent(&self) -> &[u8] {
        &self.waiting
    }

    /// Moves everything out, for transports that own what they write.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.waiting.is_empty() {
            return None;
        }
        self.note_most();
        let octets = self.waiting.split().freeze();
        self.taken += octets.len();
        Some(octets)
    }

    /// The transport took `count` octets: those moved out first, then those lent.
    pub(crate) fn transmitted(&mut self, count: usize) -> Result<(), UsageError> {
        let lent = count.saturating_sub(self.taken);
        if lent > self.waiting.len() {
            return Err(UsageError::TransmittedTooMuch);
        }
        self.note_most();
        self.taken -= count - lent;
        bytes::Buf::advance(&mut self.waiting, lent);
        self.transmitted += count as u64;
        let keeps = self.keeps && self.most <= KEPT;
        if self.waiting.is_empty() && self.taken == 0 && !keeps {
            self.waiting = BytesMut::new();
            self.most = 0;
        }
        Ok(())
    }

    /// Octets that are not transmitted.
    pub(crate) fn pending(&self) -> usize {
        self.taken + self.waiting.len()
    }

    /// Where the stream stands now: behind everything written so far.
    pub(crate) fn position(&self) -> Position {
        Position(self.transmitted + self.pending() as u64)
    }

    /// Whether everything before `position` has been transmitted.
    pub(crate) fn has_transmitted(&self, position: Position) -> bool {
        self.transmitted >= position.0
    }

    /// Whether everything before `position` may have reached the peer: it has been transmitted, or
    /// moved out to a transport that tells later.
    pub(crate) fn may_have_left(&self, position: Position) -> bool {
        self.transmitted + self.taken as u64 >= position.0
    }

    /// The transport is gone: nothing will be transmitted any more.
    pub(crate) fn discard(&mut self) {
        *self = Self {
            transmitted: self.transmitted,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_refused_changes_nothing() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"220 mx\r\n");
        let before = std::format!("{output:?}");
        assert!(output.transmitted(9).is_err());
        assert_eq!(std::format!("{output:?}"), before);
    }

    #[test]
    fn lent_and_taken_octets_are_counted_once() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"one");
        let first = output.position();
        assert_eq!(output.take().as_deref(), Some(&b"one"[..]));
        output.buffer().extend_from_slice(b"two");
        assert_eq!(output.lent(), b"two");
        assert_eq!(output.transmitted(7), Err(UsageError::TransmittedTooMuch));
        assert_eq!(output.pending(), 6);
        output.transmitted(2).unwrap();
        assert!(!output.has_transmitted(first));
        output.transmitted(2).unwrap();
        assert!(output.has_transmitted(first));
        assert_eq!(output.lent(), b"wo");
        output.transmitted(2).unwrap();
        assert!(output.has_transmitted(output.position()));
        assert_eq!(output.pending(), 0);
    }
}
