//! Leadership that is handed over because an operator wants it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::load::{Plan, under_load};
use super::servers::{DETECTION, Ensemble, until};
use crate::subject::{Chance, is_slow_asked_for};

/// Hands over to the follower after the leader, and says how long nobody wrote.
fn hand_over(ensemble: &Ensemble, ledger: &Ledger) -> Duration {
    ledger.until_more(20);
    let began = Instant::now();
    transfer(ensemble);
    ledger.until_more(20);
    ledger.longest_gap(began, Instant::now())
}

/// Hands over to the follower after the leader, which then leads.
pub fn transfer(ensemble: &Ensemble) {
    let (leader, epoch) = ensemble.leader();
    let to = leader % 3 + 1;
    let done = Command::new(env!("CARGO_BIN_EXE_farwatch"))
        .args(["leader", "transfer", "--to", &to.to_string(), "--data-dir"])
        .arg(&ensemble.server(leader).data)
        .output()
        .expect("a process");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    until("the other one leads", DETECTION, || {
        ensemble.find_leader().is_some_and(|(now, its)| now == to && epoch < its)
    });
}

#[test]
fn leadership_handed_over_under_load_fails_no_write_and_takes_less_than_an_election() {
    let test = "leadership_handed_over";
    let slow = is_slow_asked_for("15 hand-overs under load (3 are)");
    let mut chance = Chance::printed(test);
    let mut ensemble = Ensemble::start(&[]);
    let mut pauses = Vec::new();
    let outcome = under_load(&mut ensemble, Plan::default(), &mut chance, |ensemble, ledger| {
        for _ in 0..if slow { 15 } else { 3 } {
            pauses.push(hand_over(ensemble, ledger));
            ensemble.until_all_serve();
        }
    });
    outcome.print(test);
    pauses.sort_unstable();
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    eprintln!("{test}: nobody wrote for {median:?} (median), {longest:?} at most");
    assert_eq!((outcome.unanswered, outcome.reader_drops), (0, 0), "connections were lost");
    assert!(longest < DETECTION, "a hand-over waited for a silence to be noticed");
}

#[test]
fn leadership_goes_round_an_ensemble_that_nobody_writes_to() {
    let ensemble = Ensemble::start(&[]);
    // Three rounds: what a follower said before its leader had compared histories counted for nothing.
    for _ in 0..9 {
        transfer(&ensemble);
        ensemble.until_all_serve();
    }
}
