//! What each event means for the store.

use smtp_checkpoint::checkpoint::{Claim, Confirmation, Record, RecordState, TransactionKey};
use smtp_checkpoint::reply::{Reply, ReplyCode, standard};
use smtp_checkpoint::server::{
    AbandonAnswer, AbandonQuestion, DataAnswer, DataQuestion, Event, MailAnswer, MailQuestion,
    Misanswered, RcptQuestion, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

use super::Host;
use super::manner::{Advice, Takeover};
use crate::alter;
use crate::mutant::Mutant;
use crate::store::{Store, StoreError};
use crate::violation::{Rule, Violation};
use crate::watched::{Call, Stop};

/// The session does not take an answer that it has to take.
pub(super) fn refused<Q>(misanswered: Misanswered<Q>) -> Stop {
    Violation::new(Rule::Session, misanswered.error.to_string()).into()
}

/// A final reply, or one to RCPT.
pub(super) fn reply(code: u16) -> Reply {
    let text: &[u8] = if code < 300 { b"as it is" } else { b"not so" };
    Reply::cleaned(ReplyCode::new(code).unwrap_or(ReplyCode::OK), None, text)
}

/// As a store does it: by the claim that is lost.
fn supersede(session: &mut ServerSession, now: Timestamp) {
    let claim = session.transaction();
    if let Some((key, generation)) = claim.key().cloned().zip(claim.generation()) {
        session.supersede(now, &key, generation);
    }
}

impl<S: Store> Host<S> {
    pub(super) fn handle(&mut self, id: u64, event: Event) -> Call {
        let Some(at) = self.at(id) else {
            return Ok(());
        };
        match event {
            Event::Mail(question) => return self.mail(id, question),
            Event::Rcpt(question) => self.rcpt(at, question)?,
            Event::Data(question) => self.data(at, question)?,
            Event::Content => return self.content(at),
            Event::CheckpointDue { record, .. } => {
                let kept = self.keep(at, &record);
                let unnoticed = self.breaks(Mutant::FailedSyncTrusted);
                if kept == Err(StoreError::Failed.into()) && !unnoticed {
                    self.fail(at)?;
                }
                return kept;
            }
            Event::Interrupted { record, .. } => return self.keep(at, &record),
            Event::EndOfData(question) => return self.decide(at, question),
            Event::AwaitDecision(question) => {
                self.connections[at].awaiting = Some(question);
                return self.wake(id);
            }
            Event::Abandon(question) => return self.abandon(at, question),
            Event::Abort(question) => return self.abort(at, question),
            Event::Detach(question) => return self.detach(at, question),
            Event::TakenBack { key, generation } => {
                let key = self.stored_under(&key);
                return self.take_back(&key, generation);
            }
            Event::Discard(mut discard) => {
                discard.key = self.stored_under(&discard.key);
                match self.manner.advice {
                    Advice::Taken => return self.store.discard(&discard),
                    Advice::Lost => {}
                    Advice::Late => self.late.push(discard),
                }
            }
            Event::Finished(_) => {
                self.connections[at].finished = true;
                return self.release(at);
            }
            _ => {}
        }
        Ok(())
    }

    fn mail(&mut self, id: u64, question: MailQuestion) -> Call {
        let now = self.now;
        let Some(at) = self.at(id) else {
            return Ok(());
        };
        self.release(at)?;
        self.connections[at].plain.clear();
        self.connections[at].found = None;
        let Some(key) = question.key().cloned() else {
            let answer = MailAnswer::accept(Claim::Unrecorded);
            let session = &mut self.connections[at].session;
            session
                .answer_mail(now, question, answer)
                .map_err(refused)?;
            return Ok(());
        };
        let key = self.stored_under(&key);
        if self.manner.takeover == Takeover::GivesWay {
            for other in self.holders(&key, id) {
                self.supersede(other);
                self.pump(other)?;
                while self.has_work(other) {
                    self.work(other)?;
                }
                if self.dead {
                    return Err(StoreError::Crashed.into());
                }
            }
        }
        let claim = self.store.claim(&key);
        if self.manner.takeover == Takeover::Told {
            for other in self.holders(&key, id) {
                self.supersede(other);
            }
        }
        let Some(at) = self.at(id) else {
            return Ok(());
        };
        let connection = &mut self.connections[at];
        let answer = match claim {
            Ok(claim) => {
                let claim = match claim {
                    Claim::Claimed { generation, found } => {
                        connection.claim = Some((key.clone(), generation));
                        connection.found = found.as_ref().map(|record| record.length().get());
                        let forgets = self.mutant == Some(Mutant::FaultsForgotten);
                        let found = match found {
                            Some(record) if forgets && *record.state() == RecordState::Partial => {
                                let clean = alter::without_faults(&record, &key, self.lmtp);
                                let clean = match clean {
                                    Some(clean) if record.is_detached() => clean.detach(),
                                    Some(clean) => clean,
                                    None => *record,
                                };
                                Some(Box::new(clean))
                            }
                            found => found,
                        };
                        Claim::Claimed { generation, found }
                    }
                    Claim::Unrecorded => Claim::Unrecorded,
                };
                MailAnswer::accept(claim)
            }
            Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => {
                return Err(stop);
            }
            Err(Stop::Store(_)) => MailAnswer::Refuse(standard::LOCAL_ERROR.into()),
        };
        let session = &mut connection.session;
        session
            .answer_mail(now, question, answer)
            .map_err(refused)?;
        Ok(())
    }

    /// The key that the store is asked for.
    pub(super) fn stored_under(&self, key: &TransactionKey) -> TransactionKey {
        if self.breaks(Mutant::IdentityIgnored) {
            alter::without_identity(key)
        } else {
            key.clone()
        }
    }

    /// Sessions other than `id` that hold the key, or did so last.
    fn holders(&self, key: &TransactionKey, id: u64) -> Vec<u64> {
        let others = self.connections.iter().filter(|it| it.id != id);
        others.filter(|it| it.holds(key)).map(|it| it.id).collect()
    }

    fn supersede(&mut self, id: u64) {
        let now = self.now;
        if let Some(connection) = self.connection(id) {
            supersede(&mut connection.session, now);
        }
    }

    fn rcpt(&mut self, at: usize, question: RcptQuestion) -> Call {
        let now = self.now;
        let code = match question.line() {
            line if line.starts_with(b"RCPT TO:<no") => 550,
            line if line.starts_with(b"RCPT TO:<later") => 450,
            line if line.starts_with(b"RCPT TO:<grey") && self.manner.grey => 450,
            _ => 250,
        };
        let session = &mut self.connections[at].session;
        session
            .answer_rcpt(now, question, reply(code))
            .map_err(refused)?;
        Ok(())
    }

    fn data(&mut self, at: usize, question: DataQuestion) -> Call {
        let now = self.now;
        let answer = match question.claim().cloned() {
            None => DataAnswer::Proceed,
            Some(mut claim) => {
                claim.key = self.stored_under(&claim.key);
                match self.store.confirm(&claim) {
                    Ok(Confirmation::Current) => DataAnswer::Proceed,
                    Ok(other) => DataAnswer::Unconfirmed(other),
                    Err(Stop::Store(StoreError::Outdated)) => {
                        DataAnswer::Unconfirmed(Confirmation::Outdated)
                    }
                    Err(Stop::Store(StoreError::Failed | StoreError::Unclear)) => {
                        DataAnswer::Refuse(standard::LOCAL_ERROR.into())
                    }
                    Err(stop) => return Err(stop),
                }
            }
        };
        let session = &mut self.connections[at].session;
        session
            .answer_data(now, question, answer)
            .map_err(refused)?;
        Ok(())
    }

    fn content(&mut self, at: usize) -> Call {
        let now = self.now;
        let connection = &mut self.connections[at];
        let mut slices = Vec::new();
        let Some(range) = connection.session.poll_content(&mut slices) else {
            return Ok(());
        };
        let came: usize = slices.iter().map(|slice| slice.len()).sum();
        if range.end.get() - range.start.get() != came as u64 {
            return Err(Violation::new(Rule::Session, "content of another length").into());
        }
        let Some((key, generation)) = connection.claim.clone() else {
            if range.start.get() != connection.plain.len() as u64 {
                return Err(Violation::new(Rule::Session, "content out of place").into());
            }
            slices
                .iter()
                .for_each(|slice| connection.plain.extend_from_slice(slice));
            return Ok(());
        };
        let written = self.store.write(&key, generation, range.start, &slices);
        match &written {
            Err(Stop::Store(StoreError::Outdated)) => {
                supersede(&mut self.connections[at].session, now);
            }
            Err(Stop::Store(StoreError::Failed | StoreError::Unclear)) => self.fail(at)?,
            _ => {}
        }
        written
    }

    /// Content cannot be stored: told with 451, once that is so for all hosts.
    fn fail(&mut self, at: usize) -> Call {
        let now = self.now;
        let given_up = self.give_up(at);
        let session = &mut self.connections[at].session;
        // First of all: what could not be stored is in no record.
        let _ = session.fail_content(now, standard::LOCAL_ERROR);
        match given_up {
            Err(stop @ (Stop::Violation(_) | Stop::Store(StoreError::Crashed))) => Err(stop),
            Err(Stop::Store(_)) => {
                supersede(session, now);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Before a failure is told that no decision has made.
    pub(super) fn give_up(&mut self, at: usize) -> Call {
        match self.connections[at].claim.clone() {
            Some(_) if self.breaks(Mutant::FailureToldOfDetached) => Ok(()),
            Some((key, generation)) => self.store.give_up(&key, generation),
            None => Ok(()),
        }
    }

    fn keep(&mut self, at: usize, record: &Record) -> Call {
        let Some((key, generation)) = self.connections[at].claim.clone() else {
            return Err(Violation::new(Rule::Session, "a record without a claim").into());
        };
        if record.generation() != generation {
            return Err(Violation::new(Rule::Session, "a record of another claim").into());
        }
        self.store.keep(&key, record)
    }

    fn abandon(&mut self, at: usize, question: AbandonQuestion) -> Call {
        let now = self.now;
        let id = self.connections[at].id;
        let key = question.key().map(|key| self.stored_under(key));
        let running = self.running(id, key.as_ref());
        let answer = match running {
            Some(running) if self.withdraw(running)? => AbandonAnswer::Abandoned,
            _ => AbandonAnswer::TooLate,
        };
        if let Some(connection) = self.connection(id) {
            let session = &mut connection.session;
            session
                .answer_abandon(now, question, answer)
                .map_err(refused)?;
        }
        self.wake_all()
    }
}
