//! What a server session asks and tells: events, questions with their tokens, and the answers.
//!
//! Layer 4. A question is an event whose value is the right to answer it, once, at any time, from
//! any task: pass it to the `answer_*` method of the session that has its name. A question that
//! is dropped is never answered, and runs into its deadline. A question whose transaction has
//! ended is stale: its answer changes nothing, and the method says so with [`Answered::Stale`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use crate::checkpoint::{
    Claim, Completion, Confirmation, Discard, Generation, Record, TransactionKey, Verdict,
};
use crate::command::Rcpt;
use crate::envelope::Envelope;
use crate::error::{PeerError, UsageError};
use crate::offset::OctetOffset;
use crate::rdlv::Decision;
use crate::reply::Reply;
use crate::text::Secret;
use crate::token::Token;

/// What a [`ServerSession`](super::ServerSession) asks or tells its caller.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// May the client have this connection? Only with
    /// [`ask_connection`](super::ServerConfigBuilder::ask_connection).
    Connection(ConnectionQuestion),
    /// May the client introduce itself so? Only with
    /// [`ask_hello`](super::ServerConfigBuilder::ask_hello).
    Hello(HelloQuestion),
    /// May a transaction begin? The MAIL command is in
    /// [`ServerSession::transaction`](super::ServerSession::transaction). With a TRANSID, claim
    /// its key first and answer with the [`Claim`].
    Mail(MailQuestion),
    /// May this recipient be added? Several of these may be open.
    Rcpt(RcptQuestion),
    /// Is the claim still current, and may content come? Asked before the 354, or before the first
    /// chunk, of every transaction that keeps a record, and of every other one with
    /// [`ask_data`](super::ServerConfigBuilder::ask_data). Where it begins afresh
    /// ([`ClaimToConfirm::fresh`]) a partial record that is held under the key is dropped. A claim
    /// is confirmed once in a transaction.
    Data(DataQuestion),
    /// Fetch the content of this URL and store it (RFC 4468).
    Burl(BurlQuestion),
    /// Content is ready: take it with
    /// [`poll_content`](super::ServerSession::poll_content). No more input is read until then. Of
    /// an empty message there is none, and this does not come.
    /// `poll_content` gives `None` where the session has been closed in between.
    Content,
    /// The transaction has grown past
    /// [`checkpoint_every`](super::ServerConfigBuilder::checkpoint_every) since its record was
    /// last due. Make the content taken so far durable, then store the record, now or a little
    /// later; losing it costs retransmission only.
    CheckpointDue {
        /// The key.
        key: TransactionKey,
        /// The record to store. It never replaces a completion record.
        record: Box<Record>,
    },
    /// All data is in: decide on the message.
    EndOfData(EndOfDataQuestion),
    /// All data is in, and a decision is under way that another session began. Answer with its
    /// outcome.
    AwaitDecision(AwaitQuestion),
    /// Give up the decision under way if that is still possible: its time is over, or the client
    /// of a transaction without a record is gone ([`AbandonQuestion::reason`]). After a loss the
    /// answer is [`Answered::Stale`]; act on the question all the same.
    Abandon(AbandonQuestion),
    /// RSET, EHLO or HELO came in answer to a 120: stop the decision if that is still possible.
    /// Only with [`rdlv`](super::ServerConfigBuilder::rdlv). See [`AbortQuestion`].
    Abort(AbortQuestion),
    /// DETA came in answer to a 120: may the client leave, and the message be the server's? Only
    /// where [DETA is offered](crate::rdlv::ServerSettings::deta). See [`DetachQuestion`].
    Detach(DetachQuestion),
    /// The decision is made and its reply did not reach the client: the client left, or reset,
    /// while it waited behind a 120; or the session ended before the final reply was transmitted.
    /// The message stands, or its refusal does; nothing is asked.
    ///
    /// With a record the client can ask for the reply on its next connection. Without one, it does
    /// not know of an acceptance and will probably send the message again (RFC 1047).
    ReplyUndelivered {
        /// The key, where a record is kept.
        key: Option<TransactionKey>,
        /// The generation of the session's claim, where a record is kept.
        generation: Option<Generation>,
        /// What was decided.
        decision: Decision,
    },
    /// A client that had detached took its message back by a restart, and the final reply has been
    /// transmitted: what became of the message is not the server's to report any more. Store
    /// [`Record::take_back`] of what is held under the key, whoever has claimed it since, and count
    /// the submission [finished](crate::rdlv::Limiter::finish).
    ///
    /// The duty is with the server until then: if the session ends without this event, however it
    /// ends, the message is detached as before ([the rule](crate::rdlv#a-client-that-comes-back)).
    TakenBack {
        /// The key.
        key: TransactionKey,
        /// The generation of the session's claim.
        generation: Generation,
    },
    /// The transaction was interrupted, and this is what to keep of it: make the content taken so
    /// far durable, then store the record. Before [`TransactionEnded`](Self::TransactionEnded) and
    /// [`Finished`](Self::Finished). It may come late, when the client is back and another session
    /// has claimed the key: the store then refuses its generation.
    ///
    /// It does not come where nothing is to be kept: without a record, before any content was
    /// taken, after [`fail_content`](super::ServerSession::fail_content), and while the decision
    /// runs, which has its record in [`EndOfDataQuestion::record`].
    Interrupted {
        /// The key.
        key: TransactionKey,
        /// The record to store. It never replaces a completion record.
        record: Box<Record>,
    },
    /// What is held under this key is of no use any more. Advice: it may be late or lost;
    /// [`Discard::applies_to`] says whether it still fits, by the record and the generation of the
    /// key.
    Discard(Discard),
    /// The client has all replies of these transactions for certain (QUIT came behind them): the
    /// retention of their completion records may be shortened to a floor of your choice.
    Acknowledged(Vec<TransactionKey>),
    /// AUTH came, with its mechanism and initial response.
    Auth(AuthQuestion),
    /// A SASL response came.
    AuthResponse(AuthResponseQuestion),
    /// The client cancelled the SASL exchange.
    AuthCancelled,
    /// May TLS begin?
    StartTls(StartTlsQuestion),
    /// The 220 is transmitted: do the handshake on the transport, then call
    /// [`handle_tls`](super::ServerSession::handle_tls).
    TlsHandover,
    /// A command that the session does not know. Only with
    /// [`ask_commands`](super::ServerConfigBuilder::ask_commands).
    Command(CommandQuestion),
    /// The transaction was reset or given up, failed by
    /// [`fail_content`](super::ServerSession::fail_content), or refused for content behind its end;
    /// what its questions asked is stale. After [`Interrupted`](Self::Interrupted), if that comes.
    /// Other final replies end a transaction without this event.
    ///
    /// A decision on a record that is under way, and was not stopped by [`Abort`](Self::Abort),
    /// goes on: commit it, the client asks for the reply on its next connection. Without a record
    /// [`Abandon`](Self::Abandon) came before, or a [`Detach`](Self::Detach) or `Abort` is open,
    /// whose answer says what is to become of it. After DETA that is granted this does not come:
    /// the message is the server's.
    TransactionEnded,
    /// The final reply to the end of the data was found without a question: the content was
    /// refused for a fault or its size.
    ContentRefused(PeerError),
    /// The peer broke a rule and has been answered.
    PeerFault(PeerError),
    /// The session is over, and everything that could be transmitted is: shut down the write half
    /// of the transport, drain the read half for a few seconds, and close it, so that no reset
    /// destroys the last reply (see [the module](super#the-end-of-a-session)). Nothing comes after
    /// this event.
    Finished(Ending),
}

/// Why a decision is to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbandonReason {
    /// Its time is over. The client still waits for the answer.
    TimeOver,
    /// The connection is lost, or was closed for a fault of the client's.
    ConnectionLost,
    /// The client did not answer a 120 in time, or answered it with QUIT.
    ClientGone,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// QUIT was answered.
    Quit,
    /// DETA was answered with 221: the message is the server's, and so is what becomes of it.
    Detached,
    /// The server closed: 421, a refused connection, shutdown.
    Closed,
    /// The server closed without a reply, because one would have promised too much.
    Silent,
    /// The transport ended or failed.
    Lost,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// The session took it.
    Taken,
    /// Its transaction has ended, or its deadline has passed: nothing has changed.
    Stale,
}

/// An answer that cannot stand there, with the question to answer again. Nothing has changed.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct Misanswered<Q> {
    /// The question, still open.
    pub question: Q,
    /// What is wrong with the answer.
    pub error: UsageError,
}

macro_rules! question {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug)]
        #[must_use = "a question that is dropped runs into its deadline"]
        pub struct $name {
            pub(super) token: Token,
            $(pub(super) $field: $type,)*
        }
    };
}

question! {
    /// See [`Event::Connection`].
    ConnectionQuestion {}
}
question! {
    /// See [`Event::Hello`].
    HelloQuestion { name: Bytes, extended: bool }
}
question! {
    /// See [`Event::Mail`].
    MailQuestion { key: Option<TransactionKey> }
}
question! {
    /// See [`Event::Rcpt`].
    RcptQuestion { index: usize, line: Bytes }
}
question! {
    /// See [`Event::Data`].
    DataQuestion { claim: Option<ClaimToConfirm> }
}
question! {
    /// See [`Event::Burl`].
    BurlQuestion { url: Bytes, start: OctetOffset, last: bool }
}
question! {
    /// See [`Event::EndOfData`]. With a record, this outlives its session: the verdict is given to
    /// the record, and whoever holds the key then gives the reply.
    EndOfDataQuestion { message: Message, size: OctetOffset }
}

/// What is decided on.
#[derive(Debug)]
pub(super) enum Message {
    Recorded(TransactionKey, Box<Record>),
    Plain(Envelope),
}
question! {
    /// See [`Event::AwaitDecision`].
    AwaitQuestion { key: TransactionKey, generation: Generation }
}
question! {
    /// See [`Event::Abandon`].
    AbandonQuestion {
        key: Option<TransactionKey>,
        generation: Option<Generation>,
        reason: AbandonReason,
    }
}
question! {
    /// Can the decision be stopped? The answer is that of
    /// [`answer_abort`](super::ServerSession::answer_abort).
    ///
    /// With a record the answer is the store's, in one step: under another generation nothing is
    /// stopped and it is [`Outdated`](crate::rdlv::ResetAnswer::Outdated); where the decision is
    /// committed, or is being, it is [`TooLate`](crate::rdlv::ResetAnswer::TooLate); else the
    /// decision is stopped and the record, detached or not, discarded, and it is
    /// [`Aborted`](crate::rdlv::ResetAnswer::Aborted). Whoever awaits the decision is told
    /// [`AwaitAnswer::Outdated`].
    ///
    /// The question outlives its session: act on it also where the connection is lost meanwhile,
    /// for the client wanted it. If the decision is answered first, that settles the reset, and
    /// this answer is stale.
    AbortQuestion { key: Option<TransactionKey>, generation: Option<Generation> }
}
question! {
    /// May the client leave? The answer is that of
    /// [`answer_detach`](super::ServerSession::answer_detach).
    ///
    /// [`Owned`](crate::rdlv::DetachAnswer::Owned) is right once it is durable that the server owns
    /// the message, so that after a crash it is decided on without its client, delivered, or its
    /// failure reported. With a record that is [`Record::detach`] of what is held under the key,
    /// stored in one step under the generation, with the content; without one it is the queue's to
    /// know. The number of such messages is to be limited for each sender
    /// ([`Limiter`](crate::rdlv::Limiter), draft-burger-smtp-deta-00 §5).
    ///
    /// Where the decision is made already its replies are [`held`](Self::held). A failure among
    /// them is then reported as if it came later, for the client never sees it.
    ///
    /// Replies may be held of which there is no completion record: the content was refused without
    /// a question ([`Event::ContentRefused`], or a last URL that cannot be had). What is still held
    /// under the key then is a part of the message at most, and never to be detached, for a part
    /// would be decided on. Report the failure by the replies, and answer `Owned` once the
    /// notification is durable, or where none is owed.
    ///
    /// The question outlives its session. Where the connection is lost before the answer, the
    /// client does not know whether it has left: carry on as asked if that can be, which is right
    /// in either case. Where it cannot and there is no record, abandon the decision if that is
    /// still possible, as with [`Event::Abandon`], which does not come then.
    DetachQuestion {
        key: Option<TransactionKey>,
        generation: Option<Generation>,
        held: Option<Vec<Reply>>,
    }
}
question! {
    /// See [`Event::Auth`].
    AuthQuestion { mechanism: Bytes, initial: Option<Secret> }
}
question! {
    /// See [`Event::AuthResponse`].
    AuthResponseQuestion { response: Secret }
}
question! {
    /// See [`Event::StartTls`].
    StartTlsQuestion {}
}
question! {
    /// See [`Event::Command`].
    CommandQuestion { line: Bytes }
}

/// The claim that the store is asked to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimToConfirm {
    /// The key.
    pub key: TransactionKey,
    /// The generation that the key must still have.
    pub generation: Generation,
    /// The length that the content must have; 0 where the transaction begins afresh. Where the
    /// message is complete, committed ones included, it is [`Record::length`], whatever has become
    /// of the content.
    pub length: OctetOffset,
    /// Whether the transaction begins afresh: a partial record, and its content, is dropped with
    /// the confirmation; a processing or committed one never. Also a message that is complete may
    /// have the length 0.
    pub fresh: bool,
}

impl HelloQuestion {
    /// The argument of EHLO, HELO or LHLO, octet for octet.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it is EHLO or LHLO, and not HELO.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.extended
    }
}

impl MailQuestion {
    /// The key to claim; `None` without a TRANSID.
    #[must_use]
    pub fn key(&self) -> Option<&TransactionKey> {
        self.key.as_ref()
    }
}

impl RcptQuestion {
    /// Its index in the [`Envelope`](crate::envelope::Envelope) of the transaction.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl RcptQuestion {
    /// The command line without CRLF, octet for octet.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The command, read: the forward-path and its parameters.
    #[must_use]
    pub fn rcpt(&self) -> Rcpt<'_> {
        crate::envelope::read_rcpt(&self.line)
    }
}

impl DataQuestion {
    /// What to confirm; `None` where no record is kept.
    #[must_use]
    pub fn claim(&self) -> Option<&ClaimToConfirm> {
        self.claim.as_ref()
    }
}

impl BurlQuestion {
    /// The URL, octet for octet.
    #[must_use]
    pub fn url(&self) -> &[u8] {
        &self.url
    }

    /// Where its content begins in the message.
    #[must_use]
    pub fn start(&self) -> OctetOffset {
        self.start
    }

    /// Whether it ends the message.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.last
    }
}

impl EndOfDataQuestion {
    /// The key, where a record is kept.
    #[must_use]
    pub fn key(&self) -> Option<&TransactionKey> {
        match &self.message {
            Message::Recorded(key, _) => Some(key),
            Message::Plain(_) => None,
        }
    }

    /// MAIL and every RCPT, with the replies given: whom the message is from, and whom it is for
    /// ([`Envelope::accepted`]). With a record it is that of the record.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        match &self.message {
            Message::Recorded(_, record) => record.envelope(),
            Message::Plain(envelope) => envelope,
        }
    }

    /// The record to decide on: all data is in, no decision yet. Begin the decision with a
    /// compare-and-set of the key under its generation, and commit what
    /// [`Record::complete`] makes of it, as it is held by then: where DETA is offered it may have
    /// been marked [detached](Record::detach).
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.message {
            Message::Recorded(_, record) => Some(record),
            Message::Plain(_) => None,
        }
    }

    /// The size of the whole message in octets, restarts included.
    #[must_use]
    pub fn size(&self) -> OctetOffset {
        self.size
    }
}

impl AwaitQuestion {
    /// The key whose decision is awaited.
    #[must_use]
    pub fn key(&self) -> &TransactionKey {
        &self.key
    }

    /// The generation of this session's claim: under a later one it is outdated.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }
}

impl AbandonQuestion {
    /// The key, where a record is kept: abandoning then makes the record partial with all its
    /// data.
    #[must_use]
    pub fn key(&self) -> Option<&TransactionKey> {
        self.key.as_ref()
    }

    /// The generation of this session's claim, where a record is kept.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Why it is asked.
    #[must_use]
    pub fn reason(&self) -> AbandonReason {
        self.reason
    }
}

impl AbortQuestion {
    /// The key, where a record is kept.
    #[must_use]
    pub fn key(&self) -> Option<&TransactionKey> {
        self.key.as_ref()
    }

    /// The generation that the key must still have, where a record is kept.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }
}

impl DetachQuestion {
    /// The key, where a record is kept.
    #[must_use]
    pub fn key(&self) -> Option<&TransactionKey> {
        self.key.as_ref()
    }

    /// The generation that the key must still have, where a record is kept.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// The final replies that wait for the client, where the decision is made: the caller's, or
    /// those of content that was refused without a question, of which nobody else knows.
    #[must_use]
    pub fn held(&self) -> Option<&[Reply]> {
        self.held.as_deref()
    }
}

impl AuthQuestion {
    /// The mechanism, in the case in which it came.
    #[must_use]
    pub fn mechanism(&self) -> &[u8] {
        &self.mechanism
    }

    /// The initial response, decoded; `None` where none came.
    #[must_use]
    pub fn initial_response(&self) -> Option<&[u8]> {
        self.initial.as_ref().map(|initial| &initial.0[..])
    }
}

impl AuthResponseQuestion {
    /// The response, decoded.
    #[must_use]
    pub fn response(&self) -> &[u8] {
        &self.response.0
    }
}

impl CommandQuestion {
    /// The command line without CRLF, octet for octet.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }
}

/// The answer to [`Event::Connection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionAnswer {
    /// Greet with 220.
    Accept,
    /// Refuse with 554 or 421 and close (RFC 5321 §3.1).
    Refuse(Reply),
}

/// The answer to [`Event::Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloAnswer {
    /// Answer 250. A transaction under way is given up.
    Accept,
    /// Refuse with 4yz or 5yz: the session, its transaction included, is what it was before
    /// (RFC 5321 §4.1.4). An EHLO in answer to a 120 has ended the transaction already.
    Refuse(Reply),
}

/// The answer to [`Event::Mail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailAnswer {
    /// The transaction may begin.
    Accept {
        /// What the claim of the key gave; [`Claim::Unrecorded`] without a TRANSID. A claim that
        /// is given for a MAIL without one comes back as
        /// [`UsageError::ClaimWithoutTransId`], one whose generation is not above that of the
        /// record as [`UsageError::ClaimNotRaised`].
        claim: Claim,
        /// The 2yz reply, for where the transaction starts afresh.
        reply: Reply,
    },
    /// Refuse with 4yz or 5yz. A record that cannot be read, or a store with a passing fault:
    /// [`LOCAL_ERROR`](crate::reply::standard::LOCAL_ERROR).
    Refuse(Reply),
}

impl MailAnswer {
    /// Accepts with 250 2.1.0.
    #[must_use]
    pub fn accept(claim: Claim) -> Self {
        Self::Accept {
            claim,
            reply: crate::reply::standard::SENDER_OK.into(),
        }
    }
}

/// The answer to [`Event::Data`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataAnswer {
    /// Content may come: the claim, if there is one, is current.
    Proceed,
    /// Refuse with 4yz or 5yz: the transaction stands, a chunk is drained. The last chunk of a
    /// message whose decision stands or is under way is answered 421 instead, and the session
    /// closed: its client would take any other reply for the decision.
    Refuse(Reply),
    /// What the store says of the claim, mostly that it does not confirm it:
    /// [`Confirmation::Outdated`] ends the session with 421, [`Confirmation::WrongLength`] is
    /// answered 451. [`Confirmation::Current`] is [`Proceed`](Self::Proceed).
    Unconfirmed(Confirmation),
}

impl From<Confirmation> for DataAnswer {
    fn from(confirmation: Confirmation) -> Self {
        match confirmation {
            Confirmation::Current => Self::Proceed,
            Confirmation::Outdated | Confirmation::WrongLength => Self::Unconfirmed(confirmation),
        }
    }
}

/// The answer to [`Event::Burl`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BurlAnswer {
    /// The whole content is stored behind what was there.
    Stored {
        /// How many octets it has.
        octets: u64,
    },
    /// Refuse with 4yz or 5yz: nothing of it is stored (RFC 4468 §3.2).
    Refuse(Reply),
}

/// The answer to [`Event::EndOfData`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndOfDataAnswer {
    /// The decision, stored: the message and the completion record are durable, and the claim is
    /// still this session's. A 4yz that was not stored is right only where it is certain that
    /// nothing was committed, and never for a record that [is detached](Record::is_detached): that
    /// is decided on again, whatever its client is told. Answer [`Outdated`](Self::Outdated) then.
    Decided(Verdict),
    /// The store refused to begin or to commit the decision because the key has moved on, or
    /// committed it and the claim has moved on since, or cannot tell whether it is committed: the
    /// session ends with 421, and the client learns the truth by a restart.
    Outdated,
}

/// The answer to [`Event::AwaitDecision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwaitAnswer {
    /// The decision that was committed.
    Decided(Completion),
    /// It was withdrawn: the record is partial with all its data, and this session's
    /// [`Event::EndOfData`] comes next, without another [`Event::Data`] or [`Event::Content`]. Its
    /// record has the generation of this session's claim.
    Withdrawn,
    /// Another session has claimed the key since: 421.
    Outdated,
}

/// The answer to [`Event::Abandon`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AbandonAnswer {
    /// Nothing was or will be delivered of this decision.
    Abandoned,
    /// The decision stands, or cannot be stopped any more.
    TooLate,
}

/// The answer to [`Event::Auth`] and [`Event::AuthResponse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthAnswer {
    /// 334 with this challenge, which the session encodes.
    Challenge(Bytes),
    /// 235 2.7.0: the client is this identity from now on.
    Success {
        /// The identity, in a form that is the same whenever this client authenticates.
        identity: Bytes,
    },
    /// The exchange failed.
    Failure(AuthFailure),
}

/// Why a SASL exchange failed (RFC 4954 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthFailure {
    /// 535 5.7.8: the credentials are not right.
    InvalidCredentials,
    /// 454 4.7.0: a passing fault.
    Temporary,
    /// 504 5.5.4: the mechanism is not known.
    UnknownMechanism,
    /// 534 5.7.9: the mechanism is too weak.
    TooWeak,
    /// 538 5.7.11: the mechanism needs TLS.
    EncryptionRequired,
    /// 501 5.5.2: the response cannot be read.
    Malformed,
}

/// The answer to [`Event::StartTls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartTlsAnswer {
    /// 220, then the hand-over.
    Proceed,
    /// 454 4.7.0.
    Refuse,
}

/// What the handshake gave, for [`handle_tls`](super::ServerSession::handle_tls).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsOutcome {
    /// TLS is in use.
    Established {
        /// The identity of the client's certificate, where it showed one that the caller trusts.
        client: Option<Bytes>,
    },
    /// The handshake failed; the session is over.
    Failed,
}

/// The answer to [`Event::Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandAnswer {
    /// This reply.
    Reply(Reply),
    /// Unknown here too: 500 5.5.1.
    Unknown,
}
