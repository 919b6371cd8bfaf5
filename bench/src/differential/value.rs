//! What a client sees, as values that know how they are to be compared.

use std::io;

use super::script::Op;
use crate::raw::{Reader, Reply, Session, Stat, op};

/// A part of what a client sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A number that must be equal.
    Int(i64),
    /// A zxid: equal in its distance to others.
    Zxid(i64),
    /// When the transaction `zxid` was decided, in milliseconds: one time per transaction.
    Time {
        /// The transaction.
        zxid: i64,
        /// Its time.
        millis: i64,
    },
    /// A session id, or 0: equal in the client that it belongs to.
    Session(i64),
    /// A text that must be equal; `None` is null.
    Text(Option<String>),
    /// Bytes that must be equal; `None` is null.
    Bytes(Option<Vec<u8>>),
    /// Values that must be equal in their order.
    List(Vec<Value>),
    /// Values that must be equal in any order.
    Set(Vec<Value>),
    /// Named parts.
    Record(&'static str, Vec<(&'static str, Value)>),
}

impl Value {
    /// A record's name; empty for everything else.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Record(name, _) => name,
            _ => "",
        }
    }

    /// A record's part of this name.
    #[must_use]
    pub fn part(&self, wanted: &str) -> Option<&Value> {
        match self {
            Self::Record(_, parts) => {
                parts.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The same with `to` for `from` where a text begins with it.
    #[must_use]
    pub fn renamed(&self, from: &str, to: &str) -> Value {
        let all = |values: &[Value]| values.iter().map(|value| value.renamed(from, to)).collect();
        match self {
            Self::Text(Some(text)) => match text.strip_prefix(from) {
                Some(rest) => Self::Text(Some(format!("{to}{rest}"))),
                None => self.clone(),
            },
            Self::List(values) => Self::List(all(values)),
            Self::Set(values) => Self::Set(all(values)),
            Self::Record(name, parts) => {
                let parts = parts.iter().map(|(name, value)| (*name, value.renamed(from, to)));
                Self::Record(name, parts.collect())
            }
            _ => self.clone(),
        }
    }

    /// The number of a record's part, whatever kind of number it is.
    #[must_use]
    pub fn number(&self, part: &str) -> Option<i64> {
        match self.part(part)? {
            Self::Int(number) | Self::Zxid(number) | Self::Session(number) => Some(*number),
            _ => None,
        }
    }
}

/// Something that happened on a connection and has no parts.
pub(super) fn happened(name: &'static str) -> Value {
    Value::Record(name, Vec::new())
}

/// How a read failed: the connection was closed, stayed silent, or carried nonsense.
pub(super) fn failed(error: &io::Error) -> Value {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => happened("closed"),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => happened("silence"),
        io::ErrorKind::ConnectionRefused => happened("refused"),
        _ => Value::Record("nonsense", vec![("error", Value::Text(Some(error.to_string())))]),
    }
}

/// The answer to a handshake; `password_kept` says whether a resumed session has its password back.
pub(super) fn connected(session: &Session, password_kept: bool) -> Value {
    let flag = |set: bool| Value::Int(i64::from(set));
    let parts = vec![
        ("protocolVersion", Value::Int(session.protocol_version.into())),
        ("timeOut", Value::Int(session.timeout_millis.into())),
        ("sessionId", Value::Session(session.id)),
        ("passwordLength", Value::Int(session.password.len() as i64)),
        ("passwordKept", flag(password_kept)),
        ("expired", flag(session.is_expired())),
        ("readOnly", session.read_only.map_or(Value::Text(None), flag)),
    ];
    Value::Record("connected", parts)
}

/// A frame with a header: a notification, or the reply to `op`.
pub(super) fn frame(op: Option<&Op>, reply: &Reply) -> Value {
    let (name, body) = if reply.xid == -1 {
        ("event", reply.decode(event))
    } else if let Some(op) = op.filter(|op| has_body(op, reply)) {
        ("reply", reply.decode(|reader| body(op.code(), reader)))
    } else {
        ("reply", reply.decode(Reader::end_as_nothing))
    };
    // What cannot be decoded is compared as bytes: two servers may agree in it nevertheless.
    let body = body.unwrap_or_else(|_| Value::Bytes(Some(reply.body.clone())));
    let parts = vec![
        ("xid", Value::Int(reply.xid.into())),
        ("zxid", Value::Zxid(reply.zxid)),
        ("err", Value::Int(reply.err.into())),
        ("body", body),
    ];
    Value::Record(name, parts)
}

/// A reply with an error ends behind its header, but for a multiRead that fails on the way: the
/// results that it had are left there.
fn has_body(op: &Op, reply: &Reply) -> bool {
    reply.err == 0 || (op.code() == op::MULTI_READ && !reply.body.is_empty())
}

trait EndAsNothing {
    fn end_as_nothing(&mut self) -> io::Result<Value>;
}

impl EndAsNothing for Reader<'_> {
    fn end_as_nothing(&mut self) -> io::Result<Value> {
        self.end()?;
        Ok(nothing())
    }
}

fn nothing() -> Value {
    Value::List(Vec::new())
}

fn event(reader: &mut Reader<'_>) -> io::Result<Value> {
    let (kind, state) = (reader.int()?, reader.int()?);
    let path = text(reader)?;
    let parts = vec![
        ("type", Value::Int(kind.into())),
        ("state", Value::Int(state.into())),
        ("path", path),
    ];
    Ok(Value::Record("WatcherEvent", parts))
}

fn body(code: i32, reader: &mut Reader<'_>) -> io::Result<Value> {
    Ok(match code {
        op::CREATE | op::SYNC => Value::Record("Path", vec![("path", text(reader)?)]),
        op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => path_and_stat(reader)?,
        op::EXISTS | op::SET_DATA | op::SET_ACL => stat(reader)?,
        op::GET_DATA | op::RECONFIG => data_and_stat(reader)?,
        op::GET_ACL => {
            let parts = vec![("acl", acl(reader)?), ("stat", stat(reader)?)];
            Value::Record("GetACL", parts)
        }
        op::GET_CHILDREN | op::GET_EPHEMERALS => names(reader)?,
        op::GET_CHILDREN2 => {
            Value::Record("Children2", vec![("names", names(reader)?), ("stat", stat(reader)?)])
        }
        op::ADD_WATCH | op::GET_ALL_CHILDREN_NUMBER => Value::Int(reader.int()?.into()),
        op::MULTI | op::MULTI_READ => results(reader)?,
        op::WHO_AM_I => {
            let identities = (0..reader.count()?).map(|_| {
                let (scheme, user) = (text(reader)?, text(reader)?);
                Ok(Value::List(vec![scheme, user]))
            });
            Value::Set(identities.collect::<io::Result<_>>()?)
        }
        op::SASL => Value::Bytes(reader.buffer()?.map(<[u8]>::to_vec)),
        _ => reader.end_as_nothing()?,
    })
}

/// A text. ZooKeeper sends back U+FFFD where a client has sent malformed UTF-8, how often depends
/// on the decoder, and characters above U+FFFF as surrogates, which are malformed: one U+FFFD
/// stands for all in a row.
fn text(reader: &mut Reader<'_>) -> io::Result<Value> {
    let Some(bytes) = reader.buffer()? else { return Ok(Value::Text(None)) };
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text = text.replace(|character| '\u{ffff}' < character, "\u{fffd}");
    while text.contains("\u{fffd}\u{fffd}") {
        text = text.replace("\u{fffd}\u{fffd}", "\u{fffd}");
    }
    Ok(Value::Text(Some(text)))
}

fn names(reader: &mut Reader<'_>) -> io::Result<Value> {
    let names = (0..reader.count()?).map(|_| text(reader));
    Ok(Value::Set(names.collect::<io::Result<_>>()?))
}

fn path_and_stat(reader: &mut Reader<'_>) -> io::Result<Value> {
    let path = text(reader)?;
    Ok(Value::Record("Create2", vec![("path", path), ("stat", stat(reader)?)]))
}

fn data_and_stat(reader: &mut Reader<'_>) -> io::Result<Value> {
    let data = Value::Bytes(reader.buffer()?.map(<[u8]>::to_vec));
    Ok(Value::Record("Data", vec![("data", data), ("stat", stat(reader)?)]))
}

fn stat(reader: &mut Reader<'_>) -> io::Result<Value> {
    let stat = Stat::read(reader)?;
    let parts = vec![
        ("czxid", Value::Zxid(stat.czxid)),
        ("mzxid", Value::Zxid(stat.mzxid)),
        ("ctime", Value::Time { zxid: stat.czxid, millis: stat.ctime }),
        ("mtime", Value::Time { zxid: stat.mzxid, millis: stat.mtime }),
        ("version", Value::Int(stat.version.into())),
        ("cversion", Value::Int(stat.cversion.into())),
        ("aversion", Value::Int(stat.aversion.into())),
        ("ephemeralOwner", Value::Session(stat.ephemeral_owner)),
        ("dataLength", Value::Int(stat.data_length.into())),
        ("numChildren", Value::Int(stat.num_children.into())),
        ("pzxid", Value::Zxid(stat.pzxid)),
    ];
    Ok(Value::Record("Stat", parts))
}

/// An ACL keeps its order, except that the expansion of `auth` has none: several digest entries
/// may come from it.
fn acl(reader: &mut Reader<'_>) -> io::Result<Value> {
    let mut digests = 0;
    let entries = (0..reader.count()?).map(|_| {
        let perms = Value::Int(reader.int()?.into());
        let scheme = text(reader)?;
        digests += usize::from(scheme == Value::Text(Some("digest".to_owned())));
        let parts = vec![("perms", perms), ("scheme", scheme), ("id", text(reader)?)];
        Ok(Value::Record("ACL", parts))
    });
    let entries = entries.collect::<io::Result<_>>()?;
    Ok(if digests < 2 { Value::List(entries) } else { Value::Set(entries) })
}

fn results(reader: &mut Reader<'_>) -> io::Result<Value> {
    let mut results = Vec::new();
    loop {
        let (kind, done, err) = (reader.int()?, reader.boolean()?, reader.int()?);
        let mut parts = vec![
            ("type", Value::Int(kind.into())),
            ("done", Value::Int(done.into())),
            ("err", Value::Int(err.into())),
        ];
        if !done {
            let result = match kind {
                op::ERROR => Value::Int(reader.int()?.into()),
                op::DELETE | op::CHECK => nothing(),
                _ => body(kind, reader)?,
            };
            parts.push(("result", result));
        }
        results.push(Value::Record("MultiResult", parts));
        if done {
            return Ok(Value::List(results));
        }
    }
}
