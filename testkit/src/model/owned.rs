//! RDLV and DETA: decisions that are stopped, messages that are the server's.
//!
//! That a message is detached stands in the record that all hosts see, and nowhere else. Its
//! content, and a record with all data beside it, is on the disk of the host that decides on it.

use smtp_checkpoint::checkpoint::{Duty, Generation, Record, TransactionKey};
use smtp_checkpoint::rdlv::ResetAnswer;

use super::storage::{Segment, Step};
use super::{Begun, Holder, ModelStore, Shown, State, Stored, read};
use crate::mutant::Mutant;
use crate::store::{Decision, Due, Reported, StoreError, Unsynced};

impl Shown {
    /// The record of a decision, or of what it came to.
    fn record(&self) -> Option<Record> {
        match &self.state {
            State::Idle => None,
            State::Processing { record, .. } | State::Committed(record) => read(record).ok(),
        }
    }

    fn replace(&mut self, changed: &Record) {
        match &mut self.state {
            State::Idle => {}
            State::Processing { record, .. } | State::Committed(record) => {
                *record = changed.encode();
            }
        }
    }
}

impl ModelStore {
    fn life(&self) -> u64 {
        let shared = self.shared.borrow();
        shared.lives.get(self.host).copied().unwrap_or_default()
    }

    /// A claim that found or began a decision outdates those before it, on all hosts. Gives the
    /// number of the last such claim.
    pub(super) fn take_hold(
        &self,
        key: &TransactionKey,
        generation: Generation,
        is_decision: bool,
    ) -> u64 {
        let life = self.life();
        let mut shared = self.shared.borrow_mut();
        if !is_decision {
            return shared.keys.get(key).map_or(0, |shown| shown.claims);
        }
        let shown = shared.keys.entry(key.clone()).or_default();
        shown.claims += 1;
        shown.holder = Some(Holder {
            host: self.host,
            life,
            generation,
        });
        shown.claims
    }

    pub(super) fn let_go(&self, key: &TransactionKey, generation: Generation) {
        let own = Holder {
            host: self.host,
            life: self.life(),
            generation,
        };
        if let Some(shown) = self.shared.borrow_mut().keys.get_mut(key) {
            shown.holder = shown.holder.filter(|holder| *holder != own);
        }
    }

    /// Whether no claim, of whatever host, has found the decision since.
    pub(super) fn holds(&mut self, key: &TransactionKey, generation: Generation) -> bool {
        let shared = self.shared.borrow().keys.get(key).map_or(0, |it| it.claims);
        let unshared = self.breaks(Mutant::ClaimNotShared);
        let claim = self.current(key, generation);
        claim.is_ok_and(|claim| claim.claims == shared || unshared)
    }

    /// Whether a session that lives holds the key, and found the decision.
    fn is_held(&self, key: &TransactionKey) -> bool {
        let shared = self.shared.borrow();
        let holder = shared.keys.get(key).and_then(|shown| shown.holder);
        holder.is_some_and(|holder| shared.lives.get(holder.host) == Some(&holder.life))
    }

    /// The record that is decided on, as it is held by now.
    pub(super) fn decided_on(&self, key: &TransactionKey) -> Option<Record> {
        let shared = self.shared.borrow();
        let shown = shared.keys.get(key)?;
        matches!(shown.state, State::Processing { .. })
            .then(|| shown.record())
            .flatten()
    }

    /// Whether the message is the server's and not decided on yet.
    pub(super) fn is_owned(&self, key: &TransactionKey) -> bool {
        self.decided_on(key)
            .is_some_and(|record| record.is_detached())
    }

    /// Whether a detached message is here that nobody decides on.
    pub(super) fn rests(&self, key: &TransactionKey) -> bool {
        let decision = Decision(self.decision_number(key));
        let shared = self.shared.borrow();
        let is_here = shared.keys.get(key).is_some_and(
            |shown| matches!(shown.state, State::Processing { host, .. } if host == self.host),
        );
        drop(shared);
        is_here && self.is_owned(key) && !self.begun.contains_key(&(key.clone(), decision))
    }

    /// A decision begins, with a number of its own.
    pub(super) fn start(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        segment: u64,
    ) -> Decision {
        let life = self.life();
        let mut shared = self.shared.borrow_mut();
        let shown = shared.keys.entry(key.clone()).or_default();
        shown.decision += 1;
        let decision = Decision(shown.decision);
        shown.state = State::Processing {
            host: self.host,
            life,
            expired: false,
            record: record.encode(),
        };
        drop(shared);
        let begun = Begun {
            record: record.clone(),
            segment,
        };
        self.begun.insert((key.clone(), decision), begun);
        decision
    }

    /// The content is durable, and beside it a record with all data.
    pub(super) fn keep_whole(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        segment: u64,
    ) -> Result<(), StoreError> {
        self.sync(segment)?;
        self.storage.step(Step::Write)?;
        let whole = Stored {
            record: record.take_back(record.generation()).withdraw().encode(),
            segment,
            synced: true,
            before: None,
        };
        self.records.insert(key.clone(), whole);
        Ok(())
    }

    pub(super) fn stop(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<ResetAnswer, StoreError> {
        if !self.holds(key, generation) {
            return Ok(ResetAnswer::Outdated);
        }
        self.storage.step(Step::Write)?;
        if self.breaks(Mutant::AbortGoesOn) {
            return Ok(ResetAnswer::Aborted);
        }
        let mut shared = self.shared.borrow_mut();
        let shown = shared.keys.entry(key.clone()).or_default();
        if let State::Committed(_) = shown.state {
            return Ok(ResetAnswer::TooLate);
        }
        shown.decision += 1;
        shown.state = State::Idle;
        drop(shared);
        self.records.remove(key);
        Ok(ResetAnswer::Aborted)
    }

    pub(super) fn own(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<(), StoreError> {
        if !self.holds(key, generation) {
            return Err(StoreError::Outdated);
        }
        let decision = (key.clone(), Decision(self.decision_number(key)));
        let decided_on = self.decided_on(key);
        match (decided_on, self.begun.get(&decision).cloned()) {
            (Some(record), Some(begun)) if !record.is_detached() => {
                self.keep_whole(key, &record, begun.segment)?;
            }
            // Of another host: the content is durable there.
            _ => self.storage.step(Step::Write)?,
        }
        let undurable = self.breaks(Mutant::OwnershipNotDurable);
        let mut shared = self.shared.borrow_mut();
        let shown = shared.keys.get_mut(key).ok_or(StoreError::Failed)?;
        let record = shown.record().ok_or(StoreError::Failed)?;
        if undurable && !record.is_detached() {
            self.unsynced_marks.push(key.clone());
        }
        shown.replace(&record.detach());
        Ok(())
    }

    /// A message that was in no record: content, record and decision.
    pub(super) fn own_unrecorded(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        content: &[u8],
    ) -> Result<Decision, StoreError> {
        self.storage.step(Step::Write)?;
        self.last_segment += 1;
        let id = self.last_segment;
        let segment = Segment {
            octets: content.to_vec(),
            synced: 0,
        };
        self.segments.insert(id, segment);
        if self.breaks(Mutant::UnrecordedNotDurable) {
            let stored = Stored {
                record: record.take_back(record.generation()).withdraw().encode(),
                segment: id,
                synced: false,
                before: None,
            };
            self.records.insert(key.clone(), stored);
            self.unsynced_marks.push(key.clone());
        } else {
            self.keep_whole(key, record, id)?;
        }
        let counts = self.storage.step(Step::Write);
        if counts == Err(StoreError::Failed) {
            self.records.remove(key);
        }
        counts?;
        Ok(self.start(key, record, id))
    }

    pub(super) fn give_back(
        &mut self,
        key: &TransactionKey,
        by: Generation,
    ) -> Result<(), StoreError> {
        self.storage.step(Step::Write)?;
        let mut shared = self.shared.borrow_mut();
        if let Some(shown) = shared.keys.get_mut(key) {
            if let Some(record) = shown.record() {
                shown.replace(&record.take_back(by));
            }
        }
        Ok(())
    }

    pub(super) fn duties(&self) -> Vec<TransactionKey> {
        let keys: Vec<TransactionKey> = self.shared.borrow().keys.keys().cloned().collect();
        keys.into_iter()
            .filter(|key| self.duty(key) != Duty::Nothing)
            .collect()
    }

    /// What this host has to do for a message that no session holds.
    fn duty(&self, key: &TransactionKey) -> Duty {
        if self.is_held(key) && !self.breaks(Mutant::ReportedWhileHeld) {
            return Duty::Nothing;
        }
        let shared = self.shared.borrow();
        let record = shared.keys.get(key).and_then(Shown::record);
        drop(shared);
        match record.map(|record| record.duty()) {
            Some(Duty::Decide) if !self.rests(key) => Duty::Nothing,
            duty => duty.unwrap_or(Duty::Nothing),
        }
    }

    pub(super) fn begin_duty(&mut self, key: &TransactionKey) -> Result<Option<Due>, StoreError> {
        let duty = self.duty(key);
        let shared = self.shared.borrow();
        let record = shared.keys.get(key).and_then(Shown::record);
        drop(shared);
        let Some(record) = record else {
            return Ok(None);
        };
        match duty {
            Duty::Nothing => Ok(None),
            Duty::Report(_) => Ok(Some(Due::Report(Box::new(record)))),
            Duty::Decide => {
                self.storage.step(Step::Other)?;
                let segment = self.records.get(key).map(|stored| stored.segment);
                let decision = self.start(key, &record, segment.ok_or(StoreError::Failed)?);
                Ok(Some(Due::Decide(decision, Box::new(record))))
            }
        }
    }

    pub(super) fn issue(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        report: Reported,
    ) -> Result<(), StoreError> {
        self.storage.step(Step::Write)?;
        self.storage.step(Step::Sync)?;
        let is_held = self.is_held(key) && !self.breaks(Mutant::ReportedWhileHeld);
        let twice = self.breaks(Mutant::ReportedTwice);
        let mut shared = self.shared.borrow_mut();
        let shown = shared.keys.get_mut(key).ok_or(StoreError::Outdated)?;
        if is_held || shown.record().as_ref() != Some(record) {
            return Err(StoreError::Outdated);
        }
        // One step.
        if !twice {
            shown.replace(&record.with_dsn_issued());
        }
        shared.reported.push(report);
        Ok(())
    }

    /// What broken rules make of a crash.
    pub(super) fn forget_marks(&mut self, unsynced: Unsynced) {
        let mut lost = std::mem::take(&mut self.unsynced_marks);
        if unsynced == Unsynced::Kept {
            lost.clear();
        }
        let duties = self.breaks(Mutant::DutyForgotten);
        for (key, shown) in &mut self.shared.borrow_mut().keys {
            let forgotten = duties && matches!(shown.state, State::Committed(_));
            if let Some(record) = shown.record().filter(|_| forgotten || lost.contains(key)) {
                shown.replace(&record.take_back(record.generation()));
            }
        }
    }
}
