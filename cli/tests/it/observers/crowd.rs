//! Many observers that come at once: the voters go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::readers::StopOnDrop;
use super::sites::{
    committed, create, equal_everywhere, guest, patient_client, set, until_at, until_it_learns,
    voters,
};
use crate::ensemble::servers::{PATIENCE, Server, until};

const GUESTS: u32 = 20;

/// Writes before they come: what each of them is sent.
const BEFORE: u32 = 500;

/// A bound for a machine on which twenty processes start at once; what is measured is printed.
const WRITE_GAP_MAX: Duration = Duration::from_secs(5);

#[test]
fn twenty_guests_that_come_at_once_to_one_voter_do_not_hold_up_writes() {
    let test = "twenty_guests";
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    create(&mut client, "/value", b"first");
    for _ in 0..BEFORE {
        set(&mut client, "/value", &[b'v'; 1000]);
    }
    let only = [ensemble.server(ensemble.followers()[0]).quorum];
    let mut guests: Vec<Server> =
        (0..GUESTS).map(|number| guest(&ensemble, 11 + number, &only, &[])).collect();
    let done = AtomicBool::new(false);
    let (writes, gap) = thread::scope(|scope| {
        let guard = StopOnDrop(&done);
        let writing = scope.spawn(|| {
            let (mut writes, mut gap) = (0, Duration::ZERO);
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                set(&mut client, "/value", b"while they come");
                gap = gap.max(began.elapsed());
                writes += 1;
            }
            (writes, gap)
        });
        let began = Instant::now();
        guests.iter_mut().for_each(Server::start);
        let mut here = 0;
        until("all of them learn", PATIENCE * 3, || {
            let learns = |server: &Server| {
                server.report().is_some_and(|it| it.role == "learning" && it.phase == "broadcast")
            };
            here = guests.iter().filter(|server| learns(server)).count();
            here == guests.len()
        });
        eprintln!("{test}: {here} after {:?}", began.elapsed());
        drop(guard);
        writing.join().expect("the writer does not panic")
    });
    eprintln!("{test}: {writes} writes meanwhile, the longest took {gap:?}");
    assert!(gap < WRITE_GAP_MAX, "writes waited for guests");
    let level = committed(&ensemble);
    for guest in &guests {
        until_it_learns(guest);
        until_at(guest, level);
    }
    let some: Vec<&Server> = guests.iter().step_by(7).collect();
    equal_everywhere(&ensemble, &some);
}
