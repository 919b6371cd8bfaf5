//! What servers say to observers, as the operator chose: compressed or not, and how fast.

use std::time::{Duration, Instant};

use farwatch_bench::raw::four_letter_word_within;
use farwatch_cli::demo::wire::{Quality, Wire};
use farwatch_observer::report::PeerReport;

use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, patient_client, places, set, until_at,
    until_it_learns, voters, wire,
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
fn a_long_link_to_an_observer_is_compressed_unless_either_side_says_no_and_knows_how_long_it_is() {
    let mut chance = Chance::printed("compressed_links");
    let ensemble = voters(&[]);
    let way = wire(&ensemble, NEAR, &mut chance);
    // What a relay sends stays at its site, and is compressed if it is told to.
    let mut relay = guest(&ensemble, 11, way.places(), &["farwatch.linkCompression=on"]);
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

#[test]
fn a_link_to_an_observer_keeps_to_its_rate_and_nobody_else_waits_for_it() {
    const RATE: u64 = 100_000;
    const WRITES: u64 = 3;
    let ensemble = voters(&[&format!("farwatch.linkBytesPerSecond={RATE}")]);
    let upstreams: Vec<_> = ensemble.servers.iter().map(|server| server.quorum).collect();
    let mut observer = guest(&ensemble, 11, &upstreams, &[]);
    observer.start();
    until_it_learns(&observer);
    let (leader, _) = ensemble.leader();
    let mut client = patient_client(ensemble.server(leader));
    create(&mut client, "/value", b"");
    // Bytes that nothing makes fewer.
    let mut chance = Chance::printed("a_rate");
    // Each record takes longer than an upstream that says nothing is borne.
    let value: Vec<u8> = (0..40_000).flat_map(|_| chance.next().to_le_bytes()).collect();
    let began = Instant::now();
    for _ in 0..WRITES {
        set(&mut client, "/value", &value);
    }
    let written = began.elapsed();
    let links = observer.report().expect("a report").peers;
    until_at(&observer, committed(&ensemble));
    let arrived = began.elapsed();
    // All but what the link may send at once; and however slow this machine is, voters are faster.
    let least = Duration::from_millis(WRITES * value.len() as u64 * 1000 / RATE - 1000);
    assert!(least <= arrived, "{arrived:?} for {WRITES} of {} bytes", value.len());
    assert!(written < arrived / 2, "{written:?} to write, {arrived:?} to arrive");
    let errors: Vec<_> = links.iter().filter_map(|peer| peer.last_error.as_ref()).collect();
    let after = observer.report().expect("a report").peers;
    let errors_after: Vec<_> = after.iter().filter_map(|peer| peer.last_error.as_ref()).collect();
    assert_eq!(errors_after, errors, "no link was lost for it");
    equal_everywhere(&ensemble, &[&observer]);
}

#[test]
fn a_write_that_takes_an_observers_link_longer_than_silence_is_borne_is_done() {
    const RATE: u64 = 100_000;
    let mut chance = Chance::printed("a_slow_way_up");
    let ensemble = voters(&[]);
    let quality = Quality { bytes_per_second: Some(RATE), ..Quality::with_rtt(NEAR) };
    let way = Wire::start(&places(&ensemble), quality).expect("a wire");
    let mut relay = guest(&ensemble, 11, way.places(), &[]);
    let mut observer = guest(&ensemble, 12, &[relay.quorum], &[]);
    for site in [&mut relay, &mut observer] {
        site.start();
        until_it_learns(site);
    }
    // Bytes that nothing makes fewer: they are on their way for four seconds, and nothing else of the relay is.
    let value: Vec<u8> = (0..50_000).flat_map(|_| chance.next().to_le_bytes()).collect();
    for (at, path) in [(&observer, "/behind"), (&relay, "/near")] {
        let mut client = patient_client(at);
        create(&mut client, path, b"");
        let began = Instant::now();
        set(&mut client, path, &value);
        let least = Duration::from_millis(value.len() as u64 * 1000 / RATE - 1000);
        assert!(least <= began.elapsed(), "it was no slow way: {:?}", began.elapsed());
    }
    equal_everywhere(&ensemble, &[&relay, &observer]);
}

#[test]
fn what_is_in_flight_over_a_link_that_is_held_back_is_what_it_carries_in_a_second() {
    const RATE: u64 = 200_000;
    const RECORD: usize = 20_000;
    const WRITES: u64 = 80;
    let ensemble = voters(&[&format!("farwatch.linkBytesPerSecond={RATE}")]);
    let (leader, _) = ensemble.leader();
    let only = [ensemble.server(leader).quorum];
    let mut observer = guest(&ensemble, 11, &only, &[]);
    observer.start();
    until_it_learns(&observer);
    let mut client = patient_client(ensemble.server(leader));
    create(&mut client, "/value", b"");
    // Bytes that nothing makes fewer.
    let mut chance = Chance::printed("in_flight");
    let value: Vec<u8> = (0..RECORD / 8).flat_map(|_| chance.next().to_le_bytes()).collect();
    for _ in 0..WRITES {
        set(&mut client, "/value", &value);
    }
    let level = committed(&ensemble);
    let (to, mut most) = (number(&observer), 0);
    until("it has all of it", PATIENCE, || {
        most = most.max(link(ensemble.server(leader), to).queued_bytes);
        observer.report().is_some_and(|report| level <= report.applied)
    });
    eprintln!("{most} bytes were queued at most");
    // All of it would be eight seconds.
    assert!(most <= RATE * 3 / 2 + 2 * RECORD as u64, "{most} bytes are in flight");
    equal_everywhere(&ensemble, &[&observer]);
}
