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

use super::exchange::Request;
use super::{Node, Output, SESSION_RESERVE_BYTES};
use crate::zab;
use crate::zxid::ServerId;

impl Node {
    /// A new session of Zab has begun, or this server's connections are told anew: its leader takes it to have
    /// room until it says otherwise, with the same words.
    pub(super) fn begin_room(&mut self) {
        self.told_room = true;
        self.tell_room();
    }

    /// Tells the leader when this voter's room ends or is there again.
    fn tell_room(&mut self) {
        let has_room = self.has_room();
        if self.told_room != has_room && self.zab.votes(self.zab.me()) {
            self.told_room = has_room;
            self.request.room = Some(has_room);
        }
    }

    /// Where only smaller writes than clients may ask for find room, there is none.
    fn has_room(&self) -> bool {
        !self.is_full(self.options.write_bytes_max, SESSION_RESERVE_BYTES)
    }

    /// As a follower, says what is new of its room; as a leader that has none for long, lets another lead.
    pub(super) fn mind_room(&mut self, out: &mut Output) {
        if self.zab.is_following() {
            self.tell_room();
        }
        if self.has_room() || !self.zab.is_leading() {
            self.full_since = None;
            return;
        }
        let since = *self.full_since.get_or_insert(self.zab.now());
        if !self.zab.is_stall(since) {
            return;
        }
        if let Some(to) = self.zab.successor(|id| !self.without_room.contains(&id)) {
            // Again only after as long, if that one does not come to lead.
            self.full_since = None;
            out.warnings.push(format!("no room in the log of this leader: server {to} is to lead"));
            self.drive(zab::Event::Transfer(to), out);
        }
    }

    /// What a voter says of its room. Who did not say anything since it told its connections has some.
    pub(super) fn note_room(&mut self, from: ServerId, request: &Request) {
        if request.hosted.is_some() && self.without_room.remove(&from) {
            // What it says of it comes right behind that.
            self.full_since = self.full_since.map(|_| self.zab.now());
        }
        if request.room == Some(true) {
            self.without_room.remove(&from);
        }
        if request.room == Some(false) && self.zab.votes(from) {
            self.without_room.insert(from);
        }
    }

    /// Whether those that follow would be a quorum, and those of them that have room are none: this leader counts
    /// itself among them, whatever room it has.
    pub(super) fn lacks_room_in_quorum(&self) -> bool {
        !self.without_room.is_empty() && {
            let without = &self.without_room;
            self.zab.has_quorum(|_| true) && !self.zab.has_quorum(|id| !without.contains(&id))
        }
    }
}
