//! What each policy means to each client while a server is cut off, moment by moment.

use std::sync::Arc;

use super::clients::{Client, Fate, Phase, Waiting};
use super::{Cluster, GRACE_MS, Plan, TIMEOUT_MS};
use crate::acl::Identity;
use crate::node::partition::Serving;
use crate::node::submission::{Ask, Origin, Submission};
use crate::node::{Event, OnPartition, Output, route};
use crate::prng::Prng;
use crate::session::LocalSessions;
use crate::wire::ErrorCode;
use crate::zab::Action;
use crate::zab::message::{Message, ToLeader};
use crate::zxid::SessionId;

/// A client that takes a server that only reads, and one that does not.
pub(super) const READER: usize = 0;
pub(super) const PLAIN: usize = 1;

/// The server that is cut off, which learns and does not vote.
pub(super) const CUT: usize = 3;

/// One that learns from that one.
pub(super) const BEHIND: usize = 4;

/// Beyond any policy: a client is heard more often.
const PING_MS: u64 = 200;

/// Until a server knows that it has no leader.
const NOTICED_MS: u64 = 500;

/// A session ends so much later at most: expiry is in ticks of 500 ms, and a server may hold back
/// for 400 ms whom it heard.
const ROUNDING_MS: u64 = 1000;

const TIMEOUT: u64 = TIMEOUT_MS as u64;
const GRACE: u64 = GRACE_MS as u64;

impl Cluster {
    /// Three voters and a learner, and two clients of the learner's.
    pub(super) fn observed(policy: OnPartition) -> Self {
        Self::observed_with(policy, LocalSessions::Off)
    }

    fn observed_with(policy: OnPartition, local_sessions: LocalSessions) -> Self {
        let plan = Plan {
            servers: 4,
            learners: 1,
            clients: 2,
            delay_ms: 1,
            disk_ms: 1,
            fault_ms: 1,
            epoch_proposals: u32::MAX,
            few_xids: false,
            garbage: false,
            full_disks: false,
            purges: false,
            observers: Vec::new(),
            local_sessions,
            long_turns: false,
        };
        let mut cluster = Self::of(7, policy, Prng::new(7), plan);
        cluster.run(3000);
        for client in [READER, PLAIN] {
            cluster.connect_to(client, CUT);
        }
        cluster.stay(1000);
        assert!(cluster.is_served(READER) && cluster.is_served(PLAIN));
        assert_eq!(cluster.node_of(CUT).serving(), Serving::All);
        cluster
    }

    /// Three voters, an observer that learns from the first of them, and one that learns from that
    /// observer and has two clients.
    pub(super) fn chained(policy: OnPartition) -> Self {
        let mut plan = Self::observed(policy).plan;
        (plan.servers, plan.learners) = (3, 0);
        plan.observers = vec![vec![0], vec![CUT]];
        let mut cluster = Self::of(7, policy, Prng::new(7), plan);
        cluster.run(3000);
        for client in [READER, PLAIN] {
            cluster.connect_to(client, BEHIND);
        }
        cluster.stay(1000);
        assert!(cluster.is_served(READER) && cluster.is_served(PLAIN));
        cluster
    }

    pub(super) fn leads(&self) -> usize {
        (0..CUT).find(|&at| self.node_of(at).is_leading()).expect("one leads")
    }

    pub(super) fn node_of(&self, server: usize) -> &crate::node::Node {
        &self.servers[server].process.as_ref().expect("it runs").node
    }

    pub(super) fn cut_off(&mut self, ms: u64) {
        (0..CUT).for_each(|voter| self.cut(voter, CUT, ms));
    }

    /// Time passes, and clients that are connected are heard.
    pub(super) fn stay(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            for client in [READER, PLAIN] {
                if let Some((server, index)) = self.place(client) {
                    let reactor =
                        &mut self.servers[server].process.as_mut().expect("it runs").reactor;
                    let session = reactor.conns[&index].session;
                    reactor.submission.touch(session, TIMEOUT_MS);
                }
            }
            self.submit_all();
            self.run(PING_MS.min(end - self.now));
        }
    }

    /// Where a client has a connection that serves it.
    pub(super) fn place(&self, client: usize) -> Option<(usize, u32)> {
        let (server, life, index) = self.clients[client].at?;
        let process = self.servers[server].process.as_ref().filter(|it| it.life == life)?;
        let conn = process.reactor.conns.get(&index)?;
        (conn.phase == Phase::Serving).then_some((server, index))
    }

    fn is_served(&self, client: usize) -> bool {
        self.place(client).is_some()
    }

    pub(super) fn session(&self, client: usize) -> SessionId {
        let Client { session, .. } = &self.clients[client];
        session.as_ref().expect("it has one").0
    }

    /// A client writes; its number among all writes.
    #[track_caller]
    pub(super) fn writes(&mut self, client: usize) -> usize {
        let (server, index) = self.place(client).expect("it is served");
        let before = self.sent.len();
        self.write(server, index);
        assert_eq!(self.sent.len(), before + 1);
        self.submit_all();
        before
    }

    pub(super) fn fate(&self, write: usize) -> Fate {
        self.sent[write].fate
    }

    /// Whether the client, which goes to `server`, is served there by the session that it had.
    fn comes_back(&mut self, client: usize, server: usize) -> bool {
        let session = self.session(client);
        self.connect_to(client, server);
        self.stay(600);
        self.is_served(client) && self.session(client) == session
    }

    /// The time until the leader has ended the session.
    fn until_it_ends(&mut self, session: SessionId) -> u64 {
        let begun = self.now;
        while self.node_of(0).sessions.contains(session) {
            assert!(self.now - begun < 60_000, "it never ends");
            self.stay(50);
        }
        self.now - begun
    }
}

#[test]
fn served_clients_read_on_and_their_writes_fail_without_their_connections() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    cluster.cut_off(60_000);
    cluster.stay(NOTICED_MS);
    assert_eq!(cluster.node_of(CUT).serving(), Serving::Reads);
    let (server, index) = cluster.place(PLAIN).expect("it is served");
    let write = cluster.writes(PLAIN);
    cluster.sync(server, index);
    cluster.stay(600);
    assert_eq!(cluster.fate(write), Fate::Open, "it hears that nobody knows");
    let outstanding = |cluster: &Cluster| {
        cluster.servers[CUT].process.as_ref().expect("it runs").reactor.outstanding
    };
    assert_eq!(outstanding(&cluster), 0, "the sync behind it was answered too");
    // Longer than any session lives without a leader.
    cluster.stay(4 * TIMEOUT);
    assert!(cluster.is_served(READER) && cluster.is_served(PLAIN));
    let asked = cluster.now;
    let late = cluster.writes(PLAIN);
    while cluster.fate(late) == Fate::Unknown {
        cluster.stay(10);
    }
    assert!(cluster.now - asked <= 100, "a long cut makes nobody wait behind each write");
    cluster.heal();
    cluster.run(2000);
    // Told the truth: the session is over, and no other took its place unseen.
    assert!(!cluster.is_served(PLAIN) && !cluster.comes_back(PLAIN, CUT));
    assert_eq!(cluster.clients[PLAIN].session.as_ref().map(|it| it.0), None);
    assert!(cluster.node_of(CUT).asks.is_idle());
}

#[test]
fn a_session_of_a_learner_outlives_a_cut_by_the_grace_and_goes_on_on_its_connection() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let session = cluster.session(PLAIN);
    cluster.cut_off(TIMEOUT + GRACE - 500);
    cluster.stay(TIMEOUT + GRACE - 500);
    assert!(cluster.node_of(0).sessions.contains(session), "its time and the grace are not over");
    cluster.stay(1500);
    assert_eq!(cluster.session(PLAIN), session);
    let write = cluster.writes(PLAIN);
    cluster.stay(500);
    assert!(matches!(cluster.fate(write), Fate::Done(_)), "{:?}", cluster.fate(write));
    // As long as its server is there, its silence is its own.
    let (server, index) = cluster.place(READER).expect("it is served");
    let reader = cluster.session(READER);
    cluster.hang_up(server, index);
    let lived = cluster.until_it_ends(reader);
    assert!(lived <= TIMEOUT + ROUNDING_MS, "{lived}");
}

#[test]
fn no_session_outlives_timeout_and_grace_after_its_server_was_last_heard() {
    for policy in [OnPartition::Serve, OnPartition::Bounded] {
        let mut cluster = Cluster::observed(policy);
        let session = cluster.session(PLAIN);
        cluster.stop(CUT);
        let lived = cluster.until_it_ends(session);
        let least = TIMEOUT + GRACE - 500;
        assert!(least <= lived && lived <= TIMEOUT + GRACE + ROUNDING_MS, "{lived}");
    }
}

#[test]
fn a_cut_shorter_than_its_timeout_ends_no_session_of_a_learner_where_no_grace_is_given() {
    for (cut_ms, lives) in [(TIMEOUT - 500, true), (60_000, false)] {
        let mut cluster = Cluster::observed(OnPartition::Serve);
        for server in &mut cluster.servers {
            server.process.as_mut().expect("it runs").node.options.learner_grace_ms = 0;
        }
        let session = cluster.session(PLAIN);
        // Its client was last heard well before the cut, and its server until then.
        cluster.run(TIMEOUT / 2);
        cluster.cut_off(cut_ms);
        cluster.stay(TIMEOUT - 500);
        assert!(cluster.node_of(0).sessions.contains(session), "it has its timeout in the cut");
        cluster.stay(500 + ROUNDING_MS);
        assert_eq!(cluster.node_of(0).sessions.contains(session), lives, "a cut of {cut_ms} ms");
    }
}

#[test]
fn a_voters_session_has_no_grace() {
    let mut cluster = Cluster::observed(OnPartition::Bounded);
    let follower = (1..CUT).find(|&at| !cluster.node_of(at).is_leading()).expect("one of two");
    let stays = (0..CUT).find(|&at| at != follower).expect("two others");
    assert!(cluster.comes_back(PLAIN, follower));
    let session = cluster.session(PLAIN);
    cluster.stop(follower);
    let begun = cluster.now;
    while cluster.node_of(stays).sessions.contains(session) {
        cluster.stay(50);
        assert!(cluster.now - begun <= TIMEOUT + ROUNDING_MS, "it lives on");
    }
}

#[test]
fn a_write_on_its_way_when_the_link_is_cut_is_told_once_and_done_at_most_once() {
    for after_ms in 0..12 {
        let mut cluster = Cluster::observed(OnPartition::Serve);
        let session = cluster.session(PLAIN);
        let write = cluster.writes(PLAIN);
        cluster.run(after_ms);
        cluster.cut_off(2000);
        cluster.stay(1500);
        // Told by its record, or that nobody knows; and the connection is there.
        assert_ne!(cluster.fate(write), Fate::Unknown, "{after_ms}");
        cluster.stay(1500);
        assert_eq!(cluster.session(PLAIN), session);
        let next = cluster.writes(PLAIN);
        cluster.stay(500);
        assert!(matches!(cluster.fate(next), Fate::Done(_)), "{after_ms}");
        assert!(cluster.node_of(CUT).asks.is_idle() && cluster.node_of(CUT).asks.bytes() == 0);
        cluster.calm = true;
        let leader = (0..CUT).find(|&at| cluster.node_of(at).is_leading()).expect("a leader");
        cluster.judge_history(leader);
    }
}

#[test]
fn a_session_that_was_to_end_in_a_cut_ends_with_the_cut() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let session = cluster.session(PLAIN);
    cluster.cut_off(2000);
    cluster.stay(NOTICED_MS);
    let (server, index) = cluster.place(PLAIN).expect("it is served");
    cluster.ask(server, index, Waiting::Close, &[]);
    cluster.stay(1000);
    assert!(!cluster.is_served(PLAIN), "its client does not wait for the leader");
    cluster.stay(1500);
    assert!(!cluster.node_of(0).sessions.contains(session), "its ephemerals stay for a timeout");
    assert!(cluster.node_of(CUT).asks.is_idle());
}

#[test]
fn a_bound_on_staleness_ends_connections_and_takes_none() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    cluster.servers[CUT].process.as_mut().expect("it runs").node.options.stale_ms_max = Some(3000);
    cluster.cut_off(8000);
    cluster.stay(2500);
    assert!(cluster.is_served(PLAIN), "the bound is not reached");
    cluster.stay(1000);
    assert!(!cluster.is_served(PLAIN) && !cluster.is_served(READER));
    assert_eq!(cluster.node_of(CUT).serving(), Serving::Nobody);
    assert!(!cluster.comes_back(PLAIN, CUT), "it is to look for another server");
    assert!(cluster.comes_back(PLAIN, 0), "which has the session");
}

#[test]
fn a_bounded_server_serves_for_the_sessions_own_time() {
    let mut cluster = Cluster::observed(OnPartition::Bounded);
    cluster.cut_off(60_000);
    cluster.stay(NOTICED_MS);
    let write = cluster.writes(PLAIN);
    cluster.stay(TIMEOUT - 1500);
    assert!(cluster.is_served(READER) && cluster.is_served(PLAIN));
    cluster.stay(1000);
    assert!(!cluster.is_served(PLAIN), "its write has waited for too long");
    assert_eq!(cluster.fate(write), Fate::Unknown);
    cluster.stay(1000);
    assert!(!cluster.is_served(READER), "its session's time is over");
}

#[test]
fn readers_alone_are_served_by_a_read_only_server_and_keep_their_sessions() {
    let mut cluster = Cluster::observed(OnPartition::ReadOnly);
    let session = cluster.session(READER);
    cluster.cut_off(4500);
    cluster.stay(route::HANDSHAKE_PATIENCE_MS as u64 - 300);
    assert!(cluster.is_served(READER) && cluster.is_served(PLAIN), "an election may be over soon");
    cluster.stay(800);
    assert!(!cluster.is_served(READER) && !cluster.is_served(PLAIN));
    assert_eq!(cluster.node_of(CUT).serving(), Serving::Readers);
    assert!(!cluster.comes_back(PLAIN, CUT), "it did not ask for a server that only reads");
    assert!(cluster.comes_back(READER, CUT));
    let write = cluster.writes(READER);
    cluster.run(50);
    assert_eq!(cluster.fate(write), Fate::Failed(ErrorCode::NotReadOnly));
    cluster.stay(1500);
    // The leader is back: the guest is sent to a server that writes, with the session that it had.
    assert!(!cluster.is_served(READER));
    assert_eq!(cluster.node_of(CUT).serving(), Serving::All);
    assert!(cluster.comes_back(READER, CUT));
    assert_eq!(cluster.session(READER), session);
    let write = cluster.writes(READER);
    cluster.stay(500);
    assert!(matches!(cluster.fate(write), Fate::Done(_)));
}

#[test]
fn who_comes_in_a_cut_and_takes_a_server_that_only_reads_is_served_beside_those_who_are_there() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let (session, plain) = (cluster.session(READER), cluster.session(PLAIN));
    cluster.cut_off(8000);
    cluster.stay(route::HANDSHAKE_PATIENCE_MS as u64 + 500);
    assert!(cluster.is_served(READER) && cluster.is_served(PLAIN));
    // It comes back with its session: its old connection ends, nobody else's does.
    assert!(cluster.comes_back(READER, CUT));
    let guest = cluster.writes(READER);
    let waits = cluster.writes(PLAIN);
    cluster.stay(600);
    assert_eq!(cluster.fate(guest), Fate::Failed(ErrorCode::NotReadOnly));
    assert_eq!(cluster.fate(waits), Fate::Open, "who is not a guest is told as ever");
    assert_eq!(cluster.node_of(CUT).serving(), Serving::Reads);
    let (server, index) = cluster.place(PLAIN).expect("it is served");
    cluster.hang_up(server, index);
    assert!(!cluster.comes_back(PLAIN, CUT), "it did not ask for a server that only reads");
    cluster.heal();
    cluster.stay(1500);
    // There is a leader: the guest looks for a server that writes, with the session that it had.
    assert!(!cluster.is_served(READER) && cluster.node_of(CUT).guests.is_empty());
    assert!(cluster.comes_back(READER, CUT) && cluster.session(READER) == session);
    assert!(cluster.comes_back(PLAIN, CUT) && cluster.session(PLAIN) == plain);
    let write = cluster.writes(READER);
    cluster.stay(500);
    assert!(matches!(cluster.fate(write), Fate::Done(_)));
}

#[test]
fn a_guest_without_a_session_gets_one_that_is_over_with_the_cut() {
    for policy in [OnPartition::ReadOnly, OnPartition::Serve] {
        a_guests_own_session(policy);
    }
}

fn a_guests_own_session(policy: OnPartition) {
    let mut cluster = Cluster::observed(policy);
    cluster.cut_off(6000);
    cluster.stay(3000);
    cluster.clients[READER].session = None;
    cluster.connect_to(READER, CUT);
    cluster.stay(500);
    assert!(cluster.is_served(READER));
    let guest = cluster.session(READER);
    assert!(!cluster.node_of(CUT).sessions.contains(guest));
    // To its own server it is known to be over, as soon as its connection is.
    let (server, index) = cluster.place(READER).expect("it is served");
    cluster.hang_up(server, index);
    assert!(!cluster.comes_back_with_nothing(READER), "nobody may take what is not his own");
    cluster.heal();
    cluster.run(2000);
    assert!(!cluster.node_of(0).sessions.contains(guest), "it was of this server alone");
}

impl Cluster {
    /// Whether the client goes on at the server with its session; it has none then, where it is told
    /// that it is over.
    fn comes_back_with_nothing(&mut self, client: usize) -> bool {
        self.connect_to(client, CUT);
        self.stay(500);
        self.clients[client].session.is_some()
    }
}

#[test]
fn nobody_is_served_where_the_operator_wants_so() {
    let mut cluster = Cluster::observed(OnPartition::Disconnect);
    cluster.cut_off(3000);
    let write = cluster.writes(PLAIN);
    cluster.stay(NOTICED_MS);
    assert!(!cluster.is_served(READER) && !cluster.is_served(PLAIN));
    assert_eq!(
        (cluster.fate(write), cluster.node_of(CUT).serving()),
        (Fate::Unknown, Serving::Nobody)
    );
    cluster.connect_to(PLAIN, CUT);
    cluster.stay(100);
    let waits = cluster.clients[PLAIN].at.is_some_and(|it| cluster.opens(it.2));
    assert!(!waits, "it is to look for another server at once");
    cluster.stay(3500);
    assert!(cluster.comes_back(PLAIN, CUT) && cluster.comes_back(READER, CUT));
}

impl Cluster {
    fn opens(&self, index: u32) -> bool {
        let process = self.servers[CUT].process.as_ref().expect("it runs");
        process.reactor.conns.get(&index).is_some_and(|conn| conn.phase == Phase::Opening)
    }
}

#[test]
fn a_session_behind_a_relay_outlives_a_cut_by_the_grace_too() {
    let mut cluster = Cluster::chained(OnPartition::Serve);
    let session = cluster.session(PLAIN);
    (0..BEHIND).for_each(|other| cluster.cut(other, BEHIND, TIMEOUT + GRACE - 500));
    cluster.stay(TIMEOUT + GRACE - 500);
    let leader = cluster.leads();
    assert!(cluster.node_of(leader).sessions.contains(session), "the grace is not over");
    cluster.stay(3000);
    assert_eq!(cluster.session(PLAIN), session);
    let write = cluster.writes(PLAIN);
    cluster.stay(500);
    assert!(matches!(cluster.fate(write), Fate::Done(_)), "{:?}", cluster.fate(write));
}

#[test]
fn a_short_session_behind_a_relay_has_the_grace_before_its_server_is_known_to_be_cut_off() {
    let mut cluster = Cluster::chained(OnPartition::Serve);
    let (session, leader) = (cluster.session(PLAIN), cluster.leads());
    // It is due, in half a second, while the leader may yet hear of its server, for which its relay answers.
    cluster.stay(900 - cluster.now % 500);
    let now_ms = cluster.now as i64;
    let timeout_ms = 499 - (now_ms % 500) as i32;
    let node = &mut cluster.servers[leader].process.as_mut().expect("it runs").node;
    node.attached.get_mut(&session).expect("it is connected").timeout_ms = timeout_ms;
    assert!(node.expiry.touch(session, timeout_ms, now_ms));
    (0..BEHIND).for_each(|other| cluster.cut(other, BEHIND, 60_000));
    cluster.run(timeout_ms as u64 + GRACE);
    assert!(cluster.node_of(leader).sessions.contains(session), "the grace is not over");
    cluster.run(ROUNDING_MS);
    assert!(!cluster.node_of(leader).sessions.contains(session), "it is");
}

#[test]
fn a_client_that_is_gone_has_no_grace_where_its_server_is_there_behind_a_relay() {
    for says_so in [true, false] {
        let mut cluster = Cluster::chained(OnPartition::Serve);
        let session = cluster.session(READER);
        let (server, index) = cluster.place(READER).expect("it is served");
        if says_so {
            cluster.hang_up(server, index);
        }
        let (begun, leader) = (cluster.now, cluster.leads());
        while cluster.node_of(leader).sessions.contains(session) {
            // Nobody is heard from.
            cluster.run(50);
            assert!(
                cluster.now - begun <= TIMEOUT + ROUNDING_MS,
                "it lives on, said so: {says_so}"
            );
        }
    }
}

#[test]
fn a_server_that_is_heard_and_not_served_is_cut_off() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let session = cluster.session(PLAIN);
    let leader = cluster.leads();
    let clock = |cluster: &Cluster| crate::node::Clock {
        mono_ms: cluster.now as i64,
        wall_ms: 1_700_000_000_000 + cluster.now as i64,
    };
    cluster.cut_off(60_000);
    let begun = cluster.now;
    // As where the way is open in one direction only.
    while cluster.now - begun < TIMEOUT + GRACE - 500 {
        cluster.stay(200);
        let (from, message) = (super::id_of(CUT), crate::zab::message::Message::Seek);
        let clock = clock(&cluster);
        cluster.step(leader, crate::node::Event::Heard { from, message, clock });
    }
    assert!(cluster.node_of(leader).sessions.contains(session), "its time and the grace last");
}

#[test]
fn a_handshake_that_began_in_time_waits_no_longer_than_others() {
    for policy in [OnPartition::Bounded, OnPartition::Serve] {
        let mut cluster = Cluster::observed(policy);
        cluster.servers[CUT].process.as_mut().expect("it runs").node.options.wait_ms = 30_000;
        cluster.cut_off(60_000);
        cluster.stay(1500);
        cluster.connect_to(PLAIN, CUT);
        cluster.stay(200);
        let (_, _, index) = cluster.clients[PLAIN].at.expect("it waits");
        assert!(cluster.opens(index), "an election may be over soon");
        cluster.stay(600);
        assert!(!cluster.opens(index), "{policy:?}: it is to look for another server");
    }
}

#[test]
fn a_reader_goes_on_with_a_session_of_this_server_alone() {
    let mut cluster = Cluster::observed_with(OnPartition::ReadOnly, LocalSessions::Upgrading);
    let session = cluster.session(READER);
    cluster.cut_off(5000);
    cluster.stay(2500);
    assert!(!cluster.is_served(READER));
    assert!(cluster.comes_back(READER, CUT), "it lives, and is not told otherwise");
    cluster.stay(3500);
    assert!(cluster.comes_back(READER, CUT) && cluster.session(READER) == session);
    let write = cluster.writes(READER);
    cluster.stay(500);
    assert!(matches!(cluster.fate(write), Fate::Done(_)));
}

#[test]
fn a_local_session_that_is_closed_while_a_write_is_in_doubt_ends_its_connection_at_once() {
    for after_ms in 0..6 {
        let mut cluster = Cluster::observed_with(OnPartition::Serve, LocalSessions::Upgrading);
        let session = cluster.session(PLAIN);
        cluster.writes(PLAIN);
        cluster.run(after_ms);
        cluster.cut_off(4000);
        cluster.stay(1000);
        let (server, index) = cluster.place(PLAIN).expect("it is served");
        cluster.ask(server, index, Waiting::Close, &[]);
        cluster.stay(200);
        assert!(!cluster.is_served(PLAIN), "{after_ms}: its client does not wait for the leader");
        cluster.stay(4500);
        let node = cluster.node_of(CUT);
        let lives = node.locals.contains(session) || node.sessions.contains(session);
        assert!(!lives && node.asks.is_idle(), "{after_ms}");
    }
}

#[test]
fn a_local_session_that_ends_for_its_silence_takes_its_connection_with_it_before_it_gives_back() {
    for after_ms in 0..6 {
        let mut cluster = Cluster::observed_with(OnPartition::Bounded, LocalSessions::On);
        let node = &mut cluster.servers[CUT].process.as_mut().expect("it runs").node;
        (node.options.wait_ms, node.options.stale_ms_max) = (60_000, Some(60_000));
        cluster.writes(PLAIN);
        cluster.run(after_ms);
        cluster.cut_off(60_000);
        cluster.run(NOTICED_MS);
        cluster.writes(PLAIN); // behind one whose fate is open
        cluster.run(TIMEOUT + ROUNDING_MS);
        assert!(!cluster.is_served(PLAIN), "{after_ms}");
    }
}

#[test]
fn a_server_behind_a_relay_is_as_old_as_the_relay_and_its_own_way() {
    let mut cluster = Cluster::chained(OnPartition::Serve);
    (0..CUT).for_each(|voter| cluster.cut(voter, BEHIND, 60_000));
    // The relay does not hear its leader for a while, and does not notice yet.
    for at in 0..CUT {
        cluster.servers[at].frozen_until = cluster.now + 60_000;
    }
    cluster.run(170);
    let (relay, behind) = (cluster.node_of(CUT), cluster.node_of(BEHIND));
    assert!(relay.is_serving() && behind.is_serving());
    assert!(130 <= relay.stale_ms(), "{}", relay.stale_ms());
    assert!(relay.stale_ms() <= behind.stale_ms() + 20, "{}", behind.stale_ms());
    cluster.run(2000);
    assert!(2000 <= cluster.node_of(BEHIND).stale_ms());
}

#[test]
fn writes_that_fail_in_a_cut_do_not_pile_up_behind_one_in_doubt() {
    let mut doubted = 0;
    for after_ms in 0..12 {
        let mut cluster = Cluster::observed(OnPartition::Serve);
        cluster.writes(READER);
        cluster.run(after_ms);
        cluster.cut_off(60_000);
        cluster.stay(1000);
        let asks = &cluster.node_of(CUT).asks;
        let front = asks.end();
        if asks.is_idle() {
            continue; // it was done, or never asked
        }
        doubted += 1;
        for _ in 0..15 {
            let writes: Vec<usize> = (0..8).map(|_| cluster.writes(PLAIN)).collect();
            cluster.stay(150);
            assert!(writes.iter().all(|&write| cluster.fate(write) == Fate::Open), "{after_ms}");
            let asks = &cluster.node_of(CUT).asks;
            assert!(asks.end() == front && asks.bytes() == 0, "{} behind {front}", asks.end());
        }
        cluster.heal();
        cluster.run(2000);
        assert!(cluster.node_of(CUT).asks.is_idle());
    }
    assert!(0 < doubted, "no write was in doubt");
}

#[test]
fn a_reader_that_came_early_in_a_cut_is_served_when_others_are_refused() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let node = &mut cluster.servers[CUT].process.as_mut().expect("it runs").node;
    node.options.wait_ms = 10_000;
    cluster.cut_off(60_000);
    cluster.stay(NOTICED_MS);
    let session = cluster.session(READER);
    cluster.connect_to(READER, CUT);
    cluster.stay(route::HANDSHAKE_PATIENCE_MS as u64);
    assert!(cluster.is_served(READER), "it takes a server that only reads, and got none");
    assert_eq!(cluster.session(READER), session);
}

#[test]
fn what_connections_that_take_turns_ask_is_cut_into_requests_that_fit() {
    let mut cluster = Cluster::observed(OnPartition::Serve);
    let (session, clock) = (cluster.session(PLAIN), cluster.clock());
    let who = |of: u8| -> Arc<[Identity]> {
        let id = String::from_utf8(vec![b'a' + of; 60_000]).expect("letters");
        Arc::from([Identity { scheme: "digest".to_owned(), id }])
    };
    let all: Vec<_> = (0..26).map(who).collect();
    let mut submission = Submission::default();
    for at in 0..260 {
        let origin = Origin { reactor: 0, connection: 1, generation: 1, sequence: at };
        submission.push(origin, session, 1, Ask::Sync, b"/a", &all[at as usize % all.len()]);
    }
    let node = &mut cluster.servers[CUT].process.as_mut().expect("it runs").node;
    let mut out = Output::default();
    node.step(Event::Submitted { submission: &submission, clock }, &mut out);
    let requests = out.actions.iter().filter_map(|action| {
        if let Action::Send { message: Message::ToLeader { body, .. }, .. } = action
            && let ToLeader::Request(bytes) = body
        {
            Some(bytes.len())
        } else {
            None
        }
    });
    let sizes: Vec<usize> = requests.collect();
    assert!(1 < sizes.len(), "{sizes:?}");
    let most = route::REQUEST_BYTES_MAX + 70_000;
    assert!(sizes.iter().all(|&bytes| bytes < most), "{sizes:?}");
}
