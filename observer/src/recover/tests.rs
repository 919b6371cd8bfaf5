//! What becomes of snapshots when a server starts.

use std::fs;
use std::path::Path;

use farwatch_core::acl;
use farwatch_core::session::Session;
use farwatch_core::snapshot::NodeImage;
use farwatch_core::snapshot::files::snapshot_name;
use farwatch_core::snapshot::format::SessionImage;
use farwatch_core::tree::Tree;
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::wire::handshake::Password;
use farwatch_core::zxid::{Epoch, ServerId, SessionId};

use super::*;
use crate::data_dir::Founding;

const OPTIONS: TreeOptions = TreeOptions { hash_seed: 5 };
const SESSION: SessionImage =
    SessionImage { id: SessionId(7), timeout_ms: 4000, password: Password([9; 16]) };

fn zxid(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

fn data_dir(root: &Path) -> DataDir {
    DataDir::open(root, None, ServerId(1), Founding::Alone).unwrap()
}

/// A snapshot of so many nodes with 100 bytes each, at the last one's zxid, and how many the tree of it has with
/// its digest.
fn write(dir: &DataDir, nodes: u32) -> (u64, u64) {
    let (mut writer, tree) = tree::new(OPTIONS);
    let mut applied = Applied::default();
    for counter in 1..=nodes {
        let path = format!("/node-{counter:06}");
        let (path, kind, acl) = (path.as_bytes(), NodeKind::Persistent, acl::OPEN);
        let (data, parent_cversion) = (Some(&[b'd'; 100][..]), counter as i32);
        let txn = Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion });
        let head = TxnHead { zxid: zxid(counter), time_ms: 1, session: SessionId(7), cxid: 1 };
        applied.clear();
        writer.apply(&head, &txn, &mut applied);
    }
    let job = SnapshotJob {
        zxid: zxid(nodes),
        chain: Chain(nodes),
        digest: writer.digest(),
        reader: tree.reader(),
        sessions: vec![SESSION],
    };
    job.write(dir).unwrap();
    summary(&writer, &tree)
}

fn summary(writer: &tree::Writer, tree: &Tree) -> (u64, u64) {
    (tree.node_count(), writer.digest())
}

/// Of the state that was loaded.
fn state(loading: Loading) -> (u64, u64) {
    let Loaded { writer, tree, sessions } = loading.finish().unwrap();
    let SessionImage { id, timeout_ms, password } = SESSION;
    assert_eq!(sessions.get(id), Some(&Session { timeout_ms, password }));
    summary(&writer, &tree)
}

fn open(dir: &DataDir, nodes: u32) -> farwatch_core::snapshot::reader::SnapshotReader<DataDir> {
    snapshot_file::open(dir, zxid(nodes)).unwrap()
}

/// Changes a byte of a snapshot so far from its end.
fn damage(root: &Path, nodes: u32, from_end: usize) {
    let file = root.join(snapshot_name(zxid(nodes)));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
}

#[test]
fn a_snapshot_of_many_chunks_is_the_tree_that_it_was_taken_of() {
    let root = tempfile::tempdir().unwrap();
    let dir = data_dir(root.path());
    let written = write(&dir, 30_000); // 16 chunks: more than are read ahead
    let recovered = recover(&dir, LogOptions::default(), 5).unwrap();
    assert_eq!(summary(&recovered.state.writer, &recovered.state.tree), written);
    assert_eq!(recovered.state.tree.applied(), zxid(30_000));
    assert_eq!(recovered.committed, zxid(30_000));
    assert!(recovered.state.sessions.contains(SESSION.id));
}

#[test]
fn nothing_is_left_of_a_snapshot_that_turns_out_to_be_damaged() {
    let root = tempfile::tempdir().unwrap();
    let dir = data_dir(root.path());
    let older = write(&dir, 10);
    write(&dir, 20_000);
    for from_end in [300, 400_000, 2_000_000] {
        damage(root.path(), 20_000, from_end);
        let mut loading = Loading::new(OPTIONS);
        assert!(matches!(loading.load(open(&dir, 20_000)), Err(SnapshotError::Chunk { .. })));
        assert_eq!(loading.load(open(&dir, 10)).unwrap().zxid, zxid(10));
        assert_eq!(state(loading), older, "damaged {from_end} bytes from its end");
        damage(root.path(), 20_000, from_end); // and back
    }
    let mut loading = Loading::new(OPTIONS);
    loading.load(open(&dir, 20_000)).unwrap();
    assert_ne!(state(loading), older);
}

/// A snapshot of a node without its parent, which is whole.
fn write_no_tree(dir: &DataDir, counter: u32) {
    let at = zxid(counter);
    let mut writer = snapshot_file::create(dir, at, Chain(counter)).unwrap();
    let image = NodeImage {
        path: b"/parent/child",
        data: Some(&[b'd'; 500]),
        acl: acl::OPEN,
        kind: NodeKind::Persistent,
        czxid: at,
        mzxid: at,
        pzxid: at,
        ctime: 1,
        mtime: 1,
        version: 0,
        cversion: 0,
        aversion: 0,
    };
    writer.node(&image).unwrap();
    writer.finish(1).unwrap();
}

#[test]
fn what_is_whole_and_no_tree_is_said_and_no_older_one_is_taken_for_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = data_dir(root.path());
    write(&dir, 10);
    write_no_tree(&dir, 20);
    let error = recover(&dir, LogOptions::default(), 5).err().expect("no tree");
    let cause = RestoreError::Orphan;
    let expected = RecoverError::Tree { zxid: zxid(20), cause };
    assert_eq!(error.to_string(), expected.to_string());
    // That it is damaged comes first: what it holds means nothing then.
    damage(root.path(), 20, 200);
    let mut loading = Loading::new(OPTIONS);
    assert!(matches!(loading.load(open(&dir, 20)), Err(SnapshotError::Chunk { .. })));
}
