//! When what sets out arrives: pure arithmetic over one direction of a wire.

use std::time::{Duration, Instant};

use farwatch_client::backoff::Prng;

use super::Quality;

/// One direction.
#[derive(Debug)]
pub(super) struct Line {
    delay: Duration,
    jitter: Duration,
    bytes_per_second: Option<u64>,
    chance: Prng,
    /// Until when what was booked before keeps the line busy.
    busy: Option<Instant>,
}

impl Line {
    pub(super) fn new(quality: &Quality, seed: u64) -> Self {
        Self {
            delay: quality.rtt / 2,
            jitter: quality.jitter,
            bytes_per_second: quality.bytes_per_second,
            chance: Prng::new(seed),
            busy: None,
        }
    }

    /// When `bytes` that set out at `began` are there. What is booked is sent one after the other;
    /// how long it is on its way takes nothing from others.
    pub(super) fn book(&mut self, began: Instant, bytes: usize) -> Instant {
        let begins = self.busy.map_or(began, |busy| busy.max(began));
        let sent = match self.bytes_per_second {
            None => begins,
            Some(rate) => begins + Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        self.busy = Some(sent);
        sent + self.delay + self.jitter()
    }

    fn jitter(&mut self) -> Duration {
        let most = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.chance.up_to(most))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Line, Quality};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn half_of_the_way_there_and_back_and_no_more_for_what_follows_closely() {
        let mut line = Line::new(&Quality::with_rtt(80 * MS), 1);
        let began = Instant::now();
        assert_eq!(line.book(began, 1 << 20), began + 40 * MS);
        assert_eq!(line.book(began, 1 << 20), began + 40 * MS);
        assert_eq!(line.book(began + MS, 1), began + 41 * MS);
    }

    #[test]
    fn a_rate_is_shared_by_all_that_is_booked_and_does_not_save_up() {
        let quality = Quality { bytes_per_second: Some(1000), ..Quality::with_rtt(10 * MS) };
        let mut line = Line::new(&quality, 1);
        let began = Instant::now();
        assert_eq!(line.book(began, 100), began + 105 * MS);
        assert_eq!(line.book(began, 100), began + 205 * MS);
        let later = began + 1000 * MS;
        assert_eq!(line.book(later, 100), later + 105 * MS);
        assert_eq!(line.book(later, 100), later + 205 * MS);
    }

    #[test]
    fn jitter_is_bounded_and_the_same_for_the_same_seed() {
        let quality = Quality { jitter: 20 * MS, ..Quality::with_rtt(80 * MS) };
        let began = Instant::now();
        let draw = |seed| {
            let mut line = Line::new(&quality, seed);
            (0..100).map(|_| line.book(began, 1) - began).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let all = draw(7);
        assert!(all.iter().all(|took| (40 * MS..=60 * MS).contains(took)), "{all:?}");
        assert!(all.iter().max().unwrap() > &(50 * MS), "{all:?}");
    }
}
