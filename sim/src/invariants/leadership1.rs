//! Leadership1: two leaders in synchronisation or broadcast with the same epoch are one server.
//! Source: ZooKeeper's `Zab.tla`.

use farwatch_core::zxid::Epoch;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, epoch: Epoch) {
    match witness.leaders.get(&epoch) {
        Some(&other) if other != server => {
            let text = format!("servers {other} and {server} both lead epoch {epoch}");
            witness.violate("leadership1", text);
        }
        Some(_) => {}
        None => {
            witness.leaders.insert(epoch, server);
        }
    }
}
