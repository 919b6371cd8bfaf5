//! A session whose client is well, at a server that does not vote, outlives a cut between that server
//! and its leader by its timeout and the grace. Source: docs/observers.md, "The leader's side".

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

/// Ticks are coarse, and touches are held back.
const SPARE_MS: i64 = 150;

/// A leader ends a session of a client that is well, whose server last asked or told it something
/// `silent_ms` of its clock ago.
pub fn check(
    witness: &mut Witness,
    (leader, server): (usize, usize),
    session: SessionId,
    silent_ms: i64,
    lives_ms: i64,
) {
    if silent_ms + SPARE_MS < lives_ms {
        let text = format!(
            "server {leader} ends {session}, whose client is well at server {server}, {silent_ms} ms \
             after that was last heard: it lives for {lives_ms}"
        );
        witness.violate("cut_spares_sessions", text);
    }
}
