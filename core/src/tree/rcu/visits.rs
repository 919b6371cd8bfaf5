//! Reads from any thread, of whichever tree is the present one.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Pin, Shared};
use crate::tree::places::{self, Place, Places};
use crate::tree::{Tree, View};

/// The door through which any thread looks at a tree for the time of a read.
///
/// Unlike a [`crate::tree::Reader`] nobody has to be created, kept or advanced for it, and the tree
/// behind it can be replaced. A visit takes no lock, makes no system call and allocates nothing. When
/// more than 64 visits are under way at one moment, a further one waits until one of them ends.
pub struct Visits {
    places: Arc<Places>,
    /// The present tree's; kept alive by `shown`.
    present: AtomicPtr<Shared>,
    shown: Mutex<Arc<Shared>>,
}

impl Visits {
    /// A door to `tree`, which knows no other door. The writer heeds its visitors from now on.
    pub fn new(tree: &Arc<Tree>) -> Self {
        let places = Arc::new(Places::new());
        let shown = Arc::clone(&tree.shared);
        shown.registry.heed(Arc::clone(&places));
        let present = AtomicPtr::new(Arc::as_ptr(&shown).cast_mut());
        Self { places, present, shown: Mutex::new(shown) }
    }

    /// Shows `tree` instead, which knows no other door. Blocks until nobody looks at the old one any
    /// more, which is the time of a read.
    pub fn show(&self, tree: &Arc<Tree>) {
        let next = Arc::clone(&tree.shared);
        next.registry.heed(Arc::clone(&self.places));
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.present.store(Arc::as_ptr(&next).cast_mut(), Ordering::Release);
        self.places.quiesce();
        *shown = next;
    }

    /// Looks at the newest state. Keep the visit for an instant only: while it lives the writer keeps
    /// what it replaces.
    #[inline]
    pub fn enter(&self) -> Visit<'_> {
        let mut floor = self.places.recent();
        loop {
            let Some(place) = self.places.claim(start(), floor) else {
                places::yield_now();
                continue;
            };
            // SAFETY: points into the `Arc` in `shown`. `show` lets that go when it has seen every
            // place idle behind its store: a claim before that holds it up, and one behind it reads
            // what the look left, so it sees the new pointer.
            let shared = unsafe { &*self.present.load(Ordering::Acquire) };
            let view = shared.registry.applied();
            if floor <= view {
                return Visit { place, shared, view, not_send: PhantomData };
            }
            // The floor is of a tree that was replaced by one that is behind it.
            place.release();
            floor = 0;
        }
    }
}

/// A look at one state of the tree.
pub struct Visit<'v> {
    place: &'v Place,
    shared: &'v Shared,
    view: u64,
    /// A thread has as many visits as calls under way, and lets go where it took.
    not_send: PhantomData<*const ()>,
}

impl Visit<'_> {
    /// The tree as it was when the visit began.
    #[inline]
    pub fn view(&self) -> View<'_> {
        View { pin: Pin { shared: self.shared, view: self.view } }
    }
}

impl Drop for Visit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.place.release();
    }
}

/// Where this thread looks for a place first: another one than its neighbours do.
#[inline]
fn start() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    // No destructor: a thread may end, and the library be unloaded, at any time.
    thread_local!(static START: Cell<usize> = const { Cell::new(usize::MAX) });
    START.with(|own| {
        if own.get() == usize::MAX {
            own.set(THREADS.fetch_add(1, Ordering::Relaxed) % (usize::MAX / 2));
        }
        own.get()
    })
}
