//! Memory for when there is none.
//!
//! Rust ends the process when the system has no memory to give. Here the allocation is taken from a reserve
//! instead, which lasts for what is under way, and from then on entry points answer `FW_NO_MEMORY` until
//! there is memory again.
//!
//! ```text
//! allocation ──► the system ──► none: the reserve, and `is_out` from now on
//! entry point ──► is_out? ──► a probe of the system ──► none: FW_NO_MEMORY;  some: not out any more
//! ```
//!
//! What remains: more than the reserve at once, or by many threads together, still ends the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Failure;
use crate::status::fw_status;

/// What the reserve has, in units. It takes no memory before it is used, and nothing of the library's file.
const RESERVE_UNITS: usize = (2 << 20) / UNIT_BYTES;

/// The reserve is given in these, bytes.
const UNIT_BYTES: usize = 64;

/// What must be there before anything is begun, bytes: what an operation takes, several times over.
const PROBE_BYTES: usize = 64 << 10;

/// What must be there before a handle with threads is opened, bytes.
const OPEN_BYTES: usize = 4 << 20;

#[global_allocator]
static ALLOCATOR: Reserving = Reserving;

static RESERVE: Reserve<RESERVE_UNITS> = Reserve::new();

/// Aligned for whatever is put at its beginning.
#[repr(C, align(4096))]
struct Units<const UNITS: usize>([[u8; UNIT_BYTES]; UNITS]);

struct Reserve<const UNITS: usize> {
    units: UnsafeCell<Units<UNITS>>,
    /// Which are taken. Whoever holds `is_locked` may look and write.
    taken: UnsafeCell<[bool; UNITS]>,
    /// Held for a walk over `taken`; no thread sleeps with it.
    is_locked: AtomicBool,
    /// Whether it was needed since the system last had memory.
    is_out: AtomicBool,
}

// SAFETY: each unit belongs to whom `allocate` gave it, and to nobody before and after; `taken` is looked at
// under its lock.
unsafe impl<const UNITS: usize> Sync for Reserve<UNITS> {}

impl<const UNITS: usize> Reserve<UNITS> {
    const fn new() -> Self {
        Self {
            units: UnsafeCell::new(Units([[0; UNIT_BYTES]; UNITS])),
            taken: UnsafeCell::new([false; UNITS]),
            is_locked: AtomicBool::new(false),
            is_out: AtomicBool::new(false),
        }
    }

    fn begin(&self) -> *mut u8 {
        self.units.get().cast()
    }

    /// Looks at what is taken, alone.
    fn with_taken<R>(&self, look: impl FnOnce(&mut [bool; UNITS]) -> R) -> R {
        while self.is_locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: nobody else does, as long as the lock is held.
        let result = look(unsafe { &mut *self.taken.get() });
        self.is_locked.store(false, Ordering::Release);
        result
    }

    /// The first room for it, or null.
    fn allocate(&self, layout: Layout) -> *mut u8 {
        self.is_out.store(true, Ordering::Relaxed);
        if align_of::<Units<UNITS>>() < layout.align() || UNITS * UNIT_BYTES < layout.size() {
            return std::ptr::null_mut();
        }
        let (wanted, step) = (units(layout.size()), units(layout.align()));
        let found = self.with_taken(|taken| {
            let mut at = 0;
            while at + wanted <= UNITS {
                let Some(in_the_way) = taken[at..at + wanted].iter().rposition(|taken| *taken)
                else {
                    taken[at..at + wanted].fill(true);
                    return Some(at);
                };
                at = (at + in_the_way + 1).next_multiple_of(step);
            }
            None
        });
        found.map_or(std::ptr::null_mut(), |at| self.begin().wrapping_add(at * UNIT_BYTES))
    }

    fn holds(&self, pointer: *mut u8) -> bool {
        (self.begin().addr()..self.begin().addr() + UNITS * UNIT_BYTES).contains(&pointer.addr())
    }

    /// Takes back what it gave for such a layout.
    fn take_back(&self, pointer: *mut u8, layout: Layout) {
        let at = (pointer.addr() - self.begin().addr()) / UNIT_BYTES;
        self.with_taken(|taken| taken[at..at + units(layout.size())].fill(false));
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).max(1)
}

struct Reserving;

// Not inlined: at thousands of places it would be a seventh of the library.
// SAFETY: the system's allocator keeps the rules; the reserve gives each byte to one allocation at a time.
unsafe impl GlobalAlloc for Reserving {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let pointer = unsafe { System.alloc(layout) };
        if pointer.is_null() { RESERVE.allocate(layout) } else { pointer }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            return pointer;
        }
        let pointer = RESERVE.allocate(layout);
        if !pointer.is_null() {
            // SAFETY: the reserve gave so much. It may have been used before.
            unsafe { pointer.write_bytes(0, layout.size()) };
        }
        pointer
    }

    #[inline(never)]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if RESERVE.holds(pointer) {
            RESERVE.take_back(pointer, layout);
        } else {
            // SAFETY: it is the system's, and the caller's promise is the same.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !RESERVE.holds(pointer) {
            // SAFETY: it is the system's, and the caller's promise is the same.
            let moved = unsafe { System.realloc(pointer, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: the caller promises that this size can be had with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: its size is not 0, says the caller.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are there, for at least so much, and apart.
            unsafe { moved.copy_from_nonoverlapping(pointer, layout.size().min(size)) };
            // SAFETY: it is whoever's it was, and the caller gave it up.
            unsafe { self.dealloc(pointer, layout) };
        }
        moved
    }
}

/// Whether the reserve was needed and there still is no memory. One load where there is.
pub fn is_out() -> bool {
    RESERVE.is_out.load(Ordering::Relaxed) && !is_there()
}

/// Fails when memory has run out, and nothing should be begun.
pub fn refuse_if_out() -> Result<(), Failure> {
    if is_out() { Err(failure()) } else { Ok(()) }
}

/// Fails when there is not the memory that a thread should have before it is started. What has threads stays
/// loaded from then on.
pub fn refuse_if_short() -> Result<(), Failure> {
    if !is_there() || !is_there_in_bulk() {
        return Err(failure());
    }
    crate::stay::stay();
    Ok(())
}

/// Opens a handle that has threads, if there is memory for it before and after; what is not handed out is ended
/// by `leave`.
pub fn open<T>(
    open: impl FnOnce() -> Result<T, Failure>,
    leave: impl FnOnce(T),
) -> Result<T, Failure> {
    refuse_if_short()?;
    let opened = open()?;
    if let Err(failure) = refuse_if_out() {
        leave(opened);
        return Err(failure);
    }
    Ok(opened)
}

fn failure() -> Failure {
    Failure::retriable(fw_status::FW_NO_MEMORY, "the system has no memory to give")
}

/// Whether the system has memory for an operation. If so, the reserve is not needed any more.
fn is_there() -> bool {
    const PROBE: Layout = Layout::new::<[u8; PROBE_BYTES]>();
    // SAFETY: its size is not 0.
    let probe = unsafe { System.alloc(PROBE) };
    RESERVE.is_out.store(probe.is_null(), Ordering::Relaxed);
    if !probe.is_null() {
        // SAFETY: made with this layout, right above.
        unsafe { System.dealloc(probe, PROBE) };
    }
    !probe.is_null()
}

/// Whether the system has what a handle with threads takes. Asked of the kernel: an allocator remembers that
/// so much was let go, and keeps more from then on.
fn is_there_in_bulk() -> bool {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new place, which nobody else knows.
    unsafe {
        let place = libc::mmap(std::ptr::null_mut(), OPEN_BYTES, rights, kind, -1, 0);
        place != libc::MAP_FAILED && libc::munmap(place, OPEN_BYTES) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: usize = 1024;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn what_is_given_is_aligned_and_apart_and_room_again_when_it_is_back() {
        let reserve = Box::new(Reserve::<UNITS>::new());
        let layouts =
            [(1, 1), (24, 8), (65, 1), (100, 128), (4096, 4096), (1, 1)].map(|(s, a)| layout(s, a));
        let mut given: Vec<(usize, usize)> = Vec::new();
        let pointers = layouts.map(|layout| {
            let at = reserve.allocate(layout);
            assert!(reserve.holds(at) && at.addr().is_multiple_of(layout.align()));
            let end = at.addr() + layout.size();
            assert!(given.iter().all(|(from, to)| end <= *from || *to <= at.addr()));
            given.push((at.addr(), end));
            at
        });
        reserve.take_back(pointers[2], layouts[2]);
        assert_eq!(reserve.allocate(layout(128, 1)), pointers[2]);
        let all = layout(UNITS * UNIT_BYTES, 1);
        assert!(reserve.allocate(all).is_null());
        for (pointer, layout) in pointers.into_iter().zip(layouts) {
            reserve.take_back(pointer, layout);
        }
        assert_eq!(reserve.allocate(all), reserve.begin());
        assert!(reserve.allocate(layout(1, 1)).is_null());
        assert!(reserve.is_out.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_larger_than_the_reserve_or_aligned_beyond_it_is_not_given() {
        let reserve = Box::new(Reserve::<UNITS>::new());
        let size = UNITS * UNIT_BYTES;
        for (size, align) in [(size + 1, 1), (1, 8192), (isize::MAX as usize - 8191, 8192)] {
            assert!(reserve.allocate(layout(size, align)).is_null());
        }
        assert!(reserve.with_taken(|taken| taken.iter().all(|taken| !taken)));
    }
}
