//! What a session asked becomes records once at most, in the order in which it was asked; of what one
//! connection asked, a prefix. Whatever became of connections, leaders and servers in between.
//! Source: ZooKeeper's guarantee of FIFO client order, and this project's promise that a write is done
//! once although its way to the leader is lost.

use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::wire::OpCode;
use farwatch_core::zxid::SessionId;

use crate::reactor::ConnectionId;
use crate::witness::Witness;

/// A write that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    xid: i32,
    connection: ConnectionId,
    op: OpCode,
}

impl Sent {
    pub const fn xid(&self) -> i32 {
        self.xid
    }
}

/// A client of `session` sends a write.
pub fn sent(
    witness: &mut Witness,
    session: SessionId,
    xid: i32,
    connection: ConnectionId,
    op: OpCode,
) {
    witness.sent.entry(session).or_default().push_back(Sent { xid, connection, op });
}

/// This becomes a part of the history.
pub fn check(witness: &mut Witness, head: &TxnHead, txn: &Txn<'_>) {
    let (session, xid) = (head.session, head.cxid);
    if xid <= 0 || matches!(txn, Txn::CreateSession { .. }) {
        return;
    }
    // What is left of a session that is over may come late, and changes nothing.
    let over = witness.model.sessions.get(&session).is_some_and(|lease| lease.ended.is_some());
    if over && changes_nothing(txn) {
        return;
    }
    if let Some(&last) = witness.model.last_xid.get(&session)
        && xid <= last
    {
        let text = format!("{session} asked {xid}, which is done at {} behind {last}", head.zxid);
        let property = if xid == last { "done_once" } else { "done_in_order" };
        return witness.violate(property, text);
    }
    let Some(sent) = witness.sent.get_mut(&session) else { return };
    let this = sent.iter().find(|sent| sent.xid == xid).copied();
    // The end of a session is done also when its connection is gone with all that it asked.
    let Some(this) = this.filter(|this| this.op != OpCode::CloseSession) else { return };
    witness.last_done.insert(session, (this.connection, head.zxid.epoch()));
    let mut skipped = Vec::new();
    while let Some(before) = sent.pop_front_if(|sent| sent.xid <= xid) {
        if before.xid < xid && before.connection == this.connection {
            skipped.push((before.xid, before.op));
        }
    }
    // Without room on its disk a leader refuses what it is asked, and then has room again.
    if !skipped.is_empty() && !witness.disks_filled {
        let text = format!("{session} asked {skipped:?} before {xid}, which alone was done");
        witness.violate("done_in_order", text);
    }
}

/// Whether it only says that something failed, alone or as a multi that failed as a whole.
fn changes_nothing(txn: &Txn<'_>) -> bool {
    match txn {
        Txn::Error(_) => true,
        Txn::Multi(parts) => parts.iter().all(|part| matches!(part, Txn::Error(_))),
        Txn::CreateSession { .. }
        | Txn::CloseSession
        | Txn::Create(_)
        | Txn::Delete { .. }
        | Txn::SetData { .. }
        | Txn::SetAcl { .. }
        | Txn::Check { .. } => false,
    }
}
