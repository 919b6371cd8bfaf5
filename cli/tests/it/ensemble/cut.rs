//! A server that is cut off from all others, with each policy, as its clients see it.
//!
//! The others stand still, which to the one is what a cut link is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use farwatch_bench::raw::request::{close_session, create, exists, get_data, ping, set_data, sync};
use farwatch_bench::raw::{Connection, Handshake, Session, four_letter_word_within, ids};

use super::servers::{Ensemble, PATIENCE, pass, until};

const CONNECTION_LOSS: i32 = -4;
const NOT_READ_ONLY: i32 = -119;
const PING_XID: i32 = -2;

/// Shorter than what a cut lasts here, milliseconds.
const TIMEOUT_MS: i32 = 3000;

/// One of three servers, and whom a cut is made of.
struct Cut {
    ensemble: Ensemble,
    at: SocketAddr,
    number: u32,
}

impl Cut {
    fn with(policy: &str) -> Self {
        let policy = format!("farwatch.onPartition={policy}");
        Self::of(&[&policy, "writeWaitMs=1500"])
    }

    fn of(lines: &[&str]) -> Self {
        let ensemble = Ensemble::start(lines);
        let number = ensemble.followers()[0];
        let at = ensemble.server(number).client;
        Self { ensemble, at, number }
    }

    fn others(&self) -> Vec<u32> {
        self.ensemble.numbers().into_iter().filter(|&it| it != self.number).collect()
    }

    fn cut(&mut self) {
        for other in self.others() {
            self.ensemble.server_mut(other).freeze();
        }
    }

    fn heal(&mut self) {
        for other in self.others() {
            self.ensemble.server_mut(other).thaw();
        }
        self.ensemble.until_all_serve();
    }

    fn says(&self, word: &str) -> String {
        four_letter_word_within(self.at, word, Duration::from_secs(2)).unwrap_or_default()
    }

    /// Waits until it says whom it serves.
    #[track_caller]
    fn until_it_serves(&self, whom: &str) {
        until(&format!("it serves {whom}"), PATIENCE, || {
            self.ensemble.server(self.number).report().is_some_and(|it| it.serves == whom)
        });
    }

    #[track_caller]
    fn client(&self) -> (Connection, Session) {
        let handshake = Handshake::with_timeout(TIMEOUT_MS);
        let (connection, session) = Connection::connect(self.at, &handshake).expect("a session");
        connection.set_deadline(PATIENCE).expect("a deadline");
        (connection, session)
    }

    /// Whether a handshake gets an answer.
    fn takes(&self, handshake: &Handshake) -> bool {
        Connection::connect(self.at, handshake).is_ok()
    }
}

#[test]
fn a_server_that_serves_a_cut_reads_on_for_connected_clients_and_fails_writes_beside_them() {
    let mut cut = Cut::with("serve");
    let (mut client, session) = cut.client();
    assert_eq!(client.call(&create("/a", Some(b"1"), &ids::open(), 0)).expect("a reply").err, 0);
    assert_eq!(client.call(&create("/e", None, &ids::open(), 1)).expect("a reply").err, 0);
    client.call(&exists("/new", true)).expect("a reply");
    let (mut closing, closed) = cut.client();
    cut.cut();
    cut.until_it_serves("reads");
    assert_eq!(client.call(&set_data("/a", Some(b"2"), -1)).expect("a reply").err, CONNECTION_LOSS);
    assert_eq!(client.call(&sync("/")).expect("a reply").err, CONNECTION_LOSS);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2 * TIMEOUT_MS as u64) {
        assert_eq!(client.call(&get_data("/a", false)).expect("it is served").err, 0);
        pass(Duration::from_millis(100));
    }
    assert_eq!(cut.says("isro"), "ro");
    let text = cut.says("srvr");
    assert!(text.contains("Mode: follower\n") && text.contains("\nStaleness ms: "), "{text}");
    let stale = cut.says("mntr").lines().find_map(|line| {
        line.strip_prefix("zk_staleness_ms\t").and_then(|value| value.parse::<u64>().ok())
    });
    assert!(stale.is_some_and(|ms| 2 * TIMEOUT_MS as u64 <= ms), "{stale:?}");
    assert!(!cut.takes(&Handshake::default()), "a new client is to look for another server");
    assert!(!cut.takes(&Handshake::resume(&session)), "and one that comes back");
    // One that leaves is let go at once, and its session ends with the cut.
    closing.send(1, &farwatch_bench::raw::request::close_session()).expect("it is sent");
    closing.expect_close().expect("its connection ends");
    cut.heal();
    // The same session, connection, ephemeral and watch.
    assert_eq!(client.call(&create("/new", None, &ids::open(), 0)).expect("a reply").err, 0);
    assert_eq!(client.next_event().expect("an event").path, "/new");
    assert_eq!(client.call(&exists("/e", false)).expect("a reply").err, 0);
    until("the session that was left is over", PATIENCE, || {
        Connection::connect(cut.at, &Handshake::resume(&closed))
            .is_ok_and(|(_, session)| session.is_expired())
    });
}

#[test]
fn who_has_a_write_behind_a_sync_in_a_cut_is_answered_its_pings() {
    let mut cut = Cut::of(&["farwatch.onPartition=serve", "writeWaitMs=60000"]);
    let (mut client, _) = Connection::connect(cut.at, &Handshake::default()).expect("a session");
    client.set_deadline(PATIENCE).expect("a deadline");
    let (mut leaving, left) =
        Connection::connect(cut.at, &Handshake::default()).expect("a session");
    assert_eq!(client.call(&create("/a", Some(b"1"), &ids::open(), 0)).expect("a reply").err, 0);
    cut.cut();
    cut.until_it_serves("reads");
    // One that leaves is not waited for by anybody, and its session ends all the same.
    leaving.send(1, &sync("/")).expect("sent");
    leaving.send(2, &close_session()).expect("sent");
    leaving.send(PING_XID, &ping()).expect("sent");
    assert_eq!(leaving.receive_reply().expect("a reply").xid, PING_XID);
    drop(leaving);
    client.send(1, &sync("/")).expect("sent");
    client.send(2, &set_data("/a", Some(b"2"), -1)).expect("sent");
    for _ in 0..3 {
        client.send(PING_XID, &ping()).expect("sent");
        assert_eq!(client.receive_reply().expect("a reply").xid, PING_XID);
    }
    cut.heal();
    for xid in [1, 2] {
        let reply = client.receive_reply().expect("a reply");
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
    until("the session that was left is over", PATIENCE, || {
        Connection::connect(cut.at, &Handshake::resume(&left))
            .is_ok_and(|(_, session)| session.is_expired())
    });
}

#[test]
fn a_read_only_server_serves_those_who_ask_and_gives_them_back_when_the_leader_is() {
    let mut cut = Cut::with("readonly");
    let (mut client, session) = cut.client();
    assert_eq!(client.call(&create("/a", Some(b"1"), &ids::open(), 0)).expect("a reply").err, 0);
    assert_eq!((session.read_only, cut.says("isro").as_str()), (Some(false), "rw"));
    cut.cut();
    client.expect_close().expect("who writes looks for another server");
    cut.until_it_serves("readers");
    assert_eq!(cut.says("isro"), "ro");
    let text = cut.says("srvr");
    assert!(text.contains("READ-ONLY mode; serving only read-only clients\n"), "{text}");
    assert!(text.contains("Mode: read-only\n"), "{text}");
    assert!(!cut.takes(&Handshake::default()) && !cut.takes(&Handshake::resume(&session)));
    let old = Handshake { read_only: None, ..Handshake::default() };
    assert!(!cut.takes(&old), "an old client does not know what it would get");
    let mut guests = Vec::new();
    for handshake in [Handshake::default(), Handshake::resume(&session)] {
        let handshake = Handshake { read_only: Some(true), ..handshake };
        let (mut guest, granted) = Connection::connect(cut.at, &handshake).expect("an answer");
        assert_eq!(granted.read_only, Some(true));
        assert_eq!(guest.call(&get_data("/a", true)).expect("a reply").err, 0);
        for write in [set_data("/a", None, -1), sync("/"), create("/b", None, &ids::open(), 0)] {
            assert_eq!(guest.call(&write).expect("a reply").err, NOT_READ_ONLY);
        }
        guests.push((guest, granted));
    }
    assert_eq!((guests[1].1.id, &guests[1].1.password), (session.id, &session.password));
    cut.heal();
    for (guest, granted) in guests {
        let mut guest = guest;
        guest.expect_close().expect("it looks for a server that writes");
        let (mut back, again) =
            Connection::connect(cut.at, &Handshake::resume(&granted)).expect("an answer");
        // Its own session, if it had one, and told so if it had not.
        assert_eq!(again.is_expired(), granted.id != session.id);
        if granted.id == session.id {
            assert_eq!(back.call(&set_data("/a", None, -1)).expect("a reply").err, 0);
        }
    }
}

#[test]
fn a_server_that_disconnects_ends_its_connections_and_takes_none_until_it_has_a_leader() {
    let mut cut = Cut::with("disconnect");
    let (mut client, session) = cut.client();
    assert_eq!(client.call(&create("/a", Some(b"1"), &ids::open(), 0)).expect("a reply").err, 0);
    cut.cut();
    client.expect_close().expect("nobody is served");
    cut.until_it_serves("nobody");
    assert!(!cut.takes(&Handshake::default()));
    let refusal = "This ZooKeeper instance is not currently serving requests\n";
    assert_eq!((cut.says("srvr").as_str(), cut.says("isro").as_str()), (refusal, "null"));
    cut.heal();
    let (mut back, again) =
        Connection::connect(cut.at, &Handshake::resume(&session)).expect("an answer");
    assert_eq!(again.id, session.id, "its time begins anew with the next leader");
    assert_eq!(back.call(&get_data("/a", false)).expect("a reply").err, 0);
}

#[test]
fn a_voter_that_is_not_told_otherwise_serves_reads_for_the_sessions_own_time() {
    let mut cut = Cut::of(&["writeWaitMs=1500"]);
    let (mut client, session) = cut.client();
    assert_eq!(client.call(&create("/a", Some(b"1"), &ids::open(), 0)).expect("a reply").err, 0);
    let long = Handshake::with_timeout(20_000);
    let (mut writer, _) = Connection::connect(cut.at, &long).expect("a session");
    cut.cut();
    let begun = Instant::now();
    // It is not told what became of it: its connection ends.
    writer.send(1, &set_data("/a", Some(b"2"), -1)).expect("it is sent");
    writer.expect_close().expect("writeWaitMs is over");
    assert_eq!(client.call(&get_data("/a", false)).expect("it is served").err, 0);
    let mut served = begun.elapsed();
    while client.call(&get_data("/a", false)).is_ok() {
        served = begun.elapsed();
        assert!(served < PATIENCE, "it is served for ever");
        pass(Duration::from_millis(20));
    }
    assert!(Duration::from_millis(TIMEOUT_MS as u64 - 500) <= served, "only for {served:?}");
    assert!(!cut.takes(&Handshake::default()) && !cut.takes(&Handshake::resume(&session)));
    let reader = Handshake { read_only: Some(true), ..Handshake::default() };
    assert!(!cut.takes(&reader), "it gives nobody a read-only connection");
    cut.heal();
    let (mut back, again) =
        Connection::connect(cut.at, &Handshake::resume(&session)).expect("an answer");
    assert!(again.is_expired() || back.call(&get_data("/a", false)).expect("a reply").err == 0);
}
