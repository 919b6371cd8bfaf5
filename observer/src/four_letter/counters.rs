//! What a server counts while it serves, and how it adds it up when asked.
//!
//! ```text
//! reactor 0 ─► ThreadCounters ─┐
//! reactor 1 ─► ThreadCounters ─┼─► sum, only when somebody asks (mntr, srvr)
//! core      ─► ThreadCounters ─┘
//! ```
//!
//! Each thread writes its own block of relaxed atomics, padded so that no two threads share a cache
//! line: counting costs nothing that another thread would notice. A sum may be a few events old.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use farwatch_core::wire::request::OpCode;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $key:literal,)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// Every counter.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name, which `mntr` shows after `zk_`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

counters! {
    /// Requests received from clients.
    PacketsReceived = "packets_received",
    /// Replies and events sent to clients.
    PacketsSent = "packets_sent",
    /// Failed authentications.
    AuthFailed = "auth_failed_count",
    /// Times that the server looked for a leader.
    Looking = "looking_count",
    /// Learners synced by a difference.
    Diffs = "diff_count",
    /// Learners synced by a snapshot.
    Snaps = "snap_count",
    /// Transactions committed.
    Commits = "commit_count",
    /// Transactions proposed.
    Proposals = "proposal_count",
    /// Requests that wait for a commit.
    RequestsCommitQueued = "request_commit_queued",
    /// Handshakes received.
    ConnectionRequests = "connection_request_count",
    /// Connections refused by a limit.
    ConnectionsRejected = "connection_rejected",
    /// Connections dropped by the server.
    ConnectionsDropped = "connection_drop_count",
    /// Sessions that moved here.
    ConnectionsRevalidated = "connection_revalidate_count",
    /// Sessions that learners asked the leader about.
    Revalidations = "revalidate_count",
    /// Connections closed because no handshake came.
    SessionlessExpired = "sessionless_connections_expired",
    /// Sessions that expired.
    SessionsExpired = "stale_sessions_expired",
    /// Bytes received from clients.
    BytesReceived = "bytes_received_count",
    /// Bytes of replies.
    ResponseBytes = "response_bytes",
    /// Bytes of events.
    WatchBytes = "watch_bytes",
    /// Errors that ended the server.
    UnrecoverableErrors = "unrecoverable_error_count",
    /// Clients of the right ensemble.
    EnsembleAuthSuccess = "ensemble_auth_success",
    /// Clients of another ensemble.
    EnsembleAuthFail = "ensemble_auth_fail",
    /// Clients that named an ensemble where none is set.
    EnsembleAuthSkip = "ensemble_auth_skip",
    /// Writes handed to prepare.
    PrepQueued = "prep_processor_request_queued",
    /// Writes handed to the log.
    SyncQueued = "sync_processor_request_queued",
    /// Changes prepared and not applied.
    OutstandingChangesQueued = "outstanding_changes_queued",
    /// Prepared changes that were applied.
    OutstandingChangesRemoved = "outstanding_changes_removed",
    /// Requests answered with THROTTLEDOP.
    ThrottledOps = "throttled_ops",
    /// Requests that came too late.
    StaleRequests = "stale_requests",
    /// Late requests that were dropped.
    StaleRequestsDropped = "stale_requests_dropped",
    /// Replies whose connection was gone.
    StaleReplies = "stale_replies",
    /// Times that a request waited for the throttle.
    ThrottleWaits = "request_throttle_wait_count",
    /// Frames above the limit.
    LargeRequestsRejected = "large_requests_rejected",
    /// Digests that differed from the leader's.
    DigestMismatches = "digest_mismatches_count",
    /// Connections closed because nobody led.
    ClosedWithoutServing = "cnxn_closed_without_zk_server_running",
    /// Snapshots that failed.
    SnapshotErrors = "snapshot_error_count",
    /// Nodes created with a time to live.
    TtlCreated = "ttl_node_created_count",
    /// Nodes deleted because their time was over.
    TtlDeleted = "ttl_node_deleted_count",
}

/// How a summary's values are recorded and shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Recorded in microseconds and shown in milliseconds: tools expect milliseconds, and an
    /// average of whole milliseconds would be 0.0 on any good disk.
    Duration,
    /// Shown as recorded.
    Plain,
}

macro_rules! summaries {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $unit:ident, $percentiles:literal;)*) => {
        /// Something whose values are summed up.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Summary { $($(#[$doc])* $name,)* }

        impl Summary {
            /// Every summary.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name, which `mntr` shows after `zk_avg_` and the like.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// How its values are recorded and shown.
            pub const fn unit(self) -> Unit {
                match self { $(Self::$name => Unit::$unit,)* }
            }

            /// Whether percentiles are kept: ZooKeeper's "advanced" summaries.
            pub const fn has_percentiles(self) -> bool {
                match self { $(Self::$name => $percentiles,)* }
            }
        }
    };
}

summaries! {
    /// A durable write of the log.
    FsyncTime = "fsynctime", Duration, false;
    /// Writing a snapshot.
    SnapshotTime = "snapshottime", Duration, false;
    /// Loading snapshot and log.
    DbInitTime = "dbinittime", Duration, false;
    /// Loading the snapshot.
    StartupSnapLoadTime = "startup_snap_load_time", Duration, false;
    /// Transactions replayed at start.
    StartupTxnsLoaded = "startup_txns_loaded", Plain, false;
    /// Replaying them.
    StartupTxnsLoadTime = "startup_txns_load_time", Duration, false;
    /// Looking for a leader.
    ElectionTime = "election_time", Duration, false;
    /// Between loss and return of service.
    UnavailableTime = "unavailable_time", Duration, false;
    /// Watches fired by one creation.
    NodeCreatedWatches = "node_created_watch_count", Plain, false;
    /// Watches fired by one deletion.
    NodeDeletedWatches = "node_deleted_watch_count", Plain, false;
    /// Watches fired by one change of data.
    NodeChangedWatches = "node_changed_watch_count", Plain, false;
    /// Watches fired by one change of children.
    NodeChildrenWatches = "node_children_watch_count", Plain, false;
    /// Writes that wait to be prepared.
    PrepQueueSize = "prep_processor_queue_size", Plain, false;
    /// Preparing a batch.
    PrepTime = "prep_process_time", Duration, false;
    /// Proposing a batch.
    ProposalTime = "proposal_process_time", Duration, false;
    /// Records that wait for the log.
    SyncQueueSize = "sync_processor_queue_size", Plain, false;
    /// Records of one batch of the log.
    SyncBatchSize = "sync_processor_batch_size", Plain, false;
    /// Handing a batch to the log.
    SyncTime = "sync_process_time", Duration, false;
    /// Applying a committed batch.
    CommitTime = "commit_process_time", Duration, false;
    /// A read, from its arrival to its answer.
    ReadLatency = "readlatency", Duration, true;
    /// A write of an own client, from its arrival to its answer.
    UpdateLatency = "updatelatency", Duration, true;
    /// A transaction, from the leader to its application here.
    PropagationLatency = "propagation_latency", Duration, true;
    /// Preparing the end of a session.
    CloseSessionPrepTime = "close_session_prep_time", Duration, true;
    /// A write, from prepare to prepared.
    PrepQueueTime = "prep_processor_queue_time_ms", Duration, true;
    /// A record, from the log's queue to durable.
    SyncQueueAndFlushTime = "sync_processor_queue_and_flush_time_ms", Duration, true;
    /// A record, from proposal to a quorum of acknowledgements.
    QuorumAckLatency = "quorum_ack_latency", Duration, true;
    /// A write of an own client, until committed.
    LocalWriteCommittedTime = "local_write_committed_time_ms", Duration, true;
    /// Any write, until committed.
    ServerWriteCommittedTime = "server_write_committed_time_ms", Duration, true;
    /// Answering a read.
    ReadFinalTime = "read_final_proc_time_ms", Duration, true;
    /// Applying and answering a write.
    WriteFinalTime = "write_final_proc_time_ms", Duration, true;
    /// Waiting for the throttle.
    ThrottleQueueTime = "request_throttle_queue_time_ms", Duration, true;
}

/// Buckets per power of two: a percentile is at most 1/8 too low.
const SUB_BUCKETS: usize = 8;

/// Buckets of a distribution: values below 8 have one each, then 8 for each power of two up to
/// 2^40, which is twelve days in microseconds. Larger values fall into the last.
const BUCKETS: usize = SUB_BUCKETS * (40 - 3 + 1);

/// The bucket of `value`.
fn bucket(value: u64) -> usize {
    if value < SUB_BUCKETS as u64 {
        return value as usize;
    }
    let power = value.ilog2() as usize; // 3 or more
    let within = (value >> (power - 3)) as usize - SUB_BUCKETS;
    (SUB_BUCKETS * (power - 2) + within).min(BUCKETS - 1)
}

/// The smallest value of bucket `index`.
fn bucket_floor(index: usize) -> u64 {
    if index < SUB_BUCKETS {
        return index as u64;
    }
    let power = index / SUB_BUCKETS + 2;
    ((SUB_BUCKETS + index % SUB_BUCKETS) as u64) << (power - 3)
}

/// Values of one summary, of one thread.
struct Distribution {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    /// Empty where no percentiles are kept.
    buckets: Box<[AtomicU64]>,
}

impl Distribution {
    fn new(percentiles: bool) -> Self {
        let buckets = if percentiles { BUCKETS } else { 0 };
        Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn record(&self, value: u64, times: u64) {
        self.count.fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        // Most values are neither: a load is cheaper than an exchange.
        if value < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(value, Ordering::Relaxed);
        }
        if self.max.load(Ordering::Relaxed) < value {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
        if !self.buckets.is_empty() {
            self.buckets[bucket(value)].fetch_add(times, Ordering::Relaxed);
        }
    }

    fn reset(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.sum.store(0, Ordering::Relaxed);
        self.min.store(u64::MAX, Ordering::Relaxed);
        self.max.store(0, Ordering::Relaxed);
        self.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }
}

/// The counters that one thread writes.
pub struct ThreadCounters {
    counters: Box<[AtomicU64]>,
    ops: Box<[AtomicU64]>,
    summaries: Box<[Distribution]>,
    latency: Distribution,
    response_size: SizeCounters,
    proposal_size: SizeCounters,
}

impl ThreadCounters {
    fn new() -> Self {
        Self {
            counters: Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            ops: OpCode::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            summaries: (Summary::ALL.iter())
                .map(|summary| Distribution::new(summary.has_percentiles()))
                .collect(),
            latency: Distribution::new(false),
            response_size: SizeCounters::new(),
            proposal_size: SizeCounters::new(),
        }
    }

    /// Counts `times` more of `counter`.
    pub fn add(&self, counter: Counter, times: u64) {
        bump(&self.counters[counter as usize], times);
    }

    /// Counts one request of kind `op`.
    pub fn request(&self, op: OpCode) {
        if let Some(index) = OpCode::ALL.iter().position(|&other| other == op) {
            bump(&self.ops[index], 1);
        }
    }

    /// Records one value of `summary`; microseconds where its unit is [`Unit::Duration`].
    pub fn record(&self, summary: Summary, value: u64) {
        self.record_many(summary, value, 1);
    }

    /// Records `times` equal values: a run of replies that left together.
    pub fn record_many(&self, summary: Summary, value: u64, times: u64) {
        self.summaries[summary as usize].record(value, times);
    }

    /// Records what any request took, in microseconds: the `Latency` of `srvr`.
    pub fn latency(&self, micros: u64, times: u64) {
        self.latency.record(micros, times);
    }

    /// Records the size of a reply, bytes.
    pub fn response_size(&self, bytes: usize) {
        self.response_size.record(bytes as i64);
    }

    /// Records the size of a proposal, bytes.
    pub fn proposal_size(&self, bytes: usize) {
        self.proposal_size.record(bytes as i64);
    }

    fn reset(&self) {
        self.counters.iter().chain(&self.ops).for_each(|count| count.store(0, Ordering::Relaxed));
        self.summaries.iter().for_each(Distribution::reset);
        self.latency.reset();
        self.response_size.reset();
        self.proposal_size.reset();
    }
}

/// Adds without a locked instruction: each block has one writing thread.
fn bump(count: &AtomicU64, times: u64) {
    count.store(count.load(Ordering::Relaxed) + times, Ordering::Relaxed);
}

/// Last, smallest and largest of some sizes.
struct SizeCounters {
    last: AtomicI64,
    min: AtomicI64,
    max: AtomicI64,
}

impl SizeCounters {
    const fn new() -> Self {
        Self { last: AtomicI64::new(-1), min: AtomicI64::new(i64::MAX), max: AtomicI64::new(-1) }
    }

    fn record(&self, bytes: i64) {
        self.last.store(bytes, Ordering::Relaxed);
        if bytes < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(bytes, Ordering::Relaxed);
        }
        if self.max.load(Ordering::Relaxed) < bytes {
            self.max.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    fn reset(&self) {
        self.last.store(-1, Ordering::Relaxed);
        self.min.store(i64::MAX, Ordering::Relaxed);
        self.max.store(-1, Ordering::Relaxed);
    }
}

/// Last, smallest and largest of some sizes, bytes; -1 each before the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// The last.
    pub last: i64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { last: -1, min: -1, max: -1 }
    }
}

/// A summary, added up over threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Totals {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The smallest; 0 before the first.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// Values per bucket; empty where no percentiles are kept.
    buckets: Vec<u64>,
}

impl Totals {
    /// The value below which `thousandths` of the values lie, at most 1/8 too low.
    ///
    /// # Panics
    /// When this summary keeps no percentiles, or `thousandths` is above 1000.
    pub fn percentile(&self, thousandths: u64) -> u64 {
        assert!(thousandths <= 1000);
        assert!(!self.buckets.is_empty());
        let count: u64 = self.buckets.iter().sum(); // its own: `count` may be an event ahead
        let rank = (count * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, values) in self.buckets.iter().enumerate() {
            seen += values;
            if rank <= seen {
                return bucket_floor(index).clamp(self.min, self.max);
            }
        }
        0
    }

    fn of<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> Self {
        let mut totals = Self { count: 0, sum: 0, min: u64::MAX, max: 0, buckets: Vec::new() };
        for one in distributions {
            totals.count += one.count.load(Ordering::Relaxed);
            totals.sum += one.sum.load(Ordering::Relaxed);
            totals.min = totals.min.min(one.min.load(Ordering::Relaxed));
            totals.max = totals.max.max(one.max.load(Ordering::Relaxed));
            totals.buckets.resize(one.buckets.len(), 0);
            for (sum, bucket) in totals.buckets.iter_mut().zip(&one.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
        }
        totals.min = totals.min.min(totals.max); // nothing yet: 0, not the mark
        totals
    }
}

/// The counters of a server: one block per thread.
pub struct ServerCounters {
    threads: Box<[CachePadded<ThreadCounters>]>,
}

impl ServerCounters {
    /// Counters for `threads` threads, of which the last is the core's.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(threads: usize) -> Self {
        assert!(threads > 0);
        Self { threads: (0..threads).map(|_| CachePadded::new(ThreadCounters::new())).collect() }
    }

    /// The block that thread number `index` writes.
    ///
    /// # Panics
    /// When there are not that many.
    pub fn thread(&self, index: usize) -> &ThreadCounters {
        &self.threads[index]
    }

    /// The block of the core and of the threads that write its snapshots.
    pub fn core(&self) -> &ThreadCounters {
        &self.threads[self.threads.len() - 1]
    }

    /// The sum of `counter`.
    pub fn total(&self, counter: Counter) -> u64 {
        self.threads.iter().map(|one| one.counters[counter as usize].load(Ordering::Relaxed)).sum()
    }

    /// Requests of kind `op`, which is found by its place in [`OpCode::ALL`].
    pub fn requests(&self, op: OpCode) -> u64 {
        let index = OpCode::ALL.iter().position(|&other| other == op);
        let of = |one: &ThreadCounters| index.map_or(0, |i| one.ops[i].load(Ordering::Relaxed));
        self.threads.iter().map(|one| of(one)).sum()
    }

    /// The sum of `summary`.
    pub fn summary(&self, summary: Summary) -> Totals {
        Totals::of(self.threads.iter().map(|one| &one.summaries[summary as usize]))
    }

    /// What requests took, in microseconds.
    pub fn latency(&self) -> Totals {
        Totals::of(self.threads.iter().map(|one| &one.latency))
    }

    /// Sizes of replies. The last is the last of some thread.
    pub fn response_sizes(&self) -> Sizes {
        self.sizes(|one| &one.response_size)
    }

    /// Sizes of proposals, which one thread makes.
    pub fn proposal_sizes(&self) -> Sizes {
        self.sizes(|one| &one.proposal_size)
    }

    fn sizes(&self, of: impl Fn(&ThreadCounters) -> &SizeCounters) -> Sizes {
        let sizes = || self.threads.iter().map(|one| of(one));
        let max = sizes().map(|one| one.max.load(Ordering::Relaxed)).max().unwrap_or(-1);
        if max < 0 {
            return Sizes::default();
        }
        let last = sizes().map(|one| one.last.load(Ordering::Relaxed)).find(|last| 0 <= *last);
        let min = sizes().map(|one| one.min.load(Ordering::Relaxed)).min().unwrap_or(-1);
        Sizes { last: last.unwrap_or(max), min: min.min(max), max }
    }

    /// Starts again at nothing: `srst`. An event that is counted meanwhile may survive in part.
    pub fn reset(&self) {
        self.threads.iter().for_each(|one| one.reset());
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Counter, ServerCounters, Sizes, Summary, bucket, bucket_floor};

    #[test]
    fn every_bucket_starts_where_the_one_before_ends() {
        for index in 0..BUCKETS {
            let floor = bucket_floor(index);
            assert_eq!(bucket(floor), index);
            if 0 < floor {
                assert_eq!(bucket(floor - 1), index - 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn threads_are_added_up_and_reset_together() {
        let counters = ServerCounters::new(2);
        counters.thread(0).add(Counter::Commits, 3);
        counters.thread(1).add(Counter::Commits, 4);
        counters.thread(1).response_size(30);
        for value in 1..=1000 {
            counters.thread(value as usize % 2).record(Summary::ReadLatency, value);
        }
        assert_eq!(counters.total(Counter::Commits), 7);
        assert_eq!(counters.response_sizes(), Sizes { last: 30, min: 30, max: 30 });
        let reads = counters.summary(Summary::ReadLatency);
        assert_eq!((reads.count, reads.sum, reads.min, reads.max), (1000, 500_500, 1, 1000));
        for (thousandths, exact) in [(500, 500), (950, 950), (990, 990), (999, 999)] {
            let found = reads.percentile(thousandths);
            assert!(found <= exact && exact - exact / 8 <= found + 1, "{found} for {exact}");
        }
        counters.reset();
        assert_eq!(counters.total(Counter::Commits), 0);
        let reads = counters.summary(Summary::ReadLatency);
        assert_eq!((reads.count, reads.min, reads.max, reads.percentile(999)), (0, 0, 0, 0));
        assert_eq!(counters.response_sizes(), Sizes::default());
    }
}
