//! `fw_barrier` and `fw_double_barrier`: waiting until a way is free, beginning and ending together.

use std::ffi::c_char;

use farwatch_client::recipes::{Barrier, DoubleBarrier};

use super::held::{Held, fw_tenure, hold};
use super::semaphore::count;
use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::client::fw_client;
use crate::error::fw_error;
use crate::guard::{Opaque, borrow, free, set_optional};
use crate::status::fw_status;

/// A node that bars the way for as long as it is there. All functions on it: any thread. Free it before
/// its client.
pub struct fw_barrier {
    _private: [u8; 0],
}

impl Opaque for fw_barrier {
    type Body = Recipe<Barrier>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_barri");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// The barrier at `path`; `acl` as in `fw_semaphore_new`. Curator's `DistributedBarrier` and kazoo's
/// `Barrier` at the same path are the same barrier. Never blocks, and asks no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_barrier_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    barrier: *mut *mut fw_barrier,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        make(client, path, path_len, acl, barrier, |client, path, acl| {
            Barrier::new(client, path).with_acl(acl)
        })
    })
}

/// Bars the way; it may be barred already. It is not bound to the session: somebody has to lift it.
/// `token` may be null; it grows from one barring to the next. May block, so not in a callback.
/// Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the way may be barred
/// all the same, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_barrier_set(
    barrier: *mut fw_barrier,
    timeout_ms: i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let barrier = borrow(barrier.cast_const())?;
        let barred = barrier.asker.ask(timeout_ms, |deadline| barrier.recipe.set(deadline))?;
        set_optional(token, barred.0);
        Ok(())
    })
}

/// Frees the way for all that wait; it may be free already. May block, so not in a callback. Fails
/// with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the way may be free all the
/// same, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_barrier_lift(
    barrier: *mut fw_barrier,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let barrier = borrow(barrier.cast_const())?;
        barrier.asker.ask(timeout_ms, |deadline| barrier.recipe.lift(deadline))
    })
}

/// Waits until the way is free, up to `timeout_ms` (negative: `requestTimeout`). May block, so not in
/// a callback. Fails with `FW_TIMEOUT`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_barrier_wait(
    barrier: *mut fw_barrier,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let barrier = borrow(barrier.cast_const())?;
        barrier.asker.ask(timeout_ms, |deadline| barrier.recipe.wait(deadline))
    })
}

/// Frees `barrier`; the way stays as it is. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_barrier_free(barrier: *mut fw_barrier) -> fw_status {
    accessor!(free(barrier))
}

/// Nobody begins before all are there, and nobody ends before all are done. All functions on it: any
/// thread. Free it before its client.
pub struct fw_double_barrier {
    _private: [u8; 0],
}

impl Opaque for fw_double_barrier {
    type Body = Recipe<DoubleBarrier>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_doubl");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// For so many members at `path`; `acl` as in `fw_semaphore_new`. The same members may meet there round
/// after round; where one has died, take a fresh path. Never blocks, and asks no server. Fails with
/// `FW_BAD_ARGUMENT` (no members).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_double_barrier_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    members: u32,
    acl: *const fw_acl,
    barrier: *mut *mut fw_double_barrier,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let members = count("members", members)?;
        make(client, path, path_len, acl, barrier, |client, path, acl| {
            DoubleBarrier::new(client, path, members).with_acl(acl)
        })
    })
}

/// Waits until all members are there, up to `timeout_ms` (negative: `requestTimeout`); after a failure
/// this one is a member no more. `fw_tenure_release` of `inside` waits until all are done. May block, so
/// not in a callback. Fails with `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_double_barrier_enter(
    barrier: *mut fw_double_barrier,
    timeout_ms: i64,
    inside: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let barrier = borrow(barrier.cast_const())?;
        hold(&barrier.asker, timeout_ms, inside, &|deadline| {
            barrier.recipe.enter(deadline).map(Held::Inside)
        })
    })
}

/// Frees `barrier`; who is inside stays there. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_double_barrier_free(barrier: *mut fw_double_barrier) -> fw_status {
    accessor!(free(barrier))
}
