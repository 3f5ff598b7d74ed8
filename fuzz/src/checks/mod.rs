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

#[cfg(feature = "session")]
pub mod client;
pub mod command;
pub mod dot;
pub mod ehlo;
pub mod input;
pub mod memory;
#[cfg(feature = "session")]
pub mod pair;
pub mod record;
pub mod reply;
#[cfg(feature = "session")]
pub mod server;
pub mod transid;
