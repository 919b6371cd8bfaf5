//! What a server does for its own sessions, and what becomes of one that is upgraded.

use super::super::exchange::{Hold, Scope};
use super::super::submission::{Ask, Item, Origin, Outcome};
use super::super::{Holder, Node, Output, TOUCH_INTERVAL_MS};
use super::{Local, Waiting};
use crate::session::{Expiry, LocalSessions};
use crate::wire::{ErrorCode, OpCode};
use crate::zab::mutant::Mutant;
use crate::zxid::{SessionId, Zxid};

/// How long a reactor may hold back at most that a session was heard from, milliseconds.
const HELD_BACK_MS_MAX: i64 = 2 * TOUCH_INTERVAL_MS;

impl Node {
    /// When local sessions end if they stay silent; `None` where there are none.
    pub fn local_expiry(&self) -> Option<&Expiry> {
        match self.options.local_sessions {
            LocalSessions::Off => None,
            LocalSessions::On | LocalSessions::Upgrading => Some(self.locals.expiry()),
        }
    }

    /// Takes an ask that is not for the leader: of a local session, or for one. False: it is.
    pub(in super::super) fn take_local(
        &mut self,
        item: &Item,
        body: &[u8],
        out: &mut Output,
    ) -> bool {
        match item.ask {
            Ask::Open { .. } => {
                let off = self.options.local_sessions == LocalSessions::Off;
                if off || self.zab.planted(Mutant::LocalBeginsProposed) {
                    return false;
                }
                let mut item = item.clone();
                item.session = self.new_session_id();
                self.locals.wait(item, body, self.clock.mono_ms);
                true
            }
            Ask::Resume { timeout_ms, .. } => self.resume_local(item, timeout_ms, body, out),
            Ask::Write(_) | Ask::Sync => self.take_local_request(item, out),
            Ask::Ephemerals | Ask::Left => false,
        }
    }

    /// An id that no session has, here or anywhere.
    pub(in super::super) fn new_session_id(&mut self) -> SessionId {
        let (sessions, locals) = (&self.sessions, &self.locals);
        self.ids.allocate(|id| sessions.contains(id) || locals.contains(id))
    }

    /// The old connection goes at once, and the new one comes once everything is answered that the
    /// old one asked: what a client finds then is not changed any more by what it had given up.
    fn resume_local(
        &mut self,
        item: &Item,
        timeout_ms: i32,
        presented: &[u8],
        out: &mut Output,
    ) -> bool {
        let (session, now_ms) = (item.session, self.clock.mono_ms);
        let Some(&local) = self.locals.get(session) else { return false };
        // The password first: whoever does not know it must not be able to disturb the session.
        if !local.password.matches(Some(presented)) {
            self.reply(item.origin, self.applied.zxid, Outcome::Expired, out);
            return true;
        }
        self.locals.touch(session, timeout_ms, now_ms);
        if local.connected {
            self.release(session, local.origin, out);
            self.abandon_unless_asked(local.origin, out);
        }
        self.locals.wait(item.clone(), presented, now_ms);
        true
    }

    /// What ends a session waits for what it asked before, and so does what it asks behind that, which
    /// is not done: its body may go.
    fn take_local_request(&mut self, item: &Item, out: &mut Output) -> bool {
        let is_global = self.sessions.contains(item.session);
        let Some(local) = self.locals.get_mut(item.session) else {
            // What was sent behind its session's end is nobody's business but its connection's.
            let is_over = !is_global && self.local_expiry().is_some();
            if is_over {
                self.give_back(item, out);
            }
            return is_over;
        };
        if !local.is_held_by(item.origin) {
            // Its reactor had not heard yet that the session moved.
            self.give_back(item, out);
            return true;
        }
        local.closing |= item.ask == Ask::Write(OpCode::CloseSession);
        let waits = local.closing;
        if waits {
            self.locals.wait(item.clone(), &[], self.clock.mono_ms);
        }
        waits
    }

    /// Answers what waits and has waited enough.
    pub(in super::super) fn serve_locals(&mut self, out: &mut Output) {
        if !self.locals.has_waiting() {
            return;
        }
        let (open, awaited) = self.asks.sessions_among(&self.locals.waiting_behind());
        for waiting in self.locals.take_waiting() {
            let Waiting { item, body, since_ms, told } = &waiting;
            let session = item.session;
            let stays = match item.ask {
                Ask::Open { .. } => !self.may_begin(),
                // What its client was told to be open comes before what it asks from now on, or never.
                Ask::Resume { .. } => {
                    let awaits = |node: &Self| node.awaits_upgrade(session, &open);
                    self.locals.contains(session) && (awaited.contains(&session) || awaits(self))
                }
                // That may make it everybody's yet.
                Ask::Write(_) | Ask::Sync | Ask::Ephemerals | Ask::Left => {
                    self.locals.contains(session) && open.contains(&session)
                }
            };
            if stays {
                self.locals.wait_on(waiting);
                continue;
            }
            let local = self.locals.get(session).copied();
            match (item.ask, local) {
                (Ask::Open { timeout_ms, .. }, _) | (Ask::Resume { timeout_ms, .. }, Some(_))
                    if self.shows_too_old(timeout_ms) =>
                {
                    self.reply(item.origin, self.applied.zxid, Outcome::Refused, out);
                }
                (Ask::Open { timeout_ms, password, .. }, _) => {
                    let (origin, connected, closing) = (item.origin, true, false);
                    let local = Local { password, timeout_ms, origin, connected, closing };
                    self.locals.begin(session, local, self.clock.mono_ms);
                    let outcome =
                        Outcome::Attached { session, password, timeout_ms, read_only: false };
                    self.reply(origin, self.applied.zxid, outcome, out);
                }
                (Ask::Resume { timeout_ms, .. }, Some(local)) => {
                    self.attach_local(item, timeout_ms, &local, out);
                }
                (Ask::Write(OpCode::CloseSession), Some(_)) => self.end_local(item, *told, out),
                (Ask::Write(_) | Ask::Sync, None) if !self.sessions.contains(session) => {
                    if !told {
                        self.give_back(item, out); // behind its session's end
                    }
                }
                // It became global meanwhile, or it is over, which the leader says.
                (Ask::Write(_) | Ask::Sync | Ask::Resume { .. }, _) => {
                    let number = self.asks.push(item.clone(), body, *since_ms);
                    if *told {
                        self.asks.told(number);
                    }
                }
                (Ask::Ephemerals | Ask::Left, _) => unreachable!("they wait for nothing"),
            }
        }
    }

    /// Whether a new client may see what this server has. What a start applied is nobody's before a
    /// leader confirmed it, and a server that never had one may lack everything.
    fn may_begin(&self) -> bool {
        self.zab.planted(Mutant::LocalBeginsUnconfirmed) || (self.has_served && self.is_settled())
    }

    fn attach_local(&mut self, item: &Item, timeout_ms: i32, local: &Local, out: &mut Output) {
        let (session, origin, password) = (item.session, item.origin, local.password);
        if local.connected {
            self.release(session, local.origin, out);
        }
        for item in self.locals.overtake(session) {
            self.give_back(&item, out);
        }
        // Only without a leader: the connection may be another one than it takes the session to be at.
        self.moved_unled |= !self.is_serving() && self.locals.upgrading.contains(&session);
        let local = self.locals.get_mut(session).expect("looked up by the caller");
        local.closing = false;
        (local.origin, local.connected, local.timeout_ms) = (origin, true, timeout_ms);
        self.locals.touch(session, timeout_ms, self.clock.mono_ms);
        let outcome = Outcome::Attached { session, password, timeout_ms, read_only: false };
        self.reply(origin, self.applied.zxid, outcome, out);
    }

    pub(in super::super) fn end_local(&mut self, item: &Item, told: bool, out: &mut Output) {
        self.locals.remove(item.session);
        if !told {
            let at = out.bytes.len() as u32;
            let outcome = Outcome::Done { err: ErrorCode::Ok, start: at, end: at };
            self.reply(item.origin, self.applied.zxid, outcome, out);
        }
        out.closed.push((self.applied.zxid, item.session));
    }

    /// Ends those that nobody has heard from.
    pub(in super::super) fn expire_locals(&mut self, out: &mut Output) {
        if self.zab.planted(Mutant::LocalNeverEnds) {
            return;
        }
        let now_ms = self.clock.mono_ms;
        for (session, local) in self.locals.take_silent(now_ms, HELD_BACK_MS_MAX) {
            // Its connection first: what is given back is not in the order in which it was asked.
            if local.connected {
                out.displaced.push((local.origin, session));
            }
            out.closed.push((self.applied.zxid, session));
            self.expired += 1;
            for item in self.asks.abandon(|item| item.session == session) {
                self.give_back(&item, out);
            }
        }
    }

    /// What the leader has to know of an ask's session.
    pub(in super::super) fn scope_of(&self, item: &Item) -> Scope {
        let Ask::Write(op) = item.ask else { return Scope::Global };
        let Some(&Local { timeout_ms, password, .. }) = self.locals.get(item.session) else {
            return Scope::Global;
        };
        let creates =
            matches!(op, OpCode::Create | OpCode::Create2 | OpCode::CreateTtl | OpCode::Multi);
        if creates && self.options.local_sessions == LocalSessions::Upgrading {
            Scope::Upgradable { timeout_ms, password }
        } else {
            Scope::Local
        }
    }

    /// A local session of this server is everybody's since `zxid`, and goes on where it is.
    pub(in super::super) fn went_global(&mut self, session: SessionId, local: &Local, zxid: Zxid) {
        let Local { origin, timeout_ms, connected, .. } = *local;
        let (server, hold) = (self.zab.me(), Hold::of_history(zxid));
        let held = self.attached.get(&session).copied();
        if !connected {
            // The leader gave it to this connection when it decided.
            if self.zab.is_following() {
                self.request.left.push((session, origin));
            } else if let Some(held) = self.attached.get_mut(&session)
                && held.server == server
                && held.hold == hold
            {
                held.left = true;
            }
        } else if held.is_none_or(|it| it.hold < hold || (it.hold == hold && it.server == server)) {
            self.attached.insert(session, Holder { server, origin, hold, timeout_ms, left: false });
            self.note_hosted_anew();
        }
    }

    /// Asks of a connection that was hung up on and that nobody was asked yet are not worth doing.
    fn abandon_unless_asked(&mut self, origin: Origin, out: &mut Output) {
        for item in self.asks.abandon(|ask| super::is_same_connection(ask.origin, origin)) {
            self.give_back(&item, out);
        }
    }
}
