//! Servers that were added with lists of their own, while the older ones were not told.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use farwatch_bench::raw::{ids, request};

use super::client::Client;
use super::servers::{Ensemble, Layout, PATIENCE, Server, configure, leads, pass, serves, until};

/// How long nothing must serve that must never serve: several elections.
const NEVER: Duration = Duration::from_secs(3);

/// What `farwatch status` says of all servers, and whether all serve.
fn status(ensemble: &Ensemble) -> (bool, String) {
    let clients: Vec<String> = ensemble.clients().iter().map(ToString::to_string).collect();
    let done = Command::new(env!("CARGO_BIN_EXE_farwatch"))
        .args(["status", &clients.join(",")])
        .output()
        .expect("a process");
    let said = String::from_utf8(done.stdout).expect("text");
    eprintln!("{said}");
    (done.status.success(), said)
}

#[track_caller]
fn says_all(said: &str, phrases: &[&str]) {
    for phrase in phrases {
        assert!(said.contains(phrase), "{phrase:?} is not said:\n{said}");
    }
}

fn serving(ensemble: &Ensemble) -> Vec<u32> {
    let reports = ensemble.reports().into_iter();
    reports.filter(serves).map(|report| report.me).collect()
}

/// It has met servers with a history, and looks for a leader that gives it to it.
#[track_caller]
fn until_it_looks(server: &Server) {
    until("it looks for a leader", PATIENCE, || {
        server.report().is_some_and(|report| report.role == "looking" && report.rejoining)
    });
}

#[test]
fn three_of_five_with_partial_lists_serve_nobody_and_status_says_why() {
    let mut ensemble = Ensemble::configured(5, &Layout::default());
    // Two know each other; each one that is added knows those before it, and they are not told.
    let all = ensemble.members();
    for (number, known) in [(1, 2), (2, 2), (3, 3), (4, 4), (5, 5)] {
        configure(ensemble.server(number), &all[..known], &[]);
    }
    for number in [1, 2] {
        ensemble.server_mut(number).start();
    }
    until("two serve", PATIENCE, || serving(&ensemble) == [1, 2]);
    let mut client = Client::of(ensemble.server(1).client);
    assert_eq!(client.must(&request::create("/kept", None, &ids::open(), 0)).err, 0);
    for number in [3, 4, 5] {
        ensemble.server_mut(number).start();
        until_it_looks(ensemble.server(number));
    }
    assert_eq!(client.must(&request::exists("/kept", false)).err, 0, "the first two serve on");
    let (all_serve, said) = status(&ensemble);
    assert!(!all_serve);
    says_all(&said, &["leads epoch ", "2 of 2 voters are in sync", "1 and 2 do not list server 3"]);

    for number in [1, 2] {
        ensemble.server_mut(number).kill();
    }
    let stopped = Instant::now();
    while stopped.elapsed() < NEVER {
        assert_eq!(serving(&ensemble), [0; 0], "three that do not list each other decided");
        pass(Duration::from_millis(20));
    }
    let (all_serve, said) = status(&ensemble);
    assert!(!all_serve);
    says_all(
        &said,
        &[
            "connection refused: no server runs there",
            "no server that was asked serves",
            "server 3 looks for a leader",
            "it counts 3 voters (1, 2 and 3), needs 2 of them, itself included, and it hears none",
            "it counts 4 voters (1, 2, 3 and 4), needs 3 of them",
            "it counts 5 voters (1, 2, 3, 4 and 5), needs 3 of them",
            "3 does not list server 4",
            "3 and 4 do not list server 5",
            "a vote counts only between servers that list each other, and the lists differ: 3 names \
             1, 2 and 3; 4 names 1, 2, 3 and 4; 5 names 1, 2, 3, 4 and 5",
            "Give every server the same server.N lines",
        ],
    );
    // The two that know each other are enough, and have what they had.
    for number in [1, 2] {
        ensemble.server_mut(number).start();
    }
    until("two serve again", PATIENCE, || ensemble.reports().iter().any(leads));
    let mut client = Client::of(ensemble.server(2).client);
    assert_eq!(client.must(&request::exists("/kept", false)).err, 0);
}

/// Starts a server with its directory, and says with which code it ended and what it said; it is stopped where it
/// would have gone on.
fn tries_to_serve(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_farwatch"))
        .args(["serve", "--stop-with-stdin"])
        .args(arguments)
        .env_remove("FARWATCH_LOG")
        .env("ZOO_DATA_DIR", &server.data)
        .env("ZOO_DATA_LOG_DIR", &server.data)
        .stdin(Stdio::null())
        .output()
        .expect("a process");
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).expect("text"))
}

/// What it does alone, be it the end of a session that nobody holds any more, would be an epoch beyond that of the
/// others, and what those had acknowledged would be lost behind it.
#[test]
fn a_voter_that_is_started_without_its_list_begins_no_history_of_its_own() {
    let mut ensemble = Ensemble::configured(3, &Layout::default());
    (1..=3).for_each(|number| ensemble.server_mut(number).start());
    until("three serve", PATIENCE, || serving(&ensemble) == [1, 2, 3]);
    ensemble.server_mut(1).kill();
    until("two serve", PATIENCE, || ensemble.reports().iter().any(leads));
    let mut client = Client::of(ensemble.server(2).client);
    assert_eq!(client.must(&request::create("/kept", None, &ids::open(), 0)).err, 0);
    for number in [2, 3] {
        ensemble.server_mut(number).kill();
    }
    let (code, said) = tries_to_serve(ensemble.server(1), &["--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(3), "{said}");
    says_all(&said, &["served among 1, 2 and 3", "among 1 alone", "--change-voters"]);
    // Two others in the list instead of one are as bad.
    let all = ensemble.members();
    configure(ensemble.server(1), &all[..1], &["standaloneEnabled=false".to_owned()]);
    let config = ensemble.server(1).folder.join("zoo.cfg");
    let config = config.to_str().expect("text");
    let (code, said) = tries_to_serve(ensemble.server(1), &["--config", config]);
    assert_eq!(code, Some(3), "{said}");
    configure(ensemble.server(1), &all, &[]);
    (1..=3).for_each(|number| ensemble.server_mut(number).start());
    until("three serve again", PATIENCE, || serving(&ensemble) == [1, 2, 3]);
    let mut client = Client::of(ensemble.server(1).client);
    assert_eq!(client.must(&request::exists("/kept", false)).err, 0);
    // On purpose it goes on alone.
    (1..=3).for_each(|number| ensemble.server_mut(number).kill());
    let alone = ["--listen", "127.0.0.1:0", "--change-voters"];
    let (code, said) = tries_to_serve(ensemble.server(1), &alone);
    assert_eq!(code, Some(0), "{said}");
}

/// Its history would have to be copied whole, for a file that is none of it.
#[test]
fn a_voter_that_rejoins_without_knowing_whom_it_voted_among_keeps_its_history() {
    let mut ensemble = Ensemble::configured(3, &Layout::default());
    (1..=3).for_each(|number| ensemble.server_mut(number).start());
    until("three serve", PATIENCE, || serving(&ensemble) == [1, 2, 3]);
    ensemble.server_mut(1).kill();
    let server = ensemble.server(1);
    let names = || {
        let entries = fs::read_dir(&server.data).expect("its directory").flatten();
        entries.map(|entry| entry.file_name()).collect::<BTreeSet<_>>()
    };
    fs::write(server.data.join("voters"), b"FWVT and junk").expect("damage");
    let (before, config) = (names(), server.folder.join("zoo.cfg"));
    let config = config.to_str().expect("text");
    let (code, said) = tries_to_serve(server, &["--config", config, "--rejoin"]);
    assert_eq!(code, Some(3), "{said}");
    says_all(&said, &["voters: the file is damaged", "restore it from a backup"]);
    assert_eq!(names(), before, "nothing is put aside, and nothing marked");
}

/// The list of a server where the first of all votes and the others observe.
fn configure_with_observers(server: &Server, all: &[(u32, SocketAddr)]) {
    let observer = |(id, at): &(u32, SocketAddr)| format!("server.{id}={at}:1:observer");
    let mut lines: Vec<String> = all[1..].iter().map(observer).collect();
    lines.push("standaloneEnabled=false".to_owned());
    configure(server, &all[..1], &lines);
}

fn in_sync(ensemble: &Ensemble) -> usize {
    let reports = ensemble.reports();
    let leader = reports.iter().find(|report| leads(report));
    leader.map_or(0, |it| it.peers.iter().filter(|peer| peer.synced == Some(true)).count())
}

/// As docs/operating.md says, "Other voters".
#[test]
fn one_server_becomes_three_and_three_become_four_and_all_keep_what_was_written() {
    let mut ensemble = Ensemble::configured(4, &Layout::default());
    configure(ensemble.server(1), &ensemble.members()[..1], &[]);
    ensemble.server_mut(1).start();
    let at = ensemble.server(1).client;
    until("one serves", PATIENCE, || TcpStream::connect(at).is_ok());
    let mut client = Client::of(at);
    assert_eq!(client.must(&request::create("/kept", None, &ids::open(), 0)).err, 0);
    ensemble.server_mut(1).kill();
    // Three, of which the first alone votes; then all of them.
    let members = ensemble.members();
    for number in 1..=3 {
        configure_with_observers(ensemble.server(number), &members[..3]);
        ensemble.server_mut(number).start();
    }
    until("two have copied", PATIENCE, || in_sync(&ensemble) == 2);
    for number in 1..=3 {
        ensemble.server_mut(number).kill();
        configure(ensemble.server(number), &members[..3], &[]);
    }
    // With the one that has it all.
    (1..=2).for_each(|number| ensemble.server_mut(number).start());
    until("two serve", PATIENCE, || serving(&ensemble) == [1, 2]);
    ensemble.server_mut(3).start();
    until("three serve", PATIENCE, || serving(&ensemble) == [1, 2, 3]);
    // One more, one after the other.
    for number in 1..=4 {
        configure(ensemble.server(number), &members, &[]);
    }
    ensemble.server_mut(4).start();
    for number in 1..=3 {
        ensemble.server_mut(number).kill();
        ensemble.server_mut(number).start();
        until("it serves again", PATIENCE, || serving(&ensemble).contains(&number));
    }
    until("three are in sync with a fourth", PATIENCE, || in_sync(&ensemble) == 3);
    let mut client = Client::of(ensemble.server(4).client);
    assert_eq!(client.must(&request::exists("/kept", false)).err, 0);
    assert_eq!(client.must(&request::create("/more", None, &ids::open(), 0)).err, 0);
}

/// As behind a translation of addresses: the others reach a server by an address that it has not.
#[test]
fn a_server_whose_listed_address_is_not_its_own_listens_on_all_if_it_is_told_to() {
    let mut ensemble = Ensemble::configured(1, &Layout::default());
    let port = ensemble.server(1).quorum.port();
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], port)); // nobody's, by RFC 5737
    let alone = "standaloneEnabled=false".to_owned();
    configure(ensemble.server(1), &[(1, elsewhere)], std::slice::from_ref(&alone));
    ensemble.server_mut(1).start();
    assert!(!ensemble.server_mut(1).wait_for_end().success());
    ensemble.server(1).until_it_says("or set quorumListenOnAllIPs=true");

    let lines = [alone, "quorumListenOnAllIPs=true".to_owned()];
    configure(ensemble.server(1), &[(1, elsewhere)], &lines);
    ensemble.server_mut(1).start();
    until("it serves", PATIENCE, || serving(&ensemble) == [1]);
    for own in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)] {
        TcpStream::connect((own, port)).expect("peers are accepted on every address");
    }
}
