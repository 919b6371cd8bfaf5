//! The memory of the tree: versions of nodes, their index, their children, and when they are freed.
//!
//! ```text
//! shard ─► slots ─► newest version of /a ──prev──► older ──prev──► older        (a view follows prev
//!                   │ children                                                  while zxid > view)
//!                   └─► entries ─► newest version of /a/b ──prev──► …
//! ```
//!
//! How a version lies in memory is drawn in [`block`]. All `unsafe` code of the tree is here, in [`store`], its
//! writing half, in [`reclaim`], which says what goes when, in [`remains`], which makes and frees blocks, and in
//! [`visits`], reads of any thread. [`store::Store`] is the only writer (it is not `Clone`, and every change takes
//! `&mut`); a [`Pin`] is a reader's view at one zxid. The proofs rest on five facts, and on those of [`reclaim`] for
//! views that are held, which need less than all that was replaced behind them:
//!
//! 1. **A block never changes once it is published**, except for atomics. Publishing is a Release
//!    store of its pointer; finding it is an Acquire load.
//! 2. **Whoever may look at view V has seen all stores of transactions ≤ V**: views come from
//!    `Registry::applied`, an Acquire load of what the writer stored with Release behind them.
//! 3. **What transaction Z replaces is reachable only from views < Z.** From a view ≥ Z the search
//!    finds the replacement first (fact 2) and does not follow its `prev`, as its zxid ≤ Z. So it is
//!    queued with tag Z, and freed once every announced view is ≥ Z.
//! 4. **A tombstone is reachable from every view until it is unlinked.** It is unlinked when every
//!    view is ≥ its zxid (no view needs what is behind it), and only then queued, with the tag
//!    `applied + 1`: a view that large was announced after the unlinking (facts 1, 2).
//! 5. **Every block has one owner**: newest versions belong to the index, replaced ones, tombstones
//!    and replaced arrays to the queue or to what is kept for views that are held, an array in use to its
//!    node's newest version. Lists and large data are counted, and only the writer counts.
#![allow(unsafe_code)]

mod block;
mod kept;
mod life;
mod reclaim;
mod remains;
mod stills;
pub(super) mod store;
#[cfg(all(test, loom))]
mod tests;
pub(super) mod visits;

#[cfg(not(loom))]
use std::alloc::dealloc;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, AtomicU32 as Length, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, AtomicU32 as Length, Ordering};

use self::block::{
    BORN, BRANCH, Block, Branch, CHANGED, Changed, DETACHED, Detached, HAS_DATA, LATER, Later,
    OWNER, Offsets, RIGHTS, Rights, TOMBSTONE, kind,
};
use self::life::Life;
use self::remains::Remains;
pub(super) use self::stills::Point;
use self::stills::{HeldChildren, Walk};
use super::hash::hash;
use super::places::Places;
use super::registry::{Handle, Registry};
use crate::acl::{self, AclList};
use crate::txn::NodeKind;
use crate::zxid::Zxid;

/// Parts of the index that grow on their own: growth of one part of ten million nodes is the
/// longest pause that the index causes (about 10,000 nodes are placed anew).
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = if cfg!(loom) { 1 } else { 10 };

/// The numbers of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meta {
    pub(super) kind: NodeKind,
    pub(super) czxid: Zxid,
    pub(super) mzxid: Zxid,
    pub(super) pzxid: Zxid,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    pub(super) version: i32,
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    pub(super) num_children: i32,
}

/// A list of access rights that nodes share.
pub(super) struct AclBlock {
    /// Versions that point here; the writer's own.
    refs: AtomicU32,
    /// Anyone may read: events need no check.
    open: bool,
    pub(super) bytes: Arc<[u8]>,
}

/// Data that versions share.
struct DataBlock {
    /// Versions that point here; the writer's own.
    refs: AtomicU32,
    bytes: Box<[u8]>,
}

/// An array of pointers behind a short head: the slots of a shard, or the children of a node.
#[repr(C, align(8))]
struct Pointers {
    /// Children: the transaction from which on a parent has this array.
    born: u64,
    capacity: u32,
    /// Children: entries ever filled. Slots: entries that are not empty. Stored by the writer.
    len: Length,
    /// Of those, the ones that hold nothing any more. The writer's own.
    free: AtomicU32,
    life: Life,
}

const POINTERS_HEAD: usize = size_of::<Pointers>();
const _: () = assert!(cfg!(loom) || POINTERS_HEAD == 24);

impl Pointers {
    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(POINTERS_HEAD + capacity * size_of::<AtomicPtr<Block>>(), 8)
            .expect("far below isize::MAX")
    }

    fn new(capacity: usize, born: u64) -> NonNull<Self> {
        let count = u32::try_from(capacity).expect("fewer than 2^32 children or slots");
        let layout = Self::layout(capacity);
        // SAFETY: the layout is not of size zero. Zeroes are a valid head and valid null pointers.
        unsafe {
            let Some(array) = NonNull::new(alloc_zeroed(layout).cast::<Self>()) else {
                handle_alloc_error(layout)
            };
            (*array.as_ptr()).capacity = count;
            (*array.as_ptr()).born = born;
            #[cfg(loom)] // there, none of these is zeroes
            {
                ptr::write(&raw mut (*array.as_ptr()).len, Length::new(0));
                ptr::write(&raw mut (*array.as_ptr()).life, Life::new());
                let first = array.cast::<u8>().add(POINTERS_HEAD).cast::<AtomicPtr<Block>>();
                (0..capacity).for_each(|at| first.add(at).write(AtomicPtr::default()));
            }
            array
        }
    }

    /// # Safety
    /// `array` is alive for `'a`.
    unsafe fn entries<'a>(array: NonNull<Self>) -> &'a [AtomicPtr<Block>] {
        // SAFETY: `new` made room for `capacity` pointers behind the head, all initialized; they are
        // atomics, so shared references are sound while others store.
        unsafe {
            array.as_ref().life.look();
            let first = array.cast::<u8>().add(POINTERS_HEAD).cast::<AtomicPtr<Block>>();
            slice::from_raw_parts(first.as_ptr(), array.as_ref().capacity as usize)
        }
    }

    /// # Safety
    /// Nobody can reach `array` any more.
    unsafe fn free(array: NonNull<Self>) -> usize {
        // SAFETY: allocated by `new` with this very layout; the caller is the last.
        unsafe {
            let layout = Self::layout(array.as_ref().capacity as usize);
            array.as_ref().life.end();
            give_back(array.cast(), layout);
            layout.size()
        }
    }
}

/// Frees memory; under loom, only with a tree, so that no address comes twice while it lives.
///
/// # Safety
/// It was allocated with this layout, and nobody can reach it any more.
unsafe fn give_back(memory: NonNull<u8>, layout: Layout) {
    #[cfg(loom)]
    life::bury(memory, layout);
    #[cfg(not(loom))]
    // SAFETY: by the caller.
    unsafe {
        dealloc(memory.as_ptr(), layout)
    };
}

/// A pointer in a slot carries 16 bits of the hash above its 48 bits of address.
const ADDRESS_BITS: u32 = 48;
const ADDRESS: usize = (1 << ADDRESS_BITS) - 1;
/// A slot whose node was unlinked: the search goes on behind it.
const UNLINKED: usize = 1;

fn tagged(block: NonNull<Block>, hash: u64) -> *mut Block {
    let address = block.addr().get();
    assert!(address & !ADDRESS == 0); // user addresses have 47 bits unless a process asks for more
    block.as_ptr().map_addr(|address| address | (hash as usize & 0xffff) << ADDRESS_BITS)
}

fn first_slot(hash: u64, mask: usize) -> usize {
    (hash >> 16) as usize & mask
}

/// A version that cannot be freed for `'r`, seen from one view.
pub(super) struct VersionRef<'r> {
    block: NonNull<Block>,
    view: u64,
    /// Where to announce walks, if the view is held.
    walks: Option<&'r Places>,
    alive: PhantomData<&'r Block>,
}

impl Clone for VersionRef<'_> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for VersionRef<'_> {}

impl<'r> VersionRef<'r> {
    /// As the newest view sees it.
    ///
    /// # Safety
    /// `block` is alive for `'r`.
    unsafe fn new(block: NonNull<Block>) -> Self {
        Self { block, view: u64::MAX, walks: None, alive: PhantomData }
    }

    fn prev(self) -> Option<NonNull<Block>> {
        // Acquire: it may have been set behind the publishing of this block (fact 1).
        NonNull::new(self.later()?.prev.load(Ordering::Acquire))
    }

    fn head(self) -> &'r Block {
        // SAFETY: alive for `'r` by construction, and unchanged since it was published (fact 1).
        let head = unsafe { self.block.as_ref() };
        head.life.look();
        head
    }

    /// The bytes from `offset` on as a `T`.
    ///
    /// # Safety
    /// A `T` was written there when the block was made.
    unsafe fn part<T: Copy>(self, offset: usize) -> T {
        // SAFETY: by the caller; all parts are aligned to 8, as offsets and the block are.
        unsafe { self.block.cast::<u8>().add(offset).cast::<T>().read() }
    }

    fn has(self, flag: u16) -> bool {
        self.head().flags & flag != 0
    }

    fn later(self) -> Option<&'r Later> {
        // SAFETY: the flag says that it is there; what changes in it is atomic.
        self.has(LATER).then(|| unsafe { self.block.add(1).cast::<Later>().as_ref() })
    }

    fn rights(self) -> Option<Rights> {
        let offset = Offsets::of(self.head().flags).rights();
        // SAFETY: the flag says that it is there.
        self.has(RIGHTS).then(|| unsafe { self.part(offset) })
    }

    fn branch(self) -> Option<Branch> {
        let offset = Offsets::of(self.head().flags).branch();
        // SAFETY: the flag says that it is there.
        self.has(BRANCH).then(|| unsafe { self.part(offset) })
    }

    fn detached(self) -> Option<Detached> {
        let offset = Offsets::of(self.head().flags).detached();
        // SAFETY: the flag says that it is there.
        self.has(DETACHED).then(|| unsafe { self.part(offset) })
    }

    /// The transaction that made this version; 0 when it came from a snapshot.
    fn zxid(self) -> u64 {
        let unreplaced = || if self.has(BORN) { self.head().czxid } else { 0 };
        self.later().map_or_else(unreplaced, |later| later.zxid)
    }

    fn children_array(self) -> *const Pointers {
        self.branch().map_or(ptr::null(), |branch| branch.children)
    }

    fn size(self) -> usize {
        let head = self.head();
        Offsets::of(head.flags).path() + head.path_bytes as usize + usize::from(head.data_bytes)
    }

    pub(super) fn path(self) -> &'r [u8] {
        let head = self.head();
        // SAFETY: `allocate` wrote the path there.
        unsafe {
            let first = self.block.cast::<u8>().add(Offsets::of(head.flags).path());
            slice::from_raw_parts(first.as_ptr(), head.path_bytes as usize)
        }
    }

    pub(super) fn data(self) -> Option<&'r [u8]> {
        let head = self.head();
        if !self.has(HAS_DATA) {
            return None;
        }
        if let Some(detached) = self.detached() {
            // SAFETY: this version counts as a reference, and it lives for `'r`.
            return Some(unsafe { &detached.block.as_ref().bytes });
        }
        // SAFETY: `allocate` wrote the data behind the path.
        unsafe {
            let offset = Offsets::of(head.flags).path() + head.path_bytes as usize;
            let first = self.block.cast::<u8>().add(offset);
            Some(slice::from_raw_parts(first.as_ptr(), usize::from(head.data_bytes)))
        }
    }

    pub(super) fn data_bytes(self) -> usize {
        let inline = usize::from(self.head().data_bytes);
        self.detached().map_or(inline, |detached| detached.bytes as usize)
    }

    fn acl_pointer(self) -> *const AclBlock {
        self.rights().map_or(ptr::null(), |rights| rights.acl)
    }

    pub(super) fn acl_block(self) -> Option<&'r AclBlock> {
        // SAFETY: this version counts as a reference, and it lives for `'r`.
        unsafe { self.acl_pointer().as_ref() }
    }

    pub(super) fn acl(self) -> AclList<'r> {
        self.acl_block().map_or(acl::OPEN, |block| AclList::from_checked(&block.bytes))
    }

    /// The list to check before someone is told about this node, or `None` when anyone may read it.
    pub(super) fn guard(self) -> Option<Arc<[u8]>> {
        self.acl_block().filter(|block| !block.open).map(|block| Arc::clone(&block.bytes))
    }

    pub(super) fn kind(self) -> NodeKind {
        let flags = self.head().flags;
        // SAFETY: the flag says that it is there.
        let owner = self.has(OWNER).then(|| unsafe { self.part(Offsets::of(flags).owner()) });
        kind(flags, owner.unwrap_or(0))
    }

    #[inline]
    pub(super) fn meta(self) -> Meta {
        let head = self.head();
        let mut meta = Meta {
            kind: kind(head.flags, 0),
            czxid: Zxid(head.czxid),
            mzxid: Zxid(head.czxid),
            pzxid: Zxid(head.czxid),
            ctime: head.ctime,
            mtime: head.ctime,
            version: head.version,
            cversion: 0,
            aversion: 0,
            num_children: 0,
        };
        if head.flags & (CHANGED | OWNER | RIGHTS | BRANCH) == 0 {
            return meta; // as most nodes
        }
        let mut parts = self.parts();
        // SAFETY: each is asked for once, in their order.
        unsafe {
            parts.skip::<Later>(LATER);
            if let Some(changed) = parts.take::<Changed>(CHANGED) {
                (meta.mzxid, meta.mtime) = (Zxid(changed.mzxid), changed.mtime);
            }
            if let Some(owner) = parts.take::<u64>(OWNER) {
                meta.kind = kind(head.flags, owner);
            }
            if let Some(rights) = parts.take::<Rights>(RIGHTS) {
                meta.aversion = rights.aversion;
            }
            if let Some(branch) = parts.take::<Branch>(BRANCH) {
                meta.pzxid = Zxid(branch.pzxid);
                (meta.cversion, meta.num_children) = (branch.cversion, branch.num_children);
            }
        }
        meta
    }

    fn parts(self) -> Parts<'r> {
        let first = self.block.cast::<u8>();
        // SAFETY: behind the head is the path at least.
        let at = unsafe { first.add(size_of::<Block>()) };
        Parts { at, flags: self.head().flags, alive: PhantomData }
    }

    /// The children of this node in this view, in the order in which they were created.
    pub(super) fn children(self) -> Children<'r> {
        let entries: &[AtomicPtr<Block>] = match NonNull::new(self.children_array().cast_mut()) {
            // SAFETY: the array belongs to this version or to one that replaced it later than this
            // view, so it lives as long as this version (fact 3).
            Some(array) => unsafe {
                let len = array.as_ref().len.load(Ordering::Acquire) as usize;
                &Pointers::entries(array)[..len]
            },
            None => &[],
        };
        Children {
            entries: entries.iter(),
            view: self.view,
            held: self.walks.map(HeldChildren::new),
        }
    }

    /// The version of the same life of this node that `view` sees, going back from this one.
    ///
    /// Going back further, into a life that ended before this one began, would list a child twice
    /// that was deleted and created again: that life has an entry of its own.
    fn in_view(mut self) -> Option<Self> {
        while self.zxid() > self.view {
            if self.head().czxid > self.view {
                return None;
            }
            // Made by a transaction that this view does not see, and its node is older than the view:
            // so it replaced something, which this view keeps alive (fact 3).
            self.block = self.prev()?;
        }
        (!self.has(TOMBSTONE)).then_some(self)
    }
}

/// The parts behind a head, one behind the other: cheaper than to look for each by itself.
struct Parts<'r> {
    at: NonNull<u8>,
    flags: u16,
    alive: PhantomData<&'r Block>,
}

impl Parts<'_> {
    /// Passes over the next part, if the flag says that it is there.
    ///
    /// # Safety
    /// As for `take`.
    #[inline(always)]
    unsafe fn skip<T>(&mut self, flag: u16) {
        if self.flags & flag != 0 {
            // SAFETY: by the caller, a `T` is there.
            self.at = unsafe { self.at.add(size_of::<T>()) };
        }
    }

    /// The next part, if the flag says that it is there.
    ///
    /// # Safety
    /// `T` is what is there with this flag, and parts with flags before it were asked for.
    #[inline(always)]
    unsafe fn take<T: Copy>(&mut self, flag: u16) -> Option<T> {
        if self.flags & flag == 0 {
            return None;
        }
        // SAFETY: by the caller, a `T` was written here; all parts are aligned to 8, and so are their sizes.
        unsafe {
            let part = self.at.cast::<T>().read();
            self.at = self.at.add(size_of::<T>());
            Some(part)
        }
    }
}

/// See [`VersionRef::children`].
#[derive(Clone)]
pub(super) struct Children<'r> {
    entries: slice::Iter<'r, AtomicPtr<Block>>,
    view: u64,
    /// In a view that is held.
    held: Option<HeldChildren<'r>>,
}

impl<'r> Iterator for Children<'r> {
    type Item = VersionRef<'r>;

    #[inline]
    fn next(&mut self) -> Option<VersionRef<'r>> {
        match &mut self.held {
            None => next_of(&mut self.entries, self.view),
            Some(held) => held.next(&mut self.entries, self.view),
        }
    }
}

/// The next child of these that `view` sees; in a view that is held, within a walk.
#[inline(always)]
fn next_of<'r>(
    entries: &mut slice::Iter<'r, AtomicPtr<Block>>,
    view: u64,
) -> Option<VersionRef<'r>> {
    loop {
        let entry = entries.next()?.load(Ordering::Acquire);
        if let Some(ahead) = entries.as_slice().get(CHILDREN_AHEAD) {
            fetch(ahead.load(Ordering::Relaxed));
        }
        let Some(block) = NonNull::new(entry) else { continue };
        // An entry holds the newest version or a tombstone, both alive for this view (facts 3, 4).
        let newest = VersionRef { block, view, walks: None, alive: PhantomData };
        if let Some(child) = newest.in_view() {
            return Some(child);
        }
    }
}

/// How many entries ahead a child is fetched into the cache: siblings lie anywhere in memory, and a
/// list of them would else wait for each in turn.
const CHILDREN_AHEAD: usize = 8;

/// Asks for the lines that hold a version's head and the start of its path.
fn fetch(block: *const Block) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads nothing and never faults, whatever the address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(block.cast());
            _mm_prefetch::<_MM_HINT_T0>(block.cast::<i8>().wrapping_add(64));
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = block;
}

/// What readers and the writer share.
pub(super) struct Shared {
    seed: u64,
    pub(super) registry: Registry,
    shards: Box<[AtomicPtr<Pointers>]>,
    /// Reads of views that are held, while they go through what those views do not keep.
    walks: Places,
    /// What the writer left behind when it went while readers stayed.
    remains: Mutex<Option<Remains>>,
}

// SAFETY: all that is reached from here is immutable, atomic or behind a lock, except what facts 1
// to 5 reserve for the one writer; blocks are plain memory and may be freed by any thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The slot of `path` and the newest version in it.
    ///
    /// # Safety
    /// For `'s`, the caller is the writer and changes nothing, or has announced a view, or a walk.
    unsafe fn find<'s>(&'s self, path: &[u8]) -> Option<(&'s AtomicPtr<Block>, NonNull<Block>)> {
        let hash = hash(path, self.seed);
        let array = NonNull::new(self.shard(hash).load(Ordering::Acquire))?;
        // SAFETY: an array found in a shard is in use, or was replaced later than the caller's view.
        let slots = unsafe { Pointers::entries::<'s>(array) };
        let mask = slots.len() - 1;
        let mut at = first_slot(hash, mask);
        loop {
            let found = slots[at].load(Ordering::Acquire);
            if found.is_null() {
                return None;
            }
            let address = found.addr() & ADDRESS;
            if found.addr() >> ADDRESS_BITS == hash as usize & 0xffff && address != UNLINKED {
                // SAFETY: not null and not the mark, so a block; alive as it was found (facts 3, 4).
                let (block, version) = unsafe {
                    let block = NonNull::new_unchecked(found.map_addr(|_| address));
                    (block, VersionRef::new(block))
                };
                if version.path() == path {
                    return Some((&slots[at], block));
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn shard(&self, hash: u64) -> &AtomicPtr<Pointers> {
        &self.shards[(hash >> (64 - SHARD_BITS)) as usize]
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut remains = self.remains.get_mut().expect("nothing panics under it").take();
        let remains = remains.get_or_insert_default();
        for shard in &self.shards {
            let Some(array) = NonNull::new(shard.load(Ordering::Relaxed)) else { continue };
            // SAFETY: the last owner is dropping: nobody else reaches any block. The index owns its
            // arrays, newest versions and their children arrays; tombstones are the queue's (fact 5).
            unsafe {
                for slot in Pointers::entries(array) {
                    let found = slot.load(Ordering::Relaxed).map_addr(|address| address & ADDRESS);
                    let Some(block) = NonNull::new(found) else { continue };
                    let version = VersionRef::new(block);
                    if found.addr() == UNLINKED || version.has(TOMBSTONE) {
                        continue;
                    }
                    if let Some(children) = NonNull::new(version.children_array().cast_mut()) {
                        Pointers::free(children);
                    }
                    remains.free_version(block);
                }
                Pointers::free(array);
            }
        }
        // SAFETY: as above; each block is in the queue or among what is kept, once.
        unsafe { remains.free_all() };
        assert!(remains.acls_left() == 0); // every list was counted by the nodes that used it
        #[cfg(loom)]
        life::exhume();
    }
}

/// A reader's place among the views.
pub(super) struct Slot {
    shared: Arc<Shared>,
    announcement: Handle,
    view: u64,
}

impl Slot {
    pub(super) fn join(shared: &Arc<Shared>) -> Self {
        let (announcement, view) = shared.registry.join();
        Self { shared: Arc::clone(shared), announcement, view }
    }

    pub(super) fn view(&self) -> u64 {
        self.view
    }

    /// `&mut`: no reference that was read through this slot is left.
    pub(super) fn advance(&mut self, to: u64) {
        assert!(self.view <= to); // what older views saw may be gone
        assert!(to <= self.shared.registry.applied());
        self.view = to;
        self.announcement.announce(to);
    }

    pub(super) fn pin(&self, view: u64) -> Pin<'_> {
        assert!(self.view <= view);
        assert!(view <= self.shared.registry.applied());
        Pin { shared: &self.shared, view, walks: None }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.registry.leave(&self.announcement);
    }
}

/// A view that nothing can be freed under.
#[derive(Clone, Copy)]
pub(super) struct Pin<'r> {
    shared: &'r Shared,
    view: u64,
    /// Where to announce walks, if the view is held.
    walks: Option<&'r Places>,
}

impl<'r> Pin<'r> {
    pub(super) fn view(self) -> u64 {
        self.view
    }

    #[inline]
    pub(super) fn get(self, path: &[u8]) -> Option<VersionRef<'r>> {
        match self.walks {
            // SAFETY: a pin borrows a slot that announced this view or an earlier one, or the writer.
            None => unsafe { self.walk(path) },
            Some(walks) => self.get_held(path, walks),
        }
    }

    /// In a view that is held. By itself: the other way stays as short as it can be.
    #[inline(never)]
    fn get_held(self, path: &[u8], walks: &'r Places) -> Option<VersionRef<'r>> {
        let _walk = Walk::begin(walks);
        // SAFETY: of this view, and the walk is announced.
        let found = unsafe { self.walk(path)? };
        Some(VersionRef { walks: Some(walks), ..found })
    }

    /// # Safety
    /// The caller is the writer, or announced this view or an earlier one, or holds this one and announced
    /// a walk.
    #[inline(always)]
    unsafe fn walk(self, path: &[u8]) -> Option<VersionRef<'r>> {
        // SAFETY: by the caller.
        let (_, block) = unsafe { self.shared.find(path)? };
        let mut version = VersionRef { block, view: self.view, walks: None, alive: PhantomData };
        while version.zxid() > self.view {
            // What a transaction behind this view replaced is kept alive by it, or by the walk (fact 3).
            version.block = version.prev()?;
        }
        (!version.has(TOMBSTONE)).then_some(version)
    }
}
