//! A host with an embedded observer that is killed again and again while the tree changes, and opens the same
//! directory each time. `FARWATCH_SEED` repeats a run.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};

use farwatch_client::backoff::Prng;
use farwatch_client::{Acl, Client, ClientError, CreateMode, MultiOp};

use crate::observer::Voter;
use crate::program::Program;

const ROUNDS: u32 = 20;

/// The most changes that a host sees before it is killed.
const CHANGES_MAX: u64 = 300;

/// Nodes that come, change and go.
const NODES: u64 = 40;

/// Changes something, by chance.
fn write(client: &Client, chance: &mut Prng) {
    let path = format!("/tree/{}", chance.up_to(NODES));
    let data = vec![b'd'; chance.up_to(2000) as usize];
    let set = |path: &str| MultiOp::SetData {
        path: path.to_owned(),
        data: Some(data.clone()),
        version: -1,
    };
    let done = match chance.up_to(3) {
        0 => client.create(&path, &data, &Acl::open(), CreateMode::Persistent).map(drop),
        1 => client.delete(&path, -1),
        2 => client.set(&path, &data, -1).map(drop),
        _ => client.multi(vec![set("/tree"), set("/tree/0")]).map(drop),
    };
    // Which nodes are there is left to chance, too.
    let is_answer =
        matches!(done, Ok(()) | Err(ClientError::Server(_) | ClientError::MultiFailed { .. }));
    assert!(is_answer, "{done:?}");
}

/// The tree below `path`, as the program tells it.
fn dump(client: &Client, path: &str, tree: &mut Vec<String>) {
    let node = client.get(path, false).expect("nobody else writes");
    let stat = &node.stat;
    let mut line = format!(
        "{path} {} {} {} {} {} ",
        stat.czxid, stat.mzxid, stat.pzxid, stat.version, stat.cversion
    );
    for byte in node.data.unwrap_or_default() {
        write!(line, "{byte:02x}").expect("a string");
    }
    tree.push(line);
    let names = client.children(path, false).expect("nobody else writes").names;
    for name in names.iter().filter(|name| *name != "zookeeper") {
        dump(client, &format!("{}/{name}", path.trim_end_matches('/')), tree);
    }
}

/// What a host says, line by line, until it is killed.
struct Host {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Host {
    fn start(program: &Program, voter: &Voter, directory: &str) -> Self {
        let mut process = program.start(&[&voter.peers, directory]);
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    fn next(&mut self) -> String {
        match self.lines.next() {
            Some(line) => line.expect("text"),
            None => {
                let mut said = String::new();
                let mut stderr = self.process.stderr.take().expect("piped");
                std::io::Read::read_to_string(&mut stderr, &mut said).expect("text");
                panic!("it ended by itself: {said}")
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it was killed");
    }
}

/// Does it while the tree changes.
fn beside_writes<R>(client: &Client, chance: &mut Prng, work: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    let mut writes = Prng::new(chance.next_u64());
    let worked = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                write(client, &mut writes);
            }
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        worked
    });
    worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Whether the host, told to catch up, has the server's tree.
fn compare(client: &Client, host: &mut Host) {
    let level = client.set("/mark", b"", -1).expect("there").mzxid;
    writeln!(host.process.stdin.as_mut().expect("piped"), "{level}").expect("it reads");
    let (mut here, mut there) = (Vec::new(), Vec::new());
    dump(client, "/", &mut here);
    loop {
        match host.next() {
            line if line == "told" => break,
            line => there.push(line),
        }
    }
    // What a server shows of its own below /zookeeper is not of the tree alone.
    there.retain(|line| !line.starts_with("/zookeeper"));
    here.sort();
    there.sort();
    let differs = here.iter().zip(&there).find(|(here, there)| here != there);
    assert_eq!(differs, None);
    assert_eq!(here.len(), there.len());
}

#[test]
fn a_host_that_is_killed_at_any_moment_goes_on_with_what_it_had_and_misses_nothing() {
    let seed = std::env::var("FARWATCH_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("FARWATCH_SEED={seed}");
    let mut chance = Prng::new(seed);
    let voter = Voter::start();
    let client = voter.client();
    for path in ["/tree", "/mark"] {
        client.create(path, b"", &Acl::open(), CreateMode::Persistent).expect("new");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("data").display().to_string();
    let program = Program::compile("killed.c");
    for round in 0..ROUNDS {
        let changes = chance.up_to(CHANGES_MAX);
        // Some do not live to see a link, and some not even their disk.
        if round > 0 && chance.up_to(3) == 0 {
            beside_writes(&client, &mut chance, || {
                let mut host = Host::start(&program, &voter, &directory);
                if changes.is_multiple_of(2) {
                    host.next();
                }
            });
            println!("round {round}: killed at its start");
            continue;
        }
        let (mut host, opened) = beside_writes(&client, &mut chance, || {
            let mut host = Host::start(&program, &voter, &directory);
            let opened = host.next();
            (host, opened)
        });
        assert_eq!(opened == "opened 0", round == 0, "{opened}");
        compare(&client, &mut host);
        beside_writes(&client, &mut chance, || {
            for _ in 0..changes {
                host.next();
            }
            drop(host);
        });
        println!("round {round}: {opened}, killed behind {changes} changes");
    }
}
