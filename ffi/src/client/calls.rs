//! The three ways to wait for an operation: a call, a callback, a queue.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use farwatch_client::machine::{Abandoned, RequestId};
use farwatch_client::{
    ClientError, CreateMode, DELIVERY_GRACE, ErrorCode, MultiOp, MultiResult, Operation, Outcome,
    Stop,
};

use super::waits::{Done, Waits};
use super::{ClientBody, Ephemerals, fw_client};
use crate::callback::{Context, fw_destroy_fn};
use crate::error::{ErrorBody, Failure, fw_error};
use crate::guard::{borrow, give, optional_out, out};
use crate::op::{Goal, Order, Plan, fw_op, order};
use crate::queue::{Line, Tag, fw_queue};
use crate::result::{ResultBody, fw_result};
use crate::status::fw_status;

/// Called once with what became of a request, on the client's own thread: return soon, block never; of a recipe
/// (`fw_op_lock_acquire`) on the thread that waited, where it may block.
/// `result` is null unless `status` is `FW_OK`, `error` unless it is not; both are yours to free.
pub type fw_done_fn = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        status: fw_status,
        result: *mut fw_result,
        error: *mut fw_error,
    ),
>;

type DoneFn = unsafe extern "C" fn(*mut c_void, fw_status, *mut fw_result, *mut fw_error);

fn hand_over(done: DoneFn, context: &Context, result: Result<ResultBody, Failure>) {
    let null = std::ptr::null_mut();
    let (status, result, error) = match result {
        Ok(result) => (fw_status::FW_OK, give(result), null),
        Err(failure) => (failure.status, std::ptr::null_mut(), give(ErrorBody::from(failure))),
    };
    // SAFETY: the function is C's for this context, which it is called with once.
    unsafe { done(context.pointer(), status, result, error) };
}

/// What a request means for the session's ephemeral nodes when it succeeds.
enum Trace {
    Nothing,
    Created,
    Deleted(String),
    Parts(Vec<Trace>),
}

impl Trace {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Create { mode, .. } => Self::of_create(*mode),
            Operation::Delete { path, .. } => Self::Deleted(path.clone()),
            Operation::Multi(ops) => {
                let part = |op: &MultiOp| match op {
                    MultiOp::Create { mode, .. } => Self::of_create(*mode),
                    MultiOp::Delete { path, .. } => Self::Deleted(path.clone()),
                    MultiOp::SetData { .. } | MultiOp::Check { .. } => Self::Nothing,
                };
                Self::Parts(ops.iter().map(part).collect())
            }
            _read_or_set => Self::Nothing,
        }
    }

    fn of_create(mode: CreateMode) -> Self {
        match mode {
            CreateMode::Ephemeral | CreateMode::EphemeralSequential => Self::Created,
            _not_of_the_session => Self::Nothing,
        }
    }

    fn note(&self, outcome: &Outcome, ephemerals: &Ephemerals) {
        match (self, outcome) {
            (Self::Created, Outcome::Created { path, .. }) => ephemerals.add(path),
            (Self::Deleted(path), Outcome::Done) => ephemerals.remove(path),
            (Self::Parts(parts), Outcome::Multi(results)) => {
                for (part, result) in parts.iter().zip(results) {
                    match (part, result) {
                        (Self::Created, MultiResult::Created { path, .. }) => ephemerals.add(path),
                        (Self::Deleted(path), MultiResult::Deleted) => ephemerals.remove(path),
                        _other => {}
                    }
                }
            }
            _refused_or_of_no_interest => {}
        }
    }
}

/// What a result is to C: that a node does not exist answers `exists`.
fn answer(
    result: Result<Outcome, ClientError>,
    is_exists: bool,
    renews: bool,
) -> Result<ResultBody, Failure> {
    match result {
        Ok(Outcome::MultiRefused { index, code }) => {
            Err(Failure::from(ClientError::MultiFailed { index, code }))
        }
        Ok(outcome) => Ok(ResultBody::from(outcome)),
        Err(ClientError::Server(ErrorCode::NoNode)) if is_exists => Ok(ResultBody::default()),
        Err(error) => Err(failure(error, renews)),
    }
}

/// With a session that is replaced, its end is not the end of the client.
#[cold]
#[inline(never)]
pub fn failure(error: ClientError, renews: bool) -> Failure {
    let failure = Failure::from(error);
    if !renews || failure.status != fw_status::FW_SESSION_EXPIRED {
        return failure;
    }
    let text =
        "the session has expired and its ephemeral nodes are gone; a new one takes its place";
    Failure { text: text.into(), retriable: true, fatal: false, ..failure }
}

impl ClientBody {
    /// Asks for what `order` says; `done` is called on the client's thread, or on the one that waited.
    pub fn submit(
        &self,
        order: &Order,
        done: impl FnOnce(Result<ResultBody, Failure>) + Send + 'static,
    ) -> Result<RequestId, Failure> {
        if let Plan::Goal(goal) = &order.plan {
            return self.await_goal(goal, Stop::default(), Box::new(done));
        }
        let operation = order.plan.request()?;
        let (trace, renews) = (Trace::of(&operation), self.renews);
        let is_exists = matches!(operation, Operation::Exists { .. });
        let ephemerals = Arc::clone(&self.ephemerals);
        let completion = move |result: Result<Outcome, ClientError>| {
            if let Ok(outcome) = &result {
                trace.note(outcome, &ephemerals);
            }
            done(answer(result, is_exists, renews));
        };
        let client = self.client.with_freshness(order.freshness);
        client.submit(&operation, completion).map_err(|error| failure(error, renews))
    }

    /// Asks for what `order` says; the answer comes to `line`. What waits for one that is freed is given up.
    fn enqueue(&self, order: &Order, line: Arc<Line>, tag: Tag) -> Result<RequestId, Failure> {
        let Plan::Goal(goal) = &order.plan else {
            return self.submit(order, move |result| line.push_result(tag, result));
        };
        let stop = Stop::default();
        let place = line.awaits(&stop);
        self.await_goal(goal, stop, Box::new(move |result| place.fill(tag, result)))
    }

    fn await_goal(&self, goal: &Goal, stop: Stop, done: Done) -> Result<RequestId, Failure> {
        self.refuse_if_over()?;
        self.waits.begin(goal.attempt(self), stop, done)
    }

    /// Gives up waiting for a request. Returns whether it may be applied, and `None` if it was completed.
    fn abandon(&self, request: u64) -> Option<bool> {
        if Waits::has(request) {
            return self.waits.abandon(request);
        }
        match self.client.abandon(RequestId::from_number(request)) {
            Abandoned::Unsent => Some(false),
            Abandoned::Sent { maybe_applied } => Some(maybe_applied),
            Abandoned::Completed => None,
        }
    }

    /// Asks for what `order` says and waits for the answer.
    pub fn call(&self, order: &Order, timeout: Duration) -> Result<ResultBody, Failure> {
        self.refuse_inside_callback()?;
        if let Plan::Goal(goal) = &order.plan {
            return goal.attempt(self).until(Instant::now() + timeout).reach();
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let request = self.submit(order, move |result| drop(sender.send(result)))?;
        let timed_out = |maybe_applied| Err(ClientError::Timeout { maybe_applied }.into());
        match receiver.recv_timeout(timeout) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(ClientError::Closed.into()),
            Err(RecvTimeoutError::Timeout) => match self.client.abandon(request) {
                Abandoned::Unsent => timed_out(false),
                Abandoned::Sent { maybe_applied } => timed_out(maybe_applied),
                // Its result is on its way to us, unless the callback before it waits for us.
                Abandoned::Completed => match receiver.recv_timeout(DELIVERY_GRACE) {
                    Ok(result) => result,
                    Err(RecvTimeoutError::Disconnected) => Err(ClientError::Closed.into()),
                    Err(RecvTimeoutError::Timeout) => {
                        timed_out(order.plan.request()?.changes_state())
                    }
                },
            },
        }
    }

    /// What is over is not begun again.
    fn refuse_if_over(&self) -> Result<(), Failure> {
        match self.client.wait_connected(Duration::ZERO) {
            Err(error) if self.client.is_over() => Err(failure(error, self.renews)),
            _lives => Ok(()),
        }
    }

    /// A wait on the thread that would end it.
    pub fn refuse_inside_callback(&self) -> Result<(), Failure> {
        if self.client.is_inside_callback() {
            return Err(ClientError::InsideCallback.into());
        }
        Ok(())
    }
}

/// Executes `op` and waits for the answer up to `timeout_ms` (negative: `requestTimeout`), connecting
/// included; a recipe's has its own time too, and waits on the calling thread. `result` may be null. May block, so
/// not in a callback.
///
/// Fails with `FW_TIMEOUT` and `FW_CONNECTION_LOSS`, where `fw_error_maybe_applied` matters,
/// `FW_SESSION_EXPIRED`, `FW_CLOSED`, `FW_OVERLOADED`, `FW_BAD_PATH`, `FW_TOO_LARGE`,
/// `FW_IN_CALLBACK`, and what servers refuse with: the statuses from `FW_NO_NODE` on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_call(
    client: *mut fw_client,
    op: *const fw_op,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let client = borrow(client.cast_const())?;
        let answer = client.call(&order(&*borrow(op)?), client.timeout(timeout_ms))?;
        if let Some(result) = optional_out(result) {
            result.set(give(answer));
        }
        Ok(())
    })
}

/// Asks for `op` and returns at once; `done` is called with what became of it, on the client's own
/// thread, in the order of the requests; of a recipe (`fw_op_lock_acquire`) on another one, when it is reached. It
/// is called exactly once, unless the request is abandoned or the client freed before. `destroy` is called with
/// `context` exactly once: after `done`, when it will not be called any more, or when this fails. `request` may be
/// null; else it names the request for `fw_client_abandon`. Never blocks longer than the socket takes to take the bytes.
///
/// Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_SESSION_EXPIRED`, `FW_CLOSED`, `FW_OVERLOADED`,
/// `FW_BAD_PATH`, `FW_TOO_LARGE`, and for a recipe `FW_NO_RESOURCES`: then nothing was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_submit(
    client: *mut fw_client,
    op: *const fw_op,
    done: fw_done_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    request: *mut u64,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        let client = borrow(client.cast_const())?;
        let done = done.ok_or_else(|| Failure::new(fw_status::FW_NULL, "the callback is null"))?;
        let gate = Arc::clone(&client.gate);
        let id = client.submit(&order(&*borrow(op)?), move |result| {
            gate.pass(|| hand_over(done, &context, result));
        })?;
        if let Some(request) = optional_out(request) {
            request.set(id.number());
        }
        Ok(())
    })
}

/// Asks for `op` and returns at once; what became of it comes to `queue` as a completion with `tag`, in the
/// order of the requests, exactly once, unless the request is abandoned. Freeing the queue gives up the recipes
/// (`fw_op_lock_acquire`) that wait for it, as `fw_client_abandon` does. Otherwise as `fw_client_submit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_enqueue(
    client: *mut fw_client,
    op: *const fw_op,
    queue: *mut fw_queue,
    tag: *mut c_void,
    request: *mut u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (client, tag) = (borrow(client.cast_const())?, Tag::new(tag));
        let line = borrow(queue.cast_const())?.line();
        let id = client.enqueue(&order(&*borrow(op)?), line, tag)?;
        if let Some(request) = optional_out(request) {
            request.set(id.number());
        }
        Ok(())
    })
}

/// Gives up waiting for `request`: its callback is not called any more, unless it is being called
/// already, and no completion comes. A recipe leaves the line in the background: it gets nothing any more, or gives
/// it up. `maybe_applied` may be null; else it says whether the request may have been, or may still be, applied; of
/// recipes only `fw_op_fifo_take` may have been. Never blocks. Fails with `FW_BAD_ARGUMENT` when it was completed
/// already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_abandon(
    client: *mut fw_client,
    request: u64,
    maybe_applied: *mut bool,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let client = borrow(client.cast_const())?;
        let doubt = client.abandon(request).ok_or_else(|| {
            Failure::new(fw_status::FW_BAD_ARGUMENT, "this request was completed already")
        })?;
        if !maybe_applied.is_null() {
            out(maybe_applied)?.set(doubt);
        }
        Ok(())
    })
}
