//! The EHLO reply: what a server offers, read by a client and built by a server.
//!
//! Layer 1. Keywords that the crate does not know are kept octet for octet.
//!
//! ```
//! use smtp_checkpoint::ehlo::{Capabilities, EhloBuilder, SizeOffer};
//! use smtp_checkpoint::limits::Limits;
//!
//! let reply = EhloBuilder::new("mx.example")?
//!     .checkpoint()
//!     .size(SizeOffer::Limit(1_000_000))
//!     .keyword("XCLIENT", "NAME ADDR")?
//!     .build()?;
//!
//! let offered = Capabilities::from_reply(&reply, &Limits::default())?;
//! assert!(offered.checkpoint());
//! assert_eq!(offered.size(), Some(SizeOffer::Limit(1_000_000)));
//! let own = offered.keyword(b"xclient").ok_or("not offered")?;
//! assert_eq!(own.parameters, b"NAME ADDR");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod borrowed;
mod build;
mod lines;
mod plain;
mod read;

pub use borrowed::CapabilitiesRef;
pub use build::{EhloBuildError, EhloBuilder};
pub use read::{Capabilities, CapabilitiesError, Keyword};

/// What SIZE says of the longest message (RFC 1870 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SizeOffer {
    /// `SIZE n`: at most this many octets.
    Limit(u64),
    /// `SIZE 0`: no fixed limit.
    NoFixedLimit,
    /// `SIZE` without a number, or with one that cannot be read: nothing is said of a limit.
    Unstated,
}

/// What RDLV says (draft-burger-smtp-rdlv-01 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RdlvOffer {
    /// `mintimer`: the least time in seconds that the server waits before a 120, 1 to 2^31 - 1.
    /// `None` for a bare `RDLV`.
    pub mintimer: Option<u32>,
}

/// The longest `mintimer`, in seconds (draft-burger-smtp-rdlv-01 §4).
const MAX_TIMER: u32 = (1 << 31) - 1;

/// The keywords with a meaning here, in the spelling that is written.
mod name {
    pub(super) const CHECKPOINT: &str = "CHECKPOINT";
    pub(super) const RESUME: &str = "RESUME";
    pub(super) const PIPELINING: &str = "PIPELINING";
    pub(super) const SIZE: &str = "SIZE";
    pub(super) const EIGHT_BIT_MIME: &str = "8BITMIME";
    pub(super) const SMTPUTF8: &str = "SMTPUTF8";
    pub(super) const DSN: &str = "DSN";
    pub(super) const ENHANCED_STATUS_CODES: &str = "ENHANCEDSTATUSCODES";
    pub(super) const CHUNKING: &str = "CHUNKING";
    pub(super) const BINARY_MIME: &str = "BINARYMIME";
    pub(super) const STARTTLS: &str = "STARTTLS";
    pub(super) const AUTH: &str = "AUTH";
    pub(super) const BURL: &str = "BURL";
    pub(super) const RDLV: &str = "RDLV";
    pub(super) const DETA: &str = "DETA";
}
