//! The tree of nodes: one writer, many readers, and every reader at an exact zxid.
//!
//! ```text
//! Writer ──apply(txn)──► versions ──publish──► Tree::applied ──► Reader::advance ──► View ──► Node
//!    └────reclaim◄──────────── the oldest view of all readers ◄────────┘
//! ```
//!
//! view ≤ applied, for every reader. A read takes no lock, makes no system call, waits for nothing
//! and allocates nothing ([`View::walk`] and [`View::count_descendants`] keep a stack, as deep as
//! the tree). The writer goes ahead of the views; what it replaces stays until no view needs it.
#![deny(unsafe_code)]

pub mod events;
mod hash;
mod ledger;
pub mod node;
mod places;
pub mod quota;
mod rcu;
mod registry;
pub mod restore;
pub mod writer;

#[cfg(test)]
mod tests;

pub use events::{Applied, Event, Events};
pub use node::Node;
pub use quota::{QuotaFacts, QuotaLimits, QuotaUsage};
pub use rcu::visits::{Visit, Visits};
pub use restore::{RestoreError, Restorer};
pub use writer::Writer;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use self::ledger::Counters;
use crate::snapshot::NodeImage;
use crate::zxid::Zxid;

/// What a tree needs to know when it is made.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// Seeds the index; secret where clients are not trusted, fixed where histories are replayed.
    pub hash_seed: u64,
}

/// A fresh tree: the four nodes that every server has.
/// Source: ZooKeeper 3.9, `DataTree()`; the Stats of a standalone server.
pub fn new(options: TreeOptions) -> (Writer, Arc<Tree>) {
    let mut restorer = Restorer::new(options);
    for image in restore::BUILT_IN {
        restorer.push(&image).expect("parents come first, and nothing twice");
    }
    restorer.finish(Zxid::ZERO).expect("the root is among them")
}

/// The tree as all threads share it.
pub struct Tree {
    shared: Arc<rcu::Shared>,
    counters: Arc<Counters>,
}

impl Tree {
    /// A new reader, which begins at [`Tree::applied`]. Takes a lock, once; one for each thread.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader { slot: rcu::Slot::join(&self.shared), not_sync: PhantomData }
    }

    /// The present state, to be kept. Takes a lock, once.
    pub fn still(self: &Arc<Self>) -> Still {
        Still { point: rcu::Point::hold(&self.shared) }
    }

    /// The last transaction that is completely in the tree.
    pub fn applied(&self) -> Zxid {
        Zxid(self.shared.registry.applied())
    }

    /// Nodes, the root counted twice as ZooKeeper does: 5 in a fresh tree.
    pub fn node_count(&self) -> u64 {
        self.counters.nodes() + 1
    }

    /// The sum of the lengths of all paths and data: `approximate_data_size`.
    pub fn data_bytes(&self) -> u64 {
        self.counters.bytes()
    }

    /// Ephemeral nodes of all sessions.
    pub fn ephemeral_count(&self) -> u64 {
        self.counters.ephemerals()
    }
}

/// One state, for as long as this lives and for any number of threads. Of what is replaced meanwhile, what
/// is of this state stays in memory: at most as much as the tree took then, however often it changes.
///
/// Reads take no lock, make no system call and allocate nothing. When more than 64 are under way at one
/// moment in all stills of the tree, a further one waits until one of them ends.
pub struct Still {
    point: rcu::Point,
}

impl Still {
    /// The state.
    pub fn view(&self) -> View<'_> {
        View { pin: self.point.pin() }
    }
}

/// A thread's own access. While it lives, its view keeps old versions in memory: advance it often.
pub struct Reader {
    slot: rcu::Slot,
    not_sync: PhantomData<Cell<()>>,
}

impl Reader {
    /// The oldest view that it may look at.
    pub fn zxid(&self) -> Zxid {
        Zxid(self.slot.view())
    }

    /// Leaves what is older than `to` for good.
    ///
    /// # Panics
    /// When `to` is before [`Reader::zxid`] or behind [`Tree::applied`].
    pub fn advance(&mut self, to: Zxid) {
        self.slot.advance(to.0);
    }

    /// The tree at [`Reader::zxid`].
    pub fn view(&self) -> View<'_> {
        View { pin: self.slot.pin(self.slot.view()) }
    }

    /// The tree at `zxid`.
    ///
    /// # Panics
    /// When `zxid` is before [`Reader::zxid`] or behind [`Tree::applied`].
    pub fn view_at(&self, zxid: Zxid) -> View<'_> {
        View { pin: self.slot.pin(zxid.0) }
    }
}

/// The tree as it was right after one transaction.
#[derive(Clone, Copy)]
pub struct View<'r> {
    pin: rcu::Pin<'r>,
}

impl<'r> View<'r> {
    /// That transaction.
    pub fn zxid(&self) -> Zxid {
        Zxid(self.pin.view())
    }

    /// The node at `path`; the empty path is an alias of the root, as it is for ZooKeeper's reads.
    pub fn get(&self, path: &[u8]) -> Option<Node<'r>> {
        let path = if path.is_empty() { b"/" } else { path };
        self.pin.get(path).map(Node::new)
    }

    /// How many nodes lie below `path`, or `None` when there is no such node.
    pub fn count_descendants(&self, path: &[u8]) -> Option<u64> {
        let mut count = 0;
        self.get(path)?.walk(&mut |_| count += 1);
        Some(count - 1)
    }

    /// Visits all nodes: a parent before its children, those in the order of their creation.
    pub fn walk(&self, visit: &mut dyn FnMut(&NodeImage<'_>)) {
        let root = self.get(b"/").expect("nobody deletes the root");
        root.walk(&mut |node| visit(&node.image()));
    }
}
