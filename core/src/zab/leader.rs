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

mod confirm;
mod founding;
mod hand_over;

use super::base::Base;
use super::election;
use super::event::{Action, Standing};
use super::feed::{Feed, Link, Stage, locate};
use super::message::{Join, Message, Offer, Relayed, Stance, ToLeader, ToLearner};
use super::mutant::Mutant;
use super::role::Next;
use super::run::{Position, Run};
use crate::zxid::{Epoch, ServerId, Zxid};
use confirm::Confirms;

/// A run is sent in pieces of this: who is sent it hears its leader, and its leader hears it, as long as they cross.
/// One record may be longer.
const PIECE_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Leading {
    stage: LeaderStage,
    /// What this server was elected with. A learner that has more must not be led by it.
    credentials: (Epoch, Zxid),
    /// Who follows this leader, and its epoch.
    feed: Feed,
    /// The last zxid given out.
    proposed: Zxid,
    confirms: Confirms,
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
            feed: Feed::default(),
            proposed: Zxid::ZERO,
            confirms: Confirms::default(),
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
        self.feed.epoch
    }

    /// Learners that have this leader's history.
    pub fn synced(&self) -> impl Iterator<Item = (ServerId, Zxid)> + '_ {
        self.feed.links.values().filter(|link| link.synced).map(|link| (link.id, link.acked))
    }

    fn stop(&mut self, base: &Base, out: &mut Vec<Action>) -> Next {
        // Voters hear of it by what they say to each other. The others say little by themselves.
        self.feed.drop_observers(base, out);
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
        if !self.feed.admits(from, session) {
            return Next::Stay;
        }
        let votes =
            base.quorum.contains(from) && (join.votes || base.planted(Mutant::WipedVoterCounted));
        join.votes |= votes;
        if votes && self.is_ahead(base, join.current, join.last.zxid) {
            return self.stop(base, out);
        }
        self.feed.came_here(from, session, out);
        let mut link = Link::new(from, session, join, votes, base.now);
        if self.feed.epoch != Epoch::ZERO {
            link.greet(self.feed.epoch, out);
            // A voter that lost its disk promises again when it has the history; and so does one that only it and
            // not this leader takes for a voter: what it promises it saves.
            if !link.join.votes && !base.quorum.contains(from) {
                link.skip_promise();
            }
        }
        self.feed.links.insert(from, link);
        self.begin_sync(base, from, out);
        let owned = matches!(self.stage, LeaderStage::Syncing { .. } | LeaderStage::Broadcast);
        let newest = join.accepted;
        if self.feed.epoch != Epoch::ZERO
            && votes
            && (self.feed.epoch < newest || (self.feed.epoch == newest && !owned))
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

    pub fn on_message(
        &mut self,
        base: &mut Base,
        from: ServerId,
        (session, sequence): (u64, u64),
        body: ToLeader,
        out: &mut Vec<Action>,
    ) -> Next {
        let Some(link) = self.feed.receive(base, from, (session, sequence), out) else {
            return Next::Stay;
        };
        match body {
            ToLeader::Promised { epoch, counted, current, last } => {
                return self.on_promised(base, from, (epoch, counted, current, last), out);
            }
            ToLeader::Have(at) => self.feed.on_have(base, from, at, out),
            ToLeader::SnapshotStored(upto) => {
                self.feed.on_snapshot_stored(base, from, upto, out);
            }
            ToLeader::Synced(epoch) => {
                if self.feed.synced(from, epoch) {
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
                if self.feed.takes_asks(base, from, out) {
                    out.push(Action::Requested { from, session, bytes });
                }
            }
            ToLeader::Relayed(relayed) => {
                if self.feed.takes_asks(base, from, out)
                    && self.feed.takes_relayed(base, from, &relayed, out)
                {
                    let Relayed { server: from, session, bytes } = relayed;
                    out.push(Action::Requested { from, session, bytes });
                }
            }
            ToLeader::Ahead(accepted) => {
                // One that rejoins can have promised it, too, and cannot come back before an epoch beyond it.
                let votes = link.votes || base.quorum.contains(from);
                if votes && self.feed.epoch < accepted {
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
        let link = self.feed.links.get_mut(&from).expect("looked up by the caller");
        // An answer to an epoch that this leader has left since.
        if epoch != self.feed.epoch || link.stage != Stage::Greeted {
            return Next::Stay;
        }
        (link.join.current, link.join.last) = (current, last);
        if counted && !link.join.votes && base.quorum.contains(from) {
            // A voter that lost its disk has come to an epoch that a quorum promised without it.
            (link.join.votes, link.votes) = (true, true);
        } else {
            link.promised = counted || base.planted(Mutant::WipedVoterCounted);
            if !counted && !link.join.votes {
                link.promised_nothing();
            }
        }
        link.stage = Stage::Promised;
        let votes = link.votes;
        if votes && self.is_ahead(base, current, last.zxid) {
            return self.stop(base, out);
        }
        let next = self.discover(base, out);
        self.begin_sync(base, from, out);
        next
    }

    /// What it offers to those who look for a server to learn from.
    pub fn offer(&self, base: &Base) -> Offer {
        let serving = self.is_broadcasting() && self.draining.is_none();
        let path = if serving { vec![base.me] } else { Vec::new() };
        base.offer(serving, path)
    }

    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    pub const fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// Tells a learner that has the history that it may serve.
    fn welcome(&mut self, base: &Base, id: ServerId, out: &mut Vec<Action>) {
        if !self.is_broadcasting() || !self.feed.welcome(base, id, true, out) {
            return;
        }
        self.mind_rejoined(base);
    }

    /// A voter that lost its disk and has the history again may vote from the next epoch on, which a quorum promises
    /// without it. This server founds one, as soon as it drains for nothing else.
    fn mind_rejoined(&mut self, base: &Base) {
        let rejoined = self.feed.links.values().any(|link| link.rejoins(&base.quorum));
        if rejoined && self.is_broadcasting() && self.draining.is_none() {
            self.draining = Some(Draining::Found(self.feed.epoch));
        }
    }

    /// Starts to synchronise a learner that has promised, if the epoch is this leader's already.
    /// Who does not vote waits until it is established: they are sent what is committed only.
    fn begin_sync(&mut self, base: &mut Base, id: ServerId, out: &mut Vec<Action>) {
        let stage = self.stage;
        let Some(link) = self.feed.links.get_mut(&id) else { return };
        let due = match stage {
            LeaderStage::Discovery { .. } | LeaderStage::Founding => false,
            LeaderStage::Syncing { .. } => link.join.votes,
            LeaderStage::Broadcast => true,
        };
        if due && link.stage == Stage::Promised {
            let last = link.join.last;
            locate(base, link, last, out);
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
        let idle =
            matches!(self.stage, LeaderStage::Discovery { .. }) && self.feed.epoch == Epoch::ZERO;
        if idle && election::established(base).is_some() {
            self.stop(base, out)
        } else {
            Next::Stay
        }
    }

    pub fn broadcast(&mut self, base: &mut Base, run: Run, out: &mut Vec<Action>) {
        assert!(self.is_broadcasting(), "only a leader in broadcast proposes");
        assert_eq!(run.after(), base.log, "proposals follow this leader's history");
        assert!(run.upto().zxid <= self.proposed, "proposals were named before");
        base.log = run.upto();
        out.push(Action::Append { ticket: base.ticket, run: run.clone() });
        self.stalled_since.get_or_insert(base.now);
        let limit = base.timing.flight_bytes;
        let pieces = run.pieces(PIECE_BYTES_MAX);
        for link in self.feed.links.values_mut() {
            if base.planted(Mutant::ProposesToSyncedOnly) && !link.synced {
                link.sent = run.upto();
            } else if link.stage == Stage::Live && link.join.votes {
                live(link, &pieces, limit, out);
            }
        }
        if base.planted(Mutant::InformsUncommitted) {
            self.feed.inform(base, &run, out);
        } else {
            self.feed.uncommitted.push_back(run);
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
        if !self.feed.acknowledged(base, from, upto, out) {
            return Next::Stay;
        }
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
            self.feed
                .links
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
        self.feed.tell_commits(base, committed, out);
        self.drained(base, out)
    }

    pub fn on_tick(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        self.feed.drop_silent(base, out);
        let late = match self.stage {
            LeaderStage::Discovery { deadline } | LeaderStage::Syncing { deadline } => {
                base.now > deadline
            }
            LeaderStage::Founding => false,
            LeaderStage::Broadcast => {
                let heard =
                    self.feed.links.values().filter(|link| link.counts()).map(|link| link.id);
                let observers = self.feed.links.values().filter(|link| link.synced && !link.votes);
                if base.planted(Mutant::ObserverHoldsLeader) && observers.count() > 0 {
                    return Next::Stay;
                }
                !base.quorum.is_reached(heard.chain([base.me]))
                    && !base.planted(Mutant::NeverStepsDown)
            }
        };
        if late {
            return self.stop(base, out);
        }
        // Of those who follow it still, it is current for nobody while it founds another epoch.
        let leads = self.is_broadcasting();
        self.feed.ping(base, self.confirms.asked(), leads, out);
        // Whoever was sent a snapshot may be gone.
        self.feed.grant_snapshots(base, out);
        // It may have come while this server drained for something that did not come about.
        self.mind_rejoined(base);
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
fn live(link: &mut Link, pieces: &[Run], limit: u64, out: &mut Vec<Action>) {
    if link.flight_bytes() > limit {
        link.stage = Stage::CatchUp { reading: None };
        return;
    }
    for piece in pieces {
        assert_eq!(link.sent, piece.after(), "a learner's history has no hole");
        link.flew(piece.upto(), piece.bytes().len() as u64);
        let (after, bytes) = (piece.after(), piece.bytes().clone());
        link.say(ToLearner::Records { after, bytes }, out);
    }
}
