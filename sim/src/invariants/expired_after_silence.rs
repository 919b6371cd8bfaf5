//! A leader ends a session only when nobody has spoken for it for as long as its timeout, by the
//! leader's own clock. Source: ZooKeeper's session semantics.

use std::collections::BTreeMap;

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

/// `leader` proposes the end of a silent session at `now_ms` of its clock; `heard` says when its own
/// connections were last heard from.
pub fn check(
    witness: &mut Witness,
    leader: usize,
    session: SessionId,
    now_ms: i64,
    heard: &BTreeMap<SessionId, i64>,
) {
    let Some(lease) = witness.model.sessions.get(&session) else { return };
    let Some(&heard_ms) = heard.get(&session) else { return };
    let (silent_ms, timeout_ms) = (now_ms - heard_ms, lease.timeout_ms);
    if silent_ms < i64::from(timeout_ms) {
        let text =
            format!("server {leader} ends {session}, silent for {silent_ms} ms of {timeout_ms} ms");
        witness.violate("expired_after_silence", text);
    }
}
