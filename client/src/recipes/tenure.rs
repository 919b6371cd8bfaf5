//! Whether what was taken is held still: a node of ours, and the session that it lives by.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use farwatch_core::zxid::SessionId;

use super::{FencingToken, RecipeError};
use crate::client::{Client, Created, LeaseHold, Subscription, WeakClient, guarded};
use crate::error::ClientError;
use crate::event::{NodeEventKind, SessionState};
use crate::operation::Operation;
use farwatch_core::wire::ErrorCode;

/// How it stands with something that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A server serves the session.
    Held,
    /// No server serves the session at the moment. It may come back as `Held` or as `Lost`.
    Suspended,
    /// The session has expired or was closed, or the node was deleted. Final, and told once.
    Lost,
}

impl Standing {
    fn of(state: SessionState) -> Self {
        match state {
            SessionState::Connected
            | SessionState::ConnectedReadOnly
            | SessionState::AuthFailed => Self::Held,
            SessionState::Disconnected => Self::Suspended,
            SessionState::Expired | SessionState::Closed => Self::Lost,
        }
    }
}

type Callback = Box<dyn FnMut(Standing) + Send>;

struct State {
    standing: Standing,
    /// What the callbacks know; they are told of it by one thread at a time.
    told: Standing,
    is_telling: bool,
    /// Given up by us: nothing is told any more.
    is_over: bool,
    /// How often something was worth looking at again.
    raised: u64,
    callbacks: Vec<Callback>,
}

/// Shared with listeners; knows no client, so that it keeps none alive.
pub(super) struct Watched {
    owner: SessionId,
    state: Mutex<State>,
    changed: Condvar,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn raise(&self) {
        self.lock().raised += 1;
        self.changed.notify_all();
    }

    pub(super) fn raised(&self) -> u64 {
        self.lock().raised
    }

    /// Waits until something was raised beyond `seen`. Returns whether that came in time.
    pub(super) fn wait_beyond(&self, seen: u64, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.raised <= seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Takes a new standing, unless the last one was final, and tells of it without a lock held.
    fn turn(&self, standing: Standing) {
        let mut state = self.lock();
        if state.standing == standing || state.standing == Standing::Lost {
            return;
        }
        state.standing = standing;
        state.raised += 1;
        self.changed.notify_all();
        if state.is_telling {
            return; // whoever does sees it
        }
        state.is_telling = true;
        while state.told != state.standing && !state.is_over {
            let standing = state.standing;
            state.told = standing;
            let mut callbacks = std::mem::take(&mut state.callbacks);
            drop(state);
            callbacks.iter_mut().for_each(|callback| guarded(|| callback(standing)));
            state = self.lock();
            if standing != Standing::Lost && !state.is_over {
                callbacks.append(&mut state.callbacks); // those that were added meanwhile
                state.callbacks = callbacks;
            }
        }
        state.is_telling = false;
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
            state: Mutex::new(State {
                standing: Standing::Held,
                told: Standing::Held,
                is_telling: false,
                is_over: false,
                raised: 0,
                callbacks: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        // Locked, so that the listener cannot change what it has not found here yet.
        let mut state = watched.lock();
        let (on_session, last) = client.on_session({
            let watched = Arc::clone(&watched);
            move |state| watched.turn(Standing::of(state))
        });
        let is_another = client.session().is_none_or(|session| session.id != watched.owner);
        state.standing = if is_another { Standing::Lost } else { Standing::of(last) };
        state.told = state.standing;
        drop(state);
        let on_node = client.on_node(&created.path, {
            let watched = Arc::clone(&watched);
            move |event| {
                if event.kind == NodeEventKind::NodeDeleted {
                    watched.turn(Standing::Lost);
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

    pub(super) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// From now on it matters: the lease is kept fresh, and a deletion of the node is noticed.
    pub(super) fn take_office(&self, deadline: Instant) -> Result<(), RecipeError> {
        let lease = self.client.hold_lease();
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
        self.watch_node();
        while self.lease_valid_until().is_none_or(|until| until <= Instant::now()) {
            super::persist(&self.client, deadline, |client| client.sync(&self.path))?;
            self.hold()?;
        }
        Ok(())
    }

    fn watch_node(&self) {
        let watched = Arc::clone(&self.watched);
        let (again, path) = (self.client.downgrade(), self.path.clone());
        watch_node(&again, path, watched);
    }

    /// Fails once it is lost.
    pub(super) fn hold(&self) -> Result<(), RecipeError> {
        if self.standing() == Standing::Lost { Err(RecipeError::Lost) } else { Ok(()) }
    }

    pub(super) fn refuse_inside_callback(&self) -> Result<(), RecipeError> {
        Ok(self.client.refuse_inside_callback()?)
    }

    /// The node was found missing.
    pub(super) fn lose(&self) {
        self.watched.turn(Standing::Lost);
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
        } else {
            state.callbacks.push(Box::new(callback));
        }
    }

    /// It is given up by us: nothing of it is told any more.
    pub(super) fn end(&self) {
        let mut state = self.watched.lock();
        let callbacks = std::mem::take(&mut state.callbacks);
        (state.standing, state.is_over) = (Standing::Lost, true);
        state.raised += 1;
        drop(state);
        self.watched.changed.notify_all();
        drop(callbacks);
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(lease);
    }
}

fn watch_node(client: &WeakClient, path: String, watched: Arc<Watched>) {
    let Some(strong) = client.upgrade() else { return };
    let again = client.clone();
    let look = Operation::GetData { path: path.clone(), watch: true };
    let asked = strong.submit(&look, move |result| match result {
        Err(ClientError::Server(ErrorCode::NoNode)) => watched.turn(Standing::Lost),
        Err(ClientError::ConnectionLoss { .. }) => watch_node(&again, path, watched),
        Ok(_) | Err(_) => {} // an end of the session is told by itself
    });
    if let Err(error) = asked {
        tracing::debug!(%error, "a held node is not watched");
    }
}
