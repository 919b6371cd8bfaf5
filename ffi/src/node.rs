//! `fw_node`: a node where it lies in an observer's memory.

use std::ffi::c_char;

use farwatch_core::tree::Node;

use crate::error::{Failure, fw_error};
use crate::guard::optional_out;
use crate::result::{fill_stat, fw_stat};
use crate::status::fw_status;

/// A node of an observer's replica, while a function looks at it. What is asked of it lies in the
/// replica's memory and is valid as long as the node: until the function returns, or, in a view, until
/// the view is freed. Its functions: that thread, never block.
pub struct fw_node {
    _private: [u8; 0],
}

/// Lends `node` to C for as long as `work` runs.
pub fn lend_node(node: &Node<'_>, work: impl FnOnce(*const fw_node)) {
    work(std::ptr::from_ref(node).cast());
}

/// The names of its children. What is not UTF-8 is shown with marks of replacement.
pub fn names_of(node: &Node<'_>) -> Vec<String> {
    node.children().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// # Safety
/// `node` is null, or was lent by [`lend_node`] whose work has not returned.
unsafe fn node<'a>(node: *const fw_node) -> Option<&'a Node<'a>> {
    // SAFETY: the caller's promise is the same.
    unsafe { node.cast::<Node<'a>>().as_ref() }
}

/// The data, or null if it is null; not ended by a zero. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_node_data(node: *const fw_node, len: *mut usize) -> *const u8 {
    // SAFETY: C's programmer promised it.
    let data = unsafe { self::node(node) }.and_then(Node::data);
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
    let path = unsafe { self::node(node) }.map(Node::path);
    // SAFETY: as above.
    if let Some(len) = unsafe { optional_out(len) } {
        len.set(path.map_or(0, <[u8]>::len));
    }
    path.map_or(std::ptr::null(), |path| path.as_ptr().cast())
}

/// Fills `stat`, whose `size` must be set. Fails with `FW_NULL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_node_stat(
    node: *const fw_node,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let node =
            self::node(node).ok_or_else(|| Failure::new(fw_status::FW_NULL, "the node is null"))?;
        fill_stat(stat, &node.stat())
    })
}
