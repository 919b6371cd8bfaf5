//! The operations that most programs live on, each in one call.

use std::ffi::c_char;

use farwatch_client::{Acl, Operation};

use super::fw_client;
use crate::bytes::{optional_bytes, text};
use crate::error::{Failure, fw_error};
use crate::guard::{borrow, give, optional_out};
use crate::op::{Order, Plan, freshness};
use crate::result::fw_result;
use crate::status::fw_status;

/// Executes what `order` makes, and hands the answer to whoever wants it.
///
/// # Safety
/// The rules of [`crate::guard`].
unsafe fn call<O: Into<Order>>(
    client: *mut fw_client,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    order: impl FnOnce() -> Result<O, Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    let (client, result) = unsafe { (borrow(client.cast_const())?, optional_out(result)) };
    let answer = client.call(&order()?.into(), client.timeout(timeout_ms))?;
    if let Some(result) = result {
        result.set(give(answer));
    }
    Ok(())
}

/// Creates a node that everybody may do everything with: `fw_op_create` without the rarer wishes,
/// called as `fw_client_call` does. `mode` is an `fw_create_mode` without a time to live. The result
/// has a path and a stat. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_create(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    data: *const u8,
    data_len: usize,
    mode: u32,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || {
            let (path, data) = (text("path", path, path_len)?, optional_bytes(data, data_len)?);
            Plan::create(path, data, mode, 0, Acl::open())
        })
    })
}

/// Reads a node: `fw_op_get` and `fw_client_call`. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_get(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || Order::get(text("path", path, path_len)?, flags))
    })
}

/// Reads a node, as fresh as `fw_op_fresh` says: `fw_op_get`, `fw_op_fresh` and `fw_client_call`.
/// May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_get_fresh(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    at_least: i64,
    at_most_ms: i64,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || {
            let order = Order::get(text("path", path, path_len)?, flags)?;
            order.fresh(freshness(at_least, at_most_ms))
        })
    })
}

/// Replaces a node's data: `fw_op_set` and `fw_client_call`. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_set(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    data: *const u8,
    data_len: usize,
    version: i32,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || {
            let (path, data) = (text("path", path, path_len)?, optional_bytes(data, data_len)?);
            Ok(Plan::set(path, data, version))
        })
    })
}

/// Asks whether a node exists: `fw_op_exists` and `fw_client_call`. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_exists(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || Order::exists(text("path", path, path_len)?, flags))
    })
}

/// Asks whether a node exists, as fresh as `fw_op_fresh` says: `fw_op_exists`, `fw_op_fresh` and `fw_client_call`.
/// May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_exists_fresh(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    at_least: i64,
    at_most_ms: i64,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || {
            let order = Order::exists(text("path", path, path_len)?, flags)?;
            order.fresh(freshness(at_least, at_most_ms))
        })
    })
}

/// Lists a node's children: `fw_op_children` and `fw_client_call`. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_children(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || Order::children(text("path", path, path_len)?, flags))
    })
}

/// Lists a node's children, as fresh as `fw_op_fresh` says: `fw_op_children`, `fw_op_fresh` and `fw_client_call`.
/// May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_children_fresh(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    at_least: i64,
    at_most_ms: i64,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, result, || {
            let order = Order::children(text("path", path, path_len)?, flags)?;
            order.fresh(freshness(at_least, at_most_ms))
        })
    })
}

/// Deletes a node: `fw_op_delete` and `fw_client_call`. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_delete(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    version: i32,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, std::ptr::null_mut(), || {
            let path = text("path", path, path_len)?.to_owned();
            Ok(Plan::One(Operation::Delete { path, version }))
        })
    })
}

/// Waits until the session's server has caught up with the leader: `fw_op_sync` and
/// `fw_client_call`. May block, so not in a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_sync(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        call(client, timeout_ms, std::ptr::null_mut(), || {
            let path = text("path", path, path_len)?.to_owned();
            Ok(Plan::One(Operation::Sync { path }))
        })
    })
}
