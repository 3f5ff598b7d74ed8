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
    /// DATA: 354, or a reply in its place.
    Data,
    /// A chunk that is not the last; also an early reply while the content of DATA is sent.
    Content,
    /// The end of the data.
    EndOfData,
    /// RSET.
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
    /// The server refused, which decides nothing because an earlier attempt, or this one, sent the
    /// end of the data.
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
}

/// What became of an attempt to send a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The final reply is 2yz: the server has the message for every accepted recipient.
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
    /// LMTP: one final reply for each accepted recipient. Those with 4yz are tried again as a new
    /// transaction.
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
    /// This TRANSID leads nowhere, and no attempt has sent the end of the data: nothing was
    /// delivered. Send the message as a new transaction
    /// ([`start_over`](UnfinishedTransaction::start_over)).
    StartOver {
        /// Why.
        cause: Cause,
        /// As it was.
        transaction: Box<UnfinishedTransaction>,
    },
    /// The message may or may not have been delivered, and no restart will tell.
    Unknown {
        /// Why the last attempt ended.
        cause: Cause,
        /// As it was.
        transaction: Box<UnfinishedTransaction>,
    },
}

impl Outcome {
    /// Whether a final reply decided, so that the TRANSID is spent and must not be used again.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.transaction().is_none()
    }

    /// The transaction, where it is not decided.
    #[must_use]
    pub fn transaction(&self) -> Option<&UnfinishedTransaction> {
        match self {
            Self::Delivered { .. }
            | Self::Deferred { .. }
            | Self::Refused { .. }
            | Self::PerRecipient { .. } => None,
            Self::NoRecipients { transaction }
            | Self::Declined { transaction, .. }
            | Self::Interrupted { transaction, .. }
            | Self::StartOver { transaction, .. }
            | Self::Unknown { transaction, .. } => Some(transaction),
        }
    }
}
