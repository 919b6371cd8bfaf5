//! What clients and servers say to each other, as data: only the bodies of writes are bytes, as core
//! decides and applies those.

use farwatch_core::acl;
use farwatch_core::watch::Table;
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::request::{
    CreateRequest, MultiHeader, MultiRequest, PathVersion, Request as Wire, SetDataRequest,
};
use farwatch_core::wire::{ErrorCode, EventType, OpCode};
use farwatch_core::zxid::{SessionId, Zxid};

use crate::model::{Children, Shown};

/// The create mode of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub ephemeral: bool,
    pub sequential: bool,
}

impl Mode {
    pub const PERSISTENT: Self = Self { ephemeral: false, sequential: false };

    fn flags(self) -> i32 {
        i32::from(self.ephemeral) | i32::from(self.sequential) << 1
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Create {
        path: Vec<u8>,
        value: u64,
        mode: Mode,
    },
    Set {
        path: Vec<u8>,
        value: u64,
        version: i32,
        /// Bytes behind the value, which say nothing.
        padding: usize,
    },
    Delete {
        path: Vec<u8>,
    },
    /// Sets both or none.
    SetTwo {
        paths: [Vec<u8>; 2],
        value: u64,
        version: i32,
    },
    Get {
        path: Vec<u8>,
        watch: bool,
    },
    Exists {
        path: Vec<u8>,
        watch: bool,
    },
    Children {
        path: Vec<u8>,
        watch: bool,
    },
    Sync,
    Close,
}

impl Request {
    /// The operation of a write; `None` for a read or a sync.
    pub fn write(&self) -> Option<OpCode> {
        match self {
            Self::Create { .. } => Some(OpCode::Create),
            Self::Set { .. } => Some(OpCode::SetData),
            Self::Delete { .. } => Some(OpCode::Delete),
            Self::SetTwo { .. } => Some(OpCode::Multi),
            Self::Close => Some(OpCode::CloseSession),
            Self::Get { .. } | Self::Exists { .. } | Self::Children { .. } | Self::Sync => None,
        }
    }

    /// The watch that this read arms when it is answered so, if any.
    pub fn watch(&self, err: ErrorCode) -> Option<(&[u8], Table)> {
        let found = err == ErrorCode::Ok;
        match self {
            Self::Exists { path, watch: true } => Some((path, Table::Data)),
            Self::Get { path, watch: true } if found => Some((path, Table::Data)),
            Self::Children { path, watch: true } if found => Some((path, Table::Child)),
            _no_watch => None,
        }
    }

    /// The body of a write.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create { path, value, mode } => {
                let data = value.to_le_bytes();
                let (data, acl, flags) = (Some(&data[..]), Some(acl::OPEN), mode.flags());
                Wire::Create(CreateRequest { path, data, acl, flags, ttl: -1 }).encode(out);
            }
            Self::Set { path, value, version, padding } => {
                let mut data = value.to_le_bytes().to_vec();
                data.resize(data.len() + padding, 0);
                set(path, &data, *version).encode(out);
            }
            Self::Delete { path } => {
                Wire::Delete(PathVersion { path, version: -1 }).encode(out);
            }
            Self::SetTwo { paths, value, version } => {
                let (data, mut body) = (value.to_le_bytes(), Vec::new());
                set(&paths[0], &data, -1).encode_part(&mut body);
                set(&paths[1], &data, *version).encode_part(&mut body);
                MultiHeader::END.encode(&mut farwatch_core::wire::jute::Writer::new(&mut body));
                Wire::Multi(MultiRequest { body: &body }).encode(out);
            }
            Self::Close => {}
            Self::Get { .. } | Self::Exists { .. } | Self::Children { .. } | Self::Sync => {
                unreachable!("no write")
            }
        }
    }
}

fn set<'a>(path: &'a [u8], data: &'a [u8], version: i32) -> Wire<'a> {
    Wire::SetData(SetDataRequest { path, data: Some(data), version })
}

/// From a client to its server.
#[derive(Clone, Debug)]
pub enum ToServer {
    Connect {
        /// A session to go on with, and what proves that it is the client's.
        session: Option<(SessionId, Password)>,
        timeout_ms: i32,
        seen: Zxid,
        /// Whether it takes a server that only reads.
        read_only: bool,
    },
    Request {
        xid: i32,
        request: Request,
    },
    Ping,
    /// The connection is gone.
    Gone,
}

/// What a reply carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Nothing,
    /// Of a create.
    Path(Vec<u8>),
    Node(Option<Shown>),
    Children(Children),
}

/// From a server to a client.
#[derive(Clone, Debug)]
pub enum ToClient {
    /// The session goes on here, as of this zxid of the server.
    Attached {
        session: SessionId,
        password: Password,
        zxid: Zxid,
        timeout_ms: i32,
        /// Only to read, as there is no leader.
        read_only: bool,
    },
    Expired,
    Reply {
        xid: i32,
        zxid: Zxid,
        err: ErrorCode,
        body: Body,
    },
    Event {
        kind: EventType,
        path: Vec<u8>,
        zxid: Zxid,
    },
    Pong {
        zxid: Zxid,
    },
    Gone,
}
