//! What the tree costs, and that it gives back.

use std::sync::Arc;

use super::{OPTIONS, Rig, settle};
use crate::acl::{self, AclEntry, AclList, Perms};
use crate::tree::{Restorer, Tree, Writer};
use crate::txn::{NodeKind, Txn};
use crate::zxid::{SessionId, Zxid};

fn churn(rig: &mut Rig, nodes: usize) {
    let mut bytes = Vec::new();
    let entry = AclEntry { perms: Perms::ALL, scheme: Some(b"ip"), id: Some(b"10.0.0.1") };
    AclList::encode([entry].into_iter(), &mut bytes);
    let list = AclList::from_bytes(&bytes).expect("a list");
    for number in 0..nodes {
        let path = format!("/churn/{number}");
        let kind = NodeKind::Ephemeral(SessionId(3));
        let size = if number % 3 == 0 { 2000 } else { 10 };
        rig.create_with(&path, Some(&vec![1; size]), kind, list);
        rig.set(&path, &[2; 1500]);
    }
    rig.apply_as(SessionId(3), &Txn::CloseSession);
}

#[test]
fn memory_returns_to_where_it_was() {
    let mut rig = Rig::new();
    rig.create("/churn", &[0; 5000]);
    let nodes = if cfg!(miri) { 40 } else { 2000 };
    churn(&mut rig, nodes);
    settle(&mut rig);
    rig.create("/churn/last", b"");
    rig.delete("/churn/last");
    settle(&mut rig);
    let before = rig.writer.heap_bytes();
    for _ in 0..3 {
        churn(&mut rig, nodes);
        settle(&mut rig);
        rig.create("/churn/last", b"");
        rig.delete("/churn/last");
        settle(&mut rig);
    }
    // The index keeps its arrays; nothing else may stay.
    let after = rig.writer.heap_bytes();
    assert!(after <= before + 1024 * 128, "{before} became {after}");
    drop(rig.writer);
    assert_eq!(rig.tree.node_count(), 6);
}

#[test]
fn a_reader_keeps_what_it_sees_and_only_that() {
    let mut rig = Rig::new();
    rig.create("/a", &[0; 2000]);
    // A node that was set holds more numbers than one that never was.
    rig.set("/a", &[0; 2000]);
    settle(&mut rig);
    let mut reader = rig.tree.reader();
    let start = rig.writer.heap_bytes();
    for number in 0..100_u8 {
        rig.set("/a", &[number; 2000]);
        rig.writer.reclaim();
    }
    assert_eq!(rig.writer.retired(), 100);
    assert_eq!(reader.view().get(b"/a").and_then(|node| node.data()), Some(&[0; 2000][..]));
    reader.advance(Zxid(rig.last));
    rig.writer.reclaim();
    assert_eq!(rig.writer.retired(), 0);
    assert_eq!(rig.writer.heap_bytes(), start);
}

#[test]
fn a_tombstone_that_was_unlinked_stays_for_readers_of_that_moment() {
    let mut rig = Rig::new();
    rig.create("/a", b"");
    let mut reader = rig.tree.reader();
    rig.delete("/a");
    reader.advance(Zxid(rig.last));
    // A reader at this very view may have found the tombstone right before it was unlinked.
    for _ in 0..3 {
        rig.writer.reclaim();
        assert_eq!(rig.writer.retired(), 1);
    }
    rig.create("/b", b"");
    rig.writer.reclaim();
    assert!(1 <= rig.writer.retired());
    reader.advance(Zxid(rig.last));
    rig.writer.reclaim();
    assert_eq!(rig.writer.retired(), 0);
}

#[test]
fn readers_may_outlive_the_writer() {
    let mut rig = Rig::new();
    rig.create("/a", b"data");
    let reader = rig.tree.reader();
    rig.delete("/a");
    rig.create("/a", b"other");
    drop(rig);
    assert_eq!(reader.view().get(b"/a").and_then(|node| node.data()), Some(&b"data"[..]));
}

#[test]
fn a_parents_large_data_is_not_copied_for_a_child() {
    let mut rig = Rig::new();
    rig.create("/big", &vec![1; 100_000]);
    let reader = rig.tree.reader();
    let before = rig.writer.heap_bytes();
    for number in 0..100 {
        rig.create(&format!("/big/{number}"), b"");
    }
    assert!(rig.writer.heap_bytes() < before + 100_000);
    drop(reader);
}

/// What a node of a path of 22 bytes and data of 100 takes, its places in the index and among its parent's
/// children included; when it was made, when its data was set, and when the tree was restored with it.
#[test]
fn a_node_that_was_never_set_holds_the_numbers_of_its_making_only() {
    let mut rig = Rig::new();
    let nodes = if cfg!(miri) { 100 } else { 20_000 };
    let parents = 10;
    let path = |node: usize| format!("/app/{:04}/node-{node:07}", node % parents);
    rig.create("/app", b"");
    for parent in 0..parents {
        rig.create(&format!("/app/{parent:04}"), b"");
    }
    settle(&mut rig);
    let before = rig.writer.heap_bytes();
    let each = |rig: &Rig| (rig.writer.heap_bytes() - before) / nodes;
    for node in 0..nodes {
        rig.create(&path(node), &[7; 100]);
        rig.writer.reclaim();
    }
    settle(&mut rig);
    let made = each(&rig);
    let (restored, _tree) = restored(&rig);
    let again = restored.heap_bytes().abs_diff(rig.writer.heap_bytes());
    for node in 0..nodes {
        rig.set(&path(node), &[8; 100]);
        rig.writer.reclaim();
    }
    settle(&mut rig);
    let set = each(&rig);
    println!("{made} bytes when it was made, {set} when it was set");
    assert!(cfg!(miri) || made <= 122 + 32 + 40, "{made}");
    assert!(set == made + 32, "{made} became {set}"); // what replaced what, and when
    assert!(again < 64 * nodes / 10, "restored, {again} bytes more or less");
}

/// The same tree anew, as from a snapshot.
fn restored(rig: &Rig) -> (Writer, Arc<Tree>) {
    let mut restorer = Restorer::new(OPTIONS);
    let reader = rig.tree.reader();
    reader.view().walk(&mut |image| restorer.push(image).expect("parents come first"));
    restorer.finish(Zxid(rig.last)).expect("the root is there")
}

#[test]
fn a_create_under_many_siblings_costs_no_more_memory_moves() {
    let mut rig = Rig::new();
    rig.create_with("/p", Some(b""), NodeKind::Persistent, acl::OPEN);
    let siblings = if cfg!(miri) { 200 } else { 30_000 };
    let mut arrays = 0;
    for number in 0..siblings {
        rig.create(&format!("/p/{number}"), b"");
        // Replaced: two versions at most, and now and then an array.
        arrays += rig.writer.retired().saturating_sub(1);
        rig.writer.reclaim();
    }
    let p = rig.writer.get(b"/p").expect("exists");
    assert_eq!(p.children().count(), siblings);
    assert!(arrays < siblings / 3 + 100, "{arrays} arrays replaced");
}
