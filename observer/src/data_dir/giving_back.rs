//! A large file that goes while others need its disk.
//!
//! ```text
//! its name goes, durably ─► nobody has it open? ─ yes ─► a piece from its end, durably; a rest; the next … ─► unlink
//!                                              └─ no ──► unlink: whoever reads it has it until then
//! ```
//!
//! A file system that tells the device of blocks that are free (`discard`, as cloud images are mounted) does so where
//! the removal becomes durable, and nothing else on it becomes durable meanwhile: 115 to 150 ms for a file of 170 MB.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use farwatch_core::disk::{Disk, DiskError};
use tracing::warn;

use super::DataDir;
use crate::log_file::system;

/// So much goes at once.
const PIECE_BYTES: u64 = 4 << 20;

/// A rest is so many times as long as the piece before it took: the disk is the log's for that part of the time.
const REST_TIMES: u32 = 4;

/// No rest is longer, however slow the disk was for a moment.
const REST_MAX: Duration = Duration::from_millis(20);

/// How long a thread that works beside the log leaves the disk to it after a piece that took so long.
pub(crate) fn rest_after(piece: Duration) -> Duration {
    (REST_TIMES * piece).min(REST_MAX)
}

/// What is left of such a file. Dropped, it goes as a whole. It has no part in the lock of its directory: a
/// server that starts there removes what it finds.
pub(crate) struct GivingBack {
    path: PathBuf,
    /// `None` if others have it open.
    file: Option<File>,
    bytes: u64,
}

impl GivingBack {
    /// Takes its name away, durably. On error the file is there, under one of the two names.
    pub fn begin(dir: &DataDir, name: &str) -> Result<Self, DiskError> {
        let gone = format!("{name}.gone.tmp");
        dir.rename(name, &gone)?;
        dir.sync_dir(name.split_once('/').map_or("", |(directory, _)| directory))?;
        let path = dir.path(&gone);
        let opened = OpenOptions::new().write(true).open(&path).ok();
        let file = opened.filter(system::is_open_nowhere_else);
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |it| it.len());
        Ok(Self { path, file, bytes })
    }

    /// Gives one piece back; whether there are more. It blocks for as long as the disk does.
    pub fn step(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        self.bytes = self.bytes.saturating_sub(PIECE_BYTES);
        // A piece that cannot go alone goes with the rest.
        let shortened = file.set_len(self.bytes).and_then(|()| file.sync_all());
        shortened.is_ok() && 0 < self.bytes
    }
}

impl Drop for GivingBack {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                warn!("{} is not needed and stays: {cause}", self.path.display());
            }
            Ok(()) | Err(_) => {} // or a start was faster
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use farwatch_core::zxid::ServerId;

    use super::*;
    use crate::data_dir::Founding;

    fn fresh() -> (tempfile::TempDir, DataDir) {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path(), None, ServerId(1), Founding::Alone).unwrap();
        (root, dir)
    }

    fn file_of(dir: &DataDir, bytes: u64) -> &'static str {
        let name = "snapshot/1.snap";
        let file = File::create(dir.path(name)).unwrap();
        { &file }.write_all(&vec![7; bytes as usize]).unwrap();
        file.sync_all().unwrap();
        name
    }

    #[test]
    fn it_goes_a_piece_at_a_time_and_its_name_at_once() {
        let (_temporary, dir) = fresh();
        let name = file_of(&dir, 2 * PIECE_BYTES + 1);
        let mut going = GivingBack::begin(&dir, name).unwrap();
        assert_eq!(dir.list("snapshot").unwrap(), ["1.snap.gone.tmp"]);
        let mut lengths = Vec::new();
        while going.step() {
            lengths.push(fs::metadata(&going.path).unwrap().len());
        }
        assert_eq!(lengths, [PIECE_BYTES + 1, 1]);
        drop(going);
        assert!(dir.list("snapshot").unwrap().is_empty());
    }

    #[test]
    fn who_reads_it_keeps_all_of_it_and_a_start_that_was_faster_is_no_fault() {
        let (_temporary, dir) = fresh();
        let name = file_of(&dir, 2 * PIECE_BYTES);
        let reader = File::open(dir.path(name)).unwrap();
        let mut going = GivingBack::begin(&dir, name).unwrap();
        assert!(!going.step(), "it goes while it is read");
        fs::remove_file(&going.path).unwrap();
        drop(going);
        let left = reader.metadata().unwrap();
        assert_eq!((left.len(), left.nlink()), (2 * PIECE_BYTES, 0));
    }
}
