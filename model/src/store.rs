//! The stores of the hosts, and what all hosts see: each method is one step of a store.
//!
//! Claims, partial records and content are of one host; the state of the key (idle, processing,
//! committed), completion records, ownership and delivered messages are shared. All that is shared
//! is durable at once, and so is a partial record; content is durable once it is synced. A claim
//! is in memory, and dies with its host as decisions and advice do.

use std::collections::BTreeMap;

use smtp_checkpoint::checkpoint::{Completion, Confirmation, Generation, Record, RecordState};

use crate::fixture::{Advice, Found, Seen, Stands, Stored, lines, octets, verdict};
use crate::owner::Detached;
use crate::rules::{Rule, Setup};

/// Content: line numbers, of which so many are durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) lines: Vec<u8>,
    pub(crate) synced: u8,
}

/// A partial record.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Held {
    pub(crate) stored: Stored,
    pub(crate) segment: u8,
}

/// A decision that is being made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Decision {
    pub(crate) number: u64,
    pub(crate) stored: Stored,
    pub(crate) segment: u8,
    /// What it came to, where a broken rule commits it later.
    pub(crate) verdict: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Host {
    pub(crate) generation: Generation,
    pub(crate) record: Option<Held>,
    pub(crate) segments: BTreeMap<u8, Segment>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) advice: Vec<Advice>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Key {
    #[default]
    Idle,
    Processing {
        host: u8,
        stored: Stored,
        /// The lease has expired, or its holder is dead.
        expired: bool,
    },
    Committed {
        number: u64,
        completed: Stored,
        /// The record without its completion.
        before: Stored,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Shared {
    pub(crate) number: u64,
    /// Counts the claims that found a decision; with RDLV only.
    pub(crate) taken: u64,
    pub(crate) key: Key,
    pub(crate) detached: Detached,
    pub(crate) delivered: u8,
    pub(crate) altered: bool,
    /// Since the last record was dropped.
    pub(crate) commits: u8,
    /// Failure DSNs issued.
    pub(crate) reports: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Stores {
    pub(crate) hosts: Vec<Host>,
    pub(crate) shared: Shared,
}

/// The claim of a session is not the current one, or the key has moved on: 421.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outdated;

/// What a session that awaits a decision finds.
pub(crate) enum Look {
    Running,
    Decided(Completion),
    /// It may decide anew, under this decision number.
    Withdrawn(u64),
    Gone,
}

impl Key {
    pub(crate) fn completion(&self) -> Option<Completion> {
        match self {
            Self::Committed { completed, .. } => match completed.record().state() {
                RecordState::Committed(completion) => Some(completion.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Stores {
    pub(crate) fn new(hosts: u8) -> Self {
        Self {
            hosts: vec![Host::default(); usize::from(hosts)],
            shared: Shared::default(),
        }
    }

    pub(crate) fn host(&mut self, host: u8) -> &mut Host {
        &mut self.hosts[usize::from(host)]
    }

    pub(crate) fn is_current(&self, host: u8, generation: Generation) -> bool {
        self.hosts[usize::from(host)].generation == generation
    }

    /// Whoever finds a lease expired makes the record partial, with a new number. A detached
    /// message is the server's: it stays, and is decided anew.
    fn take_over_expired(&mut self, setup: &Setup) {
        let detached = self.shared.detached != Detached::No && setup.keeps(Rule::DetachedStays);
        if matches!(self.shared.key, Key::Processing { expired: true, .. }) && !detached {
            self.shared.key = Key::Idle;
            self.shared.number += 1;
        }
    }

    /// What is held under the key.
    pub(crate) fn find(&mut self, setup: &Setup, host: u8) -> Option<Found> {
        self.take_over_expired(setup);
        let number = self.shared.number;
        let (stored, state) = match &self.shared.key {
            Key::Committed { completed, .. } => (completed, Stands::Committed),
            Key::Processing { stored, .. } => (stored, Stands::Processing(number)),
            Key::Idle => {
                let held = self.hosts[usize::from(host)].record.as_ref()?;
                (&held.stored, Stands::Partial)
            }
        };
        Some(Found {
            lines: lines(stored.record().length()),
            stored: stored.clone(),
            state,
        })
    }

    /// Takes the key for a session, cuts the content to the length of the record.
    pub(crate) fn raise(&mut self, setup: &Setup, host: u8, seen: &mut Seen) -> Option<u8> {
        let found = seen.found.as_ref();
        let made = found.map(|found| found.record().generation());
        let is_partial = self.shared.key == Key::Idle;
        let shares = setup.interims > 0 && setup.keeps(Rule::ClaimOfDecisionIsShared);
        self.shared.taken += u64::from(shares && !is_partial);
        seen.taken = self.shared.taken;
        let host = self.host(host);
        let before = host.generation;
        let raise = setup.keeps(Rule::ClaimFences) || before == Generation(0);
        host.generation = Generation(before.0.max(made.unwrap_or_default().0) + u64::from(raise));
        let segment = host.record.as_ref().map(|held| held.segment);
        if let (Some(found), Some(segment), true) = (found, segment, is_partial) {
            let content = host.segments.get_mut(&segment).expect("its content");
            if setup.keeps(Rule::ContentHasTheLength) {
                content.lines.truncate(found.lines.into());
                content.synced = content.synced.min(found.lines);
            }
        }
        seen.generation = host.generation;
        segment
    }

    /// How many octets below an announced offset would survive.
    pub(crate) fn durable(&self, host: u8) -> u64 {
        match &self.shared.key {
            Key::Committed { before, .. } | Key::Processing { stored: before, .. } => {
                before.record().length().get()
            }
            Key::Idle => {
                let host = &self.hosts[usize::from(host)];
                let segment = host.record.as_ref().map(|held| held.segment);
                let content = segment.and_then(|segment| host.segments.get(&segment));
                content.map_or(0, |content| octets(content.synced).get())
            }
        }
    }

    /// A data command: generation and length. What begins afresh does so in one step.
    pub(crate) fn confirm(
        &mut self,
        setup: &Setup,
        host: u8,
        generation: Generation,
        (length, fresh): (u8, bool),
        segment: &mut Option<u8>,
    ) -> Confirmation {
        if !self.is_current(host, generation) {
            return Confirmation::Outdated;
        }
        let complete = match &self.shared.key {
            Key::Committed { before, .. } | Key::Processing { stored: before, .. } => {
                Some(lines(before.record().length()))
            }
            Key::Idle => None,
        };
        let looks = setup.keeps(Rule::ContentHasTheLength);
        let host = self.host(host);
        let found = match (complete, *segment) {
            (Some(found), _) if looks || length == found => found,
            (_, _) if fresh => {
                let free = (0..).find(|id| !host.segments.contains_key(id));
                *segment = free;
                host.segments
                    .extend(free.map(|id| (id, Segment::default())));
                host.record = None;
                0
            }
            (_, Some(segment)) => host.segments[&segment].lines.len() as u8,
            (_, None) => 0,
        };
        if found == length || !looks {
            Confirmation::Current
        } else {
            Confirmation::WrongLength
        }
    }

    pub(crate) fn write(
        &mut self,
        host: u8,
        generation: Generation,
        segment: u8,
        line: u8,
    ) -> Result<(), Outdated> {
        if !self.is_current(host, generation) {
            return Err(Outdated);
        }
        let content = self.host(host).segments.get_mut(&segment);
        content.expect("its segment").lines.push(line);
        Ok(())
    }

    /// Syncs the content, then stores a partial record behind it.
    pub(crate) fn keep(
        &mut self,
        setup: &Setup,
        host: u8,
        segment: u8,
        record: &Record,
    ) -> Result<(), Outdated> {
        if !self.is_current(host, record.generation()) {
            return Err(Outdated);
        }
        let host = self.host(host);
        if setup.keeps(Rule::ContentBeforeRecord) {
            host.sync(segment);
        }
        host.record = Some(Held {
            stored: Stored::of(record),
            segment,
        });
        Ok(())
    }

    /// The decision begins: a compare-and-set of the key. It gets a number of its own.
    pub(crate) fn begin(
        &mut self,
        setup: &Setup,
        host: u8,
        seen: &mut Seen,
        segment: u8,
        record: &Record,
    ) -> Result<u64, Outdated> {
        let content = &self.hosts[usize::from(host)].segments[&segment];
        let is_current = self.is_current(host, record.generation())
            && (content.lines.len() as u8 == lines(record.length())
                || !setup.keeps(Rule::ContentHasTheLength));
        let is_idle = self.shared.key == Key::Idle;
        let is_same = self.shared.number == seen.number;
        let compares = setup.keeps(Rule::OneDecision);
        if !is_current && setup.keeps(Rule::GenerationAtCommit)
            || !is_idle && compares
            || !is_same && compares && setup.keeps(Rule::NumberOfTheClaim)
        {
            return Err(Outdated);
        }
        let held = Held {
            stored: Stored::of(record),
            segment,
        };
        self.host(host).sync(segment);
        self.host(host).record = Some(held.clone());
        self.shared.taken += u64::from(setup.interims > 0);
        seen.taken = self.shared.taken;
        Ok(self.decide(host, held))
    }

    /// A failure will be told that no decision has made: from here on none begins under the number
    /// that this claim read, or an older one.
    pub(crate) fn give_up(&mut self, setup: &Setup, host: u8, seen: &Seen) -> Result<(), Outdated> {
        if !self.is_current(host, seen.generation) {
            return Err(Outdated);
        }
        if setup.keeps(Rule::FailureIsShared) {
            if self.shared.key != Key::Idle || self.shared.number != seen.number {
                return Err(Outdated);
            }
            self.shared.number += 1;
        }
        Ok(())
    }

    pub(crate) fn decide(&mut self, host: u8, held: Held) -> u64 {
        self.shared.number += 1;
        let number = self.shared.number;
        self.shared.key = Key::Processing {
            host,
            stored: held.stored.clone(),
            expired: false,
        };
        self.host(host).decisions.push(Decision {
            number,
            stored: held.stored,
            segment: held.segment,
            verdict: None,
        });
        number
    }

    /// A decision is made: message and completion record in one step. False where it is refused.
    pub(crate) fn commit(&mut self, setup: &Setup, host: u8, at: usize, code: u16) -> bool {
        let decision = self.host(host).decisions[at].clone();
        let runs = matches!(self.shared.key, Key::Processing { .. })
            && self.shared.number == decision.number;
        if decision.verdict.is_none() && !runs && setup.keeps(Rule::NumberAtCommit) {
            self.host(host).decisions.remove(at);
            return false;
        }
        if decision.verdict.is_none() && !setup.keeps(Rule::CommitIsOneStep) {
            self.shared.key = Key::Idle;
            self.host(host).record = None;
            self.host(host).decisions[at].verdict = Some(code);
            return true;
        }
        self.host(host).decisions.remove(at);
        let record = decision.stored.record();
        let completed = record.complete(&verdict(code)).expect("a verdict on it");
        if verdict(code).accepts() {
            let content = &self.host(host).segments[&decision.segment].lines;
            let message = 0..lines(record.length());
            self.shared.altered |= !message.eq(content.iter().copied());
            self.shared.delivered += 1;
        }
        self.shared.commits += 1;
        let of_it = |held: &Held| held.segment == decision.segment;
        if self.host(host).record.as_ref().is_some_and(of_it) {
            self.host(host).record = None;
        }
        self.shared.key = Key::Idle;
        if setup.keeps(Rule::CompletionKept) {
            self.shared.key = Key::Committed {
                number: decision.number,
                completed: Stored::of(&completed),
                before: decision.stored,
            };
        }
        true
    }

    /// What a session finds that awaits a decision.
    pub(crate) fn look(&mut self, setup: &Setup, host: u8, seen: &Seen) -> Look {
        if !self.holds(host, seen) {
            return Look::Gone;
        }
        if let Some(completion) = self.shared.key.completion() {
            return Look::Decided(completion);
        }
        if !matches!(self.shared.key, Key::Processing { .. }) {
            return Look::Gone;
        }
        self.take_over_expired(setup);
        match (&self.shared.key, &self.hosts[usize::from(host)].record) {
            (Key::Processing { .. }, _) => Look::Running,
            (_, Some(_)) => Look::Withdrawn(self.shared.number),
            (_, None) => Look::Gone,
        }
    }

    /// Carries out advice. True where something was dropped.
    pub(crate) fn discard(&mut self, setup: &Setup, host: u8, advice: &Advice) -> bool {
        let Advice(discard) = advice;
        if !self.is_current(host, discard.generation) {
            return false;
        }
        let applies = |stored: &Stored| {
            discard.applies_to(&stored.record(), discard.generation)
                || !setup.keeps(Rule::DiscardIsConditional)
        };
        let mut dropped = false;
        let record = &mut self.host(host).record;
        if record.as_ref().is_some_and(|held| applies(&held.stored)) {
            *record = None;
            dropped = true;
        }
        if matches!(&self.shared.key, Key::Committed { completed, .. } if applies(completed)) {
            self.shared.key = Key::Idle;
            self.shared.commits = 0;
            dropped = true;
        }
        dropped
    }

    /// The process dies and starts again.
    pub(crate) fn crash(&mut self, at: u8) {
        let host = self.host(at);
        host.generation = Generation(0);
        host.decisions.clear();
        host.advice.clear();
        for segment in host.segments.values_mut() {
            segment.lines.truncate(segment.synced.into());
        }
        // A record whose content is shorter than its length has lost octets.
        let (record, segments) = (&mut host.record, &host.segments);
        let is_whole = |held: &Held| {
            segments[&held.segment].lines.len() as u8 >= lines(held.stored.record().length())
        };
        if !record.as_ref().is_some_and(is_whole) {
            *record = None;
        }
        if let Key::Processing { host, expired, .. } = &mut self.shared.key {
            *expired |= *host == at;
        }
        if self.shared.detached == Detached::NotDurable {
            self.shared.detached = Detached::No;
        }
    }
}

impl Host {
    fn sync(&mut self, segment: u8) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.synced = segment.lines.len() as u8;
        }
    }

    /// Drops the content that nobody can come to any more.
    pub(crate) fn tidy(&mut self, in_use: &[u8]) {
        let record = self.record.as_ref().map(|held| held.segment);
        let decisions: Vec<u8> = (self.decisions.iter())
            .map(|decision| decision.segment)
            .collect();
        self.segments
            .retain(|id, _| record == Some(*id) || decisions.contains(id) || in_use.contains(id));
    }
}
