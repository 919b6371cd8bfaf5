//! The log on the real disk, owned by the core thread.
//!
//! ```text
//! submit ─► place ─► driver ─► (kernel) ─► event_fd ─► completed ─► durable upto
//!             └ segment full: spare from the filler thread, drained, begun
//! ```
//!
//! [`farwatch_core::log::Log`] decides what goes where; this file moves the bytes. A failed write or
//! sync ends the process: what is on disk is not known then, so nothing more may be acknowledged,
//! and trying again would only hide it (a second fsync succeeds over pages that the first one lost).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use farwatch_core::disk::{Disk, DiskCause, DiskError};
use farwatch_core::limits::SEGMENT_BYTES;
use farwatch_core::log::cut::Cut;
use farwatch_core::log::format::{BLOCK_BYTES, SEGMENT_HEAD_BYTES, Salt, padded_bytes};
use farwatch_core::log::reader::{LogReader, ReadError};
use farwatch_core::log::recovery::{Load, Note, RecoverError, recover_loading};
use farwatch_core::log::{Log, Placement, SegmentStart, Ticket, make_spare, spare_name};
use farwatch_core::record::Chain;
use farwatch_core::record::run::{Position, Run};
use farwatch_core::snapshot::files::SnapshotInfo;
use farwatch_core::snapshot::reader::SnapshotReader;
use farwatch_core::zxid::Zxid;
use thiserror::Error;

use crate::data_dir::{DataDir, disk_error};

mod aligned;
mod driver;
mod filler;
mod hold_off;
mod reading;
mod ring;
pub(crate) mod system;
#[cfg(test)]
mod tests;
mod truncate;
mod window;

pub use driver::{LADDER, LogDriver, LogWriter};
pub use reading::{LogSlice, READS_MAX};
pub use truncate::TruncateError;
pub use window::WINDOW_BYTES;

use aligned::AlignedBuffer;
use driver::Driver;
use filler::{Filled, Filler};
use hold_off::HoldOff;
use reading::Readings;
use window::Window;

/// Batches in flight unless configured otherwise. Two hide the disk's latency, four are its best
/// throughput before latency grows.
pub const QUEUE_DEPTH: usize = 4;

/// Log that is kept though snapshots cover it, bytes: what learners catch up from.
pub const KEEP_BYTES: u64 = 1 << 30;

/// A write that takes so long is told to the operator, unless `fsync.warningthresholdms` is set.
pub const SLOW_WRITE: Duration = Duration::from_secs(1);

/// The file that drivers are tried on. It stays, so that a start needs no room on a full disk.
const PROBE: &str = "log/probe";

const _: () = assert!(QUEUE_DEPTH <= ring::DEPTH_MAX);

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Length of a segment, bytes; whole blocks.
    pub segment_bytes: u64,
    /// Batches in flight; 1 to 16.
    pub queue_depth: usize,
    /// Log to keep though snapshots cover it, bytes.
    pub keep_bytes: u64,
    /// The rung to take, for tests; `None` takes the best that works.
    pub driver: Option<LogDriver>,
    /// Who must write, where the operator says so; `None` takes the best that works.
    pub writer: Option<LogWriter>,
    /// A write that takes so long is told to the operator.
    pub slow_write: Duration,
    /// Whether a disk that failed ends this thread, by unwinding with the reason as a `String`, and not
    /// the process.
    pub is_embedded: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES as u64,
            queue_depth: QUEUE_DEPTH,
            keep_bytes: KEEP_BYTES,
            driver: None,
            writer: None,
            slow_write: SLOW_WRITE,
            is_embedded: false,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// What is on disk cannot be trusted, or read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// No rung of the ladder writes here.
    #[error("{directory}: the log cannot be written: {cause}. Make room or correct its mount", directory = directory.display())]
    Driver {
        /// Where.
        directory: std::path::PathBuf,
        /// What the last rung said.
        cause: io::Error,
    },
    /// The background thread could not be started.
    #[error("the log's background thread cannot be started: {0}. Raise the limit of threads")]
    Thread(io::Error),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The disk is full. Nothing was changed; the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the log's disk is full: writes are refused until there is room for a segment")]
pub struct LogFull;

/// What was found at open.
pub struct Recovered {
    /// What to load first.
    pub snapshot: Option<SnapshotInfo>,
    /// The records behind it, to be read to their end before anything is served.
    pub records: LogReader<DataDir>,
    /// The last record, or the snapshot's zxid if there is none.
    pub last: Zxid,
    /// What seeds the next record.
    pub chain: Chain,
    /// What was put right, for the operator.
    pub notes: Vec<Note>,
}

/// Counts for the operator since the log was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogCounters {
    /// Durable writes.
    pub writes: u64,
    /// Their time in total, from submission to completion.
    pub write_time: Duration,
    /// The longest.
    pub write_time_max: Duration,
    /// Those of [`LogOptions::slow_write`] and longer.
    pub slow_writes: u64,
    /// Bytes of records.
    pub record_bytes: u64,
}

/// See the module.
pub struct LogFile {
    dir: DataDir,
    options: LogOptions,
    log: Log,
    driver: Driver,
    rung: LogDriver,
    event: File,
    filler: Filler,
    /// The current segment.
    file: Option<Arc<File>>,
    /// Offset behind the last batch.
    end: u64,
    /// Whether the last attempt to fill a spare found no space.
    disk_is_full: bool,
    /// Of a segment, whether a spare, its beginning, or a file of its own.
    segment_held: HoldOff,
    /// Of a cut.
    cut_held: HoldOff,
    clock: fn() -> Instant,
    /// The segment that the filler is beginning.
    beginning: Option<SegmentStart>,
    /// Of batches that are not in flight.
    buffers: Vec<AlignedBuffer>,
    /// When each batch in flight was begun.
    begun: VecDeque<(Ticket, Instant)>,
    /// How far durability was reported.
    reported: Zxid,
    counters: LogCounters,
    /// What was submitted last.
    window: Window,
    readings: Readings,
}

impl LogFile {
    /// Recovers the log of `dir` and makes it ready to be appended to.
    pub fn open(dir: &DataDir, options: LogOptions) -> Result<(Self, Recovered), OpenError> {
        Self::open_loading(dir, options, &mut SnapshotReader::read_out)
    }

    /// As [`LogFile::open`]; the snapshot that is recovered goes through `load`, as the last one.
    pub fn open_loading<'d>(
        dir: &'d DataDir,
        options: LogOptions,
        load: &mut Load<'_, &'d DataDir>,
    ) -> Result<(Self, Recovered), OpenError> {
        assert!(options.segment_bytes.is_multiple_of(BLOCK_BYTES as u64));
        assert!(options.segment_bytes > SEGMENT_HEAD_BYTES as u64);
        assert!((1..=ring::DEPTH_MAX).contains(&options.queue_depth));
        let recovery = recover_loading(dir, dir.identity().cluster, load)?;
        // Without room for it, a cut says later that it has none.
        let _put_by = Cut::put_by(dir);
        let event = system::event_fd().map_err(OpenError::Thread)?;
        let (driver, rung) = choose_driver(dir, options, &event)?;
        let filler = event.try_clone().and_then(|event| Filler::new(dir.clone(), event));
        let filler = filler.map_err(OpenError::Thread)?;
        let readings = event.try_clone().and_then(|event| Readings::new(dir.clone(), event));
        let readings = readings.map_err(OpenError::Thread)?;
        let log = recovery.log;
        let after = recovery.snapshot.as_ref().map_or(Zxid::ZERO, |snapshot| snapshot.zxid);
        let chain_at_after = recovery.snapshot.as_ref().map(|snapshot| snapshot.chain);
        let upto = log.last();
        let records = LogReader::new(dir.clone(), log.segments(), after, chain_at_after, upto)
            .map_err(RecoverError::Log)?;
        let recovered = Recovered {
            snapshot: recovery.snapshot,
            records,
            last: log.last(),
            chain: log.chain(),
            notes: recovery.notes,
        };
        let mut opened = Self {
            dir: dir.clone(),
            options,
            reported: log.durable(),
            log,
            driver,
            rung,
            event,
            filler,
            file: None,
            end: 0,
            disk_is_full: false,
            segment_held: HoldOff::default(),
            cut_held: HoldOff::default(),
            clock: Instant::now,
            beginning: None,
            buffers: Vec::new(),
            begun: VecDeque::new(),
            counters: LogCounters::default(),
            window: Window::default(),
            readings,
        };
        opened.discard_other_spares()?;
        opened.want_spare();
        if opened.log.current().is_some() {
            opened.open_current();
        }
        // What was recovered counts as acknowledged from here on: a seal says so, and lets later
        // damage of the last batch be told from a torn tail.
        opened.seal();
        opened.wait_all();
        Ok((opened, recovered))
    }

    /// The rung of the ladder that was taken.
    pub const fn driver(&self) -> LogDriver {
        self.rung
    }

    /// Whether another batch may be submitted.
    pub fn has_room(&self) -> bool {
        self.log.in_flight() < self.options.queue_depth
    }

    /// Whether a batch of so many bytes of records, the first of which is named, can be submitted now
    /// without waiting for anything. If not, what it waits for is under way in the background, and
    /// [`LogFile::event_fd`] is rung when it is done: reads and pings share the caller's thread.
    pub fn ready_for(&mut self, body_bytes: usize, first: Zxid) -> Result<bool, LogFull> {
        self.take_filled();
        if self.beginning.is_some() {
            return Ok(false);
        }
        if self.log.fits(body_bytes) {
            return Ok(self.has_room());
        }
        if self.log.in_flight() > 0 {
            return Ok(false); // a segment vouches for everything before it
        }
        if self.segment_held.holds(self.clock) {
            return Err(LogFull);
        }
        if Log::segment_bytes_for(body_bytes) > self.options.segment_bytes {
            // One batch larger than a segment is rare enough to wait for a file of its own.
            return self.begin_segment(body_bytes, first).map(|()| true);
        }
        let Some(&spare) = self.log.spares().first() else {
            self.want_spare();
            self.filler.hurry();
            return if self.disk_is_full { Err(LogFull) } else { Ok(false) };
        };
        let salt = Salt(system::random());
        let start = self.log.plan_segment(spare, self.options.segment_bytes, first, salt);
        self.beginning = Some(start);
        self.filler.begin(start);
        Ok(false)
    }

    /// As [`LogFile::ready_for`], and waits until it is so. For a server that stops.
    pub fn wait_ready(&mut self, body_bytes: usize, first: Zxid) -> Result<(), LogFull> {
        while !self.ready_for(body_bytes, first)? {
            self.drain();
            if let Some(filled) = self.filler.wait() {
                self.settle_filled(filled)?;
            }
        }
        Ok(())
    }

    /// Begins one durable write of a run of records that follow [`LogFile::position`]. Only where
    /// [`LogFile::has_room`]. The run is kept in memory for a while for those who read the log.
    ///
    /// Where [`LogFile::ready_for`] was not asked, at the end of a segment this waits for what is in
    /// flight, begins the next segment, and, if the disk is slower than its writers, waits for that
    /// to be filled.
    pub fn submit(&mut self, run: &Run) -> Result<(), LogFull> {
        assert!(self.has_room() && self.beginning.is_none(), "the caller asks first");
        assert!(run.after() == self.log.position(), "a run follows what the log holds");
        let (records, upto) = (&run.bytes()[..], run.upto());
        let first = run.records().next().expect("a run holds a record").head().zxid;
        if !self.log.fits(records.len()) {
            self.begin_segment(records.len(), first)?;
        }
        let mut buffer = self.take_buffer(records.len());
        let placement = self.log.place(records, (first, upto.zxid), upto.chain, &mut buffer);
        self.begin_write(placement, buffer);
        self.window.push(run.clone(), self.log.durable());
        self.counters.record_bytes += records.len() as u64;
        Ok(())
    }

    /// Reaps what has completed. Everything up to the answer is durable; `None` if that has not
    /// changed. Whoever waits on [`LogFile::event_fd`] reads its eight bytes before this call.
    pub fn completed(&mut self) -> Option<Zxid> {
        while let Some(done) = self.driver.reap() {
            self.finish(done);
        }
        self.report()
    }

    /// An eventfd that is readable when there may be something to reap, whatever the driver. It
    /// blocks, is read by the waiting side, and stays owned by the log.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Says on disk that all of it is durable, unless something is in flight or that was said. For
    /// when the log is idle; its completion reports nothing.
    pub fn seal(&mut self) {
        if self.log.is_sealed() || self.log.in_flight() > 0 || self.beginning.is_some() {
            return;
        }
        let mut buffer = self.take_buffer(0);
        match self.log.place_seal(&mut buffer) {
            Some(placement) => self.begin_write(placement, buffer),
            // Only at the end of a segment: the next one will vouch for this.
            None => self.buffers.push(buffer),
        }
    }

    /// Waits for all that is in flight. Before a clean close, [`LogFile::seal`] and this once more.
    pub fn wait_all(&mut self) -> Option<Zxid> {
        self.drain();
        self.report()
    }

    /// Lets segments go that hold nothing from `keep_from` on, but for the bytes that are to be
    /// kept for learners, and for what is being read. The files change in the background.
    pub fn purge(&mut self, keep_from: Zxid) {
        self.take_filled();
        let unneeded = self.log.purgeable(keep_from, self.options.keep_bytes);
        for _ in 0..unneeded.min(self.unread_segments()) {
            let due = self.filler.spares_due();
            let retirement = self.log.retire_oldest(self.options.segment_bytes, due);
            self.filler.retire(retirement);
        }
    }

    /// The last record that was submitted.
    pub const fn last(&self) -> Zxid {
        self.log.last()
    }

    /// What seeds the next record.
    pub const fn chain(&self) -> Chain {
        self.log.chain()
    }

    /// Both: what the next run must follow.
    pub const fn position(&self) -> Position {
        self.log.position()
    }

    /// The log begins behind this: what came before has been purged.
    pub fn begins(&self) -> Zxid {
        let first = self.log.segments().first();
        first.map_or(self.log.position().zxid, |oldest| oldest.head.before)
    }

    /// Another handle on [`LogFile::event_fd`], for others who bring news to the same thread.
    pub fn bell(&self) -> io::Result<File> {
        self.event.try_clone()
    }

    /// The last record that is durable.
    pub const fn durable(&self) -> Zxid {
        self.log.durable()
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// Bytes of log that a start with a snapshot at `after` would read, to the precision of a
    /// segment. With [`LogCounters::record_bytes`], the trigger of snapshots.
    pub fn bytes_since(&self, after: Zxid) -> u64 {
        let behind = self.log.segments().iter().rev();
        let behind = behind.take_while(|segment| segment.head.before >= after);
        let whole: u64 = behind.map(|segment| segment.head.bytes).sum();
        match self.log.current() {
            Some(current) if current.head.before >= after => whole - current.head.bytes + self.end,
            Some(_) => self.end,
            None => whole,
        }
    }

    /// Counts since the log was opened.
    pub const fn counters(&self) -> LogCounters {
        self.counters
    }

    /// Reads the durable records behind `after`. The reader may go to another thread.
    pub fn read_from(&self, after: Zxid) -> Result<LogReader<DataDir>, ReadError> {
        let upto = self.log.durable();
        LogReader::new(self.dir.clone(), self.log.segments(), after, None, upto)
    }

    /// Bytes of records that can certainly still be taken: without limit while the disk is not
    /// known to be full, else what is left of the current segment. Asking a full disk tries again, after a while.
    pub fn room_bytes(&mut self) -> u64 {
        self.take_filled();
        if !self.disk_is_full || !self.log.spares().is_empty() {
            return u64::MAX;
        }
        self.want_spare();
        self.log.current().map_or(0, |current| current.head.bytes - self.end)
    }

    fn report(&mut self) -> Option<Zxid> {
        let durable = self.log.durable();
        let further = self.reported < durable;
        self.reported = durable;
        further.then_some(durable)
    }

    fn take_buffer(&mut self, body_bytes: usize) -> AlignedBuffer {
        let bytes = padded_bytes(body_bytes);
        self.buffers.pop().unwrap_or_else(|| AlignedBuffer::new(bytes))
    }

    fn begin_write(&mut self, placement: Placement, buffer: AlignedBuffer) {
        let file = self.file.as_ref().expect("a segment was begun");
        self.begun.push_back((placement.ticket, Instant::now()));
        self.end = placement.at + placement.bytes as u64;
        self.filler.used(self.end);
        if let Err(error) = self.driver.begin(file, placement, buffer) {
            self.fail("write", &error);
        }
    }

    fn finish(&mut self, done: driver::Done) {
        if let Err(error) = done.result {
            self.fail("write", &error);
        }
        let position = self.begun.iter().position(|(ticket, _)| *ticket == done.ticket);
        let (_, begun) = position.and_then(|at| self.begun.remove(at)).expect("it was begun once");
        let taken = begun.elapsed();
        self.counters.writes += 1;
        self.counters.write_time += taken;
        self.counters.write_time_max = self.counters.write_time_max.max(taken);
        if taken >= self.options.slow_write {
            self.counters.slow_writes += 1;
            tracing::warn!(millis = taken.as_millis() as u64, "a durable write to the log is slow");
        }
        self.buffers.push(done.buffer);
        self.log.complete(done.ticket);
    }

    fn drain(&mut self) {
        while self.log.in_flight() > 0 {
            match self.driver.wait() {
                Ok(done) => self.finish(done),
                Err(error) => self.fail("wait", &error),
            }
        }
    }

    /// Begins the segment whose first batch is of so many bytes of records.
    fn begin_segment(&mut self, body_bytes: usize, first: Zxid) -> Result<(), LogFull> {
        let needed = Log::segment_bytes_for(body_bytes);
        let spare = if needed <= self.options.segment_bytes {
            self.take_spare()?
        } else {
            // One batch larger than a segment is rare enough to wait for a file of its own.
            let number = self.log.reserve_spare();
            match make_spare(&self.dir, number, needed, |_, _| Ok(())) {
                Ok(()) => self.log.add_spare(number),
                Err(error) => return Err(self.full_or_fail(&error)),
            }
            number
        };
        self.drain();
        let salt = Salt(system::random());
        if let Err(error) = self.log.start_segment(&self.dir, spare, first, salt) {
            return Err(self.full_or_fail(&error));
        }
        self.open_current();
        self.want_spare();
        Ok(())
    }

    fn take_spare(&mut self) -> Result<u64, LogFull> {
        self.take_filled();
        self.ask_for_spare(); // at once: who waits for the answer does not ask with every look
        while self.log.spares().is_empty() {
            match self.filler.wait() {
                Some(filled) => self.settle_filled(filled)?,
                // It has failed before this call was made; the next call asks again.
                None => return Err(LogFull),
            }
        }
        Ok(self.log.spares()[0])
    }

    /// Asks for a spare where there is none, but not a disk that has only just said that it is full.
    fn want_spare(&mut self) {
        if !self.segment_held.holds(self.clock) {
            self.ask_for_spare();
        }
    }

    fn ask_for_spare(&mut self) {
        if self.log.spares().is_empty() && self.filler.spares_due() == 0 {
            let number = self.log.reserve_spare();
            self.filler.fill(number, self.options.segment_bytes);
        }
    }

    fn take_filled(&mut self) {
        while let Some(filled) = self.filler.poll() {
            // A full disk is told when a spare is really needed; that it has room, by a spare that is made: what is
            // removed gives its space back later.
            let was_full = self.disk_is_full;
            let tells = matches!(filled, Filled::Spare(_));
            let settled = self.settle_filled(filled);
            self.disk_is_full = settled.is_err() || was_full && !tells;
            if was_full && !self.disk_is_full {
                tracing::info!("the disk of the log has room again");
            }
        }
    }

    fn settle_filled(&mut self, filled: Filled) -> Result<(), LogFull> {
        match filled {
            Filled::Spare(number) => {
                self.segment_held.taken();
                self.log.add_spare(number);
            }
            Filled::Removed => {}
            Filled::Begun => {
                let start = self.beginning.take().expect("it was asked for");
                self.log.segment_started(&start);
                self.open_current();
                self.want_spare();
            }
            Filled::NotBegun(error) => {
                self.beginning = None;
                return Err(self.full_or_fail(&error));
            }
            Filled::Failed(error) => return Err(self.full_or_fail(&error)),
        }
        Ok(())
    }

    fn full_or_fail(&mut self, error: &DiskError) -> LogFull {
        if error.cause != DiskCause::Full {
            self.give_up(&error.to_string());
        }
        if !self.disk_is_full {
            let left = self.log.current().map_or(0, |current| current.head.bytes - self.end);
            tracing::warn!(
                %error,
                left_bytes = left,
                "the disk of the log is full: when what is left of the segment is used, a leader refuses writes \
                 with NOTREADONLY and a follower acknowledges nothing, until there is room. Reads go on"
            );
        }
        // Known from here on, whoever found it: writes are refused and not taken in without end.
        self.disk_is_full = true;
        self.segment_held.refused((self.clock)());
        LogFull
    }

    /// Spares of another length than configured now are of no use.
    fn discard_other_spares(&mut self) -> Result<(), DiskError> {
        for number in self.log.spares().to_vec() {
            let name = spare_name(number);
            let file = Disk::open(&self.dir, &name)?;
            if self.dir.len(&file)? != self.options.segment_bytes {
                self.dir.remove(&name)?;
                self.log.drop_spare(number);
            }
        }
        Ok(())
    }

    fn open_current(&mut self) {
        let name = self.log.current().expect("a segment was begun").name();
        match driver::open(&self.dir.path(&name), self.rung) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.give_up(&disk_error("open", &name, &error).to_string()),
        }
        self.end = self.log.end().expect("a segment was begun");
    }

    fn fail(&self, operation: &'static str, error: &io::Error) -> ! {
        let name = self.log.current().map_or_else(|| "log".to_owned(), |segment| segment.name());
        self.give_up(&disk_error(operation, &name, error).to_string())
    }

    /// Ends the process, or this thread alone. It is not known what of the last writes is on disk; a
    /// restart finds out.
    fn give_up(&self, what: &str) -> ! {
        let said = format!(
            "{what}: what the log's disk holds is not known now, so this server stops without \
             acknowledging it. Check the disk, then start it again"
        );
        if self.options.is_embedded {
            std::panic::resume_unwind(Box::new(said));
        }
        eprintln!("farwatch: {said}");
        std::process::abort()
    }
}

impl Drop for LogFile {
    /// Waits for what is in flight, so that the directory is quiet once the log is gone.
    fn drop(&mut self) {
        while self.log.in_flight() > 0 {
            match self.driver.wait() {
                Ok(done) if done.result.is_ok() => {
                    self.log.complete(done.ticket);
                }
                // Nobody will acknowledge it.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn choose_driver(
    dir: &DataDir,
    options: LogOptions,
    event: &File,
) -> Result<(Driver, LogDriver), OpenError> {
    match Disk::open(dir, PROBE) {
        Err(error) if error.cause == DiskCause::NotFound => drop(dir.create(PROBE)?),
        opened => drop(opened?),
    }
    let rungs = LADDER.into_iter().filter(|rung| {
        options.driver.is_none_or(|driver| driver == *rung)
            && options.writer.is_none_or(|writer| writer == rung.writer)
    });
    let chosen = driver::choose(&dir.path(PROBE), rungs, event);
    chosen.map_err(|cause| OpenError::Driver { directory: dir.path("log"), cause })
}
