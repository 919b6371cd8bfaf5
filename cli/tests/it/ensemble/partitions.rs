//! Ways between servers that are cut: one server alone, one way only, between two only, on and off.

use std::time::Duration;

use farwatch_bench::raw::{ids, request};

use super::client::Client;
use super::ledger::Ledger;
use super::load::{Plan, under_load};
use super::network::{Network, in_a_network};
use super::servers::{DETECTION, Ensemble, PATIENCE, leads, pass, until};
use crate::subject::{Chance, is_slow_asked_for};

/// How long a cut lasts: beyond every limit after which servers part.
const CUT: Duration = Duration::from_millis(1200);

/// A leader and its followers.
fn roles(ensemble: &Ensemble) -> (u32, u32, u32) {
    let (leader, _) = ensemble.leader();
    let followers = ensemble.followers();
    (leader, followers[0], followers[1])
}

/// Mends all, and waits until everybody serves.
#[track_caller]
fn calm(network: &Network, ensemble: &Ensemble, ledger: &Ledger) {
    network.heal();
    ensemble.until_all_serve();
    ledger.until_more(20);
}

/// A session that knows no server but this one, connected.
fn bound_to(ensemble: &Ensemble, number: u32) -> Client {
    let mut client = Client::new(vec![ensemble.server(number).client], 0, 20_000);
    client.connect();
    client.with_patience(CUT)
}

#[track_caller]
fn writes_nothing(client: &mut Client, path: &str) {
    let create = request::create(path, None, &ids::open(), 0);
    let reply = client.call(&create);
    assert!(reply.is_none(), "a server without a quorum acknowledged: {reply:?}");
}

fn leader_alone(network: &Network, ensemble: &Ensemble, ledger: &Ledger) {
    let (leader, one, other) = roles(ensemble);
    let (_, epoch) = ensemble.leader();
    let mut bound = bound_to(ensemble, leader);
    network.cut(leader, one);
    network.cut(leader, other);
    until("the majority has a leader of its own", PATIENCE, || {
        ensemble.find_leader().is_some_and(|(_, now)| epoch < now)
    });
    ledger.until_more(20);
    writes_nothing(&mut bound, &format!("/alone-{epoch}"));
    until("the leader alone has stopped", PATIENCE, || {
        ensemble.server(leader).report().is_some_and(|report| !leads(&report))
    });
    calm(network, ensemble, ledger);
}

fn follower_alone(network: &Network, ensemble: &Ensemble, ledger: &Ledger) {
    let (_, one, other) = roles(ensemble);
    let before = ensemble.leader();
    let mut bound = bound_to(ensemble, one);
    network.cut(one, before.0);
    network.cut(one, other);
    pass(DETECTION);
    writes_nothing(&mut bound, &format!("/follower-{}", before.1));
    ledger.until_more(20);
    calm(network, ensemble, ledger);
    assert_eq!(ensemble.leader(), before, "a follower that came back unseated the leader");
}

/// The leader is heard by nobody, and hears everybody.
fn leader_is_not_heard(network: &Network, ensemble: &Ensemble, ledger: &Ledger) {
    let (leader, one, other) = roles(ensemble);
    let (_, epoch) = ensemble.leader();
    network.cut_one_way(leader, one);
    network.cut_one_way(leader, other);
    until("the majority has a leader of its own", PATIENCE, || {
        ensemble.find_leader().is_some_and(|(now, its)| epoch < its && now != leader)
    });
    ledger.until_more(20);
    calm(network, ensemble, ledger);
}

/// One follower is not heard, or hears nothing: the others go on.
fn one_way_to_a_follower(network: &Network, ensemble: &Ensemble, ledger: &Ledger, both: bool) {
    for outwards in [true, false].into_iter().take(1 + usize::from(both)) {
        let (leader, one, _) = roles(ensemble);
        if outwards {
            network.cut_one_way(leader, one);
        } else {
            network.cut_one_way(one, leader);
        }
        pass(CUT);
        ledger.until_more(20);
        calm(network, ensemble, ledger);
    }
}

/// Two do not reach each other, and both reach the third.
fn partial(network: &Network, ensemble: &Ensemble, ledger: &Ledger, both: bool) {
    let (leader, one, other) = roles(ensemble);
    for (from, to) in [(leader, one), (one, other)].into_iter().take(1 + usize::from(both)) {
        network.cut(from, to);
        pass(CUT);
        ledger.until_more(20);
        calm(network, ensemble, ledger);
    }
}

fn flapping(network: &Network, ensemble: &Ensemble, chance: &mut Chance, times: u32) {
    for _ in 0..times {
        let pairs = [(1, 2), (2, 3), (1, 3)];
        let (one, other) = pairs[chance.below(3) as usize];
        match chance.below(3) {
            0 => network.cut_one_way(one, other),
            1 => network.cut_one_way(other, one),
            _ => network.cut(one, other),
        }
        pass(Duration::from_millis(50 + chance.below(500)));
        network.heal();
        pass(Duration::from_millis(chance.below(300)));
    }
    ensemble.until_all_serve();
}

#[test]
fn cut_ways_lose_no_write_and_a_quorum_that_can_talk_goes_on() {
    let test = "cut_ways";
    let slow = is_slow_asked_for("5 times each way of cutting ways (1 is)");
    let mut chance = Chance::printed(test);
    in_a_network(test, |network| {
        let mut ensemble = Ensemble::configured(3, &network.layout());
        ensemble.start_all();
        ensemble.until_all_serve();
        let (pause, patience) = (Duration::from_millis(10), Duration::from_secs(1));
        let plan = Plan { pause, patience, ..Plan::default() };
        let mut flaps = chance.fork();
        let outcome = under_load(&mut ensemble, plan, &mut chance, |ensemble, ledger| {
            for _ in 0..if slow { 5 } else { 1 } {
                leader_alone(network, ensemble, ledger);
                follower_alone(network, ensemble, ledger);
                leader_is_not_heard(network, ensemble, ledger);
                one_way_to_a_follower(network, ensemble, ledger, slow);
                partial(network, ensemble, ledger, slow);
                flapping(network, ensemble, &mut flaps, if slow { 10 } else { 4 });
            }
        });
        outcome.print(test);
    });
}
