//! What short visits tell the writer, without a lock and without joining.
//!
//! ```text
//! visitor  claim:  idle ─► floor     "I look at views ≥ floor, for an instant"      release: ─► idle
//! writer   floor:  the smallest of all places; what a transaction ≤ it replaced is free
//! ```
//!
//! A [`super::registry::Registry`] knows its readers; visitors come from any thread and stay for one
//! read, so there is a fixed number of places and whoever comes takes one that is idle.
//!
//! Both sides change a place with a read-modify-write, so one of them comes first. The visitor first:
//! the writer sees its floor. The writer first: the visitor's claim reads what the writer left, so it
//! sees everything that the writer did before its look, and what it applied; its view is that or later,
//! and nothing that such a view reaches is freed by that look.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// Visits at one moment; a further one waits for the instant until one of these ends.
#[cfg(not(loom))]
const PLACES: usize = 64;
#[cfg(loom)]
const PLACES: usize = 2;

/// Nobody is here.
const IDLE: u64 = u64::MAX;

/// One visit's announcement, alone on its cache lines: visitors do not slow each other.
#[repr(align(128))]
pub(super) struct Place(AtomicU64);

impl Place {
    /// The visitor keeps nothing that it read.
    pub(super) fn release(&self) {
        // Release: every read of the visit happens before the writer frees what it read.
        self.0.store(IDLE, Ordering::Release);
    }

    /// What is announced here, as the writer looks.
    fn look(&self) -> u64 {
        self.0.fetch_add(0, Ordering::AcqRel)
    }

    /// Whether nobody is here, for who looks again until that is so: only the look that finds it so has
    /// to come first or last, and the others change nothing.
    fn is_idle(&self) -> bool {
        self.0.compare_exchange(IDLE, IDLE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The places of one tree's visitors.
pub(super) struct Places {
    places: Box<[Place; PLACES]>,
    /// A zxid that was applied, to begin a visit with: where the writer stood at its last look.
    recent: AtomicU64,
}

impl Places {
    pub(super) fn new() -> Self {
        let places = std::array::from_fn(|_| Place(AtomicU64::new(IDLE)));
        Self { places: Box::new(places), recent: AtomicU64::new(0) }
    }

    /// A floor to claim a place with that is probably not before the applied zxid by much.
    pub(super) fn recent(&self) -> u64 {
        // Acquire: what was unlinked before that look is not found by who announces its floor.
        self.recent.load(Ordering::Acquire)
    }

    /// Takes the first idle place at `start` or behind it. `None`: all are taken at this moment.
    pub(super) fn claim(&self, start: usize, floor: u64) -> Option<&Place> {
        let (left, right) = self.places.split_at(start % PLACES); // of a constant: no division
        right.iter().chain(left).find(|place| {
            let Place(at) = place;
            at.load(Ordering::Relaxed) == IDLE
                && at.compare_exchange(IDLE, floor, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })
    }

    /// The writer's look, which stands at `applied`: the smallest floor of all visits under way, or
    /// `u64::MAX` without any.
    pub(super) fn floor(&self, applied: u64) -> u64 {
        self.recent.store(applied, Ordering::Release);
        self.places.iter().map(Place::look).min().unwrap_or(IDLE)
    }

    /// Waits until every visit that is under way has ended. Later ones see what the caller did before.
    pub(super) fn quiesce(&self) {
        for place in self.places.iter() {
            while !place.is_idle() {
                yield_now();
            }
        }
    }
}

/// Lets others go on: a visitor that stands still was interrupted in the middle of a read.
pub(super) fn yield_now() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    #[allow(clippy::disallowed_methods)] // it waits for a thread of the caller's, not for time
    std::thread::yield_now();
}

#[cfg(all(test, loom))]
#[allow(unsafe_code)] // loom's cell is read through a pointer, and loom itself finds the races
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// The tree in small: version `n` was made by transaction `n`, and freeing it writes to it.
    struct Small {
        places: Places,
        applied: AtomicU64,
        newest: AtomicUsize,
        memory: [UnsafeCell<u64>; 3],
    }

    const UNLINKED: usize = 9;

    impl Small {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                places: Places::new(),
                applied: AtomicU64::new(0),
                newest: AtomicUsize::new(0),
                memory: [0, 1, 2].map(UnsafeCell::new),
            })
        }

        fn visit(&self, start: usize) {
            let place = self.places.claim(start, self.places.recent()).expect("one is idle");
            let view = self.applied.load(Ordering::Acquire) as usize;
            let mut at = self.newest.load(Ordering::Acquire);
            while at != UNLINKED {
                // SAFETY: loom checks that no write is concurrent.
                self.memory[at].with(|it| assert_eq!(unsafe { *it }, at as u64));
                if at <= view {
                    break;
                }
                at -= 1;
            }
            place.release();
        }

        fn free(&self, version: usize) {
            // SAFETY: as above.
            self.memory[version].with_mut(|it| unsafe { *it = u64::MAX });
        }
    }

    #[test]
    fn what_a_visit_may_look_at_is_never_freed() {
        loom::model(|| {
            let small = Small::new();
            let visitor = Arc::clone(&small);
            let visitor = thread::spawn(move || {
                visitor.visit(0);
                visitor.visit(0);
            });
            let mut freed = 0;
            for zxid in 1..=2 {
                small.newest.store(zxid, Ordering::Release);
                small.applied.store(zxid as u64, Ordering::Release);
                let floor = small.places.floor(zxid as u64);
                // Version `n - 1` was replaced by transaction `n`.
                while freed < zxid && freed as u64 + 1 <= floor {
                    small.free(freed);
                    freed += 1;
                }
            }
            visitor.join().expect("no version was missing");
        });
    }

    /// A tombstone is reachable until it is unlinked, and freed by a later look than the one behind
    /// which it was unlinked.
    #[test]
    fn a_visit_that_found_a_tombstone_keeps_it() {
        loom::model(|| {
            let small = Small::new();
            let visitor = Arc::clone(&small);
            let visitor = thread::spawn(move || {
                visitor.visit(1);
                visitor.visit(0);
            });
            small.applied.store(1, Ordering::Release);
            if small.places.floor(1) >= 1 {
                small.newest.store(UNLINKED, Ordering::Release);
                small.applied.store(2, Ordering::Release);
                if small.places.floor(2) >= 2 {
                    small.free(0);
                }
            }
            visitor.join().expect("nothing was missing");
        });
    }

    #[test]
    fn what_visitors_were_shown_is_left_alone_until_they_are_gone() {
        loom::model(|| {
            let small = Small::new();
            let visitor = Arc::clone(&small);
            let visitor = thread::spawn(move || visitor.visit(0));
            small.newest.store(UNLINKED, Ordering::Release);
            small.places.quiesce();
            small.free(0);
            visitor.join().expect("nothing was missing");
        });
    }
}
