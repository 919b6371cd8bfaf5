//! What a server shows is no older than it says: not in simulated time, and by the history as it was
//! committed. What it says leaves out what docs/observers.md names, and nothing else: how long the word
//! that it counts from was on its way, how old what it had not been sent by then was, and since when
//! whoever leads the way was replaced.

use crate::witness::Witness;

/// Clocks are looked at with each tick of 10 ms only, and their rates differ by up to a quarter: those of
/// the server, of the one that it learns from, and of that one's.
const SPARE_US: u64 = 50_000;

/// `server` says that it was current `told_us` ago, as a word says that is too late by `late_us`. The
/// oldest record that it has not applied was committed `missing_us` ago.
pub fn check(witness: &mut Witness, server: usize, told_us: u64, late_us: u64, missing_us: u64) {
    // What another one counted is told in that one's time.
    if told_us + told_us / 4 + late_us + SPARE_US < missing_us {
        let text = format!(
            "server {server} says that it was current {told_us} µs ago, counts from a word that was \
             late by {late_us} µs, and lacks what was committed {missing_us} µs ago"
        );
        witness.violate("staleness_not_understated", text);
    }
}
