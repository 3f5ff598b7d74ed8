//! What a transaction of the server hears from the store about its key, and what it advises.
//!
//! Layer 3. What the store promises with each of these is written down at
//! [`transaction`](super::transaction#what-the-store-promises).

use alloc::boxed::Box;

use super::key::TransactionKey;
use super::record::{Duty, Generation, Record, RecordState};

/// What the store answers to the claim of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// No record is kept for this transaction: it has no TRANSID, or nothing was held and the
    /// limits for records were reached. The transaction is then plain SMTP: no 355, no
    /// confirmation, no record to store, and content starts at 0.
    ///
    /// Never where something is held under the key: a message that is committed already would be
    /// delivered once more. A record that cannot be read is answered 451 instead.
    Unrecorded,
    /// The key is claimed.
    Claimed {
        /// The generation that the claim raised the key to: above that of every claim before it and
        /// of the record found, also where the process has started again.
        generation: Generation,
        /// What was held.
        found: Option<Box<Record>>,
    },
}

#[cfg(feature = "session")]
impl Claim {
    /// Whether its generation is above that of the record found.
    pub(crate) fn is_raised(&self) -> bool {
        match self {
            Self::Unrecorded => true,
            Self::Claimed { generation, found } => found
                .as_ref()
                .is_none_or(|record| record.generation() < *generation),
        }
    }
}

/// What the store says of the claim when a data command comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Generation and length are as they were announced.
    Current,
    /// Another session claimed the key since: 421 4.3.0, nothing is dropped.
    Outdated,
    /// The generation holds, the content does not have the length: 451 4.3.0, and a partial record
    /// is dropped.
    WrongLength,
}

/// Advice to the store: what is held under the key is of no use any more.
///
/// It may be carried out late, or never. By then the same claim may have stored a later record, or
/// its completion: ask [`applies_to`](Self::applies_to) in the step that discards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Discard {
    /// The key.
    pub key: TransactionKey,
    /// The claim that gives the advice: under a later one nothing happens.
    pub generation: Generation,
    pub(super) useless: Useless,
}

/// What a [`Discard`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Useless {
    /// A partial record that was made under this claim or an earlier one.
    Partial(Generation),
    /// A completion record of which nothing was delivered.
    Transient,
}

impl Discard {
    /// Whether `record`, held under the key now, is what the advice is about, and `current`, the
    /// generation of the latest claim of the key, still that of the advice: a later session goes on
    /// from the same record. Never a record that was made after the advice was given, never the
    /// completion of a message that may have been delivered, and never a record with a
    /// [`duty`](Record::duty).
    #[must_use]
    pub fn applies_to(&self, record: &Record, current: Generation) -> bool {
        match (self.useless, &record.state) {
            _ if current != self.generation || record.duty() != Duty::Nothing => false,
            (Useless::Partial(made), RecordState::Partial) => record.generation <= made,
            (Useless::Transient, RecordState::Committed(completion)) => completion.is_transient(),
            _ => false,
        }
    }
}
