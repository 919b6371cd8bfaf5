//! A local session takes no record, and no word to the leader, to begin, to be heard from, to move to
//! another connection and to end; what it writes, and nothing else of it, leaves its server. It becomes
//! everybody's with a record of its own only where its server upgrades, for the ephemeral node that
//! comes right behind; from when its client has asked for that, its liveness may be told. Source:
//! docs/guarantees.md.

use std::collections::BTreeSet;

use farwatch_core::session::LocalSessions;
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::zxid::SessionId;

use crate::service::Service;
use crate::witness::Witness;

/// A server with these sessions of its own tells its leader of those.
pub fn told(witness: &mut Witness, server: usize, own: &BTreeSet<SessionId>, told: &[SessionId]) {
    let may = |session: &SessionId| witness.wants_ephemeral.contains(session);
    if let Some(session) = told.iter().find(|it| own.contains(it) && !may(it)) {
        let text = format!("server {server} tells its leader of {session}, which is its own");
        witness.violate("local_sessions_cost_nothing", text);
    }
}

/// This becomes a part of the history; `services` are the servers'.
pub fn recorded(witness: &mut Witness, head: &TxnHead, txn: &Txn<'_>, services: &[Service]) {
    let (session, zxid) = (head.session, head.zxid);
    if let Some((upgraded, at)) = witness.upgraded.take()
        && at.epoch() == zxid.epoch()
        && (session != upgraded || head.cxid <= 0)
    {
        let text = format!("{upgraded} was made global at {at}, and no node of its own follows");
        witness.violate("local_sessions_cost_nothing", text);
    }
    let wrong = match txn {
        Txn::CreateSession { .. } => {
            let home = services.get((session.0 >> 56) as usize - 1);
            match home.map_or(LocalSessions::Off, |home| home.local_sessions) {
                LocalSessions::Off => return,
                LocalSessions::On => Some("it is its server's own for ever"),
                LocalSessions::Upgrading if !witness.wants_ephemeral.contains(&session) => {
                    Some("it wants no ephemeral node")
                }
                LocalSessions::Upgrading => {
                    witness.upgraded = Some((session, zxid));
                    None
                }
            }
        }
        Txn::CloseSession if !witness.model.sessions.contains_key(&session) => {
            Some("no record began it")
        }
        _other => None,
    };
    if let Some(wrong) = wrong {
        let text = format!("a record of {session} at {zxid}: {wrong}");
        witness.violate("local_sessions_cost_nothing", text);
    }
}
