//! The sessions that are this server's own: it alone begins, pings, moves and ends them.
//!
//! ```text
//! Open ──► Local ──► reads, pings, another connection, silence, end: here, without a word to anybody
//!            │ writes ──► the leader, which is told that the session is local
//!            └ first ephemeral node ──► a record begins the same session on every server: global
//! ```
//!
//! Nothing of this is in the history or on a disk: with the process they are gone. What ends one is
//! this server's clock alone, so that no change of leader, and no want of one, ends any.

mod serve;
pub(super) mod upgrade;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::submission::{Ask, Item, Origin};
use super::{Connection, connection_of, is_same_connection};
use crate::session::Expiry;
use crate::wire::OpCode;
use crate::wire::handshake::Password;
use crate::zxid::SessionId;

/// One session that nobody else knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub password: Password,
    /// What its last connection negotiated.
    pub timeout_ms: i32,
    /// Its last connection.
    pub origin: Origin,
    /// Whether that one is still there.
    pub connected: bool,
    /// Its client has asked for its end.
    pub closing: bool,
}

impl Local {
    /// Whether this connection has the session.
    pub fn is_held_by(&self, origin: Origin) -> bool {
        self.connected && is_same_connection(self.origin, origin)
    }
}

/// Something that is answered here, and not yet: a session's begin until this server may show its
/// state; its end, and its move, until what it asked before is answered.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub item: Item,
    pub body: Arc<[u8]>,
    pub since_ms: i64,
    /// The end of a session whose connection is gone: nobody hears of it.
    pub told: bool,
}

impl Waiting {
    pub const fn shakes_hands(&self) -> bool {
        matches!(self.item.ask, Ask::Open { .. } | Ask::Resume { .. })
    }
}

#[derive(Debug)]
pub(super) struct Locals {
    sessions: BTreeMap<SessionId, Local>,
    expiry: Expiry,
    /// In the order in which it was asked.
    waiting: VecDeque<Waiting>,
    /// Whose leader was asked for an ephemeral node, which has not come of it yet. Also of those that
    /// ended here meanwhile.
    pub upgrading: BTreeSet<SessionId>,
}

impl Locals {
    /// None. Their silence is measured in steps of `tick_ms`.
    pub fn new(tick_ms: i32) -> Self {
        Self {
            sessions: BTreeMap::new(),
            expiry: Expiry::new(tick_ms),
            waiting: VecDeque::new(),
            upgrading: BTreeSet::new(),
        }
    }

    pub fn get(&self, session: SessionId) -> Option<&Local> {
        self.sessions.get(&session)
    }

    pub fn get_mut(&mut self, session: SessionId) -> Option<&mut Local> {
        self.sessions.get_mut(&session)
    }

    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Local)> {
        self.sessions.iter().map(|(&id, local)| (id, local))
    }

    /// When each of them ends if it stays silent.
    pub const fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    pub fn begin(&mut self, session: SessionId, local: Local, now_ms: i64) {
        self.expiry.add(session, local.timeout_ms, now_ms);
        let before = self.sessions.insert(session, local);
        assert!(before.is_none(), "a session's id was given away twice");
    }

    /// Takes a session out: it is over, or global from now on.
    pub fn remove(&mut self, session: SessionId) -> Option<Local> {
        self.expiry.remove(session);
        self.sessions.remove(&session)
    }

    /// Notes that the session's client was heard. Whether it is one of these.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32, now_ms: i64) -> bool {
        self.expiry.touch(session, timeout_ms, now_ms)
    }

    /// The connection is gone, or the session has another one. Whether the session is one of these.
    pub fn detach(&mut self, session: SessionId, origin: Origin) -> bool {
        let Some(local) = self.sessions.get_mut(&session) else { return false };
        local.connected &= !is_same_connection(local.origin, origin);
        true
    }

    /// This server stood still: the silence was its own.
    pub fn prolong_all(&mut self, now_ms: i64) {
        self.expiry.prolong_all(now_ms);
    }

    /// Takes out those that have been silent for too long. Whoever waits to be given one is its
    /// client, and keeps it alive.
    pub fn take_silent(&mut self, now_ms: i64, held_back_ms: i64) -> Vec<(SessionId, Local)> {
        for it in &self.waiting {
            if let Ask::Resume { timeout_ms, .. } = it.item.ask {
                self.expiry.touch(it.item.session, timeout_ms, now_ms);
            }
        }
        let mut due = Vec::new();
        self.expiry.due(now_ms - held_back_ms, &mut due);
        let over = due.into_iter().map(|due| due.session);
        let over = over.filter_map(|id| Some((id, self.sessions.remove(&id)?)));
        over.collect()
    }

    pub fn wait(&mut self, item: Item, body: &[u8], since_ms: i64) {
        let (body, told) = (body.into(), false);
        self.waiting.push_back(Waiting { item, body, since_ms, told });
    }

    /// What waited goes on waiting.
    pub fn wait_on(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// The session goes on at another connection: what an old one asked to end it is not done any more.
    /// Returns what is not answered of that.
    pub fn overtake(&mut self, session: SessionId) -> Vec<Item> {
        let old = |it: &Waiting| it.item.session == session && !it.shakes_hands();
        let items = self.waiting.iter().filter(|it| old(it) && !it.told);
        let items = items.map(|it| it.item.clone()).collect();
        self.waiting.retain(|it| !old(it));
        items
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The sessions of which something waits for what they asked before.
    pub fn waiting_behind(&self) -> BTreeSet<SessionId> {
        let begins = |it: &&Waiting| matches!(it.item.ask, Ask::Open { .. });
        self.waiting.iter().filter(|it| !begins(it)).map(|it| it.item.session).collect()
    }

    /// Everything that waits, in order.
    pub fn take_waiting(&mut self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.waiting)
    }

    /// Takes what waits since before `since_ms`, and what its connections, and those that are `gone`, asked behind
    /// it. The end of a session stays, and nobody waits for it any more.
    pub fn take_overdue(&mut self, since_ms: i64, mut gone: BTreeSet<Connection>) -> Vec<Item> {
        let mut over = Vec::new();
        self.waiting.retain_mut(|it| {
            let connection = connection_of(it.item.origin);
            let is_over = (it.since_ms < since_ms || gone.contains(&connection)) && !it.told;
            if is_over {
                gone.insert(connection);
                over.push(it.item.clone());
                it.told = it.item.ask == Ask::Write(OpCode::CloseSession);
            }
            !is_over || it.told
        });
        over
    }
}
