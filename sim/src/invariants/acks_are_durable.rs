//! What a server says is durable, is durable on its own disk at that moment: no acknowledgement
//! before the sync, none of what was cut meanwhile, no answer before the epoch is saved.
//! Source: ZOOKEEPER-4646 and 4712; "no ack before fsync" is what ZooKeeper's specifications leave out.

use farwatch_core::zab::message::ToLeader;

use crate::disk::Disk;
use crate::witness::Witness;

/// `server` says this to its leader.
pub fn check(witness: &mut Witness, server: usize, body: &ToLeader, disk: &Disk) {
    let (durable, epochs) = (disk.durable_end().zxid, disk.epochs);
    let holds = match *body {
        ToLeader::Ack(upto) => upto <= durable,
        ToLeader::Synced(epoch) => epoch <= epochs.current,
        ToLeader::Promised { epoch, counted, .. } => !counted || epoch <= epochs.accepted,
        ToLeader::Have(_)
        | ToLeader::SnapshotStored(_)
        | ToLeader::Pong(_)
        | ToLeader::Ahead(_)
        | ToLeader::Request(_)
        | ToLeader::Relayed(_) => true,
    };
    if !holds {
        let text = format!("server {server} says {body:?} with {durable:?} and {epochs:?} durable");
        witness.violate("acks_are_durable", text);
    }
}
