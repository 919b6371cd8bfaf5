//! Small numbers, each handed out to one at a time.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Deref;
use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::once::{self, Once};
use super::place::Place;
use super::{RecipeError, Tenure};
use crate::client::{Client, Created};
use crate::error::ClientError;
use crate::operation::{Acl, CreateMode};

/// Hands out the numbers below a bound, at a path that all use who must not share one.
///
/// A number comes back when its session ends. Its former owner may not know that yet: what is marked
/// with it needs the token too, or the reservations of a [`Snowflake`](super::Snowflake).
#[derive(Clone, Debug)]
pub struct WorkerIds {
    claims: Place,
    receipts: Place,
    pub(super) marks: Place,
    bound: u32,
}

impl WorkerIds {
    /// The numbers below `bound` at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str, bound: u32) -> Self {
        let place = Place::new(client, path);
        let [claims, receipts, marks] =
            ["claims", "receipts", "marks"].map(|name| Place::new(client, &place.child(name)));
        Self { claims, receipts, marks, bound }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        for place in [&mut self.claims, &mut self.receipts, &mut self.marks] {
            place.acl.clone_from(&acl);
        }
        self
    }

    /// Takes a number that nobody has. Blocks for the requests that this takes; fails with
    /// [`RecipeError::NoneFree`] where all are taken.
    pub fn claim(&self, deadline: Instant) -> Result<WorkerId, RecipeError> {
        self.claim_but(&[], deadline)
    }

    /// One that is not among those that were found unfit.
    pub(super) fn claim_but(
        &self,
        unfit: &[u32],
        deadline: Instant,
    ) -> Result<WorkerId, RecipeError> {
        loop {
            let taken: BTreeSet<String> = self.claims.names(false, deadline)?.into_iter().collect();
            // Those that come at once begin at different places.
            let random = RandomState::new().build_hasher().finish() as u32;
            let first = random.checked_rem(self.bound).ok_or(RecipeError::NoneFree)?;
            let ids = (first..self.bound).chain(0..first);
            let mut was_free = false;
            for id in ids.filter(|id| !unfit.contains(id) && !taken.contains(&id.to_string())) {
                was_free = true;
                if let Some(worker) = self.claim_one(id, deadline)? {
                    return Ok(worker);
                }
            }
            if !was_free {
                return Err(RecipeError::NoneFree);
            }
        }
    }

    /// `None`: another one was faster.
    fn claim_one(&self, id: u32, deadline: Instant) -> Result<Option<WorkerId>, RecipeError> {
        let path = self.claims.child(&id.to_string());
        loop {
            match once::claim(&self.receipts, &path, b"", &self.claims.acl, deadline)? {
                // Node and receipt are of one transaction and one session.
                Once::Applied(stat) => {
                    let tenure = Tenure::begin(&self.claims.client, &Created { path, stat });
                    let worker = WorkerId { claims: self.claims.clone(), id, tenure };
                    worker.tenure.take_office(deadline)?;
                    return Ok(Some(worker));
                }
                Once::Refused(0, ErrorCode::NodeExists) => return Ok(None),
                Once::Refused(_, ErrorCode::NoNode) => {
                    for place in [&self.claims, &self.receipts, &self.marks] {
                        place.make_as(&place.path, CreateMode::Persistent, deadline)?;
                    }
                }
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
        }
    }
}

/// A number that is ours. Dropped, it is given back in the background, which does not block.
#[derive(Debug)]
pub struct WorkerId {
    claims: Place,
    id: u32,
    tenure: Tenure,
}

impl WorkerId {
    /// The number.
    pub fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn claims(&self) -> &Place {
        &self.claims
    }

    /// Gives the number back. Blocks; at the deadline it goes on in the background.
    /// [`RecipeError::Lost`]: it was lost before.
    pub fn release(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.tenure.refuse_inside_callback()?; // else its drop would find it given up
        self.tenure.hold()?;
        self.tenure.end();
        self.tenure.delete(deadline)
    }
}

impl Drop for WorkerId {
    fn drop(&mut self) {
        if self.tenure.hold().is_ok() {
            self.tenure.end();
            self.tenure.remove();
        }
    }
}

impl Deref for WorkerId {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        &self.tenure
    }
}
