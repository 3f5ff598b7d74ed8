//! A client session with its caller, and the server's side of the wire as a script. Lines are
//! compared character for character.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Cause, Content, Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{
    Answered, ChallengeAnswer, ChoiceQuestion, ClientConfig, ClientConfigBuilder, ClientSession,
    Ending, Event, NoRdlv, StoreQuestion, TlsPolicy,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

pub const NOW: Timestamp = Timestamp::ORIGIN;

/// A client, its caller, and the server's side of the wire as a script.
pub struct Scene {
    pub smtp: ClientSession,
    pub message: Vec<u8>,
    /// Where the caller reads on; `None` while it was not asked.
    pub at: Option<usize>,
    /// The lowest octet that was asked for.
    pub lowest: Option<u64>,
    pub stored: Vec<UnfinishedTransaction>,
    /// Store questions are left open.
    pub hold_store: bool,
    pub held: Vec<StoreQuestion>,
    pub recipients: Vec<(usize, u16)>,
    pub finals: Vec<(usize, u16)>,
    pub replies: Vec<u16>,
    pub ready: usize,
    pub stops: usize,
    pub faults: Vec<PeerError>,
    pub challenges: Vec<Vec<u8>>,
    pub outcome: Option<Outcome>,
    pub handover: bool,
    pub ending: Option<Ending>,
    pub log: Vec<String>,
    pub now: Timestamp,
    pub question: Option<ChoiceQuestion>,
    /// By the policy, with the code of the reply chosen upon.
    pub chosen: Vec<(u16, Choice)>,
    pub no_rdlv: Vec<NoRdlv>,
    pub warnings: usize,
}

pub fn config() -> ClientConfigBuilder {
    ClientConfig::builder("ymir.claremont.edu", TlsPolicy::IfOffered)
}

impl Scene {
    pub fn with(config: ClientConfigBuilder, message: &[u8]) -> Self {
        let smtp = ClientSession::new(Arc::new(config.build().unwrap()), NOW);
        Self {
            smtp,
            message: message.to_vec(),
            at: None,
            lowest: None,
            stored: Vec::new(),
            hold_store: false,
            held: Vec::new(),
            recipients: Vec::new(),
            finals: Vec::new(),
            replies: Vec::new(),
            ready: 0,
            stops: 0,
            faults: Vec::new(),
            challenges: Vec::new(),
            outcome: None,
            handover: false,
            ending: None,
            log: Vec::new(),
            now: NOW,
            question: None,
            chosen: Vec::new(),
            no_rdlv: Vec::new(),
            warnings: 0,
        }
    }

    pub fn new(message: &[u8]) -> Self {
        Self::with(config(), message)
    }

    pub fn run(&mut self) {
        loop {
            let mut moved = false;
            while let Some(event) = self.smtp.poll_event() {
                moved = true;
                match event {
                    Event::Ready => self.ready += 1,
                    Event::TlsHandover => self.handover = true,
                    Event::Store(question) => {
                        self.stored.push(question.transaction().clone());
                        if self.hold_store {
                            self.held.push(question);
                        } else {
                            let answered = self.smtp.stored(self.now, question).unwrap();
                            assert_eq!(answered, Answered::Taken);
                        }
                    }
                    Event::Recipient { index, reply, .. } => {
                        self.recipients.push((index, reply.code().get()));
                    }
                    Event::CommandReply(reply) => self.replies.push(reply.code().get()),
                    Event::FinalReply { index, reply } => {
                        self.finals.push((index, reply.code().get()));
                    }
                    Event::SendContent { start, lookbehind } => {
                        assert!(lookbehind <= 2);
                        let start = start.get();
                        self.lowest = Some(self.lowest.unwrap_or(start).min(start));
                        self.at = Some(start as usize);
                    }
                    Event::StopContent => self.stops += 1,
                    Event::Done(outcome) => {
                        assert_eq!(self.outcome, None, "one outcome an attempt");
                        self.outcome = Some(outcome);
                    }
                    Event::AuthChallenge(question) => {
                        self.challenges.push(question.challenge().to_vec());
                        let answer = ChallengeAnswer::Response(Bytes::from_static(b"secret"));
                        self.smtp
                            .answer_challenge(self.now, question, answer)
                            .unwrap();
                    }
                    Event::StillDeciding(question) => {
                        assert!(self.question.is_none(), "one 120 is open");
                        self.question = Some(question);
                    }
                    Event::Chosen { reply, choice } => {
                        self.chosen.push((reply.code().get(), choice));
                    }
                    Event::NoRdlv(why) => self.no_rdlv.push(why),
                    Event::ChoiceDue => self.warnings += 1,
                    Event::PeerFault(fault) => self.faults.push(fault),
                    Event::Finished(ending) => {
                        assert_eq!(self.ending, None);
                        self.ending = Some(ending);
                    }
                    _ => {}
                }
            }
            while self.smtp.wants_content() {
                moved = true;
                let at = self.at.expect("asked before it is wanted");
                // Small pieces find more mistakes.
                let end = (at + 3).min(self.message.len());
                let mut piece = &self.message[at..end];
                if piece.is_empty() {
                    self.smtp.finish_content(self.now).unwrap();
                } else {
                    self.smtp.send_content(self.now, &mut piece).unwrap();
                    self.at = Some(end - piece.len());
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// What the client sends now is `expected`, all of it.
    pub fn c(&mut self, expected: &str) -> &mut Self {
        self.run();
        let octets = self.smtp.take_output().unwrap_or_default();
        let sent = String::from_utf8_lossy(&octets).into_owned();
        self.smtp.transmitted(self.now, octets.len()).unwrap();
        assert_eq!(sent, expected, "so far: {:#?}", self.log);
        self.log.push(format!("C: {sent}"));
        self.run();
        self
    }

    pub fn s(&mut self, line: &str) -> &mut Self {
        self.log.push(format!("S: {line}"));
        let mut input = Bytes::from(format!("{line}\r\n"));
        self.smtp.handle_input(self.now, &mut input);
        self.run();
        self
    }

    pub fn send(&mut self, transaction: &UnfinishedTransaction) -> &mut Self {
        self.smtp.send(self.now, transaction).unwrap();
        self
    }

    /// Up to the point where a transaction can be sent.
    pub fn greet(&mut self, keywords: &str) -> &mut Self {
        self.s("220 dbc.mtview.ca.us SMTP service ready")
            .c("EHLO ymir.claremont.edu\r\n");
        let mut lines = vec!["dbc.mtview.ca.us says hello"];
        lines.extend(keywords.split(' ').filter(|keyword| !keyword.is_empty()));
        let last = lines.pop().unwrap();
        for line in lines {
            self.s(&format!("250-{line}"));
        }
        self.s(&format!("250 {last}"));
        assert_eq!(self.ready, 1);
        self
    }

    /// Answers the 120 that is open.
    pub fn choose(&mut self, choice: Choice) -> &mut Self {
        let question = self.question.take().expect("a 120 is open");
        let answered = self.smtp.choose(self.now, question, choice).unwrap();
        assert_eq!(answered, Answered::Taken);
        self
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(seconds);
        self.smtp.handle_timeout(self.now);
        self.run();
        self
    }

    /// In how many seconds something is due.
    pub fn due(&self) -> Option<f64> {
        let due = self.smtp.poll_timeout()?;
        Some(due.since(self.now).as_secs_f64())
    }

    pub fn outcome(&mut self) -> Outcome {
        self.run();
        self.outcome.take().expect("an outcome")
    }

    pub fn interrupted(&mut self) -> (Cause, UnfinishedTransaction) {
        match self.outcome() {
            Outcome::Interrupted { cause, transaction } => (cause, *transaction),
            other => panic!("{other:?}"),
        }
    }

    /// Stores the outcome and quits.
    pub fn quit(&mut self) {
        self.quit_unanswered();
        self.s("221 Goodbye");
        assert_eq!(self.ending, Some(Ending::Quit));
    }

    /// The same, up to QUIT.
    pub fn quit_unanswered(&mut self) {
        self.smtp.outcome_stored(self.now).unwrap();
        self.run();
        if self.smtp.is_ready() {
            self.smtp.quit(self.now).unwrap();
        }
        self.c("QUIT\r\n");
    }
}

pub fn ned() -> MailLine {
    MailLine::parse(&b"MAIL FROM:<ned@ymir.claremont.edu>"[..]).unwrap()
}

pub fn rcpt(address: &str) -> RcptLine {
    RcptLine::parse(format!("RCPT TO:<{address}>").into_bytes()).unwrap()
}

pub fn plain(message: &[u8]) -> UnfinishedTransaction {
    UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
        .recipient(rcpt("mrose@dbc.mtview.ca.us"))
        .build()
        .unwrap()
}

pub fn checkpointed(message: &[u8]) -> UnfinishedTransaction {
    UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
        .recipient(rcpt("mrose@dbc.mtview.ca.us"))
        .transid(TransId::parse(b"<12345@claremont.edu>").unwrap())
        .build()
        .unwrap()
}

pub const MAIL: &str = "MAIL FROM:<ned@ymir.claremont.edu> TRANSID=<12345@claremont.edu>\r\n";
pub const RCPT: &str = "RCPT TO:<mrose@dbc.mtview.ca.us>\r\n";
