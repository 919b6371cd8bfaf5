//! The background thread of the log: makes spares ahead of need and carries out retirements.
//!
//! A spare is made in pieces, each durable before the next is begun, with rests between them as long as the log
//! is not as far in its segment: a disk that has to take all of it at once makes the log wait for that.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use farwatch_core::disk::{Disk, DiskError};
use farwatch_core::log::{Retirement, SegmentStart, make_spare};

use crate::data_dir::DataDir;
use crate::data_dir::giving_back::{GivingBack, rest_after};

/// A spare is kept so much of itself ahead of the segment that it will follow.
const AHEAD_PART: u64 = 16;

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
    /// The log needs the next spare now.
    hurry: bool,
    stop: bool,
}

type Shared = (Mutex<State>, Condvar);

/// See the module. Jobs are carried out in the order in which they were given.
pub(crate) struct Filler {
    shared: Arc<Shared>,
    /// How far the log is in its segment, bytes.
    used: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Filler {
    /// `event` is rung with each result.
    pub(crate) fn new(dir: DataDir, event: File) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let used = Arc::new(AtomicU64::new(0));
        let (theirs, its) = (shared.clone(), used.clone());
        let builder = thread::Builder::new().name("farwatch-fill".to_owned());
        let thread = Some(builder.spawn(move || run(&dir, &theirs, &its, &event))?);
        Ok(Self { shared, used, thread })
    }

    /// The log has written so many bytes of its segment.
    pub(crate) fn used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::Relaxed);
    }

    /// The log waits for a spare: no more rests until there is one.
    pub(crate) fn hurry(&self) {
        lock(&self.shared.0).hurry = true;
        self.shared.1.notify_all();
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
            state.hurry = true;
            self.shared.1.notify_all();
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

fn run(dir: &DataDir, shared: &Shared, used: &AtomicU64, event: &File) {
    let mut leaving = VecDeque::new();
    let mut state = lock(&shared.0);
    loop {
        if state.stop {
            return;
        }
        let Some(job) = state.jobs.pop_front() else {
            if leaving.is_empty() {
                let woken = shared.1.wait(state);
                state = woken.expect("the log does not panic while it holds this lock");
            } else {
                drop(state);
                give_back(&mut leaving, shared);
                state = lock(&shared.0);
            }
            continue;
        };
        drop(state);
        let result = carry_out(dir, &job, shared, used, &mut leaving);
        state = lock(&shared.0);
        state.hurry &= !matches!(result, Filled::Spare(_) | Filled::Failed(_));
        state.results.push_back(result);
        shared.1.notify_all();
        // An eventfd takes any number of rings; nobody listens any more when it is closed.
        let _ = { event }.write(&1_u64.to_ne_bytes());
    }
}

/// One piece of what is removed, and a rest.
fn give_back(leaving: &mut VecDeque<GivingBack>, shared: &Shared) {
    let began = Instant::now();
    if !leaving.front_mut().is_some_and(GivingBack::step) {
        leaving.pop_front();
    }
    rest(shared, rest_after(began.elapsed()), |state| state.jobs.is_empty());
}

fn carry_out(
    dir: &DataDir,
    job: &Job,
    shared: &Shared,
    used: &AtomicU64,
    leaving: &mut VecDeque<GivingBack>,
) -> Filled {
    if let Job::Begin(start) = job {
        return start.carry_out(dir).map_or_else(Filled::NotBegun, |()| Filled::Begun);
    }
    let done = match job {
        Job::Begin(_) => unreachable!("answered above"),
        Job::Fill { number, bytes } => {
            let mut began = Instant::now();
            let made = make_spare(dir, *number, *bytes, |file, done| {
                if is_hurried(shared) {
                    return Ok(()); // all at once is soonest
                }
                dir.sync(file)?;
                let ahead = |_: &State| used.load(Ordering::Relaxed) + bytes / AHEAD_PART < done;
                rest(shared, rest_after(began.elapsed()), ahead);
                began = Instant::now();
                Ok(())
            });
            made.map(|()| Some(*number))
        }
        Job::Retire(Retirement { segment, spare: None }) => {
            GivingBack::begin(dir, segment).map(|going| leaving.push_back(going)).map(|()| None)
        }
        Job::Retire(retirement) => retirement.carry_out(dir).map(|()| retirement.spare),
    };
    match done {
        Ok(Some(number)) => Filled::Spare(number),
        Ok(None) => Filled::Removed,
        Err(error) => Filled::Failed(error),
    }
}

fn is_hurried(shared: &Shared) -> bool {
    let state = lock(&shared.0);
    state.hurry || state.stop
}

/// Waits for so long, unless the log waits or stops, or `may` says no.
fn rest(shared: &Shared, time: Duration, may: impl Fn(&State) -> bool) {
    let until = Instant::now() + time;
    let mut state = lock(&shared.0);
    while !state.stop && !state.hurry && may(&state) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let (woken, _) = shared.1.wait_timeout(state, left).expect("the log does not panic here");
        state = woken;
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

#[cfg(test)]
mod tests {
    use farwatch_core::zxid::ServerId;

    use super::*;
    use crate::data_dir::Founding;
    use crate::log_file::system;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_segment_that_goes_has_lost_its_name_when_that_is_told_and_its_file_when_the_log_ends() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path(), None, ServerId(1), Founding::Alone).unwrap();
        let filler = Filler::new(dir.clone(), system::event_fd().unwrap()).unwrap();
        let segment = "log/1.log".to_owned();
        std::fs::write(dir.path(&segment), vec![7; 64 << 20]).unwrap();
        filler.retire(Retirement { segment, spare: None });
        assert!(matches!(filler.wait(), Some(Filled::Removed)));
        assert!(!dir.list("log").unwrap().contains(&"1.log".to_owned()));
        drop(filler);
        assert!(dir.list("log").unwrap().is_empty());
    }

    #[test]
    fn a_rest_ends_when_the_log_waits_or_stops_and_there_is_none_when_it_is_not_far_behind() {
        let shared = Shared::default();
        rest(&shared, LONG, |_| false);
        let (began, short) = (Instant::now(), Duration::from_millis(5));
        rest(&shared, short, |_| true);
        assert!(short <= began.elapsed(), "the disk was not left to the log");
        for ends in [|state: &mut State| state.hurry = true, |state: &mut State| state.stop = true]
        {
            *lock(&shared.0) = State::default();
            std::thread::scope(|scope| {
                scope.spawn(|| rest(&shared, LONG, |_| true));
                ends(&mut lock(&shared.0));
                shared.1.notify_all();
            });
        }
    }
}
