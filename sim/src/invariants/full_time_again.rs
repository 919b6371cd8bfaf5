//! A leader ends a session for its silence only when it has led for as long as the session's timeout:
//! nobody knows when another leader heard from it last, so each has its full time again. Source:
//! ZooKeeper's session tracker, which a new leader begins anew.

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

/// `leader` proposes the end of a silent session after leading for `led_ms` of its clock.
pub fn check(witness: &mut Witness, leader: usize, session: SessionId, led_ms: i64) {
    let Some(lease) = witness.model.sessions.get(&session) else { return };
    let timeout_ms = lease.timeout_ms;
    if led_ms < i64::from(timeout_ms) {
        let text =
            format!("server {leader} leads for {led_ms} ms and ends {session} of {timeout_ms} ms");
        witness.violate("full_time_again", text);
    }
}
