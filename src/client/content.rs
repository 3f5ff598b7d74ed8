//! Content: asked for, judged, encoded and ended.

use bytes::BytesMut;

use super::attempt::Encoder;
use super::event::{Ending, Event};
use super::state::{Phase, Step};
use super::{ClientSession, Expect};
use crate::checkpoint::{Cause, ContentCommand, Sent};
use crate::command::{Bdat, Burl, CommandLine};
use crate::dot::{ContentChecker, DotEncoder};
use crate::error::UsageError;
use crate::offset::OctetOffset;
use crate::rdlv::EndingVerb;
use crate::time::Timestamp;

impl ClientSession {
    /// Whether [`send_content`](Self::send_content) or
    /// [`finish_content`](Self::finish_content) makes progress now: false until
    /// [`Event::SendContent`] has been polled, while too much output waits, and once the server
    /// said no.
    #[must_use]
    pub fn wants_content(&self) -> bool {
        if !self.events.is_empty() {
            return false;
        }
        let Some(attempt) = &self.attempt else {
            return false;
        };
        match (self.phase, &attempt.encoder) {
            _ if !attempt.asked || attempt.finished => false,
            (Phase::Judging, _) => true,
            (Phase::Content, Encoder::Dot(_)) => self.room() >= 2,
            (Phase::Content, Encoder::Chunks { chunk, .. }) => {
                chunk.len() < self.config.chunk_size || attempt.given == attempt.octets()
            }
            _ => false,
        }
    }

    fn room(&self) -> usize {
        self.config
            .limits
            .output
            .saturating_sub(self.output.pending())
    }

    /// Takes content, from the octet that [`Event::SendContent`] named on, and advances `content`
    /// over what it took, which may be less than all: give the rest again, or the message is cut.
    /// At a restart it first takes the [look-behind](Event::SendContent) alone, at most two octets.
    /// Do not mistake that for the end of what it wants.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] unless the session [wants content](Self::wants_content), and
    /// nothing has changed. [`UsageError::ContentOctets`] for an octet that the settings refuse
    /// and [`UsageError::ContentMismatch`] for more content than the transaction has: the message
    /// cannot be ended as if it were complete, so the session is over, the transport is to be
    /// closed as it is, and the outcome is told.
    pub fn send_content(&mut self, now: Timestamp, content: &mut &[u8]) -> Result<(), UsageError> {
        match self.phase {
            Phase::Judging if self.wants_content() => {
                self.judge(now, content);
                Ok(())
            }
            Phase::Content if self.wants_content() => {
                let result = self.take_content(now, content);
                self.fail_content(result)
            }
            _ => Err(UsageError::OutOfTurn),
        }
    }

    /// The content ends here.
    ///
    /// # Errors
    ///
    /// As for [`send_content`](Self::send_content); [`UsageError::ContentMismatch`] too where the
    /// content is shorter than the transaction says.
    pub fn finish_content(&mut self, now: Timestamp) -> Result<(), UsageError> {
        if !self.wants_content() {
            return Err(UsageError::OutOfTurn);
        }
        let result = match self.phase {
            Phase::Content => self.end_content(now),
            _ => Err(UsageError::ContentMismatch),
        };
        self.fail_content(result)
    }

    fn fail_content(&mut self, result: Result<(), UsageError>) -> Result<(), UsageError> {
        if result.is_err() {
            self.interrupt(Cause::Content, Ending::Abandoned);
        }
        result
    }

    /// Asks for content from `lookbehind` octets before the offset on.
    pub(super) fn ask_content(&mut self, lookbehind: u8) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let start = attempt.from.saturating_sub(u64::from(lookbehind));
        attempt.asked = true;
        attempt.lookbehind = lookbehind;
        attempt.given = start;
        self.events.push_back(Event::SendContent {
            start: OctetOffset::new(start),
            lookbehind,
        });
    }

    /// Takes the octets before the offset; tells whether all are there.
    fn look(&mut self, content: &mut &[u8]) -> bool {
        let Some(attempt) = &mut self.attempt else {
            return false;
        };
        while attempt.look.len() < usize::from(attempt.lookbehind) {
            let Some((octet, rest)) = content.split_first() else {
                return false;
            };
            attempt.look.push(*octet);
            attempt.given += 1;
            *content = rest;
        }
        true
    }

    /// Whether the offset of a 355 is one to go on from (CP-33).
    fn judge(&mut self, now: Timestamp, content: &mut &[u8]) {
        let looked = self.look(content);
        let policy = self.config.faults;
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let next = if attempt.from == attempt.octets() {
            // The CRLF that DATA adds to the last line.
            Some(b'\r')
        } else {
            content.first().copied()
        };
        if !looked || next.is_none() {
            return;
        }
        let offset = OctetOffset::new(attempt.from);
        match DotEncoder::resume(offset, &attempt.look, next) {
            Ok(encoder) => {
                attempt.encoder = Encoder::Dot(encoder.with_policy(policy));
                self.begin_envelope(now);
            }
            Err(_) => self.refuse_offset(now, offset),
        }
    }

    /// The server takes content.
    pub(super) fn begin_content(&mut self, now: Timestamp) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if attempt.is_complete() {
            // The empty data command: it asks for the reply that the server retained.
            let (end, verb): (&[u8], _) = match attempt.used.command {
                ContentCommand::Data => (b".\r\n", EndingVerb::Data),
                ContentCommand::Bdat | ContentCommand::Burl => {
                    (b"BDAT 0 LAST\r\n", EndingVerb::BdatLast)
                }
            };
            self.output.buffer().extend_from_slice(end);
            self.ended(now, verb);
        } else if attempt.used.command == ContentCommand::Burl {
            let url = attempt.transaction.url().unwrap_or_default();
            let Ok(line) = CommandLine::burl(Burl { url, last: true }) else {
                // Checked when the transaction was built.
                return self.interrupt(Cause::Content, Ending::Abandoned);
            };
            let buffer = self.output.buffer();
            buffer.extend_from_slice(line.as_bytes());
            buffer.extend_from_slice(b"\r\n");
            self.ended(now, EndingVerb::BurlLast);
        } else if !attempt.asked {
            self.ask_content(0);
        }
    }

    fn take_content(&mut self, now: Timestamp, content: &mut &[u8]) -> Result<(), UsageError> {
        if !self.look(content) {
            return Ok(());
        }
        let room = self.room();
        let Some(attempt) = &mut self.attempt else {
            return Ok(());
        };
        let left = attempt.octets().saturating_sub(attempt.given);
        if content.len() as u64 > left {
            return Err(UsageError::ContentMismatch);
        }
        let before = content.len();
        let was_empty = self.output.pending() == 0;
        match &mut attempt.encoder {
            Encoder::Dot(encoder) => {
                let encoded = encoder.encode(content, self.output.buffer(), room);
                encoded.map_err(|_| UsageError::ContentOctets)?;
            }
            Encoder::Chunks { checker, chunk } => {
                let most = self.config.chunk_size.saturating_sub(chunk.len());
                let (taken, rest) = content.split_at(most.min(content.len()));
                if let Some(checker) = checker {
                    if chunk.is_empty() && checker.offset().get() < attempt.from {
                        let at = OctetOffset::new(attempt.from);
                        *checker = ContentChecker::starting_at(at, attempt.look.last().copied());
                    }
                    checker.check(taken);
                    if checker.faults().refused_by(self.config.faults).is_some() {
                        return Err(UsageError::ContentOctets);
                    }
                }
                chunk.extend_from_slice(taken);
                *content = rest;
            }
        }
        let taken = (before - content.len()) as u64;
        attempt.given += taken;
        if taken > 0 {
            attempt.sent = attempt.sent.max(Sent::Data);
        }
        if was_empty {
            self.since = now;
        }
        self.flush_chunks(now);
        Ok(())
    }

    fn end_content(&mut self, now: Timestamp) -> Result<(), UsageError> {
        let Some(attempt) = &mut self.attempt else {
            return Ok(());
        };
        if attempt.given != attempt.octets() {
            return Err(UsageError::ContentMismatch);
        }
        let size = attempt.size();
        match &mut attempt.encoder {
            Encoder::Dot(encoder) => {
                if encoder.canonical_len() != size {
                    return Err(UsageError::ContentMismatch);
                }
                let end = encoder.finish().map_err(|_| UsageError::ContentOctets)?;
                attempt.finished = true;
                self.output.buffer().extend_from_slice(end);
                self.ended(now, EndingVerb::Data);
            }
            Encoder::Chunks { checker, .. } => {
                let faults = checker.as_ref().map(ContentChecker::finish);
                if faults.is_some_and(|faults| faults.refused_by(self.config.faults).is_some()) {
                    return Err(UsageError::ContentOctets);
                }
                attempt.finished = true;
                self.flush_chunks(now);
            }
        }
        Ok(())
    }

    /// Writes the chunks that may go: full ones while content is to come; the last one when the
    /// content has ended and every chunk before it is accepted, so that the end of the data never
    /// follows a refused chunk.
    pub(super) fn flush_chunks(&mut self, now: Timestamp) {
        if self.phase != Phase::Content {
            return;
        }
        let room = self.room();
        let chunk_size = self.config.chunk_size;
        let idle = self.owed.is_empty();
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let more = attempt.given < attempt.octets();
        let (finished, pipelining) = (attempt.finished, attempt.pipelining);
        let Encoder::Chunks { chunk, .. } = &mut attempt.encoder else {
            return;
        };
        let last = finished && idle;
        let full = chunk.len() >= chunk_size && more && (pipelining || idle) && room > 0;
        if !last && !full {
            return;
        }
        let chunk: BytesMut = chunk.split();
        let line = CommandLine::bdat(Bdat {
            size: chunk.len() as u64,
            last,
        });
        let buffer = self.output.buffer();
        buffer.extend_from_slice(line.as_bytes());
        buffer.extend_from_slice(b"\r\n");
        buffer.extend_from_slice(&chunk);
        if last {
            self.ended(now, EndingVerb::BdatLast);
        } else {
            self.owe(now, Expect::Chunk);
        }
    }

    /// The end of the data is written: its replies are due.
    fn ended(&mut self, now: Timestamp, verb: EndingVerb) {
        let end = self.output.position();
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.sent = Sent::EndOfData;
        attempt.end = Some(end);
        if let Some(rdlv) = &mut attempt.rdlv {
            if verb != EndingVerb::Data {
                rdlv.machine.submitted(verb);
            }
            rdlv.machine.end_written(now);
        }
        self.step(Step::End);
        self.owe_finals(now);
    }

    /// The replies to the end of the data are due.
    pub(super) fn owe_finals(&mut self, now: Timestamp) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        if attempt.transaction.is_lmtp() {
            for index in attempt.accepted() {
                self.owe(now, Expect::Final(index));
            }
        } else {
            self.owe(now, Expect::Final(0));
        }
    }
}
