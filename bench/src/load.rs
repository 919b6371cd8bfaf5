//! Load on raw frames, and the referee that compares servers under it.
//!
//! ```text
//! Workload ─► Load (threads ─► connections, each with `outstanding` requests) ─► Slice (histograms)
//! cells ─► referee: slices of all subjects in turn, ratios round by round ─► table
//! ```

pub mod cells;
mod connection;
pub mod failover;
mod plan;
pub mod process;
pub mod referee;
pub mod report;
pub mod startup;
mod thread;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

pub use plan::{Kind, Workload};
use thread::LoadThread;

/// Latencies are recorded in nanoseconds, up to a minute, with three significant digits.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("constant bounds are valid")
}

/// What one stretch of load came to.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Replies within the stretch.
    pub operations: u64,
    /// Its length.
    pub elapsed: Duration,
    /// Of reads, nanoseconds from sending to receiving.
    pub reads: Histogram<u64>,
    /// Of writes.
    pub writes: Histogram<u64>,
}

impl Slice {
    pub(crate) fn empty() -> Self {
        let (reads, writes) = (new_histogram(), new_histogram());
        Self { operations: 0, elapsed: Duration::ZERO, reads, writes }
    }

    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// Of all operations, microseconds.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("both have the same bounds");
        all.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.reads.add(&other.reads).expect("both have the same bounds");
        self.writes.add(&other.writes).expect("both have the same bounds");
    }
}

/// Connections to one server or to those of an ensemble in turn, open until it is dropped, and quiet
/// between two slices.
pub struct Load {
    threads: Vec<LoadThread>,
}

impl Load {
    /// Connects, and creates what the workload reads and sets. A canned server creates nothing
    /// and says so by being named `canned`.
    pub fn open(addresses: &[SocketAddr], workload: &Workload, canned: bool) -> Result<Self> {
        if !canned {
            plan::populate(addresses[0], workload).context("creating the nodes of a workload")?;
        }
        let count = workload.threads.clamp(1, workload.connections);
        let threads = (0..count)
            .map(|index| {
                let connections = (index..workload.connections).step_by(count);
                LoadThread::open(addresses, workload, connections)
            })
            .collect::<Result<_>>()?;
        Ok(Self { threads })
    }

    /// Loads the server for so long, then waits for what is still outstanding.
    pub fn run(&mut self, duration: Duration) -> Result<Slice> {
        let begin = Instant::now();
        let slices: Vec<Result<Slice>> = match &mut self.threads[..] {
            [only] => vec![only.run(begin, duration)],
            threads => std::thread::scope(|scope| {
                let running: Vec<_> = threads
                    .iter_mut()
                    .map(|thread| scope.spawn(move || thread.run(begin, duration)))
                    .collect();
                running.into_iter().map(|it| it.join().expect("no load panics")).collect()
            }),
        };
        let mut total = Slice::empty();
        for slice in slices {
            total.add(&slice?);
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::ceiling;

    fn canned() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || ceiling::serve(&listener, 100));
        address
    }

    #[test]
    fn a_slice_counts_reads_and_writes_of_a_mix_and_leaves_nothing_outstanding() {
        let workload = Workload {
            kind: Kind::Mix { read_percent: 50 },
            connections: 4,
            outstanding: 8,
            threads: 2,
            ..Workload::default()
        };
        let mut load = Load::open(&[canned()], &workload, true).expect("connections");
        for _slice in 0..2 {
            let slice = load.run(Duration::from_millis(50)).expect("a slice");
            assert!(slice.operations > 0);
            assert!(!slice.reads.is_empty() && !slice.writes.is_empty());
            assert_eq!(slice.reads.len() + slice.writes.len(), slice.operations);
            assert!(load.threads.iter().all(LoadThread::is_quiet));
        }
    }
}
