//! io-smtp: a client's coroutines, and parsers of replies.

use io_smtp::coroutine::{SmtpCoroutine, SmtpCoroutineState, SmtpYield};
use io_smtp::rfc5321::data::SmtpData;
pub use io_smtp::rfc5321::{SmtpEhloResponse, SmtpResponse};

/// The whole DATA exchange; what is written after 354.
#[must_use]
pub fn encode(content: Vec<u8>) -> Vec<u8> {
    let mut data = SmtpData::new(content);
    let mut reply = None;
    loop {
        match data.resume(reply.take()) {
            SmtpCoroutineState::Yielded(SmtpYield::WantsWrite(octets)) => {
                if octets != b"DATA\r\n" {
                    return octets;
                }
            }
            SmtpCoroutineState::Yielded(SmtpYield::WantsRead) => {
                reply = Some(&b"354 Start mail input\r\n"[..]);
            }
            SmtpCoroutineState::Complete(outcome) => panic!("over: {outcome:?}"),
        }
    }
}

/// Reads the reply to EHLO.
#[must_use]
pub fn ehlo(wire: &[u8]) -> Option<SmtpEhloResponse<'_>> {
    SmtpEhloResponse::parse(wire).ok()
}

/// Reads a reply.
#[must_use]
pub fn reply(wire: &[u8]) -> Option<SmtpResponse<'_>> {
    SmtpResponse::parse(wire).ok()
}
