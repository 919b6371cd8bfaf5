//! Deaths in the middle of what an observer is being sent.

use std::time::Instant;

use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, patient_client, places, set,
    snapshots_taken_over, until_at, until_it_learns, voters,
};
use crate::ensemble::servers::{PATIENCE, until};
use crate::ensemble::snapshots::{LINES, NODES, arrived, write_past};
use crate::subject::Chance;
use farwatch_cli::demo::wire::{Quality, Wire};

/// What an observer misses, in writes of so many bytes: seconds at the rate of its way.
const MISSED: u32 = 100;
const VALUE_BYTES: usize = 60_000;
const BYTES_PER_SECOND: u64 = 3_000_000;

#[test]
fn an_observer_that_is_killed_while_it_catches_up_goes_on_where_it_was() {
    let test = "killed_while_it_catches_up";
    let mut chance = Chance::printed(test);
    let ensemble = voters(&[]);
    let rate = Some(BYTES_PER_SECOND);
    let quality = Quality { bytes_per_second: rate, ..Quality::with_rtt(NEAR) };
    let way = Wire::start(&places(&ensemble), quality).expect("a wire");
    let mut site = guest(&ensemble, 11, way.places(), &[]);
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    create(&mut client, "/value", b"first");
    site.start();
    until_it_learns(&site);
    let before = until_level(&ensemble, &site);
    site.kill();
    for _ in 0..MISSED {
        set(&mut client, "/value", &[b'v'; VALUE_BYTES]);
    }
    let missed = committed(&ensemble);
    for _ in 0..2 {
        site.start();
        let part = before + 1 + chance.below((missed - before) / 2);
        until(&format!("{part:#x} is durable"), PATIENCE, || {
            site.report().is_some_and(|report| part <= report.durable)
        });
        site.kill();
        eprintln!("{test}: killed behind {part:#x} of {before:#x} to {missed:#x}");
    }
    site.start();
    let took = until_at(&site, missed);
    let carried = way.carried().down;
    eprintln!("{test}: level {took:?} after the last start, {carried} bytes altogether");
    assert_eq!(snapshots_taken_over(&site), 0, "the log was enough");
    equal_everywhere(&ensemble, &[&site]);
}

fn until_level(
    ensemble: &crate::ensemble::servers::Ensemble,
    site: &crate::ensemble::servers::Server,
) -> u64 {
    let level = committed(ensemble);
    until_at(site, level);
    level
}

#[test]
fn an_observer_whose_upstream_dies_in_a_snapshot_is_given_one_by_the_next() {
    let test = "an_upstream_dies_in_a_snapshot";
    let mut chance = Chance::printed(test);
    let mut ensemble = voters(&LINES);
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    let founded = committed(&ensemble);
    for node in 0..NODES {
        create(&mut client, &format!("/n{node}"), b"");
    }
    write_past(&ensemble, &mut client, founded);
    // The first of its list is the leader, or is not.
    let first = 1 + chance.below(3) as usize;
    let mut list = places(&ensemble);
    list.rotate_left(first - 1);
    let leader = ensemble.leader().0;
    eprintln!("{test}: server {first} is killed, server {leader} leads");
    let mut site = guest(&ensemble, 11, &list, &LINES);
    site.start();
    let part = 1 + chance.below(4_000_000);
    until("part of a snapshot is there", PATIENCE, || part <= arrived(&site));
    ensemble.server_mut(first as u32).kill();
    let killed = Instant::now();
    until("the others have a leader", PATIENCE, || ensemble.find_leader().is_some());
    until_it_learns(&site);
    eprintln!("{test}: at {part} bytes; it learned {:?} after that", killed.elapsed());
    ensemble.server_mut(first as u32).start();
    ensemble.until_all_serve();
    until_at(&site, committed(&ensemble));
    equal_everywhere(&ensemble, &[&site]);
    assert_eq!(snapshots_taken_over(&site), 1, "it was sent one snapshot");
}
