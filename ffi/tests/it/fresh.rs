//! Reads that must be fresh, through C and C++, at an observer that is cut off from its ensemble.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Child;
use std::time::{Duration, Instant};

use farwatch_client::{Acl, Client, CreateMode, Options};

use crate::observer::{Voter, serve};
use crate::program::{Program, finish, has};
use crate::way::Way;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// An observer that is a process, with a port for clients, and all it knows comes over a way.
struct Observer {
    clients: String,
    way: Way,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.way.go_on();
        let _gone_either_way = self.process.kill();
        let _gone_either_way = self.process.wait();
    }
}

impl Observer {
    fn start(voter: &Voter) -> Self {
        let way = Way::to(&voter.peers);
        let folder = tempfile::tempdir().expect("a folder");
        let ports = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [client, peer] = [0, 1].map(|at: usize| ports[at].local_addr().expect("bound").port());
        drop(ports);
        let lines = format!(
            "dataDir={}\nclientPortAddress=127.0.0.1\nclientPort={client}\ninitLimit=10\n\
             syncLimit=10\nfarwatch.observe={}\nfarwatch.peerAddress=127.0.0.1:{peer}\n",
            folder.path().join("data").display(),
            way.address
        );
        std::fs::create_dir(folder.path().join("data")).expect("a folder");
        let config = folder.path().join("zoo.cfg");
        std::fs::write(&config, lines).expect("a file");
        let process = serve(&config);
        Self { clients: format!("127.0.0.1:{client}"), way, process, _folder: folder }
    }

    /// Waits until it shows what was written before.
    fn await_node(&self, path: &str) {
        let client = Client::open(&self.clients, Options::default()).expect("a connect string");
        let began = Instant::now();
        while !matches!(client.exists(path, false), Ok(Some(_))) {
            assert!(began.elapsed() < START, "it does not learn");
            std::thread::sleep(Duration::from_millis(20)); // it is starting
        }
    }
}

/// Both programs speak alike: see the head of `fresh.c`.
fn talk(program: &Program) {
    let voter = Voter::start();
    let writer = voter.client();
    writer.create("/value", b"old", &Acl::open(), CreateMode::Persistent).expect("new");
    let observer = Observer::start(&voter);
    observer.await_node("/value");
    let mut child = program.start(&[&observer.clients]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("text")).unwrap_or_default();
    if next() != "ready" {
        finish(child);
        panic!("it ended before it was ready");
    }
    observer.way.pause();
    let zxid = writer.set("/value", b"new", -1).expect("set").mzxid;
    writeln!(child.stdin.as_mut().expect("piped"), "{zxid}").expect("it reads");
    if next() == "asked" {
        observer.way.go_on();
        assert_eq!(next(), "done");
    }
    finish(child);
}

#[test]
fn reads_that_must_be_fresh_wait_for_an_observer_that_is_behind_and_others_do_not() {
    talk(&Program::compile("fresh.c"));
}

#[test]
fn so_they_do_in_cpp_and_a_session_goes_to_another_handle() {
    if has("c++") {
        talk(&Program::compile("fresh.cpp"));
    }
}
