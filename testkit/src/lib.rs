//! Simulated time, wires, disks and crashes for stores and sessions built on `smtp-checkpoint`.

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
mod store;
mod suite;
mod violation;
mod watched;
mod wire;

pub use disk::{FaultyDisk, FileOperation};
pub use model::ModelStore;
pub use mutant::Mutant;
pub use store::{Decision, Delivered, Standing, Store, StoreError, Trouble, Unsynced};
pub use suite::{Report, Suite};
pub use violation::{Failure, Rule, Violation};
