//! The few calls of the system that the standard library has no name for.

use std::ffi::CString;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An eventfd with count 0, blocking: whoever waits for it reads its eight bytes, and io_uring waits
/// for a blocking one where it would answer EAGAIN for another.
pub(crate) fn event_fd() -> io::Result<File> {
    // SAFETY: eventfd takes two integers and touches no memory of ours.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Bytes that an unprivileged process may still allocate on the file system of `path`.
pub(crate) fn available_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero, and `stat` has the size and alignment that the call writes to.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it has filled the structure.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether nobody else, in any process, has `file` open, which is open for writing: only then is a lease of it
/// granted. It is given back at once, so that nobody is kept waiting who opens it later. A file system without
/// leases says no.
pub(crate) fn is_open_nowhere_else(file: &File) -> bool {
    let lease = |kind: libc::c_int| {
        // SAFETY: fcntl takes integers here, and the descriptor is open as long as `file` is.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
    };
    lease(libc::F_WRLCK) && lease(libc::F_UNLCK)
}

/// A random number that other servers and runs do not have.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    match File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)) {
        Ok(()) => u64::from_le_bytes(bytes),
        // A chroot without devices: the library's own keys come from the kernel too.
        Err(_) => RandomState::new().hash_one(std::process::id()),
    }
}
