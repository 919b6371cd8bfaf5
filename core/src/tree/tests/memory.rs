//! What the tree costs, and that it gives back.

use super::Rig;
use crate::acl::{self, AclEntry, AclList, Perms};
use crate::txn::{NodeKind, Txn};
use crate::zxid::{SessionId, Zxid};

fn settle(rig: &mut Rig) {
    // A tombstone is unlinked by one call and freed by a later one.
    for _ in 0..100 {
        rig.writer.reclaim();
    }
    assert_eq!(rig.writer.retired(), 0);
}

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

#[test]
fn a_node_of_122_bytes_takes_less_than_260() {
    let mut rig = Rig::new();
    let nodes = if cfg!(miri) { 100 } else { 20_000 };
    rig.create("/app", b"");
    let parents = 10;
    for parent in 0..parents {
        rig.create(&format!("/app/{parent:04}"), b"");
    }
    settle(&mut rig);
    let before = rig.writer.heap_bytes();
    for node in 0..nodes {
        rig.create(&format!("/app/{:04}/node-{node:07}", node % parents), &[7; 100]);
        rig.writer.reclaim();
    }
    settle(&mut rig);
    let each = (rig.writer.heap_bytes() - before) / nodes;
    println!("{each} bytes for a path of 22 and data of 100, index and parent's entry included");
    assert!(each <= 260, "{each}");
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
