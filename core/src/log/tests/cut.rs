//! Logs that are cut, gone on with and cut again, and crash at every operation of that.

use std::rc::Rc;

use super::*;
use crate::log::cut::{CUT_FILE, Cut, Stage};
use crate::prng::Prng;
use crate::record::run::Position;

/// A history that recovery may find: any beginning of it that is at least so long.
#[derive(Clone)]
struct Allowed {
    history: Rc<Vec<Position>>,
    at_least: usize,
}

/// A log's life with cuts in it, and what a crash may leave of it at each of its operations.
struct Life<'d> {
    disk: &'d FakeDisk,
    log: Log,
    file: Option<FakeFile>,
    /// Every position from the root on.
    history: Vec<Position>,
    acknowledged: usize,
    /// Indices in the history, oldest first.
    snapshots: Vec<usize>,
    writes: BTreeMap<u64, (PendingWrite, usize)>,
    marks: Vec<(usize, Vec<Allowed>)>,
    prng: Prng,
    salts: u64,
    cuts: u32,
    /// Of them, on a full disk.
    full: u32,
}

impl<'d> Life<'d> {
    fn new(disk: &'d FakeDisk, seed: u64) -> Self {
        let log = recover(disk, CLUSTER).unwrap().log;
        let mut life = Self {
            disk,
            log,
            file: None,
            history: vec![Position::ROOT],
            acknowledged: 0,
            snapshots: Vec::new(),
            writes: BTreeMap::new(),
            marks: Vec::new(),
            prng: Prng::new(seed),
            salts: seed << 16,
            cuts: 0,
            full: 0,
        };
        life.mark();
        Cut::put_by(disk).unwrap();
        life
    }

    fn now(&self) -> Allowed {
        Allowed { history: Rc::new(self.history.clone()), at_least: self.acknowledged + 1 }
    }

    fn mark(&mut self) {
        self.marks.push((self.disk.operations(), vec![self.now()]));
    }

    fn allowed(&self, operations: usize) -> &[Allowed] {
        // Within one call every mark up to its last operation may hold.
        let end = self.marks.partition_point(|mark| mark.0 <= operations);
        &self.marks[end - 1].1
    }

    fn submit(&mut self) {
        let last = *self.history.last().unwrap();
        let new_epoch = last == Position::ROOT || self.prng.one_in(6);
        let (mut at, mut records) = (last, Vec::new());
        let first = match last.zxid.next() {
            Some(next) if !new_epoch => next,
            _new => Zxid::new(Epoch(last.zxid.epoch().0 + 1), 1),
        };
        let mut zxid = first;
        for _ in 0..=self.prng.below(4) {
            let data = data(self.prng.below(3000) as u32);
            let txn = Txn::SetData { path: b"/n", data: Some(&data), version: 1 };
            // A dead zxid that comes again may be another record.
            let time_ms = self.prng.below(1 << 40) as i64;
            let head = TxnHead { zxid, time_ms, session: SessionId(6), cxid: 7 };
            at = Position { zxid, chain: record::append(&head, &txn, at.chain, &mut records) };
            self.history.push(at);
            zxid = zxid.next().unwrap();
        }
        self.mark();
        if !self.log.fits(records.len()) {
            self.begin_segment(records.len(), first);
        }
        let mut batch = Vec::new();
        let place = self.log.place(&records, (first, at.zxid), at.chain, &mut batch);
        self.write(place, &batch);
    }

    fn write(&mut self, place: Placement, batch: &[u8]) {
        let file = self.file.as_ref().unwrap();
        let write = self.disk.begin_write(file, place.at, batch).unwrap();
        self.writes.insert(place.ticket.0, (write, self.history.len() - 1));
    }

    fn begin_segment(&mut self, body: usize, first: Zxid) {
        if self.log.spares().is_empty() {
            let number = self.log.reserve_spare();
            make_spare(self.disk, number, SEGMENT.max(Log::segment_bytes_for(body)), |_, _| Ok(()))
                .unwrap();
            self.log.add_spare(number);
        }
        self.finish_all();
        self.salts += 1;
        let spare = self.log.spares()[0];
        self.log.start_segment(self.disk, spare, first, Salt(self.salts)).unwrap();
        self.file = Some(self.disk.open(&self.log.current().unwrap().name()).unwrap());
    }

    fn finish(&mut self, nth: usize) {
        let Some(&ticket) = self.writes.keys().nth(nth % self.writes.len().max(1)) else { return };
        self.disk.finish_write(self.writes.remove(&ticket).unwrap().0);
        if self.log.complete(Ticket(ticket)).is_some() {
            let durable = self.log.durable();
            self.acknowledged = self.history.iter().position(|at| at.zxid == durable).unwrap();
            self.mark();
        }
    }

    fn finish_all(&mut self) {
        while !self.writes.is_empty() {
            self.finish(0);
        }
    }

    fn seal(&mut self) {
        let mut batch = Vec::new();
        if let Some(place) = self.log.place_seal(&mut batch) {
            self.write(place, &batch);
            self.finish_all();
        }
    }

    fn snapshot(&mut self) {
        let at = self.history[self.acknowledged];
        if at == Position::ROOT || self.snapshots.last() == Some(&self.acknowledged) {
            return;
        }
        let head = SnapshotHead { cluster: CLUSTER, zxid: at.zxid, chain: at.chain };
        let mut writer = SnapshotWriter::create(self.disk, head).unwrap();
        writer.session(&session(0)).unwrap();
        writer.finish(9).unwrap();
        self.snapshots.push(self.acknowledged);
        if self.snapshots.len() < 3 {
            return;
        }
        self.snapshots.remove(0);
        let oldest =
            files::purge(self.disk, CLUSTER, 2, |name| self.disk.remove(name)).unwrap().unwrap();
        for _ in 0..self.log.purgeable(Zxid(oldest.0 + 1), 0) {
            let retirement = self.log.retire_oldest(SEGMENT, 0);
            retirement.carry_out(self.disk).unwrap();
            retirement.spare.into_iter().for_each(|number| self.log.add_spare(number));
        }
    }

    fn cut(&mut self) {
        self.finish_all();
        let last = self.history.len() - 1;
        // Sometimes far, sometimes below a snapshot; never below the one that a start needs.
        let reach = if self.prng.one_in(3) { 30 } else { 6 };
        let floor = self.snapshots.first().copied().unwrap_or(0);
        let index = last.saturating_sub(1 + self.prng.below(reach) as usize).max(floor);
        if index == last {
            return;
        }
        let to = self.history[index];
        let before = self.now();
        self.history.truncate(index + 1);
        self.acknowledged = index;
        self.snapshots.retain(|&snapshot| snapshot <= index);
        self.marks.push((self.disk.operations(), vec![before, self.now()]));
        // Where none was cut before, what is put by is enough for it.
        let is_full = self.disk.bytes(CUT_FILE).is_none() && self.prng.one_in(2);
        self.disk.set_capacity(is_full.then_some(0));
        let cut = self.log.begin_cut(self.disk, to).unwrap();
        self.log.finish_cut(self.disk, cut).unwrap();
        self.disk.set_capacity(None);
        self.mark();
        self.cuts += 1;
        self.full += u32::from(is_full);
        assert_eq!((self.log.position(), self.log.durable()), (to, to.zxid));
        assert!(self.log.current().is_none(), "the next batch begins a segment");
    }

    fn restart(&mut self) {
        self.finish_all();
        self.log = recover(self.disk, CLUSTER).unwrap().log;
        assert_eq!(self.log.position(), *self.history.last().unwrap());
        let current = self.log.current();
        self.file = current.map(|segment| self.disk.open(&segment.name()).unwrap());
    }

    fn live(&mut self, steps: u32) {
        for _ in 0..steps {
            match self.prng.below(16) {
                0..=5 => self.submit(),
                6..=9 => {
                    let nth = self.prng.below(4) as usize;
                    self.finish(nth);
                }
                10 => self.finish_all(),
                11 => {
                    self.finish_all();
                    self.seal();
                }
                12 => self.snapshot(),
                13 => self.restart(),
                _cut => self.cut(),
            }
        }
    }
}

/// The whole history that a start would serve: where the snapshot is, then every record.
fn found(disk: &FakeDisk) -> Result<(Position, Vec<Position>), RecoverError> {
    let recovery = recover(disk, CLUSTER)?;
    let base = recovery.snapshot.as_ref().map_or(Position::ROOT, |snapshot| snapshot.position());
    let chain = recovery.snapshot.as_ref().map(|snapshot| snapshot.chain);
    let log = &recovery.log;
    let mut reader = LogReader::new(disk, log.segments(), base.zxid, chain, log.last())?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(Position { zxid: record.head().zxid, chain: record.chain() });
    }
    assert_eq!(*records.last().unwrap_or(&base), log.position());
    Ok((base, records))
}

fn is_allowed(allowed: &[Allowed], base: Position, records: &[Position]) -> bool {
    allowed.iter().any(|Allowed { history, at_least }| {
        let Some(start) = history.iter().position(|at| *at == base) else { return false };
        let whole = start + 1 + records.len();
        *at_least <= whole && history[start + 1..].starts_with(records)
    })
}

fn check(disk: &FakeDisk, allowed: &[Allowed], what: &str) {
    let (base, records) = found(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(is_allowed(allowed, base, &records), "{what}: {base:?} and {records:?}");
}

#[test]
fn a_crash_leaves_the_whole_log_or_the_cut_one_at_every_point_of_many_cuts() {
    let (mut states, mut nested, mut cuts, mut full) = (0_u64, 0_u64, 0, 0);
    for seed in 1..=12 {
        let disk = FakeDisk::new();
        let mut life = Life::new(&disk, seed);
        life.live(110);
        cuts += life.cuts;
        full += life.full;
        let mut prng = 0x5eed + seed;
        for prefix in 0..=disk.operations() {
            let allowed = life.allowed(prefix);
            disk.crash_states(prefix, 10, &mut prng, |crashed| {
                states += 1;
                let what = format!("seed {seed}, state {states} at operation {prefix}");
                let before = states.is_multiple_of(61).then(|| crashed.copy());
                check(crashed, allowed, &what);
                // A recovery leaves what a second one finds as it is.
                check(crashed, allowed, &what);
                let Some(before) = before else { return };
                let first = found(&before).unwrap();
                for again in 0..=before.operations() {
                    before.crash_states(again, 4, &mut 0xface, |crashed| {
                        nested += 1;
                        let second = found(crashed).unwrap_or_else(|e| panic!("{what}: {e}"));
                        assert_eq!(first, second, "{what}, again at {again}");
                    });
                }
            });
        }
    }
    println!(
        "{cuts} cuts, {full} on a full disk, {states} crash states, {nested} of crashes behind a recovery"
    );
    assert!(cuts > 100 && full > 20 && states > 20_000 && nested > 1_000);
}

#[test]
fn a_log_is_cut_to_any_of_its_records_and_gone_on_with_lower_and_higher_zxids() {
    let grow = |seed| {
        let disk = FakeDisk::new();
        {
            let mut life = Life::new(&disk, seed);
            (0..30).for_each(|_| life.submit());
            life.finish_all();
        }
        disk
    };
    for seed in 1..4 {
        let whole = found(&grow(seed).copy()).unwrap().1;
        for index in 0..=whole.len() {
            let disk = grow(seed);
            let to = if index == 0 { Position::ROOT } else { whole[index - 1] };
            let mut log = recover(&disk, CLUSTER).unwrap().log;
            let cut = log.begin_cut(&disk, to).unwrap();
            log.finish_cut(&disk, cut).unwrap();
            assert_eq!(found(&disk).unwrap().1, whole[..index]);
            let mut life = Life::new(&disk, seed + 100);
            life.history = [&[Position::ROOT], &whole[..index]].concat();
            (0..4).for_each(|_| life.submit());
            life.finish_all();
            assert!(disk.bytes(CUT_FILE).is_none(), "the new segment says it from now on");
            assert_eq!(found(&disk.copy()).unwrap().1, life.history[1..]);
        }
    }
}

#[test]
fn a_full_disk_has_room_for_a_cut_and_for_the_next_one_behind_it() {
    let disk = FakeDisk::new();
    let mut life = Life::new(&disk, 5);
    for _ in 0..3 {
        (0..3).for_each(|_| life.submit());
        life.finish_all();
        let to = life.history[life.history.len() - 2];
        disk.set_capacity(Some(0));
        let cut = life.log.begin_cut(&disk, to).unwrap();
        life.log.finish_cut(&disk, cut).unwrap();
        life.history.pop();
        assert_eq!(found(&disk.copy()).unwrap().1, life.history[1..]);
        disk.set_capacity(None); // for the next segment
    }
}

/// A log of three batches and a seal that is cut inside the second, and gone on with if wanted.
fn cut_disk(go_on: bool) -> (FakeDisk, String, Vec<Position>) {
    let disk = FakeDisk::new();
    let mut life = Life::new(&disk, 5);
    while life.history.len() < 8 {
        life.submit();
        life.finish_all();
    }
    life.seal();
    let name = life.log.current().unwrap().name();
    let to = life.history[4];
    let cut = life.log.begin_cut(&disk, to).unwrap();
    life.log.finish_cut(&disk, cut).unwrap();
    life.history.truncate(5);
    if go_on {
        life.submit();
        life.finish_all();
    }
    let history = life.history.split_off(1);
    (disk.copy(), name, history)
}

#[test]
fn damage_in_front_of_a_cut_is_refused_and_behind_it_nobody_looks() {
    for go_on in [false, true] {
        let (disk, name, history) = cut_disk(go_on);
        let content = disk.bytes(&name).unwrap();
        let (mut refused, mut harmless) = (0, 0);
        for at in 0..content.len() {
            let mut damaged = disk.copy();
            let mut content = content.clone();
            content[at] ^= 1 << (at % 8);
            damaged.overwrite(&name, content);
            match found(&damaged) {
                Ok((_, found)) => {
                    harmless += 1;
                    assert_eq!(found, history, "byte {at} changed the history");
                }
                Err(_) => refused += 1,
            }
        }
        println!("gone on with: {go_on}; {refused} refused, {harmless} harmless");
        assert!(refused > 4096 && harmless > 4096);
    }
}

#[test]
fn a_torn_batch_behind_a_cut_is_still_a_torn_tail() {
    let (disk, old, history) = cut_disk(true);
    let cut_at = history.len() - 1;
    let names = disk.list(LOG_DIRECTORY).unwrap();
    let newest = names.iter().rfind(|name| name.ends_with(".log")).unwrap();
    let newest = format!("{LOG_DIRECTORY}/{newest}");
    assert!(newest != old);
    let mut torn = disk.copy();
    let mut content = torn.bytes(&newest).unwrap();
    content[4096 + 70] ^= 1;
    torn.overwrite(&newest, content);
    // Once it is gone the log ends where it was cut, and the dead tail stays dead at each start.
    for _ in 0..3 {
        let (_, found) = found(&torn).unwrap();
        assert!(found.len() <= cut_at && history.starts_with(&found), "{found:?}");
        let cut = Cut::load(&torn, CLUSTER).unwrap().unwrap();
        assert_eq!((cut.stage, Some(&cut.to)), (Stage::Cut, found.last()));
    }
}

#[test]
fn a_damaged_cut_file_and_a_log_that_ends_before_the_cut_are_refused() {
    let (disk, name, _) = cut_disk(false);
    let content = disk.bytes(CUT_FILE).unwrap();
    for at in 0..content.len() {
        let mut damaged = disk.copy();
        let mut content = content.clone();
        content[at] ^= 4;
        damaged.overwrite(CUT_FILE, content);
        let refused = found(&damaged).unwrap_err();
        assert!(matches!(refused, RecoverError::Cut { .. }), "byte {at}: {refused}");
        assert!(refused.to_string().contains("serve --rejoin"));
    }
    let lost = disk.copy();
    lost.remove(&name).unwrap();
    assert!(matches!(found(&lost), Err(RecoverError::Lost { .. })));
    let mut zeroed = disk.copy();
    let mut content = zeroed.bytes(&name).unwrap();
    content[4096..].fill(0);
    zeroed.overwrite(&name, content);
    assert!(matches!(found(&zeroed), Err(RecoverError::Log(_))));
}
