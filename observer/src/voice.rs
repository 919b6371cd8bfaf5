//! How often something is said in the log: what fails fails many times a second, and one line tells
//! as much as a thousand.

use std::time::{Duration, Instant};

/// Between two lines about one thing that goes on failing.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// Decides what is said about one thing.
#[derive(Clone, Debug, Default)]
pub struct Voice {
    failed: Option<Instant>,
    worked: Option<Instant>,
    unsaid: u64,
}

impl Voice {
    /// It failed: if that is to be said, with how many failures were not said before.
    pub fn failure(&mut self, now: Instant) -> Option<u64> {
        if is_recent(self.failed, now) {
            self.unsaid += 1;
            return None;
        }
        self.failed = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    /// It works: whether that is to be said.
    pub fn success(&mut self, now: Instant) -> bool {
        let said = !is_recent(self.worked, now);
        if said {
            self.worked = Some(now);
        }
        said
    }

    /// It worked long enough: the next failure, and the next success, are news.
    pub fn settle(&mut self) {
        *self = Self::default();
    }
}

fn is_recent(said: Option<Instant>, now: Instant) -> bool {
    said.is_some_and(|at| now.saturating_duration_since(at) < BETWEEN_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_said_then_one_a_minute_and_again_once_it_worked() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut voice = Voice::default();
        assert_eq!(voice.failure(at(0)), Some(0));
        assert_eq!(voice.failure(at(1)), None);
        assert_eq!(voice.failure(at(59)), None);
        assert_eq!(voice.failure(at(60)), Some(2));
        assert!(voice.success(at(61)));
        assert!(!voice.success(at(62)), "a link that comes and goes says so once a minute");
        assert_eq!(voice.failure(at(63)), None);
        voice.settle();
        assert_eq!(voice.failure(at(64)), Some(0));
        assert!(voice.success(at(65)));
    }
}
