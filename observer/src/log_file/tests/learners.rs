//! What learners need of a log: reads from any place, cuts, and both at once.

use farwatch_core::log::reader::segment_of;
use farwatch_core::prng::Prng;

use super::*;

/// A history of several epochs, as a follower's may be.
struct Epochs {
    at: Position,
    positions: Vec<Position>,
    prng: Prng,
}

impl Epochs {
    fn new(seed: u64) -> Self {
        Self { at: Position::ROOT, positions: vec![Position::ROOT], prng: Prng::new(seed) }
    }

    fn run(&mut self, count: u32) -> Run {
        let (after, mut bytes) = (self.at, Vec::new());
        for index in 0..count {
            let new_epoch = self.at == Position::ROOT || (index == 0 && self.prng.one_in(5));
            let epoch = self.at.zxid.epoch().0;
            let zxid = match self.at.zxid.next() {
                Some(next) if !new_epoch => next,
                _new => Zxid::new(Epoch(epoch + 1), 1),
            };
            let data = vec![index as u8; self.prng.below(9000) as usize];
            let txn = Txn::SetData { path: b"/node", data: Some(&data), version: 1 };
            let time_ms = self.prng.below(1 << 40) as i64;
            let head = TxnHead { zxid, time_ms, session: SessionId(2), cxid: 3 };
            self.at = Position { zxid, chain: append(&head, &txn, self.at.chain, &mut bytes) };
            self.positions.push(self.at);
        }
        Run::own(after, self.at, bytes.into())
    }

    fn cut(&mut self, index: usize) -> Position {
        self.positions.truncate(index + 1);
        self.at = self.positions[index];
        self.at
    }

    /// The last position at or below `from`.
    fn at(&self, from: Zxid) -> Position {
        *self.positions.iter().rfind(|at| at.zxid <= from).expect("the root is below everything")
    }
}

fn submit_run(log: &mut LogFile, run: &Run) {
    while !log.has_room() {
        log.wait_all();
    }
    log.submit(run).unwrap();
}

/// The next answer; waits on the eventfd as a runtime does.
fn answer(log: &mut LogFile) -> LogSlice {
    loop {
        if let Some(slice) = log.read_completed() {
            return slice;
        }
        log.event.try_clone().unwrap().read_exact(&mut [0; 8]).unwrap();
    }
}

fn read(log: &mut LogFile, from: Zxid, bytes_max: u64) -> LogSlice {
    log.begin_read(from.0, from, bytes_max);
    let slice = answer(log);
    assert_eq!(slice.ticket, from.0);
    slice
}

fn compare(slice: &LogSlice, history: &Epochs, from: Zxid, bytes_max: u64) {
    let at = history.at(from);
    assert_eq!((slice.at, &slice.damage), (Some(at), &None), "at {from:?}");
    let last = *history.positions.last().unwrap();
    assert_eq!(slice.run.is_some(), bytes_max > 0 && at != last, "at {from:?}");
    if let Some(run) = &slice.run {
        assert_eq!(Run::read(at, run.bytes().clone()).as_ref(), Ok(run));
        assert!(history.positions.contains(&run.upto()));
    }
}

/// Follows the log to its end as a learner does.
fn follow(log: &mut LogFile, history: &Epochs, bytes_max: u64) {
    let mut at = Position::ROOT;
    while at != log.position() {
        let slice = read(log, at.zxid, bytes_max);
        compare(&slice, history, at.zxid, bytes_max);
        at = slice.run.expect("there is more").upto();
    }
}

fn open(dir: &DataDir, rung: LogDriver) -> LogFile {
    LogFile::open(dir, options(rung)).unwrap().0
}

/// A log of so many runs that was closed and opened again: all of it is on disk only.
fn opened_again(dir: &DataDir, rung: LogDriver, history: &mut Epochs, runs: u32) -> LogFile {
    let mut log = open(dir, rung);
    (0..runs).for_each(|_| submit_run(&mut log, &history.run(3)));
    log.wait_all();
    drop(log);
    open(dir, rung)
}

#[test]
fn a_learner_is_given_the_log_from_any_place_from_memory_and_from_disk() {
    over_every_rung(|root, rung| {
        let dir = dir(root);
        let mut history = Epochs::new(7);
        let mut log = open(&dir, rung);
        (0..30).for_each(|_| submit_run(&mut log, &history.run(3)));
        assert!(log.log.in_flight() > 0, "what is not durable is read too");
        for again in [false, true] {
            for bytes_max in [0, 1, 20_000, 1 << 30] {
                for position in history.positions.clone() {
                    for from in [position.zxid, Zxid(position.zxid.0 + 1)] {
                        compare(&read(&mut log, from, bytes_max), &history, from, bytes_max);
                    }
                }
            }
            [1, 9_999, 100_000].into_iter().for_each(|max| follow(&mut log, &history, max));
            if !again {
                // After a start everything is on disk only; a little is appended behind.
                log.wait_all();
                drop(log);
                log = open(&dir, rung);
                submit_run(&mut log, &history.run(3));
            }
        }
        log.wait_all();
    });
}

#[test]
fn a_long_log_is_followed_and_looked_into_from_the_places_that_were_met_before() {
    let root = tempfile::tempdir().unwrap();
    let dir = dir(root.path());
    let mut history = Epochs::new(29);
    let options = LogOptions { segment_bytes: 4 << 20, ..options(LADDER[0]) };
    let mut log = LogFile::open(&dir, options).unwrap().0;
    (0..500).for_each(|_| submit_run(&mut log, &history.run(4)));
    log.wait_all();
    drop(log);
    let mut log = LogFile::open(&dir, options).unwrap().0;
    assert!(log.size_bytes() > 8 << 20);
    follow(&mut log, &history, 300_000);
    let mut prng = Prng::new(31);
    for _ in 0..200 {
        let from = history.positions[prng.below(2000) as usize].zxid;
        compare(&read(&mut log, from, 5_000), &history, from, 5_000);
    }
    let to = history.cut(900);
    log.truncate(to).unwrap();
    (0..100).for_each(|_| submit_run(&mut log, &history.run(4)));
    for _ in 0..200 {
        let from = history.positions[prng.below(1300) as usize].zxid;
        compare(&read(&mut log, from, 5_000), &history, from, 5_000);
    }
    log.wait_all();
}

#[test]
fn a_log_is_cut_on_every_rung_and_goes_on_and_is_recovered_as_what_is_left() {
    over_every_rung(|root, rung| {
        let dir = dir(root);
        let mut history = Epochs::new(11);
        let mut log = open(&dir, rung);
        for round in 0..12 {
            (0..12).for_each(|_| submit_run(&mut log, &history.run(3)));
            if round % 4 == 1 {
                // A segment that is being begun is waited for, and cut away with the rest.
                let next = history.at.zxid.next().unwrap();
                let _begun = log.ready_for(SEGMENT as usize - 8192, next);
            }
            // With writes in flight: they are waited for, and their reports are of the cut log.
            let index = history.positions.len() - 1 - (round * 7 % 40).min(30);
            let to = history.cut(index);
            log.truncate(to).unwrap();
            assert_eq!((log.position(), log.durable()), (to, to.zxid));
            if round > 0 {
                assert_eq!((log.completed(), log.wait_all()), (None, None), "round {round}");
            }
            follow(&mut log, &history, 50_000);
            if round % 3 == 0 {
                log.wait_all();
                let run = history.run(2);
                submit_run(&mut log, &run);
                assert_eq!(log.wait_all(), Some(run.upto().zxid));
            }
            if round % 2 == 0 {
                drop(log);
                let (again, recovered) = LogFile::open(&dir, options(rung)).unwrap();
                let mut records = recovered.records;
                let mut found = vec![Position::ROOT];
                while let Some(record) = records.next_record().unwrap() {
                    found.push(Position { zxid: record.head().zxid, chain: record.chain() });
                }
                assert_eq!(found, history.positions, "round {round}");
                log = again;
            }
        }
        let last = log.position();
        let elsewhere = Position { chain: Chain(last.chain.0 ^ 1), ..history.positions[9] };
        let refused = log.truncate(elsewhere);
        assert_eq!(refused, Err(TruncateError::NotThere { to: elsewhere.zxid, last: last.zxid }));
        assert_eq!(log.position(), last);
        log.truncate(Position::ROOT).unwrap();
        assert_eq!(log.position(), Position::ROOT);
        drop(log);
        assert_eq!(open(&dir, rung).position(), Position::ROOT);
    });
}

#[test]
fn a_read_that_was_asked_before_a_cut_is_answered_from_the_cut_log() {
    over_every_rung(|root, rung| {
        let dir = dir(root);
        let mut history = Epochs::new(13);
        let mut log = opened_again(&dir, rung, &mut history, 30);
        let asked: Vec<_> = history.positions.iter().map(|at| at.zxid).step_by(5).collect();
        asked.iter().for_each(|from| log.begin_read(from.0, *from, 30_000));
        let to = history.cut(41);
        log.truncate(to).unwrap();
        for _ in &asked {
            let slice = answer(&mut log);
            compare(&slice, &history, Zxid(slice.ticket), 30_000);
        }
        assert_eq!(log.read_completed(), None);
    });
}

#[test]
fn a_purge_leaves_what_is_being_read_and_a_later_one_says_that_the_log_begins_behind() {
    let root = tempfile::tempdir().unwrap();
    let dir = dir(root.path());
    let mut history = Epochs::new(17);
    let mut log = opened_again(&dir, LADDER[0], &mut history, 40);
    let from = history.positions[30].zxid;
    assert!(segment_of(log.log.segments(), from).unwrap() > 0);
    (0..20).for_each(|_| log.begin_read(from.0, from, 1 << 20));
    log.purge(log.last());
    assert!(log.log.segments()[0].head.before <= from);
    for _ in 0..20 {
        compare(&answer(&mut log), &history, from, 1);
    }
    log.purge(log.last());
    let oldest = log.log.segments()[0].before();
    assert!(from < oldest.zxid);
    assert_eq!(read(&mut log, from, 1 << 20).at, None);
    assert_eq!(read(&mut log, oldest.zxid, 0).at, Some(oldest));
}

#[test]
fn each_read_is_answered_however_many_wait() {
    let root = tempfile::tempdir().unwrap();
    let dir = dir(root.path());
    let mut history = Epochs::new(18);
    let mut log = opened_again(&dir, LADDER[0], &mut history, 20);
    let (from, more) = (history.positions[1].zxid, 5);
    let count = READS_MAX + more;
    (0..count).for_each(|ticket| log.begin_read(ticket as u64, from, 1));
    let (mut answered, mut given_up) = (vec![false; count], 0);
    for _ in 0..count {
        let slice = answer(&mut log);
        assert!(!std::mem::replace(&mut answered[slice.ticket as usize], true), "twice");
        assert_eq!(slice.at.is_none(), slice.dropped);
        given_up += usize::from(slice.dropped);
    }
    // One of them may have been under way, and one more have taken its place.
    assert!((more - 2..=more).contains(&given_up), "{given_up} of them");
    assert_eq!(log.read_completed(), None);
}

#[test]
fn damage_on_the_disk_is_told_to_who_reads_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = dir(root.path());
    let mut history = Epochs::new(19);
    let mut log = opened_again(&dir, LADDER[0], &mut history, 20);
    let oldest = dir.path(&log.log.segments()[0].name());
    let file = File::options().write(true).open(oldest).unwrap();
    file.write_all_at(&[0xa5; 64], 4096 + 100).unwrap();
    let damage = read(&mut log, Zxid::ZERO, 1).damage.expect("it is told");
    assert!(matches!(damage, ReadError::Damaged { offset: 4096, .. }), "{damage}");
    assert!(damage.to_string().contains("serve --rejoin"));
    let to = history.positions[1];
    assert!(matches!(log.truncate(to), Err(TruncateError::Log(ReadError::Damaged { .. }))));
}

#[test]
fn a_cut_takes_newer_snapshots_with_it_and_is_refused_below_the_oldest() {
    let root = tempfile::tempdir().unwrap();
    let dir = dir(root.path());
    let mut history = Epochs::new(23);
    let mut log = opened_again(&dir, LADDER[0], &mut history, 40);
    let kept = history.positions[60];
    for at in [kept, history.positions[100]] {
        let mut writer = crate::snapshot_file::create(&dir, at.zxid, at.chain).unwrap();
        writer.session(&session()).unwrap();
        writer.finish(77).unwrap();
    }
    log.purge(kept.zxid);
    let oldest = log.log.segments()[0].before();
    assert!(Zxid::ZERO < oldest.zxid && oldest.zxid < kept.zxid);
    assert_eq!(log.truncate(oldest), Err(TruncateError::BelowSnapshot { to: oldest.zxid }));
    let to = history.cut(80);
    log.truncate(to).unwrap();
    drop(log);
    let (log, recovered) = LogFile::open(&dir, options(LADDER[0])).unwrap();
    assert_eq!((log.position(), recovered.snapshot.unwrap().zxid), (to, kept.zxid));
}
