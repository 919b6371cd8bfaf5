//! What reactors hand to the machine and what it hands back: plain data, many at once.

use std::sync::Arc;

use crate::acl::Identity;
use crate::wire::handshake::Password;
use crate::wire::{ErrorCode, OpCode};
use crate::zxid::{SessionId, Zxid};

/// Which request of which connection; only its reactor understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The reactor that owns the connection.
    pub reactor: u16,
    /// The connection within its reactor.
    pub connection: u32,
    /// Tells a connection from an earlier one in the same place.
    pub generation: u32,
    /// The request within its connection.
    pub sequence: u32,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A write; the body is the request's.
    Write(OpCode),
    /// Answer when this server has caught up with the leader. Nothing that is answered with a zxid
    /// of its own may be asked behind it before it is answered.
    Sync,
    /// The session's ephemeral nodes; the body is the prefix. Answered at once: whoever asks has
    /// nothing else under way.
    Ephemerals,
    /// A new session; its number is chosen by the machine.
    Open {
        /// Negotiated timeout, milliseconds.
        timeout_ms: i32,
        /// Fresh random bytes.
        password: Password,
        /// Whether the client takes a server that only reads; see [`super::OnPartition`].
        read_only: bool,
    },
    /// A session moves to this connection; the body is the password that was presented.
    Resume {
        /// Negotiated timeout, milliseconds.
        timeout_ms: i32,
        /// Whether the client takes a server that only reads.
        read_only: bool,
    },
    /// The connection that held the session is gone. No reply.
    Left,
}

/// One thing asked.
#[derive(Clone, Debug)]
pub struct Item {
    /// Who asked.
    pub origin: Origin,
    /// For which session; [`SessionId::NONE`] for [`Ask::Open`].
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// What.
    pub ask: Ask,
    /// The connection's identities when the request was read.
    pub identities: Arc<[Identity]>,
    body: (u32, u32),
}

impl Item {
    /// An ask whose body stands elsewhere.
    pub(super) const fn new(
        origin: Origin,
        session: SessionId,
        cxid: i32,
        ask: Ask,
        identities: Arc<[Identity]>,
    ) -> Self {
        Self { origin, session, cxid, ask, identities, body: (0, 0) }
    }
}

/// A run of asks with their bodies in one buffer, and the sessions heard from meanwhile.
#[derive(Debug, Default)]
pub struct Submission {
    bytes: Vec<u8>,
    items: Vec<Item>,
    touched: Vec<(SessionId, i32)>,
}

impl Submission {
    /// Adds an ask.
    pub fn push(
        &mut self,
        origin: Origin,
        session: SessionId,
        cxid: i32,
        ask: Ask,
        body: &[u8],
        identities: &Arc<[Identity]>,
    ) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(body);
        let body = (start, self.bytes.len() as u32);
        let identities = Arc::clone(identities);
        self.items.push(Item { origin, session, cxid, ask, identities, body });
    }

    /// Notes that a session was heard from, with its connection's timeout in milliseconds.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        self.touched.push((session, timeout_ms));
    }

    /// The asks in order.
    pub fn items(&self) -> impl ExactSizeIterator<Item = (&Item, &[u8])> {
        self.items
            .iter()
            .map(|item| (item, &self.bytes[item.body.0 as usize..item.body.1 as usize]))
    }

    /// The sessions that were heard from.
    pub fn touched(&self) -> &[(SessionId, i32)] {
        &self.touched
    }

    /// Bytes of all bodies.
    pub fn body_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.touched.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.touched.clear();
    }
}

/// What came of one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// For the reply's header, and where its body stands in [`super::Output::bytes`].
    Done {
        /// Zero, or what went wrong.
        err: ErrorCode,
        /// First byte of the body.
        start: u32,
        /// Behind its last byte.
        end: u32,
    },
    /// The session is open, or goes on, at this connection.
    Attached {
        /// The session.
        session: SessionId,
        /// Its secret.
        password: Password,
        /// Negotiated timeout, milliseconds.
        timeout_ms: i32,
        /// Only to read, for as long as there is no leader.
        read_only: bool,
    },
    /// There is no such session, or the password is not its own.
    Expired,
    /// This server cannot take a session now; the client tries another one.
    Refused,
}

/// An outcome on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Whose.
    pub origin: Origin,
    /// What this server had applied when it came about; a write's own zxid.
    pub zxid: Zxid,
    /// What came of it.
    pub outcome: Outcome,
}
