//! Randomness that a seed decides: the machines hold one that is handed to them, and no other.

/// A small generator (SplitMix64): every seed is good, and the whole state is one word.
#[derive(Clone, Debug)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// A generator whose numbers `seed` decides.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, all 64 bits of it.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`. Panics when `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        // The multiplication spreads 64 random bits over the bound; its bias is below 2^-32 for
        // every bound that is used here.
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range");
        low + self.below(high - low + 1)
    }

    /// True once in `bound` times on average, never when `bound` is 0.
    pub const fn one_in(&mut self, bound: u64) -> bool {
        bound > 0 && self.below(bound) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_every_number_and_bounds_hold() {
        let (mut a, mut b) = (Prng::new(7), Prng::new(7));
        let mut seen = [0_u32; 10];
        for _ in 0..1_000 {
            let number = a.between(3, 12);
            assert_eq!(number, b.between(3, 12));
            seen[number as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
        assert!(!a.one_in(0));
    }
}
