//! That what `mntr` counts moves when it should, and by as much as ZooKeeper's does.

use std::net::SocketAddr;

use farwatch_bench::raw::{Connection, Handshake, four_letter_word, ids, request};
use farwatch_bench::subject::Options;

use crate::ensemble::client::Client;
use crate::ensemble::servers::{Ensemble, PATIENCE, until};
use crate::subject::{connect, farwatch};

/// What `mntr` says of `zk_` and `key`, unless the server does not serve at this moment.
fn says(address: SocketAddr, key: &str) -> Option<u64> {
    let text = four_letter_word(address, "mntr").expect("an answer");
    let value = |line: &str| Some(line.strip_prefix("zk_")?.strip_prefix(key)?.trim().to_owned());
    let value = text.lines().find_map(|line| value(line).filter(|it| !it.contains('\t')));
    if value.is_none() {
        assert!(text.contains("not currently serving"), "{key} is not in {text}");
    }
    Some(value?.parse().expect("a number"))
}

fn told(address: SocketAddr, key: &str) -> u64 {
    says(address, key).expect("it serves")
}

/// Waits until it is so much, and not more.
fn becomes(address: SocketAddr, key: &str, wanted: u64) {
    until(&format!("{key} to be {wanted}"), PATIENCE, || told(address, key) >= wanted);
    assert_eq!(told(address, key), wanted, "{key}");
}

#[test]
fn connections_and_sessions_are_counted_as_they_come_move_and_end() {
    let subject = farwatch(Options::new().tick_millis(100).line("maxSessionTimeout=40000"));
    let address = subject.address();
    drop(Connection::open(address).expect("a connection"));
    becomes(address, "connection_drop_count", 1);
    let (first, session) = connect(address);
    drop(first);
    becomes(address, "connection_drop_count", 2);
    assert_eq!(told(address, "connection_revalidate_count"), 0);
    let resumed = Connection::connect(address, &Handshake::resume(&session)).expect("it lives");
    becomes(address, "connection_revalidate_count", 1);
    let (mut connection, _session) = resumed;
    assert_eq!(connection.call(&request::close_session()).expect("an answer").err, 0);
    drop(connection);
    // Words and sessions that ended in order are dropped by nobody.
    assert_eq!(told(address, "connection_drop_count"), 2);
    assert_eq!(told(address, "stale_sessions_expired"), 0);
    let short = Connection::connect(address, &Handshake::with_timeout(200)).expect("a session");
    drop(short);
    becomes(address, "stale_sessions_expired", 1);
    assert!(0 < told(address, "prep_processor_request_queued"));
    assert!(0 < told(address, "sync_processor_request_queued"));
    assert_eq!((told(address, "looking_count"), told(address, "revalidate_count")), (0, 0));
}

#[test]
fn changes_and_times_to_live_are_counted_by_node() {
    let options = Options::new()
        .property("zookeeper.extendedTypesEnabled", "true")
        .property("znode.container.checkIntervalMs", "200");
    let subject = farwatch(options);
    let address = subject.address();
    let (mut client, _session) = connect(address);
    let mut ask = |request| client.call(&request).expect("an answer").err;
    let queued = || told(address, "outstanding_changes_queued");
    let before = queued();
    assert_eq!(ask(request::create("/a", None, &ids::open(), 0)), 0);
    assert_eq!(queued() - before, 2, "the node and its parent");
    assert_eq!(ask(request::set_data("/a", None, -1)), 0);
    assert_eq!(queued() - before, 3);
    // A transaction that fails is prepared, too, and taken back.
    let ttl = || request::create_ttl("/t", None, &ids::open(), 5, 1);
    ask(request::multi(&[ttl(), request::delete("/none", -1)]));
    assert_eq!(told(address, "ttl_node_created_count"), 0);
    assert_eq!(ask(ttl()), 0);
    becomes(address, "ttl_node_created_count", 1);
    becomes(address, "ttl_node_deleted_count", 1);
    let removed = || told(address, "outstanding_changes_removed");
    until("all changes to be applied", PATIENCE, || queued() == removed());
}

#[test]
fn who_names_an_ensemble_is_counted() {
    let provider = "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
    let options = Options::new()
        .property("zookeeper.authProvider.1", provider)
        .property("zookeeper.ensembleAuthName", "foo");
    let subject = farwatch(options);
    let address = subject.address();
    for (name, key) in [
        ("foo", "ensemble_auth_success"),
        ("", "ensemble_auth_skip"),
        ("bar", "ensemble_auth_fail"),
    ] {
        let (mut connection, _session) = connect(address);
        connection.send(-4, &request::auth("ensemble", name.as_bytes())).expect("a write");
        becomes(address, key, 1);
    }
}

/// Waits until the servers together have counted so much: which of them leads may change meanwhile.
fn counted_by_all(ensemble: &Ensemble, key: &str, at_least: u64) {
    let all =
        || ensemble.clients().into_iter().filter_map(|address| says(address, key)).sum::<u64>();
    until(&format!("{key} to be {at_least}"), PATIENCE, || at_least <= all());
}

#[test]
fn elections_synchronisations_and_sessions_that_move_are_counted() {
    let ensemble = Ensemble::start(&[]);
    ensemble.until_all_serve();
    counted_by_all(&ensemble, "looking_count", 3);
    counted_by_all(&ensemble, "diff_count", 2);
    let [one, another, _] = ensemble.clients()[..] else { panic!("three servers") };
    let mut client = Client::of(another);
    assert_eq!(client.must(&request::create("/a", None, &ids::open(), 0)).err, 0);
    counted_by_all(&ensemble, "request_commit_queued", 3);
    // One of the two does not lead, and asks who does.
    for (from, to) in [(one, another), (another, one)] {
        let (moving, session) = connect(from);
        drop(moving);
        drop(Connection::connect(to, &Handshake::resume(&session)).expect("an answer"));
    }
    counted_by_all(&ensemble, "revalidate_count", 1);
}
