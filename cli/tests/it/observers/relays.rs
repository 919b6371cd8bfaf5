//! Observers that learn from observers: restarts in the middle, chains, and lists that name each
//! other.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use farwatch_bench::raw::four_letter_word;
use farwatch_observer::report::EnsembleReport;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::readers::while_reading;
use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, patient_client, places, point_at, set,
    snapshots_taken_over, until_at, until_it_learns, voters, wire,
};
use crate::ensemble::servers::{Ensemble, PATIENCE, Server, until};
use crate::subject::Chance;

#[track_caller]
fn until_level(ensemble: &Ensemble, observers: &[&Server]) {
    let level = committed(ensemble);
    for observer in observers {
        until_it_learns(observer);
        until_at(observer, level);
    }
}

/// Writes through the leader, and waits until all have it.
#[track_caller]
fn write_and_see(ensemble: &Ensemble, observers: &[&Server], value: &str) {
    let (leader, _) = ensemble.leader();
    set(&mut patient_client(ensemble.server(leader)), "/value", value.as_bytes());
    until_level(ensemble, observers);
}

#[test]
fn the_children_of_a_relay_that_is_restarted_go_on_without_a_snapshot() {
    let test = "a_relay_is_restarted";
    let mut chance = Chance::printed(test);
    let ensemble = voters(&[]);
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut relay = guest(&ensemble, 11, way.places(), &[]);
    let mut list = vec![relay.quorum];
    let mut only = guest(&ensemble, 12, &list, &[]); // it has to wait
    list.extend(way.places());
    let mut free = guest(&ensemble, 13, &list, &[]); // it has the voters as well
    for observer in [&mut relay, &mut only, &mut free] {
        observer.start();
    }
    until_level(&ensemble, &[&relay, &only, &free]);
    let seen = while_reading(&[&only, &free], "/value", |progress| {
        relay.kill();
        write_and_see(&ensemble, &[&free], "without the relay");
        progress.until_more(20);
        relay.start();
        write_and_see(&ensemble, &[&relay, &only, &free], "with it again");
        assert!(relay.terminate().success(), "it stops when it is asked to");
        write_and_see(&ensemble, &[&free], "without it once more");
        relay.start();
        write_and_see(&ensemble, &[&relay, &only, &free], "for good");
    });
    seen.nothing_failed(test);
    for observer in [&relay, &only, &free] {
        assert_eq!(snapshots_taken_over(observer), 0, "the log was enough");
    }
    equal_everywhere(&ensemble, &[&relay, &only, &free]);
}

#[test]
fn a_chain_of_observers_and_lists_that_name_each_other_come_to_one_state() {
    let test = "chains_and_circles";
    let mut chance = Chance::printed(test);
    let mut ensemble = voters(&[]);
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut one = guest(&ensemble, 11, way.places(), &[]);
    let mut two = guest(&ensemble, 12, &[one.quorum], &[]);
    let mut three = guest(&ensemble, 13, &[two.quorum], &[]);
    // Each prefers the other one to every voter.
    let mut left = guest(&ensemble, 21, &places(&ensemble), &[]);
    let mut right = guest(&ensemble, 22, &places(&ensemble), &[]);
    for (own, other) in [(&left, right.quorum), (&right, left.quorum)] {
        let list: Vec<_> = [other].into_iter().chain(places(&ensemble)).collect();
        point_at(own, &list, &[]);
    }
    for observer in [&mut three, &mut two, &mut one, &mut left, &mut right] {
        observer.start();
    }
    write_and_see(&ensemble, &[&one, &two, &three, &left, &right], "all are there");
    let mut client = patient_client(&three);
    set(&mut client, "/value", b"from the end of the chain");
    until_level(&ensemble, &[&one, &two, &three, &left, &right]);

    let (old, epoch) = ensemble.leader();
    ensemble.server_mut(old).kill();
    until("another one leads", PATIENCE, || {
        ensemble.find_leader().is_some_and(|(leader, its)| leader != old && epoch < its)
    });
    write_and_see(&ensemble, &[&one, &two, &three, &left, &right], "another leader");
    ensemble.server_mut(old).start();
    ensemble.until_all_serve();
    for observer in [&mut left, &mut two] {
        observer.kill();
        observer.start();
    }
    write_and_see(&ensemble, &[&one, &two, &three, &left, &right], "after restarts");
    equal_everywhere(&ensemble, &[&one, &two, &three, &left, &right]);
}

#[test]
fn the_nearest_of_a_list_is_learned_from_though_it_comes_last_and_again_when_it_is_back() {
    let test = "the_nearest";
    let mut chance = Chance::printed(test);
    let ensemble = voters(&[]);
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut relay = guest(&ensemble, 11, way.places(), &[]);
    let list: Vec<_> = way.places().iter().copied().chain([relay.quorum]).collect();
    let mut nearest = guest(&ensemble, 12, &list, &["farwatch.upstreamChoice=nearest"]);
    let mut first = guest(&ensemble, 13, &list, &[]);
    let learns_from_a_voter = |observer: &Server| {
        let upstream = observer.report().and_then(|report| report.leader);
        upstream.map(|upstream| ensemble.numbers().contains(&upstream))
    };
    relay.start();
    until_it_learns(&relay);
    nearest.start();
    first.start();
    until_level(&ensemble, &[&nearest, &first]);
    let from_the_relay = |observer| learns_from_a_voter(observer) == Some(false);
    until("it learns from the relay beside it", PATIENCE, || from_the_relay(&nearest));
    relay.kill();
    let from_a_voter = |observer| learns_from_a_voter(observer) == Some(true);
    until("it learns from a voter", PATIENCE, || from_a_voter(&nearest));
    write_and_see(&ensemble, &[&nearest, &first], "without the relay");
    relay.start();
    until("it learns from the relay again", PATIENCE, || from_the_relay(&nearest));
    write_and_see(&ensemble, &[&nearest, &first], "with it again");
    assert!(from_a_voter(&first), "the list says so");
    for observer in [&nearest, &first] {
        assert_eq!(snapshots_taken_over(observer), 0, "the log was enough");
    }
    equal_everywhere(&ensemble, &[&relay, &nearest, &first]);
}

/// Voters, a guest that learns from their leader, and one that learns from the first and knows the voters.
fn one_behind_another() -> (Ensemble, u32, [Server; 2]) {
    let ensemble = voters(&[]);
    let (leader, _) = ensemble.leader();
    let leading = ensemble.server(leader).quorum;
    let mut first = guest(&ensemble, 11, &[leading], &[]);
    let mut behind = guest(&ensemble, 12, &[first.quorum, leading], &[]);
    for observer in [&mut first, &mut behind] {
        observer.start();
        until_it_learns(observer);
    }
    (ensemble, leader, [first, behind])
}

/// The number that a guest has drawn.
fn drawn(guest: &Server) -> u32 {
    guest.report().expect("it says").me
}

#[test]
fn a_leader_tells_apart_who_learns_from_it_and_who_learns_elsewhere() {
    let (ensemble, leader, [first, behind]) = one_behind_another();
    let (one, two) = (drawn(&first), drawn(&behind));
    let leader = ensemble.server(leader);
    let learns = |report: &EnsembleReport, id: u32| {
        let peer = report.peers.iter().find(|peer| peer.id == id && peer.connected);
        peer.and_then(|peer| peer.learns)
    };
    until("the leader sees both", PATIENCE, || {
        let Some(report) = leader.report() else { return false };
        learns(&report, one) == Some(true) && learns(&report, two) == Some(false)
    });
    let said = output(Command::new(BINARY).args(["status", &leader.client.to_string()])).1;
    assert!(said.contains(&format!("guest {one} (127.0.0.1:")), "{said}");
    let line = said.lines().find(|line| line.contains(&format!("guest {two} (127.0.0.1:")));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(!line.contains("follow") && line.contains("learn"), "{line}");
}

#[test]
fn leadership_is_not_handed_to_who_has_no_vote_and_that_is_said_at_once() {
    let (ensemble, leader, [first, _behind]) = one_behind_another();
    let one = drawn(&first).to_string();
    let data = &ensemble.server(leader).data;
    let arguments = ["leader", "transfer", "--timeout", "600", "--to", &one, "--data-dir"];
    let (done, said) = output(Command::new(BINARY).args(arguments).arg(data));
    assert!(!done, "{said}");
    assert!(said.contains(&format!("server {one} has no vote, and cannot lead")), "{said}");
}

#[test]
fn a_guest_is_not_given_one_of_the_last_descriptors_and_comes_in_once_there_are_more() {
    let ensemble = voters(&[]);
    let voter = ensemble.server(1);
    // They take what numbers are free below the largest: the next connection has one above.
    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(voter.client)).collect();
    assert!(clients.iter().all(Result::is_ok));
    until("they are accepted", PATIENCE, || 20 < connections(voter));
    let open = fs::read_dir(format!("/proc/{}/fd", voter.pid())).expect("its files").count();
    let may_open = |limit| {
        let pid = i32::try_from(voter.pid()).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Nofile, limit).expect("another limit")
    };
    let usual = getrlimit(Resource::Nofile);
    may_open(Rlimit { current: Some(open as u64 + 10), ..usual });
    let mut guest = guest(&ensemble, 11, &[voter.quorum], &[]);
    guest.start();
    guest.until_it_says("may open no more files, but for its own");
    may_open(usual);
    until_it_learns(&guest);
}

/// Open connections of clients, the asking one among them.
fn connections(server: &Server) -> u64 {
    let text = four_letter_word(server.client, "srvr").expect("srvr");
    let line = text.lines().find_map(|line| line.strip_prefix("Connections: "));
    line.expect("a count").parse().expect("a number")
}

const BINARY: &str = env!("CARGO_BIN_EXE_farwatch");

/// Whether it succeeded, and what it said.
fn output(command: &mut Command) -> (bool, String) {
    let done = command.output().expect("a process");
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).expect("text"))
}
