//! Snapshots from one real directory to another.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use farwatch_core::acl;
use farwatch_core::log::recovery::recover;
use farwatch_core::log::segment_name;
use farwatch_core::record::Chain;
use farwatch_core::snapshot::NodeImage;
use farwatch_core::txn::NodeKind;
use farwatch_core::zxid::{Epoch, ServerId, Zxid};

use super::*;
use crate::data_dir::Founding;
use crate::log_file::system;
use crate::snapshot_file;

fn member(root: &Path, server: u32) -> DataDir {
    DataDir::open(root, None, ServerId(server), Founding::Member).unwrap()
}

fn position(counter: u32) -> Position {
    Position { zxid: Zxid::new(Epoch(1), counter), chain: Chain(counter ^ 0x55) }
}

/// A snapshot of a few parts.
fn write(dir: &DataDir, at: Position) {
    let mut writer = snapshot_file::create(dir, at.zxid, at.chain).unwrap();
    let data = vec![at.zxid.counter() as u8; 300 << 10];
    for counter in 0..8 {
        let path = format!("/n{counter}");
        let (czxid, mzxid, pzxid) = (Zxid(1), Zxid(2), Zxid(3));
        let image = NodeImage {
            path: path.as_bytes(),
            data: Some(&data),
            acl: acl::OPEN,
            kind: NodeKind::Persistent,
            czxid,
            mzxid,
            pzxid,
            ctime: 4,
            mtime: 5,
            version: 6,
            cversion: 7,
            aversion: 8,
        };
        writer.node(&image).unwrap();
    }
    writer.finish(1).unwrap();
}

/// Two directories of one ensemble, of which the first has a snapshot at `at`.
fn pair(at: Position) -> (tempfile::TempDir, [DataDir; 2]) {
    let root = tempfile::tempdir().unwrap();
    let leader = member(&root.path().join("1"), 1);
    let learner = member(&root.path().join("2"), 2);
    learner.adopt(leader.identity().cluster, false).unwrap();
    drop(learner);
    let learner = member(&root.path().join("2"), 2);
    write(&leader, at);
    (root, [leader, learner])
}

fn source(dir: &DataDir, bytes_per_second: u64) -> (SnapshotSource, File) {
    let bell = system::event_fd().unwrap();
    let ours = bell.try_clone().unwrap();
    (SnapshotSource::start(dir, bell, bytes_per_second).unwrap(), ours)
}

fn read(
    (source, bell): &mut (SnapshotSource, File),
    ticket: u64,
    offset: u64,
) -> Result<SnapshotPart, SnapshotReadError> {
    source.begin_read(ticket, offset);
    bell.read_exact(&mut [0; 8]).unwrap(); // a lost ring would hang here
    source.read_completed().expect("the bell was rung")
}

#[test]
fn a_snapshot_goes_from_one_directory_to_another_and_is_its_history() {
    let at = position(9);
    let (_root, [leader, learner]) = pair(at);
    let mut source = source(&leader, 0);
    let mut bell = system::event_fd().unwrap();
    let mut sink = SnapshotSink::start(&learner, bell.try_clone().unwrap()).unwrap();
    let (mut offset, mut parts) = (0, 0);
    loop {
        let part = read(&mut source, 4, offset).unwrap();
        assert_eq!((part.ticket, part.at, part.offset), (4, at, offset));
        let upto = offset + part.bytes.len() as u64;
        sink.begin_store(8, at, offset, part.bytes, part.end);
        bell.read_exact(&mut [0; 8]).unwrap();
        assert_eq!(sink.store_completed(), Some(Stored { ticket: 8, result: Ok(upto) }));
        (offset, parts) = (upto, parts + 1);
        if part.end {
            break;
        }
    }
    assert!(parts > 3, "{parts} parts");
    let found = recover(&learner, learner.identity().cluster).unwrap();
    assert_eq!((found.log.position(), found.snapshot.unwrap().position()), (at, at));
}

#[test]
fn all_parts_of_a_ticket_are_of_one_file_though_it_is_purged_and_a_newer_one_is_there() {
    let at = position(9);
    let (_root, [leader, _]) = pair(at);
    let whole = std::fs::read(leader.path(&file_name(at))).unwrap();
    let mut source = source(&leader, 0);
    let first = read(&mut source, 1, 0).unwrap();
    write(&leader, position(20));
    std::fs::remove_file(leader.path(&file_name(at))).unwrap();
    assert_eq!(read(&mut source, 2, 0).unwrap().at, position(20));
    let mut bytes = first.bytes.to_vec();
    loop {
        let part = read(&mut source, 1, bytes.len() as u64).unwrap();
        assert_eq!(part.at, at);
        bytes.extend_from_slice(&part.bytes);
        if part.end {
            break;
        }
    }
    assert!(bytes == whole);
    let forgotten = SnapshotReadError { ticket: 1, cause: SnapshotReadCause::Forgotten };
    assert_eq!(read(&mut source, 1, 9), Err(forgotten));
}

#[test]
fn a_sending_that_broke_off_goes_on_though_a_newer_snapshot_is_there_while_the_log_does() {
    let at = position(9);
    let (_root, [leader, _]) = pair(at);
    let mut source = source(&leader, 0);
    assert_eq!(read(&mut source, 1, 0).unwrap().at, at);
    write(&leader, position(20));
    let segment = |counter| leader.path(&segment_name(Zxid::new(Epoch(1), counter)));
    std::fs::write(segment(3), []).unwrap();
    let begun = read(&mut source, 2, 0).unwrap();
    let more = read(&mut source, 2, begun.bytes.len() as u64).unwrap();
    assert_eq!((begun.at, more.at), (at, at));
    // The log begins behind it: who has stored it could not go on from there.
    std::fs::rename(segment(3), segment(12)).unwrap();
    assert_eq!(read(&mut source, 3, 0).unwrap().at, position(20));
    std::fs::rename(segment(12), segment(3)).unwrap();
    assert_eq!(read(&mut source, 2, begun.bytes.len() as u64).unwrap().at, at);
    let mut offset = begun.bytes.len() as u64;
    loop {
        let part = read(&mut source, 2, offset).unwrap();
        offset += part.bytes.len() as u64;
        if part.end {
            break;
        }
    }
    // The end may have been lost with its link, but not again and again.
    for ticket in 4..7 {
        assert_eq!(read(&mut source, ticket, 0).unwrap().at, at);
        assert!(read(&mut source, ticket, offset - 1).unwrap().end);
    }
    assert_eq!(read(&mut source, 7, 0).unwrap().at, position(20));
}

fn file_name(at: Position) -> String {
    farwatch_core::snapshot::files::snapshot_name(at.zxid)
}

#[test]
fn a_damaged_snapshot_is_passed_over_and_without_one_it_is_said() {
    let (old, new) = (position(9), position(20));
    let (_root, [leader, learner]) = pair(old);
    write(&leader, new);
    let path = leader.path(&file_name(new));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[9999] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read(&mut source(&leader, 0), 1, 0).unwrap().at, old);
    let none = SnapshotReadError { ticket: 1, cause: SnapshotReadCause::NoSnapshot };
    assert_eq!(read(&mut source(&learner, 0), 1, 0), Err(none));
}

#[test]
fn a_capped_source_takes_its_time_and_ends_at_once_when_it_is_dropped() {
    let (_root, [leader, _]) = pair(position(9));
    let mut capped = source(&leader, 4 * PART_BYTES as u64);
    let begun = Instant::now();
    let mut offset = 0;
    for _ in 0..3 {
        offset += read(&mut capped, 1, offset).unwrap().bytes.len() as u64;
    }
    // Three parts at four a second: the first goes at once, the others a quarter of a second apart.
    assert!(begun.elapsed().as_millis() >= 490, "{:?}", begun.elapsed());
    let mut slow = source(&leader, 1);
    read(&mut slow, 1, 0).unwrap();
    slow.0.begin_read(1, PART_BYTES as u64);
    let begun = Instant::now();
    drop(slow);
    assert!(begun.elapsed().as_secs() < 60, "it waited for its cap: {:?}", begun.elapsed());
}

#[test]
fn more_than_may_wait_is_refused() {
    let (_root, [leader, _]) = pair(position(9));
    let (mut slow, mut bell) = source(&leader, 1);
    let asked = WAITING_MAX as u64 + 3;
    (0..asked).for_each(|ticket| slow.begin_read(ticket, 0));
    bell.read_exact(&mut [0; 8]).unwrap();
    let mut refused = 0;
    while let Some(answer) = slow.read_completed() {
        refused += u32::from(answer.is_err());
    }
    assert!(refused >= 3, "{refused}");
}
