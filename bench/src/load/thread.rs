//! One thread of load: an epoll loop over its connections.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::Slice;
use super::connection::LoadConnection;
use super::plan::{Plan, Workload};

/// One read of a connection.
const READ_BYTES: usize = 256 << 10;

/// How long a server may take to answer what is outstanding when a slice ends.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// See the module.
pub(super) struct LoadThread {
    epoll: OwnedFd,
    connections: Vec<LoadConnection>,
    plan: Plan,
    outstanding: usize,
    scratch: Vec<u8>,
    started: Instant,
}

impl LoadThread {
    pub(super) fn open(
        addresses: &[SocketAddr],
        workload: &Workload,
        indices: impl Iterator<Item = usize>,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for index in indices {
            let connection = LoadConnection::open(addresses[index % addresses.len()], index)?;
            let data = EventData::new_u64(connections.len() as u64);
            epoll::add(&epoll, connection.stream(), data, EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self {
            epoll,
            connections,
            plan: Plan::new(workload),
            outstanding: workload.outstanding,
            scratch: vec![0; READ_BYTES],
            started: Instant::now(),
        })
    }

    pub(super) fn run(&mut self, begin: Instant, duration: Duration) -> Result<Slice> {
        let mut slice = Slice::empty();
        for at in 0..self.connections.len() {
            let now_ns = self.now_ns();
            self.connections[at].ask(&self.plan, self.outstanding, now_ns)?;
            self.watch(at)?;
        }
        while begin.elapsed() < duration {
            let left = duration.saturating_sub(begin.elapsed());
            self.turn(left, Some(&mut slice))?;
        }
        slice.elapsed = begin.elapsed();
        let deadline = Instant::now() + DRAIN_MAX;
        while !self.is_quiet() {
            if deadline <= Instant::now() {
                bail!("the server did not answer everything within {DRAIN_MAX:?}");
            }
            self.turn(DRAIN_MAX, None)?;
        }
        Ok(slice)
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
            if slice.is_some() {
                let now_ns = self.now_ns();
                self.connections[at].ask(&self.plan, self.outstanding, now_ns)?;
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
