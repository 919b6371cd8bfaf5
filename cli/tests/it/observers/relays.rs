//! Observers that learn from observers: restarts in the middle, chains, and lists that name each
//! other.

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
