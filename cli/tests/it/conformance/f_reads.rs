//! F: reads.

use farwatch_bench::raw::{Body, MultiResult, Request, ids, op, request};

use super::{Client, Kind, code, event, fresh, in_ensemble, perms, roles};

/// The identities that whoAmI names, sorted.
fn identities(client: &mut Client) -> Vec<(String, String)> {
    let reply = client.ok(&request::who_am_i());
    let mut identities = reply
        .decode(|reader| {
            let count = reader.count()?;
            (0..count).map(|_| Ok((reader.string()?, reader.string()?))).collect()
        })
        .expect("a vector of identities");
    let sorted: &mut Vec<_> = &mut identities;
    sorted.sort();
    identities
}

#[test]
fn f1_exists_of_a_missing_node_is_no_node_and_needs_read() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("f1");
    assert_eq!(client.err(&request::exists(&format!("{root}/a"), false)), code::NO_NODE);
    assert_eq!(client.err(&request::exists("no slash", false)), code::NO_NODE);
    client.ok(&request::set_acl(&root, &ids::world(perms::ALL - perms::READ), -1));
    assert_eq!(client.err(&request::exists(&root, false)), code::NO_AUTH);
}

#[test]
fn f2_get_data_of_a_missing_node_leaves_no_watch_and_needs_read() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("f2");
    let path = format!("{root}/a");
    assert_eq!(client.err(&request::get_data(&path, true)), code::NO_NODE);
    assert_eq!(client.err(&request::get_children(&path, true)), code::NO_NODE);
    client.create(&path);
    client.set(&path, "2");
    client.delete(&path);
    assert!(client.events().is_empty());
    client.ok(&request::set_acl(&root, &ids::world(perms::ALL - perms::READ), -1));
    assert_eq!(client.err(&request::get_data(&root, true)), code::NO_AUTH);
    assert_eq!(client.err(&request::get_children(&root, true)), code::NO_AUTH);
    assert_eq!(client.err(&request::get_children2(&root, true)), code::NO_AUTH);
    assert_eq!(client.err(&request::get_all_children_number(&root)), code::NO_AUTH);
    client.set(&root, "2");
    assert!(client.events().is_empty());
}

#[test]
fn f3_get_children_returns_names_and_get_children2_adds_the_stat() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("f3");
    for name in ["c", "a", "b"] {
        client.create(&format!("{root}/{name}"));
        client.create(&format!("{root}/{name}/deep"));
    }
    let names = client.ok(&request::get_children(&root, false)).names().expect("names");
    assert_eq!(names, ["a", "b", "c"]);
    let reply = client.ok(&request::get_children2(&root, false));
    let (names, stat) = reply.names_and_stat().expect("names and a Stat");
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(stat, client.stat(&root));
    let leaf = format!("{root}/a/deep");
    assert!(client.ok(&request::get_children(&leaf, false)).names().expect("names").is_empty());
    // The empty path is the root by another name.
    let names = client.ok(&request::get_children("", false)).names().expect("names");
    assert!(names.contains(&"zookeeper".to_owned()));
}

#[test]
fn f4_get_all_children_number_counts_all_descendants() {
    let (turn, address) = fresh();
    let mut client = Client::at(address);
    let mut count = |path: &str| {
        let reply = client.ok(&request::get_all_children_number(path));
        reply.int().expect("a count")
    };
    assert_eq!((count("/"), count("/zookeeper"), count("/zookeeper/quota")), (3, 2, 0));
    client.close();
    drop(turn);

    let mut client = Client::new(Kind::Plain);
    let root = client.root("f4");
    for path in ["/a", "/a/b", "/a/b/c", "/ab"] {
        client.create(&format!("{root}{path}"));
    }
    let mut count = |path: String| {
        let reply = client.ok(&request::get_all_children_number(&path));
        reply.int().expect("a count")
    };
    assert_eq!((count(root.clone()), count(format!("{root}/a"))), (4, 2));
}

#[test]
fn f5_get_ephemerals_takes_a_string_prefix_and_shows_only_own_nodes() {
    let mut client = Client::new(Kind::Plain);
    let mut other = Client::new(Kind::Plain);
    let root = client.root("f5");
    for name in ["eph1", "eph10", "x"] {
        client.create_ephemeral(&format!("{root}/{name}"));
    }
    other.create_ephemeral(&format!("{root}/eph11"));
    let mut owned =
        |prefix: Option<&str>| client.ok(&request::get_ephemerals(prefix)).names().expect("paths");
    let all = ["eph1", "eph10", "x"].map(|name| format!("{root}/{name}"));
    assert_eq!(owned(None), all);
    assert_eq!(owned(Some("")), all);
    assert_eq!(owned(Some("/")), all);
    assert_eq!(owned(Some(&format!("{root}/eph1"))), all[..2]);
    assert!(owned(Some(&format!("{root}/y"))).is_empty());
}

#[test]
fn f6_who_am_i_names_the_address_and_only_the_user_of_a_digest() {
    let mut client = Client::new(Kind::Plain);
    let pair = |scheme: &str, id: &str| (scheme.to_owned(), id.to_owned());
    assert_eq!(identities(&mut client), [pair("ip", "127.0.0.1")]);
    client.login("bob:pw");
    assert_eq!(identities(&mut client), [pair("digest", "bob"), pair("ip", "127.0.0.1")]);
}

#[test]
fn f7_sync_of_any_path_echoes_it() {
    let mut client = Client::new(Kind::Plain);
    for path in ["/", "/missing", "junk", "", "/a//b/"] {
        assert_eq!(client.ok(&request::sync(path)).path().expect("a path"), path);
    }
    let reply = client.ok(&Request::new(op::SYNC, Body::new().null()));
    let echoed = reply.decode(|reader| reader.nullable_string()).expect("a path");
    assert_eq!(echoed, None);
}

#[test]
fn f8_the_stats_of_a_fresh_tree() {
    let (_turn, address) = fresh();
    let mut client = Client::at(address);
    let root = client.stat("/");
    assert_eq!((root.cversion, root.num_children, root.version), (-1, 1, 0));
    assert_eq!((root.czxid, root.mzxid, root.pzxid, root.ctime, root.mtime), (0, 0, 0, 0, 0));
    let zookeeper = client.stat("/zookeeper");
    assert_eq!((zookeeper.cversion, zookeeper.num_children), (-2, 2));
    let names = client.ok(&request::get_children("/zookeeper", false)).names().expect("names");
    assert_eq!(names, ["config", "quota"]);
    for (path, perms) in [("/", perms::ALL), ("/zookeeper/config", perms::READ)] {
        let reply = client.ok(&request::get_acl(path));
        assert_eq!(reply.reader().acls().expect("an ACL"), ids::world(perms), "{path}");
    }
    client.close();
}

#[test]
fn f9_the_config_node_names_the_members_of_an_ensemble_and_is_empty_without_one() {
    let mut client = Client::new(Kind::Plain);
    let path = "/zookeeper/config";
    let reply = client.ok(&request::get_data(path, true));
    let (data, stat) = reply.data_and_stat().expect("data and a Stat");
    let text = String::from_utf8(data.expect("data that is not null")).expect("text");
    assert_eq!(client.stat(path), stat);
    assert_eq!((stat.aversion, stat.czxid, stat.mzxid, stat.pzxid), (-1, 0, 0, 0));
    assert_eq!((stat.ctime, stat.cversion, stat.num_children), (0, 0, 0));
    assert_eq!(stat.data_length as usize, text.len());
    if in_ensemble() {
        let lines: Vec<&str> = text.split('\n').collect();
        let roles = roles();
        assert_eq!(lines.len(), roles.len() + 1, "{text}");
        for (number, (line, role)) in (1..).zip(lines.iter().zip(roles)) {
            assert!(line.starts_with(&format!("server.{number}=127.0.0.1:")), "{text}");
            assert!(line.ends_with(&format!(":{role}")), "{text}");
        }
        assert_eq!(lines[roles.len()], "version=0");
        assert!(stat.version == -1 && stat.mtime > 0, "{stat:?}");
    } else {
        assert_eq!((text.as_str(), stat.version, stat.mtime), ("", 0, 0));
    }
    // A part of a multiRead shows the same.
    let parts = client.multi(&request::multi_read(&[request::get_data(path, false)]));
    assert_eq!(parts, [MultiResult::GetData(Some(text.into_bytes()), stat)]);
    assert_eq!(client.err(&request::set_data(path, Some(b"mine"), -1)), code::NO_AUTH);
    assert!(client.events().is_empty());
}

#[test]
fn f10_exists_with_nul_in_the_path_is_a_bad_argument_and_arms_nothing() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("f10");
    let path = format!("{root}/a\0b");
    assert_eq!(client.err(&request::exists(&path, true)), code::BAD_ARGUMENTS);
    assert_eq!(client.err(&request::remove_watches(&path, 3)), code::NO_WATCHER);
    // An ordinary missing path arms.
    let path = format!("{root}/a");
    assert_eq!(client.err(&request::exists(&path, true)), code::NO_NODE);
    client.create(&path);
    assert_eq!(client.events(), [(event::CREATED, path)]);
}
