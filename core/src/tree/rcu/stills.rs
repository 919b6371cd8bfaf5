//! Views that are held for long, and how they are read.
//!
//! A reader's view is a floor: nothing that was replaced behind it goes. A view that is held is a point: only
//! what is of it stays, and what its reads merely pass on their way there may go meanwhile (see
//! [`super::reclaim`]). So each of them announces its walk, as a visit does: it claims one of 64 places with
//! the number of a look of the writer, goes from the index or from an entry of children to what is of its
//! view, and lets go. What it found is kept by the view itself.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use super::{AtomicPtr, Block, Pin, Shared, VersionRef, next_of, visits};
use crate::tree::places::{self, Place, Places};

/// A view that is held.
pub(in crate::tree) struct Point {
    shared: Arc<Shared>,
    view: u64,
}

impl Point {
    pub(in crate::tree) fn hold(shared: &Arc<Shared>) -> Self {
        let view = shared.registry.hold();
        Self { shared: Arc::clone(shared), view }
    }

    pub(in crate::tree) fn pin(&self) -> Pin<'_> {
        Pin { shared: &self.shared, view: self.view, walks: Some(&self.shared.walks) }
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        self.shared.registry.let_go(self.view);
    }
}

/// A walk under way: what it may meet is not freed until it ends.
pub(super) struct Walk<'r>(&'r Place);

impl<'r> Walk<'r> {
    #[inline]
    pub(super) fn begin(walks: &'r Places) -> Self {
        loop {
            if let Some(place) = walks.claim(visits::start(), walks.recent()) {
                return Self(place);
            }
            places::yield_now();
        }
    }
}

impl Drop for Walk<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Children that one walk finds: a walk for each of them would cost more than to find it.
const CHILDREN_OF_A_WALK: usize = if cfg!(loom) { 2 } else { 16 };

/// The children that the last walk found. Nobody is held up while they are looked at.
#[derive(Clone)]
pub(super) struct HeldChildren<'r> {
    walks: &'r Places,
    found: [Option<NonNull<Block>>; CHILDREN_OF_A_WALK],
    next: usize,
}

impl<'r> HeldChildren<'r> {
    pub(super) fn new(walks: &'r Places) -> Self {
        Self { walks, found: [None; CHILDREN_OF_A_WALK], next: CHILDREN_OF_A_WALK }
    }

    /// The next child of these in the view.
    #[inline(never)]
    pub(super) fn next(
        &mut self,
        entries: &mut slice::Iter<'r, AtomicPtr<Block>>,
        view: u64,
    ) -> Option<VersionRef<'r>> {
        if self.next == CHILDREN_OF_A_WALK {
            let _walk = Walk::begin(self.walks);
            for place in &mut self.found {
                *place = next_of(entries, view).map(|child| child.block);
            }
            self.next = 0;
        }
        let block = self.found[self.next]?; // at the end it stays there
        self.next += 1;
        // Of the view, which keeps it for as long as it is held.
        Some(VersionRef { block, view, walks: Some(self.walks), alive: PhantomData })
    }
}
