//! A lasting watch with a listener of its own.
//!
//! ```text
//!   watch ──► counted by path and mode ──► add_watch, and again in a session that replaces an expired one
//!     │                                        │
//!     └── drop: the last one of its path and mode ──► remove_watches
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::listeners::Reach;
use super::{Client, Subscription, WeakClient, link};
use crate::error::ClientError;
use crate::event::{Event, NodeEvent, NodeEventKind, SessionState};
use crate::operation::{AddWatchMode, Operation, WatchKind};

type Listener = Box<dyn Fn(&Event) + Send + Sync>;

/// A watch that lasts until this is dropped, and tells one listener: see [`Client::watch`].
pub struct Watch {
    inner: Arc<Inner>,
    heard: [Option<Subscription>; 2],
}

struct Inner {
    client: WeakClient,
    path: String,
    mode: AddWatchMode,
    /// The present session has it.
    is_armed: AtomicBool,
    /// Some session had it: from then on changes of the session are told.
    has_begun: AtomicBool,
    listener: Listener,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { path, mode, .. } = &*self.inner;
        f.debug_struct("Watch").field("path", path).field("mode", mode).finish_non_exhaustive()
    }
}

impl Inner {
    fn add(&self) -> Operation {
        Operation::AddWatch { path: self.path.clone(), mode: self.mode }
    }

    fn hear_node(&self, event: &NodeEvent) {
        let is_of_mode = match event.kind {
            NodeEventKind::NodeCreated
            | NodeEventKind::NodeDeleted
            | NodeEventKind::NodeDataChanged => true,
            // A recursive watch tells of children as nodes. This is another watch's event.
            NodeEventKind::NodeChildrenChanged => self.mode == AddWatchMode::Persistent,
            NodeEventKind::DataWatchRemoved
            | NodeEventKind::ChildWatchRemoved
            | NodeEventKind::PersistentWatchRemoved => false,
        };
        if is_of_mode {
            (self.listener)(&Event::Node(event.clone()));
        }
    }

    fn hear_session(self: &Arc<Self>, state: SessionState) {
        match state {
            SessionState::Expired => self.is_armed.store(false, Ordering::Release),
            SessionState::Connected | SessionState::ConnectedReadOnly => self.arm_anew(),
            SessionState::Disconnected | SessionState::AuthFailed | SessionState::Closed => {}
        }
        if state != SessionState::AuthFailed && self.has_begun.load(Ordering::Acquire) {
            (self.listener)(&Event::Session(state));
        }
    }

    /// A session that replaced an expired one has no watch yet. It is asked for before the listener hears
    /// of the session, so that what it reads then is read behind it.
    fn arm_anew(self: &Arc<Self>) {
        let Some(client) = self.client.upgrade() else { return };
        if self.is_armed.load(Ordering::Acquire) || !self.has_begun.load(Ordering::Acquire) {
            return; // the client itself arms it with each connection of the session, or the first call does
        }
        let inner = Arc::clone(self);
        let note = move |result: Result<_, ClientError>| {
            inner.is_armed.store(result.is_ok(), Ordering::Release);
        };
        // Where it is refused, the next connection comes here again.
        drop(client.submit_beyond_limits(&self.add(), Box::new(note)));
    }
}

impl Client {
    /// Watches the node at `path`, and with [`AddWatchMode::PersistentRecursive`] all below it, until what
    /// this returns is dropped. Blocks until the server has the watch, at most for the request timeout.
    ///
    /// `listener` is called on the client's reader thread, which it must not block: with each event that
    /// the watch brings, and with each change of the session's state, since while no server serves it
    /// nothing is told. So behind [`SessionState::Connected`] read again what matters. With
    /// [`Options::renew_expired`](super::Options::renew_expired) the watch goes on in the next session. Any
    /// number of them may share a path. Events go to the client's own handler, too. Servers before 3.9 keep
    /// the watch when this is dropped; nobody hears it then but that handler.
    pub fn watch(
        &self,
        path: &str,
        mode: AddWatchMode,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Watch, ClientError> {
        self.refuse_inside_callback()?;
        let inner = Arc::new(Inner {
            client: self.downgrade(),
            path: path.to_owned(),
            mode,
            is_armed: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            listener: Box::new(listener),
        });
        self.handle.shared.listeners.count_watch(path, mode);
        let mut watch = Watch { inner, heard: [None, None] };
        watch.arm(self)?;
        Ok(watch)
    }
}

impl Watch {
    /// Listens before it asks: the first event may come right behind the answer.
    fn arm(&mut self, client: &Client) -> Result<(), ClientError> {
        let inner = Arc::clone(&self.inner);
        let hear = move |event: &NodeEvent| inner.hear_node(event);
        let reach = match self.inner.mode {
            AddWatchMode::Persistent => Reach::Node,
            AddWatchMode::PersistentRecursive => Reach::Tree,
        };
        let nodes = client.on_path(reach, &self.inner.path, hear);
        let inner = Arc::clone(&self.inner);
        let (session, _now) = client.on_session(move |state| inner.hear_session(state));
        self.heard = [Some(nodes), Some(session)];
        let deadline = link::after(client.request_timeout);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let client = client.with_request_timeout(left);
            // Noted on the reader thread, which hears of the session's changes: none falls between.
            let armed = client.wait_for(|completion| {
                let inner = Arc::clone(&self.inner);
                let note = move |result: Result<_, ClientError>| {
                    inner.is_armed.store(result.is_ok(), Ordering::Release);
                    inner.has_begun.store(result.is_ok(), Ordering::Release);
                    completion(result);
                };
                client.submit_fresh(&self.inner.add(), Box::new(note))
            });
            match armed {
                // Twice is once: the next connection is asked.
                Err(ClientError::ConnectionLoss { .. }) if !left.is_zero() => {}
                Err(error) => return Err(error),
                Ok(_armed) => return Ok(()),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.heard = [None, None];
        let Some(client) = self.inner.client.upgrade() else { return };
        let kind = match self.inner.mode {
            AddWatchMode::Persistent => WatchKind::Persistent,
            AddWatchMode::PersistentRecursive => WatchKind::PersistentRecursive,
        };
        let remove = Operation::RemoveWatches { path: self.inner.path.clone(), kind };
        // In the background: with the connection goes the watch as well.
        client.handle.shared.listeners.uncount_watch(&self.inner.path, self.inner.mode, || {
            drop(client.submit_beyond_limits(&remove, Box::new(|_result| {})));
        });
    }
}
