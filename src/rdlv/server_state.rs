//! The states of RDLV on the server, and every transition between them.
//!
//! This file owns them all: one table, [`State::after`]. What is not in it is out of turn.
//!
//! ```text
//!           RDLV                 end of data                  due
//!  Idle ──────────► Requested ───────────────► Counting ────────────► Sent ──► Open
//!   │ ▲ clear, 520 ───┘                         │  ▲  │ input follows   └──┬─────┘
//!   │ │                                         │  │  ▼                    │ the 120 is open
//!   │ └──────────── decided: give the reply ◄───┴──┼─ Quiet                │
//!   │                                              │  ▲                    │
//!   └────── end of data, RDLV was not asked ───────┼──┘                    │
//!                                                  │                       │
//!                       CONT, nothing decided ◄────┴───────────────────────┤
//!  Idle ◄── CONT, decided: give the held reply ◄───────────────────────────┤
//!  Idle ◄── answered, or decided meanwhile ◄── Resetting ◄── RSET, EHLO ◄──┤
//!  Idle ◄── owned: 221, close ◄── Detaching ◄── DETA ◄─────────────────────┤
//!                  refused: the 120 stays open ──┘                         │
//!  Idle ◄── QUIT: 221, close; no CONT in time; connection lost ◄───────────┘
//! ```

/// What a decision came to, as far as RDLV has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The message was accepted for some recipient at least, or a DSN was issued: it cannot be
    /// taken back.
    Stands,
    /// It was refused for all, and nobody was told: nothing was or will be delivered.
    Refused,
}

impl From<&crate::checkpoint::Verdict> for Decision {
    fn from(verdict: &crate::checkpoint::Verdict) -> Self {
        if verdict.accepts() || verdict.dsn_issued() {
            Self::Stands
        } else {
            Self::Refused
        }
    }
}

impl From<&crate::checkpoint::Completion> for Decision {
    fn from(completion: &crate::checkpoint::Completion) -> Self {
        let accepted = completion
            .replies
            .iter()
            .any(|reply| reply.severity() == crate::reply::Severity::Completion);
        if accepted || completion.dsn_issued {
            Self::Stands
        } else {
            Self::Refused
        }
    }
}

/// How far the decision on the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// It is being made.
    Running,
    /// It is made and committed; its reply is held.
    Decided(Decision),
}

/// The command that resets the session while a 120 is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reset {
    /// RSET.
    Rset,
    /// EHLO, HELO or LHLO: answered as ever, whatever becomes of the message.
    Hello,
}

/// What RDLV is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Not asked for, and no decision is running.
    Idle,
    /// Asked for; the end of the data has not come.
    Requested,
    /// A decision is running, and a 120 will be due.
    Counting,
    /// A decision is running, and there will be no 120 for the command outstanding.
    Quiet,
    /// A 120 was written and not yet transmitted.
    Sent(Progress),
    /// A 120 was transmitted: the client's turn.
    Open(Progress),
    /// A reset came in answer to a 120; whether the decision can be stopped is being asked.
    Resetting(Reset),
    /// DETA came in answer to a 120; whether the message can be owned is being asked.
    Detaching(Progress),
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Request,
    Clear,
    EndOfData,
    Due,
    Suppress,
    Transmitted,
    Decided(Decision),
    Cont,
    Deta,
    Reset(Reset),
    /// RSET or EHLO is answered.
    ResetSettled,
    /// DETA is answered 221.
    Owned,
    /// DETA is answered 4yz.
    DetachRefused,
    /// QUIT, client gone, connection lost.
    End,
}

impl State {
    /// The state after `step`; `None` where it is out of turn.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        use Progress::{Decided, Running};
        use State as A;
        use Step as S;
        Some(match (self, step) {
            (_, S::End | S::Clear) => A::Idle,

            (A::Idle | A::Requested, S::Request) => A::Requested,
            (A::Requested, S::EndOfData) => A::Counting,
            (A::Idle, S::EndOfData) => A::Quiet,

            (A::Counting, S::Due) => A::Sent(Running),
            (A::Counting, S::Suppress) => A::Quiet,
            (A::Sent(progress), S::Transmitted) => A::Open(progress),

            (A::Counting | A::Quiet, S::Decided(_)) => A::Idle,
            (A::Sent(Running), S::Decided(decision)) => A::Sent(Decided(decision)),
            (A::Open(Running), S::Decided(decision)) => A::Open(Decided(decision)),
            (A::Detaching(Running), S::Decided(decision)) => A::Detaching(Decided(decision)),
            (A::Resetting(_), S::Decided(_)) => A::Idle,

            (A::Sent(Running) | A::Open(Running), S::Cont) => A::Counting,
            (A::Sent(Decided(_)) | A::Open(Decided(_)), S::Cont) => A::Idle,

            (A::Sent(progress) | A::Open(progress), S::Deta) => A::Detaching(progress),
            (A::Detaching(progress), S::DetachRefused) => A::Open(progress),
            (A::Detaching(_), S::Owned) => A::Idle,

            (A::Sent(Running) | A::Open(Running), S::Reset(reset)) => A::Resetting(reset),
            (A::Sent(Decided(_)) | A::Open(Decided(_)), S::Reset(_)) => A::Idle,
            (A::Resetting(_), S::ResetSettled) => A::Idle,

            _ => return None,
        })
    }

    /// How far the decision is; `None` where none is running or held.
    pub(super) const fn progress(self) -> Option<Progress> {
        match self {
            Self::Idle | Self::Requested => None,
            Self::Counting | Self::Quiet | Self::Resetting(_) => Some(Progress::Running),
            Self::Sent(progress) | Self::Open(progress) | Self::Detaching(progress) => {
                Some(progress)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Completion, Verdict};
    use crate::reply::standard;
    use std::vec;

    #[test]
    fn a_decision_stands_once_anybody_may_rely_on_it() {
        use Decision::{Refused, Stands};
        let (yes, no) = (standard::OK.reply(), standard::LOCAL_ERROR.reply());
        for (replies, dsn_issued, decision) in [
            (vec![yes.clone()], false, Stands),
            (vec![no.clone()], false, Refused),
            (vec![no.clone()], true, Stands),
            // LMTP
            (vec![no.clone(), yes], false, Stands),
            (vec![no.clone(), no], false, Refused),
        ] {
            let mut verdict = Verdict::for_each_recipient(replies.clone());
            if dsn_issued {
                verdict = verdict.with_dsn_issued();
            }
            let completion = Completion {
                replies,
                dsn_issued,
            };
            assert_eq!(Decision::from(&verdict), decision, "{verdict:?}");
            assert_eq!(Decision::from(&completion), decision, "{completion:?}");
        }
    }
}
