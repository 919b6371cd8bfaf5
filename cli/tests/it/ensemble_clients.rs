//! What clients see of several servers that are one service: sessions that move between them, ends
//! that all of them tell, what is written through one and read through another.
//!
//! `FARWATCH_CONFORMANCE_SUBJECT=zookeeper-ensemble` asks Apache ZooKeeper the same.

mod local;
mod words;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{Connection, Handshake, Session, ids, request};
use farwatch_bench::subject::Ensemble;

use crate::conformance::client::Client;
use crate::conformance::server::{differs, ensemble, quick};

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const CHANGED: i32 = 3;
const CHILDREN: i32 = 4;

const NO_NODE: i32 = -101;
const RECONFIG_DISABLED: i32 = -123;

/// A timeout that no test outlasts, milliseconds.
const LONG_MILLIS: i32 = 30_000;

/// The servers that all tests share which stop none: where they are, by what they are.
struct Trio {
    leader: SocketAddr,
    one: SocketAddr,
    other: SocketAddr,
    ensemble: Ensemble,
}

impl Trio {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Trio> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(ensemble(quick())))
    }

    fn start(ensemble: Ensemble) -> Self {
        let leader = ensemble.leader().expect("a leader");
        let address = |offset: u32| ensemble.address((leader - 1 + offset) % 3 + 1);
        let (leader, one, other) = (address(0), address(1), address(2));
        Self { leader, one, other, ensemble }
    }

    fn all(&self) -> [SocketAddr; 3] {
        [self.leader, self.one, self.other]
    }
}

fn at(address: SocketAddr) -> Client {
    Client::with(address, &Handshake::with_timeout(LONG_MILLIS))
}

/// The answer to a client that wants this session back.
fn ask_back(address: SocketAddr, session: &Session) -> (Connection, Session) {
    Connection::connect(address, &Handshake::resume(session)).expect("an answer")
}

/// Expects that the session is over wherever it is asked for.
#[track_caller]
fn is_over_everywhere(trio: &Trio, session: &Session) {
    for address in trio.all() {
        // A server that is behind has yet to hear of it.
        let mut fresh = at(address);
        fresh.ok(&request::sync("/"));
        let (_connection, answer) = ask_back(address, session);
        assert!(answer.is_expired(), "{answer:?}");
    }
}

#[test]
fn a_session_moves_to_another_server_with_its_ephemerals_and_its_watches_catch_up() {
    let trio = Trio::shared();
    let mut writer = at(trio.leader);
    let root = writer.root("moves");
    let path = |name: &str| format!("{root}/{name}");
    for name in ["set", "same", "gone", "parent", "quiet"] {
        writer.create(&path(name));
    }
    let mut before = at(trio.one);
    before.ok(&request::sync("/"));
    before.create_ephemeral(&path("ephemeral"));
    for name in ["set", "same", "gone"] {
        before.ok(&request::get_data(&path(name), true));
    }
    before.call(&request::exists(&path("new"), true));
    before.ok(&request::get_children(&path("parent"), true));
    let last = before.ok(&request::get_children(&path("quiet"), true)).zxid;

    let session = before.session.clone();
    drop(before);
    writer.set(&path("set"), "2");
    writer.delete(&path("gone"));
    writer.create(&path("new"));
    writer.create(&path("parent/child"));
    at(trio.other).ok(&request::sync("/"));

    let handshake = Handshake { last_zxid_seen: last, ..Handshake::resume(&session) };
    let mut after = Client::with(trio.other, &handshake);
    assert_eq!((after.session.id, &after.session.password), (session.id, &session.password));
    let data = ["set", "same", "gone"].map(path);
    let child = ["parent", "quiet"].map(path);
    let (data, exist, child) =
        (data.each_ref().map(String::as_str), path("new"), child.each_ref().map(String::as_str));
    let rearm = request::set_watches(last, &data, &[&exist], &child);
    after.send(-8, &rearm).expect("set watches");
    let mut told: Vec<_> = (0..4).map(|_| after.event()).collect();
    told.sort();
    let mut due = vec![
        (CHANGED, path("set")),
        (DELETED, path("gone")),
        (CREATED, path("new")),
        (CHILDREN, path("parent")),
    ];
    due.sort();
    assert_eq!(told, due);
    let reply = after.receive().expect("a reply behind the events");
    assert_eq!((reply.xid, reply.err), (-8, 0));

    // The ephemeral is its own as before, and the watches that were quiet are armed here.
    assert_eq!(after.stat(&path("ephemeral")).ephemeral_owner, session.id);
    writer.set(&path("same"), "2");
    writer.create(&path("quiet/child"));
    assert_eq!(after.event(), (CHANGED, path("same")));
    assert_eq!(after.event(), (CHILDREN, path("quiet")));
    after.close();
    writer.ok(&request::sync("/"));
    assert!(!writer.has(&path("ephemeral")));
}

#[test]
fn of_two_connections_with_one_session_the_older_is_hung_up_on_before_its_next_write() {
    let trio = Trio::shared();
    let mut writer = at(trio.leader);
    let root = writer.root("two");
    for (from, to) in [(trio.one, trio.other), (trio.leader, trio.one), (trio.other, trio.leader)] {
        let mut older = at(from);
        let path = format!("{root}/{}", older.session.id);
        older.create_ephemeral(&path);
        let mut newer = Client::with(to, &Handshake::resume(&older.session));
        assert_eq!(newer.session.id, older.session.id);
        newer.ok(&request::set_data(&path, Some(b"newer"), -1));
        // A server may hang up at once or when the older one asks for something that is not its
        // own to ask any more; nothing that it asks is done.
        let late = request::set_data(&path, Some(b"older"), -1);
        assert!(older.send(7, &late).is_err() || older.receive().is_err());
        newer.ok(&request::sync("/"));
        let reply = newer.ok(&request::get_data(&path, false));
        assert_eq!(reply.data_and_stat().expect("data").0.as_deref(), Some(&b"newer"[..]));
        newer.close();
    }
}

#[test]
fn a_wrong_password_or_an_unknown_session_is_refused_by_every_server() {
    let trio = Trio::shared();
    for home in trio.all() {
        let mut client = at(home);
        for address in trio.all() {
            if address == home && differs("X7", "the session's own connection is closed") {
                continue;
            }
            let mut forged = client.session.clone();
            forged.password[3] ^= 1;
            let unknown = Session { id: forged.id ^ 0x00ff_0000, ..forged.clone() };
            for wrong in [forged, unknown] {
                let (mut connection, answer) = ask_back(address, &wrong);
                assert!(answer.is_expired(), "{answer:?}");
                connection.expect_close().expect("a close behind the refusal");
            }
            client.ok(&request::ping());
        }
        client.close();
    }
}

#[test]
fn a_session_of_a_follower_expires_and_all_servers_tell_of_its_ephemerals() {
    let trio = Trio::shared();
    let mut writer = at(trio.leader);
    let root = writer.root("expires");
    for home in trio.all() {
        let mut dying = Client::with(home, &Handshake::with_timeout(1_000));
        let path = format!("{root}/{}", dying.session.id);
        dying.ok(&request::sync("/"));
        dying.create_ephemeral(&path);
        let mut watchers = trio.all().map(at);
        for watcher in &mut watchers {
            watcher.ok(&request::sync("/"));
            dying.ok(&request::ping());
            watcher.ok(&request::exists(&path, true));
            watcher.ok(&request::get_children(&root, true));
        }
        let session = dying.session.clone();
        drop(dying);
        for watcher in &mut watchers {
            assert_eq!(watcher.event(), (DELETED, path.clone()));
            assert_eq!(watcher.event(), (CHILDREN, root.clone()));
            assert!(!watcher.has(&path));
        }
        is_over_everywhere(trio, &session);
    }
}

#[test]
fn what_one_server_wrote_is_seen_through_another_behind_a_sync() {
    let trio = Trio::shared();
    let (mut one, mut other, mut leader) = (at(trio.one), at(trio.other), at(trio.leader));
    let path = one.root("synced");
    let is_zookeeper = differs("the zxid of a sync's reply", "it may be one from before the sync");
    for round in 0..100 {
        let text = format!("{round}");
        let zxid = one.ok(&request::set_data(&path, Some(text.as_bytes()), round)).zxid;
        for reader in [&mut other, &mut leader] {
            let synced = reader.ok(&request::sync(&path)).zxid;
            assert!(synced >= zxid || is_zookeeper, "{synced:#x} behind {zxid:#x}");
            let reply = reader.ok(&request::get_data(&path, false));
            let (data, stat) = reply.data_and_stat().expect("data");
            assert_eq!((data.as_deref(), stat.version), (Some(text.as_bytes()), round + 1));
            assert_eq!(stat.mzxid, zxid);
        }
    }
}

#[test]
fn a_session_closed_through_one_server_ends_on_the_one_that_has_its_connection() {
    let trio = Trio::shared();
    let mut writer = at(trio.leader);
    let root = writer.root("closed");
    for (from, to) in [(trio.one, trio.other), (trio.leader, trio.one), (trio.one, trio.leader)] {
        let mut older = at(from);
        older.ok(&request::sync("/"));
        let path = format!("{root}/{}", older.session.id);
        older.create_ephemeral(&path);
        let mut watchers = trio.all().map(at);
        for watcher in &mut watchers {
            watcher.ok(&request::sync("/"));
            watcher.ok(&request::exists(&path, true));
        }
        let newer = Client::with(to, &Handshake::resume(&older.session));
        let session = newer.session.clone();
        newer.close();
        for watcher in &mut watchers {
            assert_eq!(watcher.event(), (DELETED, path.clone()));
        }
        // Some bytes may be on their way to it, but the end comes.
        older.read_to_close().expect("a close");
        is_over_everywhere(trio, &session);
    }
}

#[test]
fn containers_and_nodes_with_a_time_to_live_end_on_all_servers() {
    let trio = Trio::shared();
    let mut client = at(trio.one);
    let root = client.root("reaped");
    let [container, child, ttl] =
        ["container", "container/child", "ttl"].map(|name| format!("{root}/{name}"));
    client.ok(&request::create_container(&container, None, &ids::open(), 4));
    client.create(&child);
    client.ok(&request::create_ttl(&ttl, None, &ids::open(), 5, 1_500));
    let mut watchers = trio.all().map(at);
    for watcher in &mut watchers {
        watcher.ok(&request::sync("/"));
        watcher.ok(&request::exists(&container, true));
        watcher.ok(&request::exists(&ttl, true));
    }
    client.delete(&child);
    for watcher in &mut watchers {
        let mut told = [watcher.event(), watcher.event()];
        told.sort();
        assert_eq!(told, [(DELETED, container.clone()), (DELETED, ttl.clone())]);
        assert!(!watcher.has(&container) && !watcher.has(&ttl));
    }
}

#[test]
fn two_thousand_sessions_log_in_at_once_over_three_servers() {
    const SESSIONS: usize = 2_000;
    const THREADS: usize = 8;
    let trio = Trio::shared();
    let begun = Instant::now();
    let login = |thread: usize| {
        let mine = (thread..SESSIONS).step_by(THREADS);
        mine.map(|number| {
            let server = number as u32 % 3 + 1;
            let client = at(trio.ensemble.address(server));
            // As in ZooKeeper, an id says where its session began.
            assert_eq!(client.session.id >> 56, i64::from(server));
            client
        })
        .collect::<Vec<_>>()
    };
    let mut clients: Vec<Client> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|it| scope.spawn(move || login(it))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("logins")).collect()
    });
    eprintln!("{SESSIONS} sessions logged in within {:?}", begun.elapsed());
    let mut all: Vec<i64> = clients.iter().map(|client| client.session.id).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), SESSIONS);
    for client in &mut clients {
        client.ok(&request::ping());
    }
    for client in &mut clients {
        client.send(1, &request::close_session()).expect("a close");
    }
    for client in &mut clients {
        assert_eq!(client.receive().expect("a reply").err, 0);
    }
}

#[test]
fn all_servers_name_the_same_members_and_none_lets_them_be_changed() {
    let trio = Trio::shared();
    let mut texts = Vec::new();
    for address in trio.all() {
        let mut client = at(address);
        let reply = client.ok(&request::get_data("/zookeeper/config", true));
        let (data, _) = reply.data_and_stat().expect("data");
        texts.push(String::from_utf8(data.expect("not null")).expect("text"));
        let member = "server.4=127.0.0.1:2888:3888;2181";
        for request in [
            request::reconfig(Some(member), None, None, -1),
            request::reconfig(None, Some("3"), None, -1),
            request::reconfig(None, None, Some(member), -1),
        ] {
            assert_eq!(client.err(&request), RECONFIG_DISABLED);
        }
        assert!(client.events().is_empty());
    }
    assert!(texts[0].starts_with("server.1=") && texts[0].ends_with("\nversion=0"), "{texts:?}");
    assert_eq!((&texts[0], &texts[0]), (&texts[1], &texts[2]));
}

#[test]
fn what_a_super_user_writes_to_the_config_node_all_servers_show_and_tell() {
    let digest = "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=";
    let line = format!("DigestAuthenticationProvider.superDigest={digest}");
    let trio = Trio::start(ensemble(quick().line(&line)));
    let path = "/zookeeper/config";
    let mut readers = trio.all().map(at);
    for reader in &mut readers {
        reader.ok(&request::get_data(path, true));
    }
    let mut writer = at(trio.one);
    writer.login("super:admin");
    let zxid = writer.ok(&request::set_data(path, Some(b"ours"), -1)).zxid;
    for reader in &mut readers {
        assert_eq!(reader.event(), (CHANGED, path.to_owned()));
        let (data, stat) =
            reader.ok(&request::get_data(path, false)).data_and_stat().expect("data");
        assert_eq!((data.as_deref(), stat.mzxid), (Some(&b"ours"[..]), zxid));
    }
}

#[test]
fn a_leaders_death_ends_no_session_of_the_others_nor_its_own() {
    let mut ensemble = ensemble(quick());
    let leader = ensemble.leader().expect("a leader");
    let session_millis = Handshake::with_timeout(8_000);
    let mut clients: Vec<Client> = Vec::new();
    for number in ensemble.numbers() {
        let mut client = Client::with(ensemble.address(number), &session_millis);
        client.create_ephemeral(&format!("/{number}"));
        clients.push(client);
    }
    ensemble.server_mut(leader).kill9().expect("a dead leader");
    let successor = ensemble.leader().expect("another leader");
    assert_ne!(successor, leader);
    for (number, client) in (1..).zip(&clients) {
        // As a client does that looks for a server that takes it: its own one first.
        let mut moved = come_back(&ensemble, leader, &client.session);
        assert_eq!(moved.session.id, client.session.id);
        moved.ok(&request::sync("/"));
        assert_eq!(moved.stat(&format!("/{number}")).ephemeral_owner, client.session.id);
        moved.ok(&request::set_data(&format!("/{number}"), Some(b"back"), -1));
        moved.close();
    }
    ensemble.server_mut(leader).restart().expect("the old leader serves again");
    let mut client = at(ensemble.address(leader));
    client.ok(&request::sync("/"));
    for number in ensemble.numbers() {
        assert_eq!(client.err(&request::exists(&format!("/{number}"), false)), NO_NODE);
    }
}

/// Takes the session up again at any server but the one that is `gone`.
fn come_back(ensemble: &Ensemble, gone: u32, session: &Session) -> Client {
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        for number in ensemble.numbers().filter(|&number| number != gone) {
            let address = ensemble.address(number);
            let answer = Connection::connect(address, &Handshake::resume(session));
            if let Ok((_connection, answer)) = answer {
                assert!(!answer.is_expired(), "the session ended with the leader");
                return Client::with(address, &Handshake::resume(session));
            }
        }
        assert!(Instant::now() < deadline, "no server takes the session");
    }
}
