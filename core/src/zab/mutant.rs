//! Planted bugs, for testing the tests. Without the feature `mutants` none can be planted, and
//! every question below is answered "no" at compile time.
//!
//! Numbers are issues of Apache ZooKeeper (ZOOKEEPER-…) whose counterpart the bug is here; "TLA" are
//! the findings of its specifications. Those marked *shell* are not in this machine: the simulator's
//! shell around it has them.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// One bug each. The name says what the server does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

mutants! {
    // What is durable before what is said.
    /// Records are acknowledged when they are written, not when they are durable: 4646, 3911.
    AckBeforeDurable,
    /// The epoch is saved before the history that belongs to it is durable: 4643.
    EpochBeforeHistory,
    /// The history is said to be here before the epoch is saved: 4785.
    SyncedBeforeEpochSaved,
    /// A promise is given before it is durable.
    PromiseBeforeDurable,
    /// A promise is kept in memory only.
    PromiseNeverSaved,
    /// A leader takes its epoch for saved without saving it: 2307.
    LeaderEpochNotSaved,
    /// A leader counts its own record before its disk has it: 4882.
    OwnAppendCountsAsDurable,
    /// A completion from before a cut counts for the log after it: 4712.
    StaleTicketAcks,
    /// The log is cut, and what was durable behind the cut still counts.
    CutKeepsDurable,
    /// *Shell:* a cut that is not on the disk is taken for done: 3701, 5094. That a learner goes on
    /// before its cut is durable is no bug by itself: what it appends then lies behind the cut.
    CutNotSynced,
    /// A learner joins while a snapshot is about to replace its history: 3642.
    JoinsWhileRestoring,
    /// *Shell:* the disk reports writes of the log that it never synced.
    SyncSkipped,
    /// *Shell:* a failed sync is passed over, and the next one believed.
    FailedSyncIgnored,
    /// *Shell:* a damaged record in front of acknowledged ones is cut as if it were a torn tail.
    DamageCutAsTorn,
    /// *Shell:* records are served from the log without looking at their checksums.
    DamageServed,

    // Promises and epochs.
    /// An epoch that was promised before is promised again, to another leader.
    EqualPromiseCounts,
    /// The leader raises its own epoch only, whatever its voters accepted.
    OwnEpochOnly,
    /// The leader founds the newest epoch again instead of a newer one.
    EpochNotRaised,
    /// The leader does not wait for promises.
    FoundsWithoutPromises,
    /// A promise of an older epoch of the same leader counts for a newer one.
    OldPromiseCounts,
    /// A voter follows an older epoch than it promised, and its leader counts it.
    PromiseForgotten,
    /// A leader does not found a newer epoch for a voter that has promised one.
    OutbidIgnored,
    /// The leader accepts learners that have more than itself.
    AheadLearnerIgnored,
    /// A spent counter is counted on: 1277.
    SpentCounterGoesOn,

    // Synchronisation.
    /// A learner does not cut what its leader does not have: 2845.
    TruncationSkipped,
    /// A position counts as common because its zxid is there: 2418, 2846.
    HistoryNotProven,
    /// What is in flight between catch-up and broadcast is sent to nobody: 4925.
    HandoverForgetsInFlight,
    /// The end of the history is announced before all of it is sent: 3104.
    NewLeaderTooEarly,
    /// Proposals go only to those who have answered with the new history: TLA 1.
    ProposesToSyncedOnly,
    /// What was sent twice is taken twice: TLA 2.
    DuplicatesTaken,
    /// A learner may serve what was committed when it answered, not what is: TLA 3, 4394.
    UpToDateTooOld,
    /// What was acknowledged before the answer counts only with the next write: 4537.
    SyncedDoesNotAdvance,
    /// A learner that serves is sent a snapshot.
    SnapshotWhileServing,
    /// A snapshot is taken for whole with its first part.
    SnapshotWithoutEnd,
    /// A snapshot goes on at another byte than it stopped at.
    SnapshotResumesWrong,
    /// *Shell:* a snapshot is installed and the log stays: 1549.
    SnapshotKeepsLog,
    /// *Shell:* a snapshot says that it stands for more than is in it: 3127.
    SnapshotLabelledAhead,

    // Counting and committing.
    /// One voter less than a quorum commits.
    QuorumOneShort,
    /// Acknowledgements count before the learner has the epoch.
    UnsyncedAcksCount,
    /// Records of older epochs are committed one by one, as they are acknowledged.
    OldEpochCommittedByCount,
    /// A leader broadcasts before a quorum has its history.
    LeadsBeforeQuorumSynced,
    /// One record more is committed than was acknowledged.
    CommitsOneMore,
    /// Learners are told commits of what they were not sent.
    CommitPastSent,
    /// A learner is not told some commits.
    CommitForgotten,
    /// A learner commits what it is proposed.
    AppliesUncommitted,
    /// The first proposal of an epoch leaves out a zxid.
    FirstProposalSkipsOne,
    /// Neither side looks at sessions and sequence numbers.
    SessionIgnored,
    /// Acknowledgements name the session before.
    AcksInOldSession,

    // Those who do not vote.
    /// A learner is given up while something that it says is longer on its way than silence is borne.
    LongWordGivenUp,
    /// They are sent what is not committed.
    InformsUncommitted,
    /// They are served from the log beyond what is committed.
    CatchUpUncommitted,
    /// They are not sent some records.
    InformForgetsOne,
    /// Their answers confirm that a leader leads.
    ObserverConfirms,
    /// They keep a leader leading: 1805.
    ObserverHoldsLeader,
    /// A voter without its disk votes.
    WipedVoterVotes,
    /// A voter without its disk is counted: for an election, a promise and a history. Counting what
    /// it acknowledges would do no harm alone, for that it has.
    WipedVoterCounted,
    /// A voter without its disk votes from the first epoch on.
    RejoinsTooEarly,

    // Leading, and ending it.
    /// A leader leads on without a quorum.
    NeverStepsDown,
    /// Confirmations are answered without asking anybody.
    ConfirmsWithoutQuorum,
    /// Confirmations are answered by answers to older questions.
    OldPongConfirms,
    /// A leader hands over while its proposals are open.
    TransfersUndrained,
    /// A leader that drains goes on only with the next commit, which may never come.
    DrainWaitsForCommit,

    // Election.
    /// The worst candidate is the best.
    VotesForShortest,
    /// An established leader is followed only by those who are in its round: 1732, 1818.
    JoinsSameRoundOnly,
    /// A voter that still counts votes leaves a candidate that has counted them.
    CountedLeaderLeft,

    // The server around it: `core/src/node`.
    /// An ask is passed to the leader twice.
    AskedTwice,
    /// What became of an ask whose way to the leader was lost is not looked for: it is done again.
    DoubtForgotten,
    /// What was in doubt and is in no history is not asked again, and its connection goes on.
    DoubtedDropped,
    /// A leader says that all is proposed which is only applied, to who asks what became of its asks.
    WelcomeTooEarly,
    /// What waited for a new epoch is decided in another order than it was asked.
    DeferredReordered,
    /// A write is answered when it is proposed.
    RepliesBeforeCommit,
    /// A refusal is answered before what its session asked first.
    RefusalsOvertake,
    /// A sync is answered without asking anybody whether the leader still leads.
    SyncUnconfirmed,
    /// A sync is answered before the server has come to where the leader was.
    SyncedBeforeApplied,
    /// A session goes on without its secret.
    ResumesWithoutPassword,
    /// Of two connections that hold a session, the older one has it.
    OlderHoldWins,
    /// What the old connection of a session asks is done behind what the new one asked.
    MovedNotRefused,
    /// The end of an old connection takes the session from the new one.
    LeftTakesNewer,
    /// A session ends before its time is over.
    ExpiresEarly,
    /// A new leader takes the times at which it last led for those at which sessions were heard from.
    ExpiryNotRenewed,
    /// A follower does not tell its leader which sessions it hears from.
    TouchesNotPassed,
    /// Ephemeral nodes stay when their session ends.
    EphemeralsKept,
    /// A session that ended can be gone on with.
    ClosedSessionKept,
    /// A new leader decides on what it had outstanding when it last led.
    OverlayKept,
    /// A server's tree loses changes, and its digests are compared by nobody.
    TreeGoesAstray,

    // Sessions of one server, and those who are cut off: `core/src/node/locals`, `partition`.
    /// That a local session was heard from is told to the leader too.
    LocalTouchesPassed,
    /// The begin of a local session is proposed as that of any.
    LocalBeginsProposed,
    /// A local session begins where no leader has confirmed what is shown.
    LocalBeginsUnconfirmed,
    /// What a local session's client says does not keep it alive.
    LocalNotTouched,
    /// Local sessions never end for their silence.
    LocalNeverEnds,
    /// A local session is made global, and the ephemeral node that it is for is refused.
    UpgradeForgetsNode,
    /// A server does not note that its connection holds the session that it had made global.
    UpgradeForgetsHolder,
    /// A leader tells who comes elsewhere with a session that it is just making global that it is over.
    UpgradeUnknownElsewhere,
    /// A leader makes a session global though its client was told that it is over.
    UpgradeThoughToldOver,
    /// Who comes back to the same server with a session that is being made global does not wait for that.
    UpgradeNotAwaited,
    /// A server passes nothing on that it hears from a session that its leader was asked to make global.
    UpgradingNotTouched,
    /// Whoever learns from a relay counts from when it heard it, not from when that was current.
    AgeFromReceipt,
    /// A leader speaks to learners that lag as if they were sent all that is committed.
    LaggardsCurrent,
    /// A leader that has led no more for a while, and gives up to lead again, is current then.
    DeposedIsCurrent,
    /// `maxStaleness` ends no connection.
    StaleServed,
    /// Writes are not failed where reads go on without a leader.
    CutOffWritesWait,
    /// A write whose fate is open is told that it was not done.
    OpenFateToldAsNotDone,
    /// A connection for reading only stays when there is a leader again.
    ReadersStay,
    /// A session gets no grace where its server is cut off.
    GraceForgotten,
    /// A session that is due ends while nothing is heard of its server, until that is taken to be cut off.
    SilenceOfServerCounts,
    /// A session ends for its silence while something that its server says is long on its way.
    LongWordIsSilence,

    // Connections: all *shell*, as a server's reactor has them.
    /// *Shell:* whoever comes back with a session that is over is given another one.
    ExpiredReplaced,
    /// *Shell:* a server without a leader takes a client that has seen more than the server has.
    SeenIgnoredInCut,
    /// *Shell:* a server takes a client that has seen more than the server has.
    SeenIgnored,
    /// *Shell:* a write behind a sync is taken before the sync is answered.
    WriteOvertakesSync,
    /// *Shell:* a read is answered before the writes that its connection asked first.
    ReadOvertakesWrite,
    /// *Shell:* an event follows the reply that shows its change.
    EventAfterReply,
    /// *Shell:* a watch is not armed.
    WatchNotArmed,
    /// *Shell:* of two that watch one path, one is not told.
    WatchForgotten,
    /// *Shell:* an event is told twice.
    WatchFiresTwice,
}
