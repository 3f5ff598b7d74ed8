//! A world to test a server session in: a store double, scripted decisions, and a clock that stands
//! still unless told otherwise.
//!
//! The store keeps what [`smtp_checkpoint::checkpoint`] asks for: claims with generations, content
//! that is synced or not, records, decisions that belong to records. It panics where a session
//! breaks the contract: a hole in the content, a write behind a refusal, a message committed twice.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod script;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Completion, Confirmation, Discard, Duty, Generation, Record, RecordState,
    TransactionKey, Verdict,
};
use smtp_checkpoint::dsn::{Owed, RecipientResult};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer};
use smtp_checkpoint::reply::{Reply, ReplyCode, standard};
use smtp_checkpoint::server::{
    AbandonAnswer, AbandonQuestion, AbortQuestion, Answered, AuthAnswer, AuthFailure, AuthQuestion,
    AuthResponseQuestion, AwaitAnswer, AwaitQuestion, BurlAnswer, BurlQuestion, CommandAnswer,
    CommandQuestion, ConnectionAnswer, ConnectionQuestion, DataAnswer, DataQuestion,
    DetachQuestion, EndOfDataAnswer, EndOfDataQuestion, Ending, Event, HelloAnswer, HelloQuestion,
    MailAnswer, MailQuestion, Peer, RcptQuestion, ServerConfig, ServerSession, StartTlsAnswer,
    StartTlsQuestion, TlsOutcome,
};
use smtp_checkpoint::time::Timestamp;

/// A reply from how it is written: `550 5.1.1 No such user`.
pub fn reply(text: &str) -> Reply {
    let (code, text) = text.split_once(' ').unwrap_or((text, ""));
    let code = ReplyCode::parse(code.as_bytes()).expect("a reply code");
    Reply::with_text(code, None, text.to_owned())
        .expect("a reply text")
        .with_enhanced_from_text()
}

// ---- the store ----

/// What is held under one key.
#[derive(Debug, Default, Clone)]
pub struct Held {
    pub generation: u64,
    pub content: Vec<u8>,
    pub synced: usize,
    /// What survives a crash.
    pub record: Option<Record>,
    /// A decision under way in this process: the record it decides on.
    pub processing: Option<Record>,
    pub unreadable: bool,
    /// The next confirmation finds the content shorter than it should be.
    pub lost_octets: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub envelope: Vec<u8>,
    pub content: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Store {
    pub held: BTreeMap<Vec<u8>, Held>,
    pub delivered: Vec<Delivered>,
    /// Delivery status notifications: recipients and their status.
    pub reports: Vec<String>,
    /// Every call that names a key, with what it came to.
    pub calls: Vec<(Vec<u8>, String)>,
    decisions: u64,
}

/// What is reported of a failure: who failed, and how.
fn report_of(envelope: &Envelope, results: &[RecipientResult]) -> Option<String> {
    let Owed::Report(report) = Owed::by(envelope, results).expect("results that fit") else {
        return None;
    };
    let failed = report.failed().iter().map(|failed| {
        let path = failed.recipient().rcpt().forward_path;
        let local = path.mailbox().expect("a mailbox").local_part();
        let local = local.as_bytes().escape_ascii();
        format!("{local} {}", failed.failure().status())
    });
    Some(failed.collect::<Vec<_>>().join(", "))
}

fn envelope_of(record: &Envelope) -> Vec<u8> {
    let mut lines = record.mail_line().to_vec();
    for recipient in record.accepted() {
        lines.push(b'\n');
        lines.extend(recipient.line());
    }
    lines
}

impl Store {
    fn called(&mut self, key: &TransactionKey, call: String) {
        self.calls.push((key.as_bytes().to_vec(), call));
    }

    /// Raises the generation, cuts the content to the record, reads the record.
    pub fn claim(&mut self, key: &TransactionKey) -> Result<Claim, Reply> {
        let claimed = self.raise(key);
        self.called(key, format!("claim: {claimed:?}"));
        claimed
    }

    fn raise(&mut self, key: &TransactionKey) -> Result<Claim, Reply> {
        let held = self.held.entry(key.as_bytes().to_vec()).or_default();
        if held.unreadable {
            return Err(standard::LOCAL_ERROR.into());
        }
        held.generation += 1;
        let found = match &held.processing {
            Some(record) => {
                self.decisions += 1;
                Some(record.processing(self.decisions))
            }
            None => {
                let length = held.length();
                if held.content.len() < length {
                    held.record = None;
                    held.content.clear();
                } else if !held.is_committed() {
                    held.content.truncate(length);
                }
                held.synced = held.synced.min(held.content.len());
                held.record.clone()
            }
        };
        Ok(Claim::Claimed {
            generation: Generation(held.generation),
            found: found.map(Box::new),
        })
    }

    fn at(&mut self, key: &TransactionKey, generation: Generation) -> Option<&mut Held> {
        self.held
            .get_mut(key.as_bytes())
            .filter(|held| held.generation == generation.0)
    }

    fn confirm(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        length: u64,
    ) -> Option<Confirmation> {
        let confirmation = self.look(key, generation, length);
        self.called(
            key,
            format!("confirm {generation} {length}: {confirmation:?}"),
        );
        confirmation
    }

    fn look(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        length: u64,
    ) -> Option<Confirmation> {
        let Some(held) = self.at(key, generation) else {
            return Some(Confirmation::Outdated);
        };
        if held.lost_octets {
            held.lost_octets = false;
            return Some(Confirmation::WrongLength);
        }
        let stored = match &held.processing {
            Some(record) => record.length().get(),
            None if held.is_committed() => held.length() as u64,
            None => held.content.len() as u64,
        };
        (stored != length).then_some(Confirmation::WrongLength)
    }

    fn store_record(&mut self, key: &TransactionKey, record: Record) {
        self.called(key, format!("record {}", record.length()));
        let Some(held) = self.at(key, record.generation()) else {
            return;
        };
        assert!(!held.is_committed(), "a partial record over a completion");
        let length = usize::try_from(record.length().get()).unwrap();
        assert!(length <= held.content.len(), "a record beyond its content");
        held.synced = held.content.len();
        held.record = Some(record);
    }

    fn discard(&mut self, discard: &Discard) {
        self.called(&discard.key, format!("discard {}", discard.generation));
        if let Some(held) = self.at(&discard.key, discard.generation) {
            assert!(held.processing.is_none(), "a decision under way discarded");
            if let Some(RecordState::Committed(completion)) =
                held.record.as_ref().map(Record::state)
            {
                assert!(completion.is_transient(), "a final reply discarded");
            }
            held.record = None;
            held.content.clear();
            held.synced = 0;
        }
    }

    fn begin_decision(&mut self, key: &TransactionKey, record: &Record) -> bool {
        self.called(key, format!("decide on {}", record.length()));
        let Some(held) = self.at(key, record.generation()) else {
            return false;
        };
        assert_eq!(held.content.len() as u64, record.length().get(), "decided");
        held.synced = held.content.len();
        held.processing = Some(record.clone());
        true
    }

    /// Commits a decision, once.
    fn commit(&mut self, key: &TransactionKey, verdict: &Verdict) -> Option<Completion> {
        self.called(key, format!("commit {verdict:?}"));
        let held = self.held.get_mut(key.as_bytes())?;
        let record = held.processing.take()?;
        let complete = record.complete(verdict).expect("a verdict that fits");
        let RecordState::Committed(completion) = complete.state() else {
            unreachable!()
        };
        let completion = completion.clone();
        if verdict.accepts() {
            self.delivered.push(Delivered {
                envelope: envelope_of(complete.envelope()),
                content: held.content.clone(),
            });
        }
        held.record = Some(complete);
        Some(completion)
    }

    /// The process dies: what was not synced is gone, and every decision that was under way.
    pub fn crash(&mut self) {
        for held in self.held.values_mut() {
            held.content.truncate(held.synced);
            held.processing = None;
        }
    }

    /// Marks what is held as owned by the server, durably.
    fn detach(&mut self, key: &TransactionKey, generation: Generation) -> DetachAnswer {
        let Some(held) = self.at(key, generation) else {
            return DetachAnswer::Outdated;
        };
        if let Some(record) = &held.processing {
            let record = record.detach();
            held.processing = Some(record.clone());
            held.record = Some(record.withdraw());
        } else if let Some(record) = held.record.as_ref().filter(|_| held.is_committed()) {
            held.record = Some(record.detach());
        } else {
            // Refused without a decision: nothing is held, or a part of the message.
            return DetachAnswer::Failed;
        }
        held.synced = held.content.len();
        DetachAnswer::Owned
    }

    /// Stops the decision and discards the record, in one step.
    fn abort(&mut self, key: &TransactionKey, generation: Generation) -> ResetAnswer {
        let Some(held) = self.at(key, generation) else {
            return ResetAnswer::Outdated;
        };
        if held.processing.take().is_none() {
            return ResetAnswer::TooLate;
        }
        held.record = None;
        held.content.clear();
        held.synced = 0;
        ResetAnswer::Aborted
    }

    fn take_back(&mut self, key: &TransactionKey, generation: Generation) {
        let held = self.held.get_mut(key.as_bytes()).expect("the key");
        held.record = (held.record.as_ref()).map(|record| record.take_back(generation));
    }

    /// Does what is due for messages whose clients have detached: `is_held` says which key a
    /// session holds.
    fn do_duties(&mut self, is_held: impl Fn(&[u8], u64) -> bool) {
        for (key, held) in &mut self.held {
            let Some(record) = &held.record else { continue };
            if is_held(key, held.generation) || held.processing.is_some() {
                continue;
            }
            match record.duty() {
                Duty::Nothing => {}
                Duty::Decide => held.processing = Some(record.clone()),
                Duty::Report(results) => {
                    let report = report_of(record.envelope(), &results);
                    self.reports.push(report.expect("a report that is owed"));
                    held.record = Some(record.with_dsn_issued());
                }
            }
        }
    }

    /// All that a later session can see, for comparison.
    pub fn state(&self) -> String {
        let mut state = String::new();
        for (key, held) in &self.held {
            let record = held.record.as_ref().map(Record::encode);
            let cut = held.length();
            state += &format!(
                "{} {} {:?} {:?} {}\n",
                key.escape_ascii(),
                held.generation,
                record,
                held.processing.as_ref().map(Record::encode),
                held.content[..cut.min(held.content.len())].escape_ascii(),
            );
        }
        for delivered in &self.delivered {
            state += &format!(
                "{} {}\n",
                delivered.envelope.escape_ascii(),
                delivered.content.escape_ascii()
            );
        }
        state += &self.reports.join("\n");
        state
    }

    /// `none`, `partial 12`, `processing 12` or `committed 12`, of the only key there is.
    pub fn outline(&self) -> String {
        assert!(self.held.len() <= 1, "more than one key");
        let Some(held) = self.held.values().next() else {
            return "none".into();
        };
        let (state, record) = match (&held.processing, &held.record) {
            (Some(record), _) => ("processing", record),
            (None, None) => return "none".into(),
            (None, Some(record)) if held.is_committed() => ("committed", record),
            (None, Some(record)) => ("partial", record),
        };
        let detached = if record.is_detached() {
            "detached "
        } else {
            ""
        };
        format!("{detached}{state} {}", record.length())
    }
}

impl Held {
    fn length(&self) -> usize {
        (self.record.as_ref()).map_or(0, |record| usize::try_from(record.length().get()).unwrap())
    }

    pub fn is_committed(&self) -> bool {
        (self.record.as_ref())
            .is_some_and(|record| matches!(record.state(), RecordState::Committed(_)))
    }
}

// ---- a connection ----

/// A question that has not been answered.
#[derive(Debug)]
pub enum Question {
    Connection(ConnectionQuestion),
    Hello(HelloQuestion),
    Mail(MailQuestion),
    Rcpt(RcptQuestion),
    Data(DataQuestion),
    Burl(BurlQuestion),
    EndOfData(EndOfDataQuestion),
    Await(AwaitQuestion),
    Abandon(AbandonQuestion),
    Abort(AbortQuestion),
    Detach(DetachQuestion),
    Auth(AuthQuestion),
    AuthResponse(AuthResponseQuestion),
    StartTls(StartTlsQuestion),
    Command(CommandQuestion),
}

impl Question {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Hello(_) => "hello",
            Self::Mail(_) => "mail",
            Self::Rcpt(_) => "rcpt",
            Self::Data(_) => "data",
            Self::Burl(_) => "burl",
            Self::EndOfData(_) => "verdict",
            Self::Await(_) => "await",
            Self::Abandon(_) => "abandon",
            Self::Abort(_) => "abort",
            Self::Detach(_) => "detach",
            Self::Auth(_) => "auth",
            Self::AuthResponse(_) => "sasl",
            Self::StartTls(_) => "starttls",
            Self::Command(_) => "command",
        }
    }
}

/// One connection and what its server keeps beside the session.
#[derive(Debug)]
pub struct Link {
    pub session: ServerSession,
    queue: VecDeque<Bytes>,
    eof: bool,
    eof_given: bool,
    pub questions: VecDeque<Question>,
    /// What the client has received and the test has not looked at.
    pub received: Vec<u8>,
    /// What happened, by name.
    pub log: Vec<String>,
    claim: Option<(TransactionKey, Generation)>,
    /// The claim as the store sees it: until the next MAIL, or the end of the session.
    holds: Option<(TransactionKey, Generation)>,
    /// Content of a transaction without a record.
    spool: Vec<u8>,
    /// One without a record that is decided on.
    unrecorded: Option<Unrecorded>,
    pub finished: Option<Ending>,
    /// Output is left where it is.
    pub stuck: bool,
}

/// A message without a record whose decision is under way, or was made and not told.
#[derive(Debug)]
pub struct Unrecorded {
    envelope: Envelope,
    content: Vec<u8>,
    expected: usize,
    detached: bool,
    failed: Option<Vec<Reply>>,
}

/// What a recorded transaction answers a RCPT or MAIL with.
#[derive(Debug, Clone)]
pub enum MailPolicy {
    Reply(Reply),
    Unrecorded,
}

/// Sessions, their store, and what the caller will decide.
#[derive(Debug)]
pub struct World {
    pub config: Arc<ServerConfig>,
    pub peer: Peer,
    pub store: Store,
    pub links: BTreeMap<String, Link>,
    pub now: Timestamp,
    /// Kinds of questions that stay open.
    pub hold: Vec<String>,
    pub mail: VecDeque<MailPolicy>,
    pub rcpt: VecDeque<Reply>,
    pub data: VecDeque<Reply>,
    pub verdicts: VecDeque<Verdict>,
    pub auth: VecDeque<AuthAnswer>,
    pub burl: VecDeque<Result<Vec<u8>, Reply>>,
    pub commands: VecDeque<Reply>,
    pub hello: VecDeque<Reply>,
    pub refuse_tls: bool,
    pub abandon: AbandonAnswer,
    /// In place of what the store says.
    pub abort: VecDeque<ResetAnswer>,
    pub detach: VecDeque<DetachAnswer>,
}

impl World {
    pub fn new(config: ServerConfig) -> Self {
        Self {
            config: Arc::new(config),
            peer: Peer::at(b"192.0.2.7"),
            store: Store::default(),
            links: BTreeMap::new(),
            now: Timestamp::ORIGIN,
            hold: Vec::new(),
            mail: VecDeque::new(),
            rcpt: VecDeque::new(),
            data: VecDeque::new(),
            verdicts: VecDeque::new(),
            auth: VecDeque::new(),
            burl: VecDeque::new(),
            commands: VecDeque::new(),
            hello: VecDeque::new(),
            refuse_tls: false,
            abandon: AbandonAnswer::Abandoned,
            abort: VecDeque::new(),
            detach: VecDeque::new(),
        }
    }

    pub fn connect(&mut self, name: &str) {
        let session = ServerSession::new(Arc::clone(&self.config), self.peer.clone(), self.now);
        let link = Link {
            session,
            queue: VecDeque::new(),
            eof: false,
            eof_given: false,
            questions: VecDeque::new(),
            received: Vec::new(),
            log: Vec::new(),
            claim: None,
            holds: None,
            spool: Vec::new(),
            unrecorded: None,
            finished: None,
            stuck: false,
        };
        self.links.insert(name.into(), link);
        self.run(name);
    }

    pub fn link(&mut self, name: &str) -> &mut Link {
        self.links.get_mut(name).expect("a connection of this name")
    }

    /// Sends octets in pieces that end at `cuts`, as one burst: nothing is answered and nothing is
    /// transmitted while the session takes more of it.
    pub fn send_cut(&mut self, name: &str, octets: &[u8], cuts: impl IntoIterator<Item = usize>) {
        let queue = &mut self.link(name).queue;
        let mut start = 0;
        for cut in cuts.into_iter().chain([octets.len()]) {
            if cut > start {
                queue.push_back(Bytes::copy_from_slice(&octets[start..cut]));
                start = cut;
            }
        }
        self.run(name);
    }

    pub fn send(&mut self, name: &str, octets: &[u8]) {
        self.send_cut(name, octets, []);
    }

    /// Sends, and gives what came back.
    pub fn talk(&mut self, name: &str, octets: &[u8]) -> String {
        self.send(name, octets);
        self.take(name)
    }

    pub fn take(&mut self, name: &str) -> String {
        let received = std::mem::take(&mut self.link(name).received);
        String::from_utf8(received).expect("replies are text")
    }

    pub fn eof(&mut self, name: &str) {
        self.link(name).eof = true;
        self.run(name);
    }

    pub fn disconnect(&mut self, name: &str) {
        let now = self.now;
        self.link(name).session.handle_disconnect(now);
        self.run(name);
    }

    pub fn wait(&mut self, name: &str, time: Duration) {
        self.now = self.now + time;
        let now = self.now;
        self.link(name).session.handle_timeout(now);
        self.run(name);
    }

    /// Lets the time pass up to the next deadline.
    pub fn time_out(&mut self, name: &str) {
        let deadline = self.link(name).session.poll_timeout().expect("a deadline");
        let now = self.now;
        assert!(deadline >= now, "a deadline in the past");
        self.wait(name, deadline.since(now));
    }

    pub fn shutdown(&mut self, name: &str) {
        let now = self.now;
        self.link(name).session.shutdown(now);
        self.run(name);
    }

    pub fn supersede(&mut self, name: &str) {
        let now = self.now;
        let session = &mut self.link(name).session;
        let claim = session.transaction();
        if let Some((key, generation)) = claim.key().cloned().zip(claim.generation()) {
            session.supersede(now, &key, generation);
        }
        self.run(name);
    }

    pub fn tls(&mut self, name: &str) {
        let now = self.now;
        let outcome = TlsOutcome::Established { client: None };
        self.link(name)
            .session
            .handle_tls(now, outcome)
            .expect("a handshake was asked for");
        self.run(name);
    }

    /// The whole server dies and comes up again.
    pub fn crash(&mut self) {
        self.links.clear();
        self.store.crash();
        self.do_duties();
    }

    fn do_duties(&mut self) {
        let links = &self.links;
        self.store.do_duties(|key, generation| {
            (links.values().filter_map(|link| link.holds.as_ref()))
                .any(|(held, of)| held.as_bytes() == key && of.0 == generation)
        });
    }

    pub fn release(&mut self, kind: &str) {
        self.hold.retain(|held| held != kind);
        let names: Vec<_> = self.links.keys().cloned().collect();
        for name in names {
            self.run(&name);
        }
    }

    /// Whether this was told: an event by its name alone, or with what distinguishes it.
    pub fn told(&mut self, name: &str, what: &str) -> bool {
        let with = format!("{what} ");
        let log = &self.link(name).log;
        log.iter()
            .any(|line| line == what || line.starts_with(&with))
    }

    /// The store is about to raise the generation: whoever holds the key is told before.
    pub fn supersede_holders(&mut self) {
        let now = self.now;
        let holders: Vec<_> = (self.links.iter())
            .filter_map(|(name, link)| Some((name.clone(), link.holds.clone()?)))
            .collect();
        for (name, (key, generation)) in holders {
            let session = &mut self.link(&name).session;
            session.supersede(now, &key, generation);
            self.run(&name);
        }
    }

    /// The session is dropped, which equals a cut connection.
    pub fn drop_session(&mut self, name: &str) -> Option<Link> {
        let link = self.links.remove(name);
        self.do_duties();
        link
    }

    /// Lets everything happen that can happen.
    pub fn run(&mut self, name: &str) {
        loop {
            while let Some(event) = self.link(name).session.poll_event() {
                self.event(name, event);
            }
            let now = self.now;
            let link = self.link(name);
            if link.session.wants_input()
                && let Some(mut piece) = link.queue.pop_front()
            {
                link.session.handle_input(now, &mut piece);
                assert!(piece.is_empty(), "it wanted input");
                continue;
            }
            if self.answer_one(name) {
                continue;
            }
            let link = self.link(name);
            // What the client has sent before it could read is received before anything is
            // transmitted.
            if link.queue.is_empty() && link.eof && !link.eof_given {
                link.eof_given = true;
                link.session.handle_eof(now);
                continue;
            }
            if !link.stuck
                && let Some(octets) = link.session.take_output()
            {
                link.received.extend_from_slice(&octets);
                link.session
                    .transmitted(now, octets.len())
                    .expect("it was taken");
                continue;
            }
            if link.finished.is_some() {
                link.queue.clear();
            }
            break;
        }
        self.do_duties();
    }

    fn event(&mut self, name: &str, event: Event) {
        let now = self.now;
        let link = self.links.get_mut(name).unwrap();
        assert!(link.finished.is_none(), "{event:?} after the end");
        if !matches!(event, Event::Content | Event::CheckpointDue { .. }) {
            link.log.push(outline(&event));
        }
        let question = match event {
            Event::Content => {
                let mut batch = Vec::new();
                let range = link.session.poll_content(&mut batch).expect("content");
                let octets = batch.concat();
                assert_eq!(range.end.get() - range.start.get(), octets.len() as u64);
                self.write(name, range.start.get(), &octets);
                return;
            }
            Event::CheckpointDue { record, .. } | Event::Interrupted { record, .. } => {
                let (key, generation) = link.claim.clone().expect("a claim");
                assert_eq!(record.generation(), generation);
                self.store.store_record(&key, *record);
                return;
            }
            Event::Discard(discard) => {
                self.store.discard(&discard);
                return;
            }
            Event::TransactionEnded | Event::ContentRefused(_) => {
                if let Some((key, generation)) = link.claim.take()
                    && let Some(held) = self.store.at(&key, generation)
                    && held.processing.is_none()
                {
                    let length = held.length();
                    held.content.truncate(length);
                    held.synced = held.synced.min(length);
                }
                link.spool.clear();
                return;
            }
            Event::Finished(ending) => {
                link.finished = Some(ending);
                link.holds = None;
                return;
            }
            Event::TakenBack { key, generation } => {
                assert_eq!(link.holds, Some((key.clone(), generation)));
                self.store.take_back(&key, generation);
                return;
            }
            Event::Abandon(question) => Question::Abandon(question),
            Event::Abort(question) => Question::Abort(question),
            Event::Detach(question) => Question::Detach(question),
            Event::Connection(question) => Question::Connection(question),
            Event::Hello(question) => Question::Hello(question),
            Event::Mail(question) => {
                link.holds = None;
                link.unrecorded = None;
                Question::Mail(question)
            }
            Event::Rcpt(question) => Question::Rcpt(question),
            Event::Data(question) => Question::Data(question),
            Event::Burl(question) => Question::Burl(question),
            Event::EndOfData(question) => {
                assert_eq!(question.envelope(), link.session.transaction().envelope());
                if let (Some(key), Some(record)) = (question.key(), question.record()) {
                    let (key, record) = (key.clone(), record.clone());
                    // Begun at once, so that others find it under way.
                    if !self.store.begin_decision(&key, &record) {
                        let outdated = EndOfDataAnswer::Outdated;
                        let link = self.links.get_mut(name).unwrap();
                        let answered = link.session.answer_end_of_data(now, question, outdated);
                        assert_eq!(answered.unwrap(), Answered::Taken);
                        return;
                    }
                } else {
                    let content = std::mem::take(&mut link.spool);
                    assert_eq!(question.size().get(), content.len() as u64);
                    link.unrecorded = Some(Unrecorded {
                        envelope: link.session.transaction().envelope().clone(),
                        content,
                        expected: link.session.transaction().expected_replies(),
                        detached: false,
                        failed: None,
                    });
                }
                Question::EndOfData(question)
            }
            Event::AwaitDecision(question) => Question::Await(question),
            Event::Auth(question) => Question::Auth(question),
            Event::AuthResponse(question) => Question::AuthResponse(question),
            Event::StartTls(question) => Question::StartTls(question),
            Event::Command(question) => Question::Command(question),
            _ => return,
        };
        self.link(name).questions.push_back(question);
    }

    fn write(&mut self, name: &str, start: u64, octets: &[u8]) {
        let link = self.links.get_mut(name).unwrap();
        if let Some((key, generation)) = &link.claim {
            let call = format!("write {generation} {start}+{}", octets.len());
            self.store.called(key, call);
        }
        let content = match &link.claim {
            Some((key, generation)) => match self.store.at(key, *generation) {
                Some(held) => &mut held.content,
                None => return,
            },
            None => &mut link.spool,
        };
        assert_eq!(content.len() as u64, start, "a hole, or octets twice");
        content.extend_from_slice(octets);
    }

    /// Answers the first question that is not held; whether there was one.
    fn answer_one(&mut self, name: &str) -> bool {
        let held = &self.hold;
        let store = &self.store;
        let link = self.links.get_mut(name).unwrap();
        let ready = link.questions.iter().position(|question| {
            !held.iter().any(|kind| kind == question.kind())
                && match question {
                    // Only its outcome answers it.
                    Question::Await(question) => {
                        let held = store.held.get(question.key().as_bytes());
                        held.is_some_and(|held| held.processing.is_none())
                    }
                    _ => true,
                }
        });
        let Some(question) = ready.and_then(|at| link.questions.remove(at)) else {
            return false;
        };
        self.answer(name, question);
        true
    }

    pub fn answer(&mut self, name: &str, question: Question) -> Answered {
        let now = self.now;
        let link = self.links.get_mut(name).unwrap();
        let session = &mut link.session;
        match question {
            Question::Connection(question) => session
                .answer_connection(now, question, ConnectionAnswer::Accept)
                .unwrap(),
            Question::Hello(question) => {
                let answer = match self.hello.pop_front() {
                    Some(reply) => HelloAnswer::Refuse(reply),
                    None => HelloAnswer::Accept,
                };
                session.answer_hello(now, question, answer).unwrap()
            }
            Question::Mail(question) => {
                let policy = self.mail.pop_front();
                let mut claim = Claim::Unrecorded;
                link.claim = None;
                link.spool.clear();
                let mut refused = None;
                if let Some(key) = question.key()
                    && !matches!(policy, Some(MailPolicy::Unrecorded))
                {
                    match self.store.claim(key) {
                        Ok(claimed) => {
                            if let Claim::Claimed { generation, .. } = &claimed {
                                link.claim = Some((key.clone(), *generation));
                                link.holds.clone_from(&link.claim);
                            }
                            claim = claimed;
                        }
                        Err(reply) => refused = Some(reply),
                    }
                }
                let answer = match (refused, policy) {
                    (Some(reply), _) => MailAnswer::Refuse(reply),
                    (None, Some(MailPolicy::Reply(reply))) if reply.code().get() >= 400 => {
                        link.claim = None;
                        MailAnswer::Refuse(reply)
                    }
                    (None, Some(MailPolicy::Reply(reply))) => MailAnswer::Accept { claim, reply },
                    (None, _) => MailAnswer::accept(claim),
                };
                session.answer_mail(now, question, answer).unwrap()
            }
            Question::Rcpt(question) => {
                let reply = self.rcpt.pop_front();
                let reply = reply.unwrap_or_else(|| standard::RECIPIENT_OK.into());
                session.answer_rcpt(now, question, reply).unwrap()
            }
            Question::Data(question) => {
                let unconfirmed = question.claim().and_then(|claim| {
                    (self.store).confirm(&claim.key, claim.generation, claim.length.get())
                });
                let answer = match (unconfirmed, self.data.pop_front()) {
                    (Some(confirmation), _) => DataAnswer::Unconfirmed(confirmation),
                    (None, Some(reply)) => DataAnswer::Refuse(reply),
                    (None, None) => DataAnswer::Proceed,
                };
                session.answer_data(now, question, answer).unwrap()
            }
            Question::Burl(question) => match self.burl.pop_front() {
                Some(Ok(octets)) => {
                    let start = question.start().get();
                    let answer = BurlAnswer::Stored {
                        octets: octets.len() as u64,
                    };
                    let answered = session.answer_burl(now, question, answer).unwrap();
                    if answered == Answered::Taken {
                        self.write(name, start, &octets);
                    }
                    answered
                }
                refused => {
                    let reply = match refused {
                        Some(Err(reply)) => reply,
                        _ => reply("554 5.6.6 No such URL"),
                    };
                    session
                        .answer_burl(now, question, BurlAnswer::Refuse(reply))
                        .unwrap()
                }
            },
            Question::EndOfData(question) => {
                let verdict = self.verdicts.pop_front();
                let expected = match (question.record(), &link.unrecorded) {
                    (Some(record), _) => record.expected_replies(),
                    (None, Some(message)) => message.expected,
                    (None, None) => 1,
                };
                let verdict = verdict.unwrap_or_else(|| {
                    Verdict::for_each_recipient(
                        (0..expected).map(|_| standard::MESSAGE_ACCEPTED.into()),
                    )
                });
                if let Some(key) = question.key() {
                    let key = key.clone();
                    self.store.commit(&key, &verdict);
                    let decided = EndOfDataAnswer::Decided(verdict);
                    let answered = session.answer_end_of_data(now, question, decided).unwrap();
                    self.tell_others(name);
                    return answered;
                }
                let (accepts, replies) = (verdict.accepts(), verdict.replies().to_vec());
                let decision = EndOfDataAnswer::Decided(verdict);
                let answered = session.answer_end_of_data(now, question, decision).unwrap();
                if let Some(message) = &mut link.unrecorded {
                    let owned = message.detached;
                    message.failed = (!accepts).then_some(replies);
                    if accepts && (owned || answered == Answered::Taken) {
                        self.store.delivered.push(Delivered {
                            envelope: envelope_of(&message.envelope),
                            content: message.content.clone(),
                        });
                    }
                    if owned {
                        self.report_unrecorded(name);
                    }
                }
                answered
            }
            Question::Await(question) => {
                let held = &self.store.held[question.key().as_bytes()];
                let generation = link.claim.as_ref().map(|(_, generation)| generation.0);
                let answer = match &held.record {
                    _ if generation != Some(held.generation) => AwaitAnswer::Outdated,
                    Some(record) => match record.state() {
                        RecordState::Committed(completion) => {
                            AwaitAnswer::Decided(completion.clone())
                        }
                        _ => AwaitAnswer::Withdrawn,
                    },
                    None => AwaitAnswer::Withdrawn,
                };
                session.answer_await(now, question, answer).unwrap()
            }
            Question::Abandon(question) => {
                let answer = self.abandon;
                if answer == AbandonAnswer::Abandoned
                    && let Some(key) = question.key()
                    && let Some(held) = self.store.held.get_mut(key.as_bytes())
                    && let Some(record) = held.processing.take()
                {
                    held.record = Some(record.withdraw());
                }
                session.answer_abandon(now, question, answer).unwrap()
            }
            Question::Abort(question) => {
                let answer = match (self.abort.pop_front(), question.key()) {
                    (Some(answer), _) => answer,
                    (None, Some(key)) => {
                        let generation = question.generation().expect("with the key");
                        self.store.abort(key, generation)
                    }
                    (None, None) => ResetAnswer::Aborted,
                };
                if answer == ResetAnswer::Aborted {
                    // The decision does not come any more.
                    link.questions
                        .retain(|question| !matches!(question, Question::EndOfData(_)));
                    link.unrecorded = None;
                }
                session.answer_abort(now, question, answer).unwrap()
            }
            Question::Detach(question) => {
                let answer = match (self.detach.pop_front(), question.key()) {
                    (Some(answer), _) => answer,
                    (None, Some(key)) => {
                        let generation = question.generation().expect("with the key");
                        self.store.detach(key, generation)
                    }
                    (None, None) => match &mut link.unrecorded {
                        Some(message) => {
                            message.detached = true;
                            DetachAnswer::Owned
                        }
                        None => DetachAnswer::Failed,
                    },
                };
                let answered = session.answer_detach(now, question, answer).unwrap();
                if answer == DetachAnswer::Owned {
                    self.report_unrecorded(name);
                }
                answered
            }
            Question::Auth(question) => {
                let answer = self.auth.pop_front();
                let answer = answer.unwrap_or(AuthAnswer::Failure(AuthFailure::InvalidCredentials));
                session.answer_auth(now, question, answer).unwrap()
            }
            Question::AuthResponse(question) => {
                let answer = self.auth.pop_front();
                let answer = answer.unwrap_or(AuthAnswer::Failure(AuthFailure::InvalidCredentials));
                session.answer_auth_response(now, question, answer).unwrap()
            }
            Question::StartTls(question) => {
                let answer = if self.refuse_tls {
                    StartTlsAnswer::Refuse
                } else {
                    StartTlsAnswer::Proceed
                };
                session.answer_starttls(now, question, answer).unwrap()
            }
            Question::Command(question) => {
                let answer = match self.commands.pop_front() {
                    Some(reply) => CommandAnswer::Reply(reply),
                    None => CommandAnswer::Unknown,
                };
                session.answer_command(now, question, answer).unwrap()
            }
        }
    }

    /// Where a message without a record has failed and its client has left, it is told.
    fn report_unrecorded(&mut self, name: &str) {
        let link = self.links.get_mut(name).unwrap();
        let Some(message) = &mut link.unrecorded else {
            return;
        };
        if let Some(replies) = message.failed.take() {
            let envelope = &message.envelope;
            let results = RecipientResult::from_replies(envelope, &replies).unwrap();
            self.store.reports.extend(report_of(envelope, &results));
        }
    }

    /// The decision under way on the only key, which is nobody's any more, is made.
    pub fn decide(&mut self, verdict: &Verdict) {
        let keys: Vec<_> = self.store.held.keys().cloned().collect();
        let [key] = &keys[..] else {
            panic!("not one key")
        };
        let key = TransactionKey::from_bytes(key).expect("a key");
        self.store.commit(&key, verdict).expect("a decision");
        self.tell_others("");
        self.do_duties();
    }

    /// A decision was committed: whoever awaits it learns of it.
    fn tell_others(&mut self, name: &str) {
        let others: Vec<_> = self
            .links
            .keys()
            .filter(|other| *other != name)
            .cloned()
            .collect();
        for other in others {
            self.run(&other);
        }
    }

    /// The decision under way on the only key is withdrawn: the record is partial with all its
    /// data.
    pub fn withdraw(&mut self) {
        for held in self.store.held.values_mut() {
            if let Some(record) = held.processing.take() {
                held.record = Some(record.withdraw());
            }
        }
        self.tell_others("");
        self.do_duties();
    }
}

/// An event by its name, with what distinguishes it.
pub fn outline(event: &Event) -> String {
    match event {
        Event::PeerFault(fault) => format!("{fault:?}"),
        Event::ContentRefused(fault) => format!("ContentRefused {fault:?}"),
        Event::Finished(ending) => format!("Finished {ending:?}"),
        Event::Interrupted { record, .. } => format!("Interrupted {}", record.length()),
        Event::Acknowledged(keys) => format!("Acknowledged {}", keys.len()),
        Event::Connection(_) => "Connection".into(),
        Event::Hello(_) => "Hello".into(),
        Event::Mail(_) => "Mail".into(),
        Event::Rcpt(_) => "Rcpt".into(),
        Event::Data(_) => "Data".into(),
        Event::Burl(_) => "Burl".into(),
        Event::EndOfData(_) => "EndOfData".into(),
        Event::AwaitDecision(_) => "AwaitDecision".into(),
        Event::Abandon(question) => format!("Abandon {:?}", question.reason()),
        Event::Abort(_) => "Abort".into(),
        Event::Detach(question) => match question.held() {
            None => "Detach".into(),
            Some(held) => format!("Detach held {}", held.len()),
        },
        Event::ReplyUndelivered { decision, .. } => format!("ReplyUndelivered {decision:?}"),
        Event::TakenBack { .. } => "TakenBack".into(),
        Event::Discard(_) => "Discard".into(),
        Event::Auth(_) => "Auth".into(),
        Event::AuthResponse(_) => "AuthResponse".into(),
        Event::StartTls(_) => "StartTls".into(),
        Event::Command(_) => "Command".into(),
        other => format!("{other:?}"),
    }
}
