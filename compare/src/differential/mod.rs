//! The same octets to several implementations, and what each understands.
//!
//! `data/wires.tsv` has the octets, `data/disagreements.tsv` every case in which someone understands
//! something else than this crate, with who is right. `tests/differential.rs` holds both against
//! what the crates do; aiosmtpd, which is Python, was asked by `tests/peers/differential`, and its
//! answers stand in `data/aiosmtpd.tsv`.

pub mod client;
pub mod escape;
pub mod server;
pub mod table;
pub mod wires;
