//! Following what changes, without a thread: reads with a watch, read again when the watch fires.
//!
//! ```text
//!   poke ──► look: read and set the watch ──► publish ──► callbacks
//!    ▲         ▲            │ connection lost     │ poked meanwhile
//!    │ event   └────────────┴─────────────────────┘
//! ```
//!
//! A look that a server refuses is told to those who wait, and tried again after a pause.
//!
//! Everything runs as completions on the client's reader thread, one look at a time. After a reconnect
//! the client arms the watches again, and what changed meanwhile fires them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::RecipeError;
use super::signal::Signal;
use crate::client::{Client, Subscription, WeakClient, guarded};
use crate::error::ClientError;
use crate::operation::Operation;
use crate::outcome::Outcome;

/// Before a look that was refused is tried again: rights may be given, and credentials added.
const RETRY: Duration = Duration::from_secs(1);

type Callback<T> = Box<dyn FnMut(&T) + Send>;

struct State<T> {
    value: Arc<T>,
    /// 0 before the first look has ended; grows with each change.
    revision: u64,
    /// Why the last look failed, where that is not the connection.
    error: Option<ClientError>,
    is_looking: bool,
    is_poked: bool,
    /// The last look was refused, and the next one is going to come by itself.
    is_retrying: bool,
    is_over: bool,
    callbacks: Vec<Callback<T>>,
    subscriptions: Vec<Subscription>,
}

/// A value that is followed, and who waits for it.
pub(super) struct Followed<T> {
    client: WeakClient,
    state: Mutex<State<T>>,
    /// Raised for those who wait.
    signal: Arc<Signal>,
}

impl<T: PartialEq + Send + Sync + 'static> Followed<T> {
    pub(super) fn new(client: &Client, nothing: T) -> Self {
        let state = State {
            value: Arc::new(nothing),
            revision: 0,
            error: None,
            is_looking: false,
            is_poked: false,
            is_retrying: false,
            is_over: false,
            callbacks: Vec::new(),
            subscriptions: Vec::new(),
        };
        Self { client: client.downgrade(), state: Mutex::new(state), signal: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, subscription: Subscription) {
        self.lock().subscriptions.push(subscription);
    }

    pub(super) fn value(&self) -> Arc<T> {
        Arc::clone(&self.lock().value)
    }

    pub(super) fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub(super) fn on_change(&self, callback: impl FnMut(&T) + Send + 'static) {
        self.lock().callbacks.push(Box::new(callback));
    }

    /// Waits until the revision is beyond `seen`, and returns it.
    pub(super) fn wait_beyond(&self, seen: u64, deadline: Instant) -> Result<u64, RecipeError> {
        let client = self.client.upgrade().ok_or(ClientError::Closed)?;
        client.refuse_inside_callback()?;
        let signal = Arc::clone(&self.signal);
        let (_session, _state) = client.on_session(move |_state| signal.raise());
        loop {
            let raised = self.signal.raised();
            let state = self.lock();
            if seen < state.revision {
                return Ok(state.revision);
            }
            if let Some(error) = &state.error {
                return Err(error.clone().into());
            }
            drop(state);
            if let Some(reason) = client.end_reason() {
                return Err(reason.into());
            }
            if !self.signal.wait_beyond(raised, deadline) {
                return Err(RecipeError::Deadline);
            }
        }
    }

    /// Nothing is followed any more; no callback begins after this, but one may be under way.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let kept = std::mem::take(&mut state.subscriptions);
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        drop((kept, callbacks));
    }

    fn publish(&self, value: T) {
        let mut state = self.lock();
        state.error = None;
        if state.is_over || (0 < state.revision && *state.value == value) {
            return;
        }
        let value = Arc::new(value);
        state.value = Arc::clone(&value);
        state.revision += 1;
        let mut callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        self.signal.raise();
        callbacks.iter_mut().for_each(|callback| guarded(|| callback(&value)));
        let mut state = self.lock();
        if !state.is_over {
            callbacks.append(&mut state.callbacks); // those that were added meanwhile
            state.callbacks = callbacks;
        }
    }

    fn fail(&self, error: ClientError) {
        self.lock().error = Some(error);
        self.signal.raise();
    }
}

/// What is looked at, and how.
pub(super) trait Follow: Send + Sync + Sized + 'static {
    type Value: PartialEq + Send + Sync + 'static;

    fn followed(&self) -> &Followed<Self::Value>;

    /// Begins to read; ends with [`done`], or with `look` again.
    fn look(self: Arc<Self>);
}

/// Something changed: looks, or looks again after the look that is under way.
pub(super) fn poke<F: Follow>(follow: &Arc<F>) {
    let mut state = follow.followed().lock();
    if state.is_over {
        return;
    }
    if state.is_looking {
        state.is_poked = true;
        return;
    }
    state.is_looking = true;
    drop(state);
    Arc::clone(follow).look();
}

/// A look has come to its end.
pub(super) fn done<F: Follow>(follow: &Arc<F>, result: Result<F::Value, ClientError>) {
    match result {
        Ok(value) => follow.followed().publish(value),
        Err(error) => follow.followed().fail(error),
    }
    let mut state = follow.followed().lock();
    if state.is_over || !state.is_poked {
        state.is_looking = false;
        // Behind what cannot be decoded the connection ends: a look in each new one would end each.
        let is_refused =
            matches!(state.error, Some(ClientError::Server(_) | ClientError::UnknownCode(_)));
        // Nothing is watched now: nobody would tell when there is an answer.
        if is_refused && !state.is_over && !std::mem::replace(&mut state.is_retrying, true) {
            drop(state);
            let own = Arc::clone(follow);
            follow.followed().client.later(RETRY, move || {
                own.followed().lock().is_retrying = false;
                poke(&own);
            });
        }
        return;
    }
    state.is_poked = false;
    drop(state);
    Arc::clone(follow).look();
}

/// Whether the same should be asked again: the next connection, or the session that replaces an
/// expired one, will answer.
pub(super) fn is_passing<F: Follow>(follow: &F, error: &ClientError) -> bool {
    let lives = || follow.followed().client.upgrade().is_some_and(|client| !client.is_over());
    match error {
        ClientError::SessionExpired => lives(),
        error => error.is_passing(),
    }
}

/// The same look, from its beginning, with the next connection or after a pause.
pub(super) fn look_again<F: Follow>(follow: Arc<F>) {
    let client = follow.followed().client.clone();
    client.again(move || {
        if !follow.followed().lock().is_over {
            follow.look();
        }
    });
}

/// Asks, and goes on with the answer; looks anew where the way to it was lost.
pub(super) fn ask<F: Follow>(
    follow: &Arc<F>,
    operation: &Operation,
    then: impl FnOnce(Arc<F>, Result<Outcome, ClientError>) + Send + 'static,
) {
    let again = Arc::clone(follow);
    let asked = submit(follow, operation, move |result| match result {
        Err(error) if is_passing(&*again, &error) => look_again(again),
        result => then(again, result),
    });
    if let Err(error) = asked {
        done(follow, Err(error));
    }
}

/// Asks without that.
pub(super) fn submit<F: Follow>(
    follow: &Arc<F>,
    operation: &Operation,
    completion: impl FnOnce(Result<Outcome, ClientError>) + Send + 'static,
) -> Result<(), ClientError> {
    let client = follow.followed().client.upgrade().ok_or(ClientError::Closed)?;
    // One look at a time, and one that is not taken would leave what is followed without its watch.
    client.submit_beyond_limits(operation, Box::new(completion)).map(drop)
}
