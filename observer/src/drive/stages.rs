//! How long records are on their way through this server, for `mntr`.
//!
//! ```text
//! appended ──► durable here: sync_processor_queue_and_flush_time_ms
//!     └──────► applied, at a leader: quorum_ack_latency
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use farwatch_core::zab::run::Run;
use farwatch_core::zxid::Zxid;

use crate::four_letter::counters::{Summary, ThreadCounters};

/// Records that the log was given at once.
struct Batch {
    upto: Zxid,
    records: u64,
    since: Instant,
}

/// What is on its way.
#[derive(Default)]
pub(super) struct Stages {
    /// Not durable here yet.
    writing: VecDeque<Batch>,
    /// How many records these are.
    waiting: u64,
    /// Proposed by this server, and not known to be a quorum's yet.
    proposed: VecDeque<Batch>,
}

impl Stages {
    /// The log was given `run`, which this server proposed if it leads.
    pub(super) fn appended(&mut self, run: &Run, leads: bool, counters: &ThreadCounters) {
        let (after, upto) = (run.after().zxid, run.upto().zxid);
        // Zxids are contiguous within an epoch; a run that begins one has at least its last record.
        let is_one_epoch = after.epoch() == upto.epoch();
        let records = if is_one_epoch { upto.0 - after.0 } else { 1 };
        let batch = || Batch { upto, records, since: Instant::now() };
        self.writing.push_back(batch());
        if leads {
            self.proposed.push_back(batch());
        }
        self.waiting += records;
        counters.record(Summary::SyncQueueSize, self.waiting);
    }

    /// Everything up to there is durable here.
    pub(super) fn durable(&mut self, upto: Zxid, counters: &ThreadCounters) {
        self.waiting -= arrive(&mut self.writing, upto, Summary::SyncQueueAndFlushTime, counters);
    }

    /// Everything up to there is applied here, and so a quorum's.
    pub(super) fn applied(&mut self, upto: Zxid, counters: &ThreadCounters) {
        arrive(&mut self.proposed, upto, Summary::QuorumAckLatency, counters);
    }

    /// What was on its way may never arrive.
    pub(super) fn forget(&mut self) {
        self.writing.clear();
        self.waiting = 0;
        self.proposed.clear();
    }
}

/// How many records arrived.
fn arrive(
    batches: &mut VecDeque<Batch>,
    upto: Zxid,
    what: Summary,
    counters: &ThreadCounters,
) -> u64 {
    let mut arrived = 0;
    while let Some(batch) = batches.pop_front_if(|batch| batch.upto <= upto) {
        counters.record_many(what, batch.since.elapsed().as_micros() as u64, batch.records);
        arrived += batch.records;
    }
    arrived
}
