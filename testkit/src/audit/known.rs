//! What is known of one key, and whether an answer fits it.

use smtp_checkpoint::checkpoint::{Completion, Generation, Record, Transfer};

use super::{Committed, Known, OnHost, Running, broken};
use crate::store::Decision;
use crate::violation::{Held, Rule};

impl Known {
    pub(super) fn on(&mut self, host: usize) -> &mut OnHost {
        self.hosts.entry(host).or_default()
    }

    pub(super) fn is_committed(&self) -> bool {
        (self.committed.as_ref()).is_some_and(|committed| !committed.may_be_gone)
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.doubtful)
    }

    pub(super) fn is_decided_on(&self, host: usize) -> bool {
        let running = self.running.as_ref();
        self.is_committed() || running.is_some_and(|it| it.host == host && !it.doubtful)
    }

    pub(super) fn complete_length(&self) -> Option<u64> {
        let running = self.running.as_ref();
        let committed = self.committed.as_ref().map(|committed| committed.length);
        committed.or_else(|| running.map(|running| running.record.length().get()))
    }

    /// Whether nothing was decided since the claim: an idle key need not have been idle all the
    /// time, and may then be refused.
    pub(super) fn is_as_claimed(&self, host: usize) -> bool {
        let on = self.hosts.get(&host);
        self.unclear.is_none() && on.is_some_and(|on| on.turns == self.turns)
    }

    /// Whether all content came under the claim of this record.
    pub(super) fn has_all(&self, host: usize, record: &Record) -> bool {
        let on = self.hosts.get(&host);
        let content = on.and_then(|on| on.content.get(&record.generation()));
        content.is_some_and(|content| content.len() as u64 == record.length().get())
    }

    pub(super) fn end_running(&mut self) {
        if let Some(running) = self.running.take() {
            self.turns += 1;
            self.ended.insert((running.host, running.decision));
        }
    }

    pub(super) fn is_now_committed(
        &mut self,
        host: usize,
        completion: Completion,
        length: u64,
        generation: Generation,
    ) {
        self.committed = Some(Committed {
            completion,
            or_else: None,
            generation,
            length,
            may_be_gone: false,
        });
        self.commits += 1;
        self.unclear = None;
        self.dropped = None;
        let on = self.on(host);
        on.announced = None;
        on.content.clear();
    }

    /// No decision may be in force, and none committed.
    pub(super) fn found_no_decision(&mut self) -> Held {
        if self.is_committed() {
            return broken(Rule::AtMostOnce, "the completion record is gone");
        }
        if self.running.is_some() && !self.is_doubtful() {
            return broken(Rule::OneCommit, "a decision that runs is not found");
        }
        self.end_running();
        if let Some(committed) = self.committed.take() {
            self.dropped = Some(committed.completion);
        }
        self.unclear = None;
        Ok(())
    }

    pub(super) fn found_nothing(&mut self, host: usize) -> Held {
        self.found_no_decision()?;
        match self.on(host).announced {
            None => Ok(()),
            Some(length) => broken(
                Rule::OffsetIsDurable,
                format!("{length} octets had been announced, and nothing is found"),
            ),
        }
    }

    pub(super) fn found_partial(
        &mut self,
        host: usize,
        generation: Generation,
        record: &Record,
    ) -> Held {
        self.found_no_decision()?;
        let on = self.on(host);
        let marked = |kept: &Record| kept == record || kept.detach() == *record;
        if !on.kept.iter().any(marked) {
            return broken(
                Rule::IdentitiesApart,
                "a record is found that was never stored under this key",
            );
        }
        let length = record.length().get();
        if let Some(announced) = on.announced.filter(|announced| *announced > length) {
            return broken(
                Rule::OffsetIsDurable,
                format!("{announced} octets had been announced, {length} are found"),
            );
        }
        on.announced = Some(length);
        let octets = usize::try_from(length).unwrap_or(usize::MAX);
        let content = on.content.get(&record.generation());
        let Some(content) = content.and_then(|content| content.get(..octets)) else {
            on.content.remove(&generation);
            return Ok(());
        };
        let mid_line = !content.is_empty() && !content.ends_with(b"\r\n");
        if record.transfer() == Transfer::Data && mid_line {
            return broken(Rule::Session, "an offset of DATA is no line start");
        }
        let content = content.to_vec();
        on.content.insert(generation, content);
        Ok(())
    }

    pub(super) fn found_processing(&mut self, record: &Record) -> Held {
        if self.is_committed() {
            return broken(Rule::AtMostOnce, "a committed decision is found running");
        }
        match &self.running {
            Some(running) if running.record.length() == record.length() => Ok(()),
            None if self.unclear.is_some() || self.owned.is_some() => Ok(()),
            _ => broken(Rule::Contract, "a decision is found that does not run"),
        }
    }

    pub(super) fn found_committed(&mut self, record: &Record, completion: &Completion) -> Held {
        self.told(completion)?;
        if self.committed.is_none() {
            self.end_running();
            self.completed = Some(record.clone());
            self.owes_nothing();
            let length = record.length().get();
            for host in self.hosts.values_mut() {
                host.announced = None;
            }
            self.commits += 1;
            self.committed = Some(Committed {
                completion: completion.clone(),
                or_else: None,
                generation: record.generation(),
                length,
                may_be_gone: false,
            });
            self.unclear = None;
        }
        Ok(())
    }

    /// This is said to be the outcome.
    pub(super) fn told(&mut self, completion: &Completion) -> Held {
        if let Some(committed) = &mut self.committed {
            if let Some(other) = committed.or_else.take_if(|other| other == completion) {
                committed.completion = other;
            }
        }
        let known = self.committed.as_ref().map(|it| &it.completion);
        let expected = known.or(self.unclear.as_ref());
        let again = known.is_none() && self.dropped.as_ref() == Some(completion);
        if expected == Some(completion) || again {
            Ok(())
        } else {
            broken(
                Rule::OutcomeIsTrue,
                "an outcome is told that was not committed",
            )
        }
    }

    /// Whatever became of decisions so far, the claim of this host knows it.
    pub(super) fn is_as_it_stands(&mut self, host: usize) {
        let (turns, commits) = (self.turns, self.commits);
        let on = self.on(host);
        (on.turns, on.commits) = (turns, commits);
    }

    pub(super) fn start(&mut self, host: usize, decision: Decision, record: &Record) {
        self.end_running();
        self.on(host).kept.push(record.withdraw());
        if let Some(owned) = &mut self.owned {
            owned.generation = record.generation();
        }
        self.mail = record.envelope().mail_line().to_vec();
        self.running = Some(Running {
            host,
            decision,
            record: record.clone(),
            doubtful: false,
        });
    }
}
