//! Who leads: the one whose node has the smallest counter, until it goes.
//!
//! Candidates wait in line as for a lock. Their nodes hold who they are, so that those who do not
//! lead can see who does.

use std::ops::Deref;
use std::time::{Duration, Instant};

use farwatch_core::wire::ErrorCode;

use super::contender::{Contender, line, one_at_a_time};
use super::leader_view::LeaderView;
use super::place::Place;
use super::{FencingToken, RecipeError, Tenure, bounded, lock, persist};
use crate::client::Client;
use crate::error::ClientError;
use crate::operation::Acl;

/// As Curator's `LeaderLatch` names its nodes.
const LATCH_MARKER: &str = "-latch-";

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What it called itself.
    pub id: Vec<u8>,
    /// The token of its leadership.
    pub token: FencingToken,
}

/// Reads who leads.
fn leader(place: &Place, deadline: Instant) -> Result<Option<Leader>, RecipeError> {
    loop {
        let Some(first) = line(place.names(false, deadline)?).into_iter().next() else {
            return Ok(None);
        };
        let path = place.child(&first.name);
        match persist(&place.client, deadline, |client| client.get(&path, false)) {
            Ok(node) => {
                let token = FencingToken(node.stat.czxid);
                return Ok(Some(Leader { id: node.data.unwrap_or_default(), token }));
            }
            // It went meanwhile: there is another first.
            Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => {}
            Err(error) => return Err(error),
        }
    }
}

/// An election at a path in which the winner leads until it resigns or is lost. Curator's
/// `LeaderLatch` at the same path takes part.
#[derive(Clone, Debug)]
pub struct LeaderLatch {
    place: Place,
}

impl LeaderLatch {
    /// The election at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self { place: Place::new(client, path) }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// Stands for election; `id` tells the others who this is. Blocks until the candidate is in
    /// line, not until it leads.
    pub fn join(&self, id: &[u8], deadline: Instant) -> Result<Candidate, RecipeError> {
        Ok(Candidate { contender: Contender::enter(&self.place, LATCH_MARKER, id, deadline)? })
    }

    /// Who leads now, also for those who do not take part. Blocks.
    pub fn leader(&self, deadline: Instant) -> Result<Option<Leader>, RecipeError> {
        leader(&self.place, deadline)
    }

    /// Follows who leads from now on, also for those who do not take part. Does not block.
    pub fn follow(&self) -> LeaderView {
        LeaderView::open(&self.place.client, &self.place.path)
    }
}

/// One that stands for election. Dropped, it steps back in the background.
#[derive(Debug)]
pub struct Candidate {
    contender: Contender,
}

impl Candidate {
    /// Waits until this one leads. Blocks. After [`RecipeError::Deadline`] it is in line still.
    pub fn wait(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.wait_turn(one_at_a_time, deadline)
    }

    /// As [`Candidate::wait`], for those in front no longer than `patience`, which may be zero: then it asks
    /// whether it is this one's turn. Blocks; `deadline` bounds all of it, the requests included.
    pub fn wait_for(&self, patience: Duration, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.wait_turn_until(one_at_a_time, bounded(patience, deadline), deadline)
    }

    /// Waits until this one leads, and makes it the handle of that. Blocks. At an error it steps back.
    pub fn lead(self, deadline: Instant) -> Result<Leadership, RecipeError> {
        self.wait(deadline)?;
        Ok(Leadership { contender: self.contender })
    }

    /// Who leads now: this one, or the one that it lost to. Blocks.
    pub fn leader(&self, deadline: Instant) -> Result<Option<Leader>, RecipeError> {
        leader(self.contender.place(), deadline)
    }

    /// Whether this one leads, as far as the leader that [`Candidate::leader`] told of is it.
    pub fn is(&self, leader: &Leader) -> bool {
        leader.token == self.contender.tenure().token()
    }

    /// Steps back. Blocks; at the deadline it goes on in the background. Who waits with this one, on
    /// another thread, is told [`RecipeError::Lost`].
    pub fn withdraw(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.leave(deadline)
    }
}

impl Deref for Candidate {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        self.contender.tenure()
    }
}

/// Leadership that was won. Dropped, it is given up in the background.
#[derive(Debug)]
pub struct Leadership {
    contender: Contender,
}

impl Leadership {
    /// Lets the next candidate lead: also what a leader does that cannot reach what it needs for its
    /// work. Blocks; at the deadline it goes on in the background.
    pub fn resign(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.leave(deadline)
    }
}

impl Deref for Leadership {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        self.contender.tenure()
    }
}

/// An election at a path in which each leads for as long as a closure of its runs. Curator's
/// `LeaderSelector` at the same path takes part.
#[derive(Clone, Debug)]
pub struct LeaderSelector {
    place: Place,
    id: Vec<u8>,
}

/// How a round of a [`LeaderSelector`] went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election<T> {
    /// We led, and this is what came of it.
    Won(T),
    /// This one led at the deadline; we are not in line any more.
    Lost(Leader),
}

impl LeaderSelector {
    /// For the election at `path`; `id` tells the others who this is. Does not block.
    pub fn new(client: &Client, path: &str, id: &[u8]) -> Self {
        Self { place: Place::new(client, path), id: id.to_vec() }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// Who this is to the others.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// Waits until this one leads, runs `work` on this thread and resigns. Who has not won by the
    /// deadline learns who has: as [`LeaderSelector::lead`]. Blocks: until then, or for as long as
    /// `work` does.
    ///
    /// `work` must end when its [`Leadership`] is lost; the result of one that did not notice is
    /// returned all the same.
    pub fn run<T>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Leadership) -> T,
    ) -> Result<Election<T>, RecipeError> {
        Ok(match self.lead(deadline)? {
            // The drop resigns, without waiting.
            Election::Won(leadership) => Election::Won(work(&leadership)),
            Election::Lost(leader) => Election::Lost(leader),
        })
    }

    /// Waits until this one leads, which it does until it resigns. Who has not won by the deadline is
    /// in line no more and learns who has, for which it may wait a session timeout more. Blocks.
    pub fn lead(&self, deadline: Instant) -> Result<Election<Leadership>, RecipeError> {
        let led = Contender::enter(&self.place, lock::MARKER, &self.id, deadline).and_then(|it| {
            it.wait_turn(one_at_a_time, deadline)?;
            Ok(Leadership { contender: it })
        });
        match led {
            Ok(leadership) => Ok(Election::Won(leadership)),
            Err(RecipeError::Deadline) => {
                let patience = self.place.client.session_timeout();
                match leader(&self.place, Instant::now() + patience)? {
                    Some(leader) => Ok(Election::Lost(leader)),
                    None => Err(RecipeError::Deadline),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Who leads now. Blocks.
    pub fn leader(&self, deadline: Instant) -> Result<Option<Leader>, RecipeError> {
        leader(&self.place, deadline)
    }

    /// Follows who leads from now on. Does not block.
    pub fn follow(&self) -> LeaderView {
        LeaderView::open(&self.place.client, &self.place.path)
    }
}
