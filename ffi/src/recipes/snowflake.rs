//! `fw_snowflake`: unique numbers from memory.

use std::ffi::{c_char, c_void};
use std::ops::Deref;

use farwatch_client::Acl;
use farwatch_client::recipes::{SNOWFLAKE_EPOCH_MS, Snowflake, SnowflakeOptions, Tenure};

use super::Asker;
use crate::acl::{fw_acl, optional_list};
use crate::bytes::text;
use crate::callback::{Context, fw_destroy_fn};
use crate::client::fw_client;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, out, set_optional, view};
use crate::status::fw_status;
use crate::tenure::{Holding, fw_standing, fw_standing_fn, given_up};

/// What ids count from unless a program has reasons of its own: the year 2020, milliseconds since 1970.
pub const FW_SNOWFLAKE_EPOCH_MS: u64 = 1_577_836_800_000;
const _: () = assert!(FW_SNOWFLAKE_EPOCH_MS == SNOWFLAKE_EPOCH_MS);

/// Makes unique ids: 41 bits of milliseconds, 10 of a worker id that it holds, 12 of a counter. No two
/// are ever equal, also where a worker id passes to another owner. All functions on it: any thread.
/// Free snowflakes before their client.
pub struct fw_snowflake {
    _private: [u8; 0],
}

impl Opaque for fw_snowflake {
    type Body = Holding<Flakes>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_snowf");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// A snowflake that is open; what it holds is its worker id.
pub struct Flakes(Snowflake);

impl Deref for Flakes {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        self.0.worker()
    }
}

/// Opens a snowflake at `path`.
///
/// # Safety
/// The rules of [`crate::guard`].
unsafe fn open(
    client: *mut fw_client,
    path: &str,
    options: SnowflakeOptions,
    acl: Option<Vec<Acl>>,
    timeout_ms: i64,
    snowflake: *mut *mut fw_snowflake,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    let (snowflake, client) = unsafe { (out(snowflake)?, borrow(client.cast_const())?) };
    let (asker, options) = (Asker::new(&client), options.acl(client.rights(acl)));
    let opened = asker
        .ask(timeout_ms, |deadline| Snowflake::open(client.client(), path, options, deadline))?;
    snowflake.set(give(Holding::of(asker, Flakes(opened))));
    Ok(())
}

/// Takes a worker id at `path` whose former owners made no id in this clock's future. Ids count from
/// `epoch_ms`, milliseconds since 1970, the same for all who must not share an id:
/// `FW_SNOWFLAKE_EPOCH_MS`. `acl` as in `fw_semaphore_new`. Waits up to `timeout_ms` (negative:
/// `requestTimeout`). May block, so not in a callback. Fails with `FW_TAKEN` (all 1024 ids),
/// `FW_RECIPE_REFUSED` (this clock is behind, or all free ids were in use in the last seconds),
/// `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_open(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    epoch_ms: u64,
    acl: *const fw_acl,
    timeout_ms: i64,
    snowflake: *mut *mut fw_snowflake,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (path, acl) = (text("path", path, path_len)?, optional_list(acl)?);
        let options = SnowflakeOptions::default().epoch_ms(epoch_ms);
        open(client, path, options, acl, timeout_ms, snowflake)
    })
}

/// What a snowflake counts time by instead of the system's clock: milliseconds since 1970. Called on any
/// thread, also on several at once, and on the client's own: return at once.
pub type fw_clock_fn = Option<unsafe extern "C" fn(context: *mut c_void) -> u64>;

/// As `fw_snowflake_open`, by a clock of the program's own; null is the system's. `destroy` is called with
/// `context` exactly once, when no call can come any more, or when this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_open_by_clock(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    epoch_ms: u64,
    acl: *const fw_acl,
    clock: fw_clock_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    timeout_ms: i64,
    snowflake: *mut *mut fw_snowflake,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        let (path, acl) = (text("path", path, path_len)?, optional_list(acl)?);
        let mut options = SnowflakeOptions::default().epoch_ms(epoch_ms);
        if let Some(clock) = clock {
            // The function is C's for this context, which lives as long as this closure.
            options = options.clock(move || clock(context.pointer()));
        }
        open(client, path, options, acl, timeout_ms, snowflake)
    })
}

/// An id that nobody else has or will have, larger than all that this has made before. From memory; every few
/// seconds it asks in the background for the next ones. Never blocks longer than the socket takes to take the
/// bytes. Fails with `FW_TAKEN` (not at this moment: the ids of this millisecond are made, or the servers have not
/// confirmed the next seconds yet), `FW_RECIPE_REFUSED` (the clock went back), `FW_LOST` (the worker id is another's,
/// or it was closed).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_try_next(
    snowflake: *mut fw_snowflake,
    id: *mut u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (id, snowflake) = (out(id)?, borrow(snowflake.cast_const())?);
        id.set(snowflake.get()?.0.try_next()?);
        Ok(())
    })
}

/// The same, and waits up to `timeout_ms` (negative: `requestTimeout`) where there is none at this
/// moment. May block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_RECIPE_REFUSED`, `FW_LOST`,
/// `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_next(
    snowflake: *mut fw_snowflake,
    timeout_ms: i64,
    id: *mut u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (id, snowflake) = (out(id)?, borrow(snowflake.cast_const())?);
        let deadline = snowflake.deadline(timeout_ms)?;
        id.set(snowflake.get()?.0.next(deadline)?);
        Ok(())
    })
}

/// The worker id that is in these ids; -1 once closed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_worker_id(snowflake: *const fw_snowflake) -> i64 {
    accessor!(view(snowflake, -1, |snowflake| {
        snowflake.get().map_or(-1, |open| open.0.worker().id().into())
    }))
}

/// The fencing token of its worker id: it grows from owner to owner. 0 once closed. Ids need none, as no two are
/// equal; what else is marked with the worker id is sent along with it. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_token(snowflake: *const fw_snowflake) -> i64 {
    accessor!(view(snowflake, 0, Holding::token))
}

/// How it stands with the worker id. While it is suspended, ids go on for the seconds that were confirmed. Never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_standing(snowflake: *const fw_snowflake) -> fw_standing {
    accessor!(view(snowflake, fw_standing::FW_STANDING_LOST, Holding::standing))
}

/// For how many milliseconds from now the worker id cannot have passed to anybody else: as `fw_lock_lease_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_lease_ms(snowflake: *const fw_snowflake) -> u64 {
    accessor!(view(snowflake, 0, Holding::lease_ms))
}

/// Succeeds if it is certain at this moment that the worker id is nobody else's: ask before what is done under
/// it, which making ids is not. `token` may be null. Never blocks. Fails with `FW_LEASE_OVER` (stop for now) and
/// `FW_LOST`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_check(
    snowflake: *const fw_snowflake,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let found = borrow(snowflake)?.check()?;
        set_optional(token, found);
        Ok(())
    })
}

/// Calls `callback` at each change of the worker id's standing, until it is closed: as `fw_lock_on_change`. One
/// that is lost makes no ids: open another one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_on_change(
    snowflake: *mut fw_snowflake,
    callback: fw_standing_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        borrow(snowflake.cast_const())?.on_change(callback, context)
    })
}

/// Gives the worker id back so that its next owner need not wait, and makes no more ids; free the
/// handle afterwards. One that is only freed leaves its worker id unused for some seconds. Another
/// thread that waits for an id is told `FW_LOST`. At the deadline it goes on in the background, and
/// `fw_error_maybe_applied` is true. May block, so not in a callback. Fails with `FW_LOST` when it
/// was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_close(
    snowflake: *mut fw_snowflake,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let snowflake = borrow(snowflake.cast_const())?;
        let deadline = snowflake.deadline(timeout_ms)?;
        given_up(snowflake.take()?.0.close(deadline))
    })
}

/// Frees `snowflake`. Null is allowed. May block: waits for a callback that is running, up to two seconds,
/// unless it is called from one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_snowflake_free(snowflake: *mut fw_snowflake) -> fw_status {
    accessor!(free(snowflake))
}
