//! Randomness from one seed: splitmix64, which is enough to choose operations and the same
//! everywhere and for ever.

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        assert!(0 < count);
        let count = u64::try_from(count).expect("usize is at most 64 bits");
        usize::try_from(self.next() % count).expect("below a usize")
    }

    /// True in `percent` of 100 cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One of `choices`, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(usize, T)]) -> T {
        let mut left = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for &(weight, choice) in choices {
            if left < weight {
                return choice;
            }
            left -= weight;
        }
        unreachable!("the remainder is below the sum of the weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_stream_for_ever() {
        // The published first outputs of splitmix64 for the seed 1234567.
        let mut prng = Prng::new(1_234_567);
        let first = [prng.next(), prng.next(), prng.next()];
        let wanted =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, wanted);
    }

    #[test]
    fn a_weight_of_nothing_is_never_chosen() {
        let mut prng = Prng::new(1);
        assert!((0..1_000).all(|_| prng.weighted(&[(1, 'a'), (0, 'b'), (3, 'c')]) != 'b'));
    }
}
