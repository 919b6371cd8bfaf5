//! One connection through a wire: two sockets, two queues, and a thread for each end of each queue.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{Quality, Shared, Way};

/// What is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What may be under way in one direction of a connection whose rate is not limited; beyond, its
/// sender is not read from, as with a full window. Far beyond what half a second of it can need.
const UNDER_WAY_BYTES_MAX: usize = 64 << 20;

/// Where the rate is limited, so much more than what is on its way is taken from the sender: enough
/// that the line is never idle, and little enough that the sender feels how slow it is.
const AHEAD: Duration = Duration::from_millis(100);

/// How long a target may take to accept, beside the way to it.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(1);

/// What is on its way in one direction.
#[derive(Default)]
struct Queue {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Whoever would receive has hung up.
    refused: bool,
}

enum Piece {
    Bytes(Instant, Vec<u8>),
    /// The sender has hung up.
    End(Instant),
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, held: MutexGuard<'q, Held>) -> MutexGuard<'q, Held> {
        self.changed.wait(held).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `piece` when there is room, or drops it where nobody wants it.
    fn push(&self, piece: Piece, bytes_max: usize) {
        let mut held = self.lock();
        while bytes_max <= held.bytes && !held.refused {
            held = self.wait(held);
        }
        if held.refused {
            return;
        }
        if let Piece::Bytes(_, bytes) = &piece {
            held.bytes += bytes.len();
        }
        held.pieces.push_back(piece);
        self.changed.notify_all();
    }

    /// The next piece; `None` when nobody wants it.
    fn pop(&self) -> Option<Piece> {
        let mut held = self.lock();
        loop {
            if held.refused {
                return None;
            }
            if let Some(piece) = held.pieces.pop_front() {
                return Some(piece);
            }
            held = self.wait(held);
        }
    }

    /// A piece of so many bytes has arrived.
    fn arrived(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.changed.notify_all();
    }

    fn refuse(&self) {
        self.lock().refused = true;
        self.changed.notify_all();
    }

    fn is_wanted(&self) -> bool {
        !self.lock().refused
    }
}

/// Both directions of a connection.
#[derive(Default)]
struct Queues([Queue; 2]);

impl Queues {
    fn of(&self, way: Way) -> &Queue {
        &self.0[way as usize]
    }
}

/// Ends a connection so that its other end is told at once.
pub(super) fn end_at_once(stream: &TcpStream) {
    let _gone_already = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    hang_up(stream);
}

/// A connection is over for both directions at once: links between servers, and clients, have no
/// use for one of which only one direction is open.
fn hang_up(stream: &TcpStream) {
    let _gone_already = stream.shutdown(Shutdown::Both);
}

/// Carries every connection that comes, until the wire is over.
pub(super) fn accept(shared: &Arc<Shared>, listener: &TcpListener, target: SocketAddr) {
    for near in listener.incoming() {
        if shared.lock().over {
            return;
        }
        let Ok(near) = near else { continue };
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new().name("wire".to_owned());
        let _dropped_without_a_thread = thread.spawn(move || carry(&shared, &near, target));
    }
}

/// Carries one connection from its beginning to its end.
fn carry(shared: &Shared, near: &TcpStream, target: SocketAddr) {
    let accepted = Instant::now();
    let Some(near_number) = shared.keep(near) else { return };
    // Who dials sends its first bytes when the way was gone there and back.
    let first = accepted + shared.quality.rtt;
    let queues = &Queues::default();
    thread::scope(|scope| {
        scope.spawn(move || read(shared, near, first, queues, Way::Up));
        let far = match shared.cross(Way::Up, accepted, 0, || queues.of(Way::Down).is_wanted()) {
            true => TcpStream::connect_timeout(&target, ACCEPTED_WITHIN).ok(),
            false => None,
        };
        let kept = far.and_then(|far| Some((shared.keep(&far)?, far)));
        let Some((far_number, far)) = kept else {
            end_at_once(near);
            queues.of(Way::Up).refuse();
            return;
        };
        let far = &far;
        thread::scope(|scope| {
            scope.spawn(move || read(shared, far, accepted, queues, Way::Down));
            scope.spawn(move || write(shared, near, queues, Way::Down));
            write(shared, far, queues, Way::Up);
        });
        shared.forget(far_number);
    });
    shared.forget(near_number);
}

/// What may be under way in one direction.
fn under_way_bytes_max(quality: &Quality) -> usize {
    let Some(rate) = quality.bytes_per_second else { return UNDER_WAY_BYTES_MAX };
    let time = quality.rtt / 2 + quality.jitter + AHEAD;
    (rate as f64 * time.as_secs_f64()) as usize
}

/// Reads what `from` sends, until it hangs up. Nothing sets out before `first`.
fn read(shared: &Shared, mut from: &TcpStream, first: Instant, queues: &Queues, way: Way) {
    let _only_slower = from.set_nodelay(true);
    let bytes_max = under_way_bytes_max(&shared.quality);
    let mut buffer = vec![0; PIECE_BYTES.min(bytes_max.max(1))];
    let queue = queues.of(way);
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let began = Instant::now().max(first);
        if read == 0 {
            queue.push(Piece::End(began), usize::MAX);
            queues.of(way.back()).refuse();
            return;
        }
        queue.push(Piece::Bytes(began, buffer[..read].to_vec()), bytes_max);
    }
}

/// Writes what arrives to `to`, until either side has hung up.
fn write(shared: &Shared, mut to: &TcpStream, queues: &Queues, way: Way) {
    let queue = queues.of(way);
    while let Some(piece) = queue.pop() {
        let Piece::Bytes(began, bytes) = piece else {
            let Piece::End(began) = piece else { unreachable!("the other kind") };
            shared.cross(way, began, 0, || queue.is_wanted());
            break;
        };
        if !shared.cross(way, began, bytes.len(), || queue.is_wanted()) {
            break;
        }
        // Before whoever waits for them can look.
        shared.count(way, bytes.len());
        if to.write_all(&bytes).is_err() {
            break;
        }
        queue.arrived(bytes.len());
    }
    queue.refuse();
    hang_up(to);
}
