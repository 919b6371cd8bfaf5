//! `fw_counter`: a number that all can change.

use std::ffi::c_char;

use farwatch_client::recipes::Counter;

use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::client::fw_client;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, out, set_optional};
use crate::status::fw_status;

/// A number at a path, which each change changes once, also when its answer is lost. All functions on
/// it: any thread. Free it before its client.
pub struct fw_counter {
    _private: [u8; 0],
}

impl Opaque for fw_counter {
    type Body = Recipe<Counter>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_count");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// The counter at `path`, which begins at 0; `acl` as in `fw_semaphore_new`. kazoo's `Counter` counts in
/// the same node. Never blocks, and asks no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_counter_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    counter: *mut *mut fw_counter,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        make(client, path, path_len, acl, counter, |client, path, acl| {
            Counter::new(client, path).with_acl(acl)
        })
    })
}

/// The value as the connected server has it. `token` may be null; it grows with every change. May
/// block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_RECIPE_REFUSED` (the node holds no number),
/// and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_counter_get(
    counter: *mut fw_counter,
    timeout_ms: i64,
    value: *mut i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (value, counter) = (out(value)?, borrow(counter.cast_const())?);
        let count = counter.asker.ask(timeout_ms, |deadline| counter.recipe.get(deadline))?;
        value.set(count.value);
        set_optional(token, count.token.0);
        Ok(())
    })
}

/// Adds `delta`, which may be negative, once. `value` is what that makes; it and `token` may be null. May
/// block, so not in a callback. Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether
/// it may have been added, `FW_RECIPE_REFUSED` (the node holds no number, or it would leave its range),
/// and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_counter_add(
    counter: *mut fw_counter,
    delta: i64,
    timeout_ms: i64,
    value: *mut i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let counter = borrow(counter.cast_const())?;
        let count =
            counter.asker.ask(timeout_ms, |deadline| counter.recipe.add(delta, deadline))?;
        set_optional(value, count.value);
        set_optional(token, count.token.0);
        Ok(())
    })
}

/// Sets the counter to `desired` if it is `expected`, once. `token` may be null. May block, so not in a
/// callback. Fails with `FW_BAD_VERSION` if it is not, and as `fw_counter_add`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_counter_compare_and_set(
    counter: *mut fw_counter,
    expected: i64,
    desired: i64,
    timeout_ms: i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let counter = borrow(counter.cast_const())?;
        let count = counter.asker.ask(timeout_ms, |deadline| {
            counter.recipe.compare_and_set(expected, desired, deadline)
        })?;
        let count = count.ok_or_else(|| {
            let text = format!("the counter is not {expected}: read it, and decide again");
            Failure::new(fw_status::FW_BAD_VERSION, text)
        })?;
        set_optional(token, count.token.0);
        Ok(())
    })
}

/// Frees `counter`; its value stays. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_counter_free(counter: *mut fw_counter) -> fw_status {
    accessor!(free(counter))
}
