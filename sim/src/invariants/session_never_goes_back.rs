//! No session goes back in time: the zxids it is shown never fall, on one connection or over several,
//! whatever server they lead to; and nothing is shown that is not committed.
//! Source: ZooKeeper's guarantee of a single system image.

use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// A reply or a pong shows `zxid`; its connection has shown `replied` and its session `seen`.
pub fn check(witness: &mut Witness, client: usize, replied: Zxid, seen: Zxid, zxid: Zxid) {
    if zxid < replied || zxid < seen {
        let text = format!("client {client} has seen {replied} and {seen} and is shown {zxid}");
        return witness.violate("session_never_goes_back", text);
    }
    let committed = witness.committed();
    if committed < zxid {
        let text = format!("client {client} is shown {zxid}; committed is {committed}");
        witness.violate("only_committed_is_shown", text);
    }
}
