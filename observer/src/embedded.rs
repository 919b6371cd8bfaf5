//! An observer in its caller's process: reads are memory reads, from any thread.
//!
//! ```text
//! upstream ──records──► farwatch-embedded (one thread: links, log, tree) ──► Feed ──► Subscription
//!                                    │ present tree                  └─beats─► State ◄── lag, wait_ready
//!                                    ▼
//!               any thread ──► Visits ──► Node        (no lock, no system call, no allocation)
//! ```
//!
//! It is the server of [`crate::host`], without a port for clients. It listens on nothing, writes to no
//! stream of the process, takes over no signal and never ends the process: what a server would do so
//! for ends this observer with a reason ([`Observer::ended`]), and what it knew can still be read.
//!
//! A child of `fork` may go on reading what the parent knew, and nothing else: the thread is the parent's.

mod feed;
mod state;

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farwatch_core::node::OnPartition;
use farwatch_core::tree::{Still, Visit};
use farwatch_core::zxid::Zxid;
use thiserror::Error;

pub use self::feed::{Change, ChangeKind, Lost, Next, Subscription};
use self::state::{Beats, State};
use crate::config::{LocalSessions, LogDriver, ServerConfig, ServerRole, SocketDriver, Standing};
use crate::data_dir::DataDirError;
use crate::drive::Ended;
use crate::host::{NoDuty, Server, StartError};
use crate::memory_dir::{self, RELEASE_PATIENCE};

/// How long the threads of a server may take to let go of its descriptors when it is refused, for who opens
/// it waits.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks whether they have.
const RELEASE_PAUSE: Duration = Duration::from_millis(2);

/// How an embedded observer is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom it learns from, host and peer port (2888 in most ensembles): the first that can be reached.
    /// Voters or other observers.
    pub upstreams: Vec<(String, u16)>,
    /// Where it keeps its history, so that it comes back with what it missed only. `None`: in memory.
    pub data_dir: Option<PathBuf>,
    /// The processor that its thread keeps to.
    pub cpu: Option<usize>,
    /// Changes that are kept for subscriptions that lag behind, bytes. Default 16 MiB.
    pub window_bytes_max: usize,
    /// The most that the tree may take, bytes, what readers keep of its past included. Beyond it the
    /// observer ends, and can still be read. `None`: no limit.
    pub tree_bytes_max: Option<usize>,
    /// Whether the system has no memory to give, as far as the program knows: the observer ends then, and can
    /// still be read. Asked often, from the observer's thread; never, unless told otherwise.
    pub is_memory_out: fn() -> bool,
}

impl Options {
    /// In memory, from these upstreams.
    pub fn of(upstreams: Vec<(String, u16)>) -> Self {
        let window_bytes_max = 16 << 20;
        Self {
            upstreams,
            data_dir: None,
            cpu: None,
            window_bytes_max,
            tree_bytes_max: None,
            is_memory_out: || false,
        }
    }

    fn config(&self) -> io::Result<ServerConfig> {
        let mut config = ServerConfig {
            role: ServerRole::Observer,
            standing: Standing::Member,
            upstreams: self.upstreams.clone(),
            client_addrs: Vec::new(),
            on_partition: OnPartition::Serve,
            local_sessions: LocalSessions::Upgrading,
            threads: 1,
            client_connections_max: 0,
            is_embedded: true,
            // The plain calls: a program's sandbox, its limits and the tools that look into its memory
            // know them, and one link needs no more.
            socket_driver: SocketDriver::Epoll,
            log_driver: LogDriver::Thread,
            ..ServerConfig::default()
        };
        match &self.data_dir {
            Some(dir) => (config.data_dir, config.data_log_dir) = (dir.clone(), dir.clone()),
            None => config.keep_in_memory(memory_dir::claim_another()?),
        }
        Ok(config)
    }
}

/// Why there is no observer.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is nobody to learn from.
    #[error(
        "an embedded observer needs at least one upstream, as host:port of a server's peer port"
    )]
    NoUpstream,
    /// Its data cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refuses a thread or memory.
    #[error("the observer cannot be set up: {0}")]
    System(#[from] io::Error),
    /// It ended before it was there.
    #[error("the observer ended while it was being opened: {0}")]
    Ended(String),
}

/// Why waiting ended without what was waited for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WaitError {
    /// It did not come in time; what is with each upstream, empty where it follows one.
    #[error("the observer did not get there in time{}", because(.0))]
    TimedOut(String),
    /// It will not come.
    #[error("the observer ended: {0}")]
    Ended(String),
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

/// How far an observer is, and how sure of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The last transaction that reads show.
    pub zxid: Zxid,
    /// Since when it does not know itself to be current; `None` before it was for the first time. By a
    /// clock that never goes back, see [`farwatch_core::node::Node::stale_ms`].
    pub stale: Option<Duration>,
    /// Whether it follows an upstream at this moment.
    pub is_linked: bool,
    /// Replaced versions that some view or read still keeps in memory.
    pub versions_kept: usize,
    /// What the tree takes, these included, bytes.
    pub tree_bytes: usize,
}

/// An observer in this process. All of it may be used from any thread at once.
pub struct Observer {
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The process that the thread is in.
    process: u32,
    /// To be removed at the end.
    memory: Option<PathBuf>,
}

impl Observer {
    /// Starts an observer. Blocks until what is on its disk was read; a link it does not wait for.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        if options.upstreams.is_empty() {
            return Err(OpenError::NoUpstream);
        }
        let config = options.config()?;
        let memory = config.memory_only.then(|| config.data_dir.clone());
        let options = options.clone();
        let (opened, result) = mpsc::channel();
        let thread = std::thread::Builder::new().name("farwatch-embedded".to_owned());
        let thread = thread.spawn(move || run(&config, &options, &opened));
        let result = match thread {
            Ok(_) => result.recv().unwrap_or_else(|_| Err(OpenError::Ended("it panicked".into()))),
            Err(ref cause) => Err(io::Error::new(cause.kind(), cause.to_string()).into()),
        };
        match (result, thread) {
            (Ok(state), Ok(thread)) => Ok(Self {
                state,
                thread: Mutex::new(Some(thread)),
                process: std::process::id(),
                memory,
            }),
            (Err(error), thread) => {
                // With the thread go the descriptors that it took.
                let _ = thread.map(JoinHandle::join);
                if let Some(memory) = &memory {
                    memory_dir::give_back(memory, REFUSAL_PATIENCE);
                }
                Err(error)
            }
            (Ok(_), Err(cause)) => Err(cause.into()),
        }
    }

    /// Looks at the newest state. Takes no lock, makes no system call, allocates nothing. Let it go at
    /// once: what is replaced meanwhile stays in memory.
    #[inline]
    pub fn visit(&self) -> Visit<'_> {
        self.state.visits.enter()
    }

    /// The present state for as long as it is kept, for any number of threads; what is replaced
    /// meanwhile stays in memory and is counted by [`Lag::versions_kept`]. Takes a lock, once.
    pub fn hold(&self) -> Still {
        self.state.tree().still()
    }

    /// Where it is. Takes no lock.
    pub fn lag(&self) -> Lag {
        self.state.lag()
    }

    /// Waits until it has followed an upstream and shows `min` or later. Blocks until `deadline`.
    pub fn wait_ready(&self, min: Zxid, deadline: Instant) -> Result<(), WaitError> {
        self.state.wait_ready(min, deadline)
    }

    /// Whether its thread is in this process, and not in one that this one was forked from.
    pub fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    /// Why it ended, if it did; it can still be read then.
    pub fn ended(&self) -> Option<String> {
        self.state.ended()
    }

    /// The changes at `prefix` and below it (`/` is all), in the order of the history: those behind
    /// `from`, or behind this moment. Fails when changes behind `from` are not known any more.
    pub fn subscribe(&self, prefix: &[u8], from: Option<Zxid>) -> Result<Subscription, Lost> {
        Subscription::new(Arc::clone(&self.state), prefix, from)
    }

    /// The way in for clients of this process, which outlives the observer.
    pub fn door(&self) -> Door {
        Door(Arc::clone(&self.state))
    }

    /// Stops it and waits for its thread; later reads still show what it knew. Twice is once. In a child
    /// of `fork` this does nothing.
    pub fn close(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else { return };
        if !self.is_of_this_process() {
            std::mem::forget(thread); // it is the parent's
            return;
        }
        self.state.stop();
        // What it panicked with was told by `ended`.
        let _ = thread.join();
        if let Some(memory) = &self.memory {
            // A snapshot may be on its way into it still.
            let began = Instant::now();
            while !memory_dir::is_free(memory) && began.elapsed() < RELEASE_PATIENCE {
                std::thread::sleep(RELEASE_PAUSE);
            }
            memory_dir::give_back(memory, RELEASE_PATIENCE);
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Brings clients of this process to an observer, whose memory they then share: a write that was
/// acknowledged is seen by every later read in the process.
#[derive(Clone)]
pub struct Door(Arc<State>);

impl Door {
    /// A connection that speaks the client protocol. Fails when the observer has ended.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let gone = || io::Error::from(io::ErrorKind::ConnectionRefused);
        self.0.door().ok_or_else(gone)?.connect()
    }
}

type Opened = Sender<Result<Arc<State>, OpenError>>;

/// The observer's thread: servers one after the other, as each may find that the state on disk was
/// replaced.
fn run(config: &ServerConfig, options: &Options, opened: &Opened) {
    if let Some(cpu) = options.cpu {
        keep_to(cpu);
    }
    let mut state: Option<Arc<State>> = None;
    let ran = catch_unwind(AssertUnwindSafe(|| -> Result<String, OpenError> {
        loop {
            let mut server = open_server(config)?;
            let tree = server.tree();
            let now = match &state {
                Some(state) => {
                    state.show(&tree);
                    Arc::clone(state)
                }
                None => {
                    let first = Arc::new(State::new(&tree, options));
                    first.runs(&server);
                    // Who opens it waits for this.
                    let _ = opened.send(Ok(Arc::clone(&first)));
                    Arc::clone(state.insert(first))
                }
            };
            now.runs(&server);
            server.tell(Box::new(Beats::new(now, tree.reader())));
            match server.run(|_started| {})? {
                Ended::Reopen => {}
                Ended::Stopped => return Ok("it was closed".to_owned()),
                Ended::Halted(reason) => return Ok(reason),
            }
        }
    }));
    let reason = match ran {
        Ok(Ok(reason)) => Ok(reason),
        Ok(Err(error)) => Err(error),
        Err(panic) => Ok(words_of(&*panic)),
    };
    match (reason, state) {
        (Ok(reason), Some(state)) => state.end(reason),
        (Err(error), Some(state)) => state.end(OpenError::to_string(&error)),
        (Ok(reason), None) => drop(opened.send(Err(OpenError::Ended(reason)))),
        (Err(error), None) => drop(opened.send(Err(error))),
    }
}

/// Opens a server. One of this observer before it, or of an observer that this process has just closed,
/// has background threads, which may hold the directory for an instant more.
fn open_server(config: &ServerConfig) -> Result<Server, StartError> {
    let (began, own) = (Instant::now(), std::process::id().to_string());
    loop {
        match Server::open(config.clone(), Arc::new(NoDuty)) {
            Err(StartError::DataDir(DataDirError::Locked { holder, .. }))
                if holder.trim() == own && began.elapsed() < RELEASE_PATIENCE =>
            {
                std::thread::sleep(RELEASE_PAUSE);
            }
            result => return result,
        }
    }
}

/// A disk that failed unwinds with its reason; a panic with its message.
fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

fn keep_to(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    if cpu < rustix::thread::CpuSet::MAX_CPU {
        set.set(cpu);
    }
    if let Err(cause) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!("the observer's thread cannot be kept to processor {cpu}: {cause}");
    }
}
