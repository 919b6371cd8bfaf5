//! Sessions: which exist (replicated), when they end (the leader's), what they are called.
//!
//! ```text
//!            CreateSession                 touch, touch, touch …
//! connect ──────────────────► SessionTable ─► Expiry ──due──► CloseSession ──► gone everywhere
//!            (every server)                  (leader only)    (every server)
//! ```
//!
//! A *local* session is none of these: only the server with its connection knows it, and watches its
//! silence with an [`Expiry`] of its own (`core/src/node/locals.rs`).
//!
//! Source: client-protocol rules of ZooKeeper 3.9 (`SessionTrackerImpl`, `ExpiryQueue`).

use thiserror::Error;

use crate::wire::handshake::Password;
use crate::zxid::{ServerId, SessionId};

mod expiry;
mod table;
#[cfg(test)]
mod tests;

pub use expiry::{Due, Expiry};
pub use table::SessionTable;

/// What every server knows about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Negotiated when the session was created, milliseconds. A reconnect negotiates afresh, and
    /// only the leader's [`Expiry`] keeps that value.
    pub timeout_ms: i32,
    /// The secret that a client shows to go on with the session.
    pub password: Password,
}

/// Which sessions stay on the server that they were opened at.
///
/// A local session costs no write to begin, to ping and to end, and nobody but its server knows it:
/// it lives as long as that server does. It cannot own ephemeral nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalSessions {
    /// None: every session is known to the whole ensemble.
    #[default]
    Off,
    /// All of them, and none can create an ephemeral node.
    On,
    /// All of them, until they create their first ephemeral node.
    Upgrading,
}

/// Between what a session's timeout may be, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutLimits {
    /// `minSessionTimeout`.
    pub min_ms: i32,
    /// `maxSessionTimeout`.
    pub max_ms: i32,
}

impl TimeoutLimits {
    /// The defaults for a tick of `tick_ms`: 2 and 20 ticks.
    pub const fn of_tick(tick_ms: i32) -> Self {
        Self { min_ms: tick_ms.saturating_mul(2), max_ms: tick_ms.saturating_mul(20) }
    }

    /// What a client that asks for `requested_ms` gets. Zero and less get the least.
    pub fn negotiate(self, requested_ms: i32) -> i32 {
        assert!(self.min_ms <= self.max_ms, "configuration lets no such limits through");
        requested_ms.clamp(self.min_ms, self.max_ms)
    }
}

/// Server numbers must fit the top byte of a session id, and 255 there marks a node with a time to
/// live in data that ZooKeeper wrote.
pub const SERVER_ID_MAX: u32 = 254;

/// A server number that does not fit into session ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("server number {0} does not fit into session ids: give this server a myid from 0 to 254")]
pub struct ServerIdTooLarge(pub u32);

impl SessionId {
    /// The server at which the session began. A guest's is another number than its own, which may be
    /// anybody's.
    pub const fn server(self) -> ServerId {
        ServerId((self.0 >> 56) as u32)
    }
}

/// Makes the session ids of one server process: `server(8) ‖ milliseconds(40) ‖ counter(16)`, then
/// one more each time.
#[derive(Clone, Debug)]
pub struct SessionIds {
    first: u64,
    next: u64,
}

impl SessionIds {
    /// The ids of `server` (1 when there is but one) started at `now_ms`, milliseconds since 1970:
    /// a clock that goes on over restarts keeps the ids of two runs apart.
    ///
    /// A guest's number does not fit. Its lower bytes choose the top byte and where the counter
    /// begins, so that guests that start in the same millisecond hardly meet.
    pub const fn new(server: ServerId, now_ms: i64) -> Result<Self, ServerIdTooLarge> {
        if server.is_guest() {
            let (top, begin) = (1 + server.0 % SERVER_ID_MAX, (server.0 >> 8) & 0xffff);
            let time = (((now_ms as u64) << 24) >> 8).wrapping_add(begin as u64);
            let first = ((top as u64) << 56) | (time & !(0xff << 56));
            return Ok(Self { first, next: first });
        }
        if server.0 > SERVER_ID_MAX {
            return Err(ServerIdTooLarge(server.0));
        }
        let first = ((server.0 as u64) << 56) | (((now_ms as u64) << 24) >> 8);
        Ok(Self { first, next: first })
    }

    /// Whether this process made that id.
    pub const fn has_given(&self, id: SessionId) -> bool {
        self.first <= id.0 && id.0 < self.next
    }

    /// An id that no session has of which `lives` knows. A clock that was set back may lead into ids
    /// that an earlier run gave away: those are passed over while their sessions live.
    pub fn allocate(&mut self, lives: impl Fn(SessionId) -> bool) -> SessionId {
        /// What ZooKeeper stores as the owner of a container.
        const CONTAINER_OWNER: u64 = 1 << 63;
        loop {
            let id = SessionId(self.next);
            // The counter stays within this server's byte, so that no two servers meet.
            let server = self.next & (0xff << 56);
            self.next = server | (self.next.wrapping_add(1) & !(0xff << 56));
            if id != SessionId::NONE && id.0 != CONTAINER_OWNER && !lives(id) {
                return id;
            }
        }
    }
}
