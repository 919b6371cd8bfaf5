//! The newest records in memory: what learners are nearly always served from, and the only place
//! where what is not yet durable can be read.

use std::collections::VecDeque;

use farwatch_core::record::run::{Position, Run};
use farwatch_core::zxid::Zxid;

/// Bytes of records that are kept in memory for learners. A learner that is further behind reads
/// the disk; enough for one that pauses a few seconds under a steady load of small writes.
pub const WINDOW_BYTES: usize = 16 << 20;

/// The same where no learner ever asked for records: on a server alone, which else would keep for good what
/// nobody reads.
const UNASKED_BYTES: usize = 1 << 20;

/// The runs that were submitted last, one behind the other without a hole.
#[derive(Debug, Default)]
pub(crate) struct Window {
    runs: VecDeque<Run>,
    bytes: usize,
    /// There is, or was, a learner.
    is_asked: bool,
}

impl Window {
    /// A learner asks for records.
    pub(crate) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// Adds what was submitted; what is durable and too old goes.
    pub(crate) fn push(&mut self, run: Run, durable: Zxid) {
        assert!(self.runs.back().is_none_or(|last| last.upto() == run.after()), "without a hole");
        self.bytes += run.bytes().len();
        self.runs.push_back(run);
        let bytes_max = if self.is_asked { WINDOW_BYTES } else { UNASKED_BYTES };
        while self.bytes > bytes_max
            && self.runs.front().is_some_and(|oldest| oldest.upto().zxid <= durable)
        {
            let oldest = self.runs.pop_front().expect("just looked at");
            self.bytes -= oldest.bytes().len();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { is_asked: self.is_asked, ..Self::default() };
    }

    /// What stands before the oldest record in it.
    pub(crate) fn start(&self) -> Option<Position> {
        self.runs.front().map(Run::after)
    }

    /// The last position at or below `from` and about `bytes_max` bytes of the records behind it;
    /// `None` if that is older than the window.
    pub(crate) fn read(&self, from: Zxid, bytes_max: u64) -> Option<(Position, Option<Run>)> {
        let index = self.runs.partition_point(|run| run.after().zxid <= from).checked_sub(1)?;
        let (mut at, mut offset) = (self.runs[index].after(), 0);
        for record in self.runs[index].records().take_while(|it| it.head().zxid <= from) {
            at = Position { zxid: record.head().zxid, chain: record.chain() };
            offset += record.bytes().len();
        }
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Some((at, (bytes_max > 0).then(|| self.collect(index, offset, at, bytes_max)).flatten()))
    }

    /// Records from byte `offset` of a run on, which are behind `at`.
    fn collect(&self, index: usize, offset: usize, at: Position, bytes_max: usize) -> Option<Run> {
        let first = &self.runs[index];
        let next = self.runs.get(index + 1).map_or(usize::MAX, |next| next.bytes().len());
        let length = first.bytes().len();
        // A whole run of about the right size costs no copy.
        if offset == 0
            && length <= bytes_max.saturating_mul(2)
            && next > bytes_max - length.min(bytes_max)
        {
            return Some(first.clone());
        }
        let (mut bytes, mut upto) = (Vec::new(), at);
        for run in self.runs.range(index..) {
            let skipped = run.records().skip_while(|record| record.head().zxid <= at.zxid);
            for record in skipped {
                if bytes.len() >= bytes_max {
                    break;
                }
                bytes.extend_from_slice(record.bytes());
                upto = Position { zxid: record.head().zxid, chain: record.chain() };
            }
            if bytes.len() >= bytes_max {
                break;
            }
        }
        (!bytes.is_empty()).then(|| Run::own(at, upto, bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use farwatch_core::record::{Chain, append};
    use farwatch_core::txn::{Txn, TxnHead};
    use farwatch_core::zxid::{Epoch, SessionId};

    use super::*;

    fn run(after: Position, records: u32, bytes: usize) -> Run {
        let (mut at, mut out) = (after, Vec::new());
        let data = vec![7; bytes];
        for _ in 0..records {
            let zxid = at.zxid.next().unwrap_or(Zxid::new(Epoch(1), 1));
            let zxid = if at == Position::ROOT { Zxid::new(Epoch(1), 1) } else { zxid };
            let head = TxnHead { zxid, time_ms: 1, session: SessionId(2), cxid: 3 };
            let txn = Txn::SetData { path: b"/n", data: Some(&data), version: 1 };
            at = Position { zxid, chain: append(&head, &txn, at.chain, &mut out) };
        }
        Run::own(after, at, out.into())
    }

    #[test]
    fn every_read_is_the_records_behind_the_position_it_names() {
        let mut window = Window::default();
        let mut at = Position::ROOT;
        for count in [1, 5, 2, 9, 1, 1] {
            let run = run(at, count, 100);
            at = run.upto();
            window.push(run, Zxid::ZERO);
        }
        for from in 0..=19 {
            let from = if from == 0 { Zxid::ZERO } else { Zxid::new(Epoch(1), from) };
            for bytes_max in [0, 1, 150, 300, 1000, 1 << 20] {
                let (found, run) = window.read(from, bytes_max).unwrap();
                assert_eq!(found.zxid, from.min(at.zxid));
                assert_eq!(run.is_some(), bytes_max > 0 && from < at.zxid);
                let Some(run) = run else { continue };
                assert_eq!(Run::read(found, run.bytes().clone()), Ok(run.clone()));
                let whole = bytes_max == 1 << 20;
                assert!(!whole || run.upto() == at, "{from:?} with room for all");
                assert!(run.bytes().len() as u64 <= 2 * bytes_max + 400);
            }
        }
    }

    #[test]
    fn what_is_not_durable_stays_and_what_is_goes_when_there_is_too_much() {
        let mut window = Window::default();
        window.ask();
        let mut at = Position { zxid: Zxid::new(Epoch(1), 4), chain: Chain(9) };
        for _ in 0..40 {
            let run = run(at, 1, 1 << 20);
            at = run.upto();
            window.push(run, Zxid::ZERO);
        }
        assert!(window.bytes > WINDOW_BYTES && window.runs.len() == 40);
        window.push(run(at, 1, 1), at.zxid);
        assert!(window.bytes <= WINDOW_BYTES && window.runs.len() < 17);
        assert_eq!(window.read(Zxid::new(Epoch(1), 5), 1), None);
    }
    #[test]
    fn little_is_kept_where_nobody_ever_asked_and_more_as_soon_as_somebody_does() {
        let mut window = Window::default();
        let mut at = Position { zxid: Zxid::new(Epoch(1), 4), chain: Chain(9) };
        let mut push = |window: &mut Window, runs: usize, is_durable: bool| {
            for _ in 0..runs {
                let run = run(at, 1, 256 << 10);
                at = run.upto();
                window.push(run, if is_durable { at.zxid } else { Zxid::ZERO });
            }
        };
        push(&mut window, 40, false);
        assert_eq!(window.runs.len(), 40, "what is not durable is read nowhere else");
        push(&mut window, 40, true);
        assert!(window.bytes <= UNASKED_BYTES && window.runs.len() == 3);
        window.ask();
        window.clear();
        push(&mut window, 80, true);
        assert!(UNASKED_BYTES < window.bytes && window.bytes <= WINDOW_BYTES);
        assert_eq!(window.runs.len(), 63);
    }
}
