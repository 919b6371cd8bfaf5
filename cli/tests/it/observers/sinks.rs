//! The learners that throw everything away, by which the cost of observers is measured: they are what
//! they are taken for.

use farwatch_bench::observers::crowd::{Crowd, Places};
use farwatch_bench::observers::sink::Taken;

use super::sites::{create, guest, patient_client, set, until_it_learns, voters};
use crate::ensemble::servers::{Ensemble, PATIENCE, until};

const SINKS: u64 = 20;

/// Writes, and waits until each sink has been told as many bytes of records as the first one.
#[track_caller]
fn write_and_count(ensemble: &Ensemble, crowd: &Crowd) -> Taken {
    let mut client = patient_client(ensemble.server(1));
    let before = crowd.taken().expect("all are there");
    for at in 0..200 {
        set(&mut client, "/value", format!("a value of its own: {at}").as_bytes());
    }
    let mut taken = before;
    until("every sink has every record", PATIENCE, || {
        taken = crowd.taken().expect("all are there");
        let each = (taken.record_bytes - before.record_bytes) / SINKS;
        let whole = (taken.record_bytes - before.record_bytes).is_multiple_of(SINKS);
        whole && 200 * 40 <= each
    });
    assert_eq!(taken.snapshot_parts, 0, "the log has all that they lack");
    taken
}

#[test]
fn sinks_are_told_every_record_and_are_observers_to_who_tells_them() {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    create(&mut client, "/value", b"before them");
    let (leader, _) = ensemble.leader();
    let synced = || {
        let report = ensemble.server(leader).report().expect("it leads");
        let guests = report.peers.iter().filter(|peer| peer.guest && peer.synced == Some(true));
        guests.count()
    };
    let crowd = Crowd::start();
    for blocks in [false, true] {
        let upstreams = vec![ensemble.server(leader).quorum];
        let direct = Places { upstreams, blocks };
        crowd.be(SINKS as usize, &direct).expect("they are taken in");
        assert_eq!(synced(), SINKS as usize);
        let taken = write_and_count(&ensemble, &crowd);
        assert!(taken.record_bytes < taken.bytes, "{taken:?}");
    }
    let upstreams = vec![ensemble.server(leader).quorum];
    let mut relay = guest(&ensemble, 11, &upstreams, &[]);
    relay.start();
    until_it_learns(&relay);
    let behind = Places { upstreams: vec![relay.quorum], blocks: true };
    crowd.be(SINKS as usize, &behind).expect("they are taken in");
    until("the leader knows of the relay only", PATIENCE, || synced() == 1);
    write_and_count(&ensemble, &crowd);
    crowd.be(0, &behind).expect("nobody is left");
}
