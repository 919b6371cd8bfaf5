//! Every kind of observer reaches the state of the voters, and writes go through each.

use std::net::SocketAddr;
use std::time::Instant;

use super::sites::{
    FAR, NEAR, committed, create, equal_everywhere, guest, lines, patient_client, places, shown,
    snapshots_taken_over, until_at, until_it_learns, wire,
};
use crate::ensemble::servers::{Ensemble, Layout, PATIENCE, Server, configure, until};
use crate::subject::{Chance, is_slow_asked_for};

/// Writes through each server.
const WRITES: u32 = 5;

/// Three voters that list one observer, which reaches them through `ways`.
fn with_a_listed_observer(ensemble: &mut Ensemble, ways: &[SocketAddr]) -> Server {
    let observer = ensemble.another("listed", 4);
    let line = format!("server.4={}:{}:1:observer", observer.quorum.ip(), observer.quorum.port());
    let lines = lines(&[&line]);
    for server in &ensemble.servers {
        configure(server, &ensemble.members(), &lines);
    }
    ensemble.start_all();
    ensemble.until_all_serve();
    // All have the same list; whom it learns from is its own affair.
    let ways: Vec<String> = ways.iter().map(ToString::to_string).collect();
    let observe = format!("farwatch.observe={}", ways.join(","));
    configure(&observer, &ensemble.members(), &[lines, vec![observe]].concat());
    observer
}

/// Writes through one server: its writer sees each at once, and all the others in the end.
fn write_through(server: &Server, all: &[&Server]) {
    let mut client = patient_client(server);
    let mut took = Vec::new();
    let mut paths = Vec::new();
    for number in 0..WRITES {
        let path = format!("/through-{}-{number}", server.number);
        let began = Instant::now();
        create(&mut client, &path, path.as_bytes());
        took.push(began.elapsed());
        assert_eq!(shown(&mut client, &path).as_ref(), Some(&path), "its writer does not see it");
        paths.push(path);
    }
    took.sort_unstable();
    for other in all {
        let mut reader = patient_client(other);
        for path in &paths {
            until(&format!("server {} shows {path}", other.number), PATIENCE, || {
                shown(&mut reader, path).as_ref() == Some(path)
            });
        }
    }
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("through server {}: median {median:?}, longest {longest:?}", server.number);
}

#[test]
fn observers_by_line_guests_and_guests_behind_guests_have_the_state_and_take_writes() {
    let test = "observers_of_each_kind";
    let slow = is_slow_asked_for("a way of 300 ms to observers of each kind (80 ms is)");
    let mut chance = Chance::printed(test);
    for rtt in if slow { vec![NEAR, FAR] } else { vec![NEAR] } {
        let mut ensemble = Ensemble::configured(3, &Layout::default());
        let way = wire(&ensemble, rtt, &mut chance);
        let mut listed = with_a_listed_observer(&mut ensemble, way.places());
        create(&mut patient_client(ensemble.server(1)), "/before", b"they came");
        let mut first = guest(&ensemble, 11, way.places(), &[]);
        let mut behind = guest(&ensemble, 12, &[first.quorum], &[]);
        let mut close = guest(&ensemble, 13, &places(&ensemble), &[]);
        let began = Instant::now();
        for observer in [&mut behind, &mut first, &mut listed, &mut close] {
            observer.start(); // whoever is behind another one has to wait for it
        }
        let observers = [&listed, &first, &behind, &close];
        for observer in observers {
            until_it_learns(observer);
            until_at(observer, committed(&ensemble));
            eprintln!("{rtt:?}: observer {} after {:?}", observer.number, began.elapsed());
        }
        let all: Vec<&Server> = ensemble.servers.iter().chain(observers).collect();
        for server in &all {
            write_through(server, &all);
        }
        equal_everywhere(&ensemble, &observers);
        for observer in observers {
            assert_eq!(snapshots_taken_over(observer), 0, "the log was enough");
        }
        eprintln!("{test} at {rtt:?}: {:?}", way.carried());
    }
}
