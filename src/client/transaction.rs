//! The transaction: from `send` to the data command.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::attempt::{AfterReset, Attempt, Rdlv};
use super::config::{RdlvRequest, WithoutRdlv};
use super::event::{Answered, Event, NoRdlv, RecipientVerdict, SendError, StoreQuestion};
use super::state::{Phase, Step};
use super::{ClientSession, Expect};
use crate::checkpoint::{
    Cause, ContentCommand, MissingExtension, Reconnect, Sent, Stage, UnfinishedTransaction, Used,
};
use crate::command::CommandLine;
use crate::ehlo::SizeOffer;
use crate::error::{PeerError, UsageError};
use crate::offset::{OctetOffset, OffsetError};
use crate::protocol::Protocol;
use crate::rdlv::{self, EndingVerb, NotOffered};
use crate::reply::{Reply, Severity};
use crate::time::Timestamp;

impl ClientSession {
    /// Sends a transaction, for the first time or again: the transaction knows. RDLV is asked for
    /// as the [configuration](super::ClientConfigBuilder::rdlv) says.
    ///
    /// [`Event::Store`] comes before anything is sent. The transaction that counts from now on is
    /// the one in the events, and what is stored of it is what the next attempt sends: this one
    /// does not know what was sent since, and sent again it may double the message.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing has changed. All but [`SendError::Usage`], which is a mistake of the
    /// caller's, mean: not here, try the next address.
    pub fn send(
        &mut self,
        now: Timestamp,
        transaction: &UnfinishedTransaction,
    ) -> Result<(), SendError> {
        let rdlv = self.config.rdlv;
        self.send_with_rdlv(now, transaction, rdlv)
    }

    /// As [`send`](Self::send), with this request for RDLV, or without RDLV, whatever the
    /// configuration says.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_with_rdlv(
        &mut self,
        _now: Timestamp,
        transaction: &UnfinishedTransaction,
        request: Option<RdlvRequest>,
    ) -> Result<(), SendError> {
        if self.phase != Phase::Ready {
            return Err(UsageError::OutOfTurn.into());
        }
        if transaction.is_lmtp() != (self.config.protocol == Protocol::Lmtp) {
            return Err(UsageError::TransactionMismatch.into());
        }
        let offered = &self.capabilities;
        let (rdlv, may_detach) = match request {
            Some(request) => match rdlv::Client::new(request.settings, offered) {
                Ok(machine) => {
                    let rdlv = Rdlv {
                        machine,
                        request,
                        written: false,
                    };
                    (Some(rdlv), request.settings.detach.allowed_by(offered))
                }
                Err(not_offered) if request.otherwise == WithoutRdlv::Stop => {
                    return Err(not_offered.into());
                }
                Err(NotOffered) => (None, false),
            },
            None => (None, false),
        };
        let used = match transaction.used() {
            Some(used) if transaction.is_restart() && offered.checkpoint() => {
                used.again(transaction, offered)?
            }
            _ if may_detach => Used::first(transaction, offered)?.detachable(),
            _ => Used::first(transaction, offered)?,
        };
        if transaction.sent() == Sent::EndOfData
            && !(used.transid && transaction.is_restart())
            && !transaction.is_doubling_allowed()
        {
            return Err(SendError::NoCheckpoint);
        }
        Reconnect::new(transaction).check(&self.scope())?;
        let size = transaction.content().size(used.command);
        let declared = match offered.size() {
            // Only its reply may be missing: MAIL must not be refused for a limit that is new.
            Some(SizeOffer::Limit(limit))
                if size > limit && used.transid && transaction.sent() == Sent::EndOfData =>
            {
                None
            }
            Some(SizeOffer::Limit(limit)) if size > limit => {
                return Err(SendError::TooLarge(limit));
            }
            Some(_) => Some(size),
            None => None,
        };
        let mail = used
            .mail_line(transaction, declared)
            .map_err(|_| UsageError::TransactionMismatch)?;
        let pipelining = self.config.pipelining && offered.pipelining();

        if request.is_some() && rdlv.is_none() {
            self.events.push_back(Event::NoRdlv(NoRdlv::NotOffered));
        }
        let mut transaction = transaction.clone();
        transaction.begin_attempt();
        let attempt = Attempt::new(transaction, used, mail, pipelining, rdlv);
        let grouped = attempt.grouped;
        self.attempt = Some(Box::new(attempt));
        self.step(Step::Send);
        self.ask_store(grouped);
        Ok(())
    }

    /// Asks for the transaction to be stored, with the data mark where `marked`.
    fn ask_store(&mut self, marked: bool) {
        let (scope, server) = (self.scope(), self.connection.server.clone());
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let mut transaction = attempt.transaction.clone();
        if marked {
            transaction.will_store(attempt.used_from_the_start(), scope, server);
            // On the safe side until something later is stored (CP-36).
            transaction.may_have_sent(Sent::EndOfData);
        }
        if marked && attempt.stored.as_ref() == Some(&transaction) {
            attempt.data_stored = true;
            return;
        }
        attempt.stored = Some(transaction.clone());
        let token = self.tokens.issue();
        self.open = Some(token.number());
        self.events.push_back(Event::Store(StoreQuestion {
            token,
            transaction: Box::new(transaction),
        }));
    }

    /// The transaction of the question is durable.
    ///
    /// # Errors
    ///
    /// [`UsageError::ForeignToken`].
    #[allow(clippy::needless_pass_by_value)] // a question is answered once
    pub fn stored(
        &mut self,
        now: Timestamp,
        question: StoreQuestion,
    ) -> Result<Answered, UsageError> {
        let number = self
            .tokens
            .redeem(&question.token)
            .ok_or(UsageError::ForeignToken)?;
        if self.open != Some(number) {
            return Ok(Answered::Stale);
        }
        self.open = None;
        if self.phase == Phase::Storing {
            self.begin_group(now);
        } else {
            if let Some(attempt) = &mut self.attempt {
                attempt.data_stored = true;
            }
            self.advance(now);
        }
        Ok(Answered::Taken)
    }

    /// MAIL, and in plain SMTP with PIPELINING all up to DATA (RFC 2920 §3.1). With TRANSID the
    /// answer to MAIL decides how to go on, so it is the last of its group (CP-30).
    pub(super) fn begin_group(&mut self, now: Timestamp) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let (mail, grouped) = (attempt.mail.clone(), attempt.grouped);
        let ahead = attempt.pipelining && !attempt.used.transid;
        attempt.data_stored = grouped;
        self.step(Step::Mail);
        self.command(now, &mail, Expect::Mail);
        if ahead {
            self.write_recipients(now, usize::MAX);
            self.write_rdlv(now);
        }
        if grouped {
            self.write_data(now);
        }
    }

    /// Writes the next RCPTs, at most `count`.
    fn write_recipients(&mut self, now: Timestamp, count: usize) {
        for _ in 0..count {
            let Some(attempt) = &mut self.attempt else {
                return;
            };
            let index = attempt.next_recipient;
            if index >= attempt.recipients() {
                return;
            }
            let Ok(line) = attempt.used.rcpt_line(&attempt.transaction, index) else {
                return;
            };
            attempt.next_recipient += 1;
            self.command(now, &line, Expect::Rcpt(index));
        }
    }

    pub(super) fn write_data(&mut self, now: Timestamp) {
        if let Some(attempt) = &mut self.attempt {
            attempt.data_written = true;
            if let Some(rdlv) = &mut attempt.rdlv {
                rdlv.machine.submitted(EndingVerb::Data);
            }
        }
        self.command(now, CommandLine::data().as_bytes(), Expect::Data);
    }

    pub(super) fn on_mail(&mut self, now: Timestamp, reply: Reply) {
        let can_chunk = self.capabilities.chunking();
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        match reply.severity() {
            Severity::Completion => {
                attempt.transaction.mail_accepted(&reply);
                if attempt.used.command == ContentCommand::Bdat && !can_chunk {
                    if attempt.is_binary() {
                        // It goes by BDAT or not at all (RFC 3030 §3). Nothing is held here that
                        // RSET could discard.
                        let outcome = self.undecided(Cause::Missing(MissingExtension::Chunking));
                        return self.reset(now, outcome);
                    }
                    // The first attempt used BDAT; all is sent again, so DATA does as well.
                    attempt.used.command = ContentCommand::Data;
                }
                attempt.begin_encoder(self.config.faults);
                self.begin_envelope(now);
            }
            Severity::Intermediate if reply.code().get() == 355 => self.on_355(now, &reply),
            Severity::TransientFailure | Severity::PermanentFailure => {
                attempt.declined = Some((Stage::Mail, reply.compact()));
                self.step(Step::Drain);
                self.drained(now);
            }
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }

    /// The server holds something under the TRANSID (RFC 1845 §4).
    fn on_355(&mut self, now: Timestamp, reply: &Reply) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if !attempt.used.transid {
            // Another draft uses 355 for something else.
            return self.fail(PeerError::Unexpected355);
        }
        let offset = match OctetOffset::from_reply_text(reply.first_line()) {
            Ok(offset) => offset,
            // More than any message has.
            Err(OffsetError::Overflow) => OctetOffset::new(u64::MAX),
            Err(_) => return self.fail(PeerError::MalformedOffset),
        };
        if attempt.restart {
            return self.resume_at(now, offset);
        }
        // Nothing was ever sent: this is somebody else's (CP-31).
        attempt.surprises += 1;
        if attempt.surprises > 1 {
            let outcome = self.fruitless(Cause::Collision);
            self.reset(now, outcome);
        } else {
            attempt.after_reset = AfterReset::MailAgain;
            self.step(Step::Reset);
            self.command(now, CommandLine::rset().as_bytes(), Expect::Reset);
        }
    }

    fn resume_at(&mut self, now: Timestamp, offset: OctetOffset) {
        let can_chunk = self.capabilities.chunking();
        let policy = self.config.faults;
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let (at, size, octets) = (offset.get(), attempt.size(), attempt.octets());
        attempt.resumed = true;
        attempt.from = at;
        if at > size {
            return self.refuse_offset(now, offset);
        }
        if attempt.is_complete() {
            if !can_chunk {
                // The empty data command of either kind asks for the reply (CP-12).
                attempt.used.command = ContentCommand::Data;
            }
            attempt.given = octets;
            return self.begin_envelope(now);
        }
        match attempt.used.command {
            ContentCommand::Bdat if !can_chunk => {
                // No RSET: it would discard what the server holds (CP-16).
                let cause = Cause::Missing(MissingExtension::Chunking);
                let outcome = self.undecided(cause);
                self.conclude_with(now, outcome, false);
            }
            ContentCommand::Bdat => {
                let lookbehind = u8::from(at > 0 && !attempt.is_binary());
                attempt.begin_encoder(policy);
                self.ask_content(lookbehind);
                self.begin_envelope(now);
            }
            // The server fetches all of it or nothing (RFC 4468 §3.2).
            ContentCommand::Burl if at == 0 => self.begin_envelope(now),
            ContentCommand::Burl => self.refuse_offset(now, offset),
            ContentCommand::Data if at == 0 => {
                attempt.begin_encoder(policy);
                self.ask_content(0);
                self.begin_envelope(now);
            }
            // Between the CR and the LF that were added to the last line.
            ContentCommand::Data if at > octets => self.refuse_offset(now, offset),
            ContentCommand::Data => {
                self.ask_content(if at == 1 { 1 } else { 2 });
                self.step(Step::Judge);
            }
        }
    }

    /// To go on there would corrupt the message, or make it another one (CP-33).
    pub(super) fn refuse_offset(&mut self, now: Timestamp, offset: OctetOffset) {
        let outcome = self.fruitless(Cause::Offset(offset));
        self.reset(now, outcome);
    }

    /// MAIL is accepted, and the offset, if there is one, is good.
    pub(super) fn begin_envelope(&mut self, now: Timestamp) {
        self.step(Step::Envelope);
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let asks_store = !attempt.data_stored;
        if attempt.resumed && attempt.transaction.may_leave_out_recipients() {
            attempt.next_recipient = attempt.recipients();
            let held: Vec<(usize, Reply)> = attempt
                .transaction
                .envelope()
                .recipients()
                .filter_map(|rcpt| Some((rcpt.index(), rcpt.reply()?.clone())))
                .collect();
            for (index, reply) in held {
                let verdict = RecipientVerdict::of(&reply);
                self.events.push_back(Event::Recipient {
                    index,
                    reply,
                    verdict,
                });
            }
        } else if attempt.pipelining {
            self.write_recipients(now, usize::MAX);
            self.write_rdlv(now);
        }
        if asks_store {
            self.ask_store(true);
        }
        self.advance(now);
    }

    /// Goes on from the recipients to the data, as far as replies and store allow.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if self.phase != Phase::Envelope {
            return;
        }
        let Some(attempt) = &self.attempt else {
            return;
        };
        let all_written = attempt.next_recipient >= attempt.recipients();
        let awaits = |expected: fn(&Expect) -> bool| {
            let mut owed = self.owed.iter();
            owed.any(|owed| expected(&owed.to))
        };
        let awaits_rcpt = awaits(|to| matches!(to, Expect::Rcpt(_)));
        let awaits_rdlv = awaits(|to| matches!(to, Expect::Rdlv));
        let wants_rdlv = attempt.rdlv.as_ref().is_some_and(|rdlv| !rdlv.written);
        if !all_written && !awaits_rcpt {
            return self.write_recipients(now, 1);
        }
        let is_data = attempt.used.command == ContentCommand::Data;
        let can_begin = attempt.data_stored && !attempt.data_written;
        if awaits_rcpt {
            // With a 355 in force a DATA that no recipient stands behind could end a message
            // that is not whole, so that one waits for the replies.
            // One with RDLV before it waits for the reply to that.
            let ahead = attempt.pipelining && !attempt.resumed && attempt.rdlv.is_none();
            if is_data && can_begin && all_written && ahead {
                self.write_data(now);
            }
            return;
        }
        if awaits_rdlv {
            return;
        }
        if attempt.data_written {
            return self.step(Step::DataCommand);
        }
        if attempt.accepted().is_empty() {
            return self.without_recipients(now);
        }
        if wants_rdlv {
            return self.write_rdlv(now);
        }
        if can_begin && is_data {
            self.write_data(now);
            self.step(Step::DataCommand);
        } else if can_begin {
            self.step(Step::Content);
            self.begin_content(now);
        }
    }

    /// Every RCPT was refused, and no data command is on its way.
    fn without_recipients(&mut self, now: Timestamp) {
        let Some(outcome) = self.declined() else {
            return;
        };
        let fresh = !matches!(outcome.transaction(), Some(transaction) if transaction.is_restart());
        if fresh {
            self.reset(now, outcome);
        } else {
            // RSET would discard what the server holds (CP-16).
            self.conclude(now, outcome, false);
        }
    }

    pub(super) fn on_data(&mut self, now: Timestamp, reply: Reply) {
        if self.is_impossible_under_rdlv(now, &reply) {
            return;
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        match reply.severity() {
            Severity::Intermediate if reply.code().get() == 355 => {
                self.fail(PeerError::Unexpected355);
            }
            Severity::Intermediate => {
                if attempt.declined.is_none() && !attempt.accepted().is_empty() {
                    self.step(Step::Content);
                    return self.begin_content(now);
                }
                if attempt.transaction.is_lmtp() {
                    // For no recipients LMTP has no reply to end on (RFC 2033 §4.2).
                    return self.fail(PeerError::UnexpectedReply);
                }
                // RFC 2920 §3.1: nothing but the dot.
                self.step(Step::Drain);
                self.command(now, b".", Expect::LoneDot);
            }
            Severity::TransientFailure | Severity::PermanentFailure => {
                if attempt.declined.is_none() && !attempt.accepted().is_empty() {
                    attempt.declined = Some((Stage::Data, reply.compact()));
                }
                self.step(Step::Drain);
                self.drained(now);
            }
            _ => self.fail(PeerError::UnexpectedReply),
        }
    }
}
