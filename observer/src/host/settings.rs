//! From the configuration to the terms of the log and of the machine.

use std::time::Duration;

use farwatch_core::node::{NodeOptions, ReapOptions};
use farwatch_core::prepare;

use crate::config::{LogDriver as LogDriverChoice, ServerConfig, ServerRole};
use crate::log_file::{LogOptions, LogWriter};

/// A segment of a log that is in memory: what is filled ahead of it costs memory, too.
const MEMORY_SEGMENT_BYTES: u64 = 4 << 20;

/// The most of a log in memory that is kept behind a snapshot, for a cut of the link, and for those who
/// learn from here.
const MEMORY_LOG_BYTES: u64 = 32 << 20;

pub(super) fn log_options(config: &ServerConfig) -> LogOptions {
    let forced = match config.log_driver {
        LogDriverChoice::Auto => None,
        LogDriverChoice::IoUring => Some(LogWriter::Ring),
        LogDriverChoice::Thread => Some(LogWriter::Thread),
    };
    let usual = LogOptions::default();
    let (segment_bytes, keep_bytes) = match config.memory_only {
        true => (MEMORY_SEGMENT_BYTES, config.log_retain_bytes.min(MEMORY_LOG_BYTES)),
        false => (usual.segment_bytes, config.log_retain_bytes),
    };
    LogOptions {
        segment_bytes,
        queue_depth: config.log_queue_depth as usize,
        keep_bytes,
        writer: forced,
        is_embedded: config.is_embedded,
        slow_write: Duration::from_millis(u64::from(config.fsync_warning_ms)),
        ..usual
    }
}

pub(super) fn node_options(config: &ServerConfig, hash_seed: u64) -> NodeOptions {
    let reaping = config.reaping;
    NodeOptions {
        prepare: prepare::Options {
            extended_types: config.extended_types,
            enforce_quota: config.enforce_quota,
            skip_acl: config.skip_acl,
            reconfig_enabled: config.reconfig_enabled,
        },
        tick_ms: config.tick_time_ms as i32,
        hash_seed,
        reap: ReapOptions {
            interval_ms: i64::from(reaping.check_interval_ms),
            per_minute_max: reaping.per_minute_max,
            never_used_ms: (reaping.never_used_ms_max != 0)
                .then_some(reaping.never_used_ms_max as i64),
        },
        wait_ms: i64::from(config.write_wait_ms),
        stale_ms_max: (config.staleness_ms_max != 0).then_some(config.staleness_ms_max.into()),
        on_partition: config.on_partition,
        // Guests are in no list, so that a leader always has it for those it knows.
        learner_grace_ms: i32::try_from(config.observer_session_grace_ms).unwrap_or(i32::MAX),
        lists_learners: config.servers.iter().any(|it| it.role == ServerRole::Observer),
        write_bytes_max: config.client_frame_bytes_max,
        local_sessions: config.local_sessions,
    }
}
