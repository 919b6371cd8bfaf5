//! Which views are in use: the one thing that readers tell the writer.
//!
//! ```text
//! reader   announce(z): "I hold nothing, and will look only at views ≥ z"
//! writer   horizon():   the smallest announcement; what a transaction ≤ horizon replaced is free
//! ```
//!
//! A reader announces with one store and never waits. Joining and leaving take a lock, which the
//! writer takes once per batch: the lock orders a reader that joins behind everything that the
//! writer did before its last look, so that the reader can only begin at what is still there.

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

/// The applied zxid and the announcements of all readers.
pub(super) struct Registry {
    applied: AtomicU64,
    readers: Mutex<Vec<Arc<Announcement>>>,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self { applied: AtomicU64::new(0), readers: Mutex::new(Vec::new()) }
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
    pub(super) fn join(&self) -> (Arc<Announcement>, u64) {
        let mut readers = self.readers.lock().expect("nothing panics under this lock");
        // Under the lock: a look of the writer comes either before, and then this load sees at
        // least what was applied at that look, or after, and then it finds the announcement.
        let view = self.applied();
        let announcement = Arc::new(Announcement(AtomicU64::new(view)));
        readers.push(Arc::clone(&announcement));
        (announcement, view)
    }

    /// Takes a reader's announcement out. The reader holds nothing any more.
    pub(super) fn leave(&self, announcement: &Arc<Announcement>) {
        let mut readers = self.readers.lock().expect("nothing panics under this lock");
        readers.retain(|other| !Arc::ptr_eq(other, announcement));
    }

    /// The smallest view that a reader may look at, or `u64::MAX` when there is no reader.
    pub(super) fn horizon(&self) -> u64 {
        let readers = self.readers.lock().expect("nothing panics under this lock");
        let views = readers.iter().map(|reader| reader.0.load(Ordering::Acquire));
        views.min().unwrap_or(u64::MAX)
    }
}
