//! What servers answer, owned.

use farwatch_core::acl::{AclList, Identity, Perms};
use farwatch_core::wire::jute::{DecodeError, Reader};
use farwatch_core::wire::request::MultiHeader;
use farwatch_core::wire::{ErrorCode, OpCode, Stat};

use crate::operation::{Acl, MultiResult, ReadResult, strip_chroot};

/// The successful answer to an [`Operation`](crate::Operation).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the answer of the operations that `Client` documents")]
pub enum Outcome {
    Created {
        path: String,
        stat: Stat,
    },
    /// delete, sync, watches, authentication, close: nothing but success.
    Done,
    /// exists, set data, set ACL.
    Stat(Stat),
    Data {
        data: Option<Vec<u8>>,
        stat: Stat,
    },
    Acl {
        acl: Vec<Acl>,
        stat: Stat,
    },
    Children {
        names: Vec<String>,
        stat: Stat,
    },
    /// A transaction that was applied.
    Multi(Vec<MultiResult>),
    /// A transaction that was refused: place and code of the operation that failed.
    MultiRefused {
        index: usize,
        code: ErrorCode,
    },
    MultiRead(Vec<ReadResult>),
    Ephemerals(Vec<String>),
    Count(i32),
    Identities(Vec<Identity>),
}

impl Outcome {
    /// Reads the body of the reply to `op`.
    pub(crate) fn decode(
        op: OpCode,
        r: &mut Reader<'_>,
        chroot: &str,
    ) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::Created { path: path(r, chroot)?, stat: Stat::decode(r)? }
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Self::Stat(Stat::decode(r)?),
            OpCode::GetData | OpCode::Reconfig => {
                Self::Data { data: r.buffer()?.map(<[u8]>::to_vec), stat: Stat::decode(r)? }
            }
            OpCode::GetAcl => Self::Acl { acl: acl(r)?, stat: Stat::decode(r)? },
            OpCode::GetChildren2 => Self::Children { names: strings(r)?, stat: Stat::decode(r)? },
            OpCode::Multi => multi(r, chroot)?,
            OpCode::MultiRead => Self::MultiRead(multi_read(r)?),
            OpCode::GetEphemerals => Self::Ephemerals(
                strings(r)?
                    .iter()
                    .filter_map(|path| strip_chroot(chroot, path).map(str::to_owned))
                    .collect(),
            ),
            OpCode::GetAllChildrenNumber => Self::Count(r.int()?),
            OpCode::WhoAmI => Self::Identities(identities(r)?),
            OpCode::Delete
            | OpCode::Sync
            | OpCode::Ping
            | OpCode::Check
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::AddWatch
            | OpCode::Auth
            | OpCode::CloseSession
            | OpCode::SetWatches
            | OpCode::SetWatches2 => Self::Done,
            OpCode::Create
            | OpCode::GetChildren
            | OpCode::DeleteContainer
            | OpCode::Sasl
            | OpCode::CreateSession => unreachable!("this client never sends {op:?}"),
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(r: &mut Reader<'_>, chroot: &str) -> Result<String, DecodeError> {
    let full = text(r.string()?);
    Ok(strip_chroot(chroot, &full).unwrap_or(&full).to_owned())
}

fn strings(r: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(r.strings()?.into_iter().flatten().map(text).collect())
}

fn acl(r: &mut Reader<'_>) -> Result<Vec<Acl>, DecodeError> {
    let Some(list) = AclList::decode(r)? else {
        return Ok(Vec::new());
    };
    let entry = |entry: farwatch_core::acl::AclEntry<'_>| Acl {
        perms: Perms(entry.perms.0),
        scheme: text(entry.scheme.unwrap_or_default()),
        id: text(entry.id.unwrap_or_default()),
    };
    Ok(list.entries().map(entry).collect())
}

fn identities(r: &mut Reader<'_>) -> Result<Vec<Identity>, DecodeError> {
    let count = r.count()?.unwrap_or(0);
    let mut identities = Vec::new();
    for _ in 0..count {
        let scheme = text(r.string()?);
        identities.push(Identity { scheme, id: text(r.buffer()?.unwrap_or_default()) });
    }
    Ok(identities)
}

/// Reads result headers up to the end; `part` reads what follows each.
fn results(
    r: &mut Reader<'_>,
    mut part: impl FnMut(&mut Reader<'_>, MultiHeader) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    loop {
        let header = MultiHeader::decode(r)?;
        if header.done {
            return Ok(());
        }
        part(r, header)?;
    }
}

fn error_code(r: &mut Reader<'_>) -> Result<ErrorCode, DecodeError> {
    let code = r.int()?;
    ErrorCode::from_code(code).ok_or(DecodeError::UnknownValue(code))
}

fn multi(r: &mut Reader<'_>, chroot: &str) -> Result<Outcome, DecodeError> {
    let mut applied = Vec::new();
    let mut index = 0;
    let mut refused = None;
    results(r, |r, header| {
        if header.kind == -1 {
            let code = error_code(r)?;
            // Before the operation that failed stands Ok, behind it RuntimeInconsistency.
            if refused.is_none() && code != ErrorCode::Ok {
                refused = Some((index, code));
            }
            index += 1;
            return Ok(());
        }
        index += 1;
        let op = OpCode::from_code(header.kind).ok_or(DecodeError::UnknownValue(header.kind))?;
        applied.push(match op {
            OpCode::Create => MultiResult::Created { path: path(r, chroot)?, stat: None },
            OpCode::Create2 => {
                MultiResult::Created { path: path(r, chroot)?, stat: Some(Stat::decode(r)?) }
            }
            OpCode::Delete => MultiResult::Deleted,
            OpCode::SetData => MultiResult::Set { stat: Stat::decode(r)? },
            OpCode::Check => MultiResult::Checked,
            _never_in_a_multi => return Err(DecodeError::UnknownValue(header.kind)),
        });
        Ok(())
    })?;
    Ok(match refused {
        Some((index, code)) => Outcome::MultiRefused { index, code },
        None => Outcome::Multi(applied),
    })
}

fn multi_read(r: &mut Reader<'_>) -> Result<Vec<ReadResult>, DecodeError> {
    let mut reads = Vec::new();
    results(r, |r, header| {
        reads.push(match OpCode::from_code(header.kind) {
            Some(OpCode::GetData) => {
                ReadResult::Data { data: r.buffer()?.map(<[u8]>::to_vec), stat: Stat::decode(r)? }
            }
            Some(OpCode::GetChildren) => ReadResult::Children { names: strings(r)? },
            _error if header.kind == -1 => ReadResult::Refused(error_code(r)?),
            _never_in_a_multi_read => return Err(DecodeError::UnknownValue(header.kind)),
        });
        Ok(())
    })?;
    Ok(reads)
}
