//! When a leader is established, its epoch is current on the disks of a quorum: a server that was
//! told about it cannot forget it in a crash. Source: ZOOKEEPER-4643, 4785.

use farwatch_core::zxid::Epoch;

use crate::server::Server;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, epoch: Epoch, servers: &[Server]) {
    let voters = servers.iter().filter(|server| server.votes).count();
    let current = servers
        .iter()
        .filter(|s| s.votes && (epoch <= s.disk.epochs.current || s.disk.rejoining))
        .count();
    if current * 2 <= voters {
        let text = format!("server {server} leads epoch {epoch}, current on {current} of {voters}");
        witness.violate("epoch_on_quorum", text);
    }
}
