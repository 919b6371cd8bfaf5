//! What goes when, and what is kept for the views that are held.
//!
//! ```text
//! retired ─► queue ── no reader's view is before its tag ──┬─ of a held view ─► kept ── let go ─┐
//!                                                          ├─ passed on the way to one ─► unlinked ─► freed
//!                                                          └─ reached by nobody ────────────────────► freed
//! ```
//!
//! A view that is held is a point P. A version that lived `[birth, death)` is of it if `birth ≤ P < death`: then
//! it is kept. A walk of P goes through all that is younger, and stops at the first that is not. So of what the
//! queue gives back, in the order of deaths, when no reader needs it any more (facts 3 and 4):
//!
//! 6. **What died before all points is met by none of their walks** (they begin behind its replacement), and is
//!    freed at once. Its replacement's `prev` dangles then, in a block that is not younger than any point: no
//!    walk follows it, nor does the writer.
//! 7. **What is of no point and younger than one is taken out of its chain** and freed when every walk is over
//!    that began before: walks announce themselves as visits do, with the number of the writer's looks instead
//!    of a zxid. What is taken out keeps its `prev`; what lies behind it is taken out later and waits for the same
//!    walk. Only what replaced it is changed, and that is still in the chain: the queue gives back in order.
//! 8. **A tombstone is kept for a point that sees its life**, `[czxid, zxid)`; so the index and the entry of that
//!    life lead to what is kept. It goes when all of its life went. Then an older tombstone that is kept takes
//!    its place in the index: to readers it says the same.
//! 9. **The children of a version that is kept stay its children**: an array that was replaced is kept for the
//!    points between its birth and its death, and reached only from versions of them. Its entries held what was
//!    newest at its death, which is given back later than it; so before it is kept they are set to what the
//!    newest of its points sees, and to what the next older one sees before that one's blocks go. Where the
//!    newest sees nothing any more, but an older one does, the tombstone stays, and is not freed before the array.
//! 10. **A tombstone that is unlinked is still found through arrays that were replaced before and wait in the
//!     queue** for a reader. They are all ahead of it. So it goes through the queue twice: when it comes out first,
//!     each of them is set or freed, and only then the walks begin to count whose end is waited for.
//!
//! When a point goes, what is kept for it goes to the next older point that it is of, or its way: arrays first,
//! then versions, then tombstones. Each is kept once, for its newest point; a node has at most one version, one
//! tombstone and one array of children in each point.

use std::ptr::{self, NonNull};

#[cfg(loom)]
use loom::sync::atomic::Ordering;
#[cfg(not(loom))]
use std::sync::atomic::Ordering;

use super::remains::{Heir, Memory, Retired, version};
use super::store::Store;
use super::{Block, Pointers, TOMBSTONE, UNLINKED, VersionRef, tagged};
use crate::path;

/// Queue entries that one call of `reclaim` frees at least, if they are due. Bounds the pause when a
/// long view ends and millions come due at once.
const RECLAIM_MIN: usize = 16 * 1024;

/// Who reads, as the writer looked.
struct Look {
    /// No reader's view is before it.
    horizon: u64,
    /// No walk began before this look.
    walks: u64,
    /// The views that are held, in their order.
    held: Vec<u64>,
    /// Those, and the ones that are not held any more, but for which something is kept.
    points: Vec<u64>,
}

/// The newest of these views from `birth` on and before `death`.
fn newest_of(views: &[u64], birth: u64, death: u64) -> Option<u64> {
    let before = &views[..views.partition_point(|&view| view < death)];
    before.last().copied().filter(|&view| birth <= view)
}

impl Look {
    /// The oldest point, or `u64::MAX`.
    fn oldest(&self) -> u64 {
        self.points.first().copied().unwrap_or(u64::MAX)
    }
}

impl Store {
    /// Frees what no view can see any more. To be called between transactions, once per batch.
    pub(in crate::tree) fn reclaim(&mut self) {
        if self.own.queue.is_empty() && self.own.kept.is_empty() {
            return;
        }
        // Only what was in the queue at the look: a reader that joined since may have found a
        // tombstone that is unlinked here.
        let most = self.own.queue.len().min(RECLAIM_MIN + self.own.queue.len() / 8);
        let mut look = self.look();
        self.let_go(&mut look);
        for _ in 0..most {
            let Some((tag, retired)) = self.own.queue.pop_front() else { return };
            let walks = match retired {
                Retired::Unlinked { memory: _, walks } => walks,
                Retired::Version { .. }
                | Retired::Tombstone(_)
                | Retired::Children(_)
                | Retired::Unlisted(_) => 0,
            };
            if look.horizon < tag || look.walks < walks {
                self.own.queue.push_front((tag, retired));
                return;
            }
            self.settle(tag, retired, &look);
        }
    }

    fn look(&mut self) -> Look {
        self.looks += 1;
        let mut held = Vec::new();
        let horizon = self.shared.registry.look(&mut held);
        // Who began to hold a view behind that look sees all that was unlinked before it.
        let walks = if held.is_empty() { u64::MAX } else { self.shared.walks.floor(self.looks) };
        let mut points: Vec<u64> = held.iter().copied().chain(self.own.kept.views()).collect();
        points.sort_unstable();
        points.dedup();
        Look { horizon, walks, held, points }
    }

    /// Does with what no reader needs any more as the views that are held say.
    fn settle(&mut self, death: u64, retired: Retired, look: &Look) {
        match retired {
            Retired::Version { block, next } => {
                let birth = version(block).zxid();
                match newest_of(&look.points, birth, death) {
                    Some(point) => self.own.kept.of(point).versions.push(block),
                    None if look.oldest() < birth => self.take_out(block, next),
                    // SAFETY: nobody can reach it (fact 6).
                    None => unsafe { self.own.free(Memory::Version(block)) },
                }
            }
            Retired::Tombstone(block) => self.settle_tombstone(block, death, look),
            Retired::Children(array) => self.settle_children(array, death, &look.held, false),
            // A walk of a view that is held may have found it a moment ago, in an array that was ahead of it.
            Retired::Unlisted(block) if !look.held.is_empty() => {
                let tag = self.own.queue.back().map_or(death, |&(tag, _)| tag);
                let memory = Memory::Version(block);
                self.own.retire(tag, Retired::Unlinked { memory, walks: self.looks + 1 });
            }
            // SAFETY: every view is at least the tag, and there is no walk.
            Retired::Unlisted(block) => unsafe { self.own.free(Memory::Version(block)) },
            // SAFETY: every view is at least the tag, and every walk that could meet it is over (facts 3,
            // 4, 7 and 10).
            Retired::Unlinked { memory, walks: _ } => unsafe { self.own.free(memory) },
        }
    }

    fn settle_tombstone(&mut self, block: NonNull<Block>, before: u64, look: &Look) {
        let czxid = version(block).head().czxid;
        if let Some(point) = newest_of(&look.points, czxid, before) {
            self.own.kept.of(point).tombstones.push(block);
            return;
        }
        if let Some((view, leaving)) = &mut self.own.kept.leaving
            && (czxid..before).contains(view)
        {
            // A version of its life may not have gone yet.
            leaving.tombstones.push(block);
            return;
        }
        self.unlink(block, look.oldest());
    }

    /// Keeps an array for the newest of the `held` views before `death` that it is of, if there is one.
    fn settle_children(
        &mut self,
        array: NonNull<Pointers>,
        death: u64,
        held: &[u64],
        was_kept: bool,
    ) {
        // SAFETY: the queue's, or kept, and not freed.
        let born = unsafe { array.as_ref() }.born;
        let view = newest_of(held, born, death);
        if was_kept || view.is_some() {
            // SAFETY: as above.
            for entry in unsafe { Pointers::entries(array) } {
                let Some(block) = NonNull::new(entry.load(Ordering::Relaxed)) else { continue };
                let seen = view.and_then(|view| seen_by(block, view, born, held));
                if let Some(seen) = seen
                    && version(seen).has(TOMBSTONE)
                {
                    self.own.kept.list(seen);
                }
                if was_kept && version(block).has(TOMBSTONE) && self.own.kept.unlist(block) {
                    self.unlinked(block);
                }
                if seen != Some(block) {
                    let seen = seen.map_or(ptr::null_mut(), NonNull::as_ptr);
                    entry.store(seen, Ordering::Release);
                }
            }
        }
        match view {
            Some(view) => self.own.kept.of(view).arrays.push(array),
            // SAFETY: nobody looks at a version that has it (fact 9).
            None => unsafe { self.own.free(Memory::Array(array)) },
        }
    }

    /// Goes on with what is kept for views that nobody holds any more.
    fn let_go(&mut self, look: &mut Look) {
        let mut left = RECLAIM_MIN + self.own.kept.len() / 8;
        let is_gone = |view: &u64| look.held.binary_search(view).is_err();
        let gone: Vec<u64> = self.own.kept.views().filter(is_gone).collect();
        let mut gone = gone.into_iter();
        loop {
            if !self.finish_leaving(look, &mut left) {
                return;
            }
            let Some(view) = gone.next() else { return };
            while let Some(array) = self.own.kept.of(view).arrays.pop() {
                // SAFETY: kept, so not freed.
                let entries = unsafe { array.as_ref() }.capacity as usize;
                self.settle_children(array, view, &look.held, true);
                left = left.saturating_sub(entries);
                if left == 0 {
                    return;
                }
            }
            self.own.kept.leave(view);
            let at = look.points.binary_search(&view).expect("something was kept for it");
            look.points.remove(at);
            left = left.saturating_sub(1);
        }
    }

    /// Whether all is gone of the view that is leaving.
    fn finish_leaving(&mut self, look: &Look, left: &mut usize) -> bool {
        while let Some((view, bucket)) = &mut self.own.kept.leaving {
            let view = *view;
            if *left == 0 {
                return false;
            }
            *left -= 1;
            if let Some(block) = bucket.versions.pop() {
                self.leave_version(block, view, look, left);
            } else if let Some(block) = bucket.tombstones.pop() {
                let czxid = version(block).head().czxid;
                match newest_of(&look.points, czxid, view) {
                    Some(point) => self.own.kept.of(point).tombstones.push(block),
                    None => self.unlink(block, look.oldest()),
                }
            } else {
                self.own.kept.leaving = None;
            }
        }
        true
    }

    /// A version was kept for `view`, which was the newest.
    fn leave_version(&mut self, block: NonNull<Block>, view: u64, look: &Look, left: &mut usize) {
        let birth = version(block).zxid();
        match newest_of(&look.points, birth, view) {
            Some(point) => self.own.kept.of(point).versions.push(block),
            None if look.oldest() < birth => {
                let next = self.next(block, left);
                self.take_out(block, next);
            }
            // SAFETY: nobody can reach it (fact 6).
            None => unsafe { self.own.free(Memory::Version(block)) },
        }
    }

    /// What replaced a version that is kept, in its chain now; the steps to it are taken from `left`. Only with a
    /// point that is older than it: then nothing younger than it was freed before it was taken out.
    fn next(&self, block: NonNull<Block>, left: &mut usize) -> NonNull<Block> {
        let path = version(block).path();
        let (_, mut at) = self.find(path).expect("its life's tombstone or newest version is there");
        loop {
            let prev = version(at).prev().expect("it is in the chain");
            if prev == block {
                return at;
            }
            *left = left.saturating_sub(1);
            at = prev;
        }
    }

    /// Takes a version out of its chain, in which `next` replaced it and to which an older point leads.
    fn take_out(&mut self, block: NonNull<Block>, next: NonNull<Block>) {
        let behind = version(block).prev();
        assert!(version(next).prev() == Some(block));
        self.chain(next, behind);
        let tag = self.own.queue.back().map_or(0, |&(tag, _)| tag);
        let memory = Memory::Version(block);
        self.own.retire(tag, Retired::Unlinked { memory, walks: self.looks + 1 });
    }

    /// Lets `next` replace what is `behind` it in their chain.
    fn chain(&mut self, next: NonNull<Block>, behind: Option<NonNull<Block>>) {
        let prev = behind.map_or(ptr::null_mut(), NonNull::as_ptr);
        // Release: a reader may come to what is behind by this store alone.
        let later = version(next).later().expect("it replaced what goes");
        later.prev.store(prev, Ordering::Release);
        if let Some(behind) = behind
            && version(behind).has(TOMBSTONE)
        {
            let zxid = version(next).zxid();
            self.own.heirs.insert(behind, Heir { block: next, zxid });
        }
    }

    /// Takes a tombstone, whose life nobody sees, out of the index or its chain and out of its parent's
    /// children, wherever it still is. `oldest` is the oldest point.
    fn unlink(&mut self, tombstone: NonNull<Block>, oldest: u64) {
        let path = version(tombstone).path();
        // Without a point before its life there is nothing that any walk needs.
        let is_needed = oldest < version(tombstone).head().czxid;
        let behind = if is_needed { version(tombstone).prev() } else { None };
        let heir = self.own.heirs.remove(&tombstone);
        match self.find(path) {
            Some((slot, newest)) if newest == tombstone => match behind {
                Some(older) => {
                    assert!(version(older).has(TOMBSTONE)); // of its own life nothing is left
                    slot.store(tagged(older, self.hash(path)), Ordering::Release);
                    self.own.heirs.remove(&older);
                }
                None => {
                    slot.store(ptr::without_provenance_mut(UNLINKED), Ordering::Release);
                    let array = self.shared.shard(self.hash(path)).load(Ordering::Relaxed);
                    // SAFETY: the array of a shard is in use, and this one has a slot.
                    unsafe { (*array).free.fetch_add(1, Ordering::Relaxed) };
                }
            },
            // A walk of an older point comes through what replaced it, which so is in the chain.
            Some(_) | None => {
                if let Some(heir) = heir.filter(|heir| oldest < heir.zxid) {
                    self.chain(heir.block, behind);
                }
            }
        }
        self.unlist(tombstone);
        if !self.own.kept.orphan(tombstone) {
            self.unlinked(tombstone);
        }
    }

    /// To be freed when nobody can still be at this tombstone, which nobody finds any more but in arrays that
    /// wait to be given back.
    fn unlinked(&mut self, tombstone: NonNull<Block>) {
        self.own.retire(self.shared.registry.applied() + 1, Retired::Unlisted(tombstone));
    }

    /// Takes a tombstone out of its parent's children, if it is there.
    fn unlist(&self, tombstone: NonNull<Block>) {
        let Some(Some(entry)) = self.entry(tombstone) else { return };
        if entry.load(Ordering::Relaxed) != tombstone.as_ptr() {
            return; // the parent is another one than at that time
        }
        entry.store(ptr::null_mut(), Ordering::Release);
        let path = version(tombstone).path();
        let parent = self.live(path::parent(path).expect("the entry is a parent's"));
        // SAFETY: the array of a newest version is in use, and this one has an entry.
        unsafe { (*version(parent).children_array()).free.fetch_add(1, Ordering::Relaxed) };
    }
}

/// What stands for a child in an array that is kept for `view`, the newest of the `held` ones that it is of, and
/// was `born` at a transaction: what that sees, or a tombstone that hides from it what an older one sees.
///
/// `block` is in the array, so it is alive, and so is all that `view` comes to behind it (fact 9).
fn seen_by(block: NonNull<Block>, view: u64, born: u64, held: &[u64]) -> Option<NonNull<Block>> {
    let version = version(block);
    if version.has(TOMBSTONE) && version.zxid() <= view {
        return newest_of(held, born.max(version.head().czxid), version.zxid()).map(|_| block);
    }
    VersionRef { view, ..version }.in_view().map(|seen| seen.block)
}
