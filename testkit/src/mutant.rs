//! Rules that can be broken on purpose, to see that breaking them is noticed.

/// A store, a server or a client that breaks one rule.
///
/// The suites and the simulation find all of them; `tests/mutants.rs` holds them to it. Some are
/// mistakes of a store ([`ModelStore::breaking`](crate::ModelStore::breaking) makes them), some of
/// the sessions, which are then given, or told, something else than the truth
/// ([`Suite::breaking`](crate::Suite::breaking),
/// [`Simulation::breaking`](crate::Simulation::breaking)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// 250 before the sync: the commit returns before message and completion record are durable.
    CommitNotSynced,
    /// The record is dropped before the commit: who comes back while the decision runs finds
    /// nothing.
    RecordDroppedBeforeCommit,
    /// The message is committed without its completion record.
    CompletionForgotten,
    /// A claim does not raise the generation.
    GenerationStays,
    /// The decision is fenced with its session: its commit is refused once the key is claimed.
    DecisionFenced,
    /// The length is read when the data command comes, after the cut, instead of with the claim;
    /// until then an older session still writes.
    LengthAfterCut,
    /// The claim does not cut the content to the length of the record, and content is written
    /// behind whatever is there.
    NotCut,
    /// A stale verdict is accepted: the commit does not compare the number of the decision.
    StaleVerdict,
    /// A decision is begun although another one runs, or is committed.
    SecondDecision,
    /// A completion record is dropped when a claim is confirmed with another length than its own.
    CompletionDroppedOnMismatch,
    /// A claim with the length 0 is confirmed as of a transaction that begins afresh, also where an
    /// empty message is held as complete.
    LengthZeroIsFresh,
    /// The record is stored before the content that it counts is synced.
    RecordBeforeContent,
    /// Advice to discard is carried out on whatever is held.
    DiscardUnchecked,
    /// After a failed sync the next one is trusted for what the failed one lost.
    FailedSyncTrusted,
    /// Faults found in the content are not part of the record: they are forgotten over a restart.
    FaultsForgotten,
    /// The offset of a 355 is rounded up to the next line start.
    OffsetRoundedUp,
    /// The key of a transaction is its TRANSID alone, without the identity of the client.
    IdentityIgnored,
    /// The client leaves RCPTs out of a restart after two attempts were answered 250.
    RecipientsLeftOut,
    /// The client takes 421 for the outcome, and sends the message under a new TRANSID.
    TransIdSpentBy421,
    /// The client sends data before it has stored that it may have.
    DataBeforeMark,
    /// A decision begins where the key is idle, although it was not so all the time since the
    /// claim: the commit-and-set does not compare the decision number.
    NumberUnchecked,
    /// A claim that finds a decision is known to its own host only.
    ClaimNotShared,
    /// A failure that no decision has made is told, and the other hosts do not know.
    FailureNotShared,
    /// RSET in answer to a 120 is acknowledged, and the decision goes on.
    AbortGoesOn,
    /// 221 before the sync: a crash forgets that the message is the server's.
    OwnershipNotDurable,
    /// A detached record expires like any other where its decision is lost.
    DetachedExpires,
    /// A client that comes back behind DETA begins a second decision.
    DetachedDecidedTwice,
    /// That a failure is to be reported is known to the process only: its end forgets it.
    DutyForgotten,
    /// A DSN is issued in one step, and noted in another, which never comes.
    ReportedTwice,
    /// A failure is reported although a session holds the key, and may yet tell it.
    ReportedWhileHeld,
    /// A commit that fails is told with 451, though the message is the server's and will be decided
    /// on again.
    FailureToldOfDetached,
    /// The client takes a message for detached although no reply to DETA came.
    DetachAssumed,
    /// 221 before a message without a record is durable: a crash forgets it, content and all.
    UnrecordedNotDurable,
    /// A message without a record is decided on before DETA comes, and its failure, which its client
    /// will never hear of, is reported to nobody.
    HeldFailureForgotten,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::CommitNotSynced,
        Self::RecordDroppedBeforeCommit,
        Self::CompletionForgotten,
        Self::GenerationStays,
        Self::DecisionFenced,
        Self::LengthAfterCut,
        Self::NotCut,
        Self::StaleVerdict,
        Self::SecondDecision,
        Self::CompletionDroppedOnMismatch,
        Self::LengthZeroIsFresh,
        Self::RecordBeforeContent,
        Self::DiscardUnchecked,
        Self::FailedSyncTrusted,
        Self::FaultsForgotten,
        Self::OffsetRoundedUp,
        Self::IdentityIgnored,
        Self::RecipientsLeftOut,
        Self::TransIdSpentBy421,
        Self::DataBeforeMark,
        Self::NumberUnchecked,
        Self::ClaimNotShared,
        Self::FailureNotShared,
        Self::AbortGoesOn,
        Self::OwnershipNotDurable,
        Self::DetachedExpires,
        Self::DetachedDecidedTwice,
        Self::DutyForgotten,
        Self::ReportedTwice,
        Self::ReportedWhileHeld,
        Self::FailureToldOfDetached,
        Self::DetachAssumed,
        Self::UnrecordedNotDurable,
        Self::HeldFailureForgotten,
    ];
}
