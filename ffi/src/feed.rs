//! `fw_feed` and `fw_change`: an observer's changes, in order.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Instant;

use farwatch_core::zxid::Zxid;
use farwatch_observer::embedded::{Change, ChangeKind, Lost, Next, Subscription};

use crate::client::patience;
use crate::error::{Failure, fw_error};
use crate::event::EventBody;
use crate::guard::{Opaque, borrow, free, give, optional_out, out, view};
use crate::observer::{fw_observer, path_bytes, refuse_inside_read};
use crate::queue::{Notice, Tag, fw_queue};
use crate::result::{fill_stat, fw_stat};
use crate::status::fw_status;

/// As `from_zxid`: from now on. `FW_FROM_NOW` in the header.
const FROM_NOW: i64 = -1;

/// The changes at a node and below it, in the order of the history: for who waits for them (`fw_feed_next`), and for
/// a loop (`fw_feed_queue`). All functions on it: any thread; those that wait share the changes, each of which goes
/// to one of them.
pub struct fw_feed {
    _private: [u8; 0],
}

impl Opaque for fw_feed {
    type Body = Subscription;
    const TAG: u64 = u64::from_le_bytes(*b"fw_feed_");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// One change of one node. All functions on it: any thread, never block.
pub struct fw_change {
    _private: [u8; 0],
}

impl Opaque for fw_change {
    type Body = Arc<Change>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_chang");
}

/// What happened to a node.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum fw_change_kind {
    /// It was created.
    FW_CHANGE_CREATED = 1,
    /// It was deleted.
    FW_CHANGE_DELETED = 2,
    /// Its data was set.
    FW_CHANGE_SET = 3,
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::fatal(fw_status::FW_WINDOW_LOST, lost.to_string())
    }
}

/// Subscribes to the changes at `path` and below it (`/`: all): those behind transaction `from_zxid`, or
/// from now on with `FW_FROM_NOW`. To miss nothing: subscribe first, take a view, and pass over the
/// changes up to the view's zxid. The feed outlives its observer. Takes a lock for an instant, any thread.
/// Fails with `FW_WINDOW_LOST` (changes behind `from_zxid` are not known any more), `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_subscribe(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    from_zxid: i64,
    feed: *mut *mut fw_feed,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let place = out(feed)?;
        let observer = borrow(observer)?;
        observer.refuse_forked()?;
        let from = (from_zxid != FROM_NOW).then(|| Zxid(from_zxid.max(0).unsigned_abs()));
        let subscription = observer.observer.subscribe(path_bytes(path, path_len)?, from)?;
        place.set(give(subscription));
        Ok(())
    })
}

/// Takes the next change and waits up to `timeout_ms` for it: 0 looks and does not wait. Free it with
/// `fw_change_free`. May block, any thread; in what `fw_observer_read` calls, which the observer may wait
/// for, it must not. Fails with `FW_TIMEOUT` (nothing so far), `FW_WINDOW_LOST` (changes were missed: read
/// what is there and subscribe again from that view's zxid), `FW_CLOSED` (the observer ended),
/// `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_feed_next(
    feed: *mut fw_feed,
    timeout_ms: u64,
    change: *mut *mut fw_change,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let place = out(change)?;
        if timeout_ms != 0 {
            refuse_inside_read()?;
        }
        let feed = borrow(feed.cast_const())?;
        match feed.next(Instant::now() + patience(timeout_ms))? {
            Next::Change(change) => place.set(give(change)),
            Next::Nothing => {
                let text = "nothing changed so far";
                return Err(Failure::retriable(fw_status::FW_TIMEOUT, text));
            }
            Next::Ended(reason) => {
                let text = format!("the observer ended: {reason}");
                return Err(Failure::fatal(fw_status::FW_CLOSED, text));
            }
        }
        Ok(())
    })
}

/// Has `queue` told when `fw_feed_next` has something: a change, `FW_WINDOW_LOST` or `FW_CLOSED`. One completion
/// comes with `tag` and an `FW_EVENT_FEED`, at once if there is something now. Take all there is then, by
/// `fw_feed_next` with a `timeout_ms` of 0 until `FW_TIMEOUT`: that asks for the next completion, and before it
/// none comes, however much changes. Behind `FW_WINDOW_LOST` or `FW_CLOSED` none comes any more. A completion may
/// find nothing, where another thread took it; and one of a feed is in the queue at a time. Takes the place of an
/// earlier queue; a null `queue` takes it away. When that has returned, as when `fw_feed_free` has, nothing is put
/// into the earlier one any more, and what is there stays. Feed and queue may be freed in any order. Takes a lock
/// for an instant, any thread. Fails with `FW_NULL` (no feed), `FW_BAD_HANDLE`, `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_feed_queue(
    feed: *mut fw_feed,
    queue: *mut fw_queue,
    tag: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let feed = borrow(feed.cast_const())?;
        if queue.is_null() {
            feed.silence();
            return Ok(());
        }
        let line = borrow(queue.cast_const())?.line();
        let notice = Notice::new(line, Tag::new(tag), EventBody::feed);
        feed.on_more(move || notice.put());
        Ok(())
    })
}

/// Up to where everything was told; at first, where the feed begins. Takes a lock for an instant, any
/// thread, also while others wait in `fw_feed_next`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_feed_zxid(feed: *const fw_feed) -> i64 {
    accessor!(view(feed, 0, |feed| feed.zxid().as_i64()))
}

/// Frees `feed`; changes that it gave stay valid. Null is allowed. Takes a lock for an instant where it has a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_feed_free(feed: *mut fw_feed) -> fw_status {
    accessor!(free(feed))
}

/// By which transaction. Changes of one transaction of several operations share it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_change_zxid(change: *const fw_change) -> i64 {
    accessor!(view(change, 0, |change| change.zxid.as_i64()))
}

/// What happened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_change_kind_of(change: *const fw_change) -> fw_change_kind {
    accessor!(view(change, fw_change_kind::FW_CHANGE_DELETED, |change| match change.kind {
        ChangeKind::Created => fw_change_kind::FW_CHANGE_CREATED,
        ChangeKind::Deleted => fw_change_kind::FW_CHANGE_DELETED,
        ChangeKind::Set => fw_change_kind::FW_CHANGE_SET,
    }))
}

/// The node's whole path; **not** ended by a zero. `len` may be null. Valid until the change is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_change_path(
    change: *const fw_change,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(change, std::ptr::null(), |change| {
        if let Some(len) = optional_out(len) {
            len.set(change.path.len());
        }
        change.path.as_ptr().cast()
    }))
}

/// The node's data right behind the transaction; null if it is null, or if the node was deleted. `len` may
/// be null. Valid until the change is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_change_data(change: *const fw_change, len: *mut usize) -> *const u8 {
    accessor!(view(change, std::ptr::null(), |change| {
        let data = change.data.as_deref();
        if let Some(len) = optional_out(len) {
            len.set(data.map_or(0, <[u8]>::len));
        }
        data.map_or(std::ptr::null(), <[u8]>::as_ptr)
    }))
}

/// Fills `stat`, whose `size` must be set, with the node's right behind the transaction. Fails with
/// `FW_NO_NODE` (it was deleted), `FW_NULL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_change_stat(
    change: *const fw_change,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let change = borrow(change)?;
        let deleted = || Failure::new(fw_status::FW_NO_NODE, "the node was deleted");
        fill_stat(stat, change.stat.as_ref().ok_or_else(deleted)?)
    })
}

/// Frees `change`. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_change_free(change: *mut fw_change) -> fw_status {
    accessor!(free(change))
}
