//! Local sessions on their way to be global: what the leader knows of them that no table has, and
//! what their server does until it has the record.
//!
//! ```text
//! leader:  unknown ──ask of its server──► begun (pending) ──committed──► in the table
//!             └──who presents it is told that it is over──► not begun any more for who was told
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::exchange::{Asked, Scope};
use super::super::route::Route;
use super::super::submission::{Ask, Item, Origin};
use super::super::{Node, Output, is_same_connection};
use crate::prepare::part::wants_ephemeral;
use crate::session::Session;
use crate::wire::OpCode;
use crate::wire::handshake::Password;
use crate::zab::mutant::Mutant;
use crate::zxid::{ServerId, SessionId, Zxid};

/// Of how many unknown sessions a server remembers that somebody was told of their end: a megabyte.
/// What is to be remembered is what a server asks between its client's leaving and its own noticing.
const TOLD_MAX: usize = 1 << 14;

type Secret = [u8; 16];

/// A session that the leader made global.
#[derive(Clone, Copy, Debug)]
struct Begun {
    server: ServerId,
    zxid: Zxid,
    known: Session,
}

/// What is known of sessions between local and global.
#[derive(Debug, Default)]
pub(in super::super) struct Upgrades {
    /// Of the leader: for as long as their server may not know it; by then one could have ended
    /// elsewhere, and must not seem to live.
    begun: BTreeMap<SessionId, Begun>,
    /// Who presented this secret for a session that nobody knew was told that it is over. The
    /// connection whose upgrade was refused for that, if one was: whoever comes by a later one of its
    /// server has not heard what was told.
    told: BTreeMap<(SessionId, Secret), Option<(ServerId, Origin)>>,
    /// The same, oldest first.
    order: VecDeque<(SessionId, Secret)>,
}

impl Upgrades {
    pub fn begin(&mut self, session: SessionId, server: ServerId, zxid: Zxid, known: Session) {
        self.begun.insert(session, Begun { server, zxid, known });
    }

    pub fn contains(&self, session: SessionId) -> bool {
        self.begun.contains_key(&session)
    }

    /// Whether the session was made global for this server, which may not know it yet.
    pub fn is_of(&self, session: SessionId, server: ServerId) -> bool {
        self.begun.get(&session).is_some_and(|it| it.server == server)
    }

    /// The session, where its begin lies beyond what is `applied`.
    pub fn pending(&self, session: SessionId, applied: Zxid) -> Option<Session> {
        self.begun.get(&session).filter(|it| applied < it.zxid).map(|it| it.known)
    }

    /// The server has applied so much, and knows what of its sessions is global.
    pub fn applied(&mut self, server: ServerId, upto: Zxid) {
        self.begun.retain(|_, it| it.server != server || upto < it.zxid);
    }

    /// This server leads no more. What was told stays true.
    pub fn deposed(&mut self) {
        self.begun.clear();
    }

    /// Somebody is told that a session which nobody knows is over.
    pub fn tell_over(&mut self, session: SessionId, presented: &[u8]) {
        let Ok(secret) = Secret::try_from(presented) else { return };
        if self.told.insert((session, secret), None).is_none() {
            self.order.push_back((session, secret));
        }
        if TOLD_MAX < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
    }

    /// Whether the session must not begin for this connection, as its client was told that it is over.
    fn refuses(&mut self, session: SessionId, password: Password, by: (ServerId, Origin)) -> bool {
        let key = (session, password.0);
        match self.told.get_mut(&key) {
            None => false,
            Some(refused) if refused.is_none_or(|it| is_same(it, by)) => {
                *refused = Some(by);
                true
            }
            Some(_) => {
                self.told.remove(&key);
                self.order.retain(|it| *it != key);
                false
            }
        }
    }

    /// Whether something of this connection was refused for that.
    fn has_refused(&self, session: SessionId, by: (ServerId, Origin)) -> bool {
        let all = (session, Secret::default())..=(session, [u8::MAX; 16]);
        self.told.range(all).any(|(_, refused)| refused.is_some_and(|it| is_same(it, by)))
    }
}

fn is_same(a: (ServerId, Origin), b: (ServerId, Origin)) -> bool {
    a.0 == b.0 && is_same_connection(a.1, b.1)
}

/// Whether the ask makes a local session global, where its server upgrades.
pub(in super::super) fn upgrades(scope: Scope, op: OpCode, body: &[u8]) -> bool {
    matches!(scope, Scope::Upgradable { .. }) && wants_ephemeral(op, body)
}

impl Node {
    /// The session as the leader knows it: from the table, or of a begin that is under way.
    pub(in super::super) fn known_session(&self, session: SessionId) -> Option<Session> {
        let pending = || self.upgrades.pending(session, self.applied.zxid);
        let deaf = self.zab.planted(Mutant::UpgradeUnknownElsewhere);
        self.sessions.get(session).copied().or_else(|| pending().filter(|_| !deaf))
    }

    /// Whether a local session's ask must not be done as somebody who knows the session's secret was told
    /// that it is over: a node of its own would be there when he relies on its absence. The connection
    /// is hung up on, as he may have given up that handshake before it was answered: then he comes
    /// back by another connection, and that one counts. What is asked behind the refused is refused
    /// too.
    pub(in super::super) fn was_told_over(
        &mut self,
        from: ServerId,
        asked: &Asked,
        op: OpCode,
        out: &mut Output,
    ) -> bool {
        let Item { session, origin, .. } = asked.item;
        let is_known = self.sessions.contains(session) || self.upgrades.contains(session);
        if is_known || asked.scope == Scope::Global || self.upgrades.told.is_empty() {
            return false;
        }
        match asked.scope {
            _any if self.zab.planted(Mutant::UpgradeThoughToldOver) => false,
            _any if self.upgrades.has_refused(session, (from, origin)) => true,
            Scope::Upgradable { password, .. } if upgrades(asked.scope, op, &asked.body) => {
                let refuses = self.upgrades.refuses(session, password, (from, origin));
                if refuses && from == self.zab.me() {
                    self.release(session, origin, out);
                } else if refuses {
                    self.displace(session, from, origin, out);
                }
                refuses
            }
            Scope::Global | Scope::Local | Scope::Upgradable { .. } => false,
        }
    }

    /// Notes that the leader is asked for what makes a local session global.
    pub(in super::super) fn note_upgrading(&mut self, asked: &Asked) {
        if let Ask::Write(op) = asked.item.ask
            && upgrades(asked.scope, op, &asked.body)
        {
            self.locals.upgrading.insert(asked.item.session);
        }
    }

    /// Forgets whose asks were all answered: what of them is global is known to be.
    pub(in super::super) fn forget_upgraded(&mut self) {
        if !self.locals.upgrading.is_empty() {
            (self.locals.upgrading, _) = self.asks.sessions_among(&self.locals.upgrading);
        }
    }

    /// Whether the leader may make a local session of this server global, or has, and this server does
    /// not know yet: by whose connection its leader goes is then not to be changed here. Without a
    /// leader this can take long, and the next word with it says anew who is connected here.
    pub(in super::super) fn awaits_upgrade(
        &self,
        session: SessionId,
        open: &BTreeSet<SessionId>,
    ) -> bool {
        if self.zab.planted(Mutant::UpgradeNotAwaited) {
            return false;
        }
        match self.route {
            Route::Me => self.is_upgrading(session, open) || self.upgrades.contains(session),
            Route::Lost => false,
            Route::Asking(..) | Route::Settling(..) | Route::Open(..) => {
                self.zab.is_following() && self.is_upgrading(session, open)
            }
        }
    }

    fn is_upgrading(&self, session: SessionId, open: &BTreeSet<SessionId>) -> bool {
        self.locals.upgrading.contains(&session) && open.contains(&session)
    }

    /// Whether the leader watches over this local session's silence, or may.
    pub(in super::super) fn is_watched_above(&self, session: SessionId) -> bool {
        self.locals.upgrading.contains(&session) && !self.zab.planted(Mutant::UpgradingNotTouched)
    }
}
