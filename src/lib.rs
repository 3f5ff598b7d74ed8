#![doc = "SMTP sessions that survive their connection."]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

// Layer 0
mod encoding;
pub mod error;
pub mod limits;
mod syntax;
pub mod time;
// Layer 1
pub mod command;
pub mod ehlo;
pub mod line;
pub mod offset;
pub mod reply;
pub mod transid;
// Layer 2
pub mod dot;
pub mod envelope;
// Layer 3
pub mod checkpoint;
pub mod dsn;
pub mod rdlv;
// Layer 4
#[cfg(feature = "session")]
mod output;
#[cfg(feature = "session")]
pub mod server;
#[cfg(feature = "session")]
mod token;
