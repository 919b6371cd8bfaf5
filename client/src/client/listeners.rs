//! What the recipes hear of a client beside its one event handler: the session's states and the
//! events of single nodes. And what else they need of it: weak references, and the lease.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Client, Handle, Shared};
use crate::event::{Event, NodeEvent, SessionState};

type OnSession = Arc<dyn Fn(SessionState) + Send + Sync>;
type OnNode = Arc<dyn Fn(&NodeEvent) + Send + Sync>;

/// Who listens. Called on the reader thread, before the application's handler, without a lock.
pub(super) struct Listeners {
    entries: Mutex<Entries>,
}

impl Default for Listeners {
    fn default() -> Self {
        let session = SessionState::Disconnected;
        let (sessions, nodes) = (BTreeMap::new(), HashMap::new());
        Self { entries: Mutex::new(Entries { next: 0, session, sessions, nodes }) }
    }
}

struct Entries {
    next: u64,
    /// What the session was told to be last.
    session: SessionState,
    sessions: BTreeMap<u64, OnSession>,
    /// By path, so that an event costs nothing for those who wait for another one.
    nodes: HashMap<String, BTreeMap<u64, OnNode>>,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: &Event) {
        match event {
            Event::Session(state) => {
                let mut entries = self.lock();
                // A credential says nothing about the connection.
                if *state != SessionState::AuthFailed {
                    entries.session = *state;
                }
                let sessions: Vec<_> = entries.sessions.values().cloned().collect();
                drop(entries);
                sessions.iter().for_each(|listener| guarded(|| listener(*state)));
            }
            Event::Node(event) => {
                let nodes = self.lock().nodes.get(&event.path).cloned().unwrap_or_default();
                nodes.values().for_each(|listener| guarded(|| listener(event)));
            }
        }
    }
}

/// A listener that panics must not keep the others from hearing.
pub(crate) fn guarded(listener: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(listener)).is_err() {
        tracing::error!("a closure given to the client panicked; the session goes on");
    }
}

/// Ends with its drop; a call that is under way on the reader thread may still finish.
pub(crate) struct Subscription {
    shared: Weak<Shared>,
    id: u64,
    /// `None` is a listener to the session.
    path: Option<String>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut entries = shared.listeners.lock();
        // What a closure owns is dropped outside of the lock: it may end other subscriptions.
        let removed = match &self.path {
            None => {
                let removed = entries.sessions.remove(&self.id);
                drop(entries);
                drop(removed);
                return;
            }
            Some(path) => {
                let Some(of_path) = entries.nodes.get_mut(path) else { return };
                let removed = of_path.remove(&self.id);
                if of_path.is_empty() {
                    entries.nodes.remove(path);
                }
                removed
            }
        };
        drop(entries);
        drop(removed);
    }
}

/// A client that its holder does not keep alive.
#[derive(Clone)]
pub(crate) struct WeakClient {
    handle: Weak<Handle>,
    request_timeout: Duration,
}

impl WeakClient {
    /// `None` once the last clone is gone, and the session with it.
    pub(crate) fn upgrade(&self) -> Option<Client> {
        let handle = self.handle.upgrade()?;
        let freshness = super::Freshness::default();
        Some(Client { handle, request_timeout: self.request_timeout, freshness })
    }
}

/// Keeps the session's lease fresh until it is dropped.
pub(crate) struct LeaseHold(Client);

impl Drop for LeaseHold {
    fn drop(&mut self) {
        self.0.handle.shared.lock().machine.drop_lease();
    }
}

impl Client {
    pub(crate) fn downgrade(&self) -> WeakClient {
        let handle = Arc::downgrade(&self.handle);
        WeakClient { handle, request_timeout: self.request_timeout }
    }

    /// Returns the last state, too: what comes behind it is told to the listener.
    pub(crate) fn on_session(
        &self,
        listener: impl Fn(SessionState) + Send + Sync + 'static,
    ) -> (Subscription, SessionState) {
        let mut entries = self.handle.shared.listeners.lock();
        let id = entries.next;
        entries.next += 1;
        entries.sessions.insert(id, Arc::new(listener));
        let shared = Arc::downgrade(&self.handle.shared);
        (Subscription { shared, id, path: None }, entries.session)
    }

    pub(crate) fn on_node(
        &self,
        path: &str,
        listener: impl Fn(&NodeEvent) + Send + Sync + 'static,
    ) -> Subscription {
        let mut entries = self.handle.shared.listeners.lock();
        let id = entries.next;
        entries.next += 1;
        entries.nodes.entry(path.to_owned()).or_default().insert(id, Arc::new(listener));
        let path = Some(path.to_owned());
        Subscription { shared: Arc::downgrade(&self.handle.shared), id, path }
    }

    pub(crate) fn hold_lease(&self) -> LeaseHold {
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        state.machine.hold_lease(shared.now_ms());
        super::link::flush(shared, state);
        LeaseHold(self.clone())
    }

    /// Until when the servers cannot have ended the session, on this process's monotonic clock;
    /// `None` while that is not known, and when the session is over.
    ///
    /// Counted from when the last request left that the ensemble's leader has answered. It moves on
    /// by itself while a recipe of this client is held; otherwise with each write and sync.
    pub fn lease_valid_until(&self) -> Option<Instant> {
        let shared = &self.handle.shared;
        let until_ms = shared.lock().machine.lease_until_ms()?;
        Some(shared.started + Duration::from_millis(until_ms))
    }
}
