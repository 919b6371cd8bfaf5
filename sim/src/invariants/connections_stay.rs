//! A server that has a leader hangs up on no connection that its session still counts on: not when
//! the leader changes, and not for an older connection of the same session. What is in doubt then is
//! found in the history or asked again, and the client never notices. Source: this project's promise
//! (docs/zab.md, "What servers ask of their leader"); ZooKeeper ends every connection.

use farwatch_core::zxid::SessionId;

use crate::client::{Client, Link};
use crate::reactor::ConnectionId;
use crate::witness::Witness;

/// `server`, which has a leader, hangs up on the connection that it gave the session to.
pub fn check(
    witness: &mut Witness,
    server: usize,
    client: &Client,
    (session, connection): (SessionId, ConnectionId),
) {
    let current = matches!(client.link, Link::Open(id, _) if id == connection)
        && client.session.is_some_and(|it| it.0 == session);
    // A handshake that the client gave up may yet be answered, and is then the newer one.
    let newest = current && !client.left_handshake;
    let over = witness.model.sessions.get(&session).is_some_and(|lease| lease.ended.is_some());
    if newest && !over && !old_write_was_done(witness, session, connection) {
        let text =
            format!("server {server} hangs up on {session}, whose client is connected there");
        witness.violate("connections_stay", text);
    }
}

/// Whether the last that the session did was asked on an older connection, and is of a later epoch than that in
/// which its client was given the present one: then a leader did it who had not heard of the move (the open finding
/// of docs/zab.md), and the server that applies it cannot know that its client has not moved once more.
pub fn old_write_was_done(witness: &Witness, session: SessionId, connection: ConnectionId) -> bool {
    let given = witness.given_in.get(&connection);
    given
        .zip(witness.last_done.get(&session))
        .is_some_and(|(given, (asked_on, done))| *asked_on < connection && given < done)
}
