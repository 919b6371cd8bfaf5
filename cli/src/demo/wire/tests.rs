//! A wire between a sender and a receiver that know what to expect.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Carried, Cut, Quality, Wire};

const MS: Duration = Duration::from_millis(1);

/// How long anything may take that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A wire and both ends of one connection through it.
struct Pair {
    wire: Wire,
    listener: TcpListener,
    near: TcpStream,
    far: TcpStream,
}

impl Pair {
    fn new(quality: Quality) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire::start(&[listener.local_addr().unwrap()], quality).unwrap();
        let near = dial(&wire);
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { wire, listener, near, far }
    }

    /// Sends a byte to the far side and back.
    fn round_trip(&mut self) -> Duration {
        let began = Instant::now();
        self.near.write_all(b"?").unwrap();
        expect(&mut self.far, b"?");
        self.far.write_all(b"!").unwrap();
        expect(&mut self.near, b"!");
        began.elapsed()
    }
}

fn dial(wire: &Wire) -> TcpStream {
    let near = TcpStream::connect(wire.places()[0]).unwrap();
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    near
}

#[track_caller]
fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

/// Whether nothing arrives for a while.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(100 * MS)).unwrap();
    let read = stream.read(&mut [0; 1]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Whether the other end has hung up, or is gone.
fn is_over(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]), Ok(0)) || {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

#[test]
fn there_and_back_takes_the_time_that_was_asked_for() {
    let mut pair = Pair::new(Quality::with_rtt(60 * MS));
    pair.round_trip(); // with the handshake
    let fastest = (0..5).map(|_| pair.round_trip()).min().unwrap();
    assert!((60 * MS..120 * MS).contains(&fastest), "{fastest:?}");
    assert_eq!(pair.wire.carried(), Carried { up: 6, down: 6 });
}

#[test]
fn the_first_bytes_come_behind_a_handshake_there_and_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let quality = Quality::with_rtt(60 * MS);
    let wire = Wire::start(&[listener.local_addr().unwrap()], quality).unwrap();
    let began = Instant::now();
    let mut near = dial(&wire);
    near.write_all(b"?").unwrap();
    let (mut far, _) = listener.accept().unwrap();
    assert!(30 * MS <= began.elapsed(), "{:?}", began.elapsed());
    expect(&mut far, b"?");
    assert!(90 * MS <= began.elapsed(), "{:?}", began.elapsed());
}

#[test]
fn a_delay_and_jitter_keep_the_order_and_take_no_throughput() {
    let quality = Quality { jitter: 5 * MS, ..Quality::with_rtt(200 * MS) };
    let Pair { wire, near, mut far, listener: _listener } = Pair::new(quality);
    let sent: Vec<u8> = (0..16_u32 << 20).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
    let began = Instant::now();
    let received = thread::scope(|scope| {
        scope.spawn(|| (&near).write_all(&sent).unwrap());
        let mut received = vec![0; sent.len()];
        far.read_exact(&mut received).unwrap();
        received
    });
    assert!(sent == received, "bytes came in another order");
    // A piece after the other, each with its delay, would take half a minute.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(wire.carried().up, sent.len() as u64);
}

#[test]
fn a_rate_is_kept_and_not_undercut() {
    let rate = 1_000_000;
    let quality = Quality { bytes_per_second: Some(rate), ..Quality::with_rtt(20 * MS) };
    let Pair { wire: _wire, near, mut far, .. } = Pair::new(quality);
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| (&near).write_all(&vec![7; 500_000]).unwrap());
        far.read_exact(&mut vec![0; 500_000]).unwrap();
    });
    let took = began.elapsed();
    assert!((500 * MS..900 * MS).contains(&took), "{took:?}");
}

#[test]
fn a_silent_cut_holds_back_what_is_under_way_and_delivers_it_when_it_is_healed() {
    let mut pair = Pair::new(Quality::with_rtt(40 * MS));
    pair.round_trip();
    pair.near.write_all(b"under way").unwrap();
    pair.wire.cut(Cut::Silent);
    assert_eq!(pair.wire.is_cut(), Some(Cut::Silent));
    pair.near.write_all(b", and behind").unwrap();
    assert!(is_silent(&mut pair.far));
    let healed = Instant::now();
    pair.wire.heal();
    expect(&mut pair.far, b"under way, and behind");
    assert!(20 * MS <= healed.elapsed(), "what was lost sets out again: {:?}", healed.elapsed());
    pair.round_trip();
}

#[test]
fn who_hangs_up_while_the_way_is_cut_gets_nothing_any_more() {
    let mut pair = Pair::new(Quality::with_rtt(10 * MS));
    pair.round_trip();
    // A byte is counted behind its delivery.
    let before = Carried { up: 1, down: 1 };
    let asked = Instant::now();
    while pair.wire.carried() != before {
        assert!(asked.elapsed() < PATIENCE, "{:?}", pair.wire.carried());
        thread::yield_now();
    }
    pair.wire.cut(Cut::Silent);
    pair.far.write_all(&[7; 100_000]).unwrap();
    drop(pair.near);
    // Dialed and given up meanwhile: never arrives.
    drop(dial(&pair.wire));
    thread::sleep(50 * MS);
    pair.wire.heal();
    assert!(is_over(&mut pair.far));
    assert_eq!(pair.wire.carried(), before);
    let mut near = dial(&pair.wire);
    near.write_all(b"next").unwrap();
    let (mut far, _) = pair.listener.accept().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut far, b"next");
}

#[test]
fn what_is_dialed_while_the_way_is_cut_arrives_when_it_is_healed() {
    let pair = Pair::new(Quality::with_rtt(10 * MS));
    pair.wire.cut(Cut::Silent);
    let mut near = dial(&pair.wire);
    near.write_all(b"patient").unwrap();
    pair.listener.set_nonblocking(true).unwrap();
    thread::sleep(50 * MS);
    assert!(pair.listener.accept().is_err(), "it came through a way that is cut");
    pair.listener.set_nonblocking(false).unwrap();
    pair.wire.heal();
    let (mut far, _) = pair.listener.accept().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut far, b"patient");
}

#[test]
fn a_resetting_cut_ends_connections_at_once_and_new_ones_too() {
    let mut pair = Pair::new(Quality::with_rtt(Duration::from_secs(1)));
    let began = Instant::now();
    pair.wire.cut(Cut::Reset);
    assert!(is_over(&mut pair.near) && is_over(&mut pair.far));
    assert!(is_over(&mut dial(&pair.wire)));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    pair.wire.heal();
    let _near = dial(&pair.wire);
    pair.listener.accept().unwrap();
}

#[test]
fn an_end_travels_as_long_as_bytes_do_and_behind_them() {
    let mut pair = Pair::new(Quality::with_rtt(60 * MS));
    pair.round_trip();
    pair.near.write_all(b"last").unwrap();
    let began = Instant::now();
    drop(pair.near);
    expect(&mut pair.far, b"last");
    assert!(is_over(&mut pair.far));
    assert!(30 * MS <= began.elapsed(), "{:?}", began.elapsed());
}

#[test]
fn a_wire_that_is_dropped_leaves_nothing_behind() {
    let Pair { wire, mut near, mut far, .. } = Pair::new(Quality::with_rtt(10 * MS));
    let place = wire.places()[0];
    let shared = std::sync::Arc::downgrade(&wire.shared);
    drop(wire);
    assert!(is_over(&mut near) && is_over(&mut far));
    let asked = Instant::now();
    while shared.strong_count() != 0 {
        assert!(asked.elapsed() < PATIENCE, "threads of the wire go on");
        thread::sleep(MS);
    }
    assert!(TcpStream::connect(place).is_err(), "somebody listens");
}
