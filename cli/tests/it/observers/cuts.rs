//! The way to a site is cut: its readers notice nothing, and what it missed crosses once.

use std::time::{Duration, Instant};

use super::readers::while_reading;
use super::sites::{
    FAR, NEAR, committed, create, equal_everywhere, guest, patient_client, set, site,
    snapshots_taken_over, until_at, until_it_learns, voters, wire,
};
use crate::ensemble::servers::{Ensemble, pass};
use crate::subject::{Chance, is_slow_asked_for};
use farwatch_cli::demo::wire::Cut;

/// What each write carries: what a record adds to it is a hundredth.
const VALUE_BYTES: usize = 20_000;
const PAUSE: Duration = Duration::from_millis(10);

/// How much more than what was missed may cross after a cut.
const MORE: f64 = 1.3;
const MORE_BYTES: u64 = 64 << 10;

/// How soon a site must be level again, on a machine that is busy with other tests.
const LEVEL_WITHIN: Duration = Duration::from_secs(10);

/// Writes for so long; the bytes of the values.
fn write_for(ensemble: &Ensemble, time: Duration) -> u64 {
    let (leader, _) = ensemble.leader();
    let mut client = patient_client(ensemble.server(leader));
    let (began, mut bytes) = (Instant::now(), 0);
    while began.elapsed() < time {
        set(&mut client, "/value", &[b'v'; VALUE_BYTES]);
        bytes += VALUE_BYTES as u64;
        pass(PAUSE);
    }
    bytes
}

/// One cut of a site with an observer, and one behind it.
fn cut_a_site(rtt: Duration, length: Duration, how: Cut, chance: &mut Chance) {
    let ensemble = voters(&[]);
    let (way, [first, behind]) = site(&ensemble, rtt, chance);
    let what = format!("{how:?} cut of {length:?} at {rtt:?}");
    let (mut missed, mut took, mut crossed) = (0, [Duration::ZERO; 2], 0);
    let seen = while_reading(&[&first, &behind], "/value", |progress| {
        write_for(&ensemble, Duration::from_millis(300));
        way.cut(how);
        let before = way.carried().down;
        missed = write_for(&ensemble, length);
        progress.until_more(20);
        assert_eq!(way.carried().down, before, "something came through");
        let level = committed(&ensemble);
        way.heal();
        let healed = Instant::now();
        took = [&first, &behind].map(|observer| {
            until_at(observer, level);
            healed.elapsed()
        });
        crossed = way.carried().down - before;
    });
    eprintln!("{what}: level {took:?} after it, {crossed} bytes for {missed} missed");
    seen.nothing_failed(&what);
    assert!(took[1] < LEVEL_WITHIN, "{what}: level only after {took:?}");
    for observer in [&first, &behind] {
        assert_eq!(snapshots_taken_over(observer), 0, "the log was enough");
    }
    let most = (missed as f64 * MORE) as u64 + MORE_BYTES;
    assert!(crossed <= most, "{what}: {crossed} bytes for {missed} that were missed");
    equal_everywhere(&ensemble, &[&first, &behind]);
}

#[test]
fn readers_of_a_site_that_is_cut_off_notice_nothing_and_only_what_it_missed_crosses_then() {
    let test = "a_site_is_cut_off";
    let slow = is_slow_asked_for("cuts of 10 s, and ways of 300 ms (1 s at 80 ms is)");
    let mut chance = Chance::printed(test);
    let short = Duration::from_secs(1);
    cut_a_site(NEAR, short, Cut::Silent, &mut chance);
    if slow {
        let long = Duration::from_secs(10);
        cut_a_site(NEAR, long, Cut::Silent, &mut chance);
        cut_a_site(FAR, short, Cut::Silent, &mut chance);
        cut_a_site(FAR, long, Cut::Silent, &mut chance);
        cut_a_site(NEAR, short, Cut::Reset, &mut chance);
    }
}

/// Writes that a site misses in five minutes at 200 a second.
const MANY: u32 = 60_000;

#[test]
fn what_was_missed_in_minutes_is_caught_up_from_the_log() {
    let test = "minutes_are_missed";
    if !is_slow_asked_for("60,000 writes while a site is cut off") {
        return;
    }
    let mut chance = Chance::printed(test);
    // Snapshots are taken meanwhile, and the log behind them is kept.
    let ensemble = voters(&["snapCount=10000", "autopurge.purgeInterval=1"]);
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut site = guest(&ensemble, 11, way.places(), &[]);
    site.start();
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    until_it_learns(&site);
    until_at(&site, committed(&ensemble));
    let seen = while_reading(&[&site], "/value", |_| {
        way.cut(Cut::Silent);
        let before = way.carried().down;
        let writers = 8;
        std::thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    let mut client = patient_client(ensemble.server(ensemble.leader().0));
                    for _ in 0..MANY / writers {
                        set(&mut client, "/value", &[b'v'; 100]);
                    }
                });
            }
        });
        let level = committed(&ensemble);
        way.heal();
        let took = until_at(&site, level);
        let crossed = way.carried().down - before;
        eprintln!("{test}: {MANY} writes, {crossed} bytes, level {took:?} after the cut");
        // A record of 100 bytes has about 150; an order of magnitude is a snapshot's.
        assert!(crossed < u64::from(MANY) * 300, "{crossed} bytes");
    });
    seen.nothing_failed(test);
    assert_eq!(snapshots_taken_over(&site), 0, "the log was enough");
    equal_everywhere(&ensemble, &[&site]);
}
