//! How old what a read shows may be, where its server is not the leader.
//!
//! A server that is behind answers from what it has. What makes its answer fresh is a `sync` before it:
//! then it shows everything that was acknowledged, to anybody, before the sync was sent. So the client
//! remembers when it sent the last sync on this connection that was answered, and sends another one,
//! right before the read, where that is too long ago. Both leave under one lock, so that they are
//! answered by one server or not at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farwatch_core::zxid::SessionId;

use super::{Client, Completion, State, link};
use crate::error::ClientError;
use crate::machine::{Refused, RequestId};
use crate::operation::Operation;
use crate::outcome::Outcome;

/// What a read may show at the oldest. `Freshness::default()` is whatever the server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The state of this transaction or a later one: `mzxid` or `czxid` of something that another
    /// client has seen.
    pub at_least: Option<i64>,
    /// A state of so long ago or later, by this machine's clock that never goes back. Zero: what was
    /// acknowledged before the read was asked for.
    pub at_most: Option<Duration>,
}

impl Freshness {
    /// What was acknowledged to anybody before the read was asked for.
    pub const NOW: Self = Self { at_least: None, at_most: Some(Duration::ZERO) };
}

/// A request's name, or its completion, which must not be dropped while the state is locked.
type Submitted = Result<RequestId, Refused<Completion>>;

/// The last sync that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Synced {
    /// On which connection, counted.
    link: u64,
    /// When it was asked for.
    asked: Instant,
}

impl Operation {
    /// Whether it shows a state of the tree and changes none: what a [`Freshness`] can be asked of.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::GetData { .. }
                | Self::Exists { .. }
                | Self::GetChildren { .. }
                | Self::GetAcl { .. }
                | Self::GetEphemerals { .. }
                | Self::GetAllChildrenNumber { .. }
                | Self::MultiRead { .. }
        )
    }
}

impl Client {
    /// The same session, whose reads, blocking and submitted, show nothing older than that. A read that
    /// cannot be answered so fails: with [`ClientError::Timeout`] or [`ClientError::ConnectionLoss`]
    /// where no leader can be asked, with [`ClientError::Stale`] where the transaction is not known there.
    pub fn with_freshness(&self, freshness: Freshness) -> Self {
        Self { freshness, ..self.clone() }
    }

    /// Asks for `operation`, and for a sync before it if it must be fresher than what the server is
    /// known to have.
    pub(super) fn submit_fresh(
        &self,
        operation: &Operation,
        completion: Completion,
    ) -> Result<RequestId, ClientError> {
        let mut state = self.handle.shared.lock();
        let submitted = self.submit_locked(&mut state, operation, completion);
        self.flush(state, submitted)
    }

    /// Asks for `operation`, however many requests wait: only for what gives back, or watches, what is
    /// held, so that there are no more of these than there are handles.
    pub(crate) fn submit_beyond_limits(
        &self,
        operation: &Operation,
        completion: Completion,
    ) -> Result<RequestId, ClientError> {
        self.submit_within(None, operation, completion)
    }

    /// The same, in that session and in none that has taken its place: there it fails with
    /// [`ClientError::SessionExpired`], as what waits when a session ends does.
    pub(crate) fn submit_within(
        &self,
        session: Option<SessionId>,
        operation: &Operation,
        completion: Completion,
    ) -> Result<RequestId, ClientError> {
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        let now = state.machine.session().map(|session| session.id);
        let submitted = if session.is_none() || session == now {
            state.machine.submit_beyond_limits(shared.now_ms(), operation, completion)
        } else {
            Err(Refused { error: ClientError::SessionExpired, context: completion })
        };
        self.flush(state, submitted)
    }

    /// The server shall not keep these watches, and no later one be told of them. Where there is no
    /// connection there is nothing to remove. It leaves with the next [`Client::send`].
    pub(super) fn forget_watch(&self, remove: &Operation) {
        let shared = &self.handle.shared;
        shared.lock().machine.forget_watch(shared.now_ms(), remove, Box::new(|_result| {}));
    }

    /// Sends what is to be sent.
    pub(super) fn send(&self) {
        let shared = &self.handle.shared;
        link::flush(shared, shared.lock());
    }

    /// A completion that was refused is dropped here, where nothing is locked any more: what it owns
    /// may ask this client something.
    fn flush(
        &self,
        state: MutexGuard<'_, State>,
        submitted: Submitted,
    ) -> Result<RequestId, ClientError> {
        link::flush_until(&self.handle.shared, state, link::after(self.request_timeout));
        submitted.map_err(|refused| refused.error)
    }

    fn submit_locked(
        &self,
        state: &mut State,
        operation: &Operation,
        completion: Completion,
    ) -> Submitted {
        let now_ms = self.handle.shared.now_ms();
        if self.freshness == Freshness::default() || !operation.is_read() {
            return state.machine.submit(now_ms, operation, completion);
        }
        let at_least = self.freshness.at_least.unwrap_or(0);
        let asked = Instant::now();
        if self.is_fresh(state, asked) {
            return state.machine.submit_at_least(now_ms, operation, at_least, completion);
        }
        let (note, completion) = self.behind_a_sync(asked, completion);
        let sync = Operation::Sync { path: "/".to_owned() };
        match state.machine.submit(now_ms, &sync, note) {
            Ok(_) => state.machine.submit_at_least(now_ms, operation, at_least, completion),
            Err(Refused { error, .. }) => Err(Refused { error, context: completion }),
        }
    }

    /// Whether what the server has is known to be fresh enough at `asked`.
    fn is_fresh(&self, state: &State, asked: Instant) -> bool {
        let Freshness { at_least, at_most } = self.freshness;
        let seen = state.machine.session().map_or(0, |session| session.last_zxid);
        let oldest = |age: Duration| asked.checked_sub(age).unwrap_or(asked);
        let is_connected = state.machine.is_connected();
        let synced = state.synced.filter(|synced| is_connected && synced.link == state.links);
        at_least.is_none_or(|zxid| zxid <= seen)
            && at_most.is_none_or(|age| synced.is_some_and(|synced| oldest(age) <= synced.asked))
    }

    /// The completion of a sync, and the read's, which is to be called behind it: a read that could not
    /// be made fresh has failed.
    fn behind_a_sync(&self, asked: Instant, completion: Completion) -> (Completion, Completion) {
        let unsynced = Arc::new(Mutex::new(None));
        let note = {
            let (unsynced, shared) = (Arc::clone(&unsynced), Arc::downgrade(&self.handle.shared));
            move |result: Result<Outcome, ClientError>| {
                if let Err(error) = result {
                    *unsynced.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                } else if let Some(shared) = shared.upgrade() {
                    // Whatever connection it was asked on: this one has answered it, as the next one
                    // begins when this thread has told all results.
                    let mut state = shared.lock();
                    state.synced = Some(Synced { link: state.links, asked });
                }
            }
        };
        let read = move |result| {
            let unsynced = unsynced.lock().unwrap_or_else(PoisonError::into_inner).take();
            completion(unsynced.map_or(result, Err));
        };
        (Box::new(note), Box::new(read))
    }
}
