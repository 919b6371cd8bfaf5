//! A leader that hears no quorum for twice the limit leads no more.
//! Source: this project's promise that a leader cut off alone answers nobody.

use crate::witness::Witness;

/// `server` leads, and has heard fewer than a quorum for `ticks` of at most `limit`.
pub fn check(witness: &mut Witness, server: usize, ticks: u64, limit: u64) {
    if ticks > 2 * limit {
        let text = format!("server {server} leads and hears no quorum for {ticks} ticks");
        witness.violate("leaders_have_a_quorum", text);
    }
}
