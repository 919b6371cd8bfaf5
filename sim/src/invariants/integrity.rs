//! Integrity: what is applied was proposed, by the leader of its epoch, and once.
//! Source: ZooKeeper's `Zab.tla`.

use crate::disk::Entry;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, entry: Entry) {
    let proposed = witness.proposed.get(&entry.zxid).copied();
    let leader = witness.leaders.get(&entry.zxid.epoch()).copied();
    let whole = proposed
        .is_some_and(|(proposer, command)| command == entry.command && leader == Some(proposer));
    if !whole {
        let text = format!("server {server} applied {entry:?}; proposed was {proposed:?}");
        witness.violate("integrity", text);
    }
}
