//! Looking for a server to learn from, in the order of a list.
//!
//! ```text
//! Seek ─► each ─► Offer ──► the best of those that serve, are of no older epoch and do not learn from me
//! ```
//!
//! The first of the list that serves is followed as soon as all before it have answered that they do
//! not; whoever does not answer is waited for a little. One whose log begins behind what this server has
//! would send it a snapshot: it is followed only where no other has offered to serve in that time.
//!
//! One that lags is the last choice, and is left for another one that does not: by its offers it lacks
//! [`LAG_RECORDS`] of what others had a while before, and has nothing more than when it was asked before. One that is
//! slow is kept: it is so for all who learn from it, and each of them would take a copy of its own over the long link
//! that made it slow. It is taken for level again when it lacks few of what others
//! had in half of that time, and each time that it was left that has to hold for twice as long, so that nobody goes
//! to and fro between it and others.

use super::base::{Base, Upstream};
use super::event::Action;
use super::message::{Message, Offer};
use super::role::Next;
use crate::zxid::{ServerId, Zxid};

/// Servers from the leader to an upstream, at most. A longer way is slower than any other.
pub const HOPS_MAX: usize = 8;

/// Records that who lags lacks, at least: what fewer are is sooner there than another way is taken.
pub const LAG_RECORDS: u64 = 100;

/// Offers in a row after which an upstream is taken to lag: one may have been made in a hiccup.
const LAG_OFFERS: u32 = 2;

/// Good offers in a row after which an upstream of a better place is gone over to: twice as many for each time that it
/// was left because it lagged, up to the largest.
const GOOD_OFFERS: u32 = 2;
const GOOD_OFFERS_MAX: u32 = 64;

/// Askings at which an upstream was kept, one after the other, before it is forgotten how often it was left.
const KEPT_ASKINGS: u32 = GOOD_OFFERS_MAX;

/// Times at which it is remembered what was known: as many as lie between two askings, and more.
const KNOWN_MAX: usize = 8;

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
        base.note_known();
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
        let place =
            |id: ServerId, it: &Upstream| (!base.can_go_on_from(it), it.is_lagging(), it.order(id));
        let Some((&id, best)) = good.min_by_key(|(id, upstream)| place(**id, upstream)) else {
            self.since = None;
            return Next::Stay;
        };
        let since = *self.since.get_or_insert(base.now);
        let beside = |it: &Upstream| it.rank <= best.rank || best.is_lagging();
        let unheard = |it: &Upstream| it.offer.is_none() && beside(it);
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

/// Records that who has all up to `has` lacks of `all`; of an older epoch, those of the newer one at least.
fn records_between(has: Zxid, all: Zxid) -> u64 {
    let counted = if has.epoch() == all.epoch() { has.counter() } else { 0 };
    if all <= has { 0 } else { u64::from(all.counter() - counted) }
}

impl Upstream {
    /// Whether it has lagged for long enough to be left for another one.
    fn is_lagging(&self) -> bool {
        LAG_OFFERS <= self.lags
    }

    /// Good offers in a row that it takes to go over to it.
    fn good_offers_wanted(&self) -> u32 {
        GOOD_OFFERS.saturating_mul(1 << self.left.min(16)).min(GOOD_OFFERS_MAX)
    }

    /// It is the one that is learned from, and does not lag, at another asking.
    pub const fn keep(&mut self) {
        self.kept = self.kept.saturating_add(1);
        if KEPT_ASKINGS <= self.kept {
            self.left = 0;
        }
    }
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

    /// Whether an upstream of a better place may take this learner over. Several offers, so that one that comes
    /// and goes is not followed each time.
    pub fn prefers(&self, upstream: &Upstream) -> bool {
        upstream.good_offers >= upstream.good_offers_wanted() && self.can_go_on_from(upstream)
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
        let has = offer.committed;
        // One that is slow comes on, and carries for many what each of them would else fetch for itself.
        let stands_still = upstream.offer.as_ref().is_some_and(|(_, it)| has <= it.committed);
        upstream.stands_still = stands_still;
        upstream.offer = Some((now, offer));
        let (lacks_much, lacks_little) = self.compare_with_known(has);
        let upstream = &self.upstreams[&from];
        let lags = match (lacks_much, lacks_little) {
            (true, _) if stands_still => upstream.lags + 1,
            (true, _) if !upstream.is_lagging() => 0,
            (false, true) => 0,
            (true | false, _) => upstream.lags,
        };
        let good = is_good(self, upstream) && lags == 0;
        let good = if good { upstream.good_offers + 1 } else { 0 };
        let upstream = self.upstreams.get_mut(&from).expect("it was there");
        (upstream.good_offers, upstream.lags) = (good, lags);
        true
    }

    /// Remembers what is known to be committed anywhere, unless it is too soon to. What is offered is compared with
    /// what was known a while before: how long an offer takes to come, and who of several was asked first, is no
    /// lag then.
    pub fn note_known(&mut self) {
        let apart = self.timing.seek_ticks / 4;
        if self.known.back().is_some_and(|(at, _)| self.now < at + apart) {
            return;
        }
        let offers = self.upstreams.values().filter_map(|it| it.offer.as_ref());
        let offers = offers.filter(|(_, offer)| is_acceptable(self, offer));
        let best = offers.map(|(_, offer)| offer.committed).fold(self.committed, Zxid::max);
        self.known.push_back((self.now, best));
        if KNOWN_MAX < self.known.len() {
            self.known.pop_front();
        }
    }

    /// Whether who has this lacks much of what was known half of the time between two askings ago; and whether it
    /// lacks little of what was known half of that time ago.
    fn compare_with_known(&self, has: Zxid) -> (bool, bool) {
        let lacks = |ticks: u64| {
            let known = self.known.iter().rev().find(|(at, _)| at + ticks <= self.now);
            known.map_or(0, |(_, known)| records_between(has, *known))
        };
        let ticks = self.timing.seek_ticks / 2;
        (LAG_RECORDS < lacks(ticks), lacks(ticks / 2) <= LAG_RECORDS)
    }

    /// Whom this server should rather learn from than from `own`, which lags and does not come on: nobody who lags too, or would send a
    /// snapshot.
    pub fn ahead_of(&self, own: ServerId) -> Option<ServerId> {
        let lagging = self.upstreams.get(&own).filter(|it| it.is_lagging() && it.stands_still)?;
        let (_, has) = lagging.offer.as_ref()?;
        let is_ahead = |it: &Upstream| {
            let offer = it.offer.as_ref().filter(|_| is_good(self, it) && self.prefers(it));
            offer.is_some_and(|(_, it)| LAG_RECORDS < records_between(has.committed, it.committed))
        };
        let ahead = self.upstreams.iter().filter(|(_, it)| is_ahead(it));
        ahead.min_by_key(|(id, it)| it.order(**id)).map(|(&id, _)| id)
    }
}
