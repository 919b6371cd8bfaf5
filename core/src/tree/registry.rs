//! Which views are in use: the one thing that readers tell the writer.
//!
//! ```text
//! reader   announce(z): "I hold nothing, and will look only at views ≥ z"
//! holder   hold():      "I look at this view, and at no other"
//! writer   look():      the smallest announcement, and all that are held; what a transaction ≤ the
//!                       smallest replaced is free, unless it is of a view that is held
//! ```
//!
//! A reader announces with one store and never waits. Joining and leaving take a lock, which the
//! writer takes once per batch: the lock orders a reader that joins, and a view that is held, behind
//! everything that the writer did before its last look, so that it can only begin at what is still there.

#[cfg(loom)]
use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use std::collections::BTreeMap;

use super::places::Places;

/// What a reader announced, alone on its cache lines: the writer's look must not slow a neighbour.
#[repr(align(128))]
pub(super) struct Announcement(AtomicU64);

impl Announcement {
    /// The holder keeps nothing that it read before, and will look only at views from `view` on.
    pub(super) fn announce(&self, view: u64) {
        // Release: every read of the old view happens before the writer frees what it read.
        self.0.store(view, Ordering::Release);
    }
}

/// A reader's and the registry's hold on one announcement.
pub(super) type Handle = Arc<Announcement>;

/// Whoever stays for longer than a read.
#[derive(Default)]
struct Joined {
    readers: Vec<Handle>,
    /// The views that are held, and by how many.
    held: BTreeMap<u64, usize>,
}

/// The applied zxid, the announcements of all readers, and the views that are held.
pub(super) struct Registry {
    applied: AtomicU64,
    joined: Mutex<Joined>,
    /// Of those who come for an instant and do not join, where there are any.
    visitors: Mutex<Option<std::sync::Arc<Places>>>,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            applied: AtomicU64::new(0),
            joined: Mutex::new(Joined::default()),
            visitors: Mutex::new(None),
        }
    }

    /// Heeds these visitors from now on. Before the first of them comes.
    pub(super) fn heed(&self, visitors: std::sync::Arc<Places>) {
        let mut heeded = self.visitors.lock().expect("nothing panics under this lock");
        assert!(heeded.is_none()); // a tree has one door
        *heeded = Some(visitors);
    }

    /// The last transaction that is completely in the tree. Acquire: whoever knows the number sees
    /// all that it stands for.
    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Lets readers look at `zxid`.
    pub(super) fn publish(&self, zxid: u64) {
        self.applied.store(zxid, Ordering::Release);
    }

    /// A new reader's announcement, with the view that it begins with.
    pub(super) fn join(&self) -> (Handle, u64) {
        let mut joined = self.joined.lock().expect("nothing panics under this lock");
        // Under the lock: a look of the writer comes either before, and then this load sees at
        // least what was applied at that look, or after, and then it finds the announcement.
        let view = self.applied();
        let announcement = Arc::new(Announcement(AtomicU64::new(view)));
        joined.readers.push(Arc::clone(&announcement));
        (announcement, view)
    }

    /// Takes a reader's announcement out. The reader holds nothing any more.
    pub(super) fn leave(&self, announcement: &Handle) {
        let mut joined = self.joined.lock().expect("nothing panics under this lock");
        joined.readers.retain(|other| !Arc::ptr_eq(other, announcement));
    }

    /// Holds the present view, which is returned, until [`Registry::let_go`].
    pub(super) fn hold(&self) -> u64 {
        let mut joined = self.joined.lock().expect("nothing panics under this lock");
        let view = self.applied(); // as in `join`
        *joined.held.entry(view).or_default() += 1;
        view
    }

    /// Nobody looks at the view any more by this hold on it.
    pub(super) fn let_go(&self, view: u64) {
        let mut joined = self.joined.lock().expect("nothing panics under this lock");
        let holders = joined.held.get_mut(&view).expect("it is held");
        *holders -= 1;
        if *holders == 0 {
            joined.held.remove(&view);
        }
    }

    /// The smallest view that a reader may look at, or `u64::MAX` when there is no reader; and in `held`
    /// the views that are held, in their order.
    pub(super) fn look(&self, held: &mut Vec<u64>) -> u64 {
        let visitors = self.visitors.lock().expect("nothing panics under this lock");
        let floor = visitors.as_ref().map_or(u64::MAX, |places| places.floor(self.applied()));
        drop(visitors);
        held.clear();
        let joined = self.joined.lock().expect("nothing panics under this lock");
        held.extend(joined.held.keys());
        let views = joined.readers.iter().map(|reader| reader.0.load(Ordering::Acquire));
        views.min().unwrap_or(u64::MAX).min(floor)
    }

    /// [`Registry::look`] for the smallest alone.
    #[cfg(all(test, loom))]
    pub(super) fn horizon(&self) -> u64 {
        self.look(&mut Vec::new())
    }
}

#[cfg(all(test, loom))]
#[allow(unsafe_code)] // loom's cell is read through a pointer, and loom itself finds the races
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// The tree in small: a slot with the newest of versions 0, 1, 2, where version `n` was made by
    /// transaction `n`, and the memory of each, which whoever frees it writes to.
    struct Small {
        registry: Registry,
        slot: AtomicUsize,
        memory: [UnsafeCell<u64>; 4],
    }

    const UNLINKED: usize = 3;

    impl Small {
        fn new() -> Arc<Self> {
            let memory = [0, 1, 2, u64::MAX].map(UnsafeCell::new);
            Arc::new(Self { registry: Registry::new(), slot: AtomicUsize::new(0), memory })
        }

        /// What `view` finds: it goes back from the newest, and must find itself alive.
        fn read(&self, view: u64) {
            let mut at = self.slot.load(Ordering::Acquire);
            if at == UNLINKED {
                return;
            }
            while at as u64 > view {
                // SAFETY: loom checks that no write is concurrent.
                self.memory[at].with(|zxid| assert_eq!(unsafe { *zxid }, at as u64));
                at -= 1;
            }
            // SAFETY: as above.
            self.memory[at].with(|zxid| assert_eq!(unsafe { *zxid }, at as u64));
        }

        fn apply(&self, zxid: usize) {
            self.slot.store(zxid, Ordering::Release);
            self.registry.publish(zxid as u64);
        }

        fn free(&self, version: usize) {
            // SAFETY: as above.
            self.memory[version].with_mut(|zxid| unsafe { *zxid = u64::MAX });
        }
    }

    #[test]
    fn what_a_view_may_look_at_is_never_freed() {
        loom::model(|| {
            let small = Small::new();
            let writer = Arc::clone(&small);
            let reader = thread::spawn(move || {
                let (announcement, view) = small.registry.join();
                small.read(view);
                let next = small.registry.applied();
                announcement.announce(next);
                small.read(next);
                small.registry.leave(&announcement);
            });
            for zxid in 1..=2 {
                writer.apply(zxid);
                let horizon = writer.registry.horizon();
                if horizon >= zxid as u64 {
                    // Everything older was replaced by a transaction up to this one.
                    (0..zxid).for_each(|version| writer.free(version));
                }
            }
            reader.join().expect("no version was missing");
        });
    }

    #[test]
    fn a_tombstone_is_freed_only_when_its_unlinking_was_seen() {
        loom::model(|| {
            let small = Small::new();
            let writer = Arc::clone(&small);
            let reader = thread::spawn(move || {
                let (announcement, view) = small.registry.join();
                small.read(view);
                let next = small.registry.applied();
                announcement.announce(next);
                small.read(next);
                small.registry.leave(&announcement);
            });
            // Version 0 is a tombstone here, which every view may still find.
            let unlinked = writer.registry.applied() + 1;
            writer.slot.store(UNLINKED, Ordering::Release);
            writer.registry.publish(1);
            if writer.registry.horizon() >= unlinked {
                writer.free(0);
            }
            reader.join().expect("no version was missing");
        });
    }
}
