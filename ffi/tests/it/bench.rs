//! One read, from memory and through sockets, side by side in one run.
//!
//! ```text
//! cargo build --release
//! FARWATCH_BENCH=1 cargo test --release -p farwatch-ffi --test it -- --nocapture bench
//! ```
//!
//! `FARWATCH_BENCH_ROWS` names a file that the rows are written into for a machine.

use std::hint::black_box;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farwatch_client::{Acl, CreateMode};
use farwatch_core::zxid::Zxid;
use farwatch_observer::embedded::{Observer, Options};

use crate::observer::Voter;
use crate::program::Program;
use crate::server::await_answer;

const PATH: &str = "/bench";
const VALUE: [u8; 100] = [b'v'; 100];
/// A server on a busy machine answers so many, twice, well before a program is given up.
const SAMPLES: usize = 10_000;
/// As the programs in C have it.
const MEMORY_BATCH: u32 = 100;
const HEADER: &str = "/usr/include/zookeeper/zookeeper.h";
/// Its manifest names every other jar that it needs.
const SERVER: &str = "/usr/share/java/zookeeper.jar";

/// Nanoseconds.
struct Row {
    name: String,
    p50: f64,
    p99: f64,
}

impl Row {
    /// A line of a program: `NAME: p50 N, p99 N`.
    fn parse(line: &str) -> Self {
        let (name, figures) = line.split_once(": p50 ").expect("a row");
        let (p50, p99) = figures.split_once(", p99 ").expect("two figures");
        let number = |text: &str| text.parse().expect("a number");
        Self { name: name.to_owned(), p50: number(p50), p99: number(p99) }
    }

    /// The same call in Rust, sampled as the programs in C do.
    fn of_rust(peers: &str) -> Self {
        let (host, port) = peers.rsplit_once(':').expect("host:port");
        let upstream = (host.to_owned(), port.parse().expect("a port"));
        let observer = Observer::open(&Options::of(vec![upstream])).expect("an observer");
        let deadline = Instant::now() + Duration::from_secs(60);
        observer.wait_ready(Zxid(0), deadline).expect("it follows the server");
        let sample = || {
            let began = Instant::now();
            for _ in 0..MEMORY_BATCH {
                let visit = observer.visit();
                let node = visit.view().get(black_box(PATH.as_bytes())).expect("it is there");
                black_box(node.data().expect("not null")[0]);
            }
            began.elapsed().as_nanos() as f64 / f64::from(MEMORY_BATCH)
        };
        let mut times: Vec<f64> = (0..2 * SAMPLES).map(|_| sample()).skip(SAMPLES).collect();
        times.sort_by(f64::total_cmp);
        let (p50, p99) = (times[SAMPLES / 2], times[SAMPLES - 1 - SAMPLES / 100]);
        Self { name: "Rust get".to_owned(), p50, p99 }
    }
}

fn rows(said: &str) -> Vec<Row> {
    said.lines().map(Row::parse).collect()
}

/// Apache's server, from Debian's package.
struct Apache {
    connect: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Apache {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let port = port.expect("a port").port();
        let data = folder.path().join("data");
        let lines = format!(
            "dataDir={}\nclientPortAddress=127.0.0.1\nclientPort={port}\n\
             4lw.commands.whitelist=*\nadmin.enableServer=false\n",
            data.display()
        );
        let config = folder.path().join("zoo.cfg");
        std::fs::write(&config, lines).expect("a file");
        let process = Command::new("java")
            .args(["-cp", SERVER, "org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java starts");
        let apache = Self { connect: format!("127.0.0.1:{port}"), process, _folder: folder };
        // It says "imok" before it serves sessions.
        await_answer(&apache.connect, "srvr", "Mode: ");
        apache
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _gone_either_way = self.process.kill();
        let _gone_either_way = self.process.wait();
    }
}

fn print(rows: &[Row]) {
    let base = rows.iter().find(|row| row.name == "C get, copied").expect("a row").p50;
    println!("{:38} {:>12} {:>12} {:>10}", "read of 100 bytes", "p50 ns", "p99 ns", "p50, times");
    for Row { name, p50, p99 } in rows {
        println!("{name:38} {p50:12.1} {p99:12.1} {:10.1}", p50 / base);
    }
}

/// As the programs in C say them: `farwatch-bench bars --bar P28` reads that.
fn write(file: &Path, rows: &[Row]) {
    let line = |row: &Row| format!("{}: p50 {:.1}, p99 {:.1}\n", row.name, row.p50, row.p99);
    let text: String = rows.iter().map(line).collect();
    std::fs::write(file, text).expect("the file that was asked for");
}

#[test]
fn a_read_from_memory_is_far_faster_than_any_through_a_socket() {
    if std::env::var("FARWATCH_BENCH").as_deref() != Ok("1") {
        println!("not run: reads side by side, which FARWATCH_BENCH=1 asks for");
        return;
    }
    let voter = Voter::start();
    let client = voter.client();
    client.create(PATH, &VALUE, &Acl::open(), CreateMode::Persistent).expect("a new tree");
    let mut found = vec![Row::of_rust(&voter.peers)];
    let count = SAMPLES.to_string();
    let program = Program::compile("observer_bench.c");
    found.extend(rows(&program.run(&[&voter.peers, &voter.clients, PATH, &count])));
    if Path::new(HEADER).exists() {
        let program = Program::compile_for_zookeeper("zookeeper_bench.c");
        let name = "Apache's C client, Farwatch";
        found.extend(rows(&program.run(&[name, &voter.clients, PATH, &count])));
        if Path::new(SERVER).exists() {
            let (name, apache) = ("Apache's C client, ZooKeeper", Apache::start());
            found.extend(rows(&program.run(&[name, &apache.connect, PATH, &count])));
        } else {
            println!("not run: a read of Apache's server, because {SERVER} is not installed");
        }
    } else {
        println!("not run: Apache's C client, because {HEADER} is not installed");
    }
    print(&found);
    if let Some(file) = std::env::var_os("FARWATCH_BENCH_ROWS") {
        write(Path::new(&file), &found);
    }
    // Even here, where nothing is optimized and others take the processor.
    let of_memory = found.iter().filter(|row| row.name.contains("get")).map(|row| row.p50);
    let of_sockets = found.iter().filter(|row| row.name.contains("client")).map(|row| row.p50);
    let (slowest, fastest) = (of_memory.fold(0.0, f64::max), of_sockets.fold(f64::MAX, f64::min));
    assert!(slowest < fastest, "from memory {slowest} ns, from a server {fastest} ns");
}
