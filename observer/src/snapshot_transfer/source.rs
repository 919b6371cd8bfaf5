//! The files that are being sent, and how fast.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use farwatch_core::disk::{Disk, DiskCause, DiskError};
use farwatch_core::log::{LOG_DIRECTORY, parse_segment_name};
use farwatch_core::record::run::Position;
use farwatch_core::snapshot::files::{SnapshotInfo, list_snapshots, snapshot_name, verify};
use farwatch_core::snapshot::format::SnapshotError;
use farwatch_core::zxid::Zxid;

use super::{PART_BYTES, SnapshotPart, SnapshotReadCause};
use crate::data_dir::{DataDir, DataFile};

/// Snapshots that are sent at the same time. An ensemble has few members; a learner that joined
/// again has left its ticket behind, and with it an open file that keeps its space.
const OPEN_MAX: usize = 16;

/// How often another snapshot is looked for when the one that was chosen is purged meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// How long after its last part a sending that broke off is what the next learner gets, if the log still goes on from
/// there: it is most likely the one that has the beginning of it. Over a long way that breaks, a newer snapshot each
/// time would never be over.
const RESUMED_WITHIN: Duration = Duration::from_mins(15);

/// How often one that was read to its end is sent again before newer ones: the end may have been lost, or the whole
/// not have been taken.
const ENDS_MAX: u32 = 4;

struct Sending {
    ticket: u64,
    file: Arc<DataFile>,
    at: Position,
    length: u64,
}

#[derive(Clone, Copy)]
struct Last {
    at: Position,
    length: u64,
    /// When a part of it was read.
    read: Instant,
    /// How often the last part was.
    ends: u32,
}

/// The files that are being sent.
pub(super) struct Opened {
    dir: DataDir,
    /// The oldest first.
    sendings: VecDeque<Sending>,
    /// What was sent last, and may be gone on with.
    last: Option<Last>,
    /// What could not be read.
    unreadable: Option<Position>,
    /// What was read as a whole last: a snapshot does not change, and who receives it checks it too.
    verified: Option<SnapshotInfo>,
}

impl Opened {
    pub(super) fn new(dir: DataDir) -> Self {
        Self { dir, sendings: VecDeque::new(), last: None, unreadable: None, verified: None }
    }

    pub(super) fn read(
        &mut self,
        ticket: u64,
        offset: u64,
    ) -> Result<SnapshotPart, SnapshotReadCause> {
        if offset == 0 {
            self.sendings.retain(|sending| sending.ticket != ticket);
            let sending = self.open(ticket)?;
            if self.sendings.len() == OPEN_MAX {
                self.sendings.pop_front();
            }
            self.sendings.push_back(sending);
        }
        let found = self.sendings.iter().position(|sending| sending.ticket == ticket);
        let index = found.ok_or(SnapshotReadCause::Forgotten)?;
        let sending = &self.sendings[index];
        // Whoever claims to have more than there is has another file: it is sent this one whole.
        let offset = if sending.length < offset { 0 } else { offset };
        let left = sending.length - offset;
        let mut bytes = vec![0; (PART_BYTES as u64).min(left) as usize];
        let (at, end) = (sending.at, bytes.len() as u64 == left);
        if let Err(error) = self.dir.read_at(&sending.file, offset, &mut bytes) {
            self.sendings.remove(index);
            self.unreadable = Some(at);
            return Err(error.into());
        }
        self.note_read(index, end);
        if end {
            self.sendings.remove(index);
        }
        Ok(SnapshotPart { ticket, at, offset, bytes: bytes.into(), end })
    }

    fn note_read(&mut self, index: usize, end: bool) {
        let Sending { at, length, .. } = self.sendings[index];
        let known = self.last.filter(|last| last.at == at);
        let ends = known.map_or(0, |last| last.ends) + u32::from(end);
        self.last = Some(Last { at, length, read: Instant::now(), ends });
    }

    fn open(&mut self, ticket: u64) -> Result<Sending, SnapshotReadCause> {
        if let Some(again) = self.broken_off(ticket)? {
            return Ok(again);
        }
        for _ in 0..ATTEMPTS_MAX {
            let Some(info) = self.newest()? else { return Err(SnapshotReadCause::NoSnapshot) };
            match self.dir.open(&snapshot_name(info.zxid)) {
                Ok(file) => {
                    let (file, at, length) = (Arc::new(file), info.position(), info.bytes);
                    return Ok(Sending { ticket, file, at, length });
                }
                Err(error) if error.cause == DiskCause::NotFound => {} // purged since
                Err(error) => return Err(error.into()),
            }
        }
        Err(SnapshotReadCause::NoSnapshot)
    }

    /// What was sent last, from its beginning, if it is worth going on with.
    fn broken_off(&self, ticket: u64) -> Result<Option<Sending>, DiskError> {
        let is_good = |last: &Last| {
            let late = RESUMED_WITHIN < last.read.elapsed();
            !late && last.ends < ENDS_MAX && self.unreadable != Some(last.at)
        };
        let Some(Last { at, length, .. }) = self.last.filter(is_good) else { return Ok(None) };
        let names = self.dir.list(LOG_DIRECTORY)?;
        let oldest = names.iter().filter_map(|name| parse_segment_name(name)).min();
        if oldest.is_none_or(|first| at.zxid < first) {
            return Ok(None); // who has stored it could not go on from there
        }
        let open = self.sendings.iter().find(|it| it.at == at).map(|it| Arc::clone(&it.file));
        let file = open.or_else(|| self.dir.open(&snapshot_name(at.zxid)).ok().map(Arc::new));
        Ok(file.map(|file| Sending { ticket, file, at, length }))
    }

    fn newest(&mut self) -> Result<Option<SnapshotInfo>, DiskError> {
        let is_newest = |zxid: Zxid, known: &SnapshotInfo| known.zxid == zxid;
        for zxid in list_snapshots(&self.dir)?.into_iter().rev() {
            if let Some(known) = self.verified.filter(|known| is_newest(zxid, known)) {
                return Ok(Some(known));
            }
            match verify(&self.dir, self.dir.identity().cluster, zxid) {
                Ok(info) => {
                    self.verified = Some(info);
                    return Ok(Some(info));
                }
                Err(SnapshotError::Disk(error)) if error.cause != DiskCause::NotFound => {
                    return Err(error);
                }
                Err(_damaged_or_purged) => {}
            }
        }
        Ok(None)
    }
}

/// A bound on bytes per second, kept by waiting.
pub(super) struct Pace {
    /// 0 is without a bound.
    bytes_per_second: u64,
    stopped: (Mutex<bool>, Condvar),
    due: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, stopped: Default::default(), due: Mutex::default() }
    }

    /// Waits until so many bytes may go, or until it is stopped.
    pub(super) fn wait_for(self: &Arc<Self>, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        let now = Instant::now();
        let taken = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let due = {
            let mut due = self.due.lock().expect("nobody panics while holding it");
            // Time that was not used is not saved up: a burst is what the cap is there against.
            let at = due.map_or(now, |due| due.max(now));
            *due = Some(at + taken);
            at
        };
        let (stopped, told) = &self.stopped;
        let stopped = stopped.lock().expect("nobody panics while holding it");
        let wait = due.saturating_duration_since(now);
        let _woken = told.wait_timeout_while(stopped, wait, |stopped| !*stopped);
    }

    /// Ends every wait, now and later.
    pub(super) fn stop(&self) {
        *self.stopped.0.lock().expect("nobody panics while holding it") = true;
        self.stopped.1.notify_all();
    }
}
