//! The parts that wait for the real disk: durable batches, and snapshots written and loaded.
//!
//! Everything is in the build directory, which is on the disk that servers use; a temporary
//! directory in memory would make every log look fast.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farwatch_core::acl;
use farwatch_core::record::run::{Position, Run};
use farwatch_core::record::{self, Chain};
use farwatch_core::snapshot::files::snapshot_name;
use farwatch_core::snapshot::reader::Chunk;
use farwatch_core::tree::{self, Applied, Restorer, TreeOptions};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::zxid::{ServerId, SessionId, Zxid};
use farwatch_observer::data_dir::{DataDir, Founding};
use farwatch_observer::log_file::{LogFile, LogOptions};
use farwatch_observer::recover::{self, SnapshotJob};
use farwatch_observer::snapshot_file;
use tempfile::TempDir;

const SEED: u64 = 0x5EED;
const VALUE: [u8; 100] = [b'v'; 100];

fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the build directory is there")
}

fn data_dir(directory: &TempDir) -> DataDir {
    DataDir::open(&directory.path().join("data"), None, ServerId(1), Founding::Alone)
        .expect("a fresh directory")
}

fn head(zxid: u64) -> TxnHead {
    TxnHead { zxid: Zxid(zxid), time_ms: 1, session: SessionId(1), cxid: 1 }
}

/// One batch in flight: what a single client waits for, and what grouping saves.
fn log_append(c: &mut Criterion) {
    let mut group = c.benchmark_group("log append, durable");
    for count in [1_u64, 16, 256] {
        let directory = directory();
        let dir = data_dir(&directory);
        let (mut log, recovered) =
            LogFile::open(&dir, LogOptions::default()).expect("an empty log");
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
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let nodes: u64 = if is_trial { 1000 } else { 200_000 };
    let (mut writer, tree) = tree::new(TreeOptions { hash_seed: SEED });
    let mut applied = Applied::default();
    let mut create = |zxid: u64, path: &str| {
        let (path, kind) = (path.as_bytes(), NodeKind::Persistent);
        let (data, acl) = (Some(&VALUE[..]), acl::OPEN);
        let txn = Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion: 1 });
        applied.clear();
        writer.apply(&head(zxid), &txn, &mut applied);
    };
    create(1, "/app");
    for node in 0..nodes {
        create(node + 2, &format!("/app/node-{node:07}"));
    }
    let (zxid, digest) = (Zxid(nodes + 1), writer.digest());
    let directory = directory();
    let dir = data_dir(&directory);
    let write = || {
        let mut reader = tree.reader();
        reader.advance(zxid);
        let sessions = Vec::new();
        let job = SnapshotJob { zxid, chain: Chain(0), digest, reader, sessions };
        job.write(&dir).expect("room on the disk")
    };
    let bytes = write().bytes;
    let mut group = c.benchmark_group("snapshot");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("write, durable", |b| b.iter(write));
    let file = directory.path().join("data").join(snapshot_name(zxid));
    group.bench_function("read and crc32c", |b| {
        // What no load can be faster than: the file from the page cache, and its bytes summed.
        b.iter(|| crc32c::crc32c(&std::fs::read(&file).expect("written just now")));
    });
    let expected = tree.node_count();
    group.bench_function("load", |b| {
        b.iter(|| {
            let mut restorer = Restorer::new(TreeOptions { hash_seed: SEED });
            let mut reader = snapshot_file::open(&dir, zxid).expect("written just now");
            while let Some(chunk) = reader.next_chunk().expect("it is whole") {
                let Chunk::Nodes(entries) = chunk else { continue };
                entries.nodes().for_each(|image| restorer.push(&image).expect("in its order"));
            }
            let (loaded_writer, loaded) = restorer.finish(zxid).expect("it has a root");
            assert_eq!((loaded.node_count(), loaded_writer.digest()), (expected, digest));
        });
    });
}

/// A start without a snapshot: every record is read, checked and applied.
fn log_replay(c: &mut Criterion) {
    const BATCH: u64 = 1000;
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let count: u64 = if is_trial { 2000 } else { 500_000 };
    let directory = directory();
    let dir = data_dir(&directory);
    let (mut log, recovered) = LogFile::open(&dir, LogOptions::default()).expect("an empty log");
    let (mut chain, begin, mut records) = (recovered.chain, 1_u64 << 32, Vec::new());
    for first in (0..count).step_by(BATCH as usize) {
        records.clear();
        for number in first..first + BATCH {
            let path = format!("/node-{:03}", number % 1000);
            let (path, data) = (path.as_bytes(), Some(&VALUE[..]));
            let create = CreateTxn {
                path,
                data,
                acl: acl::OPEN,
                kind: NodeKind::Persistent,
                parent_cversion: number as i32 + 1,
            };
            let version = (number / 1000) as i32;
            let set = Txn::SetData { path, data, version };
            let txn = if number < 1000 { Txn::Create(create) } else { set };
            chain = record::append(&head(begin + 1 + number), &txn, chain, &mut records);
        }
        let upto = Position { zxid: Zxid(begin + first + BATCH), chain };
        let run = Run::own(log.position(), upto, records.as_slice().into());
        log.submit(&run).expect("room on the disk");
        log.wait_all();
    }
    log.seal();
    drop(log);
    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(count));
    group.bench_function("replay", |b| {
        b.iter(|| {
            let found = recover::recover(&dir, LogOptions::default(), SEED).expect("it is whole");
            assert_eq!(found.replayed, count);
        });
    });
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
}

criterion_group! { name = benches; config = quick(); targets = log_append, snapshots, log_replay }
criterion_main!(benches);
