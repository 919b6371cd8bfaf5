//! A long way between servers: what passes is late, no faster than its rate, counted, and held back
//! while the way is cut.
//!
//! ```text
//! observer ─► place ─► read ─► queue ─► wait until it is due ─► write ─► server     up
//!          ◄───────── write ◄─ … ◄──────────────────────────── read ◄──────────     down
//! ```
//!
//! A proxy for TCP loses nothing of a stream: a cut holds back what is under way, as retransmissions
//! would.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is read at once: a hundredth of a second at the least rates that are measured.
const PIECE_BYTES: usize = 16 << 10;

/// What a way without a limit may hold in each direction of a connection.
const FREE_BYTES: u64 = 64 << 20;

/// What a way with one holds beside what is travelling, as time: never idle, and its sender feels it.
const AHEAD: Duration = Duration::from_millis(100);

/// How good a way is.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// There and back.
    pub rtt: Duration,
    /// In each direction, all connections together; 0 is no limit.
    pub bytes_per_second: u64,
}

/// From one site to a few servers. It ends, with its connections, when it is dropped.
pub struct Way {
    places: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    quality: Quality,
    state: Mutex<State>,
    changed: Condvar,
    /// Up, and down.
    carried: [AtomicU64; 2],
}

struct State {
    cut: bool,
    over: bool,
    healed: Instant,
    /// When each direction has carried all that it was given.
    free: [Instant; 2],
    streams: Vec<TcpStream>,
}

impl Way {
    /// Opens a place for each of `targets`.
    pub fn start(targets: &[SocketAddr], quality: Quality) -> io::Result<Self> {
        let now = Instant::now();
        let state =
            State { cut: false, over: false, healed: now, free: [now; 2], streams: Vec::new() };
        let shared = Arc::new(Shared {
            quality,
            state: Mutex::new(state),
            changed: Condvar::new(),
            carried: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let mut places = Vec::new();
        for &target in targets {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            places.push(listener.local_addr()?);
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&shared, &listener, target));
        }
        Ok(Self { places, shared })
    }

    /// Where the site connects, in the order of the targets.
    #[must_use]
    pub fn places(&self) -> &[SocketAddr] {
        &self.places
    }

    /// From now on nothing arrives, and nobody is told.
    pub fn cut(&self) {
        self.shared.lock().cut = true;
    }

    /// What is under way sets out again, and all behind it.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        (state.cut, state.healed) = (false, Instant::now());
        self.shared.changed.notify_all();
    }

    /// Bytes that arrived since the beginning: from the site, and there.
    #[must_use]
    pub fn carried(&self) -> [u64; 2] {
        [0, 1].map(|way: usize| self.shared.carried[way].load(Ordering::Relaxed))
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        for stream in state.streams.drain(..) {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        for &place in &self.places {
            // Whoever accepts looks whether it is over when somebody comes.
            let _nobody_is_there = TcpStream::connect(place);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the way is whole; false when it is over.
    fn whole(&self) -> bool {
        let mut state = self.lock();
        while state.cut && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.over
    }

    /// Waits until what set out at `began` has arrived; false when it never will.
    fn arrives(&self, way: usize, began: Instant, bytes: usize) -> bool {
        if !self.whole() {
            return false;
        }
        let mut state = self.lock();
        let began = began.max(state.healed);
        let mut due = began + self.quality.rtt / 2;
        if self.quality.bytes_per_second > 0 {
            let rate = self.quality.bytes_per_second as f64;
            let takes = Duration::from_secs_f64(bytes as f64 / rate);
            state.free[way] = state.free[way].max(began) + takes;
            due = state.free[way] + self.quality.rtt / 2;
        }
        drop(state);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // Cut meanwhile: it arrives when it is healed.
        self.whole()
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, target: SocketAddr) {
    for near in listener.incoming() {
        if shared.lock().over {
            return;
        }
        let Ok(near) = near else { continue };
        let shared = Arc::clone(shared);
        // Who is not carried is hung up on, and dials again.
        thread::spawn(move || carry(&shared, near, target));
    }
}

fn carry(shared: &Arc<Shared>, near: TcpStream, target: SocketAddr) -> io::Result<()> {
    let dialed = Instant::now();
    if !shared.arrives(0, dialed, 0) || is_given_up(&near) {
        return Ok(());
    }
    let far = TcpStream::connect(target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        shared.lock().streams.push(stream.try_clone()?);
    }
    let first = dialed + shared.quality.rtt;
    let limit = match shared.quality.bytes_per_second {
        0 => FREE_BYTES,
        rate => (rate as f64 * (shared.quality.rtt / 2 + AHEAD).as_secs_f64()) as u64,
    };
    let pieces = (limit as usize / PIECE_BYTES).max(2);
    for (way, from, to) in [(0, near.try_clone()?, far.try_clone()?), (1, far, near)] {
        let (given, taken) = sync_channel(pieces);
        thread::spawn(move || read(from, first, &given));
        let shared = Arc::clone(shared);
        thread::spawn(move || write(&shared, way, to, &taken));
    }
    Ok(())
}

/// Whether who dialed has hung up: of what was dialed in a cut and given up nothing ever arrives.
fn is_given_up(near: &TcpStream) -> bool {
    let mut ended = [PollFd::new(near, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut ended, Some(&now)), Ok(count) if 0 < count)
}

type Piece = (Instant, Vec<u8>);

fn read(mut from: TcpStream, first: Instant, given: &SyncSender<Piece>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        // An end travels behind what was sent, as no bytes.
        let count = from.read(&mut buffer).unwrap_or(0);
        let piece = (Instant::now().max(first), buffer[..count].to_vec());
        if given.send(piece).is_err() || count == 0 {
            return;
        }
    }
}

fn write(shared: &Shared, way: usize, mut to: TcpStream, taken: &Receiver<Piece>) {
    for (began, bytes) in taken {
        let arrives = shared.arrives(way, began, bytes.len());
        if !arrives || bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
        shared.carried[way].fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    let _gone_already = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_as_long_and_as_slow_as_asked_counts_and_holds_back_while_it_is_cut() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let quality = Quality { rtt: Duration::from_millis(40), bytes_per_second: 1_000_000 };
        let target = listener.local_addr().expect("bound");
        let way = Way::start(&[target], quality).expect("a way");
        let mut near = TcpStream::connect(way.places()[0]).expect("a place");
        let (mut far, _) = listener.accept().expect("it arrives");
        let began = Instant::now();
        let sent = vec![7; 200_000];
        thread::scope(|scope| {
            scope.spawn(|| near.write_all(&sent).expect("it is read"));
            far.read_exact(&mut vec![0; sent.len()]).expect("it arrives");
        });
        let least = Duration::from_millis(200 + 20);
        assert!(least <= began.elapsed(), "{:?} for 200 kB", began.elapsed());
        way.cut();
        far.write_all(b"held back").expect("it is read");
        near.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        near.read_exact(&mut [0; 9]).expect_err("the way is cut");
        near.set_read_timeout(None).expect("a socket");
        way.heal();
        let mut held = [0; 9];
        near.read_exact(&mut held).expect("it arrives");
        assert_eq!(&held, b"held back");
        // What arrived is counted behind its delivery.
        let asked = Instant::now();
        while way.carried() != [200_000, 9] {
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", way.carried());
            thread::yield_now();
        }
    }
}
