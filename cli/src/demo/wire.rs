//! A long way between servers, in one process: what passes through it arrives late, slowly, or not
//! at all.
//!
//! ```text
//! near side ──► place ──► reader ─► queue ─► writer: waits until it is due ──► target  (up)
//!           ◄───────────── writer ◄─ queue ◄─ reader ◄─────────────────────────        (down)
//! ```
//!
//! It is a proxy for TCP, so it cannot lose a part of a stream. A silent cut therefore holds
//! everything back until it is healed, as the retransmissions of both systems would. Who hangs up
//! meanwhile gets nothing of it any more, and what was dialed and given up meanwhile never arrives.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

mod carriage;
mod line;

use self::line::Line;

/// How good a way is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quality {
    /// How long there and back takes; each direction takes half of it.
    pub rtt: Duration,
    /// Up to so much more, drawn for each piece. The order stays.
    pub jitter: Duration,
    /// What passes in a second in each direction, all connections together; `None` is all there is.
    pub bytes_per_second: Option<u64>,
    /// What the jitter is drawn from.
    pub seed: u64,
}

impl Quality {
    /// A way without jitter and limit.
    pub fn with_rtt(rtt: Duration) -> Self {
        Self { rtt, jitter: Duration::ZERO, bytes_per_second: None, seed: 1 }
    }
}

/// How a way is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Nothing arrives, and nobody is told: a cable, a firewall.
    Silent,
    /// Connections end at once, and new ones too: a host that went down properly.
    Reset,
}

/// Bytes that arrived since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// From the near side to the targets.
    pub up: u64,
    /// Back.
    pub down: u64,
}

impl Carried {
    /// Both directions.
    pub fn total(self) -> u64 {
        self.up + self.down
    }
}

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Up,
    Down,
}

impl Way {
    fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// The long way from one site to a few targets, which all share its quality and its fate. It ends,
/// with its connections, when it is dropped.
#[derive(Debug)]
pub struct Wire {
    places: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

/// What the threads of a wire share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A cut, its end, or the end of all.
    changed: Condvar,
    quality: Quality,
}

#[derive(Debug)]
struct State {
    cut: Option<Cut>,
    /// How often a cut was healed: what was under way before sets out again.
    heals: u64,
    healed: Option<Instant>,
    over: bool,
    lines: [Line; 2],
    carried: Carried,
    /// The ends of all connections, to end them.
    streams: BTreeMap<u64, TcpStream>,
    next: u64,
}

impl Wire {
    /// Opens a place on the loopback for each of `targets`, and carries what comes to it there.
    pub fn start(targets: &[SocketAddr], quality: Quality) -> io::Result<Self> {
        let line = |seed| Line::new(&quality, quality.seed.wrapping_add(seed));
        let state = State {
            cut: None,
            heals: 0,
            healed: None,
            over: false,
            lines: [line(0), line(1)],
            carried: Carried::default(),
            streams: BTreeMap::new(),
            next: 0,
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new(), quality };
        let mut wire = Self { places: Vec::new(), shared: Arc::new(shared) };
        for &target in targets {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            wire.places.push(listener.local_addr()?);
            let shared = Arc::clone(&wire.shared);
            let thread = thread::Builder::new().name("wire".to_owned());
            thread.spawn(move || carriage::accept(&shared, &listener, target))?;
        }
        Ok(wire)
    }

    /// Where the near side connects, in the order of the targets.
    pub fn places(&self) -> &[SocketAddr] {
        &self.places
    }

    /// Cuts the way; one that is cut is cut the other way then.
    pub fn cut(&self, how: Cut) {
        let mut state = self.shared.lock();
        state.cut = Some(how);
        if how == Cut::Reset {
            state.end_streams();
        }
        self.shared.changed.notify_all();
    }

    /// Heals the way; nothing where it is whole.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        if state.cut.take().is_some() {
            state.heals += 1;
            state.healed = Some(Instant::now());
        }
        self.shared.changed.notify_all();
    }

    /// How it is cut at the moment, if it is.
    pub fn is_cut(&self) -> Option<Cut> {
        self.shared.lock().cut
    }

    /// What arrived since the beginning.
    pub fn carried(&self) -> Carried {
        self.shared.lock().carried
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        state.end_streams();
        drop(state);
        self.shared.changed.notify_all();
        for &place in &self.places {
            // Whoever waits for a connection looks whether it is over when there is one.
            let _nobody_waits_any_more = TcpStream::connect(place);
        }
    }
}

impl State {
    fn end_streams(&mut self) {
        for stream in self.streams.values() {
            carriage::end_at_once(stream);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an end of a connection where it can be ended; `None` where it must end now.
    fn keep(&self, stream: &TcpStream) -> Option<u64> {
        let own = stream.try_clone().ok()?;
        let mut state = self.lock();
        if state.over || state.cut == Some(Cut::Reset) {
            carriage::end_at_once(stream);
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.streams.insert(number, own);
        Some(number)
    }

    fn forget(&self, number: u64) {
        self.lock().streams.remove(&number);
    }

    /// Waits until what set out at `began` has arrived, and is still wanted. False: it never will.
    fn cross(&self, way: Way, began: Instant, bytes: usize, wanted: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        let mut booked: Option<(u64, Instant)> = None;
        loop {
            if state.over || state.cut == Some(Cut::Reset) {
                return false;
            }
            if state.cut.is_some() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !wanted() {
                return false;
            }
            let due = match booked {
                Some((heals, due)) if heals == state.heals => due,
                Some(_) | None => {
                    let began = state.healed.map_or(began, |healed| healed.max(began));
                    let due = state.lines[way as usize].book(began, bytes);
                    booked = Some((state.heals, due));
                    due
                }
            };
            let now = Instant::now();
            if due <= now {
                return true;
            }
            let waited = self.changed.wait_timeout(state, due - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn count(&self, way: Way, bytes: usize) {
        let mut state = self.lock();
        match way {
            Way::Up => state.carried.up += bytes as u64,
            Way::Down => state.carried.down += bytes as u64,
        }
    }
}

#[cfg(test)]
mod tests;
