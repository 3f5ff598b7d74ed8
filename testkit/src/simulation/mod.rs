//! Servers, clients, networks, disks and clocks in simulated time, all of it from one number.

mod clients;
mod clock;
mod disturb;
mod link;
mod network;
mod plan;
mod run;
mod servers;
mod tally;

pub use self::tally::{Fault, Tally};

use self::run::World;
use crate::log::Log;
use crate::mutant::Mutant;
use crate::store::Store;
use crate::violation::{Failure, Held};

/// A run in simulated time: one or two servers over a store, several clients, and everything that
/// can go wrong between them.
///
/// The network delays, splits, cuts and half-opens connections, and lets one overtake the other.
/// Disks lose or tear what was not synced, fail, and are full. Clocks run too fast and jump.
/// Processes die anywhere and come back. Decisions are slow, given up, or never made; clients that
/// are told so (RDLV) leave their messages to the server (DETA), or stop them, and may be back. After a
/// while nothing disturbs any more, and all that is left has to get through within
/// [`ATTEMPTS_IN_THE_END`](Self::ATTEMPTS_IN_THE_END) attempts. What is checked all the time is in
/// [`Rule`](crate::Rule).
///
/// The seed decides everything: a run can be repeated, octet for octet, as long as the store does
/// the same when it is called the same.
///
/// ```
/// use smtp_checkpoint_testkit::{ModelStore, Simulation, Tally};
///
/// let mut tally = Tally::default();
/// for seed in 0..20 {
///     tally.add(&Simulation::new(seed).run(ModelStore::new)?);
/// }
/// println!("{tally}");
/// assert_eq!(tally.runs, 20);
/// # Ok::<(), smtp_checkpoint_testkit::Failure>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Simulation {
    seed: u64,
    mutant: Option<Mutant>,
}

impl Simulation {
    /// When nothing disturbs any more, a transaction ends within so many attempts: one may be
    /// under way in a session that nobody hears of, one may wait for a decision that is never
    /// made, one begins the decision anew, one is the last.
    pub const ATTEMPTS_IN_THE_END: u64 = 4;

    /// The run of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, mutant: None }
    }

    /// Breaks a rule of the sessions, to see it noticed. Rules of a store are broken by the store.
    pub fn breaking(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// Runs it on the store that `open` makes, which is empty each time; what it did.
    ///
    /// # Errors
    ///
    /// A promise that did not hold. The run is then made once more, to tell what happened.
    pub fn run<S: Store>(&self, mut open: impl FnMut() -> S) -> Result<Tally, Failure> {
        self.once(&mut open, Log::in_short()).map_err(|violation| {
            let log = Log::in_words();
            let again = self.once(&mut open, log.clone()).err();
            Failure {
                violation: again.unwrap_or(violation),
                case: format!("the run of seed {}", self.seed),
                trace: log.lines(),
            }
        })
    }

    fn once<S: Store>(&self, open: &mut impl FnMut() -> S, log: Log) -> Held<Tally> {
        World::new(self.seed, open, self.mutant, log)?.run()
    }
}
