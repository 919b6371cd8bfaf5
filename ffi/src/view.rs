//! `fw_view`: several reads of one state.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use farwatch_client::Outcome;
use farwatch_core::tree::Still;

use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, optional_out, out, view};
use crate::node::{fw_node, lend_node, names_of};
use crate::observer::{find, fw_observer, path_bytes};
use crate::result::{ResultBody, fw_result, fw_stat, stat_place};
use crate::status::fw_status;

/// The replica as it was after one transaction, for as long as it is kept. What is replaced meanwhile and is of
/// this state stays in memory (`versions_kept` of `fw_lag` counts it), at most as much as the replica took: free it
/// when the reads are done. It outlives its observer. All functions on it: any thread, at once; they never block:
/// no lock and, up to 64 reads at once, no system call.
pub struct fw_view {
    _private: [u8; 0],
}

/// The state, and where it may be let go: a forked process would wait for a lock that nobody holds there.
pub struct ViewBody {
    still: std::mem::ManuallyDrop<Still>,
    process: u32,
    /// Scans of it that are under way: what they call must not free it.
    scans: AtomicUsize,
}

/// A scan that is under way.
pub struct Scan<'a>(&'a AtomicUsize);

impl<'a> Scan<'a> {
    /// Until it is dropped the view is not freed.
    pub fn of(view: &'a ViewBody) -> Self {
        view.scans.fetch_add(1, Ordering::Relaxed);
        Self(&view.scans)
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ViewBody {
    fn new(still: Still) -> Self {
        let still = std::mem::ManuallyDrop::new(still);
        Self { still, process: std::process::id(), scans: AtomicUsize::new(0) }
    }

    /// The state.
    pub fn view(&self) -> farwatch_core::tree::View<'_> {
        self.still.view()
    }
}

impl Drop for ViewBody {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: dropped once, here, and not looked at again.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.still) };
        }
    }
}

impl Opaque for fw_view {
    type Body = ViewBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_view_");
}

/// Keeps the present state. Takes a lock for an instant, any thread. Fails with `FW_NULL`, `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_view(
    observer: *const fw_observer,
    view: *mut *mut fw_view,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let place = out(view)?;
        let observer = borrow(observer)?;
        // Another thread may have held the lock when the process was forked.
        observer.refuse_forked()?;
        place.set(give(ViewBody::new(observer.observer.hold())));
        Ok(())
    })
}

/// The transaction that the state is of.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_view_zxid(view: *const fw_view) -> i64 {
    accessor!(self::view(view, 0, |view| view.view().zxid().as_i64()))
}

/// The data of a node, where it lies: `data` (null for null) and `len` are valid until the view is freed.
/// `stat` may be null, else its `size` must be set. Fails with `FW_NO_NODE`, `FW_NULL`,
/// `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_view_get(
    view: *const fw_view,
    path: *const c_char,
    path_len: usize,
    data: *mut *const u8,
    len: *mut usize,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        // SAFETY: as in `border`.
        let (view, path, data) =
            unsafe { (borrow(view)?, path_bytes(path, path_len)?, out(data)?) };
        let Some(node) = view.view().get(path) else { return Ok(false) };
        // SAFETY: null, or it begins with its size.
        if let Some(stat) = unsafe { stat_place(stat) }? {
            stat.fill(&node.stat());
        }
        let found = node.data();
        // SAFETY: as in `border`.
        if let Some(len) = unsafe { optional_out(len) } {
            len.set(found.map_or(0, <[u8]>::len));
        }
        data.set(found.map_or(std::ptr::null(), <[u8]>::as_ptr));
        Ok(true)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// The names of a node's children, in the order of their creation, and its stat. Free the result with
/// `fw_result_free`. Fails with `FW_NO_NODE`, `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_view_children(
    view: *const fw_view,
    path: *const c_char,
    path_len: usize,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        // SAFETY: as in `border`.
        let (view, path, place) =
            unsafe { (borrow(view)?, path_bytes(path, path_len)?, out(result)?) };
        let Some(node) = view.view().get(path) else { return Ok(false) };
        let outcome = Outcome::Children { names: names_of(&node), stat: node.stat() };
        place.set(give(ResultBody::from(outcome)));
        Ok(true)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// Told a node; false ends the scan. `node` is valid until the view is freed only through what its
/// functions return; the pointer itself until this returns.
pub type fw_scan_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, node: *const fw_node) -> bool>;

/// Calls `told` with the node at `path` and with all below it, parents first, children in the order of
/// their creation, in this thread, until it says false. It must not free `view`. Fails with `FW_NO_NODE`,
/// `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_view_scan(
    view: *const fw_view,
    path: *const c_char,
    path_len: usize,
    told: fw_scan_fn,
    context: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        // SAFETY: as in `border`.
        let (view, path) = unsafe { (borrow(view)?, path_bytes(path, path_len)?) };
        scan(&view, path, told, context)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

fn scan(
    view: &ViewBody,
    path: &[u8],
    told: fw_scan_fn,
    context: *mut c_void,
) -> Result<bool, Failure> {
    let told = told.ok_or_else(|| Failure::new(fw_status::FW_NULL, "told is null"))?;
    let Some(root) = view.view().get(path) else { return Ok(false) };
    let _under_way = Scan::of(view);
    root.walk_while(&mut |node| {
        let mut goes_on = false;
        // SAFETY: the function is C's for this context; the node lives while it runs.
        lend_node(&node, |node| goes_on = unsafe { told(context, node) });
        goes_on
    });
    Ok(true)
}

/// `fw_view_scan` of a view of the present state, which is kept until this returns. Takes a lock for an
/// instant, any thread. Fails with `FW_NO_NODE`, `FW_NULL`, `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_scan(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    told: fw_scan_fn,
    context: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        // SAFETY: as in `border`.
        let (observer, path) = unsafe { (borrow(observer)?, path_bytes(path, path_len)?) };
        observer.refuse_forked()?;
        scan(&ViewBody::new(observer.observer.hold()), path, told, context)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// Frees `view`, and what only it kept in memory. Null is allowed. Never blocks for long. In what
/// `fw_view_scan` and `fw_view_children_each` call for this view it answers `FW_IN_CALLBACK`, and frees nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_view_free(view: *mut fw_view) -> fw_status {
    let is_scanned = |view: &ViewBody| view.scans.load(Ordering::Relaxed) != 0;
    if accessor!(self::view(view.cast_const(), false, is_scanned)) {
        return fw_status::FW_IN_CALLBACK;
    }
    accessor!(free(view))
}
