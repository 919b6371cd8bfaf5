//! What is asked again in the background, by the reader thread.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{WeakClient, guarded};

/// Before a server that is there is asked again, milliseconds.
pub(super) const PAUSE_MS: u64 = 100;

type Job = Box<dyn FnOnce() + Send>;

/// What waits, and until when.
#[derive(Default)]
pub(super) struct Later(Mutex<Vec<(Instant, Job)>>);

impl Later {
    fn jobs(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Job)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs().is_empty()
    }

    /// Does what is due, or all of it.
    pub(super) fn run(&self, all: bool) {
        let now = Instant::now();
        let due: Vec<_> = self.jobs().extract_if(.., |(at, _job)| all || *at <= now).collect();
        due.into_iter().for_each(|(_at, job)| guarded(job));
    }
}

impl WeakClient {
    /// Asks again, from a completion. What is asked for without a connection waits for the next one; a server
    /// that is there would say the same again, if it was asked at once.
    pub(crate) fn again(&self, job: impl FnOnce() + Send + 'static) {
        let Some(client) = self.upgrade() else { return };
        if client.is_connected() {
            let at = Instant::now() + Duration::from_millis(PAUSE_MS);
            client.handle.shared.later.jobs().push((at, Box::new(job)));
        } else {
            job();
        }
    }
}
