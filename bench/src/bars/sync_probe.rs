//! What the disk needs for one durable write, where the servers have their data.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::subject::subjects_directory;

const WRITES: usize = 200;

/// Written beforehand: servers have their logs allocated ahead too.
const FILE_BYTES: usize = 32 << 20;

/// The median of so many writes of these many bytes, one behind the other, each with its fdatasync.
pub fn sync_p50(bytes: usize) -> Result<Duration> {
    let file: File = tempfile::tempfile_in(subjects_directory()?)?;
    let block = vec![b'p'; FILE_BYTES];
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    let mut took = Vec::new();
    for at in 0..WRITES {
        let offset = at * bytes % (FILE_BYTES - bytes);
        let began = Instant::now();
        file.write_all_at(&block[..bytes], offset as u64)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[WRITES / 2])
}
