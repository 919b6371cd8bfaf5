//! What is on disk: records, snapshots, segments.
//!
//! A checksum stops almost every input at the door. So half of the inputs, those whose first byte is
//! odd, get right checksums before they are read: what stands behind the door is then tried as well.

use farwatch_core::disk::fake::FakeDisk;
use farwatch_core::log::format::{BATCH_HEAD_BYTES, BLOCK_BYTES, ClusterId, SEGMENT_HEAD_BYTES};
use farwatch_core::log::reader::LogReader;
use farwatch_core::log::recovery::recover;
use farwatch_core::log::segment_name;
use farwatch_core::record::{Chain, HEAD_BYTES, Record};
use farwatch_core::snapshot::files::snapshot_name;
use farwatch_core::snapshot::format::{CHUNK_HEAD_BYTES, SNAPSHOT_HEAD_BYTES};
use farwatch_core::snapshot::reader::{Chunk, SnapshotReader};
use farwatch_core::tree::{Restorer, TreeOptions};
use farwatch_core::txn::Txn;
use farwatch_core::zxid::{Epoch, Zxid};

/// The cluster of the files in `fixtures/`.
const CLUSTER: ClusterId = ClusterId(0xfa12);

const SEGMENT: &[u8] = include_bytes!("../../../fixtures/segment-v1.log");

fn put_crc(bytes: &mut [u8], crc: u32) {
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Records one behind the other.
pub fn record(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    let (mut at, mut chain) = (0, Chain(0));
    while bytes.len() - at >= HEAD_BYTES {
        if first % 2 == 1 {
            let end = HEAD_BYTES.saturating_add(u32_at(&bytes[at..], 4)).min(bytes.len() - at);
            let crc = crc32c::crc32c_append(chain.0, &bytes[at + 4..at + end]);
            put_crc(&mut bytes[at..], crc);
        }
        let Ok(record) = Record::read(&bytes[at..], chain) else { return };
        look_at(&record);
        // Written again from what was read, it is read as the same: nothing is lost or added.
        let mut copy = Vec::new();
        farwatch_core::record::append(&record.head(), &record.txn(), chain, &mut copy);
        let again = Record::read(&copy, chain).expect("written just now");
        assert_eq!((again.head(), again.txn()), (record.head(), record.txn()));
        chain = record.chain();
        at += record.bytes().len();
    }
}

fn look_at(record: &Record<'_>) {
    let txn = record.txn();
    if let Txn::Multi(multi) = txn {
        for part in multi.iter() {
            assert!(!matches!(part, Txn::Multi(_)), "multis do not nest");
            look_at_acl(&part);
        }
    }
    look_at_acl(&txn);
}

fn look_at_acl(txn: &Txn<'_>) {
    let acl = match txn {
        Txn::Create(create) => create.acl,
        Txn::SetAcl { acl, .. } => *acl,
        _ => return,
    };
    assert_eq!(acl.entries().count(), acl.entries().len());
}

/// A snapshot file, and the tree it would make.
pub fn snapshot(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    if first % 2 == 1 {
        seal_snapshot(&mut bytes);
    }
    let zxid = Zxid::new(Epoch(1), 2);
    let mut disk = FakeDisk::new();
    disk.overwrite(&snapshot_name(zxid), bytes);
    let Ok(mut reader) = SnapshotReader::open(&disk, CLUSTER, zxid) else { return };
    let mut restorer = Restorer::new(TreeOptions { hash_seed: 1 });
    let mut orphaned = false;
    loop {
        match reader.next_chunk() {
            Ok(Some(Chunk::Sessions(entries))) => {
                let _sessions = entries.sessions().count();
            }
            Ok(Some(Chunk::Nodes(entries))) => {
                for node in entries.nodes() {
                    orphaned |= restorer.push(&node).is_err();
                }
            }
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        }
    }
    assert!(reader.info().is_some(), "a snapshot that was read to its end is known");
    if !orphaned && let Ok((writer, tree)) = restorer.finish(zxid) {
        let mut nodes = 0;
        tree.reader().view().walk(&mut |_| nodes += 1);
        assert_eq!(tree.node_count(), nodes + 1);
        let _digest = writer.digest();
    }
}

fn seal_snapshot(bytes: &mut [u8]) {
    if bytes.len() < SNAPSHOT_HEAD_BYTES {
        return;
    }
    let mut seed = crc32c::crc32c(&bytes[8..SNAPSHOT_HEAD_BYTES]);
    bytes[4..8].copy_from_slice(&seed.to_le_bytes());
    let mut at = SNAPSHOT_HEAD_BYTES;
    while bytes.len() - at >= CHUNK_HEAD_BYTES {
        let length = CHUNK_HEAD_BYTES.saturating_add(u32_at(&bytes[at..], 8));
        let end = length.min(bytes.len() - at);
        seed = crc32c::crc32c_append(seed, &bytes[at + 4..at + end]);
        put_crc(&mut bytes[at..], seed);
        at += end;
    }
}

/// The golden segment with damage: a first byte of flags, then `offset(2) value(1) run(1)` each.
pub fn segment(data: &[u8]) {
    let Some((&flags, damage)) = data.split_first() else { return };
    let mut bytes = SEGMENT.to_vec();
    for spot in damage.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([spot[0], spot[1]])) % bytes.len();
        let end = (at + usize::from(spot[3])).min(bytes.len());
        bytes[at..end].fill(spot[2]);
    }
    if flags & 2 != 0 {
        let cut = usize::from(flags >> 2) * 512;
        bytes.truncate(bytes.len().saturating_sub(cut));
    }
    if flags & 1 != 0 {
        seal_segment(&mut bytes);
    }
    let mut disk = FakeDisk::new();
    disk.overwrite(&segment_name(Zxid::new(Epoch(1), 1)), bytes);
    let recovery = match recover(&disk, CLUSTER) {
        Ok(recovery) => recovery,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let log = &recovery.log;
    let reader = LogReader::new(&disk, log.segments(), Zxid::ZERO, None, log.last());
    if let Ok(mut reader) = reader {
        let mut last = Zxid::ZERO;
        while let Ok(Some(record)) = reader.next_record() {
            assert!(record.head().zxid.follows(last), "{:?} behind {last:?}", record.head().zxid);
            last = record.head().zxid;
            look_at(&record);
        }
    }
    // What recovery put right stays right: the next start finds the same and has nothing to cut.
    let again = recover(&disk, CLUSTER).expect("a recovered log is recovered again");
    assert_eq!((again.log.last(), again.log.chain()), (log.last(), log.chain()));
    assert!(again.notes.is_empty(), "{:?}", again.notes);
}

fn seal_segment(bytes: &mut [u8]) {
    if bytes.len() < SEGMENT_HEAD_BYTES {
        return;
    }
    let crc = crc32c::crc32c(&bytes[8..SEGMENT_HEAD_BYTES]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    for at in (SEGMENT_HEAD_BYTES..bytes.len()).step_by(BLOCK_BYTES) {
        let batch = &mut bytes[at..];
        if batch.len() < BATCH_HEAD_BYTES || batch[..4] != *b"FWBT" {
            continue;
        }
        let end = BATCH_HEAD_BYTES.saturating_add(u32_at(batch, 8)).min(batch.len());
        let body = crc32c::crc32c(&batch[BATCH_HEAD_BYTES..end]);
        batch[12..16].copy_from_slice(&body.to_le_bytes());
        let head = crc32c::crc32c(&batch[8..BATCH_HEAD_BYTES]);
        batch[4..8].copy_from_slice(&head.to_le_bytes());
    }
}
