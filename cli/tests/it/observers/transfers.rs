//! A snapshot on its way to an observer far away: cuts of the way, and deaths of who sends it.
//!
//! ```text
//! voter: snapshot, part by part ─► wire: rtt, rate, bytes ─► observer: incoming.tmp ─► its history
//! ```

use std::time::Instant;

use farwatch_bench::raw::request::get_data;
use farwatch_cli::demo::wire::{Cut, Quality, Wire};
use farwatch_observer::snapshot_transfer::PART_BYTES;

use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, lines, patient_client, set, shown,
    snapshots_taken_over, until_at, until_it_learns, voters,
};
use crate::ensemble::servers::{Ensemble, PATIENCE, Server, configure, until};
use crate::ensemble::snapshots::{LINES, NODES, arrived, newest_snapshot, write_past};
use crate::subject::Chance;

/// What a way carries in a second: a snapshot is on it for three.
const BYTES_PER_SECOND: u64 = 3_000_000;

/// Bytes are to be counted: the nodes of these snapshots would be next to nothing on a link that compresses.
const PLAIN: [&str; 1] = ["farwatch.linkCompression=off"];

/// What a break costs at most: the part that it broke, and the first one, behind which the observer says how much
/// of the snapshot it has.
const BREAK_BYTES: u64 = 2 * PART_BYTES as u64;

/// What may cross beside that: heartbeats, echoes, a hundred small records, and what a busy machine has not read yet
/// when it is broken off.
const MORE_BYTES: u64 = 512 << 10;

/// A long way to the voters that have these numbers.
fn way_to(ensemble: &Ensemble, voters: &[u32]) -> Wire {
    let quorums: Vec<_> = voters.iter().map(|&it| ensemble.server(it).quorum).collect();
    let rate = Some(BYTES_PER_SECOND);
    let quality = Quality { bytes_per_second: rate, ..Quality::with_rtt(NEAR) };
    Wire::start(&quorums, quality).expect("a wire")
}

/// Writes through the leader until every voter would send a snapshot to whoever has no more than what is committed
/// now, and little behind it.
fn outgrow(ensemble: &Ensemble) {
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    let before = committed(ensemble);
    for node in 0..NODES {
        create(&mut client, &format!("/n{node}"), b"");
    }
    write_past(ensemble, &mut client, before);
    let large = committed(ensemble);
    until("every voter has a snapshot of all that is large", PATIENCE, || {
        set(&mut client, "/value", b"later");
        ensemble.servers.iter().all(|server| large <= newest_snapshot(server).0)
    });
}

/// Starts a server again so that it takes no more snapshots: the one that it has stays its newest.
fn take_no_more_snapshots(ensemble: &mut Ensemble, number: u32) {
    ensemble.server_mut(number).kill();
    let others: Vec<&str> =
        LINES.into_iter().filter(|line| !line.starts_with("snapCount")).collect();
    configure(ensemble.server(number), &ensemble.members(), &lines(&others));
    ensemble.server_mut(number).start();
    ensemble.until_all_serve();
}

/// What becomes of a way, or of both the way and who is at its end.
#[derive(Clone, Copy, Debug)]
enum Break {
    Silent,
    Reset,
    /// The machine of the sender goes down, with all that was under way, and comes back.
    Death,
}

/// Breaks off what is under way from `sender` to `site`, and mends it when that has noticed.
fn break_off(ensemble: &mut Ensemble, sender: u32, site: &Server, way: &Wire, how: Break) {
    way.cut(match how {
        Break::Silent => Cut::Silent,
        Break::Reset | Break::Death => Cut::Reset,
    });
    if matches!(how, Break::Death) {
        ensemble.server_mut(sender).kill();
    }
    until("the observer has no link", PATIENCE, || {
        site.report().is_some_and(|report| report.peers.iter().all(|peer| !peer.connected))
    });
    if matches!(how, Break::Death) {
        ensemble.server_mut(sender).start();
    }
    way.heal();
}

#[test]
fn a_snapshot_over_a_long_way_goes_on_where_cuts_and_its_senders_death_broke_it_off() {
    let test = "a_snapshot_is_broken_off";
    let mut chance = Chance::printed(test);
    let mut ensemble = voters(&LINES);
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    let sender = 1 + chance.below(3) as u32;
    let way = way_to(&ensemble, &[sender]);
    let mut site = guest(&ensemble, 11, way.places(), &PLAIN);
    site.start();
    until_it_learns(&site);
    until_at(&site, committed(&ensemble));
    let mut reader = patient_client(&site);
    way.cut(Cut::Silent);
    outgrow(&ensemble);
    take_no_more_snapshots(&mut ensemble, sender);
    let (bytes, before) = (newest_snapshot(ensemble.server(sender)).1, way.carried().down);
    let mut breaks = [Break::Silent, Break::Reset, Break::Death];
    breaks.rotate_left(chance.below(3) as usize);
    way.heal();
    for (how, least) in breaks.into_iter().zip([25, 47, 69]) {
        let part = bytes * (least + chance.below(15)) / 100;
        until(&format!("{part} bytes are there"), PATIENCE, || part <= arrived(&site));
        // Anywhere in a part.
        let more = way.carried().down + chance.below(PART_BYTES as u64);
        until("some more have crossed", PATIENCE, || more <= way.carried().down);
        break_off(&mut ensemble, sender, &site, &way, how);
        assert_eq!(shown(&mut reader, "/value").as_deref(), Some("first"), "it reads on");
        let crossed = way.carried().down - before;
        eprintln!("{test}: {how:?} at {part} bytes of server {sender}, {crossed} have crossed");
    }
    until_it_learns(&site);
    until_at(&site, committed(&ensemble));
    let crossed = way.carried().down - before;
    eprintln!("{test}: {crossed} bytes crossed for {bytes}");
    assert!(reader.call(&get_data("/value", false)).is_none(), "its tree is another one now");
    equal_everywhere(&ensemble, &[&site]);
    assert_eq!(snapshots_taken_over(&site), 1, "it was sent one snapshot");
    let most = bytes + breaks.len() as u64 * BREAK_BYTES + MORE_BYTES;
    assert!((bytes..=most).contains(&crossed), "{crossed} bytes for {bytes}: it began again");
}

#[test]
fn an_observer_whose_upstream_dies_in_a_snapshot_is_given_one_by_the_next_and_that_once() {
    let test = "an_upstream_dies_in_a_snapshot";
    let mut chance = Chance::printed(test);
    let mut ensemble = voters(&LINES);
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    outgrow(&ensemble);
    // The first of its list is the leader, or is not.
    let first = 1 + chance.below(3) as u32;
    let leader = ensemble.leader().0;
    eprintln!("{test}: server {first} is killed, server {leader} leads");
    let others: Vec<u32> = ensemble.numbers().into_iter().filter(|&it| it != first).collect();
    let length = |&number: &u32| newest_snapshot(ensemble.server(number)).1;
    let bytes = others.iter().map(length).max().expect("two others");
    let (way, other_way) = (way_to(&ensemble, &[first]), way_to(&ensemble, &others));
    let list = [way.places(), other_way.places()].concat();
    let mut site = guest(&ensemble, 11, &list, &PLAIN);
    // It has nobody else before it is being sent one.
    other_way.cut(Cut::Reset);
    site.start();
    let part = 1 + chance.below(bytes / 4);
    until("a snapshot begins to come", PATIENCE, || 0 < arrived(&site));
    other_way.heal();
    until("part of it is there", PATIENCE, || part <= arrived(&site));
    // With its machine, and all that was under way.
    ensemble.server_mut(first).kill();
    way.cut(Cut::Reset);
    let killed = Instant::now();
    until("the others have a leader", PATIENCE, || ensemble.find_leader().is_some());
    until_it_learns(&site);
    until_at(&site, committed(&ensemble));
    let crossed = [&way, &other_way].map(|way| way.carried().down);
    eprintln!("{test}: at {part} bytes; {crossed:?} crossed, level {:?} later", killed.elapsed());
    way.heal();
    ensemble.server_mut(first).start();
    ensemble.until_all_serve();
    until_at(&site, committed(&ensemble));
    equal_everywhere(&ensemble, &[&site]);
    assert_eq!(snapshots_taken_over(&site), 1, "it was sent one snapshot");
    // Each takes snapshots at places of its own: nothing of the first one's is of use, and the other's comes whole.
    assert!((part..bytes).contains(&crossed[0]), "{crossed:?} bytes, {part} of the first one's");
    // Where the others first had to elect a leader, its sending may have been broken off for that.
    let most = bytes + BREAK_BYTES + MORE_BYTES;
    assert!(crossed[1] <= most, "{crossed:?} bytes for {bytes}");
}
