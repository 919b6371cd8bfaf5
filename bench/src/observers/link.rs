//! What crosses the long way to an observer, and what a cut of it costs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::way::{Quality, Way};
use super::{set_level, until_shown};
use crate::raw::request::{create, get_data, set_data};
use crate::raw::{Connection, Handshake, Request, framed, ids, request_bytes};
use crate::subject::{Ensemble, Options};

/// The parent of the services.
pub(super) const SERVICES: &str = "/services";

/// Services that are registered, and then change.
const SERVICE_COUNT: u64 = 2000;

/// A cut lasts at least this long: longer than either kind of server takes to notice it.
const CUT: Duration = Duration::from_secs(12);

/// How long an answer of an observer is waited for before it counts as failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Readers through a cut.
const READERS: usize = 8;

/// What is told second by second is told of so many; what comes later is added to the last.
const SECONDS: usize = 256;

/// Readers begin so long before a cut, and go on so long after all was shown.
const AROUND: Duration = Duration::from_millis(1500);

/// Between two reads of one of them: a reader, and not a load.
const READ_PAUSE: Duration = Duration::from_millis(2);

/// Puts a way between the voters and observers, which start again behind it, with these options.
pub fn route(
    ensemble: &mut Ensemble,
    observers: impl IntoIterator<Item = usize>,
    quality: Quality,
    options: &Options,
) -> Result<Way> {
    let targets = ensemble.voter_places().concat();
    let way = Way::start(&targets, quality)?;
    let places: Vec<[SocketAddr; 2]> =
        way.places().chunks(2).map(|pair| [pair[0], pair[1]]).collect();
    for at in observers {
        ensemble.route_observer(at, &places);
        ensemble.observer_mut(at).restart_with(options.clone())?;
        set_level(ensemble.address(1), ensemble.observer(at).address())?;
    }
    Ok(way)
}

/// A write of a directory of services: one registers, or what is said of one changes.
fn service(number: u64) -> Request {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let at = number % SERVICE_COUNT;
    let path = format!("{SERVICES}/svc-{:03}-{at:05}", at % 120);
    let status = if mixed.is_multiple_of(5) { "DRAINING" } else { "UP" };
    let data = format!(
        r#"{{"id":"{mixed:016x}","host":"10.1.{}.{}","port":{},"status":"{status}","zone":"eu-west-1{}","since":{number}}}"#,
        at % 251,
        mixed % 241,
        8000 + at % 7,
        ["a", "b", "c"][at as usize % 3],
    );
    if number < SERVICE_COUNT {
        create(&path, Some(data.as_bytes()), &ids::open(), 0)
    } else {
        set_data(&path, Some(data.as_bytes()), -1)
    }
}

/// Sends `requests` on one connection, so many of them under way. Answers must not be errors, but
/// that a node exists.
pub fn write_all(
    at: SocketAddr,
    outstanding: usize,
    requests: impl Iterator<Item = Request>,
) -> Result<u64> {
    const NODE_EXISTS: i32 = -110;
    let (mut connection, _) = Connection::connect(at, &Handshake::default())?;
    let (mut sent, mut answered) = (0_u64, 0_u64);
    let mut take = |connection: &mut Connection| -> Result<()> {
        let reply = connection.receive_reply()?;
        ensure!(reply.err == 0 || reply.err == NODE_EXISTS, "a write failed: {}", reply.err);
        answered += 1;
        Ok(())
    };
    let mut under_way = 0;
    for request in requests {
        sent += 1;
        connection.send_raw(&framed(&request_bytes(sent as i32, &request)))?;
        under_way += 1;
        if under_way == outstanding {
            take(&mut connection)?;
            under_way -= 1;
        }
    }
    for _ in 0..under_way {
        take(&mut connection)?;
    }
    connection.call(&crate::raw::request::close_session())?;
    Ok(answered)
}

/// Registers all services, if they are not.
pub fn register(ensemble: &Ensemble) -> Result<()> {
    let parent = std::iter::once(create(SERVICES, None, &ids::open(), 0));
    write_all(ensemble.address(1), 1000, parent.chain((0..SERVICE_COUNT).map(service)))?;
    Ok(())
}

/// Changes so many services, as [`bytes_per_write`] does.
pub fn write_services(at: SocketAddr, outstanding: usize, writes: u64) -> Result<()> {
    let first = SERVICE_COUNT * 7;
    write_all(at, outstanding, (first..first + writes).map(service)).map(|_| ())
}

/// Bytes for one write over the way to observer `at`, and back, of so many writes.
pub fn bytes_per_write(
    ensemble: &Ensemble,
    (at, way): (usize, &Way),
    (writes, outstanding): (u64, usize),
    seed: u64,
) -> Result<[f64; 2]> {
    let observer = ensemble.observer(at).address();
    set_level(ensemble.address(1), observer)?;
    let before = way.carried();
    let first = SERVICE_COUNT * (1 + seed);
    write_all(ensemble.address(1), outstanding, (first..first + writes).map(service))?;
    set_level(ensemble.address(1), observer)?;
    let after = way.carried();
    Ok([1, 0].map(|way: usize| (after[way] - before[way]) as f64 / writes as f64))
}

/// What a cut came to.
#[derive(Clone, Debug)]
pub struct Outage {
    /// How many writes it missed.
    pub missed: u64,
    /// How long the way was cut.
    pub cut: Duration,
    /// From the heal until the observer showed everything.
    pub caught_up: Duration,
    /// Over the way meanwhile, to the observer.
    pub bytes: u64,
    /// Reads at the observer, from before the cut until behind all.
    pub reads: u64,
    /// Those that failed, or were not answered in time.
    pub failed: u64,
    /// Connections that readers lost.
    pub dropped: u64,
    /// The longest time in which a reader was not answered.
    pub longest: Duration,
    /// Of each whole second since the readers began: answered and failed. The cut begins [`AROUND`] after
    /// that.
    pub by_second: Vec<[u64; 2]>,
}

impl Outage {
    /// When it began and ended, seconds since the readers began.
    pub fn span(&self) -> [f64; 2] {
        [AROUND, AROUND + self.cut].map(|at| at.as_secs_f64())
    }
}

/// Cuts the way, writes so much, heals it.
pub fn outage(ensemble: &Ensemble, (at, way): (usize, &Way), missed: u64) -> Result<Outage> {
    let observer = ensemble.observer(at).address();
    set_level(ensemble.address(1), observer)?;
    let stop = AtomicBool::new(false);
    let seen = Seen::default();
    let read = get_data(SERVICES, false);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| ask(observer, &read, READ_PAUSE, &stop, &seen));
        }
        sleep(AROUND);
        let begin = Instant::now();
        way.cut();
        let result = (|| -> Result<Outage> {
            let first = SERVICE_COUNT * 1000;
            write_all(ensemble.address(1), 1000, (first..first + missed).map(service))?;
            let shown = set_marker(ensemble)?;
            sleep(CUT.saturating_sub(begin.elapsed()));
            let before = way.carried()[1];
            let cut = begin.elapsed();
            let healed = Instant::now();
            way.heal();
            until_shown(observer, &shown)?;
            let (caught_up, bytes) = (healed.elapsed(), way.carried()[1] - before);
            sleep(AROUND);
            let none = Outage {
                missed,
                cut,
                caught_up,
                bytes,
                reads: 0,
                failed: 0,
                dropped: 0,
                longest: Duration::ZERO,
                by_second: Vec::new(),
            };
            Ok(none)
        })();
        stop.store(true, Ordering::Relaxed);
        result
    })
    .map(|outage| seen.fill(outage))
}

fn set_marker(ensemble: &Ensemble) -> Result<String> {
    super::mark(ensemble.address(1))
}

/// What all readers saw, or writers.
pub(super) struct Seen {
    began: Instant,
    /// Answered and failed, by second.
    by_second: Box<[[AtomicU64; 2]; SECONDS]>,
    reads: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    longest_us: AtomicU64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            by_second: Box::new([const { [const { AtomicU64::new(0) }; 2] }; SECONDS]),
            reads: AtomicU64::default(),
            failed: AtomicU64::default(),
            dropped: AtomicU64::default(),
            longest_us: AtomicU64::default(),
        }
    }
}

impl Seen {
    fn fill(&self, outage: Outage) -> Outage {
        let (reads, failed, dropped) = self.counts();
        let seconds = (self.began.elapsed().as_secs() as usize).min(SECONDS);
        let counts = self.by_second[..seconds].iter();
        let by_second =
            counts.map(|of| of.each_ref().map(|count| count.load(Ordering::Relaxed))).collect();
        Outage { reads, failed, dropped, longest: self.longest(), by_second, ..outage }
    }

    /// Something was answered, or failed.
    fn count(&self, failed: bool) {
        let total = if failed { &self.failed } else { &self.reads };
        total.fetch_add(1, Ordering::Relaxed);
        let second = (self.began.elapsed().as_secs() as usize).min(SECONDS - 1);
        self.by_second[second][usize::from(failed)].fetch_add(1, Ordering::Relaxed);
    }

    /// Answered so far.
    pub fn answered(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Answered, failed, and connections that were lost.
    pub fn counts(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.reads), of(&self.failed), of(&self.dropped))
    }

    /// The longest time in which somebody was not answered.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }

    /// Only what is longest from now on counts.
    pub fn forget_longest(&self) {
        self.longest_us.store(0, Ordering::Relaxed);
    }
}

/// One client that asks the same again and again, at this server only.
pub(super) fn ask(
    at: SocketAddr,
    request: &Request,
    pause: Duration,
    stop: &AtomicBool,
    seen: &Seen,
) {
    let connect = || {
        let (connection, session) = Connection::connect(at, &Handshake::default()).ok()?;
        connection.set_deadline(ANSWERED_WITHIN).ok()?;
        (!session.is_expired()).then_some(connection)
    };
    let mut connection = connect();
    let mut answered = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.as_mut().map(|it| it.call(request));
        let waited = answered.elapsed().as_micros() as u64;
        match reply {
            Some(Ok(reply)) if reply.err == 0 => {
                seen.count(false);
                seen.longest_us.fetch_max(waited, Ordering::Relaxed);
                answered = Instant::now();
                sleep(pause);
            }
            Some(Ok(_)) => seen.count(true),
            Some(Err(_)) => {
                seen.count(true);
                seen.dropped.fetch_add(1, Ordering::Relaxed);
                connection = None;
            }
            None => {
                seen.longest_us.fetch_max(waited, Ordering::Relaxed);
                sleep(Duration::from_millis(20));
                connection = connect();
            }
        }
    }
}
