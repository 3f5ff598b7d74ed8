//! The outcome of an attempt: what decides, what only ends it, and what the server is left in.

use alloc::boxed::Box;

use super::attempt::AfterReset;
use super::event::{Ending, Event};
use super::state::{Phase, Step};
use super::{ClientSession, Expect};
use crate::checkpoint::{Cause, Outcome, Sent, Stage, UnfinishedTransaction, is_decisive};
use crate::command::CommandLine;
use crate::error::{PeerError, UsageError};
use crate::rdlv::{self, ReplyOutcome};
use crate::reply::{Reply, Severity};
use crate::time::Timestamp;

impl ClientSession {
    pub(super) fn on_final(&mut self, now: Timestamp, index: usize, reply: Reply) {
        let Some(reply) = self.final_under_rdlv(now, index, reply) else {
            return;
        };
        let is_last = self.owed.is_empty();
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if attempt.declined.is_some() {
            return self.drained(now);
        }
        if reply.severity() == Severity::Intermediate {
            return self.fail(PeerError::UnexpectedReply);
        }
        // Without a TRANSID no restart could tell more than the reply does.
        if attempt.used.transid && !is_decisive(Stage::EndOfData, &reply) {
            attempt.declined = Some((Stage::EndOfData, reply.compact()));
            self.step(Step::Drain);
            return self.drained(now);
        }
        if attempt.transaction.is_lmtp() {
            attempt.finals.push((index, reply.excerpt()));
            let finals = is_last.then(|| core::mem::take(&mut attempt.finals));
            self.events.push_back(Event::FinalReply { index, reply });
            if let Some(replies) = finals {
                self.conclude(now, Outcome::PerRecipient { replies }, true);
            }
            return;
        }
        let outcome = match reply.severity() {
            Severity::Completion => Outcome::Delivered { reply },
            Severity::TransientFailure => Outcome::Deferred { reply },
            _ => Outcome::Refused { reply },
        };
        self.conclude(now, outcome, true);
    }

    /// 421 in the place of the final reply: without a TRANSID it is a 4yz as any other (RFC 5321
    /// §3.8). With LMTP the recipients behind it have no reply, so that it decides nothing; nor
    /// does it behind a 120.
    pub(super) fn is_deferred_by_closing(&mut self, now: Timestamp, reply: &Reply) -> bool {
        let due = matches!(self.owed.front(), Some(owed) if self.output.may_have_left(owed.behind));
        let Some(attempt) = &mut self.attempt else {
            return false;
        };
        let plain =
            !attempt.used.transid && !attempt.transaction.is_lmtp() && attempt.declined.is_none();
        self.phase == Phase::Final
            && due
            && plain
            && attempt.rdlv.as_mut().is_none_or(|rdlv| {
                let over = rdlv.machine.handle_reply(now, reply);
                over == ReplyOutcome::Over(rdlv::Outcome::ServerClosed)
            })
    }

    /// A reply that changes nothing any more has come.
    pub(super) fn drained(&mut self, now: Timestamp) {
        if !self.owed.is_empty() {
            return;
        }
        let Some(attempt) = &self.attempt else {
            return;
        };
        if attempt.repeat.is_some() {
            return self.repeat_without_rdlv(now);
        }
        let stage = attempt.declined.as_ref().map(|(stage, _)| *stage);
        let held = attempt.restart;
        let Some(outcome) = self.declined() else {
            return;
        };
        match stage {
            // The server has no transaction open.
            Some(Stage::Mail) => self.conclude(now, outcome, true),
            // It has one, and nothing in it.
            Some(Stage::Rdlv | Stage::Data) | None if !held => self.reset(now, outcome),
            // RSET would discard what the server holds (CP-16).
            _ => self.conclude(now, outcome, false),
        }
    }

    /// The lone dot is answered, and the transaction over, whatever the reply says.
    pub(super) fn on_lone_dot(&mut self, now: Timestamp) {
        let outcome = self.declined();
        self.conclude_with(now, outcome, true);
    }

    /// The server said no while content was being sent: the message cannot be ended any more.
    pub(super) fn refused_early(&mut self, reply: Reply) {
        if let Some(attempt) = &mut self.attempt {
            attempt.declined = Some((Stage::Content, reply.compact()));
        }
        if let Some(outcome) = self.declined() {
            self.tell(outcome);
        }
        self.close(Ending::RefusedEarly);
    }

    /// Brings what was sent into the transaction. The attempt stays until the outcome is told.
    fn settle(&mut self) -> Option<(UnfinishedTransaction, bool)> {
        let (scope, server) = (self.scope(), self.connection.server.clone());
        let attempt = self.attempt.as_mut()?;
        let never_left = |end| !self.output.may_have_left(end);
        if attempt.sent == Sent::EndOfData && attempt.end.is_some_and(never_left) {
            attempt.sent = Sent::Data;
        }
        let mut transaction = attempt.transaction.clone();
        let plain_end = attempt.sent == Sent::EndOfData && !attempt.used.transid;
        // What was sent of a plain transaction is nothing to go on from.
        if attempt.sent > Sent::Nothing && attempt.used.transid {
            transaction.will_send(attempt.used_from_the_start(), scope, server);
            transaction.may_have_sent(attempt.sent);
        } else if plain_end {
            // But that it may have been taken whole is never forgotten.
            transaction.will_store(attempt.used, scope, server);
            transaction.may_have_sent(Sent::EndOfData);
        }
        Some((transaction, plain_end))
    }

    /// The attempt ended without a decision.
    pub(super) fn undecided(&mut self, cause: Cause) -> Option<Outcome> {
        let max_attempts = self.config.restart.attempts;
        let (transaction, plain_end) = self.settle()?;
        let given_up =
            transaction.sent() == Sent::EndOfData && transaction.attempts() >= max_attempts;
        // Sent whole by an earlier attempt without TRANSID.
        let was_unknown = transaction.sent() == Sent::EndOfData && !transaction.is_restart();
        let transaction = Box::new(transaction);
        Some(if plain_end || was_unknown || given_up {
            Outcome::Unknown { cause, transaction }
        } else {
            Outcome::Interrupted { cause, transaction }
        })
    }

    /// The caller gave the message up, and nothing says what became of it.
    pub(super) fn unknown(&mut self, cause: Cause) -> Option<Outcome> {
        let (transaction, _) = self.settle()?;
        let transaction = Box::new(transaction);
        Some(Outcome::Unknown { cause, transaction })
    }

    /// This TRANSID leads nowhere.
    pub(super) fn fruitless(&mut self, cause: Cause) -> Option<Outcome> {
        let (transaction, _) = self.settle()?;
        let sent = transaction.sent();
        let transaction = Box::new(transaction);
        Some(if sent == Sent::EndOfData {
            Outcome::Unknown { cause, transaction }
        } else {
            Outcome::StartOver { cause, transaction }
        })
    }

    /// The server said no. That decides nothing once the end of the data was sent (CP-35).
    pub(super) fn declined(&mut self) -> Option<Outcome> {
        let attempt = self.attempt.as_ref()?;
        let refusal = attempt.declined.clone().or_else(|| {
            let mut recipients = attempt.transaction.envelope().recipients();
            Some((
                Stage::Rcpt,
                recipients.find_map(|rcpt| rcpt.reply().cloned())?,
            ))
        });
        let no_recipients = attempt.declined.is_none();
        let resumed = attempt.resumed;
        let (transaction, plain_end) = self.settle()?;
        let (stage, reply) = refusal?;
        // Nor does a reply in place of 354 after a 355.
        let after_355 = resumed && stage == Stage::Data;
        if plain_end || after_355 || transaction.sent() == Sent::EndOfData {
            return self.undecided(Cause::Answered(stage, reply));
        }
        let transaction = Box::new(transaction);
        Some(if no_recipients {
            Outcome::NoRecipients { transaction }
        } else {
            Outcome::Declined {
                stage,
                reply,
                transaction,
            }
        })
    }

    /// Gets the server out of the transaction, then tells the outcome.
    pub(super) fn reset(&mut self, now: Timestamp, outcome: impl Into<Option<Outcome>>) {
        let Some(outcome) = outcome.into() else {
            return;
        };
        self.stop_content();
        self.open = None;
        if let Some(attempt) = &mut self.attempt {
            attempt.after_reset = AfterReset::Conclude(Box::new(outcome));
        }
        self.step(Step::Reset);
        self.command(now, CommandLine::rset().as_bytes(), Expect::Reset);
    }

    pub(super) fn conclude_with(&mut self, now: Timestamp, outcome: Option<Outcome>, usable: bool) {
        if let Some(outcome) = outcome {
            self.conclude(now, outcome, usable);
        }
    }

    /// Tells the outcome. `usable`: the server has no transaction open.
    pub(super) fn conclude(&mut self, _now: Timestamp, outcome: Outcome, usable: bool) {
        self.usable = usable;
        self.step(Step::Conclude);
        self.tell(outcome);
    }

    pub(super) fn tell(&mut self, outcome: Outcome) {
        self.stop_content();
        self.attempt = None;
        self.open = None;
        self.events.push_back(Event::Done(outcome));
    }

    pub(super) fn stop_content(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            if attempt.asked && !attempt.finished {
                attempt.finished = true;
                self.events.push_back(Event::StopContent);
            }
        }
    }

    /// The outcome is stored: QUIT or another transaction may follow. Where the server is left in
    /// the middle of a transaction that a RSET would discard, QUIT is sent at once.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] where no outcome was told.
    pub fn outcome_stored(&mut self, now: Timestamp) -> Result<(), UsageError> {
        match self.phase {
            Phase::Concluded if self.usable => self.ready(),
            Phase::Concluded => self.say_quit(now, Ending::Quit),
            Phase::Closed => {}
            _ => return Err(UsageError::OutOfTurn),
        }
        Ok(())
    }

    /// The session ends, and with it the attempt.
    pub(super) fn interrupt(&mut self, cause: Cause, ending: Ending) {
        if let Some(outcome) = self.pending_outcome(cause) {
            self.tell(outcome);
        }
        self.close(ending);
    }

    /// What the end of the session makes of the attempt. An outcome that only waited for the
    /// reply to RSET stands.
    fn pending_outcome(&mut self, cause: Cause) -> Option<Outcome> {
        if !self.phase.in_transaction() {
            return None;
        }
        let unanswered = matches!(cause, Cause::Lost | Cause::TimedOut | Cause::Abandoned);
        match self.phase {
            Phase::Detaching if unanswered => return self.undecided(Cause::DetachUnanswered),
            Phase::Aborting if unanswered => return self.unknown(Cause::AbortUnanswered),
            Phase::Aborting => return self.unknown(cause),
            _ => {}
        }
        let is_over = self.phase == Phase::Draining;
        let attempt = self.attempt.as_mut()?;
        match core::mem::replace(&mut attempt.after_reset, AfterReset::MailAgain) {
            AfterReset::Conclude(outcome) => Some(*outcome),
            AfterReset::MailAgain if is_over && attempt.repeat.is_none() => self.declined(),
            AfterReset::MailAgain => self.undecided(cause),
        }
    }
}
