//! What became of an attempt.
//!
//! Layer 3. Which reply decides is the rule of RFC 1845 §3, made sharp: a TRANSID is spent by the
//! final reply to the end of the data and by nothing else ([`is_decisive`]). Everything short of
//! that ends the attempt, never the transaction.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::client::UnfinishedTransaction;
use super::plan::MissingExtension;
use crate::error::PeerError;
use crate::offset::OctetOffset;
use crate::reply::{Reply, Severity};

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// RDLV.
    Rdlv,
    /// DATA: 354, or a reply in its place.
    Data,
    /// A chunk that is not the last; also an early reply while the content of DATA is sent.
    Content,
    /// The end of the data.
    EndOfData,
    /// RSET, also in answer to a 120.
    Reset,
}

/// Whether `reply` decides the transaction, so that its TRANSID is spent (CP-35).
///
/// Only a final reply to the end of the data does, and neither 421 nor 503 nor 520, which say
/// nothing of the message.
///
/// ```
/// use smtp_checkpoint::checkpoint::{Stage, is_decisive};
/// use smtp_checkpoint::reply::standard;
///
/// assert!(is_decisive(Stage::EndOfData, &standard::MESSAGE_TOO_BIG.reply()));
/// assert!(!is_decisive(Stage::Content, &standard::MESSAGE_TOO_BIG.reply()));
/// assert!(!is_decisive(Stage::EndOfData, &standard::BAD_SEQUENCE.reply()));
/// ```
#[must_use]
pub fn is_decisive(stage: Stage, reply: &Reply) -> bool {
    let is_final = matches!(
        reply.severity(),
        Severity::Completion | Severity::TransientFailure | Severity::PermanentFailure
    );
    stage == Stage::EndOfData && is_final && !matches!(reply.code().get(), 421 | 503 | 520)
}

/// Why an attempt ended without a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The transport ended or failed.
    Lost,
    /// The server closed with 421. The same server is not asked again at once.
    Closed(Reply),
    /// The server did not answer, or took no data, in time.
    TimedOut,
    /// The server broke a rule.
    Protocol(PeerError),
    /// The server refused, which decides nothing: an earlier attempt, or this one, sent the end of
    /// the data, or it had answered 355 to MAIL and then refused DATA.
    Answered(Stage, Reply),
    /// The content cannot go on on this server: it does not offer what the first attempt used.
    Missing(MissingExtension),
    /// The offset of the 355 is beyond the message, inside a CRLF, or within a line before a dot:
    /// to go on there would corrupt the message.
    Offset(OctetOffset),
    /// A 355 came to a TRANSID under which no data was ever sent, also after RSET: another
    /// transaction has the same one.
    Collision,
    /// The content that the caller gave is not that of the transaction, or holds octets that the
    /// settings refuse.
    Content,
    /// The caller gave up.
    Abandoned,
    /// The caller left a 120 unanswered until `maxtimer` had run out: the server takes its client
    /// for gone (draft-burger-smtp-rdlv-01 §3.2.1).
    NoChoice,
    /// No reply to DETA came: the server may own the message already.
    DetachUnanswered,
    /// No reply to RSET in answer to a 120 came: the server may have given the message up already.
    AbortUnanswered,
}

/// What became of an attempt to send a transaction.
///
/// Match it without a wildcard: each of them asks for something else, and none but
/// [`Delivered`](Self::Delivered) (with LMTP a 2yz in [`PerRecipient`](Self::PerRecipient)) says
/// that the message was delivered. While a server says that it is still deciding (120), there is
/// no outcome yet, but the session's event `StillDeciding`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The final reply is 2yz: the server has the message for every accepted recipient. The others,
    /// whom RCPT was refused for now or for good, have still to be served or told of: the session's
    /// event `Recipient` says who they are.
    Delivered {
        /// The final reply.
        reply: Reply,
    },
    /// The final reply is 4yz: nothing was delivered. Try again, as a new transaction.
    Deferred {
        /// The final reply.
        reply: Reply,
    },
    /// The final reply is 5yz: nothing was or will be delivered.
    Refused {
        /// The final reply.
        reply: Reply,
    },
    /// LMTP: one final reply for each accepted recipient, with 1 KiB of its text at most. Those with
    /// 4yz are tried again as a new transaction.
    PerRecipient {
        /// Index of the recipient and its final reply, in order.
        replies: Vec<(usize, Reply)>,
    },
    /// No recipient was accepted, and no attempt has sent the end of the data: nothing was
    /// delivered. The replies are in the transaction; where some are 4yz, send it again.
    NoRecipients {
        /// As it is now.
        transaction: Box<UnfinishedTransaction>,
    },
    /// The server said no before the end of the data, and no attempt has sent that: nothing was
    /// delivered. With 4yz send the transaction again, with 5yz do not.
    Declined {
        /// What the reply answers.
        stage: Stage,
        /// The reply.
        reply: Reply,
        /// As it is now.
        transaction: Box<UnfinishedTransaction>,
    },
    /// The attempt ended without a decision: store this and send it again, under the same TRANSID.
    /// Without a TRANSID nothing of it was delivered.
    Interrupted {
        /// Why.
        cause: Cause,
        /// As it is now.
        transaction: Box<UnfinishedTransaction>,
    },
    /// This TRANSID leads nowhere, and no attempt that the transaction knows of has sent the end of
    /// the data: nothing was delivered. Send the message as a new transaction
    /// ([`start_over`](UnfinishedTransaction::start_over)), never this one again.
    StartOver {
        /// Why.
        cause: Cause,
        /// As it was.
        transaction: Box<UnfinishedTransaction>,
    },
    /// The message may or may not have been delivered, and no restart will tell.
    ///
    /// So it is too behind a RSET in answer to a 120, unless the server is known to abort then
    /// ([`ClientSettings::reset_aborts`](crate::rdlv::ClientSettings)). The transaction may be sent
    /// again even so where it has a TRANSID: a server that kept the message says what became of
    /// it, but one that gave it up takes it anew.
    Unknown {
        /// Why the last attempt ended.
        cause: Cause,
        /// As it was.
        transaction: Box<UnfinishedTransaction>,
    },
    /// 221 to DETA: the message is the server's for every accepted recipient, which reports a
    /// failure by DSN (draft-burger-smtp-deta-00 §2.2.1). Neither delivered nor failed. Store that,
    /// in place of the transaction: it is never sent again.
    Detached {
        /// The reply to DETA.
        reply: Reply,
    },
    /// RSET in answer to a 120, accepted by a server that is known to abort then: nothing was or
    /// will be delivered. The TRANSID is not used again.
    Aborted {
        /// The reply to RSET.
        reply: Reply,
    },
}

impl Outcome {
    /// Whether the TRANSID is spent: nothing is ever sent under it again. So it is by a final
    /// reply, and where the message is left to the server or given up. Where it is not, the
    /// variant still says whether to send again: after [`StartOver`](Self::StartOver) never.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.transaction().is_none()
    }

    /// The transaction, where its TRANSID is not spent. It is not always what is sent next: after
    /// [`StartOver`](Self::StartOver) that is its
    /// [`start_over`](UnfinishedTransaction::start_over).
    #[must_use]
    pub fn transaction(&self) -> Option<&UnfinishedTransaction> {
        match self {
            Self::Delivered { .. }
            | Self::Deferred { .. }
            | Self::Refused { .. }
            | Self::PerRecipient { .. }
            | Self::Detached { .. }
            | Self::Aborted { .. } => None,
            Self::NoRecipients { transaction }
            | Self::Declined { transaction, .. }
            | Self::Interrupted { transaction, .. }
            | Self::StartOver { transaction, .. }
            | Self::Unknown { transaction, .. } => Some(transaction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Content;
    use crate::command::{MailLine, RcptLine};
    use crate::reply::{ReplyCode, standard};

    #[test]
    fn only_a_final_reply_to_the_end_of_the_data_decides() {
        for (code, decides) in [
            (120, false),
            (250, true),
            (354, false),
            (421, false),
            (452, true),
            (503, false),
            (520, false),
            (550, true),
        ] {
            let reply = Reply::with_text(ReplyCode::new(code).unwrap(), None, "x").unwrap();
            assert_eq!(is_decisive(Stage::EndOfData, &reply), decides, "{code}");
            for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content] {
                assert!(!is_decisive(stage, &reply), "{stage:?} {code}");
            }
        }
    }

    #[test]
    fn a_transid_is_spent_or_its_transaction_is_there() {
        let reply = || standard::OK.reply();
        let transaction = || {
            let mail = MailLine::parse(&b"MAIL FROM:<>"[..]).unwrap();
            let builder = UnfinishedTransaction::builder(mail, Content::measure(b"x\r\n"), 7)
                .recipient(RcptLine::parse(&b"RCPT TO:<a@b>"[..]).unwrap());
            Box::new(builder.build().unwrap())
        };
        for spent in [
            Outcome::Delivered { reply: reply() },
            Outcome::Deferred { reply: reply() },
            Outcome::Refused { reply: reply() },
            Outcome::PerRecipient {
                replies: Vec::new(),
            },
            Outcome::Detached { reply: reply() },
            Outcome::Aborted { reply: reply() },
        ] {
            assert!(spent.is_spent(), "{spent:?}");
            assert_eq!(spent.transaction(), None);
        }
        for open in [
            Outcome::NoRecipients {
                transaction: transaction(),
            },
            Outcome::Declined {
                stage: Stage::Mail,
                reply: reply(),
                transaction: transaction(),
            },
            Outcome::Interrupted {
                cause: Cause::Lost,
                transaction: transaction(),
            },
            Outcome::StartOver {
                cause: Cause::Lost,
                transaction: transaction(),
            },
            Outcome::Unknown {
                cause: Cause::Lost,
                transaction: transaction(),
            },
        ] {
            assert!(!open.is_spent(), "{open:?}");
            assert_eq!(open.transaction(), Some(&*transaction()));
        }
    }
}
