//! E: delete, setData, getACL, setACL.

use farwatch_bench::raw::{Acl, Body, Reader, Request, Stat, ids, op, request};

use super::{Client, Kind, code, perms, stops_zookeepers_ensemble};

/// The digest of `bob:pw`.
const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";

fn acls(client: &mut Client, path: &str) -> (Vec<Acl>, Stat) {
    let reply = client.ok(&request::get_acl(path));
    let read = |reader: &mut Reader<'_>| Ok((reader.acls()?, Stat::read(reader)?));
    reply.decode(read).expect("an ACL and a Stat")
}

#[test]
fn e1_delete_of_a_missing_node_of_the_reserved_nodes_and_of_bad_paths() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e1");
    let missing = format!("{root}/missing");
    assert_eq!(client.err(&request::delete(&missing, -1)), code::NO_NODE);
    assert_eq!(client.err(&request::delete(&format!("{missing}/a"), -1)), code::NO_NODE);
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "foo", ""] {
        assert_eq!(client.err(&request::delete(path, -1)), code::BAD_ARGUMENTS, "{path}");
    }
    assert_eq!(client.err(&request::delete(&format!("{root}/"), -1)), code::NO_NODE);
    client.delete(&root);
    assert!(!client.has(&root));
}

#[test]
fn e2_a_wrong_version_is_seen_before_the_children() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e2");
    client.create(&format!("{root}/a"));
    assert_eq!(client.err(&request::delete(&root, 1)), code::BAD_VERSION);
    assert_eq!(client.err(&request::delete(&root, 0)), code::NOT_EMPTY);
    assert_eq!(client.err(&request::delete(&root, -1)), code::NOT_EMPTY);
    client.delete(&format!("{root}/a"));
    assert_eq!(client.err(&request::delete(&root, 0)), 0);
}

#[test]
fn e3_without_delete_on_the_parent_even_a_missing_node_is_no_auth() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e3");
    let (path, missing) = (format!("{root}/a"), format!("{root}/missing"));
    client.create(&path);
    client.ok(&request::set_acl(&root, &ids::world(perms::ALL - perms::DELETE), -1));
    assert_eq!(client.err(&request::delete(&path, -1)), code::NO_AUTH);
    assert_eq!(client.err(&request::delete(&missing, -1)), code::NO_AUTH);
    // What the node itself allows does not matter.
    client.ok(&request::set_acl(&path, &ids::world(perms::READ), -1));
    client.ok(&request::set_acl(&root, &ids::world(perms::DELETE), -1));
    client.delete(&path);
}

#[test]
fn e4_a_parent_after_a_delete_has_a_higher_cversion_and_the_zxid() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e4");
    client.create(&format!("{root}/a"));
    client.create(&format!("{root}/b"));
    let mut expected = client.stat(&root);
    assert_eq!((expected.cversion, expected.num_children), (2, 2));
    let zxid = client.delete(&format!("{root}/a"));
    expected.cversion = 3;
    expected.num_children = 1;
    expected.pzxid = zxid;
    assert_eq!(client.stat(&root), expected);
}

#[test]
fn e5_set_data_looks_at_permission_before_the_version() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e5");
    assert_eq!(client.err(&request::set_data(&root, None, 1)), code::BAD_VERSION);
    assert_eq!(client.err(&request::set_data(&root, None, -2)), code::BAD_VERSION);
    client.ok(&request::set_acl(&root, &ids::world(perms::ALL - perms::WRITE), -1));
    assert_eq!(client.err(&request::set_data(&root, None, 1)), code::NO_AUTH);
    assert_eq!(client.err(&request::set_data(&root, None, 0)), code::NO_AUTH);
}

#[test]
fn e6_set_data_of_bad_missing_and_reserved_paths() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e6");
    let set = |path: &str| request::set_data(path, Some(b""), -1);
    for path in ["", "foo", "/a//b", "/a/", "/a/../b"] {
        assert_eq!(client.err(&set(path)), code::BAD_ARGUMENTS, "{path}");
    }
    assert_eq!(client.err(&set(&format!("{root}/nope"))), code::NO_NODE);
    assert_eq!(client.err(&set("/")), 0);
    assert_eq!(client.err(&set("/zookeeper")), 0);
    assert_eq!(client.err(&set("/zookeeper/config")), code::NO_AUTH);
}

#[test]
fn e7_set_data_changes_version_mtime_and_mzxid_only_and_the_same_bytes_count() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e7");
    let before = client.stat(&root);
    for version in 1..=3 {
        let reply = client.ok(&request::set_data(&root, Some(b"1"), version - 1));
        let stat = reply.stat().expect("a Stat");
        let mut expected = before;
        expected.version = version;
        expected.mzxid = reply.zxid;
        expected.mtime = stat.mtime;
        assert_eq!(stat, expected);
        assert!(before.mtime <= stat.mtime);
        assert_eq!(client.stat(&root), expected);
    }
    let stat = client.set(&root, "12345");
    assert_eq!((stat.version, stat.data_length), (4, 5));
}

#[test]
fn e8_set_acl_checks_the_list_then_the_node_then_the_aversion() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e8");
    let missing = format!("{root}/missing");
    let before = client.stat(&root);
    assert_eq!(client.err(&request::set_acl(&root, &ids::open(), 1)), code::BAD_VERSION);
    assert_eq!(client.err(&request::set_acl(&missing, &[], -1)), code::INVALID_ACL);
    assert_eq!(client.err(&request::set_acl(&missing, &ids::open(), -1)), code::NO_NODE);
    assert_eq!(client.err(&request::set_acl("foo", &[], -1)), code::BAD_ARGUMENTS);
    let list = ids::world(perms::READ | perms::ADMIN);
    let stat = client.ok(&request::set_acl(&root, &list, 0)).stat().expect("a Stat");
    let mut expected = before;
    expected.aversion = 1;
    assert_eq!(stat, expected);
    assert_eq!(acls(&mut client, &root), (list, expected));
    client.ok(&request::set_acl(&root, &ids::world(perms::READ), 1));
    assert_eq!(client.err(&request::set_acl(&root, &ids::open(), 2)), code::NO_AUTH);
    assert_eq!(client.err(&request::set_acl(&root, &ids::open(), 0)), code::NO_AUTH);
}

#[test]
fn e9_set_acl_fires_no_watch() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e9");
    client.ok(&request::get_data(&root, true));
    client.ok(&request::get_children(&root, true));
    client.ok(&request::add_watch(&root, 0));
    client.ok(&request::add_watch("/", 1));
    client.ok(&request::set_acl(&root, &ids::world(perms::READ | perms::ADMIN), -1));
    assert!(!client.events().iter().any(|(_, path)| *path == root));
}

#[test]
fn e10_get_acl_needs_read_or_admin_and_hides_digests_from_readers() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e10");
    let bob = ids::acl(perms::ALL, "digest", BOB);
    let local = ids::acl(perms::WRITE, "ip", "10.0.0.1");
    let list = [bob, ids::acl(perms::READ, "world", "anyone"), local];
    client.ok(&request::set_acl(&root, &list, -1));
    let mut masked = list.clone();
    masked[0].id = "bob:x".to_owned();
    assert_eq!(acls(&mut client, &root).0, masked);

    client.ok(&request::create(&format!("{root}x"), None, &list[..1], 0));
    assert_eq!(client.err(&request::get_acl(&format!("{root}x"))), code::NO_AUTH);
    client.login("bob:pw");
    assert_eq!(acls(&mut client, &root).0, list);
    assert_eq!(acls(&mut client, &format!("{root}x")).0, list[..1]);

    // ADMIN without READ is enough, and shows everything.
    let mut stranger = Client::new(Kind::Plain);
    let admin = ids::acl(perms::ADMIN, "world", "anyone");
    let path = format!("{root}y");
    let list = [list[0].clone(), admin];
    stranger.ok(&request::create(&path, None, &list, 0));
    assert_eq!(acls(&mut stranger, &path).0, list);
}

#[test]
fn e11_auth_becomes_one_entry_per_identity_and_exact_duplicates_collapse() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("e11");
    client.login("bob:pw");
    client.login("super:admin");
    let path = format!("{root}/a");
    let list = [ids::acl(perms::READ | perms::ADMIN, "auth", "ignored")];
    client.ok(&request::create(&path, None, &list, 0));
    let mut stored = acls(&mut client, &path).0;
    stored.sort();
    let entry = |id| ids::acl(perms::READ | perms::ADMIN, "digest", id);
    assert_eq!(stored, [entry(BOB), entry("super:xQJmxLMiHGwaqBvst5y6rkB6HQs=")]);

    let path = format!("{root}/b");
    let other = ids::acl(perms::READ, "world", "anyone");
    let list = [ids::open(), vec![other.clone()], ids::open(), vec![other.clone()]].concat();
    client.ok(&request::create(&path, None, &list, 0));
    assert_eq!(acls(&mut client, &path).0, [ids::open(), vec![other]].concat());
}

#[test]
fn e12_a_null_path_in_a_write_is_refused_and_a_cut_body_is_a_marshalling_error() {
    if stops_zookeepers_ensemble("E12") {
        return;
    }
    let mut client = Client::new(Kind::Plain);
    let null = Body::new().null();
    let writes = [
        Request::new(op::CREATE, null.clone().buffer(None).acls(&ids::open()).int(0)),
        Request::new(op::CREATE2, null.clone().buffer(None).acls(&ids::open()).int(0)),
        Request::new(op::DELETE, null.clone().int(-1)),
    ];
    for request in writes {
        assert_eq!(client.err(&request), code::MARSHALLING_ERROR, "{request:?}");
    }
    // These two validate the path before anything else, and null is an invalid path.
    let validated = [
        Request::new(op::SET_DATA, null.clone().buffer(None).int(-1)),
        Request::new(op::SET_ACL, null.clone().acls(&ids::open()).int(-1)),
    ];
    for request in validated {
        assert_eq!(client.err(&request), code::BAD_ARGUMENTS, "{request:?}");
    }
    // A part of a multi that has none spoils the whole before anything else of it is looked at.
    let bad_mode = null.clone().buffer(None).acls(&ids::open()).int(0).long(1);
    let parts = [request::delete("/e12-is-missing", -1), Request::new(op::CREATE_TTL, bad_mode)];
    assert_eq!(client.err(&request::multi(&parts)), code::MARSHALLING_ERROR);
    // A body that ends too early spoils nothing behind it.
    let cut = Request::new(op::CREATE, Body::new().int(50).raw(b"/cut"));
    assert_eq!(client.err(&cut), code::MARSHALLING_ERROR);
    client.root("e12");
}
