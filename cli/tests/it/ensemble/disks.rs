//! Disks of voters that are lost, damaged or full.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{ids, request};

use super::audit::equal_trees;
use super::client::Client;
use super::handover::transfer;
use super::load::{Plan, under_load};
use super::servers::{Ensemble, Layout, PATIENCE, configure, pass, serves, until};
use crate::disk::{NOT_READ_ONLY, SmallDisk};
use crate::subject::Chance;

/// How long nothing must happen that must never happen.
const NEVER: Duration = Duration::from_secs(2);

/// Waits until a server that copies its history votes again.
#[track_caller]
fn until_it_votes(ensemble: &Ensemble, number: u32) {
    until(&format!("server {number} votes again"), PATIENCE, || {
        ensemble.server(number).report().is_some_and(|it| serves(&it) && !it.rejoining)
    });
}

#[test]
fn a_voter_whose_disk_was_wiped_copies_first_and_votes_later() {
    let test = "a_disk_was_wiped";
    let mut chance = Chance::printed(test);
    let mut ensemble = Ensemble::start(&[]);
    let outcome = under_load(&mut ensemble, Plan::default(), &mut chance, |ensemble, ledger| {
        for whose in [ensemble.followers()[0], ensemble.leader().0] {
            ensemble.server_mut(whose).kill();
            ledger.until_more(10);
            ensemble.server(whose).wipe();
            ensemble.server_mut(whose).start();
            ensemble.server(whose).until_it_says("does not vote until it has copied");
            until_it_votes(ensemble, whose);
            // Without another one, nothing is written that it has not.
            let other = whose % 3 + 1;
            ensemble.server_mut(other).kill();
            ledger.until_more(10);
            ensemble.server_mut(other).start();
            ensemble.until_all_serve();
        }
    });
    outcome.print(test);
}

/// Writes nodes one by one, so that each is a batch of the log.
fn write_needles(client: &mut Client) {
    for number in 0..60 {
        let needle = format!("needle-{number:02}");
        let path = format!("/n{number}");
        let create = request::create(&path, Some(needle.as_bytes()), &ids::open(), 0);
        assert_eq!(client.must(&create).err, 0);
    }
}

/// Damage inside of the log heals by itself: see `healing.rs`. A log that is gone does not.
#[test]
fn a_voter_that_lost_its_log_refuses_and_rejoins_when_it_is_told_to() {
    let mut ensemble = Ensemble::start(&[]);
    write_needles(&mut Client::of(ensemble.servers[0].client));
    let before = equal_trees(&ensemble);
    for whose in [ensemble.followers()[0], ensemble.leader().0] {
        let server = ensemble.server_mut(whose);
        server.kill();
        for entry in fs::read_dir(server.data.join("log")).expect("the log") {
            fs::remove_file(entry.expect("an entry").path()).expect("the loss");
        }
        server.start();
        let status = server.wait_for_end();
        assert!(!status.success(), "it started without its log");
        let said = server.log();
        assert!(said.contains("--rejoin"), "the way out is not said: {said}");
        server.start_with(&["--rejoin"]);
        until_it_votes(&ensemble, whose);
        assert!(equal_trees(&ensemble) == before, "server {whose} came back with another tree");
    }
}

#[test]
fn two_new_voters_of_three_found_an_ensemble_and_the_third_copies_it_before_it_votes() {
    let mut ensemble = Ensemble::configured(3, &Layout::default());
    for number in [1, 2] {
        ensemble.server_mut(number).start();
    }
    until("two serve", PATIENCE, || {
        let reports = ensemble.reports();
        reports.len() == 2 && reports.iter().all(serves)
    });
    let mut client = Client::of(ensemble.server(1).client);
    write_needles(&mut client);
    ensemble.server_mut(3).start();
    ensemble.server(3).until_it_says("does not vote until it has copied");
    until_it_votes(&ensemble, 3);
    let before = equal_trees(&ensemble);
    assert!(before.contains_key("/n59"), "what was written without it is lost");
    // It votes: without another one, nothing is written that it has not.
    let other = ensemble.followers().into_iter().find(|&it| it != 3).unwrap_or(1);
    ensemble.server_mut(other).kill();
    let mut client = Client::of(ensemble.server(3).client);
    assert_eq!(client.must(&request::set_data("/n59", Some(b"3"), -1)).err, 0);
    ensemble.server_mut(other).start();
    equal_trees(&ensemble);
}

#[test]
fn two_voters_without_their_disks_found_nothing_beside_the_one_that_has_its_own() {
    let mut ensemble = Ensemble::start(&[]);
    let mut client = Client::of(ensemble.servers[0].client);
    write_needles(&mut client);
    drop(client);
    equal_trees(&ensemble);
    let had = ensemble.server(3).report().expect("it runs").logged;
    for server in &mut ensemble.servers {
        server.kill();
    }
    for number in [1, 2] {
        ensemble.server(number).wipe();
    }
    ensemble.server_mut(3).start();
    until("server 3 answers", PATIENCE, || ensemble.server(3).report().is_some());
    for number in [1, 2] {
        ensemble.server_mut(number).start();
        until("it has met server 3", PATIENCE, || {
            let report = ensemble.server(number).report();
            report.is_some_and(|it| it.rejoining)
        });
    }
    let begun = Instant::now();
    while begun.elapsed() < NEVER {
        for report in ensemble.reports() {
            assert!(!serves(&report), "a majority that knows nothing decided: {report:?}");
        }
        pass(Duration::from_millis(20));
    }
    assert_eq!(ensemble.server(3).report().expect("it runs").logged, had, "its history changed");
}

/// Fills a disk to its last block.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).expect("a file");
    let block = vec![1; 1 << 16];
    let full = std::iter::repeat_with(|| file.write_all(&block)).find_map(Result::err);
    assert_eq!(full.expect("an end").kind(), ErrorKind::StorageFull);
}

/// Sets nodes to half a megabyte each, together more than what is left of a log's segments.
fn write_much(client: &mut Client) {
    for number in 0..300 {
        let (path, data) = (format!("/n{}", number % 10), vec![number as u8; 500_000]);
        let set = request::set_data(&path, Some(&data), -1);
        assert_eq!(client.must(&set).err, 0, "write {number}: the others have room");
    }
}

/// Three voters that serve, one of them with its data on the small disk.
fn with_a_small_disk(disk: &SmallDisk, whose: u32) -> Ensemble {
    let mut ensemble = Ensemble::configured(3, &Layout::default());
    let members = ensemble.members();
    let small = ensemble.server_mut(whose);
    small.data = disk.path("data");
    small.make_data();
    configure(small, &members, &[]);
    ensemble.start_all();
    ensemble.until_all_serve();
    ensemble
}

#[test]
fn a_follower_with_a_full_disk_holds_up_nobody_and_heals_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut ensemble = with_a_small_disk(&disk, 1);
    let (leader, _) = ensemble.leader();
    assert_ne!(leader, 1, "the highest number leads a new ensemble");
    let mut client = Client::of(ensemble.server(leader).client);
    write_needles(&mut client);
    let mut reader = Client::of(ensemble.server(1).client);
    let ballast = disk.path("ballast");
    fill(&ballast);
    write_much(&mut client);
    let logged = |number: u32| ensemble.server(number).report().map(|report| report.durable);
    let (behind, all) = (logged(1).expect("it answers"), logged(leader).expect("it answers"));
    assert!(behind < all, "the small disk never was full: {behind:#x} of {all:#x}");
    eprintln!("a_full_disk: the follower's log ends {} records behind", all - behind);
    assert_eq!(reader.must(&request::exists("/n1", false)).err, 0, "it goes on serving reads");
    fs::remove_file(&ballast).expect("there is room again");
    until("the small disk has everything", PATIENCE, || logged(1) >= logged(leader));
    equal_trees(&ensemble);
    // And it counts: without another one, nothing is written that it has not.
    let other = ensemble.followers().into_iter().find(|&it| it != 1).expect("two follow");
    ensemble.server_mut(other).kill();
    assert_eq!(client.must(&request::set_data("/n1", None, -1)).err, 0);
    ensemble.server_mut(other).start();
    equal_trees(&ensemble);
    drop(ensemble); // before its disk goes
}

#[test]
fn a_leader_with_a_full_disk_lets_another_lead_and_goes_on_to_serve_reads() {
    let Some(disk) = SmallDisk::mount() else { return };
    let ensemble = with_a_small_disk(&disk, 3);
    while ensemble.leader().0 != 3 {
        transfer(&ensemble);
        ensemble.until_all_serve();
    }
    let mut client = Client::of(ensemble.server(1).client);
    write_needles(&mut client);
    let mut reader = Client::of(ensemble.server(3).client);
    let ballast = disk.path("ballast");
    fill(&ballast);
    let content = vec![b'm'; 500_000];
    let mut number = 0;
    let mut write = || {
        number += 1;
        // Also while another is elected; and a session that says nothing would end.
        assert_eq!(reader.must(&request::exists("/n1", false)).err, 0, "it goes on serving reads");
        let path = format!("/m{number}");
        client.must(&request::create(&path, Some(&content), &ids::open(), 0)).err
    };
    until("the leader has no room", PATIENCE, || write() == NOT_READ_ONLY);
    until("writes are taken again", PATIENCE, || write() == 0);
    assert_ne!(ensemble.leader().0, 3);
    fs::remove_file(&ballast).expect("there is room again");
    let logged = |number: u32| ensemble.server(number).report().map(|report| report.durable);
    until("the small disk has everything", PATIENCE, || logged(3) >= logged(1));
    equal_trees(&ensemble);
    drop(ensemble); // before its disk goes
}
