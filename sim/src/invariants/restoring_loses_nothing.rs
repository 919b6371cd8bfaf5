//! A snapshot replaces no history by less: what is committed and durable on a disk is there afterwards,
//! in the snapshot if not in the log. Otherwise the server may have acknowledged it to a leader that
//! counted it. Source: Agreement of ZooKeeper's TLA+ specifications.

use farwatch_core::zab::run::Position;

use crate::disk::Disk;
use crate::witness::Witness;

/// The log of `server` was durable up to `held`, and was replaced just now.
pub fn check(witness: &mut Witness, server: usize, held: Position, disk: &Disk) {
    let place = witness.history.partition_point(|(at, _)| at.zxid < held.zxid);
    let committed = witness.history.get(place).is_some_and(|&(at, _)| at == held);
    if committed && !disk.holds(held) {
        let (held, left) = (held.zxid, disk.end().zxid);
        let text = format!("server {server} had {held:?}, and a snapshot leaves {left:?}");
        witness.violate("restoring_loses_nothing", text);
    }
}
