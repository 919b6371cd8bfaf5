//! How fast something may happen: so many at once, and so many a second from then on.
//!
//! A thousand observers that lost their upstream come back in the same second. Each of them costs
//! whoever accepts a handshake, a session and a catch-up from the log, beside which voters must
//! not wait.

use std::cell::Cell;
use std::time::{Duration, Instant};

const SECOND_NS: u128 = 1_000_000_000;

/// A token bucket. What it holds is kept as the moment at which it will be full, so that nothing
/// has to be filled up from time to time.
#[derive(Debug)]
pub struct Bucket {
    per_second: u64,
    burst: u64,
    full_at: Cell<Option<Instant>>,
}

impl Bucket {
    /// A full bucket of `burst`, which gains `per_second`. Panics when one of them is zero.
    pub fn new(per_second: u64, burst: u64) -> Self {
        assert!(0 < per_second && 0 < burst, "a bucket that gives nothing");
        Self { per_second, burst, full_at: Cell::new(None) }
    }

    /// Takes one if there is one.
    pub fn take(&self, now: Instant) -> bool {
        let (owed, one) = (self.owed(now), self.time(1));
        let fits = owed + one <= self.time(self.burst);
        if fits {
            self.full_at.set(Some(now + owed + one));
        }
        fits
    }

    /// Takes `count`, which has happened already, and says how long to wait before more may: not
    /// at all while less than the burst is owed.
    pub fn charge(&self, now: Instant, count: u64) -> Duration {
        let owed = self.owed(now) + self.time(count);
        self.full_at.set(Some(now + owed));
        owed.saturating_sub(self.time(self.burst))
    }

    /// Whether anything is left of it.
    pub fn is_empty(&self, now: Instant) -> bool {
        self.time(self.burst) <= self.owed(now)
    }

    /// Until it is full.
    fn owed(&self, now: Instant) -> Duration {
        self.full_at.get().map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// How long it takes to gain `count`.
    fn time(&self, count: u64) -> Duration {
        let ns = (u128::from(count) * SECOND_NS).div_ceil(self.per_second.into());
        Duration::from_nanos(ns.try_into().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_its_rate_from_then_on() {
        let begin = Instant::now();
        let bucket = Bucket::new(50, 100);
        let taken = |now| (0..1000).take_while(|_| bucket.take(now)).count();
        assert_eq!(taken(begin), 100);
        assert_eq!(taken(begin), 0);
        assert_eq!(taken(begin + Duration::from_millis(19)), 0);
        assert_eq!(taken(begin + Duration::from_millis(20)), 1);
        assert_eq!(taken(begin + Duration::from_millis(1020)), 50);
        // However long nobody came: the next crowd finds a burst and not a flood.
        assert_eq!(taken(begin + Duration::from_secs(3600)), 100);
    }

    #[test]
    fn what_was_written_is_waited_for_so_that_the_rate_holds() {
        let (begin, rate, burst) = (Instant::now(), 1_000_000, 50_000);
        let bucket = Bucket::new(rate, burst);
        let (mut now, mut sent) = (begin, 0);
        while sent < 3_000_000 {
            sent += 40_000;
            now += bucket.charge(now, 40_000);
            let allowed = rate * (now - begin).as_millis() as u64 / 1000 + burst + 1000;
            assert!(sent <= allowed, "{sent} bytes after {:?}", now - begin);
        }
        assert!(now - begin < Duration::from_millis(3000), "and it is used");
        bucket.charge(now, burst);
        assert!(bucket.is_empty(now));
    }
}
