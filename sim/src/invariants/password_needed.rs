//! Nobody goes on with a session without its secret. Source: ZooKeeper's session semantics.

use farwatch_core::zxid::SessionId;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, client: usize, session: SessionId, intrudes: bool) {
    if intrudes {
        let text = format!("client {client} was given {session} without knowing its secret");
        witness.violate("password_needed", text);
    }
}
