//! What recipes have asked for in the background: what they gave up is being removed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::WeakClient;

/// How many errands of a client are under way.
#[derive(Default)]
pub(super) struct Background {
    errands: Mutex<usize>,
    changed: Condvar,
}

impl Background {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are none, or until then.
    pub(super) fn await_none(&self, deadline: Instant) {
        let mut errands = self.lock();
        while 0 < *errands {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(errands, left);
            errands = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Something that is under way until this is dropped. Does not keep the client alive.
pub(crate) struct Errand(Arc<Background>);

impl Drop for Errand {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.changed.notify_all();
    }
}

impl WeakClient {
    /// `None` where the client is gone. What follows from an errand is begun before that is dropped.
    pub(crate) fn begin_errand(&self) -> Option<Errand> {
        let background = Arc::clone(&self.upgrade()?.handle.shared.background);
        *background.lock() += 1;
        Some(Errand(background))
    }
}
