//! One at a time.

use std::ops::Deref;
use std::time::{Duration, Instant};

use super::contender::{Contender, one_at_a_time};
use super::place::Place;
use super::{RecipeError, Tenure, bounded};
use crate::client::Client;
use crate::operation::Acl;

/// As Curator's `InterProcessMutex` names its nodes.
pub(super) const MARKER: &str = "-lock-";

/// An exclusive lock at a path: who holds it is the one whose node there has the smallest counter.
///
/// Curator's `InterProcessMutex` at the same path contends with it, and so does kazoo's `Lock` with
/// `extra_lock_patterns=["-lock-"]`; without, it does not see others than its own. It is fair and
/// not reentrant: a thread that takes it twice waits for itself.
#[derive(Clone, Debug)]
pub struct Lock {
    place: Place,
}

impl Lock {
    /// The lock at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self { place: Place::new(client, path) }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// Waits for the lock. Blocks.
    pub fn acquire(&self, deadline: Instant) -> Result<LockGuard, RecipeError> {
        self.acquire_as(b"", deadline)
    }

    /// As [`Lock::acquire`], with data that tells others who this is.
    pub fn acquire_as(&self, data: &[u8], deadline: Instant) -> Result<LockGuard, RecipeError> {
        let contender = Contender::enter(&self.place, MARKER, data, deadline)?;
        contender.wait_turn(one_at_a_time, deadline)?;
        Ok(LockGuard { contender })
    }

    /// Waits for the lock no longer than `patience`, which may be zero, and leaves nothing behind when
    /// it does not get it. Blocks; `deadline` bounds all of it, the requests included.
    pub fn try_acquire(
        &self,
        patience: Duration,
        deadline: Instant,
    ) -> Result<Option<LockGuard>, RecipeError> {
        let patient_until = bounded(patience, deadline);
        let contender = Contender::enter(&self.place, MARKER, b"", deadline)?;
        match contender.wait_turn_until(one_at_a_time, patient_until, deadline) {
            Ok(()) => Ok(Some(LockGuard { contender })),
            Err(RecipeError::Deadline) => {
                contender.leave(deadline)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A held lock. Dropped, it is released in the background, which does not block.
#[derive(Debug)]
pub struct LockGuard {
    contender: Contender,
}

impl LockGuard {
    pub(super) fn of(contender: Contender) -> Self {
        Self { contender }
    }

    /// Gives the lock up and returns when the next one can have it. Blocks. [`RecipeError::Lost`]: it
    /// was lost before. At the deadline it goes on in the background.
    pub fn release(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.leave(deadline)
    }
}

impl Deref for LockGuard {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        self.contender.tenure()
    }
}
