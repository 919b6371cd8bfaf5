//! Single rules of ZooKeeper's tree.

use expect_test::{Expect, expect};

use super::super::restore::RestoreError;
use super::super::{Restorer, TreeOptions};
use super::Rig;
use crate::acl::{self, AclEntry, AclList, Perms};
use crate::snapshot::NodeImage;
use crate::txn::{CreateTxn, NodeKind, Txn};
use crate::zxid::{SessionId, Zxid};

fn check_events(rig: &Rig, expected: Expect) {
    let mut text = String::new();
    for (event, path) in rig.out.events.iter() {
        let path = String::from_utf8_lossy(path);
        let guard = if event.acl().is_some() { " guarded" } else { "" };
        let (zxid, table, kind) = (event.zxid, event.table, event.kind);
        text += &format!("{zxid} {table:?} {path} {kind:?}{guard}\n");
    }
    expected.assert_eq(&text);
}

fn names(rig: &Rig, path: &str) -> Vec<String> {
    let node = rig.writer.get(path.as_bytes()).expect("exists");
    node.children().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

fn image(path: &str) -> NodeImage<'_> {
    let (kind, [czxid, mzxid, pzxid]) = (NodeKind::Persistent, [Zxid(1); 3]);
    let (path, data) = (path.as_bytes(), Some(&b"data"[..]));
    let (ctime, mtime, version, cversion, aversion) = (1, 1, 0, 0, 0);
    let acl = acl::OPEN;
    NodeImage {
        path,
        data,
        acl,
        kind,
        czxid,
        mzxid,
        pzxid,
        ctime,
        mtime,
        version,
        cversion,
        aversion,
    }
}

#[test]
fn images_come_parents_first_and_once_and_what_is_no_tree_is_refused_and_given_back() {
    let many: Vec<String> = (0..200).map(|number| format!("/a/{number}")).collect();
    let begun = || {
        let mut restorer = Restorer::new(TreeOptions { hash_seed: 1 });
        for path in ["/", "/a"].into_iter().chain(many.iter().map(String::as_str)) {
            restorer.push(&image(path)).expect("in order");
        }
        restorer
    };
    for (path, error) in [
        ("/a/7", RestoreError::Twice),
        ("/", RestoreError::Twice),
        ("/b/1", RestoreError::Orphan),
        ("a", RestoreError::Orphan),
    ] {
        assert_eq!(begun().push(&image(path)), Err(error), "{path}");
    }
    assert!(Restorer::new(TreeOptions { hash_seed: 1 }).finish(Zxid(9)).is_err(), "no root");
    let before_its_nodes = begun().finish(Zxid::ZERO).map(|_| ());
    assert_eq!(before_its_nodes, Err(RestoreError::Later));
    // Siblings after what came between them, and children of one that came last.
    let mut restorer = begun();
    for path in ["/a/199/x", "/b", "/a/200", "/b/1", "/a/200/y"] {
        restorer.push(&image(path)).expect("its parent is there");
    }
    let (writer, tree) = restorer.finish(Zxid(9)).expect("a tree");
    let children = |path: &str| writer.get(path.as_bytes()).expect("there").stat().num_children;
    assert_eq!([children("/"), children("/a"), children("/a/199"), children("/b")], [2, 201, 1, 1]);
    // ZooKeeper counts the root twice.
    assert_eq!(tree.node_count(), 1 + 2 + 200 + 5);
    let names: Vec<String> = writer
        .get(b"/a")
        .expect("there")
        .children()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    let expected: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_fresh_tree_is_zookeepers() {
    let rig = Rig::new();
    assert_eq!(rig.tree.node_count(), 5);
    assert_eq!(rig.tree.data_bytes(), 44);
    assert_eq!(rig.tree.ephemeral_count(), 0);
    let reader = rig.tree.reader();
    let view = reader.view();
    let root = view.get(b"").expect("the root");
    assert_eq!((root.path(), root.stat().cversion, root.stat().num_children), (&b"/"[..], -1, 1));
    let zookeeper = view.get(b"/zookeeper").expect("built in");
    assert_eq!((zookeeper.stat().cversion, zookeeper.num_children()), (-2, 2));
    let config = view.get(b"/zookeeper/config").expect("built in");
    assert_eq!((config.stat().aversion, config.data()), (-1, Some(&b""[..])));
    assert_eq!(config.acl(), acl::READ_ONLY);
    assert_eq!(view.count_descendants(b"/"), Some(3));
    assert_eq!(view.count_descendants(b"/none"), None);
}

#[test]
fn stats_follow_each_change() {
    let mut rig = Rig::new();
    let created = rig.create("/a", b"one");
    let first = rig.out.stats[0];
    assert_eq!((first.czxid, first.mzxid, first.pzxid), (1, 1, 1));
    assert_eq!((first.ctime, first.mtime, first.data_length), (1001, 1001, 3));
    rig.set("/a", b"four");
    let second = rig.out.stats[0];
    assert_eq!((second.mzxid, second.mtime, second.version, second.czxid), (2, 1002, 1, 1));
    rig.create("/a/b", b"");
    rig.delete("/a/b");
    let a = rig.writer.get(b"/a").expect("exists").stat();
    assert_eq!((a.cversion, a.num_children, a.pzxid, a.mzxid), (2, 0, 4, 2));
    rig.apply(&Txn::SetAcl { path: b"/a", acl: acl::READ_ONLY, version: 1 });
    let guarded = rig.out.stats[0];
    assert_eq!(guarded, crate::wire::Stat { aversion: 1, ..a });
    assert_eq!(created, Zxid(1));
}

#[test]
fn null_data_is_not_empty_data() {
    let mut rig = Rig::new();
    rig.create_with("/null", None, NodeKind::Persistent, acl::OPEN);
    rig.create("/empty", b"");
    assert_eq!(rig.writer.get(b"/null").expect("exists").data(), None);
    assert_eq!(rig.writer.get(b"/empty").expect("exists").data(), Some(&b""[..]));
}

#[test]
fn a_spent_child_counter_moves_neither_itself_nor_pzxid() {
    let mut rig = Rig::new();
    rig.create("/a", b"");
    let create = |path, parent_cversion| {
        let (data, acl, kind) = (Some(&b""[..]), acl::OPEN, NodeKind::Persistent);
        Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion })
    };
    rig.apply(&create(b"/a/1", i32::MAX));
    rig.apply(&create(b"/a/2", i32::MAX));
    let a = rig.writer.get(b"/a").expect("exists");
    assert_eq!((a.stored_cversion(), a.pzxid(), a.num_children()), (i32::MAX, Zxid(2), 2));
    assert_eq!(a.stat().cversion, i32::MAX.wrapping_mul(2) - 2);
}

#[test]
fn events_fire_in_zookeepers_order() {
    let mut rig = Rig::new();
    rig.create("/a", b"");
    check_events(
        &rig,
        expect![[r#"
            0x1 Data /a NodeCreated
            0x1 Child / NodeChildrenChanged
        "#]],
    );
    rig.create("/a/b", b"");
    rig.set("/a/b", b"x");
    check_events(
        &rig,
        expect![[r#"
            0x3 Data /a/b NodeDataChanged
        "#]],
    );
    rig.apply(&Txn::SetAcl { path: b"/a/b", acl: acl::READ_ONLY, version: 1 });
    check_events(&rig, expect![""]);
    rig.multi(&[
        Txn::Check { path: b"/a" },
        Txn::Delete { path: b"/a/b" },
        Txn::SetData { path: b"/a", data: None, version: 1 },
    ]);
    check_events(
        &rig,
        expect![[r#"
            0x5 Data /a/b NodeDeleted
            0x5 Child /a/b NodeDeleted
            0x5 Child /a NodeChildrenChanged
            0x5 Data /a NodeDataChanged
        "#]],
    );
}

#[test]
fn events_carry_the_list_of_their_own_node() {
    let mut rig = Rig::new();
    let mut bytes = Vec::new();
    let entry = AclEntry { perms: Perms::ALL, scheme: Some(b"digest"), id: Some(b"bob:x") };
    AclList::encode([entry].into_iter(), &mut bytes);
    let list = AclList::from_bytes(&bytes).expect("a list");
    rig.create_with("/g", Some(b""), NodeKind::Persistent, list);
    check_events(
        &rig,
        expect![[r#"
            0x1 Data /g NodeCreated guarded
            0x1 Child / NodeChildrenChanged
        "#]],
    );
    assert_eq!(rig.out.events.iter().next().and_then(|(event, _)| event.acl()), Some(list));
    rig.create("/g/c", b"");
    check_events(
        &rig,
        expect![[r#"
            0x2 Data /g/c NodeCreated
            0x2 Child /g NodeChildrenChanged guarded
        "#]],
    );
}

#[test]
fn a_closed_sessions_ephemerals_go_in_order_of_creation() {
    let mut rig = Rig::new();
    let (own, other) = (NodeKind::Ephemeral(SessionId(7)), NodeKind::Ephemeral(SessionId(8)));
    rig.create_with("/z", Some(b""), own, acl::OPEN);
    rig.create_with("/b", Some(b""), other, acl::OPEN);
    rig.create_with("/a", Some(b""), own, acl::OPEN);
    assert_eq!(rig.tree.ephemeral_count(), 3);
    assert_eq!(rig.writer.ephemerals(SessionId(7)).collect::<Vec<_>>(), [b"/z", b"/a"]);
    assert_eq!(rig.out.stats[0].ephemeral_owner, 7);
    rig.apply_as(SessionId(7), &Txn::CloseSession);
    check_events(
        &rig,
        expect![[r#"
            0x4 Data /z NodeDeleted
            0x4 Child /z NodeDeleted
            0x4 Child / NodeChildrenChanged
            0x4 Data /a NodeDeleted
            0x4 Child /a NodeDeleted
            0x4 Child / NodeChildrenChanged
        "#]],
    );
    let sessions: Vec<_> = rig.writer.sessions_with_ephemerals().collect();
    assert_eq!(sessions, [(SessionId(8), 1)]);
    assert_eq!(names(&rig, "/"), ["zookeeper", "b"]);
}

#[test]
fn the_reaper_finds_childless_containers_and_ttl_nodes() {
    let mut rig = Rig::new();
    rig.create_with("/c", Some(b""), NodeKind::Container, acl::OPEN);
    rig.create_with("/t", Some(b""), NodeKind::Ttl(50), acl::OPEN);
    rig.create("/c/x", b"");
    let found = |rig: &Rig| rig.writer.reapable().map(|n| n.path().to_vec()).collect::<Vec<_>>();
    assert_eq!(found(&rig), [b"/t"]);
    rig.delete("/c/x");
    assert_eq!(found(&rig), [b"/c", b"/t"]);
    assert_eq!(rig.writer.get(b"/t").map(|node| node.kind()), Some(NodeKind::Ttl(50)));
    assert_eq!(rig.writer.get(b"/t").map(|node| node.stat().ephemeral_owner), Some(0));
    rig.delete("/c");
    rig.delete("/t");
    assert!(found(&rig).is_empty());
}

#[test]
fn a_node_that_comes_again_is_the_last_child_and_no_old_view_sees_it_twice() {
    let mut rig = Rig::new();
    for name in ["/a", "/b"] {
        rig.create(name, b"");
    }
    let before = rig.tree.reader();
    rig.delete("/a");
    let between = rig.tree.reader();
    rig.create("/a", b"again");
    rig.multi(&[Txn::Delete { path: b"/b" }]);
    rig.create("/b", b"again");
    let list = |view: super::super::View<'_>| -> Vec<Vec<u8>> {
        view.get(b"/").expect("the root").children().map(<[u8]>::to_vec).collect()
    };
    assert_eq!(list(before.view()), [&b"zookeeper"[..], b"a", b"b"]);
    assert_eq!(list(between.view()), [&b"zookeeper"[..], b"b"]);
    assert_eq!(between.view().get(b"/a").map(|node| node.czxid()), None);
    assert_eq!(list(rig.tree.reader().view()), [&b"zookeeper"[..], b"a", b"b"]);
    rig.writer.reclaim();
    assert_eq!(list(before.view()), [&b"zookeeper"[..], b"a", b"b"]);
}

const LIMITS: &str = "/zookeeper/quota/q/zookeeper_limits";
const USAGE: &str = "/zookeeper/quota/q/zookeeper_stats";

fn quota_on_q(rig: &mut Rig) {
    rig.create("/q", b"12");
    rig.create("/q/a", b"345");
    rig.create("/zookeeper/quota/q", b"");
    rig.create(LIMITS, b"count=5,bytes=20=;countHardLimit=6");
    rig.create(USAGE, b"count=0,bytes=0");
}

#[test]
fn usage_is_counted_at_creation_and_kept_without_a_trace() {
    let mut rig = Rig::new();
    quota_on_q(&mut rig);
    assert_eq!(rig.data(USAGE), "count=2,bytes=5");
    rig.create("/q/b", b"6789");
    check_events(
        &rig,
        expect![[r#"
            0x6 Data /q/b NodeCreated
            0x6 Child /q NodeChildrenChanged
        "#]],
    );
    assert_eq!(rig.data(USAGE), "count=3,bytes=9");
    rig.set("/q/b", b"6");
    rig.delete("/q/a");
    rig.create("/other", b"xxx");
    assert_eq!(rig.data(USAGE), "count=2,bytes=3");
    let node = rig.writer.get(USAGE.as_bytes()).expect("exists");
    assert_eq!((node.stat().version, node.mzxid()), (0, Zxid(5)));
    let facts = rig.writer.quota_of(b"/q/new").expect("under a quota");
    assert_eq!(facts.prefix, b"/q");
    assert_eq!(facts.limits.and_then(|limits| limits.count_hard), Some(6));
    assert_eq!(facts.usage.map(|usage| (usage.count, usage.bytes)), Some((2, 3)));
    rig.delete(LIMITS);
    assert_eq!(rig.writer.quota_of(b"/q"), None);
    rig.create("/q/c", b"");
    assert_eq!(rig.data(USAGE), "count=2,bytes=3");
}

/// Whoever may write a usage node could have a large subtree walked for each of thousands of parts of one multi.
#[test]
fn a_large_subtree_is_counted_once_and_its_sum_is_kept_up_by_every_change() {
    let mut rig = Rig::new();
    quota_on_q(&mut rig);
    for number in 0..1_000 {
        rig.create(&format!("/q/a/{number}"), b"xy");
    }
    let prefixes = [&b"/q"[..], b"/zookeeper", b"/q/a"];
    let kept = |rig: &Rig| {
        let sums = rig.writer.kept_sums(&prefixes).into_iter();
        sums.map(|(kept, counted)| kept.inspect(|kept| assert_eq!(*kept, counted)))
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(&rig), [None; 3]);
    rig.delete(USAGE);
    rig.create(USAGE, b"");
    assert!(matches!(kept(&rig)[..], [Some(_), None, None]));
    rig.create("/q/b", b"6789");
    rig.set("/q/b", b"6");
    rig.set("/q/a", b"66");
    rig.delete("/q/a/7");
    rig.create("/qq", b"not below it");
    for number in 0..1_000 {
        rig.create(&format!("/zookeeper/quota/{number}"), b"");
    }
    rig.create("/zookeeper/quota/zookeeper", b"");
    rig.create("/zookeeper/quota/zookeeper/zookeeper_stats", b"");
    rig.create("/q/c", b"changes what the usage node holds");
    assert!(matches!(kept(&rig)[..], [Some(_), Some(_), None]));
    rig.delete("/zookeeper/quota/9");
    assert!(kept(&rig)[1].is_some());
}

#[test]
fn only_the_deepest_quota_is_charged() {
    let mut rig = Rig::new();
    quota_on_q(&mut rig);
    rig.create("/zookeeper/quota/q/a", b"");
    rig.create("/zookeeper/quota/q/a/zookeeper_limits", b"count=1,bytes=1");
    rig.create("/zookeeper/quota/q/a/zookeeper_stats", b"");
    rig.create("/q/a/deep", b"x");
    assert_eq!(rig.data("/zookeeper/quota/q/a/zookeeper_stats"), "count=2,bytes=4");
    assert_eq!(rig.data(USAGE), "count=2,bytes=5");
}

#[test]
fn junk_in_quota_nodes_never_fails_and_usage_is_counted_anew() {
    let mut rig = Rig::new();
    quota_on_q(&mut rig);
    rig.set(USAGE, b"junk");
    assert_eq!(rig.writer.quota_of(b"/q").and_then(|q| q.usage).map(|u| u.count), Some(2));
    rig.create("/q/b", b"");
    assert_eq!(rig.data(USAGE), "count=3,bytes=5");
    rig.set(LIMITS, b"\xff\xfe");
    assert_eq!(rig.writer.quota_of(b"/q").map(|q| q.limits), Some(None));
    rig.create("/zookeeper/quota/zookeeper_limits", b"junk");
    rig.create("/plain", b"");
    assert_eq!(rig.writer.quota_of(b"/plain"), None);
}

#[test]
#[should_panic(expected = "exists")]
fn a_transaction_that_does_not_fit_stops_the_server() {
    Rig::new().delete("/never");
}
