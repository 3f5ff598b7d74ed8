//! SMTP that survives its connection: server and client sessions as pure state machines.
//!
//! Made for large messages over bad links: an interrupted transaction restarts at an octet offset,
//! and a lost final reply never makes a second copy (CHECKPOINT, RFC 1845). Plain SMTP and LMTP
//! come with it. The crate has no sockets, no storage, no clock, no threads and no randomness:
//! octets and time go in, octets and events come out.
//!
//! # Where to begin
//!
//! | you have | you take |
//! | --- | --- |
//! | an I/O loop and a store | [`server::ServerSession`], whose module has the loop and what has to be durable before which answer |
//! | mail to send | [`client::ClientSession`], whose module has the loop |
//! | an SMTP engine of your own | [`checkpoint`], [`dot`], [`transid`], [`offset`] and whatever else of the leaf modules fits, without the feature `session` |
//!
//! Loops for blocking sockets, to copy, stand in the
//! [README](https://docs.rs/crate/smtp-checkpoint); those for tokio and for engines of their own
//! among the examples.
//!
//! # Layers
//!
//! Each uses only those below it.
//!
//! | layer | modules |
//! | --- | --- |
//! | 4 | [`server`], [`client`]: whole sessions (feature `session`, on by default) |
//! | 3 | [`checkpoint`]: keys, records, the server's transaction, the client's unfinished one; [`rdlv`] and [`dsn`]: long and detached submissions |
//! | 2 | [`dot`]: the dot codec with canonical offsets; [`canonical`]: offsets in storage whose lines end in LF; [`envelope`] |
//! | 1 | [`command`], [`reply`], [`ehlo`], [`mod@line`], [`transid`], [`offset`]: what stands on the wire |
//! | 0 | [`error`], [`limits`], [`protocol`], [`time`] |
//!
//! # What a peer can do
//!
//! Nothing that hurts: no input panics, no buffer grows past its [limit](limits::Limits), no octet
//! of content is ever run as a command, and what was stored stays. Every rule that a peer breaks
//! is answered on the wire and told as a [`PeerError`](error::PeerError).
//!
//! # Features
//!
//! * `session` (default): layer 4.
//! * `simd`: wider vectors for [`dot`] where the processor has them, found out at run time (AVX2 on
//!   x86-64; other machines already use what they have). The same octets come out, faster. Brings
//!   in a dependency that is built with std; everything else here is `no_std`.
//! * `serde`: `Serialize` and `Deserialize` for keys, records, unfinished transactions and
//!   TRANSIDs, as their versioned octets.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

// Layer 0
mod class;
mod dotted;
mod encoding;
pub mod error;
mod lanes;
pub mod limits;
pub mod protocol;
mod syntax;
mod text;
pub mod time;
mod word;
// Layer 1
pub mod command;
pub mod ehlo;
pub mod line;
pub mod offset;
pub mod reply;
pub mod transid;
// Layer 2
pub mod canonical;
pub mod dot;
pub mod envelope;
// Layer 3
pub mod checkpoint;
pub mod dsn;
pub mod rdlv;
// Layer 4
#[cfg(feature = "session")]
pub mod client;
#[cfg(feature = "session")]
mod output;
#[cfg(feature = "session")]
pub mod server;
#[cfg(feature = "session")]
mod token;

/// The loops of the README compile.
#[cfg(all(doctest, feature = "session"))]
#[doc = include_str!("../README.md")]
struct Readme;
