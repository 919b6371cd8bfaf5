//! A snapshot from elsewhere in the place of the whole history, with crashes at every operation.

use super::*;
use crate::log::replace::{INCOMING_FILE, INSTALL_FILE, Incoming, StoreError};
use crate::record::run::Position;

const PART: usize = 700;

/// A snapshot of a history that has nothing to do with this server's, as another server wrote it.
fn foreign(at: Position) -> Vec<u8> {
    let disk = FakeDisk::new();
    let head = SnapshotHead { cluster: CLUSTER, zxid: at.zxid, chain: at.chain };
    let mut writer = SnapshotWriter::create(&disk, head).unwrap();
    writer.session(&session(0)).unwrap();
    for counter in 0..9 {
        writer.node(&node(counter, &data(counter))).unwrap();
    }
    writer.finish(3).unwrap();
    disk.bytes(&files::snapshot_name(at.zxid)).unwrap()
}

/// A server's life before the snapshot comes, and where it ended.
fn lived() -> (FakeDisk, Position) {
    let disk = FakeDisk::new();
    let last = {
        let mut server = Server::new(&disk);
        server.live(16).unwrap();
        server.finish_all();
        server.log.position()
    };
    (disk.copy(), last)
}

fn store(disk: &FakeDisk, at: Position, bytes: &[u8]) -> Result<(), StoreError> {
    let mut incoming = Incoming::new(disk, CLUSTER);
    let mut offset = 0;
    for part in bytes.chunks(PART) {
        let end = offset + part.len() == bytes.len();
        let upto = incoming.store(at, offset as u64, part, end)?;
        offset += part.len();
        assert_eq!(upto, offset as u64);
    }
    Ok(())
}

/// Where a start ends, and on which snapshot.
fn end(disk: &FakeDisk) -> (Position, Position) {
    let recovery = recover(disk, CLUSTER).unwrap();
    let base = recovery.snapshot.map_or(Position::ROOT, |snapshot| snapshot.position());
    (recovery.log.position(), base)
}

#[test]
fn a_crash_leaves_the_old_history_or_the_snapshot_alone_wherever_it_comes() {
    let (old, last) = lived();
    let old_end = end(&old.copy());
    // Behind the old log, inside it, at its very end, and of another epoch.
    let inside = zxid(last.zxid.counter() / 2);
    for zxid in [Zxid(last.zxid.0 + 9), inside, last.zxid, Zxid::new(Epoch(7), 3)] {
        let at = Position { zxid, chain: Chain(0xabcd) };
        let bytes = foreign(at);
        let (mut states, mut nested, mut prng) = (0, 0, 3);
        let disk = old.copy();
        store(&disk, at, &bytes).unwrap();
        let installed = disk.operations();
        assert_eq!(end(&disk), (at, at));
        for prefix in 0..=disk.operations() {
            disk.crash_states(prefix, 12, &mut prng, |crashed| {
                states += 1;
                let before = crashed.copy();
                let found = end(crashed);
                let new = found == (at, at);
                let what = format!("{found:?} at operation {prefix} for {at:?}");
                assert!(new || (found == old_end && prefix < installed), "{what}");
                assert_eq!(end(crashed), found, "a second start finds the same");
                let names = crashed.list("snapshot").unwrap();
                assert!(!names.iter().any(|name| !name.ends_with(".snap")), "{names:?}");
                if new {
                    assert_eq!(names.len(), 1, "{names:?}");
                }
                if !states_is_sampled(states) {
                    return;
                }
                recover(&before, CLUSTER).unwrap();
                for again in 0..=before.operations() {
                    before.crash_states(again, 4, &mut 9, |crashed| {
                        nested += 1;
                        assert_eq!(end(crashed), found, "again at {again}, {what}");
                    });
                }
            });
        }
        println!("{states} crash states, {nested} of crashes behind a recovery");
        assert!(states > 200 && nested > 100);
    }
}

fn states_is_sampled(states: u32) -> bool {
    states.is_multiple_of(23)
}

#[test]
fn a_log_is_begun_behind_the_snapshot_and_the_old_one_never_comes_back() {
    let (disk, last) = lived();
    let at = Position { zxid: Zxid::new(Epoch(2), 4), chain: Chain(77) };
    store(&disk, at, &foreign(at)).unwrap();
    let again = store(&disk, at, &foreign(at));
    assert_eq!(again, Err(StoreError::Installed), "the file that waits is not written over");
    let mut log = recover(&disk, CLUSTER).unwrap().log;
    assert!(log.segments().is_empty() && last.zxid < at.zxid);
    let number = log.reserve_spare();
    make_spare(&disk, number, SEGMENT, |_, _| Ok(())).unwrap();
    log.add_spare(number);
    let first = Zxid::new(Epoch(2), 5);
    log.start_segment(&disk, number, first, Salt(5)).unwrap();
    let mut records = Vec::new();
    let txn = Txn::SetData { path: b"/n", data: None, version: 1 };
    let head = TxnHead { zxid: first, time_ms: 5, session: SessionId(6), cxid: 7 };
    let chain = record::append(&head, &txn, at.chain, &mut records);
    let mut batch = Vec::new();
    let place = log.place(&records, (first, first), chain, &mut batch);
    let file = disk.open(&log.current().unwrap().name()).unwrap();
    disk.finish_write(disk.begin_write(&file, place.at, &batch).unwrap());
    let disk = disk.copy();
    assert_eq!(end(&disk), (Position { zxid: first, chain }, at));
    // The snapshot is needed from now on.
    disk.remove(&files::snapshot_name(at.zxid)).unwrap();
    assert!(matches!(recover(&disk, CLUSTER), Err(RecoverError::Beginning { .. })));
}

#[test]
fn parts_that_do_not_make_the_snapshot_that_was_said_change_nothing() {
    let (disk, _) = lived();
    let before = end(&disk.copy());
    let at = Position { zxid: Zxid::new(Epoch(2), 4), chain: Chain(77) };
    let other = Position { chain: Chain(78), ..at };
    let bytes = foreign(at);
    let mut incoming = Incoming::new(&disk, CLUSTER);
    assert_eq!(incoming.store(at, 9, &[1], false), Err(StoreError::Gap { offset: 9, stored: 0 }));
    assert_eq!(incoming.store(at, 0, &bytes[..9], false), Ok(9));
    let gap = StoreError::Gap { offset: 10, stored: 9 };
    assert_eq!(incoming.store(at, 10, &bytes[10..], true), Err(gap));
    let mixed = incoming.store(other, 9, &bytes[9..], true);
    assert_eq!(mixed, Err(StoreError::Other { found: at.zxid, begun: at.zxid }));
    // Offset 0 begins again, and the whole must be what was said.
    assert!(matches!(incoming.store(other, 0, &bytes, true), Err(StoreError::Snapshot(_))));
    for at_byte in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at_byte] ^= 1;
        assert!(matches!(incoming.store(at, 0, &damaged, true), Err(StoreError::Snapshot(_))));
    }
    assert!(matches!(incoming.store(at, 0, &bytes[..400], true), Err(StoreError::Snapshot(_))));
    assert!(disk.bytes(INSTALL_FILE).is_none() && disk.bytes(INCOMING_FILE).is_some());
    assert_eq!(end(&disk), before);
    assert!(disk.bytes(INCOMING_FILE).is_none(), "what is left of it goes at the next start");
}

#[test]
fn a_replacement_whose_snapshot_is_damaged_is_refused_and_not_fallen_back_from() {
    let (disk, _) = lived();
    let at = Position { zxid: Zxid::new(Epoch(2), 4), chain: Chain(77) };
    store(&disk, at, &foreign(at)).unwrap();
    let mut damaged = disk.copy();
    let mut content = damaged.bytes(INCOMING_FILE).unwrap();
    content[50] ^= 1;
    damaged.overwrite(INCOMING_FILE, content);
    let refused = recover(&damaged, CLUSTER).unwrap_err();
    assert!(matches!(refused, RecoverError::Replacement { .. }), "{refused}");
    // Behind the installation the same: nothing older is left to fall back to.
    recover(&disk, CLUSTER).unwrap();
    let mut damaged = disk.copy();
    let name = files::snapshot_name(at.zxid);
    let mut content = damaged.bytes(&name).unwrap();
    content[50] ^= 1;
    damaged.overwrite(&name, content);
    assert!(matches!(recover(&damaged, CLUSTER), Err(RecoverError::Snapshot { .. })));
}

#[test]
fn a_snapshot_newer_than_the_log_leaves_no_hole_behind_it() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.submit(5);
    server.finish_all();
    // What was applied was durable on a quorum, and of it only the snapshot reached this disk.
    server.history.run(3);
    server.log.durable = zxid(8);
    let disk = disk.copy();
    server.snapshot_to(&disk).unwrap();
    let at = Position { zxid: zxid(8), chain: server.history.chains[8] };
    for _ in 0..2 {
        let recovery = recover(&disk, CLUSTER).unwrap();
        assert_eq!((recovery.log.position(), recovery.log.segments().len()), (at, 0));
    }
}

#[test]
fn the_disk_gets_snapshots_and_spares_in_pieces_since_whoever_syncs_meanwhile_waits_for_one() {
    const MEBIBYTE: usize = 1 << 20;
    let disk = FakeDisk::new();
    let head = SnapshotHead { cluster: CLUSTER, zxid: zxid(1), chain: Chain(1) };
    let mut writer = SnapshotWriter::create(&disk, head).unwrap();
    let large = vec![7; 100_000];
    for counter in 0..50 {
        writer.node(&NodeImage { data: Some(&large), ..node(counter, &[]) }).unwrap();
    }
    let written = writer.finish(3).unwrap().bytes as usize;
    assert!(4 * MEBIBYTE < written, "{written} bytes");
    let most = disk.unsynced_bytes_max();
    assert!(most < MEBIBYTE + MEBIBYTE / 2, "{most} bytes at once");
    let disk = FakeDisk::new();
    let mut upto = Vec::new();
    let bytes = 2 * MEBIBYTE as u64 + SEGMENT;
    make_spare(&disk, 1, bytes, |file, done| {
        upto.push(done);
        disk.sync(file)
    })
    .unwrap();
    assert_eq!(upto, [MEBIBYTE as u64, 2 * MEBIBYTE as u64, bytes]);
    assert_eq!(disk.unsynced_bytes_max(), MEBIBYTE);
}
