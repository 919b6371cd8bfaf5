//! An ephemeral node is made by a session that lives, and no server has one whose session is over.
//! Source: ZooKeeper's ephemeral nodes: locks and memberships rest on them.

use farwatch_core::txn::{NodeKind, Txn};
use farwatch_core::zxid::{SessionId, Zxid};

use crate::witness::Witness;

/// A part of the history at `zxid` makes this change.
pub fn check(witness: &mut Witness, zxid: Zxid, txn: &Txn<'_>) {
    let Txn::Create(create) = txn else { return };
    let NodeKind::Ephemeral(owner) = create.kind else { return };
    let lives = witness.model.sessions.get(&owner).is_some_and(|lease| lease.ended.is_none());
    if !lives {
        let path = String::from_utf8_lossy(create.path);
        let text = format!("{path} was made at {zxid} for {owner}, which does not live");
        witness.violate("ephemerals_live_with_sessions", text);
    }
}

/// `server` has this ephemeral node in the end.
pub fn check_owner(witness: &mut Witness, server: usize, path: &[u8], owner: SessionId) {
    let lives = witness.model.sessions.get(&owner).is_some_and(|lease| lease.ended.is_none());
    if owner != SessionId::NONE && !lives {
        let path = String::from_utf8_lossy(path);
        let text = format!("server {server} has {path} of {owner}, which is over");
        witness.violate("ephemerals_live_with_sessions", text);
    }
}
