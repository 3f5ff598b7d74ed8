//! The two kinds of error, by who is at fault.
//!
//! Layer 0. [`PeerError`] is a rule of the protocol that the peer broke: the session has answered
//! it on the wire already and tells the caller, for logs and bans. [`UsageError`] is a call of the
//! embedder's that does not fit: nothing has changed. Neither holds an octet of the peer's.
//! [`DecodeError`] is stored data that cannot be read.

use thiserror::Error;

/// A rule that the peer broke. The session has dealt with it on the wire; whether the session goes
/// on is told by its events, never by this value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A line longer than its limit (RFC 5321 §4.5.3.1.4): 500 5.5.2.
    #[error("line longer than its limit")]
    LineTooLong,
    /// A bare CR, a bare LF or a NUL in a command or a reply (RFC 5321 §2.3.8): 500 5.5.2.
    #[error("bare CR, bare LF or NUL in a line")]
    ForbiddenOctetInLine,
    /// A verb that is not known here (RFC 5321 §4.2.4): 500 5.5.1.
    #[error("unknown command")]
    UnknownCommand,
    /// A verb of an extension that was not offered: 502 5.5.1.
    #[error("command of an extension that was not offered")]
    NotOffered,
    /// An argument or a parameter that breaks the grammar (RFC 5321 §4.1.2): 501.
    #[error("malformed command")]
    MalformedCommand,
    /// A parameter that is unknown or was not offered (RFC 5321 §4.1.1.11): 555 5.5.4.
    #[error("unknown parameter")]
    UnknownParameter,
    /// A command out of its turn (RFC 5321 §4.1.4): 503 5.5.1.
    #[error("bad sequence of commands")]
    BadSequence,
    /// A MAIL that names the TRANSID of a transaction with another MAIL whose data is all in
    /// (RFC 1845 §4): 503 5.5.1.
    #[error("not the MAIL command of the transaction to restart")]
    RestartMismatch,
    /// A recipient that the transaction to restart does not hold: 553 5.5.1.
    #[error("recipient unknown to the restarted transaction")]
    RestartRecipientUnknown,
    /// A recipient of the restarted transaction, repeated out of its order: 503 5.5.1.
    #[error("recipient of the restarted transaction out of order")]
    RestartRecipientOrder,
    /// DATA where the transaction began with BDAT, or the other way round (RFC 3030 §2).
    #[error("DATA and BDAT mixed in one transaction")]
    TransferMixed,
    /// Content behind the end of a message that is complete already: 554 5.5.0.
    #[error("content beyond the end of a complete message")]
    ContentAfterEnd,
    /// A message larger than the limit (RFC 1870): 552 5.3.4.
    #[error("message larger than the limit")]
    MessageTooLarge,
    /// More recipients than the limit: 452 4.5.3.
    #[error("too many recipients")]
    TooManyRecipients,
    /// A bare CR in the content (RFC 5321 §2.3.8).
    #[error("bare CR in the content")]
    BareCrInContent,
    /// A bare LF in the content (RFC 5321 §2.3.8).
    #[error("bare LF in the content")]
    BareLfInContent,
    /// A NUL in the content.
    #[error("NUL in the content")]
    NulInContent,
    /// A chunk-size that is no number or does not fit: what follows cannot be told apart from
    /// commands (RFC 3030 §2): 501 5.5.4, then the session closes.
    #[error("malformed chunk size")]
    ChunkSize,
    /// Octets behind STARTTLS, or behind its 220, that came before the handshake (RFC 3207 §6).
    #[error("octets in clear behind STARTTLS")]
    OctetsBeforeTls,
    /// A command that needs TLS or AUTH first: 530.
    #[error("TLS or authentication required first")]
    SecurityRequired,
    /// A SASL response that is not base64 (RFC 4954 §4): 501 5.5.2.
    #[error("SASL response is not base64")]
    Base64,
    /// More errors than the limit: 421.
    #[error("too many errors")]
    TooManyErrors,
    /// More commands without mail than the limit: 421.
    #[error("too many commands without mail")]
    TooManyIdleCommands,
    /// More failed AUTH attempts than the limit: 421.
    #[error("too many authentication attempts")]
    TooManyAuthAttempts,
    /// Nothing came for longer than the time-out (RFC 5321 §4.5.3.2).
    #[error("timed out waiting for the peer")]
    TimedOut,
    /// Content came slower than the least rate.
    #[error("content slower than the least rate")]
    TooSlow,
    /// The transport ended where it must not.
    #[error("connection lost")]
    ConnectionLost,
    /// A reply that breaks the grammar of RFC 5321 §4.2.
    #[error("malformed reply")]
    MalformedReply,
    /// A reply without a command outstanding, other than 421 (RFC 5321 §4.2).
    #[error("reply without a command")]
    UnsolicitedReply,
    /// A reply that cannot answer the command outstanding.
    #[error("reply that does not fit the command")]
    UnexpectedReply,
    /// A 355 that was not asked for or not offered (RFC 1845 §4).
    #[error("355 without CHECKPOINT or without TRANSID")]
    Unexpected355,
    /// A 355 whose offset cannot be read (RFC 1845 §4).
    #[error("malformed octet offset in a 355 reply")]
    MalformedOffset,
}

/// A call of the embedder's that does not fit. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The token belongs to another session.
    #[error("token of another session")]
    ForeignToken,
    /// More octets reported as transmitted than were taken or lent.
    #[error("more octets transmitted than there were")]
    TransmittedTooMuch,
    /// A reply whose code cannot stand there (a refusal that is not 4yz or 5yz, a final reply that
    /// is 1yz, 3yz or 421, an acceptance that is not 2yz).
    #[error("reply code does not fit the question")]
    ReplyCode,
    /// Not one final reply, or with LMTP not one for each accepted recipient (RFC 2033 §4.2).
    #[error("wrong number of final replies")]
    ReplyCount,
    /// The call does not fit the state of the session.
    #[error("call out of turn")]
    OutOfTurn,
    /// The answer carries a record although the transaction has no TRANSID.
    #[error("claim without a TRANSID")]
    ClaimWithoutTransId,
    /// The generation of the claim is not above that of the record found: the sessions before this
    /// one would not be refused.
    #[error("claim whose generation was not raised")]
    ClaimNotRaised,
    /// The content given does not fit the transaction: more than its size, less than it at the
    /// end, or not at the offset asked for.
    #[error("content does not fit the size or offset of the transaction")]
    ContentMismatch,
    /// The content holds a bare CR, a bare LF or a NUL, which the settings refuse.
    #[error("content holds an octet that the settings refuse")]
    ContentOctets,
    /// Credentials in clear, which the settings do not allow.
    #[error("credentials in clear")]
    ClearText,
    /// The transaction cannot be sent on this session as it is described.
    #[error("transaction does not fit the session")]
    TransactionMismatch,
}

/// Stored data that cannot be read. It is never taken for "nothing held".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends too early.
    #[error("stored data is cut short")]
    Truncated,
    /// It is not of the kind asked for.
    #[error("stored data is of another kind")]
    WrongKind,
    /// It was written by a version that this one does not know.
    #[error("stored data is of an unknown version")]
    UnknownVersion,
    /// Its checksum or one of its fields is not as it was written.
    #[error("stored data is damaged")]
    Damaged,
}
