//! `fw_worker_ids`: small numbers, each handed out to one at a time.

use std::ffi::c_char;

use farwatch_client::recipes::WorkerIds;

use super::held::{Held, fw_tenure, hold};
use super::semaphore::count;
use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::client::fw_client;
use crate::error::fw_error;
use crate::guard::{Opaque, borrow, free};
use crate::status::fw_status;

/// The numbers below a bound, each of them one session's. All functions on it: any thread. Free it
/// before its client.
pub struct fw_worker_ids {
    _private: [u8; 0],
}

impl Opaque for fw_worker_ids {
    type Body = Recipe<WorkerIds>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_worke");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// The numbers from 0 to below `bound` at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks
/// no server. Fails with `FW_BAD_ARGUMENT` (no numbers).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_worker_ids_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    bound: u32,
    acl: *const fw_acl,
    ids: *mut *mut fw_worker_ids,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        count("bound", bound)?;
        make(client, path, path_len, acl, ids, |client, path, acl| {
            WorkerIds::new(client, path, bound).with_acl(acl)
        })
    })
}

/// Takes a number that nobody has: `fw_tenure_worker_id`. It comes back when it is released or its
/// session ends, which its owner may learn late: what is marked with it needs the token too, or an
/// `fw_snowflake`. May block, so not in a callback. Fails with `FW_TAKEN` (all of them), `FW_TIMEOUT`,
/// `FW_LOST`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_worker_ids_claim(
    ids: *mut fw_worker_ids,
    timeout_ms: i64,
    worker_id: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let ids = borrow(ids.cast_const())?;
        hold(&ids.asker, timeout_ms, worker_id, &|deadline| {
            ids.recipe.claim(deadline).map(Held::WorkerId)
        })
    })
}

/// Frees `ids`, and no number. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_worker_ids_free(ids: *mut fw_worker_ids) -> fw_status {
    accessor!(free(ids))
}
