//! One thread of load: an epoll loop over its connections.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::Slice;
use super::connection::LoadConnection;
use super::plan::{Nodes, Plan, Workload};

/// One read of a connection.
const READ_BYTES: usize = 256 << 10;

/// How long a server may take to answer what is outstanding when a slice ends: longer than ZooKeeper needs to end
/// ten thousand sessions.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// See the module.
pub(super) struct LoadThread {
    epoll: OwnedFd,
    connections: Vec<LoadConnection>,
    plan: Plan,
    pace: Pace,
    scratch: Vec<u8>,
    started: Instant,
}

/// When a thread asks.
enum Pace {
    /// Whenever fewer than so many are under way on a connection.
    Closed { outstanding: usize },
    /// Every so many nanoseconds, on one connection after the other.
    Open { every_ns: f64, due_ns: f64, at: usize },
}

impl LoadThread {
    pub(super) fn open(
        addresses: &[SocketAddr],
        workload: &Workload,
        nodes: Nodes<'_>,
        indices: impl Iterator<Item = usize>,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for index in indices {
            let address = addresses[index % addresses.len()];
            let connection = LoadConnection::open(address, index).with_context(|| {
                let number = index + 1;
                format!("connection {number} to {address} (does maxClientCnxns allow as many?)")
            })?;
            let data = EventData::new_u64(connections.len() as u64);
            epoll::add(&epoll, connection.stream(), data, EventFlags::IN)?;
            connections.push(connection);
        }
        let pace = match workload.rate {
            None => Pace::Closed { outstanding: workload.outstanding },
            Some(rate) => {
                let of_this = rate * connections.len() as f64 / workload.connections as f64;
                Pace::Open { every_ns: 1e9 / of_this, due_ns: 0.0, at: 0 }
            }
        };
        Ok(Self {
            epoll,
            connections,
            plan: Plan::new(workload, nodes),
            pace,
            scratch: vec![0; READ_BYTES],
            started: Instant::now(),
        })
    }

    /// Adds to `answered` what it gets answers to, turn by turn.
    pub(super) fn run(
        &mut self,
        begin: Instant,
        duration: Duration,
        answered: &AtomicU64,
    ) -> Result<Slice> {
        let mut slice = Slice::empty();
        self.begin()?;
        let mut last = Duration::ZERO;
        while begin.elapsed() < duration {
            let due = self.ask_what_is_due(begin + duration)?;
            let left = duration.saturating_sub(begin.elapsed()).min(due);
            let before = slice.operations;
            self.turn(left, Some(&mut slice))?;
            answered.fetch_add(slice.operations - before, Ordering::Relaxed);
            if before < slice.operations {
                let now = begin.elapsed();
                slice.longest_gap = slice.longest_gap.max(now - last);
                last = now;
            }
        }
        slice.elapsed = begin.elapsed();
        slice.longest_gap = slice.longest_gap.max(slice.elapsed - last);
        // In an open loop what was due in time and is answered behind the end has waited as well. It is no part of
        // the rate.
        let is_open = matches!(self.pace, Pace::Open { .. });
        let mut late = Slice::empty();
        let deadline = Instant::now() + DRAIN_MAX;
        while !self.is_quiet() {
            if deadline <= Instant::now() {
                bail!("the server did not answer everything within {DRAIN_MAX:?}");
            }
            let none_yet = late.operations == 0;
            self.turn(DRAIN_MAX, is_open.then_some(&mut late))?;
            if none_yet && 0 < late.operations {
                slice.longest_gap = slice.longest_gap.max(begin.elapsed() - last);
            }
        }
        slice.reads.add(&late.reads)?;
        slice.writes.add(&late.writes)?;
        Ok(slice)
    }

    /// Goes on until so many requests were answered.
    #[cfg(test)]
    pub(super) fn run_until(&mut self, answered: u64) -> Result<Slice> {
        let mut slice = Slice::empty();
        self.begin()?;
        while slice.operations < answered {
            let due = self.ask_what_is_due(Instant::now() + DRAIN_MAX)?;
            self.turn(due, Some(&mut slice))?;
        }
        Ok(slice)
    }

    fn begin(&mut self) -> Result<()> {
        let now_ns = self.now_ns();
        match &mut self.pace {
            Pace::Open { due_ns, .. } => *due_ns = now_ns as f64,
            Pace::Closed { outstanding } => {
                let outstanding = *outstanding;
                for at in 0..self.connections.len() {
                    self.connections[at].ask(&self.plan, outstanding, now_ns)?;
                    self.watch(at)?;
                }
            }
        }
        Ok(())
    }

    /// Asks all that an open loop should have asked by now, and before `end`. Returns how long nothing more is
    /// due.
    fn ask_what_is_due(&mut self, end: Instant) -> Result<Duration> {
        let end_ns = end.saturating_duration_since(self.started).as_nanos() as f64;
        let now_ns = (self.now_ns() as f64).min(end_ns);
        let Pace::Open { every_ns, due_ns, at } = &mut self.pace else { return Ok(DRAIN_MAX) };
        let first = *at;
        let mut asked = 0;
        while *due_ns <= now_ns {
            self.connections[*at].ask_one(&self.plan, *due_ns as u64);
            *due_ns += *every_ns;
            *at = (*at + 1) % self.connections.len();
            asked += 1;
        }
        let left = Duration::from_nanos((*due_ns - now_ns) as u64);
        for offset in 0..asked.min(self.connections.len()) {
            let at = (first + offset) % self.connections.len();
            self.connections[at].send()?;
            self.watch(at)?;
        }
        Ok(left)
    }

    /// Ends all sessions.
    pub(super) fn close(mut self) -> std::io::Result<()> {
        for connection in &mut self.connections {
            connection.begin_close()?;
        }
        let scratch = &mut self.scratch;
        self.connections.iter_mut().try_for_each(|connection| connection.await_close(scratch))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.connections.iter().all(LoadConnection::is_quiet)
    }

    /// Without a slice nothing new is asked.
    fn turn(&mut self, wait_max: Duration, mut slice: Option<&mut Slice>) -> Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let timeout = rustix::event::Timespec {
            tv_sec: wait_max.as_secs() as i64,
            tv_nsec: i64::from(wait_max.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            result => result?,
        };
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            let at = data.u64() as usize;
            if flags.contains(EventFlags::OUT) {
                self.connections[at].send()?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                let started = self.started;
                let clock = || started.elapsed().as_nanos() as u64;
                let connection = &mut self.connections[at];
                connection.receive(&mut self.scratch, clock, slice.as_deref_mut())?;
            }
            if slice.is_some()
                && let Pace::Closed { outstanding } = self.pace
            {
                let now_ns = self.now_ns();
                self.connections[at].ask(&self.plan, outstanding, now_ns)?;
            }
            self.watch(at)?;
        }
        Ok(())
    }

    fn watch(&mut self, at: usize) -> Result<()> {
        let connection = &mut self.connections[at];
        if let Some(flags) = connection.interest() {
            let data = EventData::new_u64(at as u64);
            epoll::modify(&self.epoll, connection.stream(), data, flags)?;
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}
