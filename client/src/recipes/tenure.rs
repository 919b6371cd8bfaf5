//! Whether what was taken is held still: a node of ours, and the session that it lives by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use farwatch_core::zxid::SessionId;

use super::protected::Named;
use super::signal::Signal;
use super::{FencingToken, RecipeError};
use crate::client::{Client, Created, LeaseHold, Subscription, WeakClient, guarded};
use crate::error::ClientError;
use crate::event::{NodeEventKind, SessionState};
use crate::operation::Operation;
use crate::outcome::Outcome;
use farwatch_core::wire::ErrorCode;

/// How it stands with something that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A server serves the session.
    Held,
    /// No server serves the session at the moment, or one that can only read: without a leader it keeps no
    /// session alive. It may come back as `Held` or as `Lost`.
    Suspended,
    /// The session has expired or was closed, or the node was deleted. Final, and told once.
    Lost,
}

impl Standing {
    fn of(state: SessionState) -> Self {
        match state {
            SessionState::Connected => Self::Held,
            // Behind a credential that it refuses a server closes.
            SessionState::ConnectedReadOnly
            | SessionState::AuthFailed
            | SessionState::Disconnected => Self::Suspended,
            SessionState::Expired | SessionState::Closed => Self::Lost,
        }
    }
}

type Callback = Box<dyn FnMut(Standing) + Send>;

struct State {
    standing: Standing,
    /// What the callbacks know; the reader thread alone tells them.
    told: Standing,
    /// Given up by us: nothing is told any more.
    is_over: bool,
    /// The node has a watch, which each of its events uses up.
    is_watching: bool,
    callbacks: Vec<Callback>,
}

/// Shared with listeners; knows no client, so that it keeps none alive.
struct Watched {
    owner: SessionId,
    token: FencingToken,
    state: Mutex<State>,
    /// Raised when something is worth looking at again.
    signal: Arc<Signal>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once it is lost.
    fn hold(&self) -> Result<(), RecipeError> {
        if self.lock().standing == Standing::Lost { Err(RecipeError::Lost) } else { Ok(()) }
    }

    /// Takes a new standing, unless the last one was final.
    fn turn(&self, standing: Standing) {
        let mut state = self.lock();
        if state.standing == standing || state.standing == Standing::Lost {
            return;
        }
        state.standing = standing;
        drop(state);
        self.signal.raise();
    }

    /// Tells of the standing. Only on the reader thread: so callbacks come on one thread, and one after
    /// the other. Nothing is locked while they run or are dropped.
    fn tell(&self) {
        let mut state = self.lock();
        while state.told != state.standing && !state.is_over {
            let standing = state.standing;
            state.told = standing;
            let mut callbacks = std::mem::take(&mut state.callbacks);
            drop(state);
            callbacks.iter_mut().for_each(|callback| guarded(|| callback(standing)));
            state = self.lock();
            if standing != Standing::Lost && !state.is_over {
                callbacks.append(&mut state.callbacks); // those that were added meanwhile
                state.callbacks = std::mem::take(&mut callbacks);
            }
            drop(state);
            drop(callbacks);
            state = self.lock();
        }
    }
}

/// What is seen of a tenure, which ends with its own handle, whoever looks.
pub(super) struct Sight {
    path: String,
    watched: Arc<Watched>,
}

impl std::fmt::Debug for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sight").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sight {
    /// Raised at each change of standing.
    pub(super) fn signal(&self) -> &Arc<Signal> {
        &self.watched.signal
    }

    /// Fails once it is lost, or given up.
    pub(super) fn hold(&self) -> Result<(), RecipeError> {
        self.watched.hold()
    }

    /// The node, relative to the chroot.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The fencing token.
    pub(super) fn token(&self) -> FencingToken {
        self.watched.token
    }
}

/// The part of every handle that knows whether it is held still. Does not block.
pub struct Tenure {
    client: Client,
    path: String,
    token: FencingToken,
    watched: Arc<Watched>,
    lease: Mutex<Option<LeaseHold>>,
    _subscriptions: [Subscription; 2],
}

impl std::fmt::Debug for Tenure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenure")
            .field("path", &self.path)
            .field("token", &self.token)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}

impl Tenure {
    /// Of an ephemeral node that was just created.
    pub(super) fn begin(client: &Client, created: &Created) -> Self {
        let watched = Arc::new(Watched {
            owner: SessionId(created.stat.ephemeral_owner as u64),
            token: FencingToken(created.stat.czxid),
            state: Mutex::new(State {
                standing: Standing::Held,
                told: Standing::Held,
                is_over: false,
                is_watching: false,
                callbacks: Vec::new(),
            }),
            signal: Arc::default(),
        });
        // Locked, so that the listener cannot change what it has not found here yet.
        let mut state = watched.lock();
        let (on_session, last) = client.on_session({
            let watched = Arc::clone(&watched);
            move |state| {
                watched.turn(Standing::of(state));
                watched.tell();
            }
        });
        let is_another = client.session().is_none_or(|session| session.id != watched.owner);
        state.standing = if is_another { Standing::Lost } else { Standing::of(last) };
        state.told = state.standing;
        drop(state);
        let on_node = client.on_node(&created.path, {
            let (watched, client) = (Arc::clone(&watched), client.downgrade());
            move |event| {
                if event.kind == NodeEventKind::NodeDeleted {
                    watched.turn(Standing::Lost);
                    watched.tell();
                } else if watched.lock().is_watching {
                    look(&client, &event.path, &watched);
                }
            }
        });
        Self {
            client: client.clone(),
            path: created.path.clone(),
            token: FencingToken(created.stat.czxid),
            watched,
            lease: Mutex::new(None),
            _subscriptions: [on_session, on_node],
        }
    }

    /// Raised at each change of standing.
    pub(super) fn signal(&self) -> &Arc<Signal> {
        &self.watched.signal
    }

    /// From now on it matters: the lease is kept fresh, and a deletion of the node is noticed.
    pub(super) fn take_office(&self, deadline: Instant) -> Result<(), RecipeError> {
        let lease = self.client.hold_lease();
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
        self.watched.lock().is_watching = true;
        look(&self.client.downgrade(), &self.path, &self.watched);
        while self.lease_valid_until().is_none_or(|until| until <= Instant::now()) {
            super::persist(&self.client, deadline, |client| client.sync(&self.path))?;
            self.hold()?;
        }
        Ok(())
    }

    /// Fails once it is lost.
    pub(super) fn hold(&self) -> Result<(), RecipeError> {
        self.watched.hold()
    }

    /// For who looks whether it is held, and holds it not.
    pub(super) fn sight(&self) -> Sight {
        Sight { path: self.path.clone(), watched: Arc::clone(&self.watched) }
    }

    pub(super) fn refuse_inside_callback(&self) -> Result<(), RecipeError> {
        Ok(self.client.refuse_inside_callback()?)
    }

    /// The node was found missing, by a call. It is lost from here on; the reader tells of it when it
    /// finds the same.
    pub(super) fn lose(&self) {
        self.watched.turn(Standing::Lost);
        look(&self.client.downgrade(), &self.path, &self.watched);
    }

    /// Deletes the node, in the background.
    pub(super) fn remove(&self) {
        self.named().remove(&self.client.downgrade());
    }

    /// Deletes the node, and waits for it; at the deadline it goes on in the background.
    pub(super) fn delete(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.named().delete(&self.client, deadline).map_err(lost_with_the_session)
    }

    fn named(&self) -> Named {
        let session = Some(self.watched.owner);
        Named { session, path: self.path.clone(), token: self.token }
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        self.watched.lock().standing
    }

    /// The fencing token: pass it with every use of what is guarded.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The node, relative to the chroot.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is held by the session of this client, or of one that it was cloned from.
    pub fn is_of(&self, client: &Client) -> bool {
        self.client.is(client)
    }

    /// Until when this cannot have passed to anybody else, on this process's monotonic clock; it
    /// moves on while a server confirms the session. `None` when nothing is certain any more.
    ///
    /// It holds while the clocks of this machine and the leader's run about equally fast, and this
    /// machine does not sleep. What must hold beyond that is held by the [`FencingToken`].
    pub fn lease_valid_until(&self) -> Option<Instant> {
        if self.standing() == Standing::Lost { None } else { self.client.lease_valid_until() }
    }

    /// The token, if it is certain at this moment that nobody else can hold this.
    pub fn check(&self) -> Result<FencingToken, RecipeError> {
        self.hold()?;
        match self.lease_valid_until() {
            Some(until) if Instant::now() < until => Ok(self.token),
            Some(_) | None => Err(RecipeError::LeaseOver),
        }
    }

    /// Calls back at each change of standing, on the client's reader thread: it must not block. When
    /// it is lost already, that is told at once, on this thread. [`Standing::Lost`] is told once, and
    /// nothing after it; a release is not told.
    pub fn on_change(&self, mut callback: impl FnMut(Standing) + Send + 'static) {
        let mut state = self.watched.lock();
        if state.told == Standing::Lost {
            drop(state);
            callback(Standing::Lost);
        } else if state.is_over {
            drop(state); // before the callback is, which nobody will call
        } else {
            state.callbacks.push(Box::new(callback));
        }
    }

    /// It is given up by us: nothing of it is told any more.
    pub(super) fn end(&self) {
        let mut state = self.watched.lock();
        let callbacks = std::mem::take(&mut state.callbacks);
        (state.standing, state.is_over) = (Standing::Lost, true);
        drop(state);
        self.watched.signal.raise();
        drop(callbacks);
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(lease);
    }
}

/// Nothing is told of a handle that is gone, though it was lost before and that is on its way.
impl Drop for Tenure {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whoever has a node loses it with the session.
pub(super) fn lost_with_the_session(error: RecipeError) -> RecipeError {
    match error {
        RecipeError::Client(ClientError::SessionExpired) => RecipeError::Lost,
        error => error,
    }
}

/// Reads the node, and sets the watch anew; tells of what is known then. The node of another create, at
/// the same path, is not this one.
fn look(client: &WeakClient, path: &str, watched: &Arc<Watched>) {
    let Some(strong) = client.upgrade() else { return };
    let (again, own_path, own) = (client.clone(), path.to_owned(), Arc::clone(watched));
    let read = Operation::GetData { path: path.to_owned(), watch: true };
    let completion = move |result: Result<Outcome, ClientError>| {
        match result {
            Ok(Outcome::Data { stat, .. }) if stat.czxid != own.token.0 => {
                own.turn(Standing::Lost);
            }
            Err(ClientError::Server(ErrorCode::NoNode)) => own.turn(Standing::Lost),
            Err(error) if error.is_passing() => {
                return again.clone().again(move || look(&again, &own_path, &own));
            }
            Ok(_) | Err(_) => {} // an end of the session is told by itself
        }
        own.tell();
    };
    if let Err(error) = strong.submit_beyond_limits(&read, Box::new(completion)) {
        tracing::debug!(%error, "a held node is not watched");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_leader_holds_nothing() {
        assert_eq!(Standing::of(SessionState::Connected), Standing::Held);
        let states = [SessionState::ConnectedReadOnly, SessionState::Disconnected];
        assert_eq!(states.map(Standing::of), [Standing::Suspended; 2]);
    }
}
