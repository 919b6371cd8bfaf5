//! How an observer is linked, for a queue.

use std::ffi::c_void;

use crate::error::fw_error;
use crate::event::EventBody;
use crate::guard::borrow;
use crate::observer::fw_observer;
use crate::queue::{Tag, fw_queue};
use crate::status::fw_status;

/// Has `queue` told how the observer is linked: at once, and with each change from then on, by completions with
/// `tag` and an event, which is `FW_EVENT_OBSERVER_LINKED`, `_UNLINKED` or `_ENDED`, the last one. So a loop knows
/// when the observer is ready, without `fw_observer_wait_ready`. Takes the place of an earlier queue; a null
/// `queue` takes it away. When that has returned nothing is put into the earlier one any more, and what is there
/// stays. Observer and queue may be freed in any order; freeing the observer ends it, and is told. Of one without a
/// thread (`thread` is `none`) changes are told while it is driven. Takes a lock for an instant, any thread. Fails
/// with `FW_NULL` (no observer), `FW_BAD_HANDLE`, `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_queue(
    observer: *const fw_observer,
    queue: *mut fw_queue,
    tag: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let observer = borrow(observer)?;
        observer.refuse_forked()?;
        if queue.is_null() {
            observer.observer.silence_link();
            return Ok(());
        }
        let (line, tag) = (borrow(queue.cast_const())?.line(), Tag::new(tag));
        observer.observer.on_link(move |linked| line.push_event(tag, EventBody::observer(linked)));
        Ok(())
    })
}
