//! Waiting for something that a watch tells of.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::RecipeError;
use crate::client::{Client, enter_wait};

/// Counts what was worth looking at again.
#[derive(Default)]
pub(super) struct Signal {
    raised: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    pub(super) fn raised(&self) -> u64 {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was raised beyond `seen`. Returns whether that came in time, and before the wait
    /// was stopped: then it is raised once, and found stopped the next time.
    pub(super) fn wait_beyond(self: &Arc<Self>, seen: u64, deadline: Instant) -> bool {
        let Some(_wait) = enter_wait(false, || {
            let signal = Arc::clone(self);
            move || signal.raise()
        }) else {
            return false;
        };
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        while *raised <= seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(raised, left);
            raised = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Looks until there is something. `look` sets the watches whose events at `paths` make it look again;
/// so does each change of the session's state.
pub(super) fn look_until<T>(
    client: &Client,
    paths: &[&str],
    deadline: Instant,
    look: impl FnMut() -> Result<Option<T>, RecipeError>,
) -> Result<T, RecipeError> {
    look_again_by(&Arc::default(), client, paths, deadline, look)
}

/// The same, and looks again whenever `signal` is raised: that of the tenure that it depends on.
pub(super) fn look_again_by<T>(
    signal: &Arc<Signal>,
    client: &Client,
    paths: &[&str],
    deadline: Instant,
    mut look: impl FnMut() -> Result<Option<T>, RecipeError>,
) -> Result<T, RecipeError> {
    let by_session = Arc::clone(signal);
    let (_session, _state) = client.on_session(move |_state| by_session.raise());
    let _nodes: Vec<_> = paths
        .iter()
        .map(|path| {
            let by_node = Arc::clone(signal);
            client.on_node(path, move |_event| by_node.raise())
        })
        .collect();
    loop {
        let seen = signal.raised();
        if let Some(found) = look()? {
            return Ok(found);
        }
        if !signal.wait_beyond(seen, deadline) {
            return Err(RecipeError::Deadline);
        }
    }
}
