//! What drives a session: one step at a time, and how it closes, is lost or times out.
//!
//! Layer 4, private. The methods here are those that every part of the session uses; what each
//! command does stands in `command.rs`, what content does in `content.rs`, and the caller's answers
//! in `answer.rs`.

use alloc::boxed::Box;

use bytes::Bytes;

use super::event::{AbandonQuestion, AbandonReason, Ending, Event};
use super::state::{Phase, Step};
use super::workspace::Workspace;
use super::{Asked, ServerSession, Slot};
use crate::checkpoint::{Identity, Record, Scope, TransactionKey};
use crate::error::PeerError;
use crate::line::{Following, LineReader, end_of_line};
use crate::reply::{Reply, standard};
use crate::time::Timestamp;
use crate::token::Token;

impl ServerSession {
    /// The caller tells the time; it never goes back.
    #[inline]
    pub(super) fn note_time(&mut self, now: Timestamp) {
        if now > self.now {
            self.now = now;
        }
    }

    /// What comes from now on may answer the last 355: it was transmitted, or moved out.
    pub(super) fn note_offset_told(&mut self) {
        let untold = self.work.offset_untold;
        if untold.is_some_and(|offset| self.output.may_have_left(offset)) {
            self.work.offset_untold = None;
            self.work.received_before_offset = self.received;
        }
    }

    /// One step; false where the session waits for the world or the caller.
    pub(super) fn advance(&mut self) -> bool {
        let moved = match self.phase {
            Phase::Closed => return false,
            Phase::Closing => {
                let transmitted = self.output.pending() == 0;
                if !transmitted && !self.broken {
                    return false;
                }
                let ending = self.ending.unwrap_or(Ending::Closed);
                self.end(if transmitted { ending } else { Ending::Lost });
                return true;
            }
            Phase::TlsReply => {
                if self.input.is_some() {
                    self.tell(Event::PeerFault(PeerError::OctetsBeforeTls));
                    self.close(None, Ending::Silent);
                    return true;
                }
                if self.output.pending() == 0 {
                    self.go(Step::TlsTransmitted);
                    self.tell(Event::TlsHandover);
                    return true;
                }
                false
            }
            // What the caller passes before the handshake is over came in clear.
            Phase::TlsHandshake if self.input.is_some() => {
                self.tell(Event::PeerFault(PeerError::OctetsBeforeTls));
                self.close(None, Ending::Silent);
                return true;
            }
            Phase::Content => self.receive(),
            Phase::Sasl => self.read_sasl(),
            Phase::Deciding | Phase::Awaiting | Phase::BurlAsked if self.reads_answer() => {
                self.read_command()
            }
            phase if phase.reads_commands() && self.has_unread() => self.read_command(),
            _ => false,
        };
        if moved || !self.eof {
            return moved;
        }
        let unread = self.work.held.is_some()
            || match self.phase {
                // Commands stand behind the end of the data. Half of one, say of a QUIT that was
                // cut, is nothing to wait for.
                Phase::Deciding | Phase::Awaiting => {
                    end_of_line(self.unread_input(), false).is_some()
                }
                _ => self.input.is_some(),
            };
        let waits_for_caller = self.phase == Phase::Content && !self.work.content.batch_is_empty();
        if (self.broken || !unread) && !waits_for_caller {
            self.lose();
            return true;
        }
        false
    }

    /// Whether there may be a command to read, or a chunk to throw away.
    #[inline]
    fn has_unread(&self) -> bool {
        let waits = |work: &Workspace| work.held.is_some() || work.drain.is_some();
        self.input.is_some() || self.work.get().is_some_and(waits)
    }

    /// Puts back what was not read of the input.
    pub(super) fn put_back(&mut self, input: Bytes) {
        if !input.is_empty() {
            self.input = Some(input);
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        match self.work.get_mut() {
            // Nearly every event is alone, and is told before the next step.
            Some(work) if work.event.is_none() && self.events.is_empty() => {
                work.event = Some(event);
            }
            _ => self.events.push_back(event),
        }
    }

    pub(super) fn has_no_event(&self) -> bool {
        self.events.is_empty() && self.work.get().is_none_or(|work| work.event.is_none())
    }

    /// Takes a step that the table has. One that it has not is an error of this crate, which
    /// changes nothing.
    pub(super) fn go(&mut self, step: Step) {
        match self.phase.after(step) {
            Some(phase) => {
                self.phase = phase;
                self.since = self.now;
            }
            None => debug_assert!(false, "{step:?} in {:?}", self.phase),
        }
    }

    /// Opens the question that the phase waits for.
    pub(super) fn ask(&mut self) -> Token {
        let token = self.tokens.issue();
        self.asked = Some(token.number());
        token
    }

    /// Answers a command: behind the replies to recipients that are still open.
    pub(super) fn reply(&mut self, reply: impl Into<Reply>) {
        if self.work.recipients.is_empty() {
            self.write(&reply.into());
        } else {
            self.work.recipients.push_back(Slot::Answered(reply.into()));
        }
    }

    /// The same, for a reply that is another's.
    pub(super) fn reply_with(&mut self, reply: &Reply) {
        if self.work.recipients.is_empty() {
            self.write(reply);
        } else {
            let answered = Slot::Answered(reply.clone());
            self.work.recipients.push_back(answered);
        }
    }

    /// With its enhanced code, also before a hello and after HELO: RFC 2034 §4 spares the greeting
    /// and the replies to EHLO and HELO, and no others.
    pub(super) fn write(&mut self, reply: &Reply) {
        let enhanced = self.config.offers.enhanced_status_codes && !self.codeless;
        self.codeless = false;
        reply.encode(enhanced, self.output.buffer());
    }

    pub(super) fn greet(&mut self) {
        self.go(Step::Connected);
        self.output.write(&self.config.greeting);
        self.codeless = false;
    }

    /// The peer broke a rule: answer, tell, count.
    pub(super) fn fault(&mut self, error: PeerError, reply: impl Into<Reply>) {
        self.tell(Event::PeerFault(error));
        if error == PeerError::BadSequence && self.excused > 0 {
            self.excused -= 1;
            return self.reply(reply);
        }
        self.errors = self.errors.saturating_add(1);
        if self.errors > self.config.limits.errors {
            self.tell(Event::PeerFault(PeerError::TooManyErrors));
            self.close(Some(standard::TOO_MANY_ERRORS.into()), Ending::Closed);
        } else {
            self.reply(reply);
        }
    }

    /// A MAIL was refused: the rest of its group (RFC 2920 §3.1) is out of turn, and no error.
    pub(super) fn excuse_group(&mut self) {
        let most = u32::try_from(self.config.limits.recipients).unwrap_or(u32::MAX);
        self.excused = most.saturating_add(1);
    }

    /// Refuses what a question asked; 421 ends the session.
    pub(super) fn refuse(&mut self, reply: Reply) {
        if reply.code().get() == 421 {
            self.close(Some(reply), Ending::Closed);
        } else {
            self.reply(reply);
        }
    }

    /// What the key of a transaction is unique within, as things stand.
    pub(super) fn scope(&self) -> Scope<'_> {
        let identity = match (&self.peer.authenticated, &self.peer.tls_client) {
            (Some(identity), _) => Identity::Authenticated(identity),
            (None, Some(identity)) => Identity::TlsClient(identity),
            (None, None) => Identity::Host {
                name: &self.hello,
                address: &self.peer.address,
            },
        };
        Scope {
            identity,
            tls: self.peer.tls,
        }
    }

    /// The record of the transaction as it stands, with its key.
    pub(super) fn record(&mut self) -> Option<(TransactionKey, Box<Record>)> {
        let key = self.work.transaction.key().cloned()?;
        Some((key, self.work.transaction.snapshot()?))
    }

    /// Tells what to keep of a transaction that does not come to its end.
    pub(super) fn interrupt(&mut self) {
        let receiving = matches!(
            self.phase.but_for_hello(),
            Phase::Content
                | Phase::DataAsked
                | Phase::BurlAsked
                | Phase::BetweenChunks
                | Phase::Spoiled
        );
        if receiving {
            if let Some((key, record)) = self.record() {
                self.tell(Event::Interrupted { key, record });
            }
        }
        if self.phase.in_transaction() {
            self.tell(Event::TransactionEnded);
        }
    }

    /// Ends the dialogue: the reply, if any, is the last, and nothing is read any more.
    pub(super) fn close(&mut self, reply: Option<Reply>, ending: Ending) {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        self.leave_decision();
        self.interrupt();
        if let Some(reply) = reply {
            self.write(&reply);
        }
        self.go(Step::Close);
        self.ending = Some(ending);
        self.forget();
    }

    /// The connection was lost: what is open gets no reply.
    pub(super) fn lose(&mut self) {
        self.leave_decision();
        self.interrupt();
        self.end(Ending::Lost);
    }

    pub(super) fn end(&mut self, ending: Ending) {
        if self.phase != Phase::Closing {
            // Else it has been done.
            self.forget();
        }
        self.go(Step::Closed);
        self.output.discard();
        self.tell_untransmitted();
        self.tell(Event::Finished(ending));
    }

    /// Nothing that was asked can be answered any more, nothing that came is read.
    pub(super) fn forget(&mut self) {
        self.asked = None;
        self.input = None;
        self.lines = LineReader::new();
        if self.work.is_made() {
            self.work.aside = None;
            self.work.abandon = None;
            self.work.recipients.clear();
            self.work.held = None;
            self.work.drain = None;
            self.work.content.clear();
            self.forget_decision();
        }
    }

    pub(super) fn ask_abandon(&mut self, reason: AbandonReason) {
        let token = self.tokens.issue();
        self.work.abandon = Some(Asked {
            number: token.number(),
            since: self.now,
        });
        let generation = self.work.transaction.generation();
        let key = generation.and_then(|_| self.work.transaction.key().cloned());
        self.tell(Event::Abandon(AbandonQuestion {
            token,
            key,
            generation,
            reason,
        }));
    }

    pub(super) fn time_out(&mut self) {
        match self.phase {
            Phase::Closed => {}
            Phase::Closing | Phase::TlsReply | Phase::TlsHandshake => {
                self.tell(Event::PeerFault(PeerError::TimedOut));
                self.end(Ending::Lost);
            }
            Phase::Content => self.content_time_out(),
            Phase::Deciding | Phase::Awaiting => self.decision_time_out(),
            Phase::BurlAsked if self.may_take_long() => self.decision_time_out(),
            // The peer was not silent: what came has only to be read.
            phase if (phase.reads_commands() || phase == Phase::Sasl) && self.can_read_on() => {}
            phase if phase.reads_commands() && self.waits_for_peer() => {
                let silent = self.now >= self.since + self.config.timeouts.command;
                let error = if self.drain_is_too_slow() {
                    PeerError::TooSlow
                } else if silent {
                    PeerError::TimedOut
                } else {
                    return;
                };
                self.tell(Event::PeerFault(error));
                self.close(Some(standard::IDLE_TIMEOUT.into()), Ending::Closed);
            }
            Phase::Sasl => {
                self.tell(Event::PeerFault(PeerError::TimedOut));
                self.close(Some(standard::IDLE_TIMEOUT.into()), Ending::Closed);
            }
            _ => self.close(Some(standard::NO_ANSWER.into()), Ending::Closed),
        }
    }

    /// Whether the client has sent on behind the command that is being answered.
    pub(super) fn following(&self) -> Following {
        if self.input.is_none() && !self.lines.is_mid_line() && self.work.held.is_none() {
            Following::Nothing
        } else {
            Following::Input
        }
    }

    /// Whether octets wait that nothing but the caller's next look for events keeps from being
    /// read.
    fn can_read_on(&self) -> bool {
        let waits = self.output.pending() > self.config.limits.output
            || self.work.long.waits_for_taken_back();
        self.input.is_some() && self.waits_for_peer() && !waits
    }

    pub(super) fn waits_for_peer(&self) -> bool {
        self.work.recipients.is_empty() && self.work.aside.is_none()
    }
}
