//! PrimaryIntegrity: a leader that begins to broadcast has everything that was ever committed in
//! an older epoch. Source: ZooKeeper's `Zab.tla`.

use farwatch_core::zab::run::Position;
use farwatch_core::zxid::Epoch;

use crate::disk::Disk;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, epoch: Epoch, disk: &Disk) {
    let Some(&(last, _)) = witness.history.iter().rfind(|(at, _)| at.zxid.epoch() < epoch) else {
        return;
    };
    let has =
        |at: Position| at.zxid <= disk.base.zxid || disk.log.iter().any(|record| record.at == at);
    if !has(last) {
        let text = format!(
            "server {server} leads epoch {epoch} with a history up to {:?} that lacks {:?}",
            disk.end().zxid,
            last.zxid
        );
        witness.violate("primary_integrity", text);
    }
}
