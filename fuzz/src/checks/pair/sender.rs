//! The client, its journal, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Content, NextStep, Outcome, RestartPolicy, UnfinishedTransaction,
};
use smtp_checkpoint::client::{
    ChoiceError, ClientConfig, ClientSession, Connection, Event, Protocol, RdlvRequest, TlsPolicy,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::reply::{Reply, Severity};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

const MESSAGES: [&[u8]; 4] = [
    b"Subject: x\r\n\r\n.dots\r\n..\r\nand more\r\n",
    b"",
    b".\r\n",
    b"one\r\ntwo\r\nthree\r\nfour\r\nfive\r\nsix\r\nseven\r\neight\r\nnine\r\n",
];

/// What the client ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Delivered,
    Failed,
    Detached,
    Unknown,
}

pub struct Sender {
    config: Arc<ClientConfig>,
    /// As the journal has it.
    stored: Vec<u8>,
    renewed: u8,
    /// The server is known to abort by RSET.
    knows_reset: bool,
    /// RSET has left: given up by the client, and perhaps by the server.
    reset: bool,
    session: Option<ClientSession>,
    at: usize,
    accepted: u32,
    pub message: &'static [u8],
    pub choice: Choice,
    pub end: Option<End>,
    /// Grows with everything that happens.
    pub moved: u64,
}

impl Sender {
    pub fn new(pick: u8) -> Self {
        let protocol = if pick & 1 == 0 {
            Protocol::Smtp
        } else {
            Protocol::Lmtp
        };
        let mut request = RdlvRequest::new(60);
        request.settings.reset_aborts = pick & 4 == 0;
        let config = ClientConfig::builder("c.example", TlsPolicy::Never)
            .protocol(protocol)
            .pipelining(pick & 2 == 0)
            .rdlv(request)
            .chunk_size(if pick & 8 == 0 { 64 } else { 3 });
        let message = MESSAGES[usize::from(pick >> 6)];
        let mail = MailLine::parse(&b"MAIL FROM:<a@b.example>"[..]).expect("a MAIL");
        let mut builder = UnfinishedTransaction::builder(mail, Content::measure(message), 0);
        for line in [b"RCPT TO:<c@d.example>", b"RCPT TO:<e@f.example>"] {
            builder = builder.recipient(RcptLine::parse(&line[..]).expect("an RCPT"));
        }
        if pick & 16 == 0 {
            builder = builder.transid(transid(0));
        }
        if pick & 32 != 0 {
            builder = builder.bdat();
        }
        if pick & 1 != 0 {
            builder = builder.lmtp();
        }
        Self {
            config: Arc::new(config.build().expect("settings that fit")),
            stored: builder.build().expect("a transaction").encode(),
            renewed: 0,
            knows_reset: pick & 4 == 0,
            reset: false,
            session: None,
            at: 0,
            accepted: 0,
            message,
            choice: Choice::CarryOn,
            end: None,
            moved: 0,
        }
    }

    fn transaction(&self) -> UnfinishedTransaction {
        UnfinishedTransaction::decode(&self.stored).expect("what was encoded")
    }

    /// Whether the outcome may stay unknown: nothing was asked for that would tell.
    pub fn may_not_know(&self) -> bool {
        self.transaction().transid().is_none() || !self.knows_reset || self.reset
    }

    /// Whether a connection is wanted; the old one is given up.
    pub fn connect(&mut self, now: Timestamp) -> bool {
        self.lost(now);
        if self.end.is_some() {
            return false;
        }
        let config = Arc::clone(&self.config);
        self.session = Some(ClientSession::connected(config, Connection::default(), now));
        true
    }

    pub fn is_closed(&self) -> bool {
        self.session.as_ref().is_none_or(ClientSession::is_finished)
    }

    pub fn lost(&mut self, now: Timestamp) {
        if let Some(mut session) = self.session.take() {
            session.handle_eof(now);
            self.drive(&mut session, now);
            assert!(session.is_finished(), "not over: {session:?}");
            self.moved += 1;
        }
    }

    /// Only the journal is left.
    pub fn crash(&mut self) {
        self.session = None;
    }

    pub fn input(&mut self, now: Timestamp, octets: &[u8]) {
        if let Some(mut session) = self.session.take() {
            let mut input = Bytes::copy_from_slice(octets);
            while !input.is_empty() && !session.is_finished() {
                let before = input.len();
                session.handle_input(now, &mut input);
                self.drive(&mut session, now);
                assert!(
                    input.len() < before || session.is_finished(),
                    "stuck: {session:?}"
                );
            }
            self.moved += octets.len() as u64;
            self.session = Some(session);
        }
    }

    pub fn output(&mut self, now: Timestamp, most: usize) -> Vec<u8> {
        let Some(mut session) = self.session.take() else {
            return Vec::new();
        };
        self.drive(&mut session, now);
        let lent = session.output();
        let octets = lent[..lent.len().min(most)].to_vec();
        session
            .transmitted(now, octets.len())
            .expect("octets that were lent");
        self.drive(&mut session, now);
        self.moved += octets.len() as u64;
        self.session = Some(session);
        octets
    }

    pub fn deadline(&self) -> Option<Timestamp> {
        self.session.as_ref().and_then(ClientSession::poll_timeout)
    }

    pub fn tick(&mut self, now: Timestamp) {
        if let Some(mut session) = self.session.take() {
            session.handle_timeout(now);
            self.drive(&mut session, now);
            self.session = Some(session);
        }
    }

    fn drive(&mut self, session: &mut ClientSession, now: Timestamp) {
        loop {
            if let Some(event) = session.poll_event() {
                self.moved += 1;
                self.event(session, now, event);
            } else if session.wants_content() {
                self.moved += 1;
                self.give(session, now);
            } else {
                return;
            }
        }
    }

    fn give(&mut self, session: &mut ClientSession, now: Timestamp) {
        let mut rest = self.message.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            session.finish_content(now).expect("content is wanted");
            return;
        }
        let before = rest.len();
        session
            .send_content(now, &mut rest)
            .expect("content is wanted");
        self.at += before - rest.len();
    }

    fn event(&mut self, session: &mut ClientSession, now: Timestamp, event: Event) {
        match event {
            Event::Ready if self.end.is_some() => session.quit(now).expect("a session at rest"),
            Event::Ready => self.send(session, now),
            Event::Store(question) => {
                self.stored = question.transaction().encode();
                session.stored(now, question).expect("its own question");
            }
            Event::SendContent { start, .. } => {
                self.at = usize::try_from(start.get()).expect("an offset within the message");
            }
            Event::StillDeciding(question) => {
                match session.choose(now, question, self.choice) {
                    Ok(_) => self.reset |= self.choice == Choice::Abort,
                    Err(ChoiceError::NoDetach(question)) => {
                        let other = session.choose(now, question, Choice::CarryOn);
                        other.expect("its own question");
                    }
                    Err(error) => panic!("{error}"),
                };
            }
            Event::FinalReply { reply, .. } => {
                self.accepted += u32::from(is_yes(&reply));
            }
            Event::Done(outcome) => {
                self.done(&outcome);
                // Too late for a session that is over.
                let _ = session.outcome_stored(now);
            }
            _ => {}
        }
    }

    fn send(&mut self, session: &mut ClientSession, now: Timestamp) {
        let transaction = self.transaction();
        let policy = RestartPolicy {
            attempts: u32::MAX,
            age: Duration::MAX,
        };
        let content = Content::measure(self.message);
        match transaction.next_step(0, &policy, &content) {
            NextStep::Send => session.send(now, &transaction).expect("what was stored"),
            NextStep::StartOver => {
                self.start_over(&transaction);
                session.quit(now).expect("a session at rest");
            }
            NextStep::Unknown => {
                self.end = Some(End::Unknown);
                session.quit(now).expect("a session at rest");
            }
        }
    }

    fn start_over(&mut self, transaction: &UnfinishedTransaction) {
        self.renewed += 1;
        let fresh = transaction.transid().map(|_| transid(self.renewed));
        let content = transaction.content().clone();
        self.stored = transaction.start_over(fresh, content, 0).encode();
    }

    fn done(&mut self, outcome: &Outcome) {
        assert_eq!(self.end, None, "two outcomes");
        let end = match outcome {
            Outcome::Delivered { .. } => End::Delivered,
            Outcome::Detached { .. } => End::Detached,
            Outcome::PerRecipient { replies } if replies.iter().any(|(_, reply)| is_yes(reply)) => {
                End::Delivered
            }
            Outcome::Unknown { transaction, .. } => {
                self.stored = transaction.encode();
                End::Unknown
            }
            Outcome::Interrupted { transaction, .. } => {
                self.stored = transaction.encode();
                return;
            }
            Outcome::StartOver { transaction, .. } => return self.start_over(transaction),
            Outcome::Declined { transaction, .. } | Outcome::NoRecipients { transaction } => {
                self.stored = transaction.encode();
                return;
            }
            Outcome::Deferred { .. }
            | Outcome::Refused { .. }
            | Outcome::PerRecipient { .. }
            | Outcome::Aborted { .. } => End::Failed,
        };
        self.end = Some(end);
    }
}

fn is_yes(reply: &Reply) -> bool {
    reply.severity() == Severity::Completion
}

fn transid(number: u8) -> TransId {
    TransId::parse(format!("<{number}@c.example>").as_bytes()).expect("an identifier")
}
