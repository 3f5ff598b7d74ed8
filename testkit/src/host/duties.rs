//! RDLV and DETA: decisions that a client stops, messages that are left to the server.

use smtp_checkpoint::checkpoint::{Duty, Generation, TransactionKey};
use smtp_checkpoint::dsn::Owed;
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer};
use smtp_checkpoint::server::{AbortQuestion, DetachQuestion};

use super::events::refused;
use super::manner::When;
use super::{DueReport, Host, Job, Recorded};
use crate::mutant::Mutant;
use crate::store::{Due, Reported, Store, StoreError};
use crate::violation::Held;
use crate::watched::{Call, Stop};

impl<S: Store> Host<S> {
    /// The decision under a key; without one, that of a connection.
    pub(super) fn running(&self, connection: u64, key: Option<&TransactionKey>) -> Option<usize> {
        self.jobs.iter().position(|job| match (key, &job.recorded) {
            (Some(key), Some(recorded)) => recorded.key == *key,
            (None, None) => job.connection == connection,
            _ => false,
        })
    }

    pub(super) fn abort(&mut self, at: usize, question: AbortQuestion) -> Call {
        let now = self.now;
        let id = self.connections[at].id;
        let key = question.key().map(|key| self.stored_under(key));
        let answer = match key.as_ref().zip(question.generation()) {
            Some((key, generation)) => match self.store.abort(key, generation) {
                Ok(answer) => answer,
                Err(Stop::Store(StoreError::Outdated)) => ResetAnswer::Outdated,
                Err(Stop::Store(StoreError::Failed | StoreError::Unclear)) => ResetAnswer::TooLate,
                Err(stop) => return Err(stop),
            },
            None if self.running(id, None).is_some() => ResetAnswer::Aborted,
            None => ResetAnswer::TooLate,
        };
        if answer == ResetAnswer::Aborted {
            self.counted.aborted += 1;
            let running = self.running(id, key.as_ref());
            if let Some(running) = running.filter(|_| !self.breaks(Mutant::AbortGoesOn)) {
                self.jobs.remove(running);
            }
        }
        if let Some(connection) = self.connection(id) {
            let session = &mut connection.session;
            session
                .answer_abort(now, question, answer)
                .map_err(refused)?;
        }
        self.wake_all()
    }

    pub(super) fn detach(&mut self, at: usize, question: DetachQuestion) -> Call {
        let now = self.now;
        let id = self.connections[at].id;
        let key = question.key().map(|key| self.stored_under(key));
        let answer = match key.zip(question.generation()) {
            _ if self.manner.limited => DetachAnswer::OverLimit,
            Some((key, generation)) => match self.store.detach(&key, generation) {
                Ok(()) => {
                    self.counted.detached += 1;
                    DetachAnswer::Owned
                }
                Err(Stop::Store(StoreError::Outdated)) => DetachAnswer::Outdated,
                Err(Stop::Store(StoreError::Failed | StoreError::Unclear)) => DetachAnswer::Failed,
                Err(stop) => return Err(stop),
            },
            None => match self.detach_unrecorded(at, question.held())? {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        if let Some(connection) = self.connection(id) {
            let session = &mut connection.session;
            session
                .answer_detach(now, question, answer)
                .map_err(refused)?;
        }
        Ok(())
    }

    pub(super) fn take_back(&mut self, key: &TransactionKey, generation: Generation) -> Call {
        match self.store.take_back(key, generation) {
            Ok(()) => {
                self.counted.taken_back += 1;
                Ok(())
            }
            Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => Err(stop),
            Err(Stop::Store(_)) => Ok(()),
        }
    }

    /// Begins what is due for messages that are the server's.
    pub(super) fn see_to_duties(&mut self) -> Call {
        for key in self.store.due() {
            if self.reports.iter().any(|report| report.key == key) {
                continue;
            }
            match self.store.take_duty(&key) {
                Ok(None) => {}
                Ok(Some(Due::Decide(decision, record))) => {
                    self.ids += 1;
                    self.jobs.push(Job {
                        id: self.ids,
                        connection: 0,
                        question: None,
                        recorded: Some(Recorded {
                            key,
                            decision,
                            record: *record,
                        }),
                    });
                }
                Ok(Some(Due::Report(record))) => {
                    self.ids += 1;
                    self.reports.push(DueReport {
                        id: self.ids,
                        key,
                        record: *record,
                    });
                }
                Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => {
                    return Err(stop);
                }
                Err(Stop::Store(_)) => {}
            }
        }
        if self.manner.when == When::Now {
            return self.issue_all();
        }
        Ok(())
    }

    /// The same, of itself.
    pub(crate) fn do_duties(&mut self) -> Held {
        let done = self.see_to_duties();
        self.or_die(done)
    }

    /// The failures that wait to be reported.
    pub(crate) fn reporting(&self) -> impl Iterator<Item = u64> + '_ {
        self.reports.iter().map(|report| report.id)
    }

    /// Whether anything is left to do for messages that are the server's.
    pub(crate) fn has_duties(&mut self) -> bool {
        let owned = |job: &Job| {
            let recorded = job.recorded.as_ref();
            recorded.is_some_and(|it| self.store.is_owned(&it.key))
        };
        self.jobs.iter().any(owned) || !self.reports.is_empty() || !self.store.due().is_empty()
    }

    /// Whether a decision is one on a message that is the server's.
    pub(crate) fn is_owned(&self, job: u64) -> bool {
        let job = self.jobs.iter().find(|it| it.id == job);
        let recorded = job.and_then(|job| job.recorded.as_ref());
        recorded.is_some_and(|it| self.store.is_owned(&it.key))
    }

    /// A DSN is ready.
    pub(crate) fn report_one(&mut self, id: u64) -> Held {
        let issued = self.issue(id);
        self.or_die(issued)
    }

    pub(super) fn issue_all(&mut self) -> Call {
        while let Some(report) = self.reports.first() {
            self.issue(report.id)?;
        }
        Ok(())
    }

    fn issue(&mut self, id: u64) -> Call {
        let Some(at) = self.reports.iter().position(|report| report.id == id) else {
            return Ok(());
        };
        let DueReport { key, record, .. } = self.reports.remove(at);
        let Duty::Report(results) = record.duty() else {
            return Ok(());
        };
        let Ok(Owed::Report(report)) = Owed::by(record.envelope(), &results) else {
            return Ok(());
        };
        let report = Reported::by(&report, record.envelope());
        match self.store.report(&key, &record, report) {
            Ok(()) => {
                self.counted.reported += 1;
                Ok(())
            }
            Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => Err(stop),
            // It is due again, or has been done.
            Err(Stop::Store(_)) => Ok(()),
        }
    }
}
