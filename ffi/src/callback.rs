//! What C hands over to be called back: a function, a `void *`, and how to end its life.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::error::Failure;
use crate::status::fw_status;

/// Ends the life of a `context`: called once, when nothing will be called with it any more, on
/// whichever thread finds out. Null when there is nothing to do.
pub type fw_destroy_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// The `void *` of a callback.
pub struct Context {
    pointer: *mut c_void,
    destroy: fw_destroy_fn,
}

// SAFETY: the header says that contexts are used on the library's threads.
unsafe impl Send for Context {}
// SAFETY: as above; this library only passes the pointer on.
unsafe impl Sync for Context {}

impl Context {
    /// Takes over `pointer`.
    pub fn new(pointer: *mut c_void, destroy: fw_destroy_fn) -> Self {
        Self { pointer, destroy }
    }

    /// What the callback is called with.
    pub fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: the function is C's for this pointer, and this is the only call.
            unsafe { destroy(self.pointer) };
        }
    }
}

/// Lets callbacks through until it is closed. Nothing is locked while one runs. Who waits for them from
/// within one does not wait for itself.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    idle: Condvar,
}

#[derive(Default)]
struct GateState {
    is_closed: bool,
    /// The threads on which callbacks run.
    running: Vec<ThreadId>,
}

thread_local! {
    /// How many callbacks run on this thread, one within the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Within a callback nobody waits for what the callback's own thread would bring.
pub fn refuse_inside() -> Result<(), Failure> {
    if DEPTH.get() == 0 {
        return Ok(());
    }
    let text = "waiting is not possible inside a callback: its thread brings what is waited for";
    Err(Failure::new(fw_status::FW_IN_CALLBACK, text))
}

/// A callback that runs.
struct Passage<'a>(&'a Gate);

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        let own = std::thread::current().id();
        let mut state = self.0.lock();
        if let Some(place) = state.running.iter().rposition(|thread| *thread == own) {
            state.running.swap_remove(place);
        }
        drop(state);
        self.0.idle.notify_all();
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `callback` unless the gate is closed.
    pub fn pass(&self, callback: impl FnOnce()) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.running.push(std::thread::current().id());
        drop(state);
        DEPTH.set(DEPTH.get() + 1);
        let _passage = Passage(self);
        callback();
    }

    /// From here on nothing begins.
    pub fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Waits until nothing runs on another thread. Returns whether that came to be within `patience`, and
    /// nothing runs on this one.
    pub fn wait_idle(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let own = std::thread::current().id();
        let mut state = self.lock();
        while state.running.iter().any(|thread| *thread != own) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_at_a_closed_gate_and_what_runs_is_waited_for() {
        let gate = Gate::default();
        let mut ran = 0;
        gate.pass(|| ran += 1);
        gate.pass(|| {
            gate.close();
            assert!(!gate.wait_idle(Duration::from_secs(3600)), "this one runs");
        });
        gate.pass(|| ran += 1);
        assert_eq!(ran, 1);
        assert!(gate.wait_idle(Duration::ZERO));
    }

    #[test]
    fn a_context_is_destroyed_once() {
        unsafe extern "C" fn count(context: *mut c_void) {
            // SAFETY: the test passes a counter.
            unsafe { *context.cast::<u32>() += 1 };
        }
        let mut destroyed = 0_u32;
        drop(Context::new((&raw mut destroyed).cast(), Some(count)));
        assert_eq!(destroyed, 1);
    }
}
