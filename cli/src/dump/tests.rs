//! Logs and snapshots on a real disk, printed.

use std::fs;
use std::path::Path;

use farwatch_core::acl::OPEN;
use farwatch_core::log::format::{
    BATCH_HEAD_BYTES, BatchHead, BatchKind, ClusterId, SEGMENT_HEAD_BYTES, Salt, SegmentHead,
};
use farwatch_core::log::segment_name;
use farwatch_core::record::{self, Chain};
use farwatch_core::snapshot::NodeImage;
use farwatch_core::snapshot::format::SnapshotHead;
use farwatch_core::snapshot::writer::SnapshotWriter;
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::zxid::{ServerId, SessionId, Zxid};
use farwatch_observer::data_dir::{DataDir, Founding};
use serde_json::Value;

use crate::log_command::{self, LogArgs, LogCommand};
use crate::snapshot_command::{self, SnapshotArgs, SnapshotCommand, Target};

fn snapshot(dir: &Path, zxid: u64) {
    let files = DataDir::open(dir, None, ServerId(0), Founding::Alone).unwrap();
    let cluster = files.identity().cluster;
    let head = SnapshotHead { cluster, zxid: Zxid(zxid), chain: Chain(7) };
    let mut writer = SnapshotWriter::create(&files, head).unwrap();
    let kind = NodeKind::Ephemeral(SessionId(0x1f));
    let (czxid, mzxid, pzxid) = (Zxid(1), Zxid(2), Zxid(3));
    let (path, data) = (&b"/a"[..], Some(&b"xyz"[..]));
    let (ctime, mtime, version, cversion, aversion) = (4, 5, 6, 7, 8);
    let image = NodeImage {
        path,
        data,
        acl: OPEN,
        kind,
        czxid,
        mzxid,
        pzxid,
        ctime,
        mtime,
        version,
        cversion,
        aversion,
    };
    writer.node(&image).unwrap();
    writer.finish(99).unwrap();
}

fn verify(path: &Path) -> (bool, String) {
    let target = Target { path: path.to_owned(), json: false };
    let mut out = Vec::new();
    let args = SnapshotArgs { command: SnapshotCommand::Verify(target) };
    let whole = snapshot_command::run(&args, &mut out).unwrap();
    (whole, String::from_utf8(out).unwrap())
}

#[test]
fn a_snapshot_is_printed_and_checked_and_a_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    snapshot(dir.path(), 0x10);
    snapshot(dir.path(), 0x20);
    let target = Target { path: dir.path().to_owned(), json: true };
    let mut out = Vec::new();
    let args = SnapshotArgs { command: SnapshotCommand::Dump(target) };
    assert!(snapshot_command::run(&args, &mut out).unwrap());
    let node: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&node["path"], &node["data"]), (&"/a".into(), &"eHl6".into()));
    assert_eq!(node["kind"]["ephemeral"], "0x1f");
    let (whole, text) = verify(dir.path());
    assert!(whole && text.lines().count() == 2, "{text}");
    let file = dir.path().join("snapshot/0000000000000010.snap");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (whole, text) = verify(dir.path());
    assert!(!whole && text.contains("0000000000000010.snap damaged reason="), "{text}");
    assert!(text.contains("0000000000000020.snap whole"), "{text}");
    assert!(!verify(&file).0);
    assert!(verify(&dir.path().join("snapshot/0000000000000020.snap")).0);
}

/// A segment with one batch of two records.
fn segment(dir: &Path) -> std::path::PathBuf {
    let (first, last) = (Zxid(0x1_0000_0001), Zxid(0x1_0000_0002));
    let (before, salt) = (Zxid(0x1_0000_0000), Salt(5));
    let create = CreateTxn {
        path: b"/a",
        data: Some(b"xyz"),
        acl: OPEN,
        kind: NodeKind::Persistent,
        parent_cversion: 1,
    };
    let mut body = Vec::new();
    let head = TxnHead { zxid: first, time_ms: 9, session: SessionId(0x1f), cxid: 3 };
    let chain = record::append(&head, &Txn::Create(create), Chain(0), &mut body);
    let head = TxnHead { zxid: last, ..head };
    let chain = record::append(&head, &Txn::Delete { path: b"/a" }, chain, &mut body);
    let batch = BatchHead {
        kind: BatchKind::Records,
        body_bytes: body.len() as u32,
        first,
        last,
        durable_upto: before,
        body_crc: crc32c::crc32c(&body),
        records: 2,
        chain_before: Chain(0),
        chain_after: chain,
        salt,
    };
    let bytes = 64 << 10;
    let (cluster, chain_before) = (ClusterId(1), Chain(0));
    let head = SegmentHead { cluster, salt, first, before, chain_before, bytes };
    let mut file = head.encode().to_vec();
    assert_eq!(file.len(), SEGMENT_HEAD_BYTES);
    let encoded = batch.encode();
    assert_eq!(encoded.len(), BATCH_HEAD_BYTES);
    file.extend_from_slice(&encoded);
    file.extend_from_slice(&body);
    file.resize(bytes as usize, 0);
    let path = dir.join(segment_name(first));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, file).unwrap();
    path
}

#[test]
fn a_log_is_printed_up_to_its_end_and_damage_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = segment(dir.path());
    let dump = |dir: &Path, json| {
        let mut out = Vec::new();
        let command = LogCommand::Dump { dir: dir.to_owned(), json };
        let done = log_command::run(&LogArgs { command }, &mut out);
        (done.map_err(|error| error.to_string()), String::from_utf8(out).unwrap())
    };
    let (done, text) = dump(dir.path(), true);
    assert_eq!(done, Ok(()));
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown = |i: usize| (records[i]["zxid"].as_str(), records[i]["type"].as_str());
    assert_eq!(shown(0), (Some("0x100000001"), Some("create")));
    assert_eq!(shown(1), (Some("0x100000002"), Some("delete")));
    assert_eq!((records.len(), &records[0]["data"]), (2, &"eHl6".into()));
    let (_, text) = dump(&dir.path().join("log"), false);
    assert!(text.starts_with("0x100000001 create /a "), "{text}");
    let mut bytes = fs::read(&file).unwrap();
    bytes[SEGMENT_HEAD_BYTES + BATCH_HEAD_BYTES + 50] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (done, text) = dump(dir.path(), true);
    let error = done.unwrap_err();
    assert!(text.is_empty() && error.contains("damaged at byte"), "{error}");
}
