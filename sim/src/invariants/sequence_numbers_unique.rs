//! A name that a sequential create gave is never given again.
//! Source: ZooKeeper's sequential nodes: queues and locks rest on them.

use farwatch_core::txn::Txn;
use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// A part of the history at `zxid` makes this change.
pub fn check(witness: &mut Witness, zxid: Zxid, txn: &Txn<'_>) {
    let Txn::Create(create) = txn else { return };
    if create.path.starts_with(b"/q/") && witness.model.ever_held(create.path) {
        let path = String::from_utf8_lossy(create.path);
        witness.violate("sequence_numbers_unique", format!("{path} was given again at {zxid}"));
    }
}
