//! Memory that O_DIRECT takes: aligned to blocks.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use farwatch_core::log::BatchBuffer;
use farwatch_core::log::format::BLOCK_BYTES;

/// A buffer of whole blocks, aligned to one, that grows and never shrinks.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone, as a `Box<[u8]>`'s does.
unsafe impl Send for AlignedBuffer {}

impl AlignedBuffer {
    pub(crate) fn new(bytes: usize) -> Self {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
        let layout = Self::layout(bytes);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, bytes }
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, BLOCK_BYTES).expect("a batch is smaller than memory")
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` points to `bytes` bytes that were zeroed when they were allocated and
        // live as long as `self`, which is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl BatchBuffer for AlignedBuffer {
    fn zeroed_tail(&mut self, bytes: usize, used: usize) -> &mut [u8] {
        if self.bytes < bytes {
            // Doubling keeps growing batches from allocating each time.
            *self = Self::new(bytes.next_power_of_two());
        }
        let slice = &mut self.as_mut_slice()[..bytes];
        slice[used..].fill(0);
        slice
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: `start` came from `alloc_zeroed` with this very layout and is freed once.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_zero_behind_what_is_used_even_when_it_is_used_again() {
        let mut buffer = AlignedBuffer::new(BLOCK_BYTES);
        buffer.zeroed_tail(3 * BLOCK_BYTES, 0).fill(7);
        assert!(buffer.as_slice().as_ptr().addr().is_multiple_of(BLOCK_BYTES));
        let again = buffer.zeroed_tail(BLOCK_BYTES, 5);
        assert_eq!((again[4], again[5], again.len()), (7, 0, BLOCK_BYTES));
        assert!(again[5..].iter().all(|&byte| byte == 0));
    }
}
