//! What a server keeps through every phase: who it is, what is durable, whom it hears.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::age::Age;
use super::event::{Action, Anomaly};
use super::message::{Ballot, Message, Offer, Stance, Vote};
use super::mutant::Mutant;
use super::quorum::Quorum;
use super::run::Position;
use super::timing::Timing;
use crate::log::epochs::Epochs;
use crate::prng::Prng;
use crate::zxid::{Epoch, ServerId, Zxid};

/// What role a server may play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It votes, leads, and is counted.
    Voter,
    /// It learns only.
    Learner,
    /// A voter that lost its disk, and with it what it promised: it learns until it has a leader's
    /// history and that leader has founded an epoch since.
    Rejoining,
}

/// What came from a peer, and when.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub heard: u64,
    pub ballot: Option<(u64, Ballot)>,
}

/// How often in a row the beginning of a snapshot is built upon without another part of it: a way may be cut
/// before the next one has come, and again.
const CLAIMS_MAX: u32 = 4;

/// What ticks and busy servers add to a round trip: less says nothing about the way.
const NEAR_TICKS: u64 = 2;

/// A server that this one can learn from, as long as there is a link to it.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    /// Its place in the list: smaller ones are preferred, and of the same the nearer one.
    pub rank: u32,
    /// When it was last asked what it offers.
    pub asked_at: u64,
    /// How long its last answer took, ticks.
    pub round_trip: u64,
    /// How many of its last offers were good ones, one after the other.
    pub good_offers: u32,
    /// How many of its last offers, one after the other, lacked much of what others had long before, and had
    /// nothing that the one before had not.
    pub lags: u32,
    /// Whether its last offer had nothing that the one before had not.
    pub stands_still: bool,
    /// How often it was left because it lagged, since it was last kept for long.
    pub left: u32,
    /// At how many askings in a row it was the one that is learned from and did not lag.
    pub kept: u32,
    /// What it offered last, and when.
    pub offer: Option<(u64, Offer)>,
}

impl Upstream {
    /// Orders upstreams: by the list, then by how far they are as far as ticks tell, then by their way to the
    /// leader.
    pub fn order(&self, id: ServerId) -> (u32, u64, usize, u64, ServerId) {
        let hops = self.offer.as_ref().map_or(usize::MAX, |(_, offer)| offer.path.len());
        (self.rank, self.round_trip / NEAR_TICKS, hops, self.round_trip, id)
    }

    /// Whether this server would rather learn from it than from `own`: by the list, or where that makes no
    /// difference because it is at most half as far.
    pub fn is_before(&self, own: &Self) -> bool {
        let is_nearer = 2 * (self.round_trip + NEAR_TICKS) <= own.round_trip;
        self.rank < own.rank || (self.rank == own.rank && is_nearer)
    }
}

/// A snapshot of which this process has stored the beginning. A session that breaks, and even
/// another leader in between, leaves it as it is; another snapshot takes its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub leader: ServerId,
    pub at: Position,
    /// Bytes that were given to the disk.
    pub stored: u64,
    /// How much of it was built upon in a later session, and how often in a row that led to nothing more. It is
    /// begun anew when it was often: the leader may have another file of the same place since.
    claimed: u64,
    claims: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Base {
    pub me: ServerId,
    pub quorum: Quorum,
    pub membership: Membership,
    pub timing: Timing,
    pub prng: Prng,
    pub mutant: Option<Mutant>,
    /// Ticks since the start.
    pub now: u64,
    /// Durable.
    pub epochs: Epochs,
    /// Being made durable. Nothing that depends on the epochs is said meanwhile.
    pub saving: Option<Epochs>,
    /// The end of the log, durable or not.
    pub log: Position,
    /// How far the log is durable.
    pub durable: Zxid,
    /// The log begins behind this, as its shell says.
    pub begins: Zxid,
    /// The log is being cut by this order: what is behind may still come back in a crash.
    pub cutting: Option<u64>,
    /// A snapshot is about to replace the history. Until it has, nobody knows which one this is.
    pub restoring: Option<(u64, Position)>,
    /// What came of a snapshot so far.
    pub incoming: Option<Incoming>,
    /// Writes of older tickets say nothing about the log as it is now.
    pub ticket: u64,
    /// What this server knows to be committed.
    pub committed: Zxid,
    pub round: u64,
    /// Set by a leader that handed over, for one election.
    pub preferred: bool,
    pub boot: u64,
    pub serial: u64,
    pub sessions: u64,
    pub reads: u64,
    pub peers: BTreeMap<ServerId, Peer>,
    /// Whether this server learns from a list instead of from its ensemble's leader.
    pub listed: bool,
    /// Those of the list to which there is a link.
    pub upstreams: BTreeMap<ServerId, Upstream>,
    /// What was known to be committed here or at one of those, and when, the newest last.
    pub known: VecDeque<(u64, Zxid)>,
    /// How old what this server has is, as its shell says.
    pub age: Age,
    /// How long ago whoever feeds this learner says that what it has sent was current, milliseconds, where
    /// the last step heard of that.
    pub word: Option<u32>,
    /// Whose connection ended and who was not heard since: nobody need wait for their ballots.
    pub parted: BTreeSet<ServerId>,
}

impl Base {
    pub fn planted(&self, mutant: Mutant) -> bool {
        cfg!(feature = "mutants") && self.mutant == Some(mutant)
    }

    pub fn is_voter(&self) -> bool {
        match self.membership {
            Membership::Voter => true,
            Membership::Learner => false,
            Membership::Rejoining => self.planted(Mutant::WipedVoterVotes),
        }
    }

    /// Everything that was appended is durable, and so is every promise.
    pub fn is_settled(&self) -> bool {
        self.durable == self.log.zxid
            && self.saving.is_none()
            && self.cutting.is_none()
            && (self.restoring.is_none() || self.planted(Mutant::JoinsWhileRestoring))
    }

    /// This server as a candidate, which it is only while its disk keeps up and it hears a quorum
    /// that hears it. Otherwise it would be elected and fail, again and again.
    pub fn candidacy(&self) -> Option<Vote> {
        let near = self.peers.iter().filter(|(_, peer)| {
            self.fresh(peer).is_some_and(|ballot| ballot.heard.contains(&self.me))
        });
        let reached = near.map(|(&id, _)| id).chain([self.me]);
        if !self.is_voter() || !self.is_settled() || !self.quorum.is_reached(reached) {
            return None;
        }
        Some(Vote {
            current: self.epochs.current,
            last: self.log.zxid,
            preferred: self.preferred,
            candidate: self.me,
        })
    }

    /// The peer's last ballot, unless it is too old to mean anything.
    pub fn fresh<'p>(&self, peer: &'p Peer) -> Option<&'p Ballot> {
        let (at, ballot) = peer.ballot.as_ref()?;
        (self.now - at <= self.timing.heard_ticks).then_some(ballot)
    }

    /// Notes that `from` is alive; a ballot is kept if it is newer than the one that is known.
    /// Returns whether it is.
    pub fn hear(&mut self, from: ServerId, ballot: Option<&Ballot>) -> bool {
        let now = self.now;
        self.parted.remove(&from);
        let peer = self.peers.entry(from).or_insert(Peer { heard: now, ballot: None });
        peer.heard = now;
        let Some(ballot) = ballot else { return false };
        if let Some((_, known)) = &peer.ballot
            && known.boot == ballot.boot
            && ballot.serial <= known.serial
        {
            return false;
        }
        peer.ballot = Some((now, ballot.clone()));
        true
    }

    /// A leader has said that it leads no more. Until its next ballot comes, its last one must not
    /// make those who followed it follow it again.
    pub fn resigned(&mut self, leader: ServerId) {
        if let Some((_, ballot)) = self.peers.get_mut(&leader).and_then(|it| it.ballot.as_mut()) {
            (ballot.stance, ballot.own, ballot.vote) = (Stance::Looking, None, None);
        }
    }

    pub fn forget(&mut self, peer: ServerId) {
        self.peers.remove(&peer);
        self.upstreams.remove(&peer);
        if self.quorum.contains(peer) {
            self.parted.insert(peer);
        }
    }

    /// What this server says about leadership now.
    pub fn ballot(&mut self, stance: Stance, vote: Option<Vote>) -> Ballot {
        self.serial += 1;
        let heard = self
            .peers
            .iter()
            // Guests are no servers of the list: who leads is nothing that they ask a ballot for, and they may be
            // more than a ballot can name.
            .filter(|(id, peer)| !id.is_guest() && self.now - peer.heard <= self.timing.heard_ticks)
            .map(|(&id, _)| id)
            .collect();
        let own = if stance == Stance::Looking { self.candidacy() } else { None };
        Ballot { boot: self.boot, serial: self.serial, round: self.round, stance, own, vote, heard }
    }

    /// The servers from the leader to one that this server is to learn from.
    pub fn way_to(&self, upstream: ServerId) -> Vec<ServerId> {
        let offer = self.upstreams.get(&upstream).and_then(|it| it.offer.as_ref());
        match offer {
            Some((_, offer)) if self.listed => offer.path.clone(),
            Some(_) | None => vec![upstream],
        }
    }

    pub fn send(&self, to: ServerId, message: Message, out: &mut Vec<Action>) {
        out.push(Action::Send { to, message });
    }

    pub fn send_voters(&self, message: &Message, out: &mut Vec<Action>) {
        for to in self.quorum.iter().filter(|&to| to != self.me) {
            self.send(to, message.clone(), out);
        }
    }

    pub fn refuse(&self, peer: ServerId, anomaly: Anomaly, out: &mut Vec<Action>) {
        out.push(Action::Refused { peer, anomaly });
    }

    /// Orders the epochs to be saved. One save is under way at a time.
    pub fn save(&mut self, epochs: Epochs, out: &mut Vec<Action>) {
        assert!(self.saving.is_none(), "one pair of epochs is saved at a time");
        assert!(self.epochs.accepted <= epochs.accepted, "a promise is never taken back");
        assert!(self.epochs.current <= epochs.current, "a history is never taken back");
        self.saving = Some(epochs);
        out.push(Action::SaveEpochs(epochs));
    }

    pub fn saved(&mut self, epochs: Epochs) {
        assert_eq!(self.saving.take(), Some(epochs), "epochs were saved that nobody asked for");
        self.epochs = epochs;
    }

    /// The log is durable up to `upto`; false when that is about a log that was cut since.
    pub fn made_durable(&mut self, ticket: u64, upto: Zxid) -> bool {
        if ticket != self.ticket && !self.planted(Mutant::StaleTicketAcks) {
            return false;
        }
        if !self.planted(Mutant::StaleTicketAcks) && !self.planted(Mutant::CutKeepsDurable) {
            assert!(upto <= self.log.zxid, "{upto:?} is durable and was never appended");
        }
        self.durable = self.durable.max(upto);
        true
    }

    /// Raises what is committed here.
    pub fn commit(&mut self, upto: Zxid, out: &mut Vec<Action>) {
        if self.committed < upto {
            self.committed = upto;
            out.push(Action::Committed(upto));
        }
    }

    /// Names a read, so that the answer to an abandoned one is not taken for its own.
    pub fn new_read(&mut self) -> u64 {
        self.reads += 1;
        self.reads
    }

    /// How much of the snapshot that begins to come, with so many bytes, is here from before.
    pub fn resume(&mut self, leader: ServerId, at: Position, bytes: u64) -> Option<u64> {
        let known = self.incoming.as_mut().filter(|it| it.leader == leader && it.at == at)?;
        known.claims = if known.stored > known.claimed { 1 } else { known.claims + 1 };
        known.claimed = known.stored;
        (known.stored > bytes && known.claims <= CLAIMS_MAX).then_some(known.stored)
    }

    /// A part of a snapshot is given to the disk, if it belongs where the last one ended.
    pub fn store(&mut self, leader: ServerId, at: Position, offset: u64, bytes: u64) -> bool {
        let begun = Incoming { leader, at, stored: 0, claimed: 0, claims: 0 };
        let known = if offset == 0 { Some(begun) } else { self.incoming };
        self.incoming =
            known.filter(|it| it.leader == leader && it.at == at && it.stored == offset);
        if let Some(incoming) = &mut self.incoming {
            incoming.stored += bytes;
        }
        self.incoming.is_some()
    }

    /// A snapshot is this server's history now, and the log behind it is empty.
    pub fn restored(&mut self, at: Position) {
        assert!(self.committed <= at.zxid, "what is committed is never replaced by less");
        self.new_ticket();
        self.log = at;
        self.durable = at.zxid;
        self.committed = at.zxid;
    }

    /// Completions of writes so far no longer count.
    pub fn new_ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }

    /// The history that this server would lead with.
    pub fn credentials(&self) -> (Epoch, Zxid) {
        (self.epochs.current, self.log.zxid)
    }
}
