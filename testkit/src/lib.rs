//! Prove your own store in an afternoon.
//!
//! `smtp-checkpoint` keeps its two promises (no message lost, doubled or altered, whatever is cut;
//! nothing a peer sends can hurt) only on top of a store that keeps its part, and most mail is lost
//! in stores. This crate drives the real sessions of `smtp-checkpoint` against a store of yours,
//! in simulated time, and cuts, crashes and fails everything on the way.
//!
//! 1. **Implement [`Store`]** for a thin wrapper around your store: each method is what your server
//!    does when the event of that name comes.
//! 2. **Run the suites**, one call each ([`Suite`]): a cut at every octet; a crash before and after
//!    every call, once and twice; two sessions on one key in every interleaving; two hosts; LMTP;
//!    strangers with the same TRANSID; long decisions, and messages that are left to the server.
//! 3. **Let it fail below the calls**: count the [`steps`](Store::steps) of your storage, and the
//!    power fails at each of them. For plain files [`FaultyDisk`] does that, and takes back in a
//!    crash what was not synced.
//! 4. **Run the [`Simulation`]** for as long as you like: one seed is one run, octet for octet.
//!
//! A case that fails says which [`Rule`] was broken, in which case, and what happened up to there,
//! call by call and line by line:
//!
//! ```text
//!         0 C m: S: x\r\n\r\n..\r\n...a\r\nend\r\n.\r\n
//!         0 store 0: write
//!         0 store 0: keep
//!         0 store 0: begin
//!         0 store 0: commit
//!         0 store 0: look
//!         0 S m: 250 as it is\r\n
//!         0 C m: QUIT\r\n
//!         0 store 0: restarts, unsynced Lost
//! AcceptedIsDurable: m was accepted, and is not there
//! in crashes: Data, Simple, lmtp false, calls [], steps [], journal [], unsynced Lost, ...
//! ```
//!
//! # The tests of a store
//!
//! This is all of it, once [`Store`] is implemented; [`ModelStore`] stands for yours. A slow store
//! runs one case of so many ([`Suite::every`]).
//!
//! ```
//! use smtp_checkpoint_testkit::{Failure, ModelStore, Simulation, Suite, Tally};
//!
//! fn open() -> ModelStore {
//!     ModelStore::new() // an empty store, each time
//! }
//!
//! fn suites() -> Result<(), Failure> {
//!     for report in Suite::new(open).every(500).all()? {
//!         println!("{report}");
//!     }
//!     Ok(())
//! }
//!
//! fn simulation() -> Result<(), Failure> {
//!     let mut tally = Tally::default();
//!     for seed in 0..20 {
//!         tally.add(&Simulation::new(seed).run(open)?);
//!     }
//!     println!("{tally}");
//!     Ok(())
//! }
//! # suites().and_then(|()| simulation())?;
//! # Ok::<(), Failure>(())
//! ```
//!
//! The file store of the examples of `smtp-checkpoint` is put to the test in the same way, in
//! `testkit/tests/file_store.rs`: some 400 lines between it and [`Store`].
//!
//! RDLV and DETA are tested where the store has what they ask of it ([`Store::detaches`]), also for
//! messages without a TRANSID ([`Store::detach_unrecorded`]). What is
//! promised then: a message from which its client has detached is delivered or, where it fails,
//! reported by DSN, once for each recipient; what was aborted is never delivered. One thing nobody
//! can promise: where the process dies between the transmission of a final 4yz or 5yz and the note
//! that it was transmitted, the sender is told of the failure twice, by its client and by DSN.
//!
//! # What is looked at
//!
//! [`Rule`] lists the promises. Some show at the end of a case, in what was delivered and told. The
//! others are looked for at every call, by what the store was asked and answered before: a claim
//! that does not raise the generation, a second decision, a completion record that is gone, an
//! announced offset that a crash took back. So a fault is named where it happens.
//!
//! That all of it is noticed is tested too: [`Mutant`] has the rules that stores, servers and
//! clients break on purpose, and each is caught.
//!
//! # What it does not do
//!
//! * It does not run your server: the loop between sessions and store is the testkit's own. What
//!   that loop has to do is in the documentation of
//!   [`ServerSession`](smtp_checkpoint::server::ServerSession).
//! * It calls a store from one thread, one call after the other. Locks are yours to test.
//! * It leaves out what a store may do without: retention and limits.

mod alter;
mod audit;
mod client;
mod disk;
mod host;
mod log;
mod message;
mod model;
mod mutant;
mod random;
mod simulation;
mod store;
mod suite;
mod truth;
mod violation;
mod watched;
mod wire;

pub use disk::{FaultyDisk, FileOperation};
pub use model::ModelStore;
pub use mutant::Mutant;
pub use simulation::{Fault, Simulation, Tally};
pub use store::{
    Decision, Delivered, Due, Reported, Standing, Store, StoreError, Trouble, Unsynced,
};
pub use suite::{Report, Suite};
pub use violation::{Failure, Rule, Violation};
