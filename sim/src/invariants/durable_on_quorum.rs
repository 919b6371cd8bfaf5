//! What is committed is durable on a quorum of voters at that moment, each in the epoch of it:
//! `committed ≤ durable on a quorum`. A record whose holder is in an older epoch does not count: a
//! candidate without the record would win over that holder. A voter whose disk was taken away counts
//! as having it until it votes again; that is the fault it stands for.

use farwatch_core::zab::run::Position;

use crate::server::Server;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, at: Position, servers: &[Server]) {
    let voters = servers.iter().filter(|server| server.votes).count();
    let holding = servers
        .iter()
        .filter(|s| {
            let current = at.zxid.epoch() <= s.disk.epochs.current;
            s.votes && ((s.disk.holds(at) && current) || s.disk.rejoining)
        })
        .count();
    if holding * 2 <= voters {
        let text = format!(
            "server {server} committed {:?}, which {holding} of {voters} voters have",
            at.zxid
        );
        witness.violate("durable_on_quorum", text);
    }
}
