//! `farwatch log dump DIR`: the log for an operator's eyes, or for a program's.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use farwatch_core::disk::{Disk, DiskError};
use farwatch_core::log::cut::Cut;
use farwatch_core::log::format::{SEGMENT_HEAD_BYTES, SegmentHead, SegmentHeadError};
use farwatch_core::log::reader::{BatchError, LogReader, ReadError};
use farwatch_core::log::recovery::RecoverError;
use farwatch_core::log::{LOG_DIRECTORY, Segment};
use farwatch_core::zxid::Zxid;

use crate::data_files::DataFiles;
use crate::dump;

/// Looks into the log of a data directory, without changing it.
#[derive(Args, Debug)]
pub struct LogArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// What can be done with a log.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Prints every transaction. Exits with 1 when the log is damaged.
    Dump {
        /// The data directory, or its log directory.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// One JSON object per line; data in base64.
        #[arg(long)]
        json: bool,
    },
}

/// Why a log cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file that is no segment.
    #[error("{name}: {cause}")]
    Segment {
        /// The file.
        name: String,
        /// Why not.
        cause: SegmentHeadError,
    },
    /// A file that is too short to be a segment.
    #[error("{name}: shorter than a segment's header: it was cut off, or never finished")]
    Short {
        /// The file.
        name: String,
    },
    /// Records.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Where it was cut cannot be read.
    #[error(transparent)]
    Cut(#[from] RecoverError),
    /// Nobody reads what is printed.
    #[error("writing: {0}")]
    Output(#[from] io::Error),
}

/// Does what `args` say, printing to `out`.
pub fn run(args: &LogArgs, out: &mut impl Write) -> Result<(), LogError> {
    match &args.command {
        LogCommand::Dump { dir, json } => print(&DataFiles::new(dir, LOG_DIRECTORY), *json, out),
    }
}

fn print<D: Disk>(disk: &D, json: bool, out: &mut impl Write) -> Result<(), LogError> {
    let segments = segments(disk)?;
    let Some(first) = segments.first() else { return Ok(()) };
    let after = first.head.before;
    let mut reader = LogReader::new(disk, &segments, after, None, end(disk, &segments)?)?;
    loop {
        match reader.next_record() {
            Ok(Some(record)) => {
                let value = dump::record(&record);
                if json {
                    writeln!(out, "{value}")?;
                } else {
                    writeln!(out, "{}", dump::line(&value, &["zxid", "type", "path"]))?;
                }
            }
            Ok(None) => return Ok(()),
            // What follows the last batch is no batch: so ends every log.
            Err(ReadError::Damaged {
                cause: BatchError::Head | BatchError::End, segment, ..
            }) if segments.last().is_some_and(|last| last.name() == segment) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How far the log may be read: without limit, unless its last segment was cut.
fn end<D: Disk>(disk: &D, segments: &[Segment]) -> Result<Zxid, LogError> {
    let Some(Segment { head }) = segments.last() else { return Ok(Zxid::ZERO) };
    let cut = Cut::load(disk, head.cluster)?.map(|cut| cut.to.zxid);
    Ok(cut.filter(|&to| head.first <= to).unwrap_or(Zxid(u64::MAX)))
}

/// The segments, oldest first.
fn segments<D: Disk>(disk: &D) -> Result<Vec<Segment>, LogError> {
    let mut segments = Vec::new();
    for name in disk.list(LOG_DIRECTORY)? {
        if !name.ends_with(".log") {
            continue; // a spare
        }
        let name = format!("{LOG_DIRECTORY}/{name}");
        let file = disk.open(&name)?;
        let mut block = [0; SEGMENT_HEAD_BYTES];
        if disk.len(&file)? < block.len() as u64 {
            return Err(LogError::Short { name });
        }
        disk.read_at(&file, 0, &mut block)?;
        let head = SegmentHead::decode(&block)
            .map_err(|cause| LogError::Segment { name: name.clone(), cause })?;
        segments.push(Segment { head });
    }
    segments.sort_by_key(|segment| segment.head.first);
    Ok(segments)
}
