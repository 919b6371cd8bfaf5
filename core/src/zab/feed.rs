//! Who learns from a server, and what each of them is sent. A leader feeds everybody who follows it;
//! a server that follows feeds those who do not vote.
//!
//! `sent` is contiguous for each learner, and what it is told to be committed never passes `sent`.

mod below;
mod catch_up;
mod link;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::base::Base;
use super::event::{Action, Anomaly};
use super::message::{Message, ToLearner};
use super::mutant::Mutant;
use super::run::Run;
use crate::zxid::{Epoch, ServerId, Zxid};
use below::Below;
#[cfg(test)]
pub(super) use catch_up::SNAPSHOTS_SENT_MAX;
pub(super) use catch_up::{CATCH_UP_BYTES_MIN, locate};
pub(super) use link::{Link, Stage};

#[derive(Clone, Debug, Default)]
pub(super) struct Feed {
    /// The epoch that learners are given.
    pub epoch: Epoch,
    pub links: BTreeMap<ServerId, Link>,
    /// Records that are not committed yet, for those who are sent committed ones only.
    pub uncommitted: VecDeque<Run>,
    /// Servers that those feed.
    below: Below,
    ping_at: u64,
    ping_observers_at: u64,
}

impl Feed {
    /// Whether a request to learn is newer than what is known of its sender.
    pub fn admits(&self, from: ServerId, session: u64) -> bool {
        if self.below.is_old(from, session) {
            return false;
        }
        let Some(known) = self.links.get(&from) else { return true };
        let same_boot = known.session >> 32 == session >> 32;
        !same_boot || known.session < session
    }

    /// Ends a learner's session; it joins again.
    pub fn drop_link(&mut self, base: &Base, id: ServerId, out: &mut Vec<Action>) {
        // Without a link nobody speaks through it, and looking for those is a walk over all ways.
        if let Some(link) = self.links.remove(&id) {
            self.below.lost(id);
            base.send(id, Message::Reset { session: link.session }, out);
        }
    }

    /// A learner has gone to another server: nothing more is for it.
    pub fn on_left(&mut self, id: ServerId, session: u64) {
        if self.links.get(&id).is_some_and(|link| link.session == session) {
            self.links.remove(&id);
            self.below.lost(id);
        }
    }

    /// Ends the sessions of those who do not vote.
    pub fn drop_observers(&mut self, base: &Base, out: &mut Vec<Action>) {
        let observers = self.links.values().filter(|link| !link.join.votes);
        let observers: Vec<ServerId> = observers.map(|link| link.id).collect();
        for id in observers {
            self.drop_link(base, id, out);
        }
    }

    /// Ends all sessions.
    pub fn drop_all(&mut self, base: &Base, out: &mut Vec<Action>) {
        while let Some((&id, _)) = self.links.first_key_value() {
            self.drop_link(base, id, out);
        }
        self.uncommitted.clear();
    }

    /// Takes the next message of a learner's session, if this is it.
    pub fn receive(
        &mut self,
        base: &Base,
        from: ServerId,
        (session, sequence): (u64, u64),
        out: &mut Vec<Action>,
    ) -> Option<&mut Link> {
        let lenient = base.planted(Mutant::SessionIgnored);
        let known = self.links.get(&from).filter(|link| link.session == session || lenient);
        let Some(received) = known.map(|link| link.received) else {
            base.send(from, Message::Reset { session }, out);
            return None;
        };
        if sequence < received && !lenient && !base.planted(Mutant::DuplicatesTaken) {
            return None;
        }
        if sequence > received && !lenient {
            self.drop_link(base, from, out);
            return None;
        }
        let link = self.links.get_mut(&from).expect("it was there");
        link.received += 1;
        link.heard = base.now;
        Some(link)
    }

    /// Whether what a learner asks, or passes on, is taken: it asks once it was told to serve. One that was not
    /// would have to be answered before it can be, and so without a bound.
    pub fn takes_asks(&mut self, base: &Base, from: ServerId, out: &mut Vec<Action>) -> bool {
        let served = self.links.get(&from).is_some_and(|link| link.was_served);
        if !served {
            base.refuse(from, Anomaly::Phase, out);
            self.drop_link(base, from, out);
        }
        served
    }

    /// Whether a server was told to serve, by this one or by one that this one feeds.
    pub fn serves(&self, id: ServerId) -> bool {
        self.links.get(&id).is_some_and(|link| link.up_to_date) || self.below.contains(id)
    }

    /// The learner through which a server speaks: itself, where it is no other.
    pub fn way_to(&self, id: ServerId) -> ServerId {
        self.below.via(id).unwrap_or(id)
    }

    /// A learner, and all that speak through it.
    pub fn behind(&self, id: ServerId) -> impl Iterator<Item = ServerId> + '_ {
        std::iter::once(id).chain(self.below.through(id))
    }

    /// Learners that were told to serve.
    pub fn served(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.links.values().filter(|link| link.up_to_date).map(|link| link.id)
    }

    /// Passes something to a learner's server, in order with all that it is told.
    pub fn respond(&mut self, to: ServerId, bytes: Arc<[u8]>, out: &mut Vec<Action>) {
        if self.respond_below(to, &bytes, out) {
            return;
        }
        if let Some(link) = self.links.get_mut(&to).filter(|link| link.up_to_date) {
            link.say(ToLearner::Response(bytes), out);
        }
    }

    /// Tells a learner that has the history that it may serve; whether it was told now.
    pub fn welcome(
        &mut self,
        base: &Base,
        id: ServerId,
        leads: bool,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return false };
        if !link.synced || link.up_to_date {
            return false;
        }
        (link.up_to_date, link.was_served) = (true, true);
        let mut upto = base.committed.min(link.sent.zxid);
        link.commit_sent = upto;
        if base.planted(Mutant::UpToDateTooOld) {
            upto = upto.min(link.join.last.zxid);
        }
        link.say_age(base, leads, out);
        link.say(ToLearner::UpToDate(upto), out);
        true
    }

    /// Notes that a learner has an epoch and its history; whether it was told of them.
    pub fn synced(&mut self, from: ServerId, epoch: Epoch) -> bool {
        let link = self.links.get_mut(&from).expect("looked up by the caller");
        let Some(at) = link.new_leader.filter(|_| epoch == self.epoch) else { return false };
        link.synced = true;
        // The answer says that all of it was durable before the epoch was. It may say so by nothing else: what
        // it acknowledged before the histories were compared did not count, and is not said again.
        link.acknowledged(at);
        true
    }

    /// Notes what a learner has made durable; whether that can be.
    pub fn acknowledged(
        &mut self,
        base: &mut Base,
        from: ServerId,
        upto: Zxid,
        out: &mut Vec<Action>,
    ) -> bool {
        let link = self.links.get_mut(&from).expect("looked up by the caller");
        match link.stage {
            Stage::CatchUp { .. } | Stage::Live => {}
            // It tells about its history before this server's, which counts for nothing.
            Stage::Greeted
            | Stage::Promised
            | Stage::Locating { .. }
            | Stage::Comparing
            | Stage::Queued { .. }
            | Stage::Snapshotting(_) => return false,
        }
        if link.sent.zxid < upto {
            base.refuse(from, Anomaly::Ack, out);
            self.drop_link(base, from, out);
            return false;
        }
        link.acknowledged(upto);
        self.continue_catch_up(base, from, out);
        true
    }

    /// Tells everybody what is committed: those who vote that it is, the others what it is.
    pub fn tell_commits(&mut self, base: &Base, committed: Zxid, out: &mut Vec<Action>) {
        while let Some(run) = self.uncommitted.pop_front() {
            let (done, open) = run.split(committed);
            if let Some(run) = &done {
                self.inform(base, run, out);
            }
            if let Some(run) = open {
                self.uncommitted.push_front(run);
                break;
            }
        }
        let past = base.planted(Mutant::CommitPastSent);
        for link in self.links.values_mut() {
            if past && link.up_to_date && link.votes {
                link.say(ToLearner::Commit(committed), out);
            } else if base.planted(Mutant::CommitForgotten) && committed.counter() % 8 == 5 {
                link.commit_sent = committed;
            } else if link.join.votes {
                link.tell_commit(committed, out);
            }
        }
    }

    /// Sends committed records to those who are sent nothing else, unless too much is in flight.
    pub fn inform(&mut self, base: &Base, run: &Run, out: &mut Vec<Action>) {
        let limit = base.timing.flight(false);
        let forgets = base.planted(Mutant::InformForgetsOne) && run.upto().zxid.counter() % 64 == 7;
        let mut liars = Vec::new();
        for link in self.links.values_mut().filter(|l| l.stage == Stage::Live && !l.join.votes) {
            if forgets {
                link.sent = run.upto();
                continue;
            }
            if link.flight_bytes() > limit {
                link.stage = Stage::CatchUp { reading: None };
                continue;
            }
            if link.sent.zxid < run.after().zxid {
                // A server that follows kept nothing for others while there were none.
                link.stage = Stage::CatchUp { reading: None };
                continue;
            }
            if run.after().zxid < link.sent.zxid {
                liars.push(link.id); // it said that it has what was not committed
                continue;
            }
            assert_eq!(link.sent, run.after(), "a learner's history has no hole");
            link.flew(run.upto(), run.bytes().len() as u64);
            let (after, bytes) = (run.after(), run.bytes().clone());
            link.commit_sent = run.upto().zxid;
            link.say(ToLearner::Inform { after, bytes }, out);
        }
        for id in liars {
            base.refuse(id, Anomaly::Ack, out);
            self.drop_link(base, id, out);
        }
    }

    /// Gives those who are sent committed records from the log what they were not sent when it came.
    pub fn catch_up_behind(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        let committed = base.committed;
        let is_behind = |link: &&mut Link| {
            let live = link.stage == Stage::Live && link.sent.zxid < committed;
            live || link.stage == Stage::CatchUp { reading: None }
        };
        let mut behind = Vec::new();
        for link in self.links.values_mut().filter(is_behind) {
            link.stage = Stage::CatchUp { reading: None };
            behind.push(link.id);
        }
        // Once for all of them: they may be a thousand, and this is asked behind every commit.
        let limit = if behind.is_empty() { 0 } else { self.catch_up_share() };
        for id in behind {
            let votes = self.links.get(&id).is_some_and(|link| link.join.votes);
            let own = base.timing.flight(votes);
            self.catch_up_within(base, id, if votes { own } else { own.min(limit) }, out);
        }
    }

    /// A learner is saying something that takes long to come: its answers wait behind that. Of one that votes
    /// others wait for those.
    pub fn arriving(&mut self, base: &Base, from: ServerId) {
        let forgets = base.planted(Mutant::LongWordGivenUp);
        if let Some(link) = self.links.get_mut(&from).filter(|it| !it.join.votes && !forgets) {
            link.heard = base.now;
        }
    }

    /// Parts with those who were silent for too long.
    pub fn drop_silent(&mut self, base: &Base, out: &mut Vec<Action>) {
        let silent = self.links.values().filter(|link| {
            let patience = base.timing.patience(link.join.votes);
            base.now - link.heard > patience
        });
        let silent: Vec<ServerId> = silent.map(|link| link.id).collect();
        for id in silent {
            self.drop_link(base, id, out);
        }
    }

    /// Speaks to each learner when it is time to.
    pub fn ping(&mut self, base: &Base, number: u64, leads: bool, out: &mut Vec<Action>) {
        let due = |at: &mut u64, ticks: u64| {
            let due = *at <= base.now;
            if due {
                *at = base.now + ticks;
            }
            due
        };
        let voters = due(&mut self.ping_at, base.timing.ping_ticks);
        let others = due(&mut self.ping_observers_at, base.timing.observer_ping_ticks);
        for link in self.links.values_mut() {
            if !(if link.join.votes { voters } else { others }) {
                continue;
            }
            link.ping(base, number, leads, out);
            if let Stage::Queued { .. } = link.stage {
                link.say(ToLearner::Queued, out);
            }
        }
    }
}
