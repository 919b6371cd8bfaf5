//! Deaths in the middle of what an observer is being sent from the log.

use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, patient_client, places, set,
    snapshots_taken_over, until_at, until_it_learns, voters,
};
use crate::ensemble::servers::{PATIENCE, until};
use crate::subject::Chance;
use farwatch_cli::demo::wire::{Quality, Wire};

/// What an observer misses, in writes of so many bytes: seconds at the rate of its way.
const MISSED: u32 = 100;
const VALUE_BYTES: usize = 60_000;
const BYTES_PER_SECOND: u64 = 3_000_000;

#[test]
fn an_observer_that_is_killed_while_it_catches_up_goes_on_where_it_was() {
    let test = "killed_while_it_catches_up";
    let mut chance = Chance::printed(test);
    let ensemble = voters(&[]);
    let rate = Some(BYTES_PER_SECOND);
    let quality = Quality { bytes_per_second: rate, ..Quality::with_rtt(NEAR) };
    let way = Wire::start(&places(&ensemble), quality).expect("a wire");
    let mut site = guest(&ensemble, 11, way.places(), &[]);
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    create(&mut client, "/value", b"first");
    site.start();
    until_it_learns(&site);
    let before = until_level(&ensemble, &site);
    site.kill();
    for _ in 0..MISSED {
        set(&mut client, "/value", &[b'v'; VALUE_BYTES]);
    }
    let missed = committed(&ensemble);
    for _ in 0..2 {
        site.start();
        let part = before + 1 + chance.below((missed - before) / 2);
        until(&format!("{part:#x} is durable"), PATIENCE, || {
            site.report().is_some_and(|report| part <= report.durable)
        });
        site.kill();
        eprintln!("{test}: killed behind {part:#x} of {before:#x} to {missed:#x}");
    }
    site.start();
    let took = until_at(&site, missed);
    let carried = way.carried().down;
    eprintln!("{test}: level {took:?} after the last start, {carried} bytes altogether");
    assert_eq!(snapshots_taken_over(&site), 0, "the log was enough");
    equal_everywhere(&ensemble, &[&site]);
}

fn until_level(
    ensemble: &crate::ensemble::servers::Ensemble,
    site: &crate::ensemble::servers::Server,
) -> u64 {
    let level = committed(ensemble);
    until_at(site, level);
    level
}
