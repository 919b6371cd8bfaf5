//! What a server asks of its leader and what it is told: plain data, and its bytes.
//!
//! ```text
//! server                                             leader
//!    │ Request{hosted: its sessions} ─────────────────► │  once a session of Zab
//!    │ ◄────────────────── Response{welcome: proposed}  │
//!    │ Request{asks, touched} ────────────────────────► │
//!    │ ◄── Response{verdicts} ◄── records ◄── commits   │  verdict before its record
//! ```
//!
//! Zab's sessions carry these: within one, nothing is lost or reordered, records included. So who
//! hears of a record has heard before whose ask it is. What was asked in a session that ended is in
//! doubt until the history shows what became of it; see [`super::route`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::submission::{Ask, Item, Origin};
use crate::acl::Identity;
use crate::codec::{Decoder, Encoder, Malformed};
use crate::wire::handshake::Password;
use crate::wire::{ErrorCode, OpCode};
use crate::zxid::{ServerId, SessionId, Zxid};

/// The layout of requests. The first one knew no local sessions; the last one is that of those which say
/// what is coming or whether there is room, and nothing else.
const REQUEST_VERSION_BESIDE: u8 = 3;
const REQUEST_VERSION: u8 = 2;
const REQUEST_VERSION_ALL_GLOBAL: u8 = 1;

/// The layout of responses.
const RESPONSE_VERSION: u8 = 1;

/// What an ask takes beside its body and its identities, bytes, whatever it is.
const ASK_BYTES_MAX: usize = 90;

/// Orders the connections that held a session: the leader's epoch, then its count. Whoever presents
/// the larger one holds the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold(pub u64);

impl Hold {
    /// What a session's begin gives where only the history tells of it, at `zxid`: whoever was given the
    /// session since has a larger one. Every server comes to the same.
    pub fn of_history(zxid: Zxid) -> Self {
        Self(u64::from(zxid.epoch().0) << 32)
    }
}

/// A session that a server's connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hosted {
    pub session: SessionId,
    pub origin: Origin,
    pub hold: Hold,
    pub timeout_ms: i32,
}

/// What the server that passes an ask on knows of the ask's session. Only a write depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// It is in every server's table, or over.
    #[default]
    Global,
    /// It is that server's own: in nobody's table, and alive.
    Local,
    /// The same; and before its first ephemeral node it becomes global, with these.
    Upgradable { timeout_ms: i32, password: Password },
}

/// One ask on its way to the leader.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Rises with each ask of a server's life.
    pub number: u64,
    pub item: Item,
    pub scope: Scope,
    pub body: Arc<[u8]>,
}

/// From a server to its leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// The first of a session: who is connected here.
    pub hosted: Option<Vec<Hosted>>,
    pub asks: Vec<Asked>,
    /// Sessions heard from, with their timeouts in milliseconds.
    pub touched: Vec<(SessionId, i32)>,
    /// Connections that held a session and are gone.
    pub left: Vec<(SessionId, Origin)>,
    /// Servers whose words come to this one behind something that is long on its way.
    pub coming: Vec<ServerId>,
    /// Whether its log has room for what is written next, where the leader takes that to be otherwise.
    pub room: Option<bool>,
    /// How much of the history the server had applied when it said so: which local sessions it knew
    /// to be global.
    pub applied: Zxid,
}

/// How much the asks of a request that grows take of a message.
#[derive(Debug, Default)]
pub(super) struct Size {
    bytes: usize,
    lists: BTreeSet<usize>,
}

impl Size {
    /// Counts an ask in: what a request of it and all before it takes, bytes, but for what it says
    /// beside its asks.
    pub fn add(&mut self, asked: &Asked) -> usize {
        let identities = &asked.item.identities;
        if self.lists.insert(place_of(identities)) {
            let lengths = identities.iter().map(|it| 8 + it.scheme.len() + it.id.len());
            self.bytes += 4 + lengths.sum::<usize>();
        }
        self.bytes += ASK_BYTES_MAX + asked.body.len();
        self.bytes
    }
}

/// Where a list stands in memory: no two that live at once have the same place.
fn place_of(identities: &Arc<[Identity]>) -> usize {
    identities.as_ptr().addr()
}

/// What becomes of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This proposal, once it is committed. An opened session is held by `hold`.
    Proposed { zxid: Zxid, hold: Hold },
    /// This answer, behind that zxid.
    Refused { behind: Zxid, code: ErrorCode },
    /// A sync: everything up to there.
    Synced { upto: Zxid },
    /// The session goes on, behind that zxid.
    Resumed { behind: Zxid, hold: Hold, timeout_ms: i32, password: Password },
    /// There is no such session, or that is not its password.
    Expired,
    /// No session can be begun now.
    Closed,
}

/// From a leader to one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    /// Answers [`Request::hosted`] of this session of Zab: what was asked in earlier ones is among
    /// the proposals up to here or nowhere.
    pub welcome: Option<(u64, Zxid)>,
    /// By the asks' numbers.
    pub verdicts: Vec<(u64, Verdict)>,
    /// Connections whose session moved elsewhere.
    pub displaced: Vec<(SessionId, Origin)>,
    /// The tree's digest at a zxid.
    pub digest: Option<(Zxid, u64)>,
}

/// The sessions of whose begin, connection, liveness or end a server's request tells its leader; `None`
/// where it does not decode. For those who judge what servers say: a local session is none of them.
pub fn sessions_told_of(request: &[u8]) -> Option<Vec<SessionId>> {
    let Request { hosted, asks, touched, left, .. } = Request::decode(request).ok()?;
    let hosted = hosted.unwrap_or_default().into_iter().map(|it| it.session);
    let of_session = |ask: &Ask| match ask {
        Ask::Open { .. } | Ask::Resume { .. } | Ask::Write(OpCode::CloseSession) => true,
        Ask::Write(_) | Ask::Sync | Ask::Ephemerals | Ask::Left => false,
    };
    let asked = asks.into_iter().filter(|it| of_session(&it.item.ask)).map(|it| it.item.session);
    let heard = touched.into_iter().map(|it| it.0);
    let left = left.into_iter().map(|it| it.0);
    Some(hosted.chain(asked).chain(heard).chain(left).collect())
}

/// The sessions of which a server's request says that it holds them, so that their leader takes it for
/// their place; `None` where it does not decode. For those who judge what servers say.
pub fn sessions_held_by(request: &[u8]) -> Option<Vec<SessionId>> {
    let Request { hosted, asks, .. } = Request::decode(request).ok()?;
    let hosted = hosted.unwrap_or_default().into_iter().map(|it| it.session);
    let begins = |it: &Asked| {
        matches!(it.item.ask, Ask::Open { .. } | Ask::Resume { .. })
            || matches!(it.scope, Scope::Upgradable { .. })
    };
    let asked = asks.into_iter().filter(begins).map(|it| it.item.session);
    Some(hosted.chain(asked).collect())
}

impl Request {
    pub fn is_empty(&self) -> bool {
        self.hosted.is_none()
            && self.asks.is_empty()
            && self.touched.is_empty()
            && self.left.is_empty()
            && self.coming.is_empty()
            && self.room.is_none()
    }

    pub fn encode(&self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(64);
        let e = &mut Encoder(&mut out);
        let is_beside = !self.coming.is_empty() || self.room.is_some();
        let version = if is_beside { REQUEST_VERSION_BESIDE } else { REQUEST_VERSION };
        e.u8(version).u64(self.applied.0).u8(self.hosted.is_some().into());
        if let Some(hosted) = &self.hosted {
            e.all(hosted, |e, it| {
                origin(e.u64(it.session.0).u64(it.hold.0).i32(it.timeout_ms), it.origin);
            });
        }
        // Asks of one connection share their identities, and connections take turns: each list is
        // sent once.
        let mut lists: Vec<&Arc<[Identity]>> = Vec::new();
        let mut places = Vec::with_capacity(self.asks.len());
        let mut known = BTreeMap::new();
        for ask in &self.asks {
            let identities = &ask.item.identities;
            let place = *known.entry(place_of(identities)).or_insert_with(|| {
                lists.push(identities);
                lists.len() as u32 - 1
            });
            places.push(place);
        }
        e.all(&lists, |e, list| {
            e.all(list, |e, identity| {
                e.bytes(identity.scheme.as_bytes()).bytes(identity.id.as_bytes());
            });
        });
        let mut places = places.into_iter();
        e.all(&self.asks, |e, asked| {
            let Asked { number, item, scope, body } = asked;
            e.u64(*number).u64(item.session.0).i32(item.cxid);
            e.u32(places.next().expect("one for each"));
            origin(e, item.origin);
            put_ask(e, item.ask);
            put_scope(e, *scope);
            e.bytes(body);
        });
        e.all(&self.touched, |e, &(session, timeout_ms)| {
            e.u64(session.0).i32(timeout_ms);
        });
        e.all(&self.left, |e, &(session, left)| {
            origin(e.u64(session.0), left);
        });
        if is_beside {
            e.all(&self.coming, |e, id| {
                e.u32(id.0);
            });
            e.u8(self.room.map_or(0, |has_room| 1 + u8::from(has_room)));
        }
        out.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decoder(bytes);
        let version = d.u8()?;
        let (applied, scoped) = match version {
            REQUEST_VERSION | REQUEST_VERSION_BESIDE => (Zxid(d.u64()?), true),
            REQUEST_VERSION_ALL_GLOBAL => (Zxid::ZERO, false),
            _unknown => return Err(Malformed),
        };
        let hosted = if d.flag()? {
            Some(d.all(|d| {
                Ok(Hosted {
                    session: SessionId(d.u64()?),
                    hold: Hold(d.u64()?),
                    timeout_ms: get_timeout(d)?,
                    origin: get_origin(d)?,
                })
            })?)
        } else {
            None
        };
        let lists: Vec<Arc<[Identity]>> = d.all(|d| {
            let list = d.all(|d| Ok(Identity { scheme: text(d)?, id: text(d)? }))?;
            Ok(list.into())
        })?;
        let asks = d.all(|d| {
            let (number, session, cxid) = (d.u64()?, SessionId(d.u64()?), d.i32()?);
            let list = d.u32()? as usize;
            let identities = Arc::clone(lists.get(list).ok_or(Malformed)?);
            let origin = get_origin(d)?;
            let ask = get_ask(d)?;
            let scope = if scoped { get_scope(d)? } else { Scope::Global };
            let begins =
                matches!(ask, Ask::Open { .. }) || matches!(scope, Scope::Upgradable { .. });
            if begins && session == SessionId::NONE {
                return Err(Malformed);
            }
            let body = d.bytes()?;
            let item = Item::new(origin, session, cxid, ask, identities);
            Ok(Asked { number, item, scope, body })
        })?;
        let touched = d.all(|d| Ok((SessionId(d.u64()?), get_timeout(d)?)))?;
        let left = d.all(|d| Ok((SessionId(d.u64()?), get_origin(d)?)))?;
        let is_beside = version == REQUEST_VERSION_BESIDE;
        let coming = if is_beside { d.all(|d| Ok(ServerId(d.u32()?)))? } else { Vec::new() };
        let room = if is_beside { get_room(d)? } else { None };
        d.end()?;
        Ok(Self { hosted, asks, touched, left, coming, room, applied })
    }
}

impl Response {
    pub fn is_empty(&self) -> bool {
        self.welcome.is_none()
            && self.verdicts.is_empty()
            && self.displaced.is_empty()
            && self.digest.is_none()
    }

    pub fn encode(&self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(64);
        let e = &mut Encoder(&mut out);
        e.u8(RESPONSE_VERSION).u8(self.welcome.is_some().into());
        if let Some((session, proposed)) = self.welcome {
            e.u64(session).u64(proposed.0);
        }
        e.all(&self.verdicts, |e, &(number, verdict)| {
            e.u64(number);
            match verdict {
                Verdict::Proposed { zxid, hold } => e.u8(0).u64(zxid.0).u64(hold.0),
                Verdict::Refused { behind, code } => e.u8(1).u64(behind.0).i32(code.code()),
                Verdict::Synced { upto } => e.u8(2).u64(upto.0),
                Verdict::Resumed { behind, hold, timeout_ms, password } => {
                    e.u8(3).u64(behind.0).u64(hold.0).i32(timeout_ms);
                    e.0.extend_from_slice(&password.0);
                    e
                }
                Verdict::Expired => e.u8(4),
                Verdict::Closed => e.u8(5),
            };
        });
        e.all(&self.displaced, |e, &(session, left)| {
            origin(e.u64(session.0), left);
        });
        e.u8(self.digest.is_some().into());
        if let Some((zxid, digest)) = self.digest {
            e.u64(zxid.0).u64(digest);
        }
        out.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decoder(bytes);
        if d.u8()? != RESPONSE_VERSION {
            return Err(Malformed);
        }
        let welcome = if d.flag()? { Some((d.u64()?, Zxid(d.u64()?))) } else { None };
        let verdicts = d.all(|d| {
            let number = d.u64()?;
            let verdict = match d.u8()? {
                0 => Verdict::Proposed { zxid: Zxid(d.u64()?), hold: Hold(d.u64()?) },
                1 => Verdict::Refused {
                    behind: Zxid(d.u64()?),
                    code: ErrorCode::from_code(d.i32()?).ok_or(Malformed)?,
                },
                2 => Verdict::Synced { upto: Zxid(d.u64()?) },
                3 => Verdict::Resumed {
                    behind: Zxid(d.u64()?),
                    hold: Hold(d.u64()?),
                    timeout_ms: d.i32()?,
                    password: Password(d.array()?),
                },
                4 => Verdict::Expired,
                5 => Verdict::Closed,
                _unknown => return Err(Malformed),
            };
            Ok((number, verdict))
        })?;
        let displaced = d.all(|d| Ok((SessionId(d.u64()?), get_origin(d)?)))?;
        let digest = if d.flag()? { Some((Zxid(d.u64()?), d.u64()?)) } else { None };
        d.end()?;
        Ok(Self { welcome, verdicts, displaced, digest })
    }
}

fn origin(e: &mut Encoder<'_>, origin: Origin) {
    e.u16(origin.reactor).u32(origin.connection).u32(origin.generation).u32(origin.sequence);
}

fn get_origin(d: &mut Decoder<'_>) -> Result<Origin, Malformed> {
    Ok(Origin { reactor: d.u16()?, connection: d.u32()?, generation: d.u32()?, sequence: d.u32()? })
}

fn get_room(d: &mut Decoder<'_>) -> Result<Option<bool>, Malformed> {
    Ok(match d.u8()? {
        0 => None,
        1 => Some(false),
        2 => Some(true),
        _unknown => return Err(Malformed),
    })
}

fn put_ask(e: &mut Encoder<'_>, ask: Ask) {
    match ask {
        Ask::Write(op) => {
            e.u8(0).i32(op.code());
        }
        Ask::Sync => {
            e.u8(1);
        }
        Ask::Open { timeout_ms, password, .. } => {
            e.u8(2).i32(timeout_ms).0.extend_from_slice(&password.0);
        }
        Ask::Resume { timeout_ms, .. } => {
            e.u8(3).i32(timeout_ms);
        }
        Ask::Ephemerals | Ask::Left => unreachable!("answered where it is asked"),
    }
}

fn get_ask(d: &mut Decoder<'_>) -> Result<Ask, Malformed> {
    Ok(match d.u8()? {
        0 => Ask::Write(OpCode::from_code(d.i32()?).ok_or(Malformed)?),
        1 => Ask::Sync,
        // A leader takes all sessions alike.
        2 => {
            let (timeout_ms, password) = (get_timeout(d)?, Password(d.array()?));
            Ask::Open { timeout_ms, password, read_only: false }
        }
        3 => Ask::Resume { timeout_ms: get_timeout(d)?, read_only: false },
        _unknown => return Err(Malformed),
    })
}

fn put_scope(e: &mut Encoder<'_>, scope: Scope) {
    match scope {
        Scope::Global => {
            e.u8(0);
        }
        Scope::Local => {
            e.u8(1);
        }
        Scope::Upgradable { timeout_ms, password } => {
            e.u8(2).i32(timeout_ms).0.extend_from_slice(&password.0);
        }
    }
}

fn get_scope(d: &mut Decoder<'_>) -> Result<Scope, Malformed> {
    Ok(match d.u8()? {
        0 => Scope::Global,
        1 => Scope::Local,
        2 => Scope::Upgradable { timeout_ms: get_timeout(d)?, password: Password(d.array()?) },
        _unknown => return Err(Malformed),
    })
}

/// A session's timeout, milliseconds. What is not positive is nothing that a server negotiates, and
/// would end its session at once.
fn get_timeout(d: &mut Decoder<'_>) -> Result<i32, Malformed> {
    Ok(d.i32()?.max(1))
}

fn text(d: &mut Decoder<'_>) -> Result<String, Malformed> {
    String::from_utf8(d.slice()?.to_vec()).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests;
