//! The leader dies, while sites are cut off and while they are not: their readers go on.

use super::readers::while_reading;
use super::sites::{
    NEAR, committed, equal_everywhere, patient_client, set, site, snapshots_taken_over, until_at,
    voters,
};
use crate::ensemble::servers::{Ensemble, PATIENCE, until};
use crate::subject::Chance;
use farwatch_cli::demo::wire::Cut;

/// Kills the leader and waits for another one, which takes a write. The old one comes back.
fn kill_the_leader(ensemble: &mut Ensemble, value: &str) {
    let (old, epoch) = ensemble.leader();
    ensemble.server_mut(old).kill();
    until("another one leads", PATIENCE, || {
        ensemble.find_leader().is_some_and(|(leader, its)| leader != old && epoch < its)
    });
    let (leader, _) = ensemble.leader();
    set(&mut patient_client(ensemble.server(leader)), "/value", value.as_bytes());
    ensemble.server_mut(old).start();
    ensemble.until_all_serve();
}

#[test]
fn a_leaders_death_reaches_no_reader_of_a_site_whether_it_is_cut_off_or_not() {
    let test = "a_leader_dies_far_away";
    let mut chance = Chance::printed(test);
    let mut ensemble = voters(&[]);
    let (way, [first, behind]) = site(&ensemble, NEAR, &mut chance);
    let seen = while_reading(&[&first, &behind], "/value", |progress| {
        kill_the_leader(&mut ensemble, "without a cut");
        let level = committed(&ensemble);
        let took = [until_at(&first, level), until_at(&behind, level)];
        eprintln!("{test}: without a cut, level {took:?} after all voters serve");
        progress.until_more(20);
        way.cut(Cut::Silent);
        kill_the_leader(&mut ensemble, "in a cut");
        let level = committed(&ensemble);
        progress.until_more(20);
        way.heal();
        let took = [until_at(&first, level), until_at(&behind, level)];
        eprintln!("{test}: in a cut, level {took:?} after it");
    });
    seen.nothing_failed(test);
    for observer in [&first, &behind] {
        assert_eq!(snapshots_taken_over(observer), 0, "the log was enough");
    }
    equal_everywhere(&ensemble, &[&first, &behind]);
}
