//! The states of RDLV on the client, and every transition between them.
//!
//! This file owns them all: one table, [`State::after`]. What is not in it is out of turn.
//!
//! ```text
//!  Plain ──RDLV──► Asked ──2yz──► Armed ──DATA──► Submitted ──354──► Sending
//!    ▲               │ refused      ▲  │ refused     │ 520 │ BDAT, BURL   │
//!    └───────────────┴──────────────┼──┴─────────────┘     │ end written  │ end written
//!                                   └── DATA refused       ▼              ▼
//!                       final reply                     Waiting ◄─────────┘
//!         Over ◄──────────────────────────────────────── │   ▲
//!          ▲                                         120 ▼   │ CONT
//!          ├──── no choice in time, 421 ◄──────────── Interim ─┘
//!          ├──── 221 ◄── Detaching ◄── DETA ────────────┤  ▲
//!          │                 └── 4yz, 5yz ──────────────┼──┘
//!          └──── any reply ◄── Aborting ◄── RSET ───────┘
//!
//!  lost or no reply in time, anywhere behind the end of the data: Over(Unknown)
//! ```

/// The verb that ends the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndingVerb {
    /// DATA.
    Data,
    /// BDAT with LAST.
    BdatLast,
    /// BURL with LAST.
    BurlLast,
}

/// What can be said in answer to a 120.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// CONT: wait on.
    CarryOn,
    /// DETA: leave the message with the server and hang up.
    Detach,
    /// RSET: give the message up.
    Abort,
}

/// What became of the message. Only [`Delivered`](Self::Delivered) and [`Refused`](Self::Refused)
/// are the outcomes of plain SMTP: the others must not be taken for either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Outcome {
    /// Nothing yet: the end of the data was not written, or the message goes without RDLV.
    NotSubmitted,
    /// The server is at it. Neither delivered nor failed, so far.
    StillDeciding,
    /// A 2yz final reply. With LMTP: to the first recipient, more replies follow.
    Delivered,
    /// A 4yz or 5yz final reply, as the session has read it. With LMTP: to the first recipient,
    /// more replies follow.
    Refused,
    /// 421 in place of the final reply, with no 120 before it: not accepted now (RFC 5321 §3.8).
    /// With CHECKPOINT the transaction is restarted, not at once.
    ServerClosed,
    /// 221 to DETA: the server owns the message, and reports a failure by DSN. Not delivered, not
    /// failed, and never to be sent again.
    Detached,
    /// RSET in answer to a 120, and the server is known to mean it: nothing was or will be
    /// delivered.
    Aborted,
    /// It may or may not be delivered. With CHECKPOINT a restart tells; without it the caller
    /// decides whether a message too many or one too few is worse.
    Unknown(UnknownBecause),
}

/// Why nothing is known of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownBecause {
    /// The connection was lost behind the end of the data.
    Lost,
    /// The connection was lost, or no reply came, between DETA and 221.
    DetachUnanswered,
    /// No reply came within `maxtimer` and the margin.
    NoReply,
    /// No choice was made before `maxtimer` had run out: the server takes its client for gone.
    NoChoice,
    /// 250 to RSET, from a server that is not known to follow draft-burger-smtp-rdlv-01 so far as
    /// to abort the message.
    ResetAccepted,
    /// RSET was refused (too late), or never answered.
    ResetRefused,
    /// The server closed with 421 behind a 120.
    ServerClosed,
    /// A reply that is none to CONT, DETA or RSET.
    BadReply,
}

/// What to do with a verb that the server cannot do under RDLV (520).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// The verb again, without RDLV.
    Verb,
    /// RSET, and the whole transaction again, without RDLV.
    Transaction,
}

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum ReplyOutcome {
    /// RDLV has no part in it: as ever.
    Pass,
    /// RDLV is accepted (any 2yz).
    Accepted,
    /// RDLV is refused: the message goes without it.
    Declined,
    /// 520: RDLV and the verb are rejected. Nothing of the message was taken.
    NotPossible(Repeat),
    /// 120, or another 1yz: [`choose`](super::Client::choose) before `maxtimer` runs out.
    Interim,
    /// DETA is refused; the 120 is still open. [`choose`](super::Client::choose) again, another
    /// way.
    DetachRefused,
    /// It is over. Behind [`Outcome::Unknown`] close the connection without QUIT, except with
    /// [`UnknownBecause::ResetAccepted`] and [`UnknownBecause::ResetRefused`].
    Over(Outcome),
    /// A protocol error: a 120 that was not asked for, or a reply without a command. What it
    /// leaves is told by [`outcome`](super::Client::outcome); close the connection.
    Unexpected,
}

/// What the connection's loss leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Lost {
    /// The end of the data was not written: as ever.
    BeforeTheEnd,
    /// This outcome.
    Over(Outcome),
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum ClientTimeout {
    /// Nothing before [`poll_timeout`](super::Client::poll_timeout).
    Nothing,
    /// A choice is due soon: a margin is left of `maxtimer`.
    Warning,
    /// It is over: close without QUIT.
    Over(Outcome),
}

/// What may be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sending {
    /// As ever.
    AsEver,
    /// No command before the reply to the last one; the content of the message all the same.
    Wait,
    /// What [`choose`](super::Client::choose) gives, and nothing else.
    Choice,
}

/// A choice that cannot be made. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotYourTurn {
    /// No 120 waits for an answer.
    #[error("no 120 to answer")]
    NoInterim,
    /// DETA is not offered, or was refused in answer to this 120.
    #[error("DETA not possible")]
    NoDetach,
}

/// The command that the server is working under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Under {
    Submission(EndingVerb),
    Cont,
}

/// What RDLV is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Not asked for, refused, or not possible.
    Plain,
    /// RDLV is written.
    Asked,
    /// It is accepted.
    Armed,
    /// The verb that ends the message is written; of its content all, or with DATA none.
    Submitted(EndingVerb),
    /// 354 came: content is on its way.
    Sending,
    /// The end of the data, or CONT, is written.
    Waiting(Under),
    /// A 120 came.
    Interim,
    /// DETA is written.
    Detaching,
    /// RSET is written.
    Aborting,
    /// The outcome is told.
    Over(Outcome),
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Requested,
    Accepted,
    Declined,
    Submitted(EndingVerb),
    Started,
    VerbRefused,
    NotPossible,
    EndWritten,
    Interim,
    Choose(Choice),
    DetachRefused,
    Over(Outcome),
}

impl State {
    /// The state after `step`; `None` where it is out of turn.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        use EndingVerb::{BdatLast, BurlLast, Data};
        use State as A;
        use Step as S;
        Some(match (self, step) {
            (A::Plain, S::Requested) => A::Asked,
            (A::Asked, S::Accepted) => A::Armed,
            (A::Asked, S::Declined) => A::Plain,

            (A::Armed, S::Submitted(verb)) => A::Submitted(verb),
            (A::Submitted(Data), S::Started) => A::Sending,
            (A::Submitted(Data), S::VerbRefused) => A::Armed,
            (A::Submitted(_) | A::Waiting(Under::Submission(_)), S::NotPossible) => A::Plain,
            (A::Sending, S::EndWritten) => A::Waiting(Under::Submission(Data)),
            (A::Submitted(verb @ (BdatLast | BurlLast)), S::EndWritten) => {
                A::Waiting(Under::Submission(verb))
            }

            (A::Waiting(_), S::Interim) => A::Interim,
            (A::Interim, S::Choose(Choice::CarryOn)) => A::Waiting(Under::Cont),
            (A::Interim, S::Choose(Choice::Detach)) => A::Detaching,
            (A::Interim, S::Choose(Choice::Abort)) => A::Aborting,
            (A::Detaching, S::DetachRefused) => A::Interim,

            (
                A::Submitted(_)
                | A::Sending
                | A::Waiting(_)
                | A::Interim
                | A::Detaching
                | A::Aborting,
                S::Over(outcome),
            ) => A::Over(outcome),

            _ => return None,
        })
    }
}
