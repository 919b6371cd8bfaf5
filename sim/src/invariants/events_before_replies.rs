//! An event comes before any reply that shows its change.
//! Source: ZooKeeper's guarantee that a client sees the event before the new data.

use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// The connection has shown `replied`, and now tells of a change.
pub fn check(witness: &mut Witness, client: usize, replied: Zxid, (path, zxid): (&[u8], Zxid)) {
    if zxid <= replied {
        let path = String::from_utf8_lossy(path);
        let text = format!("client {client} was shown {replied}, then told of {path} at {zxid}");
        witness.violate("events_before_replies", text);
    }
}
