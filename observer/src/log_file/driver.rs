//! How batches reach the disk: the ladder, tried from the top when the log is opened.
//!
//! ```text
//! io_uring + O_DIRECT ─► thread + O_DIRECT ─► io_uring, buffered ─► thread, buffered
//!          each write durable by itself when it completes (DSYNC)
//! ```

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use farwatch_core::log::format::BLOCK_BYTES;
use farwatch_core::log::{BatchBuffer, Placement, Ticket};

use super::aligned::AlignedBuffer;
use super::ring::Ring;

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWriter {
    /// An io_uring on the core thread.
    Ring,
    /// A thread of its own.
    Thread,
}

/// One rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDriver {
    /// Who writes.
    pub writer: LogWriter,
    /// Whether writes pass the page cache by (O_DIRECT).
    pub direct: bool,
}

/// Best first.
pub const LADDER: [LogDriver; 4] = [
    LogDriver { writer: LogWriter::Ring, direct: true },
    LogDriver { writer: LogWriter::Thread, direct: true },
    // Buffered writes are handed to the ring's own workers, one thread hop more than a thread's.
    LogDriver { writer: LogWriter::Thread, direct: false },
    LogDriver { writer: LogWriter::Ring, direct: false },
];

impl fmt::Display for LogDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writer = match self.writer {
            LogWriter::Ring => "io_uring",
            LogWriter::Thread => "log thread",
        };
        write!(f, "{writer}, {}", if self.direct { "direct" } else { "buffered" })
    }
}

/// A write that has completed.
pub(crate) struct Done {
    pub(crate) ticket: Ticket,
    pub(crate) result: io::Result<()>,
    pub(crate) buffer: AlignedBuffer,
}

/// The rung that is used.
pub(crate) enum Driver {
    Ring(Box<Ring>),
    Thread(WriteThread),
}

impl Driver {
    pub(crate) fn new(rung: LogDriver, event: &File) -> io::Result<Self> {
        Ok(match rung.writer {
            LogWriter::Ring => Self::Ring(Box::new(Ring::new(event)?)),
            LogWriter::Thread => Self::Thread(WriteThread::new(event)?),
        })
    }

    /// Begins a write; its buffer comes back with its completion.
    pub(crate) fn begin(
        &mut self,
        file: &Arc<File>,
        placement: Placement,
        buffer: AlignedBuffer,
    ) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.begin(file, placement, buffer),
            Self::Thread(thread) => thread.begin(file, placement, buffer),
        }
    }

    /// The next completed write, if there is one.
    pub(crate) fn reap(&mut self) -> Option<Done> {
        match self {
            Self::Ring(ring) => ring.reap(),
            Self::Thread(thread) => thread.done.try_recv().ok(),
        }
    }

    /// The next completed write. One must be in flight.
    pub(crate) fn wait(&mut self) -> io::Result<Done> {
        match self {
            Self::Ring(ring) => loop {
                if let Some(done) = ring.reap() {
                    return Ok(done);
                }
                ring.wait()?;
            },
            Self::Thread(thread) => thread.done.recv().map_err(|_| gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log thread has ended")
}

/// Opens a segment for a rung.
pub(crate) fn open(path: &Path, rung: LogDriver) -> io::Result<Arc<File>> {
    let direct = if rung.direct { libc::O_DIRECT } else { 0 };
    let mut options = OpenOptions::new();
    // The ring asks for durability with each write; for the thread the descriptor does.
    let file = options.write(true).custom_flags(direct | libc::O_DSYNC).open(path)?;
    Ok(Arc::new(file))
}

/// The best rung that really writes in this directory, or the one that is `forced`.
///
/// A write is tried, because an open succeeds on file systems that refuse the write, and a ring can
/// be made where a filter forbids its use.
pub(crate) fn choose(
    probe: &Path,
    rungs: impl Iterator<Item = LogDriver>,
    event: &File,
) -> io::Result<(Driver, LogDriver)> {
    let mut failure = io::Error::from(io::ErrorKind::Unsupported);
    for rung in rungs {
        match try_rung(probe, rung, event) {
            Ok(driver) => return Ok((driver, rung)),
            Err(error) => {
                tracing::debug!(%rung, %error, "the log cannot be written this way");
                failure = error;
            }
        }
    }
    Err(failure)
}

fn try_rung(probe: &Path, rung: LogDriver, event: &File) -> io::Result<Driver> {
    let mut driver = Driver::new(rung, event)?;
    let mut buffer = AlignedBuffer::new(BLOCK_BYTES);
    buffer.zeroed_tail(BLOCK_BYTES, 0);
    let placement = Placement { at: 0, bytes: BLOCK_BYTES, ticket: Ticket(0) };
    driver.begin(&open(probe, rung)?, placement, buffer)?;
    driver.wait()?.result?;
    Ok(driver)
}

struct Job {
    file: Arc<File>,
    placement: Placement,
    buffer: AlignedBuffer,
}

/// A thread that writes one batch after the other.
pub(crate) struct WriteThread {
    /// `None` once it shall end.
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl WriteThread {
    fn new(event: &File) -> io::Result<Self> {
        let event = event.try_clone()?;
        // Bounded by the depth of the queue, which the log keeps.
        let (jobs, job_list) = channel::<Job>();
        let (done_list, done) = channel();
        let builder = thread::Builder::new().name("farwatch-log".to_owned());
        let thread = builder.spawn(move || write_all(&job_list, &done_list, event))?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }

    fn begin(
        &mut self,
        file: &Arc<File>,
        placement: Placement,
        buffer: AlignedBuffer,
    ) -> io::Result<()> {
        let job = Job { file: file.clone(), placement, buffer };
        self.jobs.as_ref().expect("not dropped").send(job).map_err(|_| gone())
    }
}

fn write_all(jobs: &Receiver<Job>, done: &Sender<Done>, mut event: File) {
    for Job { file, placement, buffer } in jobs {
        let result = file.write_all_at(&buffer.as_slice()[..placement.bytes], placement.at);
        let sent = done.send(Done { ticket: placement.ticket, result, buffer });
        if sent.is_err() || event.write_all(&1_u64.to_ne_bytes()).is_err() {
            return;
        }
    }
}

impl Drop for WriteThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and then there is nothing left to wait for.
            let _panicked = thread.join();
        }
    }
}
