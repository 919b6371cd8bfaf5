//! Servers that were added with lists of their own, while the older ones were not told.

use std::process::Command;
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
