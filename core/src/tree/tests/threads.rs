//! Readers on threads of their own while the writer goes on.
#![allow(clippy::disallowed_methods)] // the threads are the test's; the tree has none

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Rig;
use crate::record::push_part;
use crate::tree::{View, Visits};
use crate::txn::{MultiTxn, Txn};

const READERS: usize = 3;

fn number(view: &View<'_>, path: &[u8]) -> u64 {
    let node = view.get(path).expect("is never deleted");
    u64::from_le_bytes(node.data().expect("not null").try_into().expect("eight bytes"))
}

fn check(view: &View<'_>) {
    let (left, right) = (number(view, b"/left"), number(view, b"/right"));
    assert_eq!(left, right);
    let list = view.get(b"/list").expect("is never deleted");
    let names: Vec<&[u8]> = list.children().collect();
    assert_eq!(names.len(), list.num_children() as usize);
    for name in names {
        let path = [b"/list/", name].concat();
        let child = view.get(&path).expect("listed in this view");
        assert_eq!(child.data(), Some(name));
        assert!(child.czxid() <= view.zxid());
    }
}

/// Reads at the newest state and once more at the same view later; returns how many views it saw.
fn read_until(tree: &Arc<crate::tree::Tree>, done: &AtomicBool) -> u64 {
    let mut views = 0;
    let mut reader = tree.reader();
    while !done.load(Ordering::Acquire) {
        reader.advance(tree.applied());
        let view = reader.view();
        check(&view);
        check(&reader.view_at(tree.applied()));
        check(&view);
        views += 1;
        if views % 64 == 0 {
            reader = tree.reader();
        }
    }
    views
}

/// As [`read_until`], by visits.
fn visit_until(visits: &Visits, done: &AtomicBool) -> u64 {
    let mut count = 0;
    while !done.load(Ordering::Acquire) {
        let visit = visits.enter();
        check(&visit.view());
        // Another one on the same thread, as in a signal's handler.
        check(&visits.enter().view());
        check(&visit.view());
        count += 1;
    }
    count
}

#[test]
fn every_view_is_whole_while_the_writer_goes_on() {
    let rig = prepared();
    let tree = Arc::clone(&rig.tree);
    write_beside(rig, |done| read_until(&tree, done));
}

#[test]
fn every_visit_sees_a_whole_state_while_the_writer_goes_on() {
    let rig = prepared();
    let visits = Visits::new(&rig.tree);
    let mut rig = write_beside(rig, |done| visit_until(&visits, done));
    // Nobody looks any more: nothing is kept. A tombstone goes with the second look; what a visitor held up
    // that was not given the processor goes in parts.
    for _ in 0..100 {
        rig.writer.reclaim();
    }
    assert_eq!(rig.writer.retired(), 0);
}

#[test]
fn a_visit_keeps_what_it_found_until_it_ends() {
    let mut rig = prepared();
    let visits = Visits::new(&rig.tree);
    let visit = visits.enter();
    let found = visit.view().get(b"/left").expect("is there");
    rig.set("/left", &7_u64.to_le_bytes());
    rig.delete("/right");
    rig.writer.reclaim();
    assert_eq!(found.data(), Some(&0_u64.to_le_bytes()[..]));
    assert!(visit.view().get(b"/right").is_some());
    assert!(visits.enter().view().get(b"/right").is_none());
    assert!(0 < rig.writer.retired());
    drop(visit);
    rig.writer.reclaim();
    rig.writer.reclaim();
    assert_eq!(rig.writer.retired(), 0);
}

#[test]
fn visitors_see_the_tree_that_was_shown_last_and_the_old_one_goes() {
    let rig = prepared();
    let visits = Visits::new(&rig.tree);
    assert!(visits.enter().view().get(b"/left").is_some());
    let old = Arc::downgrade(&rig.tree.shared);
    drop(rig);
    assert!(old.upgrade().is_some());
    let mut next = Rig::new(); // behind the old one
    next.create("/other", b"");
    visits.show(&next.tree);
    assert!(old.upgrade().is_none());
    let visit = visits.enter();
    assert!(visit.view().get(b"/left").is_none() && visit.view().get(b"/other").is_some());
}

/// The nodes that [`check`] looks at.
fn prepared() -> Rig {
    let mut rig = Rig::new();
    let zero = 0_u64.to_le_bytes();
    for path in ["/left", "/right"] {
        rig.create(path, &zero);
    }
    rig.create("/list", b"");
    rig
}

fn write_beside(mut rig: Rig, read: impl Fn(&AtomicBool) -> u64 + Sync) -> Rig {
    let (rounds, keep) = if cfg!(miri) { (60, 5) } else { (20_000, 40) };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(&done))).collect();
        for round in 1..=rounds {
            let data = u64::to_le_bytes(round);
            let mut parts = Vec::new();
            for path in [&b"/left"[..], b"/right"] {
                let txn = Txn::SetData { path, data: Some(&data), version: round as i32 };
                push_part(&txn, &mut parts);
            }
            rig.apply(&Txn::Multi(MultiTxn { parts: &parts }));
            // A window of names goes round, so that names come again while views remember them.
            let name = format!("{:03}", round % (keep * 2));
            rig.create(&format!("/list/{name}"), name.as_bytes());
            if round > keep {
                rig.delete(&format!("/list/{:03}", (round - keep) % (keep * 2)));
            }
            if round % 8 == 0 {
                rig.writer.reclaim();
            }
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().expect("no invariant broke") > 0);
        }
    });
    rig
}
