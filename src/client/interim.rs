//! RDLV and DETA: asked for, a 120 answered, and the message sent once more where the server cannot
//! do it that way.
//!
//! What a reply or the time means is decided by [`rdlv::Client`](crate::rdlv::Client); here it is
//! brought into the session.

use alloc::vec::Vec;

use super::attempt::{AfterReset, Again, Rdlv};
use super::config::WithoutRdlv;
use super::event::{Answered, ChoiceError, ChoiceQuestion, Ending, Event, NoRdlv};
use super::state::{Phase, Step};
use super::{ClientSession, Expect};
use crate::checkpoint::{Cause, Outcome, Sent, Stage};
use crate::command::CommandLine;
use crate::error::{PeerError, UsageError};
use crate::rdlv::{self, Choice, ClientTimeout, Repeat, ReplyOutcome, UnknownBecause};
use crate::reply::{Reply, Severity};
use crate::time::Timestamp;

impl ClientSession {
    /// RDLV for the transaction under way: the `maxtimer` asked for, what became of the message so
    /// far, and what a [`Policy`](crate::rdlv::Policy) of the caller's own needs. `None` where it
    /// goes without.
    #[must_use]
    pub fn rdlv(&self) -> Option<&rdlv::Client> {
        let rdlv = self.attempt.as_ref()?.rdlv.as_ref()?;
        Some(&rdlv.machine)
    }

    /// Answers the 120 that is open.
    ///
    /// ```
    /// use smtp_checkpoint::client::{ChoiceError, ChoiceQuestion, ClientSession};
    /// use smtp_checkpoint::rdlv::Choice;
    /// use smtp_checkpoint::time::Timestamp;
    ///
    /// /// What is done with `Event::StillDeciding(question)` on a phone.
    /// fn still_deciding(
    ///     smtp: &mut ClientSession,
    ///     now: Timestamp,
    ///     question: ChoiceQuestion,
    ///     battery_is_low: bool,
    /// ) -> Result<(), ChoiceError> {
    ///     let choice = if battery_is_low && question.can_detach() {
    ///         Choice::Detach
    ///     } else {
    ///         Choice::CarryOn
    ///     };
    ///     smtp.choose(now, question, choice)?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChoiceError`]; nothing has changed.
    pub fn choose(
        &mut self,
        now: Timestamp,
        question: ChoiceQuestion,
        choice: Choice,
    ) -> Result<Answered, ChoiceError> {
        let number = self
            .tokens
            .redeem(&question.token)
            .ok_or(UsageError::ForeignToken)?;
        if self.open != Some(number) || self.phase != Phase::Interim {
            return Ok(Answered::Stale);
        }
        if choice == Choice::Detach && !question.can_detach {
            return Err(ChoiceError::NoDetach(question));
        }
        self.open = None;
        self.make_choice(now, choice);
        Ok(Answered::Taken)
    }

    fn rdlv_mut(&mut self) -> Option<&mut Rdlv> {
        self.attempt.as_mut()?.rdlv.as_mut()
    }

    /// Writes RDLV, the last command of its group, unless it is written.
    pub(super) fn write_rdlv(&mut self, now: Timestamp) {
        let Some(rdlv) = self.rdlv_mut().filter(|rdlv| !rdlv.written) else {
            return;
        };
        // Every machine asks for a time that can be written.
        if let Ok(line) = CommandLine::rdlv(rdlv.machine.rdlv()) {
            rdlv.written = true;
            rdlv.machine.requested();
            self.command(now, line.as_bytes(), Expect::Rdlv);
        }
    }

    pub(super) fn on_rdlv(&mut self, now: Timestamp, reply: Reply) {
        if reply.severity() == Severity::Intermediate {
            return self.fail(PeerError::UnexpectedReply);
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if attempt.declined.is_some() {
            // MAIL was refused, and RDLV stood in its group.
            return self.drained(now);
        }
        let Some(rdlv) = &mut attempt.rdlv else {
            return;
        };
        if rdlv.machine.handle_reply(now, &reply) != ReplyOutcome::Declined {
            return self.advance(now);
        }
        let stop = rdlv.request.otherwise == WithoutRdlv::Stop;
        attempt.rdlv = None;
        if attempt.accepted().is_empty() {
            return self.advance(now);
        }
        if stop {
            attempt.declined = Some((Stage::Rdlv, reply.compact()));
            return self.drained(now);
        }
        self.events.push_back(Event::NoRdlv(NoRdlv::Refused(reply)));
        self.advance(now);
    }

    /// Whether DATA is answered 520, and goes out once more without RDLV.
    pub(super) fn is_impossible_under_rdlv(&mut self, now: Timestamp, reply: &Reply) -> bool {
        let Some(rdlv) = self.rdlv_mut() else {
            return false;
        };
        if !matches!(
            rdlv.machine.handle_reply(now, reply),
            ReplyOutcome::NotPossible(_)
        ) {
            return false;
        }
        let stop = rdlv.request.otherwise == WithoutRdlv::Stop;
        if let Some(attempt) = &mut self.attempt {
            attempt.rdlv = None;
        }
        if stop {
            // It is refused as by any other reply.
            return false;
        }
        let event = Event::NoRdlv(NoRdlv::NotPossible(reply.clone()));
        self.events.push_back(event);
        self.write_data(now);
        true
    }

    /// Takes RDLV's part in a reply to the end of the data; gives back what is left to be read as
    /// ever.
    pub(super) fn final_under_rdlv(
        &mut self,
        now: Timestamp,
        index: usize,
        reply: Reply,
    ) -> Option<Reply> {
        let is_520 = reply.code().get() == 520;
        let attempt = self.attempt.as_mut()?;
        if let Some(again) = &mut attempt.repeat {
            // LMTP: the next of several replies.
            if is_520 {
                again.answered.push(index);
                self.drained(now);
                return None;
            }
            return self.not_all_impossible(reply);
        }
        let Some(rdlv) = &mut attempt.rdlv else {
            // With LMTP it could be another reply to what was sent before.
            let repeats = is_520 && attempt.repeated && attempt.transaction.is_lmtp();
            if repeats || reply.severity() == Severity::Preliminary {
                self.fail(PeerError::UnexpectedReply);
                return None;
            }
            return Some(reply);
        };
        match rdlv.machine.handle_reply(now, &reply) {
            ReplyOutcome::Pass => return Some(reply),
            ReplyOutcome::Over(rdlv::Outcome::Unknown(_)) => {
                self.fail(PeerError::UnexpectedReply);
            }
            ReplyOutcome::Over(_) => return Some(reply),
            ReplyOutcome::Interim => {
                // None of the replies owed comes before CONT.
                self.owed.clear();
                self.step(Step::Interim);
                self.ask_choice(now, reply);
            }
            ReplyOutcome::NotPossible(repeat) => {
                self.not_possible(repeat, Stage::EndOfData, index, reply);
                if repeat == Repeat::Verb {
                    // The verb is rejected as a whole, and the transaction open as before.
                    self.owed.clear();
                }
                self.drained(now);
            }
            ReplyOutcome::Accepted
            | ReplyOutcome::Declined
            | ReplyOutcome::DetachRefused
            | ReplyOutcome::Unexpected => self.fail(PeerError::UnexpectedReply),
        }
        None
    }

    /// 520: RDLV and the verb are rejected, and nothing of the message was taken
    /// (draft-burger-smtp-rdlv-01 §3.2.1).
    pub(super) fn not_possible(
        &mut self,
        repeat: Repeat,
        stage: Stage,
        index: usize,
        reply: Reply,
    ) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some(rdlv) = attempt.rdlv.take() else {
            return;
        };
        let stop = rdlv.request.otherwise == WithoutRdlv::Stop;
        attempt.repeat = Some(Again {
            repeat,
            stage,
            reply: reply.clone().compact(),
            answered: Vec::from([index]),
            stop,
        });
        if !stop {
            let event = Event::NoRdlv(NoRdlv::NotPossible(reply));
            self.events.push_back(event);
        }
    }

    /// LMTP: a recipient was not answered 520, so that nothing is sent once more. Nobody may get it
    /// twice.
    fn not_all_impossible(&mut self, reply: Reply) -> Option<Reply> {
        if matches!(
            reply.severity(),
            Severity::Preliminary | Severity::Intermediate
        ) {
            self.fail(PeerError::UnexpectedReply);
            return None;
        }
        let attempt = self.attempt.as_mut()?;
        let again = attempt.repeat.take()?;
        if attempt.used.transid {
            // 520 decides nothing under a TRANSID (CP-35).
            attempt.declined = Some((Stage::EndOfData, again.reply));
            self.step(Step::Drain);
            return Some(reply);
        }
        for index in again.answered {
            let reply = again.reply.clone();
            attempt.finals.push((index, reply.clone()));
            self.events.push_back(Event::FinalReply { index, reply });
        }
        Some(reply)
    }

    /// All replies owed have come, and the message is sent once more; or not.
    pub(super) fn repeat_without_rdlv(&mut self, now: Timestamp) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some(again) = attempt.repeat.take() else {
            return;
        };
        attempt.sent = attempt.sent.min(Sent::Data);
        attempt.end = None;
        attempt.repeated = true;
        if again.stop {
            let held = attempt.restart;
            attempt.declined = Some((again.stage, again.reply));
            let outcome = self.declined();
            if held {
                // RSET would discard what the server holds (CP-16).
                return self.conclude_with(now, outcome, false);
            }
            return self.reset(now, outcome);
        }
        match again.repeat {
            Repeat::Verb => {
                self.step(Step::Content);
                self.begin_content(now);
            }
            Repeat::Transaction => {
                attempt.after_reset = AfterReset::MailAgain;
                self.step(Step::Reset);
                self.command(now, CommandLine::rset().as_bytes(), Expect::Reset);
            }
        }
    }

    /// A 120 is open: the policy chooses, or the caller is asked.
    fn ask_choice(&mut self, now: Timestamp, reply: Reply) {
        let Some(rdlv) = self.rdlv_mut() else {
            return;
        };
        if let Some(policy) = rdlv.request.policy {
            let choice = policy.choose(&rdlv.machine, now);
            self.events.push_back(Event::Chosen { reply, choice });
            return self.make_choice(now, choice);
        }
        let can_detach = rdlv.machine.can_detach();
        let until = rdlv.machine.choose_until().unwrap_or(now);
        let token = self.tokens.issue();
        self.open = Some(token.number());
        self.events.push_back(Event::StillDeciding(ChoiceQuestion {
            token,
            reply,
            can_detach,
            until,
        }));
    }

    fn make_choice(&mut self, now: Timestamp, choice: Choice) {
        let chosen = self
            .rdlv_mut()
            .and_then(|rdlv| rdlv.machine.choose(now, choice).ok());
        let Some(line) = chosen else {
            return;
        };
        match choice {
            Choice::CarryOn => {
                self.step(Step::CarryOn);
                let buffer = self.output.buffer();
                buffer.extend_from_slice(line.as_bytes());
                buffer.extend_from_slice(b"\r\n");
                self.owe_finals(now);
            }
            Choice::Detach => {
                self.step(Step::Detach);
                self.command(now, line.as_bytes(), Expect::Detach);
            }
            Choice::Abort => {
                self.step(Step::Abort);
                self.command(now, line.as_bytes(), Expect::Abort);
            }
        }
    }

    pub(super) fn on_detach(&mut self, now: Timestamp, reply: Reply) {
        let Some(rdlv) = self.rdlv_mut() else {
            return;
        };
        match rdlv.machine.handle_reply(now, &reply) {
            ReplyOutcome::Over(rdlv::Outcome::Detached) => {
                self.tell(Outcome::Detached { reply });
                self.close(Ending::Detached);
            }
            ReplyOutcome::DetachRefused => {
                self.step(Step::Interim);
                self.ask_choice(now, reply);
            }
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    /// RSET is answered. What is refused came too late: the message stands as the server decided,
    /// which a restart tells.
    pub(super) fn on_abort(&mut self, now: Timestamp, reply: Reply) {
        let Some(rdlv) = self.rdlv_mut() else {
            return;
        };
        let over = rdlv.machine.handle_reply(now, &reply);
        let cause = |reply: Reply| Cause::Answered(Stage::Reset, reply.compact());
        match over {
            ReplyOutcome::Over(rdlv::Outcome::Aborted) => {
                self.conclude(now, Outcome::Aborted { reply }, true);
            }
            ReplyOutcome::Over(rdlv::Outcome::Unknown(UnknownBecause::ResetAccepted)) => {
                let outcome = self.unknown(cause(reply));
                self.conclude_with(now, outcome, true);
            }
            ReplyOutcome::Over(rdlv::Outcome::Unknown(UnknownBecause::ResetRefused)) => {
                let outcome = self.undecided(cause(reply));
                self.conclude_with(now, outcome, false);
            }
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    /// When [`rdlv_timeout`](Self::rdlv_timeout) is due. What is still being transmitted is waited
    /// for as any other data.
    pub(super) fn rdlv_deadline(&self) -> Option<Timestamp> {
        let machine = self.rdlv()?;
        match self.phase {
            Phase::Interim => machine.poll_timeout(),
            Phase::Final | Phase::Detaching | Phase::Aborting if self.output.pending() == 0 => {
                machine.poll_timeout()
            }
            _ => None,
        }
    }

    pub(super) fn rdlv_timeout(&mut self, now: Timestamp) {
        let Some(rdlv) = self.rdlv_mut() else {
            return;
        };
        match rdlv.machine.handle_timeout(now) {
            ClientTimeout::Nothing => {}
            ClientTimeout::Warning => self.events.push_back(Event::ChoiceDue),
            ClientTimeout::Over(rdlv::Outcome::Unknown(UnknownBecause::NoChoice)) => {
                self.interrupt(Cause::NoChoice, Ending::Abandoned);
            }
            ClientTimeout::Over(_) => {
                self.events.push_back(Event::PeerFault(PeerError::TimedOut));
                self.interrupt(Cause::TimedOut, Ending::TimedOut);
            }
        }
    }
}
