//! `fw_fence`: the guarded resource's side of fencing tokens.

use farwatch_client::recipes::{Fence, FencingToken};

use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, out, view};
use crate::status::fw_status;

/// The resource's memory of the largest token. It belongs to the resource and is stored with it: a
/// fence that forgets lets a holder in that was overtaken before. All functions on it: any thread,
/// never block.
pub struct fw_fence {
    _private: [u8; 0],
}

impl Opaque for fw_fence {
    type Body = Fence;
    const TAG: u64 = u64::from_le_bytes(*b"fw_fence");
}

/// Makes a fence that remembers `largest`: what the resource has stored, or 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fence_new(
    largest: i64,
    fence: *mut *mut fw_fence,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        out(fence)?.set(give(Fence::new(FencingToken(largest))));
        Ok(())
    })
}

/// Lets a use with `token` in, unless a larger one was here: then it fails with `FW_STALE_TOKEN`, and
/// its holder must stop. What follows must be done before the next use is admitted, by a lock of the
/// resource's own or in one transaction with the stored token. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fence_admit(
    fence: *mut fw_fence,
    token: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let admitted = borrow(fence.cast_const())?.admit(FencingToken(token));
        admitted.map_err(|stale| Failure::new(fw_status::FW_STALE_TOKEN, stale.to_string()))
    })
}

/// The largest token that was admitted: what to store. 0 for null. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fence_largest(fence: *const fw_fence) -> i64 {
    accessor!(view(fence, 0, |fence| fence.largest().0))
}

/// Frees `fence`. Null is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fence_free(fence: *mut fw_fence) -> fw_status {
    accessor!(free(fence))
}
