//! What the observer's thread tells, and everybody else looks at.
//!
//! ```text
//! who waits          waiting += 1 ─► ready? ─► sleep           from the look until it sleeps it holds `ended`
//! observer's thread  applied, current ─► waiting += 0 ─► 0 < it? ─► lock and let go `ended` ─► wake all
//! ```
//!
//! Both change `waiting` with a read-modify-write, so one of them comes first. Who waits first: the
//! observer's thread sees that somebody does, and wakes it when it sleeps. The observer's thread first: who
//! waits reads what that left, so it sees all that was told before, and does not sleep. A load there instead,
//! be it `SeqCst`, would not do: the look of who waits is at other places, and only `Acquire`, so that both
//! could miss the other.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use farwatch_core::tree::{Events, Reader, Tree, Visits};
use farwatch_core::zxid::Zxid;

use super::feed::Feed;
use super::link::Link;
use super::{Lag, Options, WaitError};
use crate::drive::{Embedder, Stands};
use crate::host::{Door, Server, Stopper};

/// Never current so far.
const NEVER: u64 = u64::MAX;

/// Shared by the observer's thread and all others.
pub(super) struct State {
    pub visits: Visits,
    pub feed: Feed,
    pub link: Link,
    tree: Mutex<Arc<Tree>>,
    began: Instant,
    /// When it last knew itself to be current: milliseconds since `began`, or [`NEVER`].
    current_ms: AtomicU64,
    versions_kept: AtomicUsize,
    tree_bytes: AtomicUsize,
    tree_bytes_max: Option<usize>,
    is_memory_out: fn() -> bool,
    /// Changed by read-modify-writes only.
    waiting: AtomicUsize,
    ended: Mutex<Option<String>>,
    /// Why it follows nobody, as it was when somebody waited.
    unlinked: Mutex<String>,
    moved: Condvar,
    running: Mutex<Running>,
}

impl State {
    pub fn new(tree: &Arc<Tree>, options: &Options) -> Self {
        Self {
            visits: Visits::new(tree),
            feed: Feed::new(options.window_bytes_max, tree.applied()),
            link: Link::default(),
            tree: Mutex::new(Arc::clone(tree)),
            began: Instant::now(),
            current_ms: AtomicU64::new(NEVER),
            versions_kept: AtomicUsize::new(0),
            tree_bytes: AtomicUsize::new(0),
            tree_bytes_max: options.tree_bytes_max,
            is_memory_out: options.is_memory_out,
            waiting: AtomicUsize::new(0),
            ended: Mutex::new(None),
            unlinked: Mutex::default(),
            moved: Condvar::new(),
            running: Mutex::default(),
        }
    }

    pub fn tree(&self) -> MutexGuard<'_, Arc<Tree>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another tree took the place of the one so far: what lies between the two nobody knows.
    pub fn show(&self, tree: &Arc<Tree>) {
        // At one moment for whoever comes to it by the one and then by the other way. Who looks at the old one may
        // want this lock: nobody is waited for with it.
        let mut own = self.tree();
        let turned = self.visits.turn_to(tree);
        *own = Arc::clone(tree);
        drop(own);
        drop(turned);
        self.feed.break_off(tree.applied());
    }

    pub fn lag(&self) -> Lag {
        let current_ms = self.current_ms.load(Ordering::Acquire);
        let now_ms = self.began.elapsed().as_millis() as u64;
        Lag {
            zxid: self.visits.enter().view().zxid(),
            stale: (current_ms != NEVER)
                .then(|| Duration::from_millis(now_ms.saturating_sub(current_ms))),
            is_linked: self.link.is_made(),
            versions_kept: self.versions_kept.load(Ordering::Relaxed),
            tree_bytes: self.tree_bytes.load(Ordering::Relaxed),
        }
    }

    fn is_ready(&self, min: Zxid) -> bool {
        self.current_ms.load(Ordering::Acquire) != NEVER && min <= self.visits.enter().view().zxid()
    }

    pub fn wait_ready(&self, min: Zxid, deadline: Instant) -> Result<(), WaitError> {
        // Counted before the look: whoever moves it behind the look sees somebody waiting.
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let mut ended = self.lock_ended();
        let result = loop {
            if self.is_ready(min) {
                break Ok(());
            }
            if let Some(reason) = &*ended {
                break Err(WaitError::Ended(reason.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(WaitError::TimedOut(self.why_unlinked()));
            }
            let waited = self.moved.wait_timeout(ended, left);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(ended);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        result
    }

    /// As [`State::wait_ready`], on the thread that lets the observer go on: `drive` does, for no longer than
    /// it is told.
    pub fn wait_driving(
        &self,
        min: Zxid,
        deadline: Instant,
        mut drive: impl FnMut(Duration),
    ) -> Result<(), WaitError> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let result = loop {
            if self.is_ready(min) {
                break Ok(());
            }
            if let Some(reason) = self.ended() {
                break Err(WaitError::Ended(reason));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(WaitError::TimedOut(self.why_unlinked()));
            }
            drive(left);
        };
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        result
    }

    /// Whether somebody waits. Who begins to behind this sees all that the caller told before.
    fn is_awaited(&self) -> bool {
        0 < self.waiting.fetch_add(0, Ordering::AcqRel)
    }

    fn why_unlinked(&self) -> String {
        if self.link.is_made() {
            return String::new();
        }
        self.unlinked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock_ended(&self) -> MutexGuard<'_, Option<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ended(&self) -> Option<String> {
        self.lock_ended().clone()
    }

    /// Nothing comes any more, for this reason; the first one that is given.
    pub fn end(&self, reason: String) {
        let reason = self.lock_ended().get_or_insert(reason).clone();
        self.moved.notify_all();
        self.feed.end(reason);
        // The last word: behind it nothing is told.
        self.link.end();
    }

    /// Ends the observer when its tree has outgrown what it may take, or what there is.
    fn mind_size(&self, tree_bytes: usize) {
        let reason = match self.tree_bytes_max {
            Some(max) if max < tree_bytes => {
                format!("the tree takes {tree_bytes} bytes, more than the limit of {max}")
            }
            _ if (self.is_memory_out)() => "the system has no memory to give".to_owned(),
            _ => return,
        };
        if self.ended().is_none() {
            self.end(reason);
            self.stop();
        }
    }

    /// This server runs now. It is stopped at once if that was asked for before.
    pub fn runs(&self, server: &Server) {
        let (stopper, door) = (server.stopper(), server.door());
        let mut running = self.lock_running();
        if running.is_stopped {
            stopper.stop();
        }
        running.server = Some((stopper, door));
    }

    /// Asks it to stop, whichever server runs now or comes next.
    pub fn stop(&self) {
        let mut running = self.lock_running();
        if let (false, Some((stopper, _))) = (running.is_stopped, &running.server) {
            stopper.stop();
        }
        running.is_stopped = true;
    }

    /// Whether that was asked.
    pub fn is_stopped(&self) -> bool {
        self.lock_running().is_stopped
    }

    /// The way into the server that runs now.
    pub fn door(&self) -> Option<Door> {
        let running = self.lock_running();
        let door = running.server.as_ref().map(|(_, door)| door.clone());
        door.filter(|_| !running.is_stopped && self.ended().is_none())
    }

    fn lock_running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server of this moment.
#[derive(Default)]
struct Running {
    server: Option<(Stopper, Door)>,
    is_stopped: bool,
}

/// What the core tells its embedder, on the observer's thread.
pub(super) struct Beats {
    state: Arc<State>,
    reader: Reader,
}

impl Beats {
    pub fn new(state: Arc<State>, reader: Reader) -> Self {
        Self { state, reader }
    }
}

impl Embedder for Beats {
    fn applied(&mut self, upto: Zxid, events: &Events) {
        self.state.feed.take(upto, events, &self.reader);
        self.reader.advance(upto);
    }

    fn asks_why(&self) -> bool {
        self.state.is_awaited()
    }

    fn unlinked(&mut self, why: String) {
        *self.state.unlinked.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn stands(&mut self, stands: Stands) {
        let state = &self.state;
        state.versions_kept.store(stands.versions_kept, Ordering::Relaxed);
        state.tree_bytes.store(stands.tree_bytes, Ordering::Relaxed);
        state.mind_size(stands.tree_bytes);
        let was = state.current_ms.load(Ordering::Relaxed);
        if stands.follows || was != NEVER {
            let now_ms = state.began.elapsed().as_millis() as u64;
            // Release: who sees itself to be current sees the state that it was current with.
            state.current_ms.store(now_ms.saturating_sub(stands.stale_ms), Ordering::Release);
        }
        // Who hears that it follows finds it ready.
        state.link.stands(stands.follows);
        if state.is_awaited() {
            let _looked = state.lock_ended(); // who has looked and not yet slept holds it
            state.moved.notify_all();
        }
    }
}
