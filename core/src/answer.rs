//! What the reply to a write looks like, known from the request and filled from the transaction.
//!
//! ```text
//! request ─► Answer ┄┄(kept while the write is outstanding)┄┄► encode(txn, stats) ─► body
//! ```
//!
//! The server that read the request keeps the answer, leader or not; the transaction that comes back
//! carries what was decided.

use std::sync::Arc;

use crate::prepare::part::multi_part;
use crate::txn::{MultiTxn, Txn};
use crate::wire::jute::Writer;
use crate::wire::request::MultiHeader;
use crate::wire::{ErrorCode, OpCode, Request, Stat};

#[cfg(test)]
mod tests;

/// The shape of a write's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing behind the header.
    HeaderOnly,
    /// The path that was created.
    Path,
    /// The path that was created and its Stat.
    PathAndStat,
    /// The Stat behind the change.
    Stat,
    /// A result for each part. Counted, and not a `Box`: dropping that looks at its length, and an
    /// optimizer may look before it knows that there is one, which memory checkers complain of.
    Multi(Arc<[PartKind]>),
}

/// The shape of one part's result inside a multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// The path.
    Create,
    /// Path and Stat, for every other kind of create.
    Create2,
    /// Nothing.
    Delete,
    /// The Stat.
    SetData,
    /// Nothing.
    Check,
}

impl PartKind {
    const fn op(self) -> OpCode {
        match self {
            Self::Create => OpCode::Create,
            Self::Create2 => OpCode::Create2,
            Self::Delete => OpCode::Delete,
            Self::SetData => OpCode::SetData,
            Self::Check => OpCode::Check,
        }
    }
}

impl Answer {
    /// The answer that `request` will get when it succeeds.
    pub fn for_request(request: &Request<'_>) -> Self {
        match request {
            Request::Create(_) => Self::Path,
            Request::Create2(_) | Request::CreateContainer(_) | Request::CreateTtl(_) => {
                Self::PathAndStat
            }
            Request::SetData(_) | Request::SetAcl(_) => Self::Stat,
            Request::Multi(multi) => {
                // One that does not decode is refused by the leader, with a header only.
                let kinds = multi.parts().map(|part| multi_part(&part.ok()?).map(|(_, kind)| kind));
                kinds.collect::<Option<_>>().map_or(Self::HeaderOnly, Self::Multi)
            }
            Request::Delete(_)
            | Request::Exists(_)
            | Request::GetData(_)
            | Request::GetAcl { .. }
            | Request::GetChildren(_)
            | Request::GetChildren2(_)
            | Request::Sync { .. }
            | Request::Ping
            | Request::Check(_)
            | Request::MultiRead(_)
            | Request::Reconfig(_)
            | Request::CheckWatches(_)
            | Request::RemoveWatches(_)
            | Request::Auth(_)
            | Request::SetWatches(_)
            | Request::SetWatches2(_)
            | Request::Sasl { .. }
            | Request::GetEphemerals { .. }
            | Request::GetAllChildrenNumber { .. }
            | Request::AddWatch(_)
            | Request::WhoAmI
            | Request::CloseSession
            | Request::DeleteContainer { .. }
            | Request::CreateSession { .. } => Self::HeaderOnly,
        }
    }

    /// Appends the body that follows the reply's header and returns the header's error. `stats` are
    /// those that applying `txn` produced: one for each create, setData and setACL, in order.
    ///
    /// Panics when `txn` does not come from the request that this answers.
    pub fn encode(&self, txn: &Txn<'_>, stats: &[Stat], out: &mut Vec<u8>) -> ErrorCode {
        if let Txn::Error(code) = *txn {
            return code;
        }
        let mut w = Writer::new(out);
        match self {
            Self::HeaderOnly => {}
            Self::Path => w.string(created_path(txn)),
            Self::PathAndStat => {
                w.string(created_path(txn));
                stats[0].encode(&mut w);
            }
            Self::Stat => stats[0].encode(&mut w),
            Self::Multi(kinds) => {
                let Txn::Multi(multi) = txn else {
                    panic!("a multi is answered from {txn:?}");
                };
                encode_multi(kinds, multi, stats, &mut w);
            }
        }
        ErrorCode::Ok
    }
}

fn created_path<'a>(txn: &Txn<'a>) -> &'a [u8] {
    let Txn::Create(create) = txn else {
        panic!("a create is answered from {txn:?}");
    };
    create.path
}

fn encode_multi(kinds: &[PartKind], multi: &MultiTxn<'_>, stats: &[Stat], w: &mut Writer<'_>) {
    let mut stats = stats.iter();
    let mut stat = || stats.next().expect("a Stat for each change");
    let mut answered = 0;
    for (kind, part) in kinds.iter().zip(multi.iter()) {
        answered += 1;
        if let Txn::Error(code) = part {
            let code = code.code();
            MultiHeader { kind: -1, done: false, err: code }.encode(w);
            w.int(code);
            continue;
        }
        MultiHeader { kind: kind.op().code(), done: false, err: 0 }.encode(w);
        match kind {
            PartKind::Create => {
                w.string(created_path(&part));
                let _not_asked_for = stat();
            }
            PartKind::Create2 => {
                w.string(created_path(&part));
                stat().encode(w);
            }
            PartKind::SetData => stat().encode(w),
            PartKind::Delete | PartKind::Check => {}
        }
    }
    assert!(answered == kinds.len(), "a multi has as many results as parts");
    MultiHeader::END.encode(w);
}
