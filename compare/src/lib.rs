//! Other SMTP crates beside this one: what each reads, and how fast.
//!
//! ```text
//! cargo run --release -p smtp-checkpoint-compare --bin speed
//! cargo run --release -p smtp-checkpoint-compare --bin speed -- --filter session
//! ```
//!
//! [`peers`] drives each crate by its public entry points, [`work`] gives all of them the same
//! work and checks that they come to the same result, [`timing`] times them in turn, [`targets`]
//! holds the figures against what this crate asks of itself.

// A tool and its tests: what does not hold ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod allocations;
pub mod differential;
pub mod peers;
pub mod report;
pub mod shapes;
pub mod targets;
pub mod timing;
pub mod work;
