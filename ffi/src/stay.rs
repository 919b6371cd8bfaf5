//! That the code stays while its threads may run, whatever a host unloads.
//!
//! The shared library is linked to stay (`build.rs`). The archive can be part of a host's own plugin, which
//! nobody linked so: with its first threads it asks the loader to keep whichever file it is in.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

static STAYS: AtomicBool = AtomicBool::new(false);

/// Keeps the file that holds this code until the process ends. Costs a load once that was done; does nothing in
/// a program's own file, which nobody unloads.
pub fn stay() {
    if !STAYS.load(Ordering::Relaxed) && is_kept() {
        STAYS.store(true, Ordering::Relaxed);
    }
}

fn is_kept() -> bool {
    // SAFETY: what is asked about is a function, the answer has room, and the name in it is the loader's own for a
    // file that is loaded as long as this runs. Only what is loaded already is asked for: nothing is run.
    unsafe {
        let mut found = std::mem::zeroed::<libc::Dl_info>();
        let code = stay as *const c_void;
        libc::dladdr(code, &raw mut found) != 0
            && !found.dli_fname.is_null()
            && !libc::dlopen(
                found.dli_fname,
                libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
            )
            .is_null()
    }
}
