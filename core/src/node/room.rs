//! Whose log has room for what is written next.
//!
//! A leader without room refuses writes and goes on to serve reads. For an ensemble that is no reason to refuse
//! them: where those who have room are a quorum without it, one of them had better lead.
//!
//! ```text
//! follower                            leader
//!    │ Request{room: false} ─────────► │  its log has no room, where that is new
//!    │                                 │  nor has the leader's, for as long as a disk may hang:
//!    │                                 │  Zab's Transfer to a follower that has, if that can lead
//! ```

use super::exchange::Request;
use super::{Node, Output, SESSION_RESERVE_BYTES};
use crate::zab;
use crate::zxid::ServerId;

/// What a write takes at most, by the usual `jute.maxbuffer`: where only smaller ones find room, there is none.
const WRITE_BYTES_MAX: usize = 1 << 20;

impl Node {
    /// Tells the leader when this voter's room ends or is there again; as a leader without any, lets another lead.
    pub(super) fn mind_room(&mut self, out: &mut Output) {
        let has_room = !self.is_full(WRITE_BYTES_MAX, SESSION_RESERVE_BYTES);
        if self.zab.is_following() && self.told_room != has_room && self.zab.votes(self.zab.me()) {
            self.told_room = has_room;
            self.request.room = Some(has_room);
        }
        if has_room || !self.zab.is_leading() {
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

    /// What a voter says of its room. Who did not say anything in this session of Zab has some.
    pub(super) fn note_room(&mut self, from: ServerId, request: &Request) {
        if request.hosted.is_some() || request.room == Some(true) {
            self.without_room.remove(&from);
        }
        if request.room == Some(false) && self.zab.votes(from) {
            self.without_room.insert(from);
        }
    }
}
