//! What views that are held cost, and that each of them shows its moment whatever goes on behind it.
#![allow(clippy::disallowed_methods)] // the threads are the test's; the tree has none

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::stress::{Dice, History};
use super::{Rig, settle};
use crate::acl;
use crate::snapshot::NodeImage;
use crate::tree::{Still, View};
use crate::txn::{NodeKind, Txn};
use crate::zxid::{SessionId, Zxid};

/// Twice for what is taken out of its chain, and once for what that held up.
fn look_thrice(rig: &mut Rig) {
    for _ in 0..3 {
        rig.writer.reclaim();
    }
}

fn data<'v>(view: &View<'v>, path: &str) -> Option<&'v [u8]> {
    view.get(path.as_bytes()).map(|node| node.data().expect("it has some"))
}

fn names(view: &View<'_>, path: &str) -> Vec<String> {
    let node = view.get(path.as_bytes()).expect("it has children");
    node.children().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

#[test]
fn a_held_view_keeps_one_version_of_a_node_that_is_set_for_ever() {
    let mut rig = Rig::new();
    rig.create("/a", &[]);
    rig.set("/a", &[0; 2000]); // a node that was never set takes less
    settle(&mut rig);
    let start = rig.writer.heap_bytes();
    let still = rig.tree.still();
    rig.set("/a", &[1; 2000]);
    look_thrice(&mut rig);
    let one_more = rig.writer.heap_bytes();
    assert!(start + 2000 < one_more && one_more < start + 2300);
    for round in 0..if cfg!(miri) { 20 } else { 1000_u32 } {
        rig.set("/a", &[round as u8; 2000]);
        rig.writer.reclaim();
        // The one that is kept, and what the next look frees.
        assert!(rig.writer.retired() <= 2, "{} in round {round}", rig.writer.retired());
        assert_eq!(data(&still.view(), "/a"), Some(&[0; 2000][..]));
    }
    look_thrice(&mut rig);
    assert_eq!((rig.writer.retired(), rig.writer.heap_bytes()), (1, one_more));
    drop(still);
    rig.writer.reclaim();
    assert_eq!((rig.writer.retired(), rig.writer.heap_bytes()), (0, start));
}

#[test]
fn each_of_several_views_keeps_its_own_version_and_a_dropped_one_frees_it() {
    let mut rig = Rig::new();
    rig.create("/a", b"0");
    let mut stills = Vec::new();
    for number in 1..=40_u32 {
        rig.set("/a", number.to_string().as_bytes());
        if number % 10 == 0 {
            stills.push((number.to_string(), rig.tree.still()));
            stills.push((number.to_string(), rig.tree.still()));
        }
        rig.writer.reclaim();
    }
    rig.set("/a", b"newest");
    look_thrice(&mut rig);
    assert_eq!(rig.writer.retired(), 4);
    // In the middle, the oldest, the newest, the last; two held the same view.
    for (at, left) in [(2, 4), (2, 3), (0, 3), (0, 2), (2, 2), (2, 1), (0, 1), (0, 0)] {
        drop(stills.remove(at));
        look_thrice(&mut rig);
        assert_eq!(rig.writer.retired(), left);
        for (expected, still) in &stills {
            assert_eq!(data(&still.view(), "/a"), Some(expected.as_bytes()));
        }
        assert_eq!(rig.data("/a"), "newest");
    }
}

#[test]
fn a_node_that_comes_and_goes_costs_a_held_view_one_version_and_a_tombstone() {
    let mut rig = Rig::new();
    rig.create("/p", b"");
    rig.create("/p/a", b"first");
    rig.create("/p/b", b"");
    settle(&mut rig);
    let still = rig.tree.still();
    let mut absent = None;
    let rounds = if cfg!(miri) { 20 } else { 500_u32 };
    for round in 0..rounds {
        rig.delete("/p/a");
        if round == rounds / 2 {
            absent = Some(rig.tree.still());
        }
        rig.create("/p/a", b"again");
        rig.set("/p/a", b"and again");
        rig.writer.reclaim();
        assert_eq!(data(&still.view(), "/p/a"), Some(&b"first"[..]));
        assert_eq!(names(&still.view(), "/p"), ["a", "b"]);
        if let Some(absent) = &absent {
            assert_eq!(data(&absent.view(), "/p/a"), None);
            assert_eq!(names(&absent.view(), "/p"), ["b"]);
        }
        assert!(rig.writer.retired() < 30, "{} in round {round}", rig.writer.retired());
    }
    look_thrice(&mut rig);
    // "/p/a" of the one, its tombstone, and "/p" of both, with the array of at least one of them.
    assert!(rig.writer.retired() <= 6, "{}", rig.writer.retired());
    rig.delete("/p/a");
    look_thrice(&mut rig);
    assert!(rig.writer.get(b"/p/a").is_none()); // the older tombstone is in the index again, or still
    drop(absent);
    look_thrice(&mut rig);
    assert_eq!(data(&still.view(), "/p/a"), Some(&b"first"[..]));
    rig.create("/p/a", b"once more");
    assert_eq!(names(&still.view(), "/p"), ["a", "b"]);
    assert_eq!(data(&still.view(), "/p/a"), Some(&b"first"[..]));
    drop(still);
    settle(&mut rig);
    assert_eq!(rig.data("/p/a"), "once more");
}

#[test]
fn a_held_view_lists_its_children_while_arrays_and_slots_are_replaced() {
    let mut rig = Rig::new();
    rig.create("/p", b"");
    for number in 0..20 {
        rig.create(&format!("/p/{number}"), b"0");
    }
    settle(&mut rig);
    let still = rig.tree.still();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let mut most = 0;
    for round in 0..if cfg!(miri) { 8 } else { 300 } {
        for number in 0..20 {
            rig.create(&format!("/p/{round}-{number}"), b"");
        }
        rig.set(&format!("/p/{}", 5 + round % 15), round.to_string().as_bytes());
        for number in 0..20 {
            rig.delete(&format!("/p/{round}-{number}"));
        }
        if round % 60 == 59 {
            rig.delete(&format!("/p/{}", round / 60));
        }
        look_thrice(&mut rig);
        let view = still.view();
        assert_eq!(names(&view, "/p"), expected);
        assert!(expected.iter().all(|name| data(&view, &format!("/p/{name}")) == Some(b"0")));
        assert!(view.get(format!("/p/{round}-0").as_bytes()).is_none());
        most = most.max(rig.writer.retired());
    }
    // Twenty children, five of them with tombstones, "/p" and its array.
    assert!(most <= 20 + 5 + 2 + 1, "{most}");
    drop(still);
    settle(&mut rig);
}

#[test]
fn a_parent_that_was_deleted_with_all_it_had_is_still_listed() {
    let mut rig = Rig::new();
    rig.create("/p", b"old");
    for name in ["a", "b", "c"] {
        let path = format!("/p/{name}");
        rig.create_with(&path, Some(b"1"), NodeKind::Ephemeral(SessionId(3)), acl::OPEN);
    }
    rig.set("/p/b", b"2");
    settle(&mut rig);
    let still = rig.tree.still();
    for round in 0..if cfg!(miri) { 6 } else { 50 } {
        rig.apply_as(SessionId(3), &Txn::CloseSession);
        rig.delete("/p");
        look_thrice(&mut rig);
        rig.create("/p", b"new");
        rig.create_with("/p/b", Some(b"3"), NodeKind::Ephemeral(SessionId(3)), acl::OPEN);
        if round % 2 == 0 {
            look_thrice(&mut rig);
        }
        let view = still.view();
        assert_eq!(names(&view, "/p"), ["a", "b", "c"]);
        assert_eq!((data(&view, "/p/b"), data(&view, "/p")), (Some(&b"2"[..]), Some(&b"old"[..])));
        assert_eq!(view.count_descendants(b"/p"), Some(3));
    }
    look_thrice(&mut rig);
    // Four nodes, each with a tombstone; the root; the arrays of it and of "/p".
    assert!(rig.writer.retired() <= 11, "{}", rig.writer.retired());
    drop(still);
    settle(&mut rig);
}

#[test]
fn what_a_held_view_keeps_goes_in_parts_when_it_is_dropped() {
    let mut rig = Rig::new();
    let nodes = if cfg!(miri) { 20 } else { 30_000 };
    rig.create("/p", b"");
    for number in 0..nodes {
        rig.create(&format!("/p/{number}"), b"0");
        rig.set(&format!("/p/{number}"), b"1"); // a node that was never set takes less
        rig.writer.reclaim();
    }
    settle(&mut rig);
    let start = rig.writer.heap_bytes();
    let still = rig.tree.still();
    for number in 0..nodes {
        rig.set(&format!("/p/{number}"), b"2");
        rig.writer.reclaim();
    }
    look_thrice(&mut rig);
    assert_eq!(rig.writer.retired(), nodes);
    drop(still);
    rig.writer.reclaim();
    assert!(cfg!(miri) || 0 < rig.writer.retired()); // a bounded pause
    settle(&mut rig);
    assert_eq!(rig.writer.heap_bytes(), start);
}

#[test]
fn a_held_view_outlives_the_writer_and_a_reader_that_stands_still_beside_it() {
    let mut rig = Rig::new();
    rig.create("/a", b"0");
    let (still, reader) = (rig.tree.still(), rig.tree.reader());
    rig.set("/a", b"1");
    let later = rig.tree.still();
    rig.set("/a", b"2");
    look_thrice(&mut rig);
    assert_eq!(reader.view_at(Zxid(rig.last)).get(b"/a").and_then(|it| it.data()), Some(&b"2"[..]));
    drop(reader);
    rig.delete("/a");
    look_thrice(&mut rig);
    drop(rig);
    assert_eq!(data(&still.view(), "/a"), Some(&b"0"[..]));
    drop(still);
    assert_eq!(data(&later.view(), "/a"), Some(&b"1"[..]));
}

/// All of a tree, as the model keeps it.
type Copy = BTreeMap<Vec<u8>, Vec<u8>>;

fn described(image: &NodeImage<'_>) -> Vec<u8> {
    let image = NodeImage { path: b"", ..*image };
    format!("{image:?}").into_bytes()
}

/// Reads a view whole, by its lists and by its index, and holds it against the copy of its moment.
fn compare(view: &View<'_>, copy: &Copy, dice: &mut Dice) {
    let mut seen = 0;
    view.walk(&mut |image| {
        assert_eq!(copy.get(image.path), Some(&described(image)), "at {}", view.zxid());
        assert_eq!(view.get(image.path).expect("it is listed").image(), *image);
        seen += 1;
    });
    let missing = || copy.keys().find(|path| view.get(path).is_none());
    assert_eq!(seen, copy.len(), "at {}, {:?} is missing", view.zxid(), missing());
    for _ in 0..16 {
        let path = super::stress::any_path(dice);
        let found = view.get(path.as_bytes()).map(|node| described(&node.image()));
        assert_eq!(found.as_ref(), copy.get(path.as_bytes()), "{path} at {}", view.zxid());
    }
}

/// The views that are held at a moment, each with the model's copy of its state.
type Shelf = Mutex<Vec<(Arc<Still>, Arc<Copy>)>>;

fn read_until(shelf: &Shelf, done: &AtomicBool, read: &AtomicUsize, seed: u64) {
    let mut dice = Dice(seed);
    while !done.load(Ordering::Acquire) {
        let taken = {
            let shelf = shelf.lock().expect("no reader broke");
            shelf.get(dice.below(8) as usize).cloned()
        };
        let Some((still, copy)) = taken else {
            thread::yield_now();
            continue;
        };
        compare(&still.view(), &copy, &mut dice);
        read.fetch_add(1, Ordering::Relaxed);
    }
}

fn copy_of(history: &History) -> Arc<Copy> {
    let mut copy = Copy::new();
    let reader = history.rig.tree.reader();
    reader.view().walk(&mut |image| {
        copy.insert(image.path.to_vec(), described(image));
    });
    Arc::new(copy)
}

/// The copy is taken by a reader, at the moment at which the view is taken: no walk of a held view is in it.
fn turn_shelf(history: &mut History, shelf: &Shelf) {
    let dice = &mut history.dice;
    let mut held = shelf.lock().expect("no reader broke");
    if held.len() < 8 && dice.below(2) == 0 {
        drop(held);
        let entry = (Arc::new(history.rig.tree.still()), copy_of(history));
        shelf.lock().expect("no reader broke").push(entry);
    } else if !held.is_empty() {
        let at = dice.below(held.len() as u64) as usize;
        let dropped = held.swap_remove(at);
        drop(held);
        compare(&dropped.0.view(), &dropped.1, dice);
    }
}

#[test]
fn every_held_view_shows_its_moment_whole_to_any_thread() {
    let (seeds, steps) = if cfg!(miri) { (1, 40) } else { (6, 6000) };
    let first = std::env::var("FARWATCH_STRESS_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = first.unwrap_or(0x57111);
    for seed in first..first + seeds {
        println!("seed {seed}");
        let mut history = History::new(seed);
        let (shelf, done, read) = (Shelf::default(), AtomicBool::new(false), AtomicUsize::new(0));
        let mut most = 0;
        thread::scope(|scope| {
            let reader = |id| {
                let (shelf, done, read) = (&shelf, &done, &read);
                move || read_until(shelf, done, read, seed << 8 | id)
            };
            let readers: Vec<_> = (0..2).map(|id| scope.spawn(reader(id))).collect();
            for _ in 0..steps {
                history.step();
                if history.dice.below(12) == 0 {
                    turn_shelf(&mut history, &shelf);
                }
                most = most.max(history.rig.writer.retired());
            }
            while read.load(Ordering::Relaxed) == 0 {
                turn_shelf(&mut history, &shelf);
                thread::yield_now();
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                reader.join().unwrap_or_else(|_| panic!("a reader broke, seed {seed}"));
            }
        });
        println!("{} views read beside the writer, at most {most} kept", read.into_inner());
        for _ in 0..100 {
            history.rig.writer.reclaim();
        }
        let held = shelf.into_inner().expect("no reader broke");
        // Of each node a version, a tombstone, an array of children, and a tombstone in that.
        let most: usize = held.iter().map(|(_, copy)| 4 * copy.len()).sum();
        assert!(history.rig.writer.retired() <= most, "seed {seed}");
        for (still, copy) in held {
            compare(&still.view(), &copy, &mut history.dice);
        }
        settle(&mut history.rig);
    }
}
