//! What the core counts for `mntr`.

use std::time::Instant;

use farwatch_core::prepare::Changes;
use farwatch_core::record;
use farwatch_core::zab::message::{Message, ToLearner};

use super::Core;
use crate::config::Standing;
use crate::four_letter::counters::{Counter, Summary};

impl Core {
    pub(super) fn count_written(&mut self) {
        if self.written.is_empty() {
            return;
        }
        self.last_write = Instant::now();
        let counters = self.shared.counters.core();
        for run in self.written.drain(..) {
            self.snapshots.log_bytes += run.bytes().len() as u64;
            let mut records = 0;
            for bytes in record::lengths(run.bytes()) {
                records += 1;
                counters.proposal_size(bytes);
            }
            counters.add(Counter::Proposals, records);
            counters.add(Counter::SyncQueued, records);
            counters.record(Summary::SyncBatchSize, records);
        }
    }

    /// Notes what the durable writes since the last look took.
    pub(super) fn count_syncs(&mut self) {
        let (before, now) = (self.synced, self.storage.log.counters());
        let writes = now.writes - before.writes;
        let took_us = (now.write_time - before.write_time).as_micros() as u64;
        if let Some(took_us) = took_us.checked_div(writes) {
            let counters = self.shared.counters.core();
            counters.record_many(Summary::FsyncTime, took_us, writes);
        }
        self.synced = now;
    }

    /// Counts what the machine has counted since the last look.
    pub(super) fn count_decided(&mut self) {
        let node = &self.node;
        let Changes { queued, removed, ttl_created, ttl_deleted } = node.changes();
        let now = [
            (Counter::SessionsExpired, node.expired_sessions()),
            (Counter::Revalidations, node.revalidated_sessions()),
            (Counter::OutstandingChangesQueued, queued),
            (Counter::OutstandingChangesRemoved, removed),
            (Counter::TtlCreated, ttl_created),
            (Counter::TtlDeleted, ttl_deleted),
        ];
        let counters = self.shared.counters.core();
        for (before, (counter, now)) in self.counted.iter_mut().zip(now) {
            counters.add(counter, now - std::mem::replace(before, now));
        }
    }

    /// Whom this server brings up to its own history, and how.
    pub(super) fn count_sync(&self, message: &Message) {
        let Message::ToLearner { body, .. } = message else { return };
        let how = match body {
            ToLearner::NewLeader { .. } => Counter::Diffs,
            ToLearner::Snapshot { end: true, .. } => Counter::Snaps,
            _others => return,
        };
        self.shared.counters.core().add(how, 1);
    }

    pub(super) fn count_looking(&self) {
        if self.shared.config.standing == Standing::Member {
            self.shared.counters.core().add(Counter::Looking, 1);
        }
    }
}
