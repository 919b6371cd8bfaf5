//! The links between servers: delay, loss, doubling, reordering, cuts of every shape, and on far ones a rate.
//!
//! ```text
//! said ─► waits for what was said before ─► first byte ─► … at the link's rate … ─► last byte: it has arrived
//! ```

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
    narrow: BTreeMap<(usize, usize), Narrow>,
}

/// A link that carries no more than so much.
#[derive(Clone, Copy, Debug)]
struct Narrow {
    /// Bytes a second.
    rate: u64,
    /// When all that was said has left, microseconds.
    free_at: u64,
    /// How often its connection was lost, and what was on its way with it.
    breaks: u64,
}

/// A message on its way.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// When its first byte arrives, microseconds.
    pub begins_at: u64,
    /// When it is there: never, once or twice.
    pub arrives_at: Vec<u64>,
    /// It is lost when [`Network::breaks`] says something else by then.
    pub breaks: u64,
}

impl Network {
    pub fn new(weather: Weather) -> Self {
        Self {
            weather,
            cut: BTreeMap::new(),
            slow: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            narrow: BTreeMap::new(),
        }
    }

    /// What two servers say to each other takes time for each of its bytes, at `rate` of them a second in each
    /// direction.
    pub fn narrow(&mut self, one: usize, other: usize, rate: u64) {
        let narrow = Narrow { rate, free_at: 0, breaks: 0 };
        self.narrow.extend([((one, other), narrow), ((other, one), narrow)]);
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to), ());
        self.break_off((from, to));
    }

    /// A process is gone, and its connections with it.
    pub fn end(&mut self, server: usize) {
        let links: Vec<_> = self.narrow.keys().copied().collect();
        for link in links.into_iter().filter(|link| link.0 == server || link.1 == server) {
            self.break_off(link);
        }
    }

    /// On a link with a rate what is on its way may be for long; it is lost with the connection.
    fn break_off(&mut self, link: (usize, usize)) {
        if let Some(narrow) = self.narrow.get_mut(&link) {
            (narrow.free_at, narrow.breaks) = (0, narrow.breaks + 1);
            self.busy_until.remove(&link);
        }
    }

    /// How often a link with a rate has lost what was on its way; 0 for others, which lose nothing so.
    pub fn breaks(&self, link: (usize, usize)) -> u64 {
        self.narrow.get(&link).map_or(0, |narrow| narrow.breaks)
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

    /// The way of a message of so many bytes that is sent now.
    pub fn send(&mut self, now: u64, link: (usize, usize), bytes: u64, prng: &mut Prng) -> Way {
        let weather = self.weather;
        if self.cut.contains_key(&link) || prng.one_in(weather.loss) {
            return Way::default();
        }
        let (begins, leaves, breaks) = match self.narrow.get_mut(&link) {
            None => (now, now, 0),
            Some(narrow) => {
                let begins = narrow.free_at.max(now);
                narrow.free_at = begins + bytes * 1_000_000 / narrow.rate;
                (begins, narrow.free_at, narrow.breaks)
            }
        };
        let slow = self.slow.get(&link).copied().unwrap_or(0);
        let delay = weather.delay_us + slow + prng.below(weather.jitter_us + 1);
        let (begins_at, mut at) = (begins + delay, leaves + delay);
        if prng.one_in(weather.reordering) {
            at += prng.below(20 * weather.jitter_us + 1);
        } else {
            let busy = self.busy_until.entry(link).or_insert(0);
            at = at.max(*busy + 1);
            *busy = at;
        }
        let mut arrives_at = vec![at];
        if prng.one_in(weather.doubling) {
            arrives_at.push(at + prng.below(50_000));
        }
        Way { begins_at, arrives_at, breaks }
    }
}
