//! G: watches.

use farwatch_bench::raw::{Body, Event, Request, ids, op, request};

use super::event::{CHANGED, CHILDREN, CREATED, DELETED};
use super::{Client, Kind, code, perms};

/// A mode of addWatch.
const PERSISTENT: i32 = 0;
const RECURSIVE: i32 = 1;

fn on(path: &str, kinds: &[i32]) -> Vec<(i32, String)> {
    kinds.iter().map(|kind| (*kind, path.to_owned())).collect()
}

#[test]
fn g1_an_exists_watch_on_a_missing_node_fires_once_when_it_is_created() {
    let mut client = Client::new(Kind::Plain);
    let path = client.root("g1") + "/a";
    assert_eq!(client.err(&request::exists(&path, true)), code::NO_NODE);
    client.create(&path);
    client.set(&path, "2");
    client.delete(&path);
    client.create(&path);
    assert_eq!(client.events(), on(&path, &[CREATED]));
}

#[test]
fn g2_a_get_data_watch_fires_once() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g2");
    client.ok(&request::get_data(&root, true));
    client.set(&root, "2");
    assert_eq!(client.events(), on(&root, &[CHANGED]));
    client.set(&root, "3");
    assert!(client.events().is_empty());
    // It also fires on deletion, and an exists watch on a change.
    let path = format!("{root}/a");
    client.create(&path);
    client.ok(&request::get_data(&path, true));
    client.delete(&path);
    client.ok(&request::exists(&root, true));
    client.set(&root, "3");
    assert_eq!(client.events(), [on(&path, &[DELETED]), on(&root, &[CHANGED])].concat());
}

#[test]
fn g3_a_deleted_node_with_data_and_child_watches_sends_one_event_and_one_for_its_parent() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g3");
    let path = format!("{root}/a");
    client.create(&path);
    client.ok(&request::get_data(&path, true));
    client.ok(&request::get_children(&path, true));
    client.ok(&request::get_children(&root, true));
    client.delete(&path);
    assert_eq!(client.events(), [on(&path, &[DELETED]), on(&root, &[CHILDREN])].concat());
    // The child watch was used up by the deletion.
    client.create(&path);
    client.create(&format!("{path}/b"));
    assert!(client.events().is_empty());

    // A child watch alone is told of the deletion as well.
    client.delete(&format!("{path}/b"));
    client.ok(&request::get_children2(&path, true));
    client.delete(&path);
    assert_eq!(client.events(), on(&path, &[DELETED]));
}

#[test]
fn g4_exists_and_get_data_watches_on_one_path_send_one_event() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g4");
    client.ok(&request::exists(&root, true));
    client.ok(&request::get_data(&root, true));
    client.ok(&request::get_data(&root, true));
    client.set(&root, "2");
    client.set(&root, "3");
    assert_eq!(client.events(), on(&root, &[CHANGED]));
}

#[test]
fn g5_a_child_watch_fires_on_creates_and_deletes_of_children_and_not_on_their_data() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g5");
    let path = format!("{root}/a");
    client.ok(&request::get_children(&root, true));
    client.create(&path);
    assert_eq!(client.events(), on(&root, &[CHILDREN]));
    client.ok(&request::get_children(&root, true));
    client.set(&path, "2");
    client.set(&root, "2");
    client.create(&format!("{path}/deep"));
    client.delete(&format!("{path}/deep"));
    assert!(client.events().is_empty());
    client.delete(&path);
    assert_eq!(client.events(), on(&root, &[CHILDREN]));
}

#[test]
fn g6_a_persistent_watch_sees_everything_of_its_node_and_stays() {
    let mut client = Client::new(Kind::Plain);
    let path = client.root("g6") + "/a";
    let child = format!("{path}/b");
    client.ok(&request::add_watch(&path, PERSISTENT));
    for _ in 0..2 {
        client.create(&path);
        client.set(&path, "2");
        client.set(&path, "3");
        client.create(&child);
        client.set(&child, "2");
        client.delete(&child);
        client.delete(&path);
        let expected = [CREATED, CHANGED, CHANGED, CHILDREN, CHILDREN, DELETED];
        assert_eq!(client.events(), on(&path, &expected));
    }
}

#[test]
fn g7_a_recursive_watch_sees_nodes_below_it_and_no_children_events() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g7");
    let (path, child) = (format!("{root}/a"), format!("{root}/a/b"));
    client.ok(&request::add_watch(&path, RECURSIVE));
    for _ in 0..2 {
        client.create(&path);
        client.create(&child);
        client.set(&child, "2");
        client.set(&path, "2");
        client.create(&format!("{root}/ab"));
        client.delete(&format!("{root}/ab"));
        client.delete(&child);
        client.delete(&path);
        let expected = [
            (CREATED, path.clone()),
            (CREATED, child.clone()),
            (CHANGED, child.clone()),
            (CHANGED, path.clone()),
            (DELETED, child.clone()),
            (DELETED, path.clone()),
        ];
        assert_eq!(client.events(), expected);
    }
}

#[test]
fn g8_a_recursive_and_a_standard_child_watch_on_one_path_both_fire() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g8");
    let path = format!("{root}/a");
    client.ok(&request::add_watch(&root, RECURSIVE));
    client.ok(&request::get_children(&root, true));
    client.create(&path);
    client.delete(&path);
    let expected = [on(&path, &[CREATED]), on(&root, &[CHILDREN]), on(&path, &[DELETED])];
    assert_eq!(client.events(), expected.concat());
}

#[test]
fn g9_add_watch_is_answered_with_the_int_0_and_mode_2_is_a_marshalling_error() {
    let mut client = Client::new(Kind::Plain);
    for (path, mode) in [("/", PERSISTENT), ("/missing", RECURSIVE), ("no slash", PERSISTENT)] {
        assert_eq!(client.ok(&request::add_watch(path, mode)).int().expect("an int"), 0);
    }
    for mode in [2, -1] {
        let request = request::add_watch("/g9", mode);
        assert_eq!(client.err(&request), code::MARSHALLING_ERROR);
    }
}

#[test]
fn g10_remove_watches_of_the_persistent_type_works_once_and_sends_no_event() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g10");
    for (mode, kind) in [(PERSISTENT, 4), (RECURSIVE, 5)] {
        client.ok(&request::add_watch(&root, mode));
        assert_eq!(client.err(&request::remove_watches(&root, 9 - kind)), code::NO_WATCHER);
        let reply = client.ok(&request::remove_watches(&root, kind));
        assert!(reply.body.is_empty());
        assert_eq!(client.err(&request::remove_watches(&root, kind)), code::NO_WATCHER);
        client.set(&root, "2");
        assert!(client.events().is_empty());
    }
    for kind in [6, 0, -1] {
        let request = request::remove_watches(&root, kind);
        assert_eq!(client.err(&request), code::MARSHALLING_ERROR);
    }
}

#[test]
fn g11_remove_watches_of_any_type_removes_all_and_check_watches_changes_nothing() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g11");
    let arm = |client: &mut Client| {
        client.ok(&request::get_data(&root, true));
        client.ok(&request::get_children(&root, true));
        client.ok(&request::add_watch(&root, PERSISTENT));
        client.ok(&request::add_watch(&root, RECURSIVE));
    };
    arm(&mut client);
    for kind in 1..=5 {
        client.ok(&request::check_watches(&root, kind));
    }
    client.ok(&request::remove_watches(&root, 3));
    for kind in 1..=5 {
        assert_eq!(client.err(&request::check_watches(&root, kind)), code::NO_WATCHER);
    }
    client.set(&root, "2");
    assert!(client.events().is_empty());

    client.ok(&request::get_data(&root, true));
    assert_eq!(client.err(&request::remove_watches(&root, 1)), code::NO_WATCHER);
    assert_eq!(client.err(&request::check_watches(&root, 1)), code::NO_WATCHER);
    client.ok(&request::check_watches(&root, 2));
    client.set(&root, "3");
    assert_eq!(client.events(), on(&root, &[CHANGED]));

    // Another path, or another connection, has nothing to do with it.
    arm(&mut client);
    let mut other = Client::new(Kind::Plain);
    assert_eq!(other.err(&request::remove_watches(&root, 3)), code::NO_WATCHER);
    assert_eq!(client.err(&request::remove_watches("/", 3)), code::NO_WATCHER);
}

#[test]
fn g12_a_notification_carries_the_causing_zxid_and_the_state_connected() {
    let mut watcher = Client::new(Kind::Plain);
    let mut writer = Client::new(Kind::Plain);
    let root = writer.root("g12");
    watcher.ok(&request::get_data(&root, true));
    watcher.ok(&request::get_children(&root, true));
    let mut causes = vec![(CHANGED, writer.set(&root, "2").mzxid)];
    causes.push((CHILDREN, writer.create(&format!("{root}/a")).czxid));
    for (kind, zxid) in causes {
        let frame = watcher.receive().expect("a frame");
        assert_eq!((frame.xid, frame.err, frame.zxid), (-1, 0, zxid));
        let event = Event::parse(&frame).expect("an event");
        assert_eq!((event.kind, event.state, event.path.as_str()), (kind, 3, root.as_str()));
    }
}

#[test]
fn g13_without_read_the_event_is_withheld_and_the_watch_is_used_up() {
    let mut watcher = Client::new(Kind::Plain);
    let mut owner = Client::new(Kind::Plain);
    let root = owner.root("g13");
    owner.login("bob:pw");
    let bob = ids::acl(perms::ALL, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=");
    let readable = [bob.clone(), ids::acl(perms::READ, "world", "anyone")];
    owner.ok(&request::set_acl(&root, &readable, -1));
    watcher.ok(&request::get_data(&root, true));
    owner.ok(&request::set_acl(&root, &[bob], -1));
    owner.set(&root, "2");
    assert!(watcher.events().is_empty());
    owner.ok(&request::set_acl(&root, &readable, -1));
    owner.set(&root, "3");
    assert!(watcher.events().is_empty());
    // A watch armed since then fires.
    watcher.ok(&request::get_data(&root, true));
    owner.set(&root, "4");
    assert_eq!(watcher.events(), on(&root, &[CHANGED]));
}

#[test]
fn g14_set_watches_catches_up_with_events_before_its_reply_or_arms() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g14");
    let path = |name: &str| format!("{root}/{name}");
    for name in ["old", "changed", "parent", "quiet"] {
        client.create(&path(name));
    }
    let seen = client.ok(&request::ping()).zxid;
    client.set(&path("changed"), "2");
    client.create(&path("parent/child"));
    client.create(&path("present"));
    let data = [path("gone"), path("changed"), path("old")];
    let exist = [path("present"), path("absent")];
    let child = [path("gone2"), path("parent"), path("quiet")];
    let lists = [&data[..], &exist[..], &child[..]]
        .map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
    let set_watches = request::set_watches(seen, &lists[0], &lists[1], &lists[2]);
    client.send(50, &set_watches).expect("a write");
    let expected = [
        (DELETED, path("gone")),
        (CHANGED, path("changed")),
        (CREATED, path("present")),
        (DELETED, path("gone2")),
        (CHILDREN, path("parent")),
    ];
    for expected in expected {
        let frame = client.receive().expect("a frame");
        assert_eq!((frame.xid, frame.zxid), (-1, -1));
        let event = Event::parse(&frame).expect("an event");
        assert_eq!((event.kind, event.path), expected);
    }
    let reply = client.receive().expect("a reply");
    assert_eq!((reply.xid, reply.err, reply.body.len()), (50, 0, 0));

    // What was told is not armed; what was quiet is.
    client.set(&path("changed"), "3");
    client.set(&path("present"), "2");
    client.create(&path("parent/child2"));
    client.create(&path("gone"));
    assert!(client.events().is_empty());
    client.set(&path("old"), "2");
    client.create(&path("absent"));
    client.create(&path("quiet/child"));
    let expected = [(CHANGED, path("old")), (CREATED, path("absent")), (CHILDREN, path("quiet"))];
    assert_eq!(client.events(), expected);
}

#[test]
fn g15_set_watches2_arms_persistent_watches_without_catching_up() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g15");
    let (persistent, recursive) = (format!("{root}/p"), format!("{root}/r"));
    for path in [&persistent, &recursive] {
        client.create(path);
        client.set(path, "2");
    }
    let lists = [&[][..], &[], &[], &[persistent.as_str()], &[recursive.as_str()]];
    let reply = client.ok(&request::set_watches2(1, lists));
    assert!(reply.body.is_empty());
    assert!(client.events().is_empty());
    for path in [&persistent, &recursive] {
        client.create(&format!("{path}/a"));
        client.set(path, "3");
    }
    let expected = [
        (CHILDREN, persistent.clone()),
        (CHANGED, persistent),
        (CREATED, format!("{recursive}/a")),
        (CHANGED, recursive),
    ];
    assert_eq!(client.events(), expected);
}

#[test]
fn g16_a_null_list_in_set_watches_is_a_marshalling_error() {
    let mut client = Client::new(Kind::Plain);
    let none: [&str; 0] = [];
    let bodies = [
        Body::new().long(0).null().strings(&none).strings(&none),
        Body::new().long(0).strings(&none).null().strings(&none),
        Body::new().long(0).strings(&none).strings(&none).null(),
    ];
    for body in bodies {
        let request = Request::new(op::SET_WATCHES, body);
        assert_eq!(client.err(&request), code::MARSHALLING_ERROR);
    }
    client.ok(&request::ping());
}

#[test]
fn g17_a_resumed_session_has_no_watches() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("g17");
    client.ok(&request::get_data(&root, true));
    client.ok(&request::add_watch(&root, PERSISTENT));
    let mut resumed = client.resumed();
    resumed.set(&root, "2");
    assert!(resumed.events().is_empty());
    assert_eq!(resumed.err(&request::check_watches(&root, 3)), code::NO_WATCHER);
}

#[test]
fn g18_a_multi_fires_in_the_order_of_its_parts_with_one_zxid() {
    let mut once = Client::new(Kind::Plain);
    let mut always = Client::new(Kind::Plain);
    let path = once.root("g18") + "/a";
    assert_eq!(once.err(&request::exists(&path, true)), code::NO_NODE);
    always.ok(&request::add_watch(&path, PERSISTENT));
    let parts = [
        request::create(&path, None, &ids::open(), 0),
        request::set_data(&path, Some(b"2"), 0),
        request::delete(&path, 1),
    ];
    let zxid = once.ok(&request::multi(&parts)).zxid;
    for kind in [CREATED, CHANGED, DELETED] {
        let event = always.next_event().expect("an event");
        assert_eq!((event.zxid, event.kind, event.path.as_str()), (zxid, kind, path.as_str()));
    }
    assert!(always.events().is_empty());
    assert_eq!(once.events(), on(&path, &[CREATED]));
}

#[test]
fn g19_a_closed_session_takes_its_ephemerals_in_one_zxid() {
    let mut watcher = Client::new(Kind::Plain);
    let mut owner = Client::new(Kind::Plain);
    let root = watcher.root("g19");
    for name in ["x", "y"] {
        let parent = format!("{root}/{name}");
        watcher.create(&parent);
        let path = format!("{parent}/e");
        owner.create_ephemeral(&path);
        watcher.ok(&request::exists(&path, true));
        watcher.ok(&request::get_children(&parent, true));
    }
    let zxid = owner.ok(&request::close_session()).zxid;
    let events: Vec<Event> = (0..4).map(|_| watcher.next_event().expect("an event")).collect();
    assert!(events.iter().all(|event| event.zxid == zxid), "{zxid:x}: {events:?}");
    // The order of the nodes is free, the order of each node's pair is not.
    for pair in events.chunks(2) {
        assert_eq!((pair[0].kind, pair[1].kind), (DELETED, CHILDREN), "{events:?}");
        assert_eq!(pair[0].path, format!("{}/e", pair[1].path), "{events:?}");
    }
    assert_ne!(events[0].path, events[2].path);
    let stat = watcher.stat(&format!("{root}/x"));
    assert_eq!((stat.pzxid, stat.num_children, stat.cversion), (zxid, 0, 2));
}

#[test]
fn g20_a_null_path_has_no_watch_of_an_empty_one() {
    let mut client = Client::new(Kind::Plain);
    client.ok(&request::get_data("/", true));
    client.ok(&request::add_watch("", PERSISTENT));
    let null = |op| Request::new(op, Body::new().null().int(3));
    assert_eq!(client.err(&null(op::CHECK_WATCHES)), code::NO_WATCHER);
    assert_eq!(client.err(&null(op::REMOVE_WATCHES)), code::NO_WATCHER);
    client.ok(&request::remove_watches("", 3));
}
