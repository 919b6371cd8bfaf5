//! How long the session is certain to live, as seen from here.
//!
//! ```text
//!   sent ───────────── answered                                   at the earliest, the leader may
//!    │ a write, a sync,  │                                        end the session from here on
//!    │ a handshake       │                                            │
//!    └──── two thirds of the timeout ────► valid until ── the margin ─┘
//! ```
//!
//! A ping proves nothing: a server that has lost its leader still answers it, while the leader counts
//! the silence. So only answers count that the leader had a part in, and while somebody holds a
//! lease, a sync leaves every third of the timeout.

use super::Machine;
use crate::error::ClientError;
use crate::operation::{Operation, changes_state};
use crate::outcome::Outcome;
use farwatch_core::wire::OpCode;

/// What is known of the lease.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// How many ask for it.
    holders: usize,
    /// When the youngest request left that the leader is known to have answered.
    proven_ms: Option<u64>,
    /// How long the session lives after that at least. A server that only reads may grant another timeout, of
    /// which the leader knows nothing.
    lives_ms: u64,
    /// When the last sync for it left.
    asked_ms: u64,
    /// When the handshake of this connection left.
    pub(super) handshake_ms: u64,
}

impl Lease {
    /// Whether somebody relies on it.
    pub(super) fn is_held(&self) -> bool {
        0 < self.holders
    }
}

impl<C> Machine<C> {
    /// Command: keeps the lease fresh from now on. Each needs one `drop_lease`.
    pub fn hold_lease(&mut self, now_ms: u64) {
        self.lease.holders += 1;
        self.refresh_lease(now_ms);
    }

    /// Command: one holder less.
    pub fn drop_lease(&mut self) {
        assert!(0 < self.lease.holders, "a lease is dropped once for each time it is held");
        self.lease.holders -= 1;
    }

    /// Getter: until when the session cannot have been ended by the servers, milliseconds; `None`
    /// while nothing is known of it.
    ///
    /// A third of the timeout is kept back: a leader hears of a session through the server that has
    /// its connection, and what it last heard may be older than the request that it answers, by up
    /// to the pause between two pings. None is left once we have asked for the session's end ourselves.
    pub fn lease_until_ms(&self) -> Option<u64> {
        let proven_ms = self.lease.proven_ms.filter(|_| !self.closing)?;
        Some(proven_ms + self.lease.lives_ms)
    }

    /// The answer to a request that left at `sent_ms` came from the leader.
    pub(super) fn prove_lease(&mut self, sent_ms: u64) {
        if self.lease.proven_ms <= Some(sent_ms) {
            self.lease.proven_ms = Some(sent_ms);
            self.lease.lives_ms = self.timeout_ms * 2 / 3;
        }
    }

    /// The session is over.
    pub(super) fn void_lease(&mut self) {
        self.lease.proven_ms = None;
    }

    /// When the next sync is due.
    pub(super) fn lease_due_ms(&self) -> Option<u64> {
        let wanted = 0 < self.lease.holders && self.is_connected() && !self.closing;
        let last_ms = self.lease.proven_ms.unwrap_or(0).max(self.lease.asked_ms);
        wanted.then(|| last_ms + self.ping_ms())
    }

    pub(super) fn refresh_lease(&mut self, now_ms: u64) {
        if self.lease_due_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        let sync = Operation::Sync { path: "/".to_owned() };
        let prepared = sync.prepare(&self.settings.chroot).expect("the root is a path");
        let id = self.next_id;
        self.next_id += 1;
        self.lease.asked_ms = now_ms;
        self.send(now_ms, id, prepared, None);
    }

    /// Whether this answer says that the leader knew the session.
    pub(super) fn is_from_leader(op: OpCode, result: &Result<Outcome, ClientError>) -> bool {
        result.is_ok() && (op == OpCode::Sync || changes_state(op))
    }
}
