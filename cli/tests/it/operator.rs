//! What an operator does beside serving: a demo, questions about the ensemble, a change of leader.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use farwatch_bench::raw::{four_letter_word, ids, request};
use farwatch_bench::subject::Options;

use crate::process::{directory, serve};
use crate::subject::{connect, farwatch};

/// How long anything may take that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farwatch"));
    command.args(arguments).env_remove("FARWATCH_LOG");
    command
}

/// Exit code, what was printed, what was complained about.
fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("a process");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

/// What a demo of one voter is asked for.
const ALONE: [&str; 2] = ["--voters", "1"];

/// A demo, told by its standard input what to do.
struct Demo {
    child: Child,
    commands: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    client: SocketAddr,
}

impl Demo {
    fn start(data: &Path, asked: &[&str]) -> Self {
        // What is waited for in vain ends with the demo and not never.
        let mut command = command(&["demo", "--for", "60"]);
        let command = command.args(asked).arg("--data-dir").arg(data);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let commands = child.stdin.take();
        let client = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut demo = Self { child, commands, lines, client };
        let line = demo.until("Connect to ");
        let (_, addresses) = line.split_once("Connect to ").expect("found");
        let first = addresses.split(',').next().expect("one at least");
        demo.client = first.trim().parse().expect("an address");
        demo
    }

    /// The first line from now on that has `words` in it.
    #[track_caller]
    fn until(&mut self, words: &str) -> String {
        let found = self.lines.by_ref().map(|line| line.expect("text"));
        found.into_iter().find(|line| line.contains(words)).expect(words)
    }

    /// Waits until there was a line with each of `words`, in any order.
    #[track_caller]
    fn until_each(&mut self, words: &[&str]) {
        let mut left = words.to_vec();
        while !left.is_empty() {
            let line = self.lines.next().unwrap_or_else(|| panic!("{left:?}")).expect("text");
            left.retain(|words| !line.contains(words));
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.commands.as_mut().expect("open"), "{line}").expect("it reads");
    }

    fn is_there(&self, path: &str) -> bool {
        let (mut connection, _) = connect(self.client);
        connection.call(&request::exists(path, false)).expect("a reply").err == 0
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Where the test has ended it already, there is nothing to end.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Waits until nobody listens there.
#[track_caller]
fn until_gone(address: SocketAddr) {
    let asked = Instant::now();
    while TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
        assert!(asked.elapsed() < PATIENCE, "{address} is still listened on");
        std::thread::yield_now();
    }
}

#[test]
fn a_demo_tells_what_becomes_of_a_server_that_is_killed_frozen_or_wiped() {
    let data = directory();
    let mut demo = Demo::start(data.path(), &ALONE);
    let (mut connection, _) = connect(demo.client);
    let made = connection.call(&request::create("/kept", None, &ids::open(), 0));
    assert_eq!(made.expect("a reply").err, 0);
    demo.say("k 1");
    demo.until("0 of 1 voters can vote, and 1 must: nothing is written. Type `r 1`");
    demo.until("server 1 is down");
    demo.say("r 1");
    demo.until("server 1 leads");
    assert!(demo.is_there("/kept"), "what was acknowledged survives kill -9");
    demo.say("f 1");
    demo.until("server 1 is frozen");
    demo.say("c 1");
    demo.until("server 1 leads");
    demo.say("w 1");
    demo.until("server 1 leads");
    assert!(!demo.is_there("/kept"), "its disk was wiped, and nobody else had it");
    demo.say("s");
    demo.until("leader");
    demo.say("k 2");
    demo.until("`2` is no server");
    demo.say("q");
    assert!(demo.child.wait().expect("an end").success());
    until_gone(demo.client);
}

/// As the README has it: three voters, and two sites with two observers each.
#[test]
fn a_site_of_a_demo_reads_on_while_its_way_is_cut_and_is_level_again_afterwards() {
    let data = directory();
    let mut demo = Demo::start(data.path(), &["--sites", "2", "--rtt", "80ms"]);
    demo.until("site 1 is 80 ms away. Connect to 127.0.0.1:");
    demo.until("site 2 is 80 ms away. Connect to 127.0.0.1:");
    demo.until("READ SHOWS");
    demo.until(" ago, in "); // a session of a site reads
    demo.say("x 1");
    demo.until("the way to site 1 is cut");
    // Each as it notices.
    let own = ["server 4 serves what it has", "server 5 serves what it has"];
    demo.until_each(&own);
    demo.say("x 1");
    demo.until("is cut already");
    demo.say("h 1");
    let healed = demo.until("the way to site 1 is healed after");
    assert!(healed.ends_with(", 0 failed"), "{healed}");
    demo.until("site 1 is level again");
    demo.say("h 2");
    demo.until("the way to site 2 is whole");
    demo.say("w 6");
    demo.until("server 6 follows server");
    demo.say("h 3");
    demo.until("`3` is no site");
    demo.say("q");
    assert!(demo.child.wait().expect("an end").success());
    until_gone(demo.client);
}

#[test]
fn no_server_outlives_a_demo_that_is_killed_not_even_a_frozen_one() {
    for frozen in [false, true] {
        let data = directory();
        let mut demo = Demo::start(data.path(), &ALONE);
        if frozen {
            demo.say("f 1");
            demo.until("server 1 is frozen");
        }
        demo.child.kill().and_then(|()| demo.child.wait()).expect("it is killed");
        until_gone(demo.client);
    }
}

#[test]
fn a_demo_ends_by_itself_and_leaves_no_directory() {
    let temporary = directory();
    let mut command = command(&["demo", "--voters", "1", "--for", "5", "--quiet"]);
    let command = command.env("TMPDIR", temporary.path()).stdin(Stdio::null());
    let (code, said, complained) = run(command);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("server 1 leads 1 voter. Connect to 127.0.0.1:"), "{said}");
    assert_eq!(fs::read_dir(temporary.path()).expect("a directory").count(), 0);
}

#[test]
fn a_server_stops_when_its_standard_input_ends() {
    let data = directory();
    let mut command = serve(data.path());
    let command = command.arg("--stop-with-stdin").stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a process");
    drop(child.stdin.take());
    assert!(child.wait().expect("an end").success());
}

#[test]
fn status_as_json_has_what_the_server_knows_of_its_ensemble() {
    let subject = farwatch(Options::new());
    let address = subject.address().to_string();
    let (code, said, _) = run(&mut command(&["status", "--json", &address]));
    let reports: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(code, 0, "{said}");
    assert_eq!(reports[0]["ensemble"]["role"], "leading", "{said}");
    let (code, said, _) = run(&mut command(&["status", &address]));
    assert_eq!((code, said.lines().count()), (0, 2), "a server alone needs no words: {said}");
}

#[test]
fn leadership_of_one_server_cannot_be_handed_over_and_that_is_said() {
    let subject = farwatch(Options::new());
    let data = subject.data_directory();
    let socket = data.join("admin.sock");
    let mode = fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let transfer = |to: &str, data: &Path| {
        run(command(&["leader", "transfer", "--to", to, "--data-dir"]).arg(data))
    };
    let (code, _, said) = transfer("2", &data);
    assert_eq!(code, 1);
    assert!(said.contains("this server does not lead an ensemble"), "{said}");
    let (code, _, said) = transfer("1", &data);
    assert_eq!((code, said.trim()), (1, "farwatch: server 1 leads already"));
    let (code, _, said) = transfer("2", &data.join("elsewhere"));
    assert_eq!(code, 1);
    assert!(said.contains("no server can be asked at") && said.contains("--data-dir"), "{said}");
}

#[test]
fn the_operators_door_closes_with_the_server_and_opens_again_after_a_crash() {
    let mut subject = farwatch(Options::new());
    let socket = subject.data_directory().join("admin.sock");
    subject.kill9().expect("killed");
    assert!(socket.exists(), "a killed server leaves its file");
    subject.restart().expect("it starts again");
    let data = subject.data_directory();
    let asked = run(command(&["leader", "transfer", "--to", "1", "--data-dir"]).arg(&data));
    assert!(asked.2.contains("leads already"), "{}", asked.2);
    assert!(subject.terminate().expect("an end").success());
    assert!(!socket.exists());
}

#[test]
fn a_directory_too_deep_for_a_socket_is_told_and_served() {
    let data = directory();
    let deep = data.path().join("d".repeat(100));
    let mut command = serve(&deep);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("a process");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("give dataDir a shorter path")), "it is told");
    assert!(lines.any(|line| line.contains("serves clients on")), "it serves");
    child.kill().and_then(|()| child.wait()).expect("the server ends");
}

/// What is below a node, by a connection of the test's own.
fn children(server: SocketAddr, path: &str) -> Vec<String> {
    let (mut connection, _session) = connect(server);
    connection.call(&request::get_children(path, false)).and_then(|it| it.names()).expect("names")
}

#[test]
fn a_bench_counts_what_was_asked_and_leaves_nothing_behind() {
    let server = farwatch(Options::new());
    let sessions = || {
        let said = four_letter_word(server.address(), "mntr").expect("an answer");
        let line = said.lines().find(|line| line.starts_with("zk_global_sessions"));
        line.expect("a number of sessions").to_owned()
    };
    let address = server.address().to_string();
    let bench = |more: &[&str]| {
        let few = ["bench", &address, "--seconds", "0.3", "--warm-up", "0", "--nodes", "1500"];
        let (code, out, complaint) = run(command(&few).args(more));
        assert_eq!((code, complaint.as_str()), (0, ""), "{out}");
        out
    };
    let mixed: serde_json::Value =
        serde_json::from_str(&bench(&["--reads", "50", "--json"])).expect("JSON");
    let rate = |kind: &str| mixed[kind]["per_second"].as_f64().expect("a rate");
    assert!(rate("reads") > 0.0 && rate("writes") > 0.0, "{mixed}");
    let sum = mixed["per_second"].as_f64().expect("a rate");
    assert!((rate("reads") + rate("writes") - sum).abs() < 1.0, "{mixed}");
    assert_eq!(sessions(), "zk_global_sessions\t0");
    assert_eq!(children(server.address(), "/"), ["zookeeper"]);
    let (mut connection, _session) = connect(server.address());
    assert_eq!(
        connection.call(&request::create("/a", None, &ids::open(), 0)).expect("a reply").err,
        0
    );

    let watching = ["--reads", "50", "--watches", "100", "--json"];
    let watched: serde_json::Value = serde_json::from_str(&bench(&watching)).expect("JSON");
    assert!(watched["events_per_second"].as_f64().expect("a rate") > 0.0, "{watched}");
    assert!(mixed["events_per_second"].is_null(), "{mixed}");
    let table = bench(&["--create", "--rate", "200", "--below", "/a/b"]);
    assert!(table.contains("200 due each second"), "{table}");
    let row = table.lines().find(|line| line.starts_with("writes")).expect("a row of writes");
    let rate: f64 = row.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a rate");
    assert!(0.0 < rate && rate < 220.0, "{table}");
    assert!(!table.contains("reads"), "{table}");
    assert_eq!(children(server.address(), "/a"), [""; 0], "/a was there before, and stays");
}

#[test]
fn a_bench_says_what_stood_in_its_way() {
    let server = farwatch(Options::new().line("maxClientCnxns=3"));
    let address = server.address().to_string();
    let (code, _, complaint) = run(&mut command(&["bench", &address, "--connections", "8"]));
    assert_eq!(code, 1);
    assert!(complaint.contains("maxClientCnxns"), "{complaint}");
    assert_eq!(children(server.address(), "/"), ["zookeeper"]);
}

#[test]
fn a_dump_names_what_is_missing_and_bears_a_reader_that_has_seen_enough() {
    let (code, _, complaint) = run(&mut command(&["log", "dump", "/nope"]));
    assert_eq!(code, 1);
    assert!(complaint.contains("/nope/log"), "{complaint}");

    let server = farwatch(Options::new());
    let (mut connection, _session) = connect(server.address());
    let made = connection.call(&request::create("/seen", None, &ids::open(), 0));
    assert_eq!(made.expect("a reply").err, 0);
    let data = server.data_directory();
    let data = data.to_str().expect("text");
    assert!(run(&mut command(&["log", "dump", data])).1.contains("/seen"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let (code, _, complaint) = run(command(&["log", "dump", data]).stdout(writer));
    assert_eq!((code, complaint.as_str()), (0, ""));
}
