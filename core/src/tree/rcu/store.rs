//! The writing half: what a transaction does to the index, the children and the queue.

use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex};

#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, Ordering};

use super::block::{Block, Detached, TOMBSTONE};
use super::remains::{Draft, Heir, Memory, Payload, Remains, Retired, version};
use super::{
    ADDRESS, AclBlock, Meta, Pin, Pointers, SHARDS, Shared, UNLINKED, VersionRef, first_slot,
    tagged,
};
use crate::acl::AclList;
use crate::path;
use crate::tree::hash::hash;
use crate::tree::places::Places;
use crate::tree::registry::Registry;
use crate::txn::NodeKind;
use crate::zxid::Zxid;

/// Slots of a shard's first array.
const SLOTS_MIN: usize = if cfg!(loom) { 2 } else { 8 };

/// Entries of a first array of children.
const CHILDREN_MIN: usize = 2;

/// A packed array is worth its copy when this many entries, and more than half, hold nothing.
const CHILDREN_FREE_MIN: u32 = 16;

/// A node's versions around a change.
#[derive(Clone, Copy)]
pub(in crate::tree) struct Replaced<'s> {
    pub(in crate::tree) before: Option<VersionRef<'s>>,
    pub(in crate::tree) after: Option<VersionRef<'s>>,
}

/// What a create or a delete did: to the node, and to its parent (`None` for the root).
pub(in crate::tree) struct Change<'s> {
    pub(in crate::tree) node: Replaced<'s>,
    pub(in crate::tree) parent: Option<Replaced<'s>>,
}

/// The one writer.
pub(in crate::tree) struct Store {
    pub(super) shared: Arc<Shared>,
    pub(super) own: Remains,
    /// Looks at who reads, so far: what is unlinked now was so before the next one.
    pub(super) looks: u64,
}

impl Store {
    pub(in crate::tree) fn new(seed: u64) -> Self {
        let shards = (0..SHARDS).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let registry = Registry::new();
        let (walks, remains) = (Places::new(), Mutex::new(None));
        let shared = Shared { seed, registry, shards, walks, remains };
        Self { shared: Arc::new(shared), own: Remains::default(), looks: 0 }
    }

    /// Gives each shard the array that it has in a tree of so many nodes.
    pub(in crate::tree) fn reserve(&mut self, nodes: u64) {
        let each = usize::try_from(nodes).unwrap_or(usize::MAX) / SHARDS;
        let capacity = (each / 3 * 4).next_power_of_two();
        if capacity <= SLOTS_MIN {
            return;
        }
        for shard in &self.shared.shards {
            assert!(shard.load(Ordering::Relaxed).is_null(), "nothing is in the index");
            shard.store(self.own.make_array(capacity, 0).as_ptr(), Ordering::Release);
        }
    }

    /// Reads the first slots where these paths are searched, one not waiting for the other.
    pub(in crate::tree) fn foresee<'p>(&self, paths: impl Iterator<Item = &'p [u8]>) {
        let first = |path| {
            let hash = self.hash(path);
            let array = NonNull::new(self.shared.shard(hash).load(Ordering::Relaxed))?;
            // SAFETY: the array of a shard is in use.
            let slots = unsafe { Pointers::entries(array) };
            Some(slots[first_slot(hash, slots.len() - 1)].load(Ordering::Relaxed).addr())
        };
        std::hint::black_box(paths.filter_map(first).fold(0, |all, one| all ^ one));
    }

    pub(in crate::tree) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The newest state. The borrow keeps the writer from changing or freeing anything.
    pub(in crate::tree) fn latest(&self) -> Pin<'_> {
        Pin { shared: &self.shared, view: u64::MAX, walks: None }
    }

    pub(in crate::tree) fn publish(&mut self, zxid: Zxid) {
        self.shared.registry.publish(zxid.0);
    }

    pub(in crate::tree) fn heap_bytes(&self) -> usize {
        self.own.heap_bytes
    }

    pub(in crate::tree) fn retired(&self) -> usize {
        self.own.queue.len() + self.own.kept.len()
    }

    /// Makes a node that does not exist. `parent_meta` derives the parent's new numbers.
    pub(in crate::tree) fn create(
        &mut self,
        zxid: Zxid,
        path: &[u8],
        meta: Meta,
        data: Option<&[u8]>,
        acl: AclList<'_>,
        parent_meta: impl FnOnce(Meta) -> Meta,
    ) -> Change<'_> {
        self.check(zxid);
        let last_life = self.find(path).map(|(_, block)| block);
        assert!(last_life.is_none_or(|block| version(block).has(TOMBSTONE)));
        let parent = path::parent(path).map(|parent| self.live(parent));
        let (children, child_index) = parent.map_or((None, 0), |parent| {
            let (children, index) = self.place_for_child(parent, zxid.0);
            (Some(children), index)
        });
        let draft = Draft {
            prev: last_life.map_or(ptr::null(), |block| block.as_ptr().cast_const()),
            zxid: zxid.0,
            meta,
            path,
            data: self.own.payload(data),
            acl: self.own.acquire_acl(acl),
            children: ptr::null(),
            child_index,
            tombstone: false,
        };
        let block = self.own.make(&draft);
        if let Some(children) = children {
            // SAFETY: in use: the parent's, or new and about to be.
            unsafe { put_child(children, child_index, block) };
        }
        match self.find(path) {
            Some((slot, tombstone)) => {
                slot.store(tagged(block, self.hash(path)), Ordering::Release);
                self.own.heirs.insert(tombstone, Heir { block, zxid: zxid.0 });
            }
            None => self.insert(block, zxid.0),
        }
        let parent = parent.map(|parent| {
            let meta = parent_meta(version(parent).meta());
            self.replace(zxid.0, parent, meta, children)
        });
        Change { node: Replaced { before: None, after: Some(version(block)) }, parent }
    }

    /// Begins to restore the children of a node that exists.
    pub(in crate::tree) fn brood(&self, parent: &[u8]) -> Option<Brood> {
        let (_, parent) = self.find(parent)?;
        let children = NonNull::new(version(parent).children_array().cast_mut());
        Some(Brood { parent, children, count: 0 })
    }

    /// Makes a child of the brood's parent, in a tree that no reader knows yet; `None` if there is one of
    /// that path. Nothing may be reclaimed before the brood has ended.
    pub(in crate::tree) fn adopt(
        &mut self,
        brood: &mut Brood,
        path: &[u8],
        meta: Meta,
        data: Option<&[u8]>,
        acl: AclList<'_>,
    ) -> Option<Replaced<'_>> {
        self.check(Zxid::ZERO);
        if self.find(path).is_some() {
            return None;
        }
        let (children, child_index) = self.place(brood.children, 0);
        let draft = Draft {
            prev: ptr::null(),
            zxid: 0,
            meta,
            path,
            data: self.own.payload(data),
            acl: self.own.acquire_acl(acl),
            children: ptr::null(),
            child_index,
            tombstone: false,
        };
        let block = self.own.make(&draft);
        // SAFETY: in use: the parent's, or new and about to be.
        unsafe { put_child(children, child_index, block) };
        (brood.children, brood.count) = (Some(children), brood.count + 1);
        self.insert(block, 0);
        Some(Replaced { before: None, after: Some(version(block)) })
    }

    /// Gives the brood's parent its children; `parent_meta` derives its numbers from how many came.
    pub(in crate::tree) fn end_brood(
        &mut self,
        brood: &Brood,
        parent_meta: impl FnOnce(Meta, u32) -> Meta,
    ) {
        if 0 < brood.count {
            let meta = parent_meta(version(brood.parent).meta(), brood.count);
            self.replace(0, brood.parent, meta, brood.children);
        }
    }

    /// Gives a node that exists new numbers, and new data or a new list where there is one.
    pub(in crate::tree) fn update(
        &mut self,
        zxid: Zxid,
        path: &[u8],
        meta: impl FnOnce(Meta) -> Meta,
        data: Option<Option<&[u8]>>,
        acl: Option<AclList<'_>>,
    ) -> Replaced<'_> {
        self.check(zxid);
        let before = self.live(path);
        let meta = meta(version(before).meta());
        let data = match data {
            Some(data) => self.own.payload(data),
            None => kept_payload(before),
        };
        let acl = match acl {
            Some(list) => self.own.acquire_acl(list),
            None => kept_acl(before),
        };
        let children = version(before).children_array();
        self.install(zxid.0, before, meta, data, acl, children)
    }

    /// Ends a childless node that exists and is not the root.
    pub(in crate::tree) fn remove(
        &mut self,
        zxid: Zxid,
        path: &[u8],
        parent_meta: impl FnOnce(Meta) -> Meta,
    ) -> Change<'_> {
        self.check(zxid);
        let before = self.live(path);
        let meta = version(before).meta();
        assert!(meta.num_children == 0);
        let parent = self.live(path::parent(path).expect("the root stays"));
        let draft = Draft {
            prev: before.as_ptr(),
            zxid: zxid.0,
            // The life's beginning tells views before it that there is nothing behind.
            meta: Meta { kind: NodeKind::Persistent, cversion: 0, pzxid: meta.czxid, ..meta },
            path,
            data: Payload::Null,
            acl: ptr::null(),
            children: ptr::null(),
            child_index: version(before).head().child_index.load(Ordering::Relaxed),
            tombstone: true,
        };
        let tombstone = self.own.make(&draft);
        if let Some(array) = NonNull::new(version(before).children_array().cast_mut()) {
            self.own.retire(zxid.0, Retired::Children(array));
        }
        self.link(before, tombstone);
        self.own.retire(zxid.0, Retired::Version { block: before, next: tombstone });
        self.own.retire(zxid.0, Retired::Tombstone(tombstone));
        let meta = parent_meta(version(parent).meta());
        let children = self.packed(parent, zxid.0);
        let parent = self.replace(zxid.0, parent, meta, children);
        Change {
            node: Replaced { before: Some(version(before)), after: None },
            parent: Some(parent),
        }
    }

    /// A change belongs to a transaction that no view sees, or to a tree that no reader knows yet.
    fn check(&self, zxid: Zxid) {
        assert!(self.shared.registry.applied() < zxid.0 || Arc::strong_count(&self.shared) == 1);
    }

    pub(super) fn hash(&self, path: &[u8]) -> u64 {
        hash(path, self.shared.seed)
    }

    /// The newest version, be it a tombstone.
    pub(super) fn find(&self, path: &[u8]) -> Option<(&AtomicPtr<Block>, NonNull<Block>)> {
        // SAFETY: the writer, which changes nothing meanwhile.
        unsafe { self.shared.find(path) }
    }

    /// The newest version of a node that exists. Callers know that it does: the leader checked, and
    /// every server applies the same history.
    pub(super) fn live(&self, path: &[u8]) -> NonNull<Block> {
        let (_, block) = self.find(path).expect("the transaction's node exists");
        assert!(!version(block).has(TOMBSTONE));
        block
    }

    /// A new version of `before` with other numbers and children.
    fn replace<'s>(
        &mut self,
        zxid: u64,
        before: NonNull<Block>,
        meta: Meta,
        children: Option<NonNull<Pointers>>,
    ) -> Replaced<'s> {
        let children = children.map_or(ptr::null(), |array| array.as_ptr().cast_const());
        self.install(zxid, before, meta, kept_payload(before), kept_acl(before), children)
    }

    fn install<'s>(
        &mut self,
        zxid: u64,
        before: NonNull<Block>,
        meta: Meta,
        data: Payload<'_>,
        acl: *const AclBlock,
        children: *const Pointers,
    ) -> Replaced<'s> {
        let draft = Draft {
            prev: before.as_ptr(),
            zxid,
            meta,
            path: version(before).path(),
            data,
            acl,
            children,
            child_index: version(before).head().child_index.load(Ordering::Relaxed),
            tombstone: false,
        };
        let after = self.own.make(&draft);
        self.link(before, after);
        self.own.retire(zxid, Retired::Version { block: before, next: after });
        Replaced { before: Some(version(before)), after: Some(version(after)) }
    }

    /// Puts `after` where `before` was: into the index and into the parent's children.
    fn link(&self, before: NonNull<Block>, after: NonNull<Block>) {
        let path = version(before).path();
        let (slot, newest) = self.find(path).expect("in the index");
        assert!(newest == before);
        slot.store(tagged(after, self.hash(path)), Ordering::Release);
        let entry = self.entry(after).expect("every node but the root is its parent's child");
        if let Some(entry) = entry {
            assert!(entry.load(Ordering::Relaxed) == before.as_ptr());
            entry.store(after.as_ptr(), Ordering::Release);
        }
    }

    /// The entry among the parent's children at the index that `block` has: `Some(None)` for the
    /// root, `None` when the parent is gone or has no such entry.
    pub(super) fn entry(&self, block: NonNull<Block>) -> Option<Option<&AtomicPtr<Block>>> {
        let Some(parent) = path::parent(version(block).path()) else { return Some(None) };
        let (_, parent) = self.find(parent)?;
        let array = NonNull::new(version(parent).children_array().cast_mut())?;
        let index = version(block).head().child_index.load(Ordering::Relaxed);
        // SAFETY: the array of a newest version is in use.
        unsafe { Pointers::entries(array) }.get(index as usize).map(Some)
    }

    /// An array with room for one more child of `parent`, and the place of that child.
    fn place_for_child(&mut self, parent: NonNull<Block>, zxid: u64) -> (NonNull<Pointers>, u32) {
        let children = self.packed(parent, zxid);
        self.place(children, zxid)
    }

    /// The same, of these children.
    fn place(
        &mut self,
        children: Option<NonNull<Pointers>>,
        zxid: u64,
    ) -> (NonNull<Pointers>, u32) {
        let Some(array) = children else {
            return (self.own.make_array(CHILDREN_MIN, zxid), 0);
        };
        // SAFETY: in use, or new.
        let head = unsafe { array.as_ref() };
        let len = head.len.load(Ordering::Relaxed);
        if len < head.capacity {
            return (array, len);
        }
        let grown = self.pack(array, zxid);
        // An array that `packed` has just made has room, so the full one is the parent's.
        self.own.retire(zxid, Retired::Children(array));
        // SAFETY: new.
        (grown, unsafe { grown.as_ref() }.len.load(Ordering::Relaxed))
    }

    /// The children of `parent`, in a new array if most entries of the old one hold nothing.
    fn packed(&mut self, parent: NonNull<Block>, zxid: u64) -> Option<NonNull<Pointers>> {
        let array = NonNull::new(version(parent).children_array().cast_mut())?;
        // SAFETY: the array of a newest version is in use.
        let head = unsafe { array.as_ref() };
        let free = head.free.load(Ordering::Relaxed);
        let held = head.len.load(Ordering::Relaxed) - free;
        if free < CHILDREN_FREE_MIN || free <= held {
            return Some(array);
        }
        let packed = (held != 0).then(|| self.pack(array, zxid));
        self.own.retire(zxid, Retired::Children(array));
        packed
    }

    /// A copy of `array` without what holds nothing, with room for half as many more.
    fn pack(&mut self, array: NonNull<Pointers>, zxid: u64) -> NonNull<Pointers> {
        // SAFETY: both arrays are in use, and so are the newest versions and tombstones in them.
        unsafe {
            let head = array.as_ref();
            let held = head.len.load(Ordering::Relaxed) - head.free.load(Ordering::Relaxed);
            let held = held as usize;
            let packed = self.own.make_array((held + held / 2 + 1).max(CHILDREN_MIN), zxid);
            let mut places = Pointers::entries(packed).iter().zip(0_u32..);
            for entry in Pointers::entries(array) {
                let child = entry.load(Ordering::Relaxed);
                let Some(block) = NonNull::new(child) else { continue };
                let (place, index) = places.next().expect("as many places as held");
                place.store(child, Ordering::Relaxed);
                version(block).head().child_index.store(index, Ordering::Relaxed);
            }
            packed.as_ref().len.store(held as u32, Ordering::Relaxed);
            packed
        }
    }

    /// Puts a path that the index does not have into it.
    fn insert(&mut self, block: NonNull<Block>, zxid: u64) {
        let hash = self.hash(version(block).path());
        let shard = self.shared.shard(hash);
        let current = NonNull::new(shard.load(Ordering::Relaxed));
        // SAFETY: the array of a shard is in use.
        let room = current.map(|array| unsafe { array.as_ref() }).is_some_and(|head| {
            let used = head.len.load(Ordering::Relaxed) as usize + 1;
            used * 4 <= head.capacity as usize * 3
        });
        let array = match current {
            Some(array) if room => array,
            Some(_) | None => {
                let grown = self.grown(current);
                self.shared.shard(hash).store(grown.as_ptr(), Ordering::Release);
                if let Some(array) = current {
                    let memory = Memory::Array(array);
                    self.own.retire(zxid, Retired::Unlinked { memory, walks: self.looks + 1 });
                }
                grown
            }
        };
        // SAFETY: in use.
        unsafe { fill(array, tagged(block, hash), hash) };
    }

    /// A copy of a shard's slots without the unlinked ones, at most half full.
    fn grown(&mut self, current: Option<NonNull<Pointers>>) -> NonNull<Pointers> {
        // SAFETY: the array of a shard is in use.
        let slots = current.map_or(&[][..], |array| unsafe { Pointers::entries(array) });
        let held = current.map_or(0, |array| {
            // SAFETY: as above.
            let head = unsafe { array.as_ref() };
            head.len.load(Ordering::Relaxed) - head.free.load(Ordering::Relaxed)
        });
        let capacity = ((held as usize + 1) * 2).next_power_of_two().max(SLOTS_MIN);
        let grown = self.own.make_array(capacity, 0);
        for slot in slots {
            let found = slot.load(Ordering::Relaxed);
            let Some(block) = NonNull::new(found.map_addr(|address| address & ADDRESS)) else {
                continue;
            };
            if block.addr().get() != UNLINKED {
                // SAFETY: new, and larger than what is held.
                unsafe { fill(grown, found, self.hash(version(block).path())) };
            }
        }
        grown
    }
}

/// Children of one parent that come one behind the other while a tree is restored: the parent has its new
/// version once, and not with each of them.
pub(in crate::tree) struct Brood {
    parent: NonNull<Block>,
    /// The parent's, with those that came.
    children: Option<NonNull<Pointers>>,
    count: u32,
}

impl Brood {
    /// Whether the node at `path` is the parent.
    pub(in crate::tree) fn is_of(&self, path: &[u8]) -> bool {
        version(self.parent).path() == path
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Readers may stay: the last of them frees everything.
        let mut remains = self.shared.remains.lock().expect("nothing panics under it");
        *remains = Some(std::mem::take(&mut self.own));
    }
}

/// The data of `before` for one more version of it.
fn kept_payload<'s>(before: NonNull<Block>) -> Payload<'s> {
    if let Some(Detached { block, .. }) = version(before).detached() {
        // SAFETY: `before` is counted, so the block is alive.
        unsafe { block.as_ref() }.refs.fetch_add(1, Ordering::Relaxed);
        return Payload::Detached(block);
    }
    version(before).data().map_or(Payload::Null, Payload::Inline)
}

/// The list of `before` for one more version of it.
fn kept_acl(before: NonNull<Block>) -> *const AclBlock {
    if let Some(block) = version(before).acl_block() {
        block.refs.fetch_add(1, Ordering::Relaxed);
    }
    version(before).acl_pointer()
}

/// Makes `block` the child at `index`, behind all others.
///
/// # Safety
/// `children` is in use, or new, and has that place.
unsafe fn put_child(children: NonNull<Pointers>, index: u32, block: NonNull<Block>) {
    // SAFETY: by the caller.
    let (head, entries) = unsafe { (children.as_ref(), Pointers::entries(children)) };
    entries[index as usize].store(block.as_ptr(), Ordering::Release);
    head.len.store(index + 1, Ordering::Release);
}

/// Puts `pointer` into the first free slot of its search.
///
/// # Safety
/// `array` is in use and has an empty slot.
unsafe fn fill(array: NonNull<Pointers>, pointer: *mut Block, hash: u64) {
    // SAFETY: by the caller.
    let (head, slots) = unsafe { (array.as_ref(), Pointers::entries(array)) };
    let mask = slots.len() - 1;
    let mut at = first_slot(hash, mask);
    loop {
        let found = slots[at].load(Ordering::Relaxed);
        if found.is_null() {
            head.len.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if found.addr() == UNLINKED {
            head.free.fetch_sub(1, Ordering::Relaxed);
            break;
        }
        at = (at + 1) & mask;
    }
    slots[at].store(pointer, Ordering::Release);
}
