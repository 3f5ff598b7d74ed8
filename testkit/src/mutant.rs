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
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 19] = [
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
        Self::RecordBeforeContent,
        Self::DiscardUnchecked,
        Self::FailedSyncTrusted,
        Self::FaultsForgotten,
        Self::OffsetRoundedUp,
        Self::IdentityIgnored,
        Self::RecipientsLeftOut,
        Self::TransIdSpentBy421,
        Self::DataBeforeMark,
    ];
}
