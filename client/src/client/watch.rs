//! A lasting watch with a listener of its own.
//!
//! ```text
//!   watch ──► counted by path and mode ──► add_watch; the machine sets it again with each connection and,
//!     │                                    where expired sessions are replaced, in each session
//!     └── drop: the last one of its path and mode ──► the machine forgets it ──► remove_watches
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
    client: WeakClient,
    heard: [Option<Subscription>; 2],
}

struct Inner {
    path: String,
    mode: AddWatchMode,
    /// The server had it once: from then on events are told.
    has_begun: AtomicBool,
    /// Nothing is told any more.
    is_over: AtomicBool,
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

    /// Nobody waits for a call that is under way on the reader thread; none begins behind the drop.
    fn tell(&self, event: &Event) {
        if self.has_begun.load(Ordering::Acquire) && !self.is_over.load(Ordering::Acquire) {
            (self.listener)(event);
        }
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
            self.tell(&Event::Node(event.clone()));
        }
    }

    fn hear_session(&self, state: SessionState) {
        // A credential says nothing about the watch.
        if state != SessionState::AuthFailed {
            self.tell(&Event::Session(state));
        }
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
    /// the watch when this is dropped, until the connection ends; nobody hears it then but that handler. A
    /// server has one watch of a path and a mode: what [`Client::add_watch`] set so goes with the last of these,
    /// and [`Client::remove_watches`] silences them.
    pub fn watch(
        &self,
        path: &str,
        mode: AddWatchMode,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Watch, ClientError> {
        self.refuse_inside_callback()?;
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            mode,
            has_begun: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            listener: Box::new(listener),
        });
        self.handle.shared.listeners.count_watch(path, mode);
        let mut watch = Watch { inner, client: self.downgrade(), heard: [None, None] };
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
            let add = self.inner.add();
            let armed = client.wait_for(&add, |completion| {
                let inner = Arc::clone(&self.inner);
                let note = move |result: Result<_, ClientError>| {
                    inner.has_begun.store(result.is_ok(), Ordering::Release);
                    completion(result);
                };
                client.submit_fresh(&add, Box::new(note))
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
        self.inner.is_over.store(true, Ordering::Release);
        self.heard = [None, None];
        let Some(client) = self.client.upgrade() else { return };
        let kind = match self.inner.mode {
            AddWatchMode::Persistent => WatchKind::Persistent,
            AddWatchMode::PersistentRecursive => WatchKind::PersistentRecursive,
        };
        let remove = Operation::RemoveWatches { path: self.inner.path.clone(), kind };
        let listeners = &client.handle.shared.listeners;
        let mut is_asked = false;
        listeners.uncount_watch(&self.inner.path, self.inner.mode, || {
            client.forget_watch(&remove);
            is_asked = true;
        });
        if is_asked {
            client.send(); // with nothing locked: a socket may be full
        }
    }
}
