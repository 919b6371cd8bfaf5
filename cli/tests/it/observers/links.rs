//! What servers say to observers, as the operator chose: compressed or not, and how fast.

use farwatch_bench::raw::four_letter_word_within;
use farwatch_observer::report::PeerReport;

use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, patient_client, until_at, until_it_learns,
    voters, wire,
};
use crate::ensemble::servers::{Ensemble, PATIENCE, Server, until};
use crate::subject::Chance;

/// What `server` says of its link to `other`.
#[track_caller]
fn link(server: &Server, other: u32) -> PeerReport {
    let mut found = None;
    until(&format!("server {} is linked with {other}", server.number), PATIENCE, || {
        let peers = server.report().map(|report| report.peers).unwrap_or_default();
        found = peers.into_iter().find(|peer| peer.id == other && peer.connected);
        found.is_some()
    });
    found.expect("it was waited for")
}

/// The number that a guest drew.
#[track_caller]
fn number(guest: &Server) -> u32 {
    guest.report().expect("it says what it does").me
}

/// Writes what a directory of services is made of, and waits until `observers` have it.
#[track_caller]
fn write_services(ensemble: &Ensemble, count: u32, observers: &[&Server]) {
    let (leader, _) = ensemble.leader();
    let mut client = patient_client(ensemble.server(leader));
    create(&mut client, "/services", b"");
    for at in 0..count {
        let data = format!(
            r#"{{"host":"10.1.{}.{}","port":{},"status":"UP","zone":"eu-west-1a"}}"#,
            at / 250,
            at % 250,
            8000 + at % 7
        );
        create(&mut client, &format!("/services/svc-{at:05}"), data.as_bytes());
    }
    let level = committed(ensemble);
    observers.iter().for_each(|observer| _ = until_at(observer, level));
}

#[test]
fn a_link_to_an_observer_is_compressed_unless_either_side_says_no_and_knows_how_far_it_is() {
    let mut chance = Chance::printed("compressed_links");
    let ensemble = voters(&[]);
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut relay = guest(&ensemble, 11, way.places(), &[]);
    let mut willing = guest(&ensemble, 12, &[relay.quorum], &[]);
    let off = ["farwatch.linkCompression=off"];
    let mut unwilling = guest(&ensemble, 13, &[relay.quorum], &off);
    for observer in [&mut relay, &mut willing, &mut unwilling] {
        observer.start();
        until_it_learns(observer);
    }
    write_services(&ensemble, 300, &[&relay, &willing, &unwilling]);
    let upstream = relay.report().and_then(|report| report.leader).expect("whom it learns from");
    let above = link(ensemble.server(upstream), number(&relay));
    let below = link(&relay, number(&willing));
    let plain = link(&relay, number(&unwilling));
    for compressed in [&above, &below] {
        let PeerReport { bytes_out, plain_out, .. } = *compressed;
        assert!(compressed.compresses && bytes_out * 4 < plain_out * 3, "{compressed:?}");
    }
    assert!(!plain.compresses && plain.plain_out <= plain.bytes_out, "{plain:?}");
    for far in [above, link(&relay, upstream)] {
        let us = far.rtt_us.expect("measured");
        assert!((80_000..1_000_000).contains(&us), "{us} us over a way of {NEAR:?}");
    }
    let words = four_letter_word_within(relay.client, "mntr", PATIENCE).expect("it answers");
    for line in [format!("zk_observer_master_id\t{upstream}\n"), "zk_upstream_rtt_us\t".to_owned()]
    {
        assert!(words.contains(&line), "{words}");
    }
    equal_everywhere(&ensemble, &[&relay, &willing, &unwilling]);
}
