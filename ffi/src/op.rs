//! `fw_op`: an operation as a value, which any of the ways to wait takes.

use std::borrow::Cow;
use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, PoisonError};

use farwatch_client::{
    Acl, AddWatchMode, CreateMode, Freshness, MultiOp, Operation, ReadOp, WatchKind,
};

use crate::acl::{fw_acl, list};
use crate::bytes::{bytes, optional_bytes, optional_text, text};
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, out};
use crate::status::fw_status;

mod fresh;
mod goal;

pub use fresh::freshness;
pub use goal::{Attempt, Goal};

/// Operations that one transaction takes. A server's limit on bytes is reached before.
pub const MULTI_OPS_MAX: usize = 100_000;

/// An operation, to be given to `fw_client_call`, `fw_client_submit` or `fw_client_enqueue`, as
/// often as wanted, and freed then. It has copied what it was made of. All functions on it: any
/// thread, never block. They fail with `FW_NULL`, `FW_BAD_ARGUMENT`, `FW_TOO_LARGE`, `FW_BAD_HANDLE`;
/// a bad path shows at the call.
pub struct fw_op {
    _private: [u8; 0],
}

impl Opaque for fw_op {
    type Body = Mutex<Order>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_oprtn");
}

/// What is to be done, and how fresh what it shows must be.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is to be done.
    pub plan: Plan,
    /// For reads only.
    pub freshness: Freshness,
}

impl From<Plan> for Order {
    fn from(plan: Plan) -> Self {
        Self { plan, freshness: Freshness::default() }
    }
}

impl Order {
    fn read(flags: u32, read: Operation) -> Self {
        let is_synced = flags & FLAG_SYNC != 0;
        let freshness = if is_synced { Freshness::NOW } else { Freshness::default() };
        Self { plan: Plan::One(read), freshness }
    }

    /// An order to `get`.
    pub fn get(path: &str, flags: u32) -> Result<Self, Failure> {
        let (path, watch) = (path.to_owned(), watch(flags)?);
        Ok(Self::read(flags, Operation::GetData { path, watch }))
    }

    /// An order of `exists`.
    pub fn exists(path: &str, flags: u32) -> Result<Self, Failure> {
        let (path, watch) = (path.to_owned(), watch(flags)?);
        Ok(Self::read(flags, Operation::Exists { path, watch }))
    }

    /// An order of `children`.
    pub fn children(path: &str, flags: u32) -> Result<Self, Failure> {
        let (path, watch) = (path.to_owned(), watch(flags)?);
        Ok(Self::read(flags, Operation::GetChildren { path, watch }))
    }

    /// The same read, whose answer is to be so fresh.
    pub fn fresh(self, freshness: Freshness) -> Result<Self, Failure> {
        match &self.plan {
            Plan::Reads(_) => {}
            Plan::One(operation) if operation.is_read() => {}
            _write => return Err(bad("only reads of nodes can be fresh")),
        }
        Ok(Self { freshness, ..self })
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Plan {
    /// One request.
    One(Operation),
    /// A check, alone a transaction of one.
    Check {
        /// The node.
        path: String,
        /// Its version, or -1.
        version: i32,
    },
    /// A transaction to which nothing was added yet.
    Empty,
    /// A transaction.
    Writes(Vec<MultiOp>),
    /// Several reads of one state.
    Reads(Vec<ReadOp>),
    /// What a recipe waits for.
    Goal(Goal),
}

impl Plan {
    /// The request.
    pub fn request(&self) -> Result<Operation, Failure> {
        Ok(match self {
            Self::One(operation) => operation.clone(),
            Self::Check { path, version } => {
                Operation::Multi(vec![MultiOp::Check { path: path.clone(), version: *version }])
            }
            Self::Empty => return Err(bad("nothing was added to the transaction")),
            Self::Writes(ops) => Operation::Multi(ops.clone()),
            Self::Reads(ops) => Operation::MultiRead(ops.clone()),
            Self::Goal(_) => return Err(bad("a recipe is not one request")),
        })
    }

    /// A plan of `create`.
    pub fn create(
        path: &str,
        data: Option<&[u8]>,
        mode: u32,
        ttl_ms: u64,
        acl: Vec<Acl>,
    ) -> Result<Self, Failure> {
        let mode = create_mode(mode, ttl_ms)?;
        let (path, data) = (path.to_owned(), data.map(<[u8]>::to_vec));
        Ok(Self::One(Operation::Create { path, data, acl, mode }))
    }

    /// A plan of `set`.
    pub fn set(path: &str, data: Option<&[u8]>, version: i32) -> Self {
        let (path, data) = (path.to_owned(), data.map(<[u8]>::to_vec));
        Self::One(Operation::SetData { path, data, version })
    }
}

/// Bits of the flags of reads.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum fw_flag {
    /// The next change of what is read is told once, as an event.
    FW_WATCH = 1,
    /// The server catches up with the leader before it reads: what was acknowledged to anybody
    /// before the call is seen. Less is asked with `fw_op_fresh`.
    FW_SYNC = 2,
}

const FLAG_WATCH: u32 = fw_flag::FW_WATCH as u32;
const FLAG_SYNC: u32 = fw_flag::FW_SYNC as u32;

/// How a node lives and is named.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum fw_create_mode {
    /// Until it is deleted.
    FW_PERSISTENT = 0,
    /// Until it is deleted or its session ends.
    FW_EPHEMERAL = 1,
    /// Persistent; the server appends a counter of ten digits.
    FW_PERSISTENT_SEQUENTIAL = 2,
    /// Ephemeral; the server appends a counter of ten digits.
    FW_EPHEMERAL_SEQUENTIAL = 3,
    /// The server removes it some time after its last child is gone.
    FW_CONTAINER = 4,
    /// The server removes it when it has no children and was not set for its time to live.
    FW_PERSISTENT_TTL = 5,
    /// As `FW_PERSISTENT_TTL`; the server appends a counter of ten digits.
    FW_PERSISTENT_SEQUENTIAL_TTL = 6,
}

/// What a lasting watch tells.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum fw_watch_mode {
    /// Every event of the node itself and of its list of children.
    FW_WATCH_PERSISTENT = 0,
    /// Creation, deletion and data of the node and of everything below it.
    FW_WATCH_RECURSIVE = 1,
}

/// Which watches to look for or to remove.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum fw_watch_kind {
    /// One-shot watches of `children`.
    FW_WATCHES_CHILDREN = 1,
    /// One-shot watches of `get` and `exists`.
    FW_WATCHES_DATA = 2,
    /// All of them.
    FW_WATCHES_ANY = 3,
    /// Those of `FW_WATCH_PERSISTENT`.
    FW_WATCHES_PERSISTENT = 4,
    /// Those of `FW_WATCH_RECURSIVE`.
    FW_WATCHES_RECURSIVE = 5,
}

fn bad(text: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(fw_status::FW_BAD_ARGUMENT, text)
}

fn watch(flags: u32) -> Result<bool, Failure> {
    if flags & !(FLAG_WATCH | FLAG_SYNC) != 0 {
        return Err(bad(format!("flags {flags:#x} hold a bit that no fw_flag has")));
    }
    Ok(flags & FLAG_WATCH != 0)
}

fn create_mode(mode: u32, ttl_ms: u64) -> Result<CreateMode, Failure> {
    let mode = match mode {
        0 => CreateMode::Persistent,
        1 => CreateMode::Ephemeral,
        2 => CreateMode::PersistentSequential,
        3 => CreateMode::EphemeralSequential,
        4 => CreateMode::Container,
        5 if ttl_ms != 0 => return Ok(CreateMode::PersistentWithTtl { ttl_ms }),
        6 if ttl_ms != 0 => return Ok(CreateMode::PersistentSequentialWithTtl { ttl_ms }),
        5 | 6 => return Err(bad("a mode with a time to live, and a time of 0")),
        other => return Err(bad(format!("{other} is no fw_create_mode"))),
    };
    if ttl_ms == 0 { Ok(mode) } else { Err(bad("a time to live, and a mode without one")) }
}

/// The mode that an `fw_watch_mode` means.
pub fn add_watch_mode(mode: u32) -> Result<AddWatchMode, Failure> {
    match mode {
        0 => Ok(AddWatchMode::Persistent),
        1 => Ok(AddWatchMode::PersistentRecursive),
        other => Err(bad(format!("{other} is no fw_watch_mode"))),
    }
}

fn watch_kind(kind: u32) -> Result<WatchKind, Failure> {
    Ok(match kind {
        1 => WatchKind::Children,
        2 => WatchKind::Data,
        3 => WatchKind::Any,
        4 => WatchKind::Persistent,
        5 => WatchKind::PersistentRecursive,
        other => return Err(bad(format!("{other} is no fw_watch_kind"))),
    })
}

fn lock(order: &Mutex<Order>) -> MutexGuard<'_, Order> {
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The order as it stands now.
pub fn order(op: &Mutex<Order>) -> Order {
    lock(op).clone()
}

fn new(order: impl Into<Order>) -> *mut fw_op {
    give(Mutex::new(order.into()))
}

fn one(operation: Operation) -> *mut fw_op {
    new(Plan::One(operation))
}

/// Creates a node. Null data with length 0 is null, which is not the same as empty. `mode` is an
/// `fw_create_mode`; `ttl_ms` is 0 but for the two modes with a time to live. A null `acl` is
/// everything for everyone. The result has a path and a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_create(
    path: *const c_char,
    path_len: usize,
    data: *const u8,
    data_len: usize,
    mode: u32,
    ttl_ms: u64,
    acl: *const fw_acl,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (op, path) = (out(op)?, text("path", path, path_len)?);
        let data = optional_bytes(data, data_len)?;
        op.set(new(Plan::create(path, data, mode, ttl_ms, list(acl)?)?));
        Ok(())
    })
}

/// Deletes a node without children that has `version`, or any with -1. The result is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_delete(
    path: *const c_char,
    path_len: usize,
    version: i32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?.to_owned();
        out(op)?.set(one(Operation::Delete { path, version }));
        Ok(())
    })
}

/// Asks whether a node exists: not to exist is an answer, not an error. `flags` are of `fw_flag`; a
/// watch tells its creation, deletion or next data. The result has a stat if the node exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_exists(
    path: *const c_char,
    path_len: usize,
    flags: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        out(op)?.set(new(Order::exists(text("path", path, path_len)?, flags)?));
        Ok(())
    })
}

/// Reads a node. `flags` are of `fw_flag`; a watch tells its deletion or next data. The result has
/// data and a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_get(
    path: *const c_char,
    path_len: usize,
    flags: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        out(op)?.set(new(Order::get(text("path", path, path_len)?, flags)?));
        Ok(())
    })
}

/// Replaces the data of a node that has `version`, or any with -1. Null data with length 0 is null.
/// The result has a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_set(
    path: *const c_char,
    path_len: usize,
    data: *const u8,
    data_len: usize,
    version: i32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let data = optional_bytes(data, data_len)?;
        out(op)?.set(new(Plan::set(text("path", path, path_len)?, data, version)));
        Ok(())
    })
}

/// Lists the children of a node. `flags` are of `fw_flag`; a watch tells the next child that comes
/// or goes, or the node's own deletion. The result has names and the node's stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_children(
    path: *const c_char,
    path_len: usize,
    flags: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        out(op)?.set(new(Order::children(text("path", path, path_len)?, flags)?));
        Ok(())
    })
}

/// Reads the access control list of a node. The result has entries and a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_get_acl(
    path: *const c_char,
    path_len: usize,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?.to_owned();
        out(op)?.set(one(Operation::GetAcl { path }));
        Ok(())
    })
}

/// Replaces the access control list of a node whose list has `version`, or any with -1. The result
/// has a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_set_acl(
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    version: i32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (path, acl) = (text("path", path, path_len)?.to_owned(), list(acl)?);
        out(op)?.set(one(Operation::SetAcl { path, acl, version }));
        Ok(())
    })
}

/// Waits until the session's server has caught up with the leader: reads behind it see all that
/// was acknowledged before. The result is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_sync(
    path: *const c_char,
    path_len: usize,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?.to_owned();
        out(op)?.set(one(Operation::Sync { path }));
        Ok(())
    })
}

/// Checks that a node exists and has `version`, or any with -1: for transactions, or alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_check(
    path: *const c_char,
    path_len: usize,
    version: i32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?.to_owned();
        out(op)?.set(new(Plan::Check { path, version }));
        Ok(())
    })
}

/// Begins a transaction: everything that is added to it is applied, or nothing; `fw_error_index`
/// says which operation it failed with. Or several reads that see one state, each with its own
/// status. The result has a part for each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_multi(op: *mut *mut fw_op, error: *mut *mut fw_error) -> fw_status {
    border!(error, {
        out(op)?.set(new(Plan::Empty));
        Ok(())
    })
}

/// Adds a copy of `part` to a transaction: create, set, delete and check; or get and children
/// without flags. Fails with `FW_BAD_ARGUMENT` when it is none of these, or reads and writes would
/// mix.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_multi_add(
    multi: *mut fw_op,
    part: *const fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let part = order(&*borrow(part)?);
        if part.freshness != Freshness::default() {
            return Err(bad("the transaction as a whole can be fresh, not a part of it"));
        }
        let multi = borrow(multi.cast_const())?;
        add(&mut lock(&multi).plan, part.plan)
    })
}

/// All that may be refused comes first: a transaction to which nothing was added is as it was.
fn add(multi: &mut Plan, part: Plan) -> Result<(), Failure> {
    let count = match multi {
        Plan::Empty => 0,
        Plan::Writes(ops) => ops.len(),
        Plan::Reads(ops) => ops.len(),
        _other => return Err(bad("the operation to add to is no transaction")),
    };
    if MULTI_OPS_MAX <= count {
        let text = format!("a transaction takes {MULTI_OPS_MAX} operations");
        return Err(Failure::new(fw_status::FW_TOO_LARGE, text));
    }
    let is_read =
        matches!(part, Plan::One(Operation::GetData { .. } | Operation::GetChildren { .. }));
    match multi {
        Plan::Reads(ops) => ops.push(read_part(part)?),
        Plan::Writes(ops) => ops.push(write_part(part)?),
        empty if is_read => *empty = Plan::Reads(vec![read_part(part)?]),
        empty => *empty = Plan::Writes(vec![write_part(part)?]),
    }
    Ok(())
}

#[inline(never)]
fn write_part(part: Plan) -> Result<MultiOp, Failure> {
    Ok(match part {
        Plan::One(Operation::Create { path, data, acl, mode }) => {
            MultiOp::Create { path, data, acl, mode }
        }
        Plan::One(Operation::Delete { path, version }) => MultiOp::Delete { path, version },
        Plan::One(Operation::SetData { path, data, version }) => {
            MultiOp::SetData { path, data, version }
        }
        Plan::Check { path, version } => MultiOp::Check { path, version },
        _other => {
            return Err(bad("a transaction takes create, set, delete and check, and no reads"));
        }
    })
}

fn read_part(part: Plan) -> Result<ReadOp, Failure> {
    Ok(match part {
        Plan::One(Operation::GetData { path, watch: false }) => ReadOp::GetData { path },
        Plan::One(Operation::GetChildren { path, watch: false }) => ReadOp::GetChildren { path },
        _other => return Err(bad("reads together take get and children without flags")),
    })
}

/// Sets a watch that stays until it is removed or the session ends; `mode` is an `fw_watch_mode`.
/// It survives reconnects; events that fall between two connections are lost. The result is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_add_watch(
    path: *const c_char,
    path_len: usize,
    mode: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?.to_owned();
        let mode = add_watch_mode(mode)?;
        out(op)?.set(one(Operation::AddWatch { path, mode }));
        Ok(())
    })
}

/// Removes watches; `kind` is an `fw_watch_kind`. Each kind that there was is told as an event. The
/// result is empty; the call fails with `FW_NO_WATCHER` when there was none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_remove_watches(
    path: *const c_char,
    path_len: usize,
    kind: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (path, kind) = (text("path", path, path_len)?.to_owned(), watch_kind(kind)?);
        out(op)?.set(one(Operation::RemoveWatches { path, kind }));
        Ok(())
    })
}

/// Asks whether the server keeps such a watch; `kind` is an `fw_watch_kind`. The call fails with
/// `FW_NO_WATCHER` when not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_check_watches(
    path: *const c_char,
    path_len: usize,
    kind: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (path, kind) = (text("path", path, path_len)?.to_owned(), watch_kind(kind)?);
        out(op)?.set(one(Operation::CheckWatches { path, kind }));
        Ok(())
    })
}

/// Lists this session's ephemeral nodes whose paths begin with `prefix`. The result has names, which
/// are whole paths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_ephemerals(
    prefix: *const c_char,
    prefix_len: usize,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let prefix = text("prefix", prefix, prefix_len)?.to_owned();
        out(op)?.set(one(Operation::GetEphemerals { prefix }));
        Ok(())
    })
}

/// Counts the nodes below a node, at any depth. The result has a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_count_descendants(
    path: *const c_char,
    path_len: usize,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let path = text("path", path, path_len)?.to_owned();
        out(op)?.set(one(Operation::GetAllChildrenNumber { path }));
        Ok(())
    })
}

/// Asks who the server takes this client for. The result has entries without permissions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_whoami(op: *mut *mut fw_op, error: *mut *mut fw_error) -> fw_status {
    border!(error, {
        out(op)?.set(one(Operation::WhoAmI));
        Ok(())
    })
}

/// Adds an identity, now and after every reconnect, such as ("digest", "user:password"). A digest
/// password is not verified here: a wrong one shows as `FW_NO_AUTH` later. The result is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_add_auth(
    scheme: *const c_char,
    scheme_len: usize,
    auth: *const u8,
    auth_len: usize,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let scheme = text("scheme", scheme, scheme_len)?.to_owned();
        let auth = bytes(auth, auth_len)?.to_vec();
        out(op)?.set(one(Operation::AddAuth { scheme, auth }));
        Ok(())
    })
}

/// Reads the ensemble's configuration. `flags` may hold `FW_WATCH`. The result has data and a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_get_config(
    flags: u32,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        if flags & FLAG_SYNC != 0 {
            return Err(bad("the configuration lies outside of what FW_SYNC can name"));
        }
        out(op)?.set(one(Operation::GetConfig { watch: watch(flags)? }));
        Ok(())
    })
}

/// Changes the ensemble's membership: `members` as a whole, or `joining` and `leaving`; what is not
/// meant is null. `version` is that of the expected configuration, or -1. The result has the new
/// configuration and a stat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_reconfig(
    joining: *const c_char,
    joining_len: usize,
    leaving: *const c_char,
    leaving_len: usize,
    members: *const c_char,
    members_len: usize,
    version: i64,
    op: *mut *mut fw_op,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let joining = optional_text("joining", joining, joining_len)?.map(str::to_owned);
        let leaving = optional_text("leaving", leaving, leaving_len)?.map(str::to_owned);
        let members = optional_text("members", members, members_len)?.map(str::to_owned);
        out(op)?.set(one(Operation::Reconfig { joining, leaving, members, version }));
        Ok(())
    })
}

/// Frees `op`. Null is allowed. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_free(op: *mut fw_op) -> fw_status {
    accessor!(free(op))
}

#[cfg(test)]
mod tests;
