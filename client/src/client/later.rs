//! What is asked again in the background, by the reader thread.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{WeakClient, guarded};

/// Before a server is asked again that may be able to answer soon.
const PAUSE: Duration = Duration::from_millis(100);

type Job = Box<dyn FnOnce() + Send>;

/// What waits, and until when.
#[derive(Default)]
pub(super) struct Later(Mutex<Vec<(Instant, Job)>>);

impl Later {
    fn jobs(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Job)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it is until there is something to do.
    pub(super) fn left(&self) -> Option<Duration> {
        let now = Instant::now();
        self.jobs().iter().map(|(at, _job)| at.saturating_duration_since(now)).min()
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
        self.later(PAUSE, job);
    }

    /// The same after another pause.
    pub(crate) fn later(&self, pause: Duration, job: impl FnOnce() + Send + 'static) {
        let Some(client) = self.upgrade() else { return };
        if client.is_connected() {
            client.handle.shared.later.jobs().push((Instant::now() + pause, Box::new(job)));
        } else {
            job();
        }
    }
}
