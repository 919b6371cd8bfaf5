//! Servers that learn from a learner, or from one behind it: how what they ask and are answered
//! finds its way.
//!
//! A server behind a relay can move to another one. What it asked on its old way may still be on the
//! way when what it asks on the new one is here, and must not be taken then. Its sessions tell: of one
//! start of a server the later one is the larger, and what belonged to another start is over as soon
//! as that start's session is. A session that is not the newest is dismissed: if it lives, its
//! server begins another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Feed;
use crate::zab::base::Base;
use crate::zab::event::Action;
use crate::zab::message::{Relayed, ToLearner};
use crate::zxid::ServerId;

/// Starts of a server whose sessions are remembered. Who has more than two at once restarts faster than
/// its messages travel.
const STARTS_MAX: usize = 4;

/// Servers whose starts are remembered, at least, before those that speak through nobody are forgotten: each
/// guest that comes anew has another number. A late word of one that is forgotten is taken for a new start's, and
/// what the living one says next for older then: it is dismissed, and begins another session.
const REMEMBERED_MAX: usize = 4096;

/// Where servers are that others feed.
#[derive(Clone, Debug, Default)]
pub struct Below {
    /// The learner through which a server speaks, and its session.
    ways: BTreeMap<ServerId, (ServerId, u64)>,
    /// The last session of each of a server's last starts, the newest start last.
    newest: BTreeMap<ServerId, Vec<u64>>,
    /// How many of these are left after they were last gone through: they are again at twice as many.
    remembered: usize,
}

const fn same_start(a: u64, b: u64) -> bool {
    a >> 32 == b >> 32
}

impl Below {
    /// Whether a session is older than another one that its server had.
    pub fn is_old(&self, server: ServerId, session: u64) -> bool {
        let known = self.newest.get(&server).map_or(&[][..], Vec::as_slice);
        known.iter().any(|&newest| same_start(newest, session) && session < newest)
    }

    fn note(&mut self, server: ServerId, session: u64) {
        let known = self.newest.entry(server).or_default();
        known.retain(|&newest| !same_start(newest, session));
        known.push(session);
        if STARTS_MAX < known.len() {
            known.remove(0);
        }
        if REMEMBERED_MAX.max(2 * self.remembered) < self.newest.len() {
            let ways = &self.ways;
            self.newest.retain(|id, _| *id == server || ways.contains_key(id));
            self.remembered = self.newest.len();
        }
    }

    /// Forgets everybody who speaks through this learner.
    pub fn lost(&mut self, via: ServerId) {
        self.ways.retain(|_, way| way.0 != via);
    }

    /// The learner through which a server speaks.
    pub fn via(&self, server: ServerId) -> Option<ServerId> {
        self.ways.get(&server).map(|way| way.0)
    }

    /// Everybody who speaks through this learner.
    pub fn through(&self, via: ServerId) -> impl Iterator<Item = ServerId> + '_ {
        self.ways.iter().filter(move |(_, way)| way.0 == via).map(|(&id, _)| id)
    }

    /// Servers that can be answered.
    pub fn contains(&self, server: ServerId) -> bool {
        self.ways.contains_key(&server)
    }
}

#[cfg(test)]
impl Feed {
    /// Whether starts of this server are remembered.
    pub fn is_known_below(&self, id: ServerId) -> bool {
        self.below.newest.contains_key(&id)
    }

    /// Of how many servers starts are remembered.
    pub fn known_below(&self) -> usize {
        self.below.newest.len()
    }

    /// The server is gone, and who fed it knows.
    pub fn forget_way(&mut self, id: ServerId) {
        self.below.ways.remove(&id);
    }
}

impl Feed {
    /// Whether what came through `via` is its server's newest session, to which answers go this way from now on.
    /// One that it replaces is dismissed, and so is this one if it is not: by the leader, and by each server on
    /// the way up as far as it knows, as an answer would else follow what was late to where its server has gone
    /// from.
    pub fn takes_relayed(
        &mut self,
        base: &Base,
        via: ServerId,
        relayed: &Relayed,
        out: &mut Vec<Action>,
    ) -> bool {
        let Relayed { server, session, .. } = *relayed;
        if self.below.ways.get(&server) == Some(&(via, session)) {
            return true;
        }
        if base.quorum.contains(server) || server == base.me || server == via {
            // A voter learns from its leader itself, nobody from this server through itself, and who speaks through
            // itself would be cut off by it. Whoever says otherwise must not take its place.
            self.dismiss(via, server, session, out);
            return false;
        }
        let direct = self.links.get(&server).map(|link| link.session);
        let beaten = direct.is_some_and(|it| same_start(it, session) && session <= it);
        let known = self.below.newest.get(&server).is_some_and(|all| all.contains(&session));
        if beaten || known || self.below.is_old(server, session) {
            self.dismiss(via, server, session, out);
            return false;
        }
        self.drop_link(base, server, out);
        if let Some((old_way, old)) = self.below.ways.insert(server, (via, session)) {
            self.dismiss(old_way, server, old, out);
        }
        self.below.note(server, session);
        true
    }

    /// A server that others fed learns from this one now.
    pub fn came_here(&mut self, server: ServerId, session: u64, out: &mut Vec<Action>) {
        if let Some((old_way, old)) = self.below.ways.remove(&server) {
            self.dismiss(old_way, server, old, out);
        }
        if self.below.newest.contains_key(&server) {
            self.below.note(server, session);
        }
    }

    fn dismiss(&mut self, via: ServerId, server: ServerId, session: u64, out: &mut Vec<Action>) {
        if let Some(link) = self.links.get_mut(&via) {
            link.say(ToLearner::Dismiss { server, session }, out);
        }
    }

    /// Passes a dismissal on, or carries it out.
    pub fn on_dismiss(
        &mut self,
        base: &Base,
        server: ServerId,
        session: u64,
        out: &mut Vec<Action>,
    ) {
        if self.links.get(&server).is_some_and(|link| link.session == session) {
            self.drop_link(base, server, out);
        } else if let Some(&(via, its)) = self.below.ways.get(&server)
            && its == session
        {
            self.below.ways.remove(&server);
            self.dismiss(via, server, session, out);
        }
    }

    /// Passes something down to the server that it is for. What is for a session that is over here is
    /// lost, which that server knows.
    pub fn pass_down(&mut self, relayed: Relayed, out: &mut Vec<Action>) {
        let Relayed { server, session, .. } = relayed;
        match self.links.get_mut(&server) {
            Some(link) if link.session == session => {
                if link.up_to_date {
                    link.say(ToLearner::Response(relayed.bytes), out);
                }
            }
            Some(_) | None => {
                if let Some(&(via, its)) = self.below.ways.get(&server)
                    && its == session
                    && let Some(link) = self.links.get_mut(&via)
                {
                    link.say(ToLearner::Relayed(relayed), out);
                }
            }
        }
    }

    /// Answers a server that others feed; whether it is one.
    pub(super) fn respond_below(
        &mut self,
        to: ServerId,
        bytes: &Arc<[u8]>,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(&(via, session)) = self.below.ways.get(&to) else { return false };
        let Some(link) = self.links.get_mut(&via) else { return false };
        let relayed = Relayed { server: to, session, bytes: Arc::clone(bytes) };
        link.say(ToLearner::Relayed(relayed), out);
        true
    }
}
