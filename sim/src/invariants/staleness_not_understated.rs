//! What a server shows is no older than it says: not in simulated time, and by the history as it was
//! committed. What it says leaves out what docs/observers.md names, and nothing else: how long the word
//! that it counts from was on its way, by how much whoever said it has the slower clock, and since when
//! whoever leads the way was replaced.

use crate::witness::Witness;

/// `server` says that it was current `told_us` ago, in whole milliseconds of its own clock, as a word
/// says that is too late by `late_us`. The oldest record that it has not applied was committed `missing_us`
/// ago.
pub fn check(witness: &mut Witness, server: usize, told_us: u64, late_us: u64, missing_us: u64) {
    if told_us + late_us < missing_us {
        let text = format!(
            "server {server} says that it was current {told_us} µs ago, counts from a word that was \
             late by {late_us} µs, and lacks what was committed {missing_us} µs ago"
        );
        witness.violate("staleness_not_understated", text);
    }
}
