//! A leader commits in broadcast only: what it found in its log counts when a quorum has the whole
//! of it in the new epoch, never record by record before.
//! Source: Zab's synchronisation; Raft's figure 8 is the same bug elsewhere.

use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// `server`, which leads or is about to, committed up to here.
pub fn check(witness: &mut Witness, server: usize, established: bool, upto: Zxid) {
    if !established {
        let text = format!("server {server} commits {upto:?} before its epoch is established");
        witness.violate("commits_when_established", text);
    }
}
