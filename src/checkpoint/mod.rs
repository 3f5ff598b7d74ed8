//! CHECKPOINT (RFC 1845): everything that decides how an interrupted transaction goes on.
//!
//! Layer 3: usable without the sessions. On the server, [`Transaction`] is a pure machine: the
//! commands of one transaction in, replies to give and steps for the store out. On the client,
//! [`UnfinishedTransaction`] is the plain data that survives a crash, and [`Reconnect`] puts the
//! addresses in the order of RFC 1845 §4.
//!
//! | word | meaning |
//! | --- | --- |
//! | [`Record`] | what is stored of a transaction under its [`TransactionKey`] |
//! | [`Claim`] | a session takes a key for itself; the store answers with a [`Generation`] and the record |
//! | partial | the end of the data has not been stored |
//! | processing | all data is in, the decision is being made in a live process |
//! | committed | the decision is made: the final replies are stored |
//! | detached | the client left by DETA: what becomes of the message is the server's to report ([`Record::duty`]) |
//!
//! What a store has to promise is written down at
//! [`Transaction`](transaction/index.html#what-the-store-promises).

mod answers;
mod claim;
mod client;
mod key;
mod outcome;
mod plan;
mod reconnect;
mod record;
mod stored;
pub mod transaction;

pub use crate::line::Following;
pub use answers::{DataOutcome, EndOutcome, MailOutcome, Offered, RcptOutcome};
pub use claim::{Claim, Confirmation, Discard};
pub use client::{
    ClientScope, Content, InvalidTransaction, NextStep, RestartPolicy, Sent, Server,
    UnfinishedTransaction, UnfinishedTransactionBuilder,
};
pub use key::{Identity, Scope, TransactionKey};
pub use outcome::{Cause, Outcome, Stage, is_decisive};
pub use plan::{ContentCommand, MissingExtension, Used};
pub use reconnect::{Address, After, Reconnect, ScopeRefused, Waiting};
pub use record::{Completion, Duty, Generation, Record, RecordState, Refused, Transfer, Verdict};
pub use transaction::Transaction;
