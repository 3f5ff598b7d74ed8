//! Decisions: begun, made at once or later, withdrawn, waited for.

use smtp_checkpoint::checkpoint::{Record, Verdict};
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{AwaitAnswer, EndOfDataAnswer, EndOfDataQuestion};

use super::events::{refused, reply};
use super::manner::When;
use super::{Host, Job, Recorded};
use crate::mutant::Mutant;
use crate::store::{Standing, Store, StoreError};
use crate::violation::{Held, Rule, Violation};
use crate::watched::{Call, Stop};

impl<S: Store> Host<S> {
    pub(super) fn decide(&mut self, at: usize, question: EndOfDataQuestion) -> Call {
        let now = self.now;
        let connection = self.connections[at].id;
        let claim = self.connections[at].claim.clone();
        let recorded = match (claim, question.record().cloned()) {
            (Some((key, _)), Some(record)) => match self.store.begin(&key, &record) {
                Ok(decision) => Some(Recorded {
                    key,
                    decision,
                    record,
                }),
                Err(Stop::Store(StoreError::Crashed)) => return Err(StoreError::Crashed.into()),
                Err(Stop::Violation(violation)) => return Err(violation.into()),
                Err(Stop::Store(error)) => {
                    let mut answer = EndOfDataAnswer::Outdated;
                    if error == StoreError::Failed && self.may_fail(&record) {
                        match self.give_up(at) {
                            Ok(()) => answer = local_error(record.expected_replies()),
                            Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => {
                                return Err(stop);
                            }
                            Err(Stop::Store(_)) => {}
                        }
                    }
                    let session = &mut self.connections[at].session;
                    session
                        .answer_end_of_data(now, question, answer)
                        .map_err(refused)?;
                    return Ok(());
                }
            },
            (None, None) => None,
            _ => return Err(Violation::new(Rule::Session, "a claim without a record").into()),
        };
        self.ids += 1;
        self.jobs.push(Job {
            id: self.ids,
            connection,
            question: Some(question),
            recorded,
        });
        if self.manner.when == When::Now {
            return self.finish_all();
        }
        Ok(())
    }

    /// The decisions that wait to be made.
    pub(crate) fn deciding(&self) -> impl Iterator<Item = u64> + '_ {
        self.jobs.iter().map(|job| job.id)
    }

    pub(crate) fn is_deciding(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// All decisions under way are made.
    pub(crate) fn finish(&mut self) -> Held {
        let finished = self.finish_all();
        self.or_die(finished)?;
        self.pump_all()
    }

    fn finish_all(&mut self) -> Call {
        let codes = self.manner.verdict.clone();
        while let Some(job) = self.jobs.first() {
            self.make(job.id, &codes)?;
        }
        self.issue_all()
    }

    /// A decision is made, if it is still there.
    pub(crate) fn finish_one(&mut self, job: u64, codes: &[u16]) -> Held {
        let made = self.make(job, codes);
        self.or_die(made)?;
        self.pump_all()
    }

    /// The MAIL line of what is being decided on.
    pub(crate) fn mail_of(&self, job: u64) -> Option<&[u8]> {
        let job = self.jobs.iter().find(|it| it.id == job)?;
        let record = job.recorded.as_ref().map(|it| it.record.envelope());
        let plain = || {
            let connection = self.connections.iter().find(|it| it.id == job.connection)?;
            Some(connection.session.transaction().envelope())
        };
        Some(record.or_else(plain)?.mail_line())
    }

    fn make(&mut self, job: u64, codes: &[u16]) -> Call {
        let now = self.now;
        let Some(at) = self.jobs.iter().position(|it| it.id == job) else {
            return Ok(());
        };
        let Job {
            connection,
            question,
            recorded,
            ..
        } = self.jobs.remove(at);
        let recorded = match (question.is_some(), recorded) {
            (_, Some(recorded)) => recorded,
            (true, None) => return self.deliver(connection, question, codes),
            (false, None) => return Ok(()),
        };
        let Recorded {
            key,
            decision,
            record,
        } = recorded;
        let verdict = verdict(codes, record.expected_replies());
        let answer = match self.store.commit(&key, decision, &verdict) {
            // CP-18: a fenced session gives no final 2yz, though its decision stands.
            Ok(()) => match self.store.look(&key, record.generation()) {
                Ok(Standing::Decided(_)) => EndOfDataAnswer::Decided(verdict),
                Ok(_) | Err(Stop::Store(StoreError::Outdated)) => EndOfDataAnswer::Outdated,
                Err(Stop::Store(StoreError::Failed | StoreError::Unclear)) => {
                    EndOfDataAnswer::Outdated
                }
                Err(stop) => return Err(stop),
            },
            Err(Stop::Store(StoreError::Failed)) if self.may_fail(&record) => {
                local_error(record.expected_replies())
            }
            Err(Stop::Store(StoreError::Failed | StoreError::Outdated | StoreError::Unclear)) => {
                EndOfDataAnswer::Outdated
            }
            Err(stop) => return Err(stop),
        };
        if let Some((connection, question)) = self.connection(connection).zip(question) {
            let session = &mut connection.session;
            session
                .answer_end_of_data(now, question, answer)
                .map_err(refused)?;
        }
        self.wake_all()?;
        self.see_to_duties()
    }

    /// Whether a failure to store may be told: what a client has detached from is decided on
    /// again, whatever it is told.
    fn may_fail(&self, record: &Record) -> bool {
        !record.is_detached() || self.breaks(Mutant::FailureToldOfDetached)
    }

    /// Withdraws the decision of the job at this place; false where it goes on, or is over.
    pub(super) fn withdraw(&mut self, at: usize) -> Call<bool> {
        let Some(Recorded { key, decision, .. }) = self.jobs[at].recorded.clone() else {
            self.jobs.remove(at);
            return Ok(true);
        };
        match self.store.withdraw(&key, decision) {
            Ok(()) => {
                self.jobs.remove(at);
                Ok(true)
            }
            Err(Stop::Store(StoreError::Failed)) => Ok(false),
            Err(Stop::Store(StoreError::Outdated | StoreError::Unclear)) => {
                self.jobs.remove(at);
                Ok(false)
            }
            Err(stop) => Err(stop),
        }
    }

    /// The deciders give up, of themselves: a decision, or all.
    pub(crate) fn withdraw_all(&mut self, only: Option<u64>) -> Held {
        let withdrawn = self.withdraw_each(only);
        self.or_die(withdrawn)?;
        self.pump_all()
    }

    fn withdraw_each(&mut self, only: Option<u64>) -> Call {
        let chosen = |job: &Job| only.is_none_or(|only| only == job.id);
        let jobs: Vec<u64> = self
            .jobs
            .iter()
            .filter(|it| chosen(it))
            .map(|it| it.id)
            .collect();
        for job in jobs {
            if let Some(at) = self.jobs.iter().position(|it| it.id == job) {
                self.withdraw(at)?;
            }
        }
        self.wake_all()
    }

    /// Answers the sessions whose awaited decision has come.
    pub(super) fn wake_all(&mut self) -> Call {
        let waiting = self.connections.iter().filter(|it| it.awaiting.is_some());
        let ids: Vec<u64> = waiting.map(|it| it.id).collect();
        ids.into_iter().try_for_each(|id| self.wake(id))
    }

    pub(super) fn wake(&mut self, id: u64) -> Call {
        let now = self.now;
        let Some(connection) = self.connection(id) else {
            return Ok(());
        };
        let Some((key, generation)) = connection.claim.clone() else {
            return Ok(());
        };
        let Some(question) = connection.awaiting.take() else {
            return Ok(());
        };
        let answer = match self.store.look(&key, generation) {
            Ok(Standing::Running) => {
                if let Some(connection) = self.connection(id) {
                    connection.awaiting = Some(question);
                }
                return Ok(());
            }
            Ok(Standing::Decided(completion)) => AwaitAnswer::Decided(completion),
            Ok(Standing::Withdrawn) => AwaitAnswer::Withdrawn,
            Ok(Standing::Outdated) => AwaitAnswer::Outdated,
            Err(Stop::Store(StoreError::Outdated | StoreError::Failed | StoreError::Unclear)) => {
                AwaitAnswer::Outdated
            }
            Err(stop) => return Err(stop),
        };
        if let Some(connection) = self.connection(id) {
            let session = &mut connection.session;
            session
                .answer_await(now, question, answer)
                .map_err(refused)?;
        }
        Ok(())
    }

    /// Sessions that await a decision of another host look again.
    pub(crate) fn look_again(&mut self) -> Held {
        let woken = self.wake_all();
        self.or_die(woken)?;
        self.pump_all()
    }
}

pub(super) fn verdict(codes: &[u16], expected: usize) -> Verdict {
    let codes = codes.iter().copied().cycle();
    Verdict::for_each_recipient(codes.take(expected).map(reply))
}

pub(super) fn local_error(expected: usize) -> EndOfDataAnswer {
    let replies = (0..expected).map(|_| standard::LOCAL_ERROR.into());
    EndOfDataAnswer::Decided(Verdict::for_each_recipient(replies))
}
