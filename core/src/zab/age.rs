//! How old what a server has is, and each part of it that it has told a learner: by marks of how far the
//! history was at the times at which this server was current.

use std::collections::VecDeque;

use crate::zxid::Zxid;

/// Between two marks, milliseconds, at least. An age is overstated by as much.
const MARK_MS: i64 = 100;

/// Marks that are kept. Of more every second goes, so that the older ones lie the further apart.
const MARKS_MAX: usize = 512;

/// Of what nothing is known.
pub(super) const UNKNOWN_MS: u32 = u32::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Age {
    now_ms: i64,
    /// When this server last knew itself to be current, if it ever did.
    current_ms: Option<i64>,
    /// Whoever has all up to that lacked nothing then. Both grow.
    marks: VecDeque<(Zxid, i64)>,
}

impl Age {
    /// It is `now_ms` of a clock that never goes back; this server was current at `current_ms` of it, if
    /// it ever was, and knows so much to be committed.
    pub fn note(&mut self, now_ms: i64, current_ms: Option<i64>, committed: Zxid) {
        (self.now_ms, self.current_ms) = (now_ms, current_ms);
        let Some(current_ms) = current_ms else { return };
        match self.marks.back_mut() {
            Some((zxid, at_ms)) if *zxid == committed => *at_ms = current_ms,
            Some((_, at_ms)) if current_ms < *at_ms + MARK_MS => {}
            Some(_) | None => self.marks.push_back((committed, current_ms)),
        }
        if MARKS_MAX < self.marks.len() {
            let mut stays = false;
            self.marks.retain(|_| {
                stays = !stays;
                stays
            });
        }
    }

    /// How long ago whoever has all up to `has` lacked nothing, milliseconds, where so much is committed.
    pub fn of(&self, has: Zxid, committed: Zxid) -> u32 {
        let mark = self.marks.iter().rev().find(|(zxid, _)| *zxid <= has).map(|mark| mark.1);
        let current_ms = if committed <= has { self.current_ms } else { mark };
        current_ms.map_or(UNKNOWN_MS, |at_ms| {
            u32::try_from((self.now_ms - at_ms).max(0)).unwrap_or(UNKNOWN_MS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_less_was_current_earlier_and_never_later_than_it_was() {
        let mut age = Age::default();
        // One record each 10 ms: who has the nth of them lacks what came at 10 n + 10 ms.
        for at_ms in 0..200_000 {
            age.note(at_ms, Some(at_ms), Zxid(at_ms as u64 / 10));
        }
        let committed = Zxid(19_999);
        assert_eq!(age.of(committed, committed), 0);
        let mut before = 0;
        for has in (0..19_999).rev() {
            let told = i64::from(age.of(Zxid(has), committed));
            let lacks_since = 199_999 - (has as i64 * 10 + 10);
            assert!(lacks_since <= told, "{has}: {told} of {lacks_since}");
            assert!(told <= lacks_since + 120 + lacks_since / 2, "{has}: {told} of {lacks_since}");
            assert!(before <= told, "{has}");
            before = told;
        }
        assert!(age.marks.len() <= MARKS_MAX);
    }

    #[test]
    fn of_what_was_before_this_process_nothing_is_known() {
        let mut age = Age::default();
        age.note(2, None, Zxid(6));
        assert_eq!(age.of(Zxid(6), Zxid(6)), UNKNOWN_MS);
        age.note(5, Some(3), Zxid(7));
        age.note(9, Some(3), Zxid(7));
        assert_eq!(age.of(Zxid(7), Zxid(7)), 6);
        assert_eq!(age.of(Zxid(6), Zxid(7)), UNKNOWN_MS);
    }
}
