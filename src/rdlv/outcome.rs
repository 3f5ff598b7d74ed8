//! What the server's machine is told and tells, one name for each case.

use super::server_state::{Decision, Progress, Reset};
use super::settings::ServerSettings;
use crate::command::Command;
use crate::reply::{StaticReply, standard};

/// Whether a transaction is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Within {
    /// Between an accepted MAIL and the verb that ends the message.
    Transaction,
    /// Anywhere else.
    NoTransaction,
}

/// How RDLV is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum RequestOutcome {
    /// [`ServerSettings::accepted`]. An RDLV before it is replaced.
    Accepted,
    /// 501 5.5.4: below `mintimer`. An RDLV before it still holds.
    BelowMinimum,
    /// 503 5.5.1: outside a transaction, or in answer to a 120, which stays open.
    OutOfTurn,
}

/// The verb that ends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Submission {
    /// DATA.
    Data,
    /// BDAT with LAST.
    BdatLast,
    /// BURL with LAST.
    BurlLast,
}

/// Whether the verb that ends the message can be done as RDLV asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum SubmissionOutcome {
    /// Go on with the verb.
    Proceed,
    /// 520 5.3.3: both RDLV and the verb are rejected. DATA and BURL may be repeated without RDLV;
    /// a BDAT chunk is drained.
    Rejected,
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Due {
    /// Nothing before [`Server::poll_timeout`](super::Server::poll_timeout).
    Nothing,
    /// Write a 120, and report it [`transmitted`](super::Server::transmitted).
    Send,
    /// A 120 was due, but input follows: none is sent for this verb.
    Suppressed,
    /// No CONT came in time: close without a reply.
    ClientGone(Gone),
}

/// What becomes of the message when the client is gone, or leaves by QUIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Gone {
    /// No decision was running or held.
    Nothing,
    /// The decision is running: with a record it goes on (RFC 1845 §1), without one the caller is
    /// asked to abandon it.
    Running,
    /// The decision stands; its reply was not delivered. Nothing is asked.
    Undelivered(Decision),
    /// DETA is being answered: that goes on, and if the message is owned, it is detached. If not,
    /// it is as with `Running` or `Undelivered`.
    Detaching(Progress),
    /// A reset is being answered: that goes on, without its reply.
    Resetting,
}

/// A command, as far as RDLV has to tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// CONT.
    Cont,
    /// DETA.
    Deta,
    /// RSET.
    Rset,
    /// EHLO, HELO or LHLO.
    Hello,
    /// QUIT.
    Quit,
    /// Any other, RDLV included.
    Other,
}

impl From<&Command<'_>> for Verb {
    fn from(command: &Command<'_>) -> Self {
        match command {
            Command::Cont => Self::Cont,
            Command::Deta => Self::Deta,
            Command::Rset => Self::Rset,
            Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_) => Self::Hello,
            Command::Quit => Self::Quit,
            _ => Self::Other,
        }
    }
}

/// How a command is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum CommandOutcome {
    /// RDLV has no part in it: as ever. RSET and EHLO have cleared a request.
    Pass,
    /// CONT: no reply of its own, the next 120 is timed from here.
    Continue,
    /// CONT: give the reply that is held.
    GiveHeld,
    /// DETA: ask whether the message can be owned, durably and within the limit for its sender;
    /// then [`Server::detach`](super::Server::detach). No command is read until then.
    AskDetach(Progress),
    /// RSET or EHLO: ask whether the decision can be stopped; then [`Server::reset`](super::Server::reset). No command
    /// is read until then.
    AskAbort,
    /// RSET or EHLO, and the decision is made already.
    Settled(Settled),
    /// QUIT: 221 and close.
    Quit(Gone),
    /// 503 5.5.1. A 120 that is open stays open.
    OutOfTurn,
    /// 502 5.5.1: DETA, which is not offered. A 120 that is open stays open.
    NotOffered,
    /// A command is outstanding already: keep this one, and pass it again once that is answered.
    NotNow,
}

/// Whether the next command may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reading {
    /// As ever.
    AsEver,
    /// One, and the next only after its reply: a 120 is open.
    One,
    /// None: a command is outstanding.
    None,
}

/// What the caller says of stopping the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetAnswer {
    /// Nothing was or will be delivered; a record was discarded in the same step.
    Aborted,
    /// The decision stands, or cannot be stopped any more.
    TooLate,
    /// Another session has claimed the key since: nothing was aborted.
    Outdated,
}

/// What a reset in answer to 120 came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetEnding {
    /// Nothing was or will be delivered, and nothing is kept.
    Aborted,
    /// The message had been refused before: nothing was or will be delivered. The record, if any,
    /// stays.
    AlreadyRefused,
    /// The message stands, its reply is lost to this session. The record, if any, stays.
    TooLate,
    /// Another session has claimed the key: 421, and nothing was aborted.
    Outdated,
}

/// A reset in answer to 120, ready to be answered. The transaction is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Settled {
    /// The command to answer.
    pub reset: Reset,
    /// What became of the message.
    pub ending: ResetEnding,
}

impl Settled {
    /// The reply; `None` where EHLO, HELO or LHLO is answered as ever. 421 ends the session.
    #[must_use]
    pub const fn reply(self, settings: &ServerSettings) -> Option<StaticReply> {
        match (self.reset, self.ending) {
            (_, ResetEnding::Outdated) => Some(standard::FENCED),
            (Reset::Hello, _) => None,
            (Reset::Rset, ResetEnding::TooLate) if !settings.late_reset_with_250 => {
                Some(standard::TOO_LATE_TO_ABORT)
            }
            (Reset::Rset, _) => Some(standard::OK),
        }
    }
}

/// What the caller says of owning the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetachAnswer {
    /// It is the server's, and that is durable.
    Owned,
    /// The sender has too many already: 450 4.7.1.
    OverLimit,
    /// It could not be made durable: 451 4.3.0.
    Failed,
    /// Another session has claimed the key since: 421.
    Outdated,
}

/// How DETA is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum DetaOutcome {
    /// 221 and close. The message is the server's; if it failed or fails, the DSN is owed.
    Detached(Progress),
    /// This 4yz reply; the 120 stays open, so that the client can still say CONT.
    Refused(StaticReply),
    /// 421 and close: nothing was detached.
    Outdated,
    /// No DETA is being answered: nothing has changed.
    Stale,
}

/// Where the final reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum DecidedOutcome {
    /// Give it now.
    Give,
    /// Hold it: a 120 is open, or DETA is being answered.
    Hold,
    /// It is too late for it: this answers the reset that came in between.
    Settled(Settled),
    /// No decision is awaited: nothing has changed, nothing is written.
    NotAwaited,
}

/// A reset where the decision is made.
pub(super) const fn settle(reset: Reset, decision: Decision) -> Settled {
    let ending = match decision {
        Decision::Stands => ResetEnding::TooLate,
        Decision::Refused => ResetEnding::AlreadyRefused,
    };
    Settled { reset, ending }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_answer_a_120_are_told_from_others() {
        for (line, verb) in [
            (&b"CONT"[..], Verb::Cont),
            (b"DETA", Verb::Deta),
            (b"RSET", Verb::Rset),
            (b"EHLO c.example", Verb::Hello),
            (b"HELO c.example", Verb::Hello),
            (b"LHLO c.example", Verb::Hello),
            (b"QUIT", Verb::Quit),
            (b"NOOP", Verb::Other),
            (b"RDLV maxtimer=30", Verb::Other),
        ] {
            let command = Command::parse(line).unwrap();
            assert_eq!(Verb::from(&command), verb, "{line:?}");
        }
    }
}
