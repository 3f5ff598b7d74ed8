//! What the host stores: durable at once, whole over a crash of the host.

use std::collections::BTreeMap;

use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Discard, Duty, Generation, Record, RecordState, TransactionKey, Verdict,
};
use smtp_checkpoint::dsn::Owed;
use smtp_checkpoint::server::{AwaitAnswer, ClaimToConfirm};

#[derive(Debug, Default)]
pub struct Store {
    held: BTreeMap<TransactionKey, Held>,
    numbers: u64,
    /// The content of each message that was delivered.
    pub delivered: Vec<Vec<u8>>,
    /// Failures reported by DSN.
    pub reports: usize,
}

#[derive(Debug, Default)]
struct Held {
    generation: u64,
    record: Option<Record>,
    content: Vec<u8>,
    /// The decision that runs in this life of the host.
    running: Option<u64>,
}

impl Held {
    fn is_committed(&self) -> bool {
        let state = self.record.as_ref().map(Record::state);
        matches!(state, Some(RecordState::Committed(_)))
    }
}

impl Store {
    pub fn claim(&mut self, key: &TransactionKey) -> Claim {
        let held = self.held.entry(key.clone()).or_default();
        held.generation += 1;
        if let Some(record) = &held.record {
            held.content
                .truncate(usize::try_from(record.length().get()).expect("a small message"));
        }
        Claim::Claimed {
            generation: Generation(held.generation),
            found: held.record.clone().map(Box::new),
        }
    }

    fn current(&mut self, key: &TransactionKey, generation: Generation) -> Option<&mut Held> {
        let held = self.held.get_mut(key)?;
        (held.generation == generation.0).then_some(held)
    }

    /// Whether the claim stands, and the content that it goes on from.
    pub fn confirm(&mut self, claim: &ClaimToConfirm) -> Result<Vec<u8>, Confirmation> {
        let held = self.current(&claim.key, claim.generation);
        let held = held.ok_or(Confirmation::Outdated)?;
        if claim.fresh && !held.is_committed() && held.running.is_none() {
            held.record = None;
            held.content.clear();
        }
        if held.content.len() as u64 == claim.length.get() {
            Ok(held.content.clone())
        } else {
            Err(Confirmation::WrongLength)
        }
    }

    /// A partial record with the content that it counts.
    pub fn keep(&mut self, key: &TransactionKey, record: &Record, content: &[u8]) {
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
        let length = usize::try_from(record.length().get()).expect("a small message");
        if let Some(held) = self.current(key, record.generation()) {
            if !held.is_committed() && held.running.is_none() {
                held.content = content[..length].to_vec();
                held.record = Some(record.clone());
            }
        }
    }

    /// The number of the decision, where it may begin.
    pub fn begin(&mut self, key: &TransactionKey, record: &Record, content: &[u8]) -> Option<u64> {
        self.numbers += 1;
        let number = self.numbers;
        let held = self.current(key, record.generation())?;
        if held.is_committed() || held.running.is_some() {
            return None;
        }
        assert_eq!(record.length().get(), content.len() as u64, "not all of it");
        let detached = held.record.as_ref().is_some_and(Record::is_detached);
        assert!(!detached || record.is_detached(), "the duty is forgotten");
        held.record = Some(record.processing(number));
        held.content = content.to_vec();
        held.running = Some(number);
        Some(number)
    }

    /// Message and completion record in one step. Whether the claim of the session is current.
    pub fn commit(
        &mut self,
        key: &TransactionKey,
        number: u64,
        generation: Generation,
        verdict: &Verdict,
    ) -> bool {
        let Some(held) = self.held.get_mut(key) else {
            return false;
        };
        if held.running != Some(number) {
            return false;
        }
        let record = held.record.as_ref().expect("a record of what is decided");
        held.record = Some(record.complete(verdict).expect("a verdict that fits"));
        held.running = None;
        if verdict.accepts() {
            self.delivered.push(held.content.clone());
        }
        held.generation == generation.0
    }

    pub fn replies_owed(&self, key: &TransactionKey) -> usize {
        let record = self.held.get(key).and_then(|held| held.record.as_ref());
        record.map_or(1, Record::expected_replies)
    }

    /// False where nothing runs any more.
    pub fn withdraw(&mut self, key: &TransactionKey) -> bool {
        let Some(held) = self.held.get_mut(key) else {
            return false;
        };
        let ran = held.running.take().is_some();
        held.record = held.record.as_ref().map(Record::withdraw);
        ran
    }

    /// Decision and record are given up in one step.
    pub fn abort(&mut self, key: &TransactionKey, generation: Generation) -> Option<bool> {
        let held = self.current(key, generation)?;
        if held.running.take().is_none() {
            return Some(false);
        }
        held.record = None;
        held.content.clear();
        Some(true)
    }

    pub fn detach(&mut self, key: &TransactionKey, generation: Generation) -> Option<bool> {
        let held = self.current(key, generation)?;
        held.record = held.record.as_ref().map(Record::detach);
        Some(held.record.is_some())
    }

    pub fn take_back(&mut self, key: &TransactionKey, generation: Generation) {
        if let Some(held) = self.held.get_mut(key) {
            let record = held.record.as_ref();
            held.record = record.map(|record| record.take_back(generation));
        }
    }

    pub fn discard(&mut self, discard: &Discard) {
        if let Some(held) = self.held.get_mut(&discard.key) {
            let generation = Generation(held.generation);
            let fits = |record: &Record| discard.applies_to(record, generation);
            if held.running.is_none() && held.record.as_ref().is_some_and(fits) {
                held.record = None;
                held.content.clear();
            }
        }
    }

    /// The answer to a session that waits, and the content it then has; none while it has to wait.
    pub fn look(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Option<(AwaitAnswer, Vec<u8>)> {
        let Some(held) = self.current(key, generation) else {
            return Some((AwaitAnswer::Outdated, Vec::new()));
        };
        let record = held.record.as_ref();
        let answer = match record.map(Record::state) {
            Some(RecordState::Committed(completion)) => AwaitAnswer::Decided(completion.clone()),
            Some(_) if held.running.is_some() => return None,
            Some(_) => AwaitAnswer::Withdrawn,
            None => AwaitAnswer::Outdated,
        };
        Some((answer, held.content.clone()))
    }

    /// No decision survives the host.
    pub fn crash(&mut self) {
        for held in self.held.values_mut() {
            held.running = None;
            held.record = held.record.as_ref().map(Record::withdraw);
        }
    }

    /// What is owed to clients that have detached, where no session holds the key.
    pub fn see_to_duties(&mut self, holds: impl Fn(&TransactionKey, Generation) -> bool) {
        for (key, held) in &mut self.held {
            if holds(key, Generation(held.generation)) {
                continue;
            }
            let Some(record) = &held.record else { continue };
            match record.duty() {
                Duty::Nothing => {}
                Duty::Decide if held.running.is_some() => {}
                Duty::Decide => {
                    self.numbers += 1;
                    held.record = Some(record.processing(self.numbers));
                    held.running = Some(self.numbers);
                }
                Duty::Report(results) => {
                    let owed = Owed::by(record.envelope(), &results).expect("results that fit");
                    assert!(matches!(owed, Owed::Report(_)), "nothing is owed");
                    held.record = Some(record.with_dsn_issued());
                    self.reports += 1;
                }
            }
        }
    }

    /// The decisions that run.
    pub fn running(&self) -> Vec<(TransactionKey, u64)> {
        let running = |(key, held): (&TransactionKey, &Held)| Some((key.clone(), held.running?));
        self.held.iter().filter_map(running).collect()
    }
}
