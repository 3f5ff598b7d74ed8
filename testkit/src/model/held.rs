//! What the model store holds, and who may touch it.

use smtp_checkpoint::checkpoint::{Generation, Record, TransactionKey};

use super::storage::Step;
use super::{Claimed, ModelStore, Shared, State, octets, read};
use crate::mutant::Mutant;
use crate::store::{Decision, StoreError};

impl ModelStore {
    pub(super) fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether the broken rule is one that keeps content in its place.
    pub(super) fn writes_anywhere(&self) -> bool {
        matches!(
            self.mutant,
            Some(
                Mutant::NotCut
                    | Mutant::LengthAfterCut
                    | Mutant::GenerationStays
                    | Mutant::FailedSyncTrusted
            )
        )
    }

    /// The claim, if it is current.
    pub(super) fn current(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<&mut Claimed, StoreError> {
        self.claims
            .get_mut(key)
            .filter(|claim| claim.generation == generation)
            .ok_or(StoreError::Outdated)
    }

    /// The claim, if this generation may write under it.
    pub(super) fn writer(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<&mut Claimed, StoreError> {
        self.claims
            .get_mut(key)
            .filter(|claim| {
                let older = claim.older == Some(generation) && claim.segment.is_some();
                claim.generation == generation || older
            })
            .ok_or(StoreError::Outdated)
    }

    /// The decision or completion record that all hosts see; a decision whose process is dead, or
    /// whose lease has expired, is ended by whoever finds it so.
    pub(super) fn shown(&self, key: &TransactionKey) -> Result<Option<Record>, StoreError> {
        let mut shared = self.shared.borrow_mut();
        let Shared { keys, lives, .. } = &mut *shared;
        let Some(shown) = keys.get_mut(key) else {
            return Ok(None);
        };
        match &shown.state {
            State::Idle => Ok(None),
            State::Committed(record) => read(record).map(Some),
            State::Processing {
                host,
                life,
                expired,
                record,
            } => {
                let record = read(record)?;
                let is_over = *expired || lives.get(*host) != Some(life);
                // What is the server's waits for the host that has its content.
                let waits = record.is_detached() && !self.breaks(Mutant::DetachedExpires);
                if is_over && !waits {
                    shown.decision += 1;
                    shown.state = State::Idle;
                    return Ok(None);
                }
                Ok(Some(record.processing(shown.decision)))
            }
        }
    }

    /// The last number that was given to a decision on the key, by any host.
    pub(super) fn decision_number(&self, key: &TransactionKey) -> u64 {
        let shared = self.shared.borrow();
        shared.keys.get(key).map_or(0, |shown| shown.decision)
    }

    /// Whether a decision is in force.
    pub(super) fn is_running(&self, key: &TransactionKey, decision: Decision) -> bool {
        let shared = self.shared.borrow();
        shared.keys.get(key).is_some_and(|shown| {
            shown.decision == decision.0 && matches!(shown.state, State::Processing { .. })
        })
    }

    /// Ends a decision that is in force, without a commit. On a detached message it rests, for the
    /// host that has its content.
    pub(super) fn end(&self, key: &TransactionKey) {
        if let Some(shown) = self.shared.borrow_mut().keys.get_mut(key) {
            shown.decision += 1;
            match &mut shown.state {
                State::Processing {
                    expired, record, ..
                } if read(record).is_ok_and(|it| it.is_detached()) => *expired = true,
                state => *state = State::Idle,
            }
        }
    }

    /// The partial record of this host: durable, and its content cut to what it counts.
    pub(super) fn found_partial(
        &mut self,
        key: &TransactionKey,
    ) -> Result<Option<(Record, u64)>, StoreError> {
        let Some(stored) = self.records.get_mut(key) else {
            return Ok(None);
        };
        if !stored.synced {
            self.storage.step(Step::Sync)?;
            stored.synced = true;
        }
        stored.before = None;
        let record = read(&stored.record)?;
        let length = octets(record.length());
        let id = stored.segment;
        let held = self.segments.get_mut(&id);
        let careless = self.mutant == Some(Mutant::RecordBeforeContent);
        match held {
            Some(segment) if segment.octets.len() >= length => {
                if self.mutant != Some(Mutant::NotCut) {
                    segment.cut(length);
                }
            }
            Some(_) if careless => {}
            // Octets that were counted are lost: the record is worth nothing.
            _ => {
                self.records.remove(key);
                return Ok(None);
            }
        }
        Ok(Some((record, id)))
    }

    pub(super) fn sync(&mut self, id: u64) -> Result<(), StoreError> {
        let synced = self.storage.step(Step::Sync);
        let careless = self.breaks(Mutant::FailedSyncTrusted);
        let Some(segment) = self.segments.get_mut(&id) else {
            return synced;
        };
        match synced {
            Ok(()) => segment.synced = segment.octets.len(),
            // The system has thrown away what it could not write. Who does not know better goes
            // on as if it were there.
            Err(StoreError::Failed) if careless => segment.octets[segment.synced..].fill(0),
            Err(StoreError::Failed) => segment.octets.truncate(segment.synced),
            Err(_) => {}
        }
        synced
    }
}
