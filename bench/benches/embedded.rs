//! Reads of an embedded observer beside a plain map of the same keys, in the same run.
//!
//! `cargo bench -p farwatch-bench --bench embedded`

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use farwatch_core::acl;
use farwatch_core::tree::{self, Applied, Tree, TreeOptions, Visits, Writer};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::zxid::{SessionId, Zxid};
use hdrhistogram::Histogram;

const VALUE: [u8; 100] = [b'v'; 100];
const NODES: usize = 1_000_000;
/// Keys that stay in the caches.
const HOT: usize = 1_000;

/// A cheap and repeatable choice of keys.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

struct Subject {
    writer: Writer,
    tree: Arc<Tree>,
    map: HashMap<Box<[u8]>, Box<[u8]>>,
    keys: Vec<Box<[u8]>>,
    last: u64,
    applied: Applied,
}

impl Subject {
    fn new() -> Self {
        let is_trial = std::env::args().any(|argument| argument == "--test");
        let nodes = if is_trial { HOT } else { NODES };
        let (writer, tree) = tree::new(TreeOptions { hash_seed: 7 });
        let keys = (0..nodes).map(|number| format!("/app/{number:07}").into_bytes().into());
        let keys: Vec<Box<[u8]>> = keys.collect();
        let map = keys.iter().map(|key| (key.clone(), Box::from(VALUE))).collect();
        let applied = Applied::default();
        let mut subject = Self { writer, tree, map, keys: Vec::new(), last: 0, applied };
        subject.create(b"/app");
        keys.iter().for_each(|key| subject.create(key));
        subject.keys = keys;
        subject
    }

    fn apply(&mut self, txn: &Txn<'_>) {
        self.last += 1;
        let head = TxnHead { zxid: Zxid(self.last), time_ms: 0, session: SessionId(1), cxid: 0 };
        self.applied.clear();
        self.writer.apply(&head, txn, &mut self.applied);
    }

    fn create(&mut self, path: &[u8]) {
        let kind = NodeKind::Persistent;
        self.apply(&Txn::Create(CreateTxn {
            path,
            data: Some(&VALUE),
            acl: acl::OPEN,
            kind,
            parent_cversion: self.parents_cversion(path),
        }));
    }

    fn parents_cversion(&self, path: &[u8]) -> i32 {
        let reader = self.tree.reader();
        let parent = farwatch_core::path::parent(path).expect("not the root");
        reader.view().get(parent).expect("there").stored_cversion() + 1
    }
}

fn reads(c: &mut Criterion) {
    let subject = Subject::new();
    let visits = Visits::new(&subject.tree);
    let all = subject.keys.len();
    for (name, keys) in [("hot", HOT.min(all)), ("all", all)] {
        let mut group = c.benchmark_group(format!("embedded/{name}"));
        group.throughput(Throughput::Elements(1));
        let keys = &subject.keys[..keys];
        let mut draws = Draws(1);
        group.bench_function("map", |b| {
            b.iter(|| {
                let key = &keys[draws.below(keys.len())];
                black_box(subject.map.get(key).expect("there").first().copied())
            });
        });
        group.bench_function("get", |b| {
            b.iter(|| {
                let key = &keys[draws.below(keys.len())];
                let visit = visits.enter();
                let node = visit.view().get(key).expect("there");
                black_box(node.data().expect("not null").first().copied())
            });
        });
        let reader = subject.tree.reader();
        let view = reader.view();
        group.bench_function("get_in_held_view", |b| {
            b.iter(|| {
                let key = &keys[draws.below(keys.len())];
                black_box(view.get(key).expect("there").data().expect("not null").first().copied())
            });
        });
        group.bench_function("stat", |b| {
            b.iter(|| {
                let key = &keys[draws.below(keys.len())];
                black_box(visits.enter().view().get(key).expect("there").stat().version)
            });
        });
        group.finish();
    }
}

/// The names of ten children, as a service's instances are asked for, of one of a thousand services.
fn children(c: &mut Criterion) {
    let (writer, tree) = tree::new(TreeOptions { hash_seed: 7 });
    let (map, keys, applied) = (HashMap::new(), Vec::new(), Applied::default());
    let mut subject = Subject { writer, tree, map, keys, last: 0, applied };
    let mut map: HashMap<Box<[u8]>, Vec<Box<[u8]>>> = HashMap::new();
    subject.create(b"/services");
    for service in 0..HOT {
        let path: Box<[u8]> = format!("/services/{service:07}").into_bytes().into();
        subject.create(&path);
        for instance in 0..10 {
            let name = format!("instance-{instance:010}").into_bytes();
            subject.create(&[&path, b"/".as_slice(), &name].concat());
            map.entry(path.clone()).or_default().push(name.into());
        }
        subject.keys.push(path);
    }
    let (visits, keys) = (Visits::new(&subject.tree), &subject.keys);
    let mut draws = Draws(1);
    let mut group = c.benchmark_group("embedded/children_of_10");
    group.throughput(Throughput::Elements(1));
    group.bench_function("map", |b| {
        b.iter(|| {
            let names = &map[&keys[draws.below(keys.len())]];
            black_box(names.iter().map(|name| usize::from(name[9]) + name.len()).sum::<usize>())
        });
    });
    group.bench_function("children", |b| {
        b.iter(|| {
            let key = &keys[draws.below(keys.len())];
            let visit = visits.enter();
            let names = visit.view().get(key).expect("there").children();
            black_box(names.map(|name| usize::from(name[9]) + name.len()).sum::<usize>())
        });
    });
    group.finish();
}

/// Two threads read as one does, and what a read takes while the writer goes on.
fn beside_others(c: &mut Criterion) {
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let mut subject = Subject::new();
    let visits = Visits::new(&subject.tree);
    let keys = subject.keys.clone();
    let rounds = if is_trial { 1_000 } else { 20_000_000 };
    let read = |seed: u64| {
        let mut draws = Draws(seed);
        for _ in 0..rounds {
            let key = &keys[draws.below(HOT.min(keys.len()))];
            black_box(visits.enter().view().get(key).expect("there").data());
        }
    };
    let rate = |threads: u64| {
        let began = Instant::now();
        thread::scope(|scope| {
            for seed in 1..=threads {
                scope.spawn(move || read(seed));
            }
        });
        (threads * rounds) as f64 / began.elapsed().as_secs_f64()
    };
    let (one, two) = (rate(1), rate(2));
    println!(
        "embedded/threads: one {:.1} M/s, two {:.1} M/s, {:.2} times",
        one / 1e6,
        two / 1e6,
        two / one
    );
    let seconds = if is_trial { 0.01 } else { 3.0 };
    // What interrupts and neighbours do to any loop that reads memory and looks at the clock.
    let began = Instant::now();
    let is_over = || began.elapsed().as_secs_f64() >= seconds;
    print_times("map_alone", &timed(&keys, is_over, |key| subject.map[key].first().copied()));
    let done = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let look = |key: &[u8]| {
                visits
                    .enter()
                    .view()
                    .get(key)
                    .expect("there")
                    .data()
                    .expect("not null")
                    .first()
                    .copied()
            };
            timed(&keys, || done.load(Ordering::Relaxed), look)
        });
        // 50,000 a second, as many at once as a batch of the log would bring.
        let (rate, batch) = (50_000.0, 50);
        let (began, mut written) = (Instant::now(), 0_u32);
        let mut draws = Draws(3);
        while began.elapsed().as_secs_f64() < seconds {
            while f64::from(written) < began.elapsed().as_secs_f64() * rate {
                for _ in 0..batch {
                    let path = keys[draws.below(keys.len())].clone();
                    let version = 1;
                    subject.apply(&Txn::SetData { path: &path, data: Some(&VALUE), version });
                    written += 1;
                }
                subject.writer.reclaim();
            }
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("reads")
    });
    print_times("while_applying_50k_a_second", &times);
    let _ = c;
}

/// What each of many reads of any key takes, nanoseconds.
fn timed<T>(
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

fn print_times(name: &str, times: &Histogram<u64>) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| times.value_at_quantile(part));
    println!("embedded/{name}: p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns, {} reads", times.len());
}

criterion_group!(benches, reads, children, beside_others);
criterion_main!(benches);
