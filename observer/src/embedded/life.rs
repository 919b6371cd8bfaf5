//! The servers of an observer, one after the other: each may find that the state on disk was replaced.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::state::{Beats, State};
use super::{OpenError, Options};
use crate::config::ServerConfig;
use crate::data_dir::DataDirError;
use crate::drive::Ended;
use crate::host::{NoDuty, Server, StartError};
use crate::memory_dir::{self, RELEASE_PATIENCE};
use crate::runtime::Turned;

/// How long the threads of a server may take to let go of its descriptors when it is refused, for who opens
/// it waits.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks whether they have.
const RELEASE_PAUSE: Duration = Duration::from_millis(2);

/// Who opens an observer waits for this.
pub(super) type Opened = Sender<Result<Arc<State>, OpenError>>;

/// What all of them have.
pub(super) struct Life {
    config: ServerConfig,
    options: Options,
    state: Option<Arc<State>>,
}

impl Life {
    pub fn new(options: &Options) -> io::Result<Self> {
        Ok(Self { config: options.config()?, options: options.clone(), state: None })
    }

    /// The directory that is in memory, to be removed at the end.
    pub fn memory(&self) -> Option<PathBuf> {
        self.config.memory_only.then(|| self.config.data_dir.clone())
    }

    /// What everybody else looks at. There is a first server.
    pub fn state(&self) -> Option<&Arc<State>> {
        self.state.as_ref()
    }

    /// Opens the next server, whose state is shown from now on.
    fn next(&mut self) -> Result<Server, OpenError> {
        let mut server = open_server(&self.config)?;
        let tree = server.tree();
        let state = match &self.state {
            Some(state) => {
                state.show(&tree);
                state
            }
            None => self.state.insert(Arc::new(State::new(&tree, &self.options))),
        };
        state.runs(&server);
        server.tell(Box::new(Beats::new(Arc::clone(state), tree.reader())));
        Ok(server)
    }

    /// Lives on this thread to the end, and says when it has begun.
    pub fn run(mut self, opened: &Opened) {
        let lived = caught(std::convert::identity, || {
            loop {
                let is_first = self.state.is_none();
                let server = self.next()?;
                if let (true, Some(state)) = (is_first, &self.state) {
                    let _ = opened.send(Ok(Arc::clone(state)));
                }
                if let Some(reason) = reason(server.run(|_started| {})?) {
                    return Ok(reason);
                }
            }
        });
        match (lived, &self.state) {
            (lived, Some(state)) => state.end(lived.unwrap_or_else(|error| error.to_string())),
            (lived, None) => {
                let _ = opened.send(Err(lived.map_or_else(|error| error, OpenError::Ended)));
            }
        }
    }
}

/// A life that goes on while its thread turns it.
pub(super) struct Turning {
    life: Life,
    server: Option<Turned<io::Result<Ended>>>,
}

impl Turning {
    /// Begins, as far as it goes without a turn.
    pub fn begin(life: Life) -> Result<Self, OpenError> {
        let mut turning = Self { life, server: None };
        let mut panicked = None;
        let opened = caught(|words| panicked = Some(words), || turning.open().map(drop));
        opened?;
        panicked.map_or(Ok(turning), |words| Err(OpenError::Ended(words)))
    }

    pub fn life(&self) -> &Life {
        &self.life
    }

    fn open(&mut self) -> Result<&mut Turned<io::Result<Ended>>, OpenError> {
        let server = self.life.next()?;
        Ok(self.server.insert(server.turned()?))
    }

    /// Goes on for so long, and about a millisecond, or to the end. Whether that has come.
    pub fn turn(&mut self, at_most: Duration) -> bool {
        let began = Instant::now();
        let lived = caught(Some, || {
            loop {
                let server = match &mut self.server {
                    Some(server) => server,
                    None => self.open()?,
                };
                let Some(ended) = server.turn(at_most.saturating_sub(began.elapsed())) else {
                    return Ok(None);
                };
                self.server = None;
                if let Some(reason) = reason(ended?) {
                    return Ok(Some(reason));
                }
            }
        });
        let reason = match lived {
            Ok(None) => return false,
            Ok(Some(reason)) => reason,
            Err(error) => error.to_string(),
        };
        if let Some(state) = &self.life.state {
            state.end(reason);
        }
        true
    }
}

/// Why an observer is over; `None` when another server follows.
fn reason(ended: Ended) -> Option<String> {
    match ended {
        Ended::Reopen => None,
        Ended::Stopped => Some("it was closed".to_owned()),
        Ended::Halted(reason) => Some(reason),
    }
}

/// What `live` comes to; a disk that failed unwinds with its reason, a panic with its message.
fn caught<T>(
    ended: impl FnOnce(String) -> T,
    live: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|panic| Ok(ended(words_of(&*panic))))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
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

/// Removes the directory of an observer that was never there.
pub(super) fn give_back_refused(memory: Option<&PathBuf>) {
    if let Some(memory) = memory {
        memory_dir::give_back(memory, REFUSAL_PATIENCE);
    }
}

/// Removes the directory of one that has ended. A snapshot may be on its way into it still.
pub(super) fn give_back(memory: Option<&PathBuf>) {
    let Some(memory) = memory else { return };
    let began = Instant::now();
    while !memory_dir::is_free(memory) && began.elapsed() < RELEASE_PATIENCE {
        std::thread::sleep(RELEASE_PAUSE);
    }
    memory_dir::give_back(memory, RELEASE_PATIENCE);
}
