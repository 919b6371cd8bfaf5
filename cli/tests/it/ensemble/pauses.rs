//! Servers that stand still and go on, as a virtual machine does that is moved.

use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::load::{Plan, under_load};
use super::servers::{DETECTION, Ensemble, pass, until};
use crate::subject::{Chance, is_slow_asked_for};

/// What an election may take behind the detection.
const ELECTION: Duration = Duration::from_millis(300);

/// The bound for one that meets a busy machine.
const SLOWEST: Duration = Duration::from_secs(2);

/// Freezes a server for some time; when another one leads meanwhile, how long that took.
fn freeze(ensemble: &mut Ensemble, ledger: &Ledger, who: u32, time: Duration) -> Option<Duration> {
    let (leader, epoch) = ensemble.leader();
    let began = Instant::now();
    ensemble.server_mut(who).freeze();
    let mut elected = None;
    if who == leader && DETECTION + ELECTION < time {
        until("the others have a leader", SLOWEST, || {
            ensemble.find_leader().is_some_and(|(_, now)| epoch < now)
        });
        elected = Some(began.elapsed());
    }
    if who != leader || elected.is_some() {
        ledger.until_more(10); // the others write without it
    }
    pass(time.saturating_sub(began.elapsed()));
    ensemble.server_mut(who).thaw();
    // What its clients had sent before is answered by then, in the old epoch or never.
    ensemble.until_all_serve();
    ledger.until_more(10);
    eprintln!(
        "server {who} of leader {leader} stood still for {time:?}: elected after {elected:?}"
    );
    elected
}

#[test]
fn a_leader_that_stood_still_acknowledges_nothing_of_its_own_and_follows() {
    let test = "a_leader_stood_still";
    let slow = is_slow_asked_for("pauses of a leader of up to 30 s (0.1 to 1.5 s are)");
    let mut chance = Chance::printed(test);
    let millis: &[u64] = if slow {
        &[100, 300, 600, 900, 1300, 2500, 5000, 12_000, 30_000]
    } else {
        &[100, 650, 1500]
    };
    let mut ensemble = Ensemble::start(&[]);
    let mut elections = Vec::new();
    let plan = Plan { pause: Duration::from_millis(10), ..Plan::default() };
    let outcome = under_load(&mut ensemble, plan, &mut chance, |ensemble, ledger| {
        for &millis in millis {
            let (leader, _) = ensemble.leader();
            elections.extend(freeze(ensemble, ledger, leader, Duration::from_millis(millis)));
        }
        let follower = ensemble.followers()[0];
        freeze(ensemble, ledger, follower, Duration::from_millis(1200));
    });
    outcome.print(test);
    elections.sort_unstable();
    let median = elections[elections.len() / 2];
    eprintln!("{test}: elected after {median:?} (median), {:?} at most", elections.last());
    // A busy machine only adds, and each was held against `SLOWEST`: the fastest tells of the timers.
    assert!(elections[0] < DETECTION + ELECTION, "{elections:?}");
}
