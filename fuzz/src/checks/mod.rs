//! One module for each fuzz target, with `check(data)`, which panics where a promise is broken.
//!
//! # The form of the input
//!
//! What stands before the last octet 255 is what the target reads; what stands behind it are the
//! [choices](input::Choices): how the input is split, what the caller answers, when it is cut.
//! Without an octet 255, or where the choices are used up, everything is ordinary: input comes
//! whole, every question is answered yes. So a seed is a file that one can read.

// Shared with an integration test, which does not use all of it.
#![allow(dead_code, unreachable_pub)]

pub mod command;
pub mod dot;
pub mod ehlo;
pub mod input;
pub mod memory;
pub mod record;
pub mod reply;
pub mod server;
pub mod transid;

// `client` (octets and splits against the client session) and `pair` (client and server by a
// script of operations) have their places here: a module each, a shim in `fuzz_targets`, a
// `[[bin]]` in `Cargo.toml`, and seeds in `seeds/client` and `seeds/pair`.
