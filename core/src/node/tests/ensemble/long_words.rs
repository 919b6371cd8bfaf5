//! What a server says is long on its way: a leader hears nothing else of it, and its clients may be well.

use super::partition::{BEHIND, CUT, PLAIN};
use super::{Cluster, TIMEOUT_MS, id_of};
use crate::node::{Action, Event, OnPartition, Output};
use crate::zab;
use crate::zab::message::{Message, ToLeader};
use crate::zxid::{ServerId, SessionId, Zxid};

const TIMEOUT: u64 = TIMEOUT_MS as u64;

/// From whom the observer learns that others are behind.
const RELAY: usize = 0;

/// For so long what came before is taken to be behind what was long, and a session ends at a tick then.
const MEANWHILE_MS: u64 = 1000;
/// When a session is over whose server says nothing but long things: what comes in parts counts for ten seconds, its
/// timeout behind that.
const OVER: u64 = 10_000 + TIMEOUT;
const ROUNDING_MS: u64 = 1000;

impl Cluster {
    /// The observer learns from the first voter, and that one is no leader.
    fn relayed() -> Self {
        let mut cluster = Self::chained(OnPartition::Serve);
        if cluster.leads() == RELAY {
            cluster.step(RELAY, Event::Zab(zab::Event::Transfer(id_of(RELAY + 1))));
            cluster.stay(2000);
        }
        cluster
    }

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

    /// The leader is told for `ms` that something is long in coming to the relay, before the words of the one behind the observer.
    fn is_told_of_parts(&mut self, ms: u64) {
        let (leader, end) = (self.leads(), self.now + ms);
        while self.now < end {
            self.run(100);
            let now_ms = self.node_of(leader).clock.mono_ms;
            let process = self.servers[leader].process.as_mut().expect("it runs");
            process.node.coming.insert(id_of(BEHIND), now_ms);
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
    cluster.says_something_long((CUT, leader), TIMEOUT + TIMEOUT / 2);
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
    let mut cluster = Cluster::relayed().without_grace();
    let session = cluster.session(PLAIN);
    assert!(cluster.leads() != RELAY && cluster.has(session));
    cluster.says_something_long((CUT, RELAY), TIMEOUT + TIMEOUT / 2);
    assert!(cluster.has(session), "the observer before its server has something else to say first");
    cluster.run(TIMEOUT + MEANWHILE_MS + ROUNDING_MS);
    assert!(!cluster.has(session), "nothing came, and nothing is on its way");
}

#[test]
fn a_session_ends_within_its_bound_however_long_its_server_says_long_things() {
    let mut cluster = Cluster::observed(OnPartition::Serve).without_grace();
    let session = cluster.session(PLAIN);
    let leader = cluster.leads();
    cluster.says_something_long((CUT, leader), OVER - ROUNDING_MS);
    assert!(cluster.has(session));
    cluster.says_something_long((CUT, leader), 3 * ROUNDING_MS);
    assert!(!cluster.has(session), "its client may be silent for as long as its server is not");
}

#[test]
fn a_session_whose_server_was_cut_off_in_a_long_word_ends_within_its_bound() {
    let mut cluster = Cluster::observed(OnPartition::Serve).without_grace();
    let session = cluster.session(PLAIN);
    let leader = cluster.leads();
    cluster.says_something_long((CUT, leader), OVER - 100);
    assert!(cluster.has(session));
    cluster.run(MEANWHILE_MS + ROUNDING_MS + 500);
    assert!(!cluster.has(session), "it has its timeout behind the last part");
}

#[test]
fn a_session_ends_within_its_bound_though_what_comes_in_parts_pauses() {
    let mut cluster = Cluster::relayed().without_grace();
    let session = cluster.session(PLAIN);
    cluster.servers[CUT].frozen_until = u64::MAX;
    cluster.is_told_of_parts(TIMEOUT + TIMEOUT / 4);
    cluster.run(2 * MEANWHILE_MS);
    assert!(cluster.has(session));
    cluster.is_told_of_parts(OVER - 2 * TIMEOUT + TIMEOUT / 4 + ROUNDING_MS / 2);
    assert!(!cluster.has(session), "each pause gives it its timeout once more");
}

#[test]
fn what_is_coming_is_told_in_a_request_of_its_own() {
    let mut cluster = Cluster::chained(OnPartition::Serve);
    let session = cluster.session(PLAIN);
    let node = &mut cluster.servers[RELAY].process.as_mut().expect("it runs").node;
    node.request.touched.push((session, TIMEOUT_MS));
    node.request.coming.push(id_of(CUT));
    let mut out = Output::default();
    node.send_request(&mut out);
    let mut versions = Vec::new();
    for action in &out.actions {
        if let Action::Send {
            message: Message::ToLeader { body: ToLeader::Request(bytes), .. },
            ..
        } = action
        {
            versions.push(bytes[0]);
        }
    }
    assert_eq!(versions, [2, 3], "an older leader passes all over that is in the newer layout");
}

#[test]
fn when_servers_were_heard_that_are_gone_is_forgotten_when_they_are_many() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let session = cluster.session(PLAIN);
    let leader = cluster.leads();
    // It is cut off, and holds a session.
    cluster.servers[CUT].frozen_until = u64::MAX;
    cluster.run(700);
    assert!(!cluster.node_of(leader).zab.serves(id_of(CUT)));
    let node = &mut cluster.servers[leader].process.as_mut().expect("it runs").node;
    for number in 0..5_000 {
        node.heard.insert(ServerId(0x8000_0000 + number), 0);
        node.coming.insert(ServerId(0x8000_0000 + number), 0);
    }
    cluster.run(500);
    let node = cluster.node_of(leader);
    assert!(node.heard.len() < 10 && node.coming.is_empty());
    assert!(node.heard.contains_key(&id_of(CUT)) && cluster.has(session));
}
