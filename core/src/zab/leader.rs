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
mod founding;
mod hand_over;
mod link;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::base::Base;
use super::election;
use super::event::{Action, Anomaly, Standing};
use super::message::{Join, Message, Stance, ToLeader, ToLearner};
use super::mutant::Mutant;
use super::role::Next;
use super::run::{Position, Run};
use crate::zxid::{Epoch, ServerId, Zxid};
#[cfg(test)]
pub(super) use catch_up::SNAPSHOTS_SENT_MAX;
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

    pub fn on_join(
        &mut self,
        base: &mut Base,
        from: ServerId,
        session: u64,
        mut join: Join,
        out: &mut Vec<Action>,
    ) -> Next {
        if let Some(known) = self.links.get(&from) {
            let same_boot = known.session >> 32 == session >> 32;
            if same_boot && session <= known.session {
                return Next::Stay;
            }
        }
        let votes =
            base.quorum.contains(from) && (join.votes || base.planted(Mutant::WipedVoterCounted));
        join.votes |= votes;
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
        if sequence < link.received && !lenient && !base.planted(Mutant::DuplicatesTaken) {
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
                    if base.planted(Mutant::SyncedDoesNotAdvance) {
                        return Next::Stay;
                    }
                    // What it had acknowledged before counts from now on.
                    return self.advance(base, out);
                }
            }
            ToLeader::Ack(upto) => return self.on_ack(base, from, upto, out),
            ToLeader::Pong(number) => {
                link.ponged = link.ponged.max(number);
                self.check_confirms(base, out);
            }
            ToLeader::Request(bytes) => {
                out.push(Action::Requested { from, session: link.session, bytes });
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
            link.promised = counted || base.planted(Mutant::WipedVoterCounted);
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

    /// Whether a learner was told to serve.
    pub fn serves(&self, id: ServerId) -> bool {
        self.links.get(&id).is_some_and(|link| link.up_to_date)
    }

    /// Learners that were told to serve.
    pub fn served(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.links.values().filter(|link| link.up_to_date).map(|link| link.id)
    }

    /// Passes something to a learner's server, in order with all that it is told.
    pub fn respond(&mut self, to: ServerId, bytes: Arc<[u8]>, out: &mut Vec<Action>) {
        if let Some(link) = self.links.get_mut(&to).filter(|link| link.up_to_date) {
            link.say(ToLearner::Response(bytes), out);
        }
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
        let mut upto = committed.min(link.sent.zxid);
        link.commit_sent = upto;
        if base.planted(Mutant::UpToDateTooOld) {
            upto = upto.min(link.join.last.zxid);
        }
        link.say(ToLearner::UpToDate(upto), out);
        let rejoined = !link.join.votes && base.quorum.contains(id);
        if rejoined && !draining {
            // A voter that lost its disk has the history again. It may vote from the next epoch
            // on, which a quorum promises without it.
            self.draining = Some(Draining::Found(self.epoch));
        }
    }

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

    pub fn propose(&mut self, base: &Base, zxid: Zxid) {
        assert_eq!(self.next_proposal(base), Some(zxid), "proposals are contiguous");
        self.proposed = zxid;
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
            if base.planted(Mutant::ProposesToSyncedOnly) && !link.synced {
                link.sent = run.upto();
            } else if link.stage == Stage::Live && link.join.votes {
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
            | Stage::Queued { .. }
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
        let by_count = base.planted(Mutant::OldEpochCommittedByCount);
        if !self.is_broadcasting() && !by_count {
            return Next::Stay;
        }
        let unsynced = base.planted(Mutant::UnsyncedAcksCount) || by_count;
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
            if base.planted(Mutant::DrainWaitsForCommit) {
                return Next::Stay;
            }
            return self.drained(base, out);
        };
        let committed = if base.planted(Mutant::CommitsOneMore) && committed < base.log.zxid {
            committed.next().map_or(base.log.zxid, |next| next.min(base.log.zxid))
        } else {
            committed
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
            } else if base.planted(Mutant::CommitForgotten) && committed.counter() % 8 == 5 {
                link.commit_sent = committed;
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
                let observers = self.links.values().filter(|link| link.synced && !link.votes);
                if base.planted(Mutant::ObserverHoldsLeader) && observers.count() > 0 {
                    return Next::Stay;
                }
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
                if let Stage::Queued { .. } = link.stage {
                    link.say(ToLearner::Queued, out);
                }
            }
        }
        // Whoever was sent a snapshot may be gone.
        self.grant_snapshots(base, out);
        let mut next = Next::Stay;
        if !base.planted(Mutant::DrainWaitsForCommit) {
            next = self.drained(base, out);
        }
        if next == Next::Stay {
            next = self.exhausted(base, out);
        }
        if next == Next::Stay {
            next = self.mind_stall(base, out);
        }
        next
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
