//! Full and failing disks.

use super::*;

#[test]
fn a_disk_that_fails_at_any_call_loses_nothing_that_was_acknowledged() {
    let whole = FakeDisk::new();
    Server::new(&whole).live(16).unwrap();
    let (mut failed, calls) = (0, whole.calls());
    for call in 0..calls {
        for cause in [DiskCause::Os(5), DiskCause::Full] {
            let disk = FakeDisk::new();
            let mut server = Server::new(&disk);
            disk.set_fault(Some(Fault { call, cause, lasting: cause != DiskCause::Full }));
            if call < disk.calls() {
                continue;
            }
            let lived = server.live(16);
            assert!(lived.is_err(), "call {call} was not reported");
            failed += 1;
            // The process ends; what was in flight may be there or not.
            disk.set_fault(None);
            let acknowledged = server.acknowledged.last().unwrap().1;
            let proposed = server.proposed.last().unwrap().1;
            disk.crash_states(disk.operations(), 2, &mut 5, |crashed| {
                let recovery = recover(crashed, CLUSTER).unwrap();
                let last = load(crashed, &recovery).unwrap();
                assert!((acknowledged..=proposed).contains(&last), "call {call}, {cause:?}");
            });
        }
    }
    println!("{failed} failures over {calls} calls");
    assert!(failed > 500);
}

#[test]
fn a_disk_that_fails_while_it_is_recovered_is_reported_and_recovers_later() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.live(16).unwrap();
    (0..3).for_each(|_| server.submit(2));
    server.finish(2);
    let (acknowledged, proposed) = (server.log.durable().counter(), server.history.last());
    let mut reported = 0;
    disk.crash_states(disk.operations(), 4, &mut 9, |crashed| {
        let whole = crashed.copy();
        recover(&whole, CLUSTER).unwrap();
        for call in 0..whole.calls() {
            let failing = crashed.copy();
            failing.set_fault(Some(Fault { call, cause: DiskCause::Os(5), lasting: true }));
            let error = recover(&failing, CLUSTER).unwrap_err();
            reported += 1;
            assert!(error.to_string().contains("Input/output error"), "{error}");
            failing.set_fault(None);
            let recovery = recover(&failing, CLUSTER).unwrap();
            let last = load(&failing, &recovery).unwrap();
            assert!((acknowledged..=proposed).contains(&last));
        }
    });
    println!("{reported} failures of recoveries");
    assert!(reported > 100);
}

#[test]
fn a_full_disk_refuses_the_next_segment_and_heals_when_there_is_room() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    disk.set_capacity(Some(3 * SEGMENT + 1000));
    let mut refused = 0;
    while refused < 5 {
        match server.try_submit(2) {
            Ok(()) => assert!(refused == 0, "it took a write while it was full"),
            Err(error) => {
                assert_eq!(error.cause, DiskCause::Full);
                refused += 1;
            }
        }
        server.finish_all();
    }
    let last = server.history.last();
    assert_eq!((server.log.last(), server.log.segments().len()), (zxid(last), 3));
    let leftovers = disk.list(LOG_DIRECTORY).unwrap();
    assert!(!leftovers.iter().any(|name| name.ends_with(".tmp")), "{leftovers:?}");
    disk.set_capacity(None);
    for _ in 0..20 {
        server.submit(2);
        server.finish_all();
    }
    let disk = disk.copy();
    let recovery = recover(&disk, CLUSTER).unwrap();
    assert_eq!(load(&disk, &recovery), Ok(last + 40));
}

#[test]
fn a_full_disk_while_a_snapshot_is_written_leaves_the_older_ones_alone() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.submit(9);
    server.finish_all();
    server.snapshot().unwrap();
    server.submit(9);
    server.finish_all();
    let calls = disk.calls();
    for call in 0.. {
        let disk = disk.copy();
        disk.set_fault(Some(Fault { call, cause: DiskCause::Full, lasting: true }));
        if server.snapshot_to(&disk).is_ok() {
            assert!(call > 5 && calls > call);
            break;
        }
        disk.set_fault(None);
        recover(&disk, CLUSTER).unwrap();
        let found = list_snapshots(&disk).unwrap();
        let newest = *found.last().unwrap();
        files::verify(&disk, CLUSTER, newest).unwrap();
        assert!(newest == zxid(9) || newest == zxid(18));
        assert_eq!(disk.list("snapshot").unwrap().len(), found.len(), "leftovers are removed");
    }
}

#[test]
fn a_snapshot_that_found_no_room_gives_back_what_it_took_at_once() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.submit(9);
    server.finish_all();
    for call in 0.. {
        let disk = disk.copy();
        disk.set_fault(Some(Fault { call, cause: DiskCause::Full, lasting: false }));
        let written = server.snapshot_to(&disk);
        disk.set_fault(None);
        let left = disk.list("snapshot").unwrap();
        assert!(!left.iter().any(|name| name.ends_with(".tmp")), "call {call} left {left:?}");
        if written.is_ok() {
            assert!(call > 5, "it failed {call} times");
            break;
        }
    }
}
