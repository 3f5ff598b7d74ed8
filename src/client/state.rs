//! The phases of a client session, and every transition between them.
//!
//! This file owns them all: one table, [`Phase::after`]. What is not in it is out of turn: for a
//! reply a protocol error, for a call of the embedder's a `UsageError`.
//!
//! ```text
//! Greeting ─► Hello ─► StartTls ─► TlsHandshake ─► Hello again        Sasl ◄─► SaslAsked
//!               │         │ refused                                    ▲ │
//!               ▼         ▼                                            │ ▼
//!             Ready ◄─────┘◄──────────── outcome stored ────────────── Ready
//!               │ send()                                                 ▲
//!               ▼                                                        │
//!           Storing ─► Mail ─► Judging ─► Envelope ─► DataCommand ─► Content ─► Final
//!                       │ ▲      │ 355 N     │             │            │         │
//!                       │ │      │ refused   │ all refused │ no 354     │ refused │ final reply
//!                       ▼ │      ▼           ▼             ▼            ▼         ▼
//!                     Resetting ──────────► Draining (replies still owed) ─► Concluded ─► Ready
//!
//!                         CONT              under RDLV
//!               Final ◄──────── Interim ──RSET──► Aborting ── any reply ──► Concluded
//!                 │      120     ▲   │
//!                 └──────────────┘   └──DETA──► Detaching ── 221 ──► Closed
//!                                ▲                 │ refused
//!                                └─────────────────┘
//!
//! 520 without RDLV: Final ─► Content (BURL again), Final or Draining ─► Resetting ─► Mail (BDAT)
//! anywhere: 421, a rule broken, a time-out, end of the transport ─► Closed
//! Ready, Concluded, a refused greeting or hello: QUIT ─► Quitting ─► Closed
//! ```
//!
//! `Judging` is the moment of a restart at which the caller has given too little of the content to
//! tell whether the offset is one to go on from.

/// What the session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The greeting is awaited.
    Greeting,
    /// The reply to EHLO, LHLO or HELO is awaited.
    Hello,
    /// The reply to STARTTLS is awaited.
    StartTls,
    /// The caller does the handshake.
    TlsHandshake,
    /// Between transactions.
    Ready,
    /// The reply to a command of the caller's own is awaited.
    Asking,
    /// The reply to AUTH, or to a SASL response, is awaited.
    Sasl,
    /// A challenge is open.
    SaslAsked,
    /// The store question before MAIL is open.
    Storing,
    /// The reply to MAIL is awaited.
    Mail,
    /// The caller's octets before the offset of a 355 are awaited.
    Judging,
    /// Replies to RCPT, or the store question before the data, are awaited.
    Envelope,
    /// The reply to DATA is awaited.
    DataCommand,
    /// Content is sent.
    Content,
    /// The end of the data, or CONT, is sent; its replies are awaited.
    Final,
    /// A 120 is open.
    Interim,
    /// The reply to DETA is awaited.
    Detaching,
    /// The reply to RSET in answer to a 120 is awaited.
    Aborting,
    /// The attempt is over, but replies are still owed.
    Draining,
    /// The reply to RSET is awaited.
    Resetting,
    /// The outcome is told; the caller has not stored it yet.
    Concluded,
    /// The reply to QUIT is awaited.
    Quitting,
    /// Over.
    Closed,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// EHLO, LHLO or HELO is sent.
    Hello,
    /// The session is ready for a transaction.
    Ready,
    /// STARTTLS is sent.
    StartTls,
    /// It was accepted.
    TlsAccepted,
    /// A command of the caller's own is sent.
    Ask,
    /// AUTH or a SASL response is sent.
    Sasl,
    /// A challenge came.
    Challenge,
    /// A transaction is to be sent.
    Send,
    /// MAIL is sent.
    Mail,
    /// The octets before the offset of a 355 are needed.
    Judge,
    /// MAIL was accepted, and the offset, if there is one, is good.
    Envelope,
    /// All RCPTs are answered, and DATA is sent.
    DataCommand,
    /// Content may be sent.
    Content,
    /// The end of the data is sent.
    End,
    /// A 120 came, or DETA is refused.
    Interim,
    /// CONT is sent.
    CarryOn,
    /// DETA is sent.
    Detach,
    /// RSET is sent in answer to a 120.
    Abort,
    /// Replies are still owed although the attempt is over.
    Drain,
    /// RSET is sent.
    Reset,
    /// The outcome is told.
    Conclude,
    /// QUIT is sent.
    Quit,
    /// Over.
    Close,
}

impl Phase {
    /// The phase after `step`; `None` where it is out of turn.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        use Phase as P;
        use Step as S;
        Some(match (self, step) {
            (P::Closed, _) => return None,
            (_, S::Close) => P::Closed,

            (P::Greeting | P::Hello | P::TlsHandshake, S::Hello) => P::Hello,
            (P::Hello, S::StartTls) => P::StartTls,
            (P::StartTls, S::TlsAccepted) => P::TlsHandshake,
            (P::Hello | P::StartTls, S::Ready) => P::Ready,

            (P::Ready, S::Ask) => P::Asking,
            (P::Asking, S::Ready) => P::Ready,
            (P::Ready | P::SaslAsked, S::Sasl) => P::Sasl,
            (P::Sasl, S::Challenge) => P::SaslAsked,
            (P::Sasl, S::Ready) => P::Ready,

            (P::Ready, S::Send) => P::Storing,
            (P::Storing | P::Resetting, S::Mail) => P::Mail,
            (P::Mail, S::Judge) => P::Judging,
            (P::Mail | P::Judging, S::Envelope) => P::Envelope,
            (P::Envelope, S::DataCommand) => P::DataCommand,
            (P::Envelope | P::DataCommand | P::Final, S::Content) => P::Content,
            (P::DataCommand | P::Content, S::End) => P::Final,

            (P::Final | P::Detaching, S::Interim) => P::Interim,
            (P::Interim, S::CarryOn) => P::Final,
            (P::Interim, S::Detach) => P::Detaching,
            (P::Interim, S::Abort) => P::Aborting,

            (P::Mail | P::DataCommand | P::Content | P::Final, S::Drain) => P::Draining,
            (
                P::Mail | P::Judging | P::Envelope | P::DataCommand | P::Final | P::Draining,
                S::Reset,
            ) => P::Resetting,
            (
                P::Mail
                | P::Judging
                | P::Envelope
                | P::DataCommand
                | P::Content
                | P::Final
                | P::Aborting
                | P::Draining
                | P::Resetting,
                S::Conclude,
            ) => P::Concluded,
            (P::Concluded, S::Ready) => P::Ready,

            (P::Greeting | P::Hello | P::StartTls | P::Ready | P::Concluded, S::Quit) => {
                P::Quitting
            }
            _ => return None,
        })
    }

    /// Between `send` and the outcome.
    pub(super) fn in_transaction(self) -> bool {
        matches!(
            self,
            Self::Storing
                | Self::Mail
                | Self::Judging
                | Self::Envelope
                | Self::DataCommand
                | Self::Content
                | Self::Final
                | Self::Interim
                | Self::Detaching
                | Self::Aborting
                | Self::Draining
                | Self::Resetting
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 23] = [
        Step::Hello,
        Step::Ready,
        Step::StartTls,
        Step::TlsAccepted,
        Step::Ask,
        Step::Sasl,
        Step::Challenge,
        Step::Send,
        Step::Mail,
        Step::Judge,
        Step::Envelope,
        Step::DataCommand,
        Step::Content,
        Step::End,
        Step::Interim,
        Step::CarryOn,
        Step::Detach,
        Step::Abort,
        Step::Drain,
        Step::Reset,
        Step::Conclude,
        Step::Quit,
        Step::Close,
    ];

    #[test]
    fn a_closed_session_stays_closed() {
        for step in STEPS {
            assert_eq!(Phase::Closed.after(step), None, "{step:?}");
        }
    }

    #[test]
    fn every_phase_is_reached_and_can_be_left() {
        let mut reached = std::vec![Phase::Greeting];
        let mut at = 0;
        while let Some(phase) = reached.get(at).copied() {
            let next: std::vec::Vec<_> =
                STEPS.iter().filter_map(|step| phase.after(*step)).collect();
            assert!(
                phase == Phase::Closed || next.contains(&Phase::Closed),
                "{phase:?}"
            );
            for phase in next {
                if !reached.contains(&phase) {
                    reached.push(phase);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), 23);
    }

    #[test]
    fn no_transaction_ends_but_by_its_outcome() {
        for step in STEPS {
            for phase in [
                Phase::Mail,
                Phase::Envelope,
                Phase::Content,
                Phase::Final,
                Phase::Interim,
                Phase::Detaching,
                Phase::Aborting,
            ] {
                let next = phase.after(step);
                assert_ne!(next, Some(Phase::Ready), "{phase:?} {step:?}");
                assert_ne!(next, Some(Phase::Quitting), "{phase:?} {step:?}");
            }
        }
    }

    /// Where these steps lead from the greeting.
    fn after(steps: &[&[Step]]) -> Option<Phase> {
        let mut steps = steps.iter().copied().flatten();
        steps.try_fold(Phase::Greeting, |phase, step| phase.after(*step))
    }

    const READY: &[Step] = &[Step::Hello, Step::Ready];
    const MAIL: &[Step] = &[Step::Hello, Step::Ready, Step::Send, Step::Mail];

    #[test]
    fn sessions_begin_with_tls_or_without_and_ask_between_transactions() {
        use Phase as P;
        use Step as S;
        let tls = &[S::Hello, S::StartTls, S::TlsAccepted][..];
        for (steps, phase) in [
            (&[&[S::Hello][..]][..], P::Hello),
            (&[&[S::Hello, S::Hello]], P::Hello),
            (&[READY], P::Ready),
            (&[&[S::Hello, S::StartTls]], P::StartTls),
            (&[&[S::Hello, S::StartTls, S::Ready]], P::Ready),
            (&[tls], P::TlsHandshake),
            (&[tls, &[S::Hello]], P::Hello),
            (&[READY, &[S::Ask]], P::Asking),
            (&[READY, &[S::Ask, S::Ready]], P::Ready),
            (&[READY, &[S::Sasl]], P::Sasl),
            (&[READY, &[S::Sasl, S::Challenge]], P::SaslAsked),
            (&[READY, &[S::Sasl, S::Challenge, S::Sasl]], P::Sasl),
            (&[READY, &[S::Sasl, S::Ready]], P::Ready),
            (&[&[S::Quit]], P::Quitting),
            (&[&[S::Hello, S::Quit]], P::Quitting),
            (&[&[S::Hello, S::StartTls, S::Quit]], P::Quitting),
            (&[READY, &[S::Quit]], P::Quitting),
            (&[MAIL, &[S::Conclude]], P::Concluded),
            (&[MAIL, &[S::Conclude, S::Quit]], P::Quitting),
            (&[MAIL, &[S::Conclude, S::Ready]], P::Ready),
        ] {
            assert_eq!(after(steps), Some(phase), "{steps:?}");
            let quits = matches!(phase, P::Hello | P::StartTls | P::Ready | P::Concluded);
            assert_eq!(
                phase.after(S::Quit),
                quits.then_some(P::Quitting),
                "{phase:?}"
            );
            assert!(!phase.in_transaction(), "{phase:?}");
            assert_eq!(phase.after(S::Close), Some(P::Closed));
        }
    }

    #[test]
    fn every_way_of_an_attempt() {
        use Phase as P;
        use Step as S;
        let data = &[S::Envelope, S::DataCommand, S::Content][..];
        let interim = &[S::Envelope, S::Content, S::End, S::Interim][..];
        for (steps, phase) in [
            (&[][..], P::Mail),
            (&[&[S::Judge][..]][..], P::Judging),
            (&[&[S::Judge, S::Envelope]], P::Envelope),
            (&[&[S::Envelope]], P::Envelope),
            (&[&[S::Envelope, S::DataCommand]], P::DataCommand),
            (&[&[S::Envelope, S::DataCommand, S::End]], P::Final),
            (&[&[S::Envelope, S::Content]], P::Content),
            (&[data], P::Content),
            (&[data, &[S::End]], P::Final),
            (&[data, &[S::End, S::Content]], P::Content),
            (&[interim], P::Interim),
            (&[interim, &[S::CarryOn]], P::Final),
            (&[interim, &[S::Detach]], P::Detaching),
            (&[interim, &[S::Detach, S::Interim]], P::Interim),
            (&[interim, &[S::Abort]], P::Aborting),
            (&[&[S::Reset]], P::Resetting),
            (&[&[S::Reset, S::Mail]], P::Mail),
            (&[&[S::Drain]], P::Draining),
            (&[&[S::Drain, S::Reset]], P::Resetting),
        ] {
            let steps = [&[MAIL][..], steps].concat();
            assert_eq!(after(&steps), Some(phase), "{steps:?}");
            assert!(phase.in_transaction(), "{phase:?}");
            let [drains, resets, concludes] =
                [S::Drain, S::Reset, S::Conclude].map(|step| phase.after(step));
            let drain = matches!(phase, P::Mail | P::DataCommand | P::Content | P::Final);
            assert_eq!(drains, drain.then_some(P::Draining), "{phase:?}");
            let reset = matches!(
                phase,
                P::Mail | P::Judging | P::Envelope | P::DataCommand | P::Final | P::Draining
            );
            assert_eq!(resets, reset.then_some(P::Resetting), "{phase:?}");
            let open = matches!(phase, P::Interim | P::Detaching);
            assert_eq!(concludes, (!open).then_some(P::Concluded), "{phase:?}");
        }
        assert!(P::Storing.in_transaction());
        assert_eq!(P::Storing.after(S::Conclude), None);
    }
}
