//! A disk that is full.

use std::os::unix::fs::MetadataExt;

use farwatch_core::log::cut::CUT_BYTES;

use super::*;

#[test]
fn what_a_start_and_a_cut_are_written_into_is_there_from_the_first_start_on() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut history) = (dir(root.path()), History::new());
    let (mut log, _) = LogFile::open(&dir, options(LADDER[0])).unwrap();
    submit(&mut log, &history.run(1));
    log.wait_all();
    drop(log);
    let files = |dir: &DataDir| {
        ["log/probe", "log/cut.spare"].map(|name| {
            let file = std::fs::metadata(dir.path(name)).expect(name);
            (file.ino(), file.len())
        })
    };
    let before = files(&dir);
    assert_eq!(before.map(|file| file.1), [BLOCK_BYTES as u64, CUT_BYTES as u64]);
    drop(dir);
    let dir = super::dir(root.path());
    drop(LogFile::open(&dir, options(LADDER[0])).unwrap());
    assert_eq!(files(&dir), before);
}
