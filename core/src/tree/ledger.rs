//! Sums over all nodes, kept while they change: the digest and the counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::{hash, mix};
use super::rcu::store::{Change, Replaced};
use super::rcu::{Meta, VersionRef};
use crate::txn::NodeKind;

/// Sums that any thread may look at.
#[derive(Default)]
pub(super) struct Counters {
    nodes: AtomicU64,
    bytes: AtomicU64,
    ephemerals: AtomicU64,
}

impl Counters {
    pub(super) fn nodes(&self) -> u64 {
        self.nodes.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn ephemerals(&self) -> u64 {
        self.ephemerals.load(Ordering::Relaxed)
    }
}

/// The writer's sums.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) counters: Arc<Counters>,
    digest: u64,
}

impl Ledger {
    /// A sum over all nodes of what a snapshot holds of them. Equal trees have equal digests on every
    /// platform; it is stored in snapshots.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn note(&mut self, change: &Change<'_>) {
        self.note_replaced(&change.node);
        if let Some(parent) = &change.parent {
            // Only the part that a change of the children touches: a parent's data may be large.
            self.digest = self
                .digest
                .wrapping_sub(parent.before.map_or(0, children_digest))
                .wrapping_add(parent.after.map_or(0, children_digest));
        }
    }

    pub(super) fn note_replaced(&mut self, node: &Replaced<'_>) {
        if let Some(before) = node.before {
            self.digest = self.digest.wrapping_sub(node_digest(before));
            self.count(before, u64::wrapping_sub);
        }
        if let Some(after) = node.after {
            self.digest = self.digest.wrapping_add(node_digest(after));
            self.count(after, u64::wrapping_add);
        }
    }

    fn count(&self, version: VersionRef<'_>, step: fn(u64, u64) -> u64) {
        // One writer: a load and a store, and no read-modify-write on a shared line.
        let add = |counter: &AtomicU64, by: u64| {
            counter.store(step(counter.load(Ordering::Relaxed), by), Ordering::Relaxed);
        };
        add(&self.counters.nodes, 1);
        add(&self.counters.bytes, (version.path().len() + version.data_bytes()) as u64);
        match version.kind() {
            NodeKind::Ephemeral(_) => add(&self.counters.ephemerals, 1),
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => {}
        }
    }
}

const OWN_SEED: u64 = 0x6e6f_6465;
const CHILDREN_SEED: u64 = 0x6b69_6473;

/// All of a node: what it is itself, and its children's doings.
fn node_digest(version: VersionRef<'_>) -> u64 {
    let meta = version.meta();
    own_digest(version, &meta).wrapping_add(doings_digest(version, &meta))
}

fn own_digest(version: VersionRef<'_>, meta: &Meta) -> u64 {
    let (kind, owner) = match meta.kind {
        NodeKind::Persistent => (0, 0),
        NodeKind::Ephemeral(session) => (1, session.0),
        NodeKind::Container => (2, 0),
        NodeKind::Ttl(ms) => (3, ms as u64),
    };
    let versions = u64::from(meta.version as u32) << 32 | u64::from(meta.aversion as u32);
    let nullness = u64::from(version.data().is_none());
    let numbers = [
        meta.czxid.0,
        meta.mzxid.0,
        meta.ctime as u64,
        meta.mtime as u64,
        versions,
        owner,
        kind << 1 | nullness,
        hash(version.path(), OWN_SEED),
        hash(version.data().unwrap_or_default(), OWN_SEED),
        hash(version.acl().as_bytes(), OWN_SEED),
    ];
    fold(OWN_SEED, &numbers)
}

fn children_digest(version: VersionRef<'_>) -> u64 {
    doings_digest(version, &version.meta())
}

fn doings_digest(version: VersionRef<'_>, meta: &Meta) -> u64 {
    let path = hash(version.path(), CHILDREN_SEED);
    fold(CHILDREN_SEED, &[path, meta.pzxid.0, u64::from(meta.cversion as u32)])
}

fn fold(seed: u64, numbers: &[u64]) -> u64 {
    let key = hash(&[], seed);
    numbers.iter().fold(key, |state, number| mix(state ^ number, key | 1).wrapping_add(state))
}
