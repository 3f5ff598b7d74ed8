//! What each command does. The phases say whether it may come; the order of the checks is that of
//! the replies that a client can expect.

use bytes::Bytes;

use super::content::DataCommand;
use super::event::{
    AuthQuestion, AuthResponseQuestion, BurlQuestion, ClaimToConfirm, CommandQuestion,
    DataQuestion, Ending, Event, HelloQuestion, MailQuestion, RcptQuestion, StartTlsQuestion,
};
use super::read::Line;
use super::state::{Phase, Step};
use super::{Asked, ServerSession, Slot};
use crate::checkpoint::{DataOutcome, RcptOutcome, TransactionKey, Transfer};
use crate::command::{
    AuthParameter, Body, Command, CommandError, Mail, MailboxError, Parameter, Rcpt, base64,
};
use crate::error::PeerError;
use crate::line::LineError;
use crate::protocol::Protocol;
use crate::rdlv::{Submission, SubmissionOutcome};
use crate::reply::{EnhancedCode, ReplyCode, StaticReply, standard};
use crate::text::Secret;

impl ServerSession {
    pub(super) fn malformed(&mut self, line: &[u8], error: CommandError) {
        use CommandError as E;
        let offers = &self.config.offers;
        // What was not offered is unknown, however it is written.
        let is_known = match error {
            E::TransOff | E::TransOffAlone => false,
            E::TransId => offers.checkpoint && self.extended,
            E::Ret | E::Envid | E::Notify | E::Orcpt => offers.dsn && self.extended,
            E::SmtpUtf8 => offers.smtputf8 && self.extended,
            _ => true,
        };
        if !is_known {
            return self.fault(PeerError::UnknownParameter, standard::UNKNOWN_PARAMETER);
        }
        if self.is_unoffered(line) {
            return self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
        }
        let reply = error.reply();
        if error.sync_lost() {
            self.tell(Event::PeerFault(PeerError::ChunkSize));
            self.close(Some(reply), Ending::Closed);
        } else {
            self.fault(PeerError::MalformedCommand, reply);
        }
    }

    pub(super) fn command(&mut self, line: Line<'_>, command: &Command<'_>) {
        if !matches!(
            command,
            Command::Rcpt(_) | Command::Data | Command::Bdat(_) | Command::Burl(_)
        ) {
            self.excused = 0;
        }
        match command {
            Command::Ehlo(_) | Command::Lhlo(_) | Command::Helo(_) => {
                self.hello_command(command);
            }
            Command::Mail(mail) => {
                self.mail(line, mail);
                if self.phase != Phase::MailAsked && !self.phase.in_transaction() {
                    self.excuse_group();
                }
            }
            Command::Rcpt(rcpt) => self.rcpt(line, rcpt),
            Command::Data => self.data(DataCommand::Data),
            Command::Bdat(bdat) => self.data(DataCommand::Chunk {
                size: bdat.size,
                last: bdat.last,
            }),
            Command::Burl(burl) => self.data(DataCommand::Burl {
                url: line.part(burl.url),
                last: burl.last,
            }),
            Command::Rset => {
                if self.count_idle() && self.admit(Step::Reset) {
                    self.reset();
                    self.go(Step::Reset);
                    self.reply(standard::OK);
                }
            }
            Command::Noop(_) => self.aside(standard::OK),
            Command::Quit => self.quit(),
            Command::Vrfy(_) if !self.config.ask_commands => self.aside(standard::CANNOT_VERIFY),
            Command::Help(_) if !self.config.ask_commands => self.aside(HELP),
            Command::StartTls => self.starttls(),
            Command::Auth(auth) => self.auth_command(auth.mechanism, auth.initial, line),
            Command::Rdlv(rdlv) => self.rdlv_command(*rdlv),
            Command::Cont => self.no_progress_open(self.config.offers.rdlv.is_some()),
            Command::Deta => self.no_progress_open(self.config.offers_deta()),
            Command::Resume(_) => self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED),
            Command::Expn(_) if !self.config.ask_commands => {
                self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
            }
            Command::Vrfy(_) | Command::Help(_) | Command::Expn(_) | Command::Unknown(_) => {
                self.ask_command(line);
            }
        }
    }

    /// Whether the command may come now; else 503 has been answered.
    fn admit(&mut self, step: Step) -> bool {
        let admitted = self.phase.after(step).is_some();
        if !admitted {
            self.fault(PeerError::BadSequence, standard::BAD_SEQUENCE);
        }
        admitted
    }

    /// Counts a command that moves no mail; false where it was one too many.
    pub(super) fn count_idle(&mut self) -> bool {
        self.idle_commands = self.idle_commands.saturating_add(1);
        if self.idle_commands > self.config.limits.idle_commands {
            self.tell(Event::PeerFault(PeerError::TooManyIdleCommands));
            self.close(Some(standard::TOO_MANY_ERRORS.into()), Ending::Closed);
            return false;
        }
        true
    }

    fn aside(&mut self, reply: StaticReply) {
        if self.count_idle() && self.admit(Step::Aside) {
            self.reply(reply);
        }
    }

    fn ask_command(&mut self, line: Line<'_>) {
        if !self.config.ask_commands {
            return self.fault(PeerError::UnknownCommand, standard::UNKNOWN_COMMAND);
        }
        if !self.count_idle() {
            return;
        }
        let token = self.tokens.issue();
        self.work.aside = Some(Asked {
            number: token.number(),
            since: self.now,
        });
        let line = line.keep();
        self.tell(Event::Command(CommandQuestion { token, line }));
    }

    pub(super) fn quit(&mut self) {
        self.acknowledge();
        self.output.write(&self.config.quit);
        self.close(None, Ending::Quit);
    }

    /// The client ends the session in good order: it has what was transmitted to it.
    pub(super) fn acknowledge(&mut self) {
        if self.work.completed.is_empty() {
            return;
        }
        let acknowledged: alloc::vec::Vec<TransactionKey> =
            core::mem::take(&mut self.work.completed)
                .into_iter()
                .filter(|(position, _)| self.output.has_transmitted(*position))
                .map(|(_, key)| key)
                .collect();
        if !acknowledged.is_empty() {
            self.tell(Event::Acknowledged(acknowledged));
        }
    }

    // ---- EHLO, RSET ----

    pub(super) fn hello_command(&mut self, command: &Command<'_>) {
        let (name, extended) = match (self.config.protocol, command) {
            (Protocol::Smtp, Command::Ehlo(name)) | (Protocol::Lmtp, Command::Lhlo(name)) => {
                (*name, true)
            }
            (Protocol::Smtp, Command::Helo(name)) => (*name, false),
            _ => return self.fault(PeerError::UnknownCommand, standard::UNKNOWN_COMMAND),
        };
        if !self.count_idle() || !self.admit(Step::Hello) {
            return;
        }
        self.go(Step::Hello);
        if self.config.ask_hello {
            let name = Bytes::copy_from_slice(name);
            let token = self.ask();
            self.tell(Event::Hello(HelloQuestion {
                token,
                name,
                extended,
            }));
        } else {
            self.accept_hello(name, extended);
        }
    }

    pub(super) fn accept_hello(&mut self, name: &[u8], extended: bool) {
        self.reset();
        self.go(Step::HelloAccepted);
        self.hello = name.into();
        self.extended = extended;
        let config = &self.config;
        let reply = if self.extended {
            config.ehlo_reply(self.peer.tls, self.peer.authenticated.is_some())
        } else {
            config.helo_reply()
        };
        self.output.write(reply);
        self.codeless = false;
    }

    /// RSET, EHLO and HELO: a transaction under way is given up.
    fn reset(&mut self) {
        if self.phase.in_transaction() {
            if let Some(discard) = self.work.transaction.reset() {
                self.tell(Event::Discard(discard));
            }
            self.tell(Event::TransactionEnded);
        }
        if self.work.is_made() {
            self.work.transaction.clear();
            self.work.content.clear();
            self.forget_decision();
        }
    }

    // ---- MAIL and RCPT ----

    fn mail(&mut self, line: Line<'_>, mail: &Mail<'_>) {
        if !self.admit(Step::Mail) {
            return;
        }
        if self.config.require_tls && !self.peer.tls {
            return self.fault(PeerError::SecurityRequired, standard::TLS_REQUIRED);
        }
        if self.config.require_auth && self.peer.authenticated.is_none() {
            return self.fault(PeerError::SecurityRequired, standard::AUTH_REQUIRED);
        }
        if self.config.refuse_bare_paths && !mail.bracketed {
            let error = CommandError::ReversePath(MailboxError::Brackets);
            return self.malformed(line.octets(), error);
        }
        if !self.offers_mail(mail) {
            return self.fault(PeerError::UnknownParameter, standard::UNKNOWN_PARAMETER);
        }
        // RFC 6531 §3.5: without SMTPUTF8 there are no addresses beyond ASCII.
        if mail.reverse_path.needs_smtputf8() && !mail.smtputf8 {
            return self.fault(PeerError::MalformedCommand, NON_ASCII_SENDER);
        }
        let limit = self.config.limits.message_size;
        if mail
            .size
            .zip(limit)
            .is_some_and(|(size, limit)| size > limit)
        {
            return self.fault(PeerError::MessageTooLarge, standard::MESSAGE_TOO_BIG);
        }
        let key = mail
            .transid
            .map(|transid| TransactionKey::new(&self.scope(), transid));
        self.output.keep();
        self.work
            .transaction
            .begin_with(line.octets(), mail, key.clone());
        self.go(Step::Mail);
        let token = self.ask();
        self.tell(Event::Mail(MailQuestion { token, key }));
    }

    /// Whether every parameter of a MAIL was offered. SIZE and BODY are read after HELO too.
    fn offers_mail(&self, mail: &Mail<'_>) -> bool {
        let offers = &self.config.offers;
        let extended = self.extended;
        let body = match mail.body {
            None | Some(Body::SevenBit | Body::EightBitMime) => true,
            Some(Body::BinaryMime) => offers.binary_mime && extended,
        };
        let auth = match mail.auth {
            None | Some(AuthParameter::Unknown) => true,
            Some(AuthParameter::Identity(_)) => !offers.auth.is_empty() && extended,
        };
        let dsn = mail.ret.is_none() && mail.envid.is_none();
        body && auth
            && (!mail.smtputf8 || (offers.smtputf8 && extended))
            && (dsn || (offers.dsn && extended))
            && (mail.transid_value.is_none() || (offers.checkpoint && extended))
            && mail.transoff.is_none()
            && mail
                .unknown_parameters()
                .all(|parameter| declared(&self.config.mail_parameters, &parameter))
    }

    fn rcpt(&mut self, line: Line<'_>, rcpt: &Rcpt<'_>) {
        if !self.admit(Step::Rcpt) {
            return;
        }
        if self.config.refuse_bare_paths && !rcpt.bracketed {
            let error = CommandError::ForwardPath(MailboxError::Brackets);
            return self.malformed(line.octets(), error);
        }
        let dsn = rcpt.notify.is_none() && rcpt.orcpt.is_none();
        // After 355 the stored envelope is in force, with what its session offered.
        let known = self.work.transaction.is_restart()
            || (dsn || (self.config.offers.dsn && self.extended))
                && rcpt
                    .unknown_parameters()
                    .all(|parameter| declared(&self.config.rcpt_parameters, &parameter));
        if !known {
            return self.fault(PeerError::UnknownParameter, standard::UNKNOWN_PARAMETER);
        }
        let needs_smtputf8 = rcpt.orcpt.is_some_and(|orcpt| orcpt.needs_smtputf8());
        if (needs_smtputf8 || rcpt.forward_path.needs_smtputf8())
            && !self.work.transaction.envelope().mail().smtputf8
        {
            return self.fault(PeerError::MalformedCommand, NON_ASCII_RECIPIENT);
        }
        if self.work.transaction.envelope().recipients().len() >= self.config.limits.recipients
            && !self.work.transaction.is_restart()
        {
            // No error of a client that does not know the limit: it sends the rest later
            // (RFC 5321 §4.5.3.1.10).
            self.tell(Event::PeerFault(PeerError::TooManyRecipients));
            return self.reply(standard::TOO_MANY_RECIPIENTS);
        }
        match self.work.transaction.rcpt_with(line.octets(), rcpt) {
            RcptOutcome::Ask { index } => {
                let token = self.tokens.issue();
                self.work.recipients.push_back(Slot::Open(Asked {
                    number: token.number(),
                    since: self.now,
                }));
                let line = line.keep();
                self.tell(Event::Rcpt(RcptQuestion { token, index, line }));
            }
            RcptOutcome::Repeat(reply) => self.reply(reply),
            // One that the limit refused before the restart, and so is not in the envelope: its
            // client was told to try again, and is never told that it failed for good.
            RcptOutcome::Unknown
                if self.work.transaction.envelope().recipients().len()
                    >= self.config.limits.recipients =>
            {
                self.fault(PeerError::TooManyRecipients, standard::TOO_MANY_RECIPIENTS);
            }
            RcptOutcome::Unknown => self.fault(
                PeerError::RestartRecipientUnknown,
                standard::UNKNOWN_RECIPIENT_ON_RESTART,
            ),
            RcptOutcome::OutOfOrder => {
                self.fault(PeerError::RestartRecipientOrder, standard::BAD_SEQUENCE);
            }
        }
    }

    /// Whether the command of an extension may be used after this hello. Before any it is not
    /// unknown, but out of order.
    pub(super) fn in_force(&self, offered: bool) -> bool {
        offered && (self.extended || self.phase == Phase::Greeted)
    }

    /// Whether the verb of a line that cannot be read is one of an extension that is not in force:
    /// it is unknown then, whatever stands behind it.
    fn is_unoffered(&self, line: &[u8]) -> bool {
        let verb = line.split(|octet| matches!(octet, b' ' | b'\t')).next();
        let verb = verb.unwrap_or_default();
        let rdlv = self.in_force(self.config.offers.rdlv.is_some());
        [
            (&b"RDLV"[..], rdlv),
            (b"CONT", rdlv),
            (b"DETA", self.in_force(self.config.offers_deta())),
            (b"RESUME", false),
            (b"AUTH", self.in_force(!self.config.offers.auth.is_empty())),
            (b"BURL", self.in_force(self.config.offers.burl.is_some())),
            (b"STARTTLS", self.config.offers.starttls),
        ]
        .iter()
        .any(|(extension, in_force)| !in_force && verb.eq_ignore_ascii_case(extension))
    }

    // ---- DATA, BDAT, BURL ----

    fn data(&mut self, command: DataCommand) {
        let offered = match command {
            DataCommand::Data => true,
            DataCommand::Chunk { .. } => self.in_force(self.config.offers.chunking),
            DataCommand::Burl { .. } => self.in_force(self.config.offers.burl.is_some()),
        };
        if !offered {
            // Its octets are a chunk all the same: they were sent as one.
            let refusal = (PeerError::NotOffered, standard::NOT_IMPLEMENTED);
            return self.refuse_data_command(&command, refusal);
        }
        let step = match command {
            DataCommand::Data => Step::DataAsk,
            DataCommand::Chunk { .. } => Step::ChunkAsk,
            DataCommand::Burl { .. } => Step::BurlAsk,
        };
        let told = self.work.offset_untold.is_none()
            && self.before_command >= self.work.received_before_offset;
        let binary = self.work.transaction.is_binary();
        let misplaced = self.phase.after(step).is_none()
            // A client that pipelines a chunk, or a URL, behind a restart does not know the offset
            // (CP-20): at the offset it would stand there twice.
            || (command != DataCommand::Data && !told && self.work.transaction.is_restart())
            // RFC 3030 §3: binary content has no lines that DATA could carry.
            // An empty data command, for a complete message, may be of either kind.
            || (command == DataCommand::Data && binary && !self.work.transaction.is_complete());
        if misplaced {
            let refusal = (PeerError::BadSequence, standard::BAD_SEQUENCE);
            return self.refuse_data_command(&command, refusal);
        }
        if self.cannot_delay(&command) {
            return self.refuse_delay(&command);
        }
        let transfer = match command {
            DataCommand::Data => Transfer::Data,
            DataCommand::Chunk { .. } => Transfer::Chunks {
                bdat: true,
                burl: false,
            },
            DataCommand::Burl { .. } => Transfer::Chunks {
                bdat: false,
                burl: true,
            },
        };
        let claim = match self.work.transaction.data(transfer) {
            DataOutcome::Confirm {
                generation,
                length,
                fresh,
            } => self
                .work
                .transaction
                .key()
                .cloned()
                .map(|key| ClaimToConfirm {
                    key,
                    generation,
                    length,
                    fresh,
                }),
            DataOutcome::Begin(_) => None,
            DataOutcome::Mixed => {
                let refusal = (PeerError::TransferMixed, standard::BAD_SEQUENCE);
                return self.refuse_data_command(&command, refusal);
            }
            // Pipelined behind recipients that were all refused.
            DataOutcome::NoRecipients
                if command == DataCommand::Data
                    && self.work.transaction.envelope().recipients().len() > 0 =>
            {
                if self.count_idle() {
                    self.tell(Event::PeerFault(PeerError::BadSequence));
                    self.reply(self.no_recipients(&command));
                }
                return;
            }
            DataOutcome::NoRecipients => {
                let refusal = (PeerError::BadSequence, self.no_recipients(&command));
                return self.refuse_data_command(&command, refusal);
            }
        };
        let first = self.phase == Phase::Envelope;
        self.work.content.command = Some(command);
        if claim.is_some() || (first && self.config.ask_data) {
            self.go(if self.work.content.is_data() {
                Step::DataAsk
            } else {
                Step::ChunkAsk
            });
            let token = self.ask();
            self.tell(Event::Data(DataQuestion { token, claim }));
        } else {
            self.begin_content();
        }
    }

    /// Whether RDLV was asked for and this verb cannot do it. RDLV is gone then.
    fn cannot_delay(&mut self, command: &DataCommand) -> bool {
        let submission = match command {
            DataCommand::Data => Submission::Data,
            DataCommand::Chunk { last: true, .. } => Submission::BdatLast,
            DataCommand::Burl { last: true, .. } => Submission::BurlLast,
            DataCommand::Chunk { .. } | DataCommand::Burl { .. } => return false,
        };
        self.work.long.rdlv.submission(submission) == SubmissionOutcome::Rejected
    }

    /// 520: the client may repeat DATA and BURL without RDLV; after a chunk it has to begin anew
    /// (draft-burger-smtp-rdlv-01 §3.2.1, RFC 3030 §2).
    fn refuse_delay(&mut self, command: &DataCommand) {
        let refusal = self.config.cannot_delay.clone();
        match *command {
            DataCommand::Data | DataCommand::Burl { .. } => self.reply(refusal),
            DataCommand::Chunk { size, last } => {
                let replies = self.replies_to_chunk(last);
                self.spoil(last);
                self.drain(size, (PeerError::BadSequence, refusal), replies);
            }
        }
    }

    fn no_recipients(&self, command: &DataCommand) -> StaticReply {
        match (self.config.protocol, command) {
            // RFC 2033 §4.2: DATA without a recipient has to be 503.
            (Protocol::Lmtp, DataCommand::Data) => LMTP_NO_RECIPIENTS,
            _ => standard::NO_VALID_RECIPIENTS,
        }
    }

    /// Refuses a data command that cannot come now. The octets of a chunk are drained first; a
    /// chunk within a transaction spoils it, the last one ends it (RFC 3030 §2).
    fn refuse_data_command(
        &mut self,
        command: &DataCommand,
        (error, reply): (PeerError, StaticReply),
    ) {
        match *command {
            DataCommand::Data => self.fault(error, reply),
            DataCommand::Chunk { size, last } => {
                let replies = self.replies_to_chunk(last);
                self.spoil(last);
                self.drain(size, (error, reply.into()), replies);
            }
            DataCommand::Burl { last, .. } => {
                let replies = self.replies_to_chunk(last);
                self.spoil(last);
                self.drain(0, (error, reply.into()), replies);
            }
        }
    }

    /// A chunk was refused: the transaction cannot be completed any more.
    pub(super) fn spoil(&mut self, last: bool) {
        if !self.phase.in_transaction() {
            return;
        }
        if last {
            self.tell(Event::TransactionEnded);
            self.end_transaction();
        } else {
            self.go(Step::ChunkRefused);
        }
    }

    /// Asks for the content of a URL.
    pub(super) fn ask_burl(&mut self, url: Bytes, last: bool) {
        self.go(Step::BurlAsk);
        if last {
            self.begin_wait();
        }
        let start = self.work.content.offset();
        let token = self.ask();
        self.tell(Event::Burl(BurlQuestion {
            token,
            url,
            start,
            last,
        }));
    }

    // ---- AUTH, STARTTLS ----

    fn auth_command(&mut self, mechanism: &[u8], initial: Option<&[u8]>, line: Line<'_>) {
        let config = self.config();
        let offers = &config.offers;
        if !self.in_force(!offers.auth.is_empty()) {
            return self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
        }
        if self.peer.authenticated.is_some() || self.phase.after(Step::Auth).is_none() {
            return self.fault(PeerError::BadSequence, standard::BAD_SEQUENCE);
        }
        if !self.peer.tls && !offers.auth_in_clear {
            return self.fault(PeerError::SecurityRequired, standard::ENCRYPTION_REQUIRED);
        }
        let offered = offers
            .auth
            .iter()
            .any(|offered| offered.as_bytes().eq_ignore_ascii_case(mechanism));
        if !offered {
            return self.fault(PeerError::MalformedCommand, standard::MECHANISM_UNKNOWN);
        }
        let initial = match initial {
            None => None,
            // RFC 4954 §4: an empty initial response is written "=".
            Some(b"=") => Some(Secret(Bytes::new())),
            Some(text) => match base64::decode(text) {
                Ok(octets) => Some(Secret(octets.into())),
                Err(_) => return self.fault(PeerError::Base64, standard::AUTH_BAD_BASE64),
            },
        };
        let mechanism = line.part(mechanism);
        self.go(Step::Auth);
        let token = self.ask();
        self.tell(Event::Auth(AuthQuestion {
            token,
            mechanism,
            initial,
        }));
    }

    /// Reads one SASL response; false where there is none.
    pub(super) fn read_sasl(&mut self) -> bool {
        let limit = self.config.limits.auth_line;
        let Some(mut input) = self.input.take() else {
            return false;
        };
        let line = self.lines.read(&mut input, limit);
        self.put_back(input);
        let Some(line) = line else {
            return false;
        };
        let response = match line {
            Ok(line) if line.as_ref() == b"*" => {
                self.go(Step::AuthOver);
                self.tell(Event::AuthCancelled);
                self.auth_failed(standard::AUTH_CANCELLED);
                return true;
            }
            Ok(line) => base64::decode(&line).map_err(|_| standard::AUTH_BAD_BASE64),
            Err(LineError::TooLong) => Err(standard::AUTH_LINE_TOO_LONG),
            Err(_) => Err(standard::AUTH_BAD_BASE64),
        };
        match response {
            Ok(octets) => {
                self.go(Step::Response);
                let token = self.ask();
                let response = Secret(octets.into());
                self.tell(Event::AuthResponse(AuthResponseQuestion {
                    token,
                    response,
                }));
            }
            Err(reply) => {
                self.go(Step::AuthOver);
                self.tell(Event::PeerFault(PeerError::Base64));
                self.auth_failed(reply);
            }
        }
        true
    }

    /// Answers a SASL exchange that failed, and counts it.
    pub(super) fn auth_failed(&mut self, reply: StaticReply) {
        self.auth_attempts = self.auth_attempts.saturating_add(1);
        self.reply(reply);
        if self.auth_attempts > self.config.limits.auth_attempts {
            self.tell(Event::PeerFault(PeerError::TooManyAuthAttempts));
            self.close(Some(standard::TOO_MANY_ERRORS.into()), Ending::Closed);
        }
    }

    fn starttls(&mut self) {
        if !self.config.offers.starttls {
            return self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
        }
        if self.peer.tls || self.phase.after(Step::StartTls).is_none() {
            return self.fault(PeerError::BadSequence, standard::BAD_SEQUENCE);
        }
        self.go(Step::StartTls);
        let token = self.ask();
        self.tell(Event::StartTls(StartTlsQuestion { token }));
    }
}

fn declared(own: &[Bytes], parameter: &Parameter<'_>) -> bool {
    own.iter().any(|keyword| parameter.is(keyword))
}

pub(super) const fn fixed(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> StaticReply {
    let (class, subject, detail) = enhanced;
    if let Some(code) = ReplyCode::new(code) {
        let enhanced = EnhancedCode::new(class, subject, detail);
        if let Ok(reply) = StaticReply::new(code, enhanced, text) {
            return reply;
        }
    }
    standard::TRANSACTION_FAILED
}

const LMTP_NO_RECIPIENTS: StaticReply = fixed(503, (5, 5, 1), "No valid recipients");
const HELP: StaticReply = fixed(214, (2, 0, 0), "See RFC 5321 and RFC 1845");
const NON_ASCII_SENDER: StaticReply = fixed(550, (5, 6, 7), "Non-ASCII sender needs SMTPUTF8");
const NON_ASCII_RECIPIENT: StaticReply =
    fixed(553, (5, 6, 7), "Non-ASCII recipient needs SMTPUTF8");
