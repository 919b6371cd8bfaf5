//! A place in a history, and a contiguous stretch of it as the bytes that are on every disk.

use std::sync::Arc;

use thiserror::Error;

use crate::record::{Chain, HEAD_BYTES, Record, RecordError};
use crate::zxid::Zxid;

/// A place in a history *and* proof of everything before it: the checksum of the record there is
/// chained over the whole history, so two servers with an equal position have equal histories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last record's zxid.
    pub zxid: Zxid,
    /// Its checksum.
    pub chain: Chain,
}

impl Position {
    /// Before the first record.
    pub const ROOT: Self = Self { zxid: Zxid::ZERO, chain: Chain(0) };
}

/// Why bytes do not continue a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// A record is damaged, or belongs behind another one.
    #[error("behind {after:?}: {error}")]
    Record {
        /// The record before it.
        after: Zxid,
        /// What is wrong.
        error: RecordError,
    },
    /// The checksums hold and a zxid is left out, which only a faulty leader can write.
    #[error("{found:?} does not follow {after:?}")]
    Gap {
        /// The record before it.
        after: Zxid,
        /// The record that came.
        found: Zxid,
    },
    /// No record at all.
    #[error("an empty run of records")]
    Empty,
}

/// Whole records, one behind the other, known to be contiguous. Sharing one costs no copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    after: Position,
    upto: Position,
    bytes: Arc<[u8]>,
}

impl Run {
    /// Checks every record of `bytes` as the continuation of `after`.
    pub fn read(after: Position, bytes: Arc<[u8]>) -> Result<Self, RunError> {
        let (mut at, mut rest) = (after, &bytes[..]);
        while !rest.is_empty() {
            let record = Record::read(rest, at.chain)
                .map_err(|error| RunError::Record { after: at.zxid, error })?;
            let zxid = record.head().zxid;
            if !zxid.follows(at.zxid) {
                return Err(RunError::Gap { after: at.zxid, found: zxid });
            }
            at = Position { zxid, chain: record.chain() };
            rest = &rest[record.bytes().len()..];
        }
        if at == after {
            return Err(RunError::Empty);
        }
        Ok(Self { after, upto: at, bytes })
    }

    /// Records that this process wrote itself behind `after`, ending at `upto`.
    pub fn own(after: Position, upto: Position, bytes: Arc<[u8]>) -> Self {
        assert!(after.zxid < upto.zxid, "a run goes forward");
        assert!(bytes.len() >= HEAD_BYTES, "a run holds a record");
        Self { after, upto, bytes }
    }

    /// What it continues.
    pub const fn after(&self) -> Position {
        self.after
    }

    /// Where it ends.
    pub const fn upto(&self) -> Position {
        self.upto
    }

    /// The records as they are on disk.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Its records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let record = Record::own(rest);
            rest = &rest[record.bytes().len()..];
            Some(record)
        })
    }

    /// It in pieces of whole records of at most `bytes_max`, or of one longer record. One that is no longer is not
    /// copied.
    pub fn pieces(&self, bytes_max: usize) -> Vec<Self> {
        if self.bytes.len() <= bytes_max {
            return vec![self.clone()];
        }
        let mut pieces = Vec::new();
        let (mut after, mut at, mut begin, mut end) = (self.after, self.after, 0, 0);
        let mut cut = |after, upto, range: std::ops::Range<usize>| {
            pieces.push(Self { after, upto, bytes: self.bytes[range].into() });
        };
        for record in self.records() {
            let length = record.bytes().len();
            if begin < end && bytes_max < end + length - begin {
                cut(after, at, begin..end);
                (after, begin) = (at, end);
            }
            at = Position { zxid: record.head().zxid, chain: record.chain() };
            end += length;
        }
        cut(after, at, begin..end);
        pieces
    }

    /// What of it is up to `limit`, and what is behind that.
    pub fn split(self, limit: Zxid) -> (Option<Self>, Option<Self>) {
        if self.upto.zxid <= limit {
            return (Some(self), None);
        }
        let (mut at, mut length) = (self.after, 0);
        for record in self.records().take_while(|record| record.head().zxid <= limit) {
            at = Position { zxid: record.head().zxid, chain: record.chain() };
            length += record.bytes().len();
        }
        if length == 0 {
            return (None, Some(self));
        }
        let head = Self { after: self.after, upto: at, bytes: self.bytes[..length].into() };
        let tail = Self { after: at, upto: self.upto, bytes: self.bytes[length..].into() };
        (Some(head), Some(tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use crate::txn::{Txn, TxnHead};
    use crate::zxid::{Epoch, SessionId};

    fn records(zxids: &[Zxid]) -> (Vec<u8>, Chain) {
        let (mut bytes, mut chain) = (Vec::new(), Chain(0));
        for &zxid in zxids {
            let head = TxnHead { zxid, time_ms: 1, session: SessionId(1), cxid: 1 };
            chain = record::append(&head, &Txn::Delete { path: b"/a" }, chain, &mut bytes);
        }
        (bytes, chain)
    }

    #[test]
    fn a_run_is_contiguous_and_splits_between_any_two_records() {
        let zxids = [1, 2, 3].map(|counter| Zxid::new(Epoch(1), counter));
        let (bytes, chain) = records(&zxids);
        let run = Run::read(Position::ROOT, bytes.into()).unwrap();
        assert_eq!(run.upto(), Position { zxid: zxids[2], chain });
        for (index, &zxid) in zxids.iter().enumerate() {
            let (head, tail) = run.clone().split(zxid);
            let head = head.unwrap();
            assert_eq!(head.upto().zxid, zxid);
            assert_eq!(head.records().count(), index + 1);
            if let Some(tail) = tail {
                assert_eq!(Run::read(head.upto(), tail.bytes().clone()), Ok(tail));
            }
        }
        assert_eq!(run.clone().split(Zxid::ZERO), (None, Some(run)));
    }

    #[test]
    fn its_pieces_are_whole_records_and_together_it() {
        let zxids = [1, 2, 3, 4, 5].map(|counter| Zxid::new(Epoch(1), counter));
        let (bytes, _) = records(&zxids);
        let run = Run::read(Position::ROOT, bytes.into()).unwrap();
        let record = run.bytes().len() / 5;
        for (bytes_max, wanted) in [
            (1, &[1, 1, 1, 1, 1][..]),
            (record, &[1, 1, 1, 1, 1]),
            (3 * record - 1, &[2, 2, 1]),
            (4 * record, &[4, 1]),
            (5 * record, &[5]),
        ] {
            let pieces = run.pieces(bytes_max);
            let counts: Vec<_> = pieces.iter().map(|piece| piece.records().count()).collect();
            assert_eq!(counts, wanted, "{bytes_max}");
            let mut at = run.after();
            for piece in &pieces {
                assert_eq!(Run::read(at, piece.bytes().clone()), Ok(piece.clone()));
                at = piece.upto();
            }
            assert_eq!(at, run.upto());
        }
    }

    #[test]
    fn a_gap_with_valid_checksums_is_refused() {
        let (first, third) = (Zxid::new(Epoch(1), 1), Zxid::new(Epoch(1), 3));
        let (bytes, _) = records(&[first, third]);
        let found = Run::read(Position::ROOT, bytes.into());
        assert_eq!(found, Err(RunError::Gap { after: first, found: third }));
    }
}
