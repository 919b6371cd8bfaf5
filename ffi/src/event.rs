//! `fw_event`: what happened without having been asked for, and where it is told.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use farwatch_client::{Event, NodeEvent, NodeEventKind, SessionState};
use farwatch_observer::embedded::Linked;

use crate::bytes::Text;
use crate::callback::{Context, Gate, fw_destroy_fn};
use crate::client::Ephemerals;
use crate::config::fw_config;
use crate::error::fw_error;
use crate::guard::{Opaque, Owned, borrow, view};
use crate::queue::{Line, Tag, fw_queue};
use crate::result::lend;
use crate::status::fw_status;

/// Something that happened. Lent to a callback for the duration of the call, or owned by the
/// completion that it came with. All functions on it: any thread, never block.
pub struct fw_event {
    _private: [u8; 0],
}

impl Opaque for fw_event {
    type Body = EventBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_event");
}

/// What kind of event it is.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum fw_event_kind {
    /// The session has another state: `fw_event_state`.
    FW_EVENT_SESSION = 1,
    /// The session expired, and the client has begun a new one in its place. Watches and
    /// credentials went over to it; the ephemeral nodes of the old one are gone: `fw_event_lost`.
    FW_EVENT_REPLACED = 2,
    /// The server refused a credential, which will not be tried again.
    FW_EVENT_AUTH_FAILED = 3,
    /// The queue was too full, and events before this one were dropped: read again what matters.
    FW_EVENT_OVERFLOW = 4,
    /// A feed has something for `fw_feed_next`: see `fw_feed_queue`. Which one, the tag says.
    FW_EVENT_FEED = 5,
    /// An observer follows an upstream. From the first of these on it is ready: `fw_observer_wait_ready` for
    /// transaction 0 succeeds. See `fw_observer_queue`.
    FW_EVENT_OBSERVER_LINKED = 6,
    /// An observer follows no upstream, and looks for one. Reads go on, and `fw_observer_lag` says how old they are.
    FW_EVENT_OBSERVER_UNLINKED = 7,
    /// An observer has ended, and `fw_observer_ended` says why. What it knew can still be read. Nothing follows.
    FW_EVENT_OBSERVER_ENDED = 8,
    /// A node came to be.
    FW_EVENT_CREATED = 10,
    /// A node is gone.
    FW_EVENT_DELETED = 11,
    /// A node's data was set.
    FW_EVENT_DATA_CHANGED = 12,
    /// A child of a node came or went.
    FW_EVENT_CHILDREN_CHANGED = 13,
    /// A one-shot watch on data was removed by this client.
    FW_EVENT_DATA_WATCH_REMOVED = 14,
    /// A one-shot watch on children was removed by this client.
    FW_EVENT_CHILD_WATCH_REMOVED = 15,
    /// A lasting watch was removed by this client.
    FW_EVENT_LASTING_WATCH_REMOVED = 16,
}

/// What a session can be.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum fw_session_state {
    /// There was no server yet.
    FW_STATE_CONNECTING = 0,
    /// A server serves it. What lasting watches would have told while it was suspended is lost:
    /// read again what matters.
    FW_STATE_CONNECTED = 1,
    /// As connected, at a server that can only read now.
    FW_STATE_CONNECTED_READ_ONLY = 2,
    /// No server serves it at the moment. It may live on, or be over already: do not act on locks.
    FW_STATE_SUSPENDED = 3,
    /// It is over, and its ephemeral nodes are gone: `fw_event_lost`. Follows: nothing, or with
    /// `renewExpired` a new session.
    FW_STATE_EXPIRED = 4,
    /// It was closed by this client.
    FW_STATE_CLOSED = 5,
}

/// Called with each event, in order, on the client's own thread: return soon, block never.
pub type fw_event_fn = Option<unsafe extern "C" fn(context: *mut c_void, event: *const fw_event)>;

/// An event laid out for C.
pub struct EventBody {
    kind: fw_event_kind,
    state: fw_session_state,
    path: Option<Text>,
    zxid: i64,
    lost: Arc<Vec<Text>>,
}

impl EventBody {
    fn new(kind: fw_event_kind, state: fw_session_state) -> Self {
        Self { kind, state, path: None, zxid: -1, lost: Arc::default() }
    }

    /// Says that a queue dropped events.
    pub fn overflow() -> Self {
        Self::new(fw_event_kind::FW_EVENT_OVERFLOW, fw_session_state::FW_STATE_CONNECTED)
    }

    /// Says that a feed has something.
    pub fn feed() -> Self {
        Self::new(fw_event_kind::FW_EVENT_FEED, fw_session_state::FW_STATE_CONNECTED)
    }

    /// How an observer is linked, as a session would be.
    pub fn observer(linked: Linked) -> Self {
        match linked {
            Linked::Yes => Self::new(
                fw_event_kind::FW_EVENT_OBSERVER_LINKED,
                fw_session_state::FW_STATE_CONNECTED,
            ),
            Linked::No => Self::new(
                fw_event_kind::FW_EVENT_OBSERVER_UNLINKED,
                fw_session_state::FW_STATE_SUSPENDED,
            ),
            Linked::Ended => {
                Self::new(fw_event_kind::FW_EVENT_OBSERVER_ENDED, fw_session_state::FW_STATE_CLOSED)
            }
        }
    }

    /// An event of a watch.
    pub fn node(event: &NodeEvent, state: fw_session_state) -> Self {
        let kind = match event.kind {
            NodeEventKind::NodeCreated => fw_event_kind::FW_EVENT_CREATED,
            NodeEventKind::NodeDeleted => fw_event_kind::FW_EVENT_DELETED,
            NodeEventKind::NodeDataChanged => fw_event_kind::FW_EVENT_DATA_CHANGED,
            NodeEventKind::NodeChildrenChanged => fw_event_kind::FW_EVENT_CHILDREN_CHANGED,
            NodeEventKind::DataWatchRemoved => fw_event_kind::FW_EVENT_DATA_WATCH_REMOVED,
            NodeEventKind::ChildWatchRemoved => fw_event_kind::FW_EVENT_CHILD_WATCH_REMOVED,
            NodeEventKind::PersistentWatchRemoved => fw_event_kind::FW_EVENT_LASTING_WATCH_REMOVED,
        };
        Self { path: Some(Text::new(&event.path)), zxid: event.zxid, ..Self::new(kind, state) }
    }
}

impl EventBody {
    /// A new state of the session; `None` for what is none.
    pub fn session(state: SessionState) -> Option<Self> {
        let state = match state {
            SessionState::Connected => fw_session_state::FW_STATE_CONNECTED,
            SessionState::ConnectedReadOnly => fw_session_state::FW_STATE_CONNECTED_READ_ONLY,
            SessionState::Disconnected => fw_session_state::FW_STATE_SUSPENDED,
            SessionState::Expired => fw_session_state::FW_STATE_EXPIRED,
            SessionState::Closed => fw_session_state::FW_STATE_CLOSED,
            SessionState::AuthFailed => return None,
        };
        Some(Self::new(fw_event_kind::FW_EVENT_SESSION, state))
    }
}

/// Where a client's events go.
#[derive(Clone)]
pub enum Handler {
    /// To a function.
    Call {
        /// The function.
        function: unsafe extern "C" fn(context: *mut c_void, event: *const fw_event),
        /// What it is called with.
        context: Arc<Context>,
    },
    /// To a queue.
    Queue {
        /// The queue.
        line: Arc<Line>,
        /// What the completions carry.
        tag: Tag,
    },
}

impl Handler {
    /// Tells `event`; a function only where `gate` lets it through.
    pub fn tell(&self, gate: &Gate, event: EventBody) {
        match self {
            Self::Queue { line, tag } => line.push_event(*tag, event),
            Self::Call { function, context } => {
                let event = Owned::<fw_event>::new(event);
                // SAFETY: the function is C's for this context, which lives as long as this.
                gate.pass(|| unsafe { function(context.pointer(), event.as_ptr()) });
            }
        }
    }
}

/// The state of a session, for those who ask.
#[derive(Default)]
pub struct StateCell(AtomicI32);

impl StateCell {
    /// The state as it was told last.
    pub fn get(&self) -> fw_session_state {
        match self.0.load(Ordering::Acquire) {
            1 => fw_session_state::FW_STATE_CONNECTED,
            2 => fw_session_state::FW_STATE_CONNECTED_READ_ONLY,
            3 => fw_session_state::FW_STATE_SUSPENDED,
            4 => fw_session_state::FW_STATE_EXPIRED,
            5 => fw_session_state::FW_STATE_CLOSED,
            _never_told => fw_session_state::FW_STATE_CONNECTING,
        }
    }

    fn set(&self, state: fw_session_state) {
        self.0.store(state as i32, Ordering::Release);
    }
}

/// Turns a client's events into what C is told. Runs on the client's thread.
pub struct Teller {
    /// Nobody may want to hear, and the state must be right all the same.
    pub handler: Option<Handler>,
    /// Closed when the client is freed.
    pub gate: Arc<Gate>,
    /// The last state.
    pub state: Arc<StateCell>,
    /// What dies with the session.
    pub ephemerals: Arc<Ephemerals>,
    /// Whether an expired session is replaced.
    pub renews: bool,
    /// What the expired session had, until the new one is there.
    pub lost: Option<Arc<Vec<Text>>>,
}

impl Teller {
    /// Tells one event of the client; a replaced session makes two of one.
    pub fn tell(&mut self, event: &Event) {
        let session = match event {
            Event::Node(event) => return self.deliver(EventBody::node(event, self.state.get())),
            Event::Session(state) => EventBody::session(*state),
        };
        let Some(mut told) = session else {
            let kind = fw_event_kind::FW_EVENT_AUTH_FAILED;
            return self.deliver(EventBody::new(kind, self.state.get()));
        };
        let state = told.state;
        self.state.set(state);
        if state == fw_session_state::FW_STATE_EXPIRED {
            told.lost = Arc::new(self.ephemerals.drain());
            self.lost = self.renews.then(|| Arc::clone(&told.lost));
        }
        self.deliver(told);
        let is_served = matches!(
            state,
            fw_session_state::FW_STATE_CONNECTED | fw_session_state::FW_STATE_CONNECTED_READ_ONLY
        );
        if let Some(lost) = self.lost.take_if(|_lost| is_served) {
            let kind = fw_event_kind::FW_EVENT_REPLACED;
            self.deliver(EventBody { lost, ..EventBody::new(kind, state) });
        }
    }

    fn deliver(&self, event: EventBody) {
        if let Some(handler) = &self.handler {
            handler.tell(&self.gate, event);
        }
    }
}

/// Events of clients that are opened with `config` go to `callback`, on each client's own thread.
/// `context` is passed on, and `destroy` is called with it when the configuration and all these
/// clients are gone, or at once when this fails. Replaces an earlier choice. Any thread, never
/// blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_on_event(
    config: *mut fw_config,
    callback: fw_event_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Arc::new(Context::new(context, destroy));
        crate::reserve::refuse_if_out()?;
        let function = callback.ok_or_else(|| {
            crate::error::Failure::new(fw_status::FW_NULL, "the callback is null")
        })?;
        borrow(config.cast_const())?.set_handler(Handler::Call { function, context });
        Ok(())
    })
}

/// Events of clients that are opened with `config` go to `queue`, as completions with `tag`.
/// Replaces an earlier choice. Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_event_queue(
    config: *mut fw_config,
    queue: *mut fw_queue,
    tag: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let line = borrow(queue.cast_const())?.line();
        borrow(config.cast_const())?.set_handler(Handler::Queue { line, tag: Tag::new(tag) });
        Ok(())
    })
}

/// What happened; 0 for null. Expect kinds that you do not know, from a newer library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_event_get_kind(event: *const fw_event) -> i32 {
    accessor!(view(event, 0, |event| event.kind as i32))
}

/// The session's state with this event. Of an observer's: connected while it is linked, suspended while not, closed
/// when it has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_event_state(event: *const fw_event) -> fw_session_state {
    accessor!(view(event, fw_session_state::FW_STATE_CONNECTING, |event| event.state))
}

/// The node that it is about, null if it is about none; ends with a zero. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_event_path(event: *const fw_event, len: *mut usize) -> *const c_char {
    accessor!(view(event, std::ptr::null(), |event| lend(event.path.as_ref(), len)))
}

/// The transaction that caused it, or -1 where the server does not say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_event_zxid(event: *const fw_event) -> i64 {
    accessor!(view(event, -1, |event| event.zxid))
}

/// How many ephemeral nodes went with an expired session: those that this handle's own operations created
/// and did not delete, up to 65 536. It does not know of nodes whose creation was never answered here
/// (`fw_error_maybe_applied`, or it was abandoned), nor of those from before a session was taken up. What
/// recipes held is told by their handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_event_lost_count(event: *const fw_event) -> usize {
    accessor!(view(event, 0, |event| event.lost.len()))
}

/// The path of lost ephemeral node `index`, null if there is none; ends with a zero. `len` may be
/// null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_event_lost(
    event: *const fw_event,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(event, std::ptr::null(), |event| lend(event.lost.get(index), len)))
}
