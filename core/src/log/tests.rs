//! The log, its segments and snapshots on a disk that crashes, fills up, fails and rots.
//!
//! The records, their acknowledgements and every operation on the disk come from a [`Server`]: the
//! same calls in the same order as the shell makes them, with batches that complete out of order.

use std::collections::BTreeMap;

use super::format::ClusterId;
use super::format::Salt;
use super::reader::LogReader;
use super::recovery::{Note, RecoverError, Recovery, recover};
use super::*;
use crate::acl;
use crate::disk::fake::{FakeDisk, FakeFile, Fault, PendingWrite};
use crate::record::{self, Record};
use crate::snapshot::NodeImage;
use crate::snapshot::files::{self, list_snapshots};
use crate::snapshot::format::{SessionImage, SnapshotError, SnapshotHead};
use crate::snapshot::reader::{Chunk, SnapshotReader};
use crate::snapshot::writer::SnapshotWriter;
use crate::txn::{NodeKind, Txn, TxnHead};
use crate::wire::handshake::Password;
use crate::zxid::{Epoch, SessionId};

mod crash;
mod cut;
mod damage;
mod faults;
mod golden;
mod repair;
mod replace;

const CLUSTER: ClusterId = ClusterId(0xfa12);
const SEGMENT: u64 = 24 << 10;

fn zxid(counter: u32) -> Zxid {
    if counter == 0 { Zxid::ZERO } else { Zxid::new(Epoch(1), counter) }
}

fn data(counter: u32) -> Vec<u8> {
    let length = (counter as usize * 977) % 3000;
    (0..length).map(|at| (at as u32 ^ counter) as u8).collect()
}

/// The history itself: what every record is, and the checksum behind each.
struct History {
    chains: Vec<Chain>,
}

impl History {
    fn new() -> Self {
        Self { chains: vec![Chain(0)] }
    }

    fn last(&self) -> u32 {
        self.chains.len() as u32 - 1
    }

    fn run(&mut self, count: u32) -> Vec<u8> {
        let mut records = Vec::new();
        for _ in 0..count {
            let counter = self.last() + 1;
            let data = data(counter);
            let txn = Txn::SetData { path: b"/n", data: Some(&data), version: counter as i32 };
            let head = TxnHead { zxid: zxid(counter), time_ms: 5, session: SessionId(6), cxid: 7 };
            let chain = self.chains[counter as usize - 1];
            self.chains.push(record::append(&head, &txn, chain, &mut records));
        }
        records
    }
}

/// What drives a log as the shell does, on a fake disk.
struct Server<'d> {
    disk: &'d FakeDisk,
    log: Log,
    file: Option<FakeFile>,
    history: History,
    writes: BTreeMap<u64, PendingWrite>,
    salts: u64,
    /// Counter of the last record that was acknowledged, and after how many operations.
    acknowledged: Vec<(usize, u32)>,
    /// The same of records that were submitted.
    proposed: Vec<(usize, u32)>,
}

impl<'d> Server<'d> {
    fn new(disk: &'d FakeDisk) -> Self {
        let recovery = recover(disk, CLUSTER).expect("an empty disk");
        Self::go_on(disk, recovery, History::new(), 0)
    }

    fn go_on(disk: &'d FakeDisk, recovery: Recovery, history: History, salts: u64) -> Self {
        let log = recovery.log;
        let file = log.current().map(|segment| disk.open(&segment.name()).unwrap());
        let last = history.last();
        let writes = BTreeMap::new();
        let acknowledged = vec![(disk.operations(), last)];
        Self {
            disk,
            log,
            file,
            history,
            writes,
            salts,
            proposed: acknowledged.clone(),
            acknowledged,
        }
    }

    fn try_submit(&mut self, count: u32) -> Result<(), DiskError> {
        let first = self.history.last() + 1;
        let mut ahead = History { chains: self.history.chains.clone() };
        let records = ahead.run(count);
        if !self.log.fits(records.len()) {
            self.begin_segment(records.len(), zxid(first))?;
        }
        self.history = ahead;
        let last = self.history.last();
        let chain = self.history.chains[last as usize];
        let mut batch = Vec::new();
        let place = self.log.place(&records, (zxid(first), zxid(last)), chain, &mut batch);
        self.proposed.push((self.disk.operations(), last));
        self.write(place, &batch)
    }

    fn submit(&mut self, count: u32) {
        self.try_submit(count).unwrap();
    }

    fn write(&mut self, place: Placement, batch: &[u8]) -> Result<(), DiskError> {
        let file = self.file.as_ref().unwrap();
        let write = self.disk.begin_write(file, place.at, batch)?;
        self.writes.insert(place.ticket.0, write);
        Ok(())
    }

    fn seal(&mut self) -> Result<(), DiskError> {
        let mut batch = Vec::new();
        match self.log.place_seal(&mut batch) {
            Some(place) => self.write(place, &batch),
            None => Ok(()),
        }
    }

    fn begin_segment(&mut self, body: usize, first: Zxid) -> Result<(), DiskError> {
        if self.log.spares().is_empty() {
            let number = self.log.reserve_spare();
            make_spare(
                self.disk,
                number,
                SEGMENT.max(Log::segment_bytes_for(body)),
                |_, _| Ok(()),
            )?;
            self.log.add_spare(number);
        }
        self.finish_all();
        self.salts += 1;
        let spare = self.log.spares()[0];
        self.log.start_segment(self.disk, spare, first, Salt(self.salts))?;
        self.file = Some(self.disk.open(&self.log.current().unwrap().name())?);
        Ok(())
    }

    /// The batch in flight that is `nth` in order is written.
    fn finish(&mut self, nth: usize) {
        let ticket = *self.writes.keys().nth(nth % self.writes.len()).unwrap();
        self.disk.finish_write(self.writes.remove(&ticket).unwrap());
        if let Some(upto) = self.log.complete(Ticket(ticket)) {
            self.acknowledged.push((self.disk.operations(), upto.counter()));
        }
    }

    fn finish_all(&mut self) {
        while !self.writes.is_empty() {
            self.finish(0);
        }
    }

    fn snapshot(&self) -> Result<(), DiskError> {
        self.snapshot_to(self.disk)
    }

    fn snapshot_to(&self, disk: &FakeDisk) -> Result<(), DiskError> {
        let last = self.log.durable().counter();
        let head = SnapshotHead {
            cluster: CLUSTER,
            zxid: zxid(last),
            chain: self.history.chains[last as usize],
        };
        let mut writer = SnapshotWriter::create(disk, head)?;
        for id in 0..3 {
            writer.session(&session(id))?;
        }
        for counter in 0..=last {
            let data = data(counter);
            writer.node(&node(counter, &data))?;
        }
        writer.finish(u64::from(last)).map(|_| ())
    }

    fn purge(&mut self) -> Result<(), DiskError> {
        let oldest = files::purge(self.disk, CLUSTER, 2, |name| self.disk.remove(name)).map_err(
            |error| match error {
                SnapshotError::Disk(error) => error,
                SnapshotError::Head
                | SnapshotError::Version(_)
                | SnapshotError::Foreign
                | SnapshotError::Chunk { .. } => panic!("{error}"),
            },
        )?;
        let Some(oldest) = oldest else { return Ok(()) };
        for _ in 0..self.log.purgeable(Zxid(oldest.0 + 1), 0) {
            let retirement = self.log.retire_oldest(SEGMENT, 0);
            retirement.carry_out(self.disk)?;
            retirement.spare.into_iter().for_each(|number| self.log.add_spare(number));
        }
        Ok(())
    }

    /// Batches in flight, rotation, seals, snapshots and purges, as they come in a long life.
    fn live(&mut self, rounds: u32) -> Result<(), DiskError> {
        for round in 0..rounds {
            for batch in 0..3 {
                self.try_submit(1 + (round + batch) % 3)?;
            }
            // Out of order: the last one first.
            while !self.writes.is_empty() {
                self.finish(self.writes.len() - 1);
            }
            if round % 5 == 2 {
                self.seal()?;
                self.finish_all();
            }
            if round % 6 == 3 {
                self.snapshot()?;
                self.purge()?;
            }
        }
        Ok(())
    }
}

fn session(id: u64) -> SessionImage {
    SessionImage { id: SessionId(id + 1), timeout_ms: 30_000, password: Password([id as u8; 16]) }
}

fn node(counter: u32, data: &[u8]) -> NodeImage<'_> {
    NodeImage {
        path: b"/n",
        data: (!counter.is_multiple_of(3)).then_some(data),
        acl: if counter.is_multiple_of(2) { acl::OPEN } else { acl::READ_ONLY },
        kind: match counter % 4 {
            0 => NodeKind::Persistent,
            1 => NodeKind::Ephemeral(SessionId(9)),
            2 => NodeKind::Container,
            _three => NodeKind::Ttl(1000),
        },
        czxid: zxid(counter),
        mzxid: Zxid(2),
        pzxid: Zxid(3),
        ctime: 4,
        mtime: -5,
        version: 6,
        cversion: 7,
        aversion: 8,
    }
}

/// Loads the snapshot and reads the log as a start does. Every byte handed out is compared.
fn load(disk: &FakeDisk, recovery: &Recovery) -> Result<u32, RecoverError> {
    let mut after = Zxid::ZERO;
    let mut chain = None;
    if let Some(info) = &recovery.snapshot {
        let mut reader = SnapshotReader::open(disk, CLUSTER, info.zxid).expect("it was verified");
        let (mut nodes, mut sessions) = (0, 0);
        while let Some(chunk) = reader.next_chunk().expect("it was verified") {
            match chunk {
                Chunk::Sessions(entries) => entries.sessions().for_each(|found| {
                    assert!(found == session(sessions));
                    sessions += 1;
                }),
                Chunk::Nodes(entries) => entries.nodes().for_each(|found| {
                    assert_eq!(found, node(nodes, &data(nodes)));
                    nodes += 1;
                }),
            }
        }
        assert_eq!((sessions, nodes - 1), (3, info.zxid.counter()));
        assert_eq!(info.digest, u64::from(info.zxid.counter()));
        (after, chain) = (info.zxid, Some(info.chain));
    }
    let log = &recovery.log;
    let mut reader = LogReader::new(disk, log.segments(), after, chain, log.last())?;
    let mut last = after.counter();
    while let Some(record) = reader.next_record()? {
        last += 1;
        compare(&record, last);
    }
    assert_eq!(zxid(last), log.last());
    Ok(last)
}

fn compare(record: &Record<'_>, counter: u32) {
    let data = data(counter);
    assert_eq!(record.head().zxid, zxid(counter));
    let txn = Txn::SetData { path: b"/n", data: Some(&data), version: counter as i32 };
    assert_eq!(record.txn(), txn);
}

/// What `marks` said before the operation `at`.
fn known(marks: &[(usize, u32)], at: usize) -> u32 {
    marks[..marks.partition_point(|&(operations, _)| operations <= at)].last().map_or(0, |m| m.1)
}
