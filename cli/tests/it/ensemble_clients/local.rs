//! Sessions that only the server with their connection knows: `localSessionsEnabled`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use farwatch_bench::raw::{Connection, Handshake, MultiResult, four_letter_word, ids, request};

use super::{CHANGED, LONG_MILLIS, Trio, ask_back, at, is_over_everywhere};
use crate::conformance::client::Client;
use crate::conformance::server::{differs, ensemble, quick};

const EPHEMERAL_ON_LOCAL_SESSION: i32 = -120;
const RUNTIME_INCONSISTENCY: i32 = -2;

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// Writes of one client that are under way when its leader is killed.
const WRITES: usize = 40;

const CLIENTS: usize = 4;

/// How long a busy machine may take for an election and what comes behind it.
const ELECTION_WITHIN: Duration = Duration::from_secs(30);

fn local(upgrading: bool) -> Trio {
    let options = quick().line("localSessionsEnabled=true").words("*");
    let upgrading = if upgrading { "true" } else { "false" };
    Trio::start(ensemble(options.line(&format!("localSessionsUpgradingEnabled={upgrading}"))))
}

/// The last transaction that a server has applied.
fn zxid(address: SocketAddr) -> String {
    let text = four_letter_word(address, "srvr").expect("an answer");
    let line = text.lines().find(|line| line.starts_with("Zxid"));
    line.expect("its place in the history").to_owned()
}

/// Global and local sessions, as `mntr` counts them.
fn sessions(address: SocketAddr) -> (u32, u32) {
    let text = four_letter_word(address, "mntr").expect("an answer");
    let values: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('\t')).collect();
    let count = |key: &str| values[key].parse().expect("a number");
    (count("zk_global_sessions"), count("zk_local_sessions"))
}

/// Where the history is when all that begins an ensemble is in it.
fn begun(trio: &Trio) -> String {
    let mut client = at(trio.leader);
    client.create("/begun");
    client.close();
    zxid(trio.leader)
}

fn quick_client(address: SocketAddr) -> Client {
    Client::with(address, &Handshake::with_timeout(1_000))
}

#[test]
fn local_sessions_begin_ping_move_and_end_without_a_word_to_the_leader() {
    let trio = local(false);
    let before = begun(&trio);
    for address in trio.all() {
        let mut client = at(address);
        assert_eq!(sessions(address), (0, 1));
        client.ok(&request::ping());
        client.ok(&request::get_data("/zookeeper", true));
        assert_eq!(client.ok(&request::get_ephemerals(None)).body, [0; 4]);
        let id = format!("{:#x}", client.session.id);
        for word in ["dump", "cons"] {
            let text = four_letter_word(address, word).expect("an answer");
            assert!(text.contains(&id), "{word}: {text}");
        }
        let text = four_letter_word(address, "dump").expect("an answer");
        assert!(text.contains("\nLocal Session Sets (") && text.contains("\nGlobal Session"));
        for other in trio.all().into_iter().filter(|other| *other != address) {
            let (mut connection, answer) = ask_back(other, &client.session);
            assert!(answer.is_expired(), "{answer:?}");
            connection.expect_close().expect("a close");
            assert_eq!(sessions(other), (0, 0));
        }
        client.ok(&request::ping()); // its own connection knows nothing of that
        let mut again = client.resumed();
        client.expect_close().expect("the old connection ends");
        let reply = again.ok(&request::close_session());
        assert!(reply.body.is_empty());
        again.expect_close().expect("a close behind the reply");
        assert_eq!(sessions(address), (0, 0));
        let (_connection, answer) = ask_back(address, &again.session);
        assert!(answer.is_expired(), "{answer:?}");
    }
    assert_eq!(zxid(trio.leader), before, "it took a transaction");
}

#[test]
fn local_sessions_expire_by_their_server_and_without_a_transaction() {
    let trio = local(false);
    let before = begun(&trio);
    for address in trio.all() {
        let mut client = quick_client(address);
        client.expect_close().expect("a close without a frame");
        let (_connection, answer) = ask_back(address, &client.session);
        assert!(answer.is_expired(), "{answer:?}");
    }
    assert_eq!(zxid(trio.leader), before, "it took a transaction");
}

#[test]
fn local_sessions_write_and_watch_through_any_server() {
    let trio = local(false);
    let mut writer = at(trio.one);
    let root = writer.root("local");
    let mut watcher = at(trio.other);
    watcher.ok(&request::sync("/"));
    watcher.ok(&request::get_data(&root, true));
    writer.set(&root, "2");
    assert_eq!(watcher.event(), (CHANGED, root.clone()));
    // Its permissions are those of its connection, wherever it is decided.
    writer.ok(&request::auth("digest", b"me:mine"));
    let own = format!("{root}/own");
    writer.ok(&request::create(&own, None, &[ids::acl(31, "auth", "")], 0));
    watcher.ok(&request::sync("/"));
    assert_eq!(watcher.err(&request::set_data(&own, None, -1)), -102);
    writer.ok(&request::set_data(&own, None, -1));
}

#[test]
fn without_upgrading_an_ephemeral_node_is_refused_on_every_server_alone_and_in_a_multi() {
    let trio = local(false);
    for (number, address) in trio.all().into_iter().enumerate() {
        let mut client = at(address);
        for sequential in [0, SEQUENTIAL] {
            let create = request::create("/e", None, &ids::open(), EPHEMERAL | sequential);
            assert_eq!(client.err(&create), EPHEMERAL_ON_LOCAL_SESSION);
            let create = request::create2("/e", None, &ids::open(), EPHEMERAL | sequential);
            assert_eq!(client.err(&create), EPHEMERAL_ON_LOCAL_SESSION);
        }
        if number != 0 && differs("a multi through a follower", "its part fails with -112") {
            continue;
        }
        let plain = request::create("/p", None, &ids::open(), 0);
        let own = request::create("/e", None, &ids::open(), EPHEMERAL);
        let behind = request::delete("/p", -1);
        let results = client.multi(&request::multi(&[plain, own, behind]));
        let expected = [0, EPHEMERAL_ON_LOCAL_SESSION, RUNTIME_INCONSISTENCY];
        assert_eq!(results, expected.map(|code| MultiResult::Error(code, code)));
        assert_eq!(sessions(address), (0, 1));
        client.close();
    }
}

#[test]
fn the_first_ephemeral_node_makes_a_session_global_and_it_moves_with_it() {
    let trio = local(true);
    for (number, address) in trio.all().into_iter().enumerate() {
        let mut client = at(address);
        let root = client.root(&format!("upgrade-{number}"));
        let (plain, own) = (format!("{root}/p"), format!("{root}/e"));
        let before = client.create(&plain).czxid;
        let (_, locals) = sessions(address);
        if number == 1 {
            let create = request::create(&own, None, &ids::open(), EPHEMERAL);
            let set = request::set_data(&plain, Some(b"2"), -1);
            let results = client.multi(&request::multi(&[set, create]));
            assert_eq!(results.len(), 2, "{results:?}");
            assert!(matches!(results[1], MultiResult::Create(_)), "{results:?}");
        } else {
            client.create_ephemeral(&own);
        }
        let stat = client.stat(&own);
        assert_eq!(stat.czxid, before + 2, "the session's begin, then the node");
        assert_eq!(stat.ephemeral_owner, client.session.id);
        assert_eq!(sessions(address).1, locals - 1);
        let other = trio.all()[(number + 1) % 3];
        at(other).ok(&request::sync("/"));
        let mut moved = Client::with(other, &Handshake::resume(&client.session));
        assert_eq!(moved.session.password, client.session.password);
        assert_eq!(moved.stat(&own).ephemeral_owner, client.session.id);
        let session = moved.session.clone();
        moved.close();
        let mut reader = at(address);
        reader.ok(&request::sync("/"));
        assert!(reader.has(&plain) && !reader.has(&own));
        is_over_everywhere(&trio, &session);
    }
}

#[test]
fn an_upgraded_session_lives_by_its_pings_and_dies_by_its_silence() {
    let trio = local(true);
    let mut client = quick_client(trio.one);
    let mut reader = at(trio.other);
    client.create_ephemeral("/lives");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(400)); // a part of what is tested: silence
        client.ok(&request::ping());
    }
    reader.ok(&request::sync("/"));
    reader.ok(&request::exists("/lives", true));
    assert_eq!(reader.event(), (super::DELETED, "/lives".to_owned()));
    client.expect_close().expect("a close");
}

#[test]
fn local_sessions_are_over_when_their_server_starts_again() {
    let mut trio = local(false);
    let number = trio.ensemble.follower().expect("a follower");
    let session = at(trio.ensemble.address(number)).session.clone();
    trio.ensemble.server_mut(number).restart().expect("it starts again");
    trio.ensemble.await_service(number).expect("it serves");
    let (_connection, answer) = ask_back(trio.ensemble.address(number), &session);
    assert!(answer.is_expired(), "{answer:?}");
}

#[test]
fn writes_that_a_killed_leader_was_deciding_are_done_once_and_their_sessions_live() {
    if differs("a killed leader", "every connection of its followers is lost with it") {
        return;
    }
    for upgrading in [false, true] {
        let mut trio = local(upgrading);
        let mut clients: Vec<Client> =
            (0..CLIENTS).map(|at| quiet_client([trio.one, trio.other][at % 2])).collect();
        clients[0].create("/once");
        for (number, client) in clients.iter_mut().enumerate() {
            for write in 0..WRITES {
                let path = format!("/once/{number}-{write}-");
                let flags = SEQUENTIAL | if upgrading && write % 8 == 7 { EPHEMERAL } else { 0 };
                let create = request::create(&path, None, &ids::open(), flags);
                client.send(write as i32 + 1, &create).expect("a request");
                if (number, write) == (CLIENTS - 1, WRITES / 2) {
                    let leader = trio.ensemble.leader().expect("a leader");
                    trio.ensemble.server_mut(leader).kill9().expect("a signal");
                }
            }
        }
        let mut last = 0;
        for client in &mut clients {
            for write in 0..WRITES {
                let reply = client.receive().expect("an answer, whoever leads");
                assert_eq!((reply.xid, reply.err), (write as i32 + 1, 0));
                last = last.max(reply.zxid);
            }
        }
        let names = children(&mut clients[0]);
        assert_eq!(names.len(), CLIENTS * WRITES, "{names:?}");
        for client in &mut clients {
            client.ok(&request::ping());
            assert!(client.ok(&request::sync("/")).zxid >= last);
        }
    }
}

/// A session whose client waits longer than any election.
fn quiet_client(address: SocketAddr) -> Client {
    let client = Client::with(address, &Handshake::with_timeout(LONG_MILLIS));
    client.set_deadline(ELECTION_WITHIN).expect("a deadline");
    client
}

fn children(client: &mut Client) -> Vec<String> {
    client.ok(&request::sync("/"));
    client.ok(&request::get_children("/once", false)).names().expect("names")
}

#[test]
fn local_sessions_begin_read_and_end_while_there_is_no_leader() {
    if differs("a lost quorum", "it serves nobody, or only those who accept to read") {
        return;
    }
    let mut trio = local(false);
    let mut client = at(trio.one);
    client.create("/here");
    let stays = trio.ensemble.numbers().find(|&it| trio.ensemble.address(it) == trio.one);
    let others: Vec<u32> = trio.ensemble.numbers().filter(|&it| Some(it) != stays).collect();
    for number in others {
        trio.ensemble.server_mut(number).kill9().expect("a signal");
    }
    client.stat("/here");
    let mut fresh = at(trio.one);
    assert!(fresh.has("/here"));
    let mut again = fresh.resumed();
    again.ok(&request::close_session());
    again.expect_close().expect("a close");
    let (_connection, answer): (Connection, _) =
        Connection::connect(trio.one, &Handshake::with_timeout(LONG_MILLIS)).expect("an answer");
    assert!(!answer.is_expired());
    client.close();
}
