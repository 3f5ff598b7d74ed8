//! Decisions that are stopped, and messages that are the server's.

use smtp_checkpoint::checkpoint::{
    Completion, Duty, Generation, Record, RecordState, TransactionKey,
};
use smtp_checkpoint::rdlv::ResetAnswer;
use smtp_checkpoint::reply::Severity;

use super::{Audit, Known, Owned, broken};
use crate::store::{Decision, Due, StoreError};
use crate::violation::{Held, Rule};

impl Audit {
    /// A session lets go of a key.
    pub(crate) fn release(&mut self, host: usize, key: &TransactionKey, generation: Generation) {
        let on = self.key(key).on(host);
        if on.claimed == Some(generation) {
            on.holds = false;
        }
    }

    /// Whether it cannot be known who was told of a failure of this message.
    pub(crate) fn is_excused(&self, is_it: impl Fn(&[u8]) -> bool) -> bool {
        let mut all = self.keys.values();
        all.any(|known| known.excused && is_it(&known.mail))
    }

    /// Whether the message under this key is, or may be, the server's.
    pub(crate) fn is_owned(&self, key: &TransactionKey) -> bool {
        self.keys
            .get(key)
            .is_some_and(|known| known.owned.is_some())
    }

    pub(crate) fn abort(
        &mut self,
        host: usize,
        key: &TransactionKey,
        generation: Generation,
        answer: &Result<ResetAnswer, StoreError>,
    ) -> Held {
        let known = self.key(key);
        match answer {
            Ok(ResetAnswer::Aborted) => {
                known.names_claim(host, generation, "aborts")?;
                if known.is_committed() {
                    let what = "a decision is aborted that was committed";
                    return broken(Rule::OutcomeIsTrue, what);
                }
                known.end_running();
                known.turns += 1;
                known.owned = None;
                known.on(host).announced = None;
                Ok(())
            }
            Err(StoreError::Crashed | StoreError::Unclear) => {
                known.is_uncertain();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn detach(
        &mut self,
        host: usize,
        key: &TransactionKey,
        generation: Generation,
        detached: &Result<(), StoreError>,
    ) -> Held {
        let known = self.key(key);
        let running = known.running.as_ref().map(|running| &running.record);
        let running = running.map(|record| (record.generation(), record.length().get()));
        let committed = known.committed.as_ref();
        let held = committed.map(|it| (it.generation, it.length)).or(running);
        match detached {
            Ok(()) => {
                known.names_claim(host, generation, "detaches")?;
                if let Some((generation, length)) = held {
                    known.owned = Some(Owned {
                        generation,
                        length,
                        certain: true,
                    });
                }
                if known.owned.is_none() && known.unclear.is_none() {
                    return broken(Rule::Contract, "nothing is there to detach from");
                }
                if known.is_committed() {
                    known.owes_nothing();
                }
                Ok(())
            }
            Err(StoreError::Crashed | StoreError::Unclear) if known.owned.is_none() => {
                known.owned = held.map(|(generation, length)| Owned {
                    generation,
                    length,
                    certain: false,
                });
                Ok(())
            }
            Err(StoreError::Outdated)
                if known.hosts.len() == 1
                    && known.is_committed()
                    && known.on(host).claimed == Some(generation) =>
            {
                broken(Rule::Contract, "the current claim may not detach")
            }
            Err(_) => Ok(()),
        }
    }

    /// The key is new: nothing is known of it.
    pub(crate) fn detach_unrecorded(
        &mut self,
        host: usize,
        key: &TransactionKey,
        record: &Record,
        begun: &Result<Decision, StoreError>,
    ) {
        let known = self.key(key);
        let certain = match begun {
            Ok(decision) => {
                known.start(host, *decision, record);
                true
            }
            Err(StoreError::Crashed | StoreError::Unclear) => false,
            Err(_) => return,
        };
        known.owned = Some(Owned {
            generation: record.generation(),
            length: record.length().get(),
            certain,
        });
    }

    pub(crate) fn take_back(
        &mut self,
        key: &TransactionKey,
        by: Generation,
        taken: &Result<(), StoreError>,
    ) {
        let known = self.key(key);
        match taken {
            Ok(()) => known.owned = known.owned.filter(|owned| owned.generation > by),
            Err(_) => {
                known.is_uncertain();
                known.excused = true;
            }
        }
    }

    pub(crate) fn take_duty(
        &mut self,
        host: usize,
        key: &TransactionKey,
        due: &Result<Option<Due>, StoreError>,
    ) -> Held {
        let known = self.key(key);
        match due {
            Ok(Some(Due::Decide(decision, record))) => {
                if known.owned.is_none() {
                    return broken(Rule::Contract, "a message is due that nobody detached from");
                }
                if known.is_committed() {
                    return broken(Rule::OneCommit, "a committed decision is made anew");
                }
                let running = known.running.as_ref();
                if running.is_some_and(|it| !it.doubtful) {
                    return broken(Rule::OneCommit, "a second decision is begun");
                }
                known.start(host, *decision, record);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn report(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        reported: &Result<(), StoreError>,
    ) -> Held {
        let known = self.key(key);
        let RecordState::Committed(after) = record.with_dsn_issued().state().clone() else {
            return broken(Rule::Session, "a failure is reported of no decision");
        };
        match reported {
            Ok(()) => {
                let claims = Some(known.claims);
                let held = |on: &super::OnHost| on.holds && on.claims == claims;
                if known.hosts.values().any(held) {
                    let what = "a failure is reported although a session holds the key";
                    return broken(Rule::ReportedOnce, what);
                }
                if known.owned.take().is_none() {
                    let what = "a failure is reported that is not the server's to report";
                    return broken(Rule::ReportedOnce, what);
                }
                if let Some(committed) = &mut known.committed {
                    committed.completion = after;
                    committed.or_else = None;
                }
                Ok(())
            }
            Err(StoreError::Crashed | StoreError::Unclear) => {
                if let Some(committed) = &mut known.committed {
                    committed.or_else = Some(after);
                }
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}

impl Known {
    /// A claim that finds or begins a decision outdates those before it, on every host.
    pub(super) fn take_hold(&mut self, host: usize, is_decision: bool) {
        self.claims += u64::from(is_decision);
        let claims = self.claims;
        let on = self.on(host);
        on.holds = true;
        on.claims = is_decision.then_some(claims);
    }

    /// Only the last claim that found the decision may end it, or give it away.
    fn names_claim(&mut self, host: usize, generation: Generation, does: &str) -> Held {
        let claims = self.claims;
        let on = self.on(host);
        if on.claimed != Some(generation) {
            return broken(
                Rule::OneOwner,
                format!("a session {does} whose claim is outdated"),
            );
        }
        // A claim that found nothing has begun nothing either, so nobody was outdated by it.
        if on.claims.is_some_and(|last| last != claims) {
            return broken(
                Rule::OneOwner,
                format!("a session {does}, another host has claimed the decision since"),
            );
        }
        Ok(())
    }

    /// What is decided ends the server's duty where there is nothing to report, and is then held
    /// like any other.
    pub(super) fn owes_nothing(&mut self) {
        let completed = self.completed.as_ref().map(Record::detach);
        if completed.is_some_and(|record| record.duty() == Duty::Nothing) {
            self.owned = None;
        }
    }

    pub(super) fn is_certainly_owned(&self) -> bool {
        self.owned.is_some_and(|owned| owned.certain)
    }

    fn is_uncertain(&mut self) {
        if let Some(owned) = &mut self.owned {
            owned.certain = false;
        }
        if let Some(running) = &mut self.running {
            running.doubtful = true;
        }
    }

    /// A detached message is found, whole, or what became of it.
    pub(super) fn found_owned(&mut self, found: Option<&Record>) -> Held {
        let Some(owned) = self.owned else {
            return Ok(());
        };
        let there = found.filter(|record| record.length().get() == owned.length);
        match there {
            Some(record) if record.is_detached() => {
                if matches!(record.state(), RecordState::Committed(it) if it.dsn_issued) {
                    self.owned = None;
                } else {
                    self.owned = Some(Owned {
                        certain: true,
                        ..owned
                    });
                }
                Ok(())
            }
            // Taken back, or never marked.
            _ if !owned.certain => {
                self.owned = None;
                Ok(())
            }
            Some(_) => broken(
                Rule::DetachedIsOwned,
                "a detached message is found that is not the server's any more",
            ),
            None => broken(
                Rule::DetachedIsOwned,
                format!("{} octets were detached, and are not found", owned.length),
            ),
        }
    }

    /// A failure that may be reported is told under the last claim only.
    pub(super) fn may_be_told(&mut self, host: usize, completion: &Completion) -> Held {
        let fails =
            |reply: &smtp_checkpoint::reply::Reply| reply.severity() != Severity::Completion;
        let claims = self.claims;
        let last = self.on(host).claims;
        let outdated = last.is_some_and(|last| last != claims);
        if self.owned.is_some() && outdated && completion.replies.iter().any(fails) {
            return broken(
                Rule::OneOwner,
                "a failure is told, another host has claimed the decision since",
            );
        }
        Ok(())
    }
}
