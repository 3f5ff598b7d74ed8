//! What the examples share.
//!
//! For servers a store of plain files ([`store`]), the mail system that uses it ([`service`]), what
//! it decides ([`ruling`]) and how it reports failures ([`report`]), and the loop that drives a
//! server session on a blocking socket ([`driver`]). For clients the same
//! three: a journal ([`journal`]), what is done with it ([`courier`]), and the loop
//! ([`client_driver`]); and the message, whatever its line ends ([`message`], [`measure`]). Between them, to see what they do, a connection that can be cut
//! ([`cutter`]).

// A library in all but name: every example is a program of its own and uses only a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod client_driver;
pub mod courier;
pub mod cutter;
pub mod dialogue;
pub mod driver;
pub mod journal;
pub mod measure;
pub mod message;
pub mod progress;
pub mod report;
pub mod ruling;
pub mod service;
pub mod store;
