//! `fw_task_board`: tasks that a leader hands out to workers.

use std::ffi::c_char;

use farwatch_client::recipes::{Assignment, TaskBoard, Worker};

use super::held::{Held, fw_tenure, hold};
use super::{Asker, Recipe, make};
use crate::acl::fw_acl;
use crate::bytes::{Text, bytes, text};
use crate::client::fw_client;
use crate::election::fw_election;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, Owned, borrow, free, give, out, set_optional, view};
use crate::result::{ResultBody, fw_result, lend};
use crate::status::fw_status;

/// Tasks and workers at a path. What a worker had when its session ended goes to another. All functions
/// on it: any thread. Free it before its client.
pub struct fw_task_board {
    _private: [u8; 0],
}

impl Opaque for fw_task_board {
    type Body = Recipe<TaskBoard>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_taskb");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// The board at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    board: *mut *mut fw_task_board,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        make(client, path, path_len, acl, board, |client, path, acl| {
            TaskBoard::new(client, path).with_acl(acl)
        })
    })
}

/// Puts a task on the board, once. `token` may be null; it grows from task to task. May block, so not in
/// a callback. Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the task may have
/// been put, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_put(
    board: *mut fw_task_board,
    data: *const u8,
    data_len: usize,
    timeout_ms: i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (data, board) = (bytes(data, data_len)?, borrow(board.cast_const())?);
        let put = board.asker.ask(timeout_ms, |deadline| board.recipe.put(data, deadline))?;
        set_optional(token, put.0);
        Ok(())
    })
}

/// The names of the tasks that are not done, the oldest first. May block, so not in a callback. Fails
/// with `FW_TIMEOUT`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_open_tasks(
    board: *mut fw_task_board,
    timeout_ms: i64,
    names: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (names, board) = (out(names)?, borrow(board.cast_const())?);
        let open = board.asker.ask(timeout_ms, |deadline| board.recipe.open_tasks(deadline))?;
        names.set(give(ResultBody::names(open)));
        Ok(())
    })
}

/// Begins to work under `name`: `fw_worker_take` gives tasks to `worker`, until it is released. Waits,
/// blocks and fails as `fw_group_join`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_work(
    board: *mut fw_task_board,
    name: *const c_char,
    name_len: usize,
    timeout_ms: i64,
    worker: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (name, board) = (text("name", name, name_len)?, borrow(board.cast_const())?);
        hold(&board.asker, timeout_ms, worker, &|deadline| {
            board.recipe.work(name, deadline).map(Held::Worker)
        })
    })
}

/// Hands out what nobody has and what the dead had, to those who have least, as the leader of an
/// election. `handed_out` is how many tasks went to somebody, and may be null. May block, so not in a
/// callback. Fails with `FW_TAKEN` (`leadership` is in line), `FW_LOST` (it leads no more, says it or a
/// server), `FW_TIMEOUT`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_assign(
    board: *mut fw_task_board,
    leadership: *const fw_election,
    timeout_ms: i64,
    handed_out: *mut usize,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (leadership, board) = (borrow(leadership)?, borrow(board.cast_const())?);
        let deadline = board.asker.deadline(timeout_ms)?;
        let leads = &*leadership.leadership()?;
        let count = board.recipe.assign(leads, deadline)?;
        set_optional(handed_out, count);
        Ok(())
    })
}

/// Does so again whenever a task or a worker comes or goes, until the leadership ends or the time is
/// over, which is how it returns. May block, so not in a callback: give it a thread. Fails with
/// `FW_TIMEOUT`, and as `fw_task_board_assign`; never succeeds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_keep_assigning(
    board: *mut fw_task_board,
    leadership: *const fw_election,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (leadership, board) = (borrow(leadership)?, borrow(board.cast_const())?);
        let deadline = board.asker.deadline(timeout_ms)?;
        let leads = &*leadership.leadership()?;
        Ok(board.recipe.keep_assigning(leads, deadline)?)
    })
}

/// Frees `board`; tasks and workers stay. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_task_board_free(board: *mut fw_task_board) -> fw_status {
    accessor!(free(board))
}

/// A task that a worker has taken up. One that is only freed stays with its worker, which is not given it
/// again, until that leaves. All functions on it: any thread. Free assignments before their client; their
/// worker may go before.
pub struct fw_assignment {
    _private: [u8; 0],
}

impl Opaque for fw_assignment {
    type Body = AssignmentBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_assig");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// An assignment with its name laid out for C.
pub struct AssignmentBody {
    assignment: Assignment,
    task: Text,
    asker: Asker,
}

impl AssignmentBody {
    fn new(assignment: Assignment, asker: Asker) -> Self {
        Self { task: Text::new(assignment.task()), assignment, asker }
    }
}

/// A task on its way to whoever waited for it. Where nobody takes it, its worker gets it again.
pub struct Untaken(Option<Owned<fw_assignment>>);

impl Untaken {
    /// One that was just taken up.
    pub fn new(assignment: Assignment, asker: Asker) -> Self {
        Self(Some(Owned::new(AssignmentBody::new(assignment, asker))))
    }

    /// It is somebody's.
    pub fn hand_over(mut self) -> Option<Owned<fw_assignment>> {
        self.0.take()
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        if let Some(body) = self.0.take().and_then(Owned::into_body) {
            body.assignment.give_back();
        }
    }
}

/// The worker that is held there, if it is one.
pub fn worker(held: &Held) -> Result<&Worker, Failure> {
    match held {
        Held::Worker(worker) => Ok(worker),
        _other => Err(Failure::new(fw_status::FW_BAD_ARGUMENT, "what is held here is no worker")),
    }
}

/// Waits for a task that is assigned to a worker of `fw_task_board_work`, the oldest first, up to
/// `timeout_ms` (negative: `requestTimeout`), and takes it up. Any thread; may block, so not in a
/// callback. Fails with `FW_TIMEOUT`, `FW_LOST` (also when the worker is released meanwhile),
/// `FW_BAD_ARGUMENT` (that is no worker), and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_worker_take(
    worker: *mut fw_tenure,
    timeout_ms: i64,
    assignment: *mut *mut fw_assignment,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (assignment, tenure) = (out(assignment)?, borrow(worker.cast_const())?);
        let deadline = tenure.asker().deadline(timeout_ms)?;
        let taken = self::worker(&*tenure.get()?)?.take(deadline)?;
        assignment.set(give(AssignmentBody::new(taken, tenure.asker().clone())));
        Ok(())
    })
}

/// The task's name; ends with a zero. Null for null. `len` may be null. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_assignment_task(
    assignment: *const fw_assignment,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(assignment, std::ptr::null(), |it| lend(Some(&it.task), len)))
}

/// The task, as it was put; not ended by a zero. Null for null. `len` may be null. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_assignment_data(
    assignment: *const fw_assignment,
    len: *mut usize,
) -> *const u8 {
    accessor!(view(assignment, std::ptr::null(), |it| {
        set_optional(len, it.assignment.data().len());
        it.assignment.data().as_ptr()
    }))
}

/// Larger than that of any former assignment of this task: what the task does elsewhere goes through an
/// `fw_fence` of its own there. 0 for null. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_assignment_token(assignment: *const fw_assignment) -> i64 {
    accessor!(view(assignment, 0, |it| it.assignment.token().0))
}

/// The task is done and leaves the board; free the handle afterwards. May block, so not in a callback.
/// Fails with `FW_LOST` (it is another's by now, or done already), `FW_TIMEOUT`, and as
/// `fw_client_call`; after every failure but `FW_LOST` it may be tried again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_assignment_finish(
    assignment: *mut fw_assignment,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let it = borrow(assignment.cast_const())?;
        Ok(it.assignment.finish(it.asker.deadline(timeout_ms)?)?)
    })
}

/// Frees `assignment`. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_assignment_free(assignment: *mut fw_assignment) -> fw_status {
    accessor!(free(assignment))
}
