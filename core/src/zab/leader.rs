//! Leading: an epoch is won, its history given to a quorum, and then proposals are broadcast.
//!
//! ```text
//! Discovery ─a quorum promised─► Founding ─epochs saved─► Syncing ─a quorum synced─► Broadcast
//!     ▲                                                                                  │
//!     └── counter spent, somebody promised a newer epoch, a voter rejoined: all drained ─┘
//! ```
//!
//! `committed ≤ durable on a quorum ≤ sent ≤ proposed`, and `sent` is contiguous for each learner.
//! A quorum of learners that is not heard for `silence_ticks` ends it all.

mod catch_up;
mod confirm;
mod link;

use std::collections::{BTreeMap, VecDeque};

use super::base::Base;
use super::election;
use super::event::{Action, Anomaly, Standing};
use super::message::{Join, Message, Stance, ToLeader, ToLearner};
use super::mutant::Mutant;
use super::role::Next;
use super::run::{Position, Run};
use crate::log::epochs::Epochs;
use crate::zxid::{Epoch, ServerId, Zxid};
use confirm::Confirms;
use link::{Link, Stage};

#[derive(Clone, Debug)]
pub(super) struct Leading {
    stage: LeaderStage,
    /// What this server was elected with. A learner that has more must not be led by it.
    credentials: (Epoch, Zxid),
    epoch: Epoch,
    links: BTreeMap<ServerId, Link>,
    /// The last zxid given out.
    proposed: Zxid,
    /// Proposals that are not committed yet, for those who are sent committed records only.
    uncommitted: VecDeque<Run>,
    confirms: Confirms,
    ping_at: u64,
    /// Since when the oldest write on this server's own disk is under way.
    stalled_since: Option<u64>,
    /// No proposal is taken: this leader waits until all is committed.
    draining: Option<Draining>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaderStage {
    Discovery { deadline: u64 },
    Founding,
    Syncing { deadline: u64 },
    Broadcast,
}

/// Why a leader takes no proposals, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    /// A new epoch, at least this.
    Found(Epoch),
    /// Another leader, by then at the latest.
    HandOver { to: ServerId, deadline: u64 },
}

impl Leading {
    pub fn begin(base: &mut Base, out: &mut Vec<Action>) -> (Self, Next) {
        assert!(base.is_settled(), "a candidate's history and promises are durable");
        let mut leading = Self {
            // Its voters are looking for it now: whoever does not come at once does not come.
            stage: LeaderStage::Discovery { deadline: base.now + base.timing.silence_ticks },
            credentials: base.credentials(),
            epoch: Epoch::ZERO,
            links: BTreeMap::new(),
            proposed: Zxid::ZERO,
            uncommitted: VecDeque::new(),
            confirms: Confirms::default(),
            ping_at: base.now,
            stalled_since: None,
            draining: None,
        };
        let ballot = base.ballot(Stance::Leading, None);
        base.send_voters(&Message::Ballot(ballot), out);
        let next = leading.discover(base, out);
        (leading, next)
    }

    pub fn is_broadcasting(&self) -> bool {
        self.stage == LeaderStage::Broadcast
    }

    pub const fn phase_name(&self) -> &'static str {
        match self.stage {
            LeaderStage::Discovery { .. } | LeaderStage::Founding => "discovery",
            LeaderStage::Syncing { .. } => "synchronization",
            LeaderStage::Broadcast => "broadcast",
        }
    }

    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Learners that have this leader's history.
    pub fn synced(&self) -> impl Iterator<Item = (ServerId, Zxid)> + '_ {
        self.links.values().filter(|link| link.synced).map(|link| (link.id, link.acked))
    }

    fn stop(&mut self, out: &mut Vec<Action>) -> Next {
        if self.is_broadcasting() {
            out.push(Action::Became(Standing::Alone));
        }
        if self.confirms.drop_all() {
            out.push(Action::ConfirmsFailed);
        }
        Next::Look
    }

    // ---------------------------------------------------------------- discovery

    /// Chooses the epoch once a quorum is here, and founds it once a quorum has promised.
    fn discover(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let LeaderStage::Discovery { .. } = self.stage else { return Next::Stay };
        if self.epoch == Epoch::ZERO {
            let here = self.links.values().filter(|link| link.votes).map(|link| link.id);
            if !base.quorum.is_reached(here.chain([base.me])) {
                return Next::Stay;
            }
            let theirs = self.links.values().map(|link| link.join.accepted).max();
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
            self.epoch = raised.expect("2^32 epochs are never used up");
            self.stage = LeaderStage::Discovery { deadline: base.now + base.timing.join_ticks };
            for link in self.links.values_mut() {
                link.greet(self.epoch, out);
            }
        }
        let promised = self.links.values().filter(|l| l.votes && l.promised).map(|l| l.id);
        if base.quorum.is_reached(promised.chain([base.me])) && base.is_settled() {
            self.stage = LeaderStage::Founding;
            base.save(Epochs { accepted: self.epoch, current: self.epoch }, out);
        }
        Next::Stay
    }

    /// Leaves the epoch for another one beyond `newest`, with the learners that are here.
    fn found_again(&mut self, base: &mut Base, newest: Epoch, out: &mut Vec<Action>) -> Next {
        let others_lead_on = self.is_broadcasting();
        if others_lead_on {
            assert!(self.all_committed(base), "an epoch is left with nothing open");
            out.push(Action::Became(Standing::Alone));
            self.credentials = base.credentials();
        }
        self.draining = None;
        self.uncommitted.clear();
        self.stage = LeaderStage::Discovery { deadline: base.now + base.timing.join_ticks };
        let next = newest.max(self.epoch).max(base.epochs.accepted).next();
        self.epoch = next.expect("2^32 epochs are never used up");
        for link in self.links.values_mut() {
            // Who is being given a snapshot is in no quorum. It gets the rest of it first: else
            // epochs that follow each other faster than a snapshot takes would keep it out.
            if !others_lead_on || !matches!(link.stage, Stage::Snapshotting { .. }) {
                link.greet(self.epoch, out);
            }
        }
        self.discover(base, out)
    }

    /// A newer epoch than this one was promised to somebody: one beyond it is founded, at once or
    /// as soon as everything proposed is committed.
    fn outbid(&mut self, base: &mut Base, newest: Epoch, out: &mut Vec<Action>) -> Next {
        if base.planted(Mutant::OutbidIgnored) && newest != self.epoch {
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
        if base.epochs.current != self.epoch {
            // An older save, from before this server led.
            self.stage = LeaderStage::Discovery { deadline: base.now + base.timing.join_ticks };
            return self.discover(base, out);
        }
        self.stage = LeaderStage::Syncing { deadline: base.now + base.timing.join_ticks };
        self.proposed = self.epoch.start();
        if let Some(Draining::Found(newest)) = self.draining {
            return self.found_again(base, newest, out);
        }
        let ids: Vec<ServerId> = self.links.keys().copied().collect();
        for id in ids {
            self.begin_sync(base, id, out);
        }
        self.establish(base, out);
        Next::Stay
    }

    /// Begins to broadcast once a quorum has the history and the epoch.
    fn establish(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        let LeaderStage::Syncing { .. } = self.stage else { return };
        let synced = self.links.values().filter(|link| link.counts()).map(|link| link.id);
        let reached = base.quorum.is_reached(synced.chain([base.me]));
        if !reached && !base.planted(Mutant::LeadsBeforeQuorumSynced) {
            return;
        }
        self.stage = LeaderStage::Broadcast;
        base.preferred = false;
        base.commit(base.log.zxid, out);
        out.push(Action::Became(Standing::Leading(self.epoch)));
        let ballot = base.ballot(Stance::Leading, None);
        base.send_voters(&Message::Ballot(ballot), out);
        let ids: Vec<ServerId> = self.links.keys().copied().collect();
        for id in ids {
            self.begin_sync(base, id, out);
            self.welcome(base, id, out);
        }
    }

    // ---------------------------------------------------------------- learners

    pub fn on_join(
        &mut self,
        base: &mut Base,
        from: ServerId,
        session: u64,
        join: Join,
        out: &mut Vec<Action>,
    ) -> Next {
        if let Some(known) = self.links.get(&from) {
            let same_boot = known.session >> 32 == session >> 32;
            if same_boot && session <= known.session {
                return Next::Stay;
            }
        }
        let votes = join.votes && base.quorum.contains(from);
        if votes && self.is_ahead(base, join.current, join.last.zxid) {
            return self.stop(out);
        }
        let mut link = Link::new(from, session, join, votes, base.now);
        if self.epoch != Epoch::ZERO {
            link.greet(self.epoch, out);
        }
        self.links.insert(from, link);
        let owned = matches!(self.stage, LeaderStage::Syncing { .. } | LeaderStage::Broadcast);
        let newest = join.accepted;
        if self.epoch != Epoch::ZERO
            && votes
            && (self.epoch < newest || (self.epoch == newest && !owned))
        {
            return self.outbid(base, newest, out);
        }
        self.discover(base, out)
    }

    /// Whether a learner has more than this leader was elected with. Its vote must then not help
    /// to establish this epoch: what it has may be committed.
    fn is_ahead(&self, base: &Base, current: Epoch, last: Zxid) -> bool {
        !self.is_broadcasting()
            && self.credentials < (current, last)
            && !base.planted(Mutant::AheadLearnerIgnored)
    }

    pub fn drop_link(&mut self, base: &Base, id: ServerId, out: &mut Vec<Action>) {
        if let Some(link) = self.links.remove(&id) {
            base.send(id, Message::Reset { session: link.session }, out);
        }
    }

    pub fn on_message(
        &mut self,
        base: &mut Base,
        from: ServerId,
        (session, sequence): (u64, u64),
        body: ToLeader,
        out: &mut Vec<Action>,
    ) -> Next {
        let lenient = base.planted(Mutant::SessionIgnored);
        let Some(link) = self.links.get_mut(&from).filter(|l| l.session == session || lenient)
        else {
            base.send(from, Message::Reset { session }, out);
            return Next::Stay;
        };
        if sequence < link.received && !lenient {
            return Next::Stay;
        }
        if sequence > link.received && !lenient {
            self.drop_link(base, from, out);
            return Next::Stay;
        }
        link.received += 1;
        link.heard = base.now;
        match body {
            ToLeader::Promised { epoch, counted, current, last } => {
                return self.on_promised(base, from, (epoch, counted, current, last), out);
            }
            ToLeader::Have(at) => self.on_have(base, from, at, out),
            ToLeader::SnapshotStored(upto) => self.on_snapshot_stored(base, from, upto, out),
            ToLeader::Synced(epoch) => {
                if epoch == self.epoch && link.new_leader_sent {
                    link.synced = true;
                    // The answer says that all this was durable before the epoch was.
                    self.establish(base, out);
                    self.welcome(base, from, out);
                    // What it had acknowledged before counts from now on.
                    return self.advance(base, out);
                }
            }
            ToLeader::Ack(upto) => return self.on_ack(base, from, upto, out),
            ToLeader::Pong(number) => {
                link.ponged = link.ponged.max(number);
                self.check_confirms(base, out);
            }
            ToLeader::Ahead(accepted) => {
                let votes = link.votes;
                if votes && self.epoch < accepted {
                    return self.outbid(base, accepted, out);
                }
            }
        }
        Next::Stay
    }

    fn on_promised(
        &mut self,
        base: &mut Base,
        from: ServerId,
        (epoch, counted, current, last): (Epoch, bool, Epoch, Position),
        out: &mut Vec<Action>,
    ) -> Next {
        let link = self.links.get_mut(&from).expect("looked up by the caller");
        // An answer to an epoch that this leader has left since.
        if epoch != self.epoch || link.stage != Stage::Greeted {
            return Next::Stay;
        }
        (link.join.current, link.join.last) = (current, last);
        if counted && !link.join.votes && base.quorum.contains(from) {
            // A voter that lost its disk has come to an epoch that a quorum promised without it.
            (link.join.votes, link.votes) = (true, true);
        } else {
            link.promised = counted;
        }
        link.stage = Stage::Promised;
        let votes = link.votes;
        if votes && self.is_ahead(base, current, last.zxid) {
            return self.stop(out);
        }
        let next = self.discover(base, out);
        self.begin_sync(base, from, out);
        next
    }

    /// Tells a learner that has the history that it may serve.
    fn welcome(&mut self, base: &mut Base, id: ServerId, out: &mut Vec<Action>) {
        let (leads, committed) = (self.is_broadcasting(), base.committed);
        let draining = self.draining.is_some();
        let Some(link) = self.links.get_mut(&id) else { return };
        if !leads || !link.synced || link.up_to_date {
            return;
        }
        link.up_to_date = true;
        let upto = committed.min(link.sent.zxid);
        link.commit_sent = upto;
        link.say(ToLearner::UpToDate(upto), out);
        let rejoined = !link.join.votes && base.quorum.contains(id);
        if rejoined && !draining {
            // A voter that lost its disk has the history again. It may vote from the next epoch
            // on, which a quorum promises without it.
            self.draining = Some(Draining::Found(self.epoch));
        }
    }

    // ---------------------------------------------------------------- broadcast

    /// The zxid of the next proposal, or whether this leader must found a new epoch first.
    pub fn next_proposal(&self, base: &Base) -> Option<Zxid> {
        if !self.is_broadcasting() || self.draining.is_some() {
            return None;
        }
        let next = self.next_in_epoch(base);
        if base.planted(Mutant::FirstProposalSkipsOne) && self.proposed.counter() == 0 {
            return next.and_then(Zxid::next);
        }
        next
    }

    fn next_in_epoch(&self, base: &Base) -> Option<Zxid> {
        self.proposed.next().filter(|next| next.counter() <= base.timing.epoch_proposals)
    }

    /// The epoch's counter is spent: the next epoch is founded as soon as all of this one is
    /// committed. Nothing more can be proposed until then, so nothing else needs to wait.
    pub fn exhausted(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let spent = self.is_broadcasting() && self.next_in_epoch(base).is_none();
        if spent && self.all_committed(base) && base.is_settled() {
            return self.found_again(base, self.epoch, out);
        }
        Next::Stay
    }

    pub fn propose(&mut self, base: &Base, zxid: Zxid) {
        assert_eq!(self.next_proposal(base), Some(zxid), "proposals are contiguous");
        self.proposed = zxid;
    }

    /// Skips proposals, so that a test sees a counter end.
    #[cfg(test)]
    pub fn set_proposed(&mut self, zxid: Zxid) {
        self.proposed = zxid;
    }

    /// A voter that is alone keeps its log in its shell's hands: what is durable was appended.
    pub fn logged_alone(&mut self, base: &mut Base, upto: Zxid) {
        assert!(upto <= self.proposed.max(base.log.zxid), "{upto:?} was proposed by nobody");
        assert_eq!(base.quorum.voters(), 1, "in an ensemble proposals are events");
        if base.log.zxid < upto {
            base.log.zxid = upto;
        }
    }

    /// Whether a quorum follows another leader, so that this attempt is in vain.
    pub fn yield_to(&mut self, base: &Base, out: &mut Vec<Action>) -> Next {
        let idle = matches!(self.stage, LeaderStage::Discovery { .. }) && self.epoch == Epoch::ZERO;
        if idle && election::established(base).is_some() { self.stop(out) } else { Next::Stay }
    }

    pub fn broadcast(&mut self, base: &mut Base, run: Run, out: &mut Vec<Action>) {
        assert!(self.is_broadcasting(), "only a leader in broadcast proposes");
        assert_eq!(run.after(), base.log, "proposals follow this leader's history");
        assert!(run.upto().zxid <= self.proposed, "proposals were named before");
        base.log = run.upto();
        out.push(Action::Append { ticket: base.ticket, run: run.clone() });
        self.stalled_since.get_or_insert(base.now);
        let limit = base.timing.flight_bytes;
        for link in self.links.values_mut() {
            if link.stage == Stage::Live && link.join.votes {
                live(link, &run, limit, out);
            }
        }
        if base.planted(Mutant::InformsUncommitted) {
            self.inform(base, &run, out);
        } else {
            self.uncommitted.push_back(run);
        }
        let upto = base.log.zxid;
        if base.planted(Mutant::OwnAppendCountsAsDurable) {
            base.durable = upto;
        }
    }

    /// This server's own log is durable up to here, as far as a write of this shell's says.
    pub fn own_durable(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        assert!(base.durable <= self.proposed.max(base.log.zxid), "nobody proposed that");
        self.stalled_since = (base.durable < base.log.zxid).then_some(base.now);
        self.advance(base, out)
    }

    fn on_ack(
        &mut self,
        base: &mut Base,
        from: ServerId,
        upto: Zxid,
        out: &mut Vec<Action>,
    ) -> Next {
        let link = self.links.get_mut(&from).expect("looked up by the caller");
        match link.stage {
            Stage::CatchUp { .. } | Stage::Live => {}
            // It tells about its history before this leader's, which counts for nothing.
            Stage::Greeted
            | Stage::Promised
            | Stage::Locating { .. }
            | Stage::Comparing
            | Stage::Snapshotting { .. } => return Next::Stay,
        }
        if link.sent.zxid < upto {
            base.refuse(from, Anomaly::Ack, out);
            self.drop_link(base, from, out);
            return Next::Stay;
        }
        link.acknowledged(upto);
        self.continue_catch_up(base, from, out);
        self.advance(base, out)
    }

    /// Commits what a quorum has.
    fn advance(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        if !self.is_broadcasting() {
            return Next::Stay;
        }
        let unsynced = base.planted(Mutant::UnsyncedAcksCount);
        let mut acks = vec![(base.me, base.durable)];
        acks.extend(
            self.links
                .values()
                .filter(|link| link.counts() || (unsynced && link.votes))
                .map(|link| (link.id, link.acked)),
        );
        let reached = if base.planted(Mutant::QuorumOneShort) {
            acks.iter().map(|ack| ack.1).max()
        } else {
            base.quorum.committed(&acks)
        };
        let Some(committed) = reached.filter(|&committed| base.committed < committed) else {
            return self.drained(base, out);
        };
        base.commit(committed, out);
        self.tell_commits(base, committed, out);
        self.drained(base, out)
    }

    fn tell_commits(&mut self, base: &mut Base, committed: Zxid, out: &mut Vec<Action>) {
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
            } else if link.join.votes {
                link.tell_commit(committed, out);
            }
        }
    }

    fn inform(&mut self, base: &Base, run: &Run, out: &mut Vec<Action>) {
        let limit = base.timing.flight_bytes;
        let forgets = base.planted(Mutant::InformForgetsOne) && run.upto().zxid.counter() % 64 == 7;
        for link in self.links.values_mut().filter(|l| l.stage == Stage::Live && !l.join.votes) {
            if forgets {
                link.sent = run.upto();
                continue;
            }
            if link.flight_bytes() > limit {
                link.stage = Stage::CatchUp { reading: None };
                continue;
            }
            assert_eq!(link.sent, run.after(), "a learner's history has no hole");
            link.flew(run.upto(), run.bytes().len() as u64);
            let (after, bytes) = (run.after(), run.bytes().clone());
            link.commit_sent = run.upto().zxid;
            link.say(ToLearner::Inform { after, bytes }, out);
        }
    }

    /// Does what it drained for, once everything that was proposed is committed.
    fn drained(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let Some(draining) = self.draining else { return Next::Stay };
        if !self.is_broadcasting() || !self.all_committed(base) {
            return Next::Stay;
        }
        match draining {
            // Its own log too: a founding server's history is durable.
            Draining::Found(newest) if base.is_settled() => self.found_again(base, newest, out),
            Draining::Found(_) => Next::Stay,
            Draining::HandOver { to, .. } => {
                let ready = self.links.get(&to).is_some_and(|link| {
                    link.counts() && link.stage == Stage::Live && base.log.zxid <= link.acked
                });
                if !ready {
                    return Next::Stay;
                }
                let link = self.links.get_mut(&to).expect("ready");
                link.say(ToLearner::TakeOver, out);
                self.stop(out)
            }
        }
    }

    /// Whether every proposal that was named is committed.
    fn all_committed(&self, base: &Base) -> bool {
        let named = self.proposed.counter() == 0 || base.committed == self.proposed;
        named && base.committed == base.log.zxid
    }

    /// Begins to hand over. Nothing happens when `to` does not follow.
    pub fn transfer(&mut self, base: &mut Base, to: ServerId, out: &mut Vec<Action>) -> Next {
        let able = self.links.get(&to).is_some_and(Link::counts);
        if !self.is_broadcasting() || !able || self.draining.is_some() {
            return Next::Stay;
        }
        let deadline = base.now + base.timing.transfer_ticks;
        self.draining = Some(Draining::HandOver { to, deadline });
        self.drained(base, out)
    }

    // ---------------------------------------------------------------- time

    pub fn on_tick(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let silent: Vec<ServerId> = self
            .links
            .values()
            .filter(|link| base.now - link.heard > base.timing.silence_ticks)
            .map(|link| link.id)
            .collect();
        for id in silent {
            self.drop_link(base, id, out);
        }
        let late = match self.stage {
            LeaderStage::Discovery { deadline } | LeaderStage::Syncing { deadline } => {
                base.now > deadline
            }
            LeaderStage::Founding => false,
            LeaderStage::Broadcast => {
                let heard = self.links.values().filter(|link| link.counts()).map(|link| link.id);
                !base.quorum.is_reached(heard.chain([base.me]))
                    && !base.planted(Mutant::NeverStepsDown)
            }
        };
        if late {
            return self.stop(out);
        }
        if base.now >= self.ping_at {
            self.ping_at = base.now + base.timing.ping_ticks;
            let number = self.confirms.asked();
            for link in self.links.values_mut() {
                link.say(ToLearner::Ping(number), out);
            }
        }
        let mut next = self.drained(base, out);
        if next == Next::Stay {
            next = self.exhausted(base, out);
        }
        if next == Next::Stay {
            next = self.mind_stall(base, out);
        }
        next
    }

    /// A leader whose own disk hangs leads no more if another voter is well.
    fn mind_stall(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
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

/// Sends a proposal to a learner that has everything before it, unless too much is in flight.
fn live(link: &mut Link, run: &Run, limit: u64, out: &mut Vec<Action>) {
    if link.flight_bytes() > limit {
        link.stage = Stage::CatchUp { reading: None };
        return;
    }
    assert_eq!(link.sent, run.after(), "a learner's history has no hole");
    link.flew(run.upto(), run.bytes().len() as u64);
    link.say(ToLearner::Records { after: run.after(), bytes: run.bytes().clone() }, out);
}
