//! Unique 64-bit ids that grow with time, made without asking anybody.
//!
//! ```text
//!   0 │ 41 bits: milliseconds since an epoch │ 10 bits: worker id │ 12 bits: counter
//! ```
//!
//! A worker id alone does not keep two from making the same id: its former owner may not know that it
//! was lost, and the new owner's clock may be behind. So each worker id has a mark in the tree: the time
//! up to which its owner may make ids. An owner moves it on before it gets there, and only while
//! nobody else has written it; a new owner begins behind it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use farwatch_core::wire::ErrorCode;

use super::place::Place;
use super::signal::Signal;
use super::worker_id::{WorkerId, WorkerIds};
use super::{RecipeError, persist, protected};
use crate::client::{Client, NodeData, WeakClient, is_stopped};
use crate::error::ClientError;
use crate::operation::{Acl, CreateMode, Operation};
use crate::outcome::Outcome;

/// Bits of the counter within a millisecond.
const COUNTER_BITS: u32 = 12;

/// Bits of the worker id.
const WORKER_BITS: u32 = 10;

/// How many worker ids there are.
pub const SNOWFLAKE_WORKERS: u32 = 1 << WORKER_BITS;

/// 2020-01-01T00:00:00Z in milliseconds since 1970: what ids count from by default. The 41 bits last
/// until 2089.
pub const SNOWFLAKE_EPOCH_MS: u64 = 1_577_836_800_000;

/// How far a mark is moved on at a time, milliseconds: one request in half of that, and as long as a
/// worker id rests whose owner has died.
const RESERVE_MS: u64 = 4000;

/// Milliseconds since 1970.
type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// How a [`Snowflake`] counts time.
pub struct SnowflakeOptions {
    epoch_ms: u64,
    acl: Vec<Acl>,
    clock: Clock,
}

impl Default for SnowflakeOptions {
    fn default() -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self { epoch_ms: SNOWFLAKE_EPOCH_MS, acl: Acl::open(), clock: Box::new(clock) }
    }
}

impl std::fmt::Debug for SnowflakeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnowflakeOptions").field("epoch_ms", &self.epoch_ms).finish_non_exhaustive()
    }
}

impl SnowflakeOptions {
    /// What ids count from, milliseconds since 1970; the same for all who must not share an id.
    #[must_use]
    pub fn epoch_ms(mut self, epoch_ms: u64) -> Self {
        self.epoch_ms = epoch_ms;
        self
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn acl(mut self, acl: Vec<Acl>) -> Self {
        self.acl = acl;
        self
    }

    /// Another clock than the system's, milliseconds since 1970. It must not block.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }
}

struct State {
    last_ms: u64,
    counter: u64,
    /// The last millisecond in which ids may be made.
    reserved_ms: u64,
    /// The version of the mark that says so.
    version: i32,
    is_reserving: bool,
    /// Somebody else has written the mark, or we have given it up.
    is_overtaken: bool,
    /// Why the last attempt to move it failed, where that is not the connection.
    error: Option<ClientError>,
}

struct Mark {
    client: WeakClient,
    path: String,
    /// What tells our marks from those of others: nobody else ever has this token.
    token: String,
    state: Mutex<State>,
    signal: Arc<Signal>,
}

/// Makes unique ids. May be shared between threads.
pub struct Snowflake {
    worker: WorkerId,
    options: SnowflakeOptions,
    mark: Arc<Mark>,
}

impl std::fmt::Debug for Snowflake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snowflake").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Snowflake {
    /// Takes a worker id at `path` whose former owners made no id in this clock's future. Blocks.
    ///
    /// [`RecipeError::ClockBehind`]: there is none, because this clock is behind, or because all free ones
    /// were in use in the last seconds; try again after that time.
    pub fn open(
        client: &Client,
        path: &str,
        options: SnowflakeOptions,
        deadline: Instant,
    ) -> Result<Self, RecipeError> {
        let workers = WorkerIds::new(client, path, SNOWFLAKE_WORKERS).with_acl(options.acl.clone());
        let mut unfit = Vec::new();
        let mut behind_ms = u64::MAX;
        loop {
            let worker = match workers.claim_but(&unfit, deadline) {
                Err(RecipeError::NoneFree) if !unfit.is_empty() => {
                    return Err(RecipeError::ClockBehind { by_ms: behind_ms });
                }
                claimed => claimed?,
            };
            match Self::begin(&workers, worker, options.now_ms(), deadline)? {
                Begun::Fit(worker, mark) => return Ok(Self { worker, options, mark }),
                Begun::Ahead(worker, ahead_ms) => {
                    behind_ms = behind_ms.min(ahead_ms);
                    unfit.push(worker.id());
                    worker.release(deadline)?;
                }
            }
        }
    }

    /// Moves the mark of a worker id that was just claimed from the past into the near future.
    fn begin(
        workers: &WorkerIds,
        worker: WorkerId,
        now_ms: u64,
        deadline: Instant,
    ) -> Result<Begun, RecipeError> {
        let marks = &workers.marks;
        let path = marks.child(&worker.id().to_string());
        let (version, until_ms) = match read_mark(marks, &path, deadline)? {
            Some((version, until_ms)) => (version, until_ms),
            None => {
                marks.make_as(&path, CreateMode::Persistent, deadline)?;
                (0, 0)
            }
        };
        if now_ms <= until_ms {
            return Ok(Begun::Ahead(worker, (until_ms - now_ms).saturating_add(1)));
        }
        let state = State {
            last_ms: until_ms,
            // Of that millisecond nothing is known to be left: a former owner that closed was in it.
            counter: (1 << COUNTER_BITS) - 1,
            reserved_ms: until_ms,
            version,
            is_reserving: false,
            is_overtaken: false,
            error: None,
        };
        let mark = Arc::new(Mark {
            client: marks.client.downgrade(),
            path,
            token: worker.token().to_string(),
            state: Mutex::new(state),
            signal: Arc::default(),
        });
        mark.wait_reserved(now_ms, deadline)?;
        Ok(Begun::Fit(worker, mark))
    }

    /// The worker id that is in these ids.
    pub fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// An id that nobody else has or will have, larger than all that this has made before. Does not
    /// block.
    ///
    /// - [`RecipeError::ClockBehind`]: the clock went back; no id is made before it is where it was.
    /// - [`RecipeError::Busy`]: all ids of this millisecond are made, or the servers have not yet confirmed
    ///   the next seconds, which is on its way: after a pause, and while no server is there.
    /// - [`RecipeError::Lost`]: the worker id is not ours any more.
    pub fn try_next(&self) -> Result<u64, RecipeError> {
        self.worker.hold()?;
        let mut now_ms = self.options.now_ms();
        let mut state = self.mark.lock();
        while now_ms < state.last_ms && !state.is_overtaken {
            // Another thread's id is newer than our look at the clock, unless that went back.
            let last_ms = state.last_ms;
            drop(state);
            now_ms = self.options.now_ms();
            if now_ms < last_ms {
                return Err(RecipeError::ClockBehind { by_ms: last_ms - now_ms });
            }
            state = self.mark.lock();
        }
        let made = self.make(&mut state, now_ms);
        let is_due =
            state.reserved_ms < now_ms.saturating_add(RESERVE_MS / 2) && !state.is_reserving;
        drop(state);
        if is_due {
            self.mark.reserve(now_ms.saturating_add(RESERVE_MS));
        }
        made
    }

    /// The next id of a moment that is not before the last one.
    fn make(&self, state: &mut State, now_ms: u64) -> Result<u64, RecipeError> {
        if state.is_overtaken {
            return Err(RecipeError::Lost);
        }
        if state.reserved_ms < now_ms {
            return Err(RecipeError::Busy);
        }
        let counter = if now_ms == state.last_ms { state.counter + 1 } else { 0 };
        if counter >> COUNTER_BITS != 0 {
            return Err(RecipeError::Busy);
        }
        let since_ms =
            now_ms.checked_sub(self.options.epoch_ms).ok_or(RecipeError::ClockBehind {
                by_ms: self.options.epoch_ms.saturating_sub(now_ms),
            })?;
        if since_ms >> (63 - WORKER_BITS - COUNTER_BITS) != 0 {
            return Err(RecipeError::Overflow);
        }
        (state.last_ms, state.counter) = (now_ms, counter);
        Ok((since_ms << WORKER_BITS | u64::from(self.worker.id())) << COUNTER_BITS | counter)
    }

    /// As [`Snowflake::try_next`], and waits where that is busy. Blocks.
    pub fn next(&self, deadline: Instant) -> Result<u64, RecipeError> {
        loop {
            let seen = self.mark.signal.raised();
            match self.try_next() {
                Err(RecipeError::Busy) => {
                    self.worker.refuse_inside_callback()?;
                    // The next millisecond comes by itself, a confirmation is told.
                    let next = Instant::now() + Duration::from_millis(1);
                    let was_told = self.mark.signal.wait_beyond(seen, deadline.min(next));
                    if !was_told && (deadline <= Instant::now() || is_stopped()) {
                        return Err(RecipeError::Deadline);
                    }
                }
                made => return made,
            }
        }
    }
}

impl Snowflake {
    /// Gives the worker id back in a state in which the next owner need not wait; makes no more ids.
    /// Blocks. A snowflake that is only dropped leaves its worker id unused for some seconds.
    pub fn close(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.worker.refuse_inside_callback()?;
        let mut state = self.mark.lock();
        state.is_overtaken = true;
        let (last_ms, version) = (state.last_ms, state.version);
        drop(state);
        let (path, text) = (&self.mark.path, self.mark.text(last_ms));
        let client = &self.worker.claims().client;
        // Where this fails, the mark stays where it was, and the next owner waits.
        let set = |client: &Client| client.set(path, text.as_bytes(), version);
        if let Err(error) = persist(client, deadline, set) {
            tracing::debug!(%error, "a worker id rests");
        }
        self.worker.release(deadline)
    }
}

impl SnowflakeOptions {
    fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

enum Begun {
    Fit(WorkerId, Arc<Mark>),
    /// By so many milliseconds.
    Ahead(WorkerId, u64),
}

/// Version and time of a mark.
fn read_mark(
    marks: &Place,
    path: &str,
    deadline: Instant,
) -> Result<Option<(i32, u64)>, RecipeError> {
    // The claim was a write of this session: what is read behind it is not older.
    match persist(&marks.client, deadline, |client| client.get(path, false)) {
        Ok(NodeData { data, stat }) => {
            let (until_ms, _token) = parse_mark(&data.unwrap_or_default())
                .ok_or_else(|| RecipeError::BadData { path: path.to_owned() })?;
            Ok(Some((stat.version, until_ms)))
        }
        Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `<milliseconds> <token>`; a mark that nobody has moved yet is empty.
fn parse_mark(data: &[u8]) -> Option<(u64, &str)> {
    let text = str::from_utf8(data).ok()?;
    if text.is_empty() {
        return Some((0, ""));
    }
    let (until_ms, token) = text.split_once(' ')?;
    Some((until_ms.parse().ok()?, token))
}

impl Mark {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until ids may be made at `now_ms`.
    fn wait_reserved(self: &Arc<Self>, now_ms: u64, deadline: Instant) -> Result<(), RecipeError> {
        loop {
            let seen = self.signal.raised();
            self.reserve(now_ms.saturating_add(RESERVE_MS));
            let mut state = self.lock();
            if state.is_overtaken {
                return Err(RecipeError::Lost);
            }
            if let Some(error) = state.error.take() {
                return Err(error.into());
            }
            if now_ms <= state.reserved_ms {
                return Ok(());
            }
            drop(state);
            if !self.signal.wait_beyond(seen, deadline) {
                return Err(RecipeError::Deadline);
            }
        }
    }

    /// Moves the mark on, in the background, if it is as we know it.
    fn reserve(self: &Arc<Self>, until_ms: u64) {
        let mut state = self.lock();
        if state.is_reserving || state.is_overtaken || until_ms <= state.reserved_ms {
            return;
        }
        state.is_reserving = true;
        let version = state.version;
        drop(state);
        let (path, data) = (self.path.clone(), Some(self.text(until_ms).into_bytes()));
        let set = Operation::SetData { path, data, version };
        self.submit(&set, move |mark, result| match result {
            Ok(Outcome::Stat(stat)) => mark.reserved(until_ms, stat.version),
            Err(ClientError::Server(ErrorCode::BadVersion | ErrorCode::NoNode)) => mark.overtaken(),
            Err(ClientError::ConnectionLoss { .. }) => mark.find_out(until_ms),
            Ok(_) => mark.not_now(Some(ClientError::BadReply)),
            Err(error) => mark.not_now(Some(error)),
        });
    }

    /// The answer was lost: what stands there says whether it was applied, once it cannot be any more.
    fn find_out(self: Arc<Self>, until_ms: u64) {
        let refused = protected::refused(&self.path);
        self.ask(&refused, move |mark, result| match result {
            result if protected::is_refused(&result) => mark.read_back(until_ms),
            Err(error) if error.is_passing() => mark.find_out_again(until_ms),
            Err(error) => mark.not_now(Some(error)),
            Ok(_) => mark.not_now(Some(ClientError::BadReply)),
        });
    }

    /// When a server may answer that did not.
    fn find_out_again(self: Arc<Self>, until_ms: u64) {
        if self.client.upgrade().is_none() {
            return self.not_now(Some(ClientError::Closed));
        }
        let client = self.client.clone();
        client.again(move || self.find_out(until_ms));
    }

    fn read_back(self: Arc<Self>, until_ms: u64) {
        let read = Operation::GetData { path: self.path.clone(), watch: false };
        self.ask(&read, move |mark, result| match result {
            Ok(Outcome::Data { data, stat }) => {
                let version = mark.lock().version;
                if data.as_deref() == Some(mark.text(until_ms).as_bytes()) {
                    mark.reserved(until_ms, stat.version);
                } else if stat.version == version {
                    mark.not_now(None); // it was not applied
                } else {
                    mark.overtaken();
                }
            }
            Err(error) if error.is_passing() => mark.find_out_again(until_ms),
            Err(ClientError::Server(ErrorCode::NoNode)) => mark.overtaken(),
            Ok(_) => mark.not_now(Some(ClientError::BadReply)),
            Err(error) => mark.not_now(Some(error)),
        });
    }

    fn text(&self, until_ms: u64) -> String {
        format!("{until_ms} {}", self.token)
    }

    fn submit(
        self: &Arc<Self>,
        operation: &Operation,
        then: impl FnOnce(Arc<Self>, Result<Outcome, ClientError>) + Send + 'static,
    ) {
        let own = Arc::clone(self);
        let client = self.client.upgrade().ok_or(ClientError::Closed);
        let asked = client.and_then(|client| client.submit(operation, move |it| then(own, it)));
        if let Err(error) = asked {
            self.not_now(Some(error));
        }
    }

    /// Asks what settles a doubt, also of a client that is asked for too much.
    fn ask(
        self: &Arc<Self>,
        operation: &Operation,
        then: impl FnOnce(Arc<Self>, Result<Outcome, ClientError>) + Send + 'static,
    ) {
        let own = Arc::clone(self);
        let client = self.client.upgrade().ok_or(ClientError::Closed);
        let asked = client.and_then(|client| {
            client.submit_beyond_limits(operation, Box::new(move |it| then(own, it)))
        });
        if let Err(error) = asked {
            self.not_now(Some(error));
        }
    }

    fn reserved(&self, until_ms: u64, version: i32) {
        let mut state = self.lock();
        (state.reserved_ms, state.version, state.error) = (until_ms, version, None);
        state.is_reserving = false;
        drop(state);
        self.signal.raise();
    }

    fn overtaken(&self) {
        let mut state = self.lock();
        (state.is_overtaken, state.is_reserving) = (true, false);
        drop(state);
        self.signal.raise();
    }

    /// It is asked again with the next id.
    fn not_now(&self, error: Option<ClientError>) {
        let mut state = self.lock();
        state.is_reserving = false;
        state.error = error;
        drop(state);
        self.signal.raise();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use farwatch_core::wire::OpCode;

    use super::*;
    use crate::client::Options;
    use crate::stub;

    #[test]
    fn a_mark_whose_answer_is_lost_is_looked_at_behind_a_change() {
        let (sender, asked) = mpsc::channel();
        let options = Options::default().transport(stub::server(move |op| {
            sender.send(op).ok();
            ErrorCode::NoNode
        }));
        let client = Client::open("stub:1", options).unwrap();
        let mark = Arc::new(Mark {
            client: client.downgrade(),
            path: "/ids/marks/1".to_owned(),
            token: "1".to_owned(),
            state: Mutex::new(State {
                last_ms: 0,
                counter: 0,
                reserved_ms: 0,
                version: 0,
                is_reserving: true,
                is_overtaken: false,
                error: None,
            }),
            signal: Arc::default(),
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        Arc::clone(&mark).find_out(4000);
        assert!(mark.signal.wait_beyond(0, deadline));
        // A sync would tell nothing where another server leads since.
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [OpCode::Delete, OpCode::GetData]);
        assert!(mark.lock().is_overtaken, "there is none");
    }
}
