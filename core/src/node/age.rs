//! How old what a server shows may be: since when it does not know itself to be current.

use super::Node;
use crate::zab;
use crate::zab::message::{Message, ToLearner};
use crate::zab::mutant::Mutant;
use crate::zxid::ServerId;

/// A word of whom this server learns from, and how long before it this server was current.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    way: (ServerId, u64),
    ago_ms: i64,
}

impl Node {
    /// What an event tells about the age of this server's state, if it turns out that nothing was lost
    /// before it: only what stands in the order of its session tells.
    pub(super) fn sample(&self, event: &zab::Event) -> Option<Sample> {
        let zab::Event::Received { from, message: Message::ToLearner { session, body, .. } } =
            event
        else {
            return None;
        };
        let way = self.zab.session().filter(|way| *way == (*from, *session))?;
        if !self.zab.is_following() {
            return None;
        }
        // A leader is current whenever it speaks; others say since when they are not.
        let ago_ms = if let ToLearner::Age(ms) = body {
            if self.zab.planted(Mutant::AgeFromReceipt) { 0 } else { i64::from(*ms) }
        } else if self.zab.learns_from_leader() {
            0
        } else {
            return None;
        };
        Some(Sample { way, ago_ms })
    }

    /// The event was taken, and did not end the session that it came in.
    pub(super) fn note_sample(&mut self, sample: Sample) {
        if self.zab.is_following() && self.zab.session() == Some(sample.way) {
            self.current_ms = self.current_ms.max(self.clock.mono_ms - sample.ago_ms);
        }
    }

    /// Since how many milliseconds this server does not know itself to be current: since it last
    /// heard its leader, whatever that said. By a clock of its own that never goes back.
    ///
    /// What it shows is older than that by as much as that message was on its way, or lay unread
    /// while this server stood still; by as long as a commit was not sent here yet when it was
    /// sent; and by as long as the leader did not know yet that it was replaced, which is the silence
    /// that it bears. `sync` has no such error.
    pub fn stale_ms(&self) -> i64 {
        if self.zab.is_leading() { 0 } else { self.clock.mono_ms - self.current_ms }
    }
}
