//! Each crate, driven by its public entry points. What is glue, because the crate leaves it to its
//! caller, is written as its documentation has it, and no slower than need be.

pub mod async_smtp;
pub mod io_smtp;
pub mod lettre;
pub mod mail_send;
pub mod mailin;
pub mod mailrs;
pub mod ours;
pub mod smtp_codec;
pub mod smtp_message;
pub mod smtp_proto;
pub mod stream;

use bytes::Bytes;
use memchr::memchr;

/// A server that says yes to everything.
pub trait Server {
    /// Begins a new session.
    fn connect(&mut self, replies: &mut Vec<u8>);

    /// Takes one read: whole lines, where the crate asks for lines. Content goes to `sink`.
    fn read(&mut self, read: &Bytes, replies: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8]));
}

/// The lines of `wire`, each with its LF, as those crates need them that read by lines.
pub fn lines(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if wire.is_empty() {
            return None;
        }
        let end = memchr(b'\n', wire).map_or(wire.len(), |at| at + 1);
        let (line, rest) = wire.split_at(end);
        wire = rest;
        Some(line)
    })
}
