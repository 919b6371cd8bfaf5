//! A node's children by their names, where they lie in an observer's memory.
//!
//! `fw_observer_children` and `fw_view_children` make a list, which is C's to keep and costs an allocation for
//! each name. These hand the names out one by one, and allocate nothing.

use std::ffi::{c_char, c_void};

use farwatch_core::tree::Node;

use crate::error::{Failure, fw_error};
use crate::guard::borrow;
use crate::observer::{find, fw_observer, look_at, path_bytes};
use crate::result::{fw_stat, stat_place};
use crate::status::fw_status;
use crate::view::{Scan, fw_view};

/// Told a child's name, `len` bytes as they are, **not** ended by a zero; false ends the telling. Valid until
/// this returns, of a view until that is freed.
pub type fw_child_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, name: *const c_char, len: usize) -> bool>;

/// Tells the names that `node` has, in the order of their creation, behind its stat.
///
/// # Safety
/// `stat` is null or begins with its size, as `guard`'s rules say of outputs.
unsafe fn tell(
    node: &Node<'_>,
    told: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> bool,
    context: *mut c_void,
    stat: *mut fw_stat,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    if let Some(stat) = unsafe { stat_place(stat) }? {
        stat.fill(&node.stat());
    }
    for name in node.children() {
        // SAFETY: the function is C's for this context; the name lives while it runs.
        if !unsafe { told(context, name.as_ptr().cast(), name.len()) } {
            break;
        }
    }
    Ok(())
}

fn not_null(
    told: fw_child_fn,
) -> Result<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> bool, Failure> {
    told.ok_or_else(|| Failure::new(fw_status::FW_NULL, "told is null"))
}

/// Calls `told` with the name of each child of the node at `path`, in the order of their creation, in this thread,
/// until it says false, which is a success too. All of them are of one state. `stat` is filled before the first
/// call; it may be null, else its `size` must be set. `told` must return at once, and must not read from an
/// observer, as with `fw_observer_read`: that answers `FW_IN_CALLBACK`. Takes no lock and, up to 64 reads at once,
/// never blocks; allocates nothing, so also in a signal handler (where `error` is null); any thread. Fails with
/// `FW_NO_NODE`, `FW_NULL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_children_each(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    told: fw_child_fn,
    context: *mut c_void,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        // SAFETY: as in `border`.
        let (observer, path) = unsafe { (borrow(observer)?, path_bytes(path, path_len)?) };
        let told = not_null(told)?;
        // SAFETY: as in `border`.
        let tell = |node: &Node<'_>| unsafe { tell(node, told, context, stat) };
        look_at(&observer, path, tell)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// Calls `told` with the name of each child that the node at `path` has in this state, in the order of their
/// creation, in this thread, until it says false, which is a success too. `stat` is filled before the first call; it
/// may be null, else its `size` must be set. `told` must not free `view`, and may read from it. Allocates nothing.
/// Fails with `FW_NO_NODE`, `FW_NULL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_view_children_each(
    view: *const fw_view,
    path: *const c_char,
    path_len: usize,
    told: fw_child_fn,
    context: *mut c_void,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        // SAFETY: as in `border`.
        let (view, path) = unsafe { (borrow(view)?, path_bytes(path, path_len)?) };
        let told = not_null(told)?;
        let Some(node) = view.view().get(path) else { return Ok(false) };
        let _under_way = Scan::of(&view);
        // SAFETY: as in `border`.
        unsafe { tell(&node, told, context, stat) }?;
        Ok(true)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}
