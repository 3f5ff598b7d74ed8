//! A simulated store: what is synced survives a crash, what is not may be lost, kept or torn.
//!
//! It keeps the store's side of the contract, checks it on itself, and dies at any call it is told
//! to. Partial records, content and claims are of one host; decisions, completion records and
//! delivered messages are in [`Shared`], where several hosts may meet.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use smtp_checkpoint::checkpoint::{
    Completion, Confirmation, Discard, Generation, Record, RecordState, TransactionKey, Transfer,
};

pub type Key = Vec<u8>;

/// A message that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub mail: Vec<u8>,
    pub recipients: Vec<Vec<u8>>,
    pub octets: Vec<u8>,
}

/// What all hosts see. All of it is durable but the leases, which die with their process.
#[derive(Debug, Default)]
pub struct Shared {
    keys: BTreeMap<Key, Status>,
    pub delivered: Vec<Delivered>,
    /// Commits so far, by key: a key whose record is not discarded has one.
    pub commits: BTreeMap<Key, u32>,
    /// The process that runs on each host now.
    epochs: Vec<u64>,
    pub refused_commits: u64,
}

#[derive(Debug, Default)]
struct Status {
    /// The last decision number that was given out.
    decision: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Processing {
        host: usize,
        epoch: u64,
        expired: bool,
        record: Vec<u8>,
    },
    Committed(Vec<u8>),
}

/// Why a store call did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is dead.
    Crashed,
    /// The claim is outdated.
    Outdated,
    /// The write or the sync failed.
    Failed,
}

/// What happens to a store call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    CrashBefore,
    CrashAfter,
    /// Only for calls that sync; nothing happens to others.
    Fail,
}

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    Lost,
    Kept,
    /// Half of the octets; a record that was not synced is gone.
    Torn,
}

/// Rules that the store can be told to break, to see that breaking them is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The commit is not synced: a crash loses message and completion record.
    CommitNotSynced,
    /// The completion record is not kept.
    CompletionForgotten,
    /// A claim does not raise the generation.
    GenerationStays,
    /// A commit does not compare the decision number.
    CommitUnchecked,
    /// The record is stored before the content is synced.
    RecordBeforeContent,
    /// The claim does not cut the content to the length of the record.
    NotCut,
    /// A discard is carried out on whatever is held.
    DiscardUnchecked,
    /// The decision is begun although another one runs.
    BeginUnchecked,
}

#[derive(Debug, Default, Clone)]
struct Segment {
    octets: Vec<u8>,
    synced: usize,
}

#[derive(Debug, Clone)]
struct Stored {
    record: Vec<u8>,
    segment: u64,
    synced: bool,
}

#[derive(Debug)]
struct Claimed {
    generation: u64,
    /// Where this claim writes, once its data command was confirmed.
    segment: Option<u64>,
}

#[derive(Debug)]
pub struct Store {
    pub shared: Rc<RefCell<Shared>>,
    host: usize,
    epoch: u64,
    records: BTreeMap<Key, Stored>,
    segments: BTreeMap<u64, Segment>,
    next_segment: u64,
    claims: BTreeMap<Key, Claimed>,
    /// The highest offset announced for the record in a segment (HD-04).
    announced: BTreeMap<(Key, u64), u64>,
    /// Calls so far, over all lives.
    pub calls: u64,
    /// What to do at which call, in order.
    pub blows: Vec<(u64, Blow)>,
    pub unsynced: Unsynced,
    pub lazy_records: bool,
    pub mutant: Mutant,
    /// The commit of a mutant that did not sync it.
    undo: Option<(Key, usize)>,
    dying: bool,
    pub crashes: u64,
    pub failures: u64,
    pub trace: Vec<&'static str>,
}

impl Store {
    pub fn new(shared: Rc<RefCell<Shared>>) -> Self {
        let host = shared.borrow().epochs.len();
        shared.borrow_mut().epochs.push(0);
        Self {
            shared,
            host,
            epoch: 0,
            records: BTreeMap::new(),
            segments: BTreeMap::new(),
            next_segment: 0,
            claims: BTreeMap::new(),
            announced: BTreeMap::new(),
            calls: 0,
            blows: Vec::new(),
            unsynced: Unsynced::Lost,
            lazy_records: true,
            mutant: Mutant::None,
            undo: None,
            dying: false,
            crashes: 0,
            failures: 0,
            trace: Vec::new(),
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == mutant
    }

    /// Every call goes through here, twice: before and after its effect.
    fn call<T>(
        &mut self,
        name: &'static str,
        syncs: bool,
        effect: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        assert!(!self.dying, "a dead process called its store");
        self.trace.push(name);
        let blow = self
            .blows
            .iter()
            .find(|(at, _)| *at == self.calls)
            .map(|(_, blow)| *blow);
        self.calls += 1;
        match blow {
            Some(Blow::CrashBefore) => {
                self.dying = true;
                Err(Fault::Crashed)
            }
            Some(Blow::CrashAfter) => {
                let _ = effect(self);
                self.dying = true;
                Err(Fault::Crashed)
            }
            Some(Blow::Fail) if syncs => {
                self.failures += 1;
                Err(Fault::Failed)
            }
            _ => effect(self),
        }
    }

    /// The process dies and starts again.
    pub fn crash(&mut self) {
        self.crashes += 1;
        self.dying = false;
        for segment in self.segments.values_mut() {
            let unsynced = segment.octets.len() - segment.synced;
            let kept = match self.unsynced {
                Unsynced::Lost => 0,
                Unsynced::Kept => unsynced,
                Unsynced::Torn => unsynced / 2,
            };
            segment.octets.truncate(segment.synced + kept);
            segment.synced = segment.octets.len();
        }
        let kept = self.unsynced == Unsynced::Kept;
        self.records.retain(|_, stored| stored.synced || kept);
        for stored in self.records.values_mut() {
            stored.synced = true;
        }
        if let Some((key, delivered)) = self.undo.take() {
            let mut shared = self.shared.borrow_mut();
            shared.delivered.truncate(delivered);
            shared.keys.remove(&key);
            shared.commits.remove(&key);
        }
        self.claims.clear();
        self.epoch += 1;
        self.shared.borrow_mut().epochs[self.host] = self.epoch;
        let live: Vec<u64> = self.records.values().map(|stored| stored.segment).collect();
        self.segments.retain(|id, _| live.contains(id));
        self.announced.retain(|(key, segment), _| {
            self.records
                .get(key)
                .is_some_and(|stored| stored.segment == *segment)
        });
    }

    pub fn generation(&self, key: &TransactionKey) -> Option<u64> {
        Some(self.claims.get(key.as_bytes())?.generation)
    }

    fn current(&self, key: &TransactionKey, generation: Generation) -> Result<(), Fault> {
        if self.generation(key) == Some(generation.0) {
            Ok(())
        } else {
            Err(Fault::Outdated)
        }
    }

    /// Claims the key: raises the generation, cuts, reads. One step.
    pub fn claim(&mut self, key: &TransactionKey) -> Result<(Generation, Option<Record>), Fault> {
        self.call("claim", false, |store| {
            let octets = key.as_bytes().to_vec();
            let mut shared = store.shared.borrow_mut();
            let epochs = shared.epochs.clone();
            let status = shared.keys.entry(octets.clone()).or_default();
            if let State::Processing {
                host,
                epoch,
                expired,
                ..
            } = &status.state
            {
                if *expired || epochs[*host] != *epoch {
                    // Whoever finds the lease expired changes it, with a new number (HD-07).
                    status.decision += 1;
                    status.state = State::Idle;
                }
            }
            let mut made = 0;
            let found = match &status.state {
                State::Committed(record) => Some(decode(record)),
                State::Processing { record, .. } => {
                    Some(decode(record).processing(status.decision))
                }
                State::Idle => None,
            };
            drop(shared);
            let mut segment = None;
            let found = match (found, store.records.get_mut(&octets)) {
                (Some(found), _) => Some(found),
                (None, None) => None,
                (None, Some(stored)) => {
                    // HD-06: what a 355 may announce is durable first.
                    stored.synced = true;
                    let record = decode(&stored.record);
                    let id = stored.segment;
                    let length = usize::try_from(record.length().get()).unwrap();
                    let content = store
                        .segments
                        .get_mut(&id)
                        .expect("a record has its content");
                    assert!(
                        content.synced >= length,
                        "the record announces {length} octets, {} are durable",
                        content.synced
                    );
                    if store.mutant != Mutant::NotCut {
                        content.octets.truncate(length);
                        content.synced = length;
                    }
                    let highest = store.announced.entry((octets.clone(), id)).or_default();
                    assert!(
                        *highest <= record.length().get(),
                        "HD-04: the offset went back"
                    );
                    *highest = record.length().get();
                    segment = Some(id);
                    Some(record)
                }
            };
            if let Some(record) = &found {
                made = record.generation().0;
                check_line_start(record, segment.map(|id| &store.segments[&id]));
            }
            let before = store
                .claims
                .get(&octets)
                .map_or(0, |claim| claim.generation);
            let raise = u64::from(!(store.is(Mutant::GenerationStays) && before > 0));
            let generation = before.max(made) + raise;
            store.claims.insert(
                octets,
                Claimed {
                    generation,
                    segment,
                },
            );
            Ok((Generation(generation), found))
        })
    }

    /// Confirms generation and length; a length of 0 begins the content afresh.
    pub fn confirm(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        length: u64,
    ) -> Result<Confirmation, Fault> {
        self.call("confirm", false, |store| {
            if store.current(key, generation).is_err() {
                return Ok(Confirmation::Outdated);
            }
            let octets = key.as_bytes().to_vec();
            let complete = match &store.shared.borrow().keys.get(&octets).map(|s| &s.state) {
                Some(State::Committed(record) | State::Processing { record, .. }) => {
                    Some(decode(record).length().get())
                }
                _ => None,
            };
            let claim = store.claims.get_mut(&octets).expect("claimed");
            let held = match (complete, claim.segment) {
                (Some(size), _) => size,
                (None, _) if length == 0 => {
                    // A segment for each generation: the old record keeps its own content until
                    // it is replaced.
                    store.next_segment += 1;
                    claim.segment = Some(store.next_segment);
                    store
                        .segments
                        .insert(store.next_segment, Segment::default());
                    0
                }
                (None, Some(id)) => store.segments[&id].octets.len() as u64,
                (None, None) => 0,
            };
            Ok(if held == length || store.is(Mutant::NotCut) {
                Confirmation::Current
            } else {
                Confirmation::WrongLength
            })
        })
    }

    /// Appends content; it is not durable.
    pub fn write(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        start: u64,
        content: &[u8],
    ) -> Result<(), Fault> {
        self.call("write", true, |store| {
            store.current(key, generation)?;
            let claim = &store.claims[key.as_bytes()];
            let id = claim.segment.expect("a data command was confirmed");
            let segment = store.segments.get_mut(&id).expect("its segment");
            if store.mutant == Mutant::None {
                assert_eq!(segment.octets.len() as u64, start, "a hole, or an overlap");
            }
            segment.octets.extend_from_slice(content);
            Ok(())
        })
    }

    /// After a failed sync nothing since the last good one is trusted any more (HD-04).
    fn distrust(&mut self, key: &TransactionKey) {
        if let Some(id) = self
            .claims
            .get(key.as_bytes())
            .and_then(|claim| claim.segment)
        {
            let segment = self.segments.get_mut(&id).expect("its segment");
            segment.octets.truncate(segment.synced);
        }
    }

    /// Makes the content of this claim durable.
    pub fn sync(&mut self, key: &TransactionKey, generation: Generation) -> Result<(), Fault> {
        let result = self.call("sync", true, |store| {
            store.current(key, generation)?;
            let claim = &store.claims[key.as_bytes()];
            let segment = claim.segment.expect("a data command was confirmed");
            let segment = store.segments.get_mut(&segment).expect("its segment");
            segment.synced = segment.octets.len();
            Ok(())
        });
        if result == Err(Fault::Failed) {
            self.distrust(key);
        }
        result
    }

    /// Stores a partial record behind its content.
    pub fn put(&mut self, key: &TransactionKey, record: &Record) -> Result<(), Fault> {
        self.call("put", true, |store| {
            store.current(key, record.generation())?;
            let claim = &store.claims[key.as_bytes()];
            let id = claim.segment.expect("a data command was confirmed");
            assert_eq!(*record.state(), RecordState::Partial);
            let segment = store.segments.get_mut(&id).expect("its segment");
            if store.mutant != Mutant::RecordBeforeContent {
                let durable = segment.synced as u64;
                assert!(
                    record.length().get() <= durable,
                    "more announced than is durable"
                );
            }
            check_line_start(record, Some(segment));
            let stored = Stored {
                record: record.encode(),
                segment: id,
                synced: !store.lazy_records,
            };
            store.records.insert(key.as_bytes().to_vec(), stored);
            Ok(())
        })
    }

    /// Advice: what is held is of no use any more.
    pub fn discard(&mut self, discard: &Discard) -> Result<(), Fault> {
        self.call("discard", false, |store| {
            if store.current(&discard.key, discard.generation).is_err() {
                return Ok(());
            }
            let key = discard.key.as_bytes();
            let unchecked = store.is(Mutant::DiscardUnchecked);
            let useless = |record: &[u8]| unchecked || discard.applies_to(&decode(record));
            if store
                .records
                .get(key)
                .is_some_and(|stored| useless(&stored.record))
            {
                store.records.remove(key);
            }
            let mut shared = store.shared.borrow_mut();
            if let Some(status) = shared.keys.get_mut(key) {
                if matches!(&status.state, State::Committed(record) if useless(record)) {
                    status.state = State::Idle;
                    shared.commits.remove(key);
                }
            }
            Ok(())
        })
    }

    /// Begins the decision, by compare-and-set of the key; gives its number.
    pub fn begin(&mut self, key: &TransactionKey, record: &Record) -> Result<Begun, Fault> {
        self.call("begin", false, |store| {
            store.current(key, record.generation())?;
            let segment = store.claims[key.as_bytes()].segment.expect("confirmed");
            let mut shared = store.shared.borrow_mut();
            let status = shared.keys.entry(key.as_bytes().to_vec()).or_default();
            if !matches!(status.state, State::Idle) && !store.is(Mutant::BeginUnchecked) {
                return Err(Fault::Outdated);
            }
            status.decision += 1;
            status.state = State::Processing {
                host: store.host,
                epoch: store.epoch,
                expired: false,
                record: record.encode(),
            };
            Ok(Begun {
                number: status.decision,
                segment,
            })
        })
    }

    /// Whether the decision is still the one that runs.
    fn runs(&self, key: &TransactionKey, begun: Begun) -> bool {
        let shared = self.shared.borrow();
        shared.keys.get(key.as_bytes()).is_some_and(|status| {
            status.decision == begun.number && matches!(status.state, State::Processing { .. })
        })
    }

    /// Stores message and completion record in one step, once.
    pub fn commit(
        &mut self,
        key: &TransactionKey,
        begun: Begun,
        completed: &Record,
    ) -> Result<(), Fault> {
        self.call("commit", true, |store| {
            if !store.runs(key, begun) && !store.is(Mutant::CommitUnchecked) {
                store.shared.borrow_mut().refused_commits += 1;
                return Err(Fault::Outdated);
            }
            let RecordState::Committed(completion) = completed.state() else {
                panic!("not a completion record");
            };
            let length = usize::try_from(completed.length().get()).unwrap();
            let segment = &store.segments[&begun.segment];
            assert!(
                segment.synced >= length,
                "committed before the content was synced"
            );
            let octets = segment.octets[..length].to_vec();
            let mut shared = store.shared.borrow_mut();
            if store.mutant == Mutant::CommitNotSynced {
                store.undo = Some((key.as_bytes().to_vec(), shared.delivered.len()));
            }
            let commits = shared.commits.entry(key.as_bytes().to_vec()).or_default();
            *commits += 1;
            if store.mutant == Mutant::None {
                assert_eq!(*commits, 1, "two commits of one key");
            }
            shared
                .delivered
                .extend(delivery(completed, completion, octets));
            let status = shared.keys.get_mut(key.as_bytes()).expect("begun");
            status.state = if store.mutant == Mutant::CompletionForgotten {
                State::Idle
            } else {
                State::Committed(completed.encode())
            };
            drop(shared);
            store.records.remove(key.as_bytes());
            Ok(())
        })
    }

    /// Withdraws a decision: the record is partial with all its data, which is synced.
    pub fn withdraw(
        &mut self,
        key: &TransactionKey,
        begun: Begun,
        record: &Record,
    ) -> Result<(), Fault> {
        self.call("withdraw", true, |store| {
            if !store.runs(key, begun) {
                return Err(Fault::Outdated);
            }
            let mut shared = store.shared.borrow_mut();
            let status = shared.keys.get_mut(key.as_bytes()).expect("begun");
            status.decision += 1;
            status.state = State::Idle;
            drop(shared);
            let stored = Stored {
                record: record.withdraw().encode(),
                segment: begun.segment,
                synced: false,
            };
            store.records.insert(key.as_bytes().to_vec(), stored);
            // A session that claimed the key while the decision ran goes on from there.
            if let Some(claim) = store.claims.get_mut(key.as_bytes()) {
                claim.segment.get_or_insert(begun.segment);
            }
            Ok(())
        })
    }

    /// How the decision stands that a session awaits.
    pub fn look(&mut self, key: &TransactionKey, generation: Generation) -> Result<Look, Fault> {
        self.call("look", false, |store| {
            store.current(key, generation)?;
            let shared = store.shared.borrow();
            let epochs = &shared.epochs;
            Ok(
                match shared.keys.get(key.as_bytes()).map(|status| &status.state) {
                    Some(State::Committed(record)) => match decode(record).state() {
                        RecordState::Committed(completion) => Look::Decided(completion.clone()),
                        _ => panic!("not a completion record"),
                    },
                    Some(State::Processing {
                        host,
                        epoch,
                        expired,
                        ..
                    }) if !expired && epochs[*host] == *epoch => Look::Running,
                    _ if store.records.contains_key(key.as_bytes()) => Look::Withdrawn,
                    // The content is on another host, which is dead.
                    _ => Look::Gone,
                },
            )
        })
    }

    /// A message without a record: delivered, with nothing to tell a second copy by.
    pub fn deliver(&mut self, delivered: Delivered) -> Result<(), Fault> {
        self.call("deliver", true, |store| {
            store.shared.borrow_mut().delivered.push(delivered);
            Ok(())
        })
    }
}

impl Shared {
    /// All leases expire, although their holders live.
    pub fn expire(&mut self) {
        for status in self.keys.values_mut() {
            if let State::Processing { expired, .. } = &mut status.state {
                *expired = true;
            }
        }
    }
}

/// A decision under way.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    number: u64,
    segment: u64,
}

#[derive(Debug)]
pub enum Look {
    Running,
    Decided(Completion),
    Withdrawn,
    Gone,
}

fn decode(record: &[u8]) -> Record {
    Record::decode(record).expect("a record that was stored")
}

/// CP-10: with DATA an announced offset is 0 or right after a CRLF.
fn check_line_start(record: &Record, content: Option<&Segment>) {
    let Some(segment) = content else {
        return;
    };
    let length = usize::try_from(record.length().get()).unwrap();
    assert!(segment.octets.len() >= length);
    if record.transfer() == Transfer::Data && length > 0 {
        assert!(segment.octets[..length].ends_with(b"\r\n"), "no line start");
    }
}

fn delivery(record: &Record, completion: &Completion, octets: Vec<u8>) -> Option<Delivered> {
    let accepted: Vec<Vec<u8>> = record
        .envelope()
        .accepted()
        .map(|rcpt| rcpt.line().to_vec())
        .collect();
    let each = completion.replies.len() == accepted.len();
    let recipients: Vec<Vec<u8>> = accepted
        .into_iter()
        .enumerate()
        .filter(|(index, _)| {
            let reply = &completion.replies[if each { *index } else { 0 }];
            reply.code().get() / 100 == 2
        })
        .map(|(_, line)| line)
        .collect();
    (!recipients.is_empty()).then(|| Delivered {
        mail: record.envelope().mail_line().to_vec(),
        recipients,
        octets,
    })
}
