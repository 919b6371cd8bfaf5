//! Whether a block or an array is alive: a mark that only loom has, which tells every look behind the end,
//! or beside it.

#[cfg(not(loom))]
pub(super) struct Life;

#[cfg(not(loom))]
impl Life {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(super) fn look(&self) {}

    #[inline(always)]
    pub(super) fn end(&self) {}
}

#[cfg(loom)]
pub(super) use self::checked::{Life, bury, exhume};

#[cfg(loom)]
mod checked {
    use std::alloc::{Layout, dealloc};
    use std::cell::RefCell;
    use std::ptr::NonNull;

    use loom::cell::UnsafeCell;

    pub(in crate::tree::rcu) struct Life(UnsafeCell<bool>);

    impl Life {
        pub(in crate::tree::rcu) fn new() -> Self {
            Self(UnsafeCell::new(true))
        }

        pub(in crate::tree::rcu) fn look(&self) {
            // SAFETY: loom checks that no write is concurrent.
            self.0.with(|is_alive| assert!(unsafe { *is_alive }, "it was freed"));
        }

        pub(in crate::tree::rcu) fn end(&self) {
            // SAFETY: loom checks that no other access is concurrent.
            self.0.with_mut(|is_alive| assert!(std::mem::take(unsafe { &mut *is_alive })));
        }
    }

    thread_local! {
        // All threads of a model are one of the system's.
        static GRAVES: RefCell<Vec<(NonNull<u8>, Layout)>> = const { RefCell::new(Vec::new()) };
    }

    pub(in crate::tree::rcu) fn bury(memory: NonNull<u8>, layout: Layout) {
        GRAVES.with_borrow_mut(|graves| graves.push((memory, layout)));
    }

    /// Frees what was buried. When a tree is gone.
    pub(in crate::tree::rcu) fn exhume() {
        for (memory, layout) in GRAVES.take() {
            // SAFETY: who buried it allocated it so, and said that nobody can reach it.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
    }
}
