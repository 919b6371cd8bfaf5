//! `fw_node`: a node where it lies in an observer's memory.

use std::ffi::c_char;
use std::sync::atomic::{AtomicU64, Ordering};

use farwatch_core::tree::Node;

use crate::error::{Failure, fw_error};
use crate::guard::optional_out;
use crate::result::{fill_stat, fw_stat};
use crate::status::fw_status;

/// A node of an observer's replica, while a function looks at it. What is asked of it lies in the
/// replica's memory and is valid until the function returns, or, in a view, until the view is freed. All
/// functions on it: any thread, as long as it is lent; they never block.
pub struct fw_node {
    _private: [u8; 0],
}

/// What tells a node from other things.
const TAG: u64 = u64::from_le_bytes(*b"fw_node_");

/// A node on the stack of the function that lends it.
#[repr(C)]
struct Lent<'a> {
    tag: AtomicU64,
    node: Node<'a>,
}

/// Lends `node` to C for as long as `work` runs.
pub fn lend_node(node: &Node<'_>, work: impl FnOnce(*const fw_node)) {
    let lent = Lent { tag: AtomicU64::new(TAG), node: *node };
    work((&raw const lent).cast());
    // Who kept the pointer is likely to find this out, and not what comes to lie here.
    lent.tag.store(0, Ordering::Relaxed);
}

/// The names of its children. What is not UTF-8 is shown with marks of replacement.
pub fn names_of(node: &Node<'_>) -> Vec<String> {
    node.children().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// # Safety
/// `node` is null, was lent by [`lend_node`] whose work has not returned, or points to something of this
/// library.
unsafe fn node<'a>(node: *const fw_node) -> Result<&'a Node<'a>, Failure> {
    if node.is_null() {
        return Err(Failure::new(fw_status::FW_NULL, "the node is null"));
    }
    let lent = node.cast::<Lent<'a>>();
    // SAFETY: all that this library lends begins with a tag.
    if lent.is_aligned() && unsafe { (*lent).tag.load(Ordering::Relaxed) } == TAG {
        // SAFETY: its tag says that it is a node, which its lender still holds.
        return Ok(unsafe { &(*lent).node });
    }
    Err(Failure::fatal(fw_status::FW_BAD_HANDLE, "this is no node, or not any more"))
}

/// The data, or null if it is null; not ended by a zero. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_node_data(node: *const fw_node, len: *mut usize) -> *const u8 {
    // SAFETY: C's programmer promised it.
    let Ok(node) = (unsafe { self::node(node) }) else { return std::ptr::null() };
    let data = node.data();
    // SAFETY: as above.
    if let Some(len) = unsafe { optional_out(len) } {
        len.set(data.map_or(0, <[u8]>::len));
    }
    data.map_or(std::ptr::null(), <[u8]>::as_ptr)
}

/// The whole path; **not** ended by a zero. Null for null. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_node_path(node: *const fw_node, len: *mut usize) -> *const c_char {
    // SAFETY: C's programmer promised it.
    let Ok(node) = (unsafe { self::node(node) }) else { return std::ptr::null() };
    let path = node.path();
    // SAFETY: as above.
    if let Some(len) = unsafe { optional_out(len) } {
        len.set(path.len());
    }
    path.as_ptr().cast()
}

/// Fills `stat`, whose `size` must be set. Fails with `FW_NULL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_node_stat(
    node: *const fw_node,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    // Part of a read, which has begun: memory is neither needed nor asked for.
    ending!(error, { fill_stat(stat, &self::node(node)?.stat()) })
}
