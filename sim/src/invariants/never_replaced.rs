//! Who comes back with a session goes on with that one or is told that it is over: nobody is given another
//! one unseen, whatever became of it meanwhile. Source: this project's promise (docs/guarantees.md).

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

/// A client that presented a session, if it had one, is given `session`.
pub fn check(
    witness: &mut Witness,
    client: usize,
    presented: Option<SessionId>,
    session: SessionId,
) {
    if let Some(presented) = presented
        && presented != session
    {
        let text = format!("client {client} comes back with {presented} and is given {session}");
        witness.violate("never_replaced", text);
    }
}
