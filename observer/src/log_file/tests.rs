//! One suite over every rung of the ladder.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::data_dir::Founding;
use farwatch_core::record::append;
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::zxid::{Epoch, ServerId, SessionId};

mod full;
mod learners;

const SEGMENT: u64 = 64 << 10;

/// Makes records of a history, each with data that its zxid determines.
struct History {
    next: u32,
    chain: Chain,
}

impl History {
    fn new() -> Self {
        Self { next: 1, chain: Chain(0) }
    }

    fn data(counter: u32) -> Vec<u8> {
        let length = (counter as usize * 7919) % 9000;
        counter.to_le_bytes().iter().copied().cycle().take(length).collect()
    }

    /// The next `count` records, their ends, and the checksum behind them.
    fn run(&mut self, count: u32) -> (Vec<u8>, Zxid, Zxid, Chain) {
        let first = self.next;
        let mut records = Vec::new();
        for counter in first..first + count {
            let data = Self::data(counter);
            let txn = Txn::SetData { path: b"/node", data: Some(&data), version: counter as i32 };
            let zxid = Zxid::new(Epoch(1), counter);
            let head = TxnHead { zxid, time_ms: 1, session: SessionId(2), cxid: 3 };
            self.chain = append(&head, &txn, self.chain, &mut records);
        }
        self.next += count;
        let last = Zxid::new(Epoch(1), self.next - 1);
        (records, Zxid::new(Epoch(1), first), last, self.chain)
    }
}

fn options(driver: LogDriver) -> LogOptions {
    let driver = Some(driver);
    LogOptions { segment_bytes: SEGMENT, driver, keep_bytes: 0, ..LogOptions::default() }
}

fn dir(root: &Path) -> DataDir {
    DataDir::open(root, None, ServerId(1), Founding::Alone).unwrap()
}

fn submit(log: &mut LogFile, run: &(Vec<u8>, Zxid, Zxid, Chain)) {
    log.submit(&as_run(log, run)).unwrap();
}

fn as_run(log: &LogFile, run: &(Vec<u8>, Zxid, Zxid, Chain)) -> Run {
    let upto = Position { zxid: run.2, chain: run.3 };
    Run::own(log.position(), upto, run.0.as_slice().into())
}

/// Reads all records, checks that they are those of [`History`], and returns the last.
fn check(mut records: LogReader<DataDir>, after: Zxid) -> Zxid {
    let mut last = after;
    while let Some(record) = records.next_record().unwrap() {
        let zxid = record.head().zxid;
        assert_eq!(zxid.0, last.0.max(Epoch(1).start().0) + 1);
        let data = History::data(zxid.counter());
        let (path, version) = (b"/node", zxid.counter() as i32);
        assert_eq!(record.txn(), Txn::SetData { path, data: Some(&data), version });
        last = zxid;
    }
    last
}

/// Waits on the eventfd as a runtime does until everything up to `upto` is durable.
fn wait_durable(log: &mut LogFile, upto: Zxid) {
    let mut event = log.event.try_clone().unwrap();
    while log.completed() != Some(upto) {
        assert!(log.durable() < upto);
        event.read_exact(&mut [0; 8]).unwrap();
    }
}

fn over_every_rung(test: impl Fn(&Path, LogDriver)) {
    for rung in LADDER {
        println!("{rung}");
        test(tempfile::tempdir().unwrap().path(), rung);
    }
}

#[test]
fn what_is_durable_is_recovered_over_segments_and_restarts() {
    over_every_rung(|root, rung| {
        let mut history = History::new();
        for round in 0..4_u32 {
            let dir = dir(root);
            let (mut log, recovered) = LogFile::open(&dir, options(rung)).unwrap();
            assert_eq!((log.driver(), recovered.notes.as_slice()), (rung, &[][..]));
            assert_eq!((recovered.last, recovered.chain), (log.last(), history.chain));
            assert_eq!(check(recovered.records, Zxid::ZERO), log.last());
            for batch in 0..40_u32 {
                let run = history.run(1 + (batch + round) % 5);
                while !log.has_room() {
                    log.wait_all();
                }
                submit(&mut log, &run);
                if batch % 8 == 0 {
                    wait_durable(&mut log, run.2);
                }
            }
            log.wait_all();
            assert_eq!((log.durable(), log.last()), (log.last(), recovered_last(&history)));
            if round % 2 == 0 {
                log.seal();
                log.wait_all();
            }
            assert!(log.log.segments().len() > 3, "the test is to pass over segments");
        }
    });
}

#[test]
fn a_new_segment_is_begun_in_the_background_and_its_writer_is_woken() {
    over_every_rung(|root, rung| {
        let mut history = History::new();
        let mut looked_again = 0;
        for _ in 0..2 {
            let dir = dir(root);
            let (mut log, recovered) = LogFile::open(&dir, options(rung)).unwrap();
            assert_eq!(check(recovered.records, Zxid::ZERO), log.last());
            let mut event = log.event.try_clone().unwrap();
            for _ in 0..40 {
                let run = history.run(3);
                while !log.ready_for(run.0.len(), run.1).unwrap() {
                    looked_again += 1;
                    event.read_exact(&mut [0; 8]).unwrap(); // a lost ring would hang here
                    log.completed();
                }
                submit(&mut log, &run);
            }
            log.wait_all();
            assert!(log.log.segments().len() > 3, "the test is to pass over segments");
        }
        assert!(looked_again > 0, "nothing was ever left to the background");
    });
}

fn recovered_last(history: &History) -> Zxid {
    Zxid::new(Epoch(1), history.next - 1)
}

#[test]
fn durability_is_reported_in_order_and_only_once() {
    over_every_rung(|root, rung| {
        let dir = dir(root);
        let (mut log, _) = LogFile::open(&dir, options(rung)).unwrap();
        let mut history = History::new();
        let runs: Vec<_> = (0..QUEUE_DEPTH).map(|_| history.run(2)).collect();
        runs.iter().for_each(|run| submit(&mut log, run));
        assert!(!log.has_room());
        let mut reported = Zxid::ZERO;
        let mut event = log.event.try_clone().unwrap();
        while reported < runs[QUEUE_DEPTH - 1].2 {
            event.read_exact(&mut [0; 8]).unwrap();
            if let Some(upto) = log.completed() {
                assert!(reported < upto && runs.iter().any(|run| run.2 == upto));
                reported = upto;
            }
        }
        assert_eq!((log.completed(), log.wait_all()), (None, None));
        assert!(log.counters().writes >= QUEUE_DEPTH as u64);
        assert!(log.counters().write_time_max <= log.counters().write_time);
    });
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_of_its_own() {
    over_every_rung(|root, rung| {
        let mut history = History::new();
        let dir = dir(root);
        let (mut log, _) = LogFile::open(&dir, options(rung)).unwrap();
        submit(&mut log, &history.run(1));
        let large = history.run(60);
        assert!(large.0.len() as u64 > 2 * SEGMENT);
        submit(&mut log, &large);
        submit(&mut log, &history.run(1));
        log.wait_all();
        drop(log);
        let (log, recovered) = LogFile::open(&dir, options(rung)).unwrap();
        assert_eq!(check(recovered.records, Zxid::ZERO), Zxid::new(Epoch(1), 62));
        assert_eq!(log.log.segments().len(), 3);
    });
}

#[test]
fn a_learner_reads_on_from_any_record_and_is_told_when_it_is_purged() {
    over_every_rung(|root, rung| {
        let mut history = History::new();
        let dir = dir(root);
        let (mut log, _) = LogFile::open(&dir, options(rung)).unwrap();
        for _ in 0..40 {
            submit(&mut log, &history.run(2));
            log.wait_all();
        }
        for counter in 0..80 {
            let after = Zxid::new(Epoch(1), counter);
            assert_eq!(check(log.read_from(after).unwrap(), after), log.last());
        }
        let before = log.size_bytes();
        let keep_from = Zxid::new(Epoch(1), 41);
        log.purge(keep_from);
        assert!(log.size_bytes() < before);
        let oldest = log.log.segments()[0].head.before;
        assert!(oldest < keep_from);
        assert_eq!(
            log.read_from(Zxid(oldest.0 - 1)).unwrap_err(),
            ReadError::Purged { after: Zxid(oldest.0 - 1) }
        );
        assert_eq!(check(log.read_from(oldest).unwrap(), oldest), log.last());
        // What was purged is written again, and its stale batches are not taken for new ones.
        for _ in 0..40 {
            submit(&mut log, &history.run(2));
            log.wait_all();
        }
        let upto = log.last();
        drop(log);
        let mut snapshot = crate::snapshot_file::create(&dir, oldest, Chain(0)).unwrap();
        snapshot.session(&session()).unwrap();
        drop(snapshot);
        let (log, _) = match LogFile::open(&dir, options(rung)) {
            Err(OpenError::Recover(RecoverError::Beginning { before, .. })) => {
                assert_eq!(before, oldest);
                return;
            }
            Err(error) => panic!("{error}"),
            Ok(opened) => opened,
        };
        panic!("opened up to {:?} of {upto:?} without its beginning", log.last());
    });
}

fn session() -> farwatch_core::snapshot::format::SessionImage {
    farwatch_core::snapshot::format::SessionImage {
        id: SessionId(1),
        timeout_ms: 1,
        password: farwatch_core::wire::handshake::Password([1; 16]),
    }
}

#[test]
fn a_torn_tail_is_cut_and_damage_in_front_of_the_seal_is_refused() {
    over_every_rung(|root, rung| {
        let mut history = History::new();
        let dir = dir(root);
        let (mut log, _) = LogFile::open(&dir, options(rung)).unwrap();
        submit(&mut log, &history.run(1));
        log.wait_all();
        let (offset, kept) = (log.end, log.last());
        submit(&mut log, &history.run(1));
        log.wait_all();
        let path = dir.path(&log.log.current().unwrap().name());
        log.seal();
        log.wait_all();
        drop(log);
        let file = File::options().read(true).write(true).open(path).unwrap();
        let (mut batch, mut seal) = (vec![0; 4096], vec![0; 4096]);
        file.read_exact_at(&mut batch, offset).unwrap();
        file.read_exact_at(&mut seal, log_end(&file, offset)).unwrap();
        batch[70] ^= 1;
        file.write_all_at(&batch, offset).unwrap();
        match LogFile::open(&dir, options(rung)).map(|_| ()) {
            Err(OpenError::Recover(RecoverError::Log(ReadError::Damaged {
                offset: at,
                zxid,
                ..
            }))) => {
                assert_eq!((at, zxid), (offset, kept));
            }
            other => panic!("{other:?}"),
        }
        // Without the seal nothing says that it was acknowledged.
        file.write_all_at(&[0; 4096], log_end(&file, offset)).unwrap();
        let (log, recovered) = LogFile::open(&dir, options(rung)).unwrap();
        assert_eq!((log.last(), recovered.notes.len()), (kept, 1));
    });
}

/// Where the batch behind the one at `offset` begins.
fn log_end(file: &File, offset: u64) -> u64 {
    let mut length = [0; 4];
    file.read_exact_at(&mut length, offset + 8).unwrap();
    offset + padded_bytes(u32::from_le_bytes(length) as usize) as u64
}

/// In the child: breaks the descriptor behind the log's back and writes once more.
const CHILD: &str = "FARWATCH_TEST_LOG_CHILD";

#[test]
fn a_failed_write_aborts_the_process_with_one_line() {
    if let Ok(root) = std::env::var(CHILD) {
        let (root, rung) = root.split_once('|').unwrap();
        let rung = LADDER[rung.parse::<usize>().unwrap()];
        let dir = dir(Path::new(root));
        let (mut log, _) = LogFile::open(&dir, options(rung)).unwrap();
        let mut history = History::new();
        submit(&mut log, &history.run(1));
        log.wait_all();
        // A descriptor that cannot be written to fails as a broken disk does.
        log.file = Some(Arc::new(File::open("/dev/zero").unwrap()));
        submit(&mut log, &history.run(1));
        log.wait_all();
        unreachable!("a write failed and the log went on");
    }
    for index in 0..LADDER.len() {
        let root = tempfile::tempdir().unwrap();
        let name = "log_file::tests::a_failed_write_aborts_the_process_with_one_line";
        let output = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{}|{index}", root.path().display()))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code().is_none(), "a signal ends it: {:?}", output.status);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("farwatch: write log/0000000100000001.log: "), "{stderr}");
    }
}

#[test]
fn a_full_disk_refuses_a_write_as_it_was_and_takes_it_once_there_is_room() {
    over_every_rung(|root, rung| {
        let mut history = History::new();
        let dir = dir(root);
        // No disk has room for such a segment.
        let too_long = LogOptions { segment_bytes: 1 << 60, ..options(rung) };
        let (mut log, _) = LogFile::open(&dir, too_long).unwrap();
        let run = history.run(3);
        for _ in 0..3 {
            log.disk_is_full = false; // whoever finds it says so, for writes to be refused
            assert_eq!(log.submit(&as_run(&log, &run)), Err(LogFull));
            assert!(log.disk_is_full);
        }
        assert_eq!((log.last(), log.wait_all(), log.size_bytes()), (Zxid::ZERO, None, 0));
        log.options.segment_bytes = SEGMENT;
        submit(&mut log, &run);
        assert_eq!(log.wait_all(), Some(run.2));
        drop(log);
        let (_, recovered) = LogFile::open(&dir, options(rung)).unwrap();
        assert_eq!(check(recovered.records, Zxid::ZERO), run.2);
    });
}

#[test]
fn a_start_from_a_snapshot_reads_only_the_records_behind_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = dir(root.path());
    let mut history = History::new();
    let (mut log, _) = LogFile::open(&dir, options(LADDER[0])).unwrap();
    let (mut at, mut chain) = (Zxid::ZERO, Chain(0));
    for batch in 0..40 {
        let run = history.run(2);
        submit(&mut log, &run);
        log.wait_all();
        if batch == 19 {
            (at, chain) = (run.2, run.3);
        }
    }
    let mut writer = crate::snapshot_file::create(&dir, at, chain).unwrap();
    writer.session(&session()).unwrap();
    writer.finish(77).unwrap();
    assert_eq!(crate::snapshot_file::purge(&dir, 2).unwrap().log_from, None);
    assert_eq!(crate::snapshot_file::purge(&dir, 1).unwrap().log_from, Some(Zxid(at.0 + 1)));
    log.purge(Zxid(at.0 + 1));
    let last = log.last();
    drop(log);
    let (_, recovered) = LogFile::open(&dir, options(LADDER[0])).unwrap();
    let snapshot = recovered.snapshot.unwrap();
    assert_eq!((snapshot.zxid, snapshot.chain, snapshot.digest), (at, chain, 77));
    assert_eq!(check(recovered.records, at), last);
    let mut reader = crate::snapshot_file::open(&dir, at).unwrap();
    assert!(reader.next_chunk().unwrap().is_some() && reader.next_chunk().unwrap().is_none());
}
