//! Fetching what is missing in a damaged log from whoever has it. Pure, like all that is decided:
//! the shell carries messages, counts ticks and closes the hole.
//!
//! ```text
//! hole.before ─► reached ─► … ─► hole ends       one peer is asked at a time, for what follows `reached`
//!    ▲   records, proven │
//!    └── nobody has it ──┘                       another history was followed: from the beginning
//! ```

use std::collections::BTreeMap;

use super::fetch::FETCH_BYTES_MAX;
use super::message::Message;
use super::run::{Position, Run};
use crate::log::repair::Hole;
use crate::zxid::ServerId;

/// How long things take, in ticks of the shell.
#[derive(Clone, Copy, Debug)]
pub struct HealingTicks {
    /// A peer that has not answered for so long is passed over.
    pub answer: u64,
    /// A peer that did not have what was asked is asked again after so long: it may be healing too.
    pub again: u64,
    /// Without any further record for so long the hole is not closed.
    pub patience: u64,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Open,
    /// These are the missing records: see [`Hole::close`].
    Closed(Run),
    /// Nobody had them for as long as was to be waited.
    GivenUp,
}

/// A peer that is linked.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// It did not have what follows `reached`.
    lacks: bool,
    /// Not to be asked before.
    again_at: u64,
    /// What it gave since the beginning may be of another history.
    gave: bool,
    /// How often it did not answer, or gave what led nowhere. Whoever did so least is asked first.
    failures: u64,
}

/// The closing of one hole.
#[derive(Clone, Debug)]
pub struct Healing {
    hole: Hole,
    /// More bytes than ever stood there are none that stood there.
    room: u64,
    ticks: HealingTicks,
    now: u64,
    deadline: u64,
    peers: BTreeMap<ServerId, Peer>,
    /// Who is asked, and until when it may answer.
    asked: Option<(ServerId, u64)>,
    /// The records behind `hole.before` that were fetched so far.
    bytes: Vec<u8>,
    reached: Position,
    /// The furthest that was ever reached, so that going in circles is no progress.
    furthest: Position,
}

impl Healing {
    /// Nobody is linked yet. `room` is [`Hole::room`].
    pub fn new(hole: Hole, room: u64, ticks: HealingTicks) -> Self {
        Self {
            room,
            ticks,
            now: 0,
            deadline: ticks.patience,
            peers: BTreeMap::new(),
            asked: None,
            bytes: Vec::new(),
            reached: hole.before,
            furthest: hole.before,
            hole,
        }
    }

    /// A link is there.
    pub fn connected(&mut self, peer: ServerId, out: &mut Vec<(ServerId, Message)>) {
        self.peers.insert(peer, Peer::default());
        self.ask(out);
    }

    /// A link is over, and what was asked through it lost.
    pub fn disconnected(&mut self, peer: ServerId, out: &mut Vec<(ServerId, Message)>) {
        self.peers.remove(&peer);
        if self.asked.is_some_and(|(asked, _)| asked == peer) {
            self.asked = None;
            self.ask(out);
        }
    }

    /// [`Message::Fetched`] came.
    pub fn fetched(
        &mut self,
        from: ServerId,
        after: Position,
        bytes: std::sync::Arc<[u8]>,
        out: &mut Vec<(ServerId, Message)>,
    ) -> Progress {
        if after != self.reached || self.asked.is_none_or(|(asked, _)| asked != from) {
            return Progress::Open; // it comes too late
        }
        self.asked = None;
        let Ok(run) = Run::read(after, bytes) else {
            self.lacks(from);
            self.ask(out);
            return Progress::Open;
        };
        self.peers.entry(from).or_default().gave = true;
        for record in run.records() {
            self.bytes.extend_from_slice(record.bytes());
            self.reached = Position { zxid: record.head().zxid, chain: record.chain() };
            if self.hole.ends_at(self.reached) {
                let bytes = std::mem::take(&mut self.bytes).into();
                return Progress::Closed(Run::own(self.hole.before, self.reached, bytes));
            }
        }
        if self.room < self.bytes.len() as u64 {
            self.begin_again();
        }
        if self.furthest.zxid < self.reached.zxid {
            self.furthest = self.reached;
            self.deadline = self.now + self.ticks.patience;
        }
        self.peers.values_mut().for_each(|peer| peer.lacks = false);
        self.ask(out);
        Progress::Open
    }

    /// One tick passed.
    pub fn tick(&mut self, out: &mut Vec<(ServerId, Message)>) -> Progress {
        self.now += 1;
        if self.now > self.deadline {
            return Progress::GivenUp;
        }
        if let Some((silent, _)) = self.asked.filter(|&(_, until)| until < self.now) {
            self.asked = None;
            self.peers.entry(silent).or_default().failures += 1;
            self.lacks(silent);
        }
        self.ask(out);
        Progress::Open
    }

    fn lacks(&mut self, peer: ServerId) {
        let again_at = self.now + self.ticks.again;
        if let Some(peer) = self.peers.get_mut(&peer) {
            (peer.lacks, peer.again_at) = (true, again_at);
        }
        // What was fetched so far may be of a history that only one peer had, and that ended.
        if self.reached != self.hole.before && self.peers.values().all(|peer| peer.lacks) {
            self.begin_again();
        }
    }

    fn begin_again(&mut self) {
        self.bytes.clear();
        self.reached = self.hole.before;
        let again_at = self.now + self.ticks.again;
        for peer in self.peers.values_mut() {
            let failures = peer.failures + u64::from(peer.gave);
            *peer = Peer { failures, again_at, ..Peer::default() };
        }
    }

    /// Asks whoever is to be asked next, if nobody is.
    fn ask(&mut self, out: &mut Vec<(ServerId, Message)>) {
        if self.asked.is_some() {
            return;
        }
        let now = self.now;
        let willing = self.peers.iter().filter(|(_, peer)| peer.again_at <= now);
        let next = willing.min_by_key(|(id, peer)| (peer.lacks, peer.failures, id.0));
        let Some((&to, _)) = next else { return };
        self.asked = Some((to, now + self.ticks.answer));
        let (after, until) = (self.reached, self.hole.limit());
        out.push((to, Message::Fetch { after, until, bytes_max: FETCH_BYTES_MAX }));
    }
}

#[cfg(test)]
mod tests;
