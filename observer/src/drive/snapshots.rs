//! When a snapshot is due, and taking one beside everything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use farwatch_core::snapshot::format::SessionImage;
use tracing::{error, info, warn};

use super::Core;
use crate::data_dir::DataDir;
use crate::four_letter::counters::{Counter, Summary};
use crate::inbox::{Snapshot, ToCore};
use crate::recover::SnapshotJob;
use crate::server::{Shared, random};
use crate::snapshot_file::{self, Purged};

/// A snapshot that failed is tried again after so long, and then after twice as long as the last time, up to
/// the other: what makes it fail, a full disk say, takes somebody to mend, and each attempt may be gigabytes.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// When a snapshot that failed is tried again.
#[derive(Default)]
struct Retry {
    pause: Duration,
    /// `None`: the last one did not fail.
    due: Option<Instant>,
}

impl Retry {
    fn failed(&mut self, now: Instant) {
        self.pause = (2 * self.pause).clamp(RETRY_MIN, RETRY_MAX);
        self.due = Some(now + self.pause);
    }
}

/// When the next snapshot is due.
pub(super) struct Snapshots {
    pub running: bool,
    retry: Retry,
    pub transactions: u64,
    pub log_bytes: u64,
    /// Thresholds of this round, with jitter, so that servers do not all write at once.
    due_transactions: u64,
    due_log_bytes: u64,
}

impl Snapshots {
    pub fn new(shared: &Shared, replayed: u64) -> Self {
        let mut snapshots = Self {
            running: false,
            retry: Retry::default(),
            transactions: replayed,
            log_bytes: 0,
            due_transactions: 0,
            due_log_bytes: 0,
        };
        snapshots.draw(shared);
        snapshots
    }

    /// Between half of what is configured and all of it, as ZooKeeper draws it.
    fn draw(&mut self, shared: &Shared) {
        let draw = |limit: u64| {
            let half = limit / 2;
            half + u64::from_ne_bytes(random()) % (limit - half).max(1)
        };
        self.due_transactions = draw(u64::from(shared.config.snapshot_txns)).max(1);
        self.due_log_bytes = match shared.config.snapshot_log_bytes {
            0 => u64::MAX,
            limit => draw(limit),
        };
    }

    fn is_due(&self) -> bool {
        0 < self.transactions
            && (self.due_transactions <= self.transactions || self.due_log_bytes <= self.log_bytes)
    }
}

impl Core {
    /// Takes a snapshot if one is due, or a learner needs one, or the last one failed a while ago.
    pub(super) fn mind_snapshots(&mut self, now: Instant) {
        let wanted = match self.snapshots.retry.due {
            Some(due) => due <= now,
            None => self.snapshots.is_due() || self.storage.wants_snapshot(),
        };
        // What is not known to be committed may be cut yet, and belongs into no snapshot.
        if wanted && !self.snapshots.running && self.node.is_settled() {
            self.begin_snapshot();
        }
    }

    fn begin_snapshot(&mut self) {
        self.snapshots.running = true;
        self.snapshots.transactions = 0;
        self.snapshots.log_bytes = 0;
        self.snapshots.draw(&self.shared);
        let job = SnapshotJob {
            zxid: self.node.applied(),
            chain: self.node.applied_chain(),
            digest: self.node.writer().digest(),
            reader: self.node.tree().reader(),
            sessions: self
                .node
                .sessions()
                .iter()
                .map(|(id, state)| SessionImage {
                    id,
                    timeout_ms: state.timeout_ms,
                    password: state.password,
                })
                .collect(),
        };
        let (dir, inbox, shared) =
            (self.storage.dir().clone(), Arc::clone(&self.inbox), Arc::clone(&self.shared));
        let write = move || {
            let started = Instant::now();
            let zxid = job.zxid;
            let keep = shared.config.autopurge.snapshots_retained as usize;
            let purges = shared.config.autopurge.interval_ms != 0;
            let mut purged = None;
            let result = job.write(&dir).map_err(|error| error.to_string()).map(|_| {
                // Old snapshots are read whole before one is counted as good, so this belongs here
                // and not on the core's thread.
                purged = purges.then(|| purge(&dir, keep)).flatten();
                Snapshot { zxid, log_from: purged.as_ref().and_then(|it| it.log_from) }
            });
            drop(dir); // whoever opens it next has not to wait for what is given back
            let took = started.elapsed().as_micros() as u64;
            shared.counters.core().record(Summary::SnapshotTime, took);
            let mut message = ToCore::SnapshotDone(result);
            while let Err(back) = inbox.push(message) {
                message = back;
                std::thread::yield_now();
            }
            drop((inbox, shared));
            if let Some(purged) = purged {
                purged.give_back();
            }
        };
        let builder = std::thread::Builder::new().name("farwatch-snapshot".to_owned());
        if let Err(cause) = builder.spawn(write) {
            self.snapshot_done(Err(format!("its thread cannot be started: {cause}")));
        }
    }

    pub(super) fn snapshot_done(&mut self, result: Result<Snapshot, String>) {
        self.snapshots.running = false;
        match result {
            Ok(Snapshot { zxid, log_from }) => {
                info!(%zxid, "snapshot written");
                self.snapshots.retry = Retry::default();
                if let Some(from) = log_from {
                    self.storage.log.purge(from);
                }
                self.storage.snapshot_taken();
            }
            Err(cause) => {
                self.shared.counters.core().add(Counter::SnapshotErrors, 1);
                self.snapshots.retry.failed(Instant::now());
                let seconds = self.snapshots.retry.pause.as_secs();
                error!("a snapshot failed and will be tried again in {seconds} s: {cause}");
            }
        }
    }
}

/// Removes snapshots beyond those to keep.
fn purge(dir: &DataDir, keep: usize) -> Option<Purged> {
    let purged = snapshot_file::purge(dir, keep);
    purged.inspect_err(|cause| warn!("old snapshots cannot be purged: {cause}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_snapshots_that_fail_double_up_to_some_minutes() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            retry.failed(now);
            assert_eq!(retry.due, Some(now + Duration::from_secs(seconds)));
        }
    }
}
