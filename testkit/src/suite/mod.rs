//! Suites: every case of a kind, one call each.

mod crashes;
mod cuts;
mod detached;
mod explore;
mod fencing;
mod hosts;
mod identities;
mod lmtp;
mod outlive;

use std::fmt;

use crate::host::{Manner, Offer};
use crate::log::Log;
use crate::mutant::Mutant;
use crate::store::Store;
use crate::violation::{Failure, Held};
use crate::wire::{Course, World};

/// All suites for one store.
///
/// Each case begins with an empty store and ends when all messages are through. What is checked is
/// in [`Rule`](crate::Rule); which cases there are, in the methods.
///
/// ```
/// use smtp_checkpoint_testkit::{ModelStore, Suite};
///
/// let mut suite = Suite::new(ModelStore::new).every(500);
/// println!("{}", suite.cuts()?);
/// println!("{}", suite.crashes()?);
/// println!("{}", suite.fencing()?);
/// println!("{}", suite.lmtp()?);
/// println!("{}", suite.identities()?);
/// println!("{}", suite.detached()?);
/// println!("{}", suite.two_hosts()?);
/// # Ok::<(), smtp_checkpoint_testkit::Failure>(())
/// ```
#[derive(Debug)]
pub struct Suite<F> {
    open: F,
    every: u64,
    mutant: Option<Mutant>,
    report: Report,
    /// Cases met so far, run or not.
    met: u64,
}

/// What a suite did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The name of the suite.
    pub suite: &'static str,
    /// Cases run.
    pub cases: u64,
    /// Connections made.
    pub attempts: u64,
    /// 355s.
    pub restarts: u64,
    /// Octets that they saved.
    pub octets_saved: u64,
    /// Processes that died, of a server or a client.
    pub crashes: u64,
    /// Calls of the store that failed.
    pub failures: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} cases, {} connections, {} restarts that saved {} octets, {} crashes, \
             {} failures",
            self.suite,
            self.cases,
            self.attempts,
            self.restarts,
            self.octets_saved,
            self.crashes,
            self.failures
        )
    }
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// Suites for the store that `open` makes, empty each time.
    pub fn new(open: F) -> Self {
        Self {
            open,
            every: 1,
            mutant: None,
            report: Report::default(),
            met: 0,
        }
    }

    /// Runs one case of so many only, for stores that take their time. All by default.
    #[must_use]
    pub fn every(mut self, cases: u64) -> Self {
        self.every = cases.max(1);
        self
    }

    /// Breaks a rule of the sessions, to see it noticed. Rules of a store are broken by the store.
    #[must_use]
    pub fn breaking(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// All suites, one after the other; [`detached`](Self::detached) and
    /// [`two_hosts`](Self::two_hosts) where the store has what they need.
    ///
    /// # Errors
    ///
    /// The first case that failed.
    pub fn all(&mut self) -> Result<Vec<Report>, Failure> {
        let mut reports = vec![
            self.cuts()?,
            self.crashes()?,
            self.fencing()?,
            self.lmtp()?,
            self.identities()?,
        ];
        if (self.open)().detaches() {
            reports.push(self.detached()?);
        }
        if (self.open)().another_host().is_some() {
            reports.push(self.two_hosts()?);
        }
        Ok(reports)
    }

    fn begin(&mut self, suite: &'static str) {
        self.report = Report {
            suite,
            ..Report::default()
        };
        self.met = 0;
    }

    fn end(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }

    /// Runs a case, if it is one that is run.
    fn case<T>(
        &mut self,
        name: impl FnOnce() -> String,
        run: impl Fn(&mut Self, &Log) -> Held<T>,
    ) -> Result<Option<T>, Failure> {
        let met = self.met;
        self.met += 1;
        if met % self.every != 0 {
            return Ok(None);
        }
        self.must(name, run).map(Some)
    }

    /// Runs a case on which others depend.
    fn must<T>(
        &mut self,
        name: impl FnOnce() -> String,
        run: impl Fn(&mut Self, &Log) -> Held<T>,
    ) -> Result<T, Failure> {
        self.report.cases += 1;
        run(self, &Log::default()).map_err(|violation| {
            // Once more, to tell what happened.
            let log = Log::in_words();
            let again = run(self, &log).err();
            Failure {
                violation: again.unwrap_or(violation),
                case: format!("{}: {}", self.report.suite, name()),
                trace: log.lines(),
            }
        })
    }

    fn world(&mut self, offer: Offer, manner: &Manner, log: &Log) -> Held<World<S>> {
        let store = (self.open)();
        World::new(vec![store], offer, manner, self.mutant, log)
    }

    fn count(&mut self, course: &Course) {
        self.report.attempts += u64::from(course.attempts);
        for offset in course.offsets.iter().flatten() {
            self.report.restarts += 1;
            self.report.octets_saved += offset;
        }
    }

    fn count_world(&mut self, world: &World<S>) {
        for host in &world.hosts {
            self.report.crashes += host.store.crashes;
            self.report.failures += host.store.failures;
        }
    }
}
