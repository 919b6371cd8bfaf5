//! A transaction: the change that every server applies alike.
//!
//! It is decided once, by the leader, and is idempotent: it carries results (versions, suffixed
//! paths, counters), not intentions. Borrowed from the request while it is prepared and from the
//! log record while it is applied.

use crate::acl::AclList;
use crate::wire::ErrorCode;
use crate::wire::handshake::Password;
use crate::zxid::{SessionId, Zxid};

/// Who asked, when it was decided, and its place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnHead {
    /// The place in the history.
    pub zxid: Zxid,
    /// The leader's wall clock, milliseconds since 1970. Not monotonic.
    pub time_ms: i64,
    /// The session that asked, or [`SessionId::NONE`] for the leader's own (reaping, expiry's close
    /// carries the closed session).
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
}

/// What keeps a node, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Lives until it is deleted.
    Persistent,
    /// Lives as long as this session; has no children.
    Ephemeral(SessionId),
    /// Is reaped when its last child is gone.
    Container,
    /// Is reaped when it has no children and was not written for so many milliseconds.
    Ttl(i64),
}

/// A node to create.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CreateTxn<'a> {
    /// The full path, sequence suffix included.
    pub path: &'a [u8],
    /// `None` is null data.
    pub data: Option<&'a [u8]>,
    /// The list after expansion of `auth:`.
    pub acl: AclList<'a>,
    /// What keeps it.
    pub kind: NodeKind,
    /// The parent's stored cversion after this create: the count of creates ever under it.
    pub parent_cversion: i32,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Txn<'a> {
    /// A node comes to be.
    Create(CreateTxn<'a>),
    /// A childless node goes.
    Delete {
        /// Its path.
        path: &'a [u8],
    },
    /// Data is replaced.
    SetData {
        /// The node.
        path: &'a [u8],
        /// New data; `None` is null.
        data: Option<&'a [u8]>,
        /// The version after this change.
        version: i32,
    },
    /// The ACL is replaced.
    SetAcl {
        /// The node.
        path: &'a [u8],
        /// The list after expansion.
        acl: AclList<'a>,
        /// The aversion after this change.
        version: i32,
    },
    /// A version was checked inside a multi; changes nothing.
    Check {
        /// The node.
        path: &'a [u8],
    },
    /// A session begins. Its id is the head's.
    CreateSession {
        /// Negotiated timeout, milliseconds.
        timeout_ms: i32,
        /// Its secret.
        password: Password,
    },
    /// The head's session ends: it and all its ephemerals go, in the order they were created.
    CloseSession,
    /// A write that failed: it takes a zxid and changes nothing.
    Error(ErrorCode),
    /// Several changes with one zxid.
    Multi(MultiTxn<'a>),
}

/// The parts of a multi, encoded by [`crate::record::push_part`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiTxn<'a> {
    /// Nested framed records.
    pub parts: &'a [u8],
}
