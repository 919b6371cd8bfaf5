//! What a caller can ask, owned, and how it becomes a request behind the chroot.

use farwatch_core::acl::{AclEntry, AclList, Perms};
use farwatch_core::limits::TTL_MS_MAX;
use farwatch_core::path::{PathError, ZnodePath};
use farwatch_core::wire::jute::Writer;
use farwatch_core::wire::request::{
    AddWatchRequest, CreateRequest, MultiHeader, MultiRequest, PathKind, PathVersion, PathWatch,
    ReconfigRequest, Request, SetAclRequest, SetDataRequest,
};
use farwatch_core::wire::{ErrorCode, OpCode};

use crate::error::ClientError;
use crate::watch_set::{Effect, WatchTable};

/// Any version matches.
pub const ANY_VERSION: i32 = -1;

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// What is granted.
    pub perms: Perms,
    /// `world`, `auth`, `digest`, `ip`, `x509`, …
    pub scheme: String,
    /// Who, in the scheme's own form.
    pub id: String,
}

impl Acl {
    /// An entry.
    pub fn new(perms: Perms, scheme: &str, id: &str) -> Self {
        Self { perms, scheme: scheme.to_owned(), id: id.to_owned() }
    }

    /// Everything for everyone: ZooKeeper's `OPEN_ACL_UNSAFE`.
    pub fn open() -> Vec<Self> {
        vec![Self::new(Perms::ALL, "world", "anyone")]
    }

    /// Everything for whoever this connection is authenticated as: `CREATOR_ALL_ACL`.
    pub fn creator_all() -> Vec<Self> {
        vec![Self::new(Perms::ALL, "auth", "")]
    }

    /// Reading for everyone: `READ_ACL_UNSAFE`.
    pub fn read_only() -> Vec<Self> {
        vec![Self::new(Perms::READ, "world", "anyone")]
    }
}

/// How a node lives and is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Until it is deleted.
    Persistent,
    /// Until it is deleted or its session ends.
    Ephemeral,
    /// Persistent; the server appends a counter of ten digits.
    PersistentSequential,
    /// Ephemeral; the server appends a counter of ten digits.
    EphemeralSequential,
    /// The server removes it some time after its last child is gone.
    Container,
    /// The server removes it when it has no children and was not set for `ttl_ms`.
    PersistentWithTtl {
        /// Milliseconds, from 1 to 2^40 - 1.
        ttl_ms: u64,
    },
    /// As `PersistentWithTtl`; the server appends a counter of ten digits.
    PersistentSequentialWithTtl {
        /// Milliseconds, from 1 to 2^40 - 1.
        ttl_ms: u64,
    },
}

impl CreateMode {
    fn flags(self) -> i32 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral => 1,
            Self::PersistentSequential => 2,
            Self::EphemeralSequential => 3,
            Self::Container => 4,
            Self::PersistentWithTtl { .. } => 5,
            Self::PersistentSequentialWithTtl { .. } => 6,
        }
    }

    fn op(self) -> OpCode {
        match self {
            Self::Persistent
            | Self::Ephemeral
            | Self::PersistentSequential
            | Self::EphemeralSequential => OpCode::Create2,
            Self::Container => OpCode::CreateContainer,
            Self::PersistentWithTtl { .. } | Self::PersistentSequentialWithTtl { .. } => {
                OpCode::CreateTtl
            }
        }
    }

    fn ttl(self) -> i64 {
        match self {
            Self::PersistentWithTtl { ttl_ms } | Self::PersistentSequentialWithTtl { ttl_ms } => {
                // Beyond the limit the server answers BADARGUMENTS; wrapping would hide that.
                i64::try_from(ttl_ms).unwrap_or(TTL_MS_MAX + 1)
            }
            Self::Persistent
            | Self::Ephemeral
            | Self::PersistentSequential
            | Self::EphemeralSequential
            | Self::Container => -1,
        }
    }

    fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential
                | Self::EphemeralSequential
                | Self::PersistentSequentialWithTtl { .. }
        )
    }
}

/// How a watch of `add_watch` behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddWatchMode {
    /// Every event of the node itself and of its list of children.
    Persistent,
    /// Creation, deletion and data of the node and everything below.
    PersistentRecursive,
}

/// Which watches to check for or to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum WatchKind {
    /// One-shot watches of `children`.
    Children = 1,
    /// One-shot watches of `get` and `exists`.
    Data = 2,
    /// All of them, the persistent ones included.
    Any = 3,
    /// Those of [`AddWatchMode::Persistent`]; servers know it since 3.9.
    Persistent = 4,
    /// Those of [`AddWatchMode::PersistentRecursive`]; servers know it since 3.9.
    PersistentRecursive = 5,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the operations of the same names")]
pub enum MultiOp {
    Create {
        path: String,
        data: Option<Vec<u8>>,
        acl: Vec<Acl>,
        mode: CreateMode,
    },
    Delete {
        path: String,
        version: i32,
    },
    SetData {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    /// Fails the transaction unless the node exists with this version (or any).
    Check {
        path: String,
        version: i32,
    },
}

/// One read of several that see one state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the operations of the same names")]
pub enum ReadOp {
    GetData { path: String },
    GetChildren { path: String },
}

/// A request. Paths are relative to the chroot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`Client` documents each operation at its method")]
pub enum Operation {
    Create {
        path: String,
        data: Option<Vec<u8>>,
        acl: Vec<Acl>,
        mode: CreateMode,
    },
    Delete {
        path: String,
        version: i32,
    },
    Exists {
        path: String,
        watch: bool,
    },
    GetData {
        path: String,
        watch: bool,
    },
    SetData {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    GetAcl {
        path: String,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    GetChildren {
        path: String,
        watch: bool,
    },
    Sync {
        path: String,
    },
    Multi(Vec<MultiOp>),
    MultiRead(Vec<ReadOp>),
    /// The configuration node, which lies outside of any chroot.
    GetConfig {
        watch: bool,
    },
    Reconfig {
        joining: Option<String>,
        leaving: Option<String>,
        members: Option<String>,
        version: i64,
    },
    CheckWatches {
        path: String,
        kind: WatchKind,
    },
    RemoveWatches {
        path: String,
        kind: WatchKind,
    },
    AddWatch {
        path: String,
        mode: AddWatchMode,
    },
    GetEphemerals {
        prefix: String,
    },
    GetAllChildrenNumber {
        path: String,
    },
    WhoAmI,
    AddAuth {
        scheme: String,
        auth: Vec<u8>,
    },
}

/// Where the ensemble's configuration stands.
pub const CONFIG_PATH: &str = "/zookeeper/config";

/// An operation ready to be sent under any xid.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) op: OpCode,
    pub(crate) body: Vec<u8>,
    pub(crate) effect: Effect,
    /// The transaction whose state a read must show at the oldest; 0 is any.
    pub(crate) at_least: i64,
}

impl Operation {
    /// Whether a lost answer leaves its caller in doubt about what the servers have.
    pub fn changes_state(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::Delete { .. }
                | Self::SetData { .. }
                | Self::SetAcl { .. }
                | Self::Multi(_)
                | Self::Reconfig { .. }
                | Self::AddAuth { .. }
        )
    }

    /// Checks the paths, puts them behind `chroot` and encodes the body.
    pub(crate) fn prepare(&self, chroot: &str) -> Result<Prepared, ClientError> {
        let mut body = Vec::new();
        let mut effect = Effect::None;
        let op = match self {
            Self::Create { path, data, acl, mode } => {
                encode_create(chroot, path, data.as_deref(), acl, *mode, None, &mut body)?
            }
            Self::Delete { path, version } => {
                let path = &full_path(chroot, path)?;
                put(Request::Delete(path_version(path, *version)), &mut body)
            }
            Self::Exists { path, watch } => {
                let path = full_path(chroot, path)?;
                let op = put(Request::Exists(path_watch(&path, *watch)), &mut body);
                effect = Effect::arm(*watch, WatchTable::Exist, path);
                op
            }
            Self::GetData { path, watch } => {
                let path = full_path(chroot, path)?;
                let op = put(Request::GetData(path_watch(&path, *watch)), &mut body);
                effect = Effect::arm(*watch, WatchTable::Data, path);
                op
            }
            Self::GetConfig { watch } => {
                effect = Effect::arm(*watch, WatchTable::Data, CONFIG_PATH.to_owned());
                put(Request::GetData(path_watch(CONFIG_PATH, *watch)), &mut body)
            }
            Self::GetChildren { path, watch } => {
                let path = full_path(chroot, path)?;
                let op = put(Request::GetChildren2(path_watch(&path, *watch)), &mut body);
                effect = Effect::arm(*watch, WatchTable::Child, path);
                op
            }
            Self::SetData { path, data, version } => {
                let path = &full_path(chroot, path)?;
                put(set_data(path, data.as_deref(), *version), &mut body)
            }
            Self::GetAcl { path } => {
                let path = &full_path(chroot, path)?;
                put(Request::GetAcl { path: path.as_bytes() }, &mut body)
            }
            Self::SetAcl { path, acl, version } => {
                let path = full_path(chroot, path)?;
                let list = encode_acl(acl);
                let acl = Some(acl_list(&list));
                let request = SetAclRequest { path: path.as_bytes(), acl, version: *version };
                put(Request::SetAcl(request), &mut body)
            }
            Self::Sync { path } => {
                let path = &full_path(chroot, path)?;
                put(Request::Sync { path: Some(path.as_bytes()) }, &mut body)
            }
            Self::Multi(ops) => {
                let parts = &encode_multi(chroot, ops)?;
                put(Request::Multi(MultiRequest { body: parts }), &mut body)
            }
            Self::MultiRead(ops) => {
                let parts = &encode_reads(chroot, ops)?;
                put(Request::MultiRead(MultiRequest { body: parts }), &mut body)
            }
            Self::Reconfig { joining, leaving, members, version } => {
                let request = ReconfigRequest {
                    joining: joining.as_deref().map(str::as_bytes),
                    leaving: leaving.as_deref().map(str::as_bytes),
                    members: members.as_deref().map(str::as_bytes),
                    config_version: *version,
                };
                put(Request::Reconfig(request), &mut body)
            }
            Self::CheckWatches { path, kind } => {
                let path = &full_path(chroot, path)?;
                put(Request::CheckWatches(path_kind(path, *kind)), &mut body)
            }
            Self::RemoveWatches { path, kind } => {
                let path = full_path(chroot, path)?;
                let op = put(Request::RemoveWatches(path_kind(&path, *kind)), &mut body);
                effect = Effect::Disarm(*kind, path);
                op
            }
            Self::AddWatch { path, mode } => {
                let path = full_path(chroot, path)?;
                let (mode, table) = match mode {
                    AddWatchMode::Persistent => (0, WatchTable::Persistent),
                    AddWatchMode::PersistentRecursive => (1, WatchTable::Recursive),
                };
                let request = AddWatchRequest { path: path.as_bytes(), mode };
                let op = put(Request::AddWatch(request), &mut body);
                effect = Effect::Arm(table, path);
                op
            }
            Self::GetEphemerals { prefix } => {
                let prefix = &full_path(chroot, prefix)?;
                put(Request::GetEphemerals { prefix: Some(prefix.as_bytes()) }, &mut body)
            }
            Self::GetAllChildrenNumber { path } => {
                let path = &full_path(chroot, path)?;
                put(Request::GetAllChildrenNumber { path: path.as_bytes() }, &mut body)
            }
            Self::WhoAmI => put(Request::WhoAmI, &mut body),
            Self::AddAuth { .. } => OpCode::Auth, // encoded by the session, at each connect anew
        };
        Ok(Prepared { op, body, effect, at_least: 0 })
    }
}

fn put(request: Request<'_>, body: &mut Vec<u8>) -> OpCode {
    request.encode(body);
    request.op()
}

fn path_version(path: &str, version: i32) -> PathVersion<'_> {
    PathVersion { path: path.as_bytes(), version }
}

fn path_watch(path: &str, watch: bool) -> PathWatch<'_> {
    PathWatch { path: path.as_bytes(), watch }
}

fn path_kind(path: &str, kind: WatchKind) -> PathKind<'_> {
    PathKind { path: path.as_bytes(), kind: kind as i32 }
}

fn set_data<'a>(path: &'a str, data: Option<&'a [u8]>, version: i32) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.as_bytes(), data, version })
}

fn encode_acl(acl: &[Acl]) -> Vec<u8> {
    let mut list = Vec::new();
    let entries = acl.iter().map(|entry| AclEntry {
        perms: entry.perms,
        scheme: Some(entry.scheme.as_bytes()),
        id: Some(entry.id.as_bytes()),
    });
    AclList::encode(entries, &mut list);
    list
}

fn acl_list(bytes: &[u8]) -> AclList<'_> {
    AclList::from_bytes(bytes).expect("encoded just now")
}

/// Appends a create as a body, or as a part of a multi when `part` is given.
fn encode_create(
    chroot: &str,
    path: &str,
    data: Option<&[u8]>,
    acl: &[Acl],
    mode: CreateMode,
    part: Option<()>,
    out: &mut Vec<u8>,
) -> Result<OpCode, ClientError> {
    let path = create_path(chroot, path, mode)?;
    let list = encode_acl(acl);
    let create = CreateRequest {
        path: path.as_bytes(),
        data,
        acl: Some(acl_list(&list)),
        flags: mode.flags(),
        ttl: mode.ttl(),
    };
    let request = match mode.op() {
        OpCode::CreateContainer => Request::CreateContainer(create),
        OpCode::CreateTtl => Request::CreateTtl(create),
        _create2 => Request::Create2(create),
    };
    match part {
        Some(()) => request.encode_part(out),
        None => request.encode(out),
    }
    Ok(request.op())
}

fn encode_multi(chroot: &str, ops: &[MultiOp]) -> Result<Vec<u8>, ClientError> {
    let mut parts = Vec::new();
    for op in ops {
        match op {
            MultiOp::Create { path, data, acl, mode } => {
                let data = data.as_deref();
                encode_create(chroot, path, data, acl, *mode, Some(()), &mut parts)?;
            }
            MultiOp::Delete { path, version } => {
                let path = &full_path(chroot, path)?;
                Request::Delete(path_version(path, *version)).encode_part(&mut parts);
            }
            MultiOp::SetData { path, data, version } => {
                let path = &full_path(chroot, path)?;
                set_data(path, data.as_deref(), *version).encode_part(&mut parts);
            }
            MultiOp::Check { path, version } => {
                let path = &full_path(chroot, path)?;
                Request::Check(path_version(path, *version)).encode_part(&mut parts);
            }
        }
    }
    MultiHeader::END.encode(&mut Writer::new(&mut parts));
    Ok(parts)
}

fn encode_reads(chroot: &str, ops: &[ReadOp]) -> Result<Vec<u8>, ClientError> {
    let mut parts = Vec::new();
    for op in ops {
        match op {
            ReadOp::GetData { path } => {
                let path = &full_path(chroot, path)?;
                Request::GetData(path_watch(path, false)).encode_part(&mut parts);
            }
            ReadOp::GetChildren { path } => {
                let path = &full_path(chroot, path)?;
                Request::GetChildren(path_watch(path, false)).encode_part(&mut parts);
            }
        }
    }
    MultiHeader::END.encode(&mut Writer::new(&mut parts));
    Ok(parts)
}

/// Whether a lost reply leaves the caller in doubt about the servers' state.
pub(crate) fn changes_state(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig
            | OpCode::CreateSession
            | OpCode::CloseSession
    )
}

fn bad_path(path: &str) -> impl FnOnce(PathError) -> ClientError {
    move |error| ClientError::BadPath { path: path.to_owned(), error }
}

fn join(chroot: &str, path: &str) -> String {
    if chroot.is_empty() {
        path.to_owned()
    } else if path == "/" {
        chroot.to_owned()
    } else {
        format!("{chroot}{path}")
    }
}

fn full_path(chroot: &str, path: &str) -> Result<String, ClientError> {
    ZnodePath::parse(path.as_bytes()).map_err(bad_path(path))?;
    Ok(join(chroot, path))
}

/// A sequential node may be named by its counter alone, so that its prefix ends with a slash.
fn create_path(chroot: &str, path: &str, mode: CreateMode) -> Result<String, ClientError> {
    if !mode.is_sequential() {
        return full_path(chroot, path);
    }
    ZnodePath::parse(format!("{path}0").as_bytes()).map_err(bad_path(path))?;
    Ok(format!("{chroot}{path}"))
}

/// The part of a server's path that the caller knows; `None` for what is outside the chroot.
pub(crate) fn strip_chroot<'p>(chroot: &str, path: &'p str) -> Option<&'p str> {
    match path.strip_prefix(chroot)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _sibling => None,
    }
}

/// The result of one write of a transaction that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the answer of the operation of the same name")]
pub enum MultiResult {
    Created { path: String, stat: Option<farwatch_core::wire::Stat> },
    Deleted,
    Set { stat: farwatch_core::wire::Stat },
    Checked,
}

/// The result of one read of several.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the answer of the operation of the same name")]
pub enum ReadResult {
    Data { data: Option<Vec<u8>>, stat: farwatch_core::wire::Stat },
    Children { names: Vec<String> },
    Refused(ErrorCode),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_behind_the_chroot_and_come_back_without_it() {
        for (chroot, path, full) in
            [("", "/a", "/a"), ("", "/", "/"), ("/r", "/", "/r"), ("/r", "/a/b", "/r/a/b")]
        {
            assert_eq!(full_path(chroot, path).unwrap(), full);
            assert_eq!(strip_chroot(chroot, full), Some(path));
        }
        assert_eq!(strip_chroot("/r", "/rest"), None);
        assert_eq!(strip_chroot("/r", "/other"), None);
    }

    #[test]
    fn only_sequential_names_may_end_with_a_slash() {
        assert!(create_path("", "/a/", CreateMode::Persistent).is_err());
        assert_eq!(create_path("", "/a/", CreateMode::PersistentSequential).unwrap(), "/a/");
        assert_eq!(create_path("/r", "/", CreateMode::EphemeralSequential).unwrap(), "/r/");
        assert!(create_path("", "a", CreateMode::EphemeralSequential).is_err());
    }
}
