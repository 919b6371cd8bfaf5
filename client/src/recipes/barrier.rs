//! Waiting until a way is free, and beginning and ending together.

use std::ops::Deref;
use std::time::Instant;

use farwatch_core::wire::{ErrorCode, Stat};

use super::contender::{Contender, Rival};
use super::place::Place;
use super::protected::Named;
use super::signal::{look_again_by, look_until};
use super::{FencingToken, RecipeError, Tenure, once, persist, persist_change};
use crate::client::{Client, Freshness};
use crate::error::ClientError;
use crate::operation::{ANY_VERSION, Acl, CreateMode, MultiOp};

/// A node that bars the way for as long as it is there. Curator's `DistributedBarrier` and kazoo's
/// `Barrier` at the same path are the same barrier.
#[derive(Clone, Debug)]
pub struct Barrier {
    place: Place,
}

impl Barrier {
    /// The barrier at `path`. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self { place: Place::new(client, path) }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// Bars the way; it may be barred already. The token grows from one barring to the next. It is
    /// not bound to the session: somebody has to lift it. Blocks for the requests that this takes. An error with
    /// `maybe_applied` leaves open whether the way is, or is going to be, barred.
    pub fn set(&self, deadline: Instant) -> Result<FencingToken, RecipeError> {
        let Place { client, path, acl } = &self.place;
        let bar = |client: &Client| match client.create(path, b"", acl, CreateMode::Persistent) {
            Err(ClientError::Server(ErrorCode::NodeExists)) => client.exists(path, false),
            made => Ok(Some(made?.stat)),
        };
        loop {
            match persist_change(client, deadline, bar) {
                Ok(Some(stat)) => return Ok(FencingToken(stat.czxid)),
                Ok(None) => {} // lifted meanwhile
                Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => {
                    self.place.make_above(CreateMode::Persistent, deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Frees the way for all that wait; it may be free already. Blocks for the requests that this takes. What bars
    /// it anew once it was free is left alone. An error with `maybe_applied` leaves open whether the way is,
    /// or is going to be, free.
    pub fn lift(&self, deadline: Instant) -> Result<(), RecipeError> {
        let Place { client, path, .. } = &self.place;
        let barred = persist(client, deadline, |client| {
            match client.with_freshness(Freshness::NOW).exists(path, false) {
                Err(ClientError::Server(ErrorCode::NotReadOnly)) => {
                    Err(ClientError::ConnectionLoss { maybe_applied: false })
                }
                found => found,
            }
        })?;
        barred.map_or(Ok(()), |stat| self.remove(FencingToken(stat.czxid), deadline))
    }

    /// Removes what bars the way, if it is the one of this token, and says of an error what it leaves open.
    fn remove(&self, token: FencingToken, deadline: Instant) -> Result<(), RecipeError> {
        let Place { client, path, .. } = &self.place;
        let bar = Named { session: None, path: path.clone(), token };
        let mut is_in_doubt = false;
        let removed = bar.delete_until_known(client, &mut is_in_doubt, deadline);
        removed.map_err(|error| if is_in_doubt { once::in_doubt(error) } else { error })
    }

    /// Waits until the way is free. Blocks. All that wait are woken by one event each.
    pub fn wait(&self, deadline: Instant) -> Result<(), RecipeError> {
        let (client, path) = (&self.place.client, &self.place.path);
        look_until(client, &[path], deadline, || {
            // Reading data, and not whether it exists, leaves no watch where there is no node.
            match persist(client, deadline, |client| client.get(path, true)) {
                Ok(_barred) => Ok(None),
                Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => Ok(Some(())),
                Err(error) => Err(error),
            }
        })
    }
}

/// Nobody begins before all are there, and nobody ends before all are done. The same members may meet at
/// one path round after round; where one has died, use a fresh path for the next round.
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    place: Place,
    members: usize,
}

impl DoubleBarrier {
    /// For so many members at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str, members: usize) -> Self {
        Self { place: Place::new(client, path), members }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// Waits until all members are there. Blocks. The last one wakes the others with one event each;
    /// at the deadline this one is a member no more.
    pub fn enter(&self, deadline: Instant) -> Result<Inside, RecipeError> {
        let contender = Contender::enter(&self.place, "-member-", b"", deadline)?;
        let (client, ready) = (&self.place.client, self.place.child(READY));
        look_again_by(contender.tenure().signal(), client, &[&ready], deadline, || {
            contender.tenure().hold()?;
            let sign = persist(client, deadline, |client| client.exists(&ready, true))?;
            // One of this round was made when all were there, and this one with them.
            if sign.is_some_and(|sign| contender.tenure().token().0 < sign.czxid) {
                return Ok(Some(()));
            }
            if self.gathered(&contender, sign.as_ref(), deadline)? < self.members {
                return Ok(None);
            }
            if sign.is_some() {
                return self.renew(&ready, deadline);
            }
            self.place.make_as(&ready, CreateMode::Persistent, deadline)?;
            Ok(Some(()))
        })?;
        contender.tenure().take_office(deadline)?;
        Ok(Inside { contender })
    }

    /// How many are there for the next round. Where a sign stands, those before it are of its own, and maybe at it yet;
    /// who came behind this one came behind the sign, too.
    fn gathered(
        &self,
        contender: &Contender,
        sign: Option<&Stat>,
        deadline: Instant,
    ) -> Result<usize, RecipeError> {
        let line = contender.line(deadline)?;
        let Some(sign) = sign else { return Ok(line.len()) };
        let own = line.iter().position(|rival| contender.is(rival)).unwrap_or_default();
        let (before, behind) = line.split_at(own);
        let mut gathered = behind.len();
        for rival in before {
            let path = self.place.child(&rival.name);
            let found =
                persist(&self.place.client, deadline, |client| client.exists(&path, false))?;
            gathered += usize::from(found.is_some_and(|found| sign.czxid < found.czxid));
        }
        Ok(gathered)
    }

    /// Puts a sign of this round in the place of one that was left behind, in one step, so that there is one for
    /// whoever looks. `None`: somebody else was faster, and the watch on it tells.
    fn renew(&self, ready: &str, deadline: Instant) -> Result<Option<()>, RecipeError> {
        let path = || ready.to_owned();
        let (acl, data) = (self.place.acl.clone(), Some(Vec::new()));
        let renewal = vec![
            MultiOp::Delete { path: path(), version: ANY_VERSION },
            MultiOp::Create { path: path(), data, acl, mode: CreateMode::Persistent },
        ];
        match persist(&self.place.client, deadline, |client| client.multi(renewal.clone())) {
            Ok(_) => Ok(Some(())),
            Err(RecipeError::Client(ClientError::MultiFailed {
                code: ErrorCode::NoNode, ..
            })) => Ok(None),
            Err(RecipeError::Client(ClientError::MultiFailed { code, .. })) => {
                Err(ClientError::Server(code).into())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whose creation says that all are there. Those who only drop their handles leave it behind.
const READY: &str = "ready";

/// A member between its begin and its end. Dropped, it leaves without waiting for the others.
#[derive(Debug)]
pub struct Inside {
    contender: Contender,
}

impl Inside {
    /// Leaves, and waits until all have, but for those that wait for the next round already. Blocks. At the deadline
    /// this one has left in any case.
    ///
    /// A member whose session ends has left with it.
    pub fn leave(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.tenure().refuse_inside_callback()?;
        let left = self.leave_in_order(deadline);
        if left.is_err() {
            self.contender.go();
        }
        left
    }

    fn leave_in_order(&self, deadline: Instant) -> Result<(), RecipeError> {
        let place = self.contender.place();
        let mut has_left = false;
        // Who leaves early may be back for the next round while others have yet to see the end of this.
        let mut round = self.contender.line(deadline)?;
        let sign = self.sign(deadline)?;
        loop {
            let (Some(first), Some(last)) = (round.first(), round.last()) else {
                // Gone with the first one, unless that died.
                let is_left = sign.is_some() && self.sign(deadline)? == sign;
                let Some(sign) = sign.filter(|_| is_left) else { return Ok(()) };
                let ready = Place { path: place.child(READY), ..place.clone() };
                return Barrier { place: ready }.remove(sign, deadline);
            };
            let is_first = self.contender.is(first);
            if is_first && self.contender.is(last) {
                return self.leave_last(deadline);
            }
            // The first one goes last, and sees all others go one by one; they wait for it alone.
            if !is_first && !has_left {
                self.contender.leave(deadline)?;
                has_left = true;
            }
            let awaited = if is_first { last } else { first };
            if !self.await_gone(awaited, sign, deadline)? {
                let next = awaited.counter;
                round.retain(|rival| rival.counter < next);
            }
            let line = self.contender.line(deadline)?;
            round.retain(|rival| line.contains(rival));
        }
    }

    /// The last sign that all were there.
    fn sign(&self, deadline: Instant) -> Result<Option<FencingToken>, RecipeError> {
        let place = self.contender.place();
        let ready = place.child(READY);
        let stat = persist(&place.client, deadline, |client| client.exists(&ready, false))?;
        Ok(stat.map(|stat| FencingToken(stat.czxid)))
    }

    /// Waits until that one has gone. `false`: it came behind the sign, and waits for the next one as those behind
    /// it do, with those perhaps who wait here.
    fn await_gone(
        &self,
        rival: &Rival,
        sign: Option<FencingToken>,
        deadline: Instant,
    ) -> Result<bool, RecipeError> {
        let place = self.contender.place();
        let path = place.child(&rival.name);
        look_until(&place.client, &[&path], deadline, || {
            match persist(&place.client, deadline, |client| client.get(&path, true)) {
                Ok(node) if sign.is_some_and(|sign| sign.0 < node.stat.czxid) => Ok(Some(false)),
                Ok(_inside) => Ok(None),
                Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => Ok(Some(true)),
                Err(error) => Err(error),
            }
        })
    }

    /// The last one takes the sign that all are there along, in one step: whoever begins the next round
    /// never sees it.
    fn leave_last(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.contender.retire()?;
        let place = self.contender.place();
        let delete = |path: String| MultiOp::Delete { path, version: ANY_VERSION };
        let own = self.contender.tenure().path();
        let both = vec![delete(place.child(READY)), delete(own.to_owned())];
        match persist(&place.client, deadline, |client| client.multi(both.clone())) {
            Ok(_) => Ok(()),
            // The answer to a first attempt was lost, or somebody removed the sign.
            Err(RecipeError::Client(ClientError::MultiFailed { .. })) => {
                self.contender.tenure().delete(deadline)
            }
            Err(error) => {
                self.contender.tenure().remove();
                Err(error)
            }
        }
    }
}

impl Deref for Inside {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        self.contender.tenure()
    }
}
