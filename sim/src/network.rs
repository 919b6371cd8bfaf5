//! The links between servers: delay, loss, doubling, reordering, and cuts of every shape.

use std::collections::BTreeMap;

use farwatch_core::prng::Prng;

/// What the links do to messages, as "one in so many" (0: never) and microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_us: u64,
    pub jitter_us: u64,
    pub loss: u64,
    pub doubling: u64,
    pub reordering: u64,
}

impl Weather {
    /// A good network.
    pub const CLEAR: Self =
        Self { delay_us: 200, jitter_us: 300, loss: 0, doubling: 0, reordering: 0 };
}

#[derive(Clone, Debug)]
pub struct Network {
    pub weather: Weather,
    /// Messages from the first to the second do not arrive.
    cut: BTreeMap<(usize, usize), ()>,
    slow: BTreeMap<(usize, usize), u64>,
    /// When the last message of a link arrives: links are first in, first out.
    busy_until: BTreeMap<(usize, usize), u64>,
}

impl Network {
    pub fn new(weather: Weather) -> Self {
        Self { weather, cut: BTreeMap::new(), slow: BTreeMap::new(), busy_until: BTreeMap::new() }
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to), ());
    }

    pub fn slow(&mut self, from: usize, to: usize, delay_us: u64) {
        self.slow.insert((from, to), delay_us);
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains_key(&(from, to))
    }

    /// When a message sent now arrives: never, once or twice.
    pub fn arrivals(&mut self, now: u64, link: (usize, usize), prng: &mut Prng) -> Vec<u64> {
        let weather = self.weather;
        if self.cut.contains_key(&link) || prng.one_in(weather.loss) {
            return Vec::new();
        }
        let slow = self.slow.get(&link).copied().unwrap_or(0);
        let delay = weather.delay_us + slow + prng.below(weather.jitter_us + 1);
        let mut at = now + delay;
        if prng.one_in(weather.reordering) {
            at += prng.below(20 * weather.jitter_us + 1);
        } else {
            let busy = self.busy_until.entry(link).or_insert(0);
            at = at.max(*busy + 1);
            *busy = at;
        }
        let mut arrivals = vec![at];
        if prng.one_in(weather.doubling) {
            arrivals.push(at + prng.below(50_000));
        }
        arrivals
    }
}
