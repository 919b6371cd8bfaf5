//! Observers without a thread of their own, kept by the thread that opened them and drives them.
//!
//! ```text
//! open ──► thread's list: [7, 9] ◄── drive: its observer goes on for a while
//!                            └────── the thread ends: they end with it
//! ```

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::life::{self, Life, Turning};
use super::state::State;
use super::{DriveError, OpenError};

/// How long an observer may take to end with its thread.
const PARTING_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at the time while one ends.
const PARTING_TURN: Duration = Duration::from_millis(50);

/// An observer of some thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driven {
    thread: ThreadId,
    number: u64,
}

struct Kept {
    number: u64,
    process: u32,
    turning: Turning,
}

#[derive(Default)]
struct List {
    kept: RefCell<Vec<Kept>>,
    opened: Cell<u64>,
}

/// Ends what is in the list with its thread.
struct Parting;

thread_local! {
    /// Never dropped: what a thread has is dropped in the opposite order of its making, and an observer needs
    /// what its runtime has when it ends.
    static LIST: ManuallyDrop<List> = ManuallyDrop::default();

    /// Made behind an observer's runtime.
    static PARTING: Parting = const { Parting };
}

impl Driven {
    /// Opens an observer that this thread drives.
    pub fn open(life: Life) -> Result<(Self, Arc<State>), OpenError> {
        let memory = life.memory();
        let refused = |error| {
            life::give_back_refused(memory.as_ref());
            error
        };
        let turning = Turning::begin(life).map_err(refused)?;
        let state = turning.life().state().map(Arc::clone);
        let state = state.ok_or_else(|| OpenError::System(io::Error::other("it has no state")))?;
        let driven = LIST.with(|list| {
            let number = list.opened.get();
            list.opened.set(number + 1);
            list.kept.borrow_mut().push(Kept { number, process: std::process::id(), turning });
            PARTING.with(|_made| ());
            Self { thread: std::thread::current().id(), number }
        });
        Ok((driven, state))
    }

    /// Whether this thread drives it.
    pub fn is_of_this_thread(self) -> bool {
        self.thread == std::thread::current().id()
    }

    /// Lets it go on for so long. Whether it goes on behind that.
    pub fn drive(self, at_most: Duration) -> Result<bool, DriveError> {
        if !self.is_of_this_thread() {
            return Err(DriveError::OtherThread);
        }
        end_the_stopped(Some(self.number));
        let mut kept = self.take().ok_or(DriveError::Within)?;
        if kept.turning.turn(at_most) {
            kept.over();
            return Ok(false);
        }
        LIST.with(|list| list.kept.borrow_mut().push(kept));
        Ok(true)
    }

    /// Out of the list, so that nobody else turns it.
    fn take(self) -> Option<Kept> {
        LIST.with(|list| {
            let mut kept = list.kept.borrow_mut();
            let at = kept.iter().position(|it| it.number == self.number)?;
            Some(kept.swap_remove(at))
        })
    }
}

/// Ends those of this thread that another one asked to stop, which may do no more than that; but for one.
pub(super) fn end_the_stopped(except: Option<u64>) {
    let stopped = LIST.with(|list| {
        let mut kept = list.kept.borrow_mut();
        let is_stopped = |it: &mut Kept| {
            !it.is_of_this_process() || Some(it.number) != except && it.is_stopped()
        };
        kept.extract_if(.., is_stopped).collect::<Vec<_>>()
    });
    stopped.into_iter().for_each(Kept::end);
}

impl Kept {
    fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    fn is_stopped(&self) -> bool {
        self.turning.life().state().is_some_and(|state| state.is_stopped())
    }

    /// Ends it, with patience. What is the parent's of a forked process is left alone.
    fn end(mut self) {
        if !self.is_of_this_process() {
            mem::forget(self);
            return;
        }
        if let Some(state) = self.turning.life().state() {
            state.stop();
        }
        let began = Instant::now();
        while !self.turning.turn(PARTING_TURN) {
            if PARTING_PATIENCE < began.elapsed() {
                if let Some(state) = self.turning.life().state() {
                    state.end("it could not be ended in time".to_owned());
                }
                mem::forget(self); // its descriptors stay open, as it still uses them
                return;
            }
        }
        self.over();
    }

    fn over(self) {
        let memory = self.turning.life().memory();
        drop(self);
        life::give_back(memory.as_ref());
    }
}

impl Drop for Parting {
    /// The thread ends.
    fn drop(&mut self) {
        for kept in LIST.with(|list| list.kept.take()) {
            // A panic would end the process here. What the thread had for itself may be gone already.
            let state = kept.turning.life().state().map(Arc::clone);
            if catch_unwind(AssertUnwindSafe(|| kept.end())).is_err()
                && let Some(state) = state
            {
                state.end("the thread that drove it ended".to_owned());
            }
        }
    }
}
