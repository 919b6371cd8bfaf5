//! Who is told that its session is over can rely on it: it was ended, or its end was proposed.
//! Source: ZooKeeper's session semantics; an application gives up its locks on this word.

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, client: usize, session: SessionId) {
    let ended = witness.model.sessions.get(&session).is_some_and(|lease| lease.ended.is_some());
    if !ended && !witness.ending.contains(&session) {
        let text = format!("client {client} is told that {session} is over, and nobody ended it");
        witness.violate("expired_is_true", text);
    }
}
