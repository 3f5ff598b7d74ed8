//! The caller's answers: one method for each question.
//!
//! A token that does not fit the open question is stale, and nothing changes. An answer that
//! cannot stand there comes back with its question in a [`Misanswered`], so that it can be answered
//! again.

use alloc::sync::Arc;

use super::event::{
    AbandonAnswer, AbandonQuestion, AbortQuestion, Answered, AuthAnswer, AuthFailure, AuthQuestion,
    AuthResponseQuestion, AwaitAnswer, AwaitQuestion, BurlAnswer, BurlQuestion, CommandAnswer,
    CommandQuestion, ConnectionAnswer, ConnectionQuestion, DataAnswer, DataQuestion,
    DetachQuestion, EndOfDataAnswer, EndOfDataQuestion, Ending, Event, HelloAnswer, HelloQuestion,
    MailAnswer, MailQuestion, Misanswered, RcptQuestion, StartTlsAnswer, StartTlsQuestion,
};
use super::progress::Finding;
use super::state::{Phase, Step};
use super::{ServerSession, Slot};
use crate::checkpoint::{Claim, Confirmation, MailOutcome, Offered, Verdict};
use crate::command::base64;
use crate::error::{PeerError, UsageError};
use crate::rdlv::{Decision, DetachAnswer, ResetAnswer};
use crate::reply::{Reply, Severity, standard};
use crate::time::Timestamp;
use crate::token::Token;

/// What an answer method gives: what became of the answer, or the question back.
pub type Answer<Q> = Result<Answered, Misanswered<Q>>;

fn is_refusal(reply: &Reply) -> bool {
    matches!(
        reply.severity(),
        Severity::TransientFailure | Severity::PermanentFailure
    )
}

fn is_acceptance(reply: &Reply) -> bool {
    reply.severity() == Severity::Completion
}

/// Gives the question back where a condition does not hold.
macro_rules! ensure {
    ($condition:expr, $question:expr, $error:ident) => {
        if !$condition {
            return Err(Misanswered {
                question: $question,
                error: UsageError::$error,
            });
        }
    };
}

impl ServerSession {
    /// Whether `token` is of this session.
    fn knows(&self, token: &Token) -> bool {
        self.tokens.redeem(token).is_some()
    }

    /// Takes the open question of the phase if `token` is its own.
    fn take_asked(&mut self, now: Timestamp, token: &Token) -> bool {
        self.note_time(now);
        let current = self.asked == Some(token.number());
        if current {
            self.asked = None;
        }
        current
    }

    /// Whether the verdict has the final replies that are owed. A stale one is not looked at.
    fn check_verdict(&self, token: &Token, verdict: &Verdict) -> Result<(), UsageError> {
        let current = self.asked == Some(token.number());
        if current {
            verdict.check(self.work.transaction.expected_replies())?;
        }
        Ok(())
    }

    /// Answers [`Event::Connection`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session or the reply is no refusal.
    pub fn answer_connection(
        &mut self,
        now: Timestamp,
        question: ConnectionQuestion,
        answer: ConnectionAnswer,
    ) -> Answer<ConnectionQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let ConnectionAnswer::Refuse(reply) = &answer {
            ensure!(is_refusal(reply), question, ReplyCode);
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        match answer {
            ConnectionAnswer::Accept => self.greet(),
            ConnectionAnswer::Refuse(reply) => self.close(Some(reply), Ending::Closed),
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::Hello`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session or the reply is no refusal.
    pub fn answer_hello(
        &mut self,
        now: Timestamp,
        question: HelloQuestion,
        answer: HelloAnswer,
    ) -> Answer<HelloQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let HelloAnswer::Refuse(reply) = &answer {
            ensure!(is_refusal(reply), question, ReplyCode);
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        match answer {
            HelloAnswer::Accept => self.accept_hello(&question.name, question.extended),
            HelloAnswer::Refuse(reply) => {
                // RFC 5321 §4.1.4: the session stays in the state that it was in.
                self.go(Step::HelloRefused);
                self.refuse(reply);
            }
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::Mail`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session, the reply does not fit, a
    /// claim is given for a MAIL without a TRANSID, or its generation is not above that of the
    /// record.
    pub fn answer_mail(
        &mut self,
        now: Timestamp,
        question: MailQuestion,
        answer: MailAnswer,
    ) -> Answer<MailQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        match &answer {
            MailAnswer::Refuse(reply) => ensure!(is_refusal(reply), question, ReplyCode),
            MailAnswer::Accept { claim, reply } => {
                ensure!(is_acceptance(reply), question, ReplyCode);
                let fits = question.key.is_some() || *claim == Claim::Unrecorded;
                ensure!(fits, question, ClaimWithoutTransId);
                ensure!(claim.is_raised(), question, ClaimNotRaised);
            }
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        let (claim, reply) = match answer {
            MailAnswer::Accept { claim, reply } => (claim, reply),
            MailAnswer::Refuse(reply) => {
                self.work.transaction.clear();
                self.go(Step::MailRefused);
                if self.count_idle() {
                    self.excuse_group();
                    self.refuse(reply);
                }
                return Ok(Answered::Taken);
            }
        };
        let offered = Offered {
            chunking: self.config.offers.chunking,
            burl: self.config.offers.burl.is_some(),
            dsn: self.config.offers.dsn,
        };
        let following = self.following();
        match self
            .work
            .transaction
            .claim(claim, offered, following, reply.clone())
        {
            MailOutcome::Fresh => {
                self.go(Step::MailAccepted);
                self.reply_with(&reply);
            }
            MailOutcome::Restart(offset) => {
                self.go(Step::MailAccepted);
                self.reply(Reply::checkpoint_offset(offset));
                self.work.offset_untold = Some(self.output.position());
            }
            MailOutcome::SequenceError => {
                self.work.transaction.clear();
                self.go(Step::MailRefused);
                self.excuse_group();
                self.fault(PeerError::RestartMismatch, standard::BAD_SEQUENCE);
            }
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::Rcpt`]: 2yz adds the recipient, 4yz and 5yz refuse it.
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session or the reply does not fit.
    pub fn answer_rcpt(
        &mut self,
        now: Timestamp,
        question: RcptQuestion,
        reply: impl Into<Reply>,
    ) -> Answer<RcptQuestion> {
        let reply = reply.into();
        ensure!(self.knows(&question.token), question, ForeignToken);
        let fits = is_acceptance(&reply) || is_refusal(&reply);
        ensure!(fits, question, ReplyCode);
        self.note_time(now);
        let number = question.token.number();
        let slot = self
            .work
            .recipients
            .iter_mut()
            .find(|slot| matches!(slot, Slot::Open(asked) if asked.number == number));
        let Some(slot) = slot else {
            return Ok(Answered::Stale);
        };
        *slot = Slot::Answered(reply.clone());
        if reply.code().get() == 421 {
            self.close(Some(reply), Ending::Closed);
            return Ok(Answered::Taken);
        }
        if let Some(discard) = self
            .work
            .transaction
            .answer_recipient(question.index, reply)
        {
            self.tell(Event::Discard(discard));
        }
        self.flush_recipients();
        Ok(Answered::Taken)
    }

    /// Writes the replies at the front of the group that are known, in the order of the commands.
    pub(super) fn flush_recipients(&mut self) {
        while let Some(Slot::Answered(_)) = self.work.recipients.front() {
            if let Some(Slot::Answered(reply)) = self.work.recipients.pop_front() {
                self.write(&reply);
            }
        }
        if self.work.recipients.is_empty() {
            self.since = self.now;
        }
    }

    /// Answers [`Event::Data`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session or the reply is no refusal.
    pub fn answer_data(
        &mut self,
        now: Timestamp,
        question: DataQuestion,
        answer: DataAnswer,
    ) -> Answer<DataQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let DataAnswer::Refuse(reply) = &answer {
            ensure!(is_refusal(reply), question, ReplyCode);
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        match answer {
            DataAnswer::Proceed | DataAnswer::Unconfirmed(Confirmation::Current) => {
                self.confirm(Confirmation::Current);
                self.begin_content();
            }
            DataAnswer::Refuse(reply) => self.refuse_data(reply),
            DataAnswer::Unconfirmed(Confirmation::Outdated) => {
                self.confirm(Confirmation::Outdated);
                self.close(Some(standard::FENCED.into()), Ending::Closed);
            }
            DataAnswer::Unconfirmed(Confirmation::WrongLength) => {
                self.confirm(Confirmation::WrongLength);
                self.refuse_data(standard::LOCAL_ERROR.into());
            }
        }
        Ok(Answered::Taken)
    }

    fn confirm(&mut self, confirmation: Confirmation) {
        if let Some(discard) = self.work.transaction.confirm(confirmation) {
            self.tell(Event::Discard(discard));
        }
    }

    /// Answers [`Event::Burl`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session or the reply is no refusal.
    pub fn answer_burl(
        &mut self,
        now: Timestamp,
        question: BurlQuestion,
        answer: BurlAnswer,
    ) -> Answer<BurlQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let BurlAnswer::Refuse(reply) = &answer {
            ensure!(is_refusal(reply), question, ReplyCode);
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        match answer {
            BurlAnswer::Stored { octets } => self.burl_stored(octets, question.last),
            BurlAnswer::Refuse(reply) => self.refuse_chunk(reply, question.last),
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::EndOfData`]. The decision is stored by now: the message and, where there
    /// is a record, its completion.
    ///
    /// It may be answered any time, also while a 120 is open: the reply then waits for the client.
    /// Where the client left by DETA the answer is stale, and the decision stands all the same.
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session, or the verdict has not the
    /// final replies that are owed.
    pub fn answer_end_of_data(
        &mut self,
        now: Timestamp,
        question: EndOfDataQuestion,
        answer: EndOfDataAnswer,
    ) -> Answer<EndOfDataQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let EndOfDataAnswer::Decided(verdict) = &answer {
            if let Err(error) = self.check_verdict(&question.token, verdict) {
                return Err(Misanswered { question, error });
            }
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        match answer {
            EndOfDataAnswer::Decided(verdict) => {
                // With it goes its share of the envelope, whose memory the next one can have.
                drop(question);
                let replies = self.work.transaction.final_replies(&verdict);
                self.conclude(&replies, (&verdict).into(), Finding::Decided);
            }
            // Maybe just because it was aborted: the answer to that says so.
            EndOfDataAnswer::Outdated if self.is_resetting() => {}
            EndOfDataAnswer::Outdated => self.close_outdated(),
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::AwaitDecision`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session, or the completion has not
    /// the final replies that are owed.
    pub fn answer_await(
        &mut self,
        now: Timestamp,
        question: AwaitQuestion,
        answer: AwaitAnswer,
    ) -> Answer<AwaitQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let AwaitAnswer::Decided(completion) = &answer {
            let verdict = Verdict::for_each_recipient(completion.replies.iter().cloned());
            if let Err(error) = self.check_verdict(&question.token, &verdict) {
                return Err(Misanswered { question, error });
            }
        }
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        match answer {
            AwaitAnswer::Decided(completion) => {
                self.conclude(&completion.replies, (&completion).into(), Finding::Decided);
            }
            AwaitAnswer::Withdrawn | AwaitAnswer::Outdated if self.is_resetting() => {}
            AwaitAnswer::Withdrawn => {
                self.work.abandon = None;
                self.work.transaction.decide_anew();
                self.decide();
            }
            AwaitAnswer::Outdated => self.close_outdated(),
        }
        Ok(Answered::Taken)
    }

    /// The decision is another session's to tell.
    fn close_outdated(&mut self) {
        self.forget_decision();
        self.close(Some(standard::FENCED.into()), Ending::Closed);
    }

    /// Answers [`Event::Abort`]. Behind it comes the reply to RSET: 250, or 554 where it is too
    /// late (250 by [configuration](crate::rdlv::ServerSettings::late_reset_with_250)); or that to
    /// EHLO or HELO.
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session.
    pub fn answer_abort(
        &mut self,
        now: Timestamp,
        question: AbortQuestion,
        answer: ResetAnswer,
    ) -> Answer<AbortQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        self.note_time(now);
        if self.answer_way_out_by_abort(&question.token, answer) {
            Ok(Answered::Taken)
        } else {
            Ok(Answered::Stale)
        }
    }

    /// Answers [`Event::Detach`]. With [`DetachAnswer::Owned`] the client is told 221 and the
    /// session ends ([`Ending::Detached`]); with a refusal the 120 stays open, so that the client
    /// can still say CONT.
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session.
    pub fn answer_detach(
        &mut self,
        now: Timestamp,
        question: DetachQuestion,
        answer: DetachAnswer,
    ) -> Answer<DetachQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        self.note_time(now);
        if self.answer_way_out_by_detach(&question.token, answer) {
            Ok(Answered::Taken)
        } else {
            Ok(Answered::Stale)
        }
    }

    /// Answers [`Event::Abandon`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session.
    pub fn answer_abandon(
        &mut self,
        now: Timestamp,
        question: AbandonQuestion,
        answer: AbandonAnswer,
    ) -> Answer<AbandonQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        self.note_time(now);
        let current = self
            .work
            .abandon
            .is_some_and(|asked| asked.number == question.token.number());
        if !current {
            return Ok(Answered::Stale);
        }
        self.work.abandon = None;
        match answer {
            AbandonAnswer::Abandoned if self.phase == Phase::Awaiting => {
                self.asked = None;
                self.work.transaction.decide_anew();
                self.decide();
            }
            AbandonAnswer::Abandoned => {
                self.forget_decision();
                self.close(Some(standard::NO_ANSWER.into()), Ending::Closed);
            }
            // No reply promises less than any.
            AbandonAnswer::TooLate => {
                self.forget_decision();
                self.close(None, Ending::Silent);
            }
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::Auth`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session.
    pub fn answer_auth(
        &mut self,
        now: Timestamp,
        question: AuthQuestion,
        answer: AuthAnswer,
    ) -> Answer<AuthQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        self.auth(answer);
        Ok(Answered::Taken)
    }

    /// Answers [`Event::AuthResponse`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session.
    pub fn answer_auth_response(
        &mut self,
        now: Timestamp,
        question: AuthResponseQuestion,
        answer: AuthAnswer,
    ) -> Answer<AuthResponseQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        self.auth(answer);
        Ok(Answered::Taken)
    }

    fn auth(&mut self, answer: AuthAnswer) {
        match answer {
            AuthAnswer::Challenge(challenge) => {
                self.go(Step::Challenge);
                let output = self.output.buffer();
                output.extend_from_slice(b"334 ");
                output.extend_from_slice(&base64::encode(&challenge));
                output.extend_from_slice(b"\r\n");
            }
            AuthAnswer::Success { identity } => {
                self.go(Step::AuthOver);
                self.peer.authenticated = Some(identity);
                self.reply(standard::AUTHENTICATED);
            }
            AuthAnswer::Failure(failure) => {
                self.go(Step::AuthOver);
                self.auth_failed(match failure {
                    AuthFailure::InvalidCredentials => standard::CREDENTIALS_INVALID,
                    AuthFailure::Temporary => standard::AUTH_TEMPORARY_FAILURE,
                    AuthFailure::UnknownMechanism => standard::MECHANISM_UNKNOWN,
                    AuthFailure::TooWeak => standard::MECHANISM_TOO_WEAK,
                    AuthFailure::EncryptionRequired => standard::ENCRYPTION_REQUIRED,
                    AuthFailure::Malformed => standard::AUTH_BAD_BASE64,
                });
            }
        }
    }

    /// Answers [`Event::StartTls`]. Where octets stand behind the command by now, the session ends
    /// whatever the answer is: they could be anybody's (RFC 3207 §6, CVE-2011-0411).
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session.
    pub fn answer_starttls(
        &mut self,
        now: Timestamp,
        question: StartTlsQuestion,
        answer: StartTlsAnswer,
    ) -> Answer<StartTlsQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if !self.take_asked(now, &question.token) {
            return Ok(Answered::Stale);
        }
        if self.input.is_some() {
            self.tell(Event::PeerFault(PeerError::OctetsBeforeTls));
            self.close(Some(standard::BAD_SEQUENCE.into()), Ending::Closed);
            return Ok(Answered::Taken);
        }
        match answer {
            StartTlsAnswer::Proceed => {
                self.go(Step::TlsAccepted);
                self.reply(standard::START_TLS);
            }
            StartTlsAnswer::Refuse => {
                self.go(Step::TlsRefused);
                self.reply(standard::TLS_NOT_AVAILABLE);
            }
        }
        Ok(Answered::Taken)
    }

    /// Answers [`Event::Command`].
    ///
    /// # Errors
    ///
    /// The question comes back where the token is of another session, or the reply is 1yz or 3yz.
    pub fn answer_command(
        &mut self,
        now: Timestamp,
        question: CommandQuestion,
        answer: CommandAnswer,
    ) -> Answer<CommandQuestion> {
        ensure!(self.knows(&question.token), question, ForeignToken);
        if let CommandAnswer::Reply(reply) = &answer {
            let fits = is_acceptance(reply) || is_refusal(reply);
            ensure!(fits, question, ReplyCode);
        }
        self.note_time(now);
        let current = self
            .work
            .aside
            .is_some_and(|asked| asked.number == question.token.number());
        if !current {
            return Ok(Answered::Stale);
        }
        self.work.aside = None;
        self.since = self.now;
        match answer {
            CommandAnswer::Reply(reply) => self.refuse(reply),
            CommandAnswer::Unknown => {
                self.fault(PeerError::UnknownCommand, standard::UNKNOWN_COMMAND);
            }
        }
        Ok(Answered::Taken)
    }

    /// The content taken so far cannot be stored (a failed write or fsync, a full disk): the rest
    /// is drained and answered with `reply`, 4yz or 5yz. What was stored before stays; drop the
    /// octets since the last good sync. The client takes the reply for the outcome: where several
    /// hosts share the keys, none of them may deliver the message from then on
    /// ([the rule](crate::checkpoint::transaction#what-the-store-promises)).
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] where no content has come or none will come any more, and while a
    /// [URL](Event::Burl) is asked about, which is refused by its answer;
    /// [`UsageError::ReplyCode`] for a reply that is no refusal.
    pub fn fail_content(
        &mut self,
        now: Timestamp,
        reply: impl Into<Reply>,
    ) -> Result<(), UsageError> {
        let reply = reply.into();
        if !is_refusal(&reply) {
            return Err(UsageError::ReplyCode);
        }
        // Nothing of a complete message is handed over, and only its own reply may be given.
        let phase = self.phase.but_for_hello();
        if !matches!(phase, Phase::Content | Phase::BetweenChunks)
            || self.work.transaction.is_complete()
        {
            return Err(UsageError::OutOfTurn);
        }
        self.note_time(now);
        // A record that was due and has not been told yet would count what is not stored.
        let counts_content = |event: &Event| matches!(event, Event::CheckpointDue { .. });
        self.events.retain(|event| !counts_content(event));
        self.work.event.take_if(|event| counts_content(event));
        self.work.transaction.fail();
        self.work.content.fail(reply);
        Ok(())
    }

    /// Writes the final reply, or with LMTP the final replies, and ends the transaction.
    pub(super) fn give_final_replies(&mut self, replies: &[Reply], decision: Decision) {
        for reply in replies {
            self.reply_with(reply);
        }
        self.note_completed();
        self.note_given(decision);
        self.end_transaction();
        if self.shutdown.is_some() {
            self.close(Some(standard::SHUTTING_DOWN.into()), Ending::Closed);
        }
    }

    /// Remembers whose replies stand where in the output, for QUIT.
    fn note_completed(&mut self) {
        /// More than a session ever needs; what is over it is not shortened, which is harmless.
        const REMEMBERED: usize = 128;
        if self.work.transaction.generation().is_none() || self.work.completed.len() >= REMEMBERED {
            return;
        }
        if let Some(key) = self.work.transaction.key().cloned() {
            self.work.completed.push((self.output.position(), key));
        }
    }

    pub(super) fn end_transaction(&mut self) {
        self.go(Step::TransactionOver);
        self.work.transaction.clear();
        self.work.content.clear();
        self.asked = None;
        self.work.abandon = None;
        self.idle_commands = 0;
        self.forget_decision();
    }

    /// The configuration, for borrowing while the session changes.
    pub(super) fn config(&self) -> Arc<super::ServerConfig> {
        Arc::clone(&self.config)
    }
}
