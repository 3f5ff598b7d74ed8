//! The rules that can be broken, and the bounds of a run.

/// A rule of the restart protocol. [`Setup::broken`] leaves one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A claim raises the generation, so that what older sessions write is refused.
    ClaimFences,
    /// The record is read in the step that raises the generation.
    LengthWithClaim,
    /// The generation is raised in the step that reads the record. Not among [`Rule::NEEDED`].
    ReadAtOnce,
    /// The claim cuts the content to the length of the record; data command and commit confirm it.
    ContentHasTheLength,
    /// A record is stored behind content that is durable.
    ContentBeforeRecord,
    /// At commit the store confirms generation and length.
    GenerationAtCommit,
    /// A decision begins only where none runs and none was made.
    OneDecision,
    /// A decision begins only if the decision number is the one that the claim read.
    NumberOfTheClaim,
    /// A commit names the number of its decision.
    NumberAtCommit,
    /// Message and completion record are stored in the one step that ends the processing state.
    CommitIsOneStep,
    /// The completion record is kept.
    CompletionKept,
    /// The final reply comes after the commit is durable.
    DurableBeforeReply,
    /// Advice to discard is held against the record that is there by then.
    DiscardIsConditional,
    /// A decision outlives the session that began it.
    DecisionOutlives,
    /// The client takes the final reply to the end of the data as decisive, and nothing else.
    FinalReplyDecides,
    /// The client stores that data may have been sent before it sends any.
    MarkBeforeData,
    /// A claim that finds a decision is seen by all hosts.
    ClaimOfDecisionIsShared,
    /// RSET in answer to 120 aborts only under the current claim.
    AbortNamesClaim,
    /// DETA owns only under the current claim.
    OwnershipNamesClaim,
    /// A retained failure is told only under the current claim.
    RetainedNamesClaim,
    /// Ownership is durable before the 221 to DETA.
    OwnershipBeforeReply,
    /// A detached message is never partial again.
    DetachedStays,
    /// A failure that no decision has made raises the decision number before it is told.
    FailureIsShared,
}

impl Rule {
    /// Those without which a promise is broken.
    pub const NEEDED: [Self; 22] = [
        Self::ClaimFences,
        Self::LengthWithClaim,
        Self::ContentHasTheLength,
        Self::ContentBeforeRecord,
        Self::GenerationAtCommit,
        Self::OneDecision,
        Self::NumberOfTheClaim,
        Self::NumberAtCommit,
        Self::CommitIsOneStep,
        Self::CompletionKept,
        Self::DurableBeforeReply,
        Self::DiscardIsConditional,
        Self::DecisionOutlives,
        Self::FinalReplyDecides,
        Self::MarkBeforeData,
        Self::ClaimOfDecisionIsShared,
        Self::AbortNamesClaim,
        Self::OwnershipNamesClaim,
        Self::RetainedNamesClaim,
        Self::OwnershipBeforeReply,
        Self::DetachedStays,
        Self::FailureIsShared,
    ];

    /// The requirement that it is of, and what a protocol without it does.
    #[must_use]
    pub const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::ClaimFences => ("CP-18", "a claim leaves the generation as it is"),
            Self::LengthWithClaim => (
                "CP-18",
                "the record is read first, and the generation raised in a later step",
            ),
            Self::ReadAtOnce => (
                "CP-18",
                "the generation is raised first, and the record read in a later step",
            ),
            Self::ContentHasTheLength => (
                "CP-18, CP-19",
                "a claim leaves octets behind the length of the record, and data command and commit \
                 confirm the generation only",
            ),
            Self::ContentBeforeRecord => (
                "CP-09, HD-06",
                "the record is stored while content below its length may still be lost",
            ),
            Self::GenerationAtCommit => (
                "CP-18, CP-19",
                "a session may have its message committed whatever has become of its claim",
            ),
            Self::OneDecision => (
                "CP-18",
                "a decision may begin where another one runs or was made",
            ),
            Self::NumberOfTheClaim => (
                "CP-18, HD-07",
                "a decision begins where the key is idle, though it was not so all the time since \
                 the claim",
            ),
            Self::NumberAtCommit => ("HD-07", "a commit with an old decision number is accepted"),
            Self::CommitIsOneStep => (
                "HD-06, CP-07",
                "the commit ends the processing state and drops the record, and stores message \
                 and completion record in a later step",
            ),
            Self::CompletionKept => ("CP-13, HD-06", "the commit keeps no completion record"),
            Self::DurableBeforeReply => ("HD-06", "the final reply is given before the commit"),
            Self::DiscardIsConditional => (
                "CP-16, CP-18",
                "advice to discard is carried out on whatever is held under the key",
            ),
            Self::DecisionOutlives => ("CP-14", "a decision ends with the session that began it"),
            Self::FinalReplyDecides => ("CP-35", "a client takes 421 for a final reply"),
            Self::MarkBeforeData => (
                "CP-36",
                "a client that crashed does not know that it may have sent data",
            ),
            Self::ClaimOfDecisionIsShared => (
                "CP-18, HD-07, RD-10",
                "a claim that finds a decision running or made is known to its own host only",
            ),
            Self::AbortNamesClaim => (
                "RD-10",
                "RSET in answer to 120 aborts whatever has become of the claim",
            ),
            Self::OwnershipNamesClaim => (
                "DE-02, CP-18",
                "DETA owns the message whatever has become of the claim",
            ),
            Self::RetainedNamesClaim => (
                "CP-18, DE-08",
                "a session tells a retained failure whatever has become of its claim",
            ),
            Self::OwnershipBeforeReply => (
                "DE-02, HD-06",
                "221 is given to DETA while the ownership may still be lost",
            ),
            Self::DetachedStays => (
                "DE-08, CP-14",
                "a detached message is partial again where its decision was lost",
            ),
            Self::FailureIsShared => (
                "HD-04, HD-07",
                "a host that cannot store content says 451, and no other host knows",
            ),
        }
    }
}

/// What a run has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Lines of the message.
    pub lines: u8,
    /// Attempts that the client may make.
    pub attempts: u8,
    /// Hosts over the shared store: 1 or 2.
    pub hosts: u8,
    /// Connections that may be lost.
    pub losses: u8,
    /// Hosts that may crash.
    pub crashes: u8,
    /// Leases that may be found expired although their holder lives.
    pub expiries: u8,
    /// Writes and syncs of content that may fail.
    pub failures: u8,
    /// Clients that write their envelope behind MAIL without waiting.
    pub grouped: bool,
    /// How many times 120 may be sent; 0 is without RDLV and DETA.
    pub interims: u8,
    /// The codes that a decision may come to.
    pub verdicts: &'static [u16],
    /// The attempts are enough for so many faults: the client is never told *unknown*.
    pub decides: bool,
    /// The rule that is left out.
    pub broken: Option<Rule>,
}

impl Setup {
    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }
}
