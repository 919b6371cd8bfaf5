//! K: quotas, and what clients must not be able to do.

use farwatch_bench::raw::{Body, Request, ids, op, request};

use super::{Client, Kind, code, differs, event, stops_zookeepers_ensemble};

/// Sets a quota on `root` as the command-line client does: the limits, then the usage.
fn set_quota(client: &mut Client, root: &str, limits: &str) -> String {
    let node = format!("/zookeeper/quota{root}");
    client.create(&node);
    let write = |name: &str, text: &str| {
        request::create(&format!("{node}/{name}"), Some(text.as_bytes()), &ids::open(), 0)
    };
    client.ok(&write("zookeeper_limits", limits));
    client.ok(&write("zookeeper_stats", "count=0,bytes=0"));
    format!("{node}/zookeeper_stats")
}

/// The count and the bytes that a usage node states.
fn usage(client: &mut Client, stats: &str) -> (i64, i64) {
    let reply = client.ok(&request::get_data(stats, false));
    let data = reply.data_and_stat().expect("data").0.expect("text");
    let text = String::from_utf8(data).expect("text");
    let number = |key: &str| {
        let mut parts = text.split([',', ';']).filter_map(|part| part.split_once('='));
        let (_, value) = parts.find(|(name, _)| *name == key).unwrap_or_else(|| panic!("{text}"));
        value.trim_end_matches('=').parse().unwrap_or_else(|_| panic!("{text}"))
    };
    (number("count"), number("bytes"))
}

fn create(path: &str, bytes: usize) -> farwatch_bench::raw::Request {
    request::create(path, Some(&vec![0; bytes]), &ids::open(), 0)
}

fn set(path: &str, bytes: usize) -> farwatch_bench::raw::Request {
    request::set_data(path, Some(&vec![0; bytes]), -1)
}

#[test]
fn k1_creating_the_usage_node_replaces_its_data_with_the_real_usage() {
    let mut client = Client::new(Kind::Guarded);
    let root = client.root("k1");
    client.ok(&create(&format!("{root}/a"), 10));
    client.ok(&create(&format!("{root}/a/b"), 100));
    let stats = set_quota(&mut client, &root, "count=100,bytes=1000");
    assert_eq!(usage(&mut client, &stats), (3, 111));
    client.ok(&create(&format!("{root}/c"), 5));
    client.ok(&set(&format!("{root}/a"), 20));
    client.delete(&format!("{root}/a/b"));
    assert_eq!(usage(&mut client, &stats), (3, 26));
    // A neighbour whose name begins alike is not below it.
    client.ok(&create(&format!("{root}c"), 7));
    assert_eq!(usage(&mut client, &stats), (3, 26));
}

#[test]
fn k2_a_hard_limit_is_enforced_and_a_soft_one_is_not() {
    let mut client = Client::new(Kind::Guarded);
    let count = client.root("k2-count");
    set_quota(&mut client, &count, "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3");
    client.create(&format!("{count}/a"));
    client.create(&format!("{count}/b"));
    assert_eq!(client.err(&create(&format!("{count}/c"), 1)), code::QUOTA_EXCEEDED);
    let parts = [request::check(&count, -1), create(&format!("{count}/c"), 1)];
    let results = client.multi(&request::multi(&parts));
    let exceeded = farwatch_bench::raw::MultiResult::Error(-125, -125);
    assert_eq!(results[1], exceeded);
    client.delete(&format!("{count}/b"));
    client.create(&format!("{count}/c"));

    let bytes = client.root("k2-bytes");
    set_quota(&mut client, &bytes, "count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=-1");
    client.ok(&create(&format!("{bytes}/a"), 19));
    assert_eq!(client.err(&create(&format!("{bytes}/b"), 1)), code::QUOTA_EXCEEDED);
    assert_eq!(client.err(&set(&format!("{bytes}/a"), 20)), code::QUOTA_EXCEEDED);
    // The quota is looked at before the version.
    let wrong = request::set_data(&bytes, Some(&[0; 30]), 99);
    assert_eq!(client.err(&wrong), code::QUOTA_EXCEEDED);
    client.ok(&create(&format!("{bytes}/c"), 0));

    let soft = client.root("k2-soft");
    set_quota(&mut client, &soft, "count=1,bytes=1");
    client.ok(&create(&format!("{soft}/a"), 50));
    client.ok(&create(&format!("{soft}/b"), 50));
}

#[test]
fn k3_shrinking_while_still_over_is_refused_and_the_same_size_is_not() {
    let mut client = Client::new(Kind::Guarded);
    let root = client.root("k3");
    let path = format!("{root}/a");
    client.ok(&create(&path, 100));
    set_quota(&mut client, &root, "count=-1,bytes=-1=;byteHardLimit=50;countHardLimit=-1");
    assert_eq!(client.err(&set(&path, 90)), code::QUOTA_EXCEEDED);
    assert_eq!(client.err(&set(&path, 100)), 0);
    assert_eq!(client.err(&set(&path, 40)), 0);
}

#[test]
fn k4_rewriting_the_usage_changes_no_version_and_fires_no_watch() {
    let mut client = Client::new(Kind::Guarded);
    let root = client.root("k4");
    let stats = set_quota(&mut client, &root, "count=100,bytes=1000");
    let before = client.stat(&stats);
    client.ok(&request::get_data(&stats, true));
    client.ok(&request::add_watch(&format!("/zookeeper/quota{root}"), 1));
    client.ok(&create(&format!("{root}/a"), 10));
    assert_eq!(usage(&mut client, &stats), (2, 11));
    assert!(client.events().is_empty());
    let after = client.stat(&stats);
    assert_eq!((after.version, after.mzxid), (before.version, before.mzxid));
    // An ordinary write to it is an ordinary change.
    client.ok(&request::set_data(&stats, Some(b"count=2,bytes=11"), -1));
    let changed = (event::CHANGED, stats);
    assert_eq!(client.events(), [changed]);
}

#[test]
fn k5_delete_container_and_create_session_are_not_for_clients() {
    if differs("K5", "both are executed, deleteContainer without any ACL check") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    let root = client.root("k5");
    for request in [request::delete_container(&root), request::create_session(10_000)] {
        let mut intruder = Client::new(Kind::Plain);
        let reply = intruder.err_and_close(&request, code::UNIMPLEMENTED);
        assert_eq!((reply.zxid, reply.body.len()), (-1, 0));
    }
    assert!(client.has(&root));
}

#[test]
fn k6_reconfig_is_disabled() {
    let mut client = Client::new(Kind::Plain);
    let member = "server.1=127.0.0.1:2888:3888;2181";
    let requests = [
        request::reconfig(None, None, Some(member), -1),
        request::reconfig(Some(member), None, None, -1),
        request::reconfig(None, Some("1"), None, 5),
    ];
    for request in requests {
        assert_eq!(client.err(&request), code::RECONFIG_DISABLED);
    }
    client.ok(&request::ping());
}

#[test]
fn k7_a_malformed_write_is_refused_and_those_behind_it_are_done() {
    if stops_zookeepers_ensemble("K7") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    let cut = Request::new(op::CREATE, Body::new().int(50).raw(b"/cut"));
    for _ in 0..3 {
        assert_eq!(client.err(&cut), code::MARSHALLING_ERROR);
    }
    client.root("k7");
    Client::new(Kind::Plain).root("k7-other");
}

#[test]
fn k8_a_limits_node_for_the_root_does_not_stop_the_server() {
    if differs("K8 (X2)", "the server stops and cannot replay its log") {
        return;
    }
    let mut client = Client::new(Kind::Guarded);
    let path = "/zookeeper/quota/zookeeper_limits";
    let limits = request::create(path, Some(b"count=1,bytes=1"), &ids::open(), 0);
    let err = client.err(&limits);
    assert!(matches!(err, 0 | code::BAD_ARGUMENTS), "{err}");
    client.root("k8");
    let mut other = Client::new(Kind::Guarded);
    other.root("k8-other");
}

#[test]
fn x3_junk_in_a_usage_node_does_not_stop_the_server() {
    if differs("X3", "the server stops and cannot replay its log") {
        return;
    }
    let mut client = Client::new(Kind::Guarded);
    let root = client.root("x3");
    let stats = set_quota(&mut client, &root, "count=100,bytes=1000");
    for junk in [&b"junk"[..], b"", b"count=,bytes=", b"\xff\xfe", b"count=99999999999999999999"] {
        client.ok(&request::set_data(&stats, Some(junk), -1));
        client.ok(&create(&format!("{root}/a"), 10));
        client.delete(&format!("{root}/a"));
    }
}
