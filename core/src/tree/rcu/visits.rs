//! Reads from any thread, of whichever tree is the present one.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError};

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicPtr, Ordering},
};

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
        drop(self.turn_to(tree));
    }

    /// The same in two steps: who comes from now on sees `tree`, and whoever looks at the old one is waited for
    /// when what is returned is dropped. Between the two a caller may change, under a lock of its own, what others
    /// find beside this door.
    pub fn turn_to(&self, tree: &Arc<Tree>) -> Turned<'_> {
        let next = Arc::clone(&tree.shared);
        next.registry.heed(Arc::clone(&self.places));
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        self.present.store(Arc::as_ptr(&next).cast_mut(), Ordering::Release);
        Turned { places: &self.places, shown, next }
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
            // SAFETY: points into the `Arc` in `shown`. `Turned` lets that go when it has seen every
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

/// A door that shows another tree, and whose old one may still be looked at.
#[must_use = "the old tree is let go when it is dropped"]
pub struct Turned<'v> {
    places: &'v Places,
    /// What keeps the old tree, until nobody looks at it any more.
    shown: MutexGuard<'v, Arc<Shared>>,
    next: Arc<Shared>,
}

impl Drop for Turned<'_> {
    fn drop(&mut self) {
        self.places.quiesce();
        *self.shown = Arc::clone(&self.next);
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
        View { pin: Pin { shared: self.shared, view: self.view, walks: None } }
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
pub(super) fn start() -> usize {
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

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::tree::restore::BUILT_IN;
    use crate::tree::{Restorer, TreeOptions, Writer};
    use crate::zxid::Zxid;
    use loom::cell::UnsafeCell;
    use loom::thread;
    use std::ptr;

    /// The root alone, at `zxid`.
    fn tree_at(zxid: u64) -> (Writer, Arc<Tree>) {
        let mut restorer = Restorer::new(TreeOptions { hash_seed: 1 });
        restorer.push(&BUILT_IN[0]).expect("it is the first");
        restorer.finish(Zxid(zxid)).expect("the root is there")
    }

    /// A door, and what only visitors of the old tree look at.
    struct House {
        visits: Visits,
        old: Arc<Tree>,
        of_old: UnsafeCell<()>,
    }

    impl House {
        /// Whether the visit was of the old tree; each of them is seen as it was.
        fn visit(&self) -> bool {
            let visit = self.visits.enter();
            let is_old = ptr::eq(visit.shared, &*self.old.shared);
            assert_eq!(visit.view().zxid(), Zxid(if is_old { 5 } else { 3 }));
            if is_old {
                self.of_old.with(|_| ());
            }
            is_old
        }
    }

    /// The tree that is shown is behind the old one, as after a restart with an older snapshot.
    #[test]
    fn nobody_is_in_a_tree_behind_the_show_of_another() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2); // three take more than five minutes
        model.check(|| {
            let (_old_writer, old) = tree_at(5);
            let visits = Visits::new(&old);
            // The writer's look, from which visitors have their floor.
            old.shared.registry.horizon();
            let house = Arc::new(House { visits, old, of_old: UnsafeCell::new(()) });
            let visitors = [(); 2].map(|()| {
                let house = Arc::clone(&house);
                thread::spawn(move || house.visit())
            });
            // Behind their start: only what shows it says that it is there.
            let (_next_writer, next) = tree_at(3);
            house.visits.show(&next);
            house.of_old.with_mut(|_| ());
            assert!(!house.visit());
            for visitor in visitors {
                visitor.join().expect("it saw one tree or the other");
            }
            // A floor of the old tree's holds up nothing in the new one.
            let _visit = house.visits.enter();
            assert!(next.shared.registry.horizon() <= 3);
        });
    }
}
