//! A store that keeps its promises: claims raise the generation, outdated writers are refused.

use std::collections::BTreeMap;

use smtp_checkpoint::checkpoint::{
    Claim, Completion, Duty, Generation, Record, RecordState, TransactionKey, Transfer, Verdict,
};
use smtp_checkpoint::dsn::Owed;

#[derive(Debug, Default, PartialEq)]
pub struct Store {
    held: BTreeMap<TransactionKey, Held>,
}

#[derive(Debug, Default, PartialEq)]
struct Held {
    generation: Generation,
    record: Option<Record>,
    content: Vec<u8>,
}

impl Store {
    /// Keys beyond this are not kept: claims of them are [`Claim::Unrecorded`].
    const KEYS: usize = 4;

    /// The claim of a key; a length that was found can be announced.
    pub fn claim(&mut self, key: &TransactionKey) -> (Claim, Option<u64>) {
        if self.held.len() >= Self::KEYS && !self.held.contains_key(key) {
            return (Claim::Unrecorded, None);
        }
        let held = self.held.entry(key.clone()).or_default();
        held.generation.0 += 1;
        let generation = held.generation;
        let found = held.record.clone().map(Box::new);
        let length = found.as_ref().map(|record| record.length().get());
        if let Some(length) = length {
            held.content.truncate(length as usize);
        }
        (Claim::Claimed { generation, found }, length)
    }

    pub fn is_current(&self, key: &TransactionKey, generation: Generation) -> bool {
        self.held
            .get(key)
            .is_some_and(|held| held.generation == generation)
    }

    /// The content under a key up to a length, where there is so much.
    pub fn content(&self, key: &TransactionKey, length: u64) -> Option<Vec<u8>> {
        let content = self.held[key].content.get(..length as usize)?;
        Some(content.to_vec())
    }

    /// A partial record, with the content that was handed over.
    pub fn put(&mut self, key: &TransactionKey, record: &Record, content: &[u8]) {
        let length = record.length().get() as usize;
        assert!(
            length <= content.len(),
            "a record of octets that were not handed over"
        );
        if record.transfer() == Transfer::Data {
            let before = &content[..length];
            assert!(
                before.is_empty() || before.ends_with(b"\r\n"),
                "not at a line start"
            );
        }
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
        assert_eq!(*record.state(), RecordState::Partial);
        if self.is_current(key, record.generation()) {
            if let Some(held) = self.held.get_mut(key) {
                held.record = Some(record.clone());
                held.content = content[..length].to_vec();
            }
        }
    }

    /// A decision is begun or committed; false where the key has moved on.
    pub fn decide(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        verdict: Option<&Verdict>,
        content: &[u8],
    ) -> bool {
        if !self.is_current(key, record.generation()) {
            return false;
        }
        assert_eq!(
            record.length().get(),
            content.len() as u64,
            "not all of the message"
        );
        let next = match verdict {
            None => record.processing(1),
            Some(verdict) => match record.complete(verdict) {
                Ok(committed) => committed,
                Err(_) => return true,
            },
        };
        if let Some(held) = self.held.get_mut(key) {
            held.record = Some(next);
            held.content = content.to_vec();
        }
        true
    }

    /// What a session that awaits a decision is told.
    pub fn completion(&self, key: &TransactionKey) -> Option<Completion> {
        match self.held.get(key)?.record.as_ref()?.state() {
            RecordState::Committed(completion) => Some(completion.clone()),
            _ => None,
        }
    }

    pub fn withdraw(&mut self, key: &TransactionKey) {
        if let Some(held) = self.held.get_mut(key) {
            held.record = held.record.as_ref().map(Record::withdraw);
        }
    }

    pub fn discard(&mut self, key: &TransactionKey, generation: Generation) {
        if self.is_current(key, generation) {
            if let Some(held) = self.held.get_mut(key) {
                held.record = None;
                held.content.clear();
            }
        }
    }

    /// What is held is the server's from now on; false where nothing is, or the key has moved on.
    pub fn detach(&mut self, key: &TransactionKey, generation: Generation) -> bool {
        let current = self.is_current(key, generation);
        match self.held.get_mut(key) {
            Some(held) if current => {
                held.record = held.record.as_ref().map(Record::detach);
                held.record.is_some()
            }
            _ => false,
        }
    }

    /// A final reply was transmitted to a client that had detached.
    pub fn take_back(&mut self, key: &TransactionKey, generation: Generation) {
        if let Some(held) = self.held.get_mut(key) {
            held.record = held
                .record
                .as_ref()
                .map(|record| record.take_back(generation));
        }
    }

    /// What is due for a client that has detached is done.
    pub fn report(&mut self, key: &TransactionKey) {
        if let Some(record) = self.held.get_mut(key).and_then(|held| held.record.as_mut()) {
            if let Duty::Report(results) = record.duty() {
                let owed = Owed::by(record.envelope(), &results).expect("results that fit");
                assert!(matches!(owed, Owed::Report(_)), "nothing is owed");
                *record = record.with_dsn_issued();
                assert_eq!(record.duty(), Duty::Nothing);
            }
        }
    }

    /// Another session claims the key.
    pub fn raise(&mut self, key: &TransactionKey) {
        if let Some(held) = self.held.get_mut(key) {
            held.generation.0 += 1;
        }
    }

    pub fn octets(&self) -> usize {
        // Envelopes are bounded by the settings; contents are counted.
        self.held
            .values()
            .map(|held| held.content.capacity() + 16 * 1024)
            .sum()
    }
}
