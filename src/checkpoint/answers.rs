//! How the commands of one transaction are to be answered: what
//! [`Transaction`](super::Transaction) tells the session.
//!
//! Layer 3. Plain data; each says which reply it stands for.

use super::claim::Discard;
use super::record::{Completion, Generation};
use crate::offset::OctetOffset;
use crate::reply::Reply;

/// What the session offers of the extensions that a stored transaction may need to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offered {
    /// CHUNKING.
    pub chunking: bool,
    /// BURL.
    pub burl: bool,
    /// DSN.
    pub dsn: bool,
}

/// How MAIL is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum MailOutcome {
    /// 250: the transaction starts afresh.
    Fresh,
    /// 355 with this offset: the stored envelope is in force.
    Restart(OctetOffset),
    /// 503 5.5.1: another MAIL than that of the transaction whose data is all in. The record is
    /// kept.
    SequenceError,
}

/// How RCPT is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum RcptOutcome {
    /// The caller decides; the answer is for
    /// [`answer_recipient`](super::Transaction::answer_recipient) with this index.
    Ask {
        /// Its place among the RCPTs of the transaction.
        index: usize,
    },
    /// The reply that it was given before, a refusal too.
    Repeat(Reply),
    /// 553 5.5.1: not in the stored envelope.
    Unknown,
    /// 503 5.5.1: repeated out of order.
    OutOfOrder,
}

/// How a data command is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum DataOutcome {
    /// Ask the store to confirm the claim, then [`confirm`](super::Transaction::confirm).
    Confirm {
        /// The generation that the store must still have.
        generation: Generation,
        /// The length that the content must have: the offset announced, or 0.
        length: OctetOffset,
        /// Whether the transaction begins afresh: a partial record, and its content, is dropped
        /// with the confirmation. Not so where a complete message of length 0 is asked about.
        fresh: bool,
    },
    /// Content may come, from this offset on.
    Begin(OctetOffset),
    /// 503 5.5.1: DATA and BDAT mixed.
    Mixed,
    /// 554 5.5.1: no recipient was accepted.
    NoRecipients,
}

/// What the end of the data leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum EndOutcome {
    /// The caller decides on the whole message.
    Decide,
    /// A decision is under way already: wait for it. Also where it is made and the client has
    /// detached: what it came to is read only now, for the failure may be reported any time.
    Await,
    /// The decision was made: these replies, and nothing else.
    Retained {
        /// The final replies.
        completion: Completion,
        /// The record has served its turn: nothing was delivered, the client may try again under
        /// the same TRANSID.
        discard: Option<Discard>,
    },
    /// 554 5.5.0: content came behind the end of a complete message. What is retained stays.
    ContentAfterEnd,
}
