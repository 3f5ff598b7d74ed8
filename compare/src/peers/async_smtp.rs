//! async-smtp: a client over a transport of the caller's, and a parser of replies. Content is sent
//! with its whole transaction only.

pub use async_smtp::response::Response;
use async_smtp::{Envelope, SendableEmail, SmtpClient, SmtpTransport};

use super::stream::{Canned, run};

/// A transport on which each transaction is accepted.
#[allow(missing_debug_implementations)]
pub struct Sender {
    transport: SmtpTransport<Canned>,
    envelope: Envelope,
}

impl Default for Sender {
    fn default() -> Self {
        let replies: [&[u8]; 5] = [
            b"250 mx.example.net\r\n",
            b"250 sender\r\n",
            b"250 recipient\r\n",
            b"354 go\r\n",
            b"250 accepted\r\n",
        ];
        // The first reply is to EHLO, those of the transactions come after it again and again.
        let stream = Canned::new(&replies, 1);
        let client = SmtpClient::new().without_greeting().pipelining(false);
        let to = vec!["b@example.net".parse().unwrap()];
        Self {
            transport: run(SmtpTransport::new(client, stream)).unwrap(),
            envelope: Envelope::new(Some("a@c.example".parse().unwrap()), to).unwrap(),
        }
    }
}

impl Sender {
    /// Sends one message.
    pub fn send(&mut self, content: &[u8]) {
        let message = SendableEmail::new(self.envelope.clone(), content);
        run(self.transport.send(message)).unwrap();
    }

    /// All that was written, with the commands of the last transaction.
    #[must_use]
    pub fn into_written(self) -> Vec<u8> {
        self.transport.into_inner().into_inner().written
    }
}

/// Reads a reply.
#[must_use]
pub fn reply(wire: &[u8]) -> Option<Response> {
    std::str::from_utf8(wire).ok()?.parse().ok()
}
