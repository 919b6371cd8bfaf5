//! A voter so far behind that its leader's log does not reach back to it.

use std::fs;
use std::time::Duration;

use farwatch_bench::raw::{ids, request};

use super::audit::equal_trees;
use super::client::Client;
use super::servers::{Ensemble, PATIENCE, Server, serves, until};
use crate::subject::{Chance, is_slow_asked_for};

/// Nodes and their bytes: a snapshot of about 8 MB, sent within about two seconds.
pub const NODES: u32 = 16;
const NODE_BYTES: usize = 500_000;
pub const LINES: [&str; 5] = [
    "snapCount=60",
    "autopurge.purgeInterval=1",
    "autopurge.snapRetainCount=3",
    "farwatch.logRetainBytes=1",
    "snapshot.transferBytesPerSecond=4000000",
];

/// Rounds over all nodes until the log is begun anew must end.
const ROUNDS_MAX: u32 = 60;

/// The first zxid that the log of `server` has.
pub fn log_begins(server: &Server) -> u64 {
    let files = fs::read_dir(server.data.join("log")).expect("the log");
    let names = files.map(|entry| entry.expect("an entry").file_name().into_string());
    let firsts = names.filter_map(|name| {
        let name = name.expect("text");
        u64::from_str_radix(name.strip_suffix(".log")?, 16).ok()
    });
    firsts.min().expect("there is a segment")
}

/// Writes until no server that runs has what follows `behind` in its log.
pub fn write_past(ensemble: &Ensemble, client: &mut Client, behind: u64) {
    let running = || ensemble.servers.iter().filter(|server| server.is_running());
    for round in 0.. {
        assert!(round < ROUNDS_MAX, "no log is ever purged beyond {behind:#x}");
        for node in 0..NODES {
            let (path, data) = (format!("/n{node}"), vec![round as u8; NODE_BYTES]);
            let set = request::set_data(&path, Some(&data), -1);
            assert_eq!(client.must(&set).err, 0);
        }
        if running().all(|server| behind < log_begins(server)) {
            return;
        }
    }
}

/// The zxid of the newest snapshot that a server has, and its bytes; zeros before there is one.
pub fn newest_snapshot(server: &Server) -> (u64, u64) {
    let files = fs::read_dir(server.data.join("snapshot")).expect("snapshots");
    let found = files.filter_map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let zxid = u64::from_str_radix(name.strip_suffix(".snap")?, 16).ok()?;
        Some((zxid, entry.metadata().ok()?.len())) // it may be purged meanwhile
    });
    found.max().unwrap_or_default()
}

/// Bytes of a snapshot that has begun to arrive.
pub fn arrived(server: &Server) -> u64 {
    fs::metadata(server.data.join("snapshot/incoming.tmp")).map_or(0, |about| about.len())
}

#[test]
fn a_voter_behind_a_purged_log_gets_a_snapshot_also_when_it_is_killed_meanwhile() {
    let test = "a_voter_behind";
    let slow = is_slow_asked_for("6 deaths while a snapshot is received (1 is)");
    let mut chance = Chance::printed(test);
    let mut ensemble = Ensemble::start(&LINES);
    let late = ensemble.followers()[0];
    let mut client = Client::of(ensemble.server(ensemble.leader().0).client);
    for node in 0..NODES {
        let create = request::create(&format!("/n{node}"), Some(b""), &ids::open(), 0);
        assert_eq!(client.must(&create).err, 0);
    }
    equal_trees(&ensemble);
    let behind = ensemble.server(late).report().expect("it runs").logged;
    ensemble.server_mut(late).kill();
    write_past(&ensemble, &mut client, behind);

    for _ in 0..if slow { 6 } else { 1 } {
        ensemble.server_mut(late).start();
        let part = 1 + chance.below(4_000_000);
        until("part of a snapshot is there", PATIENCE, || part <= arrived(ensemble.server(late)));
        let serving = ensemble.server(late).report().is_some_and(|report| serves(&report));
        assert!(!serving, "it serves without its leader's history");
        ensemble.server_mut(late).kill();
        eprintln!("{test}: killed when {part} bytes of the snapshot were there");
    }
    ensemble.server_mut(late).start();
    until("it has the history", PATIENCE + Duration::from_secs(10), || {
        ensemble.server(late).report().is_some_and(|report| serves(&report))
    });
    equal_trees(&ensemble);
    assert!(behind < log_begins(ensemble.server(late)), "it was sent the log and no snapshot");

    // It votes with what it was sent: without another one, nothing is written without it.
    let other = ensemble.followers().into_iter().find(|&it| it != late);
    if let Some(other) = other {
        ensemble.server_mut(other).kill();
        let mut client = Client::of(ensemble.server(late).client);
        let create = request::create("/with-the-late-one", None, &ids::open(), 0);
        assert_eq!(client.must(&create).err, 0);
        ensemble.server_mut(other).start();
    }
    equal_trees(&ensemble);
}
