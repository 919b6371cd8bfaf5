//! D: create, create2, createContainer, createTTL.

use farwatch_bench::raw::{Acl, Body, Request, ids, op, request};

use super::{Client, Kind, code, differs, event, perms, stops_zookeepers_ensemble};

fn plain(path: &str) -> Request {
    request::create(path, Some(b"x"), &ids::open(), 0)
}

fn create_with_path_bytes(path: &[u8]) -> Request {
    let body = Body::new().buffer(Some(path)).buffer(None).acls(&ids::open()).int(0);
    Request::new(op::CREATE, body)
}

fn ttl(path: &str, flags: i32, millis: i64) -> Request {
    request::create_ttl(path, None, &ids::open(), flags, millis)
}

#[test]
fn d1_below_a_missing_parent_is_no_node() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d1");
    assert_eq!(client.err(&plain(&format!("{root}/a/b"))), code::NO_NODE);
}

#[test]
fn d2_an_existing_node_and_the_root_exist() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d2");
    assert_eq!(client.err(&plain(&root)), code::NODE_EXISTS);
    assert_eq!(client.err(&plain("/")), code::NODE_EXISTS);
}

#[test]
fn d3_a_path_without_a_slash_is_a_bad_argument_and_null_is_a_marshalling_error() {
    if stops_zookeepers_ensemble("D3") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    assert_eq!(client.err(&plain("")), code::BAD_ARGUMENTS);
    assert_eq!(client.err(&plain("foo")), code::BAD_ARGUMENTS);
    let null = Body::new().null().buffer(None).acls(&ids::open()).int(0);
    assert_eq!(client.err(&Request::new(op::CREATE, null)), code::MARSHALLING_ERROR);
}

#[test]
fn d4_a_bad_name_below_an_existing_parent_is_a_bad_argument() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d4");
    let names: [&[u8]; 14] = [
        b"",
        b"..",
        b".",
        b"a/",
        b"\x00",
        b"a\x01",
        b"\x1f",
        b"\x7f",
        "\u{80}".as_bytes(),
        "\u{9f}".as_bytes(),
        "\u{e000}".as_bytes(),
        "\u{fff0}".as_bytes(),
        "\u{1f600}".as_bytes(),
        b"a\xff\xfe",
    ];
    for name in names {
        let path = [root.as_bytes(), b"/", name].concat();
        let expected = if name == b"a/" { code::NO_NODE } else { code::BAD_ARGUMENTS };
        assert_eq!(client.err(&create_with_path_bytes(&path)), expected, "{name:02x?}");
    }
    // The same emoji as two surrogates of three bytes each, as Java clients write it.
    let path = [root.as_bytes(), b"/\xed\xa0\xbd\xed\xb8\x80"].concat();
    assert_eq!(client.err(&create_with_path_bytes(&path)), code::BAD_ARGUMENTS);
    assert_eq!(client.stat(&root).num_children, 0);
}

#[test]
fn d5_names_at_the_border_of_the_forbidden_ranges_are_good() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d5");
    for name in [".b", "...", "a.", " ", "~", "\u{a0}", "\u{d7ff}", "\u{f900}", "\u{ffef}"] {
        let path = format!("{root}/{name}");
        let reply = client.ok(&plain(&path));
        assert_eq!(reply.path().expect("a path"), path);
        client.ok(&request::get_data(&path, false));
    }
}

#[test]
fn d6_a_missing_parent_is_seen_before_a_bad_name() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d6");
    assert_eq!(client.err(&plain(&format!("{root}/nope/.."))), code::NO_NODE);
}

#[test]
fn d7_a_null_or_empty_acl_is_invalid_before_the_parent_is_looked_for() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d7");
    for path in [format!("{root}/a"), format!("{root}/missing/a")] {
        let null = Body::new().string(&path).buffer(None).null().int(0);
        assert_eq!(client.err(&Request::new(op::CREATE, null)), code::INVALID_ACL);
        assert_eq!(client.err(&request::create(&path, None, &[], 0)), code::INVALID_ACL);
    }
}

#[test]
fn d8_an_acl_entry_with_an_unknown_scheme_or_a_bad_id_is_invalid() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d8");
    let path = format!("{root}/a");
    let bad = [
        ("world", "bob"),
        ("foo", "x"),
        ("super", "x"),
        ("digest", "bob"),
        ("digest", "a:"),
        ("digest", ":"),
        ("digest", "a:b:c"),
        ("ip", "10.0.0"),
        ("ip", "10.0.0.0/33"),
        ("ip", "10.0.0.0/-1"),
        ("ip", "host"),
        ("auth", ""),
    ];
    for (scheme, id) in bad {
        let one = [ids::acl(perms::ALL, scheme, id)];
        let request = request::create(&path, None, &one, 0);
        assert_eq!(client.err(&request), code::INVALID_ACL, "{scheme}:{id}");
        // One bad entry spoils a good list.
        let two = [ids::open(), one.to_vec()].concat();
        let request = request::create(&path, None, &two, 0);
        assert_eq!(client.err(&request), code::INVALID_ACL, "{scheme}:{id}");
    }
    for (scheme, id) in [("digest", "a:b"), ("digest", ":b"), ("digest", "a:b::"), ("ip", "::1")] {
        let one: [Acl; 1] = [ids::acl(perms::ALL, scheme, id)];
        client.ok(&request::create(&format!("{root}/n"), None, &one, 2));
    }
}

#[test]
fn d9_a_parent_without_create_is_no_auth_after_the_acl_is_checked() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d9");
    let all_but_create = perms::ALL - perms::CREATE;
    client.ok(&request::set_acl(&root, &ids::world(all_but_create), -1));
    let path = format!("{root}/a");
    assert_eq!(client.err(&plain(&path)), code::NO_AUTH);
    assert_eq!(client.err(&request::create(&path, None, &[], 0)), code::INVALID_ACL);
    client.ok(&request::set_acl(&root, &ids::world(perms::CREATE | perms::ADMIN), -1));
    client.ok(&plain(&path));
}

#[test]
fn d10_an_ephemeral_has_no_children() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d10");
    let parent = format!("{root}/e");
    client.create_ephemeral(&parent);
    let path = format!("{parent}/a");
    for flags in 0..4 {
        let request = request::create(&path, None, &ids::open(), flags);
        assert_eq!(client.err(&request), code::NO_CHILDREN_FOR_EPHEMERALS, "flags {flags}");
    }
}

#[test]
fn d11_flags_outside_0_to_6_are_bad_arguments() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d11");
    let path = format!("{root}/a");
    for flags in [7, -1, i32::MAX] {
        let requests = [
            request::create(&path, None, &ids::open(), flags),
            request::create2(&path, None, &ids::open(), flags),
            request::create_container(&path, None, &ids::open(), flags),
            ttl(&path, flags, 5),
        ];
        for request in requests {
            assert_eq!(client.err(&request), code::BAD_ARGUMENTS, "{request:?}");
        }
    }
}

#[test]
fn d12_a_ttl_node_without_extended_types_is_unimplemented_and_the_connection_stays() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d12");
    for flags in [5, 6] {
        let request = ttl(&format!("{root}/a"), flags, 1_000);
        assert_eq!(client.err(&request), code::UNIMPLEMENTED);
    }
    client.ok(&request::ping());
}

#[test]
fn d13_a_ttl_is_between_1_and_2_to_the_40_less_1() {
    let mut client = Client::new(Kind::Quick);
    let root = client.root("d13");
    let path = format!("{root}/a");
    for millis in [0, -1, i64::MIN, 1 << 40, i64::MAX] {
        assert_eq!(client.err(&ttl(&path, 5, millis)), code::BAD_ARGUMENTS, "{millis}");
    }
    let reply = client.ok(&ttl(&path, 5, (1 << 40) - 1));
    let (created, stat) = reply.path_and_stat().expect("a path and a Stat");
    assert_eq!((created, stat.ephemeral_owner), (path.clone(), 0));
    let reply = client.ok(&ttl(&path, 6, 1_000_000));
    let (created, _) = reply.path_and_stat().expect("a path and a Stat");
    assert_eq!(created, format!("{path}0000000001"));
}

#[test]
fn d14_a_ttl_operation_with_other_flags_is_a_bad_argument() {
    let mut client = Client::new(Kind::Quick);
    let root = client.root("d14");
    let path = format!("{root}/a");
    for flags in 0..5 {
        assert_eq!(client.err(&ttl(&path, flags, 5)), code::BAD_ARGUMENTS, "flags {flags}");
    }
    // The other way round: TTL flags where there is no TTL.
    for flags in [5, 6] {
        let request = request::create(&path, None, &ids::open(), flags);
        assert_eq!(client.err(&request), code::BAD_ARGUMENTS);
        let request = request::create_container(&path, None, &ids::open(), flags);
        assert_eq!(client.err(&request), code::BAD_ARGUMENTS);
    }
    if differs("D14 with ttl -1", "the server stops and cannot replay its log") {
        return;
    }
    for flags in 0..5 {
        assert_eq!(client.err(&ttl(&path, flags, -1)), code::BAD_ARGUMENTS, "flags {flags}");
    }
    client.ok(&plain(&path));
}

#[test]
fn d15_create_with_the_container_flag_makes_an_ordinary_node() {
    let mut client = Client::new(Kind::Quick);
    let root = client.root("d15");
    let ordinary = format!("{root}/ordinary");
    let container = format!("{root}/container");
    client.ok(&request::create(&ordinary, None, &ids::open(), 4));
    client.ok(&request::create_container(&container, None, &ids::open(), 4));
    client.ok(&request::exists(&container, true));
    for parent in [&ordinary, &container] {
        let child = format!("{parent}/child");
        client.create(&child);
        client.delete(&child);
    }
    // The reaper that takes the container has looked at the ordinary node as well.
    assert_eq!(client.event(), (event::DELETED, container));
    assert!(client.has(&ordinary));
}

#[test]
fn d16_create_container_answers_with_a_stat_without_an_owner_whatever_its_flags() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d16");
    for flags in [4, 0, 1] {
        let path = format!("{root}/{flags}");
        let reply = client.ok(&request::create_container(&path, Some(b"12"), &ids::open(), flags));
        let (created, stat) = reply.path_and_stat().expect("a path and a Stat");
        assert_eq!((created, stat.ephemeral_owner, stat.data_length), (path.clone(), 0, 2));
        assert_eq!(client.stat(&path), stat);
    }
    let reply = client.ok(&request::create_container(&root, None, &ids::open(), 2));
    let (created, _) = reply.path_and_stat().expect("a path and a Stat");
    assert_eq!(created.len(), root.len() + 10);
}

#[test]
fn d17_the_suffix_counts_every_create_below_the_parent_and_no_delete() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d17");
    client.create(&format!("{root}/a"));
    client.create_ephemeral(&format!("{root}/b"));
    client.delete(&format!("{root}/a"));
    // A failed create does not count, in its own kind of failure each.
    assert_eq!(client.err(&plain(&format!("{root}/b"))), code::NODE_EXISTS);
    let prefix = format!("{root}/n-");
    for (flags, suffix) in [(2, "0000000002"), (3, "0000000003"), (2, "0000000004")] {
        let reply = client.ok(&request::create(&prefix, None, &ids::open(), flags));
        let created = reply.path().expect("a path");
        assert_eq!(created, format!("{prefix}{suffix}"));
        client.delete(&created);
    }
}

#[test]
fn d18_a_sequential_path_may_end_with_a_slash() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d18");
    let sequential = |path: &str| request::create(path, None, &ids::open(), 2);
    let reply = client.ok(&sequential(&format!("{root}/")));
    assert_eq!(reply.path().expect("a path"), format!("{root}/0000000000"));
    let top = client.ok(&sequential("/")).path().expect("a path");
    assert_eq!((top.len(), &top[..1]), (11, "/"));
    client.delete(&top);
}

#[test]
fn d19_a_new_node_has_versions_0_and_one_zxid() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d19");
    let path = format!("{root}/a");
    let reply = client.ok(&request::create2(&path, Some(b"123"), &ids::open(), 1));
    let (_, stat) = reply.path_and_stat().expect("a path and a Stat");
    assert_eq!((stat.version, stat.cversion, stat.aversion), (0, 0, 0));
    assert_eq!((stat.czxid, stat.mzxid, stat.pzxid), (reply.zxid, reply.zxid, reply.zxid));
    assert_eq!((stat.num_children, stat.data_length), (0, 3));
    assert_eq!(stat.ctime, stat.mtime);
    assert_eq!(stat.ephemeral_owner, client.session.id);
    assert_eq!(client.stat(&path), stat);
}

#[test]
fn d20_a_parent_counts_its_children_and_keeps_its_own_change() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d20");
    let before = client.stat(&root);
    let reply = client.ok(&plain(&format!("{root}/a")));
    let mut expected = before;
    expected.cversion += 1;
    expected.num_children += 1;
    expected.pzxid = reply.zxid;
    assert_eq!(client.stat(&root), expected);
    // Grandchildren are none of its business.
    client.create(&format!("{root}/a/b"));
    assert_eq!(client.stat(&root), expected);
}

#[test]
fn d21_null_data_stays_null_and_empty_stays_empty() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("d21");
    for (name, stored) in [("null", None), ("empty", Some(vec![]))] {
        let path = format!("{root}/{name}");
        client.ok(&request::create(&path, stored.as_deref(), &ids::open(), 0));
        let reply = client.ok(&request::get_data(&path, false));
        let (data, stat) = reply.data_and_stat().expect("data");
        assert_eq!((data, stat.data_length), (stored, 0));
    }
    let path = format!("{root}/empty");
    client.ok(&request::set_data(&path, None, -1));
    assert_eq!(client.ok(&request::get_data(&path, false)).data_and_stat().expect("data").0, None);
}

#[test]
fn d22_containers_and_ttl_nodes_have_children() {
    let mut client = Client::new(Kind::Quick);
    let root = client.root("d22");
    let (container, limited) = (format!("{root}/container"), format!("{root}/ttl"));
    client.ok(&request::create_container(&container, None, &ids::open(), 4));
    client.ok(&ttl(&limited, 5, 1_000_000));
    for parent in [container, limited] {
        client.create(&format!("{parent}/a"));
        client.create_ephemeral(&format!("{parent}/e"));
        assert_eq!(client.stat(&parent).num_children, 2);
    }
}
