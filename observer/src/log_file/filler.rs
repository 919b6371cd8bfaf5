//! The background thread of the log: makes spares ahead of need and carries out retirements.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use farwatch_core::disk::DiskError;
use farwatch_core::log::{Retirement, SegmentStart, make_spare};

use crate::data_dir::DataDir;

enum Job {
    Fill { number: u64, bytes: u64 },
    Retire(Retirement),
    Begin(SegmentStart),
}

/// What has become of a job.
pub(crate) enum Filled {
    /// A spare is at hand.
    Spare(u64),
    /// A segment was removed.
    Removed,
    /// The planned segment is there.
    Begun,
    /// The planned segment is not there, and the spare is as it was.
    NotBegun(DiskError),
    /// It failed; nothing remains of a spare.
    Failed(DiskError),
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    results: VecDeque<Filled>,
    /// Jobs that will still bring a result.
    due: usize,
    /// Of them, those that will bring a spare if they succeed.
    spares_due: usize,
    stop: bool,
}

/// See the module. Jobs are carried out in the order in which they were given.
pub(crate) struct Filler {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Filler {
    /// `event` is rung with each result.
    pub(crate) fn new(dir: DataDir, event: File) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = shared.clone();
        let builder = thread::Builder::new().name("farwatch-fill".to_owned());
        let thread = Some(builder.spawn(move || run(&dir, &theirs, &event))?);
        Ok(Self { shared, thread })
    }

    /// Asks for a spare.
    pub(crate) fn fill(&self, number: u64, bytes: u64) {
        self.push(Job::Fill { number, bytes }, true);
    }

    /// Asks for a segment to be begun.
    pub(crate) fn begin(&self, start: SegmentStart) {
        self.push(Job::Begin(start), false);
    }

    /// Asks for a segment to go.
    pub(crate) fn retire(&self, retirement: Retirement) {
        let brings_spare = retirement.spare.is_some();
        self.push(Job::Retire(retirement), brings_spare);
    }

    fn push(&self, job: Job, brings_spare: bool) {
        let mut state = lock(&self.shared.0);
        state.jobs.push_back(job);
        state.due += 1;
        state.spares_due += usize::from(brings_spare);
        self.shared.1.notify_all();
    }

    /// Spares that have been asked for and were not yet taken with a result.
    pub(crate) fn spares_due(&self) -> usize {
        lock(&self.shared.0).spares_due
    }

    /// The next result, if there is one.
    pub(crate) fn poll(&self) -> Option<Filled> {
        take(&mut lock(&self.shared.0))
    }

    /// The next result; `None` if nothing was asked for.
    pub(crate) fn wait(&self) -> Option<Filled> {
        let mut state = lock(&self.shared.0);
        while state.due > 0 && state.results.is_empty() {
            state = self.shared.1.wait(state).expect("the filler does not panic");
        }
        take(&mut state)
    }
}

fn take(state: &mut State) -> Option<Filled> {
    let result = state.results.pop_front()?;
    state.due -= 1;
    match result {
        Filled::Spare(_) | Filled::Failed(_) => {
            state.spares_due = state.spares_due.saturating_sub(1)
        }
        Filled::Removed | Filled::Begun | Filled::NotBegun(_) => {}
    }
    Some(result)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("the filler does not panic")
}

fn run(dir: &DataDir, shared: &(Mutex<State>, Condvar), event: &File) {
    let mut state = lock(&shared.0);
    loop {
        if state.stop {
            return;
        }
        let Some(job) = state.jobs.pop_front() else {
            state = shared.1.wait(state).expect("the log does not panic while it holds this lock");
            continue;
        };
        drop(state);
        let result = carry_out(dir, &job);
        state = lock(&shared.0);
        state.results.push_back(result);
        shared.1.notify_all();
        // An eventfd takes any number of rings; nobody listens any more when it is closed.
        let _ = { event }.write(&1_u64.to_ne_bytes());
    }
}

fn carry_out(dir: &DataDir, job: &Job) -> Filled {
    if let Job::Begin(start) = job {
        return start.carry_out(dir).map_or_else(Filled::NotBegun, |()| Filled::Begun);
    }
    let done = match job {
        Job::Begin(_) => unreachable!("answered above"),
        Job::Fill { number, bytes } => make_spare(dir, *number, *bytes).map(|()| Some(*number)),
        Job::Retire(retirement) => retirement.carry_out(dir).map(|()| retirement.spare),
    };
    match done {
        Ok(Some(number)) => Filled::Spare(number),
        Ok(None) => Filled::Removed,
        Err(error) => Filled::Failed(error),
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        lock(&self.shared.0).stop = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and then there is nothing left to wait for.
            let _panicked = thread.join();
        }
    }
}
