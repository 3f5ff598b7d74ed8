//! What is stored of a transaction under its key, and how a verdict completes it.
//!
//! Layer 3, plain data. A [`Record`] is made by [`Transaction`](super::Transaction), stored by the
//! caller (beside the content, which never passes through here), and handed back when the same
//! TRANSID comes again. [`Record::complete`] is the pure function that makes a completion record
//! of a record and a [`Verdict`] (RFC 1845 §4, draft-fanf-smtp-rfc1845bis-01 §2.5).

use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::command::ReversePath;
use crate::dot::Faults;
use crate::dsn::{self, RecipientResult};
use crate::encoding::{Reader, Writer};
use crate::envelope::Envelope;
use crate::error::{DecodeError, UsageError};
use crate::offset::OctetOffset;
use crate::reply::{Reply, Severity, standard};

/// Counts the claims of one key: each claim has a higher one than the claim before. A store
/// refuses whatever names an outdated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the content came: the two never mix in one transaction, also across a restart
/// (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// DATA: offsets are line starts.
    Data,
    /// BDAT and BURL: offsets are anywhere, but never within the content of a URL.
    Chunks {
        /// A BDAT chunk was among them (needs CHUNKING).
        bdat: bool,
        /// A URL was among them (needs BURL).
        burl: bool,
    },
}

/// Where a stored transaction stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordState {
    /// The end of the data has not been stored.
    Partial,
    /// All data is in; the decision is being made in a live process. A store on one host keeps
    /// this state in memory only, so that after a crash the record is partial with all its data.
    Processing {
        /// Tells this decision from the one that a later lease holder may start. Between hosts a
        /// store keeps a lease beside it, and whoever finds that expired makes the record partial
        /// with [`Record::withdraw`].
        decision: u64,
    },
    /// The decision is made.
    Committed(Completion),
}

/// A decision that has been made: what a restart is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The final reply; with LMTP one for each accepted recipient, in order.
    pub replies: Vec<Reply>,
    /// Whether a delivery status notification was issued for any recipient. Where the client has
    /// detached, [`REPORTED_BY_DSN`](standard::REPORTED_BY_DSN) then stands among the replies in
    /// place of every failure that it reports: to whom the message goes tells
    /// [`Envelope::served`], not the code of the reply.
    pub dsn_issued: bool,
}

impl Completion {
    /// Nothing was delivered and nobody was told otherwise: the replies may be given once more
    /// and then forgotten, so that the client can try again under the same TRANSID.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !self.dsn_issued
            && self
                .replies
                .iter()
                .all(|reply| reply.severity() == Severity::TransientFailure)
    }
}

/// What the caller decided on a whole message.
///
/// ```
/// use smtp_checkpoint::checkpoint::Verdict;
/// use smtp_checkpoint::reply::standard;
///
/// let verdict = Verdict::from(standard::OK);
/// assert_eq!(verdict.replies().len(), 1);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Verdict {
    replies: Replies,
    dsn_issued: bool,
}

/// Final replies: one is no reason to allocate.
#[derive(Debug, Clone)]
enum Replies {
    One(Reply),
    Each(Vec<Reply>),
}

impl PartialEq for Verdict {
    fn eq(&self, other: &Self) -> bool {
        self.replies() == other.replies() && self.dsn_issued == other.dsn_issued
    }
}

impl Eq for Verdict {}

impl Verdict {
    /// One final reply for each accepted recipient, in the order of the RCPT commands
    /// (LMTP, RFC 2033 §4.2).
    pub fn for_each_recipient(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            replies: Replies::Each(replies.into_iter().collect()),
            dsn_issued: false,
        }
    }

    /// Says that a delivery status notification was issued for some recipient: the completion
    /// record then stays, whatever the replies are.
    pub fn with_dsn_issued(mut self) -> Self {
        self.dsn_issued = true;
        self
    }

    /// The final replies.
    #[must_use]
    pub fn replies(&self) -> &[Reply] {
        match &self.replies {
            Replies::One(reply) => core::slice::from_ref(reply),
            Replies::Each(replies) => replies,
        }
    }

    /// Whether a delivery status notification was issued for some recipient.
    #[must_use]
    pub fn dsn_issued(&self) -> bool {
        self.dsn_issued
    }

    /// Whether any recipient was accepted.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.replies()
            .iter()
            .any(|reply| reply.severity() == Severity::Completion)
    }

    /// Checks that the replies are final ones and as many as `expected`.
    pub(crate) fn check(&self, expected: usize) -> Result<(), Refused> {
        if self.replies().len() != expected {
            return Err(Refused::ReplyCount);
        }
        if self.replies().iter().all(is_final) {
            Ok(())
        } else {
            Err(Refused::ReplyCode)
        }
    }
}

/// A final reply is 2yz, 4yz or 5yz, and never 421, which ends a session and decides nothing.
fn is_final(reply: &Reply) -> bool {
    reply.code().get() != 421
        && matches!(
            reply.severity(),
            Severity::Completion | Severity::TransientFailure | Severity::PermanentFailure
        )
}

impl<R: Into<Reply>> From<R> for Verdict {
    /// The one final reply of SMTP.
    fn from(reply: R) -> Self {
        Self {
            replies: Replies::One(reply.into()),
            dsn_issued: false,
        }
    }
}

/// What a record asks of the server that nobody else will do, because the client has detached
/// (draft-burger-smtp-deta-00 §2.2.1). See [`Record::duty`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Duty {
    /// Nothing: the client has not detached, or took the message back; or all is decided and
    /// nothing is to be reported, or has been.
    Nothing,
    /// To decide: where no decision runs and no session holds the key (after a crash, or where a
    /// decision was withdrawn), begin one.
    Decide,
    /// To report a failure, as soon as no session holds the key: pass these results with the
    /// envelope to [`dsn::Owed::by`], which then gives a report, make the notification durable,
    /// and store [`Record::with_dsn_issued`] in the same step.
    Report(Vec<RecipientResult>),
}

/// Why a verdict does not complete a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The record is committed: a verdict is accepted once.
    #[error("the transaction is committed already")]
    AlreadyCommitted,
    /// Not one final reply, or with LMTP not one for each accepted recipient.
    #[error("wrong number of final replies")]
    ReplyCount,
    /// A reply that is not final: 1yz, 3yz or 421.
    #[error("not a final reply")]
    ReplyCode,
}

/// What is stored of a transaction under its key.
///
/// The content is stored by the caller beside it; [`length`](Self::length) is how much of that
/// content counts. Of a partial record, what a store holds beyond that length is to be cut off
/// before the record is handed back; where it holds less, it has lost octets, and drops the record.
/// A committed record stands by itself: its content has gone to the recipients, and only the record
/// keeps the message from being delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) generation: Generation,
    pub(crate) envelope: Envelope,
    pub(crate) transfer: Transfer,
    pub(crate) length: OctetOffset,
    pub(crate) faults: Faults,
    pub(crate) per_recipient: bool,
    pub(crate) detached: bool,
    pub(crate) state: RecordState,
}

impl Record {
    /// The claim under which it was made. Storing it names this generation: an outdated one is
    /// refused by the store.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// MAIL and every RCPT, with the replies given.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// How the content came.
    #[must_use]
    pub fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// How many octets of the content count, in SMTP canonical form: a line start for
    /// [`Transfer::Data`]. All of the message unless [`RecordState::Partial`].
    #[must_use]
    pub fn length(&self) -> OctetOffset {
        self.length
    }

    /// Faults found in the content up to [`length`](Self::length).
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Where the transaction stands.
    #[must_use]
    pub fn state(&self) -> &RecordState {
        &self.state
    }

    /// How many final replies complete it: one, or with LMTP one for each accepted recipient.
    #[must_use]
    pub fn expected_replies(&self) -> usize {
        expected_replies(&self.envelope, self.per_recipient)
    }

    /// The same record with a decision under way: for stores that several hosts share.
    ///
    /// `decision` is a number that was not used for this key before. A committed record stays as it
    /// is: it is not decided on again.
    #[must_use]
    pub fn processing(&self, decision: u64) -> Self {
        let state = match &self.state {
            RecordState::Committed(completion) => RecordState::Committed(completion.clone()),
            RecordState::Partial | RecordState::Processing { .. } => {
                RecordState::Processing { decision }
            }
        };
        Self {
            state,
            ..self.clone()
        }
    }

    /// The same record without its decision: partial with all its data. For a decision that was
    /// withdrawn, or whose lease is found expired. A committed record stays as it is.
    #[must_use]
    pub fn withdraw(&self) -> Self {
        let state = match &self.state {
            RecordState::Committed(completion) => RecordState::Committed(completion.clone()),
            RecordState::Partial | RecordState::Processing { .. } => RecordState::Partial,
        };
        Self {
            state,
            ..self.clone()
        }
    }

    /// The same record, of which the client is told that the server owns the message (DETA,
    /// draft-burger-smtp-deta-00 §2.2.1). For a record whose data is all in, whatever its state;
    /// from then on it is nobody's to discard, and its [`duty`](Self::duty) is the server's. It
    /// is durable before 221, with the content.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            detached: true,
            ..self.clone()
        }
    }

    /// The same record, whose client has the outcome for itself: the final reply was transmitted
    /// by a session with the claim `by`, which took the message back by a restart. That is so
    /// whoever has claimed the key since; but a record that was made under a later claim is
    /// another message's, and stays as it is.
    #[must_use]
    pub fn take_back(&self, by: Generation) -> Self {
        Self {
            detached: self.detached && self.generation > by,
            ..self.clone()
        }
    }

    /// Whether the client has detached and not come back for the outcome.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// What the server owes to a client that has detached. It is the one place to ask: when a
    /// decision is committed, when a session lets go of the key, and at the start for every
    /// record held. What it names is due where no session holds the key; one that does may yet
    /// transmit the final reply.
    ///
    /// ```
    /// use smtp_checkpoint::checkpoint::{Duty, Record};
    /// use smtp_checkpoint::dsn::{Owed, Reporting};
    ///
    /// /// The notification that is due, and the record to store with it.
    /// fn report(record: &Record) -> Option<(Vec<u8>, Record)> {
    ///     let Duty::Report(results) = record.duty() else { return None };
    ///     let Ok(Owed::Report(report)) = Owed::by(record.envelope(), &results) else { return None };
    ///     let part = report.delivery_status(&Reporting::new("mx.example.net").ok()?);
    ///     Some((part, record.with_dsn_issued()))
    /// }
    /// ```
    pub fn duty(&self) -> Duty {
        if !self.detached {
            return Duty::Nothing;
        }
        let RecordState::Committed(completion) = &self.state else {
            return Duty::Decide;
        };
        if completion.dsn_issued || self.reported(&completion.replies) == completion.replies {
            return Duty::Nothing;
        }
        match RecipientResult::from_replies(&self.envelope, &completion.replies) {
            Ok(results) => Duty::Report(results),
            Err(_) => Duty::Nothing, // a completion has the replies that are owed
        }
    }

    /// The same record, its failure reported by a delivery status notification: the failures that
    /// it reports are answered 250 2.0.0 from now on, those for which none was owed as they are.
    /// A record that is not committed, or not detached, stays as it is.
    #[must_use]
    pub fn with_dsn_issued(&self) -> Self {
        let mut record = self.clone();
        if let (true, RecordState::Committed(completion)) = (self.detached, &mut record.state) {
            completion.replies = self.reported(&completion.replies);
            completion.dsn_issued = true;
        }
        record
    }

    fn reported(&self, replies: &[Reply]) -> Vec<Reply> {
        reported(&self.envelope, self.per_recipient, replies)
    }

    /// The completion record: this record and the verdict on it. Pure; the caller stores it
    /// together with the message, by compare-and-set on the key, and answers only then.
    ///
    /// Complete the record as it is held by then: it may have been marked
    /// [detached](Self::detach) since the decision began. Where it was, and the verdict says that
    /// a notification was issued, the failures are answered as in
    /// [`with_dsn_issued`](Self::with_dsn_issued).
    ///
    /// # Errors
    ///
    /// A verdict is accepted once, and only with as many final replies as are owed.
    pub fn complete(&self, verdict: &Verdict) -> Result<Self, Refused> {
        if let RecordState::Committed(_) = self.state {
            return Err(Refused::AlreadyCommitted);
        }
        verdict.check(self.expected_replies())?;
        let replies = if self.detached && verdict.dsn_issued {
            self.reported(verdict.replies())
        } else {
            verdict.replies().to_vec()
        };
        Ok(Self {
            state: RecordState::Committed(Completion {
                replies,
                dsn_issued: verdict.dsn_issued,
            }),
            ..self.clone()
        })
    }

    /// The versioned byte encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND, VERSION);
        writer.u64(self.generation.0);
        self.envelope.encode(&mut writer);
        writer.u8(match self.transfer {
            Transfer::Data => 0,
            Transfer::Chunks { bdat, burl } => 1 + 2 * u8::from(bdat) + 4 * u8::from(burl),
        });
        writer
            .u64(self.length.get())
            .flag(self.per_recipient)
            .flag(self.detached);
        for fault in [self.faults.bare_cr, self.faults.bare_lf, self.faults.nul] {
            writer.optional_u64(fault.map(OctetOffset::get));
        }
        match &self.state {
            RecordState::Partial => {
                writer.u8(0);
            }
            RecordState::Processing { decision } => {
                writer.u8(1).u64(*decision);
            }
            RecordState::Committed(completion) => {
                writer
                    .u8(2)
                    .flag(completion.dsn_issued)
                    .count(completion.replies.len());
                for reply in &completion.replies {
                    reply.store(writer.raw());
                }
            }
        }
        writer.finish()
    }

    /// A record from what [`encode`](Self::encode) gave.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the session then answers 451, never "nothing held", and the store keeps
    /// what it has.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets, KIND, VERSION)?;
        let generation = Generation(reader.u64()?);
        let envelope = Envelope::decode(&mut reader)?;
        let transfer = match reader.u8()? {
            0 => Transfer::Data,
            chunks @ (3 | 5 | 7) => Transfer::Chunks {
                bdat: chunks & 2 != 0,
                burl: chunks & 4 != 0,
            },
            _ => return Err(DecodeError::Damaged),
        };
        let length = OctetOffset::from(reader.u64()?);
        let per_recipient = reader.flag()?;
        let detached = match reader.version() {
            1 => false,
            _ => reader.flag()?,
        };
        let mut first = || -> Result<Option<OctetOffset>, DecodeError> {
            Ok(reader.optional_u64()?.map(OctetOffset::from))
        };
        let faults = Faults {
            bare_cr: first()?,
            bare_lf: first()?,
            nul: first()?,
        };
        let state = match reader.u8()? {
            0 => RecordState::Partial,
            1 => RecordState::Processing {
                decision: reader.u64()?,
            },
            2 => {
                let dsn_issued = reader.flag()?;
                let count = reader.count()?;
                let replies = (0..count)
                    .map(|_| Reply::load(reader.raw()).map_err(|_| DecodeError::Damaged))
                    .collect::<Result<Vec<_>, _>>()?;
                if !replies.iter().all(is_final) {
                    return Err(DecodeError::Damaged);
                }
                RecordState::Committed(Completion {
                    replies,
                    dsn_issued,
                })
            }
            _ => return Err(DecodeError::Damaged),
        };
        reader.finish()?;
        let record = Self {
            generation,
            envelope,
            transfer,
            length,
            faults,
            per_recipient,
            detached,
            state,
        };
        match &record.state {
            RecordState::Committed(completion)
                if completion.replies.len() != record.expected_replies() =>
            {
                Err(DecodeError::Damaged)
            }
            _ => Ok(record),
        }
    }
}

pub(crate) fn expected_replies(envelope: &Envelope, per_recipient: bool) -> usize {
    if per_recipient {
        envelope.accepted().count()
    } else {
        1
    }
}

/// The final replies once a notification was issued: 250 for each failure that it reports.
pub(crate) fn reported(envelope: &Envelope, per_recipient: bool, replies: &[Reply]) -> Vec<Reply> {
    let from_somebody = matches!(envelope.mail().reverse_path, ReversePath::Mailbox(_));
    let wanted: Vec<bool> = envelope
        .accepted()
        .map(|recipient| from_somebody && dsn::wants_failure(recipient.rcpt().notify))
        .collect();
    // The one reply of SMTP stands for all recipients: reported for some, it must not be a reason
    // to send the message again.
    let any = wanted.contains(&true);
    replies
        .iter()
        .enumerate()
        .map(|(index, reply)| {
            let is_reported = match wanted.get(index) {
                Some(wanted) if per_recipient => *wanted,
                _ => any,
            };
            if is_reported && reply.severity() != Severity::Completion {
                standard::REPORTED_BY_DSN.into()
            } else {
                reply.clone()
            }
        })
        .collect()
}

const KIND: [u8; 3] = *b"REC";
/// 2 knows whether the client has detached.
const VERSION: u8 = 2;

impl From<Refused> for UsageError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::AlreadyCommitted => Self::OutOfTurn,
            Refused::ReplyCount => Self::ReplyCount,
            Refused::ReplyCode => Self::ReplyCode,
        }
    }
}

#[cfg(feature = "serde")]
crate::encoding::serde_as_octets!(Record);

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
