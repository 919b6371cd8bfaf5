//! Servers that are killed and come back, under load.

use std::time::Duration;

use super::load::{Plan, under_load};
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
