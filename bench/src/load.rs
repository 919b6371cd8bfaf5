//! Load on raw frames, and the referee that compares servers under it.
//!
//! ```text
//! Workload ─► Load (threads ─► connections, each with `outstanding` requests) ─► Slice (histograms)
//! cells ─► referee: slices of all subjects in turn, ratios round by round ─► table
//! ```

pub mod barriers;
pub mod cells;
#[cfg(feature = "page")]
pub mod compare;
mod connection;
#[cfg(feature = "page")]
pub mod curve;
pub mod failover;
#[cfg(feature = "page")]
pub(crate) mod page;
pub(crate) mod plan;
#[cfg(feature = "page")]
pub(crate) mod plots;
pub mod process;
#[cfg(feature = "page")]
pub mod record;
pub mod referee;
pub mod report;
pub mod servers;
pub mod startup;
mod thread;
pub mod throng;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

pub use plan::{Kind, Nodes, ROOT, Workload};
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
    /// Events of watches that came beside them.
    pub events: u64,
    /// Its length.
    pub elapsed: Duration,
    /// Of reads, nanoseconds from sending to receiving.
    pub reads: Histogram<u64>,
    /// Of writes.
    pub writes: Histogram<u64>,
    /// The longest time in which a thread of the load got no answer at all.
    pub longest_gap: Duration,
}

impl Slice {
    pub(crate) fn empty() -> Self {
        let (reads, writes) = (new_histogram(), new_histogram());
        let (elapsed, longest_gap) = (Duration::ZERO, Duration::ZERO);
        Self { operations: 0, events: 0, elapsed, reads, writes, longest_gap }
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
        self.events += other.events;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.longest_gap = self.longest_gap.max(other.longest_gap);
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
    /// Connects, and creates what the workload reads and sets.
    pub fn open(addresses: &[SocketAddr], workload: &Workload, nodes: Nodes<'_>) -> Result<Self> {
        if let Nodes::Below(root) = nodes {
            plan::populate(addresses[0], root, workload.keys, workload.value_bytes)
                .context("creating the nodes of a workload")?;
        }
        let count = workload.threads.clamp(1, workload.connections);
        let threads = (0..count)
            .map(|index| {
                let connections = (index..workload.connections).step_by(count);
                LoadThread::open(addresses, workload, nodes, connections)
            })
            .collect::<Result<_>>()?;
        Ok(Self { threads })
    }

    /// Loads the server for so long, then waits for what is still outstanding.
    pub fn run(&mut self, duration: Duration) -> Result<Slice> {
        let begin = Instant::now();
        if let [only] = &mut self.threads[..] {
            return only.run(begin, duration, &AtomicU64::new(0));
        }
        self.run_watched(duration, duration, |_, _| {})
    }

    /// The same; `watch` is told every so often how long it goes on and how many requests were
    /// answered. It runs on the calling thread.
    pub fn run_watched(
        &mut self,
        duration: Duration,
        every: Duration,
        mut watch: impl FnMut(Duration, u64),
    ) -> Result<Slice> {
        let begin = Instant::now();
        let answered = AtomicU64::new(0);
        let slices: Vec<Result<Slice>> = std::thread::scope(|scope| {
            let running: Vec<_> = self
                .threads
                .iter_mut()
                .map(|thread| scope.spawn(|| thread.run(begin, duration, &answered)))
                .collect();
            while begin.elapsed() < duration && !running.iter().all(|it| it.is_finished()) {
                std::thread::park_timeout(every.min(duration.saturating_sub(begin.elapsed())));
                watch(begin.elapsed(), answered.load(Ordering::Relaxed));
            }
            running.into_iter().map(|it| it.join().expect("no load panics")).collect()
        });
        let mut total = Slice::empty();
        for slice in slices {
            total.add(&slice?);
        }
        Ok(total)
    }

    /// Ends its sessions; without this they live on until their timeout.
    pub fn close(self) -> Result<()> {
        self.threads
            .into_iter()
            .try_for_each(LoadThread::close)
            .context("ending the sessions of a load")
    }

    /// Those of `path` and the nodes above it that are not there, the deepest first.
    pub fn missing(address: SocketAddr, path: &str) -> Result<Vec<String>> {
        plan::missing(address, path).context("looking for the nodes above a workload")
    }

    /// Deletes those of `paths` that are there and have no children, in this order.
    pub fn remove_empty(address: SocketAddr, paths: &[String]) -> Result<()> {
        plan::remove_empty(address, paths).context("removing the nodes above a workload")
    }

    /// Deletes what loads have left below `root`, and `root`.
    pub fn clean(address: SocketAddr, root: &str) -> Result<()> {
        plan::remove(address, root).context("removing the nodes of a workload")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::{ceiling, raw};

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
        let mut load = Load::open(&[canned()], &workload, Nodes::Canned).expect("connections");
        for _slice in 0..2 {
            let slice = load.run(Duration::from_millis(50)).expect("a slice");
            assert!(slice.operations > 0);
            assert!(!slice.reads.is_empty() && !slice.writes.is_empty());
            assert_eq!(slice.reads.len() + slice.writes.len(), slice.operations);
            assert!(load.threads.iter().all(LoadThread::is_quiet));
        }
    }
    #[test]
    fn an_open_loop_asks_at_its_rate_and_charges_waits_from_when_requests_were_due() {
        let workload = Workload { connections: 4, rate: Some(2_000.0), ..Workload::default() };
        let mut load = Load::open(&[canned()], &workload, Nodes::Canned).expect("connections");
        let duration = Duration::from_millis(250);
        let mut told = 0;
        let slice = load
            .run_watched(duration, duration / 5, |_, answered| told = answered)
            .expect("a slice");
        // What was asked is due by then, or on its way: never more, however slow this machine is.
        let due = 2_000.0 * slice.elapsed.as_secs_f64() + 1.0;
        assert!(0 < slice.operations && slice.operations as f64 <= due, "{slice:?}");
        assert!(told <= slice.operations);
        assert!(load.threads.iter().all(LoadThread::is_quiet));
    }
    /// A server that answers nothing before it has got `held` requests.
    fn holding(held: usize) -> SocketAddr {
        answering(held, Duration::ZERO)
    }

    /// The same, which takes so long for its first answer.
    fn answering(held: usize, first: Duration) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut frame = || {
                let mut length = [0; 4];
                stream.read_exact(&mut length).ok()?;
                let mut frame = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut frame).ok()?;
                Some((frame, stream.try_clone().expect("a descriptor")))
            };
            let connected = raw::Body::new().int(0).int(30_000).long(1).buffer(Some(&[0; 16]));
            let (_, mut to) = frame().expect("a handshake");
            to.write_all(&raw::framed(connected.boolean(false).as_bytes())).expect("sent");
            let (mut xids, mut pause) = (Vec::new(), first);
            while let Some((request, mut to)) = frame() {
                xids.push(i32::from_be_bytes(request[..4].try_into().expect("four bytes")));
                std::thread::sleep(std::mem::take(&mut pause));
                for xid in xids.drain(..if held <= xids.len() { xids.len() } else { 0 }) {
                    let reply = raw::Body::new().int(xid).long(1).int(0);
                    to.write_all(&raw::framed(reply.as_bytes())).expect("sent");
                }
            }
        });
        address
    }

    #[test]
    fn a_stall_that_outlasts_the_slice_is_charged_to_what_was_due_in_it() {
        const SLOW: Duration = Duration::from_secs(2);
        let workload = Workload { rate: Some(1_000.0), ..Workload::default() };
        let address = answering(1, SLOW);
        let mut load = Load::open(&[address], &workload, Nodes::Canned).expect("connections");
        let slice = load.run(SLOW / 20).expect("a slice");
        assert_eq!(slice.operations, 0, "nothing was answered in time");
        // The last was due when a twentieth of it was over.
        let least_us = SLOW.as_micros() as f64 * 0.9;
        assert!(least_us <= slice.quantile_us(0.0), "{}", slice.quantile_us(0.0));
        assert!(SLOW <= slice.longest_gap, "{:?}", slice.longest_gap);
    }

    #[test]
    fn a_stall_is_charged_to_every_request_that_was_due_in_it() {
        // 101 requests, 1 ms apart, answered together: the first waited at least 100 ms, the
        // middle one 50.
        let workload = Workload { rate: Some(1_000.0), ..Workload::default() };
        let mut load = Load::open(&[holding(101)], &workload, Nodes::Canned).expect("connections");
        let slice = load.threads[0].run_until(101).expect("a slice");
        assert!(100_000.0 * 0.999 <= slice.quantile_us(1.0), "{}", slice.quantile_us(1.0));
        assert!(50_000.0 * 0.999 <= slice.quantile_us(0.5), "{}", slice.quantile_us(0.5));
    }
}
