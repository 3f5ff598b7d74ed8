//! A host: server sessions driven against the simulated store, as an embedder would.
//!
//! Store calls are done where the event comes, or one at a time when told to (`stepwise`), so that
//! the steps of two sessions can be interleaved.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Discard, Generation, Record, TransactionKey, Verdict,
};
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{Reply, ReplyCode, standard};
use smtp_checkpoint::server::{
    AbandonAnswer, AwaitAnswer, AwaitQuestion, DataAnswer, EndOfDataAnswer, EndOfDataQuestion,
    Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

use super::store::{Begun, Delivered, Fault, Look, Store};

/// When a decision is made that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// When [`Host::finish`] is called.
    Later,
}

/// What becomes of advice to discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    Taken,
    Lost,
    /// Carried out at the next [`Host::settle`].
    Late,
}

/// In which order a session is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Events until there are none, then output.
    EventsFirst,
    /// Output before every event.
    OutputFirst,
    /// Content is taken after every event, announced or not.
    ContentEager,
    /// An early time-out before and after every event.
    TimeoutsOften,
    /// One event, then output, in turn; octets come one by one.
    OneByOne,
    /// Output leaves octet by octet, lent.
    Trickle,
}

pub const ORDERS: [Order; 6] = [
    Order::EventsFirst,
    Order::OutputFirst,
    Order::ContentEager,
    Order::TimeoutsOften,
    Order::OneByOne,
    Order::Trickle,
];

/// What happens to a session whose key is claimed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It finds out by itself.
    Unsaid,
    /// It is told after the claim.
    Told,
    /// It is told before, and stores what it has.
    GivesWay,
}

pub const TAKEOVERS: [Takeover; 3] = [Takeover::Unsaid, Takeover::Told, Takeover::GivesWay];

/// How a host behaves.
#[derive(Debug, Clone)]
pub struct Manner {
    pub verdict: Vec<u16>,
    pub when: When,
    pub advice: Advice,
    pub order: Order,
    pub takeover: Takeover,
    pub stepwise: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            verdict: vec![250],
            when: When::Now,
            advice: Advice::Taken,
            order: Order::EventsFirst,
            takeover: Takeover::GivesWay,
            stepwise: false,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    pub id: u64,
    session: ServerSession,
    input: VecDeque<Bytes>,
    pub output: Vec<u8>,
    todo: VecDeque<Event>,
    plain: Vec<u8>,
    /// Key and generation of the transaction under way.
    claim: Option<(TransactionKey, Generation)>,
    awaiting: Option<AwaitQuestion>,
    pub finished: bool,
    gone: bool,
}

#[derive(Debug)]
struct Decision {
    conn: u64,
    question: EndOfDataQuestion,
    /// `None` without a record.
    begun: Option<Begun>,
}

#[derive(Debug)]
pub struct Host {
    pub store: Store,
    config: Arc<ServerConfig>,
    pub manner: Manner,
    pub conns: Vec<Conn>,
    decisions: Vec<Decision>,
    late: Vec<Discard>,
    ids: u64,
    pub now: Timestamp,
    pub dead: bool,
}

fn reply(code: u16) -> Reply {
    let text: &[u8] = if code < 300 { b"as it is" } else { b"not so" };
    Reply::cleaned(ReplyCode::new(code).expect("a code"), None, text)
}

impl Host {
    pub fn new(store: Store, config: Arc<ServerConfig>, manner: Manner) -> Self {
        Self {
            store,
            config,
            manner,
            conns: Vec::new(),
            decisions: Vec::new(),
            late: Vec::new(),
            ids: 0,
            now: Timestamp::ORIGIN,
            dead: false,
        }
    }

    pub fn connect(&mut self, address: &[u8]) -> u64 {
        self.ids += 1;
        let session = ServerSession::new(Arc::clone(&self.config), Peer::at(address), self.now);
        self.conns.push(Conn {
            id: self.ids,
            session,
            input: VecDeque::new(),
            output: Vec::new(),
            todo: VecDeque::new(),
            plain: Vec::new(),
            claim: None,
            awaiting: None,
            finished: false,
            gone: false,
        });
        self.ids
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.conns.iter().position(|conn| conn.id == id)
    }

    pub fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.id == id)
    }

    /// The process dies: sessions, decisions and claims are gone.
    fn die(&mut self) {
        self.dead = true;
        self.conns.clear();
        self.decisions.clear();
        self.late.clear();
    }

    /// It starts again.
    pub fn restart(&mut self) {
        if self.dead {
            self.store.crash();
            self.dead = false;
        }
    }

    /// The process is killed between two store calls.
    pub fn kill(&mut self) {
        self.die();
        self.restart();
    }

    pub fn input(&mut self, id: u64, octets: &[u8]) {
        let one_by_one = self.manner.order == Order::OneByOne;
        if let Some(conn) = self.conn(id) {
            if one_by_one {
                conn.input
                    .extend(octets.iter().map(|octet| Bytes::from(vec![*octet])));
            } else if !octets.is_empty() {
                conn.input.push_back(Bytes::copy_from_slice(octets));
            }
        }
    }

    /// The transport ends: in good order, or broken.
    pub fn end(&mut self, id: u64, broken: bool) {
        let now = self.now;
        self.pump(id);
        if let Some(conn) = self.conn(id) {
            conn.gone = broken;
            if broken {
                conn.session.handle_disconnect(now);
            } else {
                conn.session.handle_eof(now);
            }
        }
        self.pump(id);
    }

    /// The session is dropped without a word, as a task that is dropped.
    pub fn forget(&mut self, id: u64) {
        self.conns.retain(|conn| conn.id != id);
    }

    /// Drives one session until it waits.
    pub fn pump(&mut self, id: u64) {
        while self.step(id) {}
    }

    /// What a session has to do next, other than to wait for input: a store call that is due.
    pub fn has_work(&self, id: u64) -> bool {
        self.at(id)
            .is_some_and(|at| !self.conns[at].todo.is_empty())
    }

    /// One store call of a stepwise host.
    pub fn work(&mut self, id: u64) {
        let event = self.conn(id).and_then(|conn| conn.todo.pop_front());
        if let Some(event) = event {
            self.handle_or_die(id, event);
            self.pump(id);
        }
    }

    fn handle_or_die(&mut self, id: u64, event: Event) {
        match self.handle(id, event) {
            Ok(()) | Err(Fault::Outdated | Fault::Failed) => {}
            Err(Fault::Crashed) => self.die(),
        }
    }

    fn step(&mut self, id: u64) -> bool {
        let (now, order) = (self.now, self.manner.order);
        let Some(conn) = self.conn(id) else {
            return false;
        };
        let mut moved = false;
        if let Some(front) = conn.input.front_mut() {
            let before = front.len();
            conn.session.handle_input(now, front);
            moved = front.len() != before;
            if front.is_empty() {
                conn.input.pop_front();
            }
        }
        if order == Order::OutputFirst {
            moved |= conn.write(now, usize::MAX);
        }
        if order == Order::TimeoutsOften {
            conn.session.handle_timeout(now);
        }
        let event = conn.session.poll_event();
        if order == Order::TimeoutsOften {
            conn.session.handle_timeout(now);
        }
        if let Some(event) = event {
            moved = true;
            self.event(id, event);
            if order == Order::ContentEager {
                self.event(id, Event::Content);
            }
            if !matches!(order, Order::OneByOne) {
                return true;
            }
        }
        let Some(conn) = self.conn(id) else {
            return false;
        };
        let most = if order == Order::Trickle {
            1
        } else {
            usize::MAX
        };
        let wrote = conn.write(now, most);
        // What the session left is passed again once it has read what it had.
        moved | wrote | (conn.session.wants_input() && !conn.input.is_empty())
    }

    fn event(&mut self, id: u64, event: Event) {
        let asks = matches!(
            event,
            Event::Mail(_)
                | Event::Data(_)
                | Event::EndOfData(_)
                | Event::AwaitDecision(_)
                | Event::Interrupted { .. }
                | Event::CheckpointDue { .. }
                | Event::Content
        );
        if self.manner.stepwise && asks {
            self.conn(id).expect("alive").todo.push_back(event);
        } else {
            self.handle_or_die(id, event);
        }
    }

    fn handle(&mut self, id: u64, event: Event) -> Result<(), Fault> {
        let now = self.now;
        let Some(at) = self.at(id) else {
            return Ok(());
        };
        match event {
            Event::Mail(question) => {
                let Some(key) = question.key().cloned() else {
                    self.conns[at].claim = None;
                    self.conns[at].plain.clear();
                    let answer = MailAnswer::accept(Claim::Unrecorded);
                    self.conns[at]
                        .session
                        .answer_mail(now, question, answer)
                        .unwrap();
                    return Ok(());
                };
                if self.manner.takeover == Takeover::GivesWay {
                    for other in self.holders(&key, id) {
                        let at = self.at(other).expect("it holds the key");
                        supersede(&mut self.conns[at].session, now);
                        self.pump(other);
                        while self.has_work(other) {
                            self.work(other);
                        }
                        if self.dead {
                            return Err(Fault::Crashed);
                        }
                    }
                }
                let (generation, found) = self.store.claim(&key)?;
                if self.manner.takeover == Takeover::Told {
                    for other in self.holders(&key, id) {
                        let at = self.at(other).expect("it holds the key");
                        supersede(&mut self.conns[at].session, now);
                    }
                }
                let at = self.at(id).expect("it asked");
                self.conns[at].claim = Some((key, generation));
                let claim = Claim::Claimed {
                    generation,
                    found: found.map(Box::new),
                };
                let answer = MailAnswer::accept(claim);
                self.conns[at]
                    .session
                    .answer_mail(now, question, answer)
                    .unwrap();
            }
            Event::Rcpt(question) => {
                let session = &mut self.conns[at].session;
                let envelope = session.transaction().envelope();
                let line = envelope.recipient(question.index()).expect("asked").line();
                let code = match line {
                    line if line.starts_with(b"RCPT TO:<no") => 550,
                    line if line.starts_with(b"RCPT TO:<later") => 450,
                    _ => 250,
                };
                session.answer_rcpt(now, question, reply(code)).unwrap();
            }
            Event::Data(question) => {
                let answer = match question.claim().cloned() {
                    None => DataAnswer::Proceed,
                    Some(claim) => {
                        let length = claim.length.get();
                        match self.store.confirm(&claim.key, claim.generation, length)? {
                            Confirmation::Current => DataAnswer::Proceed,
                            other => DataAnswer::Unconfirmed(other),
                        }
                    }
                };
                self.conns[at]
                    .session
                    .answer_data(now, question, answer)
                    .unwrap();
            }
            Event::Content => self.content(at)?,
            Event::CheckpointDue { record, .. } => {
                let result = self.keep(at, &record);
                if result == Err(Fault::Failed) {
                    let session = &mut self.conns[at].session;
                    let _ = session.fail_content(now, standard::LOCAL_ERROR);
                }
                return result;
            }
            Event::Interrupted { record, .. } => return self.keep(at, &record),
            Event::EndOfData(question) => self.decide(at, question)?,
            Event::AwaitDecision(question) => {
                self.conns[at].awaiting = Some(question);
                self.wake(id)?;
            }
            Event::Abandon(question) => {
                let running = (self.decisions.iter())
                    .position(|decision| decision.question.key() == question.key());
                let answer = match running {
                    None => AbandonAnswer::TooLate,
                    Some(running) => {
                        let decision = self.decisions.remove(running);
                        self.withdraw(&decision)?;
                        AbandonAnswer::Abandoned
                    }
                };
                let session = &mut self.conns[at].session;
                session.answer_abandon(now, question, answer).unwrap();
                self.wake_all()?;
            }
            Event::Discard(discard) => match self.manner.advice {
                Advice::Taken => self.store.discard(&discard)?,
                Advice::Lost => {}
                Advice::Late => self.late.push(discard),
            },
            Event::Finished(_) => self.conns[at].finished = true,
            _ => {}
        }
        Ok(())
    }

    /// Sessions other than `id` that hold the key, or did so last.
    fn holders(&self, key: &TransactionKey, id: u64) -> Vec<u64> {
        let holds = |conn: &&Conn| conn.claim.as_ref().is_some_and(|(held, _)| held == key);
        let others = self.conns.iter().filter(|conn| conn.id != id);
        others.filter(holds).map(|conn| conn.id).collect()
    }

    fn content(&mut self, at: usize) -> Result<(), Fault> {
        let now = self.now;
        let conn = &mut self.conns[at];
        let mut slices = Vec::new();
        let Some(range) = conn.session.poll_content(&mut slices) else {
            return Ok(());
        };
        let octets = slices.concat();
        assert_eq!(range.end.get() - range.start.get(), octets.len() as u64);
        let Some((key, generation)) = conn.claim.clone() else {
            assert_eq!(range.start.get(), conn.plain.len() as u64);
            conn.plain.extend(octets);
            return Ok(());
        };
        let result = self
            .store
            .write(&key, generation, range.start.get(), &octets);
        match result {
            Err(Fault::Outdated) => supersede(&mut conn.session, now),
            Err(Fault::Failed) => {
                let _ = conn.session.fail_content(now, standard::LOCAL_ERROR);
            }
            _ => {}
        }
        result
    }

    /// Content first, then the record.
    fn keep(&mut self, at: usize, record: &Record) -> Result<(), Fault> {
        let Some((key, generation)) = self.conns[at].claim.clone() else {
            panic!("a record without a claim");
        };
        assert_eq!(record.generation(), generation);
        if self.store.mutant != super::store::Mutant::RecordBeforeContent {
            self.store.sync(&key, generation)?;
        }
        self.store.put(&key, record)
    }

    fn decide(&mut self, at: usize, question: EndOfDataQuestion) -> Result<(), Fault> {
        let now = self.now;
        let id = self.conns[at].id;
        let begun = match (question.key().cloned(), question.record().cloned()) {
            (Some(key), Some(record)) => {
                let begun = self
                    .store
                    .sync(&key, record.generation())
                    .and_then(|()| self.store.begin(&key, &record));
                match begun {
                    Ok(begun) => Some(begun),
                    Err(Fault::Crashed) => return Err(Fault::Crashed),
                    Err(fault) => {
                        let answer = match fault {
                            Fault::Failed => EndOfDataAnswer::Decided(Verdict::for_each_recipient(
                                (0..record.expected_replies())
                                    .map(|_| standard::LOCAL_ERROR.into()),
                            )),
                            _ => EndOfDataAnswer::Outdated,
                        };
                        let session = &mut self.conns[at].session;
                        session.answer_end_of_data(now, question, answer).unwrap();
                        return Ok(());
                    }
                }
            }
            _ => None,
        };
        self.decisions.push(Decision {
            conn: id,
            question,
            begun,
        });
        if self.manner.when == When::Now {
            self.finish_all()?;
        }
        Ok(())
    }

    fn verdict(&self, expected: usize) -> Verdict {
        Verdict::for_each_recipient(
            (0..expected).map(|at| reply(self.manner.verdict[at % self.manner.verdict.len()])),
        )
    }

    /// Whether a decision waits to be made.
    pub fn is_deciding(&self) -> bool {
        !self.decisions.is_empty()
    }

    /// All decisions under way are made.
    pub fn finish(&mut self) {
        if self.finish_all() == Err(Fault::Crashed) {
            self.die();
        }
        self.pump_all();
    }

    fn finish_all(&mut self) -> Result<(), Fault> {
        while !self.decisions.is_empty() {
            let decision = self.decisions.remove(0);
            self.finish_one(decision)?;
        }
        Ok(())
    }

    fn finish_one(&mut self, decision: Decision) -> Result<(), Fault> {
        let now = self.now;
        let Decision {
            conn,
            question,
            begun,
        } = decision;
        let at = self.at(conn);
        let record = question.record().cloned();
        let (Some(begun), Some(record), Some(key)) = (begun, record, question.key().cloned())
        else {
            let Some(at) = at else {
                return Ok(()); // abandoned with its session
            };
            let expected = self.conns[at].session.transaction().expected_replies();
            let verdict = self.verdict(expected);
            let octets = std::mem::take(&mut self.conns[at].plain);
            assert_eq!(octets.len() as u64, question.size().get());
            let envelope = self.conns[at].session.transaction().envelope();
            let lines = envelope.accepted().map(|rcpt| rcpt.line().to_vec());
            let recipients: Vec<_> = lines.collect();
            let mail = envelope.mail_line().to_vec();
            if verdict.accepts() {
                self.store.deliver(Delivered {
                    mail,
                    recipients,
                    octets,
                })?;
            }
            let answer = EndOfDataAnswer::Decided(verdict);
            let session = &mut self.conns[at].session;
            session.answer_end_of_data(now, question, answer).unwrap();
            return Ok(());
        };
        let verdict = self.verdict(record.expected_replies());
        let completed = record.complete(&verdict).expect("a verdict that fits");
        let answer = match self.store.commit(&key, begun, &completed) {
            Ok(()) => {
                // CP-18: a fenced session gives no final 2yz, though its decision stands.
                if self.store.generation(&key) == Some(record.generation().0) {
                    EndOfDataAnswer::Decided(verdict)
                } else {
                    EndOfDataAnswer::Outdated
                }
            }
            Err(Fault::Outdated) => EndOfDataAnswer::Outdated,
            Err(Fault::Failed) => {
                // Nothing is decided: the record is partial again.
                let decision = Decision {
                    conn,
                    question,
                    begun: Some(begun),
                };
                self.withdraw(&decision)?;
                if let Some(at) = self.at(conn) {
                    self.conns[at].session.shutdown(now);
                }
                return self.wake_all();
            }
            Err(Fault::Crashed) => return Err(Fault::Crashed),
        };
        if let Some(at) = at {
            let session = &mut self.conns[at].session;
            session.answer_end_of_data(now, question, answer).unwrap();
        }
        self.wake_all()
    }

    fn withdraw(&mut self, decision: &Decision) -> Result<(), Fault> {
        let question = &decision.question;
        match (question.key(), question.record(), decision.begun) {
            (Some(key), Some(record), Some(begun)) => {
                match self.store.withdraw(key, begun, record) {
                    Err(Fault::Crashed) => Err(Fault::Crashed),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// All decisions under way are withdrawn by their deciders.
    pub fn withdraw_all(&mut self) {
        let decisions = std::mem::take(&mut self.decisions);
        for decision in &decisions {
            if self.withdraw(decision) == Err(Fault::Crashed) {
                return self.die();
            }
        }
        if self.wake_all() == Err(Fault::Crashed) {
            return self.die();
        }
        self.pump_all();
    }

    /// Answers the sessions whose awaited decision has come.
    fn wake_all(&mut self) -> Result<(), Fault> {
        let waiting = self.conns.iter().filter(|conn| conn.awaiting.is_some());
        let ids: Vec<u64> = waiting.map(|conn| conn.id).collect();
        for id in ids {
            self.wake(id)?;
        }
        Ok(())
    }

    fn wake(&mut self, id: u64) -> Result<(), Fault> {
        let now = self.now;
        let Some(at) = self.at(id) else {
            return Ok(());
        };
        let Some((key, generation)) = self.conns[at].claim.clone() else {
            return Ok(());
        };
        let Some(question) = self.conns[at].awaiting.take() else {
            return Ok(());
        };
        let answer = match self.store.look(&key, generation) {
            Ok(Look::Running) => {
                self.conns[at].awaiting = Some(question);
                return Ok(());
            }
            Ok(Look::Decided(completion)) => AwaitAnswer::Decided(completion),
            Ok(Look::Withdrawn) => AwaitAnswer::Withdrawn,
            Ok(Look::Gone) | Err(Fault::Outdated) => AwaitAnswer::Outdated,
            Err(fault) => {
                self.conns[at].awaiting = Some(question);
                return Err(fault);
            }
        };
        let session = &mut self.conns[at].session;
        session.answer_await(now, question, answer).unwrap();
        Ok(())
    }

    /// Sessions that await a decision of another host look again.
    pub fn look_again(&mut self) {
        if self.wake_all() == Err(Fault::Crashed) {
            self.die();
        }
        self.pump_all();
    }

    pub fn pump_all(&mut self) {
        let ids: Vec<u64> = self.conns.iter().map(|conn| conn.id).collect();
        for id in ids {
            self.pump(id);
        }
    }

    /// Time passes up to the next deadline of any session.
    pub fn pass_time(&mut self) {
        let deadlines = self
            .conns
            .iter()
            .filter_map(|conn| conn.session.poll_timeout());
        let Some(next) = deadlines.min() else {
            return;
        };
        self.now = self.now.max(next);
        let now = self.now;
        for conn in &mut self.conns {
            conn.session.handle_timeout(now);
        }
        self.pump_all();
    }

    /// The advice that was put off is carried out.
    pub fn settle(&mut self) {
        for discard in std::mem::take(&mut self.late) {
            if self.store.discard(&discard) == Err(Fault::Crashed) {
                return self.die();
            }
        }
    }

    pub fn shut_down(&mut self) {
        let now = self.now;
        for conn in &mut self.conns {
            conn.session.shutdown(now);
        }
        self.pump_all();
    }
}

impl Conn {
    fn write(&mut self, now: Timestamp, most: usize) -> bool {
        if self.gone {
            return false;
        }
        let count = if most == 1 {
            let lent = self.session.output();
            let count = lent.len().min(1);
            self.output.extend_from_slice(&lent[..count]);
            count
        } else {
            let Some(octets) = self.session.take_output() else {
                return false;
            };
            self.output.extend_from_slice(&octets);
            octets.len()
        };
        if count > 0 {
            self.session.transmitted(now, count).unwrap();
        }
        count > 0
    }

    pub fn length(&self) -> OctetOffset {
        self.session.transaction().length()
    }
}

/// As a store does it: by the claim that is lost.
fn supersede(session: &mut ServerSession, now: Timestamp) {
    let claim = session.transaction();
    if let Some((key, generation)) = claim.key().cloned().zip(claim.generation()) {
        session.supersede(now, &key, generation);
    }
}
