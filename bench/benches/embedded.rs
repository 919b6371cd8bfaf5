//! Reads of an embedded observer beside a plain map of the same keys, in the same run.
//!
//! `cargo bench -p farwatch-bench --bench embedded`

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use farwatch_bench::embedded::{Embedded, HOT, Look};
use farwatch_bench::parts::Draws;
use hdrhistogram::Histogram;

const NODES: usize = 1_000_000;

fn is_trial() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

fn subject() -> Embedded {
    Embedded::new(if is_trial() { HOT } else { NODES })
}

fn reads(c: &mut Criterion) {
    let subject = subject();
    for (name, keys) in [("hot", HOT), ("all", NODES)] {
        let mut group = c.benchmark_group(format!("embedded/{name}"));
        group.throughput(Throughput::Elements(1));
        for (name, look) in [
            ("map", Look::Map),
            ("get", Look::Get),
            ("get_in_held_view", Look::GetInHeldView),
            ("stat", Look::Stat),
        ] {
            group.bench_function(name, |b| {
                b.iter_custom(|count| subject.time(look, keys, count));
            });
        }
        group.finish();
    }
}

/// The names of ten children, as a service's instances are asked for, of one of a thousand services.
fn children(c: &mut Criterion) {
    let mut subject = Embedded::empty();
    let mut map: HashMap<Box<[u8]>, Vec<Box<[u8]>>> = HashMap::new();
    let mut keys: Vec<Box<[u8]>> = Vec::new();
    subject.create(b"/services");
    for service in 0..HOT {
        let path: Box<[u8]> = format!("/services/{service:07}").into_bytes().into();
        subject.create(&path);
        for instance in 0..10 {
            let name = format!("instance-{instance:010}").into_bytes();
            subject.create(&[&path, b"/".as_slice(), &name].concat());
            map.entry(path.clone()).or_default().push(name.into());
        }
        keys.push(path);
    }
    let visits = subject.visits();
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
    let mut subject = subject();
    let duration = Duration::from_secs_f64(if is_trial() { 0.01 } else { 3.0 });
    let [one, two] = [1, 2].map(|threads| subject.rate_of_threads(threads, duration));
    println!(
        "embedded/threads: one {:.1} M/s, two {:.1} M/s, {:.2} times",
        one / 1e6,
        two / 1e6,
        two / one
    );
    print_times("map_alone", &subject.times_of_the_map(duration));
    print_times("while_applying_50k_a_second", &subject.times_beside_changes(50_000.0, duration));
    let _ = c;
}

fn print_times(name: &str, times: &Histogram<u64>) {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| times.value_at_quantile(part));
    println!("embedded/{name}: p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns, {} reads", times.len());
}

criterion_group!(benches, reads, children, beside_others);
criterion_main!(benches);
