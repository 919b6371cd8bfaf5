//! Who is told that its session is over can rely on it: it was ended, or its end was proposed.
//! A local session is over for who presents it elsewhere, and then stays so: no record of the same
//! epoch begins it any more. Another leader does not know what the one before it said.
//! Source: ZooKeeper's session semantics; an application gives up its locks on this word.

use farwatch_core::zxid::{Epoch, SessionId, Zxid};

use crate::witness::Witness;

/// A client hears that its session is over, from a server of this epoch.
pub fn heard(witness: &mut Witness, session: SessionId, epoch: Epoch) {
    witness.told_over.insert(session, epoch);
}

/// A record begins the session.
pub fn begun(witness: &mut Witness, session: SessionId, at: Zxid) {
    if witness.told_over.get(&session) == Some(&at.epoch()) {
        let text =
            format!("{session} begins at {at}, and its client was told before that it is over");
        witness.violate("expired_is_true", text);
    }
}

pub fn check(witness: &mut Witness, client: usize, session: SessionId) {
    let ended = witness.model.sessions.get(&session).is_some_and(|lease| lease.ended.is_some());
    if !ended && !witness.ending.contains(&session) {
        let text = format!("client {client} is told that {session} is over, and nobody ended it");
        witness.violate("expired_is_true", text);
    }
}
