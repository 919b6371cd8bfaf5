//! Reads of a tree in this process beside those of a plain map with the same keys: what an embedded observer adds.
//!
//! Both `cargo bench --bench embedded` and bar P27 measure by this code.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_core::acl;
use farwatch_core::tree::{self, Applied, Tree, TreeOptions, Visits, Writer};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::zxid::{SessionId, Zxid};
use hdrhistogram::Histogram;

use crate::parts::{Draws, VALUE};

/// Keys that stay in the caches.
pub const HOT: usize = 1_000;

/// Changes that come at once beside reads, as a batch of the log would bring them.
const BATCH: u32 = 50;

/// Reads between two looks at the clock.
const CHUNK: u64 = 10_000;

/// How a value is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// In a plain map.
    Map,
    /// In the tree, with a visit for each.
    Get,
    /// In the tree, all in one view.
    GetInHeldView,
    /// Of a node its numbers, with a visit for each.
    Stat,
}

/// A tree, and a map with the same keys and values.
pub struct Embedded {
    writer: Writer,
    visits: Visits,
    tree: Arc<Tree>,
    map: HashMap<Box<[u8]>, Box<[u8]>>,
    keys: Vec<Box<[u8]>>,
    last: u64,
    applied: Applied,
}

impl Embedded {
    /// With so many nodes below one parent.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let keys = (0..nodes).map(|number| format!("/app/{number:07}").into_bytes().into());
        let keys: Vec<Box<[u8]>> = keys.collect();
        let mut all = Self::empty();
        all.create(b"/app");
        keys.iter().for_each(|key| all.create(key));
        all.map = keys.iter().map(|key| (key.clone(), Box::from(VALUE))).collect();
        all.keys = keys;
        all
    }

    /// A tree without nodes, and no map.
    #[must_use]
    pub fn empty() -> Self {
        let (writer, tree) = tree::new(TreeOptions { hash_seed: 7 });
        let (map, keys, applied) = (HashMap::new(), Vec::new(), Applied::default());
        let visits = Visits::new(&tree);
        Self { writer, visits, tree, map, keys, last: 0, applied }
    }

    /// Adds a node to the tree alone.
    pub fn create(&mut self, path: &[u8]) {
        let parent = farwatch_core::path::parent(path).expect("not the root");
        let parent_cversion = {
            let reader = self.tree.reader();
            reader.view().get(parent).expect("it was made before").stored_cversion() + 1
        };
        let (data, acl, kind) = (Some(&VALUE[..]), acl::OPEN, NodeKind::Persistent);
        let create = CreateTxn { path, data, acl, kind, parent_cversion };
        apply((&mut self.writer, &mut self.last, &mut self.applied), &Txn::Create(create));
    }

    /// Who may look at the tree.
    #[must_use]
    pub fn visits(&self) -> &Visits {
        &self.visits
    }

    /// How long `count` looks at the first `keys` keys take, in no order.
    #[must_use]
    pub fn time(&self, look: Look, keys: usize, count: u64) -> Duration {
        let keys = &self.keys[..keys.min(self.keys.len())];
        let visits = &self.visits;
        match look {
            Look::Map => timed(keys, count, |key| {
                self.map.get(key).expect("every key is there").first().copied()
            }),
            Look::Get => timed(keys, count, |key| {
                let visit = visits.enter();
                let node = visit.view().get(key).expect("every key is there");
                node.data().expect("not null").first().copied()
            }),
            Look::GetInHeldView => {
                let still = self.tree.still();
                let view = still.view();
                timed(keys, count, |key| {
                    view.get(key)
                        .expect("every key is there")
                        .data()
                        .expect("not null")
                        .first()
                        .copied()
                })
            }
            Look::Stat => timed(keys, count, |key| {
                visits.enter().view().get(key).expect("every key is there").stat().version
            }),
        }
    }

    /// Nanoseconds of a look, over about so long.
    #[must_use]
    pub fn nanos(&self, look: Look, keys: usize, duration: Duration) -> f64 {
        let (mut took, mut count) = (Duration::ZERO, 0);
        while took < duration {
            took += self.time(look, keys, CHUNK);
            count += CHUNK;
        }
        took.as_nanos() as f64 / count as f64
    }

    /// Reads of hot keys a second, by so many threads at once for about so long.
    #[must_use]
    pub fn rate_of_threads(&self, threads: u64, duration: Duration) -> f64 {
        let (hot, visits) = (&self.keys[..HOT.min(self.keys.len())], &self.visits);
        let read = |seed: u64| {
            let (mut draws, mut count, began) = (Draws(seed), 0, Instant::now());
            while began.elapsed() < duration {
                for _ in 0..CHUNK {
                    let key = &hot[draws.below(hot.len())];
                    black_box(visits.enter().view().get(key).expect("every key is there").data());
                }
                count += CHUNK;
            }
            count as f64 / began.elapsed().as_secs_f64()
        };
        thread::scope(|scope| {
            let all: Vec<_> = (1..=threads).map(|seed| scope.spawn(move || read(seed))).collect();
            all.into_iter().map(|it| it.join().expect("no reader panics")).sum()
        })
    }

    /// What each look of any key into the map takes, nanoseconds: what interrupts and neighbours do to a loop that
    /// reads memory and looks at the clock.
    #[must_use]
    pub fn times_of_the_map(&self, duration: Duration) -> Histogram<u64> {
        let began = Instant::now();
        let is_over = || duration <= began.elapsed();
        each_timed(&self.keys, is_over, |key| self.map[key].first().copied())
    }

    /// What each read of any key takes while so many changes a second are applied, nanoseconds.
    #[must_use]
    pub fn times_beside_changes(&mut self, rate: f64, duration: Duration) -> Histogram<u64> {
        let Self { writer, visits, keys, last, applied, .. } = self;
        let (keys, visits, done) = (&*keys, &*visits, AtomicBool::new(false));
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                each_timed(
                    keys,
                    || done.load(Ordering::Relaxed),
                    |key| {
                        let visit = visits.enter();
                        let node = visit.view().get(key).expect("every key is there");
                        node.data().expect("not null").first().copied()
                    },
                )
            });
            let (began, mut written, mut draws) = (Instant::now(), 0_u32, Draws(3));
            while began.elapsed() < duration {
                while f64::from(written) < began.elapsed().as_secs_f64() * rate {
                    for _ in 0..BATCH {
                        let path = &keys[draws.below(keys.len())];
                        let change = Txn::SetData { path, data: Some(&VALUE), version: 1 };
                        apply((writer, last, applied), &change);
                    }
                    written += BATCH;
                    writer.reclaim();
                }
                thread::yield_now();
            }
            done.store(true, Ordering::Relaxed);
            reader.join().expect("no reader panics")
        })
    }
}

fn apply((writer, last, applied): (&mut Writer, &mut u64, &mut Applied), txn: &Txn<'_>) {
    *last += 1;
    let head = TxnHead { zxid: Zxid(*last), time_ms: 0, session: SessionId(1), cxid: 0 };
    applied.clear();
    writer.apply(&head, txn, applied);
}

fn timed<T>(keys: &[Box<[u8]>], count: u64, look: impl Fn(&[u8]) -> T) -> Duration {
    let (mut draws, began) = (Draws(1), Instant::now());
    for _ in 0..count {
        black_box(look(&keys[draws.below(keys.len())]));
    }
    began.elapsed()
}

/// What each of many looks at any key takes, nanoseconds.
fn each_timed<T>(
    keys: &[Box<[u8]>],
    is_over: impl Fn() -> bool,
    look: impl Fn(&[u8]) -> T,
) -> Histogram<u64> {
    let mut draws = Draws(9);
    let mut times = Histogram::<u64>::new_with_max(1_000_000_000, 3).expect("bounds");
    while !is_over() {
        let key = &keys[draws.below(keys.len())];
        let began = Instant::now();
        black_box(look(key));
        times.saturating_record(began.elapsed().as_nanos() as u64);
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_finds_every_key_and_changes_come_beside_reads() {
        let mut all = Embedded::new(50);
        for look in [Look::Map, Look::Get, Look::GetInHeldView, Look::Stat] {
            assert!(Duration::ZERO < all.time(look, 50, 500), "{look:?}");
        }
        let before = all.last;
        let short = Duration::from_millis(20);
        let times = all.times_beside_changes(50_000.0, short);
        assert!(!times.is_empty(), "the reader was never asked");
        assert!(before + u64::from(BATCH) <= all.last, "nothing was written");
        assert!(!all.times_of_the_map(short).is_empty());
        assert!(0.0 < all.rate_of_threads(2, short));
    }
}
