//! smtp-codec: parsers of commands, and of the greeting and the reply to EHLO.

pub use smtp_codec::types::{Command, Response};

/// Reads one command line, with its CRLF.
#[must_use]
pub fn command(line: &[u8]) -> Option<Command> {
    let (_, command) = smtp_codec::parse::command::command(line).ok()?;
    Some(command)
}

/// Reads the reply to EHLO.
#[must_use]
pub fn ehlo(wire: &[u8]) -> Option<Response> {
    let (_, reply) = smtp_codec::parse::response::ehlo_ok_rsp(wire).ok()?;
    Some(reply)
}
