//! `fw_observer`: a replica in the caller's process, where a read is a memory read.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::time::{Duration, Instant};

use farwatch_client::Outcome;
use farwatch_core::tree::{Node, Visit};
use farwatch_core::zxid::Zxid;
use farwatch_observer::config::UpstreamChoice;
use farwatch_observer::data_dir::DataDirError;
use farwatch_observer::embedded::{DriveError, Observer, OpenError, Options, Thread, WaitError};
use farwatch_observer::host::StartError;

use crate::bytes::{CSTR, TEXT_BYTES_MAX, Text, optional_text};
use crate::client::{ClientBody, fw_client, patience};
use crate::config::{ConfigBody, fw_config};
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, optional_out, out, view, without_signals};
use crate::node::{fw_node, lend_node, names_of};
use crate::result::{ResultBody, fw_result, fw_stat, stat_place};
use crate::status::fw_status;

/// How long an observer is driven with signals blocked.
const DRIVEN_FOR: Duration = Duration::from_millis(10);

/// The peer port of most servers.
const PEER_PORT: u16 = 2888;

/// A replica of a service's whole tree in this process, and its threads. It learns from voters or from
/// other observers, serves reads from memory, survives the loss of its link and heals by itself. Access
/// control lists are not looked at: whoever has the replica has all of it. All functions on it: any
/// thread, at once; those that read take no lock, make no system call and wait for nobody, while no more than
/// 64 reads are under way at one instant. A further one gives its processor to others (`sched_yield`) until
/// one of them has ended. A read that a signal interrupted is under way until its thread goes on; one that another
/// thread had under way at a `fork` is so for ever in the child.
pub struct fw_observer {
    _private: [u8; 0],
}

impl Opaque for fw_observer {
    type Body = ObserverBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_obsrv");
}

/// An observer and how long it may be waited for.
pub struct ObserverBody {
    /// The observer.
    pub observer: Observer,
    ended: std::sync::OnceLock<Text>,
}

impl ObserverBody {
    /// Fails in a forked process, where nothing moves any more.
    pub fn refuse_forked(&self) -> Result<(), Failure> {
        if self.observer.is_of_this_process() {
            return Ok(());
        }
        let text = "the observer was opened before fork: here it can only be read and freed";
        Err(Failure::new(fw_status::FW_FORKED, text))
    }
}

/// The settings of `fw_observer_open`.
const KEYS: [&str; 9] = [
    "upstreams",
    OBSERVE,
    "upstreamChoice",
    UPSTREAM_CHOICE,
    "dataDir",
    "thread",
    "cpu",
    "windowBytes",
    "treeBytes",
];

/// A server's names of what is shorter here.
const OBSERVE: &str = "farwatch.observe";
const UPSTREAM_CHOICE: &str = "farwatch.upstreamChoice";

/// What is set under either name, and not under both.
fn either(config: &ConfigBody, short: &str, servers: &str) -> Result<Option<String>, Failure> {
    match (config.get(short), config.get(servers)) {
        (Some(_), Some(_)) => {
            let text = format!("{short:?} and {servers:?} are the same setting: set one of them");
            Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text))
        }
        (short, servers) => Ok(short.or(servers)),
    }
}

/// Whether a directory cannot be used, however often it is tried: it is to be put right, or another one named.
fn is_no_place(error: &DataDirError) -> bool {
    match error {
        DataDirError::Directory { cause, .. } => matches!(
            cause.raw_os_error(),
            Some(
                libc::EACCES
                    | libc::EPERM
                    | libc::EROFS
                    | libc::ENOENT
                    | libc::ENOTDIR
                    | libc::ELOOP
                    | libc::ENAMETOOLONG
            )
        ),
        DataDirError::Permissions { .. }
        | DataDirError::Identity { .. }
        | DataDirError::NoIdentity { .. }
        | DataDirError::Voters { .. }
        | DataDirError::VotersDamaged { .. }
        | DataDirError::VotersVersion { .. }
        | DataDirError::Server { .. } => true,
        DataDirError::Locked { .. } | DataDirError::Epochs(_) | DataDirError::Disk(_) => false,
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::NoUpstream => Self::new(fw_status::FW_BAD_ARGUMENT, text),
            OpenError::Start(StartError::DataDir(error)) if is_no_place(&error) => {
                Self::new(fw_status::FW_BAD_ARGUMENT, text)
            }
            OpenError::Start(StartError::DataDir(DataDirError::Locked { .. })) => {
                Self::new(fw_status::FW_TAKEN, text)
            }
            OpenError::Start(_) | OpenError::System(_) => {
                Self::retriable(fw_status::FW_NO_RESOURCES, text)
            }
            OpenError::Ended(_) => Self::new(fw_status::FW_CLOSED, text),
        }
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        let text = error.to_string();
        match error {
            WaitError::TimedOut(_) => Self::retriable(fw_status::FW_TIMEOUT, text),
            WaitError::Ended(_) => Self::fatal(fw_status::FW_CLOSED, text),
        }
    }
}

fn upstreams(list: &str) -> Result<Vec<(String, u16)>, Failure> {
    let bad = |part: &str| {
        let text = format!("\"upstreams\": {part:?} is not host or host:port");
        Failure::new(fw_status::FW_BAD_ARGUMENT, text)
    };
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            // An address of version 6 stands in brackets where a port follows.
            let (host, port) = match part.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((host, "")) => (host, None),
                Some((host, port)) => {
                    (host, Some(port.strip_prefix(':').ok_or_else(|| bad(part))?))
                }
                None => match part.rsplit_once(':') {
                    Some((host, port)) if !host.contains(':') => (host, Some(port)),
                    Some(_) | None => (part, None),
                },
            };
            let port = port.map_or(Ok(PEER_PORT), |port| port.parse().map_err(|_| bad(part)))?;
            if host.is_empty() { Err(bad(part)) } else { Ok((host.to_owned(), port)) }
        })
        .collect()
}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        let text = error.to_string();
        match error {
            DriveError::HasThread | DriveError::OtherThread => {
                Self::new(fw_status::FW_BAD_ARGUMENT, text)
            }
            DriveError::Within => Self::new(fw_status::FW_IN_CALLBACK, text),
            DriveError::Ended(_) => Self::fatal(fw_status::FW_CLOSED, text),
        }
    }
}

fn thread(config: &ConfigBody) -> Result<Thread, Failure> {
    let cpu = config.number("cpu", 0..=1023)?.map(|cpu| cpu as usize);
    let bad = |text: &str| Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text.to_owned()));
    match (config.get("thread").as_deref(), cpu) {
        (None | Some("pinned"), Some(cpu)) => Ok(Thread::Pinned(cpu)),
        (None | Some("own"), None) => Ok(Thread::Own),
        (Some("none"), None) => Ok(Thread::Callers),
        (Some("pinned"), None) => bad("\"thread\" is pinned, and \"cpu\" does not say to which"),
        (Some("own" | "none"), Some(_)) => bad("\"cpu\" is of a thread that is pinned"),
        (Some(other), _) => bad(&format!("\"thread\": {other:?} is not own, pinned or none")),
    }
}

fn options(config: &ConfigBody) -> Result<Options, Failure> {
    config.refuse_unknown(&KEYS)?;
    let list = either(config, "upstreams", OBSERVE)?.unwrap_or_default();
    let mut options = Options::of(upstreams(&list)?);
    options.upstream_choice = match either(config, "upstreamChoice", UPSTREAM_CHOICE)?.as_deref() {
        None | Some("first") => UpstreamChoice::First,
        Some("nearest") => UpstreamChoice::Nearest,
        Some(other) => {
            let text = format!("\"upstreamChoice\": {other:?} is not first or nearest");
            return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
        }
    };
    options.data_dir = config.get("dataDir").map(Into::into);
    options.thread = thread(config)?;
    if let Some(bytes) = config.number("windowBytes", 0..=1 << 40)? {
        options.window_bytes_max = bytes as usize;
    }
    let tree_bytes = config.number("treeBytes", 1 << 20..=1 << 50)?;
    options.tree_bytes_max = tree_bytes.map(|bytes| bytes as usize);
    options.is_memory_out = crate::reserve::is_out;
    Ok(options)
}

/// The bytes of a path: any, as a node of such a name is there or is not.
///
/// # Safety
/// As for [`crate::bytes::text`].
pub unsafe fn path_bytes<'a>(path: *const c_char, len: usize) -> Result<&'a [u8], Failure> {
    if path.is_null() {
        return Err(Failure::new(fw_status::FW_NULL, "path is null"));
    }
    // SAFETY: a text of this length ends with a zero byte, says the caller.
    let len = if len == CSTR { unsafe { libc::strnlen(path, TEXT_BYTES_MAX + 1) } } else { len };
    if TEXT_BYTES_MAX < len {
        return Err(Failure::new(fw_status::FW_TOO_LARGE, "path is too long"));
    }
    // SAFETY: not null, and the caller promises `len` bytes.
    Ok(unsafe { std::slice::from_raw_parts(path.cast::<u8>(), len) })
}

/// As [`crate::guard::call`] for work that may find nothing: that allocates only for who asks why.
///
/// # Safety
/// As for [`crate::guard::call`].
pub unsafe fn find(
    error: *mut *mut fw_error,
    work: impl FnOnce() -> Result<bool, Failure>,
) -> fw_status {
    let mut is_missing = false;
    let work = || match work() {
        Ok(true) => Ok(()),
        Ok(false) if error.is_null() => {
            is_missing = true;
            Ok(())
        }
        Ok(false) => Err(Failure::new(fw_status::FW_NO_NODE, "there is no such node")),
        Err(failure) => Err(failure),
    };
    // SAFETY: the caller's promise is the same.
    let status = unsafe { crate::guard::call(error, work) };
    if is_missing { fw_status::FW_NO_NODE } else { status }
}

/// Starts an observer. Blocks until what `dataDir` has was read; a link it does not wait for, see
/// `fw_observer_wait_ready`. May block, any thread. Settings, the first two also by a server's names
/// (`farwatch.observe`, `farwatch.upstreamChoice`):
///
/// - `upstreams`: `host[:port][,host[:port]...]`, whom it learns from, by their peer ports (2888
///   unless given), the first that can be reached and has in its log what was missed; the only one that must be set;
/// - `upstreamChoice` (`first`): `nearest` is the one of them with the shortest round trip instead;
/// - `dataDir`: where it keeps its history, so that it comes back with what it missed only; without
///   it, everything is in memory;
/// - `thread` (`own`): where it works: on a thread of its `own`; `pinned` to processor `cpu`; or `none`: on
///   the calling thread, in `fw_observer_drive` and while that waits, and nowhere else;
/// - `cpu`: the processor that its thread keeps to, from 0;
/// - `windowBytes` (16777216): changes that are kept for feeds that lag behind;
/// - `treeBytes`: the most that the replica may take, with what views keep of its past; beyond it the
///   observer ends, and can still be read. So it does when the system has no memory to give.
///
/// Fails with `FW_NULL`, `FW_BAD_ARGUMENT` (also when `dataDir` cannot be used as it is), `FW_TAKEN` (another
/// observer or server has `dataDir`), `FW_NO_RESOURCES` (also when its disk fails), `FW_NO_MEMORY`, `FW_CLOSED`
/// (it ended while it was opened: the error's text says why).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_open(
    config: *const fw_config,
    observer: *mut *mut fw_observer,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let place = out(observer)?;
        let options = options(&*borrow(config)?)?;
        let open = || without_signals(|| Ok(Observer::open(&options)?));
        let observer = crate::reserve::open(open, drop)?;
        place.set(give(ObserverBody { observer, ended: std::sync::OnceLock::new() }));
        Ok(())
    })
}

/// Waits until the observer has followed an upstream and shows transaction `min_zxid` or a later one: 0
/// for any. `timeout_ms` 0 looks and does not wait. May block, any thread. Fails with `FW_TIMEOUT`,
/// `FW_CLOSED` (it ended: the error's text says why), `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_wait_ready(
    observer: *const fw_observer,
    min_zxid: i64,
    timeout_ms: u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        refuse_inside_read()?;
        let observer = borrow(observer)?;
        observer.refuse_forked()?;
        let min = Zxid(min_zxid.max(0).unsigned_abs());
        let deadline = Instant::now() + patience(timeout_ms);
        let observer = &observer.observer;
        if !observer.is_driven_here() {
            return Ok(observer.wait_ready(min, deadline)?);
        }
        loop {
            let until = deadline.min(Instant::now() + DRIVEN_FOR);
            match without_signals(|| observer.wait_ready(min, until)) {
                Err(WaitError::TimedOut(_)) if until < deadline => {}
                waited => return Ok(waited?),
            }
        }
    })
}

/// Lets an observer without a thread (`thread` is `none`) go on, in the calling thread, which is the one that
/// opened it: for `timeout_ms` and about a millisecond, or until it has ended; for longer where a snapshot that
/// replaces its state is read. Who drives it sees what was learned since: call it at least every 10 ms for
/// reads that are new, and every second, or its upstream parts with it until it is driven again. Signals wait
/// meanwhile, for 10 ms at most; threads that it starts (for its disk, for names) have them blocked. A blocking call of a client of this observer needs another thread to
/// make it. May block. Fails with `FW_CLOSED` (it ended), `FW_BAD_ARGUMENT` (it has a thread, or another one
/// opened it), `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_drive(
    observer: *const fw_observer,
    timeout_ms: u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        refuse_inside_read()?;
        let observer = borrow(observer)?;
        observer.refuse_forked()?;
        let end = Instant::now() + patience(timeout_ms);
        loop {
            // In between, the host's signals are handled.
            let left = end.saturating_duration_since(Instant::now());
            without_signals(|| observer.observer.drive(left.min(DRIVEN_FOR)))?;
            if left <= DRIVEN_FOR {
                return Ok(());
            }
        }
    })
}

/// How far an observer is, and how sure of it. Set `size` to `sizeof(fw_lag)` before it is filled, or
/// begin with `FW_LAG_INIT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fw_lag {
    /// `sizeof(fw_lag)` as the program knows it, bytes.
    pub size: u32,
    /// 1 while it follows an upstream, else 0.
    pub linked: i32,
    /// The last transaction that reads show.
    pub zxid: i64,
    /// Since how many milliseconds it does not know itself to be current; -1 before it was for the first
    /// time. By a clock that never goes back.
    pub stale_ms: i64,
    /// Replaced versions that some view or read still keeps in memory.
    pub versions_kept: u64,
    /// What the replica takes, these included, bytes.
    pub tree_bytes: u64,
}

const LAG_BYTES_MIN: usize = 40;
const _: () = assert!(size_of::<fw_lag>() == LAG_BYTES_MIN);

/// Fills `lag`, whose `size` must be set. Takes no lock and, up to 64 reads at once, never blocks; any thread.
/// Fails with `FW_NULL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_lag(
    observer: *const fw_observer,
    lag: *mut fw_lag,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        refuse_inside_read()?;
        let now = borrow(observer)?.observer.lag();
        if lag.is_null() {
            return Err(Failure::new(fw_status::FW_NULL, "lag is null"));
        }
        let size = (&raw const (*lag).size).read();
        if (size as usize) < LAG_BYTES_MIN {
            let text = "lag.size is too small: set it to sizeof(fw_lag)";
            return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
        }
        lag.write(fw_lag {
            size,
            linked: now.is_linked.into(),
            zxid: now.zxid.as_i64(),
            stale_ms: now.stale.map_or(-1, |stale| stale.as_millis() as i64),
            versions_kept: now.versions_kept as u64,
            tree_bytes: now.tree_bytes as u64,
        });
        Ok(())
    })
}

/// Copies the data of a node to `buffer`, at most `capacity` bytes of it, and says in `len` how long the data is:
/// when that is more than `capacity`, the status is `FW_BUFFER_TOO_SMALL`, nothing else is written and the call can
/// be repeated with more room. `len` is -1 for null data. `stat` may be null, else its `size` must be set. Takes no
/// lock and, up to 64 reads at once, never blocks; any thread. Fails with `FW_NO_NODE`, `FW_NULL`,
/// `FW_BUFFER_TOO_SMALL`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_get(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    buffer: *mut u8,
    capacity: usize,
    len: *mut i64,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        let observer = borrow_observer(observer)?;
        // SAFETY: as in `border`.
        let (path, len) = unsafe { (path_bytes(path, path_len)?, out(len)?) };
        let visit = visit(&observer)?;
        let Some(node) = visit.view().get(path) else { return Ok(false) };
        let data = node.data();
        let bytes = data.unwrap_or_default();
        // All that may be refused comes before anything is written.
        // SAFETY: null, or it begins with its size.
        let stat = unsafe { stat_place(stat) }?;
        if capacity < bytes.len() {
            len.set(bytes.len() as i64);
            // The same words for each length: they are not allocated.
            let text =
                "the data is longer than the buffer: its length was written, make room for it";
            return Err(Failure::retriable(fw_status::FW_BUFFER_TOO_SMALL, text));
        }
        if !bytes.is_empty() {
            if buffer.is_null() {
                return Err(Failure::new(fw_status::FW_NULL, "buffer is null"));
            }
            // SAFETY: it has room for `capacity` bytes, which is enough.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len()) };
        }
        if let Some(stat) = stat {
            stat.fill(&node.stat());
        }
        len.set(data.map_or(-1, |data| data.len() as i64));
        Ok(true)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

thread_local! {
    /// Whether this thread is inside of a `read` callback, and so holds one of the places for reads.
    static LOOKS: Cell<bool> = const { Cell::new(false) };
}

/// A callback of `fw_observer_read` or `_children_each` must not wait: a thread of the observer may wait for it.
pub fn refuse_inside_read() -> Result<(), Failure> {
    LOOKS.with(refuse_inside)
}

fn refuse_inside(looks: &Cell<bool>) -> Result<(), Failure> {
    if looks.get() {
        let text = "a read within a read could wait for itself; use a view";
        return Err(Failure::new(fw_status::FW_IN_CALLBACK, text));
    }
    Ok(())
}

/// Has C look at the node at `path` where it lies, by what `told` calls; false where there is none. Meanwhile this
/// thread reads from no observer.
#[inline]
pub fn look_at(
    observer: &ObserverBody,
    path: &[u8],
    told: impl FnOnce(&Node<'_>) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    // Looked up once: in a shared library a thread's own place costs a call.
    LOOKS.with(|looks| {
        refuse_inside(looks)?;
        let visit = observer.observer.visit();
        let Some(node) = visit.view().get(path) else { return Ok(false) };
        // It returns, as C does not throw.
        looks.set(true);
        let seen = told(&node);
        looks.set(false);
        seen.map(|()| true)
    })
}

fn visit(observer: &ObserverBody) -> Result<Visit<'_>, Failure> {
    refuse_inside_read()?;
    Ok(observer.observer.visit())
}

fn borrow_observer<'a>(
    observer: *const fw_observer,
) -> Result<crate::guard::Borrowed<'a, ObserverBody>, Failure> {
    // SAFETY: the argument of an entry point, whose rules are those of `guard`.
    unsafe { borrow(observer) }
}

/// Looks at a node in place, without a copy. `node` is valid until the function returns.
pub type fw_read_fn = Option<unsafe extern "C" fn(context: *mut c_void, node: *const fw_node)>;

/// Calls `read` once with the node at `path`, in this thread, before it returns; what it is told lies in the
/// replica's own memory. It must return at once: what is replaced meanwhile stays in memory. It must not read from
/// an observer: 64 reads can be under way at once, and one within another could wait for a place that it holds
/// itself; so such calls answer `FW_IN_CALLBACK`. Views are free of that. Takes no lock and, up to 64 reads at
/// once, never blocks; any thread. Fails with `FW_NO_NODE`, `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_read(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    read: fw_read_fn,
    context: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        let observer = borrow_observer(observer)?;
        // SAFETY: as in `border`.
        let path = unsafe { path_bytes(path, path_len)? };
        let read = read.ok_or_else(|| Failure::new(fw_status::FW_NULL, "read is null"))?;
        look_at(&observer, path, |node| {
            // SAFETY: the function is C's for this context; the node lives while it runs.
            lend_node(node, |node| unsafe { read(context, node) });
            Ok(())
        })
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// Whether there is a node at `path`: `FW_OK`, or `FW_NO_NODE`. `stat` may be null, else its `size` must be set.
/// Takes no lock and, up to 64 reads at once, never blocks; any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_exists(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        let observer = borrow_observer(observer)?;
        // SAFETY: as in `border`.
        let path = unsafe { path_bytes(path, path_len)? };
        let visit = visit(&observer)?;
        let Some(node) = visit.view().get(path) else { return Ok(false) };
        // SAFETY: null, or it begins with its size.
        if let Some(stat) = unsafe { stat_place(stat) }? {
            stat.fill(&node.stat());
        }
        Ok(true)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// The names of a node's children, in the order of their creation, and its stat. Free the result with
/// `fw_result_free`. Takes no lock of the observer and, up to 64 reads at once, never blocks. Allocates the list,
/// so not in a signal handler, where `fw_observer_children_each` may be called; any thread. Fails with
/// `FW_NO_NODE`, `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_children(
    observer: *const fw_observer,
    path: *const c_char,
    path_len: usize,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    let work = || {
        let observer = borrow_observer(observer)?;
        // SAFETY: as in `border`.
        let (path, place) = unsafe { (path_bytes(path, path_len)?, out(result)?) };
        let visit = visit(&observer)?;
        let Some(node) = visit.view().get(path) else { return Ok(false) };
        let outcome = Outcome::Children { names: names_of(&node), stat: node.stat() };
        place.set(give(ResultBody::from(outcome)));
        Ok(true)
    };
    // SAFETY: as in `border`.
    unsafe { find(error, work) }
}

/// Opens a client of the observer, in this process: what it reads comes from the observer's memory, what it writes
/// goes upstream, and what was acknowledged to it every later read in the process shows. `config` is that of
/// `fw_client_open` without `connect`; null is an empty one. `chroot` may be null. Free it with `fw_client_free`,
/// before or after the observer, without which it is disconnected. Never blocks, any thread. Fails with `FW_NULL`,
/// `FW_BAD_ARGUMENT`, `FW_NO_RESOURCES`, `FW_NO_MEMORY`, `FW_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_client(
    observer: *const fw_observer,
    config: *const fw_config,
    chroot: *const c_char,
    chroot_len: usize,
    client: *mut *mut fw_client,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let place = out(client)?;
        let observer = borrow(observer)?;
        observer.refuse_forked()?;
        let chroot = optional_text("chroot", chroot, chroot_len)?.unwrap_or_default();
        let door = observer.observer.door();
        let open = || {
            if config.is_null() {
                ClientBody::open_through(door, chroot, &ConfigBody::default())
            } else {
                ClientBody::open_through(door, chroot, &*borrow(config)?)
            }
        };
        let opened = crate::reserve::open(open, ClientBody::leave)?;
        place.set(give(opened));
        Ok(())
    })
}

/// Why the observer ended, for people, or null while it has not: it can still be read then. Valid until
/// it is freed. Null in a forked process. `len` may be null. Takes a lock for an instant, any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_ended(
    observer: *const fw_observer,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(observer, std::ptr::null(), |observer| {
        if !observer.observer.is_of_this_process() {
            return std::ptr::null(); // its lock may be held for ever
        }
        let Some(reason) = observer.observer.ended() else { return std::ptr::null() };
        let text = observer.ended.get_or_init(|| Text::new(&reason));
        if let Some(len) = optional_out(len) {
            len.set(text.len());
        }
        text.as_ptr()
    }))
}

/// Stops the observer and waits for its threads; reads still show what it knew. Twice is once. In a
/// process that was forked from the one that opened it this does nothing. One without a thread ends here
/// when the thread that drives it calls, and otherwise when that thread ends, or drives or opens another.
/// May block, any thread. Fails with `FW_IN_CALLBACK` in what `fw_observer_read` and
/// `fw_observer_children_each` call: a thread of its could wait for that read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_close(
    observer: *mut fw_observer,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        refuse_inside_read()?;
        let observer = borrow(observer.cast_const())?;
        if observer.observer.is_driven_here() {
            without_signals(|| observer.observer.close());
        } else {
            observer.observer.close();
        }
        Ok(())
    })
}

/// Closes the observer and frees it; views and feeds of it stay valid. Null is allowed. May block. In what
/// `fw_observer_read` and `fw_observer_children_each` call it answers `FW_IN_CALLBACK`, and frees nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_observer_free(observer: *mut fw_observer) -> fw_status {
    if !observer.is_null() && LOOKS.get() {
        return fw_status::FW_IN_CALLBACK;
    }
    // With it go the threads of one that is driven here, and it may start some to end.
    accessor!(without_signals(|| free(observer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_hosts_with_the_usual_port_unless_one_is_given() {
        let found = upstreams("a:1, b ,[::1]:2,[::2],::3").unwrap();
        let expected = [("a", 1), ("b", 2888), ("::1", 2), ("::2", 2888), ("::3", 2888)];
        let expected: Vec<_> =
            expected.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        assert_eq!(found, expected);
        for bad in ["a:port", ":1", "a:99999", "[::1]x"] {
            let failure = upstreams(bad).unwrap_err();
            assert_eq!(failure.status, fw_status::FW_BAD_ARGUMENT, "{bad}: {}", failure.text);
        }
        assert!(upstreams("").unwrap().is_empty());
    }
}
