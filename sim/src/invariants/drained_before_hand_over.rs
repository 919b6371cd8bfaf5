//! Whoever is told to take over has, durably, everything that the old leader ever proposed: a planned
//! hand-over loses no write, not even one that nobody was answered.
//! Source: this project's promise about planned hand-overs.

use farwatch_core::zab::run::Position;

use crate::disk::Disk;
use crate::witness::Witness;

/// `leader`, whose log ends at `log`, hands over to the server with this disk.
pub fn check(witness: &mut Witness, leader: usize, log: Position, successor: &Disk) {
    // A disk that was lost since it was acknowledged is a fault that no leader can see.
    if !successor.holds(log) && !successor.rejoining {
        let (log, has) = (log.zxid, successor.durable_end().zxid);
        let text = format!("server {leader} hands over at {log:?} to one that has {has:?} durable");
        witness.violate("drained_before_hand_over", text);
    }
}
