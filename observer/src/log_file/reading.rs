//! Stretches of the log for learners: from memory at once, else from the disk in the background.
//!
//! ```text
//! begin_read ─► window? ─► answered at once
//!                  └ older ─► waiting ─► farwatch-read: nearest mark ─► records ─► bell ─► read_completed
//! ```
//!
//! The thread remembers a place about every 256 KiB of the segments that it has read, so that a
//! learner that catches up in small steps makes it read little more than the log's length.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use farwatch_core::log::Segment;
use farwatch_core::log::format::Salt;
use farwatch_core::log::reader::{LogReader, Mark, ReadError, segment_of};
use farwatch_core::record::run::{Position, Run};
use farwatch_core::zxid::Zxid;

use super::LogFile;
use crate::data_dir::DataDir;
use crate::peers::GUESTS_MAX;

/// Reads that may wait for the thread. Each peer has one at a time, so among so many the oldest are of
/// peers that have joined again since. One that is dropped is answered all the same, so that whoever still
/// waits for it joins again.
pub const READS_MAX: usize = 4 * GUESTS_MAX;

/// An answer to [`LogFile::begin_read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSlice {
    /// As asked.
    pub ticket: u64,
    /// The log's last position at or below what was asked, or `None` if the log begins behind it.
    pub at: Option<Position>,
    /// The records that follow `at`.
    pub run: Option<Run>,
    /// The disk does not hold what was written: this server must say so and stop.
    pub damage: Option<ReadError>,
    /// Nothing was looked up: too many others were asked since.
    pub dropped: bool,
}

impl LogSlice {
    fn found(ticket: u64, at: Option<Position>, run: Option<Run>) -> Self {
        Self { ticket, at, run, damage: None, dropped: false }
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    ticket: u64,
    from: Zxid,
    bytes_max: u64,
}

struct Job {
    ask: Ask,
    segments: Vec<Segment>,
    /// Everything up to here is durable, and the record here is behind what was asked.
    upto: Zxid,
}

/// The thread and what it is asked.
pub(crate) struct Readings {
    /// `None` once the thread shall end.
    jobs: Option<SyncSender<Job>>,
    done: Receiver<LogSlice>,
    /// What the thread is at. One at a time, so that asks are matched with the log as it is when
    /// they come to their turn.
    under_way: Option<Ask>,
    waiting: VecDeque<Ask>,
    /// Answered from memory, not taken yet.
    ready: VecDeque<(Ask, LogSlice)>,
    thread: Option<JoinHandle<()>>,
}

impl Readings {
    /// `bell` is rung with each answer of the thread.
    pub(crate) fn new(dir: DataDir, bell: File) -> io::Result<Self> {
        let (jobs, job_list) = sync_channel(1);
        let (done_list, done) = sync_channel(1);
        let builder = thread::Builder::new().name("farwatch-read".to_owned());
        let thread = builder.spawn(move || read_all(&dir, &job_list, &done_list, &bell))?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            under_way: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            thread: Some(thread),
        })
    }

    /// The oldest zxid from which the thread reads or will read.
    fn oldest(&self) -> Option<Zxid> {
        self.under_way.iter().chain(&self.waiting).map(|ask| ask.from).min()
    }

    /// Waits for the thread and takes back everything that was asked and not answered to the asker.
    pub(super) fn recall(&mut self) -> Vec<Ask> {
        if self.under_way.is_some() {
            let _outdated = self.done.recv().expect("the reading thread does not panic");
        }
        let ready = self.ready.drain(..).map(|(ask, _)| ask);
        self.under_way.take().into_iter().chain(self.waiting.drain(..)).chain(ready).collect()
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and then there is nothing left to wait for.
            let _panicked = thread.join();
        }
    }
}

impl LogFile {
    /// Asks for the last position at or below `from`, durable or not, and for about `bytes_max`
    /// bytes of the records behind it: one at least if there is one and `bytes_max` is not 0. Never
    /// blocks. What is in memory is answered at once; for the rest [`LogFile::event_fd`] is rung.
    /// Answers come in any order.
    pub fn begin_read(&mut self, ticket: u64, from: Zxid, bytes_max: u64) {
        self.window.ask();
        self.read_again(Ask { ticket, from, bytes_max });
    }

    pub(super) fn read_again(&mut self, ask: Ask) {
        let answer = |at, run| LogSlice::found(ask.ticket, at, run);
        let last = self.log.position();
        let oldest = self.begins();
        let slice = if last.zxid <= ask.from {
            answer(Some(last), None)
        } else if let Some((at, run)) = self.window.read(ask.from, ask.bytes_max) {
            answer(Some(at), run)
        } else if ask.from < oldest {
            answer(None, None)
        } else {
            if self.readings.waiting.len() == READS_MAX
                && let Some(dropped) = self.readings.waiting.pop_front()
            {
                let nothing = LogSlice::found(dropped.ticket, None, None);
                self.readings.ready.push_back((dropped, LogSlice { dropped: true, ..nothing }));
            }
            self.readings.waiting.push_back(ask);
            return self.read_next();
        };
        self.readings.ready.push_back((ask, slice));
    }

    /// The next answer, if there is one.
    pub fn read_completed(&mut self) -> Option<LogSlice> {
        if let Some((_, slice)) = self.readings.ready.pop_front() {
            return Some(slice);
        }
        let slice = self.readings.done.try_recv().ok()?;
        self.readings.under_way = None;
        self.read_next();
        Some(slice)
    }

    fn read_next(&mut self) {
        if self.readings.under_way.is_some() {
            return;
        }
        let Some(ask) = self.readings.waiting.pop_front() else { return };
        let upto = self.window.start().unwrap_or(self.log.position()).zxid;
        let job = Job { ask, segments: self.log.segments().to_vec(), upto };
        self.readings.under_way = Some(ask);
        let jobs = self.readings.jobs.as_ref().expect("not dropped");
        jobs.send(job).expect("the reading thread does not panic");
    }

    /// How many of the oldest segments no read under way or waiting needs.
    pub(super) fn unread_segments(&self) -> usize {
        let segments = self.log.segments();
        match self.readings.oldest() {
            Some(from) => segment_of(segments, from).unwrap_or(0),
            None => segments.len(),
        }
    }

    /// The position in the log at or below `from`, waited for.
    pub(super) fn find(&self, from: Zxid) -> Result<Option<Position>, ReadError> {
        let last = self.log.position();
        if last.zxid <= from {
            return Ok(Some(last));
        }
        if let Some((at, _)) = self.window.read(from, 0) {
            return Ok(Some(at));
        }
        let segments = self.log.segments().to_vec();
        if segments.first().is_none_or(|oldest| from < oldest.head.before) {
            return Ok(None);
        }
        let upto = self.window.start().unwrap_or(last).zxid;
        let ask = Ask { ticket: 0, from, bytes_max: 0 };
        let (at, _) = read(&self.dir, &Job { ask, segments, upto }, &mut Places::default())?;
        Ok(Some(at))
    }
}

fn read_all(dir: &DataDir, jobs: &Receiver<Job>, done: &SyncSender<LogSlice>, bell: &File) {
    let mut places = Places::default();
    for job in jobs {
        let ticket = job.ask.ticket;
        let slice = match read(dir, &job, &mut places) {
            Ok((at, run)) => LogSlice::found(ticket, Some(at), run),
            Err(damage) => LogSlice { damage: Some(damage), ..LogSlice::found(ticket, None, None) },
        };
        if done.send(slice).is_err() || { bell }.write_all(&1_u64.to_ne_bytes()).is_err() {
            return;
        }
    }
}

fn read(
    dir: &DataDir,
    job: &Job,
    places: &mut Places,
) -> Result<(Position, Option<Run>), ReadError> {
    let Ask { from, bytes_max, .. } = job.ask;
    places.keep(&job.segments);
    let mut reader = LogReader::new(dir.clone(), &job.segments, from, None, job.upto)?;
    let start = &job.segments[segment_of(&job.segments, from).expect("the log reaches so far")];
    if let Some(mark) = places.nearest(start, from) {
        reader.skip_to(&mark)?;
    }
    let (mut at, mut upto, mut bytes) = (None, Position::ROOT, Vec::new());
    while at.is_none() || (bytes.len() as u64) < bytes_max {
        let Some(record) = reader.next_record()? else { break };
        if bytes_max > 0 {
            bytes.extend_from_slice(record.bytes());
            upto = Position { zxid: record.head().zxid, chain: record.chain() };
        }
        at = at.or(Some(reader.previous()));
    }
    reader.take_marks().into_iter().for_each(|mark| places.add(mark));
    let at = at.expect("there is a record behind what was asked");
    Ok((at, (!bytes.is_empty()).then(|| Run::own(at, upto, bytes.into()))))
}

/// Where batches begin in segments that were read before.
#[derive(Default)]
struct Places {
    /// By the first zxid of the segment. A segment that was cut away may come again under its name
    /// with another salt.
    segments: BTreeMap<Zxid, (Salt, BTreeMap<Zxid, Mark>)>,
}

impl Places {
    /// Forgets segments that are no more.
    fn keep(&mut self, segments: &[Segment]) {
        let mut kept = BTreeMap::new();
        for Segment { head } in segments {
            let known = self.segments.remove(&head.first).filter(|(salt, _)| *salt == head.salt);
            kept.insert(head.first, known.unwrap_or((head.salt, BTreeMap::new())));
        }
        self.segments = kept;
    }

    fn nearest(&self, segment: &Segment, from: Zxid) -> Option<Mark> {
        let (_, marks) = self.segments.get(&segment.head.first)?;
        marks.range(..=from).next_back().map(|(_, mark)| *mark)
    }

    fn add(&mut self, mark: Mark) {
        if let Some((_, marks)) = self.segments.get_mut(&mark.segment) {
            marks.insert(mark.before.zxid, mark);
        }
    }
}
