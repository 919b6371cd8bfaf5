//! How a learner that does not vote and the server that it learns from bear with each other over a way
//! on which one message may take longer than either would bear silence.

use super::{Action, Anomaly, Base, Learning, Phase};
use crate::zab::feed::CATCH_UP_BYTES_MIN;
use crate::zab::message::ToLeader;

impl Learning {
    /// A learner that does not vote speaks when it is spoken to. While a large message is on its way to
    /// it nothing else is, and the server that it learns from must not take it for gone.
    pub(super) fn say_something(&mut self, base: &Base, out: &mut Vec<Action>) {
        let quiet = base.now - self.said_at;
        if self.has_joined() && !base.is_voter() && 2 * base.timing.observer_ping_ticks <= quiet {
            self.acknowledged = self.acknowledged.max(base.durable);
            self.say(base, ToLeader::Ack(self.acknowledged), out);
        }
    }

    /// Its leader is saying something that takes long to come. Of a learner that does not vote nobody
    /// waits for a sign that the leader is well, and it would never be told all if it gave up.
    pub fn arriving(&mut self, base: &Base) {
        if !base.is_voter() {
            self.heard = base.now;
            self.progressed(base);
        }
    }

    /// The history comes: however long that takes in all, it is no reason to look for another leader.
    pub(super) fn progressed(&mut self, base: &Base) {
        if self.has_joined() && !base.is_voter() {
            self.deadline = base.now + base.timing.join_ticks;
        }
    }

    /// Its turn has not come: that is no reason to look for another leader.
    pub(super) fn on_queued(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        if self.phase != Phase::Syncing {
            return self.violation(base, Anomaly::Phase, out);
        }
        self.deadline = base.now + base.timing.join_ticks;
    }

    /// Bytes of records that this learner, if it does not vote, takes without being asked before it acknowledges
    /// them. One that lags may be one of many, of which none may have more under way than its share.
    pub(super) fn unacknowledged_max(&self, base: &Base) -> u64 {
        let usual = base.timing.flight_bytes / 8;
        if self.lags { usual.min(CATCH_UP_BYTES_MIN / 2) } else { usual }
    }

    pub(super) const fn has_joined(&self) -> bool {
        !matches!(self.phase, Phase::Joining { .. } | Phase::Promising)
    }
}
