//! Servers that are killed and come back, under load.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::ledger::Ledger;
use super::load::{Plan, StopOnDrop, under_load};
use super::reader::Reader;
use super::servers::{Ensemble, pass};
use crate::subject::{Chance, is_slow_asked_for};

/// Whom a round kills.
fn victims(ensemble: &Ensemble, chance: &mut Chance, round: u32) -> Vec<u32> {
    let (leader, _) = ensemble.leader();
    let followers = ensemble.followers();
    match round % 6 {
        0 | 2 => vec![leader],
        1 => vec![followers[chance.below(2) as usize]],
        3 => ensemble.numbers(), // as when the power fails: the disks are intact
        4 => vec![leader, followers[chance.below(2) as usize]],
        _ => followers,
    }
}

#[test]
fn no_acknowledged_write_is_lost_or_done_twice_when_servers_are_killed() {
    let test = "servers_are_killed";
    let slow = is_slow_asked_for("30 rounds of kill -9 in an ensemble (4 are)");
    let mut chance = Chance::printed(test);
    // Snapshots and purges every few hundred writes: kills hit them too.
    let lines = ["snapCount=500", "autopurge.purgeInterval=1", "farwatch.logRetainBytes=1"];
    let mut ensemble = Ensemble::start(&lines);
    let mut kills = chance.fork();
    let outcome = under_load(&mut ensemble, Plan::default(), &mut chance, |ensemble, ledger| {
        for round in 0..if slow { 30 } else { 4 } {
            pass(Duration::from_millis(50 + kills.below(400)));
            let victims = victims(ensemble, &mut kills, round);
            eprintln!("round {round}: {victims:?} of leader {:?}", ensemble.find_leader());
            for &victim in &victims {
                ensemble.server_mut(victim).kill();
            }
            if victims.len() == 1 {
                ledger.until_more(30); // two of three are a quorum
            }
            pass(Duration::from_millis(kills.below(400)));
            for victim in victims {
                ensemble.server_mut(victim).start();
            }
            ledger.until_more(30);
            if kills.below(2) == 0 {
                ensemble.until_all_serve(); // else the next kill comes before that
            }
        }
    });
    outcome.print(test);
}

/// Bounds for a machine that is busy with other tests; what is measured is printed.
const READ_GAP_MAX: Duration = Duration::from_millis(150);
const WRITE_GAP_MAX: Duration = Duration::from_secs(2);

/// Kills the leader while sessions on the other servers read: how long anybody read nothing, and how
/// long nobody wrote.
fn kill_beside_readers(ensemble: &mut Ensemble, ledger: &Ledger) -> (Duration, Duration) {
    let (leader, _) = ensemble.leader();
    let survivors = ensemble.clients_without(leader);
    let mut readers: Vec<Reader<'_>> = survivors
        .iter()
        .flat_map(|&server| [server, server])
        .map(|server| Reader::new(Client::of(server), ledger))
        .collect();
    let stop = AtomicBool::new(false);
    let write_gap = thread::scope(|scope| {
        let _guard = StopOnDrop(&stop);
        for reader in &mut readers {
            scope.spawn(|| reader.run(&stop));
        }
        ledger.until_more(30);
        let killed = Instant::now();
        ensemble.server_mut(leader).kill();
        ledger.until_more(30);
        ledger.longest_gap(killed, Instant::now())
    });
    ensemble.server_mut(leader).start();
    ensemble.until_all_serve();
    for reader in &readers {
        assert_eq!(reader.client.drops, 0, "a leader's death cost a reader its connection");
    }
    (readers.iter().map(|reader| reader.gap).max().expect("readers"), write_gap)
}

#[test]
fn a_leaders_death_does_not_reach_the_readers_and_holds_up_writers_for_an_election() {
    let test = "a_leaders_death";
    let slow = is_slow_asked_for("20 deaths of a leader beside readers (3 are)");
    let mut chance = Chance::printed(test);
    let mut ensemble = Ensemble::start(&[]);
    let plan = Plan { readers: 0, ..Plan::default() };
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    under_load(&mut ensemble, plan, &mut chance, |ensemble, ledger| {
        for _ in 0..if slow { 20 } else { 3 } {
            let (read_gap, write_gap) = kill_beside_readers(ensemble, ledger);
            reads.push(read_gap);
            writes.push(write_gap);
        }
    });
    reads.sort_unstable();
    writes.sort_unstable();
    let middle = reads.len() / 2;
    let (read_max, write_max) = (reads[reads.len() - 1], writes[writes.len() - 1]);
    eprintln!(
        "{test}: {} deaths; longest gap between reads on the others: median {:?}, max {read_max:?}; \
         between writes: median {:?}, max {write_max:?}",
        reads.len(),
        reads[middle],
        writes[middle],
    );
    assert!(read_max < READ_GAP_MAX, "readers waited for an election");
    assert!(write_max < WRITE_GAP_MAX, "writers waited longer than for an election");
}

#[test]
fn a_rolling_restart_loses_no_write_and_no_session() {
    let test = "a_rolling_restart";
    let mut chance = Chance::printed(test);
    let mut ensemble = Ensemble::start(&[]);
    let outcome = under_load(&mut ensemble, Plan::default(), &mut chance, |ensemble, ledger| {
        let (leader, _) = ensemble.leader();
        let mut order = ensemble.followers();
        order.push(leader); // as operators do it: one election
        for number in order {
            let started = Instant::now();
            let status = ensemble.server_mut(number).terminate();
            assert!(status.success(), "server {number}: {status}");
            let stopped = started.elapsed();
            ledger.until_more(10);
            ensemble.server_mut(number).start();
            ensemble.until_all_serve();
            eprintln!("server {number}: stopped in {stopped:?}, back in {:?}", started.elapsed());
            ledger.until_more(10);
        }
    });
    outcome.print(test);
}
