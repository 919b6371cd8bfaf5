//! A learner that feeds others: those who do not vote can learn from it as they could from its leader.
//!
//! What it gives is what it knows to be committed, by the code that a leader has for it. It feeds
//! only while it follows: whoever learns from it looks for another way when it has lost its own, or
//! comes back to it. So every way leads to a leader, and none in a circle.

use super::{Action, Base, Learning, Next, Phase, Position, Zxid};
use crate::zab::age::UNKNOWN_MS;
use crate::zab::feed::{Link, Stage, locate};
use crate::zab::message::{Join, Message, Offer, Relayed, ToLeader};
use crate::zab::mutant::Mutant;
use crate::zxid::ServerId;

/// Who is told that what it was sent is as old as this lags: a relay is current to within some pings of those
/// above it.
const LAGS_MS: u32 = 1000;

impl Learning {
    /// Whoever feeds this server spoke: what it has said right before is how old all that it sent is, and a
    /// leader that has said nothing has sent all that there is.
    pub(super) fn note_word(&mut self, base: &mut Base) {
        let aged = self.aged.take();
        self.lags = aged.is_some_and(|ms| LAGS_MS <= ms);
        let leaders = self.learns_from_leader().then_some(0);
        let ms = if base.planted(Mutant::AgeFromReceipt) { aged.map(|_| 0) } else { aged };
        if self.is_following() {
            base.word = ms.or(leaders).filter(|ms| *ms != UNKNOWN_MS);
        }
    }

    /// Whether this learner can feed `who`: it follows, and `who` neither votes nor feeds it.
    pub fn can_feed(&self, base: &Base, who: ServerId) -> bool {
        self.is_following() && !base.quorum.contains(who) && !self.path.contains(&who)
    }

    /// The servers from the leader to this one.
    pub fn way(&self, base: &Base) -> Vec<ServerId> {
        self.path.iter().copied().chain([base.me]).collect()
    }

    /// What it offers to those who look for a server to learn from.
    pub fn offer(&self, base: &Base) -> Offer {
        let serving = self.is_following();
        let path = if serving { self.way(base) } else { Vec::new() };
        base.offer(serving, path)
    }

    /// A server wants to learn from this one.
    pub fn on_join(
        &mut self,
        base: &mut Base,
        from: ServerId,
        session: u64,
        join: Join,
        out: &mut Vec<Action>,
    ) {
        if !self.feed.admits(from, session) {
            return;
        }
        let join = Join { votes: false, ..join };
        let mut link = Link::new(from, session, join, false, base.now);
        self.feed.epoch = self.epoch;
        link.greet(self.epoch, out);
        link.skip_promise();
        self.feed.came_here(from, session, out);
        self.feed.links.insert(from, link);
        self.feed_promised(base, out);
    }

    /// A server that learns from this one says something.
    pub fn on_learner(
        &mut self,
        base: &mut Base,
        from: ServerId,
        (session, sequence): (u64, u64),
        body: ToLeader,
        out: &mut Vec<Action>,
    ) {
        let ours = self.feed.epoch;
        let Some(link) = self.feed.receive(base, from, (session, sequence), out) else { return };
        match body {
            ToLeader::Promised { epoch, current, last, .. } => {
                if epoch == ours && link.stage == Stage::Greeted {
                    (link.join.current, link.join.last) = (current, last);
                    link.stage = Stage::Promised;
                    self.feed_promised(base, out);
                }
            }
            ToLeader::Have(at) => self.feed.on_have(base, from, at, out),
            ToLeader::SnapshotStored(upto) => {
                self.feed.on_snapshot_stored(base, from, upto, out);
            }
            ToLeader::Synced(epoch) => {
                if self.feed.synced(from, epoch) {
                    self.feed.welcome(base, from, false, out);
                }
            }
            ToLeader::Ack(upto) => {
                self.feed.acknowledged(base, from, upto, out);
            }
            ToLeader::Request(bytes) => {
                if self.feed.takes_asks(base, from, out) {
                    let relayed = Relayed { server: from, session, bytes };
                    self.say(base, ToLeader::Relayed(relayed), out);
                }
            }
            ToLeader::Relayed(relayed) => {
                if self.feed.takes_asks(base, from, out)
                    && self.feed.takes_relayed(base, from, &relayed, out)
                {
                    self.say(base, ToLeader::Relayed(relayed), out);
                }
            }
            // It waits for this server to hear of the epoch that it knows, or goes elsewhere.
            ToLeader::Ahead(_) | ToLeader::Pong(_) => {}
        }
    }

    /// Begins to synchronise those whose history this server has come up to.
    fn feed_promised(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        let committed = base.committed;
        let due =
            |link: &&mut Link| link.stage == Stage::Promised && link.join.last.zxid <= committed;
        for link in self.feed.links.values_mut().filter(due) {
            let last: Position = link.join.last;
            locate(base, link, last, out);
        }
    }

    /// More is committed here: it goes on to those who learn from this server.
    pub(super) fn commit(&mut self, base: &mut Base, upto: Zxid, out: &mut Vec<Action>) {
        base.commit(upto, out);
        if self.feed.links.is_empty() {
            self.feed.uncommitted.clear(); // whoever comes gets it from the log
        } else if self.phase == Phase::Following {
            self.feed.tell_commits(base, base.committed, out);
            self.feed.catch_up_behind(base, out);
            self.feed_promised(base, out);
        }
    }

    /// Minds who learns from this server.
    pub(super) fn feed_on_tick(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        if !self.is_following() || self.feed.links.is_empty() {
            return;
        }
        self.feed.drop_silent(base, out);
        self.feed.ping(base, 0, false, out);
        self.feed.grant_snapshots(base, out);
    }

    /// Asks those of the list that stand before the one that this server learns from, or beside it; and where what
    /// that one sends is old, all of them: it may be the one that lags.
    pub(super) fn seek_better(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        if !base.listed {
            return;
        }
        base.note_known();
        let (due, lags, leader) = (self.seek_at <= base.now, self.lags, self.leader);
        let Some(own) = base.upstreams.get_mut(&leader).filter(|_| due) else { return };
        self.seek_at = base.now + base.timing.seek_ticks;
        if !lags {
            own.lags = 0;
            own.keep();
        }
        let rank = own.rank;
        let asked = |id: ServerId, rank_of: u32| lags || (id != leader && rank_of <= rank);
        let all = base.upstreams.iter().filter(|(id, upstream)| asked(**id, upstream.rank));
        let all: Vec<ServerId> = all.map(|(&id, _)| id).collect();
        for to in all {
            base.seek(to, out);
        }
    }

    /// An upstream has said what it offers: this server's own, that it has lost its way or lags, or one that it
    /// prefers, that it can be learned from.
    pub fn on_offer(&mut self, base: &mut Base, from: ServerId, out: &mut Vec<Action>) -> Next {
        if from == self.leader {
            let lost = base.upstreams.get(&from).and_then(|it| it.offer.as_ref());
            // It has lost its own way: the word that ends the session is still to come.
            if self.is_following() && lost.is_some_and(|(_, offer)| !offer.serving) {
                return self.leave(base, out);
            }
        }
        if !self.is_following() {
            return Next::Stay;
        }
        let [own, other] = [self.leader, from].map(|id| base.upstreams.get(&id));
        let is_better =
            own.zip(other).is_some_and(|(own, other)| other.is_before(own) && base.prefers(other));
        let ahead = if is_better { None } else { base.ahead_of(self.leader) };
        let better = if is_better { Some(from) } else { ahead };
        let Some(better) = better else { return Next::Stay };
        if ahead.is_some()
            && let Some(own) = base.upstreams.get_mut(&self.leader)
        {
            (own.left, own.kept) = (own.left.saturating_add(1), 0);
        }
        base.send(self.leader, Message::Reset { session: self.session }, out);
        let _looking = self.leave(base, out);
        Next::Follow(better)
    }
}
