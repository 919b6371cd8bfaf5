//! The epochs file: what this voter has promised and what it follows.
//!
//! ```text
//! 0     4     8        10  12       16        20                28
//! ├FWEP─┼crc──┼version─┼0──┼accepted┼current──┼ cluster id ─────┤
//! ```

use thiserror::Error;

use super::cut::{Cut, Stage};
use super::format::ClusterId;
use super::reader::ADVICE;
use super::recovery::RecoverError;
use super::replace::INSTALL_FILE;
use super::{LOG_DIRECTORY, parse_segment_name};
use crate::disk::{self, Disk, DiskError};
use crate::record::run::Position;
use crate::snapshot::files::{SNAPSHOT_DIRECTORY, list_snapshots};
use crate::zxid::Epoch;

/// The file's name.
pub const EPOCHS_FILE: &str = "epochs";

/// Bytes of the file.
pub const EPOCHS_BYTES: usize = 28;

const MAGIC: [u8; 4] = *b"FWEP";
const VERSION: u16 = 1;
const _: () = assert!(20 + size_of::<ClusterId>() == EPOCHS_BYTES);

/// Both epochs, written together so that no crash separates them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// The newest leader that was promised to be followed.
    pub accepted: Epoch,
    /// The leader whose history this server has.
    pub current: Epoch,
}

/// Why the epochs cannot be known. A voter must not vote then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EpochsError {
    /// Damaged.
    #[error(
        "{EPOCHS_FILE}: the file is damaged. It holds what this server has promised to its \
         ensemble, so it must not vote without it. {ADVICE}"
    )]
    Damaged,
    /// There is a history without promises.
    #[error(
        "{EPOCHS_FILE}: the file is missing beside a log or a snapshot. It held what this server \
         has promised to its ensemble, so it must not vote without it. {ADVICE}"
    )]
    Missing,
    /// There are promises without the history that was followed.
    #[error(
        "the log is missing: {EPOCHS_FILE} says that this server followed epoch {current}, and no \
         log is there that goes on from its newest snapshot. Is the file system of dataLogDir mounted? Otherwise \
         what it acknowledged is lost here, so it must not vote or serve. {ADVICE}"
    )]
    LogLost {
        /// In the file.
        current: Epoch,
    },
    /// Written for another ensemble.
    #[error(
        "{EPOCHS_FILE}: the file is of another ensemble than the data directory's identity: \
         restore the whole data directory from one backup"
    )]
    Cluster,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Epochs {
    /// The file.
    pub fn encode(&self, cluster: ClusterId) -> [u8; EPOCHS_BYTES] {
        assert!(self.current <= self.accepted, "a leader is accepted before it is followed");
        let mut bytes = [0; EPOCHS_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.accepted.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.current.0.to_le_bytes());
        bytes[20..28].copy_from_slice(&cluster.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The epochs in `bytes`, checked.
    pub fn decode(bytes: &[u8], cluster: ClusterId) -> Result<Self, EpochsError> {
        let bytes: &[u8; EPOCHS_BYTES] = bytes.try_into().map_err(|_| EpochsError::Damaged)?;
        let u32_at = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a fixed array"))
        };
        let whole = bytes[..4] == MAGIC
            && u32_at(4) == crc32c::crc32c(&bytes[8..])
            && bytes[8..12] == [VERSION as u8, (VERSION >> 8) as u8, 0, 0];
        let epochs = Self { accepted: Epoch(u32_at(12)), current: Epoch(u32_at(16)) };
        if !whole || epochs.current > epochs.accepted {
            return Err(EpochsError::Damaged);
        }
        if bytes[20..28] != cluster.0.to_le_bytes() {
            return Err(EpochsError::Cluster);
        }
        Ok(epochs)
    }

    /// As [`Epochs::load`], for a server that is its whole ensemble: its log may not have been lost.
    pub fn load_alone<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Self, EpochsError> {
        let epochs = Self::load(disk, cluster)?;
        epochs.refuse_without(&Found::look(disk, cluster)?)?;
        Ok(epochs)
    }

    fn refuse_without(&self, found: &Found) -> Result<(), EpochsError> {
        if Epoch::ZERO < self.current && !found.log {
            return Err(EpochsError::LogLost { current: self.current });
        }
        Ok(())
    }

    /// Reads the file; without one, no leader was ever accepted.
    pub fn load<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Self, EpochsError> {
        match disk::read_small(disk, EPOCHS_FILE, EPOCHS_BYTES + 1)? {
            Some(bytes) => Self::decode(&bytes, cluster),
            None => Ok(Self::default()),
        }
    }

    /// As [`Epochs::load`], for one voter of several, before the log is recovered: neither the
    /// promises nor the log may have been lost, unless the server is `rejoining`.
    pub fn load_member<D: Disk>(
        disk: &D,
        cluster: ClusterId,
        rejoining: bool,
    ) -> Result<Self, EpochsError> {
        let epochs = Self::load(disk, cluster)?;
        if rejoining {
            return Ok(epochs);
        }
        let found = Found::look(disk, cluster)?;
        if disk::read_small(disk, EPOCHS_FILE, 0)?.is_none() && found.history {
            return Err(EpochsError::Missing);
        }
        epochs.refuse_without(&found)?;
        Ok(epochs)
    }

    /// As [`Epochs::store`], and makes sure that a log which is lost later is missed: one that was
    /// never written to is given a file that says so.
    pub fn store_member<D: Disk>(&self, disk: &D, cluster: ClusterId) -> Result<(), DiskError> {
        if Epoch::ZERO < self.current && !Found::look(disk, cluster)?.log {
            Cut { stage: Stage::Cut, to: Position::ROOT }.store(disk, cluster)?;
        }
        self.store(disk, cluster)
    }

    /// Makes both durable. A failure must end the process: what is on disk is not known then.
    pub fn store<D: Disk>(&self, disk: &D, cluster: ClusterId) -> Result<(), DiskError> {
        disk::replace_from_spare(disk, EPOCHS_FILE, &self.encode(cluster))
    }
}

/// What there is of a history.
struct Found {
    /// Records or a snapshot.
    history: bool,
    /// A log, be it empty. From the first segment on there is always a segment, or a cut file that no snapshot
    /// is behind: what a snapshot holds was logged.
    log: bool,
}

impl Found {
    fn look<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Self, DiskError> {
        let in_log = disk.list(LOG_DIRECTORY)?;
        let in_snapshots = disk.list(SNAPSHOT_DIRECTORY)?;
        let segment = in_log.iter().any(|name| parse_segment_name(name).is_some());
        let install = in_snapshots.iter().any(|name| INSTALL_FILE.ends_with(&format!("/{name}")));
        let newest = list_snapshots(disk)?.pop();
        let cut = match Cut::load(disk, cluster) {
            // Snapshots behind a cut that is under way are about to go.
            Ok(cut) => cut.is_some_and(|it| it.stage != Stage::Cut || newest <= Some(it.to.zxid)),
            Err(RecoverError::Disk(error)) => return Err(error),
            Err(_damaged) => true, // recovery says so
        };
        Ok(Self { history: segment || newest.is_some() || install, log: segment || cut || install })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fake::FakeDisk;
    use crate::log::cut::CUT_FILE;
    use crate::record::Chain;
    use crate::zxid::Zxid;

    const EPOCHS: Epochs = Epochs { accepted: Epoch(7), current: Epoch(6) };

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let cluster = ClusterId(0x0102_0304_0506_0708);
        let mut bytes = EPOCHS.encode(cluster);
        assert_eq!(Epochs::decode(&bytes, cluster), Ok(EPOCHS));
        for bit in 0..EPOCHS_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Epochs::decode(&bytes, cluster), Err(EpochsError::Damaged), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..EPOCHS_BYTES {
            assert_eq!(Epochs::decode(&bytes[..length], cluster), Err(EpochsError::Damaged));
        }
        assert_eq!(Epochs::decode(&bytes, ClusterId(1)), Err(EpochsError::Cluster));
    }

    #[test]
    fn a_crash_while_they_are_replaced_leaves_the_old_or_the_new() {
        let cluster = ClusterId(9);
        // The first one is given the name of its own file, and makes what is put by; later names are exchanged.
        for stored in 0..3 {
            let disk = FakeDisk::new();
            (0..stored).for_each(|_| EPOCHS.store(&disk, cluster).unwrap());
            let old = Epochs::load(&disk, cluster).unwrap();
            let new = Epochs { accepted: Epoch(8), current: Epoch(8) };
            let mark = disk.operations();
            new.store(&disk, cluster).unwrap();
            let end = disk.operations();
            let (mut states, mut prng, mut durable) = (0, 1, end);
            for prefix in mark..=end {
                let mut all_new = true;
                disk.crash_states(prefix, 8, &mut prng, |crashed| {
                    states += 1;
                    let found = Epochs::load(crashed, cluster).unwrap();
                    assert!(found == new || found == old, "{found:?} at {prefix}");
                    all_new &= found == new;
                });
                assert!(all_new || prefix < durable, "{prefix}, and durable at {durable}");
                durable = if all_new { durable.min(prefix) } else { durable };
            }
            println!(
                "{states} crash states, stored {stored} times before; durable at {durable} of {mark} to {end}"
            );
        }
    }

    #[test]
    fn a_full_disk_has_room_for_them_once_they_were_stored() {
        let (cluster, disk) = (ClusterId(9), FakeDisk::new());
        let at = |epoch| Epochs { accepted: Epoch(epoch), current: Epoch(epoch) };
        at(1).store(&disk, cluster).unwrap();
        let taken = 2 * EPOCHS_BYTES as u64; // these, and what is put by for the next ones
        disk.set_capacity(Some(taken));
        for epoch in 2..6 {
            at(epoch).store(&disk, cluster).unwrap();
            assert_eq!(Epochs::load(&disk, cluster), Ok(at(epoch)));
        }
        // Another length is no room.
        disk.remove("epochs.spare").unwrap();
        disk.set_capacity(Some(EPOCHS_BYTES as u64));
        assert_eq!(at(6).store(&disk, cluster).unwrap_err().cause, disk::DiskCause::Full);
        assert_eq!(Epochs::load(&disk, cluster), Ok(at(5)));
    }

    #[test]
    fn a_member_that_lost_its_promises_or_its_log_is_refused_and_one_that_rejoins_is_not() {
        let cluster = ClusterId(9);
        let mut disk = FakeDisk::new();
        assert_eq!(Epochs::load_member(&disk, cluster, false), Ok(Epochs::default()));
        EPOCHS.store_member(&disk, cluster).unwrap();
        // Followed, and nothing was ever logged.
        assert_eq!(Epochs::load_member(&disk, cluster, false), Ok(EPOCHS));
        disk.remove(CUT_FILE).unwrap();
        let lost = Err(EpochsError::LogLost { current: EPOCHS.current });
        assert_eq!(Epochs::load_member(&disk, cluster, false), lost);
        assert_eq!(Epochs::load_member(&disk, cluster, true), Ok(EPOCHS));
        disk.overwrite("log/0000000100000001.log", vec![1]);
        assert_eq!(Epochs::load_member(&disk, cluster, false), Ok(EPOCHS));
        EPOCHS.store_member(&disk, cluster).unwrap();
        assert!(disk.bytes(CUT_FILE).is_none());
        // As if every segment had been lost behind a snapshot.
        disk.remove("log/0000000100000001.log").unwrap();
        Cut { stage: Stage::Cut, to: Position::ROOT }.store(&disk, cluster).unwrap();
        assert_eq!(Epochs::load_alone(&disk, cluster), Ok(EPOCHS));
        disk.overwrite("snapshot/0000000100000007.snap", vec![1]);
        assert_eq!(Epochs::load_member(&disk, cluster, false), lost);
        assert_eq!(Epochs::load_alone(&disk, cluster), lost);
        let at = |stage, zxid| {
            let to = Position { zxid: Zxid(zxid), chain: Chain(0) };
            Cut { stage, to }.store(&disk, cluster).unwrap();
            Epochs::load_alone(&disk, cluster)
        };
        assert_eq!(at(Stage::Cut, 0x1_0000_0006), lost);
        assert_eq!(at(Stage::Cut, 0x1_0000_0007), Ok(EPOCHS), "all of the log was cut");
        assert_eq!(at(Stage::Cutting, 0x1_0000_0001), Ok(EPOCHS), "the snapshot is about to go");
        disk.remove(EPOCHS_FILE).unwrap();
        assert_eq!(Epochs::load_alone(&disk, cluster), Ok(Epochs::default()));
        let missing = Epochs::load_member(&disk, cluster, false);
        assert_eq!(missing, Err(EpochsError::Missing));
        assert!(missing.unwrap_err().to_string().contains("serve --rejoin"));
        assert_eq!(Epochs::load_member(&disk, cluster, true), Ok(Epochs::default()));
    }
}
