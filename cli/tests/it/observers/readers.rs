//! Sessions that read at observers, and count what failed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_bench::raw::request;

use super::sites::patient_client;
use crate::ensemble::client::Client;
use crate::ensemble::servers::{PATIENCE, Server, pass, until};

/// Between two reads of one session.
const PAUSE: Duration = Duration::from_millis(1);

/// What readers saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub reads: u64,
    /// Reads that were answered with an error, or not at all.
    pub failed: u64,
    /// Connections that were lost.
    pub drops: u32,
    /// The longest time between two answers.
    pub gap: Duration,
}

/// How many reads were answered up to now.
#[derive(Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Waits until so many more reads were answered.
    #[track_caller]
    pub fn until_more(&self, more: u64) {
        let upto = self.0.load(Ordering::Relaxed) + more;
        let what = format!("{more} more reads are answered");
        until(&what, PATIENCE, || upto <= self.0.load(Ordering::Relaxed));
    }
}

/// Stops those who look at it when it goes, also by a panic.
pub struct StopOnDrop<'s>(pub &'s AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads `path` at each of `servers` while `what` is done; nothing may fail.
pub fn while_reading(servers: &[&Server], path: &str, what: impl FnOnce(&Progress)) -> Seen {
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let clients: Vec<Client> = servers.iter().map(|server| patient_client(server)).collect();
    thread::scope(|scope| {
        let guard = StopOnDrop(&stop);
        let (stop, progress) = (&stop, &progress);
        let reading: Vec<_> = (clients.into_iter())
            .map(|client| scope.spawn(move || read(client, path, stop, progress)))
            .collect();
        progress.until_more(20);
        what(progress);
        progress.until_more(20);
        drop(guard);
        let seen = reading.into_iter().map(|one| one.join().expect("readers do not panic"));
        seen.reduce(|one, other| Seen {
            reads: one.reads + other.reads,
            failed: one.failed + other.failed,
            drops: one.drops + other.drops,
            gap: one.gap.max(other.gap),
        })
        .unwrap_or_default()
    })
}

fn read(mut client: Client, path: &str, stop: &AtomicBool, progress: &Progress) -> Seen {
    let (mut seen, mut last) = (Seen::default(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match client.call(&request::get_data(path, false)) {
            Some(reply) if reply.err == 0 => seen.reads += 1,
            Some(_) | None => seen.failed += 1,
        }
        progress.0.fetch_add(1, Ordering::Relaxed);
        seen.gap = seen.gap.max(last.elapsed());
        last = Instant::now();
        pass(PAUSE);
    }
    seen.drops = client.drops;
    seen
}

impl Seen {
    /// Every read was answered, on the connection it began with.
    #[track_caller]
    pub fn nothing_failed(&self, when: &str) {
        eprintln!("{when}: {self:?}");
        assert_eq!((self.failed, self.drops), (0, 0), "{when}: {self:?}");
    }
}
