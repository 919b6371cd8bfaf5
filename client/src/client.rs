//! The shell around the machine: one reader thread, writes by whoever submits.
//!
//! A submitting thread puts its frame into the machine's buffer under the lock. If nobody is
//! writing it becomes the writer, and takes along what others add meanwhile, for a while; so a busy client
//! sends many requests with one system call, and an idle one sends without waking a thread. Reads,
//! results and events belong to the reader thread alone, which is why they arrive in order.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use farwatch_core::limits::CLIENT_FRAME_BYTES_MAX;
use farwatch_core::zxid::SessionId;

use crate::backoff::ServerChoice;
use crate::connect_string::{ConnectString, ServerName};
use crate::error::{ClientError, OpenError};
use crate::event::Event;
use crate::machine::{Abandoned, Machine, RequestId, SessionToken, Settings};
use crate::operation::Operation;
use crate::outcome::Outcome;
use fresh::Synced;

mod background;
mod fresh;
mod later;
mod link;
mod listeners;
mod names;
mod nearest;
mod operations;
mod stop;
mod watch;

pub use fresh::Freshness;
pub(crate) use listeners::{LeaseHold, Subscription, WeakClient, guarded};
pub use operations::{Children, Created, NodeAcl, NodeData};
pub use stop::Stop;
pub(crate) use stop::{enter as enter_wait, is_raised as is_stopped};
pub use watch::Watch;

/// What is called with the result of a submitted operation, on the client's reader thread.
/// How long a reader that was told to end is given for what it still has to tell.
const READER_ENDS_WITHIN: Duration = Duration::from_secs(1);

type Completion = Box<dyn FnOnce(Result<Outcome, ClientError>) + Send>;

/// What is called with each event, on the client's reader thread.
type EventHandler = Box<dyn FnMut(Event) + Send>;

/// How a connection is made where it is not dialled by name.
pub(crate) type Transport = Box<dyn Fn() -> std::io::Result<std::net::TcpStream> + Send + Sync>;

/// How a client behaves. `Options::default()` is what ZooKeeper's own clients do.
pub struct Options {
    session_timeout: Option<Duration>,
    request_timeout: Duration,
    read_only: bool,
    server_choice: ServerChoice,
    nearest_pause: Duration,
    renew_expired: bool,
    resume: Option<SessionToken>,
    seed: Option<u64>,
    frame_bytes_max: usize,
    on_event: Option<EventHandler>,
    transport: Option<Transport>,
    resolver: names::Resolver,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout: None,
            request_timeout: Duration::from_secs(30),
            read_only: false,
            server_choice: ServerChoice::Random,
            nearest_pause: Duration::from_secs(60),
            renew_expired: false,
            resume: None,
            seed: None,
            frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
            on_event: None,
            transport: None,
            resolver: names::ask_the_system,
        }
    }
}

impl Options {
    /// Wanted session timeout; the server grants what lies within its own limits. Default: that of the
    /// session that is taken up, or 30 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = Some(timeout);
        self
    }

    /// How long a blocking operation waits for its reply, connecting included. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Accepts a server that can only read at the moment. Default: no.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Which server of the connect string is tried first. Default: [`ServerChoice::Random`].
    ///
    /// With [`ServerChoice::Nearest`] all servers (up to 16) are asked at once whenever there is no
    /// connection, and the first that answers and serves is connected to. On a connection they are asked
    /// again after [`Options::nearest_pause`], less up to half of it by chance, and after twice that, up to
    /// sixteen times, while nothing nearer is found. A server that needs less than half the time of the
    /// connected one, and a millisecond less, in two checks in a row, takes the session over, in a moment in
    /// which no request waits for its answer. So no request fails of it; the session is told to be
    /// disconnected and connected again, and events of lasting watches in between are lost as ever. While
    /// a recipe relies on the session's lease (a lock, a leadership), it stays where it is.
    pub fn server_choice(mut self, choice: ServerChoice) -> Self {
        self.server_choice = choice;
        self
    }

    /// How long a connection lasts before a nearer server is looked for, at most; later checks are rarer.
    /// Default: 60 s.
    pub fn nearest_pause(mut self, pause: Duration) -> Self {
        self.nearest_pause = pause;
        self
    }

    /// Begins a new session when the old one has expired; the expiry is told all the same.
    /// Default: no, every later operation fails with [`ClientError::SessionExpired`].
    pub fn renew_expired(mut self, renew_expired: bool) -> Self {
        self.renew_expired = renew_expired;
        self
    }

    /// Takes up a session that another client had.
    pub fn resume(mut self, session: SessionToken) -> Self {
        self.resume = Some(session);
        self
    }

    /// Fixes the order of the servers and the waits between attempts. Default: random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Largest frame to send: the servers' `jute.maxbuffer`. Default: 1 048 575.
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes;
        self
    }

    /// Takes connections from `transport` instead of dialling the servers that the connect string names:
    /// whatever is a stream, as a socket pair to a server in this process. Called on the client's reader
    /// thread, and again after each loss.
    pub fn transport(
        mut self,
        transport: impl Fn() -> std::io::Result<std::net::TcpStream> + Send + Sync + 'static,
    ) -> Self {
        self.transport = Some(Box::new(transport));
        self
    }

    /// Where events go, in order, on the client's reader thread: it must not block. A channel does:
    /// `on_event(move |event| drop(sender.send(event)))`.
    pub fn on_event(mut self, handler: impl FnMut(Event) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(handler));
        self
    }
}

impl Options {
    fn session_timeout_ms(&self) -> u32 {
        const DEFAULT: Duration = Duration::from_secs(30);
        let resumed = self.resume.map(|token| Duration::from_millis(token.timeout_ms));
        let timeout = self.session_timeout.or(resumed.filter(|timeout| !timeout.is_zero()));
        u32::try_from(timeout.unwrap_or(DEFAULT).as_millis()).unwrap_or(i32::MAX as u32)
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("session_timeout", &self.session_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("read_only", &self.read_only)
            .field("renew_expired", &self.renew_expired)
            .field("server_choice", &self.server_choice)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// How long a dropped client tries to tell a server that takes nothing.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a result that is on its way is waited for beyond the deadline: the callback before it may wait
/// for whoever waits here.
pub const DELIVERY_GRACE: Duration = Duration::from_millis(100);

struct State {
    machine: Machine<Completion>,
    /// The connection that the machine's bytes belong to.
    stream: Option<Arc<std::net::TcpStream>>,
    /// The server that `stream` leads to.
    server: Option<usize>,
    /// Connections so far.
    links: u64,
    synced: Option<Synced>,
    /// What the reader could not write at once.
    unsent: Vec<u8>,
    /// Whether some thread is writing; it takes along what others add.
    writing: bool,
    reader: Option<ThreadId>,
    /// The reader has delivered everything.
    has_ended: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Tells the reader that it need not wait, and waiters that the session's state has changed.
    changed: Condvar,
    listeners: listeners::Listeners,
    later: later::Later,
    background: Arc<background::Background>,
    servers: Vec<ServerName>,
    transport: Option<Transport>,
    resolver: names::Resolver,
    choice: ServerChoice,
    asking: nearest::Asking,
    seed: u64,
    started: Instant,
}

impl Shared {
    /// A panic of a caller's closure cannot leave the machine half-changed: none runs under the
    /// lock. So a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Ends the session when the last clone of the client is dropped.
struct Handle {
    shared: Arc<Shared>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let now_ms = self.shared.now_ms();
        state.machine.close(now_ms, Box::new(|_result| {}));
        link::flush_until(&self.shared, state, link::after(CLOSE_PATIENCE));
        self.shared.changed.notify_all();
    }
}

/// A session with a Farwatch or ZooKeeper service. Clones share the session; it ends with
/// [`Client::close`] or when the last clone is dropped.
///
/// Every operation has two forms: a method that blocks until the reply is there or the request
/// timeout has passed, and [`Client::submit`] with a closure, which returns at once and is how
/// requests are pipelined. Requests of one client are executed in the order they were submitted.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    request_timeout: Duration,
    freshness: Freshness,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("session", &self.session()).finish_non_exhaustive()
    }
}

impl Client {
    /// Opens a client for `host:port[,host:port…][/chroot]`. Returns at once; the session is
    /// established in the background, and operations wait for it.
    pub fn open(connect_string: &str, options: Options) -> Result<Self, OpenError> {
        let ConnectString { servers, chroot } = ConnectString::parse(connect_string)?;
        let seed = options.seed.unwrap_or_else(random_seed);
        let settings = Settings {
            chroot,
            session_timeout_ms: options.session_timeout_ms(),
            choice: options.server_choice,
            read_only: options.read_only,
            resume: options.resume,
            renew_expired: options.renew_expired,
            frame_bytes_max: options.frame_bytes_max,
            ..Settings::new(servers.len(), seed)
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                machine: Machine::new(settings),
                stream: None,
                server: None,
                links: 0,
                synced: None,
                unsent: Vec::new(),
                writing: false,
                reader: None,
                has_ended: false,
            }),
            changed: Condvar::new(),
            listeners: listeners::Listeners::default(),
            later: later::Later::default(),
            background: Arc::default(),
            asking: nearest::Asking::new(servers.len(), options.nearest_pause, options.read_only),
            servers,
            transport: options.transport,
            resolver: options.resolver,
            choice: options.server_choice,
            seed,
            started: Instant::now(),
        });
        let reader = std::thread::Builder::new()
            .name("farwatch-client".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || link::run(&shared, options.on_event)
            })
            .map_err(OpenError::Thread)?;
        let handle = Arc::new(Handle { shared, reader: Mutex::new(Some(reader)) });
        let (request_timeout, freshness) = (options.request_timeout, Freshness::default());
        Ok(Self { handle, request_timeout, freshness })
    }

    /// The same session with another timeout for blocking operations.
    pub fn with_request_timeout(&self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self.clone() }
    }

    /// Waits until a server serves the session.
    pub fn wait_connected(&self, timeout: Duration) -> Result<(), ClientError> {
        let shared = &self.handle.shared;
        let deadline = link::after(timeout);
        let _wait = stop::enter(true, || {
            let shared = Arc::clone(shared);
            move || {
                let _not_between_look_and_wait = shared.lock();
                shared.changed.notify_all();
            }
        });
        let mut state = shared.lock();
        loop {
            if state.machine.is_connected() {
                return Ok(());
            }
            if state.machine.is_over() {
                return Err(state.machine.end_reason().expect("over"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || stop::is_raised() {
                return Err(ClientError::Timeout { maybe_applied: false });
            }
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks for `operation` and returns at once; `completion` is called with the result on the
    /// client's reader thread, in the order of submission. On an error it is not called.
    /// A read is as fresh as [`Client::with_freshness`] wants.
    pub fn submit(
        &self,
        operation: &Operation,
        completion: impl FnOnce(Result<Outcome, ClientError>) + Send + 'static,
    ) -> Result<RequestId, ClientError> {
        self.submit_fresh(operation, Box::new(completion))
    }

    /// Forgets a submitted request: its completion will not be called any more, unless it is being
    /// called already.
    pub fn abandon(&self, request: RequestId) -> Abandoned {
        let (abandoned, completion) = self.handle.shared.lock().machine.abandon(request);
        drop(completion); // with nothing locked: what it owns may ask this client something
        abandoned
    }

    /// Asks for `operation` and waits for the result.
    pub fn call(&self, operation: &Operation) -> Result<Outcome, ClientError> {
        self.wait_for(operation, |completion| self.submit_fresh(operation, completion))
    }

    /// As [`Client::call`], and as [`Client::submit_within`].
    pub(crate) fn call_within(
        &self,
        session: Option<SessionId>,
        operation: &Operation,
    ) -> Result<Outcome, ClientError> {
        self.wait_for(operation, |completion| self.submit_within(session, operation, completion))
    }

    fn wait_for(
        &self,
        operation: &Operation,
        submit: impl FnOnce(Completion) -> Result<RequestId, ClientError>,
    ) -> Result<Outcome, ClientError> {
        self.refuse_inside_callback()?;
        let timed_out = |maybe_applied| Err(ClientError::Timeout { maybe_applied });
        // Room for the result, and for the word that nobody is to wait for it, which is `None`.
        let (sender, receiver) = mpsc::sync_channel(2);
        // Known weakly to who stops this: without a sender there will be no result.
        let sender = Arc::new(sender);
        let Some(_wait) = stop::enter(true, || {
            let sender = Arc::downgrade(&sender);
            move || drop(sender.upgrade().map(|sender| sender.try_send(None)))
        }) else {
            return timed_out(false);
        };
        let deadline = link::after(self.request_timeout);
        let request = submit(Box::new(move |result| drop(sender.send(Some(result)))))?;
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Some(result)) => result,
            Err(RecvTimeoutError::Disconnected) => Err(ClientError::Closed),
            Ok(None) | Err(RecvTimeoutError::Timeout) => match self.abandon(request) {
                Abandoned::Unsent => timed_out(false),
                Abandoned::Sent { maybe_applied } => timed_out(maybe_applied),
                Abandoned::Completed => match receiver.recv_timeout(DELIVERY_GRACE) {
                    Ok(Some(result)) => result,
                    Err(RecvTimeoutError::Disconnected) => Err(ClientError::Closed),
                    Ok(None) | Err(RecvTimeoutError::Timeout) => {
                        timed_out(operation.changes_state())
                    }
                },
            },
        }
    }

    /// Ends the session: its ephemeral nodes are gone when this returns `Ok`. With no server at
    /// hand it fails with a connection loss, and the session ends by its timeout. Takes no longer
    /// than the request timeout; no callback comes after it unless one was still running then.
    pub fn close(&self) -> Result<(), ClientError> {
        self.refuse_inside_callback()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        if state.has_ended {
            return Ok(()); // nobody would deliver the result
        }
        let completion: Completion = Box::new(move |result| drop(sender.send(result)));
        let deadline = link::after(self.request_timeout);
        state.machine.close(shared.now_ms(), completion);
        link::flush_until(shared, state, deadline);
        shared.changed.notify_all();
        let left = deadline.saturating_duration_since(Instant::now());
        let result = match receiver.recv_timeout(left) {
            Ok(result) => result.map(drop),
            Err(RecvTimeoutError::Disconnected) => return Ok(()), // it had ended before
            Err(RecvTimeoutError::Timeout) => {
                return Err(ClientError::Timeout { maybe_applied: true });
            }
        };
        // The reader has delivered our result and ends, unless a callback keeps it.
        self.await_reader(deadline);
        result
    }

    /// Ends this client and leaves the session alive at the servers until its timeout: another
    /// client, here or in another process, takes it up with [`Options::resume`]. `None` if there
    /// is no session, or the client was ended before. Two clients must not hold one session: each would cut the
    /// other off.
    ///
    /// Waits up to the request timeout until what recipes of this client have given up is removed, which the end of
    /// the session would do otherwise, and then for the reader to end, for a second at least; no callback comes after
    /// that unless one was still running then.
    pub fn detach(&self) -> Result<Option<SessionToken>, ClientError> {
        self.refuse_inside_callback()?;
        let deadline = link::after(self.request_timeout);
        self.handle.shared.background.await_none(deadline);
        let mut state = self.handle.shared.lock();
        let token = state.machine.detach();
        if let Some(stream) = &state.stream {
            drop(stream.shutdown(std::net::Shutdown::Both)); // wakes the reader
        }
        drop(state);
        self.handle.shared.changed.notify_all();
        self.await_reader(deadline.max(Instant::now() + READER_ENDS_WITHIN));
        Ok(token)
    }

    /// Waits for the reader's end. If it comes in time, no callback comes after this.
    fn await_reader(&self, deadline: Instant) {
        let shared = &self.handle.shared;
        let mut state = shared.lock();
        while !state.has_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        let reader = self.handle.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            drop(reader.join());
        }
    }

    pub(crate) fn refuse_inside_callback(&self) -> Result<(), ClientError> {
        if self.is_inside_callback() { Err(ClientError::InsideCallback) } else { Ok(()) }
    }

    /// Whether this thread delivers the client's results and events, so that it must not wait for
    /// one.
    pub fn is_inside_callback(&self) -> bool {
        self.handle.shared.lock().reader == Some(std::thread::current().id())
    }

    /// Whether a server serves the session now.
    pub fn is_connected(&self) -> bool {
        self.handle.shared.lock().machine.is_connected()
    }

    /// Whether the session has ended for good.
    pub fn is_over(&self) -> bool {
        self.handle.shared.lock().machine.is_over()
    }

    /// Why the session has ended for good, if it has.
    pub(crate) fn end_reason(&self) -> Option<ClientError> {
        self.handle.shared.lock().machine.end_reason()
    }

    /// Whether the server that serves the session can only read now.
    pub fn is_read_only(&self) -> bool {
        self.handle.shared.lock().machine.is_read_only()
    }

    /// The session, once there is one: what [`Options::resume`] takes.
    pub fn session(&self) -> Option<SessionToken> {
        self.handle.shared.lock().machine.session()
    }

    /// The session timeout that the server granted, or the wanted one before that.
    pub fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.handle.shared.lock().machine.session_timeout_ms())
    }

    /// The server that the session is connected to.
    pub fn server(&self) -> Option<ServerName> {
        Some(self.servers()[self.server_index()?].clone())
    }

    /// Where that server stands among [`Client::servers`].
    pub fn server_index(&self) -> Option<usize> {
        let state = self.handle.shared.lock();
        state.server.filter(|_| state.machine.is_connected())
    }

    /// All servers of the connect string, in its order.
    pub fn servers(&self) -> &[ServerName] {
        &self.handle.shared.servers
    }
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
