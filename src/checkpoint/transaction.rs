//! The server's transaction: everything of CHECKPOINT that a server has to decide.
//!
//! Layer 3. A pure machine without input or output of its own: the session (or an engine of your
//! own) tells it what the client sent and what the store answered, it tells what to reply and what
//! to do. Plain transactions, without a TRANSID, go the same way, so that an engine has one path.
//!
//! ```text
//!            claim()                rcpt()            data()            end()
//! MAIL ─────────────► nothing held ─────► asked ────► confirm ─► content ─► Decide
//!       │             partial      ─────► repeated ─► confirm ─► content from the offset ─► Decide
//!       │             processing   ─────► repeated ─► confirm ─► no content ─► Await
//!       │             committed    ─────► repeated ─► confirm ─► no content ─► Retained
//!       │             detached     ─────► as processing, while the server has a duty, else as committed
//!       └► another MAIL: partial is taken for nothing held, else SequenceError
//! ```
//!
//! # What the store promises
//!
//! * **Claim** is one step: it raises the generation of the key, so that all older writers are
//!   refused, and reads the record. It happens for every MAIL with a TRANSID, whether or not a
//!   record exists. The content of a partial record is cut to [`Record::length`]; where it is
//!   shorter, octets were lost, and that record is dropped. A record that cannot be read is kept,
//!   and MAIL answered 451. Generations go up for as long as anything is held under the key: a
//!   process that starts again begins above that of the record.
//! * A **completion record** is held without regard to the content, which has gone to its
//!   recipients. Dropped before its time, the message comes, and is delivered, a second time.
//! * **Confirming** ([`DataOutcome::Confirm`]) compares generation and length: of a partial record
//!   the length of its content, of another [`Record::length`]. A transaction that begins afresh
//!   takes what partial record and content are held away in the same step, so that an old record
//!   never stands beside new content. Do not wait for [`Discard`] with that.
//! * **Storing** a partial record names its generation and comes after the content up to its
//!   length is durable. The generation stays the same up to the commit, so a store that lags
//!   behind looks twice: a partial record never replaces one that is processing or committed, nor
//!   a longer one of the same generation.
//! * **Deciding** begins with a compare-and-set of the key under the current generation. From then
//!   on the decision belongs to the record. **Committing** stores the completion record and the
//!   message together, or one derivable from the other ([`Envelope::served`]), once; then, and only
//!   then, the final reply is given.
//! * **Discarding** is for the record that [`Discard::applies_to`] under the current generation,
//!   and is advice: it may be late or lost.
//! * **Detaching** marks what is held ([`Record::detach`]) under the current generation, in
//!   whatever state it is; it is durable, with the content, before the client is told 221. From
//!   then on what is held is never expired or discarded as long as it has a
//!   [`duty`](Record::duty), a decision on it is begun anew after a crash, and a restart takes it
//!   back only when the final reply is transmitted ([`Transaction::takes_back`],
//!   [`Record::take_back`]).
//! * **Aborting**, in answer to a 120, stops the decision and discards the record in one step,
//!   under the current generation.
//! * A later claim fences sessions, never a decision that is under way.
//!
//! Where **several hosts** share the keys, a claim in the memory of one host does not fence a
//! session of another. What holds them together is one entry for each key that all of them see:
//!
//! * A decision begins only under the decision number that the claim read: an idle key need not
//!   have been idle all the time (a transient completion record was given again and dropped).
//! * A claim that finds a decision running, or made, raises the generation in that entry. It is the
//!   one that detaching, aborting and awaiting name, and a session that another host has fenced so
//!   is told `Outdated`.
//! * A failure that is told at the end of the data although no decision has made it (content that
//!   cannot be stored, a last chunk that is refused) raises the decision number first: the client
//!   takes it for the outcome, and octets on their way may yet make the message whole on another
//!   host. Where the number cannot be raised, the session is superseded, which closes it with 421.
//! * A detached message never becomes partial again: the host that owns it decides anew after a
//!   crash, and the others find it processing until then.

use alloc::borrow::Cow;
use alloc::boxed::Box;

use super::answers::{DataOutcome, EndOutcome, MailOutcome, Offered, RcptOutcome};
use super::claim::{Claim, Confirmation, Discard, Useless};
use super::key::TransactionKey;
use super::record::{
    Completion, Duty, Generation, Record, RecordState, Transfer, Verdict, expected_replies,
    reported,
};
use crate::command::{Body, Command, Mail, Rcpt};
use crate::dot::Faults;
use crate::envelope::{Envelope, NotAnEnvelopeLine, Recipient};
use crate::line::Following;
use crate::offset::OctetOffset;
use crate::reply::Reply;

/// What the transaction was found to be when its key was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Basis {
    Fresh,
    Partial(OctetOffset),
    /// What became of it is asked at the end of the data: the decision is under way, or it is
    /// made and the server may be about to report it.
    Processing(OctetOffset),
    Committed(OctetOffset, Completion),
}

/// One transaction of the server, from MAIL to the final reply.
///
/// ```
/// use smtp_checkpoint::checkpoint::{
///     Claim, DataOutcome, EndOutcome, Following, Generation, Identity, MailOutcome, Offered, RcptOutcome,
///     Scope, Transaction, TransactionKey, Transfer,
/// };
/// use smtp_checkpoint::{offset::OctetOffset, reply::standard as reply, transid::TransId};
///
/// let transid = TransId::parse(b"<12345@claremont.edu>")?;
/// let identity = Identity::Authenticated(b"ned");
/// let key = TransactionKey::new(&Scope { identity, tls: true }, transid);
///
/// let mut transaction = Transaction::default();
/// transaction.begin(
///     b"MAIL FROM:<ned@ymir.claremont.edu> TRANSID=<12345@claremont.edu>",
///     Some(key),
/// )?;
/// // The store claims the key and holds nothing.
/// let claim = Claim::Claimed { generation: Generation(1), found: None };
/// let outcome =
///     transaction.claim(claim, Offered::default(), Following::Nothing, reply::OK.into());
/// assert_eq!(outcome, MailOutcome::Fresh);
///
/// let outcome = transaction.rcpt(b"RCPT TO:<mrose@dbc.mtview.ca.us>")?;
/// assert_eq!(outcome, RcptOutcome::Ask { index: 0 });
/// assert_eq!(transaction.answer_recipient(0, reply::OK.into()), None);
///
/// assert!(matches!(transaction.data(Transfer::Data), DataOutcome::Confirm { .. }));
/// # transaction.confirm(smtp_checkpoint::checkpoint::Confirmation::Current);
/// transaction.progress(OctetOffset::from(6135), Default::default());
/// // The connection is lost: this is what to store, behind 6135 octets of content.
/// let record = transaction.snapshot().ok_or("nothing to store")?;
/// assert_eq!(record.length(), OctetOffset::from(6135));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transaction {
    envelope: Envelope,
    key: Option<TransactionKey>,
    /// `Some` where a record is, or may be, kept.
    generation: Option<Generation>,
    basis: Basis,
    /// What the store holds, or may hold, under the key.
    held: Option<Useless>,
    /// It is this transaction's to discard.
    owns_held: bool,
    /// It is of another transaction, to be replaced at the first 250 to RCPT.
    replaces: bool,
    /// RCPTs below this index have been repeated or passed over.
    cursor: usize,
    transfer: Option<Transfer>,
    confirmed: bool,
    length: OctetOffset,
    faults: Faults,
    all_in: bool,
    /// Content was handed over that could not be stored.
    failed: bool,
    per_recipient: bool,
    /// The client had detached from it.
    detached: bool,
    /// It had, and the server still has a duty: a final reply that is transmitted ends it.
    takes_back: bool,
    is_binary: bool,
}

impl Default for Transaction {
    fn default() -> Self {
        Self::fresh()
    }
}

impl Transaction {
    /// Nothing yet.
    pub(crate) const fn fresh() -> Self {
        Self {
            envelope: Envelope::empty(),
            key: None,
            generation: None,
            basis: Basis::Fresh,
            held: None,
            owns_held: false,
            replaces: false,
            cursor: 0,
            transfer: None,
            confirmed: false,
            length: OctetOffset::ZERO,
            faults: Faults {
                bare_cr: None,
                bare_lf: None,
                nul: None,
            },
            all_in: false,
            failed: false,
            per_recipient: false,
            detached: false,
            takes_back: false,
            is_binary: false,
        }
    }

    /// A transaction of LMTP: one final reply for each accepted recipient (RFC 2033 §4.2).
    #[must_use]
    pub const fn lmtp() -> Self {
        let mut transaction = Self::fresh();
        transaction.per_recipient = true;
        transaction
    }

    /// MAIL came: `mail` is its line without CRLF, `key` is `Some` where it has a TRANSID. What
    /// was here before is forgotten. Then claim the key, and [`claim`](Self::claim).
    ///
    /// # Errors
    ///
    /// Where `mail` is no MAIL command.
    pub fn begin(
        &mut self,
        mail: &[u8],
        key: Option<TransactionKey>,
    ) -> Result<(), NotAnEnvelopeLine> {
        let Ok(Command::Mail(read)) = Command::parse(mail) else {
            return Err(NotAnEnvelopeLine);
        };
        self.begin_with(mail, &read, key);
        Ok(())
    }

    /// The same for a line that was read as this MAIL command.
    pub(crate) fn begin_with(&mut self, line: &[u8], mail: &Mail<'_>, key: Option<TransactionKey>) {
        self.clear_all_but_envelope();
        self.envelope.begin_with(line);
        self.is_binary = mail.body == Some(Body::BinaryMime);
        self.key = key;
    }

    /// Whether MAIL says BODY=BINARYMIME. A restart has the BODY of the first attempt.
    #[cfg(feature = "session")]
    pub(crate) fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// The store has answered the claim, and the caller accepts the MAIL with `reply`.
    ///
    /// A client that sends on behind the MAIL does not wait for a 355, and a partial record is of
    /// no use to it (draft-fanf-smtp-rfc1845bis-01 §3.2).
    pub fn claim(
        &mut self,
        claim: Claim,
        offered: Offered,
        following: Following,
        reply: Reply,
    ) -> MailOutcome {
        self.envelope.answer_mail(reply);
        let (generation, found) = match claim {
            Claim::Claimed { generation, found } if self.key.is_some() => (generation, found),
            Claim::Claimed { .. } | Claim::Unrecorded => return MailOutcome::Fresh,
        };
        self.generation = Some(generation);
        let Some(record) = found else {
            return MailOutcome::Fresh;
        };
        // SMTP cannot go on with a transaction of LMTP: other replies are owed.
        let same = record.per_recipient == self.per_recipient
            && record
                .envelope
                .mail()
                .same_transaction(&self.envelope.mail());
        let owes = record.duty() != Duty::Nothing;
        self.held = match record.state {
            _ if owes => None,
            RecordState::Partial => Some(Useless::Partial(record.generation)),
            RecordState::Processing { .. } => None,
            RecordState::Committed(_) => Some(Useless::Transient),
        };
        let basis = match record.state {
            _ if owes && !same => return MailOutcome::SequenceError,
            _ if owes => Basis::Processing(record.length),
            RecordState::Partial => {
                let can_go_on = match record.transfer {
                    Transfer::Data => true,
                    Transfer::Chunks { bdat, burl } => {
                        (offered.chunking || !bdat) && (offered.burl || !burl)
                    }
                };
                let can_go_on = can_go_on && (offered.dsn || !record.envelope.asks_for_dsn());
                if record.length.get() == 0 || !same || following == Following::Input || !can_go_on
                {
                    self.replaces = true;
                    return MailOutcome::Fresh;
                }
                Basis::Partial(record.length)
            }
            RecordState::Processing { .. } | RecordState::Committed(_) if !same => {
                return MailOutcome::SequenceError;
            }
            RecordState::Processing { .. } => Basis::Processing(record.length),
            RecordState::Committed(completion) => Basis::Committed(record.length, completion),
        };
        self.owns_held = matches!(basis, Basis::Partial(_));
        self.detached = record.detached;
        self.takes_back = owes;
        self.basis = basis;
        self.envelope = record.envelope;
        self.transfer = Some(record.transfer);
        self.length = record.length;
        self.faults = record.faults;
        MailOutcome::Restart(record.length)
    }

    /// RCPT came: `rcpt` is its line without CRLF.
    ///
    /// # Errors
    ///
    /// Where `rcpt` is no RCPT command.
    pub fn rcpt(&mut self, rcpt: &[u8]) -> Result<RcptOutcome, NotAnEnvelopeLine> {
        match Command::parse(rcpt) {
            Ok(Command::Rcpt(read)) => Ok(self.rcpt_with(rcpt, &read)),
            _ => Err(NotAnEnvelopeLine),
        }
    }

    /// The same for a line that was read as this RCPT command.
    pub(crate) fn rcpt_with(&mut self, rcpt: &[u8], repeated: &Rcpt<'_>) -> RcptOutcome {
        if self.basis == Basis::Fresh {
            let index = self.envelope.push_with(rcpt);
            return RcptOutcome::Ask { index };
        }
        // Behind those that were repeated first: in order, all of them together are looked at
        // once.
        let same = |stored: &Recipient<'_>| stored.rcpt().same_recipient(repeated);
        let next = self.envelope.recipients_from(self.cursor).find(same);
        let Some(next) = next else {
            let is_known = self.envelope.recipients().any(|stored| same(&stored));
            return if is_known {
                RcptOutcome::OutOfOrder
            } else {
                RcptOutcome::Unknown
            };
        };
        let Some(reply) = next.reply().cloned() else {
            return RcptOutcome::OutOfOrder;
        };
        self.cursor = next.index() + 1;
        RcptOutcome::Repeat(reply)
    }

    /// The caller's answer to [`RcptOutcome::Ask`]. The first accepted recipient makes the record
    /// of an older transaction under the same key obsolete.
    pub fn answer_recipient(&mut self, index: usize, reply: Reply) -> Option<Discard> {
        self.envelope.answer_recipient(index, reply);
        let accepted = self
            .envelope
            .recipient(index)
            .is_some_and(|recipient| recipient.is_accepted());
        if accepted && core::mem::take(&mut self.replaces) {
            return self.discard();
        }
        None
    }

    /// A data command came: DATA, a BDAT chunk, or BURL.
    ///
    /// What this cannot know: a chunk or a URL that came before the 355 was transmitted is of a
    /// client that does not know the offset, and is meant for the start of the message. Drain it
    /// and answer 503 without calling this.
    pub fn data(&mut self, transfer: Transfer) -> DataOutcome {
        if self.envelope.accepted().next().is_none() {
            return DataOutcome::NoRecipients;
        }
        // A complete message takes the empty data command of either kind.
        if !self.is_complete() {
            self.transfer = match (self.transfer, transfer) {
                (None, _) | (Some(Transfer::Data), Transfer::Data) => Some(transfer),
                (
                    Some(Transfer::Chunks { bdat, burl }),
                    Transfer::Chunks {
                        bdat: more_bdat,
                        burl: more_burl,
                    },
                ) => Some(Transfer::Chunks {
                    bdat: bdat || more_bdat,
                    burl: burl || more_burl,
                }),
                (Some(_), _) => return DataOutcome::Mixed,
            };
        }
        match self.generation {
            Some(generation) if !self.confirmed => DataOutcome::Confirm {
                generation,
                length: self.length,
                fresh: self.basis == Basis::Fresh,
            },
            _ => DataOutcome::Begin(self.length),
        }
    }

    /// The data command was refused by the caller: the next one may be of the other kind, unless
    /// content was stored already.
    pub fn refuse_data(&mut self) {
        if self.basis == Basis::Fresh && !self.confirmed && self.length.get() == 0 {
            self.transfer = None;
        }
    }

    /// The store's answer to [`DataOutcome::Confirm`]. Only [`Confirmation::Current`] lets content
    /// come; [`Confirmation::WrongLength`] gives advice to drop what is left of a partial record.
    pub fn confirm(&mut self, confirmation: Confirmation) -> Option<Discard> {
        match confirmation {
            Confirmation::Current => {
                self.confirmed = true;
                None
            }
            Confirmation::Outdated => {
                self.generation = None;
                None
            }
            // Also of a fresh transaction: what is held then is what it replaces.
            Confirmation::WrongLength if self.is_complete() => None,
            Confirmation::WrongLength => self.discard(),
        }
    }

    /// Whether all of the message is in the record already, so that no more content may come.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.basis, Basis::Processing(_) | Basis::Committed(..))
    }

    /// Content has been handed over for storing: all octets below `length`, which with DATA is a
    /// line start, in which `faults` were found (those of earlier attempts are known).
    pub fn progress(&mut self, length: OctetOffset, faults: Faults) {
        self.length = length.max(self.length);
        self.faults = self.faults.merge(faults);
    }

    /// Whether the transaction goes on from a record: the stored envelope is in force.
    #[must_use]
    pub fn is_restart(&self) -> bool {
        self.basis != Basis::Fresh
    }

    /// How much of the content counts so far.
    #[must_use]
    pub fn length(&self) -> OctetOffset {
        self.length
    }

    /// Faults found in the content so far, in earlier attempts too.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The end of the data came, and `total` octets have come in all.
    pub fn end(&mut self, total: OctetOffset) -> EndOutcome {
        match &self.basis {
            Basis::Fresh | Basis::Partial(_) => {
                self.length = total;
                self.all_in = true;
                EndOutcome::Decide
            }
            Basis::Processing(size) | Basis::Committed(size, _) if total != *size => {
                EndOutcome::ContentAfterEnd
            }
            Basis::Processing(_) => EndOutcome::Await,
            Basis::Committed(_, completion) => {
                let completion = completion.clone();
                let discard = if completion.is_transient() {
                    self.discard()
                } else {
                    None
                };
                EndOutcome::Retained {
                    completion,
                    discard,
                }
            }
        }
    }

    /// Whether this transaction took back a message from which its client had detached: once the
    /// final replies are transmitted, store [`Record::take_back`] of what is held. Where the
    /// session ends before, the duty stays the server's.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        self.takes_back
    }

    /// The final replies of a verdict: where the client had detached and the failure is reported
    /// by a notification, 250 in its place, as in [`Record::with_dsn_issued`].
    #[must_use]
    pub fn final_replies<'a>(&self, verdict: &'a Verdict) -> Cow<'a, [Reply]> {
        if self.detached && verdict.dsn_issued() {
            reported(&self.envelope, self.per_recipient, verdict.replies()).into()
        } else {
            verdict.replies().into()
        }
    }

    /// The decision that [`EndOutcome::Await`] waited for was withdrawn: the record is partial
    /// with all its data, and this transaction decides anew.
    pub fn decide_anew(&mut self) {
        if let Basis::Processing(size) = self.basis {
            self.basis = Basis::Partial(size);
            self.owns_held = true;
            self.all_in = true;
        }
    }

    /// The message was refused for what it is (a fault, its size) before any decision: what is
    /// stored of it is of no use.
    pub fn refuse(&mut self) -> Option<Discard> {
        if self.owns_held { self.discard() } else { None }
    }

    /// RSET, EHLO or HELO came within the transaction: a partial record is discarded, one whose
    /// data is all in is only let go of (draft-fanf-smtp-rfc1845bis-01 §2.5).
    pub fn reset(&mut self) -> Option<Discard> {
        if self.owns_held && !self.all_in {
            self.discard()
        } else {
            None
        }
    }

    /// The record of what has been handed over so far; `None` where there is nothing to keep. The
    /// caller makes the content durable first.
    pub fn snapshot(&mut self) -> Option<Box<Record>> {
        let generation = self.generation?;
        let transfer = self.transfer?;
        let nothing = self.length.get() == 0 && !self.all_in;
        if nothing || self.failed || !self.confirmed || self.is_complete() {
            return None;
        }
        self.owns_held = true;
        self.held = Some(Useless::Partial(generation));
        Some(Box::new(Record {
            generation,
            envelope: self.envelope.clone(),
            transfer,
            length: self.length,
            faults: self.faults.before(self.length),
            per_recipient: self.per_recipient,
            detached: self.detached,
            state: RecordState::Partial,
        }))
    }

    /// Content that was handed over could not be stored (a failed write or fsync): what is stored
    /// already stays, and no further record is made.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    fn discard(&mut self) -> Option<Discard> {
        self.owns_held = false;
        Some(Discard {
            key: self.key.clone()?,
            generation: self.generation?,
            useless: self.held?,
        })
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.envelope.clear();
        self.clear_all_but_envelope();
    }

    fn clear_all_but_envelope(&mut self) {
        // One by one: as a whole it would be moved about.
        let Self {
            envelope: _,
            key,
            generation,
            basis,
            held,
            owns_held,
            replaces,
            cursor,
            transfer,
            confirmed,
            length,
            faults,
            all_in,
            failed,
            per_recipient: _,
            detached,
            takes_back,
            is_binary,
        } = self;
        *key = None;
        *generation = None;
        *basis = Basis::Fresh;
        *held = None;
        *owns_held = false;
        *replaces = false;
        *cursor = 0;
        *transfer = None;
        *confirmed = false;
        *length = OctetOffset::ZERO;
        *faults = Faults::default();
        *all_in = false;
        *failed = false;
        *detached = false;
        *takes_back = false;
        *is_binary = false;
    }

    /// MAIL and every RCPT, with the replies given. After a restart these are the stored ones.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The key; `None` without a TRANSID.
    #[must_use]
    pub fn key(&self) -> Option<&TransactionKey> {
        self.key.as_ref()
    }

    /// The generation of the claim; `None` where no record is kept.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// How the content comes; `None` before the first data command.
    #[must_use]
    pub fn transfer(&self) -> Option<Transfer> {
        self.transfer
    }

    /// How many final replies are owed: one, or with LMTP one for each accepted recipient.
    #[must_use]
    pub fn expected_replies(&self) -> usize {
        expected_replies(&self.envelope, self.per_recipient)
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
