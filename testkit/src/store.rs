//! What an embedder implements for its own store.

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Completion, Confirmation, Discard, Generation, Record, TransactionKey, Verdict,
};
use smtp_checkpoint::dsn;
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::ResetAnswer;
use smtp_checkpoint::reply::Reply;
use smtp_checkpoint::server::ClaimToConfirm;

/// A store for transactions that may be interrupted, as the testkit drives it.
///
/// Implement it for a thin wrapper around your own store: each method is one thing that your
/// server does when an [`Event`](smtp_checkpoint::server::Event) of that name comes. The methods
/// are called one after the other, from one thread; where your store answers by a callback or a
/// future, wait for it.
///
/// What the methods of a session have in common: they name the key and the generation that
/// [`claim`](Self::claim) gave. An outdated generation is [`StoreError::Outdated`], and changes
/// nothing.
///
/// [`ModelStore`](crate::ModelStore) is the shortest store that keeps all of it, in memory.
pub trait Store {
    /// Claims the key for a session, for every MAIL with a TRANSID. In one step: the generation is
    /// raised, so that older sessions are refused from now on; the content is cut to the length of
    /// the partial record that is there; the record is read. What is found partial is durable when
    /// this returns, since a 355 announces it.
    ///
    /// While a decision runs, what is found is [`Record::processing`]; after its commit it is the
    /// completion record. Both look the same from every host.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] where there is a record that cannot be read: MAIL is answered 451.
    fn claim(&mut self, key: &TransactionKey) -> Result<Claim, StoreError>;

    /// Confirms the claim when the first data command comes: that its generation is current and
    /// that the content which is held has the length that was announced. Content may be written
    /// from then on.
    ///
    /// [`ClaimToConfirm::fresh`] begins the content afresh: a partial record that is held, and its
    /// content, no longer count once a newer one is stored. While a decision runs or is committed,
    /// the length is that of the whole message, which may be 0, and no content comes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]. An outdated generation is [`Confirmation::Outdated`].
    fn confirm(&mut self, claim: &ClaimToConfirm) -> Result<Confirmation, StoreError>;

    /// Writes content at its place, behind what is there. Need not be durable.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Failed`] nothing more is written under this claim.
    fn write(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        start: OctetOffset,
        content: &[Bytes],
    ) -> Result<(), StoreError>;

    /// Stores a partial record, behind the content that it counts: a record never counts octets
    /// that a crash could lose. May itself be lost in a crash as long as no claim has found it.
    /// The generation is that of the record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] also while a decision runs, and after its commit.
    fn keep(&mut self, key: &TransactionKey, record: &Record) -> Result<(), StoreError>;

    /// All data is in: begins the decision on it, by compare-and-set of the key. From here on the
    /// decision belongs to the record, and later claims do not touch it. The generation is that of
    /// the record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] also where a decision runs or is committed.
    fn begin(&mut self, key: &TransactionKey, record: &Record) -> Result<Decision, StoreError>;

    /// Commits the decision: the message, where the verdict accepts it for anybody, and the
    /// completion record ([`Record::complete`]), durable together when this returns. Whether its
    /// session still lives, or still holds the key, does not matter.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] where the decision is in force no more: withdrawn, or taken over by
    /// another host when its lease had expired. [`StoreError::Failed`] where nothing is or will be
    /// delivered of it: the decision is over, and what was held before it is held again.
    /// [`StoreError::Unclear`] where that cannot be told before the store is opened again.
    fn commit(
        &mut self,
        key: &TransactionKey,
        decision: Decision,
        verdict: &Verdict,
    ) -> Result<(), StoreError>;

    /// Takes the decision back: nothing was or will be delivered of it, and the record is partial
    /// with all its data ([`Record::withdraw`]). Where the storage fails, what was held before is
    /// held again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] where it is in force no more, or committed;
    /// [`StoreError::Failed`] where it goes on.
    fn withdraw(&mut self, key: &TransactionKey, decision: Decision) -> Result<(), StoreError>;

    /// How the decision stands that a session of this generation waits for. Called again and again
    /// until it is not [`Standing::Running`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] is the same as [`Standing::Outdated`].
    fn look(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<Standing, StoreError>;

    /// Discards what is held, if [`Discard::applies_to`] it under the current generation. Advice:
    /// it may come late, and nothing depends on it.
    ///
    /// # Errors
    ///
    /// None matters.
    fn discard(&mut self, discard: &Discard) -> Result<(), StoreError>;

    /// The session lets go of the key: what is held is no longer pinned in its name. Does nothing
    /// by default.
    fn release(&mut self, key: &TransactionKey, generation: Generation) {
        let _ = (key, generation);
    }

    /// A session of this claim is about to tell a failure that no decision has made: of content, or
    /// a decision, that cannot be stored. The client takes it for the outcome; so nothing may come
    /// of what a session of another host holds of the message, which no claim in the memory of
    /// this one fences. Raises the decision number under the key, by compare-and-set under the one
    /// that the claim read. Nothing to do, which is the default, where there is one host.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] where the key has moved on. After any error the session is closed
    /// with 421 instead, and the client asks again.
    fn give_up(&mut self, key: &TransactionKey, generation: Generation) -> Result<(), StoreError> {
        let _ = (key, generation);
        Ok(())
    }

    /// RSET in answer to a 120: stops the decision under the key and discards what is held of its
    /// message, detached or not, in one step. Where it is committed, [`ResetAnswer::TooLate`]
    /// (what the default answers); under another claim [`ResetAnswer::Outdated`].
    ///
    /// Which claim is current for this all hosts have to agree on: a claim that finds a decision,
    /// running or made, outdates those before it on every host. The same goes for
    /// [`detach`](Self::detach), and for what [`look`](Self::look) tells of a failure.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: the decision goes on.
    fn abort(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<ResetAnswer, StoreError> {
        let _ = (key, generation);
        Ok(ResetAnswer::TooLate)
    }

    /// Whether clients may leave their messages to this store by DETA. It then has
    /// [`detach`](Self::detach), [`take_back`](Self::take_back), [`due`](Self::due),
    /// [`take_duty`](Self::take_duty) and [`report`](Self::report); and for messages without a
    /// TRANSID [`detach_unrecorded`](Self::detach_unrecorded) and
    /// [`report_unrecorded`](Self::report_unrecorded), or their clients are told to wait. False by
    /// default.
    fn detaches(&self) -> bool {
        false
    }

    /// DETA: marks what is decided on under the key, or has been, as detached
    /// ([`Record::detach`]). It is durable when this returns, with the content: from here on the
    /// message is decided on after any crash, delivered, or its failure reported, and nothing but
    /// [`abort`](Self::abort) discards it. No host ever finds it partial again, but for the one
    /// that holds its content, and that one finds it whole and detached.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] under another claim, see [`abort`](Self::abort);
    /// [`StoreError::Failed`] where nothing is being decided on, or the storage failed: the
    /// message is the client's.
    fn detach(&mut self, key: &TransactionKey, generation: Generation) -> Result<(), StoreError> {
        let _ = (key, generation);
        Err(StoreError::Failed)
    }

    /// The client came back and has the final reply: stores [`Record::take_back`] of what is held
    /// under the key, whatever its state, and whoever has claimed the key since.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: the message is as detached as before.
    fn take_back(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let _ = (key, generation);
        Ok(())
    }

    /// The keys of detached messages for which something is due ([`Record::duty`]) that this host
    /// can do: nobody decides on them, and no session, of any host, that found the decision holds
    /// the key. Asked for when a session lets go of its key, when a decision ends, at the start,
    /// and now and then.
    fn due(&mut self) -> Vec<TransactionKey> {
        Vec::new()
    }

    /// What is due for a detached message. A decision is begun by it, as by
    /// [`begin`](Self::begin); `None` where nothing is due any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: it is as due as before.
    fn take_duty(&mut self, key: &TransactionKey) -> Result<Option<Due>, StoreError> {
        let _ = key;
        Ok(None)
    }

    /// Issues a failure DSN: makes it durable and stores [`Record::with_dsn_issued`], in one step.
    /// `record` is the one that [`take_duty`](Self::take_duty) gave.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outdated`] where another record is held by now, or a session holds the key;
    /// [`StoreError::Failed`]: it is as due as before.
    fn report(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        report: Reported,
    ) -> Result<(), StoreError> {
        let _ = (key, record, report);
        Err(StoreError::Failed)
    }

    /// DETA for a message without a record ([`Claim::Unrecorded`]) that is being decided on: takes
    /// it over for good. `record` was made for it, with all its data, and is
    /// [detached](Record::detach); `key` is one of the server's own, which is used once and which
    /// no client can claim. The decision, of which only the process knew, goes on under the key,
    /// with the number that this gives.
    ///
    /// Record and content are durable when this returns: from here on the message is like any
    /// other that is detached ([`commit`](Self::commit), [`withdraw`](Self::withdraw),
    /// [`due`](Self::due), [`report`](Self::report)). Fails by default.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: nothing is held of it, and the message is the client's.
    /// [`StoreError::Unclear`]: the session is closed without a reply, and the decision given up;
    /// what is found when the store is opened again is decided on.
    fn detach_unrecorded(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        content: &[u8],
    ) -> Result<Decision, StoreError> {
        let _ = (key, record, content);
        Err(StoreError::Failed)
    }

    /// DETA for a message without a record whose decision is made, and has failed for somebody
    /// ([`DetachQuestion::held`](smtp_checkpoint::server::DetachQuestion::held)): makes the failure
    /// DSN durable, in one step, since the client will never hear of the failure. Not called where
    /// none is owed. Fails by default.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: no DSN is or will be issued, and the client can still ask for the
    /// reply. [`StoreError::Unclear`]: the session is closed without one.
    fn report_unrecorded(&mut self, report: Reported) -> Result<(), StoreError> {
        let _ = report;
        Err(StoreError::Failed)
    }

    /// All DSNs issued so far, in any order. Like [`delivered`](Self::delivered), not a part of a
    /// mail server.
    fn reported(&mut self) -> Vec<Reported> {
        Vec::new()
    }

    /// Delivers a message without a record, as the client sent no TRANSID, or its claim was answered
    /// [`Claim::Unrecorded`]. The verdict accepts it for somebody ([`Delivered::by`]). Durable when
    /// this returns. Fails by default.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]: nothing is or will be delivered of it. [`StoreError::Unclear`]: the
    /// session is closed without a reply.
    fn deliver(
        &mut self,
        envelope: &Envelope,
        verdict: &Verdict,
        content: &[u8],
    ) -> Result<(), StoreError> {
        let _ = (envelope, verdict, content);
        Err(StoreError::Failed)
    }

    /// All messages delivered so far, in any order: each time that a message was handed on to
    /// recipients is one of them. Not a part of a mail server: this is where the testkit looks.
    fn delivered(&mut self) -> Vec<Delivered>;

    /// The process of this host has died: sessions, claims and decisions of its own are gone. Open
    /// the store again, as your server does when it starts.
    ///
    /// `unsynced` says what the crash leaves of what was not synced. A store that cannot tell may
    /// leave all of it, and tests less.
    fn restart(&mut self, unsynced: Unsynced);

    /// A store for another host, over the same storage; `None` (the default) where one process has
    /// the storage for itself.
    fn another_host(&mut self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// All leases of decisions expire, although their holders live (between hosts only). Does
    /// nothing by default.
    fn expire_leases(&mut self) {}

    /// Steps of the storage so far: writes, syncs, renames, statements, whatever can fail or be
    /// the last before a crash. 0 (the default) where they are not counted; crashes then come
    /// between the calls of this trait only.
    fn steps(&self) -> u64 {
        0
    }

    /// When [`steps`](Self::steps) comes to `step`, this happens in place of the step. Replaces
    /// what was to happen before. Does nothing by default.
    fn trouble_at(&mut self, step: u64, trouble: Trouble) {
        let _ = (step, trouble);
    }

    /// No more trouble: the disk has room again and nothing is about to fail. Does nothing by
    /// default.
    fn end_of_trouble(&mut self) {}
}

/// The number of a decision, as a store gave it: not used for the same key before, on any host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision(pub u64);

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreError {
    /// The key has moved on.
    Outdated,
    /// The storage failed, and nothing has changed.
    Failed,
    /// The storage failed in such a way that only [`Store::restart`] will tell what has changed.
    Unclear,
    /// The process died of it ([`Trouble::PowerCut`]): [`Store::restart`] comes next.
    Crashed,
}

/// How a decision stands, see [`Store::look`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is being made, in a process that lives.
    Running,
    /// It is committed.
    Decided(Completion),
    /// It was withdrawn: the record is partial with all its data, and this session may decide.
    Withdrawn,
    /// The key has moved on, or what was decided on is not there: the client learns the truth by a
    /// restart.
    Outdated,
}

/// What a crash leaves of what was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsynced {
    /// Nothing.
    Lost,
    /// All of it: only the process died.
    Kept,
    /// Some of it, chosen by this seed: the first octets of a write, one file and not the other.
    Torn(u64),
}

/// What can happen to a step of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The power fails: neither this step nor any after it is done. The call ends with
    /// [`StoreError::Crashed`].
    PowerCut,
    /// This step fails, as a dying disk would have it. A failed sync may lose what it was to sync.
    Fails,
    /// The disk is full: this step and all after it that need room fail, until
    /// [`Store::end_of_trouble`] or [`Store::restart`].
    Full,
}

/// What is due for a detached message, see [`Store::take_duty`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// The decision on this record, which has been begun.
    Decide(Decision, Box<Record>),
    /// A failure DSN for this record, to be [issued](Store::report).
    Report(Box<Record>),
}

/// A failure DSN that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The MAIL command of the message, without CRLF.
    pub mail: Vec<u8>,
    /// The RCPT commands of those for whom it failed, without CRLF.
    pub recipients: Vec<Vec<u8>>,
}

impl Reported {
    /// What this report says of a message.
    pub(crate) fn by(report: &dsn::Report<'_>, envelope: &Envelope) -> Self {
        let failed = report.failed().iter();
        Self {
            mail: envelope.mail_line().to_vec(),
            recipients: failed.map(|it| it.recipient().line().to_vec()).collect(),
        }
    }
}

/// A message that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The MAIL command, without CRLF.
    pub mail: Vec<u8>,
    /// The RCPT commands of those that it was delivered to, without CRLF.
    pub recipients: Vec<Vec<u8>>,
    /// The content, in SMTP canonical form.
    pub content: Vec<u8>,
}

impl Delivered {
    /// What a commit with these final replies delivers; `None` where nobody is served. With one
    /// reply it is that of all accepted recipients (SMTP), else each has its own (LMTP).
    #[must_use]
    pub fn by(envelope: &Envelope, replies: &[Reply], content: Vec<u8>) -> Option<Self> {
        let recipients: Vec<Vec<u8>> = envelope
            .served(replies)
            .map(|recipient| recipient.line().to_vec())
            .collect();
        (!recipients.is_empty()).then(|| Self {
            mail: envelope.mail_line().to_vec(),
            recipients,
            content,
        })
    }
}
