//! Planted bugs, for testing the tests. Without the feature `mutants` none can be planted, and
//! every question below is answered "no" at compile time.

/// One bug each. The name says what the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mutant {
    AckBeforeDurable,
    EpochBeforeHistory,
    SyncedBeforeEpochSaved,
    PromiseBeforeDurable,
    PromiseNeverSaved,
    EqualPromiseCounts,
    OwnEpochOnly,
    TruncationSkipped,
    CompareAgreesBlindly,
    StaleTicketAcks,
    QuorumOneShort,
    UnsyncedAcksCount,
    OwnAppendCountsAsDurable,
    LeadsBeforeQuorumSynced,
    AheadLearnerIgnored,
    HandoverForgetsInFlight,
    CommitPastSent,
    FirstProposalSkipsOne,
    NeverStepsDown,
    ConfirmsWithoutQuorum,
    OldPongConfirms,
    AppliesUncommitted,
    HistoryNotProven,
    SessionIgnored,
    WipedVoterVotes,
    InformForgetsOne,
    EpochNotRaised,
    SnapshotWithoutEnd,
}

impl Mutant {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::AckBeforeDurable,
        Self::EpochBeforeHistory,
        Self::SyncedBeforeEpochSaved,
        Self::PromiseBeforeDurable,
        Self::PromiseNeverSaved,
        Self::EqualPromiseCounts,
        Self::OwnEpochOnly,
        Self::TruncationSkipped,
        Self::CompareAgreesBlindly,
        Self::StaleTicketAcks,
        Self::QuorumOneShort,
        Self::UnsyncedAcksCount,
        Self::OwnAppendCountsAsDurable,
        Self::LeadsBeforeQuorumSynced,
        Self::AheadLearnerIgnored,
        Self::HandoverForgetsInFlight,
        Self::CommitPastSent,
        Self::FirstProposalSkipsOne,
        Self::NeverStepsDown,
        Self::ConfirmsWithoutQuorum,
        Self::OldPongConfirms,
        Self::AppliesUncommitted,
        Self::HistoryNotProven,
        Self::SessionIgnored,
        Self::WipedVoterVotes,
        Self::InformForgetsOne,
        Self::EpochNotRaised,
        Self::SnapshotWithoutEnd,
    ];
}
