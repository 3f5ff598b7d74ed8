//! A store with somebody who looks at every call, and who can end the process at any of them.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Discard, Generation, Record, TransactionKey, Verdict,
};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::ResetAnswer;
use smtp_checkpoint::server::ClaimToConfirm;

use crate::audit::Audit;
use crate::log::Log;
use crate::message::Message;
use crate::store::{
    Decision, Delivered, Due, Reported, Standing, Store, StoreError, Trouble, Unsynced,
};
use crate::violation::{Held, Violation};

/// Why a call came to nothing.
#[derive(Debug, PartialEq)]
pub(crate) enum Stop {
    Store(StoreError),
    Violation(Violation),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

pub(crate) type Call<T = ()> = Result<T, Stop>;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// The process dies before anything is done.
    Before,
    /// All is done, and the process dies before it learns so.
    After,
    /// The call fails before anything is done, where it is one that may.
    Fails,
}

#[derive(Debug)]
pub(crate) struct Watched<S> {
    store: S,
    host: usize,
    audit: Rc<RefCell<Audit>>,
    log: Log,
    /// Calls so far, over all lives.
    pub(crate) calls: u64,
    pub(crate) blows: Vec<(u64, Blow)>,
    pub(crate) crashes: u64,
    pub(crate) failures: u64,
    /// Blows that fell, and troubles that came.
    pub(crate) died_in_call: u64,
    pub(crate) calls_failed: u64,
    pub(crate) power_cuts: u64,
    pub(crate) steps_failed: u64,
    pub(crate) disk_full: u64,
    /// The trouble that is, or was, to come.
    trouble: Option<Trouble>,
    /// A call ended so that only a restart tells what it did.
    pub(crate) is_unclear: bool,
}

impl<S: Store> Watched<S> {
    pub(crate) fn new(store: S, host: usize, audit: Rc<RefCell<Audit>>, log: Log) -> Self {
        Self {
            store,
            host,
            audit,
            log,
            calls: 0,
            blows: Vec::new(),
            crashes: 0,
            failures: 0,
            died_in_call: 0,
            calls_failed: 0,
            power_cuts: 0,
            steps_failed: 0,
            disk_full: 0,
            trouble: None,
            is_unclear: false,
        }
    }

    /// What the call answered, and what the caller learns of that; only what was done is watched.
    fn call<T>(
        &mut self,
        name: &str,
        may_fail: bool,
        call: impl FnOnce(&mut S) -> Result<T, StoreError>,
        watch: impl FnOnce(&mut Audit, usize, &Result<T, StoreError>) -> Held,
    ) -> Call<T> {
        let blow = self.blows.iter().find(|(at, _)| *at == self.calls);
        let blow = blow.map(|(_, blow)| *blow);
        self.calls += 1;
        let host = self.host;
        if blow == Some(Blow::Before) {
            self.died_in_call += 1;
            self.log
                .event(format_args!("store {host}"), name, b"(dies before)");
            return Err(StoreError::Crashed.into());
        }
        if blow == Some(Blow::Fails) && may_fail {
            self.failures += 1;
            self.calls_failed += 1;
            self.log
                .event(format_args!("store {host}"), name, b"(fails)");
            return Err(StoreError::Failed.into());
        }
        let answer = call(&mut self.store);
        let said = match &answer {
            Ok(_) if blow == Some(Blow::After) => "done, and dies",
            Ok(_) => "",
            Err(StoreError::Outdated) => "outdated",
            Err(StoreError::Failed) => "failed",
            Err(StoreError::Unclear) => "unclear",
            Err(StoreError::Crashed) => "power cut",
        };
        self.log
            .event(format_args!("store {host}"), name, said.as_bytes());
        match (&answer, self.trouble) {
            (Err(StoreError::Crashed), _) => self.power_cuts += 1,
            (Err(StoreError::Failed | StoreError::Unclear), trouble) => {
                self.failures += 1;
                match trouble {
                    Some(Trouble::Full) => self.disk_full += 1,
                    _ => self.steps_failed += 1,
                }
            }
            _ => {}
        }
        self.is_unclear |= matches!(answer, Err(StoreError::Unclear));
        watch(&mut self.audit.borrow_mut(), host, &answer)?;
        if blow == Some(Blow::After) {
            self.died_in_call += 1;
            return Err(StoreError::Crashed.into());
        }
        Ok(answer?)
    }

    pub(crate) fn claim(&mut self, key: &TransactionKey) -> Call<Claim> {
        self.call(
            "claim",
            false,
            |store| store.claim(key),
            |audit, host, claim| audit.claim(host, key, claim),
        )
    }

    pub(crate) fn confirm(&mut self, claim: &ClaimToConfirm) -> Call<Confirmation> {
        self.call(
            "confirm",
            false,
            |store| store.confirm(claim),
            |audit, host, confirmation| audit.confirm(host, claim, confirmation),
        )
    }

    pub(crate) fn write(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        start: OctetOffset,
        content: &[Bytes],
    ) -> Call {
        self.call(
            "write",
            true,
            |store| store.write(key, generation, start, content),
            |audit, host, written| {
                let octets = content.concat();
                audit.write(host, key, generation, start.get(), &octets, written)
            },
        )
    }

    pub(crate) fn keep(&mut self, key: &TransactionKey, record: &Record) -> Call {
        self.call(
            "keep",
            true,
            |store| store.keep(key, record),
            |audit, host, kept| audit.keep(host, key, record, kept),
        )
    }

    pub(crate) fn begin(&mut self, key: &TransactionKey, record: &Record) -> Call<Decision> {
        self.call(
            "begin",
            true,
            |store| store.begin(key, record),
            |audit, host, begun| audit.begin(host, key, record, begun),
        )
    }

    pub(crate) fn commit(
        &mut self,
        key: &TransactionKey,
        decision: Decision,
        verdict: &Verdict,
    ) -> Call {
        self.call(
            "commit",
            false,
            |store| store.commit(key, decision, verdict),
            |audit, host, committed| audit.commit(host, key, decision, verdict, committed),
        )
    }

    pub(crate) fn withdraw(&mut self, key: &TransactionKey, decision: Decision) -> Call {
        self.call(
            "withdraw",
            false,
            |store| store.withdraw(key, decision),
            |audit, host, withdrawn| audit.withdraw(host, key, decision, withdrawn),
        )
    }

    pub(crate) fn look(&mut self, key: &TransactionKey, generation: Generation) -> Call<Standing> {
        self.call(
            "look",
            false,
            |store| store.look(key, generation),
            |audit, host, standing| audit.look(host, key, generation, standing),
        )
    }

    pub(crate) fn discard(&mut self, discard: &Discard) -> Call {
        self.call(
            "discard",
            false,
            |store| store.discard(discard),
            |audit, host, _| {
                audit.discard(host, discard);
                Ok(())
            },
        )
    }

    pub(crate) fn deliver(
        &mut self,
        envelope: &Envelope,
        verdict: &Verdict,
        content: &[u8],
    ) -> Call {
        self.call(
            "deliver",
            true,
            |store| store.deliver(envelope, verdict, content),
            |_, _, _| Ok(()),
        )
    }

    /// Which host this is.
    pub(crate) fn host(&self) -> usize {
        self.host
    }

    pub(crate) fn detaches(&self) -> bool {
        self.store.detaches()
    }

    pub(crate) fn give_up(&mut self, key: &TransactionKey, generation: Generation) -> Call {
        self.call(
            "give up",
            true,
            |store| store.give_up(key, generation),
            |audit, _, given_up| {
                audit.give_up(key, given_up);
                Ok(())
            },
        )
    }

    pub(crate) fn abort(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Call<ResetAnswer> {
        self.call(
            "abort",
            true,
            |store| store.abort(key, generation),
            |audit, host, answer| audit.abort(host, key, generation, answer),
        )
    }

    pub(crate) fn detach(&mut self, key: &TransactionKey, generation: Generation) -> Call {
        self.call(
            "detach",
            true,
            |store| store.detach(key, generation),
            |audit, host, detached| audit.detach(host, key, generation, detached),
        )
    }

    pub(crate) fn detach_unrecorded(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        content: &[u8],
    ) -> Call<Decision> {
        self.call(
            "detach unrecorded",
            true,
            |store| store.detach_unrecorded(key, record, content),
            |audit, host, begun| {
                audit.detach_unrecorded(host, key, record, begun);
                Ok(())
            },
        )
    }

    pub(crate) fn report_unrecorded(&mut self, report: Reported) -> Call {
        self.call(
            "report unrecorded",
            true,
            |store| store.report_unrecorded(report),
            |_, _, _| Ok(()),
        )
    }

    pub(crate) fn take_back(&mut self, key: &TransactionKey, generation: Generation) -> Call {
        self.call(
            "take back",
            false,
            |store| store.take_back(key, generation),
            |audit, _, taken| {
                audit.take_back(key, generation, taken);
                Ok(())
            },
        )
    }

    /// Whether it cannot be known who was told of a failure of this message.
    pub(crate) fn is_excused(&self, message: &Message) -> bool {
        self.audit.borrow().is_excused(|mail| message.is_from(mail))
    }

    /// Whether the message under this key is, or may be, the server's.
    pub(crate) fn is_owned(&self, key: &TransactionKey) -> bool {
        self.audit.borrow().is_owned(key)
    }

    pub(crate) fn due(&mut self) -> Vec<TransactionKey> {
        self.store.due()
    }

    pub(crate) fn take_duty(&mut self, key: &TransactionKey) -> Call<Option<Due>> {
        self.call(
            "take duty",
            true,
            |store| store.take_duty(key),
            |audit, host, due| audit.take_duty(host, key, due),
        )
    }

    pub(crate) fn report(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        report: Reported,
    ) -> Call {
        self.call(
            "report",
            true,
            |store| store.report(key, record, report),
            |audit, _, reported| audit.report(key, record, reported),
        )
    }

    pub(crate) fn reported(&mut self) -> Vec<Reported> {
        self.store.reported()
    }

    pub(crate) fn release(&mut self, key: &TransactionKey, generation: Generation) {
        self.audit.borrow_mut().release(self.host, key, generation);
        self.store.release(key, generation);
    }

    pub(crate) fn delivered(&mut self) -> Vec<Delivered> {
        self.store.delivered()
    }

    pub(crate) fn restart(&mut self, unsynced: Unsynced) {
        self.crashes += 1;
        self.is_unclear = false;
        let what = format!("restarts, unsynced {unsynced:?}");
        self.log
            .event(format_args!("store {}", self.host), &what, b"");
        self.audit.borrow_mut().died(self.host);
        self.store.restart(unsynced);
    }

    pub(crate) fn expire_leases(&mut self) {
        self.log
            .event(format_args!("store {}", self.host), "leases expire", b"");
        self.audit.borrow_mut().leases_expired();
        self.store.expire_leases();
    }

    pub(crate) fn steps(&self) -> u64 {
        self.store.steps()
    }

    pub(crate) fn trouble_at(&mut self, step: u64, trouble: Trouble) {
        self.trouble = Some(trouble);
        self.store.trouble_at(step, trouble);
    }

    pub(crate) fn end_of_trouble(&mut self) {
        self.store.end_of_trouble();
    }
}
