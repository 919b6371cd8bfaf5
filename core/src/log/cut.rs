//! Cutting the log: what a later leader's history does not hold is taken out of this one.
//!
//! ```text
//! S: … 1:4 │ 1:5 │ 1:6 1:7 │ 1:8 …      cut to 1:5
//!              ▲   └─────dead─────┘
//!   log/cut ───┘ cutting ─► later segments and snapshots removed ─► cut ─► next segment N: before = 1:5
//!                                                                          └ log/cut removed
//! ```
//!
//! A block with acknowledged records is never written again, so the dead tail of a segment stays
//! where it is; the file `log/cut` says where the history ends. The segment that is begun next says
//! it too, as what stands before it, and for ever: then the file has done its part. That file is the
//! one moment at which the cut happens: a crash before leaves the whole log, a crash behind it leaves
//! recovery to go on with what was begun.

use thiserror::Error;

use super::format::ClusterId;
use super::recovery::RecoverError;
use super::{LOG_DIRECTORY, Log, parse_segment_name, segment_name};
use crate::disk::{self, Disk, DiskCause, DiskError};
use crate::record::Chain;
use crate::record::run::Position;
use crate::snapshot::files::{SNAPSHOT_DIRECTORY, list_snapshots, snapshot_name};
use crate::zxid::Zxid;

/// The file's name.
pub const CUT_FILE: &str = "log/cut";

/// Bytes of the file.
pub const CUT_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"FWCT";
const VERSION: u16 = 1;
const STAGE_CUTTING: u16 = 1;
const STAGE_CUT: u16 = 2;
const STAGE_REPLACING: u16 = 3;
const _: () = assert!(28 + size_of::<Chain>() == CUT_BYTES);

/// How far a cut has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Every segment that begins behind the cut is dead, and every snapshot behind it.
    Cutting,
    /// They are gone. A segment that begins behind the cut came later and is alive.
    Cut,
    /// Every segment is dead: the snapshot at this place is the whole history. Only in
    /// [`super::replace`]'s own file.
    Replacing,
}

/// Where the history ends, whatever stands behind that in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How far it has come.
    pub stage: Stage,
    /// The last record that is alive, or what the empty log stands on.
    pub to: Position,
}

/// Why the cut file cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CutError {
    /// Damaged.
    #[error("the file is damaged")]
    Damaged,
    /// Of another ensemble.
    #[error("the file is of another ensemble")]
    Cluster,
    /// Of a later version.
    #[error("format version {0} is not known to this version of Farwatch")]
    Version(u16),
}

impl Cut {
    /// The file.
    pub fn encode(&self, cluster: ClusterId) -> [u8; CUT_BYTES] {
        let stage = match self.stage {
            Stage::Cutting => STAGE_CUTTING,
            Stage::Cut => STAGE_CUT,
            Stage::Replacing => STAGE_REPLACING,
        };
        let mut bytes = [0; CUT_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&stage.to_le_bytes());
        bytes[12..20].copy_from_slice(&cluster.0.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.to.zxid.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.to.chain.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The cut in `bytes`, checked.
    pub fn decode(bytes: &[u8], cluster: ClusterId) -> Result<Self, CutError> {
        let bytes: &[u8; CUT_BYTES] = bytes.try_into().map_err(|_| CutError::Damaged)?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u64_at = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of a fixed array"))
        };
        let crc = crc32c::crc32c(&bytes[8..]).to_le_bytes();
        if bytes[..4] != MAGIC || bytes[4..8] != crc {
            return Err(CutError::Damaged);
        }
        if u16_at(8) != VERSION {
            return Err(CutError::Version(u16_at(8)));
        }
        if u64_at(12) != cluster.0 {
            return Err(CutError::Cluster);
        }
        let stage = match u16_at(10) {
            STAGE_CUTTING => Stage::Cutting,
            STAGE_CUT => Stage::Cut,
            STAGE_REPLACING => Stage::Replacing,
            _unknown => return Err(CutError::Damaged),
        };
        let chain = Chain(u32::from_le_bytes(bytes[28..32].try_into().expect("four bytes")));
        Ok(Self { stage, to: Position { zxid: Zxid(u64_at(20)), chain } })
    }

    /// Reads the file, if there is one.
    pub fn load<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Option<Self>, RecoverError> {
        Self::load_from(disk, cluster, CUT_FILE)
    }

    pub(super) fn load_from<D: Disk>(
        disk: &D,
        cluster: ClusterId,
        name: &str,
    ) -> Result<Option<Self>, RecoverError> {
        let Some(bytes) = disk::read_small(disk, name, CUT_BYTES + 1)? else { return Ok(None) };
        let cut = Self::decode(&bytes, cluster);
        cut.map(Some).map_err(|cause| RecoverError::Cut { file: name.to_owned(), cause })
    }

    /// Makes the file durable.
    pub fn store<D: Disk>(&self, disk: &D, cluster: ClusterId) -> Result<(), DiskError> {
        disk::replace_from_spare(disk, CUT_FILE, &self.encode(cluster))
    }

    /// Takes the room that the next cut needs while there is some, unless it was taken.
    pub fn put_by<D: Disk>(disk: &D) -> Result<(), DiskError> {
        disk::put_by(disk, CUT_FILE, CUT_BYTES)
    }

    /// Goes on with a cut that was begun: what is dead goes, durably, then the file says so.
    pub(super) fn finish<D: Disk>(
        &mut self,
        disk: &D,
        cluster: ClusterId,
    ) -> Result<(), DiskError> {
        assert!(self.stage == Stage::Cutting, "a cut is finished once");
        // The newest first, so that what a failure leaves has no hole.
        let snapshots = list_snapshots(disk)?;
        for &zxid in snapshots.iter().rev().filter(|zxid| self.to.zxid < **zxid) {
            disk.remove(&snapshot_name(zxid))?;
        }
        disk.sync_dir(SNAPSHOT_DIRECTORY)?;
        remove_segments(disk, |first| self.to.zxid < first)?;
        let cut = Self { stage: Stage::Cut, ..*self };
        match cut.store(disk, cluster) {
            // What is dead may have been too little to make room. Nothing comes behind the cut before the file goes, as
            // the next segment is begun: until then both stages say the same.
            Err(error) if error.cause == DiskCause::Full => return Ok(()),
            stored => stored?,
        }
        self.stage = Stage::Cut;
        Ok(())
    }
}

/// Removes the segments whose first zxid is `dead`, the newest first, durably.
pub(super) fn remove_segments<D: Disk>(
    disk: &D,
    dead: impl Fn(Zxid) -> bool,
) -> Result<(), DiskError> {
    let names = disk.list(LOG_DIRECTORY)?;
    let mut segments: Vec<Zxid> =
        names.iter().filter_map(|name| parse_segment_name(name)).filter(|&it| dead(it)).collect();
    segments.sort_unstable();
    for &first in segments.iter().rev() {
        disk.remove(&segment_name(first))?;
    }
    disk.sync_dir(LOG_DIRECTORY)
}

/// Takes its name from the file if there is one, durably: it must not come back behind a later one. It is put by for
/// the next one, which a full disk may have no room for.
pub(super) fn remove<D: Disk>(disk: &D) -> Result<(), DiskError> {
    match disk.rename(CUT_FILE, &disk::spare_of(CUT_FILE)) {
        // Of a file system that needs room for a name.
        Err(DiskError { cause: DiskCause::Full, .. }) => disk.remove(CUT_FILE)?,
        Err(error) if error.cause != DiskCause::NotFound => return Err(error),
        _gone => {}
    }
    disk.sync_dir(LOG_DIRECTORY)
}

impl Log {
    /// Decides durably that the log ends at `to`, which is the end of a record of this log, or what
    /// the log stands on: the caller has made sure of it, and that a snapshot at or before `to`
    /// remains. On error nothing was changed. [`Log::finish_cut`] must follow before anything else.
    ///
    /// Nothing may be in flight.
    pub fn begin_cut<D: Disk>(&self, disk: &D, to: Position) -> Result<Cut, DiskError> {
        assert!(self.in_flight.is_empty(), "what is in flight is waited for");
        assert!(to.zxid <= self.last, "a log is cut at a place it has");
        let cut = Cut { stage: Stage::Cutting, to };
        cut.store(disk, self.cluster)?;
        Ok(cut)
    }

    /// Removes what is dead, durably. An error leaves the rest to the next start, and the log must
    /// not be used again.
    pub fn finish_cut<D: Disk>(&mut self, disk: &D, mut cut: Cut) -> Result<(), DiskError> {
        cut.finish(disk, self.cluster)?;
        let to = cut.to;
        self.segments.retain(|segment| segment.head.first <= to.zxid);
        (self.last, self.chain, self.durable) = (to.zxid, to.chain, to.zxid);
        // Even where whole blocks are free behind it: the batches there are of this segment and
        // would be taken for a continuation.
        (self.at, self.sealed, self.cut) = (None, true, true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zxid::Epoch;

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let cluster = ClusterId(0x0102_0304_0506_0708);
        for stage in [Stage::Cutting, Stage::Cut, Stage::Replacing] {
            let to = Position { zxid: Zxid::new(Epoch(3), 4), chain: Chain(5) };
            let cut = Cut { stage, to };
            let mut bytes = cut.encode(cluster);
            assert_eq!(Cut::decode(&bytes, cluster), Ok(cut));
            for bit in 0..CUT_BYTES * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Cut::decode(&bytes, cluster), Err(CutError::Damaged), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for length in 0..CUT_BYTES {
                assert_eq!(Cut::decode(&bytes[..length], cluster), Err(CutError::Damaged));
            }
            assert_eq!(Cut::decode(&bytes, ClusterId(1)), Err(CutError::Cluster));
        }
    }
}
