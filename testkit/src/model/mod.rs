//! The shortest store that keeps what CHECKPOINT asks of one, on a simulated disk.

mod held;
mod owned;
mod storage;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Discard, Generation, Record, RecordState, TransactionKey, Verdict,
};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::ResetAnswer;
use smtp_checkpoint::server::ClaimToConfirm;

use self::storage::{Segment, Step, Storage, survives};
use crate::mutant::Mutant;
use crate::random::Random;
use crate::store::{
    Decision, Delivered, Due, Reported, Standing, Store, StoreError, Trouble, Unsynced,
};

/// A store in memory: the model of a store, to measure a real one by.
///
/// Partial records, content and claims are of one host. Decisions, completion records, messages
/// and the ownership of detached ones are seen by all of them ([`Store::another_host`]). What is not synced can be lost or
/// torn by a crash, a step can fail, the disk can be full.
///
/// ```
/// use smtp_checkpoint_testkit::{ModelStore, Suite};
///
/// let report = Suite::new(ModelStore::new).every(200).crashes()?;
/// assert!(report.cases > 0);
/// # Ok::<(), smtp_checkpoint_testkit::Failure>(())
/// ```
#[derive(Debug)]
pub struct ModelStore {
    shared: Rc<RefCell<Shared>>,
    host: usize,
    storage: Storage,
    /// Partial records.
    records: BTreeMap<TransactionKey, Stored>,
    segments: BTreeMap<u64, Segment>,
    last_segment: u64,
    // What follows dies with the process.
    claims: BTreeMap<TransactionKey, Claimed>,
    last_generation: u64,
    begun: BTreeMap<(TransactionKey, Decision), Begun>,
    // How it is to behave.
    limit: usize,
    mutant: Option<Mutant>,
    /// Commits that a mutant did not sync: the state before, and the messages before.
    unsynced_commits: Vec<(TransactionKey, usize)>,
    /// Ownerships that a mutant did not sync.
    unsynced_marks: Vec<TransactionKey>,
}

/// What all hosts see. All of it is durable, but for who makes a decision.
#[derive(Debug, Default)]
struct Shared {
    keys: BTreeMap<TransactionKey, Shown>,
    delivered: Vec<Delivered>,
    reported: Vec<Reported>,
    /// Counts the lives of the process on each host: a lease of an earlier one has ended.
    lives: Vec<u64>,
}

#[derive(Debug, Default)]
struct Shown {
    /// The last number that was given to a decision.
    decision: u64,
    state: State,
    /// Counts the claims that found or began a decision, on any host.
    claims: u64,
    /// The last of them, until its session lets go of it.
    holder: Option<Holder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    host: usize,
    life: u64,
    generation: Generation,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Processing {
        host: usize,
        life: u64,
        expired: bool,
        record: Vec<u8>,
    },
    Committed(Vec<u8>),
}

/// A partial record.
#[derive(Debug)]
struct Stored {
    record: Vec<u8>,
    segment: u64,
    synced: bool,
    /// The durable record that it replaces: a crash may bring it back.
    before: Option<Box<Stored>>,
}

impl Stored {
    /// Replaces what is there, in one step that is not durable yet.
    fn replace(mut self, stored: Option<Self>) -> Self {
        self.before = stored.and_then(|stored| {
            if stored.synced {
                Some(Box::new(stored))
            } else {
                stored.before
            }
        });
        self
    }
}

#[derive(Debug)]
struct Claimed {
    generation: Generation,
    /// Where this claim writes, once its data command was confirmed.
    segment: Option<u64>,
    /// A write or a sync failed: nothing more is trusted under this claim.
    failed: bool,
    /// The size of the message whose decision was found running.
    awaits: Option<OctetOffset>,
    /// The decision number that the claim read: an idle key need not have been idle all the time.
    decision: u64,
    /// Which of the claims that found or began a decision it is the last to know of.
    claims: u64,
    /// For [`Mutant::LengthAfterCut`]: an older claim that may still write.
    older: Option<Generation>,
}

#[derive(Debug, Clone)]
struct Begun {
    record: Record,
    segment: u64,
}

impl Default for ModelStore {
    fn default() -> Self {
        Self::new()
    }
}

impl ModelStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Rc::default())
    }

    /// A store that breaks a rule, where the rule is one of the store's.
    #[must_use]
    pub fn breaking(mutant: Mutant) -> Self {
        Self {
            mutant: Some(mutant),
            ..Self::new()
        }
    }

    /// A store with room for so many transactions at a time; further ones have no record.
    #[must_use]
    pub fn with_room_for(mut self, transactions: usize) -> Self {
        self.limit = transactions;
        self
    }

    fn on(shared: Rc<RefCell<Shared>>) -> Self {
        let host = shared.borrow().lives.len();
        shared.borrow_mut().lives.push(0);
        Self {
            shared,
            host,
            storage: Storage::default(),
            records: BTreeMap::new(),
            segments: BTreeMap::new(),
            last_segment: 0,
            claims: BTreeMap::new(),
            last_generation: 0,
            begun: BTreeMap::new(),
            limit: usize::MAX,
            mutant: None,
            unsynced_commits: Vec::new(),
            unsynced_marks: Vec::new(),
        }
    }
}

impl Store for ModelStore {
    fn claim(&mut self, key: &TransactionKey) -> Result<Claim, StoreError> {
        self.storage.step(Step::Other)?;
        let shown = self.shown(key)?;
        let is_decision = shown.is_some();
        let (found, segment) = match shown {
            // All of it is here, and nobody decides on it.
            Some(record) if self.rests(key) => (Some(record.withdraw()), None),
            Some(record) => (Some(record), None),
            None => match self.found_partial(key)? {
                Some((record, segment)) => (Some(record), Some(segment)),
                None => (None, None),
            },
        };
        let before = self.claims.get(key).map(|claim| claim.generation);
        if found.is_none() && before.is_none() && self.claims.len() >= self.limit {
            return Ok(Claim::Unrecorded);
        }
        let made = found.as_ref().map_or(0, |record| record.generation().0);
        self.last_generation = self.last_generation.max(made) + 1;
        let generation = match before {
            Some(before) if self.breaks(Mutant::GenerationStays) => before,
            _ => Generation(self.last_generation),
        };
        let claim = Claimed {
            generation,
            segment,
            failed: false,
            awaits: found.as_ref().map(Record::length),
            decision: self.decision_number(key),
            claims: self.take_hold(key, generation, is_decision),
            older: before.filter(|_| self.breaks(Mutant::LengthAfterCut)),
        };
        self.claims.insert(key.clone(), claim);
        Ok(Claim::Claimed {
            generation,
            found: found.map(Box::new),
        })
    }

    fn confirm(&mut self, claim: &ClaimToConfirm) -> Result<Confirmation, StoreError> {
        self.storage.step(Step::Other)?;
        let fresh = claim.fresh;
        let Ok(claimed) = self.current(&claim.key, claim.generation) else {
            return Ok(Confirmation::Outdated);
        };
        claimed.older = None;
        let segment = claimed.segment;
        let complete = self
            .shown(&claim.key)?
            .map(|record| octets(record.length()));
        let held = match (complete, segment) {
            (Some(size), _) => size,
            (None, _) if fresh => {
                self.last_segment += 1;
                let id = self.last_segment;
                self.segments.insert(id, Segment::default());
                self.current(&claim.key, claim.generation)?.segment = Some(id);
                0
            }
            (None, Some(id)) => self.segments.get(&id).map_or(0, |it| it.octets.len()),
            (None, None) => 0,
        };
        let careless = self.breaks(Mutant::NotCut) || self.breaks(Mutant::LengthAfterCut);
        let uncut = careless && complete.is_none();
        if held == octets(claim.length) || uncut {
            if held == 0 && complete.is_some() && self.breaks(Mutant::LengthZeroIsFresh) {
                self.end(&claim.key);
            }
            return Ok(Confirmation::Current);
        }
        if self.breaks(Mutant::CompletionDroppedOnMismatch) {
            self.end(&claim.key);
        }
        Ok(Confirmation::WrongLength)
    }

    fn write(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        start: OctetOffset,
        content: &[Bytes],
    ) -> Result<(), StoreError> {
        let behind = self.writes_anywhere();
        let claim = self.writer(key, generation)?;
        let id = claim.segment.filter(|_| !claim.failed);
        let written = self.storage.step(Step::Write);
        let segment = id.and_then(|id| self.segments.get_mut(&id));
        match (segment, written) {
            (Some(segment), Ok(())) if segment.octets.len() == octets(start) || behind => {
                content
                    .iter()
                    .for_each(|slice| segment.octets.extend_from_slice(slice));
                Ok(())
            }
            // Never a hole, never twice, and nothing behind what failed.
            (_, written) => {
                if let Ok(claim) = self.writer(key, generation) {
                    claim.failed = true;
                }
                Err(written.err().unwrap_or(StoreError::Failed))
            }
        }
    }

    fn keep(&mut self, key: &TransactionKey, record: &Record) -> Result<(), StoreError> {
        let generation = record.generation();
        let claim = self.current(key, generation)?;
        let failed = claim.failed;
        let segment = claim.segment;
        if self.shown(key)?.is_some() {
            return Err(StoreError::Outdated);
        }
        let segment = segment.filter(|_| !failed).ok_or(StoreError::Failed)?;
        if !self.breaks(Mutant::RecordBeforeContent) {
            let synced = self.sync(segment);
            if synced.is_err() && !self.breaks(Mutant::FailedSyncTrusted) {
                self.current(key, generation)?.failed = true;
            }
            synced?;
        }
        let held = self.segments.get(&segment).map_or(0, |it| it.octets.len());
        if held < octets(record.length()) {
            return Err(StoreError::Failed);
        }
        self.storage.step(Step::Write)?;
        let stored = Stored {
            record: record.encode(),
            segment,
            synced: self.breaks(Mutant::RecordBeforeContent),
            before: None,
        };
        let stored = stored.replace(self.records.remove(key));
        self.records.insert(key.clone(), stored);
        Ok(())
    }

    fn begin(&mut self, key: &TransactionKey, record: &Record) -> Result<Decision, StoreError> {
        let claim = self.current(key, record.generation())?;
        let segment = claim.segment.filter(|_| !claim.failed);
        let number = claim.decision;
        let is_same = self.decision_number(key) == number;
        let is_free = self.shown(key)?.is_none() || self.rests(key);
        let is_free = is_free && (is_same || self.breaks(Mutant::NumberUnchecked))
            || self.breaks(Mutant::SecondDecision);
        let is_free = is_free || self.breaks(Mutant::DetachedDecidedTwice) && self.is_owned(key);
        let segment = segment.ok_or(StoreError::Outdated)?;
        let held = self.segments.get(&segment).map_or(0, |it| it.octets.len());
        if !is_free || (held != octets(record.length()) && !self.writes_anywhere()) {
            return Err(StoreError::Outdated);
        }
        let hosts = self.shared.borrow().lives.len();
        if hosts > 1 {
            // A client may detach from it on another host, which does not have the content.
            self.keep_whole(key, record, segment)?;
        }
        self.storage.step(Step::Other)?;
        let claims = self.take_hold(key, record.generation(), true);
        self.current(key, record.generation())?.claims = claims;
        let decision = self.start(key, record, segment);
        if self.breaks(Mutant::RecordDroppedBeforeCommit) {
            if let Some(shown) = self.shared.borrow_mut().keys.get_mut(key) {
                shown.state = State::Idle;
            }
            self.records.remove(key);
        }
        Ok(decision)
    }

    fn commit(
        &mut self,
        key: &TransactionKey,
        decision: Decision,
        verdict: &Verdict,
    ) -> Result<(), StoreError> {
        let begun = self.begun.remove(&(key.clone(), decision));
        let Begun { record, segment } = begun.ok_or(StoreError::Outdated)?;
        let unchecked = self.breaks(Mutant::StaleVerdict)
            || self.breaks(Mutant::SecondDecision)
            || self.breaks(Mutant::RecordDroppedBeforeCommit);
        if !self.is_running(key, decision) && !unchecked {
            return Err(StoreError::Outdated);
        }
        if self.breaks(Mutant::DecisionFenced) {
            self.current(key, record.generation())?;
        }
        // As it is held by now: its client may have detached.
        let record = self.decided_on(key).unwrap_or(record);
        let completed = record.complete(verdict).map_err(|_| StoreError::Failed);
        let synced = self
            .sync(segment)
            .and_then(|()| self.storage.step(Step::Write))
            .and(completed);
        let completed = match synced {
            Err(StoreError::Failed) => {
                self.end(key);
                return Err(StoreError::Failed);
            }
            synced => synced?,
        };
        let content = self.segments.get(&segment).map(|it| it.octets.clone());
        let mut content = content.unwrap_or_default();
        content.truncate(octets(record.length()));
        // Message and completion record: one step.
        let mut shared = self.shared.borrow_mut();
        if self.mutant == Some(Mutant::CommitNotSynced) {
            let before = (key.clone(), shared.delivered.len());
            self.unsynced_commits.push(before);
        }
        let delivered = Delivered::by(record.envelope(), verdict.replies(), content);
        shared.delivered.extend(delivered);
        let shown = shared.keys.entry(key.clone()).or_default();
        shown.state = if self.mutant == Some(Mutant::CompletionForgotten) {
            State::Idle
        } else {
            State::Committed(completed.encode())
        };
        drop(shared);
        self.records.remove(key);
        self.segments.remove(&segment);
        Ok(())
    }

    fn give_up(&mut self, key: &TransactionKey, generation: Generation) -> Result<(), StoreError> {
        let number = self.current(key, generation)?.decision;
        if self.breaks(Mutant::FailureNotShared) {
            return Ok(());
        }
        self.storage.step(Step::Other)?;
        if self.shown(key)?.is_some() || self.decision_number(key) != number {
            return Err(StoreError::Outdated);
        }
        let mut shared = self.shared.borrow_mut();
        shared.keys.entry(key.clone()).or_default().decision += 1;
        drop(shared);
        self.current(key, generation)?.decision = number + 1;
        Ok(())
    }

    fn withdraw(&mut self, key: &TransactionKey, decision: Decision) -> Result<(), StoreError> {
        let begun = self.begun.get(&(key.clone(), decision)).cloned();
        let Begun { record, segment } = begun.ok_or(StoreError::Outdated)?;
        if !self.is_running(key, decision) {
            return Err(StoreError::Outdated);
        }
        let synced = self
            .sync(segment)
            .and_then(|()| self.storage.step(Step::Write));
        if synced == Err(StoreError::Crashed) {
            return Err(StoreError::Crashed);
        }
        if !self.breaks(Mutant::StaleVerdict) {
            self.begun.remove(&(key.clone(), decision));
        }
        self.end(key);
        if synced.is_err() {
            // What was held before is all there is.
            return Ok(());
        }
        if self.is_owned(key) {
            return Ok(()); // what is held of it is whole, and durable
        }
        // Not durable yet: it need not be before a claim finds it.
        let stored = Stored {
            record: record.withdraw().encode(),
            segment,
            synced: false,
            before: None,
        };
        let stored = stored.replace(self.records.remove(key));
        self.records.insert(key.clone(), stored);
        // A session that claimed the key while the decision ran goes on from there.
        if let Some(claim) = self.claims.get_mut(key) {
            claim.segment.get_or_insert(segment);
        }
        Ok(())
    }

    fn look(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<Standing, StoreError> {
        let awaits = self.current(key, generation)?.awaits;
        if !self.holds(key, generation) {
            return Ok(Standing::Outdated);
        }
        let shown = self.shown(key)?;
        let stored = self.records.get(key);
        let segment = stored.map(|stored| stored.segment);
        let stored = stored.and_then(|stored| read(&stored.record).ok());
        let number = self.decision_number(key);
        let twice = self.breaks(Mutant::DetachedDecidedTwice) && self.is_owned(key);
        Ok(match shown.as_ref().map(Record::state) {
            Some(RecordState::Processing { .. }) if !self.rests(key) && !twice => Standing::Running,
            Some(RecordState::Committed(completion)) => Standing::Decided(completion.clone()),
            _ if stored.is_some_and(|it| Some(it.length()) == awaits) => {
                let claim = self.current(key, generation)?;
                claim.decision = number;
                claim.segment = claim.segment.or(segment);
                Standing::Withdrawn
            }
            _ => Standing::Outdated,
        })
    }

    fn discard(&mut self, discard: &Discard) -> Result<(), StoreError> {
        let key = &discard.key;
        let is_useless = |record: &Record| discard.applies_to(record, discard.generation);
        let anything = self.breaks(Mutant::DiscardUnchecked);
        self.current(key, discard.generation)?;
        self.storage.step(Step::Other)?;
        if let Some(stored) = self.records.get(key) {
            if anything || is_useless(&read(&stored.record)?) {
                self.records.remove(key);
            }
        }
        let mut shared = self.shared.borrow_mut();
        if let Some(shown) = shared.keys.get_mut(key) {
            if let State::Committed(record) = &shown.state {
                if anything || is_useless(&read(record)?) {
                    shown.decision += 1;
                    shown.state = State::Idle;
                }
            }
        }
        Ok(())
    }

    fn release(&mut self, key: &TransactionKey, generation: Generation) {
        let claim = self.claims.get(key);
        let is_current = claim.is_some_and(|claim| claim.generation == generation);
        if is_current && !self.breaks(Mutant::GenerationStays) {
            self.claims.remove(key);
        }
        self.let_go(key, generation);
    }

    fn abort(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<ResetAnswer, StoreError> {
        self.stop(key, generation)
    }

    fn detaches(&self) -> bool {
        true
    }

    fn detach(&mut self, key: &TransactionKey, generation: Generation) -> Result<(), StoreError> {
        self.own(key, generation)
    }

    fn take_back(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<(), StoreError> {
        self.give_back(key, generation)
    }

    fn due(&mut self) -> Vec<TransactionKey> {
        self.duties()
    }

    fn take_duty(&mut self, key: &TransactionKey) -> Result<Option<Due>, StoreError> {
        self.begin_duty(key)
    }

    fn report(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        report: Reported,
    ) -> Result<(), StoreError> {
        self.issue(key, record, report)
    }

    fn reported(&mut self) -> Vec<Reported> {
        self.shared.borrow().reported.clone()
    }

    fn detach_unrecorded(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        content: &[u8],
    ) -> Result<Decision, StoreError> {
        self.own_unrecorded(key, record, content)
    }

    fn report_unrecorded(&mut self, report: Reported) -> Result<(), StoreError> {
        self.storage.step(Step::Write)?;
        self.storage.step(Step::Sync)?;
        self.shared.borrow_mut().reported.push(report);
        Ok(())
    }

    fn deliver(
        &mut self,
        envelope: &Envelope,
        verdict: &Verdict,
        content: &[u8],
    ) -> Result<(), StoreError> {
        self.storage.step(Step::Write)?;
        self.storage.step(Step::Sync)?;
        let delivered = Delivered::by(envelope, verdict.replies(), content.to_vec());
        self.shared.borrow_mut().delivered.extend(delivered);
        Ok(())
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        self.shared.borrow().delivered.clone()
    }

    fn restart(&mut self, unsynced: Unsynced) {
        let mut random = Random::new(match unsynced {
            Unsynced::Torn(seed) => seed,
            Unsynced::Lost | Unsynced::Kept => 0,
        });
        self.storage.end_of_trouble();
        for segment in self.segments.values_mut() {
            segment.crash(unsynced, &mut random);
        }
        self.records = std::mem::take(&mut self.records)
            .into_iter()
            .filter_map(|(key, stored)| {
                let survives = survives(unsynced, &mut random) || stored.synced;
                let there = if survives {
                    Some(stored)
                } else {
                    stored.before.map(|before| *before)
                };
                let there = there.map(|stored| Stored {
                    synced: true,
                    before: None,
                    ..stored
                });
                Some((key, there?))
            })
            .collect();
        let mut shared = self.shared.borrow_mut();
        for (key, delivered) in self.unsynced_commits.drain(..).rev() {
            if unsynced != Unsynced::Kept {
                shared.delivered.truncate(delivered);
                shared.keys.remove(&key);
            }
        }
        if let Some(life) = shared.lives.get_mut(self.host) {
            *life += 1;
        }
        drop(shared);
        self.forget_marks(unsynced);
        self.claims.clear();
        self.begun.clear();
        let live: Vec<u64> = self.records.values().map(|stored| stored.segment).collect();
        self.segments.retain(|id, _| live.contains(id));
        let made = self.records.values().filter_map(|it| read(&it.record).ok());
        self.last_generation = made.map(|it| it.generation().0).max().unwrap_or(0);
    }

    fn another_host(&mut self) -> Option<Self> {
        Some(Self {
            limit: self.limit,
            mutant: self.mutant,
            ..Self::on(Rc::clone(&self.shared))
        })
    }

    fn expire_leases(&mut self) {
        for shown in self.shared.borrow_mut().keys.values_mut() {
            if let State::Processing { expired, .. } = &mut shown.state {
                *expired = true;
            }
        }
    }

    fn steps(&self) -> u64 {
        self.storage.steps()
    }

    fn trouble_at(&mut self, step: u64, trouble: Trouble) {
        self.storage.trouble_at(step, trouble);
    }

    fn end_of_trouble(&mut self) {
        self.storage.end_of_trouble();
    }
}

/// Where there is no room for so many octets, they are not there.
fn octets(offset: OctetOffset) -> usize {
    usize::try_from(offset.get()).unwrap_or(usize::MAX)
}

/// What cannot be read is an error, and stays.
fn read(record: &[u8]) -> Result<Record, StoreError> {
    Record::decode(record).map_err(|_| StoreError::Failed)
}
