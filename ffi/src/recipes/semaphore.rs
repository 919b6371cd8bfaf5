//! `fw_semaphore`: so many permits, and no more.

use std::ffi::c_char;

use farwatch_client::recipes::Semaphore;

use super::held::{Held, fw_tenure, hold};
use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::client::fw_client;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free};
use crate::status::fw_status;

/// So many permits at a path. All functions on it: any thread. Free it before its client.
pub struct fw_semaphore {
    _private: [u8; 0],
}

impl Opaque for fw_semaphore {
    type Body = Recipe<Semaphore>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_semap");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// How many there are of something, which cannot be none.
pub fn count(what: &str, count: u32) -> Result<usize, Failure> {
    if count == 0 {
        return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, format!("{what} is 0")));
    }
    Ok(count as usize)
}

/// The semaphore at `path` with `permits`, as all who use it must agree. What is created is made as
/// needed, with the rights of `acl`, or when that is null with those of `fw_config_acl`. Curator's
/// `InterProcessSemaphoreV2` at the same path contends. Never blocks, and asks no server. Fails with
/// `FW_BAD_ARGUMENT` (no permits).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_semaphore_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    permits: u32,
    acl: *const fw_acl,
    semaphore: *mut *mut fw_semaphore,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let permits = count("permits", permits)?;
        make(client, path, path_len, acl, semaphore, |client, path, acl| {
            Semaphore::new(client, path, permits).with_acl(acl)
        })
    })
}

/// Waits for a permit up to `timeout_ms` (negative: `requestTimeout`), in a fair line of which one at
/// a time looks. Nothing is left behind when it fails. May block, so not in a callback. Fails with
/// `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_semaphore_acquire(
    semaphore: *mut fw_semaphore,
    timeout_ms: i64,
    permit: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let semaphore = borrow(semaphore.cast_const())?;
        hold(&semaphore.asker, timeout_ms, permit, &|deadline| {
            semaphore.recipe.acquire(deadline).map(Held::Permit)
        })
    })
}

/// Frees `semaphore`, and no permit. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_semaphore_free(semaphore: *mut fw_semaphore) -> fw_status {
    accessor!(free(semaphore))
}
