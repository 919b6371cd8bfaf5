//! What a client can ask, decoded in place.

use super::jute::{DecodeError, Reader, Strings, Writer};
use crate::acl::AclList;
use crate::limits::TTL_MS_MAX;

macro_rules! op_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The operations of the client protocol with their numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum OpCode { $($(#[$doc])* $name = $code,)* }

        impl OpCode {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The operation with this number, if there is one.
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _unassigned => None }
            }

            /// The number on the wire.
            pub const fn code(self) -> i32 { self as i32 }
        }
    };
}

op_codes! {
    /// Create a node; answers its path.
    Create = 1,
    /// Delete a node.
    Delete = 2,
    /// Stat of a node, or NONODE; may arm a watch either way.
    Exists = 3,
    /// Data and Stat.
    GetData = 4,
    /// Replace the data.
    SetData = 5,
    /// ACL and Stat.
    GetAcl = 6,
    /// Replace the ACL.
    SetAcl = 7,
    /// Names of the children.
    GetChildren = 8,
    /// Barrier: answered when this server has caught up with the leader.
    Sync = 9,
    /// Keeps the session alive.
    Ping = 11,
    /// Names of the children and Stat.
    GetChildren2 = 12,
    /// Version check; only inside a multi.
    Check = 13,
    /// All-or-nothing sequence of writes.
    Multi = 14,
    /// Create; answers path and Stat.
    Create2 = 15,
    /// Change of membership.
    Reconfig = 16,
    /// Is such a watch set?
    CheckWatches = 17,
    /// Remove watches.
    RemoveWatches = 18,
    /// Create a container.
    CreateContainer = 19,
    /// The reaper's own; refused from clients.
    DeleteContainer = 20,
    /// Create a node with a time to live.
    CreateTtl = 21,
    /// Several reads, each with its own result.
    MultiRead = 22,
    /// Add an identity to the connection.
    Auth = 100,
    /// Re-arm one-shot watches after a reconnect.
    SetWatches = 101,
    /// A SASL token.
    Sasl = 102,
    /// The session's ephemeral nodes.
    GetEphemerals = 103,
    /// Count of all descendants.
    GetAllChildrenNumber = 104,
    /// Re-arm watches of all modes after a reconnect.
    SetWatches2 = 105,
    /// Arm a persistent watch.
    AddWatch = 106,
    /// The connection's identities.
    WhoAmI = 107,
    /// Internal; refused from clients.
    CreateSession = -10,
    /// End the session.
    CloseSession = -11,
}

/// The xid of a ping and of its reply.
pub const XID_PING: i32 = -2;
/// The xid of a notification.
pub const XID_NOTIFICATION: i32 = -1;
/// The xid that most clients give an auth packet.
pub const XID_AUTH: i32 = -4;
/// The xid that the C client gives setWatches.
pub const XID_SET_WATCHES: i32 = -8;

/// What every frame after the handshake begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number for the request, echoed and never checked.
    pub xid: i32,
    /// The operation's number, known or not.
    pub op: i32,
}

impl RequestHeader {
    /// Bytes on the wire.
    pub const BYTES: usize = 8;

    /// Reads the header.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: r.int()?, op: r.int()? })
    }

    /// Appends the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.xid);
        w.int(self.op);
    }
}

/// create, create2, createContainer and createTTL share this.
#[derive(Clone, Copy, Debug)]
pub struct CreateRequest<'a> {
    /// Path, or prefix when the flags say sequential.
    pub path: &'a [u8],
    /// `None` is null data, which is kept.
    pub data: Option<&'a [u8]>,
    /// `None` is a null vector.
    pub acl: Option<AclList<'a>>,
    /// The create mode, 0 to 6 when valid.
    pub flags: i32,
    /// Time to live in milliseconds; -1 where the operation carries none.
    pub ttl: i64,
}

/// A path and the version it is expected to have (-1: any).
#[derive(Clone, Copy, Debug)]
pub struct PathVersion<'a> {
    /// The node.
    pub path: &'a [u8],
    /// Expected version.
    pub version: i32,
}

/// A read that may arm a watch.
#[derive(Clone, Copy, Debug)]
pub struct PathWatch<'a> {
    /// The node.
    pub path: &'a [u8],
    /// Whether to arm a one-shot watch.
    pub watch: bool,
}

/// setData.
#[derive(Clone, Copy, Debug)]
pub struct SetDataRequest<'a> {
    /// The node.
    pub path: &'a [u8],
    /// New data; `None` is null.
    pub data: Option<&'a [u8]>,
    /// Expected version, or -1.
    pub version: i32,
}

/// setACL.
#[derive(Clone, Copy, Debug)]
pub struct SetAclRequest<'a> {
    /// The node.
    pub path: &'a [u8],
    /// `None` is a null vector.
    pub acl: Option<AclList<'a>>,
    /// Expected aversion, or -1.
    pub version: i32,
}

/// checkWatches and removeWatches.
#[derive(Clone, Copy, Debug)]
pub struct PathKind<'a> {
    /// The node.
    pub path: &'a [u8],
    /// The watcher type, 1 to 5 when valid.
    pub kind: i32,
}

/// addWatch.
#[derive(Clone, Copy, Debug)]
pub struct AddWatchRequest<'a> {
    /// The node; any text is accepted.
    pub path: &'a [u8],
    /// 0 persistent, 1 persistent recursive.
    pub mode: i32,
}

/// setWatches and setWatches2.
#[derive(Clone, Copy, Debug)]
pub struct SetWatchesRequest<'a> {
    /// What the client has seen: later changes are told at once.
    pub relative_zxid: i64,
    /// From getData.
    pub data: Strings<'a>,
    /// From exists on a node that was missing.
    pub exist: Strings<'a>,
    /// From getChildren.
    pub child: Strings<'a>,
    /// From addWatch mode 0; `None` in setWatches.
    pub persistent: Option<Strings<'a>>,
    /// From addWatch mode 1; `None` in setWatches.
    pub recursive: Option<Strings<'a>>,
}

/// auth.
#[derive(Clone, Copy, Debug)]
pub struct AuthRequest<'a> {
    /// `None` is null.
    pub scheme: Option<&'a [u8]>,
    /// `None` is null.
    pub auth: Option<&'a [u8]>,
}

/// reconfig.
#[derive(Clone, Copy, Debug)]
pub struct ReconfigRequest<'a> {
    /// Servers to add.
    pub joining: Option<&'a [u8]>,
    /// Server ids to remove.
    pub leaving: Option<&'a [u8]>,
    /// A whole new membership.
    pub members: Option<&'a [u8]>,
    /// Expected configuration version, or -1.
    pub config_version: i64,
}

/// One request, borrowed from its frame. Bytes behind the last field are ignored.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each variant is the operation of the same name in `OpCode`")]
pub enum Request<'a> {
    Create(CreateRequest<'a>),
    Create2(CreateRequest<'a>),
    CreateContainer(CreateRequest<'a>),
    CreateTtl(CreateRequest<'a>),
    Delete(PathVersion<'a>),
    Exists(PathWatch<'a>),
    GetData(PathWatch<'a>),
    SetData(SetDataRequest<'a>),
    GetAcl {
        path: &'a [u8],
    },
    SetAcl(SetAclRequest<'a>),
    GetChildren(PathWatch<'a>),
    GetChildren2(PathWatch<'a>),
    /// A null path is accepted and echoed.
    Sync {
        path: Option<&'a [u8]>,
    },
    Ping,
    Check(PathVersion<'a>),
    Multi(MultiRequest<'a>),
    MultiRead(MultiRequest<'a>),
    Reconfig(ReconfigRequest<'a>),
    CheckWatches(PathKind<'a>),
    RemoveWatches(PathKind<'a>),
    Auth(AuthRequest<'a>),
    SetWatches(SetWatchesRequest<'a>),
    SetWatches2(SetWatchesRequest<'a>),
    Sasl {
        token: Option<&'a [u8]>,
    },
    GetEphemerals {
        prefix: Option<&'a [u8]>,
    },
    GetAllChildrenNumber {
        path: &'a [u8],
    },
    AddWatch(AddWatchRequest<'a>),
    WhoAmI,
    CloseSession,
    DeleteContainer {
        path: &'a [u8],
    },
    CreateSession {
        timeout_ms: i32,
    },
}

impl<'a> Request<'a> {
    /// Reads the body of operation `op`: what follows the request header in the frame.
    pub fn decode(op: OpCode, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        Self::decode_from(op, &mut r)
    }

    /// As [`Request::decode`], from a reader that goes on behind it.
    pub fn decode_from(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create => Self::Create(create(r, false)?),
            OpCode::Create2 => Self::Create2(create(r, false)?),
            OpCode::CreateContainer => Self::CreateContainer(create(r, false)?),
            OpCode::CreateTtl => Self::CreateTtl(create(r, true)?),
            OpCode::Delete => Self::Delete(path_version(r)?),
            OpCode::Check => Self::Check(path_version(r)?),
            OpCode::Exists => Self::Exists(path_watch(r)?),
            OpCode::GetData => Self::GetData(path_watch(r)?),
            OpCode::GetChildren => Self::GetChildren(path_watch(r)?),
            OpCode::GetChildren2 => Self::GetChildren2(path_watch(r)?),
            OpCode::SetData => Self::SetData(SetDataRequest {
                path: null_is_empty(r)?,
                data: r.buffer()?,
                version: r.int()?,
            }),
            OpCode::GetAcl => Self::GetAcl { path: r.string()? },
            OpCode::SetAcl => Self::SetAcl(SetAclRequest {
                path: null_is_empty(r)?,
                acl: AclList::decode(r)?,
                version: r.int()?,
            }),
            OpCode::Sync => Self::Sync { path: r.buffer()? },
            OpCode::Ping => Self::Ping,
            OpCode::Multi => Self::Multi(MultiRequest { body: take_rest(r) }),
            OpCode::MultiRead => Self::MultiRead(MultiRequest { body: take_rest(r) }),
            OpCode::Reconfig => Self::Reconfig(ReconfigRequest {
                joining: r.buffer()?,
                leaving: r.buffer()?,
                members: r.buffer()?,
                config_version: r.long()?,
            }),
            OpCode::CheckWatches => {
                Self::CheckWatches(PathKind { path: watched(r)?, kind: r.int()? })
            }
            OpCode::RemoveWatches => {
                Self::RemoveWatches(PathKind { path: watched(r)?, kind: r.int()? })
            }
            OpCode::Auth => {
                let _type_ignored = r.int()?;
                Self::Auth(AuthRequest { scheme: r.buffer()?, auth: r.buffer()? })
            }
            OpCode::SetWatches => Self::SetWatches(set_watches(r, false)?),
            OpCode::SetWatches2 => Self::SetWatches2(set_watches(r, true)?),
            OpCode::Sasl => Self::Sasl { token: r.buffer()? },
            OpCode::GetEphemerals => Self::GetEphemerals { prefix: r.buffer()? },
            OpCode::GetAllChildrenNumber => Self::GetAllChildrenNumber { path: r.string()? },
            OpCode::AddWatch => {
                Self::AddWatch(AddWatchRequest { path: watched(r)?, mode: r.int()? })
            }
            OpCode::WhoAmI => Self::WhoAmI,
            OpCode::CloseSession => Self::CloseSession,
            OpCode::DeleteContainer => Self::DeleteContainer { path: r.string()? },
            OpCode::CreateSession => Self::CreateSession { timeout_ms: r.int()? },
        })
    }

    /// The operation this is.
    pub const fn op(&self) -> OpCode {
        match self {
            Self::Create(_) => OpCode::Create,
            Self::Create2(_) => OpCode::Create2,
            Self::CreateContainer(_) => OpCode::CreateContainer,
            Self::CreateTtl(_) => OpCode::CreateTtl,
            Self::Delete(_) => OpCode::Delete,
            Self::Check(_) => OpCode::Check,
            Self::Exists(_) => OpCode::Exists,
            Self::GetData(_) => OpCode::GetData,
            Self::GetChildren(_) => OpCode::GetChildren,
            Self::GetChildren2(_) => OpCode::GetChildren2,
            Self::SetData(_) => OpCode::SetData,
            Self::GetAcl { .. } => OpCode::GetAcl,
            Self::SetAcl(_) => OpCode::SetAcl,
            Self::Sync { .. } => OpCode::Sync,
            Self::Ping => OpCode::Ping,
            Self::Multi(_) => OpCode::Multi,
            Self::MultiRead(_) => OpCode::MultiRead,
            Self::Reconfig(_) => OpCode::Reconfig,
            Self::CheckWatches(_) => OpCode::CheckWatches,
            Self::RemoveWatches(_) => OpCode::RemoveWatches,
            Self::Auth(_) => OpCode::Auth,
            Self::SetWatches(_) => OpCode::SetWatches,
            Self::SetWatches2(_) => OpCode::SetWatches2,
            Self::Sasl { .. } => OpCode::Sasl,
            Self::GetEphemerals { .. } => OpCode::GetEphemerals,
            Self::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Self::AddWatch(_) => OpCode::AddWatch,
            Self::WhoAmI => OpCode::WhoAmI,
            Self::CloseSession => OpCode::CloseSession,
            Self::DeleteContainer { .. } => OpCode::DeleteContainer,
            Self::CreateSession { .. } => OpCode::CreateSession,
        }
    }
}

/// The path of an operation that ZooKeeper answers alike for a null and an empty one: it validates
/// the path before anything else, or takes any text for one.
fn null_is_empty<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    Ok(r.buffer()?.unwrap_or_default())
}

/// The path of a watch. ZooKeeper takes any text for one, and a null for one that no text equals;
/// a byte that no text begins with stands for it.
fn watched<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    Ok(r.buffer()?.unwrap_or(b"\xff"))
}

/// Whether a request of its own may have a null path that a part of a multi may not.
const fn is_tolerant_of_null(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::SetData
            | OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
    )
}

fn take_rest<'a>(r: &mut Reader<'a>) -> &'a [u8] {
    let rest = r.rest();
    *r = Reader::new(&[]);
    rest
}

fn create<'a>(r: &mut Reader<'a>, has_ttl: bool) -> Result<CreateRequest<'a>, DecodeError> {
    let path = r.buffer()?;
    let request = CreateRequest {
        path: path.unwrap_or_default(),
        data: r.buffer()?,
        acl: AclList::decode(r)?,
        flags: r.int()?,
        ttl: if has_ttl { r.long()? } else { -1 },
    };
    // ZooKeeper looks at the mode before it looks at the path: a bad mode is a bad argument, also of
    // a node without a path.
    let mode_is_good = match request.flags {
        0..=4 => request.ttl < 0,
        5 | 6 => 0 < request.ttl && request.ttl <= TTL_MS_MAX,
        _unknown => false,
    };
    match path {
        None if mode_is_good => Err(DecodeError::UnexpectedNull),
        None | Some(_) => Ok(request),
    }
}

fn path_version<'a>(r: &mut Reader<'a>) -> Result<PathVersion<'a>, DecodeError> {
    Ok(PathVersion { path: r.string()?, version: r.int()? })
}

fn path_watch<'a>(r: &mut Reader<'a>) -> Result<PathWatch<'a>, DecodeError> {
    Ok(PathWatch { path: r.string()?, watch: r.boolean()? })
}

fn set_watches<'a>(
    r: &mut Reader<'a>,
    has_persistent: bool,
) -> Result<SetWatchesRequest<'a>, DecodeError> {
    let relative_zxid = r.long()?;
    let mut list = || r.strings()?.ok_or(DecodeError::UnexpectedNull);
    Ok(SetWatchesRequest {
        relative_zxid,
        data: list()?,
        exist: list()?,
        child: list()?,
        persistent: if has_persistent { Some(list()?) } else { None },
        recursive: if has_persistent { Some(list()?) } else { None },
    })
}

/// What stands before each part of a multi, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeader {
    /// Operation, or result kind; -1 for an error result and for the end.
    pub kind: i32,
    /// Whether this is the end.
    pub done: bool,
    /// The error of an error result.
    pub err: i32,
}

impl MultiHeader {
    /// Ends a multi.
    pub const END: Self = Self { kind: -1, done: true, err: -1 };

    /// Reads the header.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { kind: r.int()?, done: r.boolean()?, err: r.int()? })
    }

    /// Appends the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.kind);
        w.boolean(self.done);
        w.int(self.err);
    }
}

/// The body of multi and multiRead, not yet looked at.
#[derive(Clone, Copy, Debug)]
pub struct MultiRequest<'a> {
    /// Headers and requests, up to and including the end.
    pub body: &'a [u8],
}

impl<'a> MultiRequest<'a> {
    /// The parts in order. The iterator ends behind its first error, and a missing end is one.
    pub fn parts(&self) -> MultiParts<'a> {
        MultiParts { r: Reader::new(self.body), ended: false }
    }
}

/// Iterates the parts of a multi.
#[derive(Clone, Debug)]
pub struct MultiParts<'a> {
    r: Reader<'a>,
    ended: bool,
}

impl<'a> Iterator for MultiParts<'a> {
    type Item = Result<Request<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let part = self.part();
        self.ended = !matches!(part, Ok(Some(_)));
        part.transpose()
    }
}

impl<'a> MultiParts<'a> {
    fn part(&mut self) -> Result<Option<Request<'a>>, DecodeError> {
        let header = MultiHeader::decode(&mut self.r)?;
        if header.done {
            return Ok(None);
        }
        let op = OpCode::from_code(header.kind).ok_or(DecodeError::UnknownValue(header.kind))?;
        if matches!(op, OpCode::Multi | OpCode::MultiRead) {
            return Err(DecodeError::UnknownValue(header.kind)); // they do not nest
        }
        let mut ahead = self.r;
        if is_tolerant_of_null(op) {
            ahead.string()?; // inside a multi a null path spoils the whole, as in ZooKeeper
        }
        Request::decode_from(op, &mut self.r).map(Some)
    }
}
