//! What a client is told without having asked.

use farwatch_core::wire::EventType;

/// One entry of the ordered stream of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session changed its state.
    Session(SessionState),
    /// Something happened at a watched node.
    Node(NodeEvent),
}

/// What a session can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// A server serves it. Persistent watches have been re-armed, but what they would have told
    /// between [`SessionState::Disconnected`] and now is lost: read again what matters.
    Connected,
    /// As `Connected`, at a server that can only read now.
    ConnectedReadOnly,
    /// No server serves it at the moment; it may live on. Leases must be considered lost soon.
    Disconnected,
    /// It is over, its ephemeral nodes are gone. Told once.
    Expired,
    /// The server refused a credential, which will not be tried again.
    AuthFailed,
    /// It was closed by us, or this client has failed ([`crate::ClientError::Panicked`]).
    Closed,
}

/// An event at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// What happened.
    pub kind: NodeEventKind,
    /// Where, relative to the chroot.
    pub path: String,
    /// The transaction that caused it, or -1 where the server does not say.
    pub zxid: i64,
}

/// What happened at a node, or to a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEventKind {
    /// The node came to be.
    NodeCreated,
    /// The node is gone.
    NodeDeleted,
    /// The data was set.
    NodeDataChanged,
    /// A child came or went.
    NodeChildrenChanged,
    /// Our own `remove_watches` removed a one-shot watch on the data.
    DataWatchRemoved,
    /// Our own `remove_watches` removed a one-shot watch on the children.
    ChildWatchRemoved,
    /// Our own `remove_watches` removed a persistent watch.
    PersistentWatchRemoved,
}

impl From<EventType> for NodeEventKind {
    fn from(kind: EventType) -> Self {
        match kind {
            EventType::NodeCreated => Self::NodeCreated,
            EventType::NodeDeleted => Self::NodeDeleted,
            EventType::NodeDataChanged => Self::NodeDataChanged,
            EventType::NodeChildrenChanged => Self::NodeChildrenChanged,
        }
    }
}
