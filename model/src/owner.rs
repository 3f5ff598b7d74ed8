//! What a store does for RDLV and DETA.

use smtp_checkpoint::checkpoint::Verdict;
use smtp_checkpoint::rdlv::{self, DetachAnswer, ResetAnswer};
use smtp_checkpoint::reply::standard;

use crate::fixture::{Seen, Stored};
use crate::rules::{Rule, Setup};
use crate::store::{Key, Stores};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Detached {
    #[default]
    No,
    /// By a broken rule: a crash forgets it.
    NotDurable,
    Yes,
}

impl Stores {
    /// Whether no other session, of whatever host, has claimed the decision since.
    pub(crate) fn holds(&self, host: u8, seen: &Seen) -> bool {
        self.is_current(host, seen.generation) && self.shared.taken == seen.taken
    }

    /// RSET in answer to 120.
    pub(crate) fn abort(&mut self, setup: &Setup, host: u8, seen: &Seen) -> ResetAnswer {
        let holds = self.holds(host, seen) || !setup.keeps(Rule::AbortNamesClaim);
        match self.shared.key {
            Key::Processing { host, .. } if holds => {
                self.shared.key = Key::Idle;
                self.shared.number += 1;
                self.shared.detached = Detached::No;
                self.host(host).record = None;
                ResetAnswer::Aborted
            }
            Key::Committed { .. } if holds => ResetAnswer::TooLate,
            _ => ResetAnswer::Outdated,
        }
    }

    /// DETA: the message is the server's.
    pub(crate) fn own(&mut self, setup: &Setup, host: u8, seen: &Seen) -> DetachAnswer {
        let holds = self.holds(host, seen) || !setup.keeps(Rule::OwnershipNamesClaim);
        if self.shared.key == Key::Idle || !holds {
            return DetachAnswer::Outdated;
        }
        self.shared.detached = if setup.keeps(Rule::OwnershipBeforeReply) {
            Detached::Yes
        } else {
            Detached::NotDurable
        };
        DetachAnswer::Owned
    }

    /// Whether a DSN is owed: the message is the server's, and has failed.
    pub(crate) fn owes_report(&self) -> bool {
        self.shared.detached != Detached::No
            && self.shared.key.completion().is_some_and(|completion| {
                rdlv::Decision::from(&completion) == rdlv::Decision::Refused
            })
    }

    /// Issues it. A restart is then answered 250 2.0.0, reported by DSN.
    pub(crate) fn report(&mut self) {
        if let Key::Committed {
            completed, before, ..
        } = &mut self.shared.key
        {
            let reported = Verdict::from(standard::REPORTED_BY_DSN).with_dsn_issued();
            let record = before.record().complete(&reported);
            *completed = Stored::of(&record.expect("a verdict on it"));
            self.shared.reports += 1;
            self.shared.detached = Detached::No;
        }
    }

    /// Whether a detached message waits for a decision that nobody makes.
    pub(crate) fn is_forgotten(&self, at: u8) -> bool {
        let is_here =
            |key: &Key| matches!(key, Key::Processing { host, expired: true, .. } if *host == at);
        self.shared.detached != Detached::No
            && is_here(&self.shared.key)
            && self.hosts[usize::from(at)].record.is_some()
    }

    /// A host that starts again decides on what it owns.
    pub(crate) fn recover(&mut self, host: u8) {
        if let Some(held) = self.host(host).record.clone() {
            self.decide(host, held);
        }
    }
}
