//! mail-send: a client. Replies are smtp-proto's.

use std::time::Duration;

use mail_send::SmtpClient;

use super::stream::{Canned, run};

/// A connection on which DATA was accepted.
#[allow(missing_debug_implementations)]
pub struct Sender(SmtpClient<Canned>);

impl Default for Sender {
    fn default() -> Self {
        Self(SmtpClient {
            stream: Canned::new(&[b"250 accepted\r\n"], 0),
            timeout: Duration::from_secs(1),
        })
    }
}

impl Sender {
    /// Sends content, with the end of the data.
    pub fn send(&mut self, content: &[u8]) {
        self.0.stream.written.clear();
        run(self.0.write_message(content)).unwrap();
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.0.stream.written
    }
}
