//! What a leader makes of asks: those of its own connections and those that followers pass on.
//!
//! A verdict leaves for its server before the record that it names, and in the order of the asks,
//! so that the server answers each connection in its own order.

use std::sync::Arc;

use super::asks::{Ending, Stage};
use super::exchange::{Asked, Hold, Scope, Verdict};
use super::locals::upgrade::upgrades;
use super::room::Need;
use super::route::Route;
use super::submission::{Ask, Item, Origin, Outcome};
use super::{Growing, Holder, LAST_RESERVE_BYTES, Node, Output, SESSION_RESERVE_BYTES};
use crate::answer::Answer;
use crate::limits::WRITE_BYTES_OUTSTANDING_MAX;
use crate::prepare::{Internal, Prepared, WriteRequest};
use crate::session::Session;
use crate::wire::handshake::Password;
use crate::wire::{ErrorCode, OpCode};
use crate::zab::{self, mutant::Mutant};
use crate::zxid::{ServerId, SessionId, Zxid};

/// What is named beyond this waits for the next run. Half of a segment of the log: with its last record a run fits
/// one that is there, unless that record is as large as few are.
const RUN_BYTES_MAX: usize = WRITE_BYTES_OUTSTANDING_MAX / 2;

impl Node {
    /// Decides an ask of a server's. False: it cannot be decided now, between two epochs.
    pub(super) fn decide(&mut self, from: ServerId, asked: &Asked, out: &mut Output) -> bool {
        if !self.zab.is_leading() {
            return false;
        }
        let Asked { number, item, body, .. } = asked;
        let number = *number;
        let verdict = match item.ask {
            Ask::Write(op) => self.write(from, asked, op, out),
            Ask::Sync if self.zab.planted(Mutant::SyncUnconfirmed) => {
                Some(Verdict::Synced { upto: self.named() })
            }
            Ask::Sync => {
                self.tell_confirmed(from, number, Verdict::Synced { upto: self.named() });
                return true;
            }
            Ask::Open { timeout_ms, password, .. } => {
                self.open(from, item, timeout_ms, password, out)
            }
            Ask::Resume { timeout_ms, .. } => {
                self.revalidated += u64::from(from != self.zab.me());
                let verdict = self.resume(from, item, timeout_ms, body, out);
                if verdict == Verdict::Expired {
                    // A leader that was replaced does not know what sessions began since.
                    self.tell_confirmed(from, number, Verdict::Expired);
                    return true;
                }
                Some(verdict)
            }
            Ask::Ephemerals | Ask::Left => unreachable!("answered where it is asked"),
        };
        let Some(verdict) = verdict else { return false };
        self.tell(from, number, verdict, out);
        true
    }

    /// Tells a verdict once it is certain that this server led when it was asked.
    fn tell_confirmed(&mut self, from: ServerId, number: u64, verdict: Verdict) {
        self.confirming.push_back(Some((from, number, verdict)));
        self.events.push_back(zab::Event::Confirm);
    }

    /// Decides what waited for this server to take proposals.
    pub(super) fn run_deferred(&mut self, out: &mut Output) {
        if self.zab.planted(Mutant::DeferredReordered) {
            self.deferred.make_contiguous().reverse();
        }
        while let Some((from, asked)) = self.deferred.pop_front() {
            if !self.decide(from, &asked, out) {
                self.deferred.push_front((from, asked));
                return;
            }
        }
    }

    /// The last zxid that was given out.
    pub(super) fn named(&self) -> Zxid {
        self.growing.as_ref().map_or(self.zab.log().zxid, |growing| growing.last)
    }

    pub(super) fn tell(&mut self, whom: ServerId, number: u64, verdict: Verdict, out: &mut Output) {
        if whom == self.zab.me() {
            self.settle(number, verdict, out);
        } else {
            self.responses.entry(whom).or_default().verdicts.push((number, verdict));
        }
    }

    fn write(
        &mut self,
        from: ServerId,
        asked: &Asked,
        op: OpCode,
        out: &mut Output,
    ) -> Option<Verdict> {
        let Asked { number, item, body, .. } = asked;
        let behind = self.named();
        if self.has_moved(from, item, op) {
            return Some(Verdict::Refused { behind, code: ErrorCode::SessionExpired });
        }
        let ends = op == OpCode::CloseSession;
        let reserve = if ends { LAST_RESERVE_BYTES } else { SESSION_RESERVE_BYTES };
        let need = if ends { Need::End } else { Need::Write };
        if self.is_full(body.len(), reserve) || self.lacks_room_in_quorum(need) {
            return Some(Verdict::Refused { behind, code: ErrorCode::NotReadOnly });
        }
        if self.has_a_whole_run() {
            return None;
        }
        if self.was_told_over(from, asked, op, out) {
            return Some(Verdict::Refused { behind, code: ErrorCode::SessionExpired });
        }
        let is_local = self.stays_local(from, asked, op, out)?;
        if behind != self.named() && self.zab.planted(Mutant::UpgradeForgetsNode) {
            let (behind, code) = (self.named(), ErrorCode::EphemeralOnLocalSession);
            return Some(Verdict::Refused { behind, code });
        }
        let (behind, zxid) = (self.named(), self.zab.proposable()?);
        let Item { session, cxid, identities, .. } = item;
        let (session, cxid) = (*session, *cxid);
        let request = WriteRequest { session, cxid, op, body, identities, is_local };
        let mut growing = self.growing(zxid);
        let prepared = self.prepare.prepare(
            &self.writer,
            &self.sessions,
            &request,
            zxid,
            self.clock.wall_ms,
            &mut self.chain,
            &mut growing.records,
        );
        if let Some(warning) = self.prepare.quota_warning() {
            out.warnings.push(warning.to_string());
        }
        let verdict = match prepared {
            Prepared::Logged(answer) => {
                if from == self.zab.me()
                    && let Some(ask) = self.asks.get_mut(*number)
                {
                    ask.answer = Some(answer);
                }
                self.proposed(zxid, &mut growing);
                Verdict::Proposed { zxid, hold: Hold::default() }
            }
            Prepared::Refused(code) => Verdict::Refused { behind, code },
        };
        self.keep_growing(growing);
        Some(verdict)
    }

    /// Whether an ask is decided as one of a session that no table has. Where it wants an ephemeral
    /// node and its server upgrades, the session's begin is proposed before it: then it is not.
    /// `None`: that cannot be proposed now.
    fn stays_local(
        &mut self,
        from: ServerId,
        asked: &Asked,
        op: OpCode,
        out: &mut Output,
    ) -> Option<bool> {
        let Item { session, origin, .. } = asked.item;
        // Its server may not have applied yet that it became global: it may even be over by now.
        let is_known = self.sessions.contains(session)
            || self.prepare.is_changing(session)
            || self.upgrades.contains(session);
        match asked.scope {
            Scope::Global => Some(false),
            Scope::Local | Scope::Upgradable { .. } if is_known => Some(false),
            Scope::Upgradable { timeout_ms, password }
                if upgrades(asked.scope, op, &asked.body) =>
            {
                let begin = Internal::CreateSession { session, timeout_ms, password };
                let zxid = self.propose_internal(begin)?;
                self.upgrades.begin(session, from, zxid, Session { timeout_ms, password });
                let (server, hold) = (from, Hold::of_history(zxid));
                self.attach(session, Holder { server, origin, hold, timeout_ms, left: false }, out);
                Some(false)
            }
            Scope::Local | Scope::Upgradable { .. } => Some(true),
        }
    }

    fn open(
        &mut self,
        from: ServerId,
        item: &Item,
        timeout_ms: i32,
        password: Password,
        out: &mut Output,
    ) -> Option<Verdict> {
        if self.is_full(0, LAST_RESERVE_BYTES) || self.lacks_room_in_quorum(Need::Begin) {
            return Some(Verdict::Closed);
        }
        if self.has_a_whole_run() {
            return None;
        }
        let session = item.session;
        self.zab.proposable()?;
        let Some(zxid) =
            self.propose_internal(Internal::CreateSession { session, timeout_ms, password })
        else {
            return Some(Verdict::Closed);
        };
        let hold = self.next_hold();
        let (server, origin) = (from, item.origin);
        self.attach(session, Holder { server, origin, hold, timeout_ms, left: false }, out);
        Some(Verdict::Proposed { zxid, hold })
    }

    fn resume(
        &mut self,
        from: ServerId,
        item: &Item,
        timeout_ms: i32,
        presented: &[u8],
        out: &mut Output,
    ) -> Verdict {
        let session = item.session;
        // The password first: whoever does not know it must not be able to disturb the session.
        let Some(known) = self.known_session(session) else {
            self.upgrades.tell_over(session, presented);
            return Verdict::Expired;
        };
        let knows = known.password.matches(Some(presented))
            || self.zab.planted(Mutant::ResumesWithoutPassword);
        if !knows {
            return Verdict::Expired;
        }
        let password = known.password;
        if self.prepare.is_closing(session) {
            // Its end is told once it is a fact.
            let (behind, hold) = (self.named(), Hold::default());
            return Verdict::Resumed { behind, hold, timeout_ms, password };
        }
        // Behind all that was asked for it elsewhere: whatever else of the session comes from now on was
        // asked here.
        let behind = self.named();
        self.expiry.touch(session, timeout_ms, self.clock.mono_ms);
        let hold = self.next_hold();
        let (server, origin) = (from, item.origin);
        self.attach(session, Holder { server, origin, hold, timeout_ms, left: false }, out);
        Verdict::Resumed { behind, hold, timeout_ms, password }
    }

    /// Who comes back in time has done so, however long it waits behind what others write: its client cannot ping yet.
    pub(super) fn touch_all_who_return(&mut self) {
        let deferred = std::mem::take(&mut self.deferred);
        for (_server, asked) in &deferred {
            self.touch_who_returns(&asked.item, &asked.body);
        }
        self.deferred = deferred;
        for (item, body) in self.asks.returning() {
            self.touch_who_returns(&item, &body);
        }
    }

    pub(super) fn touch_who_returns(&mut self, item: &Item, presented: &[u8]) {
        if let Ask::Resume { timeout_ms, .. } = item.ask
            && let Some(known) = self.known_session(item.session)
            && known.password.matches(Some(presented))
            && !self.prepare.is_closing(item.session)
        {
            self.expiry.touch(item.session, timeout_ms, self.clock.mono_ms);
        }
    }

    fn next_hold(&mut self) -> Hold {
        self.holds += 1;
        Hold(u64::from(self.zab.epoch().0) << 32 | u64::from(self.holds))
    }

    /// The session is the holder's from now on, and nobody else's.
    pub(super) fn attach(&mut self, session: SessionId, holder: Holder, out: &mut Output) {
        let me = self.zab.me();
        self.asks.overtake(session, |item| holder.is(me, item.origin));
        let Some(before) = self.attached.insert(session, holder) else { return };
        let same = before.is(holder.server, holder.origin);
        if !same && !before.left {
            self.displace(session, before.server, before.origin, out);
        }
    }

    pub(super) fn displace(
        &mut self,
        session: SessionId,
        server: ServerId,
        origin: Origin,
        out: &mut Output,
    ) {
        if server == self.zab.me() {
            out.displaced.push((origin, session));
        } else if self.route == Route::Me {
            self.responses.entry(server).or_default().displaced.push((session, origin));
        }
    }

    /// Whether the item's session lives and another connection has taken it over. What the old one
    /// still had under way must not be done behind what its client asks on the new one; the old one
    /// is hung up on, and so hears no answer. A session whose last connection is gone can still be
    /// ended by what that one had asked. That may be one that this leader does not know: its server
    /// applied what the session did elsewhere under former leaders before it asked, and takes an end
    /// that this overtook back itself.
    pub(super) fn has_moved(&self, from: ServerId, item: &Item, op: OpCode) -> bool {
        let ends = op == OpCode::CloseSession;
        let holds = |held: &Holder| held.is(from, item.origin) && (ends || !held.left);
        if self.zab.planted(Mutant::MovedNotRefused) {
            return false;
        }
        let moved = self.attached.get(&item.session).map_or(!ends, |held| !holds(held));
        moved && self.known_session(item.session).is_some()
    }

    /// Whether what is named is as much as one run may be, so that what is asked waits until it is proposed: each
    /// server holds back its own clients only, and all of them together may ask for more than a message holds.
    fn has_a_whole_run(&self) -> bool {
        let bytes = self.growing.as_ref().map_or(0, |growing| growing.records.len());
        RUN_BYTES_MAX <= bytes
    }

    fn growing(&mut self, zxid: Zxid) -> Growing {
        let fresh = || Growing { records: Vec::with_capacity(16 << 10), first: zxid, last: zxid };
        self.growing.take().unwrap_or_else(fresh)
    }

    fn keep_growing(&mut self, growing: Growing) {
        if !growing.records.is_empty() {
            self.growing = Some(growing);
        }
    }

    fn proposed(&mut self, zxid: Zxid, growing: &mut Growing) {
        self.zab.proposed(zxid);
        growing.last = zxid;
    }

    /// Makes a proposal of the server's own. `None`: it is pointless, or none can be made now.
    pub(super) fn propose_internal(&mut self, change: Internal<'_>) -> Option<Zxid> {
        let zxid = self.zab.proposable()?;
        let mut growing = self.growing(zxid);
        let made = self.prepare.prepare_internal(
            &self.writer,
            &self.sessions,
            change,
            zxid,
            self.clock.wall_ms,
            &mut self.chain,
            &mut growing.records,
        );
        if made {
            self.proposed(zxid, &mut growing);
        }
        self.keep_growing(growing);
        made.then_some(zxid)
    }

    /// Notes what the leader made of an ask of this server's connections, and answers it if that is
    /// not about the future.
    pub(super) fn settle(&mut self, number: u64, verdict: Verdict, out: &mut Output) {
        let open = |stage| matches!(stage, Stage::Asked | Stage::Waiting);
        // An ask from before the way to the leader was lost has another number by now.
        let Some(ask) = self.asks.get_mut(number).filter(|ask| open(ask.stage)) else { return };
        match verdict {
            Verdict::Proposed { zxid, .. } if self.zab.planted(Mutant::RepliesBeforeCommit) => {
                self.end_behind(number, zxid.min(self.applied.zxid), Ending::Echo, out);
            }
            Verdict::Proposed { zxid, hold } => {
                ask.stage = Stage::Proposed(zxid, hold);
                self.asks.due_at(zxid, number);
            }
            Verdict::Refused { behind, code } => {
                self.end_behind(number, behind, Ending::Fail(code), out);
            }
            Verdict::Synced { .. } if self.zab.planted(Mutant::SyncedBeforeApplied) => {
                self.end(number, Ending::Echo, out);
            }
            Verdict::Synced { upto } => self.end_behind(number, upto, Ending::Echo, out),
            Verdict::Resumed { behind, hold, timeout_ms, password } => {
                let ending = Ending::Resumed(hold, timeout_ms, password);
                self.end_behind(number, behind, ending, out);
            }
            Verdict::Expired => {
                // Should this server lead next, it must know what it passed on.
                let (session, presented) = (ask.item.session, Arc::clone(&ask.body));
                self.upgrades.tell_over(session, &presented);
                self.end(number, Ending::Handshake(Outcome::Expired), out);
            }
            Verdict::Closed => self.end(number, Ending::Handshake(Outcome::Refused), out),
        }
    }

    /// Answers what takes no zxid behind every proposal that was made before it, so that replies
    /// of one session keep the order of its requests and show the state at their place in it.
    fn end_behind(&mut self, number: u64, behind: Zxid, ending: Ending, out: &mut Output) {
        // What a start applied and no leader has confirmed is shown to nobody.
        let early = self.zab.planted(Mutant::RefusalsOvertake);
        if early || (behind <= self.applied.zxid && self.is_settled()) {
            return self.end(number, ending, out);
        }
        let behind = behind.max(self.applied.zxid);
        self.asks.get_mut(number).expect("looked up by the caller").stage =
            Stage::Behind(behind, ending);
        self.asks.due_at(behind, number);
    }

    pub(super) fn end(&mut self, number: u64, ending: Ending, out: &mut Output) {
        let Some(ask) = self.asks.get(number) else { return };
        if ask.told {
            return self.asks.done(number);
        }
        let (origin, session) = (ask.item.origin, ask.item.session);
        let start = out.bytes.len() as u32;
        let done = |err, out: &Output| Outcome::Done { err, start, end: out.bytes.len() as u32 };
        let outcome = match ending {
            Ending::Echo => {
                out.bytes.extend_from_slice(&ask.body);
                done(ErrorCode::Ok, out)
            }
            Ending::Fail(code) => done(code, out),
            // It ended between the leader's look and this server's.
            Ending::Resumed(..) if !self.sessions.contains(session) => Outcome::Expired,
            // Another connection was given it since.
            Ending::Resumed(hold, ..) if self.has_newer(session, hold) => Outcome::Refused,
            Ending::Resumed(hold, timeout_ms, password) => {
                let server = self.zab.me();
                self.attach(session, Holder { server, origin, hold, timeout_ms, left: false }, out);
                Outcome::Attached { session, password, timeout_ms, read_only: false }
            }
            Ending::Handshake(outcome) => outcome,
        };
        self.reply(origin, self.applied.zxid, outcome, out);
        self.asks.done(number);
    }

    fn has_newer(&self, session: SessionId, hold: Hold) -> bool {
        self.attached.get(&session).is_some_and(|held| hold < held.hold)
    }

    /// Answers an ask that was given up with its connection. Nobody hears it, but its reactor counts
    /// what is not answered.
    pub(super) fn give_back(&mut self, item: &Item, out: &mut Output) {
        if matches!(item.ask, Ask::Write(_) | Ask::Sync) {
            let at = out.bytes.len() as u32;
            let outcome = Outcome::Done { err: ErrorCode::SessionExpired, start: at, end: at };
            self.reply(item.origin, self.applied.zxid, outcome, out);
        }
    }

    /// The answer that an ask gets from its transaction.
    pub(super) fn answer_of(op: OpCode, body: &[u8]) -> Answer {
        crate::wire::Request::decode(op, body)
            .map_or(Answer::HeaderOnly, |request| Answer::for_request(&request))
    }
}
