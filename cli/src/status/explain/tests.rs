//! Ensembles in trouble, and what is said about them.

use expect_test::{Expect, expect};
use farwatch_observer::report::{EnsembleReport, PeerReport};

use super::explain;

/// A peer that was heard a moment ago.
fn heard(id: u32) -> PeerReport {
    PeerReport {
        id,
        address: format!("zoo{id}:2888"),
        votes: true,
        connected: true,
        silent_ms: Some(40),
        ..PeerReport::default()
    }
}

/// A peer that is gone.
fn gone(id: u32, silent_ms: u64) -> PeerReport {
    PeerReport {
        connected: false,
        silent_ms: Some(silent_ms),
        last_error: Some("connection refused".to_owned()),
        last_error_ms: Some(300),
        ..heard(id)
    }
}

fn synced(id: u32, lag: u64) -> PeerReport {
    PeerReport { synced: Some(true), lag: Some(lag), acknowledged: Some(7), ..heard(id) }
}

fn report(me: u32, role: &str, phase: &str, peers: Vec<PeerReport>) -> EnsembleReport {
    let voters = peers.iter().filter(|peer| peer.votes).count() as u32 + 1;
    EnsembleReport {
        me,
        role: role.to_owned(),
        phase: phase.to_owned(),
        role_for_ms: 4200,
        epoch: 3,
        accepted_epoch: 3,
        committed: 0x3_0000_000f,
        applied: 0x3_0000_000f,
        quorum: voters / 2 + 1,
        peers,
        ..EnsembleReport::default()
    }
}

fn looking(me: u32, peers: Vec<PeerReport>) -> EnsembleReport {
    report(me, "looking", "election", peers)
}

#[track_caller]
fn check(reports: &[EnsembleReport], expected: Expect) {
    let text: String = explain(reports).iter().map(|line| format!("{line}\n")).collect();
    expected.assert_eq(&text);
}

#[test]
fn a_server_alone_needs_no_explanation() {
    check(&[report(1, "leading", "broadcast", vec![])], expect![[""]]);
    check(&[], expect![[""]]);
}

#[test]
fn a_healthy_ensemble_is_its_leader_and_who_follows() {
    let leader = report(2, "leading", "broadcast", vec![synced(1, 0), synced(3, 12)]);
    let follower = EnsembleReport {
        leader: Some(2),
        role_for_ms: 700_000,
        ..report(1, "following", "broadcast", vec![heard(2), heard(3)])
    };
    check(
        &[follower, leader],
        expect![[r#"
            server 2 leads epoch 3 for 4.2 s: 3 of 3 voters are in sync, 2 are needed; committed up to 0x30000000f
              server 1 follows, in sync
              server 3 follows, 12 transactions behind
            server 1 follows server 2 in epoch 3 for 11 min; applied up to 0x30000000f
        "#]],
    );
}

#[test]
fn how_far_away_a_server_is_is_said_of_those_that_are_far() {
    let far = |id, rtt_us| PeerReport { votes: false, rtt_us: Some(rtt_us), ..synced(id, 0) };
    let leader = report(2, "leading", "broadcast", vec![far(4, 80_600), far(5, 4_999)]);
    let upstream = PeerReport { rtt_us: Some(81_400), ..heard(2) };
    let observer =
        EnsembleReport { leader: Some(2), ..report(4, "learning", "broadcast", vec![upstream]) };
    check(
        &[observer, leader],
        expect![[r#"
            server 2 leads epoch 3 for 4.2 s: 1 of 1 voters are in sync, 1 are needed; committed up to 0x30000000f
              observer 4 follows, in sync, 81 ms away
              observer 5 follows, in sync
            server 4 learns from server 2 (81 ms away) in epoch 3 for 4.2 s; applied up to 0x30000000f
        "#]],
    );
}

#[test]
fn an_observer_without_upstream_says_whom_it_cannot_reach_and_counts_no_votes() {
    let upstream = |port: u16, id, silent_ms| PeerReport {
        id,
        address: format!("zoo1:{port}"),
        upstream: Some(format!("zoo1:{port}")),
        silent_ms,
        last_error: Some("127.0.0.1: connection refused".to_owned()),
        ..PeerReport::default()
    };
    let peers = vec![upstream(2888, 1, Some(3_000)), upstream(2889, u32::MAX, None)];
    let serves = "reads".to_owned();
    let report = looking(2_147_483_700, peers);
    let observer = EnsembleReport { observes: true, quorum: 1, serves, stale_ms: 3_100, ..report };
    check(
        &[observer],
        expect![[r#"
            no server that was asked serves: none is with a leader that has a quorum
            server 2147483700 is an observer, and learns from nobody for 4.2 s
              its connections read what it had 3.1 s ago
              zoo1:2888 is not heard: silent for 3.0 s, last error: 127.0.0.1: connection refused
              zoo1:2889 is not heard: never heard from, last error: 127.0.0.1: connection refused
            an observer serves everything again when one of these can be reached and is with a leader: ask the voters for their status
        "#]],
    );
}

#[test]
fn a_missing_a_frozen_and_a_late_follower_are_told_apart() {
    let frozen = PeerReport { silent_ms: Some(5000), ..synced(3, 0) };
    let late = PeerReport {
        synced: Some(false),
        lag: Some(1),
        last_error: Some("connection reset".to_owned()),
        last_error_ms: Some(9_000),
        ..heard(4)
    };
    let observer = PeerReport { votes: false, synced: Some(true), ..heard(9) };
    let never = PeerReport { silent_ms: None, last_error: None, ..gone(5, 0) };
    let peers = vec![gone(2, 61_000), frozen, late, never, observer];
    check(
        &[report(1, "leading", "synchronization", peers)],
        expect![[r#"
            no server that was asked serves: none is with a leader that has a quorum
            server 1 is about to lead, in synchronization for 4.2 s: 2 of 5 voters are in sync, 3 are needed
              server 2 (zoo2:2888) is missing: silent for 61 s, last error 0.3 s ago: connection refused
              server 3 (zoo3:2888) is missing: connected, and silent for 5.0 s
              server 4 catches up, 1 transaction behind (last error 9.0 s ago: connection reset)
              server 5 (zoo5:2888) is missing: never heard from
              observer 9 follows, in sync
            any 1 of servers 2, 3 and 5 must run and be reached: look at why not
        "#]],
    );
}

/// As a leader sees them that is one of several upstreams.
#[test]
fn who_learns_elsewhere_is_no_laggard_and_guests_are_named_by_where_they_are() {
    let observer = |id| PeerReport { votes: false, synced: Some(false), ..heard(id) };
    let guest = |id: u32| PeerReport {
        guest: true,
        address: format!("10.0.0.{}:4711", id % 10),
        learns: Some(false),
        ..observer(id)
    };
    let elsewhere = PeerReport { learns: Some(false), ..observer(4) };
    let relayed = PeerReport { learns: Some(false), through: Some(4), ..observer(5) };
    let new = PeerReport { learns: Some(true), ..observer(6) };
    let voter = PeerReport { votes: true, learns: Some(false), ..observer(2) };
    let level = PeerReport { learns: Some(true), synced: Some(true), ..guest(2_391_343_402) };
    let peers = vec![voter, elsewhere, relayed, new, guest(2_391_343_401), level];
    check(
        &[report(1, "leading", "broadcast", peers)],
        expect![[r#"
            server 1 leads epoch 3 for 4.2 s: 1 of 2 voters are in sync, 2 are needed; committed up to 0x30000000f
              server 2 is connected and does not follow yet
              observer 4 is connected, and does not learn from this server but, if from any, from another
              observer 5 learns through server 4
              observer 6 catches up
              guest 2391343401 (10.0.0.1:4711) is connected, and does not learn from this server but, if from any, from another
              guest 2391343402 (10.0.0.2:4711) follows, in sync
        "#]],
    );
}

#[test]
fn what_went_wrong_before_is_not_told_of_who_is_in_sync() {
    let mended = PeerReport { last_error: Some("connection refused".to_owned()), ..synced(2, 0) };
    let lines = explain(&[report(1, "leading", "broadcast", vec![mended])]);
    assert_eq!(lines[1], "  server 2 follows, in sync");
}

/// The notes' experiment: two servers serve, a third is added, then a fourth and a fifth with partial
/// lists, and the first two stop. Three of five live, and nothing serves.
#[test]
fn three_of_five_with_partial_lists_are_told_who_does_not_list_whom() {
    let dead = || vec![gone(1, 30_000), gone(2, 31_000)];
    let third = looking(3, dead());
    let unlisted = |id| PeerReport {
        connected: false,
        silent_ms: None,
        last_error: Some("it does not list this server".to_owned()),
        ..heard(id)
    };
    let fourth = looking(4, [dead(), vec![unlisted(3)]].concat());
    let fifth = looking(5, [dead(), vec![unlisted(3), heard(4)]].concat());
    check(
        &[third, fourth, fifth],
        expect![[r#"
            no server that was asked serves: none is with a leader that has a quorum
            server 3 looks for a leader for 4.2 s, in election: it counts 3 voters (1, 2 and 3), needs 2 of them, itself included, and it hears none of the others
              1 (zoo1:2888) is not heard: silent for 30 s, last error 0.3 s ago: connection refused
              2 (zoo2:2888) is not heard: silent for 31 s, last error 0.3 s ago: connection refused
            server 4 looks for a leader for 4.2 s, in election: it counts 4 voters (1, 2, 3 and 4), needs 3 of them, itself included, and it hears none of the others
              3 does not list server 4
              1 (zoo1:2888) is not heard: silent for 30 s, last error 0.3 s ago: connection refused
              2 (zoo2:2888) is not heard: silent for 31 s, last error 0.3 s ago: connection refused
            server 5 looks for a leader for 4.2 s, in election: it counts 5 voters (1, 2, 3, 4 and 5), needs 3 of them, itself included, and it hears none of the others
              3 and 4 do not list server 5
              1 (zoo1:2888) is not heard: silent for 30 s, last error 0.3 s ago: connection refused
              2 (zoo2:2888) is not heard: silent for 31 s, last error 0.3 s ago: connection refused
            a vote counts only between servers that list each other, and the lists differ: 3 names 1, 2 and 3; 4 names 1, 2, 3 and 4; 5 names 1, 2, 3, 4 and 5. Give every server the same server.N lines, and restart them one by one
        "#]],
    );
}

#[test]
fn without_a_majority_the_voters_that_are_needed_are_named() {
    let lone = looking(3, vec![gone(1, 5000), gone(2, 150_000)]);
    check(
        &[lone],
        expect![[r#"
            no server that was asked serves: none is with a leader that has a quorum
            server 3 looks for a leader for 4.2 s, in election: it counts 3 voters (1, 2 and 3), needs 2 of them, itself included, and it hears none of the others
              1 (zoo1:2888) is not heard: silent for 5.0 s, last error 0.3 s ago: connection refused
              2 (zoo2:2888) is not heard: silent for 2 min, last error 0.3 s ago: connection refused
            any 1 of servers 1 and 2 must run and be reached: look at why not
        "#]],
    );
    let pair = [(4, 5), (5, 4)]
        .map(|(me, other)| looking(me, vec![gone(1, 1), gone(2, 1), gone(3, 1), heard(other)]));
    check(
        &pair,
        expect![[r#"
            no server that was asked serves: none is with a leader that has a quorum
            server 4 looks for a leader for 4.2 s, in election: it counts 5 voters (1, 2, 3, 4 and 5), needs 3 of them, itself included, and it hears only 5
              1 (zoo1:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
              2 (zoo2:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
              3 (zoo3:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
            server 5 looks for a leader for 4.2 s, in election: it counts 5 voters (1, 2, 3, 4 and 5), needs 3 of them, itself included, and it hears only 4
              1 (zoo1:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
              2 (zoo2:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
              3 (zoo3:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
            any 1 of servers 1, 2 and 3 must run and be reached: look at why not
        "#]],
    );
}

#[test]
fn voters_that_run_and_cannot_reach_each_other_are_told_so() {
    let reports =
        [(1, 2), (2, 1)].map(|(me, other)| looking(me, vec![gone(other, 9000), gone(3, 1)]));
    check(
        &reports,
        expect![[r#"
            no server that was asked serves: none is with a leader that has a quorum
            server 1 looks for a leader for 4.2 s, in election: it counts 3 voters (1, 2 and 3), needs 2 of them, itself included, and it hears none of the others
              2 (zoo2:2888) is not heard although it runs: silent for 9.0 s, last error 0.3 s ago: connection refused
              3 (zoo3:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
            server 2 looks for a leader for 4.2 s, in election: it counts 3 voters (1, 2 and 3), needs 2 of them, itself included, and it hears none of the others
              1 (zoo1:2888) is not heard although it runs: silent for 9.0 s, last error 0.3 s ago: connection refused
              3 (zoo3:2888) is not heard: silent for 0.0 s, last error 0.3 s ago: connection refused
            as many voters run as are needed: they must reach each other's quorum ports, and elect within seconds when they do
        "#]],
    );
}

#[test]
fn one_number_of_two_servers_and_a_voter_without_its_disk_are_said() {
    let rejoining = EnsembleReport {
        rejoining: true,
        leader: Some(1),
        ..report(2, "following", "synchronization", vec![heard(1), heard(3)])
    };
    check(
        &[rejoining.clone(), rejoining],
        expect![[r#"
            two of the addresses are of server 2: one server was named twice, or two servers have one myid
            no server that was asked serves: none is with a leader that has a quorum
            server 2 is about to follow server 1: synchronization for 4.2 s
            server 2 is without its history: it copies another's, and votes when it has it
            as many voters run as are needed: they must reach each other's quorum ports, and elect within seconds when they do
        "#]],
    );
}

#[test]
fn enough_that_run_and_too_few_that_have_a_history_are_said() {
    let copies = |me, others: [u32; 2]| EnsembleReport {
        rejoining: true,
        ..report(me, "looking", "election", others.map(heard).to_vec())
    };
    let whole = report(1, "looking", "election", vec![heard(2), heard(3)]);
    let said = explain(&[whole, copies(2, [1, 3]), copies(3, [1, 2])]);
    let last = said.last().expect("advice");
    assert!(last.contains("a history (2 and 3)") && last.contains("2 that have theirs"), "{last}");
}
