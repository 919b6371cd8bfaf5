//! `fw_lock`: a lock that is held.

use std::ffi::{c_char, c_void};
use std::time::Instant;

use farwatch_client::recipes::{Lock, LockGuard, ReadWriteLock, RecipeError};
use farwatch_client::{Acl, Client};

use crate::bytes::text;
use crate::callback::{Context, fw_destroy_fn};
use crate::client::{fw_client, patience};
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, set_optional, view};
use crate::recipes::Asker;
use crate::recipes::held::{Held, hold};
use crate::status::fw_status;
use crate::tenure::{Holding, fw_standing, fw_standing_fn};

/// A lock that is held, from the call that got it until it is released, freed, or lost with its
/// session. Pass its token with each use of what it guards, where an `fw_fence` refuses whoever was
/// overtaken. All functions on it: any thread. Free locks before their client.
pub struct fw_lock {
    _private: [u8; 0],
}

impl Opaque for fw_lock {
    type Body = Holding<Held>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_lockh");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// What gets a lock for a client, with nodes of these rights, until then.
type Acquire<'a> = dyn Fn(&Client, Vec<Acl>, Instant) -> Result<LockGuard, RecipeError> + 'a;

/// Gets a lock by what `acquire` does until the deadline, with the client's rights.
///
/// # Safety
/// The rules of [`crate::guard`].
unsafe fn get(
    client: *mut fw_client,
    timeout_ms: i64,
    lock: *mut *mut fw_lock,
    acquire: &Acquire<'_>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    unsafe {
        let client = borrow(client.cast_const())?;
        let acquire =
            |deadline| acquire(client.client(), client.rights(None), deadline).map(Held::Lock);
        hold(&Asker::new(&client), timeout_ms, lock, &acquire)
    }
}

/// Waits for the exclusive lock at `path` up to `timeout_ms` (negative: `requestTimeout`), in a fair
/// line of which each member is woken alone. Nodes are made as needed, with the rights of `fw_config_acl`; Curator's `InterProcessMutex`
/// at the same path contends, and so does kazoo's `Lock` where it is told what these nodes are called (docs/recipes.md). Not reentrant.
/// Nothing is left behind when it fails.
/// May block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_acquire(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    lock: *mut *mut fw_lock,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?;
        get(client, timeout_ms, lock, &|client, rights, deadline| {
            Lock::new(client, path).with_acl(rights).acquire(deadline)
        })
    })
}

/// As `fw_lock_acquire`, and waits for others no longer than `patience_ms`, which may be 0: then it
/// fails with `FW_TAKEN`. `timeout_ms` bounds all of it, the requests included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_try(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    patience_ms: u64,
    timeout_ms: i64,
    lock: *mut *mut fw_lock,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?;
        get(client, timeout_ms, lock, &|client, rights, deadline| {
            let wanted = Lock::new(client, path).with_acl(rights);
            let held = wanted.try_acquire(patience(patience_ms), deadline)?;
            held.ok_or_else(|| RecipeError::Taken { path: path.to_owned() })
        })
    })
}

/// As `fw_lock_acquire`, for a lock that readers share: waits until nobody writes. Readers' tokens
/// are not ordered by who acts: a fence admits those of writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_read(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    lock: *mut *mut fw_lock,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?;
        get(client, timeout_ms, lock, &|client, rights, deadline| {
            ReadWriteLock::new(client, path).with_acl(rights).read(deadline)
        })
    })
}

/// As `fw_lock_acquire`, for a lock that readers share: waits until nobody else reads or writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_write(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    lock: *mut *mut fw_lock,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?;
        get(client, timeout_ms, lock, &|client, rights, deadline| {
            ReadWriteLock::new(client, path).with_acl(rights).write(deadline)
        })
    })
}

/// The fencing token: it grows from holder to holder. 0 once released. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_token(lock: *const fw_lock) -> i64 {
    accessor!(view(lock, 0, Holding::token))
}

/// How it stands. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_standing(lock: *const fw_lock) -> fw_standing {
    accessor!(view(lock, fw_standing::FW_STANDING_LOST, Holding::standing))
}

/// For how many milliseconds from now nobody else can hold it, by this machine's clock; it is moved
/// on while servers confirm the session. 0 when nothing is certain. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_lease_ms(lock: *const fw_lock) -> u64 {
    accessor!(view(lock, 0, Holding::lease_ms))
}

/// Succeeds if it is certain at this moment that nobody else can hold it: ask before each act.
/// `token` may be null. Never blocks. Fails with `FW_LEASE_OVER` (stop for now) and `FW_LOST`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_check(
    lock: *const fw_lock,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let found = borrow(lock)?.check()?;
        set_optional(token, found);
        Ok(())
    })
}

/// Calls `callback` at each change of standing, on the client's thread; when the lock is lost already,
/// at once, on this one. Not after the lock was released or freed. `destroy` is called with `context`
/// exactly once, when no call can come any more, or when this fails. Never blocks. Fails with
/// `FW_NULL`, `FW_LOST` (it was released).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_on_change(
    lock: *mut fw_lock,
    callback: fw_standing_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        borrow(lock.cast_const())?.on_change(callback, context)
    })
}

/// Releases the lock, and returns when the next one can have it; free the handle afterwards. At the
/// deadline it goes on in the background, and `fw_error_maybe_applied` is true. May block, so not
/// in a callback. Fails with `FW_LOST` when it was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_release(
    lock: *mut fw_lock,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { borrow(lock.cast_const())?.release(timeout_ms) })
}

/// Frees the handle, and releases the lock in the background unless that was done. Null is allowed. May block:
/// waits for a callback that is running, up to two seconds, unless it is called from one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_lock_free(lock: *mut fw_lock) -> fw_status {
    accessor!(free(lock))
}
