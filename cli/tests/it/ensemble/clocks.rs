//! Clocks that differ between servers, and that jump.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ledger::Ledger;
use super::load::{Plan, under_load};
use super::servers::{Ensemble, Layout, pass};
use crate::subject::Chance;

/// Sessions of this timeout must outlive every jump: none of their clients is silent.
const TIMEOUT_MS: i32 = 4_000;

fn plan() -> Plan {
    let pause = Duration::from_millis(5);
    Plan { pause, timeout_ms: TIMEOUT_MS, patience: Duration::from_secs(1), ..Plan::default() }
}

/// Lets each server lead once, by the death of the one before.
fn change_leaders(ensemble: &mut Ensemble, ledger: &Ledger) {
    for _ in 0..3 {
        let (leader, _) = ensemble.leader();
        ensemble.server_mut(leader).kill();
        ledger.until_more(30);
        ensemble.server_mut(leader).start();
        ensemble.until_all_serve();
    }
}

/// Started in a time namespace whose clocks since boot are so many seconds ahead.
fn ahead(seconds: u64) -> Vec<String> {
    let (monotonic, boot) = (format!("--monotonic={seconds}"), format!("--boottime={seconds}"));
    ["unshare", "--time", &monotonic, &boot].map(str::to_owned).to_vec()
}

#[test]
fn sessions_outlive_leaders_whose_clocks_are_years_apart() {
    let test = "clocks_years_apart";
    let tried = Command::new("unshare").args(["--time", "--monotonic=1", "true"]).output();
    if !tried.is_ok_and(|done| done.status.success()) {
        eprintln!("not run: {test}, because no time namespace can be made: it takes root");
        return;
    }
    let mut chance = Chance::printed(test);
    let through = vec![Vec::new(), ahead(100_000_000), ahead(200_000_000)];
    let mut ensemble = Ensemble::configured(3, &Layout { through, ..Layout::default() });
    ensemble.start_all();
    ensemble.until_all_serve();
    let outcome = under_load(&mut ensemble, plan(), &mut chance, change_leaders);
    outcome.print(test);
}

/// Debian's libfaketime, wherever the machine's kind puts it.
fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// Sets the wall clock of whoever reads it from `file`.
fn jump(file: &Path, to: &str) {
    // Never half written: it is read at every look at the clock.
    let new = file.with_extension("new");
    fs::write(&new, format!("{to}\n")).and_then(|()| fs::rename(&new, file)).expect("a clock");
}

#[test]
fn a_wall_clock_that_jumps_ends_no_session() {
    let test = "wall_clock_jumps";
    let Some(library) = faketime() else {
        eprintln!("not run: {test}, because libfaketime is not installed");
        return;
    };
    let clock = tempfile::NamedTempFile::new().expect("a file");
    jump(clock.path(), "+0");
    let through = vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.path().display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let layout = Layout { through: vec![through; 3], ..Layout::default() };
    let mut ensemble = Ensemble::configured(3, &layout);
    ensemble.start_all();
    ensemble.until_all_serve();
    let mut chance = Chance::printed(test);
    let outcome = under_load(&mut ensemble, plan(), &mut chance, |ensemble, ledger| {
        for to in ["+36000", "-36000", "+0"] {
            jump(clock.path(), to);
            ledger.until_more(30);
            pass(Duration::from_millis(200)); // several looks at what ends by time
            let (leader, _) = ensemble.leader();
            ensemble.server_mut(leader).kill();
            ledger.until_more(30);
            ensemble.server_mut(leader).start();
            ensemble.until_all_serve();
        }
    });
    outcome.print(test);
    // That the clock was believed: nodes were made hours ahead of this test.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970");
    let ahead = now.as_millis() as i64 + 3_600_000;
    assert!(outcome.tree.values().any(|shown| ahead < shown.stat.ctime), "no clock jumped");
}
