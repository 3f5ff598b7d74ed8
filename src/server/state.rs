//! The phases of a server session, and every transition between them.
//!
//! This file owns them all: one table, [`Phase::after`]. What is not in it is out of turn: for a
//! command 503 5.5.1, for a call of the embedder's a `UsageError`.
//!
//! ```text
//!                 ┌────────────── RSET, refusal, final reply ◄──────────────────────────┐
//!                 ▼                                                                     │
//! Connecting ─► Greeted ─► Ready ─► MailAsked ─► Envelope ─► DataAsked ─► Content ─► Deciding
//!               (no EHLO)  ▲   ▲                  │   ▲         │           │        or Awaiting
//!                          │   │                  │   └─────────┘ refused   │ chunk, not LAST
//!      Sasl ─► SaslAsked ──┘   │                  ▼                         ▼
//!      TlsAsked ─► TlsReply ─► TlsHandshake     Spoiled ◄──refused──── BetweenChunks
//!
//! anywhere: QUIT, 421, end of the transport ─► Closing (until transmitted) ─► Closed
//! ```
//!
//! `Spoiled` is what RFC 3030 §2 leaves of a transaction after a refused chunk: every further
//! chunk is drained and 503 until RSET, EHLO or HELO. The octets of a chunk that was refused, or
//! came out of turn, are drained beside the phases: until they are through no command is read.
//!
//! Under RDLV a 120 may be open in `Deciding`, `Awaiting` and, for the last URL, `BurlAsked`:
//! beside the phases, in the table of `rdlv/server_state.rs`. A result that is there in
//! `BurlAsked` already (content refused) waits for CONT in `Deciding`.

/// What the session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The connection question is open, or the greeting is due.
    Connecting,
    /// Greeted; no EHLO, HELO or LHLO accepted yet.
    Greeted,
    /// The question of an EHLO, HELO or LHLO is open; refused, it changes nothing.
    HelloAsked(BeforeHello),
    /// Between transactions.
    Ready,
    /// The question of a MAIL is open.
    MailAsked,
    /// MAIL is accepted; recipients come.
    Envelope,
    /// The question of the data command is open.
    DataAsked,
    /// The question of a URL is open.
    BurlAsked,
    /// Content of DATA or of a chunk comes, to be kept or to be drained.
    Content,
    /// A chunk is in, and it was not the last.
    BetweenChunks,
    /// A chunk was refused: only a reset helps.
    Spoiled,
    /// All data is in, the caller decides; or has decided, and the client has to ask for it.
    Deciding,
    /// All data is in, another session's decision is awaited.
    Awaiting,
    /// A SASL response is due from the client.
    Sasl,
    /// A SASL answer is due from the caller.
    SaslAsked,
    /// The question of a STARTTLS is open.
    TlsAsked,
    /// The 220 to STARTTLS is on its way.
    TlsReply,
    /// The caller does the handshake.
    TlsHandshake,
    /// The last reply is on its way; nothing is read any more.
    Closing,
    /// Over.
    Closed,
}

/// What the session was doing when a hello came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BeforeHello {
    Greeted,
    Ready,
    Envelope,
    BetweenChunks,
    Spoiled,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The connection was accepted.
    Connected,
    /// EHLO, HELO or LHLO came.
    Hello,
    /// It was accepted: the session is reset.
    HelloAccepted,
    /// It was refused: the session is what it was before.
    HelloRefused,
    /// MAIL came.
    Mail,
    /// It was accepted, with 250 or 355.
    MailAccepted,
    /// It was refused.
    MailRefused,
    /// RCPT came.
    Rcpt,
    /// DATA came, and the store or the caller is asked.
    DataAsk,
    /// A BDAT chunk came, and the store or the caller is asked.
    ChunkAsk,
    /// A URL came.
    BurlAsk,
    /// Content comes, from DATA.
    Data,
    /// Content comes, from a chunk.
    Chunk,
    /// The data command was refused; the transaction stands.
    DataRefused,
    /// A chunk, or the content of a URL, is in, and it was not the last.
    ChunkDone,
    /// A chunk, or a URL, that was not the last was refused.
    ChunkRefused,
    /// All data is in, the caller decides.
    Decide,
    /// All data is in, another decision is awaited.
    Await,
    /// The transaction is over: its final reply is given, or it was refused as a whole.
    TransactionOver,
    /// RSET came.
    Reset,
    /// A command that changes nothing: NOOP, VRFY, HELP, an unknown one.
    Aside,
    /// AUTH came.
    Auth,
    /// A challenge was sent.
    Challenge,
    /// A SASL response came.
    Response,
    /// The exchange is over.
    AuthOver,
    /// STARTTLS came.
    StartTls,
    /// It was refused.
    TlsRefused,
    /// It was accepted.
    TlsAccepted,
    /// Its 220 was transmitted.
    TlsTransmitted,
    /// The handshake is done: the session is as new.
    TlsDone,
    /// The last reply was written.
    Close,
    /// Nothing is left to be transmitted, or the transport is gone.
    Closed,
}

impl Phase {
    /// The phase after `step`; `None` where it is out of turn.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        use Phase as P;
        use Step as S;
        Some(match (self, step) {
            (P::Closed, _) => return None,
            (_, S::Closed) => P::Closed,
            (P::Closing, _) => return None,
            (_, S::Close) => P::Closing,

            (P::Connecting, S::Connected) => P::Greeted,

            // A hello may come wherever commands are read. Accepted, it resets; refused, it leaves
            // the session in the state that it was in (RFC 5321 §4.1.4).
            (P::Greeted, S::Hello) => P::HelloAsked(BeforeHello::Greeted),
            (P::Ready, S::Hello) => P::HelloAsked(BeforeHello::Ready),
            (P::Envelope, S::Hello) => P::HelloAsked(BeforeHello::Envelope),
            (P::BetweenChunks, S::Hello) => P::HelloAsked(BeforeHello::BetweenChunks),
            (P::Spoiled, S::Hello) => P::HelloAsked(BeforeHello::Spoiled),
            (P::HelloAsked(_), S::HelloAccepted) => P::Ready,
            (P::HelloAsked(_), S::HelloRefused) => self.but_for_hello(),

            (P::Ready, S::Mail) => P::MailAsked,
            (P::MailAsked, S::MailAccepted) => P::Envelope,
            (P::MailAsked, S::MailRefused) => P::Ready,
            (P::Envelope, S::Rcpt) => P::Envelope,

            (P::Envelope, S::DataAsk) => P::DataAsked,
            (P::Envelope | P::DataAsked, S::Data) => P::Content,
            (P::Envelope | P::BetweenChunks, S::ChunkAsk) => P::DataAsked,
            (P::Envelope | P::BetweenChunks | P::DataAsked, S::BurlAsk) => P::BurlAsked,
            (P::DataAsked, S::DataRefused) => P::Envelope,
            (P::Envelope | P::DataAsked | P::BetweenChunks, S::Chunk) => P::Content,
            (P::Content | P::BurlAsked, S::ChunkDone) => P::BetweenChunks,
            (
                P::Envelope
                | P::BetweenChunks
                | P::DataAsked
                | P::BurlAsked
                | P::Content
                | P::Spoiled,
                S::ChunkRefused,
            ) => P::Spoiled,

            (P::Content | P::BurlAsked, S::Decide) => P::Deciding,
            (P::Awaiting, S::Decide) => P::Deciding,
            (P::Content | P::BurlAsked, S::Await) => P::Awaiting,
            (
                P::Envelope
                | P::DataAsked
                | P::BurlAsked
                | P::Content
                | P::BetweenChunks
                | P::Spoiled
                | P::Deciding
                | P::Awaiting,
                S::TransactionOver,
            ) => P::Ready,

            (P::Greeted, S::Reset) => P::Greeted,
            (P::Ready | P::Envelope | P::BetweenChunks | P::Spoiled, S::Reset) => P::Ready,
            (P::Greeted | P::Ready | P::Envelope | P::BetweenChunks | P::Spoiled, S::Aside) => self,

            (P::Ready, S::Auth) => P::SaslAsked,
            (P::SaslAsked, S::Challenge) => P::Sasl,
            (P::Sasl, S::Response) => P::SaslAsked,
            (P::Sasl | P::SaslAsked, S::AuthOver) => P::Ready,

            (P::Ready, S::StartTls) => P::TlsAsked,
            (P::TlsAsked, S::TlsRefused) => P::Ready,
            (P::TlsAsked, S::TlsAccepted) => P::TlsReply,
            (P::TlsReply, S::TlsTransmitted) => P::TlsHandshake,
            (P::TlsHandshake, S::TlsDone) => P::Greeted,

            _ => return None,
        })
    }

    /// What the session would be doing without the hello whose question is open.
    pub(super) fn but_for_hello(self) -> Self {
        match self {
            Self::HelloAsked(BeforeHello::Greeted) => Self::Greeted,
            Self::HelloAsked(BeforeHello::Ready) => Self::Ready,
            Self::HelloAsked(BeforeHello::Envelope) => Self::Envelope,
            Self::HelloAsked(BeforeHello::BetweenChunks) => Self::BetweenChunks,
            Self::HelloAsked(BeforeHello::Spoiled) => Self::Spoiled,
            phase => phase,
        }
    }

    /// Commands are read.
    pub(super) fn reads_commands(self) -> bool {
        matches!(
            self,
            Self::Greeted | Self::Ready | Self::Envelope | Self::BetweenChunks | Self::Spoiled
        )
    }

    /// Between an accepted MAIL and the final reply.
    pub(super) fn in_transaction(self) -> bool {
        matches!(
            self.but_for_hello(),
            Self::Envelope
                | Self::DataAsked
                | Self::BurlAsked
                | Self::Content
                | Self::BetweenChunks
                | Self::Spoiled
                | Self::Deciding
                | Self::Awaiting
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Phase as P;
    use super::Step as S;
    use super::*;

    /// Where these steps lead from the start.
    fn after(steps: &[&[Step]]) -> Option<Phase> {
        let mut steps = steps.iter().copied().flatten();
        steps.try_fold(P::Connecting, |phase, step| phase.after(*step))
    }

    const GREETED: &[Step] = &[S::Connected];
    const READY: &[Step] = &[S::Connected, S::Hello, S::HelloAccepted];
    const MAIL: &[Step] = &[S::Mail, S::MailAccepted, S::Rcpt];
    /// A chunk that is not the last.
    const CHUNK: &[Step] = &[S::ChunkAsk, S::Chunk, S::ChunkDone];
    const SPOILED: &[Step] = &[S::ChunkAsk, S::ChunkRefused];

    #[test]
    fn messages_come_in_every_way() {
        for (steps, phase) in [
            (&[S::DataAsk, S::Data][..], P::Content),
            (&[S::Data], P::Content),
            (&[S::DataAsk, S::DataRefused], P::Envelope),
            (&[S::Data, S::Decide], P::Deciding),
            (&[S::Data, S::Await], P::Awaiting),
            (&[S::Data, S::Await, S::Decide], P::Deciding),
            (&[S::ChunkAsk, S::Chunk], P::Content),
            (&[S::Chunk, S::ChunkDone], P::BetweenChunks),
            (&[S::Chunk, S::ChunkDone, S::Chunk], P::Content),
            (&[S::Chunk, S::ChunkDone, S::ChunkAsk], P::DataAsked),
            (&[S::Chunk, S::ChunkDone, S::BurlAsk], P::BurlAsked),
            (&[S::BurlAsk], P::BurlAsked),
            (&[S::ChunkAsk, S::BurlAsk], P::BurlAsked),
            (&[S::BurlAsk, S::ChunkDone], P::BetweenChunks),
            (&[S::BurlAsk, S::Decide], P::Deciding),
            (&[S::BurlAsk, S::Await], P::Awaiting),
        ] {
            assert_eq!(after(&[READY, MAIL, steps]), Some(phase), "{steps:?}");
        }
        assert_eq!(after(&[READY, &[S::Mail]]), Some(P::MailAsked));
        let refused = after(&[READY, &[S::Mail, S::MailRefused]]);
        assert_eq!(refused, Some(P::Ready));
        assert_eq!(after(&[READY, MAIL, &[S::Rcpt]]), Some(P::Envelope));
    }

    #[test]
    fn a_refused_chunk_spoils_the_transaction_until_it_is_over() {
        for steps in [
            &[][..],
            &[S::ChunkAsk],
            &[S::BurlAsk],
            &[S::Chunk],
            CHUNK,
            SPOILED,
        ] {
            let spoiled = after(&[READY, MAIL, steps, &[S::ChunkRefused]]);
            assert_eq!(spoiled, Some(P::Spoiled), "{steps:?}");
        }
        for step in [S::Mail, S::Rcpt, S::DataAsk, S::Data, S::ChunkAsk, S::Chunk] {
            assert_eq!(after(&[READY, MAIL, SPOILED, &[step]]), None, "{step:?}");
        }
    }

    #[test]
    fn a_transaction_is_over_from_wherever_it_is() {
        for steps in [
            &[][..],
            &[S::DataAsk],
            &[S::BurlAsk],
            &[S::Data],
            CHUNK,
            SPOILED,
            &[S::Data, S::Decide],
            &[S::Data, S::Await],
        ] {
            let within = after(&[READY, MAIL, steps]).unwrap();
            assert!(within.in_transaction(), "{within:?}");
            let over = within.after(S::TransactionOver);
            assert_eq!(over, Some(P::Ready), "{within:?}");
        }
        for steps in [GREETED, READY, &[S::Connected, S::Hello]] {
            let outside = after(&[steps]).unwrap();
            assert!(!outside.in_transaction(), "{outside:?}");
            assert_eq!(outside.after(S::TransactionOver), None, "{outside:?}");
        }
    }

    #[test]
    fn commands_are_read_between_answers_and_a_refused_hello_changes_nothing() {
        for (steps, reset) in [
            (&[GREETED][..], P::Greeted),
            (&[READY], P::Ready),
            (&[READY, MAIL], P::Ready),
            (&[READY, MAIL, CHUNK], P::Ready),
            (&[READY, MAIL, SPOILED], P::Ready),
        ] {
            let phase = after(steps).unwrap();
            assert!(phase.reads_commands(), "{phase:?}");
            assert_eq!(phase.after(S::Aside), Some(phase));
            assert_eq!(phase.after(S::Reset), Some(reset), "{phase:?}");
            let asked = phase.after(S::Hello).unwrap();
            assert!(!asked.reads_commands(), "{phase:?}");
            assert_eq!(asked.in_transaction(), phase.in_transaction());
            assert_eq!(asked.but_for_hello(), phase);
            assert_eq!(asked.after(S::HelloRefused), Some(phase));
            assert_eq!(asked.after(S::HelloAccepted), Some(P::Ready));
            assert_eq!(asked.after(S::Aside), None);
        }
        for steps in [&[S::Mail][..], &[S::Auth], &[S::StartTls]] {
            let asked = after(&[READY, steps]).unwrap();
            assert!(!asked.reads_commands());
            for step in [S::Hello, S::Aside, S::Reset, S::Mail] {
                assert_eq!(asked.after(step), None, "{asked:?} {step:?}");
            }
        }
    }

    #[test]
    fn sasl_and_tls_begin_between_transactions() {
        for (steps, phase) in [
            (&[S::Auth][..], P::SaslAsked),
            (&[S::Auth, S::Challenge], P::Sasl),
            (&[S::Auth, S::Challenge, S::Response], P::SaslAsked),
            (&[S::Auth, S::AuthOver], P::Ready),
            (&[S::Auth, S::Challenge, S::AuthOver], P::Ready),
            (&[S::StartTls], P::TlsAsked),
            (&[S::StartTls, S::TlsRefused], P::Ready),
            (&[S::StartTls, S::TlsAccepted], P::TlsReply),
        ] {
            assert_eq!(after(&[READY, steps]), Some(phase), "{steps:?}");
            assert_eq!(after(&[GREETED, steps]), None, "{steps:?}");
            assert_eq!(after(&[READY, MAIL, steps]), None, "{steps:?}");
        }
        let handshake = [S::StartTls, S::TlsAccepted, S::TlsTransmitted];
        assert_eq!(after(&[READY, &handshake]), Some(P::TlsHandshake));
        // As new: EHLO comes again (RFC 3207 §4.2).
        let done = after(&[READY, &handshake, &[S::TlsDone]]);
        assert_eq!(done, Some(P::Greeted));
    }

    #[test]
    fn what_closes_stays_closed() {
        for steps in [&[][..], &[GREETED], &[READY, MAIL], &[READY, MAIL, SPOILED]] {
            let phase = after(steps).unwrap();
            assert_eq!(phase.after(S::Close), Some(P::Closing));
            assert_eq!(phase.after(S::Closed), Some(P::Closed));
        }
        for step in [S::Close, S::Hello, S::Aside, S::TransactionOver] {
            assert_eq!(P::Closing.after(step), None, "{step:?}");
            assert_eq!(P::Closed.after(step), None, "{step:?}");
        }
        assert_eq!(P::Closing.after(S::Closed), Some(P::Closed));
        assert_eq!(P::Closed.after(S::Closed), None);
    }
}
