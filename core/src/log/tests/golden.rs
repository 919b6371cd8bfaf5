//! A file of each format version, kept for ever, must open for ever.

use super::*;
use crate::log::cut::{Cut, Stage};
use crate::log::epochs::Epochs;
use crate::log::identity::Identity;
use crate::record::run::Position;
use crate::zxid::ServerId;

const SEGMENT: &[u8] = include_bytes!("../../../../fixtures/segment-v1.log");
const SNAPSHOT: &[u8] = include_bytes!("../../../../fixtures/snapshot-v1.snap");
const IDENTITY: &[u8] = include_bytes!("../../../../fixtures/identity-v1");
const IDENTITY_2: &[u8] = include_bytes!("../../../../fixtures/identity-v2");
const CUT: &[u8] = include_bytes!("../../../../fixtures/cut-v1");
const EPOCHS: &[u8] = include_bytes!("../../../../fixtures/epochs-v1");

const OWNER: Identity =
    Identity { cluster: CLUSTER, server: ServerId(3), tentative: false, former: None };
const NEWCOMER: Identity = Identity { tentative: true, former: Some(ClusterId(0xfa11)), ..OWNER };
const END: Cut =
    Cut { stage: Stage::Cut, to: Position { zxid: Zxid::new(Epoch(7), 6), chain: Chain(5) } };
const PROMISED: Epochs = Epochs { accepted: Epoch(7), current: Epoch(6) };

/// What today's code writes of the same history.
fn written() -> (Vec<u8>, Vec<u8>) {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.submit(2);
    server.finish_all();
    server.snapshot().unwrap();
    server.submit(3);
    server.finish_all();
    server.seal().unwrap();
    server.finish_all();
    let segment = disk.bytes(&segment_name(zxid(1))).unwrap();
    (segment, disk.bytes(&files::snapshot_name(zxid(2))).unwrap())
}

#[test]
fn files_of_version_1_open_and_are_what_is_written_today() {
    let (segment, snapshot) = written();
    // After a deliberate change of format: keep these files, add those of the new version.
    if let Ok(target) = std::env::var("FARWATCH_WRITE_FIXTURES") {
        let files: [(&str, &[u8]); 5] = [
            ("segment-v1.log", &segment),
            ("snapshot-v1.snap", &snapshot),
            ("identity-v2", &NEWCOMER.encode()),
            ("cut-v1", &END.encode(CLUSTER)),
            ("epochs-v1", &PROMISED.encode(CLUSTER)),
        ];
        files.iter().for_each(|(name, bytes)| {
            std::fs::write(format!("{target}/{name}"), bytes).unwrap();
        });
    }
    assert!(segment == SEGMENT && snapshot == SNAPSHOT, "the format changed without a new version");
    assert!(NEWCOMER.encode() == IDENTITY_2 && END.encode(CLUSTER) == CUT);
    assert_eq!(Identity::decode(IDENTITY), Ok(OWNER));
    assert_eq!(Identity::decode(IDENTITY_2), Ok(NEWCOMER));
    assert_eq!(Cut::decode(CUT, CLUSTER), Ok(END));
    assert_eq!(Epochs::decode(EPOCHS, CLUSTER), Ok(PROMISED));
    let mut disk = FakeDisk::new();
    disk.overwrite(&segment_name(zxid(1)), SEGMENT.to_vec());
    let recovery = recover(&disk, CLUSTER).unwrap();
    assert_eq!(load(&disk, &recovery), Ok(5));
    disk.overwrite(&files::snapshot_name(zxid(2)), SNAPSHOT.to_vec());
    let recovery = recover(&disk, CLUSTER).unwrap();
    assert_eq!(recovery.snapshot.unwrap().zxid, zxid(2));
    assert_eq!(load(&disk, &recovery), Ok(5));
}
