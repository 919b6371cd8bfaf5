//! Holes that are closed with another server's records.

use super::*;
use crate::log::reader::ReadError;
use crate::log::repair::{Hole, RepairError, Until};
use crate::log::salvage::{Sound, records_behind};
use crate::record::run::{Position, Run};

/// A disk, the history on it as a peer has it, and where each batch begins in which segment.
struct Subject {
    disk: FakeDisk,
    last: u32,
    records: Vec<(Position, Vec<u8>)>,
    batches: Vec<(String, u64)>,
}

fn subject() -> Subject {
    let disk = FakeDisk::new();
    let mut batches = Vec::new();
    let last = {
        let mut server = Server::new(&disk);
        for batch in 0..24 {
            let before = (server.log.end(), server.log.segments().len());
            server.submit(1 + batch % 4);
            server.finish_all();
            let began = server.log.segments().len() > before.1;
            let at = if began { format::SEGMENT_HEAD_BYTES as u64 } else { before.0.unwrap() };
            batches.push((server.log.current().unwrap().name(), at));
        }
        server.seal().unwrap();
        server.finish_all();
        server.history.last()
    };
    let disk = disk.copy();
    let recovery = recover(&disk, CLUSTER).unwrap();
    let segments = recovery.log.segments();
    let mut reader = LogReader::new(&disk, segments, Zxid::ZERO, None, zxid(last)).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        let at = Position { zxid: record.head().zxid, chain: record.chain() };
        records.push((at, record.bytes().to_vec()));
    }
    Subject { disk, last, records, batches }
}

impl Subject {
    /// What a peer sends of its records that are behind `after`, up to where `until` says.
    fn missing(&self, hole: &Hole) -> Run {
        let (mut upto, mut bytes) = (hole.before, Vec::new());
        for (at, record) in &self.records {
            let ends = match hole.until {
                Until::Record(last) => last.zxid < at.zxid,
                Until::Before(next, _) => next <= at.zxid,
            };
            if hole.before.zxid < at.zxid && !ends {
                bytes.extend_from_slice(record);
                upto = *at;
            }
        }
        Run::own(hole.before, upto, bytes.into())
    }

    fn damaged(&self, batches: std::ops::Range<usize>, byte: u64) -> FakeDisk {
        let mut disk = self.disk.copy();
        for (name, at) in &self.batches[batches] {
            let mut content = disk.bytes(name).unwrap();
            content[(at + byte) as usize] ^= 1;
            disk.overwrite(name, content);
        }
        disk
    }
}

fn damage(disk: &FakeDisk) -> ReadError {
    let damaged = recover(disk, CLUSTER).and_then(|recovery| load(disk, &recovery));
    let Err(RecoverError::Log(damage)) = damaged else { panic!("{damaged:?}") };
    damage
}

#[test]
fn every_damaged_batch_is_found_fetched_and_closed() {
    let subject = subject();
    for index in 0..subject.batches.len() {
        // Its head, and its records.
        for byte in [10, 200] {
            let disk = subject.damaged(index..index + 1, byte);
            let hole = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().expect("both sides stand");
            assert_eq!(hole.offset, subject.batches[index].1);
            let run = subject.missing(&hole);
            assert!(hole.is_closed_by(&run));
            let mark = disk.operations();
            hole.close(&disk, &run).unwrap();
            assert_eq!(end(&disk.copy()), Ok(subject.last), "batch {index}");
            // A crash leaves the damaged segment or the repaired one.
            for prefix in mark..=disk.operations() {
                disk.crash_states(prefix, 4, &mut 5, |crashed| {
                    let found = end(crashed);
                    assert!(found == Ok(subject.last) || prefix < disk.operations());
                    assert!(
                        found.is_ok()
                            || Hole::of(crashed, CLUSTER, &damage(crashed))
                                == Ok(Some(hole.clone()))
                    );
                });
            }
        }
    }
}

fn end(disk: &FakeDisk) -> Result<u32, RecoverError> {
    let recovery = recover(disk, CLUSTER)?;
    load(disk, &recovery)
}

#[test]
fn several_damaged_batches_side_by_side_are_one_hole_and_others_come_one_by_one() {
    let subject = subject();
    for width in 2..5 {
        for index in 0..subject.batches.len() - width {
            let disk = subject.damaged(index..index + width, 200);
            let mut rounds = 0;
            while end(&disk.copy()).is_err() {
                let hole = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().expect("closable");
                hole.close(&disk, &subject.missing(&hole)).unwrap();
                rounds += 1;
                assert!(rounds <= width, "each hole is closed once");
            }
            assert_eq!(end(&disk), Ok(subject.last));
        }
    }
}

#[test]
fn other_records_than_the_missing_ones_close_nothing() {
    let subject = subject();
    let disk = subject.damaged(7..8, 200);
    let hole = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().unwrap();
    let run = subject.missing(&hole);
    let (at, calls) = (hole.before.zxid, disk.operations());
    let refused = Err(RepairError::OtherRecords { before: at });
    // Fewer, more, and altered ones.
    let fewer = run.clone().split(Zxid(run.upto().zxid.0 - 1)).0;
    let wider =
        Hole { until: Until::Before(Zxid(run.upto().zxid.0 + 2), Chain(0)), ..hole.clone() };
    let more = subject.missing(&wider);
    let mut altered = run.bytes().to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let altered = Run::own(run.after(), run.upto(), altered.into());
    for other in fewer.into_iter().chain([more, altered]) {
        assert_eq!(hole.close(&disk, &other), refused);
    }
    assert_eq!(disk.operations(), calls, "nothing was written");
    assert!(end(&disk).is_err());
}

#[test]
fn a_damaged_seal_between_batches_is_a_hole_without_records() {
    let disk = FakeDisk::new();
    let (name, at, last) = {
        let mut server = Server::new(&disk);
        server.submit(2);
        server.finish_all();
        let at = server.log.end().unwrap();
        server.seal().unwrap();
        server.finish_all();
        for _ in 0..2 {
            server.submit(1);
            server.finish_all();
        }
        (server.log.current().unwrap().name(), at, server.history.last())
    };
    let mut disk = disk.copy();
    let mut content = disk.bytes(&name).unwrap();
    content[at as usize + 10] ^= 1;
    disk.overwrite(&name, content);
    let hole = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().expect("closable");
    assert!(hole.is_empty() && hole.offset == at);
    hole.close_empty(&disk).unwrap();
    assert_eq!(end(&disk), Ok(last));
}

#[test]
fn what_is_in_front_of_the_damage_and_behind_it_in_other_segments_is_salvaged() {
    let subject = subject();
    for index in 0..subject.batches.len() {
        let disk = subject.damaged(index..index + 1, 200);
        let hole = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().unwrap();
        let upto = subject.records.last().unwrap().0.zxid;
        let read = |after| records_behind(&disk, CLUSTER, after, upto, 1).unwrap();
        let mut before = Position::ROOT;
        for (at, record) in &subject.records {
            let found = read(before);
            assert!(found.as_ref().is_none_or(|run| run.bytes()[..] == record[..]));
            let in_front = at.zxid <= hole.before.zxid;
            assert!(found.is_some() || !in_front, "{:?} is whole", at.zxid);
            before = *at;
        }
        assert_eq!(read(hole.before), None, "the missing ones are missing");
        let other = Position { chain: Chain(1), ..hole.before };
        assert_eq!(read(other), None, "of another history nothing is told");
    }
}

#[test]
fn what_is_in_front_of_the_damage_is_the_whole_history_after_a_cut() {
    let subject = subject();
    assert_eq!(Sound::of(&subject.disk.copy(), CLUSTER), Ok(None), "it is whole");
    for index in 0..subject.batches.len() {
        let disk = subject.damaged(index..index + 1, 200);
        let before = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().unwrap().before;
        let Some(sound) = Sound::of(&disk, CLUSTER).unwrap() else {
            assert_eq!((index, before), (0, Position::ROOT), "nothing is in front of it");
            continue;
        };
        assert_eq!(sound.upto, before);
        let mark = disk.operations();
        sound.cut(&disk, CLUSTER).unwrap();
        let cut = Ok(before.zxid.counter());
        assert_eq!(end(&disk.copy()), cut, "batch {index}");
        for prefix in mark..=disk.operations() {
            disk.crash_states(prefix, 4, &mut 5, |crashed| {
                let found = end(crashed);
                assert!(found == cut || found.is_err() && prefix < disk.operations());
            });
        }
    }
}

#[test]
fn a_snapshot_behind_the_damage_is_the_whole_history_after_a_cut() {
    let disk = FakeDisk::new();
    let (name, at) = {
        let mut server = Server::new(&disk);
        server.submit(2);
        server.finish_all();
        let at = server.log.end().unwrap();
        for _ in 0..2 {
            server.submit(1);
            server.finish_all();
        }
        server.snapshot().unwrap();
        for _ in 0..2 {
            server.submit(1);
            server.finish_all();
        }
        (server.log.current().unwrap().name(), at)
    };
    let mut disk = disk.copy();
    let mut content = disk.bytes(&name).unwrap();
    content[at as usize + 200] ^= 1;
    disk.overwrite(&name, content);
    let sound = Sound::of(&disk, CLUSTER).unwrap().expect("the snapshot is whole");
    assert_eq!(sound.upto.zxid, zxid(4));
    sound.cut(&disk, CLUSTER).unwrap();
    let recovery = recover(&disk.copy(), CLUSTER).unwrap();
    assert_eq!((recovery.log.position(), recovery.log.segments().len()), (sound.upto, 0));
}

#[test]
fn damage_that_nothing_behind_it_bounds_is_no_hole() {
    let subject = subject();
    let last = subject.batches.len() - 1;
    let mut disk = subject.damaged(last..last + 1, 200);
    let (name, at) = &subject.batches[last];
    // The seal behind it too: its head still vouches, and there is nothing whole.
    let found = Hole::of(&disk, CLUSTER, &damage(&disk)).unwrap().expect("the seal bounds it");
    assert!(matches!(found.until, Until::Record(last) if last.zxid == zxid(subject.last)));
    let torn = damage(&disk);
    let mut content = disk.bytes(name).unwrap();
    content[found.end.unwrap() as usize..].fill(0);
    disk.overwrite(name, content);
    assert_eq!(Hole::of(&disk, CLUSTER, &torn), Ok(None), "at {at}");
    let forked = ReadError::Forked { zxid: zxid(3) };
    assert_eq!(Hole::of(&disk, CLUSTER, &forked), Ok(None));
}
