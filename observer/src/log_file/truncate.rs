//! Cutting the log on the real disk.

use farwatch_core::disk::DiskCause;
use farwatch_core::log::reader::ReadError;
use farwatch_core::record::run::Position;
use farwatch_core::snapshot::files;
use farwatch_core::snapshot::format::SnapshotError;
use farwatch_core::zxid::Zxid;
use thiserror::Error;

use super::LogFile;

/// Why the log was not cut. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TruncateError {
    /// It is not a position of this log.
    #[error(
        "the log is to be cut behind {to}, and that is not a place in it (it ends at {last}): the \
         leader has another history. Start this server with `farwatch serve --rejoin`"
    )]
    NotThere {
        /// Where.
        to: Zxid,
        /// The log's end.
        last: Zxid,
    },
    /// What stands before it is in no snapshot that could be started from.
    #[error(
        "the log is to be cut behind {to}, and the only valid snapshots are newer: start this \
         server with `farwatch serve --rejoin`"
    )]
    BelowSnapshot {
        /// Where.
        to: Zxid,
    },
    /// No room for a file of a few bytes.
    #[error("the log cannot be cut because its disk is full: make room, then start this server")]
    Full,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The snapshots cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl LogFile {
    /// Cuts everything behind `to`, durably: a record of the log, or what the log stands on. Blocks:
    /// waits for what is in flight, for a segment that is being begun and for a read under way, and
    /// for the disk. Reads that were asked and not answered are answered from the log as it is now.
    ///
    /// A disk that fails in the middle ends the process. One that was full only just is not asked again.
    pub fn truncate(&mut self, to: Position) -> Result<(), TruncateError> {
        if self.cut_held.holds(self.clock) {
            return Err(TruncateError::Full);
        }
        self.drain();
        while self.beginning.is_some() {
            let filled = self.filler.wait().expect("a segment is being begun");
            // A full disk is met again by who writes next.
            let _full = self.settle_filled(filled);
        }
        if to == self.log.position() {
            return Ok(());
        }
        let asks = self.readings.recall();
        let done = self.cut(to);
        asks.into_iter().for_each(|ask| self.read_again(ask));
        done
    }

    fn cut(&mut self, to: Position) -> Result<(), TruncateError> {
        let found = if to.zxid < self.log.last() { self.find(to.zxid)? } else { None };
        if found != Some(to) {
            return Err(TruncateError::NotThere { to: to.zxid, last: self.log.last() });
        }
        self.check_snapshots(to.zxid)?;
        let cut = match self.log.begin_cut(&self.dir, to) {
            Ok(cut) => cut,
            Err(error) if error.cause == DiskCause::Full => {
                self.cut_held.refused((self.clock)());
                return Err(TruncateError::Full);
            }
            Err(error) => self.give_up(&error.to_string()),
        };
        if let Err(error) = self.log.finish_cut(&self.dir, cut) {
            self.give_up(&error.to_string());
        }
        (self.file, self.end) = (None, 0);
        self.reported = to.zxid;
        self.window.clear();
        self.want_spare();
        Ok(())
    }

    /// Makes sure that a start finds its way to `to` when newer snapshots are gone.
    fn check_snapshots(&self, to: Zxid) -> Result<(), TruncateError> {
        let listed = files::list_snapshots(&self.dir).map_err(SnapshotError::from)?;
        if listed.last().is_none_or(|&newest| newest <= to) {
            return Ok(());
        }
        let oldest = self.log.segments().first().map_or(Zxid::ZERO, |first| first.head.before);
        if oldest == Zxid::ZERO {
            return Ok(());
        }
        let cluster = self.dir.identity().cluster;
        for zxid in listed.into_iter().rev().filter(|zxid| (oldest..=to).contains(zxid)) {
            match files::verify(&self.dir, cluster, zxid) {
                Ok(_) => return Ok(()),
                Err(SnapshotError::Disk(error)) => {
                    return Err(SnapshotError::Disk(error).into());
                }
                Err(_damaged) => {}
            }
        }
        Err(TruncateError::BelowSnapshot { to })
    }
}
