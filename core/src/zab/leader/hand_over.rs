//! Ending: draining for another epoch, a planned hand-over, and a disk that hangs.

use super::{Draining, Leading};
use crate::zab::base::Base;
use crate::zab::event::Action;
use crate::zab::feed::{Link, Stage};
use crate::zab::message::{Stance, ToLearner};
use crate::zab::mutant::Mutant;
use crate::zab::role::Next;
use crate::zxid::ServerId;

impl Leading {
    /// Does what it drained for, once everything that was proposed is committed.
    pub(super) fn drained(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let Some(draining) = self.draining else { return Next::Stay };
        let hasty = base.planted(Mutant::TransfersUndrained)
            && matches!(draining, Draining::HandOver { .. });
        if !self.is_broadcasting() || !(self.all_committed(base) || hasty) {
            return Next::Stay;
        }
        match draining {
            // Its own log too: a founding server's history is durable.
            Draining::Found(newest) if base.is_settled() => self.found_again(base, newest, out),
            Draining::Found(_) => Next::Stay,
            Draining::HandOver { to, .. } => {
                let ready = self.feed.links.get(&to).is_some_and(|link| {
                    let whole = link.stage == Stage::Live && base.log.zxid <= link.acked;
                    link.counts() && (whole || hasty)
                });
                if !ready {
                    return Next::Stay;
                }
                let link = self.feed.links.get_mut(&to).expect("ready");
                link.say(ToLearner::TakeOver, out);
                self.stop(base, out)
            }
        }
    }

    /// Whether every proposal that was named is committed.
    pub(super) fn all_committed(&self, base: &Base) -> bool {
        let named = self.proposed.counter() == 0 || base.committed == self.proposed;
        named && base.committed == base.log.zxid
    }

    /// Begins to hand over. Nothing happens when `to` does not follow.
    pub fn transfer(&mut self, base: &mut Base, to: ServerId, out: &mut Vec<Action>) -> Next {
        let able = self.feed.links.get(&to).is_some_and(Link::counts);
        if !self.is_broadcasting() || !able || self.draining.is_some() {
            return Next::Stay;
        }
        let deadline = base.now + base.timing.transfer_ticks;
        self.draining = Some(Draining::HandOver { to, deadline });
        self.drained(base, out)
    }

    /// Whether this server and the `able` ones of those that follow are a quorum.
    pub fn has_quorum(&self, base: &Base, able: impl Fn(ServerId) -> bool) -> bool {
        let follows = self.feed.links.values().filter(|link| link.counts() && able(link.id));
        base.quorum.is_reached(follows.map(|link| link.id).chain([base.me]))
    }

    /// The best of the `able` voters that follow, where those and who else is heard to look for a leader are a
    /// quorum without this server. None while it drains for something else.
    pub fn successor(&self, base: &Base, able: impl Fn(ServerId) -> bool) -> Option<ServerId> {
        if self.draining.is_some() {
            return None;
        }
        let follows = |id: &ServerId| self.feed.links.get(id).is_some_and(Link::counts);
        let looks = |id: &ServerId| {
            let ballot = base.peers.get(id).and_then(|peer| base.fresh(peer));
            ballot.is_some_and(|ballot| ballot.stance == Stance::Looking)
        };
        let others: Vec<ServerId> =
            base.quorum.iter().filter(|&id| id != base.me && able(id)).collect();
        let reached = others.iter().copied().filter(|id| follows(id) || looks(id));
        if !base.quorum.is_reached(reached) {
            return None;
        }
        others.into_iter().filter(follows).max_by_key(|id| self.feed.links[id].acked)
    }

    /// A leader whose own disk hangs leads no more if another voter is well.
    pub(super) fn mind_stall(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        if let Some(Draining::HandOver { deadline, .. }) = self.draining
            && base.now > deadline
        {
            self.draining = None;
        }
        let stalled =
            self.stalled_since.is_some_and(|since| base.now - since > base.timing.stall_ticks);
        let handing_over = matches!(self.draining, Some(Draining::HandOver { .. }));
        if !stalled || handing_over || !self.is_broadcasting() {
            return Next::Stay;
        }
        // A new epoch would have to wait for the same disk.
        self.draining = None;
        let well = self
            .feed
            .links
            .values()
            .filter(|link| link.counts() && base.durable < link.acked)
            .max_by_key(|link| link.acked)
            .map(|link| link.id);
        match well {
            Some(to) => self.transfer(base, to, out),
            None => Next::Stay,
        }
    }
}
