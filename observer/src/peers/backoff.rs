//! How long a dialer waits before its next attempt: full jitter under a bound that doubles.

use std::time::Duration;

use farwatch_core::prng::Prng;

/// The first wait is drawn from zero to this: a peer that restarts is back within milliseconds.
const VOTER_MIN: Duration = Duration::from_millis(20);

/// The same of a server that does not vote, and its wait after a link that worked: there may be a
/// thousand of them, which all lost it in the same moment.
const OBSERVER_MIN: Duration = Duration::from_millis(200);

/// Later waits are drawn from zero to this: it bounds how late a peer that is back is noticed.
const MAX: Duration = Duration::from_secs(1);

/// The first wait of who was told to come later. A thousand of those are then a few hundred
/// attempts a second.
const LATER_MIN: Duration = Duration::from_secs(2);

/// Who is told so again and again waits up to this: longer than it takes to let a thousand in.
const LATER_MAX: Duration = Duration::from_secs(16);

/// See the module.
pub struct Backoff {
    prng: Prng,
    votes: bool,
    bound: Duration,
    later: Option<Duration>,
    told: bool,
}

impl Backoff {
    /// Of a server that votes, or does not.
    pub fn new(seed: u64, votes: bool) -> Self {
        let bound = if votes { VOTER_MIN } else { OBSERVER_MIN };
        Self { prng: Prng::new(seed), votes, bound, later: None, told: false }
    }

    /// The attempt that goes on was told to come later, by one of the addresses that it tried.
    pub fn later(&mut self) {
        self.told = true;
    }

    /// No address led to a link: until they are all tried again.
    pub fn next(&mut self) -> Duration {
        if std::mem::take(&mut self.told) {
            let bound = self.later.unwrap_or(LATER_MIN);
            self.later = Some((bound * 2).min(LATER_MAX));
            return self.draw(bound);
        }
        let bound = self.bound;
        self.bound = (bound * 2).min(MAX);
        self.draw(bound)
    }

    /// A link is over: until all addresses are tried again.
    pub fn ended(&mut self, worked: bool) -> Duration {
        self.told = false;
        if !worked {
            return self.next();
        }
        *self = Self { prng: self.prng.clone(), ..Self::new(0, self.votes) };
        if self.votes { Duration::ZERO } else { self.draw(OBSERVER_MIN) }
    }

    fn draw(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.prng.below(bound.as_micros() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_drawn_under_a_bound_that_doubles_to_a_second_and_begins_anew() {
        let mut backoff = Backoff::new(7, true);
        for bound in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert!(backoff.next() <= Duration::from_millis(bound), "{bound} ms");
        }
        assert!((0..100).any(|_| backoff.next() > Duration::from_millis(500)), "it uses its room");
        assert!(backoff.ended(false) <= MAX);
        assert_eq!(backoff.ended(true), Duration::ZERO, "a voter is needed back at once");
        assert!(backoff.next() <= VOTER_MIN);
    }

    #[test]
    fn who_was_told_to_come_later_waits_longer_each_time_until_a_link_works() {
        let mut backoff = Backoff::new(7, false);
        for bound in [2, 4, 8, 16, 16] {
            backoff.later();
            assert!(backoff.next() <= Duration::from_secs(bound), "{bound} s");
        }
        let mut told = Backoff::new(7, false);
        let waits = (0..1000).map(|_| {
            told.later();
            told.next()
        });
        assert!(waits.max() > Some(Duration::from_secs(15)), "it uses its room");
        assert!(backoff.next() <= OBSERVER_MIN, "who was not told comes back as always");
        assert!(backoff.ended(true) <= OBSERVER_MIN);
        backoff.later();
        assert!(backoff.next() <= LATER_MIN);
    }

    #[test]
    fn observers_that_lost_their_upstream_together_do_not_come_back_together() {
        let waits = (0..1000).map(|seed| Backoff::new(seed, false).ended(true));
        let early = waits.filter(|wait| *wait < OBSERVER_MIN / 10).count();
        assert!((50..200).contains(&early), "{early} of 1000 in the first tenth");
    }
}
