//! Fixed work, the same at every run, for the benches.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod client;
pub mod codec;
pub mod parse;
pub mod server;

/// Message content: lines of so many octets of base64 (CRLF not counted), those dotted with a dot
/// before them, so many octets in all or a little less.
pub fn content(line: usize, dotted: bool, octets: usize) -> Vec<u8> {
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut one = if dotted { b".".to_vec() } else { Vec::new() };
    one.extend((0..line).map(|at| BASE64[at * 37 % BASE64.len()]));
    one.extend_from_slice(b"\r\n");
    one.repeat(octets / one.len())
}
