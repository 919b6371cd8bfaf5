//! When to dial whom: a shuffled list, and full jitter between rounds.

/// First bound of the wait after every server was tried in vain, milliseconds.
pub const BACKOFF_MS_MIN: u64 = 100;

/// Largest bound of the wait, milliseconds. Sessions of the default timeout survive several rounds.
pub const BACKOFF_MS_MAX: u64 = 10_000;

/// Bound of the wait after a working connection broke, milliseconds: spreads the clients of a
/// server that went away, and is short against any session timeout.
pub const RECONNECT_JITTER_MS_MAX: u64 = 50;

/// A small generator (SplitMix64); its quality is far beyond what jitter needs.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// The same seed gives the same sequence.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..=max`, up to a bias that jitter does not notice.
    pub fn up_to(&mut self, max: u64) -> u64 {
        if max == u64::MAX { self.next_u64() } else { self.next_u64() % (max + 1) }
    }
}

/// Which server of the connect string is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerChoice {
    /// Any, so that clients spread over the servers; after a loss the next one. As ZooKeeper's clients do.
    #[default]
    Random,
    /// The first that is named and serves, also after a loss.
    Order,
    /// The one that answers first, and back to a nearer one: see [`crate::Options::server_choice`].
    Nearest,
}

/// The order in which servers are tried and the waits between the tries.
#[derive(Clone, Debug)]
pub struct Rotation {
    order: Vec<usize>,
    choice: ServerChoice,
    next: usize,
    failures: u32,
    prng: Prng,
}

impl Rotation {
    /// Orders `servers` indexes by `choice`, and at random by `seed`.
    pub fn new(servers: usize, seed: u64, choice: ServerChoice) -> Self {
        assert!(0 < servers);
        let mut prng = Prng::new(seed);
        let mut order: Vec<usize> = (0..servers).collect();
        if choice != ServerChoice::Order {
            for i in (1..servers).rev() {
                order.swap(i, prng.up_to(i as u64) as usize);
            }
        }
        Self { order, choice, next: 0, failures: 0, prng }
    }

    /// The server to try now; each call moves on to the next.
    pub fn take(&mut self) -> usize {
        let server = self.order[self.next];
        self.next = (self.next + 1) % self.order.len();
        server
    }

    /// Makes `server` the first of the order, and the next one to try.
    pub fn prefer(&mut self, server: usize) {
        assert!(server < self.order.len());
        self.order.retain(|other| *other != server);
        self.order.insert(0, server);
        self.next = 0;
    }

    /// Whether the last try was the first of a round over all servers.
    pub fn has_begun_round(&self) -> bool {
        self.next == 1 % self.order.len()
    }

    /// A try failed. Returns how long to wait, milliseconds: nothing within a round over all
    /// servers, then a random part of a bound that doubles with each round, up to an eighth of the session's
    /// `timeout_ms`: a pause must not be what a session ends by.
    pub fn failed(&mut self, timeout_ms: u64) -> u64 {
        self.failures = self.failures.saturating_add(1);
        let servers = self.order.len() as u32;
        if !self.failures.is_multiple_of(servers) {
            return 0;
        }
        let rounds = self.failures / servers;
        let most = (timeout_ms / 8).clamp(BACKOFF_MS_MIN, BACKOFF_MS_MAX);
        let bound = BACKOFF_MS_MIN.saturating_mul(1 << rounds.min(20)).min(most);
        self.prng.up_to(bound)
    }

    /// A session was established: the next failure begins a new first round.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A working connection broke. Returns how long to wait, milliseconds.
    pub fn lost(&mut self) -> u64 {
        if self.choice != ServerChoice::Random {
            self.next = 0;
        }
        self.prng.up_to(RECONNECT_JITTER_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_tried_once_before_any_wait() {
        for seed in 0..50 {
            let mut rotation = Rotation::new(5, seed, ServerChoice::Random);
            let mut seen = Vec::new();
            for tried in 1..=5 {
                seen.push(rotation.take());
                let wait_ms = rotation.failed(80_000);
                assert!(tried == 5 || wait_ms == 0, "seed {seed}");
                assert!(wait_ms <= 2 * BACKOFF_MS_MIN, "seed {seed}");
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4], "seed {seed}");
        }
    }

    #[test]
    fn waits_stay_below_their_bound_and_use_all_of_it() {
        let mut rotation = Rotation::new(1, 7, ServerChoice::Random);
        let waits: Vec<u64> = (0..200).map(|_| rotation.failed(80_000)).collect();
        assert!(waits.iter().all(|&wait_ms| wait_ms <= BACKOFF_MS_MAX));
        assert!(waits[20..].iter().any(|&wait_ms| wait_ms < BACKOFF_MS_MAX / 10));
        assert!(waits[20..].iter().any(|&wait_ms| BACKOFF_MS_MAX * 9 / 10 < wait_ms));
        rotation.succeeded();
        assert!(rotation.failed(80_000) <= 2 * BACKOFF_MS_MIN);
    }

    #[test]
    fn different_seeds_spread_clients_over_the_servers() {
        let mut first = [0; 3];
        for seed in 0..300 {
            first[Rotation::new(3, seed, ServerChoice::Random).take()] += 1;
        }
        assert!(first.iter().all(|&clients| 60 < clients), "{first:?}");
    }

    #[test]
    fn an_order_begins_again_at_its_first_server_when_a_connection_breaks() {
        let mut rotation = Rotation::new(3, 7, ServerChoice::Order);
        assert_eq!([rotation.take(), rotation.take()], [0, 1]);
        rotation.lost();
        assert_eq!(rotation.take(), 0);
        rotation.prefer(2);
        assert_eq!(rotation.take(), 2);
        assert!(rotation.has_begun_round());
        assert_eq!([rotation.take(), rotation.take()], [0, 1]);
        assert!(!rotation.has_begun_round());
        let mut rotation = Rotation::new(3, 7, ServerChoice::Random);
        let first = rotation.take();
        rotation.lost();
        assert_ne!(rotation.take(), first);
    }
}
