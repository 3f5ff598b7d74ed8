//! The server: sessions over one store, and the decisions that outlive them.

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation, TransactionKey, Verdict};
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer, ServerSettings};
use smtp_checkpoint::reply::{Reply, ReplyCode, standard};
use smtp_checkpoint::server::{
    AbandonAnswer, AwaitAnswer, AwaitQuestion, DataAnswer, EndOfDataAnswer, EndOfDataQuestion,
    Event, MailAnswer, Peer, Protocol, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

use super::store::Store;

pub struct Host {
    config: Arc<ServerConfig>,
    lmtp: bool,
    pub store: Store,
    connections: Vec<Connection>,
    /// Messages without a record whose clients have left them to the server.
    owned: Vec<Vec<u8>>,
    /// Grows with everything that happens.
    pub moved: u64,
}

/// The last of them is the one that the client is at the other end of.
struct Connection {
    session: ServerSession,
    claim: Option<(TransactionKey, Generation)>,
    content: Vec<u8>,
    /// Sent, and not arrived yet.
    late: Vec<u8>,
    deciding: Option<(EndOfDataQuestion, u64)>,
    awaiting: Option<AwaitQuestion>,
}

impl Host {
    const CONNECTIONS: usize = 6;

    pub fn new(pick: u8) -> Self {
        let protocol = if pick & 1 == 0 {
            Protocol::Smtp
        } else {
            Protocol::Lmtp
        };
        let rdlv = ServerSettings::new(1).expect("a mintimer").deta(true);
        let config = ServerConfig::builder("mx.example.net")
            .protocol(protocol)
            .dsn(true)
            .data_rate(None)
            .rdlv(rdlv);
        let config = if pick & 8 == 0 {
            config
        } else {
            config.checkpoint_every(8)
        };
        Self {
            config: Arc::new(config.build().expect("settings that fit")),
            lmtp: pick & 1 != 0,
            store: Store::default(),
            connections: Vec::new(),
            owned: Vec::new(),
            moved: 0,
        }
    }

    pub fn accept(&mut self, now: Timestamp) {
        if self.connections.len() >= Self::CONNECTIONS {
            self.connections.remove(0);
        }
        let config = Arc::clone(&self.config);
        self.connections.push(Connection {
            session: ServerSession::new(config, Peer::at(b"192.0.2.7"), now),
            claim: None,
            content: Vec::new(),
            late: Vec::new(),
            deciding: None,
            awaiting: None,
        });
        self.pump(now);
    }

    pub fn input(&mut self, now: Timestamp, octets: &[u8]) {
        if let Some(last) = self.connections.len().checked_sub(1) {
            self.feed(now, last, octets);
        }
    }

    /// These octets arrive on the connection of now when it is an old one.
    pub fn on_the_way(&mut self, octets: Vec<u8>) {
        if let Some(connection) = self.connections.last_mut() {
            connection.late = octets;
        }
    }

    /// What was on the way arrives.
    pub fn late(&mut self, now: Timestamp) {
        for at in 0..self.connections.len().saturating_sub(1) {
            let octets = std::mem::take(&mut self.connections[at].late);
            self.feed(now, at, &octets);
        }
    }

    fn feed(&mut self, now: Timestamp, at: usize, octets: &[u8]) {
        let mut input = Bytes::copy_from_slice(octets);
        while !input.is_empty() {
            let session = &mut self.connections[at].session;
            if session.is_finished() {
                return;
            }
            let (before, moved) = (input.len(), self.moved);
            session.handle_input(now, &mut input);
            self.pump(now);
            if input.len() == before && self.moved == moved {
                // Backpressure: nobody takes the replies.
                self.connections[at].session.handle_disconnect(now);
                self.pump(now);
            }
        }
    }

    pub fn output(&mut self, now: Timestamp, most: usize) -> Vec<u8> {
        self.pump(now);
        let Some(connection) = self.connections.last_mut() else {
            return Vec::new();
        };
        let lent = connection.session.output();
        let octets = lent[..lent.len().min(most)].to_vec();
        connection
            .session
            .transmitted(now, octets.len())
            .expect("octets that were lent");
        self.moved += octets.len() as u64;
        self.pump(now);
        octets
    }

    pub fn is_closed(&self) -> bool {
        let last = self.connections.last();
        last.is_none_or(|connection| connection.session.is_finished())
    }

    /// All connections are lost, and the sessions know it.
    pub fn lost(&mut self, now: Timestamp) {
        self.lose(now, 0);
    }

    /// All but the last.
    pub fn lost_before(&mut self, now: Timestamp) {
        self.lose(now, 1);
    }

    fn lose(&mut self, now: Timestamp, spared: usize) {
        let many = self.connections.len().saturating_sub(spared);
        for connection in &mut self.connections[..many] {
            connection.session.handle_disconnect(now);
        }
        self.pump(now);
    }

    pub fn crash(&mut self) {
        self.connections.clear();
        self.store.crash();
        self.see_to_duties();
    }

    pub fn deadline(&self) -> Option<Timestamp> {
        let sessions = self.connections.iter().map(|it| &it.session);
        sessions.filter_map(ServerSession::poll_timeout).min()
    }

    pub fn tick(&mut self, now: Timestamp) {
        for connection in &mut self.connections {
            connection.session.handle_timeout(now);
        }
        self.pump(now);
    }

    // ---- decisions ----

    /// All that is being decided on is decided so.
    pub fn decide(&mut self, now: Timestamp, code: u16) {
        let code = ReplyCode::new(code).expect("a code");
        let reply = Reply::cleaned(code, None, b"decided");
        for content in std::mem::take(&mut self.owned) {
            if code == ReplyCode::OK {
                self.store.delivered.push(content);
            } else {
                self.store.reports += 1;
            }
        }
        for connection in &mut self.connections {
            let Some((question, number)) = connection.deciding.take() else {
                continue;
            };
            let owed = if self.lmtp {
                question.envelope().accepted().count()
            } else {
                1
            };
            let verdict = Verdict::for_each_recipient(vec![reply.clone(); owed]);
            let claim = question.key().cloned().zip(question.record());
            let stands = match claim {
                Some((key, record)) => {
                    let generation = record.generation();
                    self.store.commit(&key, number, generation, &verdict)
                }
                None => {
                    if verdict.accepts() {
                        self.store.delivered.push(connection.content.clone());
                    }
                    true
                }
            };
            let answer = if stands {
                EndOfDataAnswer::Decided(verdict)
            } else {
                EndOfDataAnswer::Outdated
            };
            let answered = connection.session.answer_end_of_data(now, question, answer);
            answered.expect("an answer that fits");
        }
        // Decisions whose sessions are gone.
        for (key, number) in self.store.running() {
            let owed = self.store.replies_owed(&key);
            let verdict = Verdict::for_each_recipient(vec![reply.clone(); owed]);
            self.store
                .commit(&key, number, Generation::default(), &verdict);
        }
        self.pump(now);
    }

    /// The deciders give up: who waits begins anew.
    pub fn withdraw(&mut self, now: Timestamp) {
        for connection in &mut self.connections {
            let recorded = |deciding: &mut (EndOfDataQuestion, u64)| deciding.0.key().is_some();
            if let Some((question, _)) = connection.deciding.take_if(recorded) {
                let answer = EndOfDataAnswer::Outdated;
                let answered = connection.session.answer_end_of_data(now, question, answer);
                answered.expect("an answer that fits");
            }
        }
        for (key, _) in self.store.running() {
            self.store.withdraw(&key);
        }
        self.pump(now);
    }

    fn see_to_duties(&mut self) {
        let connections = &self.connections;
        self.store.see_to_duties(|key, generation| {
            let mut claims = connections.iter().filter_map(|it| it.claim.as_ref());
            claims.any(|claim| claim.0 == *key && claim.1 == generation)
        });
    }

    // ---- events ----

    /// Until no session has anything to say.
    fn pump(&mut self, now: Timestamp) {
        loop {
            let mut found = None;
            for (at, connection) in self.connections.iter_mut().enumerate() {
                if let Some(event) = connection.session.poll_event() {
                    found = Some((at, event));
                    break;
                }
            }
            if let Some((at, event)) = found {
                self.moved += 1;
                self.event(now, at, event);
            } else if !self.wake(now) {
                break;
            }
        }
        self.see_to_duties();
    }

    /// Answers a session whose awaited decision has come; false where there is none.
    fn wake(&mut self, now: Timestamp) -> bool {
        for connection in &mut self.connections {
            let Some(question) = &connection.awaiting else {
                continue;
            };
            let looked = self.store.look(question.key(), question.generation());
            if let (Some((answer, content)), Some(question)) =
                (looked, connection.awaiting.take_if(|_| true))
            {
                if matches!(answer, AwaitAnswer::Withdrawn) {
                    connection.content = content;
                }
                let answered = connection.session.answer_await(now, question, answer);
                answered.expect("an answer that fits");
                self.moved += 1;
                return true;
            }
        }
        false
    }

    fn event(&mut self, now: Timestamp, at: usize, event: Event) {
        let Self {
            store, connections, ..
        } = self;
        let connection = &mut connections[at];
        let Connection {
            session,
            claim,
            content,
            deciding,
            awaiting,
            ..
        } = connection;
        match event {
            Event::Mail(question) => {
                content.clear();
                *deciding = None;
                *awaiting = None;
                let found = match question.key() {
                    Some(key) => store.claim(key),
                    None => Claim::Unrecorded,
                };
                *claim = match (question.key(), &found) {
                    (Some(key), Claim::Claimed { generation, .. }) => {
                        Some((key.clone(), *generation))
                    }
                    _ => None,
                };
                let answered = session.answer_mail(now, question, MailAnswer::accept(found));
                answered.expect("an answer that fits");
            }
            Event::Rcpt(question) => {
                let answered = session.answer_rcpt(now, question, standard::RECIPIENT_OK);
                answered.expect("an answer that fits");
            }
            Event::Data(question) => {
                let answer = match question.claim().map(|claim| store.confirm(claim)) {
                    None => DataAnswer::Proceed,
                    Some(Ok(held)) => {
                        *content = held;
                        DataAnswer::Proceed
                    }
                    Some(Err(confirmation)) => DataAnswer::Unconfirmed(confirmation),
                };
                let answered = session.answer_data(now, question, answer);
                answered.expect("an answer that fits");
            }
            Event::Content => {
                let mut slices = Vec::new();
                if let Some(range) = session.poll_content(&mut slices) {
                    assert_eq!(range.start.get(), content.len() as u64, "gap or overlap");
                    content.extend_from_slice(&slices.concat());
                    assert_eq!(range.end.get(), content.len() as u64);
                }
            }
            Event::CheckpointDue { key, record } | Event::Interrupted { key, record } => {
                store.keep(&key, &record, content);
            }
            Event::EndOfData(question) => {
                let begun = question.key().zip(question.record());
                let number = match begun {
                    None => Some(0),
                    Some((key, record)) => store.begin(key, record, content),
                };
                match number {
                    Some(number) => *deciding = Some((question, number)),
                    None => {
                        let answer = EndOfDataAnswer::Outdated;
                        let answered = session.answer_end_of_data(now, question, answer);
                        answered.expect("an answer that fits");
                    }
                }
            }
            Event::AwaitDecision(question) => *awaiting = Some(question),
            Event::Abandon(question) => {
                let stopped = match question.key() {
                    Some(key) => store.withdraw(key),
                    None => deciding.take().is_some(),
                };
                let answer = if stopped {
                    AbandonAnswer::Abandoned
                } else {
                    AbandonAnswer::TooLate
                };
                let answered = session.answer_abandon(now, question, answer);
                answered.expect("an answer that fits");
            }
            Event::Abort(question) => {
                let stopped = match question.key().cloned().zip(question.generation()) {
                    Some((key, generation)) => store.abort(&key, generation),
                    None => Some(deciding.is_some()),
                };
                let answer = match stopped {
                    Some(true) => {
                        *deciding = None;
                        ResetAnswer::Aborted
                    }
                    Some(false) => ResetAnswer::TooLate,
                    None => ResetAnswer::Outdated,
                };
                let answered = session.answer_abort(now, question, answer);
                answered.expect("an answer that fits");
            }
            Event::Detach(question) => {
                let held = question.held().map(<[Reply]>::to_vec);
                let owned = match question.key().cloned().zip(question.generation()) {
                    Some((key, generation)) => store.detach(&key, generation),
                    None if deciding.take().is_some() => {
                        self.owned.push(content.clone());
                        Some(true)
                    }
                    None => {
                        let failed = held.is_some_and(|replies| {
                            replies.iter().any(|reply| reply.code() != ReplyCode::OK)
                        });
                        store.reports += usize::from(failed);
                        Some(true)
                    }
                };
                let answer = match owned {
                    Some(true) => DetachAnswer::Owned,
                    Some(false) => DetachAnswer::Failed,
                    None => DetachAnswer::Outdated,
                };
                let answered = session.answer_detach(now, question, answer);
                answered.expect("an answer that fits");
            }
            Event::TakenBack { key, generation } => store.take_back(&key, generation),
            Event::Discard(discard) => store.discard(&discard),
            Event::TransactionEnded | Event::ContentRefused(_) | Event::Finished(_) => {
                *claim = None;
            }
            _ => {}
        }
    }
}
