//! The parts that wait for the real disk: durable batches, and snapshots written and loaded.
//!
//! Everything is in the build directory, which is on the disk that servers use; a temporary
//! directory in memory would make every log look fast.

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farwatch_bench::disk::{Fresh, LogOnDisk, SnapshotOnDisk, head};
use farwatch_bench::parts::VALUE;
use farwatch_core::record;
use farwatch_core::record::run::{Position, Run};
use farwatch_core::txn::Txn;
use farwatch_core::zxid::Zxid;
use farwatch_observer::log_file::{LogFile, LogOptions};

/// In the build directory.
fn parent() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn is_trial() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// One batch in flight: what a single client waits for, and what grouping saves.
fn log_append(c: &mut Criterion) {
    let mut group = c.benchmark_group("log append, durable");
    for count in [1_u64, 16, 256] {
        let fresh = Fresh::below(parent()).expect("a fresh directory");
        let (mut log, recovered) =
            LogFile::open(&fresh.dir, LogOptions::default()).expect("an empty log");
        let (mut chain, mut last) = (recovered.chain, 1 << 32);
        let mut records = Vec::new();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("batch", count), |b| {
            b.iter(|| {
                records.clear();
                let first = last + 1;
                for zxid in first..first + count {
                    let txn = Txn::SetData { path: b"/app/node", data: Some(&VALUE), version: 1 };
                    chain = record::append(&head(zxid), &txn, chain, &mut records);
                }
                last += count;
                let upto = Position { zxid: Zxid(last), chain };
                let run = Run::own(log.position(), upto, records.as_slice().into());
                log.submit(&run).expect("room on the disk");
                assert_eq!(log.wait_all(), Some(Zxid(last)));
            });
        });
    }
}

fn snapshots(c: &mut Criterion) {
    let nodes = if is_trial() { 1_000 } else { 200_000 };
    let snapshot = SnapshotOnDisk::make(parent(), nodes).expect("room on the disk");
    let mut group = c.benchmark_group("snapshot");
    group.throughput(Throughput::Bytes(snapshot.bytes()));
    group.bench_function("write, durable", |b| {
        b.iter(|| snapshot.write().expect("room on the disk"));
    });
    group.bench_function("read and crc32c", |b| {
        b.iter(|| snapshot.read_and_sum().expect("written just now"));
    });
    group.bench_function("load", |b| b.iter(|| snapshot.load().expect("it is whole")));
}

fn log_replay(c: &mut Criterion) {
    let count = if is_trial() { 2_000 } else { 500_000 };
    let log = LogOnDisk::make(parent(), count).expect("room on the disk");
    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(count));
    group.bench_function("replay", |b| b.iter(|| log.replay().expect("it is whole")));
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
}

criterion_group! { name = benches; config = quick(); targets = log_append, snapshots, log_replay }
criterion_main!(benches);
