//! Whether a record can be what became of an ask.
//!
//! An ask whose way to the leader was lost is looked for in the history by its session and xid. The
//! xid is the client's own choice, and an earlier ask with the same one may have been refused: then
//! the record is another one's, and its answer does not fit. What has the same content does fit:
//! which of two equal asks a record came from makes no difference to anybody.

use super::super::submission::Ask;
use super::Pending;
use crate::prepare::part::multi_part;
use crate::txn::{MultiTxn, Txn};
use crate::wire::Request;
use crate::wire::request::{CreateRequest, MultiRequest};

pub(super) fn fits(ask: &Pending, txn: &Txn<'_>) -> bool {
    match ask.item.ask {
        Ask::Open { .. } => matches!(txn, Txn::CreateSession { .. }),
        Ask::Write(op) => Request::decode(op, &ask.body).is_ok_and(|it| is_of(&it, txn)),
        Ask::Sync | Ask::Resume { .. } | Ask::Ephemerals | Ask::Left => false,
    }
}

fn is_of(request: &Request<'_>, txn: &Txn<'_>) -> bool {
    match *txn {
        Txn::Error(_) => true,
        Txn::Create(made) => {
            let like = |asked: &CreateRequest<'_>| {
                made.path.starts_with(asked.path) && made.data == asked.data
            };
            matches!(
                request,
                Request::Create(asked)
                | Request::Create2(asked)
                | Request::CreateContainer(asked)
                | Request::CreateTtl(asked) if like(asked)
            )
        }
        Txn::Delete { path } => matches!(request, Request::Delete(it) if it.path == path),
        Txn::SetData { path, data, .. } => {
            matches!(request, Request::SetData(it) if it.path == path && it.data == data)
        }
        Txn::SetAcl { path, .. } => matches!(request, Request::SetAcl(it) if it.path == path),
        Txn::Check { path } => matches!(request, Request::Check(it) if it.path == path),
        Txn::Multi(made) => matches!(request, Request::Multi(it) if is_of_multi(it, &made)),
        Txn::CloseSession => matches!(request, Request::CloseSession),
        Txn::CreateSession { .. } => false,
    }
}

fn is_of_multi(asked: &MultiRequest<'_>, made: &MultiTxn<'_>) -> bool {
    let mut parts = made.iter();
    let mut asked = asked.parts();
    let all = asked.all(|part| {
        let Ok(part) = part else { return false };
        multi_part(&part).is_some() && parts.next().is_some_and(|made| is_of(&part, &made))
    });
    all && parts.next().is_none()
}
