//! A few at a time.

use std::ops::Deref;
use std::time::Instant;

use super::contender::Contender;
use super::place::Place;
use super::{Lock, RecipeError, Tenure};
use crate::client::Client;
use crate::operation::Acl;

/// As Curator's `InterProcessSemaphoreV2` names its nodes.
const MARKER: &str = "-lease-";

/// So many permits at a path, as all who use it must agree.
///
/// Who wants one takes a lock first, so that one at a time waits for a permit: a release wakes that
/// one, and the next in line after it. Curator's `InterProcessSemaphoreV2` at the same path contends
/// with it.
#[derive(Clone, Debug)]
pub struct Semaphore {
    line: Lock,
    leases: Place,
    permits: usize,
}

impl Semaphore {
    /// `permits` at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str, permits: usize) -> Self {
        let place = Place::new(client, path);
        let line = Lock::new(client, &place.child("locks"));
        Self { line, leases: Place::new(client, &place.child("leases")), permits }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.line = self.line.with_acl(acl.clone());
        self.leases.acl = acl;
        self
    }

    /// Waits for a permit, in order. Blocks.
    pub fn acquire(&self, deadline: Instant) -> Result<Permit, RecipeError> {
        let turn = self.line.acquire(deadline)?;
        let contender = Contender::enter(&self.leases, MARKER, b"", deadline)?;
        contender.wait_among(self.permits, deadline)?;
        drop(turn); // the next one may look, which nobody has to wait for
        Ok(Permit { contender })
    }
}

/// A permit that is held. Dropped, it is given back in the background, which does not block.
#[derive(Debug)]
pub struct Permit {
    contender: Contender,
}

impl Permit {
    /// Gives the permit back. Blocks; at the deadline it goes on in the background.
    pub fn release(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.leave(deadline)
    }
}

impl Deref for Permit {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        self.contender.tenure()
    }
}
