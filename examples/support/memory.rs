//! A store in memory that keeps what CHECKPOINT asks of a store, but for one thing.
//!
//! Kept: a claim is one step and fences all older ones; a partial record never counts more than
//! the content that is held; one decision at a time, which belongs to the record and outlives its
//! session; message and completion record appear together, once.
//!
//! **Not kept: nothing here outlives the process.** A store for real mail makes content durable in
//! `save`, and message and completion in `commit`, before either returns.
//!
//! It needs layer 3 only, so the whole session and a bolt-on use the same one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Completion, Confirmation, Discard, Generation, Record, RecordState, TransactionKey,
    Verdict,
};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::ResetAnswer;

/// The store does not do what it was asked: the key has moved on, or the write leaves a hole.
#[derive(Debug)]
pub(crate) struct Refused;

/// What became of a decision that was waited for.
pub(crate) enum Awaited {
    Decided(Completion),
    Withdrawn,
    Outdated,
}

/// Called once, from any thread; must not block and must not call the store.
pub(crate) type Notice<T> = Box<dyn FnOnce(T) + Send>;

/// A message as it was accepted, for every accepted recipient of the envelope.
#[derive(Clone)]
pub(crate) struct Delivered {
    pub(crate) envelope: Envelope,
    pub(crate) content: Arc<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct Store(Mutex<State>);

#[derive(Default)]
struct State {
    held: HashMap<TransactionKey, Held>,
    /// Decisions under way: whoever removes the number here may commit or withdraw, nobody else.
    open: HashMap<u64, Option<TransactionKey>>,
    delivered: Vec<Delivered>,
    /// One counter for generations and decisions. It never goes back, so that a key may be
    /// forgotten without making an old session current again.
    last: u64,
}

struct Held {
    generation: Generation,
    record: Option<Record>,
    content: Arc<Vec<u8>>,
    /// Tells the session that has the key that it has lost it.
    fenced: Notice<Generation>,
    waiting: Vec<Notice<Awaited>>,
    touched: Instant,
}

impl Store {
    const MAX_HELD: usize = 10_000;

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims the key, for every MAIL with a TRANSID. In one step: older sessions are fenced, the
    /// content is cut to what the record counts, and the record is read.
    ///
    /// `fenced` is called when a later claim takes the key away, with the generation that is lost.
    pub(crate) fn claim(&self, key: &TransactionKey, fenced: Notice<Generation>) -> Claim {
        let mut state = self.lock();
        let full = state.held.len() >= Self::MAX_HELD && !state.held.contains_key(key);
        if full {
            return Claim::Unrecorded;
        }
        state.last += 1;
        let generation = Generation(state.last);
        let held = state.held.entry(key.clone()).or_insert_with(|| Held {
            generation,
            record: None,
            content: Arc::default(),
            fenced: Box::new(|_| {}),
            waiting: Vec::new(),
            touched: Instant::now(),
        });
        if !held.is_complete() {
            let counted = held.record.as_ref().map_or(0, |it| octets(it.length()));
            if counted <= held.content.len() {
                Arc::make_mut(&mut held.content).truncate(counted);
            } else {
                // Octets that were announced are gone: the record is worth nothing.
                held.forget();
            }
        }
        let before = std::mem::replace(&mut held.generation, generation);
        let notice = std::mem::replace(&mut held.fenced, fenced);
        let waiting = std::mem::take(&mut held.waiting);
        held.touched = Instant::now();
        let found = held.record.clone().map(Box::new);
        drop(state);
        notice(before);
        for waiting in waiting {
            waiting(Awaited::Outdated);
        }
        Claim::Claimed { generation, found }
    }

    /// Before content comes: whether the claim still stands. A transaction that starts afresh
    /// (length 0) replaces whatever partial record is held, in this same step, so that old record
    /// and new content never stand side by side.
    pub(crate) fn confirm(
        &self,
        key: &TransactionKey,
        generation: Generation,
        length: OctetOffset,
        fresh: bool,
    ) -> Confirmation {
        let mut state = self.lock();
        let Ok(held) = state.current(key, generation) else {
            return Confirmation::Outdated;
        };
        let have = match &held.record {
            Some(record) if held.is_complete() => octets(record.length()),
            _ if fresh => {
                held.forget();
                0
            }
            _ => held.content.len(),
        };
        if have == octets(length) {
            Confirmation::Current
        } else {
            Confirmation::WrongLength
        }
    }

    /// Appends content that belongs at `at`.
    pub(crate) fn append(
        &self,
        key: &TransactionKey,
        generation: Generation,
        at: OctetOffset,
        content: &[Bytes],
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        let held = state.current(key, generation)?;
        if held.is_complete() || held.content.len() != octets(at) {
            return Err(Refused);
        }
        let stored = Arc::make_mut(&mut held.content);
        content
            .iter()
            .for_each(|slice| stored.extend_from_slice(slice));
        Ok(())
    }

    /// Stores a partial record, behind the content that it counts.
    pub(crate) fn save(&self, key: &TransactionKey, record: &Record) -> Result<(), Refused> {
        let mut state = self.lock();
        let held = state.current(key, record.generation())?;
        // A store that saves later than it is told to must look twice: the generation does not
        // change between a partial record and the commit.
        if held.is_complete() || held.content.len() < octets(record.length()) {
            return Err(Refused);
        }
        held.record = Some(record.clone());
        Ok(())
    }

    /// What is held is of no use any more.
    pub(crate) fn discard(&self, discard: &Discard) {
        let mut state = self.lock();
        if let Some(held) = state.held.get_mut(&discard.key) {
            let current = held.generation;
            let meant = |record: &Record| discard.applies_to(record, current);
            if !held.is_processing() && held.record.as_ref().is_some_and(meant) {
                held.forget();
            }
        }
    }

    /// All data is in: begins the decision. From here on it belongs to the record, and later
    /// claims do not touch it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: &TransactionKey,
        record: &Record,
    ) -> Result<Decision, Refused> {
        let mut state = self.lock();
        let number = state.last + 1;
        let held = state.current(key, record.generation())?;
        if held.is_complete() || held.content.len() != octets(record.length()) {
            return Err(Refused);
        }
        held.record = Some(record.processing(number));
        let content = Arc::clone(&held.content);
        state.last = number;
        state.open.insert(number, Some(key.clone()));
        drop(state);
        Ok(Decision {
            store: Arc::clone(self),
            number,
            envelope: record.envelope().clone(),
            content,
        })
    }

    /// A decision on a message without a record.
    pub(crate) fn begin_unrecorded(
        self: &Arc<Self>,
        envelope: &Envelope,
        content: Vec<u8>,
    ) -> Decision {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.open.insert(number, None);
        drop(state);
        Decision {
            store: Arc::clone(self),
            number,
            envelope: envelope.clone(),
            content: Arc::new(content),
        }
    }

    /// Takes a decision back: true where nothing was or will be delivered of it. The record, if
    /// there is one, is partial with all its data again.
    pub(crate) fn withdraw(&self, number: u64) -> bool {
        let mut state = self.lock();
        let Some(key) = state.open.remove(&number) else {
            return false;
        };
        let mut waiting = Vec::new();
        if let Some(held) = key.and_then(|key| state.held.get_mut(&key)) {
            held.record = held.record.take().map(|record| record.withdraw());
            waiting = std::mem::take(&mut held.waiting);
        }
        drop(state);
        for waiting in waiting {
            waiting(Awaited::Withdrawn);
        }
        true
    }

    /// Stops the decision under a key and forgets what is held, in one step.
    #[allow(dead_code)] // a bolt-on without RDLV never stops one
    pub(crate) fn abort(&self, key: &TransactionKey, generation: Generation) -> ResetAnswer {
        let mut state = self.lock();
        let Ok(held) = state.current(key, generation) else {
            return ResetAnswer::Outdated;
        };
        let number = match held.record.as_ref().map(Record::state) {
            Some(RecordState::Committed(_)) => return ResetAnswer::TooLate,
            Some(RecordState::Processing { decision }) => Some(*decision),
            Some(RecordState::Partial) | None => None,
        };
        held.forget();
        let waiting = std::mem::take(&mut held.waiting);
        if let Some(number) = number {
            state.open.remove(&number);
        }
        drop(state);
        for waiting in waiting {
            waiting(Awaited::Outdated);
        }
        ResetAnswer::Aborted
    }

    /// Tells the outcome of the decision that another session began, now or when it is made.
    pub(crate) fn wait(
        &self,
        key: &TransactionKey,
        generation: Option<Generation>,
        tell: Notice<Awaited>,
    ) {
        let mut state = self.lock();
        let outcome = match generation.map(|generation| state.current(key, generation)) {
            Some(Ok(held)) => match held.record.as_ref().map(Record::state) {
                Some(RecordState::Processing { .. }) => return held.waiting.push(tell),
                Some(RecordState::Committed(completion)) => Awaited::Decided(completion.clone()),
                Some(RecordState::Partial) => Awaited::Withdrawn,
                None => Awaited::Outdated,
            },
            _ => Awaited::Outdated,
        };
        drop(state);
        tell(outcome);
    }

    /// Forgets what has not been touched for so long: RFC 1845 §3 recommends 48 hours.
    pub(crate) fn sweep(&self, keep: Duration) {
        let recent = |held: &mut Held| held.is_processing() || held.touched.elapsed() < keep;
        self.lock().held.retain(|_, held| recent(held));
    }

    /// What has been delivered, in order.
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        self.lock().delivered.clone()
    }
}

impl State {
    fn current(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<&mut Held, Refused> {
        match self.held.get_mut(key) {
            Some(held) if held.generation == generation => {
                held.touched = Instant::now();
                Ok(held)
            }
            _ => Err(Refused),
        }
    }
}

impl Held {
    fn is_complete(&self) -> bool {
        let state = self.record.as_ref().map(Record::state);
        !matches!(state, None | Some(RecordState::Partial))
    }

    fn is_processing(&self) -> bool {
        let state = self.record.as_ref().map(Record::state);
        matches!(state, Some(RecordState::Processing { .. }))
    }

    fn forget(&mut self) {
        self.record = None;
        self.content = Arc::default();
    }
}

/// A decision under way. Dropped without [`commit`](Self::commit), as by a scanner that panics, it
/// is withdrawn: else the client would wait for it for ever.
pub(crate) struct Decision {
    store: Arc<Store>,
    /// For [`Store::withdraw`].
    pub(crate) number: u64,
    envelope: Envelope,
    content: Arc<Vec<u8>>,
}

impl Decision {
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Message and completion record, in one step, once. Only then may the client hear of it.
    pub(crate) fn commit(self, verdict: &Verdict) -> Result<(), Refused> {
        let mut state = self.store.lock();
        // Withdrawn meanwhile: nothing may be delivered of it.
        let key = state.open.get(&self.number).cloned().ok_or(Refused)?;
        let (mut waiting, mut completion) = (Vec::new(), None);
        if let Some(key) = key {
            let held = state.held.get_mut(&key).ok_or(Refused)?;
            let record = held.record.as_ref().ok_or(Refused)?;
            let record = record.complete(verdict).map_err(|_| Refused)?;
            if let RecordState::Committed(committed) = record.state() {
                completion = Some(committed.clone());
            }
            held.record = Some(record);
            held.content = Arc::default();
            waiting = std::mem::take(&mut held.waiting);
        }
        state.open.remove(&self.number);
        if verdict.accepts() {
            state.delivered.push(Delivered {
                envelope: self.envelope.clone(),
                content: Arc::clone(&self.content),
            });
        }
        drop(state);
        for (waiting, completion) in waiting.into_iter().zip(completion.iter().cycle()) {
            waiting(Awaited::Decided(completion.clone()));
        }
        Ok(())
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        self.store.withdraw(self.number);
    }
}

/// Where there is no room for so many octets, they are not there.
fn octets(offset: OctetOffset) -> usize {
    usize::try_from(offset.get()).unwrap_or(usize::MAX)
}
