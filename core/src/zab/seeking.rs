//! Looking for a server to learn from, in the order of a list.
//!
//! ```text
//! Seek ─► each ─► Offer ──► the best of those that serve, are of no older epoch and do not learn from me
//! ```
//!
//! The first of the list that serves is followed as soon as all before it have answered that they do
//! not; whoever does not answer is waited for a little. One whose log begins behind what this server has
//! would send it a snapshot: it is followed only where no other has offered to serve in that time.

use super::base::{Base, Upstream};
use super::event::Action;
use super::message::{Message, Offer};
use super::role::Next;
use crate::zxid::{ServerId, Zxid};

/// Servers from the leader to an upstream, at most. A longer way is slower than any other.
pub const HOPS_MAX: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Seeking {
    ask_at: u64,
    /// When the first good offer came.
    since: Option<u64>,
}

impl Seeking {
    pub fn begin(base: &mut Base, out: &mut Vec<Action>) -> Self {
        for upstream in base.upstreams.values_mut() {
            (upstream.offer, upstream.good_offers) = (None, 0);
        }
        let mut seeking = Self { ask_at: base.now, since: None };
        seeking.ask(base, out);
        seeking
    }

    fn ask(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        let jitter = base.prng.below(base.timing.ballot_ticks / 2 + 1);
        self.ask_at = base.now + base.timing.ballot_ticks - jitter;
        let all: Vec<ServerId> = base.upstreams.keys().copied().collect();
        for to in all {
            base.seek(to, out);
        }
    }

    pub fn on_tick(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        if self.ask_at <= base.now {
            self.ask(base, out);
        }
        self.consider(base)
    }

    /// Follows the best of what is offered, when there is nothing better to wait for.
    pub fn consider(&mut self, base: &Base) -> Next {
        let good = base.upstreams.iter().filter(|(_, upstream)| is_good(base, upstream));
        let place = |id: ServerId, it: &Upstream| (!base.can_go_on_from(it), it.order(id));
        let Some((&id, best)) = good.min_by_key(|(id, upstream)| place(**id, upstream)) else {
            self.since = None;
            return Next::Stay;
        };
        let since = *self.since.get_or_insert(base.now);
        let unheard = |it: &Upstream| it.offer.is_none() && it.rank <= best.rank;
        let waits = match base.can_go_on_from(best) {
            true if base.upstreams.values().any(unheard) => base.timing.heard_ticks,
            true => 0,
            // Also for those to whom there is no link yet.
            false => base.timing.observer_silence_ticks,
        };
        if base.now - since < waits {
            return Next::Stay;
        }
        Next::Follow(id)
    }
}

/// Whether an upstream can be learned from, as far as it said lately.
pub(super) fn is_good(base: &Base, upstream: &Upstream) -> bool {
    let Some((at, offer)) = &upstream.offer else { return false };
    let fresh = base.now - at <= base.timing.observer_silence_ticks;
    fresh && is_acceptable(base, offer)
}

fn is_acceptable(base: &Base, offer: &Offer) -> bool {
    offer.serving
        && base.epochs.current <= offer.epoch
        && base.log.zxid.epoch() <= offer.epoch
        && offer.path.len() < HOPS_MAX
        && !offer.path.contains(&base.me)
}

impl Base {
    /// What this server offers, being in this state.
    pub fn offer(&self, serving: bool, path: Vec<ServerId>) -> Offer {
        let (epoch, committed) = (self.epochs.current, self.committed);
        Offer { serving, epoch, committed, begins: self.begins, path }
    }

    /// Whether an upstream has, by its last offer, all that this server lacks in its log. Who has no history
    /// yet takes a snapshot from anybody.
    fn can_go_on_from(&self, upstream: &Upstream) -> bool {
        let Some((_, offer)) = &upstream.offer else { return false };
        let has = self.log.zxid;
        has == Zxid::ZERO || offer.begins <= has
    }

    /// Whether an upstream of a better place may take this learner over. Two offers, so that one that comes
    /// and goes is not followed each time.
    pub fn prefers(&self, upstream: &Upstream) -> bool {
        upstream.good_offers >= 2 && self.can_go_on_from(upstream)
    }

    /// Asks an upstream what it offers.
    pub fn seek(&mut self, to: ServerId, out: &mut Vec<Action>) {
        if let Some(upstream) = self.upstreams.get_mut(&to) {
            upstream.asked_at = self.now;
        }
        self.send(to, Message::Seek, out);
    }

    /// Notes an offer; whether it comes from an upstream.
    pub fn offered(&mut self, from: ServerId, offer: Offer) -> bool {
        let now = self.now;
        let Some(upstream) = self.upstreams.get_mut(&from) else { return false };
        upstream.round_trip = now - upstream.asked_at;
        upstream.offer = Some((now, offer));
        let upstream = &self.upstreams[&from];
        let good = if is_good(self, upstream) { upstream.good_offers + 1 } else { 0 };
        self.upstreams.get_mut(&from).expect("it was there").good_offers = good;
        true
    }
}
