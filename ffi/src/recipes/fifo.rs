//! `fw_fifo`: a queue of items. `fw_queue` is another thing: where completions come to.

use std::ffi::c_char;

use farwatch_client::recipes::{Item, Queue};

use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::bytes::bytes;
use crate::client::fw_client;
use crate::error::fw_error;
use crate::guard::{Opaque, borrow, free, give, out, set_optional};
use crate::result::{ResultBody, fw_result};
use crate::status::fw_status;

/// First in, first out: Rust's `Queue`. Each item is put once and taken once, also when answers are
/// lost. All functions on it: any thread. Free it before its client.
pub struct fw_fifo {
    _private: [u8; 0],
}

impl Opaque for fw_fifo {
    type Body = Recipe<Queue>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_fifo_");
    const IS_BOUND_TO_PROCESS: bool = true;
}

fn result(item: Item) -> ResultBody {
    ResultBody::with_token(item.data, item.token.0)
}

/// The queue at `path`, for hundreds of items; `acl` as in `fw_semaphore_new`. Never blocks, and asks
/// no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fifo_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    fifo: *mut *mut fw_fifo,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        make(client, path, path_len, acl, fifo, |client, path, acl| {
            Queue::new(client, path).with_acl(acl)
        })
    })
}

/// Puts an item behind all others. `token` may be null; it grows from item to item. May block, so not
/// in a callback. Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the item may
/// have been put, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fifo_put(
    fifo: *mut fw_fifo,
    data: *const u8,
    data_len: usize,
    timeout_ms: i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (data, fifo) = (bytes(data, data_len)?, borrow(fifo.cast_const())?);
        let put = fifo.asker.ask(timeout_ms, |deadline| fifo.recipe.put(data, deadline))?;
        set_optional(token, put.0);
        Ok(())
    })
}

/// Takes the first item if there is one: the result's data is the item, its number the token; null
/// and 0 if there is none. May block, so not in a callback. Fails as `fw_fifo_take`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fifo_try_take(
    fifo: *mut fw_fifo,
    timeout_ms: i64,
    item: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (item, fifo) = (out(item)?, borrow(fifo.cast_const())?);
        let taken = fifo.asker.ask(timeout_ms, |deadline| fifo.recipe.try_take(deadline))?;
        item.set(give(taken.map(result).unwrap_or_default()));
        Ok(())
    })
}

/// Waits for an item up to `timeout_ms` (negative: `requestTimeout`) and takes it: the result's data is
/// the item, its number the token. Those that wait are served in order. An item is gone once it is
/// taken: if its taker may die with it, use an `fw_task_board`. May block, so not in a callback. Fails
/// with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether an item may have been taken, and as
/// `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fifo_take(
    fifo: *mut fw_fifo,
    timeout_ms: i64,
    item: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (item, fifo) = (out(item)?, borrow(fifo.cast_const())?);
        let taken = fifo.asker.ask(timeout_ms, |deadline| fifo.recipe.take(deadline))?;
        item.set(give(result(taken)));
        Ok(())
    })
}

/// Frees `fifo`, and no item. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_fifo_free(fifo: *mut fw_fifo) -> fw_status {
    accessor!(free(fifo))
}
