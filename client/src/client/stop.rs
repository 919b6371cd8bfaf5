//! Ending what a thread waits for, from another one.
//!
//! Recipes wait where they are called, in several places one below the other. Who gives each such call a thread
//! of its own ends it here: every wait of that thread then ends as at its deadline, and what was begun is taken
//! back as it is there.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// What may end the waits of this thread.
    static OWN: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Wakes a thread from what it waits for.
type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    is_raised: bool,
    waiting: Option<Waiting>,
}

/// What a thread does while it waits.
struct Waiting {
    wake: Wake,
    /// Whether a server has been asked for something.
    is_asking: bool,
}

#[derive(Default)]
struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the waits of a thread. Clones end the same.
///
/// A recipe that is stopped fails with [`RecipeError::Deadline`](crate::recipes::RecipeError::Deadline) and leaves
/// nothing behind, as at its deadline; so does what it is asked for on that thread afterwards.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("is_raised", &self.0.lock().is_raised).finish()
    }
}

impl Stop {
    /// Runs `work` on this thread, where this ends its waits.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Arc<Shared>>);

        impl Drop for Restore {
            fn drop(&mut self) {
                OWN.set(self.0.take());
            }
        }

        let _restore = Restore(OWN.replace(Some(Arc::clone(&self.0))));
        work()
    }

    /// Ends the present wait of the thread, and all later ones. Does not block. Returns whether the thread may
    /// have asked a server for something that has not been answered; where it has not, it asks for nothing more.
    pub fn raise(&self) -> bool {
        let mut state = self.0.lock();
        state.is_raised = true;
        let waiting = state.waiting.take();
        drop(state);
        let Some(waiting) = waiting else { return true };
        (waiting.wake)();
        waiting.is_asking
    }
}

/// What ends the waits of this thread. Nothing does where the thread is ending itself and has let go of it.
fn own() -> Option<Arc<Shared>> {
    OWN.try_with(|own| own.borrow().clone()).ok().flatten()
}

/// Whether this thread is to wait for nothing any more.
pub(crate) fn is_raised() -> bool {
    own().is_some_and(|own| own.lock().is_raised)
}

/// A wait of this thread, until it is dropped.
pub(crate) struct Entered(Option<Arc<Shared>>);

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(own) = &self.0 {
            own.lock().waiting = None;
        }
    }
}

/// Enters a wait from which `wake` wakes this thread. `None`: it is not to wait any more.
pub(crate) fn enter<W: Fn() + Send + Sync + 'static>(
    is_asking: bool,
    wake: impl FnOnce() -> W,
) -> Option<Entered> {
    let Some(own) = own() else { return Some(Entered(None)) };
    let wake = Arc::new(wake());
    let mut state = own.lock();
    if state.is_raised {
        return None;
    }
    state.waiting = Some(Waiting { wake, is_asking });
    drop(state);
    Some(Entered(Some(own)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_wait_is_woken_once_and_none_is_entered_afterwards() {
        let stop = Stop::default();
        let woken = Arc::new(AtomicU32::new(0));
        let wake = || {
            let woken = Arc::clone(&woken);
            move || {
                woken.fetch_add(1, Ordering::Relaxed);
            }
        };
        stop.run(|| {
            drop(enter(true, wake));
            let _idle = enter(false, wake).expect("nothing was raised");
            assert!(!is_raised() && !stop.raise(), "a thread that asks for nothing");
            assert!(is_raised() && enter(false, wake).is_none());
            stop.raise();
        });
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(!is_raised() && enter(true, wake).is_some(), "others wait as ever");
        assert!(Stop::default().raise(), "between two waits it may be about to ask");
    }
}
