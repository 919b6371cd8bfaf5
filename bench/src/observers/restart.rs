//! The leader is killed and starts again, under observers with their clients at the far end of a way.
//!
//! ```text
//! writer ─► a voter that lives      kill -9 the leader, start it     when every observer has what
//! 8 observers ─ way ─► voters       bytes over the way               was written behind that
//! 100 readers of each               answered, failed, dropped
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::link::{SERVICES, Seen, ask};
use super::way::Way;
use super::{mark, until_shown};
use crate::raw::Request;
use crate::raw::request::{get_data, set_data};
use crate::subject::Ensemble;

/// Readers of each observer.
const READERS: usize = 100;

/// Between two reads of one of them: many clients, and not a load.
const READ_PAUSE: Duration = Duration::from_millis(200);

/// Between two writes.
const WRITE_PAUSE: Duration = Duration::from_millis(2);

/// Until all readers are connected and have read.
const BEFORE: Duration = Duration::from_secs(3);

/// How long an ensemble may take to have a leader that takes a write.
const LED_WITHIN: Duration = Duration::from_secs(60);

/// What a restart of the leader came to.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// How many observers there were.
    pub observers: usize,
    /// Readers of each.
    pub readers: usize,
    /// From the kill until every observer showed what was written behind it.
    pub caught_up: Duration,
    /// Over the way to all observers meanwhile, and back.
    pub bytes: [u64; 2],
    /// Writes that were done meanwhile.
    pub writes: u64,
    /// The longest time without an acknowledged write.
    pub write_gap: Duration,
    /// Reads at all observers, from before the kill until behind all.
    pub reads: u64,
    /// Those that failed, or were not answered in time.
    pub failed: u64,
    /// Connections that readers lost.
    pub dropped: u64,
    /// The longest time in which a reader was not answered.
    pub longest: Duration,
}

/// Kills the leader once and starts it again, under so many observers behind `way`.
pub fn restart(ensemble: &mut Ensemble, observers: usize, way: &Way) -> Result<Restart> {
    let leader = ensemble.leader()?;
    let lives = ensemble.numbers().find(|&number| number != leader).context("one voter")?;
    let writes_to = ensemble.address(lives);
    let addresses: Vec<_> = (0..observers).map(|at| ensemble.observer(at).address()).collect();
    let stop = AtomicBool::new(false);
    let (reads, writes) = (Seen::default(), Seen::default());
    let read: Request = get_data(SERVICES, false);
    let write: Request = set_data(SERVICES, Some(&[b'w'; 100]), -1);
    let mut found = thread::scope(|scope| {
        let (read, stop, reads) = (&read, &stop, &reads);
        for &at in &addresses {
            for _ in 0..READERS {
                scope.spawn(move || ask(at, read, READ_PAUSE, stop, reads));
            }
        }
        scope.spawn(|| ask(writes_to, &write, WRITE_PAUSE, stop, &writes));
        let result = (|| -> Result<Restart> {
            sleep(BEFORE);
            let (before, written) = (way.carried(), writes.answered());
            writes.forget_longest();
            let killed = Instant::now();
            ensemble.server_mut(leader).kill9()?;
            ensemble.server_mut(leader).spawn()?;
            let shown = loop {
                match mark(writes_to) {
                    Ok(shown) => break shown,
                    Err(_) if killed.elapsed() < LED_WITHIN => sleep(Duration::from_millis(5)),
                    Err(error) => bail!("no write within {LED_WITHIN:?}: {error:#}"),
                }
            };
            addresses.iter().try_for_each(|&at| until_shown(at, &shown))?;
            let (caught_up, after) = (killed.elapsed(), way.carried());
            let writes = writes.answered() - written;
            ensemble.await_all()?;
            sleep(READ_PAUSE * 2);
            Ok(Restart {
                observers,
                readers: READERS,
                caught_up,
                bytes: [1, 0].map(|way: usize| after[way] - before[way]),
                writes,
                write_gap: Duration::ZERO,
                reads: 0,
                failed: 0,
                dropped: 0,
                longest: Duration::ZERO,
            })
        })();
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    found.write_gap = writes.longest();
    (found.reads, found.failed, found.dropped) = reads.counts();
    found.longest = reads.longest();
    Ok(found)
}
