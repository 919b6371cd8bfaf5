//! What recipes wait for, as operations: so a loop waits for a lock without a thread of its own.

use std::ffi::c_char;
use std::sync::{Arc, Weak};
use std::time::Instant;

use farwatch_client::recipes::{
    Assignment, Barrier, Candidate, DoubleBarrier, Election, Group, Inbox, Item, Leader,
    LeaderLatch, LeaderSelector, Lock, LockGuard, Queue, ReadWriteLock, RecipeError, Semaphore,
    ServiceDirectory, TaskBoard, WorkerIds,
};
use farwatch_client::{Acl, Client};

use super::{Plan, fw_op, new};
use crate::acl::{fw_acl, optional_list};
use crate::bytes::{bytes, text};
use crate::client::ClientBody;
use crate::election::ElectionBody;
use crate::error::{Failure, fw_error};
use crate::grant::Grant;
use crate::guard::{Owned, borrow, out};
use crate::recipes::Asker;
use crate::recipes::held::{Held, fw_tenure};
use crate::recipes::semaphore::count;
use crate::recipes::tasks::{Untaken, worker};
use crate::result::ResultBody;
use crate::status::fw_status;
use crate::tenure::{Holding, was_given_up};

/// What a recipe waits for, and for how long.
#[derive(Clone, Debug)]
pub struct Goal {
    aim: Aim,
    /// Negative is the client's `requestTimeout`.
    timeout_ms: i64,
}

#[derive(Clone, Debug)]
enum Aim {
    /// At a path, and with which rights nodes are made there.
    Place { kind: Kind, path: String, acl: Option<Vec<Acl>> },
    /// A task of this worker, which an operation does not keep at work.
    Task { worker: Weak<Held> },
}

#[derive(Clone, Debug)]
enum Kind {
    Lock,
    Reading,
    Writing,
    Permit { permits: usize },
    Leadership { id: Vec<u8> },
    Round { id: Vec<u8> },
    Item,
    Meeting { members: usize },
    FreeWay,
    WorkerId { bound: u32 },
    Membership { name: String, data: Vec<u8> },
    Offer { service: String, instance: String, data: Vec<u8> },
    Worker { name: String },
}

/// The same for a client, which gets there on any thread.
pub struct Attempt {
    aim: Aim,
    /// Those of the client, where the goal has none.
    rights: Vec<Acl>,
    client: Client,
    asker: Asker,
    deadline: Instant,
}

impl Goal {
    /// Begins to count its time.
    pub fn attempt(&self, client: &ClientBody) -> Attempt {
        let rights = match &self.aim {
            Aim::Place { acl, .. } => client.rights(acl.clone()),
            Aim::Task { .. } => Vec::new(),
        };
        Attempt {
            aim: self.aim.clone(),
            rights,
            client: client.client().clone(),
            asker: Asker::new(client),
            deadline: Instant::now() + client.timeout(self.timeout_ms),
        }
    }
}

impl Attempt {
    /// The same, with no more time than until then.
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    /// Whether what it takes is gone from where it was, whoever gets it.
    pub fn consumes(&self) -> bool {
        matches!(self.aim, Aim::Place { kind: Kind::Item, .. })
    }

    /// Waits until it is reached, at most until its time is over.
    pub fn reach(self) -> Result<ResultBody, Failure> {
        let Self { aim, rights, client, asker, deadline } = self;
        match aim {
            Aim::Place { kind, path, .. } => asker.ask_until(deadline, |deadline| {
                kind.reach(&client, &path, rights, deadline).map(|got| got.result(&asker))
            }),
            Aim::Task { worker } => {
                // A worker that is lost stays so, unlike a place in line.
                let task = inbox(&worker, &client)?.take(deadline)?;
                Ok(Got::Task(task).result(&asker))
            }
        }
    }
}

/// Where a worker's tasks are, which it is not kept at work by.
fn inbox(of: &Weak<Held>, client: &Client) -> Result<Inbox, Failure> {
    let held = of.upgrade().ok_or_else(was_given_up)?;
    if !held.is_of(client) {
        let text = "the worker is another client's: give the operation to that one";
        return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
    }
    Ok(worker(&held)?.inbox())
}

/// What a recipe has got.
enum Got {
    Lock(LockGuard),
    Tenure(Held),
    Leadership(Candidate),
    Round { won: Option<Held>, leader: Leader },
    Item(Item),
    Task(Assignment),
    Nothing,
}

impl Kind {
    fn reach(
        self,
        client: &Client,
        path: &str,
        rights: Vec<Acl>,
        deadline: Instant,
    ) -> Result<Got, RecipeError> {
        let lock = || Lock::new(client, path);
        let shared = || ReadWriteLock::new(client, path);
        Ok(match self {
            Self::Lock => Got::Lock(lock().with_acl(rights).acquire(deadline)?),
            Self::Reading => Got::Lock(shared().with_acl(rights).read(deadline)?),
            Self::Writing => Got::Lock(shared().with_acl(rights).write(deadline)?),
            Self::Permit { permits } => {
                let semaphore = Semaphore::new(client, path, permits).with_acl(rights);
                Got::Tenure(Held::Permit(semaphore.acquire(deadline)?))
            }
            Self::Leadership { id } => {
                let latch = LeaderLatch::new(client, path).with_acl(rights);
                let candidate = latch.join(&id, deadline)?;
                candidate.wait(deadline)?;
                Got::Leadership(candidate)
            }
            Self::Round { id } => {
                let selector = LeaderSelector::new(client, path, &id).with_acl(rights);
                match selector.lead(deadline)? {
                    Election::Won(won) => {
                        let leader = Leader { id, token: won.token() };
                        Got::Round { won: Some(Held::Leadership(won)), leader }
                    }
                    Election::Lost(leader) => Got::Round { won: None, leader },
                }
            }
            Self::Item => Got::Item(Queue::new(client, path).with_acl(rights).take(deadline)?),
            Self::Meeting { members } => {
                let meeting = DoubleBarrier::new(client, path, members).with_acl(rights);
                Got::Tenure(Held::Inside(meeting.enter(deadline)?))
            }
            Self::FreeWay => {
                Barrier::new(client, path).wait(deadline)?;
                Got::Nothing
            }
            Self::WorkerId { bound } => {
                let ids = WorkerIds::new(client, path, bound).with_acl(rights);
                Got::Tenure(Held::WorkerId(ids.claim(deadline)?))
            }
            Self::Membership { name, data } => {
                let group = Group::new(client, path).with_acl(rights);
                Got::Tenure(Held::Membership(group.join(&name, &data, deadline)?))
            }
            Self::Offer { service, instance, data } => {
                let services = ServiceDirectory::new(client, path).with_acl(rights);
                let offered = services.register(&service, &instance, &data, deadline)?;
                Got::Tenure(Held::Membership(offered))
            }
            Self::Worker { name } => {
                let board = TaskBoard::new(client, path).with_acl(rights);
                Got::Tenure(Held::Worker(board.work(&name, deadline)?))
            }
        })
    }
}

impl Got {
    fn result(self, asker: &Asker) -> ResultBody {
        let hold = |held| Holding::of(asker.clone(), held);
        match self {
            Self::Lock(lock) => {
                let token = lock.token().0;
                ResultBody::granting(Grant::Lock(Owned::new(hold(Held::Lock(lock)))), token)
            }
            Self::Tenure(held) => {
                let token = held.token().0;
                ResultBody::granting(Grant::Tenure(Owned::new(hold(held))), token)
            }
            Self::Leadership(candidate) => {
                let token = candidate.token().0;
                let leading = ElectionBody::leading(asker.clone(), candidate);
                ResultBody::granting(Grant::Election(Owned::new(leading)), token)
            }
            Self::Round { won, leader } => {
                let tenure = |held| Grant::Tenure(Owned::new(hold(held)));
                let grant = won.map_or(Grant::NoTenure, tenure);
                ResultBody::granting(grant, leader.token.0).about(leader.id)
            }
            Self::Item(item) => ResultBody::with_token(item.data, item.token.0),
            Self::Task(task) => {
                let token = task.token().0;
                ResultBody::granting(Grant::Task(Untaken::new(task, asker.clone())), token)
            }
            Self::Nothing => ResultBody::default(),
        }
    }
}

/// Makes an operation of what is waited for at `path`.
///
/// # Safety
/// The rules of [`crate::guard`].
unsafe fn make(
    kind: Kind,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    let (op, path, acl) =
        unsafe { (out(op)?, text("path", path, path_len)?.to_owned(), optional_list(acl)?) };
    op.set(new(Plan::Goal(Goal { aim: Aim::Place { kind, path, acl }, timeout_ms })));
    Ok(())
}

const NO_ACL: *const fw_acl = std::ptr::null();

/// Waits for the exclusive lock at `path`, as `fw_lock_acquire` does, up to `timeout_ms` from when it is asked
/// for (negative: `requestTimeout`). The result has the lock (`fw_result_lock`), and its token as the number.
///
/// This and the other operations of recipes (`fw_op_lock_read`, `_lock_write`, `_semaphore_acquire`, `_election_lead`,
/// `_selector_lead`, `_fifo_take`, `_double_barrier_enter`, `_barrier_wait`, `_group_join`,
/// `_service_directory_register`, `_worker_ids_claim`, `_task_board_work`, `_worker_take`) are more than one request.
/// Each that `fw_client_submit` or `fw_client_enqueue` was given has a thread of the library's, with all signals
/// blocked, until it is completed: 256 for each client, beyond which they fail with `FW_OVERLOADED`; with
/// `FW_NO_RESOURCES` where no thread is to be had. They complete when they have got what they wait for, and not in the
/// order in which they were asked for; `done` is called on the thread that waited, at the same time as other callbacks
/// may be, and may block. `fw_client_abandon` gives the place in line up, and so does freeing the queue that it was
/// enqueued for. `fw_client_close`, `_detach` and `_free` end them with `FW_CLOSED`. A lost session is told `FW_LOST`
/// or `FW_SESSION_EXPIRED`: ask again with `renewExpired`. Otherwise they fail as the function of the recipe does.
/// They are no part of `fw_op_multi`.
///
/// What a result hands over and nobody took is given up when the result is freed, with its completion, or the
/// queue: an item is lost then, and a task its worker's next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_lock_acquire(
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { make(Kind::Lock, path, path_len, NO_ACL, timeout_ms, op) })
}

/// Waits until nobody writes, as `fw_lock_read` does; otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_lock_read(
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { make(Kind::Reading, path, path_len, NO_ACL, timeout_ms, op) })
}

/// Waits until nobody else reads or writes, as `fw_lock_write` does; otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_lock_write(
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { make(Kind::Writing, path, path_len, NO_ACL, timeout_ms, op) })
}

/// Waits for one of `permits` at `path`, as `fw_semaphore_new` and `fw_semaphore_acquire` do. The result has the
/// permit (`fw_result_tenure`); otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_semaphore_acquire(
    path: *const c_char,
    path_len: usize,
    permits: u32,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let permits = count("permits", permits)?;
        make(Kind::Permit { permits }, path, path_len, acl, timeout_ms, op)
    })
}

/// Stands for election at `path` and waits until this one leads, as `fw_election_join` and `fw_election_lead` do;
/// `id` is what others see. When it fails, `FW_TIMEOUT` included, it is not in line any more. The result has the
/// election, which leads (`fw_result_election`); otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_election_lead(
    path: *const c_char,
    path_len: usize,
    id: *const u8,
    id_len: usize,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let id = bytes(id, id_len)?.to_vec();
        make(Kind::Leadership { id }, path, path_len, NO_ACL, timeout_ms, op)
    })
}

/// Waits for an item of the queue at `path` and takes it, as `fw_fifo_new` and `fw_fifo_take` do: the result's data
/// is the item, its number the token. One that is abandoned may have taken an item, which is lost then, where
/// `fw_client_abandon` says `maybe_applied`; it does not while it waits for one. Otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_fifo_take(
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { make(Kind::Item, path, path_len, acl, timeout_ms, op) })
}

/// Waits until `members` are at `path`, as `fw_double_barrier_new` and `fw_double_barrier_enter` do. The result has
/// the place inside (`fw_result_tenure`); otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_double_barrier_enter(
    path: *const c_char,
    path_len: usize,
    members: u32,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let members = count("members", members)?;
        make(Kind::Meeting { members }, path, path_len, acl, timeout_ms, op)
    })
}

/// Waits until no barrier is at `path`, as `fw_barrier_new` and `fw_barrier_wait` do. The result is empty; otherwise
/// as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_barrier_wait(
    path: *const c_char,
    path_len: usize,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { make(Kind::FreeWay, path, path_len, NO_ACL, timeout_ms, op) })
}

/// Takes a number from 0 to below `bound` at `path` that nobody has, as `fw_worker_ids_new` and
/// `fw_worker_ids_claim` do. The result has it (`fw_result_tenure`, `fw_tenure_worker_id`); otherwise as
/// `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_worker_ids_claim(
    path: *const c_char,
    path_len: usize,
    bound: u32,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        count("bound", bound)?;
        make(Kind::WorkerId { bound }, path, path_len, acl, timeout_ms, op)
    })
}

/// Becomes the member `name` of the group at `path`, as `fw_group_new` and `fw_group_join` do: waits for a name that is
/// taken, and fails with `FW_TAKEN` where it is so still at the end of its time. The result has the membership
/// (`fw_result_tenure`); otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_group_join(
    path: *const c_char,
    path_len: usize,
    name: *const c_char,
    name_len: usize,
    data: *const u8,
    data_len: usize,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let name = text("name", name, name_len)?.to_owned();
        let data = bytes(data, data_len)?.to_vec();
        make(Kind::Membership { name, data }, path, path_len, acl, timeout_ms, op)
    })
}

/// Offers `service` in the directory at `path`, as `fw_service_directory_new` and `fw_service_directory_register` do;
/// otherwise as `fw_op_group_join`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_service_directory_register(
    path: *const c_char,
    path_len: usize,
    service: *const c_char,
    service_len: usize,
    instance: *const c_char,
    instance_len: usize,
    data: *const u8,
    data_len: usize,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let service = text("service", service, service_len)?.to_owned();
        let instance = text("instance", instance, instance_len)?.to_owned();
        let data = bytes(data, data_len)?.to_vec();
        make(Kind::Offer { service, instance, data }, path, path_len, acl, timeout_ms, op)
    })
}

/// Stands for election at `path` and waits until this one leads, as `fw_selector_new` and `fw_selector_lead` do, and as
/// there succeeds for who lost, too: the result's data is the id of who leads, its number the token, and what
/// `fw_result_tenure` hands over is the leadership of who won, or null. Otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_selector_lead(
    path: *const c_char,
    path_len: usize,
    id: *const u8,
    id_len: usize,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let id = bytes(id, id_len)?.to_vec();
        make(Kind::Round { id }, path, path_len, acl, timeout_ms, op)
    })
}

/// Begins to work under `name` at the board at `path`, as `fw_task_board_new` and `fw_task_board_work` do. The result
/// has the worker (`fw_result_tenure`), for `fw_op_worker_take`; otherwise as `fw_op_group_join`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_task_board_work(
    path: *const c_char,
    path_len: usize,
    name: *const c_char,
    name_len: usize,
    acl: *const fw_acl,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let name = text("name", name, name_len)?.to_owned();
        make(Kind::Worker { name }, path, path_len, acl, timeout_ms, op)
    })
}

/// Waits for a task that is assigned to `worker` and takes it up, as `fw_worker_take` does; the operation is for the
/// client whose worker that is, else it fails with `FW_BAD_ARGUMENT`. The result has the task
/// (`fw_result_assignment`), and its token as the number. It does not keep `worker`, which may be released and freed
/// while it waits: it is told `FW_LOST` then, as it is from then on. Of one that is abandoned, the task is the
/// worker's next. This function itself fails with `FW_LOST` (it was released), `FW_FORKED` and `FW_BAD_ARGUMENT` (that
/// is no worker). Otherwise as `fw_op_lock_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_worker_take(
    worker: *const fw_tenure,
    timeout_ms: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (op, held) = (out(op)?, borrow(worker)?.get()?);
        self::worker(&held)?;
        let aim = Aim::Task { worker: Arc::downgrade(&held) };
        op.set(new(Plan::Goal(Goal { aim, timeout_ms })));
        Ok(())
    })
}
