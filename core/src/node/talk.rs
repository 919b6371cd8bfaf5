//! What a server says to its leader and to those that follow it, once it has gathered.

use super::exchange::Request;
use super::{Node, Output};
use crate::zab;
use crate::zxid::ServerId;

/// Transactions after which a leader tells its tree's digest though no sweep is due.
const DIGEST_TRANSACTIONS: u64 = 256;

impl Node {
    pub(super) fn send_request(&mut self, out: &mut Output) {
        let mut request = std::mem::take(&mut self.request);
        self.asked_ms = self.clock.mono_ms;
        let applied = self.applied.zxid;
        // Of its own: an older leader does not know this layout, and passes over what it does not understand.
        let (coming, room) = (std::mem::take(&mut request.coming), request.room.take());
        let beside = Request { coming, room, applied, ..Request::default() };
        if !request.is_empty() || beside.is_empty() {
            request.applied = applied;
            self.drive(zab::Event::Request(request.encode()), out);
        }
        if !beside.is_empty() {
            self.drive(zab::Event::Request(beside.encode()), out);
        }
    }

    /// Sends what has gathered for the leader, or for those who follow.
    pub(super) fn talk(&mut self, out: &mut Output) {
        if !self.request.is_empty() && self.zab.is_following() {
            self.send_request(out);
        }
        // What comes from the leader is passed on by the machine; the digest is this server's own.
        if !self.zab.is_leading() && self.zab.served().next().is_none() {
            return;
        }
        if self.applied.zxid.0 >= self.told.0.saturating_add(DIGEST_TRANSACTIONS) {
            self.tell_digest();
        }
        let ready: Vec<ServerId> = self
            .responses
            .iter()
            .filter(|(id, response)| !response.is_empty() && self.zab.serves(**id))
            .map(|(&id, _)| id)
            .collect();
        for to in ready {
            let response = self.responses.remove(&to).expect("it was there");
            self.drive(zab::Event::Respond { to, bytes: response.encode() }, out);
        }
    }

    pub(super) fn tell_digest(&mut self) {
        self.told = self.applied.zxid;
        let digest = Some((self.applied.zxid, self.writer.digest()));
        let learners: Vec<ServerId> = self.zab.served().collect();
        for id in learners {
            self.responses.entry(id).or_default().digest = digest;
        }
    }
}
