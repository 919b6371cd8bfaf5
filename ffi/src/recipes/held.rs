//! `fw_tenure`: what a session holds, whatever recipe it has it from.

use std::ffi::c_void;
use std::ops::Deref;
use std::time::Instant;

use farwatch_client::recipes::{
    Inside, Leadership, LockGuard, Membership, Permit, RecipeError, Tenure, Worker, WorkerId,
};

use super::Asker;
use crate::callback::{Context, fw_destroy_fn};
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, out, set_optional, view};
use crate::status::fw_status;
use crate::tenure::{Holding, fw_standing, fw_standing_fn, given_up};

/// What is held: a permit, a place inside a double barrier, membership of a group, an offered
/// service, a selector's leadership, a worker id, a worker's name. It is held from the call that got it
/// until it is released, freed, or lost with its session. All functions on it: any thread. Free tenures
/// before their client.
pub struct fw_tenure {
    _private: [u8; 0],
}

impl Opaque for fw_tenure {
    type Body = Holding<Held>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_tenur");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// What a tenure is of, or a lock.
pub enum Held {
    /// Of a lock.
    Lock(LockGuard),
    /// Of a semaphore.
    Permit(Permit),
    /// Of a double barrier.
    Inside(Inside),
    /// Of a group, or of a service's.
    Membership(Membership),
    /// Of a selector.
    Leadership(Leadership),
    /// Of worker ids.
    WorkerId(WorkerId),
    /// Of a task board.
    Worker(Worker),
}

impl Deref for Held {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        match self {
            Self::Lock(lock) => lock,
            Self::Permit(permit) => permit,
            Self::Inside(inside) => inside,
            Self::Membership(membership) => membership,
            Self::Leadership(leadership) => leadership,
            Self::WorkerId(worker_id) => worker_id,
            Self::Worker(worker) => worker,
        }
    }
}

impl Held {
    fn release(&self, deadline: Instant) -> Result<(), RecipeError> {
        match self {
            Self::Lock(lock) => lock.release(deadline),
            Self::Permit(permit) => permit.release(deadline),
            Self::Inside(inside) => inside.leave(deadline),
            Self::Membership(membership) => membership.leave(deadline),
            Self::Leadership(leadership) => leadership.resign(deadline),
            Self::WorkerId(worker_id) => worker_id.release(deadline),
            Self::Worker(worker) => worker.leave(deadline),
        }
    }
}

impl Holding<Held> {
    /// Gives it up, and waits until others can have it.
    pub fn release(&self, timeout_ms: i64) -> Result<(), Failure> {
        let deadline = self.deadline(timeout_ms)?;
        given_up(self.take()?.release(deadline))
    }
}

/// Gets a tenure, or a lock, by what `get` does until the deadline. Not inlined: it is the same for all.
///
/// # Safety
/// Rule 2 of [`crate::guard`].
#[inline(never)]
pub unsafe fn hold<O: Opaque<Body = Holding<Held>>>(
    asker: &Asker,
    timeout_ms: i64,
    tenure: *mut *mut O,
    get: &dyn Fn(Instant) -> Result<Held, RecipeError>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    let tenure = unsafe { out(tenure) }?;
    let held = asker.ask(timeout_ms, get)?;
    tenure.set(give(Holding::of(asker.clone(), held)));
    Ok(())
}

/// The fencing token: it grows from holder to holder. 0 once released. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_token(tenure: *const fw_tenure) -> i64 {
    accessor!(view(tenure, 0, Holding::token))
}

/// The number that `fw_worker_ids_claim` got; -1 for what is no worker id, and once released. Never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_worker_id(tenure: *const fw_tenure) -> i64 {
    accessor!(view(tenure, -1, |tenure| match tenure.get().as_deref() {
        Ok(Held::WorkerId(worker_id)) => worker_id.id().into(),
        Ok(_other) => -1,
        Err(_released) => -1,
    }))
}

/// How it stands. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_standing(tenure: *const fw_tenure) -> fw_standing {
    accessor!(view(tenure, fw_standing::FW_STANDING_LOST, Holding::standing))
}

/// For how many milliseconds from now it cannot have passed to anybody else: as `fw_lock_lease_ms`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_lease_ms(tenure: *const fw_tenure) -> u64 {
    accessor!(view(tenure, 0, Holding::lease_ms))
}

/// Succeeds if it is certain at this moment that it is held still: ask before each act. `token` may be
/// null. Never blocks. Fails with `FW_LEASE_OVER` (stop for now) and `FW_LOST`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_check(
    tenure: *const fw_tenure,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let found = borrow(tenure)?.check()?;
        set_optional(token, found);
        Ok(())
    })
}

/// Calls `callback` at each change of standing: as `fw_lock_on_change`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_on_change(
    tenure: *mut fw_tenure,
    callback: fw_standing_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        borrow(tenure.cast_const())?.on_change(callback, context)
    })
}

/// Gives it up, and returns when others can have it; who is inside a double barrier waits until all
/// have left. Free the handle afterwards. At the deadline it goes on in the background, and
/// `fw_error_maybe_applied` is true. May block, so not in a callback. Fails with `FW_LOST` when it
/// was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_release(
    tenure: *mut fw_tenure,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { borrow(tenure.cast_const())?.release(timeout_ms) })
}

/// Frees the handle, and gives up what is held in the background unless that was done. Null is allowed. May
/// block: waits for a callback that is running, up to two seconds, unless it is called from one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_tenure_free(tenure: *mut fw_tenure) -> fw_status {
    accessor!(free(tenure))
}
