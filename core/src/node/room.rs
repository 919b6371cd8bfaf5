//! Whose log has room for what is written next.
//!
//! A leader without room refuses writes and goes on to serve reads. For an ensemble that is no reason to refuse
//! them: where those who have room are a quorum without it, one of them had better lead. And what a quorum has no
//! room for is never acknowledged, so a leader refuses it although it has room itself.
//!
//! ```text
//! follower                            leader
//!    │ Request{room: false} ─────────► │  its log has no room, where that is new
//!    │                                 │  nor has the leader's, for as long as a disk may hang:
//!    │                                 │  Zab's Transfer to a follower that has, if that can lead
//! ```
//!
//! Who does not follow, and looks for a leader, is taken to have room: it cannot say.

use std::collections::BTreeMap;

use super::exchange::Request;
use super::{LAST_RESERVE_BYTES, Node, Output, SESSION_RESERVE_BYTES};
use crate::zab;
use crate::zxid::ServerId;

/// The largest write that counts, bytes: where `jute.maxbuffer` allows more, much of a segment would be left.
const WRITE_BYTES_MAX: usize = 3 << 20;

/// What sessions may take of the room that is left at a quorum which has none for writes, bytes; their ends, what
/// is left of that.
const BEGINS_BYTES_MAX: usize = SESSION_RESERVE_BYTES / 2;
const ENDS_BYTES_MAX: usize = SESSION_RESERVE_BYTES - LAST_RESERVE_BYTES;

/// A batch takes so much beside its records at most, bytes: it is padded to blocks, and a seal follows it.
const BATCH_BYTES: usize = 2 << 12;

/// For so long is what a voter said in its last session believed of a new one, in which it says so anew at once;
/// ticks of Zab's.
const SAID_BEFORE_TICKS: u64 = 50;

/// What is known of everybody's room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Of a leader: since which tick of Zab's it has none.
    full_since: Option<u64>,
    /// This server's leader was told that it has none.
    told_full: bool,
    /// Of a leader: the voters that said that they have none, and until when that counts, if they do not say it again.
    without: BTreeMap<ServerId, Option<u64>>,
    /// What was proposed since a quorum has none, bytes.
    spent: usize,
}

impl Room {
    /// This server leads no more, or never came to.
    pub fn deposed(&mut self) {
        (self.full_since, self.spent) = (None, 0);
        self.without.clear();
    }

    /// A batch of so many bytes of records is proposed.
    pub fn propose(&mut self, bytes: usize) {
        self.spent += bytes + BATCH_BYTES;
    }

    /// Whether a voter is not known to have none.
    fn has(&self, voter: ServerId, now: u64) -> bool {
        self.without.get(&voter).is_none_or(|until| until.is_some_and(|until| until < now))
    }

    #[cfg(test)]
    pub fn without(&self) -> Vec<ServerId> {
        self.without.keys().copied().collect()
    }
}

/// What is to be proposed, by what it may still take where a quorum has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Write,
    Begin,
    End,
}

impl Node {
    /// A new session of Zab has begun, or this server's connections are told anew: its leader takes it to have
    /// room unless the same words say otherwise.
    pub(super) fn begin_room(&mut self) {
        self.room.told_full = false;
        self.request.room = None;
        self.tell_room();
    }

    /// Tells the leader when this voter's room ends or is there again.
    fn tell_room(&mut self) {
        let is_full = !self.has_room();
        if self.room.told_full != is_full && self.zab.votes(self.zab.me()) {
            self.room.told_full = is_full;
            self.request.room = Some(!is_full);
        }
    }

    /// Where only smaller writes than clients may ask for find room, there is none.
    fn has_room(&self) -> bool {
        let write = self.options.write_bytes_max.min(WRITE_BYTES_MAX);
        !self.is_full(write, SESSION_RESERVE_BYTES)
    }

    /// As a follower, says what is new of its room; as a leader that has none for long, lets another lead.
    pub(super) fn mind_room(&mut self, out: &mut Output) {
        if self.zab.is_following() {
            self.tell_room();
        }
        if self.has_room() || !self.zab.is_leading() {
            self.room.full_since = None;
            return;
        }
        let now = self.zab.now();
        let since = *self.room.full_since.get_or_insert(now);
        if !self.zab.is_stall(since) {
            return;
        }
        if let Some(to) = self.zab.successor(|id| self.room.has(id, now)) {
            // Again only after as long, if that one does not come to lead.
            self.room.full_since = None;
            out.warnings.push(format!("no room in the log of this leader: server {to} is to lead"));
            self.drive(zab::Event::Transfer(to), out);
        }
    }

    /// What a voter says of its room.
    pub(super) fn note_room(&mut self, from: ServerId, request: &Request) {
        let now = self.zab.now();
        if request.hosted.is_some()
            && let Some(until) = self.room.without.get_mut(&from)
        {
            *until = Some(now + SAID_BEFORE_TICKS);
        }
        if request.room == Some(true) {
            self.room.without.remove(&from);
        }
        if request.room == Some(false) && self.zab.votes(from) {
            self.room.without.insert(from, None);
        }
        self.room.without.retain(|_, until| until.is_none_or(|until| now <= until));
    }

    /// Whether this leader would propose what those that follow have no room for: they are a quorum with it, and those of
    /// them that have room are none. It counts itself among these, whatever room it has.
    pub(super) fn lacks_room_in_quorum(&mut self, need: Need) -> bool {
        let now = self.zab.now();
        let lacks = !self.room.without.is_empty()
            && self.zab.has_quorum(|_| true)
            && !self.zab.has_quorum(|id| self.room.has(id, now));
        if !lacks {
            self.room.spent = 0;
        }
        lacks
            && match need {
                Need::Write => true,
                Need::Begin => BEGINS_BYTES_MAX < self.room.spent,
                Need::End => ENDS_BYTES_MAX < self.room.spent,
            }
    }
}
