//! What the recipes hear of a client beside its one event handler: the session's states and the
//! events of single nodes. And what else they need of it: weak references, and the lease.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Client, Handle, Shared};
use crate::event::{Event, NodeEvent, SessionState};
use crate::operation::AddWatchMode;

type OnSession = Arc<dyn Fn(SessionState) + Send + Sync>;
type OnNode = Arc<dyn Fn(&NodeEvent) + Send + Sync>;

/// Who listens. Called on the reader thread, before the application's handler, without a lock.
pub(super) struct Listeners {
    entries: Mutex<Entries>,
    /// How many lasting watches there are of a path and a mode: the server knows one.
    watches: Mutex<BTreeMap<(String, AddWatchMode), usize>>,
}

impl Default for Listeners {
    fn default() -> Self {
        let session = SessionState::Disconnected;
        let (sessions, nodes, trees) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        let entries = Mutex::new(Entries { next: 0, session, sessions, nodes, trees });
        Self { entries, watches: Mutex::default() }
    }
}

struct Entries {
    next: u64,
    /// What the session was told to be last.
    session: SessionState,
    sessions: BTreeMap<u64, OnSession>,
    /// By path, so that an event costs nothing for those who wait for another one.
    nodes: ByPath,
    /// By the path that they listen at, and below.
    trees: ByPath,
}

type ByPath = HashMap<String, BTreeMap<u64, OnNode>>;

impl Entries {
    fn by_path(&mut self, reach: Reach) -> &mut ByPath {
        match reach {
            Reach::Node => &mut self.nodes,
            Reach::Tree => &mut self.trees,
        }
    }

    /// Who hears of the node at `path`.
    fn of_node(&self, path: &str) -> Vec<OnNode> {
        let mut heard: Vec<OnNode> = Vec::new();
        heard.extend(self.nodes.get(path).into_iter().flat_map(BTreeMap::values).cloned());
        let mut above = Some(path).filter(|_path| !self.trees.is_empty());
        while let Some(at) = above {
            heard.extend(self.trees.get(at).into_iter().flat_map(BTreeMap::values).cloned());
            above = at.rfind('/').filter(|_slash| at.len() > 1).map(|slash| &at[..slash.max(1)]);
        }
        heard
    }
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
                let nodes = self.lock().of_node(&event.path);
                nodes.iter().for_each(|listener| guarded(|| listener(event)));
            }
        }
    }
}

impl Listeners {
    fn lock_watches(&self) -> MutexGuard<'_, BTreeMap<(String, AddWatchMode), usize>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_watch(&self, path: &str, mode: AddWatchMode) {
        *self.lock_watches().entry((path.to_owned(), mode)).or_default() += 1;
    }

    /// One goes; `remove` is called if it was the last, before another one can be counted.
    pub(super) fn uncount_watch(&self, path: &str, mode: AddWatchMode, remove: impl FnOnce()) {
        let mut watches = self.lock_watches();
        let key = (path.to_owned(), mode);
        let count = watches.get_mut(&key).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            watches.remove(&key);
            remove();
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
    place: Option<(Reach, String)>,
}

/// How far below its path somebody listens.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// The node alone.
    Node,
    /// All below it, too.
    Tree,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut entries = shared.listeners.lock();
        // What a closure owns is dropped outside of the lock: it may end other subscriptions.
        let Some((reach, path)) = &self.place else {
            let removed = entries.sessions.remove(&self.id);
            drop(entries);
            drop(removed);
            return;
        };
        let by_path = entries.by_path(*reach);
        let Some(of_path) = by_path.get_mut(path) else { return };
        let removed = of_path.remove(&self.id);
        if of_path.is_empty() {
            by_path.remove(path);
        }
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
    /// Whether both are clones of one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

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
        (Subscription { shared, id, place: None }, entries.session)
    }

    pub(crate) fn on_node(
        &self,
        path: &str,
        listener: impl Fn(&NodeEvent) + Send + Sync + 'static,
    ) -> Subscription {
        self.on_path(Reach::Node, path, listener)
    }

    pub(crate) fn on_path(
        &self,
        reach: Reach,
        path: &str,
        listener: impl Fn(&NodeEvent) + Send + Sync + 'static,
    ) -> Subscription {
        let mut entries = self.handle.shared.listeners.lock();
        let id = entries.next;
        entries.next += 1;
        let listeners = entries.by_path(reach).entry(path.to_owned()).or_default();
        listeners.insert(id, Arc::new(listener));
        let shared = Arc::downgrade(&self.handle.shared);
        Subscription { shared, id, place: Some((reach, path.to_owned())) }
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
