//! Snapshots on their way from one server to another, part by part, off the core thread.
//!
//! ```text
//! begin_read ─► farwatch-send: newest valid snapshot, held open ─► cap ─► bell ─► read_completed
//! begin_store ─► farwatch-receive: snapshot/incoming.tmp … end: verify, install ─► bell ─► store_completed
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use farwatch_core::disk::DiskError;
use farwatch_core::log::replace::{Incoming, StoreError};
use farwatch_core::record::run::Position;
use thiserror::Error;

use crate::data_dir::DataDir;

mod source;
#[cfg(test)]
mod tests;

use source::{Opened, Pace};

/// Bytes of a part. Large enough for the speed of disk and link, small enough that what a leader says to a
/// voter behind it on a link of a megabyte per second is half a second late and not ten. Who does not vote has
/// several under way, and takes a part of one for a word.
pub const PART_BYTES: usize = 512 << 10;

/// Parts that may wait. Each peer has few at a time; what is beyond is refused.
pub const WAITING_MAX: usize = 256;

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// As asked.
    pub ticket: u64,
    /// The history that the snapshot stands for.
    pub at: Position,
    /// Where the bytes begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Whether they are the last.
    pub end: bool,
}

/// Why there is no part.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotReadCause {
    /// No snapshot was taken yet, or none is valid: take one and ask again.
    #[error("there is no valid snapshot")]
    NoSnapshot,
    /// Too many others were begun since, or the ticket was never begun at offset 0.
    #[error("the reading of this snapshot was given up for newer ones")]
    Forgotten,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// An ask without a part.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a snapshot cannot be sent: {cause}")]
pub struct SnapshotReadError {
    /// As asked.
    pub ticket: u64,
    /// Why.
    pub cause: SnapshotReadCause,
}

/// What became of a part that was to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// As asked.
    pub ticket: u64,
    /// The byte behind the last one stored. With the end, the snapshot *is* the history, durably: the
    /// server must recover again.
    pub result: Result<u64, StoreError>,
}

/// A thread, what it is asked, and what it answers.
struct Worker<A, T> {
    /// `None` once the thread shall end.
    asks: Option<Sender<A>>,
    answers: Receiver<T>,
    /// To answer for the thread where it is not to be bothered.
    own: Sender<T>,
    waiting: usize,
    thread: Option<JoinHandle<()>>,
}

impl<A: Send + 'static, T: Send + 'static> Worker<A, T> {
    fn start(
        name: &str,
        bell: File,
        mut work: impl FnMut(A) -> T + Send + 'static,
    ) -> io::Result<Self> {
        // Bounded by `WAITING_MAX`, which `Worker::ask` keeps.
        let (asks, ask_list) = channel::<A>();
        let (own, answers) = channel();
        let answer_list = own.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for ask in ask_list {
                let sent = answer_list.send(work(ask));
                if sent.is_err() || { &bell }.write_all(&1_u64.to_ne_bytes()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { asks: Some(asks), answers, own, waiting: 0, thread: Some(thread) })
    }

    /// Asks, or answers at once with what is to be said when too much waits.
    fn ask(&mut self, ask: A, refusal: impl FnOnce() -> T) {
        self.waiting += 1;
        let answered = if self.waiting > WAITING_MAX {
            self.own.send(refusal()).is_ok()
        } else {
            self.asks.as_ref().expect("not dropped").send(ask).is_ok()
        };
        assert!(answered, "the thread does not panic");
    }

    fn answer(&mut self) -> Option<T> {
        let answer = self.answers.try_recv().ok()?;
        self.waiting -= 1;
        Some(answer)
    }
}

impl<A, T> Drop for Worker<A, T> {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and then there is nothing left to wait for.
            let _panicked = thread.join();
        }
    }
}

/// Reads snapshots for learners.
pub struct SnapshotSource {
    /// Dropped after `pace` was told to stop.
    worker: Worker<(u64, u64), Result<SnapshotPart, SnapshotReadError>>,
    pace: Arc<Pace>,
}

impl SnapshotSource {
    /// Sends up to `bytes_per_second`; 0 is without a cap. `bell` is rung with each answer: see
    /// [`crate::log_file::LogFile::bell`].
    pub fn start(dir: &DataDir, bell: File, bytes_per_second: u64) -> io::Result<Self> {
        let pace = Arc::new(Pace::new(bytes_per_second));
        let (mut opened, theirs) = (Opened::new(dir.clone()), Arc::clone(&pace));
        let worker = Worker::start("farwatch-send", bell, move |(ticket, offset)| {
            let part = opened.read(ticket, offset);
            if let Ok(part) = &part {
                theirs.wait_for(part.bytes.len() as u64);
            }
            part.map_err(|cause| SnapshotReadError { ticket, cause })
        })?;
        Ok(Self { worker, pace })
    }

    /// Asks for a part of the newest valid snapshot. All reads of one ticket are of one file, also
    /// while that is purged. Never blocks.
    pub fn begin_read(&mut self, ticket: u64, offset: u64) {
        let cause = SnapshotReadCause::Forgotten;
        self.worker.ask((ticket, offset), || Err(SnapshotReadError { ticket, cause }));
    }

    /// The next answer, if there is one.
    pub fn read_completed(&mut self) -> Option<Result<SnapshotPart, SnapshotReadError>> {
        self.worker.answer()
    }
}

impl Drop for SnapshotSource {
    fn drop(&mut self) {
        self.pace.stop();
    }
}

struct Part {
    ticket: u64,
    at: Position,
    offset: u64,
    bytes: Arc<[u8]>,
    end: bool,
}

/// Stores a snapshot that a leader sends.
pub struct SnapshotSink {
    worker: Worker<Part, Stored>,
}

impl SnapshotSink {
    /// `bell` is rung with each answer: see [`crate::log_file::LogFile::bell`].
    pub fn start(dir: &DataDir, bell: File) -> io::Result<Self> {
        let mut incoming = Incoming::new(dir.clone(), dir.identity().cluster);
        let worker = Worker::start("farwatch-receive", bell, move |part: Part| {
            let Part { ticket, at, offset, bytes, end } = part;
            Stored { ticket, result: incoming.store(at, offset, &bytes, end) }
        })?;
        Ok(Self { worker })
    }

    /// Stores a part behind those before it. Offset 0 begins again. With `end`, the whole is verified
    /// and becomes the history; see [`Stored::result`]. Never blocks.
    pub fn begin_store(
        &mut self,
        ticket: u64,
        at: Position,
        offset: u64,
        bytes: Arc<[u8]>,
        end: bool,
    ) {
        let part = Part { ticket, at, offset, bytes, end };
        self.worker.ask(part, || Stored { ticket, result: Err(StoreError::Flooded) });
    }

    /// The next answer, if there is one.
    pub fn store_completed(&mut self) -> Option<Stored> {
        self.worker.answer()
    }
}
