//! What runs did, counted.

use std::collections::BTreeMap;
use std::fmt;

/// What can happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A connection ended in the middle of something.
    Ended,
    /// A connection ended, and what was under way to the server arrived later.
    Overtaken,
    /// A connection was reset, and what was under way lost.
    Reset,
    /// A connection was lost, and at least one end heard nothing of it.
    HalfOpen,
    /// A connection was lost just as its client left an open 120, by DETA or RSET.
    LostBehind120,
    /// Octets were under way for minutes.
    Stalled,
    /// The process of a server was killed between two calls of its store.
    ServerKilled,
    /// The process of a server died in a call of its store, before or after it was done.
    ServerDiedInCall,
    /// The power failed at a step of the storage.
    PowerCut,
    /// A call of the store failed.
    CallFailed,
    /// A step of the storage failed, such as a sync.
    StepFailed,
    /// The disk was full.
    DiskFull,
    /// A server closed all its sessions with 421.
    Shutdown,
    /// A server did nothing at all for minutes.
    Paused,
    /// The clock of a server jumped ahead.
    ServerClockJumped,
    /// The process of a client was killed.
    ClientKilled,
    /// The process of a client died as it stored something, before or after it was done.
    ClientDiedStoring,
    /// The clock of a client jumped ahead.
    ClientClockJumped,
    /// The wall clock of a client jumped ahead by days: it gives up its transactions.
    WallClockJumped,
    /// Making a decision took minutes.
    SlowDecision,
    /// Whoever makes a decision gave up.
    FailedDecision,
    /// A decision was never made.
    HangingDecision,
    /// Leases of decisions expired although their holders lived.
    LeasesExpired,
}

/// What one run did, or many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Connections.
    pub attempts: u64,
    /// 355s.
    pub restarts: u64,
    /// Octets that they saved.
    pub octets_saved: u64,
    /// Copies delivered, to one recipient or more.
    pub delivered: u64,
    /// Transactions that the server refused, or deferred for good.
    pub refused: u64,
    /// 120s that a client got.
    pub interims: u64,
    /// Transactions that a client left to the server, by DETA.
    pub detached: u64,
    /// Messages that a client had left to the server, and took back.
    pub taken_back: u64,
    /// Failures that were reported by DSN.
    pub reported: u64,
    /// Transactions that a client aborted.
    pub aborted: u64,
    /// Transactions of which the client gave up to know the outcome.
    pub unknown: u64,
    /// The most attempts that a transaction took when nothing disturbed any more.
    pub attempts_in_the_end: u64,
    /// Simulated milliseconds.
    pub time: u64,
    /// Calls of the store.
    pub calls: u64,
    /// What happened, and how often.
    pub faults: BTreeMap<Fault, u64>,
    /// Stands for all that happened: octets, calls, answers and times. The same seed gives the
    /// same.
    pub digest: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Adds what another run did.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.messages += other.messages;
        self.attempts += other.attempts;
        self.restarts += other.restarts;
        self.octets_saved += other.octets_saved;
        self.delivered += other.delivered;
        self.refused += other.refused;
        self.interims += other.interims;
        self.detached += other.detached;
        self.taken_back += other.taken_back;
        self.reported += other.reported;
        self.aborted += other.aborted;
        self.unknown += other.unknown;
        self.attempts_in_the_end = self.attempts_in_the_end.max(other.attempts_in_the_end);
        self.time += other.time;
        self.calls += other.calls;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        self.digest = self.digest.rotate_left(1) ^ other.digest;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        writeln!(
            f,
            "{} runs, {} messages, {} connections, {} restarts that saved {} octets",
            self.runs, self.messages, self.attempts, self.restarts, self.octets_saved
        )?;
        writeln!(
            f,
            "{} copies delivered, {} transactions refused, {} unknown; {} calls of the store; \
             {} days",
            self.delivered,
            self.refused,
            self.unknown,
            self.calls,
            self.time / (24 * 3_600_000)
        )?;
        writeln!(
            f,
            "{} times 120, {} transactions detached, {} taken back, {} reported by DSN, {} aborted",
            self.interims, self.detached, self.taken_back, self.reported, self.aborted
        )?;
        writeln!(
            f,
            "at most {} attempts when nothing disturbs; digest {:016x}",
            self.attempts_in_the_end, self.digest
        )?;
        write!(f, "{faults} faults survived:")?;
        for (fault, count) in &self.faults {
            write!(f, " {fault:?} {count}")?;
        }
        Ok(())
    }
}
