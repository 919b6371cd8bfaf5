//! J: sessions, containers, TTL nodes.

use std::io;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{Connection, DEADLINE, Handshake, ids, request};

use super::event::DELETED;
use super::{Client, Kind, code, server};

/// What a busy machine may add to any limit; only far less is ever needed.
const DETECTION: Duration = Duration::from_secs(10);

fn quick(timeout_millis: i32) -> Client {
    let client = Client::with(server(Kind::Quick), &Handshake::with_timeout(timeout_millis));
    assert_eq!(client.session.timeout_millis, timeout_millis);
    client
}

/// Expects that the session of `client` is over.
#[track_caller]
fn is_over(client: &Client) {
    let resume = Handshake::resume(&client.session);
    let (mut connection, session) =
        Connection::connect(client.address, &resume).expect("an answer");
    assert!(session.is_expired(), "{session:?}");
    connection.expect_close().expect("a close");
}

/// Waits `pause` on the socket, in which the server must send nothing.
#[track_caller]
fn nothing_arrives_for(client: &mut Client, pause: Duration) {
    client.set_deadline(pause).expect("a deadline");
    let error = client.receive().expect_err("silence");
    let silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    assert!(silent, "{error}");
    client.set_deadline(DEADLINE).expect("a deadline");
}

#[test]
fn j1_close_session_is_answered_then_closed_and_its_ephemerals_are_gone_before() {
    let mut other = Client::new(Kind::Plain);
    let mut client = Client::new(Kind::Plain);
    let path = other.root("j1") + "/e";
    client.create_ephemeral(&path);
    other.ok(&request::exists(&path, true));
    let reply = client.ok(&request::close_session());
    assert!(reply.body.is_empty());
    assert!(!other.has(&path));
    assert_eq!(other.events(), [(DELETED, path.clone())]);
    assert_eq!(other.stat(path.trim_end_matches("/e")).pzxid, reply.zxid);
    client.expect_close().expect("a close behind the reply");
    is_over(&client);
}

#[test]
fn j2_after_a_lost_connection_ephemerals_stay_until_the_session_times_out() {
    let mut other = Client::with(server(Kind::Quick), &Handshake::with_timeout(30_000));
    let mut client = quick(2_000);
    let path = other.root("j2") + "/e";
    let touched_after = Instant::now();
    client.create_ephemeral(&path);
    let touched_before = Instant::now();
    other.ok(&request::exists(&path, true));
    drop(client);
    assert!(other.has(&path));
    assert_eq!(other.event(), (DELETED, path));
    assert!(touched_after.elapsed() > Duration::from_millis(2_000));
    // One tick for the bucket.
    let limit = Duration::from_millis(2_000 + 100) + DETECTION;
    assert!(touched_before.elapsed() < limit, "{:?}", touched_before.elapsed());
}

#[test]
fn j3_an_expired_session_is_closed_without_a_frame_and_told_so_on_reconnect() {
    let mut client = quick(500);
    let start = Instant::now();
    client.expect_close().expect("a close without a frame");
    assert!(start.elapsed() < Duration::from_millis(600) + DETECTION);
    is_over(&client);
}

#[test]
fn j4_pings_keep_a_session_alive_and_auth_packets_do_not() {
    let timeout = Duration::from_millis(2_500);
    let start = Instant::now();
    let mut pinging = quick(2_500);
    let mut authenticating = quick(2_500);
    while !authenticating.auth_meets_a_close() {
        assert!(start.elapsed() < timeout + DETECTION, "auth packets kept a session alive");
        pinging.ok(&request::ping());
        nothing_arrives_for(&mut pinging, Duration::from_millis(150));
    }
    // The one that pinged is older than that.
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
    is_over(&authenticating);
    pinging.ok(&request::ping());
}

#[test]
fn j7_a_container_goes_after_its_last_child_and_a_new_one_stays() {
    let mut client = Client::with(server(Kind::Quick), &Handshake::with_timeout(30_000));
    let root = client.root("j7");
    let (used, unused) = (format!("{root}/used"), format!("{root}/unused"));
    let (a, b) = (format!("{used}/a"), format!("{used}/b"));
    for path in [&unused, &used] {
        client.ok(&request::create_container(path, None, &ids::open(), 4));
    }
    client.ok(&request::exists(&used, true));
    client.ok(&request::get_children(&root, true));
    client.create(&a);
    client.create(&b);
    client.delete(&a);
    // A container that had children before, and is empty, is what the reaper waits for.
    let other = format!("{root}/other");
    client.ok(&request::create_container(&other, None, &ids::open(), 4));
    client.create(&format!("{other}/a"));
    client.ok(&request::exists(&other, true));
    client.delete(&format!("{other}/a"));
    let mut events = vec![client.event(), client.event()];
    events.sort();
    assert_eq!(events, [(DELETED, other), (super::event::CHILDREN, root.clone())]);
    // A child kept this one; the new one was never used.
    assert!(client.has(&used));
    client.delete(&b);
    assert_eq!(client.event(), (DELETED, used));
    assert!(client.has(&unused));
}

#[test]
fn j8_a_ttl_is_refreshed_by_set_data_blocked_by_children_and_not_refreshed_by_them() {
    let mut client = Client::with(server(Kind::Quick), &Handshake::with_timeout(30_000));
    let root = client.root("j8");
    let [first, set, parent] = ["first", "set", "parent"].map(|name| format!("{root}/{name}"));
    let ttl = Duration::from_millis(2_500);
    let create = |path: &str| request::create_ttl(path, None, &ids::open(), 5, 2_500);
    // Created first, so that it is due first.
    client.ok(&create(&parent));
    client.create(&format!("{parent}/a"));
    client.ok(&create(&set));
    let created_after = Instant::now();
    client.ok(&create(&first));
    for path in [&first, &set, &parent] {
        client.ok(&request::exists(path, true));
    }
    let mut waited = created_after.elapsed();
    while waited < ttl / 2 {
        nothing_arrives_for(&mut client, ttl / 2 - waited);
        waited = created_after.elapsed();
    }
    // A setData fires the watch too: arm it behind.
    let refreshed_after = Instant::now();
    client.set(&set, "2");
    assert_eq!(client.events(), [(super::event::CHANGED, set.clone())]);
    client.ok(&request::exists(&set, true));

    assert_eq!(client.event(), (DELETED, first));
    assert!(created_after.elapsed() >= ttl, "{:?}", created_after.elapsed());
    assert_eq!(client.event(), (DELETED, set));
    assert!(refreshed_after.elapsed() >= ttl, "{:?}", refreshed_after.elapsed());

    // Long due, and held by its child; when that goes, so does the parent, without another TTL.
    client.create(&format!("{parent}/b"));
    client.delete(&format!("{parent}/b"));
    assert!(client.has(&parent));
    let freed = Instant::now();
    client.delete(&format!("{parent}/a"));
    assert_eq!(client.event(), (DELETED, parent.clone()));
    assert!(freed.elapsed() < ttl, "{:?}", freed.elapsed());
    assert_eq!(client.err(&request::get_data(&parent, false)), code::NO_NODE);
}
