//! A host: server sessions driven against a store, as an embedder would.
//!
//! Store calls are made where the event comes, or one at a time when told to (`stepwise`), so that
//! the steps of two sessions can be interleaved.

mod connection;
mod decisions;
mod duties;
mod events;
pub(crate) mod manner;
#[cfg(test)]
mod order_tests;
mod unrecorded;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Discard, Record, TransactionKey};
use smtp_checkpoint::rdlv::ServerSettings;
use smtp_checkpoint::server::{self, EndOfDataQuestion, Event, Peer, ServerConfig, ServerSession};
use smtp_checkpoint::time::Timestamp;

pub(crate) use self::connection::Connection;
pub(crate) use self::manner::Manner;
use self::manner::Order;
pub(crate) use self::unrecorded::transaction_of;
use crate::mutant::Mutant;
use crate::store::{Decision, Store, StoreError, Unsynced};
use crate::violation::{Held, Rule, Violation};
use crate::watched::{Call, Stop, Watched};

#[derive(Debug)]
pub(crate) struct Host<S> {
    pub(crate) store: Watched<S>,
    config: Arc<ServerConfig>,
    lmtp: bool,
    pub(crate) manner: Manner,
    pub(crate) connections: Vec<Connection>,
    jobs: Vec<Job>,
    reports: Vec<DueReport>,
    late: Vec<Discard>,
    ids: u64,
    pub(crate) now: Timestamp,
    /// The process has died, and not been started again.
    pub(crate) dead: bool,
    /// What sessions had written when it died: it may still arrive.
    last_words: Vec<(u64, Vec<u8>)>,
    /// Messages that became the server's, were taken back, stopped; DSNs that were issued.
    pub(crate) counted: Counted,
    mutant: Option<Mutant>,
}

/// What a host offers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offer {
    pub(crate) lmtp: bool,
    /// See [`ServerConfigBuilder::checkpoint_every`](server::ServerConfigBuilder::checkpoint_every).
    pub(crate) checkpoint_every: Option<u64>,
    /// RDLV with this `mintimer`, in seconds; and DETA, where the store has what that needs.
    pub(crate) mintimer: Option<u32>,
}

/// How often something happened that RDLV and DETA make possible.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) detached: u64,
    pub(crate) taken_back: u64,
    pub(crate) aborted: u64,
    pub(crate) reported: u64,
}

impl Offer {
    fn config(self, detaches: bool) -> Held<Arc<ServerConfig>> {
        // A wire of one octet at a time is slow, and no reason to close.
        let mut builder = ServerConfig::builder("mx.example.net").data_rate(None);
        if self.lmtp {
            builder = builder.protocol(server::Protocol::Lmtp);
        }
        if let Some(octets) = self.checkpoint_every {
            builder = builder.checkpoint_every(octets);
        }
        if let Some(mintimer) = self.mintimer {
            let settings = ServerSettings::new(mintimer)
                .map_err(|error| Violation::new(Rule::Session, error.to_string()))?;
            // Nobody waits for a decision that is never made for longer than that.
            let timeouts = server::Timeouts {
                long_decision: Duration::from_secs(3600),
                ..server::Timeouts::default()
            };
            builder = builder
                .rdlv(settings.deta(detaches))
                .dsn(true)
                .timeouts(timeouts);
        }
        let config = builder.build();
        config
            .map(Arc::new)
            .map_err(|error| Violation::new(Rule::Session, error.to_string()))
    }
}

/// A decision under way.
#[derive(Debug)]
struct Job {
    id: u64,
    connection: u64,
    /// `None` where the message is the server's, and no session asked.
    question: Option<EndOfDataQuestion>,
    /// `None` without a record.
    recorded: Option<Recorded>,
}

#[derive(Debug, Clone)]
struct Recorded {
    /// As the store is asked for it.
    key: TransactionKey,
    decision: Decision,
    record: Record,
}

/// A failure that is being reported.
#[derive(Debug)]
struct DueReport {
    id: u64,
    key: TransactionKey,
    record: Record,
}

impl<S: Store> Host<S> {
    pub(crate) fn new(store: Watched<S>, offer: &Offer, manner: Manner) -> Held<Self> {
        let config = offer.config(store.detaches())?;
        Ok(Self {
            store,
            config,
            lmtp: offer.lmtp,
            manner,
            connections: Vec::new(),
            jobs: Vec::new(),
            reports: Vec::new(),
            late: Vec::new(),
            ids: 0,
            now: Timestamp::ORIGIN,
            dead: false,
            last_words: Vec::new(),
            counted: Counted::default(),
            mutant: None,
        })
    }

    pub(crate) fn breaking(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn connect(&mut self, peer: Peer) -> u64 {
        self.ids += 1;
        let session = ServerSession::new(Arc::clone(&self.config), peer, self.now);
        self.connections.push(Connection::new(self.ids, session));
        self.ids
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.connections.iter().position(|it| it.id == id)
    }

    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|it| it.id == id)
    }

    /// The process dies: sessions, decisions and claims are gone.
    pub(crate) fn die(&mut self) {
        self.dead = true;
        let connections = std::mem::take(&mut self.connections);
        let words = connections.into_iter().map(|it| (it.id, it.output));
        self.last_words = words.filter(|(_, words)| !words.is_empty()).collect();
        self.jobs.clear();
        self.reports.clear();
        self.late.clear();
    }

    /// What a connection had written when the process died.
    pub(crate) fn last_words(&mut self, id: u64) -> Vec<u8> {
        let at = self.last_words.iter().position(|(of, _)| *of == id);
        at.map(|at| self.last_words.swap_remove(at).1)
            .unwrap_or_default()
    }

    /// It starts again, if it is dead.
    pub(crate) fn restart(&mut self, unsynced: Unsynced) {
        if self.dead {
            self.store.restart(unsynced);
            self.dead = false;
        }
    }

    /// The process is killed between two store calls, and starts again.
    pub(crate) fn kill(&mut self, unsynced: Unsynced) {
        self.die();
        self.restart(unsynced);
    }

    pub(crate) fn input(&mut self, id: u64, octets: &[u8]) {
        let one_by_one = self.manner.order == Order::OneByOne;
        if let Some(connection) = self.connection(id) {
            if one_by_one {
                let octets = octets.iter().map(|octet| Bytes::from(vec![*octet]));
                connection.input.extend(octets);
            } else if !octets.is_empty() {
                connection.input.push_back(Bytes::copy_from_slice(octets));
            }
        }
    }

    /// The transport ends: in good order, or broken.
    pub(crate) fn end(&mut self, id: u64, broken: bool) -> Held {
        let now = self.now;
        self.pump(id)?;
        if let Some(connection) = self.connection(id) {
            if broken {
                connection.broken = true;
                connection.session.handle_disconnect(now);
            } else {
                connection.session.handle_eof(now);
            }
        }
        self.pump(id)
    }

    /// The session is dropped without a word, as a task that is dropped.
    pub(crate) fn forget(&mut self, id: u64) -> Held {
        let Some(at) = self.at(id) else {
            return Ok(());
        };
        let released = self.release(at);
        self.or_die(released)?;
        self.connections.retain(|it| it.id != id);
        Ok(())
    }

    /// The session of a claim needs it no more. Advice that it gave is as late as it can be.
    fn release(&mut self, at: usize) -> Call {
        let Some((key, generation)) = self.connections[at].claim.take() else {
            return Ok(());
        };
        let (due, later) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|it| it.key == key && it.generation == generation);
        self.late = later;
        for discard in due {
            match self.store.discard(&discard) {
                Ok(()) => {}
                Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => {
                    return Err(stop);
                }
                Err(Stop::Store(_)) => {}
            }
        }
        self.store.release(&key, generation);
        self.see_to_duties()
    }

    /// Drives one session until it waits.
    pub(crate) fn pump(&mut self, id: u64) -> Held {
        while self.step(id)? {}
        Ok(())
    }

    pub(crate) fn pump_all(&mut self) -> Held {
        let ids: Vec<u64> = self.connections.iter().map(|it| it.id).collect();
        ids.into_iter().try_for_each(|id| self.pump(id))
    }

    /// Whether a session of a stepwise host has a store call due.
    pub(crate) fn has_work(&self, id: u64) -> bool {
        self.at(id)
            .is_some_and(|at| !self.connections[at].todo.is_empty())
    }

    /// One store call of a stepwise host.
    pub(crate) fn work(&mut self, id: u64) -> Held {
        let event = self.connection(id).and_then(|it| it.todo.pop_front());
        match event {
            Some(event) => {
                self.handle_or_die(id, event)?;
                self.pump(id)
            }
            None => Ok(()),
        }
    }

    fn handle_or_die(&mut self, id: u64, event: Event) -> Held {
        let handled = self.handle(id, event);
        self.or_die(handled)
    }

    /// An error of the store has been dealt with where it came; a crash ends the process.
    fn or_die(&mut self, done: Call) -> Held {
        match done {
            Err(Stop::Violation(violation)) => Err(violation),
            Err(Stop::Store(StoreError::Crashed)) => {
                self.die();
                Ok(())
            }
            Ok(()) | Err(Stop::Store(_)) => Ok(()),
        }
    }

    fn step(&mut self, id: u64) -> Held<bool> {
        let (now, order) = (self.now, self.manner.order);
        let Some(connection) = self.connection(id) else {
            return Ok(false);
        };
        let mut moved = false;
        if let Some(front) = connection.input.front_mut() {
            let before = front.len();
            connection.session.handle_input(now, front);
            moved = front.len() != before;
            if front.is_empty() {
                connection.input.pop_front();
            }
        }
        if order == Order::OutputFirst {
            moved |= connection.write(now, usize::MAX)?;
        }
        if order == Order::TimeoutsOften {
            connection.session.handle_timeout(now);
        }
        let event = connection.session.poll_event();
        if order == Order::TimeoutsOften {
            connection.session.handle_timeout(now);
        }
        if let Some(event) = event {
            moved = true;
            self.event(id, event)?;
            if order == Order::ContentEager {
                self.event(id, Event::Content)?;
            }
            if order != Order::OneByOne {
                return Ok(true);
            }
        }
        let Some(connection) = self.connection(id) else {
            return Ok(false);
        };
        let most = if order == Order::Trickle {
            1
        } else {
            usize::MAX
        };
        let wrote = connection.write(now, most)?;
        // What the session left is passed again once it has read what it had.
        Ok(moved | wrote | (connection.session.wants_input() && !connection.input.is_empty()))
    }

    fn event(&mut self, id: u64, event: Event) -> Held {
        let asks = matches!(
            event,
            Event::Mail(_)
                | Event::Data(_)
                | Event::EndOfData(_)
                | Event::AwaitDecision(_)
                | Event::Abort(_)
                | Event::Detach(_)
                | Event::TakenBack { .. }
                | Event::Interrupted { .. }
                | Event::CheckpointDue { .. }
                | Event::Content
        );
        let stepwise = self.manner.stepwise;
        let ends = matches!(event, Event::Finished(_));
        match self.connection(id) {
            Some(connection) if stepwise && (asks || ends && !connection.todo.is_empty()) => {
                connection.todo.push_back(event);
                Ok(())
            }
            _ => self.handle_or_die(id, event),
        }
    }

    /// Whether a session waits for a decision that another one began.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.connections.iter().any(|it| it.awaiting.is_some())
    }

    /// The earliest deadline of any session.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let deadlines = self.connections.iter();
        deadlines.filter_map(|it| it.session.poll_timeout()).min()
    }

    /// Time has come to this.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Held {
        self.now = self.now.max(now);
        for connection in &mut self.connections {
            connection.session.handle_timeout(self.now);
        }
        self.pump_all()
    }

    /// Time passes up to the next deadline of any session.
    pub(crate) fn pass_time(&mut self) -> Held {
        match self.deadline() {
            Some(next) => self.tick(next),
            None => Ok(()),
        }
    }

    /// The advice that was put off is carried out.
    pub(crate) fn settle(&mut self) -> Held {
        for discard in std::mem::take(&mut self.late) {
            let discarded = self.store.discard(&discard);
            self.or_die(discarded)?;
            if self.dead {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(crate) fn shut_down(&mut self) -> Held {
        let now = self.now;
        for connection in &mut self.connections {
            connection.session.shutdown(now);
        }
        self.pump_all()
    }
}
