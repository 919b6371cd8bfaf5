//! Batches through an io_uring of our own, on the caller's thread.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use farwatch_core::log::{Placement, Ticket};
use io_uring::{IoUring, opcode, types};

use super::aligned::AlignedBuffer;
use super::driver::Done;

/// Entries of the ring: room for the deepest queue, and small enough to be locked under the limits
/// of common containers (64 KiB), which charge a ring's memory to the user.
const ENTRIES: u32 = 16;

/// Batches that may be in flight.
pub(crate) const DEPTH_MAX: usize = ENTRIES as usize;

struct Write {
    ticket: Ticket,
    bytes: usize,
    buffer: AlignedBuffer,
    /// Keeps the descriptor open until the kernel is done with it.
    _file: Arc<File>,
}

/// A ring whose completions count up an eventfd.
pub(crate) struct Ring {
    ring: IoUring,
    /// By the number that the kernel gives back.
    writes: [Option<Write>; DEPTH_MAX],
    in_flight: usize,
}

impl Ring {
    pub(crate) fn new(event: &File) -> io::Result<Self> {
        let ring = IoUring::new(ENTRIES)?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Self { ring, writes: Default::default(), in_flight: 0 })
    }

    /// Begins one write that is durable when it completes.
    pub(crate) fn begin(
        &mut self,
        file: &Arc<File>,
        placement: Placement,
        buffer: AlignedBuffer,
    ) -> io::Result<()> {
        let slot = self.writes.iter().position(Option::is_none).expect("depth is checked before");
        let bytes = u32::try_from(placement.bytes).expect("a batch is smaller than 4 GiB");
        let start = buffer.as_slice()[..placement.bytes].as_ptr();
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), start, bytes)
            .offset(placement.at)
            .rw_flags(libc::RWF_DSYNC)
            .build()
            .user_data(slot as u64);
        let (ticket, bytes, _file) = (placement.ticket, placement.bytes, file.clone());
        self.writes[slot] = Some(Write { ticket, bytes, buffer, _file });
        self.in_flight += 1;
        // SAFETY: the entry names a descriptor that `_file` keeps open and memory that `buffer`
        // owns. Both stay in `writes` until the completion is reaped, and `drop` waits for it.
        unsafe { self.ring.submission().push(&entry) }.expect("the ring is as deep as `writes`");
        loop {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next completed write, if there is one.
    pub(crate) fn reap(&mut self) -> Option<Done> {
        let entry = self.ring.completion().next()?;
        let write = self.writes[entry.user_data() as usize].take().expect("a write in flight");
        self.in_flight -= 1;
        let result = match usize::try_from(entry.result()) {
            Ok(written) if written == write.bytes => Ok(()),
            Ok(_short) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Err(_negative) => Err(io::Error::from_raw_os_error(-entry.result())),
        };
        Some(Done { ticket: write.ticket, result, buffer: write.buffer })
    }

    /// Waits until a write has completed.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        assert!(self.in_flight > 0, "there is something to wait for");
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ready_or_interrupted => Ok(()),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.in_flight > 0 {
            if self.wait().is_err() {
                // The kernel may still read this memory: it is better lost than given away.
                for write in self.writes.iter_mut().filter_map(Option::take) {
                    std::mem::forget(write);
                }
                return;
            }
            while self.reap().is_some() {}
        }
    }
}
