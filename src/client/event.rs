//! What a client session asks and tells: events, questions with their tokens, and the answers.
//!
//! Layer 4. A question is an event whose value is the right to answer it, once, at any time, from
//! any task. A question whose transaction has ended is stale: its answer changes nothing, and the
//! method says so with [`Answered::Stale`].

use alloc::boxed::Box;
use core::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::checkpoint::{MissingExtension, Outcome, ScopeRefused, UnfinishedTransaction};
use crate::error::{PeerError, UsageError};
use crate::offset::OctetOffset;
use crate::rdlv::{Choice, NotOffered};
use crate::reply::{Reply, Severity};
use crate::text::Secret;
use crate::time::Timestamp;
use crate::token::Token;

/// What a [`ClientSession`](super::ClientSession) asks or tells its caller.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A transaction can be sent. What the server offers is in
    /// [`ClientSession::capabilities`](super::ClientSession::capabilities).
    Ready,
    /// STARTTLS was accepted, which the session asks for by itself wherever it is offered, unless
    /// the configuration has [`TlsPolicy::Never`](super::TlsPolicy::Never): a loop without TLS has
    /// to set that, or it waits here. Do the handshake on the transport, then call
    /// [`handle_tls`](super::ClientSession::handle_tls).
    TlsHandover,
    /// The server wants the next SASL response.
    AuthChallenge(ChallengeQuestion),
    /// AUTH succeeded. [`Ready`](Self::Ready) follows.
    Authenticated(Reply),
    /// AUTH failed. [`Ready`](Self::Ready) follows.
    AuthRefused(Reply),
    /// Make the transaction durable, then answer with
    /// [`stored`](super::ClientSession::stored); where that fails,
    /// [`abandon`](super::ClientSession::abandon). Nothing that it vouches for is in the output
    /// before. Asked before MAIL and again before the data, or once for both. On the safe side it
    /// says that the end of the data was sent; [`Done`](Self::Done) says what really was.
    Store(StoreQuestion),
    /// A recipient was accepted or refused, now or, where a restart leaves its RCPT out, before.
    /// Where the transaction is begun again without RDLV it comes once more, and the last one
    /// counts.
    Recipient {
        /// Its place among the recipients of the transaction, from zero.
        index: usize,
        /// The reply as it came.
        reply: Reply,
        /// What it means.
        verdict: RecipientVerdict,
    },
    /// LMTP: the final reply for one recipient has come. It stands whatever becomes of the others:
    /// where the connection is lost before [`Outcome::PerRecipient`], a recipient with 2yz is left
    /// out of the next try. (With a TRANSID a restart gives all final replies again.)
    FinalReply {
        /// Its place among the recipients of the transaction, from zero.
        index: usize,
        /// The reply as it came.
        reply: Reply,
    },
    /// Give the content from `start` on with
    /// [`send_content`](super::ClientSession::send_content), whenever
    /// [`wants_content`](super::ClientSession::wants_content), and
    /// [`finish_content`](super::ClientSession::finish_content) at its end. It comes once more, and
    /// what was given counts for nothing, where the transaction is begun again without RDLV.
    SendContent {
        /// The first octet to give.
        start: OctetOffset,
        /// How many of the octets given first the server has already, at most two. They tell
        /// where a line begins and are not sent.
        lookbehind: u8,
    },
    /// No more content is wanted: the server said no, or the attempt is over.
    StopContent,
    /// RDLV is not to be had, and the message goes without it.
    NoRdlv(NoRdlv),
    /// The server is still deciding on the message (120, draft-burger-smtp-rdlv-01 §3.2.1): it is
    /// neither delivered nor failed. Carry on, detach or abort, with
    /// [`choose`](super::ClientSession::choose), before the question's
    /// [time](ChoiceQuestion::until) has run out. A refused DETA brings the question again. Not
    /// asked where a [policy](super::RdlvRequest::policy) chooses.
    StillDeciding(ChoiceQuestion),
    /// The choice is due now: only a margin is left, and then the server takes its client for gone.
    ChoiceDue,
    /// The [policy](super::RdlvRequest::policy) made the choice for a 120.
    Chosen {
        /// The 120, or the reply that refused DETA.
        reply: Reply,
        /// What was chosen, and is sent.
        choice: Choice,
    },
    /// The reply to a command of your own
    /// ([`own_command`](super::ClientSession::own_command)).
    CommandReply(Reply),
    /// What became of the attempt. Store it, then call
    /// [`outcome_stored`](super::ClientSession::outcome_stored), also where
    /// [`Finished`](Self::Finished) stands behind it. [`Ready`](Self::Ready) does not always
    /// follow: where RSET would discard what the server holds, QUIT is sent at once.
    Done(Outcome),
    /// The server refused the connection, or the client's name. QUIT is sent.
    Rejected(Reply),
    /// The server broke a rule.
    PeerFault(PeerError),
    /// The session is over: close the transport. Nothing comes after it.
    Finished(Ending),
}

/// What the reply to a RCPT means for its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecipientVerdict {
    /// Accepted: the outcome of the transaction is that of the recipient.
    Accepted,
    /// Refused for now. 552 counts as 452 (RFC 5321 §4.5.3.1.10).
    Deferred,
    /// Refused for good.
    Refused,
}

impl RecipientVerdict {
    /// What `reply` to a RCPT means.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        match reply.severity() {
            Severity::Completion => Self::Accepted,
            Severity::PermanentFailure if reply.code().get() != 552 => Self::Refused,
            _ => Self::Deferred,
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// QUIT was answered, or sent on a connection that then ended.
    Quit,
    /// The server refused the connection or the client's name.
    Rejected,
    /// TLS is required and not to be had.
    NoTls,
    /// The TLS handshake failed.
    TlsFailed,
    /// The server closed with 421. The same server is not asked again at once.
    Closed,
    /// The transport ended or failed.
    Lost,
    /// The server did not answer in time.
    TimedOut,
    /// The server broke a rule after which nothing is certain.
    Protocol,
    /// The server said no in the middle of the content, which then cannot be ended.
    RefusedEarly,
    /// The caller gave up, gave content that cannot be sent, or left a 120 unanswered.
    Abandoned,
    /// The client left by DETA, and the server has closed.
    Detached,
}

/// Why a message goes without RDLV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRdlv {
    /// The server does not offer it.
    NotOffered,
    /// It refused RDLV with this reply.
    Refused(Reply),
    /// It cannot do the verb that ends the message under RDLV (520): what was sent of the message
    /// was not taken, and is sent again.
    NotPossible(Reply),
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answered {
    /// The session took it.
    Taken,
    /// What it answers is over: nothing has changed.
    Stale,
}

/// See [`Event::Store`].
#[derive(Debug)]
#[must_use = "nothing is sent until it is answered"]
pub struct StoreQuestion {
    pub(super) token: Token,
    pub(super) transaction: Box<UnfinishedTransaction>,
}

impl StoreQuestion {
    /// What to store.
    #[must_use]
    pub fn transaction(&self) -> &UnfinishedTransaction {
        &self.transaction
    }
}

/// See [`Event::StillDeciding`].
#[derive(Debug)]
#[must_use = "the server waits for a choice"]
pub struct ChoiceQuestion {
    pub(super) token: Token,
    pub(super) reply: Reply,
    pub(super) can_detach: bool,
    pub(super) until: Timestamp,
}

impl ChoiceQuestion {
    /// The 120; or, where the question comes again, the reply that refused DETA.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Whether [`Choice::Detach`] is possible: the server offers it, the settings allow it, and it
    /// was not refused for this 120.
    #[must_use]
    pub fn can_detach(&self) -> bool {
        self.can_detach
    }

    /// When `maxtimer` has run out. Without a choice the session is over then.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// Why a choice is not taken. Nothing has changed: the 120 is as open as before.
#[derive(Debug, Error)]
pub enum ChoiceError {
    /// The question is of another session.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// DETA is not [possible](ChoiceQuestion::can_detach). The question, to choose again.
    #[error("DETA is not possible")]
    NoDetach(ChoiceQuestion),
}

/// See [`Event::AuthChallenge`].
#[derive(Debug)]
#[must_use = "the server waits for a response"]
pub struct ChallengeQuestion {
    pub(super) token: Token,
    pub(super) challenge: Bytes,
}

impl ChallengeQuestion {
    /// The challenge, decoded.
    #[must_use]
    pub fn challenge(&self) -> &[u8] {
        &self.challenge
    }
}

/// The answer to [`Event::AuthChallenge`].
#[derive(Clone, PartialEq, Eq)]
pub enum ChallengeAnswer {
    /// This response, which the session encodes.
    Response(Bytes),
    /// Cancel the exchange (RFC 4954 §4).
    Cancel,
}

/// Without the octets of the response: they may be a password.
impl fmt::Debug for ChallengeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => {
                let response = Secret(response.clone());
                f.debug_tuple("Response").field(&response).finish()
            }
            Self::Cancel => f.write_str("Cancel"),
        }
    }
}

/// What the handshake gave, for [`handle_tls`](super::ClientSession::handle_tls).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsOutcome {
    /// TLS is in use, and the server is the one that the caller wants.
    Established,
    /// The handshake failed, or the server is not the one wanted; the session is over.
    Failed,
}

/// Why a transaction cannot be sent on this session. Nothing has changed: try the next address,
/// but for [`Usage`](Self::Usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is not ready, or speaks SMTP where the transaction wants LMTP, or the other way
    /// round.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The server lacks what the message, or its first attempt, needs.
    #[error(transparent)]
    Missing(#[from] MissingExtension),
    /// An attempt from here is not allowed.
    #[error(transparent)]
    Scope(#[from] ScopeRefused),
    /// The server does not offer CHECKPOINT, and an earlier attempt sent the end of the data: the
    /// message may be delivered twice. [`UnfinishedTransaction::allow_doubling`] lifts this.
    #[error("CHECKPOINT is not offered, and the message may have been delivered")]
    NoCheckpoint,
    /// RDLV is not offered, and the caller [insists](super::WithoutRdlv::Stop) on it.
    #[error(transparent)]
    Rdlv(#[from] NotOffered),
    /// The message is larger than the server takes (RFC 1870 §6.1), in octets. Not where the end
    /// of the data was sent before: the server may have taken it, and is asked.
    #[error("message larger than the {0} octets that the server takes")]
    TooLarge(u64),
}
