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

mod driven;
mod feed;
mod life;
mod link;
mod state;
#[cfg(all(test, loom))]
mod tests;

use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use farwatch_core::node::OnPartition;
use farwatch_core::tree::{Still, Visit};
use farwatch_core::zxid::Zxid;
use thiserror::Error;

use self::driven::Driven;
pub use self::feed::{Change, ChangeKind, Lost, Next, Subscription};
use self::life::Life;
pub use self::link::Linked;
use self::state::State;
use crate::config::{
    LocalSessions, LogDriver, ServerConfig, ServerRole, SocketDriver, Standing, UpstreamChoice,
};
use crate::host::StartError;
use crate::memory_dir;

/// How long who waits for an observer that it drives itself lets it go on at once.
const DRIVEN_FOR: Duration = Duration::from_millis(10);

/// On which thread an embedded observer works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thread {
    /// One of its own.
    #[default]
    Own,
    /// One of its own, which keeps to this processor.
    Pinned(usize),
    /// The one that opens it, within [`Observer::drive`] and while that waits for it, and nowhere else.
    Callers,
}

/// How an embedded observer is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom it learns from, host and peer port (2888 in most ensembles): the first that can be reached
    /// and has in its log what was missed.
    /// Voters or other observers.
    pub upstreams: Vec<(String, u16)>,
    /// Which of them, if not the first.
    pub upstream_choice: UpstreamChoice,
    /// Where it keeps its history, so that it comes back with what it missed only. `None`: in memory.
    pub data_dir: Option<PathBuf>,
    /// Where it works.
    pub thread: Thread,
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
            upstream_choice: UpstreamChoice::First,
            data_dir: None,
            thread: Thread::default(),
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
            upstream_choice: self.upstream_choice,
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

/// Why an observer was not driven.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DriveError {
    /// It has a thread of its own.
    #[error("the observer has a thread of its own, and needs nobody to drive it")]
    HasThread,
    /// Another thread opened it.
    #[error("the observer is driven by the thread that opened it, and by no other")]
    OtherThread,
    /// It is being driven.
    #[error("the observer is being driven: what it calls cannot drive it")]
    Within,
    /// It ended, for this reason.
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

/// An observer in this process. All of it may be used from any thread at once, but for
/// [`Observer::drive`].
pub struct Observer {
    state: Arc<State>,
    motor: Motor,
    /// The process that the thread is in.
    process: u32,
}

/// What lets it go on.
enum Motor {
    /// Its own thread, and what is to be removed behind it.
    Thread(Mutex<Option<JoinHandle<()>>>, Option<PathBuf>),
    /// The thread that opened it.
    Caller(Driven),
}

impl Observer {
    /// Starts an observer. Blocks until what is on its disk was read; a link it does not wait for.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        if options.upstreams.is_empty() {
            return Err(OpenError::NoUpstream);
        }
        driven::end_the_stopped(None);
        let life = Life::new(options)?;
        let (motor, state) = match options.thread {
            Thread::Own => Self::start(life, None)?,
            Thread::Pinned(cpu) => Self::start(life, Some(cpu))?,
            Thread::Callers => {
                let (driven, state) = Driven::open(life)?;
                (Motor::Caller(driven), state)
            }
        };
        Ok(Self { state, motor, process: std::process::id() })
    }

    fn start(life: Life, cpu: Option<usize>) -> Result<(Motor, Arc<State>), OpenError> {
        let memory = life.memory();
        let (opened, result) = mpsc::channel();
        let thread = std::thread::Builder::new().name("farwatch-embedded".to_owned());
        let thread = thread.spawn(move || {
            if let Some(cpu) = cpu {
                keep_to(cpu);
            }
            life.run(&opened);
        });
        let result = match thread {
            Ok(_) => result.recv().unwrap_or_else(|_| Err(OpenError::Ended("it panicked".into()))),
            Err(ref cause) => Err(io::Error::new(cause.kind(), cause.to_string()).into()),
        };
        match (result, thread) {
            (Ok(state), Ok(thread)) => Ok((Motor::Thread(Mutex::new(Some(thread)), memory), state)),
            (Err(error), thread) => {
                // With the thread go the descriptors that it took.
                let _ = thread.map(JoinHandle::join);
                life::give_back_refused(memory.as_ref());
                Err(error)
            }
            (Ok(_), Err(cause)) => Err(cause.into()),
        }
    }

    /// Lets an observer of [`Thread::Callers`] go on: blocks for `at_most` and about a millisecond, or until
    /// it has ended; for longer where a snapshot that replaces its state is read. To be called at least every
    /// 10 ms for what it learns to be new, and every second for its upstream to keep it; from the thread that
    /// opened it, and not from within another runtime of monoio, nor while this thread holds a [`Visit`] of it,
    /// which it could have to wait for.
    pub fn drive(&self, at_most: Duration) -> Result<(), DriveError> {
        let Motor::Caller(driven) = &self.motor else { return Err(DriveError::HasThread) };
        if !driven.is_of_this_thread() || !self.is_of_this_process() {
            return Err(DriveError::OtherThread);
        }
        let went = driven.drive(at_most);
        self.state.ended().map_or(went.map(drop), |reason| Err(DriveError::Ended(reason)))
    }

    /// Looks at the newest state. Takes no lock, makes no system call, allocates nothing. Let it go at
    /// once: what is replaced meanwhile stays in memory.
    #[inline]
    pub fn visit(&self) -> Visit<'_> {
        self.state.visits.enter()
    }

    /// The present state for as long as it is kept, for any number of threads. What is replaced
    /// meanwhile and is of this state stays in memory, once for each node, and is counted by
    /// [`Lag::versions_kept`]. Takes a lock, once.
    pub fn hold(&self) -> Still {
        self.state.tree().still()
    }

    /// Where it is. Takes no lock.
    pub fn lag(&self) -> Lag {
        self.state.lag()
    }

    /// Waits until it has followed an upstream and shows `min` or later. Blocks until `deadline`; the
    /// thread that drives it does so meanwhile.
    pub fn wait_ready(&self, min: Zxid, deadline: Instant) -> Result<(), WaitError> {
        match &self.motor {
            Motor::Caller(driven) if self.is_driven_here() => {
                self.state.wait_driving(min, deadline, |left| {
                    let at_most = left.min(DRIVEN_FOR);
                    // What became of it, the state says.
                    if driven.drive(at_most).is_err() {
                        std::thread::sleep(at_most);
                    }
                })
            }
            Motor::Caller(_) | Motor::Thread(..) => self.state.wait_ready(min, deadline),
        }
    }

    /// Whether its thread is in this process, and not in one that this one was forked from.
    pub fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    /// Whether this thread is the one that drives it.
    pub fn is_driven_here(&self) -> bool {
        let here = matches!(&self.motor, Motor::Caller(driven) if driven.is_of_this_thread());
        here && self.is_of_this_process()
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

    /// Has `hear` called with how it is linked: at once, and with each change from then on, of which
    /// [`Linked::Ended`] is the last. Takes the place of an earlier one. It is called on the observer's thread,
    /// the first time on this one, with the link locked: it must return at once and ask nothing of the observer.
    pub fn on_link(&self, hear: impl FnMut(Linked) + Send + 'static) {
        self.state.link.on_change(Box::new(hear));
    }

    /// Takes away what [`Observer::on_link`] was given: it is not called behind this.
    pub fn silence_link(&self) {
        self.state.link.silence();
    }

    /// The way in for clients of this process, which outlives the observer.
    pub fn door(&self) -> Door {
        Door(Arc::clone(&self.state))
    }

    /// Stops it and waits for its thread; later reads still show what it knew. Twice is once. In a child
    /// of `fork` this does nothing. An observer of [`Thread::Callers`] ends here where the caller drives it,
    /// and else with that thread, or when that drives or opens another.
    pub fn close(&self) {
        let (thread, memory) = match &self.motor {
            Motor::Thread(thread, memory) => (thread, memory),
            Motor::Caller(driven) => {
                if self.is_of_this_process() {
                    self.state.stop();
                    while driven.drive(DRIVEN_FOR) == Ok(true) {}
                }
                return;
            }
        };
        if !self.is_of_this_process() {
            // Its thread is the parent's; and so is whoever may be waiting for it, with this locked for ever.
            if let Ok(mut thread) = thread.try_lock() {
                std::mem::forget(thread.take());
            }
            return;
        }
        let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else { return };
        self.state.stop();
        // What it panicked with was told by `ended`.
        let _ = thread.join();
        life::give_back(memory.as_ref());
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

fn keep_to(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    if cpu < rustix::thread::CpuSet::MAX_CPU {
        set.set(cpu);
    }
    if let Err(cause) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!("the observer's thread cannot be kept to processor {cpu}: {cause}");
    }
}
