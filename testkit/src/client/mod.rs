//! Two clients: one written here from RFC 1845, as simple as can be, as a check on both sessions;
//! and the library's.

mod caller;
mod library;
mod simple;

use smtp_checkpoint::time::Timestamp;

pub(crate) use self::caller::{Attempt, Caller, Who};
pub(crate) use self::library::BEGINNING;
pub(crate) use self::simple::Memory;
use crate::violation::Held;
use crate::watched::Blow;

/// What the final replies said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// One, or with LMTP one for each accepted recipient.
    pub(crate) codes: Vec<u16>,
    /// Which recipients were accepted.
    pub(crate) accepted: Vec<usize>,
}

impl Told {
    /// The recipients that have the message now.
    pub(crate) fn served(&self) -> Vec<usize> {
        let code = |at: usize| match self.codes[..] {
            [code] => Some(code),
            _ => self.codes.get(at).copied(),
        };
        let accepted = self.accepted.iter().enumerate();
        accepted
            .filter(|(at, _)| code(*at).is_some_and(|code| code / 100 == 2))
            .map(|(_, recipient)| *recipient)
            .collect()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The final replies are stored.
    Decided(Told),
    /// Try again under the same TRANSID; after 421 not at once.
    Again { closed: bool },
    /// Try again under a new one, which is stored.
    StartOver,
    /// Nothing will tell what became of the message.
    Unknown,
    /// The server owns it, for these recipients.
    Detached(Vec<usize>),
    /// It was aborted: nothing of it was or will be delivered.
    Aborted,
    /// The server wants none of it, and nothing of it can have been delivered.
    Declined,
    /// The client's process died.
    Crashed,
}

/// What any client can do: octets and time in, octets out.
pub(crate) trait Client {
    fn input(&mut self, now: Timestamp, octets: &[u8]) -> Held;
    /// At most so many octets.
    fn output(&mut self, now: Timestamp, most: usize) -> Held<Vec<u8>>;
    /// The connection is lost.
    fn lost(&mut self, now: Timestamp) -> Held;
    fn deadline(&self) -> Option<Timestamp>;
    fn tick(&mut self, now: Timestamp) -> Held;
    /// How the attempt ended, once it has.
    fn end(&self) -> Option<End>;
    /// The offset of the last 355 of this attempt.
    fn offset(&self) -> Option<u64>;
    /// How many 120s came.
    fn interims(&self) -> u64 {
        0
    }
    /// Ready to hang up.
    fn is_over(&self) -> bool;
}

/// What a client has on disk. Every call may be its last.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    pub(crate) durable: T,
    pub(crate) calls: u64,
    pub(crate) blows: Vec<(u64, Blow)>,
    pub(crate) crashes: u64,
}

impl<T> Journal<T> {
    pub(crate) fn new(durable: T) -> Self {
        Self {
            durable,
            calls: 0,
            blows: Vec::new(),
            crashes: 0,
        }
    }

    /// Stores; false where the client died of it.
    pub(crate) fn store(&mut self, value: T) -> bool {
        let blow = self.blows.iter().find(|(at, _)| *at == self.calls);
        let blow = blow.map(|(_, blow)| *blow);
        self.calls += 1;
        if blow != Some(Blow::Before) {
            self.durable = value;
        }
        let dies = matches!(blow, Some(Blow::Before | Blow::After));
        self.crashes += u64::from(dies);
        !dies
    }
}
