//! What the examples share: a store of plain files, and the loop that drives a server session on
//! a blocking socket.

// A library in all but name: every example is a program of its own and uses only a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod driver;
pub mod service;
pub mod store;
