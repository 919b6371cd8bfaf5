//! Random histories against readers that stand still, come late, go early and hold on to views.
//!
//! The writer notes what the whole tree looked like after each transaction. Readers note what they
//! saw and at which zxid, whatever they did in between; in the end both must agree. Built with a
//! sanitizer this also finds what is freed too early and what is read without an order.
#![allow(clippy::disallowed_methods)] // the threads are the test's; the tree has none

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{OPTIONS, Rig};
use crate::acl::{self, AclEntry, AclList, Perms};
use crate::snapshot::NodeImage;
use crate::tree::hash::hash;
use crate::tree::{Node, Reader, Tree, View};
use crate::txn::{CreateTxn, NodeKind, Txn};
use crate::wire::ErrorCode;
use crate::zxid::{SessionId, Zxid};

/// Small, fast and good enough to choose by: SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}

/// One number for everything that a view shows, in its order.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Fingerprint(u64);

impl Fingerprint {
    const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.0 = (self.0 ^ bytes.len() as u64).wrapping_mul(0x0100_0000_01b3);
    }

    fn add_node(&mut self, image: &NodeImage<'_>) {
        self.add(image.path);
        // A thousand bytes of each end tell data apart, and all of it is mapped as one block.
        let data = image.data.unwrap_or(b"null");
        self.add(&data[..data.len().min(64)]);
        self.add(&data[data.len().saturating_sub(64)..]);
        self.add(image.acl.as_bytes());
        for number in [image.czxid.0, image.mzxid.0, image.pzxid.0, image.cversion as u64] {
            self.add(&number.to_le_bytes());
        }
    }
}

fn look(view: &View<'_>, dice: &mut Dice) -> Fingerprint {
    let mut print = Fingerprint::EMPTY;
    view.walk(&mut |image| print.add_node(image));
    // The index leads to the same versions as the children do; paths that never were lead nowhere.
    for _ in 0..8 {
        let path = any_path(dice);
        let Some(node) = view.get(path.as_bytes()) else { continue };
        assert_eq!(node.children().count(), node.num_children() as usize);
        assert!(node.czxid() <= view.zxid() && node.mzxid() <= view.zxid());
        let parent = crate::path::parent(node.path()).expect("not the root");
        let parent = view.get(parent).expect("a node in a view has its parent there");
        let name = crate::path::name(node.path());
        assert_eq!(parent.children().filter(|child| *child == name).count(), 1);
    }
    assert!(view.get(b"/never").is_none());
    print
}

/// Few parents, so that they are deleted and come again; few names, so that these do too; and now
/// and then a name out of many, so that slots and children grow and are packed.
pub(super) fn any_path(dice: &mut Dice) -> String {
    let parent = dice.below(4);
    match dice.below(4) {
        0 => format!("/p{parent}"),
        1 => format!("/p{parent}/many{}", dice.below(4000)),
        _ => format!("/p{parent}/c{}", dice.below(12)),
    }
}

pub(super) struct History {
    pub(super) rig: Rig,
    pub(super) dice: Dice,
    lists: [Vec<u8>; 3],
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let lists = [b"10.0.0.1", b"10.0.0.2", b"10.0.0.3"].map(|id| {
            let mut bytes = Vec::new();
            let entry = AclEntry { perms: Perms::ALL, scheme: Some(b"ip"), id: Some(id) };
            AclList::encode([entry].into_iter(), &mut bytes);
            bytes
        });
        Self { rig: Rig::new(), dice: Dice(seed), lists }
    }

    fn print(&self) -> Fingerprint {
        let mut print = Fingerprint::EMPTY;
        let root = self.rig.writer.get(b"/").expect("the root stays");
        root.walk(&mut |node: Node<'_>| print.add_node(&node.image()));
        print
    }

    fn data(&mut self) -> Vec<u8> {
        let bytes = match self.dice.below(6) {
            0 => 1025 + self.dice.below(3000),
            1 => 0,
            _ => self.dice.below(40),
        };
        vec![self.dice.roll() as u8; bytes as usize]
    }

    fn one(&mut self) {
        let path = any_path(&mut self.dice);
        let data = self.data();
        let list = self.lists[self.dice.below(3) as usize].clone();
        let list = AclList::from_bytes(&list).expect("a list");
        let list = if self.dice.below(2) == 0 { acl::OPEN } else { list };
        let exists = self.rig.writer.get(path.as_bytes()).map(|node| node.num_children());
        let parent = crate::path::parent(path.as_bytes()).expect("not the root").to_vec();
        let kind = self.rig.writer.get(&parent).map(|node| node.image().kind);
        match (exists, self.dice.below(8)) {
            (None, _) if kind == Some(NodeKind::Persistent) => {
                let inner = path.matches('/').count() == 1;
                let owned = !inner && self.dice.below(4) == 0;
                let session = SessionId(5 + self.dice.below(3));
                let kind = if owned { NodeKind::Ephemeral(session) } else { NodeKind::Persistent };
                self.rig.create_with(&path, Some(&data), kind, list);
            }
            (None, _) => {
                self.rig.apply(&Txn::Error(ErrorCode::NoNode));
            }
            (Some(0), 0..4) => {
                self.rig.delete(&path);
            }
            (Some(_), 4) => {
                let version = 1 + self.rig.writer.get(path.as_bytes()).expect("is").stat().aversion;
                self.rig.apply(&Txn::SetAcl { path: path.as_bytes(), acl: list, version });
            }
            (Some(0), 5) => self.come_and_go(&path, &data),
            (Some(_), _) => {
                self.rig.set(&path, &data);
            }
        }
    }

    /// Two lives of a node in one transaction: versions of one zxid that replace each other.
    fn come_and_go(&mut self, path: &str, data: &[u8]) {
        let cversion = self.rig.cversion(path);
        let path = path.as_bytes();
        let (acl, kind) = (acl::OPEN, NodeKind::Persistent);
        let again = |parent_cversion, data| {
            Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion })
        };
        self.rig.multi(&[
            Txn::Delete { path },
            again(cversion, Some(data)),
            Txn::SetData { path, data: Some(b"between"), version: 1 },
            Txn::Delete { path },
            again(cversion + 1, None),
        ]);
    }

    pub(super) fn step(&mut self) {
        match self.dice.below(60) {
            0 => {
                let session = SessionId(5 + self.dice.below(3));
                self.rig.apply_as(session, &Txn::CloseSession);
            }
            1 => self.clear(),
            _ => self.one(),
        }
        if self.dice.below(5) == 0 {
            self.rig.writer.reclaim();
        }
    }

    /// Deletes a parent with all that it has, so that its next life begins with empty hands.
    fn clear(&mut self) {
        let parent = format!("/p{}", self.dice.below(4));
        let Some(node) = self.rig.writer.get(parent.as_bytes()) else { return };
        let names: Vec<Vec<u8>> = node.children().map(<[u8]>::to_vec).collect();
        for name in names {
            let name = String::from_utf8(name).expect("text");
            self.rig.delete(&format!("{parent}/{name}"));
        }
        self.rig.delete(&parent);
    }
}

/// What one reader saw, and where.
fn wander(tree: &Arc<Tree>, done: &AtomicBool, seed: u64) -> Vec<(Zxid, Fingerprint)> {
    let mut dice = Dice(seed);
    let mut seen = Vec::new();
    let mut reader: Reader = tree.reader();
    while !done.load(Ordering::Acquire) {
        match dice.below(10) {
            0 => reader = tree.reader(), // the old one leaves after the new one joined
            1 => {
                drop(reader);
                thread::yield_now();
                reader = tree.reader();
            }
            2..5 => {} // stands still
            _ => {
                let (from, to) = (reader.zxid().0, tree.applied().0);
                let to = if dice.below(2) == 0 { to } else { from + dice.below(to - from + 1) };
                reader.advance(Zxid(to));
            }
        }
        let view = reader.view();
        let print = look(&view, &mut dice);
        seen.push((view.zxid(), print));
        // Between the announced view and the newest, which the writer is ahead of meanwhile.
        let (from, to) = (reader.zxid().0, tree.applied().0);
        let ahead = reader.view_at(Zxid(from + dice.below(to - from + 1)));
        seen.push((ahead.zxid(), look(&ahead, &mut dice)));
        for _ in 0..dice.below(20) {
            thread::yield_now();
        }
        assert!(look(&view, &mut dice) == print, "a view changed under its reader, seed {seed:#x}");
    }
    seen
}

#[test]
fn views_that_stand_still_come_late_or_go_ahead_show_exactly_their_zxid() {
    let (seeds, steps) = if cfg!(miri) { (1, 60) } else { (4, 8000) };
    // A longer hunt, as under a sanitizer, begins elsewhere each time that it is told to.
    let first = std::env::var("FARWATCH_STRESS_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = first.unwrap_or(0x0bad_5eed);
    for seed in first..first + seeds {
        println!("seed {seed:#x}");
        let mut history = History::new(seed);
        let tree = Arc::clone(&history.rig.tree);
        let done = AtomicBool::new(false);
        let mut truth = vec![history.print()];
        let seen = thread::scope(|scope| {
            let wander = |id| {
                let (tree, done) = (&tree, &done);
                move || wander(tree, done, seed << 8 | id)
            };
            let readers: Vec<_> = (0..3).map(|id| scope.spawn(wander(id))).collect();
            for _ in 0..steps {
                let before = history.rig.last;
                history.step();
                // Only a whole clearing is more than one transaction: its inside is not compared.
                let inside = (history.rig.last - before).saturating_sub(1);
                truth.extend((0..inside).map(|_| Fingerprint(0)));
                if before < history.rig.last {
                    truth.push(history.print());
                }
            }
            done.store(true, Ordering::Release);
            let joined = readers.into_iter().map(|it| it.join().expect("no reader broke"));
            joined.collect::<Vec<_>>()
        });
        let mut compared = 0;
        for (zxid, print) in seen.into_iter().flatten() {
            let expected = truth[zxid.0 as usize];
            if expected != Fingerprint(0) {
                assert!(expected == print, "the view at {zxid} is another one, seed {seed:#x}");
                compared += 1;
            }
        }
        assert!(compared > 0);
        // Nobody looks any more: everything that was replaced goes, in two passes for tombstones.
        for _ in 0..100 {
            history.rig.writer.reclaim();
        }
        assert_eq!(history.rig.writer.retired(), 0);
    }
}

/// Names that the index keeps in one shard, whose slots are then replaced all the time.
fn names_of_one_shard(count: usize) -> Vec<String> {
    let in_shard = |path: &String| hash(path.as_bytes(), OPTIONS.hash_seed) >> 54 == 0;
    (0_u32..).map(|number| format!("/s/{number}")).filter(in_shard).take(count).collect()
}

/// Looks up all children again and again, so that hardly a moment passes outside a search.
fn search(tree: &Arc<Tree>, done: &AtomicBool) -> u64 {
    let mut views = 0;
    let mut reader = tree.reader();
    let mut path = Vec::new();
    while !done.load(Ordering::Acquire) {
        reader.advance(tree.applied());
        let view = reader.view();
        let parent = view.get(b"/s").expect("is never deleted");
        let mut found = 0;
        for name in parent.children() {
            path.clear();
            path.extend_from_slice(b"/s/");
            path.extend_from_slice(name);
            let node = view.get(&path).expect("a child in this view");
            assert_eq!(node.data(), Some(&path[..]));
            assert!(node.czxid() <= view.zxid());
            found += 1;
        }
        assert_eq!(found, parent.num_children(), "at {}", view.zxid());
        views += 1;
    }
    views
}

#[test]
fn searches_find_exactly_what_is_there_while_slots_are_replaced_under_them() {
    let (steps, kept) = if cfg!(miri) { (100, 10) } else { (30_000, 40) };
    // Each name comes again after so many others that its slot is long someone else's.
    let names = names_of_one_shard(10 * kept);
    let mut rig = Rig::new();
    rig.create("/s", b"");
    let done = AtomicBool::new(false);
    let tree = Arc::clone(&rig.tree);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| search(&tree, &done))).collect();
        for step in 0..steps {
            let name = &names[step % names.len()];
            rig.create(name, name.as_bytes());
            if kept <= step {
                rig.delete(&names[(step - kept) % names.len()]);
            }
            rig.writer.reclaim();
            rig.writer.reclaim();
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(0 < reader.join().expect("no search went astray"));
        }
    });
}
