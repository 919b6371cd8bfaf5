//! Where nothing goes wrong, a session whose client is there and speaks is never ended for its silence,
//! whichever server it is connected to. Source: ZooKeeper's session semantics.

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

/// `leader` ends a session though its client was connected and heard for `well_us` without a break.
pub fn check(
    witness: &mut Witness,
    leader: usize,
    session: SessionId,
    well_us: u64,
    timeout_ms: i32,
) {
    if timeout_ms as u64 * 1_500 + SPARE_US < well_us {
        let text = format!(
            "server {leader} ends {session} of {timeout_ms} ms, whose client is well for {well_us} µs"
        );
        witness.violate("the_living_stay", text);
    }
}

/// Servers report at intervals, and their clocks differ.
const SPARE_US: u64 = 1_000_000;
