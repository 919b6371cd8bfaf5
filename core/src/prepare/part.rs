//! Requests and parts of multis as one thing: a change to decide.
//!
//! Alone, the operation decides what a create makes and the flags only add a suffix; inside a multi
//! the flags decide. Both tables are here, so that behind them there is one kind of create.

use crate::answer::PartKind;
use crate::limits::TTL_MS_MAX;
use crate::wire::request::{CreateRequest, PathVersion, SetAclRequest, SetDataRequest};
use crate::wire::{ErrorCode, OpCode, Request};

/// What keeps the node that a create makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Persistent,
    Ephemeral,
    Container,
    /// For so many milliseconds; not yet checked whether this server has such nodes.
    Ttl(i64),
}

/// What a create makes, and whether its name gets a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) keep: Keep,
    pub(crate) sequential: bool,
}

/// One change to decide.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Create(CreateRequest<'a>, Result<Mode, ErrorCode>),
    Delete(PathVersion<'a>),
    SetData(SetDataRequest<'a>),
    SetAcl(SetAclRequest<'a>),
    Check(PathVersion<'a>),
}

/// The mode of a create that stands alone. Whether TTL nodes exist here is known to the caller.
pub(crate) fn single_mode(op: OpCode, request: &CreateRequest<'_>) -> Result<Mode, ErrorCode> {
    let sequential = matches!(request.flags, 2 | 3 | 6);
    if !(0..=6).contains(&request.flags) {
        return Err(ErrorCode::BadArguments);
    }
    let is_ttl = matches!(request.flags, 5 | 6);
    let keep = if op == OpCode::CreateTtl && is_ttl {
        Keep::Ttl(request.ttl)
    } else if is_ttl {
        // Without a time to live of its own such a create is refused, but only where TTL nodes
        // exist: elsewhere they are refused first, which an impossible time leaves to the check.
        Keep::Ttl(-1)
    } else if op == OpCode::CreateTtl {
        // ZooKeeper logs this with a negative time to live and then stops at it for ever.
        return Err(ErrorCode::BadArguments);
    } else if op == OpCode::CreateContainer {
        Keep::Container
    } else {
        plain_keep(request.flags)
    };
    Ok(Mode { keep, sequential })
}

/// Whether a write would make an ephemeral node, alone or in a multi, if nothing else is wrong with it.
/// A body that does not decode makes nothing.
pub(crate) fn wants_ephemeral(op: OpCode, body: &[u8]) -> bool {
    let is_ephemeral = |part: &Part<'_>| match part {
        Part::Create(_, Ok(mode)) => mode.keep == Keep::Ephemeral,
        Part::Create(_, Err(_))
        | Part::Delete(_)
        | Part::SetData(_)
        | Part::SetAcl(_)
        | Part::Check(_) => false,
    };
    match Request::decode(op, body) {
        Ok(Request::Multi(multi)) => multi.parts().any(|part| {
            part.ok()
                .and_then(|part| multi_part(&part))
                .is_some_and(|(part, _)| is_ephemeral(&part))
        }),
        Ok(Request::Create(create) | Request::Create2(create) | Request::CreateTtl(create)) => {
            is_ephemeral(&Part::Create(create, single_mode(op, &create)))
        }
        Ok(_) | Err(_) => false,
    }
}

/// A part of a multi with the shape of its result, or `None` when a multi may not hold it: then the
/// whole request is answered MARSHALLINGERROR.
pub(crate) fn multi_part<'a>(request: &Request<'a>) -> Option<(Part<'a>, PartKind)> {
    match *request {
        Request::Create(create) => multi_create(OpCode::Create, create),
        Request::Create2(create) => multi_create(OpCode::Create2, create),
        Request::CreateContainer(create) => multi_create(OpCode::CreateContainer, create),
        Request::CreateTtl(create) => multi_create(OpCode::CreateTtl, create),
        Request::Delete(delete) => Some((Part::Delete(delete), PartKind::Delete)),
        Request::SetData(set) => Some((Part::SetData(set), PartKind::SetData)),
        Request::Check(check) => Some((Part::Check(check), PartKind::Check)),
        Request::Exists(_)
        | Request::GetData(_)
        | Request::GetAcl { .. }
        | Request::SetAcl(_)
        | Request::GetChildren(_)
        | Request::GetChildren2(_)
        | Request::Sync { .. }
        | Request::Ping
        | Request::Multi(_)
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
        | Request::CreateSession { .. } => None,
    }
}

fn multi_create(op: OpCode, request: CreateRequest<'_>) -> Option<(Part<'_>, PartKind)> {
    request.acl?; // Null is refused with the whole multi; alone it would be INVALIDACL.
    let sequential = matches!(request.flags, 2 | 3 | 6);
    let (keep, kind) = match (op, request.flags) {
        (OpCode::CreateContainer, 0..=4) => (Keep::Container, PartKind::Create2),
        (OpCode::Create | OpCode::Create2 | OpCode::CreateTtl, 4) => {
            (Keep::Container, PartKind::Create2)
        }
        (OpCode::Create2, 0..=3) => (plain_keep(request.flags), PartKind::Create2),
        (OpCode::Create | OpCode::CreateTtl, 0..=3) => {
            (plain_keep(request.flags), PartKind::Create)
        }
        (OpCode::CreateTtl, 5 | 6) => (Keep::Ttl(request.ttl), PartKind::Create2),
        (OpCode::CreateTtl, _unknown_flags) => {
            return Some((Part::Create(request, Err(ErrorCode::BadArguments)), PartKind::Create2));
        }
        (_not_for_ttl, _flags) => return None,
    };
    Some((Part::Create(request, Ok(Mode { keep, sequential })), kind))
}

const fn plain_keep(flags: i32) -> Keep {
    if matches!(flags, 1 | 3) { Keep::Ephemeral } else { Keep::Persistent }
}

impl Mode {
    /// The mode if this server makes such nodes and the time to live is possible.
    pub(crate) fn check(self, extended_types: bool) -> Result<Self, ErrorCode> {
        match self.keep {
            Keep::Ttl(_) if !extended_types => Err(ErrorCode::Unimplemented),
            Keep::Ttl(ms) if !(1..=TTL_MS_MAX).contains(&ms) => Err(ErrorCode::BadArguments),
            Keep::Ttl(_) | Keep::Persistent | Keep::Ephemeral | Keep::Container => Ok(self),
        }
    }
}
