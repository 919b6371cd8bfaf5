//! What a script says: steps that mean something whatever is left out before them.
//!
//! A minimised script must still run, so that nothing in a step refers to another one: a client
//! is a number, a path is a text in which a leading `~` stands for the run's own subtree, and a
//! zxid is one that the client saw some replies ago.

use std::fmt;

use crate::raw::{Body, Request, op, request};

/// One thing that one client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which client.
    pub client: usize,
    /// What it does.
    pub act: Act,
    /// Whether the client's next request may leave before the reply to this one is here.
    pub pipelined: bool,
}

impl Step {
    /// A request under the next xid, answered before the next step.
    #[must_use]
    pub fn send(client: usize, op: Op) -> Self {
        Self { client, act: Act::Send { xid: None, op }, pipelined: false }
    }

    /// The operation code, if it sends a request.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match &self.act {
            Act::Send { op, .. } => Some(op.code()),
            Act::Reconnect(_) | Act::Garbage(_) => None,
        }
    }

    /// Whether a request of the same client may follow before the reply to this one.
    #[must_use]
    pub fn may_be_pipelined(&self) -> bool {
        match &self.act {
            Act::Send { op, .. } => op.keeps_its_turn() && !op.is_raced_in_zookeeper(),
            Act::Reconnect(_) | Act::Garbage(_) => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}: ", self.client)?;
        match &self.act {
            Act::Send { xid: None, op } => write!(f, "{op:?}")?,
            Act::Send { xid: Some(xid), op } => write!(f, "{op:?} under xid {xid}")?,
            Act::Reconnect(how) => write!(f, "reconnect {how:?}")?,
            Act::Garbage(garbage) => write!(f, "garbage {garbage:?}")?,
        }
        if self.pipelined { f.write_str(", and does not wait") } else { Ok(()) }
    }
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends a request, under its next xid or an odd one.
    Send {
        /// `None` for the next one.
        xid: Option<i32>,
        /// The request.
        op: Op,
    },
    /// Opens another connection for the session, or tries to.
    Reconnect(Reconnect),
    /// Sends bytes that are no request.
    Garbage(Garbage),
}

/// How a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// With the right password while the old connection is open.
    Takeover,
    /// With the right password after the old connection was dropped by the client.
    AfterDrop,
    /// As [`Self::Takeover`], without the readOnly byte, as old clients do.
    OldClient,
    /// As [`Self::Takeover`], asking for a read-only server if need be.
    ReadOnlyAllowed,
    /// With a wrong password of 16 bytes.
    WrongPassword,
    /// With a null password.
    NullPassword,
    /// With a session id that never was.
    UnknownSession,
    /// With the id and password of this client's session that it closed last.
    ClosedSession,
    /// Having seen a zxid that the server has not reached.
    FutureZxid,
    /// With half a ConnectRequest.
    Truncated,
}

/// Bytes that are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// A frame of this length without its bytes.
    Length(i32),
    /// A frame of four bytes, too short for a header.
    ShortHeader,
    /// A four-letter word where a frame belongs.
    Word,
}

/// A path as a client sends it; `None` is null. A leading `~` stands for the run's subtree.
#[derive(Clone, PartialEq, Eq)]
pub struct Path(pub Option<Vec<u8>>);

impl Path {
    /// A path of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Some(text.into().into_bytes()))
    }

    fn encode(&self, body: Body, prefix: &str) -> Body {
        match &self.0 {
            None => body.null(),
            Some(bytes) => match bytes.strip_prefix(b"~") {
                Some(rest) => body.buffer(Some(&[prefix.as_bytes(), rest].concat())),
                None => body.buffer(Some(bytes)),
            },
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("null"),
            Some(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// Data as a client sends it; `None` is null.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(pub Option<Vec<u8>>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("null"),
            Some(bytes) if bytes.len() <= 80 => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Some(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// One entry of an ACL; the texts may be null.
#[derive(Clone, PartialEq, Eq)]
pub struct AclEntry(pub i32, pub Option<&'static str>, pub Option<&'static str>);

impl fmt::Debug for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.1.unwrap_or("null"), self.2.unwrap_or("null"), self.0)
    }
}

/// An ACL; `None` is a null vector.
pub type AclList = Option<Vec<AclEntry>>;

/// How a multi ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Proper,
    /// With a terminator of another type, which servers take.
    OddType,
    /// Without a terminator, which they do not.
    Missing,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields carry the names of the protocol")]
pub enum Op {
    /// create, create2, createContainer or createTTL, by `code`.
    Create { code: i32, path: Path, data: Data, acl: AclList, flags: i32, ttl: i64 },
    /// delete.
    Delete { path: Path, version: i32 },
    /// exists, getData, getChildren or getChildren2, by `code`; `watch` is the byte as sent.
    Read { code: i32, path: Path, watch: u8 },
    /// setData.
    SetData { path: Path, data: Data, version: i32 },
    /// setACL.
    SetAcl { path: Path, acl: AclList, version: i32 },
    /// A request whose body is a path: getACL, sync, getEphemerals, getAllChildrenNumber, deleteContainer.
    OfPath { code: i32, path: Path },
    /// A request whose body is a path and an int: check, checkWatches, removeWatches, addWatch.
    OfPathAndInt { code: i32, path: Path, value: i32 },
    /// A request without a body: ping, whoAmI, closeSession, and codes that nobody knows.
    Bare { code: i32 },
    /// multi or multiRead, by `code`.
    Multi { code: i32, items: Vec<Op>, end: End },
    /// setWatches, or setWatches2 with five lists; the zxid is the one seen `back` replies
    /// ago, and one below all for `i64::MAX`.
    SetWatches { back: i64, lists: Vec<Option<Vec<Path>>> },
    /// auth; the scheme and the credentials may be null.
    Auth { scheme: Option<&'static str>, credentials: Data },
    /// sasl.
    Sasl { token: Data },
    /// reconfig with these new members.
    Reconfig { members: Option<&'static str>, from_config: i64 },
    /// createSession.
    CreateSession,
    /// Another request without the last bytes of its body.
    Truncated { op: Box<Op>, bytes: usize },
    /// Another request with bytes behind its body.
    Padded { op: Box<Op> },
}

impl Op {
    /// The operation code of the header.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Create { code, .. }
            | Self::Read { code, .. }
            | Self::OfPath { code, .. }
            | Self::OfPathAndInt { code, .. }
            | Self::Bare { code }
            | Self::Multi { code, .. } => *code,
            Self::Delete { .. } => op::DELETE,
            Self::SetData { .. } => op::SET_DATA,
            Self::SetAcl { .. } => op::SET_ACL,
            Self::SetWatches { lists, .. } if lists.len() == 3 => op::SET_WATCHES,
            Self::SetWatches { .. } => op::SET_WATCHES2,
            Self::Auth { .. } => op::AUTH,
            Self::Sasl { .. } => op::SASL,
            Self::Reconfig { .. } => op::RECONFIG,
            Self::CreateSession => op::CREATE_SESSION,
            Self::Truncated { op, .. } | Self::Padded { op } => op.code(),
        }
    }

    /// Whether the body is cut, so that it cannot be decoded.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }

    /// Whether the path of a write or of a request about watches, alone or in a multi, is null.
    #[must_use]
    pub fn has_null_path(&self) -> bool {
        match self {
            Self::Create { path, .. }
            | Self::SetAcl { path, .. }
            | Self::Delete { path, .. }
            | Self::SetData { path, .. }
            | Self::OfPathAndInt { path, .. } => path.0.is_none(),
            Self::Multi { items, .. } => items.iter().any(Self::has_null_path),
            Self::Truncated { op, .. } | Self::Padded { op } => op.has_null_path(),
            _ => false,
        }
    }

    /// Whether it is about the node at `path`, as a whole or in a part.
    #[must_use]
    pub fn names(&self, named: &[u8]) -> bool {
        match self {
            Self::Create { path, .. }
            | Self::SetAcl { path, .. }
            | Self::Delete { path, .. }
            | Self::SetData { path, .. }
            | Self::Read { path, .. }
            | Self::OfPath { path, .. }
            | Self::OfPathAndInt { path, .. } => path.0.as_deref() == Some(named),
            Self::Multi { items, .. } => items.iter().any(|item| item.names(named)),
            Self::Truncated { op, .. } | Self::Padded { op } => op.names(named),
            _ => false,
        }
    }

    /// Whether an ACL of a write, alone or in a multi, or a part of one of its entries is null.
    #[must_use]
    pub fn has_null_in_acl(&self) -> bool {
        match self {
            Self::Create { acl, .. } | Self::SetAcl { acl, .. } => acl
                .as_ref()
                .is_none_or(|acl| acl.iter().any(|entry| entry.1.is_none() || entry.2.is_none())),
            Self::Multi { items, .. } => items.iter().any(Self::has_null_in_acl),
            Self::Truncated { op, .. } | Self::Padded { op } => op.has_null_in_acl(),
            _ => false,
        }
    }

    /// Whether an entry of an ACL has the scheme `auth` and a null id.
    #[must_use]
    pub fn has_null_in_auth(&self) -> bool {
        match self {
            Self::Create { acl, .. } | Self::SetAcl { acl, .. } => {
                acl.iter().flatten().any(|entry| entry.1 == Some("auth") && entry.2.is_none())
            }
            Self::Multi { items, .. } => items.iter().any(Self::has_null_in_auth),
            Self::Truncated { op, .. } | Self::Padded { op } => op.has_null_in_auth(),
            _ => false,
        }
    }

    /// Whether a server answers it in its turn and keeps the connection, so that more requests
    /// may follow at once. Pings and auth may be answered early; the others may close.
    #[must_use]
    pub fn keeps_its_turn(&self) -> bool {
        match self.code() {
            op::AUTH | op::SASL | op::PING | op::CLOSE_SESSION | op::CHECK => false,
            op::DELETE_CONTAINER | op::CREATE_SESSION => false,
            code => is_known(code),
        }
    }

    /// Whether ZooKeeper decides the write after this one in two ways, as it comes soon enough or
    /// not: races of its own. While an ACL change is on its way the old ACL is asked; while a
    /// container or a node with a ttl of which the flags say that it is ephemeral is on its way it
    /// takes no children, and once applied it does.
    fn is_raced_in_zookeeper(&self) -> bool {
        match self {
            Self::SetAcl { .. } => true,
            Self::Create { code: op::CREATE_CONTAINER | op::CREATE_TTL, flags, .. } => {
                matches!(flags, 1 | 3)
            }
            Self::Multi { items, .. } => items.iter().any(Self::is_raced_in_zookeeper),
            Self::Truncated { op, .. } | Self::Padded { op } => op.is_raced_in_zookeeper(),
            _ => false,
        }
    }

    /// The request as it goes to a server on which `prefix` is the run's subtree.
    #[must_use]
    pub fn encode(&self, prefix: &str, zxids: &[i64]) -> Request {
        Request::new(self.code(), self.body(prefix, zxids))
    }

    fn body(&self, prefix: &str, zxids: &[i64]) -> Body {
        let path_body = |path: &Path| path.encode(Body::new(), prefix);
        match self {
            Self::Create { code, path, data, acl, flags, ttl } => {
                let body = acl_body(path_body(path).buffer(data.0.as_deref()), acl).int(*flags);
                if *code == op::CREATE_TTL { body.long(*ttl) } else { body }
            }
            Self::Delete { path, version } => path_body(path).int(*version),
            Self::Read { path, watch, .. } => path_body(path).byte(*watch),
            Self::SetData { path, data, version } => {
                path_body(path).buffer(data.0.as_deref()).int(*version)
            }
            Self::SetAcl { path, acl, version } => acl_body(path_body(path), acl).int(*version),
            Self::OfPath { path, .. } => path_body(path),
            Self::OfPathAndInt { path, value, .. } => path_body(path).int(*value),
            Self::Bare { .. } => Body::new(),
            Self::Multi { items, end, .. } => {
                let items: Vec<Request> =
                    items.iter().map(|item| item.encode(prefix, zxids)).collect();
                let body = request::multi_items(&items);
                match end {
                    End::Proper => request::multi_terminator(body, op::ERROR),
                    End::OddType => request::multi_terminator(body, op::SET_DATA),
                    End::Missing => body,
                }
            }
            Self::SetWatches { back, lists } => {
                let body = Body::new().long(relative_zxid(zxids, *back));
                lists.iter().fold(body, |body, list| paths_body(body, list.as_deref(), prefix))
            }
            Self::Auth { scheme, credentials } => Body::new()
                .int(0)
                .buffer(scheme.map(str::as_bytes))
                .buffer(credentials.0.as_deref()),
            Self::Sasl { token } => Body::new().buffer(token.0.as_deref()),
            Self::Reconfig { members, from_config } => {
                request::reconfig(None, None, *members, *from_config).body
            }
            Self::CreateSession => Body::new().int(30_000),
            Self::Truncated { op, bytes } => {
                let whole = op.body(prefix, zxids).into_bytes();
                Body::new().raw(&whole[..whole.len().saturating_sub(*bytes)])
            }
            Self::Padded { op } => op.body(prefix, zxids).raw(b"padding"),
        }
    }
}

/// The zxid that the client saw `back` replies ago. Counting replies and not transactions makes it
/// the same moment on two servers of which one consumes more zxids for what it refuses.
fn relative_zxid(zxids: &[i64], back: i64) -> i64 {
    if back == i64::MAX {
        return -1;
    }
    let back = usize::try_from(back).expect("no script looks into the future");
    zxids.iter().rev().nth(back).copied().unwrap_or(0)
}

fn acl_body(body: Body, acl: &AclList) -> Body {
    let Some(entries) = acl else { return body.null() };
    let body = body.int(i32::try_from(entries.len()).expect("an ACL of a script is short"));
    entries.iter().fold(body, |body, AclEntry(perms, scheme, id)| {
        body.int(*perms).buffer(scheme.map(str::as_bytes)).buffer(id.map(str::as_bytes))
    })
}

fn paths_body(body: Body, paths: Option<&[Path]>, prefix: &str) -> Body {
    let Some(paths) = paths else { return body.null() };
    let body = body.int(i32::try_from(paths.len()).expect("a list of a script is short"));
    paths.iter().fold(body, |body, path| path.encode(body, prefix))
}

/// Whether servers know the operation code, from any client.
fn is_known(code: i32) -> bool {
    matches!(code, 1..=9 | 11 | 12 | 14..=19 | 21 | 22 | 100..=107 | op::CLOSE_SESSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_tilde_is_the_subtree_of_the_run_and_no_other_one_is() {
        let encoded = Op::OfPath { code: op::SYNC, path: Path::new("~/a~b") }.encode("/run", &[]);
        assert_eq!(encoded, request::sync("/run/a~b"));
    }

    #[test]
    fn a_container_that_says_it_is_ephemeral_is_waited_for() {
        let create = |code, flags| Op::Create {
            code,
            path: Path::new("~/a"),
            data: Data(None),
            acl: None,
            flags,
            ttl: 0,
        };
        let waits = |op: Op| !Step::send(0, op).may_be_pipelined();
        assert!(waits(create(op::CREATE_CONTAINER, 1)));
        assert!(waits(create(op::CREATE_TTL, 3)));
        assert!(!waits(create(op::CREATE_CONTAINER, 4)));
        assert!(!waits(create(op::CREATE2, 1)));
        let items = vec![create(op::CREATE, 0), create(op::CREATE_CONTAINER, 1)];
        assert!(waits(Op::Multi { code: op::MULTI, items, end: End::Proper }));
    }

    #[test]
    fn the_zxid_of_set_watches_is_counted_back_in_replies() {
        let lists = vec![Some(vec![Path::new("/a")]), Some(vec![]), Some(vec![])];
        let encoded = Op::SetWatches { back: 2, lists }.encode("", &[3, 7, 8, 9]);
        assert_eq!(encoded, request::set_watches(7, &["/a"], &[], &[]));
    }

    #[test]
    fn a_truncated_request_keeps_its_code_and_loses_its_end() {
        let inner = Op::Delete { path: Path::new("/a"), version: 1 };
        let encoded = Op::Truncated { op: Box::new(inner), bytes: 1 }.encode("", &[]);
        let whole = request::delete("/a", 1);
        assert_eq!(encoded.op, whole.op);
        assert_eq!(encoded.body.as_bytes(), &whole.body.as_bytes()[..9]);
    }
}
