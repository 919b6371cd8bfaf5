//! A thousand observers that lost their voters in one moment come back beside writers. And some that read
//! less than is written.
//!
//! ```text
//! writers, so many a second ─► 3 voters ◄─ n sinks, each waits as an observer does
//!   before │ while they come │ with all of them                      latency of writes, memory
//! writers, as fast as it goes ─► leader ─► m sinks that only sip     rate, memory, and the end of it
//! ```

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use farwatch_core::zab::Recovered;
use farwatch_core::zxid::Zxid;
use farwatch_observer::peers::backoff::Backoff;
use serde_json::{Value, json};

use super::sink::{Sink, TICK};
use super::throughput::WORKLOAD;
use crate::load::process::resident_bytes;
use crate::load::{Load, Nodes, ROOT, Slice, Workload};
use crate::subject::Ensemble;

/// How long all may take to be back.
const BACK_WITHIN: Duration = Duration::from_secs(180);

/// The one thread of all sinks looks at each of them so often.
const ROUND: Duration = Duration::from_millis(20);

/// What it reads of one at once, and of one that sips.
const READ_BYTES: usize = 1 << 20;
const SIP_BYTES: usize = 1 << 10;

/// A link is tried by a thread of its own, which needs little.
const STACK_BYTES: usize = 128 << 10;

/// How long an attempt may take to connect, as observers are told.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Writes while they come: as many as a busy directory of services sees.
const WRITES_PER_SECOND: f64 = 5_000.0;

/// While they come the load is looked at piece by piece.
const PIECE: Duration = Duration::from_millis(500);

/// Sinks that link, wait as observers do, and stay until this is dropped.
struct Herd {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    is_over: AtomicBool,
    sips: AtomicBool,
    /// Who is level has this.
    goal: AtomicU64,
    /// Of all that are linked, those that were told to serve, and are level.
    following: AtomicUsize,
    /// Those whose link has ended.
    lost: AtomicUsize,
    /// Why the first was lost, or could not link.
    failure: Mutex<Option<String>>,
}

impl Herd {
    /// Sets so many of them out for these servers, in turn, all at once. They have `history` already.
    fn come(count: usize, upstreams: &[SocketAddr], history: Recovered) -> Result<Self> {
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            sips: AtomicBool::new(false),
            goal: AtomicU64::new(0),
            following: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            failure: Mutex::new(None),
        });
        let (linked, links) = channel();
        for number in 0..count {
            let (shared, linked) = (Arc::clone(&shared), linked.clone());
            let at = upstreams[number % upstreams.len()];
            thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn(move || shared.link(at, number as u32 + 1, history, &linked))?;
        }
        let keeper = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.keep(&links))
        };
        Ok(Self { shared, keeper: Some(keeper) })
    }

    fn following(&self) -> usize {
        self.shared.following.load(Ordering::Relaxed)
    }

    fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn failure(&self) -> String {
        let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().unwrap_or_else(|| "nobody says why".to_owned())
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            // It was told why, if it ended before.
            let _ended = keeper.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn fail(&self, error: &anyhow::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Tries until it is linked, with the waits of an observer whose link is over.
    fn link(&self, at: SocketAddr, number: u32, history: Recovered, linked: &Sender<Sink>) {
        let mut backoff = Backoff::new(number.into(), false, CONNECT_WITHIN);
        sleep(backoff.ended(true, None).after);
        let deadline = Instant::now() + BACK_WITHIN;
        while !self.is_over() && Instant::now() < deadline {
            let later = || {
                backoff.later();
                backoff.again().after
            };
            match Sink::link(at, number, history, true, later) {
                // Where nobody keeps it the measurement is over.
                Ok(sink) => return drop(linked.send(sink)),
                Err(error) => {
                    self.fail(&error);
                    sleep(backoff.again().after);
                }
            }
        }
    }

    fn keep(&self, links: &Receiver<Sink>) {
        let mut all: Vec<Sink> = Vec::new();
        let mut scratch = vec![0; READ_BYTES];
        let mut ticked = Instant::now();
        while !self.is_over() {
            all.extend(links.try_iter());
            let ticks = ticked.elapsed().as_millis() / TICK.as_millis();
            ticked += TICK * ticks as u32;
            let sips = self.sips.load(Ordering::Relaxed);
            all.retain_mut(|sink| {
                (0..ticks).for_each(|_| sink.tick());
                let result = match sips {
                    true => sink.sip(&mut scratch[..SIP_BYTES]),
                    false => sink.turn(&mut scratch),
                };
                if let Err(error) = &result {
                    self.fail(error);
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                result.is_ok()
            });
            let goal = Zxid(self.goal.load(Ordering::Relaxed));
            let is_level = |sink: &&Sink| sink.follows() && goal <= sink.history().log.zxid;
            let following = all.iter().filter(is_level).count();
            self.following.store(following, Ordering::Relaxed);
            sleep(ROUND.saturating_sub(ticked.elapsed()));
        }
    }
}

/// One return.
#[derive(Debug)]
pub struct Return {
    count: usize,
    /// From when they set out until the last was told all.
    took: Duration,
    /// The writers before, meanwhile, and with all of them.
    slices: [Slice; 3],
    /// What the voters' memory grew by, bytes for each of them.
    link_bytes: f64,
}

/// One stretch in which sinks sip.
#[derive(Debug)]
pub struct Lag {
    count: usize,
    /// The writers before and meanwhile.
    slices: [Slice; 2],
    /// The leader's memory above what it had with the same sinks level, at its highest, bytes for each of
    /// them.
    behind_bytes: f64,
    /// Those whose link was ended for it.
    lost: usize,
    /// From when they read again until those that are left had all.
    level_after: Duration,
}

#[cfg(feature = "page")]
impl Return {
    /// How many there were, what writers saw, and the bytes for each: of plots.
    pub(super) fn seen(&self) -> (usize, &[Slice], f64) {
        (self.count, &self.slices, self.link_bytes)
    }
}

#[cfg(feature = "page")]
impl Lag {
    /// The same.
    pub(super) fn seen(&self) -> (usize, &[Slice], f64) {
        (self.count, &self.slices, self.behind_bytes)
    }
}

/// Lets `count` come back to all voters beside writers.
pub fn come_back(ensemble: &Ensemble, count: usize, stretch: Duration) -> Result<Return> {
    let workload = Workload { outstanding: 1, rate: Some(WRITES_PER_SECOND), ..WORKLOAD };
    let mut load = Load::open(&ensemble.addresses(), &workload, Nodes::Below(ROOT))?;
    load.run(stretch)?;
    let upstreams: Vec<SocketAddr> = ensemble.voter_places().iter().map(|it| it[0]).collect();
    let history = history(upstreams[0])?;
    let before = load.run(stretch)?;
    let memory = || ensemble.pids().into_iter().map(resident_bytes).sum::<Result<u64>>();
    let memory_before = memory()?;
    let began = Instant::now();
    let herd = Herd::come(count, &upstreams, history)?;
    let mut meanwhile = Slice::empty();
    let mut took = None;
    while took.is_none() {
        ensure!(
            began.elapsed() < BACK_WITHIN,
            "{} of {count} are back: {}",
            herd.following(),
            herd.failure()
        );
        let piece = load.run(PIECE)?;
        let elapsed = meanwhile.elapsed + piece.elapsed;
        meanwhile.add(&piece);
        meanwhile.elapsed = elapsed;
        took = (herd.following() == count).then(|| began.elapsed());
    }
    let after = load.run(stretch)?;
    ensure!(herd.lost() == 0, "{} lost their link: {}", herd.lost(), herd.failure());
    let grown = memory()?.saturating_sub(memory_before);
    Ok(Return {
        count,
        took: took.unwrap_or_default(),
        slices: [before, meanwhile, after],
        link_bytes: grown as f64 / count as f64,
    })
}

/// Lets `count` sinks of the leader read a little of what writers write, which is as much as they can.
pub fn fall_behind(ensemble: &Ensemble, count: usize, stretch: Duration) -> Result<Lag> {
    let leader = ensemble.leader()?;
    let upstream = ensemble.voter_places()[leader as usize - 1][0];
    let pid = ensemble.server(leader).pid().context("the leader runs")?;
    let mut load = Load::open(&ensemble.addresses(), &WORKLOAD, Nodes::Below(ROOT))?;
    load.run(stretch)?;
    let herd = Herd::come(count, &[upstream], history(upstream)?)?;
    let until_level = || -> Result<Duration> {
        let began = Instant::now();
        while herd.following() + herd.lost() < count {
            if BACK_WITHIN < began.elapsed() {
                bail!("{} of {count} are level: {}", herd.following(), herd.failure());
            }
            sleep(ROUND);
        }
        Ok(began.elapsed())
    };
    until_level()?;
    let before = load.run(stretch)?;
    let memory_before = resident_bytes(pid)?;
    herd.shared.sips.store(true, Ordering::Relaxed);
    let (mut meanwhile, mut highest) = (Slice::empty(), memory_before);
    while meanwhile.elapsed < stretch * 3 {
        let piece = load.run(PIECE)?;
        let elapsed = meanwhile.elapsed + piece.elapsed;
        meanwhile.add(&piece);
        meanwhile.elapsed = elapsed;
        highest = highest.max(resident_bytes(pid)?);
    }
    let goal = history(upstream)?.log.zxid;
    herd.shared.goal.store(goal.0, Ordering::Relaxed);
    sleep(ROUND * 5); // all have been counted against it
    herd.shared.sips.store(false, Ordering::Relaxed);
    let level_after = until_level()?;
    Ok(Lag {
        count,
        slices: [before, meanwhile],
        behind_bytes: (highest - memory_before) as f64 / count as f64,
        lost: herd.lost(),
        level_after,
    })
}

/// What a sink has that was told everything by the server at `upstream`.
fn history(upstream: SocketAddr) -> Result<Recovered> {
    let mut first = Sink::link(upstream, 0, Recovered::default(), true, || TICK)?;
    let mut scratch = vec![0; READ_BYTES];
    let deadline = Instant::now() + BACK_WITHIN;
    while !first.follows() {
        ensure!(Instant::now() < deadline, "a first sink was not told all within {BACK_WITHIN:?}");
        sleep(TICK);
        first.tick();
        first.turn(&mut scratch)?;
    }
    Ok(first.history())
}

fn milliseconds(slice: &Slice) -> String {
    format!(
        "{:.2} / {:.2} / {:.0}",
        slice.quantile_us(0.5) / 1e3,
        slice.quantile_us(0.99) / 1e3,
        slice.longest_gap.as_secs_f64() * 1e3
    )
}

/// The tables of both.
#[must_use]
pub fn tables(returns: &[Return], lags: &[Lag]) -> String {
    let mut text = format!(
        "**Learners that come back at once** to three voters, beside {WRITES_PER_SECOND:.0} writes a second; a \
         write's p50 / p99 and the longest time without an answer, ms.\n\n\
         | learners | all level after, s | before | while they come | with all of them | memory of a link, kB |\n\
         |---|---|---|---|---|---|\n"
    );
    for found in returns {
        let [before, meanwhile, after] = found.slices.each_ref().map(milliseconds);
        writeln!(
            text,
            "| {} | {:.1} | {before} | {meanwhile} | {after} | {:.1} |",
            found.count,
            found.took.as_secs_f64(),
            found.link_bytes / 1e3
        )
        .expect("a String takes every write");
    }
    text.push_str(
        "\n**Learners that read less than is written**, of one leader, under 64 writers with 32 writes under way.\n\n\
         | learners | writes/s before | while they sip | leader's memory for each, MB, at its highest | links that \
         were ended | level again after, s |\n|---|---|---|---|---|---|\n",
    );
    for found in lags {
        let [before, meanwhile] = found.slices.each_ref().map(Slice::rate);
        writeln!(
            text,
            "| {} | {before:.0} | {meanwhile:.0} | {:.2} | {} | {:.1} |",
            found.count,
            found.behind_bytes / 1e6,
            found.lost,
            found.level_after.as_secs_f64()
        )
        .expect("a String takes every write");
    }
    text
}

fn slice_json(slice: &Slice) -> Value {
    json!({
        "writes_per_second": slice.rate(),
        "p50_us": slice.quantile_us(0.5),
        "p99_us": slice.quantile_us(0.99),
        "longest_gap_ms": slice.longest_gap.as_secs_f64() * 1e3,
    })
}

impl Return {
    /// All of it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "learners": self.count,
            "level_after_s": self.took.as_secs_f64(),
            "before_meanwhile_after": self.slices.each_ref().map(slice_json),
            "link_bytes": self.link_bytes,
        })
    }
}

impl Lag {
    /// All of it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "learners": self.count,
            "before_meanwhile": self.slices.each_ref().map(slice_json),
            "leader_bytes_each": self.behind_bytes,
            "lost": self.lost,
            "level_after_s": self.level_after.as_secs_f64(),
        })
    }
}
