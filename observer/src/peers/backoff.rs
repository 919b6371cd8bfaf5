//! How long a dialer waits before its next attempt: full jitter under a bound that doubles. And how
//! long it gives that attempt.
//!
//! ```text
//! a link worked ─► quick: ≤ 200 ms apart, a few round trips each ── 128 of them ─► usual: ≤ 1 s apart
//!                  while nobody answers: the way is cut, and whoever is there is as they were
//! ```

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

/// Waits between quick attempts are drawn from zero to this. They cost a cut way a packet each, and
/// who is at its end nothing.
const QUICK: Duration = Duration::from_millis(200);

/// Quick attempts after a link that worked: about a minute of them.
const QUICK_ATTEMPTS: u32 = 128;

/// A packet that sets out while the way is cut is lost, and TCP repeats it after a second: a quick
/// attempt is given up after so many round trips, and no sooner than this.
const ROUND_TRIPS: u32 = 4;
const CONNECT_MIN: Duration = Duration::from_millis(200);

/// Every so many quick attempts one has all its time: the way may be longer than it was.
const WHOLE_EVERY: u32 = 4;

/// When an attempt is made, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Until then.
    pub after: Duration,
    /// To connect to one address.
    pub connect_within: Duration,
}

/// See the module.
pub struct Backoff {
    prng: Prng,
    votes: bool,
    connect_within: Duration,
    bound: Duration,
    later: Option<Duration>,
    told: bool,
    quick_left: u32,
    unanswered: bool,
    round_trip: Option<Duration>,
}

impl Backoff {
    /// Of a server that votes, or does not; `connect_within` is the usual.
    pub fn new(seed: u64, votes: bool, connect_within: Duration) -> Self {
        let bound = if votes { VOTER_MIN } else { OBSERVER_MIN };
        Self {
            prng: Prng::new(seed),
            votes,
            connect_within,
            bound,
            later: None,
            told: false,
            quick_left: 0,
            unanswered: false,
            round_trip: None,
        }
    }

    /// The very first attempt.
    pub fn at_once(&self) -> When {
        When { after: Duration::ZERO, connect_within: self.connect_within }
    }

    /// The attempt that goes on was told to come later, by one of the addresses that it tried.
    pub fn later(&mut self) {
        self.told = true;
    }

    /// Nobody answered the attempt that goes on, not even to say no.
    pub fn unanswered(&mut self) {
        self.unanswered = true;
    }

    /// No address led to a link: until they are all tried again.
    pub fn again(&mut self) -> When {
        let unanswered = std::mem::take(&mut self.unanswered);
        if std::mem::take(&mut self.told) {
            let bound = self.later.unwrap_or(LATER_MIN);
            self.later = Some((bound * 2).min(LATER_MAX));
            return self.draw(bound);
        }
        if unanswered && 0 < self.quick_left {
            self.quick_left -= 1;
            return self.draw(QUICK);
        }
        let bound = self.bound;
        self.bound = (bound * 2).min(MAX);
        self.draw(bound)
    }

    /// A link is over, whose shortest round trip was this: until all addresses are tried again.
    pub fn ended(&mut self, worked: bool, round_trip: Option<Duration>) -> When {
        (self.told, self.unanswered) = (false, false);
        if !worked {
            return self.again();
        }
        let usual = Self::new(0, self.votes, self.connect_within);
        let (quick_left, prng) = (QUICK_ATTEMPTS, self.prng.clone());
        *self = Self { prng, quick_left, round_trip, ..usual };
        self.draw(if self.votes { Duration::ZERO } else { OBSERVER_MIN })
    }

    fn draw(&mut self, bound: Duration) -> When {
        let after = Duration::from_micros(self.prng.below(bound.as_micros() as u64 + 1));
        let is_quick = 0 < self.quick_left && !self.quick_left.is_multiple_of(WHOLE_EVERY);
        let connect_within = match self.round_trip.filter(|_| is_quick) {
            Some(round_trip) => (round_trip * ROUND_TRIPS).max(CONNECT_MIN),
            None => self.connect_within,
        };
        When { after, connect_within: connect_within.min(self.connect_within) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_secs(1);

    fn backoff(seed: u64, votes: bool) -> Backoff {
        Backoff::new(seed, votes, USUAL)
    }

    #[test]
    fn waits_are_drawn_under_a_bound_that_doubles_to_a_second_and_begins_anew() {
        let mut backoff = backoff(7, true);
        for bound in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert!(backoff.again().after <= Duration::from_millis(bound), "{bound} ms");
        }
        let uses_its_room = |it: When| it.after > Duration::from_millis(500);
        assert!((0..100).any(|_| uses_its_room(backoff.again())));
        assert!(backoff.ended(false, None).after <= MAX);
        assert_eq!(backoff.ended(true, None).after, Duration::ZERO, "it is needed back at once");
        assert!(backoff.again().after <= VOTER_MIN);
    }

    #[test]
    fn who_was_told_to_come_later_waits_longer_each_time_until_a_link_works() {
        let mut again = backoff(7, false);
        for bound in [2, 4, 8, 16, 16] {
            again.later();
            assert!(again.again().after <= Duration::from_secs(bound), "{bound} s");
        }
        let mut told = backoff(7, false);
        let waits = (0..1000).map(|_| {
            told.later();
            told.again().after
        });
        assert!(waits.max() > Some(Duration::from_secs(15)), "it uses its room");
        assert!(again.again().after <= OBSERVER_MIN, "who was not told comes back as always");
        assert!(again.ended(true, None).after <= OBSERVER_MIN);
        again.later();
        assert!(again.again().after <= LATER_MIN);
    }

    #[test]
    fn observers_that_lost_their_upstream_together_do_not_come_back_together() {
        let waits = (0..1000).map(|seed| backoff(seed, false).ended(true, None).after);
        let early = waits.filter(|wait| *wait < OBSERVER_MIN / 10).count();
        assert!((50..200).contains(&early), "{early} of 1000 in the first tenth");
    }

    /// How long it goes on to try a way that carries nothing, and how often in `over`.
    fn unanswered_attempts(backoff: &mut Backoff, over: Duration) -> u32 {
        let (mut spent, mut attempts) = (Duration::ZERO, 0);
        while spent < over {
            backoff.unanswered();
            let When { after, connect_within } = backoff.again();
            spent += after + connect_within;
            attempts += 1;
        }
        attempts
    }

    #[test]
    fn a_way_that_was_good_and_is_cut_is_tried_often_and_only_for_a_minute_and_while_nobody_answers()
     {
        let (near, ten) = (Duration::from_millis(80), Duration::from_secs(10));
        let mut cut = backoff(7, false);
        let first = cut.ended(true, Some(near));
        assert!(first.after <= OBSERVER_MIN);
        let often = unanswered_attempts(&mut cut, ten);
        let mut never = backoff(7, false);
        let seldom = unanswered_attempts(&mut never, ten);
        assert!(seldom * 5 < often * 3, "{often} attempts, {seldom} before it ever worked");
        assert!(often < 40, "{often} attempts in ten seconds");
        // Whoever says no is there: to ask a server that restarts brings it back no sooner.
        cut.again();
        assert_eq!((0..10).map(|_| cut.again().after).max().map(|it| it > QUICK), Some(true));
        unanswered_attempts(&mut cut, 12 * ten);
        let late = unanswered_attempts(&mut cut, ten);
        assert!(late <= seldom + 3, "{late} attempts after two minutes, {seldom} usually");
    }

    #[test]
    fn a_quick_attempt_has_a_few_round_trips_and_every_fourth_all_its_time() {
        for (ms, wanted) in [(1, 200), (80, 320), (300, 1000)] {
            let mut cut = backoff(7, false);
            cut.ended(true, Some(Duration::from_millis(ms)));
            let within = [(); 8].map(|()| {
                cut.unanswered();
                cut.again().connect_within
            });
            let whole = within.iter().filter(|it| **it == USUAL).count();
            assert_eq!(within.iter().min(), Some(&Duration::from_millis(wanted)), "{ms} ms");
            assert!(ms == 300 || whole == 2, "{ms} ms: {whole} of 8");
        }
    }
}
