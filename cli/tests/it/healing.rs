//! Voters with a damaged log: what is missing comes from the others, or they do not start.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farwatch_bench::raw::{four_letter_word, ids, request};
use farwatch_bench::subject::{Ensemble, Options, Subject};

use crate::subject::connect;

/// Enough that one in the middle has whole batches on both sides.
const NODES: u32 = 60;

/// Nothing of these tests is behind that in a segment; the rest is zeros, and long.
const USED_BYTES: u64 = 2 << 20;

fn needle(number: u32) -> Vec<u8> {
    format!("needle-{number:02}").into_bytes()
}

/// Three voters that have nodes which were written one by one, and were killed.
fn written(tick_ms: u32) -> Ensemble {
    let binary = env!("CARGO_BIN_EXE_farwatch");
    let options = Options::new().tick_millis(tick_ms).line("initLimit=10");
    let mut ensemble = Ensemble::farwatch(binary, 3, &options).expect("three voters");
    let leader = ensemble.leader().expect("a leader");
    ensemble.await_all().expect("they serve");
    let (mut connection, _) = connect(ensemble.address(leader));
    for number in 0..NODES {
        let create =
            request::create(&format!("/n{number}"), Some(&needle(number)), &ids::open(), 0);
        assert_eq!(connection.call(&create).expect("a reply").err, 0);
    }
    // Each has everything in its log, the last record for sure not only in the leader's.
    for address in ensemble.addresses() {
        let (mut connection, _) = connect(address);
        assert_eq!(connection.call(&request::sync("/")).expect("a reply").err, 0);
    }
    for number in ensemble.numbers() {
        ensemble.server_mut(number).terminate().expect("an end");
    }
    ensemble
}

fn segments(server: &Subject) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data_directory().join("log")).expect("the log");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "log")).collect()
}

fn find(path: &Path, needle: &[u8]) -> Option<usize> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).expect("a segment");
    file.take(USED_BYTES).read_to_end(&mut bytes).expect("a segment");
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Flips a bit of the record that made a node.
fn damage(server: &Subject, number: u32) {
    let needle = needle(number);
    let found = segments(server).into_iter().find_map(|path| Some((find(&path, &needle)?, path)));
    let (at, segment) = found.expect("every server has every record");
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[at] ^= 0x10;
    fs::write(&segment, bytes).expect("the damage");
}

#[track_caller]
fn has_everything(server: &Subject) {
    let (mut connection, _) = connect(server.address());
    for number in 0..NODES {
        let reply = connection.call(&request::get_data(&format!("/n{number}"), false));
        let (data, _) = reply.expect("a reply").data_and_stat().expect("data");
        assert_eq!(data, Some(needle(number)), "/n{number}");
    }
    for number in 0..NODES {
        let found = segments(server).iter().any(|path| find(path, &needle(number)).is_some());
        assert!(found, "record {number} is not in the log");
    }
}

#[track_caller]
fn healed(server: &Subject, times: usize) {
    let log = server.log().expect("a log");
    for words in ["damaged at byte ", "fetching them from the other servers", "healed: "] {
        assert_eq!(log.matches(words).count(), times, "{words:?}: {log}");
    }
    assert!(!server.data_directory().join("rejoining").exists(), "it votes at once");
}

#[test]
fn a_voter_with_a_damaged_record_fetches_it_from_the_others_and_has_all_again() {
    let mut ensemble = written(2000);
    damage(&ensemble.servers()[0], 30);
    damage(&ensemble.servers()[0], 12);
    for number in ensemble.numbers() {
        ensemble.server_mut(number).spawn().expect("a process");
    }
    ensemble.await_all().expect("all serve");
    healed(&ensemble.servers()[0], 2);
    has_everything(&ensemble.servers()[0]);
    // And it is as good as ever: together with one other it decides.
    ensemble.server_mut(2).kill9().expect("kill -9");
    ensemble.leader().expect("a leader of two");
    ensemble.server_mut(1).restart().expect("nothing is damaged any more");
    has_everything(&ensemble.servers()[0]);
}

#[test]
fn three_voters_that_are_damaged_in_different_places_heal_each_other() {
    let mut ensemble = written(2000);
    for (at, number) in [20, 30, 40].into_iter().enumerate() {
        damage(&ensemble.servers()[at], number);
    }
    for number in ensemble.numbers() {
        ensemble.server_mut(number).spawn().expect("a process");
    }
    ensemble.await_all().expect("all serve");
    for server in ensemble.servers() {
        healed(server, 1);
        has_everything(server);
    }
}

#[test]
fn a_record_that_nobody_has_any_more_is_a_reason_not_to_start() {
    // Nobody waits long for records that nobody has: two seconds.
    let mut ensemble = written(200);
    damage(&ensemble.servers()[0], 30);
    for at in 1..3 {
        let data = ensemble.servers()[at].data_directory();
        let id = fs::read(data.join("myid")).expect("its number");
        fs::remove_dir_all(&data).expect("wiped");
        fs::create_dir(&data).expect("a new directory");
        fs::write(data.join("myid"), id).expect("its number");
    }
    for number in ensemble.numbers() {
        ensemble.server_mut(number).spawn().expect("a process");
    }
    let server = ensemble.server_mut(1);
    assert!(server.await_service().is_err(), "it serves without a record");
    let log = server.log().expect("a log");
    for words in ["no other server had the missing records", "damaged at byte ", "--rejoin"] {
        assert!(log.contains(words), "{words:?} is not said: {log}");
    }
}

/// A process that ends with the test.
struct Rejoining(Child);

impl Drop for Rejoining {
    fn drop(&mut self) {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed.expect("the server ends");
    }
}

#[test]
fn a_voter_that_rejoins_keeps_what_is_whole_and_puts_the_damaged_part_aside() {
    let mut ensemble = written(2000);
    let server = &ensemble.servers()[0];
    let mut before = segments(server);
    before.sort();
    let kept = fs::read(&before[0]).expect("a segment");
    // Late in the log: what a server was late for comes to it as one batch.
    damage(server, NODES - 1);
    let damaged: Vec<_> = before.iter().map(|path| fs::read(path).expect("a segment")).collect();
    for number in 2..=3 {
        ensemble.server_mut(number).spawn().expect("a process");
    }
    let server = &ensemble.servers()[0];
    let said = fs::File::create(server.data_directory().join("said")).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_farwatch"));
    command.args(["serve", "--rejoin", "--config"]).arg(server.config_file());
    command.stdout(Stdio::null()).stderr(said);
    let process = Rejoining(command.spawn().expect("a process"));
    let begun = Instant::now();
    let serves = || {
        four_letter_word(server.address(), "srvr").is_ok_and(|text| text.contains("Mode: follower"))
    };
    let said = || fs::read_to_string(server.data_directory().join("said")).expect("text");
    while !serves() || server.data_directory().join("rejoining").exists() {
        assert!(begun.elapsed() < Duration::from_secs(180), "it never votes again: {}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(said().contains("the log is whole up to "), "{}", said());
    has_everything(server);
    drop(process);
    let aside = server.data_directory().join("damaged-1/log");
    let mode = fs::metadata(&aside).expect("a directory").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "it holds acknowledged data");
    let copies = fs::read_dir(&aside).expect("what was put aside");
    for copy in copies {
        let bytes = fs::read(copy.expect("an entry").path()).expect("a segment");
        assert!(damaged.contains(&bytes), "it is what was damaged, as it was");
    }
    // The part in front was not sent again: it is in the very segment, whose salt is random.
    assert!(fs::read(&before[0]).expect("a segment")[..4096] == kept[..4096]);
}
