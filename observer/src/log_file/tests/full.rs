//! A disk that is full, by a clock that goes on when a test says so.

use std::cell::Cell;
use std::os::unix::fs::{MetadataExt, symlink};

use farwatch_core::log::cut::CUT_BYTES;
use farwatch_core::zab::{Action, Event};

use super::*;
use crate::log_file::hold_off::ASK_AGAIN;
use crate::storage::Storage;

thread_local! {
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

fn pass(time: Duration) {
    NOW.set(NOW.get() + time);
}

/// A log in a segment that was begun, on a disk that has no room for another one and has said so.
fn full(dir: &DataDir, history: &mut History) -> LogFile {
    let (mut log, _) = LogFile::open(dir, options(LADDER[0])).unwrap();
    submit(&mut log, &history.run(1));
    log.wait_all();
    drop(log);
    // No disk has room for such a segment.
    let too_long = LogOptions { segment_bytes: 1 << 60, ..options(LADDER[0]) };
    let (mut log, _) = LogFile::open(dir, too_long).unwrap();
    log.clock = || NOW.get();
    let mut event = log.event.try_clone().unwrap();
    while !log.disk_is_full {
        event.read_exact(&mut [0; 8]).unwrap();
        log.room_bytes();
    }
    log
}

/// Until the filler has said what came of a spare.
fn hear(log: &mut LogFile) {
    let mut event = log.event.try_clone().unwrap();
    while 0 < log.filler.spares_due() {
        event.read_exact(&mut [0; 8]).unwrap();
        log.take_filled();
    }
}

#[test]
fn a_full_disk_is_asked_again_after_a_while_and_not_with_every_look() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut history) = (dir(root.path()), History::new());
    let mut log = full(&dir, &mut history);
    let first = log.last().next().unwrap();
    for _ in 0..3 {
        let left = log.room_bytes();
        for _ in 0..100 {
            assert_eq!(log.room_bytes(), left);
            assert_eq!(log.ready_for(SEGMENT as usize, first), Err(LogFull));
            assert_eq!(log.filler.spares_due(), 0, "its answer would wake who looks");
        }
        pass(ASK_AGAIN);
        assert_eq!(log.room_bytes(), left);
        assert_eq!(log.filler.spares_due(), 1);
        hear(&mut log);
    }
    log.options.segment_bytes = SEGMENT;
    pass(ASK_AGAIN);
    log.room_bytes();
    hear(&mut log);
    assert_eq!(log.room_bytes(), u64::MAX, "there is room now");
}

#[test]
fn a_segment_for_one_large_batch_is_not_asked_for_with_every_look() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut history) = (dir(root.path()), History::new());
    let mut log = full(&dir, &mut history);
    let first = log.last().next().unwrap();
    log.options.segment_bytes = 1 << 13;
    assert_eq!(log.ready_for(SEGMENT as usize, first), Err(LogFull), "it is not asked for yet");
    pass(ASK_AGAIN);
    assert_eq!(log.ready_for(SEGMENT as usize, first), Ok(true));
}

#[test]
fn a_cut_that_found_no_room_is_tried_again_after_a_while() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut history) = (dir(root.path()), History::new());
    let (mut log, _) = LogFile::open(&dir, options(LADDER[0])).unwrap();
    log.clock = || NOW.get();
    submit(&mut log, &history.run(1));
    let to = log.position();
    submit(&mut log, &history.run(1));
    log.wait_all();
    // A file that has no room for anything.
    let spare = dir.path("log/cut.spare");
    std::fs::remove_file(&spare).unwrap();
    symlink("/dev/full", &spare).unwrap();
    assert_eq!(log.truncate(to), Err(TruncateError::Full));
    std::fs::remove_file(&spare).unwrap();
    assert_eq!(log.truncate(to), Err(TruncateError::Full), "the disk is not asked yet");
    pass(ASK_AGAIN);
    log.truncate(to).unwrap();
    assert_eq!(log.position(), to);
}

#[test]
fn a_log_that_cannot_take_what_comes_next_has_no_room_until_it_can() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut history) = (dir(root.path()), History::new());
    let log = full(&dir, &mut history);
    let mut event = log.event.try_clone().unwrap();
    let mut storage = Storage::new(log, dir.clone(), 0);
    let (mut told, mut written) = (Vec::new(), Vec::new());
    let left = storage.room_bytes();
    assert!(0 < left && left < SEGMENT);
    let large = history.run(12);
    assert!(left < large.0.len() as u64 && (large.0.len() as u64) < SEGMENT);
    let (run, upto) = (as_run(&storage.log, &large), large.2);
    assert!(storage.order(&Action::Append { ticket: 7, run }));
    storage.turn(&mut told, &mut written).unwrap();
    assert_eq!(storage.room_bytes(), 0, "and {left} bytes are left");
    storage.log.options.segment_bytes = SEGMENT;
    pass(ASK_AGAIN);
    while told.is_empty() {
        storage.turn(&mut told, &mut written).unwrap();
        if told.is_empty() {
            event.read_exact(&mut [0; 8]).unwrap();
        }
    }
    assert!(matches!(told[..], [Event::Durable { ticket: 7, upto: to }] if to == upto), "{told:?}");
    storage.turn(&mut told, &mut written).unwrap();
    assert_eq!(storage.room_bytes(), u64::MAX);
}

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
