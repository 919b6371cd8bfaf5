//! The body of every operation.

use super::body::Body;

/// Operation codes, named as in the protocol.
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub mod op {
    pub const NOTIFICATION: i32 = 0;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const ERROR: i32 = -1;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// READ 1, WRITE 2, CREATE 4, DELETE 8, ADMIN 16.
    pub perms: i32,
    /// `world`, `digest`, `ip`, `auth`, or anything else.
    pub scheme: String,
    /// The scheme's own text.
    pub id: String,
}

/// Lists of one entry, made quickly.
pub mod ids {
    use super::Acl;

    /// `scheme:id` with `perms`.
    #[must_use]
    pub fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: scheme.to_owned(), id: id.to_owned() }
    }

    /// Everyone may do everything.
    #[must_use]
    pub fn open() -> Vec<Acl> {
        world(31)
    }

    /// Everyone may do what `perms` says.
    #[must_use]
    pub fn world(perms: i32) -> Vec<Acl> {
        vec![acl(perms, "world", "anyone")]
    }
}

/// An operation code and its encoded body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The operation code of the header.
    pub op: i32,
    /// Everything behind the header.
    pub body: Body,
}

impl Request {
    /// Any code with any body.
    #[must_use]
    pub fn new(op: i32, body: Body) -> Self {
        Self { op, body }
    }
}

fn create_fields(path: &str, data: Option<&[u8]>, acl: &[Acl], flags: i32) -> Body {
    Body::new().string(path).buffer(data).acls(acl).int(flags)
}

/// create: flags 0 persistent, 1 ephemeral, 2 and 3 the same with a sequence suffix.
#[must_use]
pub fn create(path: &str, data: Option<&[u8]>, acl: &[Acl], flags: i32) -> Request {
    Request::new(op::CREATE, create_fields(path, data, acl, flags))
}

/// create2: as [`create`], answered with a Stat.
#[must_use]
pub fn create2(path: &str, data: Option<&[u8]>, acl: &[Acl], flags: i32) -> Request {
    Request::new(op::CREATE2, create_fields(path, data, acl, flags))
}

/// createContainer: flags 4.
#[must_use]
pub fn create_container(path: &str, data: Option<&[u8]>, acl: &[Acl], flags: i32) -> Request {
    Request::new(op::CREATE_CONTAINER, create_fields(path, data, acl, flags))
}

/// createTTL: flags 5, or 6 with a sequence suffix; the TTL is in milliseconds.
#[must_use]
pub fn create_ttl(path: &str, data: Option<&[u8]>, acl: &[Acl], flags: i32, ttl: i64) -> Request {
    Request::new(op::CREATE_TTL, create_fields(path, data, acl, flags).long(ttl))
}

/// delete: version -1 matches any.
#[must_use]
pub fn delete(path: &str, version: i32) -> Request {
    Request::new(op::DELETE, Body::new().string(path).int(version))
}

/// deleteContainer: what only the server's own reaper may ask for.
#[must_use]
pub fn delete_container(path: &str) -> Request {
    Request::new(op::DELETE_CONTAINER, Body::new().string(path))
}

fn read(op: i32, path: &str, watch: bool) -> Request {
    Request::new(op, Body::new().string(path).boolean(watch))
}

/// exists.
#[must_use]
pub fn exists(path: &str, watch: bool) -> Request {
    read(op::EXISTS, path, watch)
}

/// getData.
#[must_use]
pub fn get_data(path: &str, watch: bool) -> Request {
    read(op::GET_DATA, path, watch)
}

/// getChildren.
#[must_use]
pub fn get_children(path: &str, watch: bool) -> Request {
    read(op::GET_CHILDREN, path, watch)
}

/// getChildren2.
#[must_use]
pub fn get_children2(path: &str, watch: bool) -> Request {
    read(op::GET_CHILDREN2, path, watch)
}

/// setData: version -1 matches any.
#[must_use]
pub fn set_data(path: &str, data: Option<&[u8]>, version: i32) -> Request {
    Request::new(op::SET_DATA, Body::new().string(path).buffer(data).int(version))
}

/// getACL.
#[must_use]
pub fn get_acl(path: &str) -> Request {
    Request::new(op::GET_ACL, Body::new().string(path))
}

/// setACL: the version is the node's aversion, -1 matches any.
#[must_use]
pub fn set_acl(path: &str, acl: &[Acl], version: i32) -> Request {
    Request::new(op::SET_ACL, Body::new().string(path).acls(acl).int(version))
}

/// sync.
#[must_use]
pub fn sync(path: &str) -> Request {
    Request::new(op::SYNC, Body::new().string(path))
}

/// ping.
#[must_use]
pub fn ping() -> Request {
    Request::new(op::PING, Body::new())
}

/// check: legal only inside [`multi`].
#[must_use]
pub fn check(path: &str, version: i32) -> Request {
    Request::new(op::CHECK, Body::new().string(path).int(version))
}

fn multi_header(body: Body, kind: i32, done: bool, err: i32) -> Body {
    body.int(kind).boolean(done).int(err)
}

/// The sub-requests of a multi without a terminator, for malformed ones.
#[must_use]
pub fn multi_items(items: &[Request]) -> Body {
    items.iter().fold(Body::new(), |body, item| {
        multi_header(body, item.op, false, -1).raw(item.body.as_bytes())
    })
}

/// A terminator of any type: a server looks only at its `done`.
#[must_use]
pub fn multi_terminator(body: Body, kind: i32) -> Body {
    multi_header(body, kind, true, -1)
}

/// multi: create, create2, createContainer, createTTL, delete, setData and check.
#[must_use]
pub fn multi(items: &[Request]) -> Request {
    Request::new(op::MULTI, multi_terminator(multi_items(items), op::ERROR))
}

/// multiRead: getData and getChildren.
#[must_use]
pub fn multi_read(items: &[Request]) -> Request {
    Request::new(op::MULTI_READ, multi_terminator(multi_items(items), op::ERROR))
}

/// reconfig: null lists where `None`.
#[must_use]
pub fn reconfig(
    joining: Option<&str>,
    leaving: Option<&str>,
    members: Option<&str>,
    from_config: i64,
) -> Request {
    let body = [joining, leaving, members]
        .iter()
        .fold(Body::new(), |body, list| body.buffer(list.map(str::as_bytes)));
    Request::new(op::RECONFIG, body.long(from_config))
}

/// checkWatches: types 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive.
#[must_use]
pub fn check_watches(path: &str, kind: i32) -> Request {
    Request::new(op::CHECK_WATCHES, Body::new().string(path).int(kind))
}

/// removeWatches: types as in [`check_watches`].
#[must_use]
pub fn remove_watches(path: &str, kind: i32) -> Request {
    Request::new(op::REMOVE_WATCHES, Body::new().string(path).int(kind))
}

/// auth.
#[must_use]
pub fn auth(scheme: &str, credentials: &[u8]) -> Request {
    Request::new(op::AUTH, Body::new().int(0).string(scheme).buffer(Some(credentials)))
}

/// sasl.
#[must_use]
pub fn sasl(token: Option<&[u8]>) -> Request {
    Request::new(op::SASL, Body::new().buffer(token))
}

/// setWatches.
#[must_use]
pub fn set_watches(zxid: i64, data: &[&str], exist: &[&str], child: &[&str]) -> Request {
    let body = Body::new().long(zxid).strings(data).strings(exist).strings(child);
    Request::new(op::SET_WATCHES, body)
}

/// setWatches2: the lists of [`set_watches`] in their order, then persistent and recursive.
#[must_use]
pub fn set_watches2(zxid: i64, lists: [&[&str]; 5]) -> Request {
    let body = lists.iter().fold(Body::new().long(zxid), |body, list| body.strings(list));
    Request::new(op::SET_WATCHES2, body)
}

/// addWatch: mode 0 persistent, 1 persistent recursive.
#[must_use]
pub fn add_watch(path: &str, mode: i32) -> Request {
    Request::new(op::ADD_WATCH, Body::new().string(path).int(mode))
}

/// getEphemerals.
#[must_use]
pub fn get_ephemerals(prefix: Option<&str>) -> Request {
    Request::new(op::GET_EPHEMERALS, Body::new().buffer(prefix.map(str::as_bytes)))
}

/// getAllChildrenNumber.
#[must_use]
pub fn get_all_children_number(path: &str) -> Request {
    Request::new(op::GET_ALL_CHILDREN_NUMBER, Body::new().string(path))
}

/// whoAmI.
#[must_use]
pub fn who_am_i() -> Request {
    Request::new(op::WHO_AM_I, Body::new())
}

/// createSession: what a client must not send.
#[must_use]
pub fn create_session(timeout_millis: i32) -> Request {
    Request::new(op::CREATE_SESSION, Body::new().int(timeout_millis))
}

/// closeSession.
#[must_use]
pub fn close_session() -> Request {
    Request::new(op::CLOSE_SESSION, Body::new())
}
