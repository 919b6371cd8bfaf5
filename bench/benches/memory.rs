//! The parts of a request's path that touch nothing but memory, one figure each.
//!
//! Not in the order of a request: a frame and its body, a write becoming a record, the record
//! applied, a read, its reply, and who is told.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use farwatch_bench::parts::{Draws, Forest, HOT_NODES, SEED, SESSION, VALUE, path_of, requests};
use farwatch_bench::raw::{framed, request_bytes};
use farwatch_core::prepare::{Options, Prepare, Prepared, WriteRequest};
use farwatch_core::record::{self, Chain, Record};
use farwatch_core::session::{Session, SessionTable};
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::watch::{Table, WatchMode, WatchTable};
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::{Reader, begin_frame, end_frame};
use farwatch_core::wire::request::RequestHeader;
use farwatch_core::wire::{ErrorCode, EventType, OpCode, ReplyHeader, Request, jute};
use farwatch_core::zxid::Zxid;

/// A million nodes; a thousand when the benches are only tried out.
fn large() -> Forest {
    let is_trial = std::env::args().any(|argument| argument == "--test");
    Forest::of(if is_trial { HOT_NODES } else { 1_000_000 })
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, op, request) in requests() {
        let frame = framed(&request_bytes(7, &request));
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(BenchmarkId::new("frame", name), |b| {
            b.iter(|| {
                let frame = black_box(&frame[..]);
                let (length, rest) = frame.split_first_chunk::<4>().expect("a length");
                let mut reader = Reader::new(&rest[..u32::from_be_bytes(*length) as usize]);
                let header = RequestHeader::decode(&mut reader).expect("a header");
                (OpCode::from_code(header.op), reader.rest().len())
            });
        });
        group.bench_function(BenchmarkId::new("body", name), |b| {
            b.iter(|| {
                let body = black_box(request.body.as_bytes());
                let decoded = Request::decode(op, body);
                black_box(decoded.is_ok())
            });
        });
    }
}

/// Prepares against a tree in which nothing changes meanwhile, and forgets as the server does: when
/// a batch was applied.
fn prepare(c: &mut Criterion) {
    let forest = Forest::of(HOT_NODES);
    let mut sessions = SessionTable::new();
    sessions.insert(SESSION, Session { timeout_ms: 30_000, password: Password([1; 16]) });
    let mut group = c.benchmark_group("prepare");
    group.throughput(Throughput::Elements(1));
    for (name, op, request) in requests().into_iter().skip(1) {
        group.bench_function(name, |b| {
            let mut prepare = Prepare::new(Options::default(), SEED);
            let (mut chain, mut out, mut zxid) = (Chain(0), Vec::new(), forest.last);
            b.iter(|| {
                zxid += 1;
                if zxid.is_multiple_of(256) {
                    prepare.applied(Zxid(zxid - 1));
                    out.clear();
                }
                let body = black_box(request.body.as_bytes());
                let write = WriteRequest {
                    session: SESSION,
                    cxid: 1,
                    op,
                    body,
                    identities: &[],
                    is_local: false,
                };
                let state = &forest.writer;
                let prepared =
                    prepare.prepare(state, &sessions, &write, Zxid(zxid), 1, &mut chain, &mut out);
                assert!(matches!(prepared, Prepared::Logged(_)));
            });
        });
    }
}

fn records(c: &mut Criterion) {
    let txn = Txn::SetData { path: b"/app/0000/node-0000001", data: Some(&VALUE), version: 5 };
    let head = TxnHead { zxid: Zxid(9), time_ms: 1, session: SESSION, cxid: 1 };
    let mut bytes = Vec::new();
    record::append(&head, &txn, Chain(1), &mut bytes);
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("append", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            record::append(black_box(&head), black_box(&txn), Chain(1), &mut out)
        });
    });
    group.bench_function("read, checked", |b| {
        b.iter(|| {
            let record = Record::read(black_box(&bytes), Chain(1)).expect("whole");
            black_box(record.txn());
        });
    });
    group.bench_function("read, own", |b| {
        b.iter(|| {
            let record = Record::own(black_box(&bytes));
            black_box(record.txn());
        });
    });
}

fn apply(c: &mut Criterion) {
    let mut forest = large();
    let paths: Vec<Vec<u8>> = (0..forest.nodes).map(path_of).collect();
    let mut draws = Draws(SEED);
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(1));
    group.bench_function("setData, uniform", |b| {
        b.iter(|| {
            let path = &paths[draws.below(paths.len())][..];
            forest.apply(&Txn::SetData { path, data: Some(&VALUE), version: 1 });
        });
    });
    group.bench_function("setData, hot", |b| {
        b.iter(|| {
            let path = &paths[draws.below(HOT_NODES)][..];
            forest.apply(&Txn::SetData { path, data: Some(&VALUE), version: 1 });
        });
    });
    group.bench_function("create and delete", |b| {
        b.iter(|| {
            forest.create(b"/app/0000/fresh");
            forest.apply(&Txn::Delete { path: b"/app/0000/fresh" });
        });
    });
}

fn read(c: &mut Criterion) {
    let forest = large();
    let paths: Vec<Vec<u8>> = (0..forest.nodes).map(path_of).collect();
    let mut reader = forest.tree.reader();
    reader.advance(Zxid(forest.last));
    let view = reader.view();
    let mut draws = Draws(SEED);
    let mut group = c.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    for (name, limit) in [("uniform", paths.len()), ("hot", HOT_NODES)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let node = view.get(&paths[draws.below(limit)]).expect("created");
                black_box(node.data());
            });
        });
    }
    group.bench_function("reply to getData, hot", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            let node = view.get(&paths[draws.below(HOT_NODES)]).expect("created");
            let start = begin_frame(&mut out);
            let mut w = jute::Writer::new(&mut out);
            ReplyHeader { xid: 1, zxid: 2, err: ErrorCode::Ok.code() }.encode(&mut w);
            w.buffer(node.data());
            node.stat().encode(&mut w);
            end_frame(&mut out, start);
            out.len()
        });
    });
}

fn watches(c: &mut Criterion) {
    let mut group = c.benchmark_group("watch fire");
    for watchers in [1_u32, 1_000, 100_000] {
        group.throughput(Throughput::Elements(u64::from(watchers)));
        group.bench_function(BenchmarkId::from_parameter(watchers), |b| {
            b.iter_custom(|rounds| {
                let mut table = WatchTable::new(SEED);
                let mut spent = Duration::ZERO;
                let mut told = 0_u64;
                for _round in 0..rounds {
                    for connection in 0..watchers {
                        table.add(connection, b"/app/0000/node", WatchMode::Data);
                    }
                    let began = Instant::now();
                    let path = b"/app/0000/node";
                    table.fire(EventType::NodeDataChanged, Table::Data, path, |_| told += 1);
                    spent += began.elapsed();
                }
                assert_eq!(told, rounds * u64::from(watchers), "one-shot watches fire once each");
                spent
            });
        });
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group! { name = benches; config = quick(); targets = decode, prepare, records, apply, read, watches }
criterion_main!(benches);
