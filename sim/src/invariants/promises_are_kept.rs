//! The epochs on a disk never go back, and the current one never passes the accepted one.
//! Source: ZOOKEEPER-2307.

use farwatch_core::log::epochs::Epochs;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, now: Epochs) {
    let before = witness.epochs.insert(server, now).unwrap_or_default();
    if now.accepted < before.accepted || now.current < before.current || now.accepted < now.current
    {
        let text = format!("epochs of server {server} went from {before:?} to {now:?}");
        witness.violate("promises_are_kept", text);
    }
}
