//! A server whose durable current epoch is e has, durably, the history with which e was founded.
//! Source: ZOOKEEPER-3911, 4643, 4646, 4785: each was the epoch on disk before the history.

use crate::disk::Disk;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, disk: &Disk) {
    let epoch = disk.epochs.current;
    let Some(&founded) = witness.founded.get(&epoch) else { return };
    if !disk.holds(founded) {
        let text = format!(
            "server {server} is in epoch {epoch}, which was founded at {:?}, with only {:?} durable",
            founded.zxid,
            disk.durable_end().zxid
        );
        witness.violate("epoch_after_history", text);
    }
}
