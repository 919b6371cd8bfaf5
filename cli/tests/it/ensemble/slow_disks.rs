//! Disks of logs that are slow, or that hang: a small library stands between each server and its
//! disk, and a file says how long a write takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use farwatch_bench::raw::{ids, request};

use super::audit::equal_trees;
use super::client::Client;
use super::load::{Plan, under_load};
use super::servers::{Ensemble, Layout, PATIENCE, leads, pass, serves, until};
use crate::subject::Chance;

/// After which a leader whose disk hangs hands over.
const STALL: Duration = Duration::from_millis(1000);

/// What the hand-over may take behind that, on a machine that others use too.
const HAND_OVER: Duration = Duration::from_secs(3);

/// How long a disk hangs: several times what anybody waits for, and less than a session's timeout.
const HANG: Duration = Duration::from_secs(5);

const SLOW: Duration = Duration::from_millis(100);

/// How many writes a median is of.
const WRITES: usize = 60;

/// The library, and for each server what it says and is told.
struct SlowDisks {
    directory: tempfile::TempDir,
}

impl SlowDisks {
    /// Builds the library; `None`, which is said, where it cannot be put before the binary.
    fn build(test: &str) -> Option<Self> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let disks = Self { directory };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ensemble/slow_disk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&disks.path("disk.so"), &source])
            .output();
        match built {
            Err(error) => {
                eprintln!("not run: {test}, because cc cannot be started: {error}");
                return None;
            }
            Ok(done) => {
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            }
        }
        let through = disks.through(0);
        let tried = Command::new(&through[0])
            .args(&through[1..])
            .args([env!("CARGO_BIN_EXE_farwatch"), "--version"])
            .stdout(Stdio::null())
            .status();
        if !tried.is_ok_and(|status| status.success()) || !disks.path("hits-0").exists() {
            eprintln!("not run: {test}, because LD_PRELOAD does not reach this binary");
            return None;
        }
        Some(disks)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a server is started through to have such a disk.
    fn through(&self, number: u32) -> Vec<String> {
        let set = |name: &str, file: &str| format!("{name}={}", self.path(file).display());
        vec![
            "env".to_owned(),
            set("LD_PRELOAD", "disk.so"),
            set("SLOW_DISK_CONTROL", &format!("control-{number}")),
            set("SLOW_DISK_HITS", &format!("hits-{number}")),
        ]
    }

    /// What each write of a server takes from now on: milliseconds, or `stuck`.
    fn takes(&self, number: u32, time: &str) {
        // Never half written: it is read at every write.
        let (new, file) = (self.path("new"), self.path(&format!("control-{number}")));
        fs::write(&new, time).and_then(|()| fs::rename(&new, &file)).expect("a disk");
    }

    /// How many writes and syncs of its log a server has asked for.
    fn hits(&self, number: u32) -> u64 {
        fs::metadata(self.path(&format!("hits-{number}"))).expect("it was loaded").len()
    }

    /// Three voters with such disks, which are fast.
    fn ensemble(&self) -> Ensemble {
        let lines = vec![
            format!("leader.stallMs={}", STALL.as_millis()),
            // The ring's writes do not pass the C library.
            "farwatch.logDriver=thread".to_owned(),
        ];
        let through = (1..=3).map(|number| self.through(number)).collect();
        let mut ensemble = Ensemble::configured(3, &Layout { through, lines, ..Layout::default() });
        ensemble.start_all();
        ensemble.until_all_serve();
        let before = [1, 2, 3].map(|number| self.hits(number));
        let mut client = Client::of(ensemble.server(1).client);
        assert_eq!(client.must(&request::create("/hit", Some(b""), &ids::open(), 0)).err, 0);
        until("the write meets each disk", PATIENCE, || {
            (1..).zip(before).all(|(number, before)| before < self.hits(number))
        });
        ensemble
    }
}

/// Waits until all that the leader has is durable on this server, too.
#[track_caller]
fn until_it_has_all(ensemble: &Ensemble, number: u32) {
    let (leader, _) = ensemble.leader();
    let durable = |of: u32| ensemble.server(of).report().map(|report| report.durable);
    let all = durable(leader).expect("it answers");
    until("the disk has everything", HANG, || durable(number).is_some_and(|it| all <= it));
}

#[test]
fn a_leader_whose_disk_hangs_hands_over_and_follows_when_it_is_free_again() {
    let test = "a_leaders_disk_hangs";
    let Some(disks) = SlowDisks::build(test) else { return };
    let mut ensemble = disks.ensemble();
    let (leader, epoch) = ensemble.leader();
    let mut chance = Chance::printed(test);
    let plan = Plan { pause: Duration::from_millis(5), ..Plan::default() };
    let outcome = under_load(&mut ensemble, plan, &mut chance, |ensemble, ledger| {
        let began = Instant::now();
        disks.takes(leader, "stuck");
        until("another one leads", STALL + HAND_OVER, || {
            ensemble.find_leader().is_some_and(|(now, its)| now != leader && epoch < its)
        });
        let took = began.elapsed();
        ledger.until_more(100);
        pass(HANG.saturating_sub(began.elapsed()));
        let gap = ledger.longest_gap(began, Instant::now());
        eprintln!("{test}: another one led after {took:?}; nobody wrote for {gap:?} at most");
        assert!(STALL <= took, "its disk did not hang");
        let report = ensemble.server(leader).report().expect("it answers without its disk");
        assert!(!leads(&report), "two lead: {report:?}");
        disks.takes(leader, "0");
        ensemble.until_all_serve();
        assert_ne!(ensemble.leader().0, leader, "it follows");
        until_it_has_all(ensemble, leader);
    });
    outcome.print(test);
    assert_eq!(outcome.reader_drops, 0, "readers were dropped");
}

/// The median time of a write.
fn median(client: &mut Client) -> Duration {
    let mut times: Vec<Duration> = (0..WRITES)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(client.must(&request::set_data("/hit", Some(b"1"), -1)).err, 0);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[WRITES / 2]
}

#[test]
fn a_follower_with_a_slow_disk_slows_nobody_else() {
    let test = "a_followers_disk_is_slow";
    let Some(disks) = SlowDisks::build(test) else { return };
    let ensemble = disks.ensemble();
    let (leader, _) = ensemble.leader();
    let [whose, other] = ensemble.followers()[..] else { panic!("two follow") };
    let mut clients = [leader, other].map(|number| Client::of(ensemble.server(number).client));
    let fast = clients.each_mut().map(median);
    disks.takes(whose, &SLOW.as_millis().to_string());
    let (before, began) = (disks.hits(whose), Instant::now());
    let slow = clients.each_mut().map(median);
    until("its disk is slow", SLOW * 20, || before < disks.hits(whose));
    // The log's thread and the one that makes its spares are slow at the same time.
    assert!(
        SLOW * ((disks.hits(whose) - before) / 2).saturating_sub(1) as u32 <= began.elapsed(),
        "its disk is not slow"
    );
    let own = median(&mut Client::of(ensemble.server(whose).client));
    eprintln!(
        "{test}: median of a write through the leader {:?} with fast disks, {:?} with the slow one; \
         through the other follower {:?} and {:?}; through the slow one {own:?}",
        fast[0], slow[0], fast[1], slow[1]
    );
    for (fast, slow) in fast.into_iter().zip(slow) {
        assert!(slow < fast + SLOW / 2, "others waited for the slow disk");
    }
    disks.takes(whose, "0");
    until_it_has_all(&ensemble, whose);
    equal_trees(&ensemble);
}

#[test]
fn a_follower_whose_disk_hangs_serves_its_readers_and_comes_back() {
    let test = "a_followers_disk_hangs";
    let Some(disks) = SlowDisks::build(test) else { return };
    let mut ensemble = disks.ensemble();
    let before = ensemble.leader();
    let whose = ensemble.followers()[0];
    let mut reader = Client::of(ensemble.server(whose).client);
    let mut chance = Chance::printed(test);
    let plan = Plan { pause: Duration::from_millis(5), ..Plan::default() };
    let outcome = under_load(&mut ensemble, plan, &mut chance, |ensemble, ledger| {
        disks.takes(whose, "stuck");
        let (began, mut reads, mut longest) = (Instant::now(), 0, Duration::ZERO);
        let written = ledger.count();
        while began.elapsed() < HANG {
            let asked = Instant::now();
            assert_eq!(reader.must(&request::get_data("/hit", false)).err, 0);
            (reads, longest) = (reads + 1, longest.max(asked.elapsed()));
            pass(Duration::from_millis(1));
        }
        let written = ledger.count() - written;
        eprintln!(
            "{test}: in {HANG:?} {reads} reads, each answered within {longest:?}; the others wrote \
             {written} times"
        );
        assert!(100 < written, "the others waited for the disk");
        let durable = |of: u32| ensemble.server(of).report().expect("it answers").durable;
        assert!(durable(whose) < durable(before.0), "its disk did not hang");
        disks.takes(whose, "0");
        until("it follows", HANG, || ensemble.server(whose).report().is_some_and(|it| serves(&it)));
        until_it_has_all(ensemble, whose);
    });
    outcome.print(test);
    assert_eq!(ensemble.leader(), before, "a follower's disk is no reason to elect");
    assert_eq!(outcome.reader_drops, 0, "readers were dropped");
}
