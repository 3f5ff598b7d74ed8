//! Data commands that are refused, and the octets of refused chunks: they are read as what they
//! were sent as, and thrown away.

use alloc::boxed::Box;

use bytes::Buf;

use super::ServerSession;
use super::content::DataCommand;
use super::event::Ending;
use super::progress::Finding;
use super::state::Step;
use crate::error::PeerError;
use crate::rdlv::Decision;
use crate::reply::{Reply, standard};
use crate::time::Timestamp;

/// A refused chunk that is still coming in.
#[derive(Debug)]
pub(super) struct Drain {
    left: u64,
    error: PeerError,
    reply: Reply,
    /// How often it is owed.
    replies: usize,
    window_start: Timestamp,
    window_octets: u64,
}

impl ServerSession {
    /// The data command is refused; the transaction stands, but a refused chunk spoils it.
    pub(super) fn refuse_data(&mut self, reply: Reply) {
        self.work.transaction.refuse_data();
        let last = match self.work.content.command {
            Some(DataCommand::Chunk { last, .. } | DataCommand::Burl { last, .. }) => last,
            Some(DataCommand::Data) | None => false,
        };
        if last && self.work.transaction.is_complete() {
            // The client would take it for the decision, and send the message anew.
            return self.close(Some(standard::NO_ANSWER.into()), Ending::Closed);
        }
        match self.work.content.command.take() {
            Some(DataCommand::Chunk { size, last }) => {
                let replies = self.replies_to_chunk(last);
                self.spoil(last);
                self.drain(size, (PeerError::BadSequence, reply), replies);
            }
            Some(DataCommand::Burl { last, .. }) => self.refuse_chunk(reply, last),
            Some(DataCommand::Data) | None => {
                self.go(Step::DataRefused);
                self.refuse(reply);
            }
        }
    }

    /// A chunk, or the content of a URL, is refused: nothing of the transaction can be completed.
    pub(super) fn refuse_chunk(&mut self, reply: Reply, last: bool) {
        let replies = self.replies_to_chunk(last);
        if last && self.progress_is_unanswered() {
            if reply.code().get() == 421 {
                return self.close(Some(reply), Ending::Closed);
            }
            let replies = alloc::vec![reply; replies];
            return self.conclude(&replies, Decision::Refused, Finding::UrlRefused);
        }
        self.spoil(last);
        self.refuse_each(&reply, replies);
    }

    /// How many replies a refused chunk gets: with LMTP the last one has one for each accepted
    /// recipient (RFC 2033 §4.3).
    pub(super) fn replies_to_chunk(&self, last: bool) -> usize {
        if last && self.phase.in_transaction() {
            self.work.transaction.expected_replies().max(1)
        } else {
            1
        }
    }

    fn refuse_each(&mut self, reply: &Reply, replies: usize) {
        if reply.code().get() == 421 {
            return self.refuse(reply.clone());
        }
        for _ in 0..replies {
            self.refuse(reply.clone());
        }
    }

    /// Throws away the octets of a refused chunk that are still to come, then answers.
    pub(super) fn drain(&mut self, left: u64, (error, reply): (PeerError, Reply), replies: usize) {
        self.work.drain = Some(Box::new(Drain {
            left,
            error,
            reply,
            replies,
            window_start: self.now,
            window_octets: 0,
        }));
    }

    /// Throws away octets of a refused chunk; false where more have to come.
    pub(super) fn drain_chunk(&mut self) -> bool {
        let Some(drain) = &mut self.work.drain else {
            return false;
        };
        let mut here = 0;
        if let Some(mut input) = self.input.take() {
            here = (input.len() as u64).min(drain.left);
            input.advance(usize::try_from(here).unwrap_or(input.len()));
            if !input.is_empty() {
                self.input = Some(input);
            }
        }
        drain.left -= here;
        drain.window_octets = drain.window_octets.saturating_add(here);
        if here > 0 {
            self.since = self.now;
        }
        if drain.left > 0 {
            return false;
        }
        if let Some(drain) = self.work.drain.take() {
            // A refusal by the caller has been told to nobody else.
            if drain.error == PeerError::BadSequence && drain.reply.code().get() != 503 {
                self.refuse_each(&drain.reply, drain.replies);
            } else {
                for _ in 1..drain.replies {
                    self.reply(drain.reply.clone());
                }
                self.fault(drain.error, drain.reply);
            }
        }
        true
    }

    /// When enough of a chunk that is thrown away has to have come.
    pub(super) fn drain_deadline(&self) -> Option<Timestamp> {
        let (drain, rate) = (self.work.drain.as_ref()?, self.config.data_rate?);
        Some(drain.window_start + rate.window)
    }

    /// Whether too little of a chunk that is thrown away came within a window that is over; where
    /// enough came, the next begins.
    pub(super) fn drain_is_too_slow(&mut self) -> bool {
        // What has come and was not read yet counts too.
        if self.input.is_some() {
            return false;
        }
        let Some(rate) = self.config.data_rate.filter(|_| self.work.drain.is_some()) else {
            return false;
        };
        let Some(drain) = &mut self.work.drain else {
            return false;
        };
        if self.now < drain.window_start + rate.window {
            return false;
        }
        let too_slow = drain.window_octets < rate.octets;
        drain.window_start = self.now;
        drain.window_octets = 0;
        too_slow
    }
}
