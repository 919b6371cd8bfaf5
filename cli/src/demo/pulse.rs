//! What a demo with sites writes and reads by itself, so that there is something to see: one session
//! writes the time through the voters, and one at each observer reads it there.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::{ANY_VERSION, Acl, Client, ClientError, CreateMode, ErrorCode, Options};

/// The node with the time, in milliseconds of the demo.
const CLOCK: &str = "/demo-clock";

/// Between two writes, and between two reads of one session.
const EVERY: Duration = Duration::from_millis(100);

/// The sessions outlive cuts of minutes. The servers are configured to grant as much.
const SESSION: Duration = Duration::from_secs(600);

/// A read that is not answered within this has failed.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// What the session at one observer has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Reads that were answered.
    pub(super) answered: u64,
    /// Reads that were not.
    pub(super) failed: u64,
    /// How long the last one took; `None` if it failed.
    pub(super) took: Option<Duration>,
    /// When what it showed was written, since the demo began.
    pub(super) written: Option<Duration>,
}

/// The sessions.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    readings: Arc<Mutex<BTreeMap<u32, Reading>>>,
    stop: Arc<AtomicBool>,
}

impl Pulse {
    /// Begins to write through `voters` and to read at each of `observers`.
    pub(super) fn start(voters: &str, observers: &[(u32, SocketAddr)]) -> io::Result<Self> {
        let (begun, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let readings = Arc::new(Mutex::new(BTreeMap::new()));
        let (hosts, over) = (voters.to_owned(), Arc::clone(&stop));
        let writer = thread::Builder::new().name("writer".to_owned());
        writer.spawn(move || write(&hosts, begun, &over))?;
        for &(number, place) in observers {
            let (readings, over) = (Arc::clone(&readings), Arc::clone(&stop));
            let reader = thread::Builder::new().name(format!("reader-{number}"));
            reader.spawn(move || {
                read(place, &over, |reading| {
                    readings.lock().unwrap_or_else(PoisonError::into_inner).insert(number, reading);
                });
            })?;
        }
        Ok(Self { begun, readings, stop })
    }

    /// What was seen at observer `number`.
    pub(super) fn reading(&self, number: u32) -> Reading {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.get(&number).copied().unwrap_or_default()
    }

    /// How old what `reading` shows is now, to about [`EVERY`].
    pub(super) fn age(&self, reading: &Reading) -> Option<Duration> {
        reading.written.map(|written| self.begun.elapsed().saturating_sub(written))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(hosts: &str, begun: Instant, stop: &AtomicBool) {
    let options = Options::default().session_timeout(SESSION).renew_expired(true);
    let Ok(client) = Client::open(hosts, options) else { return };
    while !stop.load(Ordering::Relaxed) {
        let now = begun.elapsed().as_millis().to_string();
        let written = client.set(CLOCK, now.as_bytes(), ANY_VERSION);
        if let Err(ClientError::Server(ErrorCode::NoNode)) = written {
            let _next_time = client.create(CLOCK, b"0", &Acl::open(), CreateMode::Persistent);
        }
        thread::sleep(EVERY);
    }
}

fn read(place: SocketAddr, stop: &AtomicBool, tell: impl Fn(Reading)) {
    let options = Options::default()
        .session_timeout(SESSION)
        .request_timeout(READ_WITHIN)
        .renew_expired(true);
    let Ok(client) = Client::open(&place.to_string(), options) else { return };
    let mut reading = Reading::default();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match client.get(CLOCK, false) {
            Ok(found) => {
                let text = found.data.and_then(|data| String::from_utf8(data).ok());
                let millis = text.and_then(|text| text.parse().ok());
                reading.written = millis.map(Duration::from_millis);
                reading.took = Some(asked.elapsed());
                reading.answered += 1;
            }
            // Before the first write is here.
            Err(ClientError::Server(ErrorCode::NoNode)) => {}
            // Before the first session is.
            Err(_) if reading.answered == 0 => {}
            Err(_) => {
                reading.took = None;
                reading.failed += 1;
            }
        }
        tell(reading);
        thread::sleep(EVERY);
    }
}
