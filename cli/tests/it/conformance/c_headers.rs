//! C: headers, special xids, order.

use farwatch_bench::raw::{Body, Event, Request, ids, multi_results, op, request};

use super::{Client, Kind, code, event, fresh, stops_zookeepers_ensemble};

#[test]
fn c1_a_ping_under_any_xid_is_answered_under_minus_2() {
    let mut client = Client::new(Kind::Plain);
    client.send(77, &request::ping()).expect("a write");
    let reply = client.receive().expect("a reply");
    assert_eq!((reply.xid, reply.err, reply.body.len()), (-2, 0, 0));
}

#[test]
fn c2_odd_and_repeated_xids_are_served_and_echoed() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("c2");
    let xids = [0, -77, 5, 5, 5, i32::MAX, i32::MIN, -4, -8];
    for xid in xids {
        client.send(xid, &request::get_data(&root, false)).expect("a write");
    }
    for xid in xids {
        let reply = client.receive().expect("a reply");
        assert_eq!((reply.xid, reply.err), (xid, 0));
        assert_eq!(reply.data_and_stat().expect("data").0.as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn c3_an_operation_that_is_unknown_or_not_for_clients_is_unimplemented_and_closes() {
    for op in [999, op::NOTIFICATION, op::ERROR, 10, op::CHECK] {
        let mut client = Client::new(Kind::Plain);
        let body = Body::new().string("/").int(-1);
        let reply = client.err_and_close(&Request::new(op, body), code::UNIMPLEMENTED);
        assert_eq!((reply.zxid, reply.body.len()), (-1, 0), "op {op}");
    }
}

#[test]
fn c4_auth_under_a_positive_xid_echoes_it_with_zxid_0() {
    let mut client = Client::new(Kind::Plain);
    for xid in [41, -4] {
        client.send(xid, &request::auth("digest", b"bob:pw")).expect("a write");
        let reply = client.receive().expect("a reply");
        assert_eq!((reply.xid, reply.zxid, reply.err, reply.body.len()), (xid, 0, 0, 0));
    }
}

#[test]
fn c5_a_failed_write_takes_one_zxid_and_a_failed_read_none() {
    let (_turn, address) = fresh();
    let mut client = Client::at(address);
    let before = client.ok(&request::ping()).zxid;
    let create = request::create("/missing/a", None, &ids::open(), 0);
    let failed = client.call(&create);
    assert_eq!((failed.err, failed.zxid), (code::NO_NODE, before + 1));
    let read = client.call(&request::get_data("/missing", false));
    assert_eq!((read.err, read.zxid), (code::NO_NODE, before + 1));
    let failed = client.call(&request::delete("/missing", -1));
    assert_eq!((failed.err, failed.zxid), (code::NO_NODE, before + 2));
    assert_eq!(client.ok(&request::ping()).zxid, before + 2);
    client.close();
}

#[test]
fn c6_the_zxid_of_replies_never_goes_back() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("c6");
    let mut last = 0;
    for round in 0..30 {
        let request = match round % 5 {
            0 => request::set_data(&root, Some(b"x"), -1),
            1 => request::get_data(&root, false),
            2 => request::create("/missing/a", None, &ids::open(), 0),
            3 => request::exists("/missing", false),
            _ => request::ping(),
        };
        let zxid = client.call(&request).zxid;
        assert!(last <= zxid, "{request:?}: 0x{last:x} then 0x{zxid:x}");
        last = zxid;
    }
}

#[test]
fn fifo_what_is_pipelined_behind_a_write_shows_it_and_nothing_that_comes_later() {
    if stops_zookeepers_ensemble("C6 behind a write that does not decode") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    let root = client.root("c6p");
    let eph = |name: &str| request::create(&format!("{root}/{name}"), None, &ids::open(), 1);
    let pipelined = [
        eph("a"),
        request::create("/missing/a", None, &ids::open(), 0),
        request::sync("/"),
        request::get_ephemerals(Some(&root)),
        Request::new(op::CREATE, Body::new().int(77)), // does not decode
        request::get_children(&root, false),
        eph("b"),
        request::get_ephemerals(Some(&root)),
    ];
    for (xid, request) in (1..).zip(&pipelined) {
        client.send(xid, request).expect("a write");
    }
    let replies: Vec<_> =
        (0..pipelined.len()).map(|_| client.receive().expect("a reply")).collect();
    let zxids: Vec<i64> = replies.iter().map(|reply| reply.zxid).collect();
    assert!(zxids.is_sorted(), "{zxids:x?}");
    assert_eq!(replies[3].names().expect("names"), [format!("{root}/a")]);
    assert_eq!(replies[4].err, code::MARSHALLING_ERROR);
    assert_eq!(replies[5].names().expect("names"), ["a"]);
    assert_eq!(replies[7].names().expect("names").len(), 2);
}

#[test]
fn c7_the_event_of_an_own_write_comes_before_its_reply() {
    let mut client = Client::new(Kind::Plain);
    let path = client.root("c7") + "/a";
    assert_eq!(client.err(&request::exists(&path, true)), code::NO_NODE);
    client.send(9, &request::create(&path, None, &ids::open(), 0)).expect("a write");
    let notification = Event::parse(&client.receive().expect("a frame")).expect("an event");
    let reply = client.receive().expect("a reply");
    assert_eq!((notification.kind, notification.path), (event::CREATED, path));
    assert_eq!((reply.xid, reply.err), (9, 0));
    assert_eq!(notification.zxid, reply.zxid);
}

#[test]
fn c8_a_hundred_pipelined_creates_are_answered_in_order() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("c8");
    for number in 1..=100 {
        let path = format!("{root}/{number}");
        client.send(number, &request::create(&path, None, &ids::open(), 0)).expect("a write");
    }
    let mut last = 0;
    for number in 1..=100 {
        let reply = client.receive().expect("a reply");
        assert_eq!((reply.xid, reply.err), (number, 0));
        assert_eq!(reply.path().expect("a path"), format!("{root}/{number}"));
        assert!(last < reply.zxid);
        last = reply.zxid;
    }
    assert_eq!(client.stat(&root).num_children, 100);
}

#[test]
fn c9_set_watches_under_xid_minus_8_is_answered_with_a_header_only() {
    let mut client = Client::new(Kind::Plain);
    client.send(-8, &request::set_watches(i64::MAX, &["/"], &[], &["/"])).expect("a write");
    let reply = client.receive().expect("a reply");
    assert_eq!((reply.xid, reply.err, reply.body.len()), (-8, 0, 0));
    assert!(reply.zxid > 0);
}

#[test]
fn c10_nothing_follows_the_header_of_an_error() {
    if stops_zookeepers_ensemble("C10") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    let open = ids::open();
    let failures = [
        (request::create("/missing/a", None, &open, 0), code::NO_NODE),
        (request::create2("/missing/a", None, &open, 0), code::NO_NODE),
        (request::create_container("/missing/a", None, &open, 4), code::NO_NODE),
        (request::create_ttl("/missing/a", None, &open, 5, 10), code::UNIMPLEMENTED),
        (request::delete("/missing", -1), code::NO_NODE),
        (request::exists("/missing", false), code::NO_NODE),
        (request::get_data("/missing", false), code::NO_NODE),
        (request::set_data("/missing", None, -1), code::NO_NODE),
        (request::get_acl("/missing"), code::NO_NODE),
        (request::set_acl("/missing", &open, -1), code::NO_NODE),
        (request::get_children("/missing", false), code::NO_NODE),
        (request::get_children2("/missing", false), code::NO_NODE),
        (request::get_all_children_number("/missing"), code::NO_NODE),
        (request::remove_watches("/missing", 3), code::NO_WATCHER),
        (request::check_watches("/missing", 3), code::NO_WATCHER),
        (request::add_watch("/missing", 2), code::MARSHALLING_ERROR),
        (request::reconfig(None, None, None, -1), code::RECONFIG_DISABLED),
        (request::multi(&[request::exists("/", false)]), code::MARSHALLING_ERROR),
    ];
    for (request, expected) in failures {
        let reply = client.call(&request);
        assert_eq!((reply.err, reply.body.len()), (expected, 0), "{request:?}");
    }
    // The exception: part of a result may follow, and it must not confuse the frames behind it.
    let reply = client.call(&request::multi_read(&[request::exists("/", false)]));
    assert_eq!(reply.err, code::MARSHALLING_ERROR);
    assert!(multi_results(&client.ok(&request::multi_read(&[]))).expect("results").is_empty());
}
