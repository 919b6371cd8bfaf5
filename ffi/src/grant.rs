//! What a recipe has got, on its way to whoever waited for it.

use std::sync::{Mutex, PoisonError};

use crate::election::fw_election;
use crate::error::{Failure, fw_error};
use crate::guard::{Owned, borrow, out};
use crate::lock::fw_lock;
use crate::recipes::held::fw_tenure;
use crate::recipes::tasks::{Untaken, fw_assignment};
use crate::result::fw_result;
use crate::status::fw_status;

/// What was got. Given up where nobody takes it, though not in a child after `fork`.
pub enum Grant {
    /// A lock.
    Lock(Owned<fw_lock>),
    /// A permit, a place inside a double barrier, a membership, a worker id, a selector's leadership.
    Tenure(Owned<fw_tenure>),
    /// That another one has the tenure: who asked for it is handed null.
    NoTenure,
    /// A leadership.
    Election(Owned<fw_election>),
    /// A task.
    Task(Untaken),
}

/// One that is taken once.
pub struct Parcel(Mutex<Option<Grant>>);

impl Parcel {
    /// One with this inside.
    pub fn of(grant: Grant) -> Self {
        Self(Mutex::new(Some(grant)))
    }

    /// Takes it out, if it is what is asked for.
    fn take<T>(&self, pick: impl FnOnce(Grant) -> Result<T, Grant>) -> Option<T> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pick(inside.take()?) {
            Ok(taken) => Some(taken),
            Err(other) => {
                *inside = Some(other);
                None
            }
        }
    }
}

fn nothing(what: &str) -> Failure {
    let text = format!("this result hands no {what} over, or has done so already");
    Failure::new(fw_status::FW_BAD_ARGUMENT, text)
}

/// Hands over the lock that `fw_op_lock_acquire`, `_lock_read` or `_lock_write` waited for, once. Until then it
/// is the result's, and released in the background when that is freed. Free results before their client where
/// they hold one. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT` (there is none, or it was handed over).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_lock(
    result: *const fw_result,
    lock: *mut *mut fw_lock,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (place, result) = (out(lock)?, borrow(result)?);
        let taken = result.parcel().and_then(|parcel| {
            parcel.take(|it| if let Grant::Lock(lock) = it { Ok(lock) } else { Err(it) })
        });
        place.set(taken.ok_or_else(|| nothing("lock"))?.release());
        Ok(())
    })
}

/// Hands over what `fw_op_semaphore_acquire`, `_double_barrier_enter`, `_group_join`,
/// `_service_directory_register`, `_task_board_work`, `_worker_ids_claim` or `_selector_lead` got: as
/// `fw_result_lock`. `tenure` becomes null, which is no failure, where another one won what
/// `fw_op_selector_lead` stood for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_tenure(
    result: *const fw_result,
    tenure: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (place, result) = (out(tenure)?, borrow(result)?);
        let taken = result.parcel().and_then(|parcel| {
            parcel.take(|it| match it {
                Grant::Tenure(tenure) => Ok(Some(tenure)),
                Grant::NoTenure => Ok(None),
                other => Err(other),
            })
        });
        let tenure = taken.ok_or_else(|| nothing("tenure"))?;
        place.set(tenure.map_or(std::ptr::null_mut(), Owned::release));
        Ok(())
    })
}

/// Hands over the election in which `fw_op_election_lead` has won: as `fw_result_lock`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_election(
    result: *const fw_result,
    election: *mut *mut fw_election,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (place, result) = (out(election)?, borrow(result)?);
        let taken = result.parcel().and_then(|parcel| {
            parcel.take(|it| if let Grant::Election(it) = it { Ok(it) } else { Err(it) })
        });
        place.set(taken.ok_or_else(|| nothing("election"))?.release());
        Ok(())
    })
}

/// Hands over the task that `fw_op_worker_take` has taken up: as `fw_result_lock`. One that nobody takes is the
/// worker's next, as if it had not been taken up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_assignment(
    result: *const fw_result,
    assignment: *mut *mut fw_assignment,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (place, result) = (out(assignment)?, borrow(result)?);
        let taken = result.parcel().and_then(|parcel| {
            parcel.take(|it| if let Grant::Task(task) = it { Ok(task) } else { Err(it) })
        });
        let task = taken.and_then(Untaken::hand_over).ok_or_else(|| nothing("assignment"))?;
        place.set(task.release());
        Ok(())
    })
}
