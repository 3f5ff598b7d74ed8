//! What a store may answer, known from all that it was asked and answered before.
//!
//! Knows nothing of how a store works: whoever breaks a promise is caught at the first call that
//! shows it, which is often long before a message is lost.

mod known;
mod owned;

use std::collections::{BTreeMap, BTreeSet};

use smtp_checkpoint::checkpoint::{
    Claim, Completion, Confirmation, Discard, Generation, Record, RecordState, TransactionKey,
    Verdict,
};
use smtp_checkpoint::server::ClaimToConfirm;

use crate::store::{Decision, Standing, StoreError};
use crate::violation::{Held, Rule, Violation};

/// What is known of all keys.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    keys: BTreeMap<TransactionKey, Known>,
}

/// What is known of a key.
#[derive(Debug, Default)]
struct Known {
    hosts: BTreeMap<usize, OnHost>,
    running: Option<Running>,
    /// Counts what became of decisions, on any host.
    turns: u64,
    /// Decisions that ended other than by their commit.
    ended: BTreeSet<(usize, Decision)>,
    committed: Option<Committed>,
    /// What was committed before, all 4yz, given once more and dropped: nothing was delivered, and a
    /// crash may bring it back.
    dropped: Option<Completion>,
    /// A commit of which nobody knows whether it was done.
    unclear: Option<Completion>,
    /// Counts commits, and what was given up, on any host.
    commits: u64,
    /// Counts the claims that found or began a decision, on any host.
    claims: u64,
    owned: Option<Owned>,
    /// What was committed last.
    completed: Option<Record>,
    /// The MAIL line of what was decided on last.
    mail: Vec<u8>,
    /// A process died, or its store failed, when a session may have been about to take the message
    /// back: who was told is not known.
    excused: bool,
}

/// A message from which its client has detached.
#[derive(Debug, Clone, Copy)]
struct Owned {
    /// Of its record.
    generation: Generation,
    length: u64,
    /// Whether the store said so; else it may be.
    certain: bool,
}

/// What is known of a key on one host.
#[derive(Debug, Default)]
struct OnHost {
    /// The latest claim of this life of the process.
    claimed: Option<Generation>,
    /// Turns that decisions had taken when it was claimed, and commits.
    turns: u64,
    commits: u64,
    /// Its claim was the last of so many that found or began a decision; none where it did neither.
    claims: Option<u64>,
    /// A session has it in hand.
    holds: bool,
    /// The partial record that a claim found last: it has been announced, so it has to be there.
    announced: Option<u64>,
    /// Records that were, or may have been, stored.
    kept: Vec<Record>,
    /// The content under each generation, as it has to be; none where that is not known.
    content: BTreeMap<Generation, Vec<u8>>,
}

#[derive(Debug)]
struct Running {
    host: usize,
    decision: Decision,
    record: Record,
    /// Its process is dead, or its lease has expired: another claim may end it.
    doubtful: bool,
}

#[derive(Debug)]
struct Committed {
    completion: Completion,
    /// What it may be as well: it is not known whether a DSN was issued.
    or_else: Option<Completion>,
    generation: Generation,
    length: u64,
    /// It was discarded, as one that is of no use any more may be.
    may_be_gone: bool,
}

fn broken<T>(rule: Rule, what: impl Into<String>) -> Held<T> {
    Err(Violation::new(rule, what))
}

impl Audit {
    fn key(&mut self, key: &TransactionKey) -> &mut Known {
        self.keys.entry(key.clone()).or_default()
    }

    /// The process of a host has died.
    pub(crate) fn died(&mut self, host: usize) {
        for known in self.keys.values_mut() {
            known.on(host).claimed = None;
            known.excused |= std::mem::take(&mut known.on(host).holds);
            if let Some(running) = known.running.as_mut().filter(|it| it.host == host) {
                running.doubtful = true;
            }
        }
    }

    pub(crate) fn leases_expired(&mut self) {
        for running in self.keys.values_mut().filter_map(|it| it.running.as_mut()) {
            running.doubtful = true;
        }
    }

    pub(crate) fn claim(
        &mut self,
        host: usize,
        key: &TransactionKey,
        claim: &Result<Claim, StoreError>,
    ) -> Held {
        let known = self.key(key);
        let (generation, found) = match claim {
            Err(_) => return Ok(()),
            Ok(Claim::Unrecorded) => {
                known.found_nothing(host)?;
                known.on(host).claimed = None;
                return Ok(());
            }
            Ok(Claim::Claimed { generation, found }) => (*generation, found.as_deref()),
        };
        let on = known.on(host);
        if let Some(before) = on.claimed.filter(|before| *before >= generation) {
            return broken(
                Rule::OneOwner,
                format!("a claim under generation {generation} after one under {before}"),
            );
        }
        on.claimed = Some(generation);
        known.found_owned(found)?;
        let is_decision =
            found.is_some_and(|it| *it.state() != RecordState::Partial) || known.owned.is_some();
        known.take_hold(host, is_decision);
        match found.map(|record| (record, record.state())) {
            None => known.found_nothing(host)?,
            Some((record, RecordState::Partial)) => {
                known.found_partial(host, generation, record)?;
            }
            Some((record, RecordState::Processing { .. })) => known.found_processing(record)?,
            Some((record, RecordState::Committed(completion))) => {
                known.found_committed(record, completion)?;
            }
        }
        known.is_as_it_stands(host);
        Ok(())
    }

    pub(crate) fn confirm(
        &mut self,
        host: usize,
        claim: &ClaimToConfirm,
        confirmation: &Result<Confirmation, StoreError>,
    ) -> Held {
        let known = self.key(&claim.key);
        let Ok(confirmation) = confirmation else {
            return Ok(());
        };
        if known.on(host).claimed != Some(claim.generation) {
            return match confirmation {
                Confirmation::Current => broken(Rule::OneOwner, "an outdated claim is confirmed"),
                _ => Ok(()),
            };
        }
        let length = claim.length.get();
        let complete = known.complete_length();
        // Replies that were all 4yz may have been given once more, and dropped.
        let dropped = known.committed.as_ref().is_some_and(|it| it.may_be_gone);
        let doubtful = known.unclear.is_some() || known.is_doubtful() || dropped;
        match confirmation {
            Confirmation::Current if complete.is_some_and(|size| size != length) && !doubtful => {
                broken(
                    Rule::AtMostOnce,
                    format!("a claim of {length} octets is confirmed, {complete:?} are complete"),
                )
            }
            Confirmation::Current => {
                let on = known.on(host);
                if length == 0 && complete.is_none() {
                    on.announced = None;
                    on.content.insert(claim.generation, Vec::new());
                }
                Ok(())
            }
            // A detached message is complete also while nobody decides on it.
            _ if complete.is_some() || known.owned.is_some() || doubtful => Ok(()),
            // A decision that was found running has been withdrawn since, maybe on another host.
            Confirmation::WrongLength
                if length != 0 && known.on(host).announced != Some(length) =>
            {
                Ok(())
            }
            Confirmation::Outdated => broken(Rule::Contract, "the current claim is not confirmed"),
            Confirmation::WrongLength => broken(
                Rule::OffsetIsDurable,
                format!("a claim of {length} octets, which were announced, is not confirmed"),
            ),
        }
    }

    pub(crate) fn write(
        &mut self,
        host: usize,
        key: &TransactionKey,
        generation: Generation,
        start: u64,
        octets: &[u8],
        written: &Result<(), StoreError>,
    ) -> Held {
        let on = self.key(key).on(host);
        if on.claimed != Some(generation) || written.is_err() {
            return Ok(());
        }
        let Some(content) = on.content.get_mut(&generation) else {
            return Ok(());
        };
        if content.len() as u64 != start {
            return broken(
                Rule::Session,
                format!("content at {start} behind {} octets", content.len()),
            );
        }
        content.extend_from_slice(octets);
        Ok(())
    }

    pub(crate) fn keep(
        &mut self,
        host: usize,
        key: &TransactionKey,
        record: &Record,
        kept: &Result<(), StoreError>,
    ) -> Held {
        let known = self.key(key);
        let is_current = known.on(host).claimed == Some(record.generation());
        match kept {
            Err(StoreError::Outdated) => return Ok(()),
            Ok(()) if !is_current => {
                return broken(Rule::OneOwner, "a record of an outdated claim is stored");
            }
            Ok(()) if known.is_certainly_owned() => {
                return broken(
                    Rule::DetachedIsOwned,
                    "a partial record replaces a detached one",
                );
            }
            Ok(()) if known.is_decided_on(host) => {
                return broken(Rule::OneCommit, "a partial record replaces a decision");
            }
            _ => {}
        }
        let on = known.on(host);
        let content = on.content.get(&record.generation()).map(Vec::len);
        if content.is_some_and(|octets| (octets as u64) < record.length().get()) {
            return broken(
                Rule::Session,
                format!("a record of {} octets, {content:?} came", record.length()),
            );
        }
        on.kept.push(record.clone());
        Ok(())
    }

    /// No host delivers any more what was claimed before.
    pub(crate) fn give_up(&mut self, key: &TransactionKey, given_up: &Result<(), StoreError>) {
        if given_up.is_ok() {
            let known = self.key(key);
            known.turns += 1;
            known.commits += 1;
        }
    }

    pub(crate) fn begin(
        &mut self,
        host: usize,
        key: &TransactionKey,
        record: &Record,
        begun: &Result<Decision, StoreError>,
    ) -> Held {
        let known = self.key(key);
        let is_current = known.on(host).claimed == Some(record.generation());
        let is_free = known.running.is_none() && !known.is_committed();
        match begun {
            Ok(_) if !is_current => broken(Rule::OneOwner, "an outdated claim begins a decision"),
            Ok(_) if known.on(host).commits != known.commits => broken(
                Rule::OneCommit,
                "a decision begins, another one was committed, or given up, since the claim",
            ),
            Ok(decision) if is_free || known.is_doubtful() => {
                known.start(host, *decision, record);
                known.take_hold(host, true);
                Ok(())
            }
            Ok(_) => broken(Rule::OneCommit, "a second decision is begun"),
            Err(StoreError::Outdated)
                if is_current
                    && is_free
                    && known.is_as_claimed(host)
                    && known.has_all(host, record) =>
            {
                broken(Rule::Contract, "the current claim may not begin a decision")
            }
            // A store may keep a record of what is decided on.
            Err(_) => {
                known.on(host).kept.push(record.withdraw());
                Ok(())
            }
        }
    }

    pub(crate) fn commit(
        &mut self,
        host: usize,
        key: &TransactionKey,
        decision: Decision,
        verdict: &Verdict,
        committed: &Result<(), StoreError>,
    ) -> Held {
        let known = self.key(key);
        let in_force = known
            .running
            .as_ref()
            .filter(|running| running.host == host && running.decision == decision);
        let Some(running) = in_force else {
            return match committed {
                Ok(()) => broken(Rule::OneCommit, "a decision that had ended is committed"),
                Err(_) => Ok(()),
            };
        };
        if *committed == Err(StoreError::Outdated) && !running.doubtful {
            return broken(
                Rule::DecisionOutlives,
                "a decision that nobody withdrew is refused",
            );
        }
        let length = running.record.length().get();
        let generation = running.record.generation();
        let completed = running.record.complete(verdict).ok();
        let completion = match completed.as_ref().map(Record::state) {
            Some(RecordState::Committed(completion)) => completion.clone(),
            _ => return broken(Rule::Session, "a verdict that does not fit"),
        };
        known.completed = completed;
        known.end_running();
        match committed {
            Ok(()) => {
                known.is_now_committed(host, completion, length, generation);
                known.owes_nothing();
            }
            Err(StoreError::Crashed | StoreError::Unclear) => known.unclear = Some(completion),
            Err(_) => {}
        }
        Ok(())
    }

    pub(crate) fn withdraw(
        &mut self,
        host: usize,
        key: &TransactionKey,
        decision: Decision,
        withdrawn: &Result<(), StoreError>,
    ) -> Held {
        let known = self.key(key);
        let in_force = known
            .running
            .as_ref()
            .is_some_and(|running| running.host == host && running.decision == decision);
        match withdrawn {
            Ok(()) if !in_force => broken(Rule::Contract, "a decision that had ended is withdrawn"),
            Ok(()) | Err(StoreError::Unclear) if in_force => {
                known.end_running();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn look(
        &mut self,
        host: usize,
        key: &TransactionKey,
        generation: Generation,
        standing: &Result<Standing, StoreError>,
    ) -> Held {
        let known = self.key(key);
        let is_current = known.on(host).claimed == Some(generation);
        match standing {
            Err(_) | Ok(Standing::Outdated) => Ok(()),
            Ok(_) if !is_current => broken(Rule::OneOwner, "an outdated claim is told an outcome"),
            Ok(Standing::Running) if known.running.is_none() && known.owned.is_none() => {
                broken(Rule::Contract, "a decision that has ended is said to run")
            }
            Ok(Standing::Running) => Ok(()),
            Ok(Standing::Decided(completion)) => {
                known.told(completion)?;
                known.may_be_told(host, completion)
            }
            Ok(Standing::Withdrawn) if known.is_committed() => broken(
                Rule::AtMostOnce,
                "a committed decision is said to be withdrawn",
            ),
            Ok(Standing::Withdrawn) => {
                known.is_as_it_stands(host);
                Ok(())
            }
        }
    }

    pub(crate) fn discard(&mut self, host: usize, discard: &Discard) {
        let known = self.key(&discard.key);
        if known.on(host).claimed != Some(discard.generation) {
            return;
        }
        known.on(host).announced = None;
        known.turns += 1;
        if let Some(committed) = &mut known.committed {
            committed.may_be_gone |= committed.completion.is_transient();
        }
    }
}

#[cfg(test)]
mod tests {
    use smtp_checkpoint::checkpoint::{Identity, Scope, Transfer};
    use smtp_checkpoint::envelope::Envelope;
    use smtp_checkpoint::offset::OctetOffset;
    use smtp_checkpoint::reply::{StaticReply, standard};
    use smtp_checkpoint::transid::TransId;

    use super::*;
    use crate::host::transaction_of;

    /// A client is back on another host, sends all, and detaches; the decision is withdrawn. What
    /// it had begun before may yet come to its data command, on the first host, where the message is
    /// found complete. A run of the simulation was accused of that.
    #[test]
    fn a_detached_message_that_nobody_decides_on_is_complete() {
        let scope = Scope {
            identity: Identity::Authenticated(b"c"),
            tls: false,
        };
        let key = TransactionKey::new(&scope, TransId::parse(b"<1@c.example>").unwrap());
        let mut envelope = Envelope::new(b"MAIL FROM:<a@b>", standard::OK.into()).unwrap();
        envelope
            .push_recipient(b"RCPT TO:<c@d>", standard::OK.into())
            .unwrap();
        let under = |generation| Claim::Claimed {
            generation,
            found: None,
        };
        let (first, second, decision) = (Generation(1), Generation(1), Decision(1));
        let made = (key.clone(), second);
        let mut transaction = transaction_of(&envelope, made, Transfer::Data, false).unwrap();
        let _ = transaction.end(OctetOffset::from(4));
        let record = transaction.snapshot().unwrap();

        let mut audit = Audit::default();
        audit.claim(0, &key, &Ok(under(first))).unwrap();
        audit.claim(1, &key, &Ok(under(second))).unwrap();
        audit.begin(1, &key, &record, &Ok(decision)).unwrap();
        audit.detach(1, &key, second, &Ok(())).unwrap();
        audit.withdraw(1, &key, decision, &Ok(())).unwrap();
        let claim = ClaimToConfirm {
            key,
            generation: first,
            length: OctetOffset::from(0),
            fresh: true,
        };
        let found = Ok(Confirmation::WrongLength);
        assert_eq!(audit.confirm(0, &claim, &found), Ok(()));
    }

    /// A completion record of which nothing was delivered is dropped, on advice and perhaps not for
    /// good; a crash brings it back, and a session that finds it tells its 4yz once more. A run of
    /// the simulation was accused of that.
    #[test]
    fn what_was_dropped_and_came_back_may_be_told_again() {
        let completion = |reply: StaticReply| Completion {
            replies: vec![reply.into()],
            dsn_issued: false,
        };
        let deferred = completion(standard::LOCAL_ERROR);
        let mut known = Known::default();
        known.is_now_committed(0, deferred.clone(), 4, Generation(1));
        known.committed.as_mut().unwrap().may_be_gone = true;
        known.found_no_decision().unwrap();
        assert_eq!(known.told(&deferred), Ok(()));
        assert!(known.told(&completion(standard::OK)).is_err());
        // Once another decision is committed, that one is over.
        known.is_now_committed(0, completion(standard::OK), 4, Generation(2));
        assert!(known.told(&deferred).is_err());
    }
}
