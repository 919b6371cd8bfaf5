//! How many instructions the parts take, held against a file: neighbours on the machine cannot disturb them.
//!
//! ```text
//! cargo bench -p farwatch-bench --bench instructions            fails where a part takes 5 % more
//! UPDATE_EXPECT=1 cargo bench -p farwatch-bench --bench instructions    writes the file anew
//! ```
//!
//! Counts hold for one compiler, one valgrind and one sort of processor, which the file names. Where
//! another one counts, they are shown and not judged.
//!
//! The program starts itself under callgrind, which counts what happens inside of [`counted`] and
//! dumps the sum each time it is left. Where valgrind is missing it says so and measures nothing.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use farwatch_bench::parts::{Draws, Forest, HOT_NODES, SEED, SESSION, VALUE, path_of, requests};
use farwatch_bench::pins::{judge, pinned};
use farwatch_bench::raw::{framed, request_bytes};
use farwatch_core::disk::fake::FakeDisk;
use farwatch_core::log::format::ClusterId;
use farwatch_core::prepare::{Options, Prepare, Prepared, WriteRequest};
use farwatch_core::record::{self, Chain, Record};
use farwatch_core::session::{Session, SessionTable};
use farwatch_core::snapshot::format::SnapshotHead;
use farwatch_core::snapshot::reader::{Chunk, SnapshotReader};
use farwatch_core::snapshot::writer::SnapshotWriter;
use farwatch_core::tree::{Restorer, TreeOptions, Visits};
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::watch::{Table, WatchMode, WatchTable};
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::{self, Reader, begin_frame, end_frame};
use farwatch_core::wire::request::RequestHeader;
use farwatch_core::wire::{ErrorCode, EventType, OpCode, ReplyHeader, Request};
use farwatch_core::zxid::Zxid;

/// What the parts took when they were last accepted, in instructions for one operation.
const PINNED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// Says that this process is the one whose instructions are counted.
const INSIDE: &str = "--inside-callgrind";

/// Operations of each part.
const OPERATIONS: u64 = 1_000;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == INSIDE) {
        every_part(&mut |_, operations, run| counted(operations, run));
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The only place where instructions are counted. Callgrind knows it by its name.
#[inline(never)]
fn counted(operations: u64, run: &mut dyn FnMut(u64)) {
    for operation in 0..operations {
        run(black_box(operation));
    }
}

fn compare() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let dumps = directory.path().join("dump");
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=instructions::counted", "--dump-after=instructions::counted"])
        .arg(format!("--callgrind-out-file={}", dumps.display()))
        .arg(program)
        .arg(INSIDE)
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("not run: instruction counts, because valgrind is not installed");
            return Ok(());
        }
        output => output.context("starting valgrind")?,
    };
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut parts = Vec::new();
    every_part(&mut |name, operations, _| parts.push((name.to_owned(), operations)));
    let mut found = BTreeMap::new();
    for (at, (name, operations)) in parts.into_iter().enumerate() {
        let dump = format!("{}.{}", dumps.display(), at + 1);
        let text = fs::read_to_string(&dump).with_context(|| format!("no counts of {name}"))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: u64 = total.context("a dump without a total")?.trim().parse()?;
        ensure!(total > operations, "{name} took {total} instructions: counting does not work");
        found.insert(name, total / operations);
    }
    let here = counted_by()?;
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let lines: Vec<String> =
            found.iter().map(|(name, count)| format!("{count:>9}  {name}\n")).collect();
        fs::write(PINNED, format!("{here}\n{}", lines.concat()))?;
    }
    let text = fs::read_to_string(PINNED).context("bench/instructions.txt cannot be read")?;
    let (there, lines) = text.split_once('\n').context("instructions.txt is empty")?;
    let judged = judge(&pinned(lines)?, &found);
    if here == there {
        return judged;
    }
    println!("not run: the comparison of counts, because they were pinned with another machine:");
    println!("  {there}\n  {here}");
    Ok(())
}

/// What counts depend on besides the code.
fn counted_by() -> Result<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        let output = output.with_context(|| format!("{program} --version"))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    #[cfg(target_arch = "x86_64")]
    let processor = {
        let has = |name, yes: bool| if yes { name } else { "" };
        [
            has(" avx512f", std::is_x86_feature_detected!("avx512f")),
            has(" avx2", std::is_x86_feature_detected!("avx2")),
            has(" bmi2", std::is_x86_feature_detected!("bmi2")),
            has(" pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
            has(" sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ]
        .concat()
    };
    #[cfg(not(target_arch = "x86_64"))]
    let processor = "";
    let architecture = std::env::consts::ARCH;
    Ok(format!("{}, {}, {architecture}{processor}", version("rustc")?, version("valgrind")?))
}

/// Shows every part to `take`: its name, how many operations, what does one.
type Take<'a> = dyn FnMut(&str, u64, &mut dyn FnMut(u64)) + 'a;

fn every_part(take: &mut Take<'_>) {
    decode(take);
    prepare(take);
    records(take);
    apply(take);
    read(take);
    watches(take);
    snapshots(take);
}

fn decode(take: &mut Take<'_>) {
    for (name, op, request) in requests() {
        let frame = framed(&request_bytes(7, &request));
        take(&format!("decode {name}"), OPERATIONS, &mut |_| {
            let (length, rest) = black_box(&frame[..]).split_first_chunk::<4>().expect("a length");
            let mut reader = Reader::new(&rest[..u32::from_be_bytes(*length) as usize]);
            let header = RequestHeader::decode(&mut reader).expect("a header");
            assert_eq!(OpCode::from_code(header.op), Some(op));
            black_box(Request::decode(op, reader.rest()).is_ok());
        });
    }
}

fn prepare(take: &mut Take<'_>) {
    let forest = Forest::of(HOT_NODES);
    let mut sessions = SessionTable::new();
    sessions.insert(SESSION, Session { timeout_ms: 30_000, password: Password([1; 16]) });
    for (name, op, request) in requests().into_iter().skip(1) {
        let mut prepare = Prepare::new(Options::default(), SEED);
        let (mut chain, mut out, mut zxid) = (Chain(0), Vec::new(), forest.last);
        take(&format!("prepare {name}"), OPERATIONS, &mut |_| {
            zxid += 1;
            if zxid.is_multiple_of(256) {
                prepare.applied(Zxid(zxid - 1));
                out.clear();
            }
            let body = black_box(request.body.as_bytes());
            let (session, identities, is_local) = (SESSION, &[][..], false);
            let write = WriteRequest { session, cxid: 1, op, body, identities, is_local };
            let (state, zxid) = (&forest.writer, Zxid(zxid));
            let prepared = prepare.prepare(state, &sessions, &write, zxid, 1, &mut chain, &mut out);
            assert!(matches!(prepared, Prepared::Logged(_)));
        });
    }
}

fn records(take: &mut Take<'_>) {
    let txn = Txn::SetData { path: b"/app/0000/node-0000001", data: Some(&VALUE), version: 5 };
    let head = TxnHead { zxid: Zxid(9), time_ms: 1, session: SESSION, cxid: 1 };
    let mut bytes = Vec::new();
    record::append(&head, &txn, Chain(1), &mut bytes);
    let mut out = Vec::with_capacity(bytes.len());
    take("record encode", OPERATIONS, &mut |_| {
        out.clear();
        record::append(black_box(&head), black_box(&txn), Chain(1), &mut out);
    });
    take("record check and access", OPERATIONS, &mut |_| {
        let record = Record::read(black_box(&bytes), Chain(1)).expect("whole");
        black_box(record.txn());
    });
    take("record access", OPERATIONS, &mut |_| {
        black_box(Record::own(black_box(&bytes)).txn());
    });
    let page = vec![7_u8; 4096];
    take("crc32c of 4 KiB", OPERATIONS, &mut |_| {
        black_box(crc32c::crc32c(black_box(&page)));
    });
}

fn apply(take: &mut Take<'_>) {
    let mut forest = Forest::of(HOT_NODES);
    let paths: Vec<Vec<u8>> = (0..forest.nodes).map(path_of).collect();
    let mut draws = Draws(SEED);
    let mut set = |path: &[u8]| {
        forest.apply(&Txn::SetData { path, data: Some(&VALUE), version: 1 });
    };
    // A node that never was set takes less memory. What is counted then would be how the allocator of this
    // program, which is not the server's, makes places of another size.
    paths.iter().for_each(|path| set(path));
    take("apply setData", OPERATIONS, &mut |_| set(&paths[draws.below(paths.len())]));
    take("apply create and delete", OPERATIONS, &mut |_| {
        forest.create(b"/app/0000/fresh");
        forest.apply(&Txn::Delete { path: b"/app/0000/fresh" });
    });
}

fn read(take: &mut Take<'_>) {
    let forest = Forest::of(HOT_NODES);
    let paths: Vec<Vec<u8>> = (0..forest.nodes).map(path_of).collect();
    let mut reader = forest.tree.reader();
    reader.advance(Zxid(forest.last));
    let view = reader.view();
    let mut draws = Draws(SEED);
    let mut out = Vec::new();
    take("read, reply to getData", OPERATIONS, &mut |_| {
        out.clear();
        let node = view.get(&paths[draws.below(HOT_NODES)]).expect("created");
        let start = begin_frame(&mut out);
        let mut w = jute::Writer::new(&mut out);
        ReplyHeader { xid: 1, zxid: 2, err: ErrorCode::Ok.code() }.encode(&mut w);
        w.buffer(node.data());
        node.stat().encode(&mut w);
        end_frame(&mut out, start);
    });
    let visits = Visits::new(&forest.tree);
    take("embedded get", OPERATIONS, &mut |_| {
        let path = &paths[draws.below(HOT_NODES)];
        black_box(visits.enter().view().get(path).expect("created").data());
    });
}

fn watches(take: &mut Take<'_>) {
    const WATCHERS: u32 = 1_000;
    let mut table = WatchTable::new(SEED);
    let path = b"/app/0000/node";
    take("watch, add 1000 and fire", 10, &mut |_| {
        for connection in 0..WATCHERS {
            table.add(connection, path, WatchMode::Data);
        }
        let mut told = 0;
        table.fire(EventType::NodeDataChanged, Table::Data, path, |_| told += 1);
        assert_eq!(told, WATCHERS);
    });
}

fn snapshots(take: &mut Take<'_>) {
    let forest = Forest::of(HOT_NODES);
    let mut reader = forest.tree.reader();
    let zxid = Zxid(forest.last);
    reader.advance(zxid);
    let head = SnapshotHead { cluster: ClusterId(1), zxid, chain: Chain(1) };
    let digest = forest.writer.digest();
    let disk = FakeDisk::new();
    take("snapshot write, 1000 nodes", 1, &mut |_| {
        let mut file = SnapshotWriter::create(&disk, head).expect("a file");
        reader.view().walk(&mut |image| file.node(image).expect("room"));
        file.finish(digest).expect("written");
    });
    // Where `take` only asks for names nothing was written.
    take("snapshot load, 1000 nodes", 1, &mut |_| {
        let mut file = SnapshotReader::open(&disk, head.cluster, zxid).expect("it was written");
        let mut restorer = Restorer::new(TreeOptions { hash_seed: SEED });
        while let Some(chunk) = file.next_chunk().expect("whole") {
            if let Chunk::Nodes(entries) = chunk {
                entries.nodes().for_each(|image| restorer.push(&image).expect("in order"));
            }
        }
        let (writer, _tree) = restorer.finish(zxid).expect("a tree");
        assert_eq!(writer.digest(), digest);
    });
}
