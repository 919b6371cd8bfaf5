//! Every order of a visit, or of reads of a view that is held, and what the one writer does to the index, the
//! versions and the children meanwhile. All that is found must be alive, see [`super::life`].

use std::sync::Arc;

use loom::thread;

use crate::acl;
use crate::snapshot::NodeImage;
use crate::tree::restore::BUILT_IN;
use crate::tree::{Applied, Restorer, Tree, TreeOptions, View, Visits, Writer};
use crate::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use crate::zxid::{SessionId, Zxid};

/// Where the tree begins.
const FIRST: u64 = 1;

/// The writer, and the door for visitors.
struct Rig {
    writer: Writer,
    tree: Arc<Tree>,
    visits: Arc<Visits>,
    last: u64,
}

impl Rig {
    /// The root and these below it.
    fn new(paths: &[&[u8]]) -> Self {
        let mut restorer = Restorer::new(TreeOptions { hash_seed: 1 });
        restorer.push(&BUILT_IN[0]).expect("it is the first");
        for path in paths {
            let image = NodeImage { path, data: Some(b"1"), ..BUILT_IN[0] };
            restorer.push(&image).expect("below the root, and once");
        }
        let (writer, tree) = restorer.finish(Zxid(FIRST)).expect("the root is there");
        let visits = Arc::new(Visits::new(&tree));
        // The writer's look, from which visitors have their floor.
        tree.shared.registry.horizon();
        Self { writer, tree, visits, last: FIRST }
    }

    /// As a batch of one: the writer looks for what it may free behind it.
    fn apply(&mut self, txn: &Txn<'_>) {
        self.apply_alone(txn);
        self.writer.reclaim();
    }

    fn apply_alone(&mut self, txn: &Txn<'_>) {
        self.last += 1;
        let head = TxnHead { zxid: Zxid(self.last), time_ms: 0, session: SessionId(1), cxid: 0 };
        self.writer.apply(&head, txn, &mut Applied::default());
    }

    fn create(&mut self, path: &[u8]) {
        self.apply(&new_node(path, self.last as i32));
    }

    fn set(&mut self, path: &[u8], data: &[u8]) {
        self.apply(&Txn::SetData { path, data: Some(data), version: self.last as i32 });
    }

    fn delete(&mut self, path: &[u8]) {
        self.apply(&Txn::Delete { path });
    }
}

fn new_node(path: &[u8], parent_cversion: i32) -> Txn<'_> {
    let (data, kind) = (Some(&b"1"[..]), NodeKind::Persistent);
    Txn::Create(CreateTxn { path, data, acl: acl::OPEN, kind, parent_cversion })
}

/// Tries `write` with a thread beside it that visits twice and does `read`.
fn check(paths: &'static [&'static [u8]], read: fn(View<'_>), write: fn(&mut Rig)) {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(move || {
        let mut rig = Rig::new(paths);
        let visits = Arc::clone(&rig.visits);
        let visitor = thread::spawn(move || {
            read(visits.enter().view());
            read(visits.enter().view());
        });
        write(&mut rig);
        visitor.join().expect("it found what is of its view");
    });
}

#[test]
fn a_visit_finds_what_is_alive_and_of_its_zxid() {
    let read = |view: View<'_>| {
        let expected: Option<&[u8]> = match view.zxid().0 {
            FIRST => Some(b"1"),
            2 => Some(b"2"),
            _deleted => None,
        };
        assert_eq!(view.get(b"/a").map(|node| node.data().expect("it has some")), expected);
    };
    check(&[b"/a"], read, |rig| {
        rig.set(b"/a", b"2");
        rig.delete(b"/a");
        // The tombstone is unlinked behind the delete, and freed behind this.
        rig.set(b"/", b"3");
    });
}

#[test]
fn a_node_that_comes_again_is_another_one() {
    let read = |view: View<'_>| {
        let expected = match view.zxid().0 {
            FIRST => Some(0),
            2 => None,
            _again => Some(3),
        };
        assert_eq!(view.get(b"/a").map(|node| node.stat().czxid), expected);
        // Each life has an entry of its own.
        let root = view.get(b"/").expect("nobody deletes the root");
        assert_eq!(root.children().count(), usize::from(expected.is_some()));
    };
    check(&[b"/a"], read, |rig| {
        rig.delete(b"/a");
        rig.create(b"/a");
    });
}

/// The first array of children has room for two, and that of slots for one.
#[test]
fn a_list_of_children_is_whole_while_its_arrays_are_replaced() {
    let read = |view: View<'_>| {
        let root = view.get(b"/").expect("nobody deletes the root");
        let children = root.children().collect::<Vec<_>>();
        let all: [&[u8]; 3] = [b"/a", b"/b", b"/c"];
        let count = if view.zxid().0 == 2 { 3 } else { 2 };
        assert!(children.iter().zip(all).all(|(child, path)| path.ends_with(child)));
        assert_eq!(children.len(), count);
        assert_eq!(root.stat().num_children as usize, count);
        assert_eq!(view.get(b"/c").is_some(), count == 3);
    };
    check(&[b"/a", b"/b"], read, |rig| {
        rig.create(b"/c");
        rig.delete(b"/c");
    });
}

/// Tries `write` with a thread beside it that does `read` so often in a view that is held from before it, and
/// lets it go. Nothing is kept in the end.
fn check_held(
    paths: &'static [&'static [u8]],
    reads: usize,
    read: fn(View<'_>),
    write: fn(&mut Rig),
) {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.preemption_bound = Some(2); // one finds no walk whose end is not waited for; three take too long
    model.check(move || {
        let mut rig = Rig::new(paths);
        let still = rig.tree.still();
        let holder = thread::spawn(move || {
            for _ in 0..reads {
                read(still.view());
            }
        });
        write(&mut rig);
        holder.join().expect("it found what is of its view");
        for _ in 0..3 {
            rig.writer.reclaim();
        }
        assert_eq!(rig.writer.retired(), 0);
    });
}

#[test]
fn a_held_view_is_whole_while_what_it_passes_is_taken_out_and_freed() {
    let read = |view: View<'_>| {
        assert_eq!(view.get(b"/a").and_then(|node| node.data()), Some(&b"1"[..]));
    };
    check_held(&[b"/a"], 2, read, |rig| {
        for data in [b"2", b"3", b"4", b"5"] {
            rig.set(b"/a", data);
        }
    });
}

#[test]
fn a_held_view_lists_a_node_that_goes_and_comes_again() {
    let read = |view: View<'_>| {
        assert_eq!(view.get(b"/a").and_then(|node| node.data()), Some(&b"1"[..]));
        let root = view.get(b"/").expect("nobody deletes the root");
        assert_eq!(root.children().collect::<Vec<_>>(), [b"a"]);
    };
    check_held(&[b"/a"], 1, read, |rig| {
        rig.delete(b"/a");
        rig.create(b"/a");
        rig.delete(b"/a");
    });
}

/// The first array of children has room for two.
#[test]
fn a_held_view_lists_its_children_from_an_array_that_was_replaced() {
    let read = |view: View<'_>| {
        let root = view.get(b"/").expect("nobody deletes the root");
        assert_eq!(root.children().collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(view.get(b"/c").is_none());
    };
    check_held(&[b"/a", b"/b"], 1, read, |rig| {
        rig.set(b"/a", b"2");
        // The old array has the version that is passed.
        rig.create(b"/c");
        rig.set(b"/a", b"3");
        rig.writer.reclaim();
    });
}

/// The array that was replaced still has what was deleted before the view was held.
#[test]
fn a_held_view_passes_a_deleted_node_in_an_array_that_waits_for_a_reader() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.preemption_bound = Some(2); // as above
    model.check(|| {
        let mut rig = Rig::new(&[b"/a", b"/b"]);
        rig.apply_alone(&Txn::Delete { path: b"/a" });
        let (still, reader) = (rig.tree.still(), rig.tree.reader());
        rig.apply_alone(&new_node(b"/c", 5));
        let holder = thread::spawn(move || {
            let root = still.view().get(b"/").expect("nobody deletes the root");
            assert_eq!(root.children().collect::<Vec<_>>(), [b"b"]);
        });
        rig.writer.reclaim();
        rig.writer.reclaim();
        drop(reader);
        rig.writer.reclaim();
        rig.writer.reclaim();
        holder.join().expect("it found what is of its view");
        for _ in 0..4 {
            rig.writer.reclaim();
        }
        assert_eq!(rig.writer.retired(), 0);
    });
}
