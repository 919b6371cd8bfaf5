//! Winning an epoch: discovery, the promise of a quorum, and its history on a quorum. Also leaving
//! one epoch for the next without an election.

use super::{Draining, LeaderStage, Leading};
use crate::log::epochs::Epochs;
use crate::zab::base::Base;
use crate::zab::event::{Action, Standing};
use crate::zab::feed::Stage;
use crate::zab::message::{Message, Stance};
use crate::zab::mutant::Mutant;
use crate::zab::role::Next;
use crate::zxid::{Epoch, ServerId, Zxid};

impl Leading {
    /// Chooses the epoch once a quorum is here, and founds it once a quorum has promised.
    pub(super) fn discover(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let LeaderStage::Discovery { .. } = self.stage else { return Next::Stay };
        if self.feed.epoch == Epoch::ZERO {
            let here = self.feed.links.values().filter(|link| link.votes).map(|link| link.id);
            if !base.quorum.is_reached(here.chain([base.me])) {
                return Next::Stay;
            }
            // Those who are no voters promise nothing, whatever they say that they have accepted.
            let voters = self.feed.links.values().filter(|link| base.quorum.contains(link.id));
            let theirs = voters.map(|link| link.join.accepted).max();
            let newest = match theirs {
                Some(theirs) if !base.planted(Mutant::OwnEpochOnly) => {
                    theirs.max(base.epochs.accepted)
                }
                Some(_) | None => base.epochs.accepted,
            };
            let raised = if base.planted(Mutant::EpochNotRaised) && newest != Epoch::ZERO {
                Some(newest)
            } else {
                newest.next()
            };
            self.feed.epoch = raised.expect("2^32 epochs are never used up");
            self.stage = LeaderStage::Discovery { deadline: base.now + base.timing.join_ticks };
            for link in self.feed.links.values_mut() {
                link.greet(self.feed.epoch, out);
            }
        }
        // Who is being given a snapshot was not asked for this epoch: what it promised is an older one,
        // and it is free to promise this one to another leader.
        let lenient = base.planted(Mutant::OldPromiseCounts);
        let promised = self
            .feed
            .links
            .values()
            .filter(|l| l.votes && l.promised && (l.epoch == self.feed.epoch || lenient))
            .map(|l| l.id);
        let reached = base.quorum.is_reached(promised.chain([base.me]))
            || base.planted(Mutant::FoundsWithoutPromises);
        if reached && base.planted(Mutant::LeaderEpochNotSaved) {
            self.stage = LeaderStage::Founding;
            base.epochs = Epochs { accepted: self.feed.epoch, current: self.feed.epoch };
            return self.on_epochs_saved(base, out);
        }
        if reached && base.is_settled() {
            self.stage = LeaderStage::Founding;
            // Only now is it an epoch that a quorum has promised without them.
            for link in self.feed.links.values_mut().filter(|link| link.rejoins(&base.quorum)) {
                link.offer_vote(self.feed.epoch, out);
            }
            base.save(Epochs { accepted: self.feed.epoch, current: self.feed.epoch }, out);
        }
        Next::Stay
    }

    /// Leaves the epoch for another one beyond `newest`, with the learners that are here.
    pub(super) fn found_again(
        &mut self,
        base: &mut Base,
        newest: Epoch,
        out: &mut Vec<Action>,
    ) -> Next {
        let others_lead_on = self.is_broadcasting();
        if others_lead_on {
            assert!(self.all_committed(base), "an epoch is left with nothing open");
            out.push(Action::Became(Standing::Alone));
            self.credentials = base.credentials();
        }
        self.draining = None;
        self.feed.uncommitted.clear();
        self.stage = LeaderStage::Discovery { deadline: base.now + base.timing.join_ticks };
        let next = newest.max(self.feed.epoch).max(base.epochs.accepted).next();
        self.feed.epoch = next.expect("2^32 epochs are never used up");
        for link in self.feed.links.values_mut() {
            // Who is being given a snapshot is in no quorum. It gets the rest of it first: else
            // epochs that follow each other faster than a snapshot takes would keep it out. Who
            // waits for one keeps its place.
            let snapshot = matches!(link.stage, Stage::Snapshotting(_) | Stage::Queued { .. });
            if (!others_lead_on || !snapshot) && !link.rejoins(&base.quorum) {
                link.greet(self.feed.epoch, out);
            }
        }
        self.discover(base, out)
    }

    /// A newer epoch than this one was promised to somebody: one beyond it is founded, at once or
    /// as soon as everything proposed is committed.
    pub(super) fn outbid(&mut self, base: &mut Base, newest: Epoch, out: &mut Vec<Action>) -> Next {
        let ignored = base.planted(Mutant::OutbidIgnored) || base.planted(Mutant::PromiseForgotten);
        if ignored && newest != self.feed.epoch {
            return Next::Stay;
        }
        match self.stage {
            LeaderStage::Discovery { .. } => self.found_again(base, newest, out),
            LeaderStage::Syncing { .. } => self.found_again(base, newest, out),
            // The save that is under way must end first.
            LeaderStage::Founding => {
                self.draining = Some(Draining::Found(newest));
                Next::Stay
            }
            LeaderStage::Broadcast => {
                if self.draining.is_none() {
                    self.draining = Some(Draining::Found(newest));
                }
                self.drained(base, out)
            }
        }
    }

    pub fn on_epochs_saved(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        if self.stage != LeaderStage::Founding {
            return self.discover(base, out);
        }
        if base.epochs.current != self.feed.epoch {
            // An older save, from before this server led.
            self.stage = LeaderStage::Discovery { deadline: base.now + base.timing.join_ticks };
            return self.discover(base, out);
        }
        self.stage = LeaderStage::Syncing { deadline: base.now + base.timing.join_ticks };
        self.proposed = self.feed.epoch.start();
        if let Some(Draining::Found(newest)) = self.draining {
            return self.found_again(base, newest, out);
        }
        let ids: Vec<ServerId> = self.feed.links.keys().copied().collect();
        for id in ids {
            self.begin_sync(base, id, out);
        }
        self.establish(base, out);
        Next::Stay
    }

    /// Begins to broadcast once a quorum has the history and the epoch.
    pub(super) fn establish(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        let LeaderStage::Syncing { .. } = self.stage else { return };
        let synced = self.feed.links.values().filter(|link| link.counts()).map(|link| link.id);
        let reached = base.quorum.is_reached(synced.chain([base.me]));
        if !reached && !base.planted(Mutant::LeadsBeforeQuorumSynced) {
            return;
        }
        self.stage = LeaderStage::Broadcast;
        base.preferred = false;
        base.commit(base.log.zxid, out);
        out.push(Action::Became(Standing::Leading(self.feed.epoch)));
        let ballot = base.ballot(Stance::Leading, None);
        base.send_voters(&Message::Ballot(ballot), out);
        let ids: Vec<ServerId> = self.feed.links.keys().copied().collect();
        for id in ids {
            self.begin_sync(base, id, out);
            self.welcome(base, id, out);
        }
    }

    pub(super) fn next_in_epoch(&self, base: &Base) -> Option<Zxid> {
        let endless = base.planted(Mutant::SpentCounterGoesOn);
        let limit = if endless { u32::MAX } else { base.timing.epoch_proposals };
        self.proposed.next().filter(|next| next.counter() <= limit)
    }

    /// The epoch's counter is spent: the next epoch is founded as soon as all of this one is
    /// committed. Nothing more can be proposed until then, so nothing else needs to wait.
    pub fn exhausted(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let spent = self.is_broadcasting() && self.next_in_epoch(base).is_none();
        if spent && self.all_committed(base) && base.is_settled() {
            return self.found_again(base, self.feed.epoch, out);
        }
        Next::Stay
    }
}
