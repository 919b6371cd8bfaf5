//! TotalOrder: each server applies in the order of the one history, from its beginning.
//! Source: ZooKeeper's `Zab.tla`.

use crate::witness::Witness;

/// `server` applied an entry as number `index`, when `known` entries were known to the world.
pub fn check(witness: &mut Witness, server: usize, index: usize) {
    let known = witness.history.len();
    if index > known {
        let text = format!("server {server} applied number {index} before {known} was applied");
        witness.violate("total_order", text);
    }
}
