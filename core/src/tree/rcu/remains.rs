//! Making blocks and freeing them, and the queue between the two.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::collections::{BTreeMap, VecDeque};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::block::{
    BORN, BRANCH, Block, Branch, CHANGED, Changed, DETACHED, Detached, HAS_DATA, KIND_SHIFT, LATER,
    Later, OWNER, Offsets, RIGHTS, Rights, TOMBSTONE,
};
use super::kept::Kept;
use super::{AclBlock, AtomicPtr, DataBlock, Life, Meta, Pointers, VersionRef, give_back};
use crate::acl::{self, AclList, Perms};
use crate::txn::NodeKind;

/// Data above this many bytes has its own block: a node that gets a child is copied, and must not
/// drag its data along.
const DATA_INLINE_BYTES_MAX: usize = 1024;

/// A block that views before a certain one may still see.
pub(super) enum Retired {
    /// Replaced by `next`.
    Version { block: NonNull<Block>, next: NonNull<Block> },
    /// To be unlinked once no view needs what is behind it.
    Tombstone(NonNull<Block>),
    /// The children of a parent that has other ones, or none.
    Children(NonNull<Pointers>),
    /// A tombstone that nobody who begins to look finds, except from views before its tag, and in arrays of
    /// children that are ahead of it in the queue.
    Unlisted(NonNull<Block>),
    /// Found by nobody who begins to look, except from views before its tag; and free once every walk that
    /// began before the writer's look `walks` is over.
    Unlinked { memory: Memory, walks: u64 },
}

/// What can be freed.
#[derive(Clone, Copy)]
pub(super) enum Memory {
    Version(NonNull<Block>),
    /// Slots or children.
    Array(NonNull<Pointers>),
}

/// The version that begins the next life of a node, and its transaction.
#[derive(Clone, Copy)]
pub(super) struct Heir {
    pub(super) block: NonNull<Block>,
    pub(super) zxid: u64,
}

/// The queue and the lists: all blocks that are not in the index belong to it.
#[derive(Default)]
pub(super) struct Remains {
    /// Tags never decrease from front to back.
    pub(super) queue: VecDeque<(u64, Retired)>,
    /// What was in the queue and is of a view that is held.
    pub(super) kept: Kept,
    /// Of the tombstones that have one, what replaced them in their chain.
    pub(super) heirs: BTreeMap<NonNull<Block>, Heir>,
    acls: BTreeMap<Arc<[u8]>, NonNull<AclBlock>>,
    /// Bytes of all blocks that are not freed.
    pub(super) heap_bytes: usize,
}

// SAFETY: the pointers in the queue, in what is kept and in the lists are owned, the heirs' are looked at by
// the writer alone, and the blocks are plain memory.
unsafe impl Send for Remains {}

/// A version to make.
pub(super) struct Draft<'a> {
    pub(super) prev: *const Block,
    pub(super) zxid: u64,
    pub(super) meta: Meta,
    pub(super) path: &'a [u8],
    pub(super) data: Payload<'a>,
    pub(super) acl: *const AclBlock,
    pub(super) children: *const Pointers,
    pub(super) child_index: u32,
    pub(super) tombstone: bool,
}

/// Data of a version; what is shared is counted already.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    Null,
    Inline(&'a [u8]),
    Detached(NonNull<DataBlock>),
}

impl Draft<'_> {
    fn flags(&self) -> u16 {
        let meta = &self.meta;
        let (kind, owner) = match meta.kind {
            NodeKind::Persistent => (0, 0),
            NodeKind::Ephemeral(_) => (1, OWNER),
            NodeKind::Container => (2, 0),
            NodeKind::Ttl(_) => (3, OWNER),
        };
        let data = match self.data {
            Payload::Null => 0,
            Payload::Inline(_) => HAS_DATA,
            Payload::Detached(_) => HAS_DATA | DETACHED,
        };
        let had_children = !self.children.is_null()
            || meta.num_children != 0
            || meta.cversion != 0
            || meta.pzxid != meta.czxid;
        let branch = if had_children { BRANCH } else { 0 };
        let was_set = meta.mzxid != meta.czxid || meta.mtime != meta.ctime;
        let changed = if was_set { CHANGED } else { 0 };
        let rights = if self.acl.is_null() && meta.aversion == 0 { 0 } else { RIGHTS };
        let tombstone = if self.tombstone { TOMBSTONE } else { 0 };
        let parts = owner | data | branch | changed | rights | self.made();
        Offsets::complete(kind << KIND_SHIFT | parts | tombstone)
    }

    /// How the version tells which transaction made it.
    fn made(&self) -> u16 {
        match self.zxid {
            _ if !self.prev.is_null() => LATER,
            0 => 0,
            zxid if zxid == self.meta.czxid.0 => BORN,
            _ => LATER,
        }
    }

    /// Makes the block; nobody knows it yet.
    fn make(&self) -> NonNull<Block> {
        let flags = self.flags();
        let offsets = Offsets::of(flags);
        let inline: &[u8] = match self.data {
            Payload::Null | Payload::Detached(_) => &[],
            Payload::Inline(bytes) => bytes,
        };
        let meta = &self.meta;
        let head = Block {
            czxid: meta.czxid.0,
            ctime: meta.ctime,
            version: meta.version,
            child_index: AtomicU32::new(self.child_index),
            path_bytes: u32::try_from(self.path.len()).expect("a path fits a frame"),
            data_bytes: u16::try_from(inline.len()).expect("more is detached"),
            flags,
            life: Life::new(),
        };
        let layout = block_layout(offsets.path() + self.path.len() + inline.len());
        // SAFETY: the layout has room for all parts at their offsets, each aligned to 8 except the
        // bytes at the end; the memory is new, so nothing overlaps and nobody else looks.
        unsafe {
            let Some(block) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
            block.cast::<Block>().write(head);
            self.write_parts(block, flags);
            let path = block.add(offsets.path());
            ptr::copy_nonoverlapping(self.path.as_ptr(), path.as_ptr(), self.path.len());
            let data = path.add(self.path.len());
            ptr::copy_nonoverlapping(inline.as_ptr(), data.as_ptr(), inline.len());
            block.cast()
        }
    }

    /// Writes what is between the head and the path.
    ///
    /// # Safety
    /// `block` is new and has room for all parts that `flags` name; nobody else looks.
    unsafe fn write_parts(&self, block: NonNull<u8>, flags: u16) {
        let (meta, offsets) = (&self.meta, Offsets::of(flags));
        // SAFETY: by the caller; each part has its place, which is aligned to 8 as all parts are.
        unsafe {
            if flags & LATER != 0 {
                let prev = AtomicPtr::new(self.prev.cast_mut());
                let later = Later { prev, zxid: self.zxid };
                block.add(size_of::<Block>()).cast::<Later>().write(later);
            }
            if flags & CHANGED != 0 {
                let changed = Changed { mzxid: meta.mzxid.0, mtime: meta.mtime };
                block.add(offsets.changed()).cast::<Changed>().write(changed);
            }
            match meta.kind {
                NodeKind::Persistent | NodeKind::Container => {}
                NodeKind::Ephemeral(session) => {
                    block.add(offsets.owner()).cast::<u64>().write(session.0);
                }
                NodeKind::Ttl(ms) => block.add(offsets.owner()).cast::<i64>().write(ms),
            }
            if flags & RIGHTS != 0 {
                let rights = Rights { acl: self.acl, aversion: meta.aversion };
                block.add(offsets.rights()).cast::<Rights>().write(rights);
            }
            if flags & BRANCH != 0 {
                block.add(offsets.branch()).cast::<Branch>().write(Branch {
                    pzxid: meta.pzxid.0,
                    children: self.children,
                    cversion: meta.cversion,
                    num_children: meta.num_children,
                });
            }
            if let Payload::Detached(data) = self.data {
                let bytes = u32::try_from(data.as_ref().bytes.len()).expect("data fits a frame");
                let detached = Detached { block: data, bytes };
                block.add(offsets.detached()).cast::<Detached>().write(detached);
            }
        }
    }
}

fn block_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, align_of::<Block>()).expect("a node fits two frames")
}

fn acl_block_bytes(list: &[u8]) -> usize {
    size_of::<AclBlock>() + 2 * size_of::<usize>() + list.len()
}

impl Remains {
    pub(super) fn acls_left(&self) -> usize {
        self.acls.len()
    }

    /// The shared block of `list`, counted once more; null for the list that most nodes have.
    pub(super) fn acquire_acl(&mut self, list: AclList<'_>) -> *const AclBlock {
        if list == acl::OPEN {
            return ptr::null();
        }
        if let Some(block) = self.acls.get(list.as_bytes()) {
            // SAFETY: in the map, so counted and alive.
            unsafe { block.as_ref() }.refs.fetch_add(1, Ordering::Relaxed);
            return block.as_ptr();
        }
        let anyone = |entry: acl::AclEntry<'_>| {
            entry.scheme == Some(b"world")
                && entry.id == Some(b"anyone")
                && entry.perms.allows(Perms::READ)
        };
        let bytes: Arc<[u8]> = Arc::from(list.as_bytes());
        self.heap_bytes += acl_block_bytes(&bytes);
        let block = NonNull::from(Box::leak(Box::new(AclBlock {
            refs: AtomicU32::new(1),
            open: list.entries().len() == 0 || list.entries().any(anyone),
            bytes: Arc::clone(&bytes),
        })));
        self.acls.insert(bytes, block);
        block.as_ptr()
    }

    pub(super) fn make(&mut self, draft: &Draft<'_>) -> NonNull<Block> {
        let block = draft.make();
        self.heap_bytes += version(block).size();
        block
    }

    pub(super) fn payload<'a>(&mut self, data: Option<&'a [u8]>) -> Payload<'a> {
        let Some(bytes) = data else { return Payload::Null };
        if bytes.len() <= DATA_INLINE_BYTES_MAX {
            return Payload::Inline(bytes);
        }
        self.heap_bytes += size_of::<DataBlock>() + bytes.len();
        let block = Box::new(DataBlock { refs: AtomicU32::new(1), bytes: Box::from(bytes) });
        Payload::Detached(NonNull::from(Box::leak(block)))
    }

    /// An array that a parent has from the transaction `born` on, or slots.
    pub(super) fn make_array(&mut self, capacity: usize, born: u64) -> NonNull<Pointers> {
        self.heap_bytes += Pointers::layout(capacity).size();
        Pointers::new(capacity, born)
    }

    pub(super) fn retire(&mut self, tag: u64, retired: Retired) {
        debug_assert!(self.queue.back().is_none_or(|&(last, _)| last <= tag));
        self.queue.push_back((tag, retired));
    }

    /// # Safety
    /// Nobody can reach `block` any more.
    pub(super) unsafe fn free_version(&mut self, block: NonNull<Block>) {
        let freed = version(block);
        if let Some(list) = NonNull::new(freed.acl_pointer().cast_mut()) {
            // SAFETY: this version was counted; the last one takes the list with it.
            unsafe {
                if list.as_ref().refs.fetch_sub(1, Ordering::Relaxed) == 1 {
                    let list = Box::from_raw(list.as_ptr());
                    self.heap_bytes -= acl_block_bytes(&list.bytes);
                    self.acls.remove(&list.bytes);
                }
            }
        }
        if let Some(Detached { block: data, .. }) = freed.detached() {
            // SAFETY: as above.
            unsafe {
                if data.as_ref().refs.fetch_sub(1, Ordering::Relaxed) == 1 {
                    let data = Box::from_raw(data.as_ptr());
                    self.heap_bytes -= size_of::<DataBlock>() + data.bytes.len();
                }
            }
        }
        let layout = block_layout(freed.size());
        self.heap_bytes -= layout.size();
        freed.head().life.end();
        // SAFETY: `Draft::make` allocated it with this very layout; the caller is the last.
        unsafe { give_back(block.cast(), layout) };
    }

    /// # Safety
    /// Nobody can reach it any more.
    pub(super) unsafe fn free(&mut self, memory: Memory) {
        // SAFETY: by the caller.
        unsafe {
            match memory {
                Memory::Version(block) => self.free_version(block),
                Memory::Array(array) => self.heap_bytes -= Pointers::free(array),
            }
        }
    }

    /// # Safety
    /// The whole tree is being dropped.
    pub(super) unsafe fn free_all(&mut self) {
        while let Some((_, retired)) = self.queue.pop_front() {
            let memory = match retired {
                Retired::Version { block, next: _ } | Retired::Tombstone(block) => {
                    Memory::Version(block)
                }
                Retired::Children(array) => Memory::Array(array),
                Retired::Unlisted(block) => Memory::Version(block),
                Retired::Unlinked { memory, walks: _ } => memory,
            };
            // SAFETY: each block is in the queue once, and nobody else is left.
            unsafe { self.free(memory) };
        }
        for memory in std::mem::take(&mut self.kept).into_all() {
            // SAFETY: what is kept is not in the queue, and is kept once.
            unsafe { self.free(memory) };
        }
    }
}

/// The writer's own look at a block that it knows to be alive.
pub(super) fn version<'s>(block: NonNull<Block>) -> VersionRef<'s> {
    // SAFETY: by whoever asks: it is in the index, or the writer did not free it yet.
    unsafe { VersionRef::new(block) }
}
