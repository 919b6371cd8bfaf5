//! One 64-bit hash, the same on every platform and in every build.
//!
//! Sixteen bytes a step: `state = mix(a ^ key, b ^ state)`, where `mix` folds a 128-bit product. The
//! index of the tree hands in a secret seed, which also makes the key: without it a client could
//! choose names that all land in one place. The digest of the tree hands in a fixed seed, and its
//! value is stored in snapshots and compared between servers: a change here is a format change.

const S0: u64 = 0xa076_1d64_78bd_642f;
const S1: u64 = 0xe703_7ed1_a0b4_28db;
const S2: u64 = 0x8ebc_6af0_9c88_c6e3;
const S3: u64 = 0x5899_65cc_7537_4cc3;

/// Folds the 128-bit product of `a` and `b`.
pub(super) const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// The last `count` bytes as a number, at most 8. Read as one word that ends where they do, and begins with
/// what lies before: copied, their number would have to be looked at byte by byte.
fn tail(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk::<8>() {
        _nothing if count == 0 => 0,
        Some(word) => u64::from_le_bytes(*word) >> (64 - 8 * count),
        None => bytes[bytes.len() - count..]
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The hash of `bytes` under `seed`.
pub(super) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let length = bytes.len() as u64;
    let key = mix(seed ^ S0, S1) ^ S1;
    let mut state = seed ^ mix(seed ^ S2, length ^ S3);
    let (chunks, rest) = bytes.as_chunks::<16>();
    for chunk in chunks {
        state = mix(tail(&chunk[..8], 8) ^ key, tail(chunk, 8) ^ state);
    }
    let (low, high) = match rest.len().checked_sub(8) {
        Some(high) => (tail(&rest[..8], 8), tail(bytes, high)),
        None => (tail(bytes, rest.len()), 0),
    };
    state = mix(low ^ key, high ^ state ^ S3);
    mix(state ^ S2, length ^ key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_in_every_build() {
        let found = [
            hash(b"", 0),
            hash(b"/", 0),
            hash(b"/zookeeper/config", 0),
            hash(b"/app/0001/node-0000001", 0x1234_5678_9abc_def0),
        ];
        // From an independent implementation of the description above.
        let golden: [u64; 4] = [
            0x70d9_a7cf_a174_2e5b,
            0x14c4_07e4_8e0e_72bb,
            0x5044_c57c_7d84_7910,
            0xbe62_d09a_a953_b33c,
        ];
        assert_eq!(found, golden, "{found:#018x?}");
    }

    #[test]
    fn a_tail_is_its_bytes_whatever_lies_before() {
        let bytes: Vec<u8> = (1..=40).map(|number: u8| number.wrapping_mul(151)).collect();
        for length in 0..bytes.len() {
            for count in 0..=length.min(8) {
                let mut word = [0; 8];
                word[..count].copy_from_slice(&bytes[length - count..length]);
                assert_eq!(tail(&bytes[..length], count), u64::from_le_bytes(word));
            }
        }
    }

    #[test]
    fn numbered_names_spread_over_all_bits() {
        let names = 4096_u32;
        let mut ones = [0_u32; 64];
        let mut seen = std::collections::BTreeSet::new();
        for name in 0..names {
            let value = hash(format!("/app/node-{name:010}").as_bytes(), 7);
            seen.insert(value);
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (value >> bit) as u32 & 1;
            }
        }
        assert_eq!(seen.len(), names as usize);
        for (bit, count) in ones.into_iter().enumerate() {
            assert!((names * 4 / 10..names * 6 / 10).contains(&count), "bit {bit}: {count} ones");
        }
    }
}
