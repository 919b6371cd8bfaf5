//! Every byte flipped, files missing, cut, swapped and mixed.

use super::*;

fn sealed_disk(batches: u32, variant: u32) -> (FakeDisk, u32) {
    let disk = FakeDisk::new();
    let last = {
        let mut server = Server::new(&disk);
        for batch in 0..batches {
            server.submit(1 + (batch + variant) % 4);
            server.finish_all();
        }
        server.seal().unwrap();
        server.finish_all();
        server.history.last()
    };
    (disk.copy(), last)
}

fn segments(disk: &FakeDisk) -> Vec<String> {
    let names = disk.list(LOG_DIRECTORY).unwrap().into_iter();
    names.filter(|name| name.ends_with(".log")).map(|name| format!("log/{name}")).collect()
}

/// Recovers and loads a disk: the last record, or why not.
fn open(disk: &FakeDisk) -> Result<u32, RecoverError> {
    let recovery = recover(disk, CLUSTER)?;
    load(disk, &recovery)
}

#[test]
fn every_flipped_byte_of_a_log_is_detected_or_lies_in_what_is_free() {
    let (mut refused, mut harmless, mut bytes) = (0, 0, 0);
    // Several short logs cost less than one long one, which is read as a whole for each byte.
    for variant in 0..2 {
        let (disk, last) = sealed_disk(15, variant);
        for name in segments(&disk) {
            let content = disk.bytes(&name).unwrap();
            let used_end = content.iter().rposition(|&byte| byte != 0).unwrap() + 1;
            for at in 0..content.len() {
                let mut damaged = disk.copy();
                let mut content = content.clone();
                content[at] ^= 1 << (at % 8);
                damaged.overwrite(&name, content);
                bytes += 1;
                let Ok(recovery) = recover(&damaged, CLUSTER) else {
                    refused += 1;
                    continue;
                };
                harmless += 1;
                let found = recovery.log.last();
                assert_eq!(found, zxid(last), "byte {at} of {name} lost records silently");
                // Behind the last byte that was written no record can have changed; before it,
                // `load` compares them all.
                if at < used_end
                    && let Ok(found) = load(&damaged, &recovery)
                {
                    assert_eq!(found, last);
                }
            }
        }
    }
    println!("{bytes} bytes: {refused} refused, {harmless} harmless");
    assert!(bytes >= 200 << 10 && refused > bytes / 3);
}

#[test]
fn every_flipped_byte_of_a_snapshot_is_detected() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.submit(20);
    server.finish_all();
    server.snapshot().unwrap();
    let name = files::snapshot_name(server.log.durable());
    let disk = disk.copy();
    let content = disk.bytes(&name).unwrap();
    for at in 0..content.len() {
        let mut damaged = disk.copy();
        let mut content = content.clone();
        content[at] ^= 1 << (at % 8);
        damaged.overwrite(&name, content);
        assert!(files::verify(&damaged, CLUSTER, zxid(20)).is_err(), "byte {at}");
    }
    for length in 0..content.len() {
        let mut damaged = disk.copy();
        damaged.overwrite(&name, content[..length].to_vec());
        assert!(files::verify(&damaged, CLUSTER, zxid(20)).is_err(), "cut at {length}");
    }
    println!("{} bytes flipped and cut", content.len());
}

#[test]
fn a_damaged_snapshot_is_made_up_for_by_an_older_one_or_refused() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    for _ in 0..2 {
        server.submit(9);
        server.finish_all();
        server.snapshot().unwrap();
    }
    server.submit(9);
    server.finish_all();
    let break_snapshot = |disk: &mut FakeDisk, counter| {
        let name = files::snapshot_name(zxid(counter));
        let mut content = disk.bytes(&name).unwrap();
        content[100] ^= 1;
        disk.overwrite(&name, content);
    };
    let mut damaged = disk.copy();
    break_snapshot(&mut damaged, 18);
    let recovery = recover(&damaged, CLUSTER).unwrap();
    assert_eq!(recovery.snapshot.unwrap().zxid, zxid(9));
    assert!(matches!(&recovery.notes[..], [Note::Snapshot { snapshot, .. }]
        if *snapshot == files::snapshot_name(zxid(18))));
    assert_eq!(open(&damaged), Ok(27));
    // The log reaches back to the beginning of history.
    break_snapshot(&mut damaged, 9);
    assert_eq!(open(&damaged), Ok(27));
    // Without the log nothing makes up for it.
    for name in segments(&damaged) {
        damaged.remove(&name).unwrap();
    }
    assert!(matches!(recover(&damaged.copy(), CLUSTER), Err(RecoverError::Snapshot { .. })));
}

#[test]
fn a_missing_segment_is_refused_wherever_it_is_needed() {
    let (disk, last) = sealed_disk(60, 0);
    let names = segments(&disk);
    assert!(names.len() >= 5);
    for (index, name) in names.iter().enumerate() {
        let damaged = disk.copy();
        damaged.remove(name).unwrap();
        match recover(&damaged.copy(), CLUSTER) {
            Err(RecoverError::Beginning { segment, .. }) => {
                assert_eq!((index, &segment), (0, &names[1]));
            }
            Err(RecoverError::Gap { segment, previous, .. }) => {
                assert_eq!((&segment, &previous), (&names[index + 1], &names[index - 1]));
            }
            // A history that ends earlier is a whole one: only a quorum knows better.
            Ok(_) => assert_eq!(index, names.len() - 1),
            Err(other) => panic!("{other}"),
        }
        let mut damaged = disk.copy();
        let content = disk.bytes(name).unwrap();
        damaged.overwrite(name, content[..content.len() - 1].to_vec());
        assert!(matches!(open(&damaged), Err(RecoverError::SegmentHead { .. })));
    }
    assert_eq!(open(&disk), Ok(last));
}

#[test]
fn misplaced_duplicated_and_zeroed_blocks_are_refused() {
    let (disk, last) = sealed_disk(24, 0);
    let name = &segments(&disk)[0];
    let content = disk.bytes(name).unwrap();
    let blocks = content.len() / format::BLOCK_BYTES;
    let (mut refused, mut harmless) = (0, 0);
    for to in 0..blocks {
        for from in 0..=blocks {
            let mut moved = content.clone();
            let target = to * format::BLOCK_BYTES..(to + 1) * format::BLOCK_BYTES;
            match content.chunks(format::BLOCK_BYTES).nth(from) {
                Some(block) => moved[target].copy_from_slice(block),
                None => moved[target].fill(0),
            }
            let mut damaged = disk.copy();
            damaged.overwrite(name, moved);
            match open(&damaged) {
                Ok(found) => {
                    assert_eq!(found, last, "block {from} in place of {to}");
                    harmless += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(harmless < refused);
}

#[test]
fn files_of_another_ensemble_or_history_are_refused() {
    let (disk, last) = sealed_disk(10, 0);
    assert!(matches!(recover(&disk.copy(), ClusterId(1)), Err(RecoverError::Foreign { .. })));
    // A snapshot of another history at the log's last record, and inside it.
    for counter in [last, last - 1] {
        let mut server = Server::new(&disk);
        server.history.chains.resize(counter as usize + 1, Chain(99));
        server.log.durable = zxid(counter);
        let disk = disk.copy();
        server.snapshot_to(&disk).unwrap();
        let opened = open(&disk.copy());
        let forked = super::super::reader::ReadError::Forked { zxid: zxid(counter) };
        assert_eq!(opened, Err(RecoverError::Log(forked)));
    }
}
