//! Recipes that wait for a loop: each on a thread of the library's, until it has what it waits for.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farwatch_client::machine::RequestId;
use farwatch_client::{ClientError, Stop};

use crate::error::Failure;
use crate::guard::{panicked, without_signals};
use crate::op::Attempt;
use crate::result::ResultBody;
use crate::status::fw_status;

/// Waits of one client. Each has a thread, of which a process has some thousands.
const WAITS_MAX: usize = 256;

/// A recipe is a few calls deep and keeps nothing large on its stack, bytes. What `done` calls in C has the
/// rest.
const STACK_BYTES: usize = 512 << 10;

/// Numbers of waits have this bit, and those of requests, which are counted up from 0, do not.
const WAIT_BIT: u64 = 1 << 63;

/// What is called with what became of it.
pub type Done = Box<dyn FnOnce(Result<ResultBody, Failure>) + Send>;

/// Who is told of a wait.
enum Fate {
    /// Whoever asked for it.
    Waiting(Done),
    /// The same, that the client is closed.
    Closed(Done),
    /// Nobody, any more.
    Over,
}

/// A wait that is under way.
struct Wait {
    stop: Stop,
    fate: Mutex<Fate>,
    /// Whether what it gets is lost where nobody is told of it.
    consumes: bool,
}

impl Wait {
    fn lock(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is told that the client is closed.
    fn close(&self) {
        let mut fate = self.lock();
        *fate = match std::mem::replace(&mut *fate, Fate::Over) {
            Fate::Waiting(done) | Fate::Closed(done) => Fate::Closed(done),
            Fate::Over => return,
        };
        drop(fate);
        self.stop.raise();
    }

    /// Nobody is told of it. Who would have been, and whether something may be lost by that; `None` if it is
    /// over.
    fn abandon(&self) -> Option<(Done, bool)> {
        let done = match std::mem::replace(&mut *self.lock(), Fate::Over) {
            Fate::Waiting(done) | Fate::Closed(done) => done,
            Fate::Over => return None,
        };
        let may_be_asking = self.stop.raise();
        Some((done, may_be_asking && self.consumes))
    }

    fn finish(&self, result: Result<ResultBody, Failure>) {
        let fate = std::mem::replace(&mut *self.lock(), Fate::Over);
        match fate {
            Fate::Waiting(done) => done(result),
            // An item that was taken is of use without a client, too.
            Fate::Closed(done) if self.consumes && result.is_ok() => done(result),
            Fate::Closed(done) => {
                let maybe_applied = result.is_err_and(|failure| failure.maybe_applied);
                done(Err(Failure { maybe_applied, ..ClientError::Closed.into() }));
            }
            Fate::Over => {} // what was got is given up with the result
        }
    }
}

/// The waits of a client.
#[derive(Default)]
pub struct Waits {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    waiting: BTreeMap<u64, Arc<Wait>>,
    /// Those that tell of what they got included.
    threads: usize,
}

/// A thread, until it ends.
struct Running(Arc<Waits>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
        self.0.ended.notify_all();
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on another thread, which calls `done`, until `stop` is raised.
    pub fn begin(
        self: &Arc<Self>,
        attempt: Attempt,
        stop: Stop,
        done: Done,
    ) -> Result<RequestId, Failure> {
        crate::reserve::refuse_if_short()?;
        let consumes = attempt.consumes();
        let wait = Arc::new(Wait { stop, fate: Mutex::new(Fate::Waiting(done)), consumes });
        let number = self.enter(&wait)?;
        let running = Running(Arc::clone(self));
        let work = move || {
            let Running(waits) = &running;
            let reach = AssertUnwindSafe(|| wait.stop.run(|| attempt.reach()));
            let result = catch_unwind(reach).unwrap_or_else(|panic| Err(panicked(panic)));
            // Before it is told: who is told may wait for the next one.
            waits.lock().waiting.remove(&number);
            wait.finish(result);
        };
        let builder = std::thread::Builder::new().name("farwatch-wait".to_owned());
        match without_signals(|| builder.stack_size(STACK_BYTES).spawn(work)) {
            Ok(_detached) => Ok(RequestId::from_number(number)),
            Err(error) => {
                // With nothing locked it is dropped: its program's word may call anything.
                let gone = self.lock().waiting.remove(&number);
                drop(gone);
                let text = format!("no thread to wait on ({error}); raise the limit on threads");
                Err(Failure::retriable(fw_status::FW_NO_RESOURCES, text))
            }
        }
    }

    fn enter(&self, wait: &Arc<Wait>) -> Result<u64, Failure> {
        let mut state = self.lock();
        if WAITS_MAX <= state.waiting.len() {
            let text = format!("{WAITS_MAX} recipes wait already: repeat when some are done");
            return Err(Failure::retriable(fw_status::FW_OVERLOADED, text));
        }
        state.last += 1;
        state.threads += 1;
        let number = state.last | WAIT_BIT;
        state.waiting.insert(number, Arc::clone(wait));
        Ok(number)
    }

    /// Whether `request` is a wait, and not one request.
    pub fn has(request: u64) -> bool {
        request & WAIT_BIT != 0
    }

    /// Gives up a wait: nobody is told of it. Returns whether what it may have got is lost, and `None` if it was
    /// completed.
    pub fn abandon(&self, request: u64) -> Option<bool> {
        let wait = self.lock().waiting.get(&request).cloned()?;
        let (done, maybe_applied) = wait.abandon()?;
        drop(done); // with nothing locked: what it owns may ask this client something
        Some(maybe_applied)
    }

    /// Ends all that wait: they are told that the client is closed, by their threads. Returns whether there
    /// were any. Does not block.
    pub fn close(&self) -> bool {
        let waiting: Vec<_> = self.lock().waiting.values().cloned().collect();
        waiting.iter().for_each(|wait| wait.close());
        !waiting.is_empty()
    }

    /// Waits for the ends of all threads, unless this is one of them or another callback.
    pub fn await_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.threads > 0 && crate::callback::refuse_inside().is_ok() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
