//! `fw_client`: a session with a service.

use std::collections::BTreeSet;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farwatch_client::{Acl, Client, ClientError, Options, ServerChoice, SessionToken};

use farwatch_observer::embedded::Door;

use crate::bytes::{Text, wipe};
use crate::callback::Gate;
use crate::config::{ConfigBody, fw_config};
use crate::error::{Failure, fw_error};
use crate::event::{StateCell, Teller, fw_session_state};
use crate::guard::{Opaque, borrow, free, give, out, view, without_signals};
use crate::result::lend;
use crate::status::fw_status;

mod calls;
mod operations;
mod waits;

pub use calls::failure;
use waits::Waits;

/// The longest wait that is taken at its word, milliseconds: 49 days.
const PATIENCE_MS_MAX: u64 = u32::MAX as u64;

/// How long an operation waits unless told otherwise, milliseconds: ZooKeeper's clients' default.
const REQUEST_TIMEOUT_MS: u64 = 30_000;

/// How long a freed client waits for its server's farewell, milliseconds.
const CLOSE_TIMEOUT_MS: u64 = 2_000;

/// How long a freed client waits for a callback that is running.
pub const CALLBACK_PATIENCE: Duration = Duration::from_secs(2);

/// Ephemeral nodes that one client remembers, to tell which ones an expired session took along.
pub const EPHEMERALS_MAX: usize = 65_536;

/// A session with a service, and its threads: one, one for each recipe that waits (`fw_op_lock_acquire`), and with
/// `serverChoice` set to `nearest` now and then one for each server, for a second at most. All functions on it:
/// any thread.
pub struct fw_client {
    _private: [u8; 0],
}

impl Opaque for fw_client {
    type Body = ClientBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_clien");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// A wait of so many milliseconds.
pub fn patience(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.min(PATIENCE_MS_MAX))
}

/// The ephemeral nodes that a client created and did not delete.
#[derive(Default)]
pub struct Ephemerals {
    paths: Mutex<BTreeSet<String>>,
}

impl Ephemerals {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, path: &str) {
        let mut paths = self.lock();
        if paths.len() < EPHEMERALS_MAX {
            paths.insert(path.to_owned());
        }
    }

    fn remove(&self, path: &str) {
        self.lock().remove(path);
    }

    /// All of them, which are gone now.
    pub fn drain(&self) -> Vec<Text> {
        let paths = std::mem::take(&mut *self.lock());
        paths.iter().map(|path| Text::new(path)).collect()
    }
}

/// A client and what this library adds to it.
pub struct ClientBody {
    client: Client,
    /// The text of each of the client's servers.
    servers: Box<[Text]>,
    gate: Arc<Gate>,
    state: Arc<StateCell>,
    ephemerals: Arc<Ephemerals>,
    waits: Arc<Waits>,
    /// Of what recipes create where they are told no rights.
    acl: Vec<Acl>,
    renews: bool,
    /// Whether it goes on with a session that was there before it.
    resumes: bool,
    request_timeout: Duration,
    close_timeout: Duration,
}

/// The settings of `fw_client_open`.
const KEYS: [&str; 11] = [
    "connect",
    "sessionTimeout",
    "requestTimeout",
    "closeTimeout",
    "readOnly",
    "renewExpired",
    "jute.maxbuffer",
    "seed",
    "serverChoice",
    "nearestPause",
    "session",
];

impl ClientBody {
    fn open(config: &ConfigBody) -> Result<Self, Failure> {
        config.refuse_unknown(&KEYS)?;
        let connect = config.get("connect").ok_or_else(|| {
            let text = "the setting \"connect\" is missing: host:port[,host:port...][/chroot]";
            Failure::new(fw_status::FW_BAD_ARGUMENT, text)
        })?;
        Self::open_at(&connect, Options::default(), config)
    }

    /// A client of an observer in this process, below the path `chroot`, which may be empty.
    pub fn open_through(door: Door, chroot: &str, config: &ConfigBody) -> Result<Self, Failure> {
        config.refuse_unknown(&KEYS)?;
        if config.get("connect").is_some() {
            let text = "the setting \"connect\" has no place here: the client is the observer's";
            return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
        }
        let options = Options::default().transport(move || door.connect());
        Self::open_at(&format!("observer:1{chroot}"), options, config)
    }

    fn open_at(connect: &str, options: Options, config: &ConfigBody) -> Result<Self, Failure> {
        let renews = config.truth("renewExpired")?.unwrap_or(false);
        let milliseconds = 1..=u64::from(i32::MAX as u32);
        let request_ms = config.number("requestTimeout", milliseconds.clone())?;
        let request_timeout = Duration::from_millis(request_ms.unwrap_or(REQUEST_TIMEOUT_MS));
        let close_ms = config.number("closeTimeout", 0..=*milliseconds.end())?;
        let close_timeout = Duration::from_millis(close_ms.unwrap_or(CLOSE_TIMEOUT_MS));
        let mut teller = Teller {
            handler: config.handler(),
            gate: Arc::default(),
            state: Arc::default(),
            ephemerals: Arc::default(),
            renews,
            lost: None,
        };
        let (gate, state) = (Arc::clone(&teller.gate), Arc::clone(&teller.state));
        let ephemerals = Arc::clone(&teller.ephemerals);
        let mut options = options
            .request_timeout(request_timeout)
            .read_only(config.truth("readOnly")?.unwrap_or(false))
            .renew_expired(renews)
            .on_event(move |event| teller.tell(&event));
        if let Some(timeout_ms) = config.number("sessionTimeout", milliseconds)? {
            options = options.session_timeout(Duration::from_millis(timeout_ms));
        }
        if let Some(bytes) = config.number("jute.maxbuffer", 1024..=i32::MAX as u64)? {
            options = options.frame_bytes_max(bytes as usize);
        }
        if let Some(choice) = config.get("serverChoice") {
            options = options.server_choice(server_choice(&choice)?);
        }
        if let Some(pause_ms) = config.number("nearestPause", 1..=i32::MAX as u64)? {
            options = options.nearest_pause(Duration::from_millis(pause_ms));
        }
        let session = config.get("session");
        let resumes = session.is_some();
        if let Some(secret) = session {
            let session = crate::session::parse(&secret);
            wipe(secret);
            options = options.resume(session?);
        }
        if let Some(seed) = config.number("seed", 0..=u64::MAX)? {
            options = options.seed(seed);
        }
        let client = without_signals(|| Client::open(connect, options))?;
        let servers = client.servers().iter().map(|it| Text::new(&it.to_string())).collect();
        Ok(Self {
            client,
            servers,
            gate,
            state,
            ephemerals,
            waits: Arc::default(),
            acl: config.acl().unwrap_or_else(Acl::open),
            renews,
            resumes,
            request_timeout,
            close_timeout,
        })
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether an expired session is replaced.
    pub fn renews(&self) -> bool {
        self.renews
    }

    /// The session's state, as it was told last.
    pub fn state_cell(&self) -> Arc<StateCell> {
        Arc::clone(&self.state)
    }

    /// What a recipe creates with that was given `acl`.
    pub fn rights(&self, acl: Option<Vec<Acl>>) -> Vec<Acl> {
        acl.unwrap_or_else(|| self.acl.clone())
    }

    /// Negative is the configured one.
    pub fn timeout(&self, timeout_ms: i64) -> Duration {
        u64::try_from(timeout_ms).map_or(self.request_timeout, patience)
    }

    /// Ends what was not handed out after all. A session that it was to go on with lives on.
    pub fn leave(self) {
        if self.resumes {
            drop(self.client.with_request_timeout(self.close_timeout).detach());
        }
    }

    /// Ends the session, within `timeout`. Without a server at hand there is nobody to wait for.
    fn close(&self, timeout: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        self.waits.close();
        let closed = self.end_session(timeout);
        self.waits.await_end(timeout.saturating_sub(began.elapsed()));
        closed
    }

    /// Ends this client and leaves the session alive, without those that wait in a line.
    pub fn detach(&self, timeout: Duration) -> Result<Option<SessionToken>, Failure> {
        self.refuse_inside_callback()?;
        let began = Instant::now();
        let left = || timeout.saturating_sub(began.elapsed());
        self.waits.close();
        self.waits.await_end(left()); // what they, or others, left to be removed is waited for below
        Ok(self.client.with_request_timeout(left()).detach()?)
    }

    fn end_session(&self, timeout: Duration) -> Result<(), Failure> {
        if self.client.is_connected() {
            return Ok(self.client.with_request_timeout(timeout).close()?);
        }
        match self.client.with_request_timeout(Duration::ZERO).close() {
            Ok(()) => Ok(()),
            Err(_unheard) => Err(ClientError::ConnectionLoss { maybe_applied: false }.into()),
        }
    }
}

fn server_choice(name: &str) -> Result<ServerChoice, Failure> {
    Ok(match name.trim() {
        "random" => ServerChoice::Random,
        "order" => ServerChoice::Order,
        "nearest" => ServerChoice::Nearest,
        other => {
            let text = format!("serverChoice must be random, order or nearest, and is {other:?}");
            return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
        }
    })
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        self.gate.close();
        self.waits.close(); // or the session would live as long as one waits
        // Inside a callback nothing can be waited for; the session is told all the same, by the
        // drop of the client.
        if !self.client.is_inside_callback() {
            let _told_in_vain = self.close(self.close_timeout);
            let until = Instant::now() + CALLBACK_PATIENCE;
            self.gate.wait_idle(CALLBACK_PATIENCE);
            self.waits.await_end(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// Opens a client. Returns at once; the session is established in the background, and operations
/// wait for it. Settings, milliseconds where they are times:
///
/// - `connect`: `host:port[,host:port...][/chroot]`, the only one that must be set. Names are
///   resolved at every attempt;
/// - `sessionTimeout` (30000, or that of `session`): wanted; the server grants what lies within its limits;
/// - `requestTimeout` (30000): how long operations wait that are given a negative time;
/// - `closeTimeout` (2000): how long `fw_client_free` waits for the server's farewell;
/// - `renewExpired` (false): an expired session is replaced by a new one inside this client, with an
///   event that says what was lost;
/// - `readOnly` (false): accepts a server that can only read at the moment;
/// - `jute.maxbuffer` (1048575): the servers' limit for a request, bytes;
/// - `serverChoice` (random): which server of `connect` is tried first. `random` spreads clients.
///   `order` takes the first that serves, also after a loss. `nearest` asks all at once and takes the
///   first that answers and serves; connected to another one, it goes back to one that is twice as near
///   in two checks in a row, when no request waits and no lock or leadership is held, so that nothing
///   fails of it: the session is told to be suspended and connected again;
/// - `nearestPause` (60000): how long a connection lasts before a nearer server is looked for, less up
///   to half of it by chance. The pause doubles up to sixteen times that while nothing is found;
/// - `session`: the text of an `fw_session`, to go on with that session. It is a secret, and stays in
///   `config` until that is freed. When the session is over, the client is told that it has expired;
/// - `seed`: fixes the order of the servers and the waits between attempts.
///
/// Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT`,
/// `FW_NO_RESOURCES` (no thread to be had), `FW_NO_MEMORY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_open(
    config: *const fw_config,
    client: *mut *mut fw_client,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let client = out(client)?;
        let config = borrow(config)?;
        let opened = crate::reserve::open(|| ClientBody::open(&config), ClientBody::leave)?;
        client.set(give(opened));
        Ok(())
    })
}

/// Waits until a server serves the session, up to `timeout_ms` (negative: `requestTimeout`). May
/// block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_SESSION_EXPIRED`, `FW_CLOSED`,
/// `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_wait_connected(
    client: *mut fw_client,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let client = borrow(client.cast_const())?;
        client.refuse_inside_callback()?;
        let connected = client.client.wait_connected(client.timeout(timeout_ms));
        connected.map_err(|error| failure(error, client.renews))
    })
}

/// The session's state, as the last event said. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_state(client: *const fw_client) -> fw_session_state {
    accessor!(view(client, fw_session_state::FW_STATE_CLOSED, |client| client.state.get()))
}

/// The session's id, 0 while there is none: the `ephemeral_owner` of its nodes. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_session_id(client: *const fw_client) -> i64 {
    accessor!(view(client, 0, |client| client
        .client
        .session()
        .map_or(0, |token| token.id.0 as i64)))
}

/// The session timeout that the server granted, or the wanted one before that, milliseconds. Never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_session_timeout_ms(client: *const fw_client) -> u64 {
    accessor!(view(client, 0, |client| client.client.session_timeout().as_millis() as u64))
}

/// The server that serves the session now, as `host:port` of the setting `connect`; ends with a zero and is valid
/// until the client is freed. Null while there is none. For a client of an embedded observer it names no
/// address. `len` may be null. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_server(
    client: *const fw_client,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(client, std::ptr::null(), |client| {
        lend(client.client.server_index().map(|index| &client.servers[index]), len)
    }))
}

/// Ends the session: its ephemeral nodes are gone when this returns `FW_OK`. Operations that wait
/// fail with `FW_CLOSED`, recipes included. Waits up to `timeout_ms` (negative: `requestTimeout`) for the server's
/// word; without a server at hand it fails at once, and the session ends by its timeout. May block,
/// so not in a callback. Fails with `FW_TIMEOUT`, `FW_CONNECTION_LOSS`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_close(
    client: *mut fw_client,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let client = borrow(client.cast_const())?;
        client.refuse_inside_callback()?;
        client.close(client.timeout(timeout_ms))
    })
}

/// Ends the session unless that was done, and frees the client. Null is allowed. No callback begins
/// after it; one that is running is waited for, up to two seconds. May block, no longer than
/// `closeTimeout` and these two seconds; inside a callback it does not wait. Every context is
/// destroyed, at the latest when the client's threads have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_free(client: *mut fw_client) -> fw_status {
    accessor!(free(client))
}
