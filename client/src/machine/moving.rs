//! Going over to another server while the session is well.
//!
//! ```text
//!  Connected ── asked to move ──► waits until no request is unanswered ──► Waiting, Dialing, … there
//!                                   └── the time is over, a lease is held: stays
//! ```
//!
//! Nothing fails of it: what is submitted meanwhile waits for the new connection, and watches are set
//! again there, so that they tell what they missed.

use super::{Machine, Phase};

/// A wish to move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    server: usize,
    until_ms: u64,
}

impl<C> Machine<C> {
    /// Command: `server` is dialled instead of the one that the machine has just named, and the others
    /// behind it.
    pub fn dial_instead(&mut self, server: usize) {
        self.rotation.prefer(server);
        let _dialled = self.rotation.take();
    }

    /// Command: goes over to `server` in the first moment in which no request waits for its answer,
    /// unless that takes longer than until `until_ms` or somebody holds a lease.
    pub fn move_to(&mut self, now_ms: u64, server: usize, until_ms: u64) {
        self.moving = Some(Move { server, until_ms });
        self.move_if_idle(now_ms);
    }

    /// Getter: whether somebody relies on the session's lease, whom no move may disturb.
    pub fn is_lease_held(&self) -> bool {
        self.lease.is_held()
    }

    /// Getter: whether the server that was named last is the first of a round over all of them, and
    /// nobody has asked for it: then any other would do as well.
    pub fn has_begun_round(&self) -> bool {
        self.rotation.has_begun_round() && !self.is_dial_fixed
    }

    pub(super) fn move_if_idle(&mut self, now_ms: u64) {
        let Some(Move { server, until_ms }) = self.moving else { return };
        if !self.is_connected() || self.closing || self.is_lease_held() || until_ms < now_ms {
            self.moving = None;
            return;
        }
        if !self.in_flight.is_empty() || !self.auth_due.is_empty() {
            return;
        }
        self.lose_link(now_ms);
        self.rotation.prefer(server);
        self.is_dial_fixed = true;
        self.phase = Phase::Waiting { until_ms: now_ms }; // there is nobody to wait for
    }
}
