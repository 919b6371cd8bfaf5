//! A session that reads and watches, and measures how long it had to wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use farwatch_bench::raw::request;

use super::client::Client;
use super::ledger::{Ledger, SHARED};
use super::servers::pass;

/// Between two reads: the load is the writers', and a gap of a few milliseconds is seen.
const PAUSE: Duration = Duration::from_millis(1);

/// The kind of the event that data has changed.
const DATA_CHANGED: i32 = 3;

/// See the module.
pub struct Reader<'l> {
    pub client: Client,
    ledger: &'l Ledger,
    /// The version that the watch on this connection was set at.
    armed: Option<i32>,
    version: i32,
    last: Instant,
    /// The longest time between two answers.
    pub gap: Duration,
    pub reads: u64,
    pub events: u64,
}

impl<'l> Reader<'l> {
    pub fn new(client: Client, ledger: &'l Ledger) -> Self {
        Self {
            client,
            ledger,
            armed: None,
            version: 0,
            last: Instant::now(),
            gap: Duration::ZERO,
            reads: 0,
            events: 0,
        }
    }

    /// Reads until it is told to stop.
    pub fn run(&mut self, stop: &AtomicBool) {
        self.last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.read();
            pass(PAUSE);
        }
    }

    fn read(&mut self) {
        if !self.client.is_connected() {
            self.armed = None; // the watch went with the connection
        }
        let Some(reply) = self.client.call(&request::get_data(SHARED, true)) else { return };
        let (data, stat) = reply.data_and_stat().expect("data");
        let value = String::from_utf8(data.expect("a value")).expect("text");
        self.ledger.saw_shared(stat.version, &value);
        assert!(self.version <= stat.version, "{SHARED} went back in time");
        let events = &self.client.events;
        let told = events.iter().any(|it| it.kind == DATA_CHANGED && it.path == SHARED);
        if let Some(armed) = self.armed {
            let changed = armed != stat.version;
            assert_eq!(changed, told, "from version {armed} to {}: {events:?}", stat.version);
        }
        self.events += u64::from(told);
        self.reads += 1;
        self.version = stat.version;
        self.armed = Some(stat.version);
        self.gap = self.gap.max(self.last.elapsed());
        self.last = Instant::now();
    }
}
