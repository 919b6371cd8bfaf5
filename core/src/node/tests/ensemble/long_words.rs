//! What a server says is long on its way: a leader hears nothing else of it, and its clients may be well.

use super::partition::{CUT, PLAIN};
use super::{Cluster, TIMEOUT_MS, id_of};
use crate::node::{Event, OnPartition};
use crate::zab;
use crate::zab::message::{Message, ToLeader};
use crate::zxid::{ServerId, SessionId, Zxid};

const TIMEOUT: u64 = TIMEOUT_MS as u64;

/// From whom the observer learns that others are behind.
const RELAY: usize = 0;

/// For so long what came before is taken to be behind what was long, and a session ends at a tick then.
const MEANWHILE_MS: u64 = 1000;
const ROUNDING_MS: u64 = 1000;

impl Cluster {
    /// The leader gives no grace.
    fn without_grace(mut self) -> Self {
        for server in &mut self.servers {
            server.process.as_mut().expect("it runs").node.options.learner_grace_ms = 0;
        }
        self
    }

    /// Nothing that a server says comes to whom it learns from but parts of one message, for `ms`.
    fn says_something_long(&mut self, (server, upstream): (usize, usize), ms: u64) {
        let end = self.now + ms;
        self.servers[server].frozen_until = end + 60_000;
        while self.now < end {
            self.run(100);
            self.step(upstream, Event::Zab(zab::Event::Arriving(id_of(server))));
        }
    }

    /// One message of a server has come, which tells nothing of any session.
    fn it_is_there(&mut self, server: ServerId) {
        let (leader, clock) = (self.leads(), self.clock());
        let (session, sequence, body) = (0, 0, ToLeader::Ack(Zxid::ZERO));
        let message = Message::ToLeader { session, sequence, body };
        self.step(leader, Event::Heard { from: server, message, clock });
    }

    fn has(&self, session: SessionId) -> bool {
        self.node_of(self.leads()).sessions.contains(session)
    }
}

#[test]
fn no_session_ends_for_its_silence_while_something_of_its_server_is_long_on_its_way() {
    let mut cluster = Cluster::observed(OnPartition::Serve).without_grace();
    let session = cluster.session(PLAIN);
    let leader = cluster.leads();
    cluster.says_something_long((CUT, leader), 3 * TIMEOUT);
    assert!(cluster.has(session), "its server has something else to say first");
    // What tells of its client may be right behind that.
    cluster.it_is_there(id_of(CUT));
    cluster.run(MEANWHILE_MS / 2);
    assert!(cluster.has(session), "what its server said meanwhile has yet to come");
    cluster.run(MEANWHILE_MS / 2 + TIMEOUT + ROUNDING_MS);
    assert!(!cluster.has(session), "nothing came, and nothing is on its way");
}

#[test]
fn what_is_long_in_coming_to_a_relay_is_told_to_its_leader_for_all_behind() {
    let mut cluster = Cluster::chained(OnPartition::Serve).without_grace();
    // The observer learns from the first voter, and that one is to be no leader.
    if cluster.leads() == RELAY {
        cluster.step(RELAY, Event::Zab(zab::Event::Transfer(id_of(RELAY + 1))));
        cluster.stay(2000);
    }
    let session = cluster.session(PLAIN);
    assert!(cluster.leads() != RELAY && cluster.has(session));
    cluster.says_something_long((CUT, RELAY), 3 * TIMEOUT);
    assert!(cluster.has(session), "the observer before its server has something else to say first");
    cluster.run(TIMEOUT + MEANWHILE_MS + ROUNDING_MS);
    assert!(!cluster.has(session), "nothing came, and nothing is on its way");
}
