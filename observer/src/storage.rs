//! What the protocol wants of the disk, done in the order in which it wants it.
//!
//! ```text
//! Append, Flush, Truncate, ReadLog ─► orders ─► LogFile ─► Durable, Truncated, LogRead
//! ReadSnapshot ─► SnapshotSource (thread) ─► SnapshotRead
//! StoreSnapshot ─► SnapshotSink (thread) ─► SnapshotStored
//! ```
//!
//! An order waits until the log can take it, and those behind it wait too: what is read is what was
//! appended, and what is cut is cut before anything newer is appended. Runs that wait together are
//! written together.

use std::collections::VecDeque;
use std::sync::Arc;

use farwatch_core::zab::run::{Position, Run};
use farwatch_core::zab::{Action, Event};
use farwatch_core::zxid::Zxid;
use tracing::{error, warn};

use crate::data_dir::DataDir;
use crate::log_file::{LogFile, LogFull, LogSlice, TruncateError};
use crate::snapshot_transfer::{SnapshotReadCause, SnapshotSink, SnapshotSource};

/// Bytes of waiting runs that are written as one batch. More would only make the first of them wait.
const BATCH_BYTES_MAX: usize = 4 << 20;

enum Order {
    Append { ticket: u64, run: Run },
    Flush { ticket: u64 },
    Truncate { ticket: u64, to: Position },
    ReadLog { ticket: u64, from: Zxid, bytes_max: u64 },
}

/// Why a server cannot go on with its disk as it is.
pub type Damage = String;

/// See the module.
pub struct Storage {
    /// The log. Only orders change it.
    pub log: LogFile,
    dir: DataDir,
    orders: VecDeque<Order>,
    /// Ends of what was submitted, with the ticket it had.
    submitted: VecDeque<(Zxid, u64)>,
    source: Option<SnapshotSource>,
    sink: Option<SnapshotSink>,
    transfer_bytes_per_second: u64,
    /// Reads of a snapshot that wait for one to be taken.
    unsnapshotted: Vec<(u64, u64)>,
    /// A full disk has no room for what was ordered first.
    is_stuck: bool,
}

impl Storage {
    /// The disk of a server whose log is open.
    pub fn new(log: LogFile, dir: DataDir, transfer_bytes_per_second: u64) -> Self {
        Self {
            log,
            dir,
            orders: VecDeque::new(),
            submitted: VecDeque::new(),
            source: None,
            sink: None,
            transfer_bytes_per_second,
            unsnapshotted: Vec::new(),
            is_stuck: false,
        }
    }

    /// Takes an order; false if it is none for the disk.
    pub fn order(&mut self, action: &Action) -> bool {
        match *action {
            Action::Append { ticket, ref run } => {
                self.orders.push_back(Order::Append { ticket, run: run.clone() });
            }
            Action::Flush { ticket } => self.orders.push_back(Order::Flush { ticket }),
            Action::Truncate { ticket, to } => {
                self.orders.push_back(Order::Truncate { ticket, to });
            }
            Action::ReadLog { ticket, from, bytes_max } => {
                self.orders.push_back(Order::ReadLog { ticket, from, bytes_max });
            }
            Action::ReadSnapshot { ticket, offset } => self.read_snapshot(ticket, offset),
            Action::StoreSnapshot { ticket, at, offset, ref bytes, end } => {
                let part = (offset, Arc::clone(bytes), end);
                self.store_snapshot(ticket, at, part);
            }
            Action::SaveEpochs(_)
            | Action::Send { .. }
            | Action::Committed(_)
            | Action::Became(_)
            | Action::Confirmed(_)
            | Action::ConfirmsFailed
            | Action::Requested { .. }
            | Action::Responded(_)
            | Action::Halt(_)
            | Action::Refused { .. } => return false,
        }
        true
    }

    fn read_snapshot(&mut self, ticket: u64, offset: u64) {
        if self.source.is_none() {
            let cap = self.transfer_bytes_per_second;
            let started =
                self.log.bell().and_then(|bell| SnapshotSource::start(&self.dir, bell, cap));
            match started {
                Ok(source) => self.source = Some(source),
                Err(cause) => {
                    error!("a snapshot cannot be sent: its thread cannot be started: {cause}");
                    return; // the learner asks again when its leader's patience is over
                }
            }
        }
        if let Some(source) = &mut self.source {
            source.begin_read(ticket, offset);
        }
    }

    fn store_snapshot(&mut self, ticket: u64, at: Position, part: (u64, Arc<[u8]>, bool)) {
        let (offset, bytes, end) = part;
        if self.sink.is_none() {
            match self.log.bell().and_then(|bell| SnapshotSink::start(&self.dir, bell)) {
                Ok(sink) => self.sink = Some(sink),
                Err(cause) => {
                    error!("a snapshot cannot be received: its thread cannot be started: {cause}");
                    return;
                }
            }
        }
        if let Some(sink) = &mut self.sink {
            sink.begin_store(ticket, at, offset, bytes, end);
        }
    }

    /// Whether the log would take a run of so many bytes now, and nothing waits before it.
    pub fn is_ready(&mut self, bytes: usize, first: Zxid) -> bool {
        self.orders.is_empty() && self.log.ready_for(bytes, first) == Ok(true)
    }

    /// As [`LogFile::room_bytes`], and none where what was ordered does not fit into what is left: nothing that
    /// comes behind it would be acknowledged.
    pub fn room_bytes(&mut self) -> u64 {
        let room = self.log.room_bytes();
        if self.is_stuck { 0 } else { room }
    }

    /// Whether something that was ordered is not done.
    pub fn is_busy(&self) -> bool {
        !self.orders.is_empty() || !self.submitted.is_empty()
    }

    /// Does what can be done now, and tells what was done. Bytes of records that were handed to the
    /// disk are added to `written`.
    pub fn turn(&mut self, told: &mut Vec<Event>, written: &mut Vec<Run>) -> Result<(), Damage> {
        if let Some(upto) = self.log.completed() {
            self.durable(upto, told);
        }
        while self.obey(told, written)? {}
        while let Some(slice) = self.log.read_completed() {
            if let Some(damage) = slice.damage {
                return Err(damage.to_string());
            }
            let LogSlice { ticket, at, run, dropped, .. } = slice;
            told.push(match dropped {
                true => Event::ReadDropped(ticket),
                false => Event::LogRead { ticket, at, run },
            });
        }
        self.snapshots(told)
    }

    /// Carries out the first order, if that is possible now.
    fn obey(&mut self, told: &mut Vec<Event>, written: &mut Vec<Run>) -> Result<bool, Damage> {
        match self.orders.pop_front() {
            None => Ok(false),
            Some(Order::Append { ticket, run }) => Ok(self.append(ticket, run, written)),
            Some(Order::Flush { ticket }) => {
                if self.submitted.is_empty() {
                    told.push(Event::Durable { ticket, upto: self.log.durable() });
                } else {
                    self.submitted.push_back((self.log.last(), ticket));
                }
                Ok(true)
            }
            Some(Order::Truncate { ticket, to }) => self.truncate(ticket, to, told),
            Some(Order::ReadLog { ticket, from, bytes_max }) => {
                self.log.begin_read(ticket, from, bytes_max);
                Ok(true)
            }
        }
    }

    fn append(&mut self, ticket: u64, run: Run, written: &mut Vec<Run>) -> bool {
        let run = self.gather(ticket, run);
        let first = run.records().next().expect("a run holds a record").head().zxid;
        // A full disk is met again later; a leader refuses writes meanwhile.
        let ready = self.log.ready_for(run.bytes().len(), first);
        let taken = ready == Ok(true) && self.log.submit(&run).is_ok();
        self.is_stuck = ready == Err(LogFull) || self.is_stuck && !taken;
        if !taken {
            self.orders.push_front(Order::Append { ticket, run });
            return false;
        }
        self.submitted.push_back((run.upto().zxid, ticket));
        written.push(run);
        true
    }

    /// Joins to `run` those that wait right behind it.
    fn gather(&mut self, ticket: u64, run: Run) -> Run {
        let mut bytes = run.bytes().len();
        let behind = self.orders.iter().take_while(|order| match order {
            Order::Append { ticket: theirs, run } => {
                bytes += run.bytes().len();
                *theirs == ticket && bytes <= BATCH_BYTES_MAX
            }
            Order::Flush { .. } | Order::Truncate { .. } | Order::ReadLog { .. } => false,
        });
        let count = behind.count();
        if count == 0 {
            return run;
        }
        let (after, mut upto, mut joined) = (run.after(), run.upto(), run.bytes().to_vec());
        for order in self.orders.drain(..count) {
            let Order::Append { run, .. } = order else { unreachable!("only these were counted") };
            assert_eq!(run.after(), upto, "what is appended follows what was");
            joined.extend_from_slice(run.bytes());
            upto = run.upto();
        }
        Run::own(after, upto, joined.into())
    }

    fn truncate(
        &mut self,
        ticket: u64,
        to: Position,
        told: &mut Vec<Event>,
    ) -> Result<bool, Damage> {
        if let Some(upto) = self.log.wait_all() {
            self.durable(upto, told);
        }
        if to.zxid < self.log.last() {
            match self.log.truncate(to) {
                Ok(()) => {}
                Err(TruncateError::Full) => {
                    self.is_stuck = true;
                    self.orders.push_front(Order::Truncate { ticket, to });
                    return Ok(false);
                }
                Err(other) => return Err(other.to_string()),
            }
        }
        self.is_stuck = false;
        self.submitted.clear();
        told.push(Event::Truncated { ticket, to });
        Ok(true)
    }

    fn durable(&mut self, upto: Zxid, told: &mut Vec<Event>) {
        while let Some((end, ticket)) = self.submitted.pop_front_if(|it| it.0 <= upto) {
            match told.last_mut() {
                Some(Event::Durable { ticket: same, upto }) if *same == ticket => *upto = end,
                Some(_) | None => told.push(Event::Durable { ticket, upto: end }),
            }
        }
    }

    fn snapshots(&mut self, told: &mut Vec<Event>) -> Result<(), Damage> {
        while let Some(read) = self.source.as_mut().and_then(SnapshotSource::read_completed) {
            match read {
                Ok(part) => told.push(Event::SnapshotRead {
                    ticket: part.ticket,
                    at: part.at,
                    offset: part.offset,
                    bytes: part.bytes,
                    end: part.end,
                }),
                Err(failed) => match failed.cause {
                    SnapshotReadCause::NoSnapshot => self.unsnapshotted.push((failed.ticket, 0)),
                    cause => warn!("a snapshot for a learner cannot be read: {cause}"),
                },
            }
        }
        while let Some(stored) = self.sink.as_mut().and_then(SnapshotSink::store_completed) {
            match stored.result {
                Ok(upto) => told.push(Event::SnapshotStored { ticket: stored.ticket, upto }),
                Err(cause) => {
                    return Err(format!("a snapshot of the leader cannot be stored: {cause}"));
                }
            }
        }
        Ok(())
    }

    /// Whether somebody waits for a snapshot to be taken.
    pub fn wants_snapshot(&self) -> bool {
        !self.unsnapshotted.is_empty()
    }

    /// A snapshot was taken.
    pub fn snapshot_taken(&mut self) {
        for (ticket, offset) in std::mem::take(&mut self.unsnapshotted) {
            self.read_snapshot(ticket, offset);
        }
    }

    /// Waits until all orders are carried out and everything is durable, or the disk is full. For a
    /// server that stops.
    pub fn finish(&mut self, told: &mut Vec<Event>, written: &mut Vec<Run>) -> Result<(), Damage> {
        loop {
            if let Some(upto) = self.log.wait_all() {
                self.durable(upto, told);
            }
            self.turn(told, written)?;
            let Some(Order::Append { run, .. }) = self.orders.front() else { break };
            let first = run.records().next().expect("a run holds a record").head().zxid;
            if self.log.wait_ready(run.bytes().len(), first).is_err() {
                break; // what is left was promised to nobody
            }
        }
        if let Some(upto) = self.log.wait_all() {
            self.durable(upto, told);
        }
        Ok(())
    }

    /// The data directory.
    pub const fn dir(&self) -> &DataDir {
        &self.dir
    }
}
