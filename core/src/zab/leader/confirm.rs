//! Confirmations that this server leads *now*, for reads that must not be stale.
//!
//! A confirmation is a ping whose answer comes back from a quorum after it was asked. All that are
//! asked while a round is under way share the next one, so any number costs one round at a time.

use super::Leading;
use crate::zab::base::Base;
use crate::zab::event::Action;
use crate::zab::mutant::Mutant;

#[derive(Clone, Debug, Default)]
pub(super) struct Confirms {
    /// The number of the last round.
    asked: u64,
    /// How many wait for the round that is under way.
    waiting: u64,
    /// How many wait for the one after it.
    queued: u64,
}

impl Confirms {
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    /// Forgets all; whether there were any.
    pub fn drop_all(&mut self) -> bool {
        let any = self.waiting + self.queued > 0;
        (self.waiting, self.queued) = (0, 0);
        any
    }
}

impl Leading {
    /// Somebody wants to know. A server that is not in broadcast cannot say.
    pub fn confirm(&mut self, base: &Base, out: &mut Vec<Action>) {
        if !self.is_broadcasting() {
            out.push(Action::ConfirmsFailed);
            return;
        }
        self.confirms.queued += 1;
        if self.confirms.waiting == 0 {
            self.ask_round(base, out);
        }
    }

    fn ask_round(&mut self, base: &Base, out: &mut Vec<Action>) {
        let confirms = &mut self.confirms;
        confirms.asked += 1;
        confirms.waiting = std::mem::take(&mut confirms.queued);
        self.ping_for_round(base, out);
        self.check_confirms(base, out);
    }

    fn ping_for_round(&mut self, base: &Base, out: &mut Vec<Action>) {
        let (number, all) = (self.confirms.asked, base.planted(Mutant::ObserverConfirms));
        for link in self.feed.links.values_mut().filter(|link| link.counts() || all) {
            link.ping(base, number, true, out);
        }
    }

    pub(super) fn check_confirms(&mut self, base: &Base, out: &mut Vec<Action>) {
        while self.confirms.waiting > 0 && self.is_broadcasting() {
            let asked = self.confirms.asked;
            let any = base.planted(Mutant::OldPongConfirms);
            let heard = self
                .feed
                .links
                .values()
                .filter(|link| link.counts() && (link.ponged == asked || any))
                .map(|link| link.id);
            let counted = base.planted(Mutant::ObserverConfirms);
            let observers = self.feed.links.values().filter(|link| counted && !link.votes);
            let observers = observers.filter(|link| link.ponged == asked).map(|_| base.me);
            let reached = base.quorum.is_reached(heard.chain(observers).chain([base.me]));
            if !reached && !base.planted(Mutant::ConfirmsWithoutQuorum) {
                return;
            }
            out.push(Action::Confirmed(std::mem::take(&mut self.confirms.waiting)));
            if self.confirms.queued == 0 {
                return;
            }
            let confirms = &mut self.confirms;
            confirms.asked += 1;
            confirms.waiting = std::mem::take(&mut confirms.queued);
            self.ping_for_round(base, out);
        }
    }
}
