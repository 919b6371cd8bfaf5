//! Leadership2: an epoch is established once at most, by one server.
//! Source: ZooKeeper's `Zab.tla`.

use farwatch_core::zxid::Epoch;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, epoch: Epoch) {
    if let Some(other) = witness.established.insert(epoch, server) {
        let text = format!("epoch {epoch} was established by {other} and then by {server}");
        witness.violate("leadership2", text);
    }
}
