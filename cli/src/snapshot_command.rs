//! `farwatch snapshot dump|verify`: snapshots for an operator's eyes, or for a program's.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use farwatch_core::disk::{Disk, DiskError};
use farwatch_core::snapshot::files::{
    SNAPSHOT_DIRECTORY, SnapshotInfo, list_snapshots, snapshot_name, verify,
};
use farwatch_core::snapshot::format::{SNAPSHOT_HEAD_BYTES, SnapshotError, SnapshotHead};
use farwatch_core::snapshot::reader::{Chunk, SnapshotReader};
use farwatch_core::zxid::Zxid;
use serde_json::{Value, json};

use crate::data_files::DataFiles;
use crate::dump;

/// Looks into the snapshots of a data directory, without changing them.
#[derive(Args, Debug)]
pub struct SnapshotArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// What can be done with snapshots.
#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Prints every session and node of a snapshot: the newest of a directory.
    Dump(Target),
    /// Checks every byte of all snapshots. Exits with 1 when one is damaged, or there is none.
    Verify(Target),
}

/// Which snapshots, and how they are printed.
#[derive(Args, Debug)]
pub struct Target {
    /// The data directory, its snapshot directory, or one snapshot in it.
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,
    /// One JSON object per line; data in base64.
    #[arg(long)]
    pub json: bool,
}

/// Why snapshots cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotCommandError {
    /// Not a snapshot by its name.
    #[error("{0}: no data directory, and no snapshot by its name (0000000100000001.snap)")]
    Name(PathBuf),
    /// There is none.
    #[error("{0}: there is no snapshot; a server that took none yet has its history in the log")]
    None(PathBuf),
    /// Damaged, or not ours.
    #[error("{name}: {cause}")]
    Snapshot {
        /// The file.
        name: String,
        /// What is wrong.
        cause: SnapshotError,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nobody reads what is printed.
    #[error("writing: {0}")]
    Output(#[from] io::Error),
}

/// Does what `args` say, printing to `out`. False: something is damaged, and was printed as such.
pub fn run(args: &SnapshotArgs, out: &mut impl Write) -> Result<bool, SnapshotCommandError> {
    match &args.command {
        SnapshotCommand::Dump(target) => {
            let (files, zxids) = find(&target.path)?;
            let newest = *zxids.last().expect("find found one");
            let cause =
                |cause| SnapshotCommandError::Snapshot { name: snapshot_name(newest), cause };
            print(&files, newest, target.json, out).map_err(|error| match error {
                Failure::Snapshot(error) => cause(error),
                Failure::Output(error) => error.into(),
            })?;
            Ok(true)
        }
        SnapshotCommand::Verify(target) => {
            let (files, zxids) = find(&target.path)?;
            let mut whole = true;
            for zxid in zxids {
                let found = head(&files, zxid).and_then(|head| verify(&files, head.cluster, zxid));
                whole &= found.is_ok();
                let value = verdict(zxid, &found);
                match target.json {
                    true => writeln!(out, "{value}")?,
                    false => writeln!(out, "{}", dump::line(&value, &["file", "verdict"]))?,
                }
            }
            Ok(whole)
        }
    }
}

fn verdict(zxid: Zxid, found: &Result<SnapshotInfo, SnapshotError>) -> Value {
    match found {
        Ok(info) => json!({
            "file": snapshot_name(zxid),
            "verdict": "whole",
            "zxid": format!("{:#x}", info.zxid.0),
            "sessions": info.sessions,
            "nodes": info.nodes,
            "digest": format!("{:#x}", info.digest),
            "bytes": info.bytes,
        }),
        Err(error) => json!({
            "file": snapshot_name(zxid),
            "verdict": "damaged",
            "reason": error.to_string(),
        }),
    }
}

/// The snapshots that `path` means, oldest first, and where they are; at least one.
fn find(path: &Path) -> Result<(DataFiles, Vec<Zxid>), SnapshotCommandError> {
    let none = || SnapshotCommandError::None(path.to_owned());
    if path.is_dir() {
        let files = DataFiles::new(path, SNAPSHOT_DIRECTORY);
        let zxids = list_snapshots(&files)?;
        return if zxids.is_empty() { Err(none()) } else { Ok((files, zxids)) };
    }
    let wrong = || SnapshotCommandError::Name(path.to_owned());
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    let digits = name.strip_suffix(".snap").ok_or_else(wrong)?;
    let zxid = u64::from_str_radix(digits, 16).map(Zxid).map_err(|_| wrong())?;
    let absolute = std::path::absolute(path)?; // its parent has a name then
    let directory = absolute.parent().ok_or_else(wrong)?;
    Ok((DataFiles::new(directory, SNAPSHOT_DIRECTORY), vec![zxid]))
}

/// The header of the snapshot at `zxid`. It says whose the snapshot is.
fn head<D: Disk>(disk: &D, zxid: Zxid) -> Result<SnapshotHead, SnapshotError> {
    let file = disk.open(&snapshot_name(zxid))?;
    let mut bytes = [0; SNAPSHOT_HEAD_BYTES];
    if disk.len(&file)? < bytes.len() as u64 {
        return Err(SnapshotError::Head);
    }
    disk.read_at(&file, 0, &mut bytes)?;
    SnapshotHead::decode(&bytes).map(|(head, _seed)| head)
}

enum Failure {
    Snapshot(SnapshotError),
    Output(io::Error),
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints chunk by chunk: what was printed of a damaged snapshot is followed by an error.
fn print<D: Disk>(disk: &D, zxid: Zxid, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let head = head(disk, zxid)?;
    let mut reader = SnapshotReader::open(disk, head.cluster, zxid)?;
    while let Some(chunk) = reader.next_chunk()? {
        let values: Vec<Value> = match chunk {
            Chunk::Sessions(entries) => {
                entries.sessions().map(|session| dump::session(&session)).collect()
            }
            Chunk::Nodes(entries) => entries.nodes().map(|node| dump::node(&node)).collect(),
        };
        for value in values {
            match json {
                true => writeln!(out, "{value}")?,
                false => writeln!(out, "{}", dump::line(&value, &["path", "kind"]))?,
            }
        }
    }
    Ok(())
}
