//! Two clients: one written here from RFC 1845, as simple as can be, as a check on both sessions;
//! and the library's.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{Answered, ClientConfig, ClientSession, Event, Protocol, TlsPolicy};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

use super::store::Blow;

/// How the content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Data,
    /// In chunks of so many octets.
    Bdat(usize),
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Job {
    /// Tells it from all others.
    pub sender: String,
    pub recipients: Vec<String>,
    pub message: Vec<u8>,
    pub how: How,
    pub pipelining: bool,
    pub transid: String,
    pub lmtp: bool,
    /// RCPTs are left out of a restart where that is allowed.
    pub terse: bool,
    pub name: String,
}

impl Job {
    pub fn new(sender: &str, message: &[u8]) -> Self {
        Self {
            sender: sender.into(),
            recipients: vec!["b@example.net".into()],
            message: message.to_vec(),
            how: How::Data,
            pipelining: true,
            transid: format!("<{sender}-1@c.example>"),
            lmtp: false,
            terse: false,
            name: "c.example".into(),
        }
    }

    /// The message as it has to be delivered.
    pub fn canonical(&self) -> Vec<u8> {
        let mut octets = self.message.clone();
        if self.how == How::Data && !octets.is_empty() && !octets.ends_with(b"\r\n") {
            octets.extend_from_slice(b"\r\n");
        }
        octets
    }

    pub fn mail(&self) -> String {
        format!("MAIL FROM:<{}@c.example>", self.sender)
    }
}

/// What a client has on disk. Every call may be its last.
#[derive(Debug)]
pub struct Journal<T> {
    pub durable: T,
    pub calls: u64,
    pub blows: Vec<(u64, Blow)>,
    pub crashes: u64,
}

impl<T> Journal<T> {
    pub fn new(durable: T) -> Self {
        Self {
            durable,
            calls: 0,
            blows: Vec::new(),
            crashes: 0,
        }
    }

    /// Stores; false where the client died of it.
    pub fn store(&mut self, value: T) -> bool {
        let blow = self.blows.iter().find(|(at, _)| *at == self.calls);
        let blow = blow.map(|(_, blow)| *blow);
        self.calls += 1;
        match blow {
            Some(Blow::CrashBefore) => {
                self.crashes += 1;
                false
            }
            Some(Blow::CrashAfter) => {
                self.durable = value;
                self.crashes += 1;
                false
            }
            Some(Blow::Fail) | None => {
                self.durable = value;
                true
            }
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The final replies are stored.
    Decided(Vec<String>),
    /// Try again under the same TRANSID.
    Again,
    /// The client's process died.
    Crashed,
}

/// What any client of these tests can do: octets in, octets out.
pub trait Client {
    fn input(&mut self, octets: &[u8]);
    fn output(&mut self) -> Vec<u8>;
    /// The connection is lost.
    fn lost(&mut self);
    /// How the attempt ended, once it has.
    fn end(&self) -> Option<End>;
    /// The offset of the last 355 of this attempt.
    fn offset(&self) -> Option<u64>;
    /// Ready to hang up.
    fn is_over(&self) -> bool;
}

/// What the simple client remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Data may have been sent.
    pub sent: bool,
    /// MAILs answered 250 under the TRANSID.
    pub mails: u32,
    /// Replies to all RCPTs of the last such attempt.
    pub replies: Vec<u16>,
    /// The final replies.
    pub finals: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Mail,
    /// RSET after a surprising 355.
    Reset,
    Envelope,
    Body,
    Final,
    Quit,
    Over,
}

/// One attempt.
#[derive(Debug)]
pub struct Raw {
    job: Rc<Job>,
    pub journal: Journal<Memory>,
    memory: Memory,
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
    lines: Vec<String>,
    /// Replies due: to RCPTs, and then to DATA.
    due: usize,
    written: usize,
    data_written: bool,
    accepted: usize,
    content: Vec<u8>,
    from: usize,
    chunk: usize,
    offset: Option<u64>,
    surprises: u32,
    finals: Vec<String>,
    end: Option<End>,
}

impl Raw {
    pub fn new(job: Rc<Job>, journal: Journal<Memory>) -> Self {
        let content = job.canonical();
        let memory = journal.durable.clone();
        Self {
            job,
            journal,
            memory,
            state: State::Greeting,
            input: Vec::new(),
            output: Vec::new(),
            lines: Vec::new(),
            due: 0,
            written: 0,
            data_written: false,
            accepted: 0,
            content,
            from: 0,
            chunk: 0,
            offset: None,
            surprises: 0,
            finals: Vec::new(),
            end: None,
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn over(&mut self, end: End) {
        self.state = State::Over;
        self.end = Some(end);
        self.output.clear();
    }

    fn reply(&mut self, lines: &[String]) {
        let last = lines.last().expect("a line").clone();
        let code: u16 = last[..3].parse().expect("a code");
        if code == 421 {
            return self.over(End::Again);
        }
        match (self.state, code) {
            (State::Greeting, 220) => {
                let verb = if self.job.lmtp { "LHLO" } else { "EHLO" };
                self.say(&format!("{verb} {}", self.job.name));
                self.state = State::Ehlo;
            }
            (State::Ehlo, 250) => {
                assert!(
                    lines.iter().any(|line| &line[4..] == "CHECKPOINT"),
                    "not offered"
                );
                self.mail();
            }
            (State::Reset, 250) => self.mail(),
            (State::Mail, 250) => {
                self.memory.mails += 1;
                self.memory.replies.clear();
                self.envelope(0);
            }
            (State::Mail, 355) => {
                let text = &lines[0][4..];
                let digits = text.split([' ', '\t']).next().expect("digits");
                let offset: u64 = digits.parse().expect("an offset");
                self.offset = Some(offset);
                if !self.memory.sent {
                    // CP-31: somebody else's, or what a crash of ours left.
                    self.surprises += 1;
                    if self.surprises > 1 {
                        return self.over(End::Again);
                    }
                    self.state = State::Reset;
                    return self.say("RSET");
                }
                let from = usize::try_from(offset).expect("small");
                assert!(from <= self.content.len(), "beyond the message");
                if self.job.how == How::Data {
                    let before = &self.content[..from];
                    assert!(from == 0 || before.ends_with(b"\r\n"), "not a line start");
                }
                self.envelope(from);
            }
            (State::Mail, 451 | 503) => self.over(End::Again),
            (State::Envelope, _) => self.envelope_reply(code),
            (State::Body, 250) => self.next_chunk(),
            (State::Body, 451 | 503) | (State::Final, 503) => self.over(End::Again),
            (State::Final, _) => {
                self.finals.push(lines.join("\n"));
                let owed = if self.job.lmtp { self.accepted } else { 1 };
                if self.finals.len() == owed {
                    self.memory.finals = Some(self.finals.clone());
                    if self.remember() {
                        self.end = Some(End::Decided(self.finals.clone()));
                        self.say("QUIT");
                        self.state = State::Quit;
                    }
                }
            }
            (State::Quit, 221) => self.state = State::Over,
            (state, _) => panic!("{state:?} got {last}"),
        }
    }

    fn remember(&mut self) -> bool {
        let stored = self.journal.store(self.memory.clone());
        if !stored {
            self.over(End::Crashed);
        }
        stored
    }

    fn mail(&mut self) {
        self.state = State::Mail;
        self.say(&format!("{} TRANSID={}", self.job.mail(), self.job.transid));
    }

    fn envelope(&mut self, from: usize) {
        self.from = from;
        self.chunk = from;
        self.state = State::Envelope;
        let resumed = self.offset.is_some() && self.memory.sent && self.surprises == 0;
        let held = self.memory.replies.len() == self.job.recipients.len();
        if self.job.terse && resumed && self.memory.mails == 1 && held {
            self.written = self.job.recipients.len();
            let replies = &self.memory.replies;
            self.accepted = replies.iter().filter(|code| *code / 100 == 2).count();
        }
        self.proceed();
    }

    fn proceed(&mut self) {
        let count = self.job.recipients.len();
        while self.written < count && (self.job.pipelining || self.due == 0) {
            let line = format!("RCPT TO:<{}>", self.job.recipients[self.written]);
            self.say(&line);
            self.written += 1;
            self.due += 1;
        }
        if self.due > 0 && !self.job.pipelining || self.written < count {
            return;
        }
        if self.job.how == How::Data && !self.data_written {
            // CP-36: the mark is durable before the first octet of a data command. A restart
            // waits for the replies to its RCPTs.
            self.memory.sent = true;
            if self.remember() {
                self.data_written = true;
                self.say("DATA");
                self.due += 1;
            }
        } else if self.due == 0 {
            self.memory.sent = true;
            if self.remember() {
                self.state = State::Body;
                self.next_chunk();
            }
        }
    }

    fn envelope_reply(&mut self, code: u16) {
        self.due -= 1;
        let rcpts = self.job.recipients.len();
        let is_data = self.data_written && self.due == 0;
        if !is_data {
            if self.memory.replies.len() == rcpts {
                self.memory.replies.clear();
            }
            self.memory.replies.push(code);
            self.accepted += usize::from(code / 100 == 2);
            return self.proceed();
        }
        match code {
            354 => {
                let body = self.stuffed();
                self.output.extend(body);
                self.state = State::Final;
            }
            400..=599 => self.over(End::Again),
            _ => panic!("{code} to DATA"),
        }
    }

    /// The naive way to write what is left.
    fn stuffed(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        for line in self.content[self.from..].split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    /// One chunk at a time, each after the reply to the one before.
    fn next_chunk(&mut self) {
        let How::Bdat(size) = self.job.how else {
            panic!("no chunks");
        };
        let end = self.content.len().min(self.chunk + size);
        let last = end == self.content.len();
        let chunk = self.content[self.chunk..end].to_vec();
        let word = if last { " LAST" } else { "" };
        self.say(&format!("BDAT {}{word}", chunk.len()));
        self.output.extend(chunk);
        self.chunk = end;
        if last {
            self.state = State::Final;
        }
    }
}

impl Client for Raw {
    fn input(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = self.input.drain(..end + 2).collect();
            if self.state == State::Over {
                return;
            }
            let line = String::from_utf8(line[..end].to_vec()).expect("text");
            let more = line.as_bytes().get(3) == Some(&b'-');
            self.lines.push(line);
            if !more {
                let lines = std::mem::take(&mut self.lines);
                self.reply(&lines);
            }
        }
    }

    fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn lost(&mut self) {
        if self.end.is_none() {
            self.end = Some(End::Again);
        }
        self.state = State::Over;
        self.output.clear();
    }

    fn end(&self) -> Option<End> {
        self.end.clone()
    }

    fn offset(&self) -> Option<u64> {
        self.offset
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

/// What the library's client has on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    Open(Vec<u8>),
    Spent(Vec<String>),
}

/// The library's client in one attempt.
#[derive(Debug)]
pub struct Real {
    job: Rc<Job>,
    pub journal: Journal<Kept>,
    session: ClientSession,
    input: Bytes,
    seen: Vec<u8>,
    given: usize,
    piece: usize,
    offset: Option<u64>,
    /// Content octets that were asked for in this attempt.
    pub asked: usize,
    end: Option<End>,
    over: bool,
}

impl Real {
    /// What is on disk before the first attempt.
    pub fn first(job: &Job) -> Kept {
        let mail = MailLine::parse(Bytes::from(job.mail())).expect("MAIL");
        let mut builder = UnfinishedTransaction::builder(mail, Content::measure(&job.message), 0)
            .transid(TransId::parse(job.transid.as_bytes()).expect("a TRANSID"));
        for recipient in &job.recipients {
            let line = Bytes::from(format!("RCPT TO:<{recipient}>"));
            builder = builder.recipient(RcptLine::parse(line).expect("RCPT"));
        }
        if job.lmtp {
            builder = builder.lmtp();
        }
        if matches!(job.how, How::Bdat(_)) {
            builder = builder.bdat();
        }
        Kept::Open(builder.build().expect("a transaction").encode())
    }

    pub fn new(job: Rc<Job>, journal: Journal<Kept>, piece: usize) -> Self {
        let mut config =
            ClientConfig::builder(&job.name, TlsPolicy::IfOffered).pipelining(job.pipelining);
        if job.lmtp {
            config = config.protocol(Protocol::Lmtp);
        }
        if let How::Bdat(size) = job.how {
            config = config.chunk_size(size);
        }
        let config = Arc::new(config.build().expect("a configuration"));
        Self {
            job,
            journal,
            session: ClientSession::new(config, Timestamp::ORIGIN),
            input: Bytes::new(),
            seen: Vec::new(),
            given: 0,
            piece,
            offset: None,
            asked: 0,
            end: None,
            over: false,
        }
    }

    fn keep(&mut self, kept: Kept) -> bool {
        let stored = self.journal.store(kept);
        if !stored {
            self.end = Some(End::Crashed);
            self.over = true;
        }
        stored
    }

    fn drive(&mut self) {
        let now = Timestamp::ORIGIN;
        while !self.over {
            if let Some(event) = self.session.poll_event() {
                self.event(event);
            } else if self.session.wants_content() {
                let rest = &self.job.message[self.given..];
                if rest.is_empty() {
                    self.session.finish_content(now).expect("the end");
                } else {
                    let mut piece = &rest[..rest.len().min(self.piece)];
                    let before = piece.len();
                    self.session.send_content(now, &mut piece).expect("content");
                    let taken = before - piece.len();
                    if taken == 0 && before == rest.len().min(self.piece) {
                        // It wants to see more at once.
                        assert!(self.piece < 4, "no progress");
                        self.piece = 4;
                    }
                    self.given += taken;
                }
            } else {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = Timestamp::ORIGIN;
        match event {
            Event::Ready if self.end.is_some() => self.session.quit(now).expect("in turn"),
            Event::Ready => {
                let Kept::Open(octets) = &self.journal.durable else {
                    panic!("nothing to send");
                };
                let transaction = UnfinishedTransaction::decode(octets).expect("as stored");
                self.session
                    .send(now, &transaction)
                    .expect("it can be sent");
            }
            Event::Store(question) => {
                if self.keep(Kept::Open(question.transaction().encode())) {
                    let answered = self.session.stored(now, question).expect("its own");
                    assert_eq!(answered, Answered::Taken);
                }
            }
            Event::SendContent { start, lookbehind } => {
                let offset = self.offset.unwrap_or(0);
                assert!(lookbehind <= 2);
                assert_eq!(
                    start.get() + u64::from(lookbehind),
                    offset,
                    "before the offset"
                );
                self.given = usize::try_from(start.get()).expect("small");
                self.asked += self.job.message.len() - self.given;
            }
            Event::Done(outcome) => self.done(outcome),
            Event::Finished(_) => {
                self.over = true;
                self.end.get_or_insert(End::Again);
            }
            Event::PeerFault(PeerError::ConnectionLost)
            | Event::Recipient { .. }
            | Event::FinalReply { .. }
            | Event::Rejected(_)
            | Event::StopContent => {}
            other => panic!("{other:?}"),
        }
    }

    fn done(&mut self, outcome: Outcome) {
        let finals = match &outcome {
            Outcome::Delivered { reply }
            | Outcome::Deferred { reply }
            | Outcome::Refused { reply } => Some(vec![reply.code().to_string()]),
            Outcome::PerRecipient { replies } => Some(
                replies
                    .iter()
                    .map(|(_, reply)| reply.code().to_string())
                    .collect(),
            ),
            Outcome::StartOver { .. } | Outcome::Unknown { .. } => panic!("{outcome:?}"),
            _ => None,
        };
        let (kept, end) = match finals {
            Some(finals) => (Kept::Spent(finals.clone()), End::Decided(finals)),
            None => {
                let transaction = outcome.transaction().expect("undecided");
                (Kept::Open(transaction.encode()), End::Again)
            }
        };
        if self.keep(kept) {
            self.end = Some(end);
            // Too late for a session that is over already.
            let _ = self.session.outcome_stored(Timestamp::ORIGIN);
        }
    }
}

impl Client for Real {
    fn input(&mut self, octets: &[u8]) {
        self.seen.extend_from_slice(octets);
        while let Some(end) = self.seen.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = self.seen.drain(..end + 2).collect();
            if line.starts_with(b"355") {
                let digits = line[4..].iter().take_while(|octet| octet.is_ascii_digit());
                let digits: Vec<u8> = digits.copied().collect();
                let digits = String::from_utf8(digits).expect("digits");
                self.offset = Some(digits.parse().expect("an offset"));
            }
        }
        let mut all = self.input.to_vec();
        all.extend_from_slice(octets);
        self.input = Bytes::from(all);
        self.session
            .handle_input(Timestamp::ORIGIN, &mut self.input);
        self.drive();
    }

    fn output(&mut self) -> Vec<u8> {
        self.drive();
        if self.over {
            return Vec::new();
        }
        let octets = self.session.take_output().unwrap_or_default();
        self.session
            .transmitted(Timestamp::ORIGIN, octets.len())
            .expect("as many");
        self.drive();
        octets.to_vec()
    }

    fn lost(&mut self) {
        if !self.over {
            self.session.handle_eof(Timestamp::ORIGIN);
            self.drive();
            self.over = true;
            self.end.get_or_insert(End::Again);
        }
    }

    fn end(&self) -> Option<End> {
        self.end.clone()
    }

    fn offset(&self) -> Option<u64> {
        self.offset
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

/// Any client, from attempt to attempt.
#[derive(Debug)]
pub enum Caller {
    Raw(Journal<Memory>),
    Real(Journal<Kept>, usize),
}

impl Caller {
    pub fn raw() -> Self {
        Self::Raw(Journal::new(Memory::default()))
    }

    /// The library's client, which is given its content in pieces of so many octets.
    pub fn real(job: &Job, piece: usize) -> Self {
        Self::Real(Journal::new(Real::first(job)), piece)
    }

    /// Begins an attempt; `None` where the outcome is stored already.
    pub fn begin(self, job: &Rc<Job>) -> Attempt {
        match self {
            Self::Raw(journal) => Attempt::Raw(Box::new(Raw::new(Rc::clone(job), journal))),
            Self::Real(journal, piece) => {
                Attempt::Real(Box::new(Real::new(Rc::clone(job), journal, piece)))
            }
        }
    }

    pub fn outcome(&self) -> Option<Vec<String>> {
        match self {
            Self::Raw(journal) => journal
                .durable
                .finals
                .as_ref()
                .map(|finals| finals.iter().map(|reply| reply[..3].to_string()).collect()),
            Self::Real(journal, _) => match &journal.durable {
                Kept::Open(_) => None,
                Kept::Spent(finals) => Some(finals.clone()),
            },
        }
    }

    pub fn calls(&self) -> u64 {
        match self {
            Self::Raw(journal) => journal.calls,
            Self::Real(journal, _) => journal.calls,
        }
    }

    pub fn crashes(&self) -> u64 {
        match self {
            Self::Raw(journal) => journal.crashes,
            Self::Real(journal, _) => journal.crashes,
        }
    }

    /// Nothing happens to the journal any more.
    pub fn spare(&mut self) {
        match self {
            Self::Raw(journal) => journal.blows.clear(),
            Self::Real(journal, _) => journal.blows.clear(),
        }
    }

    pub fn blow(&mut self, call: u64, blow: Blow) {
        match self {
            Self::Raw(journal) => journal.blows.push((call, blow)),
            Self::Real(journal, _) => journal.blows.push((call, blow)),
        }
    }
}

/// One attempt of any client.
#[derive(Debug)]
pub enum Attempt {
    Raw(Box<Raw>),
    Real(Box<Real>),
}

impl Attempt {
    pub fn client(&mut self) -> &mut dyn Client {
        match self {
            Self::Raw(client) => client.as_mut(),
            Self::Real(client) => client.as_mut(),
        }
    }

    /// Whether it has something to say (the simple client only).
    pub fn has_output(&self) -> bool {
        matches!(self, Self::Raw(client) if !client.output.is_empty())
    }

    pub fn into_caller(self) -> Caller {
        match self {
            Self::Raw(client) => Caller::Raw(client.journal),
            Self::Real(client) => Caller::Real(client.journal, client.piece),
        }
    }
}
