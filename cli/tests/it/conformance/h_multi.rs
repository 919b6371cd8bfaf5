//! H: multi and multiRead.

use farwatch_bench::raw::{MultiResult, Request, Stat, ids, multi_results, op, request};

use super::{Client, Kind, code, fresh, perms, stops_zookeepers_ensemble};

fn create(path: &str, flags: i32) -> Request {
    request::create(path, Some(b"x"), &ids::open(), flags)
}

fn kinds(results: &[MultiResult]) -> Vec<i32> {
    results.iter().map(MultiResult::kind).collect()
}

/// The codes of results that are all errors; each states its code twice.
#[track_caller]
fn codes(results: &[MultiResult]) -> Vec<i32> {
    let code = |result: &MultiResult| match result {
        MultiResult::Error(header, body) => {
            assert_eq!(header, body);
            *header
        }
        other => panic!("{other:?} is not an error"),
    };
    results.iter().map(code).collect()
}

#[test]
fn h1_an_empty_multi_takes_a_zxid_and_an_empty_multi_read_none() {
    let (_turn, address) = fresh();
    let mut client = Client::at(address);
    let before = client.ok(&request::ping()).zxid;
    let reply = client.ok(&request::multi(&[]));
    assert!(multi_results(&reply).expect("results").is_empty());
    assert_eq!(reply.zxid, before + 1);
    let reply = client.ok(&request::multi_read(&[]));
    assert!(multi_results(&reply).expect("results").is_empty());
    assert_eq!(reply.zxid, before + 1);
    client.close();
}

#[test]
fn h2_each_part_is_validated_behind_those_before_it_and_answered_by_its_type() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h2");
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    let container = format!("{root}/c");
    let results = client.multi(&request::multi(&[
        create(&a, 0),
        request::create2(&b, Some(b"12"), &ids::open(), 0),
        request::set_data(&a, Some(b"2"), 0),
        request::check(&a, 1),
        create(&format!("{a}/s-"), 2),
        create(&format!("{a}/e-"), 3),
        request::delete(&b, 0),
        request::create_container(&container, None, &ids::open(), 4),
    ]));
    assert_eq!(kinds(&results), [1, 15, 5, 13, 1, 1, 2, 15]);
    assert_eq!(results[0], MultiResult::Create(a.clone()));
    assert_eq!(results[4], MultiResult::Create(format!("{a}/s-0000000000")));
    assert_eq!(results[5], MultiResult::Create(format!("{a}/e-0000000001")));
    let MultiResult::SetData(set) = results[2] else { panic!("{results:?}") };
    assert_eq!((set.version, set.num_children), (1, 0));
    let MultiResult::Create2(path, stat) = &results[7] else { panic!("{results:?}") };
    assert_eq!((path, stat.ephemeral_owner), (&container, 0));
    assert!(!client.has(&b));
    assert_eq!(client.stat(&a).num_children, 2);
    let owner = client.stat(&format!("{a}/e-0000000001")).ephemeral_owner;
    assert_eq!(owner, client.session.id);
}

#[test]
fn h3_a_failing_part_undoes_all_and_every_result_is_an_error() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h3");
    let before = client.stat(&root);
    let reply = client.ok(&request::multi(&[
        create(&format!("{root}/a"), 0),
        request::set_data(&root, Some(b"2"), 9),
        create(&format!("{root}/b"), 0),
        request::delete(&format!("{root}/missing"), -1),
    ]));
    let results = multi_results(&reply).expect("results");
    let later = code::RUNTIME_INCONSISTENCY;
    assert_eq!(codes(&results), [0, code::BAD_VERSION, later, later]);
    assert_eq!(client.stat(&root), before);
    // The counter of sequential names has not moved either.
    let reply = client.ok(&create(&format!("{root}/"), 2));
    assert_eq!(reply.path().expect("a path"), format!("{root}/0000000000"));
    assert!(before.czxid < reply.zxid);
}

#[test]
fn h4_the_header_and_the_body_of_an_error_result_agree() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h4");
    let missing = format!("{root}/missing");
    let failing = [
        (create(&root, 0), code::NODE_EXISTS),
        (create(&format!("{missing}/a"), 0), code::NO_NODE),
        (create("foo", 0), code::BAD_ARGUMENTS),
        (request::create(&missing, None, &[], 0), code::INVALID_ACL),
        (request::delete(&missing, -1), code::NO_NODE),
        (request::delete("/zookeeper", -1), code::BAD_ARGUMENTS),
        (request::delete(&root, 1), code::BAD_VERSION),
        (request::set_data(&missing, None, -1), code::NO_NODE),
        (request::set_data("/zookeeper/config", None, -1), code::NO_AUTH),
    ];
    for (part, expected) in failing {
        let multi = request::multi(&[request::check("/", -1), part, request::check("/", -1)]);
        let results = client.multi(&multi);
        let expected = [0, expected, code::RUNTIME_INCONSISTENCY];
        assert_eq!(codes(&results), expected, "{multi:?}");
    }
}

#[test]
fn h5_check_needs_the_node_the_version_and_read() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h5");
    let mut check =
        |path: &str, version| client.multi(&request::multi(&[request::check(path, version)]));
    assert_eq!(check(&root, 0), [MultiResult::Check]);
    assert_eq!(check(&root, -1), [MultiResult::Check]);
    assert_eq!(codes(&check(&format!("{root}/missing"), -1)), [code::NO_NODE]);
    assert_eq!(codes(&check(&root, 1)), [code::BAD_VERSION]);
    assert_eq!(codes(&check("foo", -1)), [code::BAD_ARGUMENTS]);
    client.ok(&request::set_acl(&root, &ids::world(perms::ALL - perms::READ), -1));
    let results = client.multi(&request::multi(&[request::check(&root, 1)]));
    assert_eq!(codes(&results), [code::NO_AUTH]);
}

#[test]
fn h6_in_a_multi_the_flags_decide_what_is_created() {
    if stops_zookeepers_ensemble("H6") {
        return;
    }
    let mut client = Client::new(Kind::Quick);
    let root = client.root("h6");
    let open = ids::open();
    let path = |name: &str| format!("{root}/{name}");
    let ttl =
        |name: &str, flags, millis| request::create_ttl(&path(name), None, &open, flags, millis);
    let made = client.multi(&request::multi(&[
        create(&path("container"), 4),
        request::create_container(&path("container2"), None, &open, 1),
        ttl("plain", 0, 5),
        ttl("ephemeral", 1, 5),
        ttl("container3", 4, 5),
        ttl("ttl", 5, 1_000_000),
    ]));
    assert_eq!(kinds(&made), [15, 15, 1, 1, 15, 15]);
    assert_eq!(client.stat(&path("container2")).ephemeral_owner, 0);
    let owner = client.session.id;
    assert_eq!(client.stat(&path("ephemeral")).ephemeral_owner, owner);
    assert_eq!(client.stat(&path("ttl")).ephemeral_owner, 0);

    for flags in [5, 6, 9, -1] {
        for op in [op::CREATE, op::CREATE2, op::CREATE_CONTAINER] {
            let part = Request::new(op, create(&path("a"), flags).body);
            let multi = request::multi(&[part]);
            assert_eq!(client.err(&multi), code::MARSHALLING_ERROR, "op {op} flags {flags}");
        }
    }
    for (flags, millis) in [(5, 0), (5, 1 << 40), (9, 5)] {
        let results = client.multi(&request::multi(&[ttl("a", flags, millis)]));
        assert_eq!(codes(&results), [code::BAD_ARGUMENTS], "flags {flags} ttl {millis}");
    }
    // Without extended types the part fails, not the request.
    let mut plain = Client::new(Kind::Plain);
    let part = request::create_ttl("/h6-ttl", None, &open, 5, 1_000);
    assert_eq!(codes(&plain.multi(&request::multi(&[part]))), [code::UNIMPLEMENTED]);
}

#[test]
fn h7_a_part_that_does_not_belong_and_a_missing_end_are_marshalling_errors() {
    if stops_zookeepers_ensemble("H7") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h7");
    let part = create(&format!("{root}/a"), 0);
    let read = request::get_data(&root, false);
    let unended = request::multi_items(std::slice::from_ref(&part));
    let bad = [
        request::multi(&[part.clone(), request::set_acl(&root, &ids::open(), -1)]),
        request::multi(&[part.clone(), request::exists(&root, false)]),
        request::multi(&[part.clone(), read.clone()]),
        request::multi(&[part.clone(), request::multi(&[])]),
        request::multi(&[part.clone(), request::sync("/")]),
        request::multi(&[Request::new(999, part.body.clone())]),
        Request::new(op::MULTI, unended),
        Request::new(op::MULTI, request::multi_items(&[])),
    ];
    for multi in bad {
        assert_eq!(client.err(&multi), code::MARSHALLING_ERROR, "{multi:?}");
    }
    for parts in [[request::delete(&root, -1)], [request::get_children2(&root, false)]] {
        // Part of a result may follow this one error.
        assert_eq!(client.call(&request::multi_read(&parts)).err, code::MARSHALLING_ERROR);
    }
    let unended = Request::new(op::MULTI_READ, request::multi_items(&[read]));
    assert_eq!(client.call(&unended).err, code::MARSHALLING_ERROR);
    assert_eq!(client.stat(&root).num_children, 0);
}

#[test]
fn h8_a_terminator_of_any_type_ends_the_list() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h8");
    let items = request::multi_items(&[create(&format!("{root}/a"), 0)]);
    let body = request::multi_terminator(items, op::SET_DATA);
    let results = client.multi(&Request::new(op::MULTI, body));
    assert_eq!(results, [MultiResult::Create(format!("{root}/a"))]);
}

#[test]
fn h9_all_stats_of_one_multi_share_zxid_and_time() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h9");
    let a = format!("{root}/a");
    let reply = client.ok(&request::multi(&[
        request::create2(&a, None, &ids::open(), 0),
        request::set_data(&root, Some(b"2"), -1),
        request::create2(&format!("{a}/b"), None, &ids::open(), 0),
        request::set_data(&a, Some(b"2"), -1),
    ]));
    let results = multi_results(&reply).expect("results");
    let stats: Vec<Stat> = results
        .iter()
        .map(|result| match result {
            MultiResult::Create2(_, stat) | MultiResult::SetData(stat) => *stat,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(stats.iter().all(|stat| stat.mzxid == reply.zxid), "{stats:?}");
    assert!(stats.iter().all(|stat| stat.mtime == stats[0].mtime), "{stats:?}");
    // Each Stat is of the moment right behind its own part.
    assert_eq!((stats[0].num_children, stats[3].num_children), (0, 1));
    assert_eq!((stats[0].version, stats[3].version), (0, 1));
    assert_eq!(client.stat(&a), stats[3]);
}

#[test]
fn h10_multi_read_reports_each_part_and_arms_no_watch() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h10");
    let hidden = format!("{root}/hidden");
    client.ok(&request::create(&hidden, None, &ids::world(perms::ALL - perms::READ), 0));
    let missing = format!("{root}/missing");
    let results = client.multi(&request::multi_read(&[
        request::get_data(&root, true),
        request::get_data(&missing, true),
        request::get_children(&root, true),
        request::get_data(&hidden, true),
        request::get_children(&missing, true),
    ]));
    assert_eq!(kinds(&results), [4, -1, 8, -1, -1]);
    let stat = client.stat(&root);
    assert_eq!(results[0], MultiResult::GetData(Some(b"1".to_vec()), stat));
    assert_eq!(results[2], MultiResult::GetChildren(vec!["hidden".to_owned()]));
    assert_eq!(codes(&results[1..2]), [code::NO_NODE]);
    assert_eq!(codes(&results[3..]), [code::NO_AUTH, code::NO_NODE]);
    client.set(&root, "2");
    client.create(&missing);
    assert!(client.events().is_empty());
}

#[test]
fn h11_sequential_creates_in_one_multi_get_consecutive_suffixes() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("h11");
    let parts: Vec<Request> =
        (0..5).map(|flag| create(&format!("{root}/n-"), 2 + flag % 2)).collect();
    let results = client.multi(&request::multi(&parts));
    let expected: Vec<MultiResult> =
        (0..5).map(|n| MultiResult::Create(format!("{root}/n-000000000{n}"))).collect();
    assert_eq!(results, expected);
}
