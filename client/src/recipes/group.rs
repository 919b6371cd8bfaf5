//! Who is there: group membership, and a directory of services on top of it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::follow::{self, Follow};
use super::once::{self, Once};
use super::place::Place;
use super::roster::Roster;
use super::signal::look_until;
use super::{FencingToken, RecipeError, Tenure, persist};
use crate::client::{Client, Created};
use crate::error::ClientError;
use crate::operation::Acl;

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, which is unique in the group.
    pub name: String,
    /// What it says of itself.
    pub data: Vec<u8>,
    /// Grows from one who has the name to the next.
    pub token: FencingToken,
    pub(super) mzxid: i64,
}

/// A group at a path: its members' names are those of the ephemeral nodes there.
#[derive(Clone, Debug)]
pub struct Group {
    place: Place,
    receipts: Place,
}

impl Group {
    /// The group at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self::at(Place::new(client, path))
    }

    /// Whose receipts are among the members, as there is no other place that it may write to.
    fn at(place: Place) -> Self {
        Self { receipts: place.clone(), place }
    }

    /// Whose receipts are elsewhere.
    pub(super) fn beside(place: Place, receipts: Place) -> Self {
        Self { place, receipts }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl.clone_from(&acl);
        self.receipts.acl = acl;
        self
    }

    /// Becomes a member. Blocks. Where the name is taken, by a former session of this member perhaps, it
    /// waits for it, and fails with [`RecipeError::Taken`] at the deadline.
    pub fn join(
        &self,
        name: &str,
        data: &[u8],
        deadline: Instant,
    ) -> Result<Membership, RecipeError> {
        let (client, path) = (&self.place.client, self.place.child(name));
        loop {
            match once::claim(&self.receipts, &path, data, &self.place.acl, deadline)? {
                // Node and receipt are of one transaction and one session.
                Once::Applied(stat) => {
                    let tenure = Tenure::begin(client, &Created { path, stat });
                    let membership = Membership { tenure };
                    membership.tenure.take_office(deadline)?;
                    return Ok(membership);
                }
                Once::Refused(0, ErrorCode::NodeExists) => {}
                Once::Refused(_, ErrorCode::NoNode) => {
                    self.place.make(deadline)?;
                    self.receipts.make(deadline)?;
                    continue;
                }
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
            let gone = look_until(client, &[&path], deadline, || {
                match persist(client, deadline, |client| client.get(&path, true)) {
                    Ok(_taken) => Ok(None),
                    Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => {
                        Ok(Some(()))
                    }
                    Err(error) => Err(error),
                }
            });
            match gone {
                Err(RecipeError::Deadline) => return Err(RecipeError::Taken { path }),
                gone => gone?,
            }
        }
    }

    /// Follows the members from now on. Does not block.
    pub fn follow(&self) -> GroupView {
        let (client, path) = (self.place.client.clone(), &self.place.path);
        GroupView { roster: Roster::follow(&client, path), client, next: AtomicUsize::new(0) }
    }
}

/// Being a member. Dropped, it leaves in the background, which does not block.
#[derive(Debug)]
pub struct Membership {
    pub(super) tenure: Tenure,
}

impl Membership {
    /// Leaves, and returns when that is done. Blocks; at the deadline it goes on in the background.
    /// [`RecipeError::Lost`]: it was lost before.
    pub fn leave(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.tenure.refuse_inside_callback()?; // else its drop would find it given up
        self.tenure.hold()?;
        self.tenure.end();
        self.tenure.delete(deadline)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.tenure.hold().is_ok() {
            self.tenure.end();
            self.tenure.remove();
        }
    }
}

impl Deref for Membership {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        &self.tenure
    }
}

/// The members of a group, kept here and renewed when they change. While no server serves the session
/// it keeps those it has: [`GroupView::is_current`].
pub struct GroupView {
    client: Client,
    roster: Arc<Roster>,
    next: AtomicUsize,
}

impl std::fmt::Debug for GroupView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupView").field("members", &self.members()).finish_non_exhaustive()
    }
}

impl GroupView {
    /// Those who are there, by name; none before the first read. Does not block.
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.roster.followed().value()
    }

    /// One of them, each in its turn, so that the load is spread. Does not block.
    pub fn pick(&self) -> Option<Member> {
        let members = self.members();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        members.get(turn.checked_rem(members.len())?).cloned()
    }

    /// Whether a server serves the session, so that a change is pushed. Does not block.
    pub fn is_current(&self) -> bool {
        self.client.is_connected()
    }

    /// Calls back with all members when they change, on the client's reader thread: it must not block.
    /// What is known already is not told: set the callback first, then [`GroupView::members`].
    pub fn on_change(&self, mut callback: impl FnMut(&[Member]) + Send + 'static) {
        self.roster.followed().on_change(move |members| callback(members));
    }

    /// How many states were seen; 0 before the first. Does not block.
    pub fn revision(&self) -> u64 {
        self.roster.followed().revision()
    }

    /// Waits for a state beyond that revision, and returns its revision: with 0 for the first. Blocks.
    pub fn wait_beyond(&self, revision: u64, deadline: Instant) -> Result<u64, RecipeError> {
        self.roster.followed().wait_beyond(revision, deadline)
    }
}

impl Drop for GroupView {
    fn drop(&mut self) {
        self.roster.end();
    }
}

/// Services by name, and who offers them: a group for each service, below one path.
#[derive(Clone, Debug)]
pub struct ServiceDirectory {
    place: Place,
}

impl ServiceDirectory {
    /// The directory at `path`. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self { place: Place::new(client, path) }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    fn group(&self, service: &str) -> Group {
        let place = Place { path: self.place.child(service), ..self.place.clone() };
        Group::at(place)
    }

    /// Offers a service under the name of an instance; `data` says where it is, in a form that those who
    /// use it know. Blocks, as [`Group::join`] does.
    pub fn register(
        &self,
        service: &str,
        instance: &str,
        data: &[u8],
        deadline: Instant,
    ) -> Result<Membership, RecipeError> {
        self.group(service).join(instance, data, deadline)
    }

    /// Follows who offers a service. Does not block.
    pub fn follow(&self, service: &str) -> ServiceView {
        self.group(service).follow()
    }
}

/// Who offers a service: the members of its group.
pub type ServiceView = GroupView;

impl Roster {
    fn follow(client: &Client, path: &str) -> Arc<Self> {
        let roster = Self::new(client, path);
        follow::poke(&roster);
        roster
    }
}
