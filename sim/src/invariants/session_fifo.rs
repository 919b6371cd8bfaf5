//! A connection's requests are answered in the order in which they were asked.
//! Source: ZooKeeper's guarantee of FIFO client order.

use crate::witness::Witness;

/// The client waits for `first` and is answered `xid`.
pub fn check(witness: &mut Witness, client: usize, first: Option<i32>, xid: i32) {
    if first != Some(xid) {
        let text = format!("client {client} waits for {first:?} and is answered {xid}");
        witness.violate("session_fifo", text);
    }
}
