//! Agreement: of what two servers applied, one has all that the other has. With one history, this
//! is that no zxid that is in it is passed over by anybody.
//! Source: ZooKeeper's `Zab.tla`.

use crate::disk::Logged;
use crate::witness::Witness;

/// `server` has applied `state`, all of it.
pub fn check(witness: &mut Witness, server: usize, state: &[Logged]) {
    let upto = state.last().map(|record| record.at.zxid);
    let due = witness.history.partition_point(|(at, _)| Some(at.zxid) <= upto);
    if due != state.len() {
        let text = format!("server {server} applied {} up to {upto:?}, not {due}", state.len());
        witness.violate("agreement", text);
    }
}
