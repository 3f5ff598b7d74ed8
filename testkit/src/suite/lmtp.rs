//! A final reply for each recipient.

use std::rc::Rc;

use super::{Report, Suite};
use crate::message::{How, Message};
use crate::store::Store;
use crate::violation::Failure;

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// LMTP (RFC 2033), with recipients that are accepted and refused, at RCPT and at the end:
    /// final replies lost at each of their octets, once and twice; crashes and failures at every
    /// call and step of the store; decisions that outlive their session.
    ///
    /// # Errors
    ///
    /// The first case that failed.
    pub fn lmtp(&mut self) -> Result<Report, Failure> {
        self.begin("lmtp");
        for how in [How::Data, How::Bdat(7)] {
            let mut message = Message::new("m", b"S: x\r\n\r\nHello\r\n");
            message.how = how;
            message.lmtp = true;
            let to = ["b", "no", "c", "d"].map(|name| format!("{name}@example.net"));
            message.recipients = to.to_vec();
            let message = Rc::new(message);
            for verdict in [&[250][..], &[550, 250, 450], &[450]] {
                self.lost_final_replies(&message, verdict)?;
            }
        }
        self.crashes_of_lmtp()?;
        self.outliving_decisions(true)?;
        Ok(self.end())
    }
}
