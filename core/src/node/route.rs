//! How asks find a leader, and what becomes of them when it changes.
//!
//! ```text
//!           another leads             its answer: all that was asked before is
//! Lost ──────────────────► Asking ──────────────────► Settling ──applied──► Open
//!   │                    (hosted)   proposed by then      (decides what is in doubt)
//!   └── this server leads: Me
//! ```
//!
//! Connections live through all of it. A write whose way to the leader was lost is either in the
//! history that the next leader has, then it is answered from there, or it is in none and never
//! will be: then it is asked again. So it is done once, and in its session's order, as leaders take
//! a session's asks in order and lose only what is behind what they keep.

use std::sync::Arc;

use super::asks::{Pending, Stage};
use super::exchange::{Asked, Hosted, Request, Response, Size};
use super::submission::{Ask, Item, Origin, Outcome, Submission};
use super::{Holder, Node, Output, TOUCH_INTERVAL_MS, is_same_connection};
use crate::session::Expiry;
use crate::wire::{ErrorCode, OpCode};
use crate::zab::mutant::Mutant;
use crate::zab::{self, Action, Divergence, Standing};
use crate::zxid::{Epoch, ServerId, SessionId, Zxid};

/// How asks get to whoever decides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Nobody decides.
    Lost,
    /// This server does.
    Me,
    /// The leader was told who is connected here, in this session of Zab.
    Asking(ServerId, u64),
    /// It answered: what was asked before is proposed up to here, or nowhere.
    Settling(ServerId, u64, Zxid),
    /// It is asked.
    Open(ServerId, u64),
}

/// What asks may take of one message to the leader, bytes, beyond which another one is begun.
pub(super) const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Milliseconds between two looks at what ends by time.
pub(super) const SWEEP_INTERVAL_MS: i64 = 50;

/// A server that was not given time for so long stood still, milliseconds: what its clients sent
/// meanwhile has not been read, so their silence is its own.
const STOOD_STILL_MS: i64 = 500;

/// A server that has been without a leader for so long, milliseconds, takes no new connection: its
/// client looks for another server at once. An election is over by then, where one can succeed.
pub(super) const HANDSHAKE_PATIENCE_MS: i64 = 2_000;

impl Node {
    /// Steps the protocol, does what it says, and goes on with what follows from that.
    pub(super) fn drive(&mut self, event: zab::Event, out: &mut Output) {
        self.events.push_back(event);
        let mut actions = Vec::new();
        while let Some(event) = self.events.pop_front() {
            if self.is_replaced(&event) {
                out.reopen = true;
                return;
            }
            self.zab.step(event, &mut actions);
            self.note_word();
            // All of a step's messages are numbered before anything that follows from it speaks.
            for action in actions.drain(..) {
                self.act(action, out);
            }
            // Also when it had stopped to propose before, for a new epoch that it did not come to.
            if self.route == Route::Me && !self.leads_on() {
                self.deposed();
                self.asks.doubt();
            }
        }
    }

    /// Whether this server has been its ensemble's leader without a break since it came to be. One
    /// that stopped may be elected again in the same step, and then has no epoch yet.
    fn leads_on(&self) -> bool {
        self.zab.leading_epoch().is_some_and(|epoch| epoch != Epoch::ZERO)
    }

    fn is_replaced(&self, event: &zab::Event) -> bool {
        let done = match event {
            zab::Event::Truncated { ticket, .. } | zab::Event::SnapshotStored { ticket, .. } => {
                Some(*ticket)
            }
            zab::Event::Start
            | zab::Event::Tick
            | zab::Event::Received { .. }
            | zab::Event::Arriving(_)
            | zab::Event::LogBegins(_)
            | zab::Event::Upstream { .. }
            | zab::Event::AskedUpstream { .. }
            | zab::Event::Asked(_)
            | zab::Event::Disconnected(_)
            | zab::Event::EpochsSaved(_)
            | zab::Event::Durable { .. }
            | zab::Event::LogRead { .. }
            | zab::Event::ReadDropped(_)
            | zab::Event::SnapshotRead { .. }
            | zab::Event::Proposed(_)
            | zab::Event::Confirm
            | zab::Event::Transfer(_)
            | zab::Event::Request(_)
            | zab::Event::Respond { .. } => None,
        };
        done.is_some() && done == self.replaced_by
    }

    pub(super) fn act(&mut self, action: Action, out: &mut Output) {
        match &action {
            Action::Append { run, .. } => {
                self.unapplied.push_back(super::Unapplied { run: run.clone(), offset: 0 });
            }
            Action::Truncate { ticket, to } => {
                self.forget_behind(to.zxid);
                if to.zxid < self.applied.zxid {
                    // A start applied what the log held, and this of it was never committed.
                    self.replaced_by = Some(*ticket);
                }
            }
            Action::StoreSnapshot { ticket, end: true, .. } => self.replaced_by = Some(*ticket),
            Action::Committed(upto) => {
                self.apply(*upto, out);
                self.open_if_settled(out);
            }
            Action::Became(standing) => self.became(*standing, out),
            Action::Confirmed(count) => self.confirmed(*count, out),
            // Between two epochs of this leader: asked again in the next.
            Action::ConfirmsFailed if self.leads_on() => self.unconfirmed += 1,
            Action::ConfirmsFailed => self.confirming.clear(),
            Action::Requested { from, session, bytes } => {
                self.on_request(*from, *session, bytes, out);
            }
            Action::Responded(bytes) => self.on_response(bytes, out),
            Action::Halt(divergence) => out.halt = Some(explain(*divergence)),
            Action::SaveEpochs(_)
            | Action::Send { .. }
            | Action::Flush { .. }
            | Action::ReadLog { .. }
            | Action::ReadSnapshot { .. }
            | Action::StoreSnapshot { .. }
            | Action::Refused { .. } => {}
        }
        out.actions.push(action);
    }

    fn forget_behind(&mut self, to: Zxid) {
        while let Some(last) = self.unapplied.pop_back() {
            if last.run.upto().zxid <= to {
                self.unapplied.push_back(last);
                return;
            }
            if let (Some(run), _cut) = last.run.split(to) {
                self.unapplied.push_back(super::Unapplied { run, offset: last.offset });
                return;
            }
        }
    }

    fn became(&mut self, standing: Standing, out: &mut Output) {
        self.was_led |= standing != Standing::Alone;
        match standing {
            Standing::Alone if self.zab.planted(Mutant::DoubtForgotten) => self.asks.trust(),
            Standing::Alone => {
                self.asks.doubt();
                self.epochless_since_ms.get_or_insert(self.clock.mono_ms);
            }
            Standing::Leading(_) => {
                self.see_guests_off(out);
                assert_eq!(self.applied, self.zab.log(), "a leader commits its whole history");
                self.chain = self.zab.log().chain;
                self.holds = 0;
                let since_ms = self.epochless_since_ms.take();
                if self.route == Route::Me {
                    self.asks.trust(); // all that it decided was committed, and it decides on
                    // Meanwhile nobody could say who was heard.
                    let now_ms = self.clock.mono_ms;
                    let pause_ms = since_ms.map_or(0, |since_ms| now_ms - since_ms);
                    if !self.zab.planted(Mutant::ExpiryNotRenewed) {
                        self.expiry.forgive(pause_ms, now_ms);
                    }
                } else {
                    self.crowned(out);
                    self.record_membership();
                }
                let again = std::mem::take(&mut self.unconfirmed);
                self.events.extend((0..again).map(|_| zab::Event::Confirm));
                self.run_deferred(out);
            }
            Standing::Following(leader, _) => {
                self.epochless_since_ms = None;
                let (_, session) = self.zab.session().expect("it follows");
                self.see_guests_off(out);
                let same = match self.route {
                    Route::Asking(known, its)
                    | Route::Settling(known, its, _)
                    | Route::Open(known, its) => (known, its) == (leader, session),
                    Route::Lost | Route::Me => false,
                };
                // Another epoch of its leader: nothing on the way between them was lost.
                if std::mem::take(&mut self.moved_unled) || !same {
                    self.hosts_anew = false;
                    self.route = Route::Asking(leader, session);
                    self.request = Request { hosted: Some(self.hosted()), ..Request::default() };
                    self.begin_room();
                }
            }
        }
    }

    /// This server leads no more, or never came to: what it decided and did not propose is lost.
    fn deposed(&mut self) {
        self.route = Route::Lost;
        self.growing = None;
        self.responses.clear();
        self.deferred.clear();
        self.confirming.clear();
        self.unconfirmed = 0;
        self.upgrades.deposed();
        self.room.deposed();
        if self.zab.planted(Mutant::DeposedIsCurrent) {
            self.current_ms = self.clock.mono_ms;
        }
        // Who is connected elsewhere is not known here any more, and a session that was held in
        // advance may never have come to be.
        let (me, sessions) = (self.zab.me(), &self.sessions);
        self.attached.retain(|id, held| held.server == me && !held.left && sessions.contains(*id));
    }

    /// This server decides from now on. Its history is all there is: what it does not have of its
    /// own connections' asks was not done.
    fn crowned(&mut self, out: &mut Output) {
        self.route = Route::Me;
        self.has_served = true;
        self.request = Request::default();
        self.expected.clear();
        if !self.zab.planted(Mutant::OverlayKept) {
            self.prepare = self.prepare.renewed(self.options.hash_seed);
        }
        self.touched.clear();
        // Nobody knows when sessions were last heard from: each gets its full time again, which is
        // what its connection negotiated where that is known.
        let now_ms = self.clock.mono_ms;
        let renews = !self.zab.planted(Mutant::ExpiryNotRenewed);
        if renews {
            self.expiry = Expiry::new(self.options.tick_ms);
        }
        // A server that does not vote may be cut off, and cannot say whom it has. Where none is listed there
        // may be guests: a session that did not begin at a voter has been at one.
        let lists = self.options.lists_learners;
        for (id, session) in self.sessions.iter() {
            let spared = lists || !self.zab.votes(id.server());
            let grace_ms = if spared { self.options.learner_grace_ms } else { 0 };
            if renews || !self.expiry.touch(id, session.timeout_ms, 0) {
                self.expiry.add(id, session.timeout_ms.saturating_add(grace_ms), now_ms);
            }
        }
        for (&id, holder) in &self.attached {
            self.expiry.touch(id, holder.timeout_ms, now_ms);
        }
        self.resolve(out);
    }

    fn resolve(&mut self, out: &mut Output) {
        let (me, attached, locals) = (self.zab.me(), &self.attached, &self.locals);
        let drops = self.zab.planted(Mutant::DoubtedDropped);
        let is_there = |item: &Item| {
            let held = attached.get(&item.session);
            held.is_some_and(|it| it.server == me && is_same_connection(it.origin, item.origin))
                || locals.get(item.session).is_some_and(|it| it.is_held_by(item.origin))
        };
        let given_up = self
            .asks
            .resolve(|ask| is_wanted(ask, is_there) && !(drops && ask.stage == Stage::Asked));
        for item in given_up {
            self.give_back(&item, out);
        }
    }

    fn open_if_settled(&mut self, out: &mut Output) {
        if let Route::Settling(leader, session, upto) = self.route
            && upto <= self.applied.zxid
        {
            self.resolve(out);
            self.has_served = true;
            if std::mem::take(&mut self.hosts_anew) {
                self.route = Route::Asking(leader, session);
                self.request.hosted = Some(self.hosted());
                self.begin_room();
            } else {
                self.route = Route::Open(leader, session);
            }
        }
    }

    /// A session is connected here that the leader was not told of, if it was told already.
    pub(super) fn note_hosted_anew(&mut self) {
        self.hosts_anew |= matches!(self.route, Route::Asking(..) | Route::Settling(..));
    }

    fn hosted(&self) -> Vec<Hosted> {
        let me = self.zab.me();
        let here = self.attached.iter().filter(|(_, holder)| holder.server == me);
        let mut hosted: Vec<Hosted> = here
            .map(|(&session, holder)| {
                let Holder { origin, hold, timeout_ms, .. } = *holder;
                Hosted { session, origin, hold, timeout_ms }
            })
            .collect();
        hosted.sort_unstable_by_key(|hosted| hosted.session);
        hosted
    }

    /// Takes what reactors ask.
    pub(super) fn submitted(&mut self, submission: &Submission, out: &mut Output) {
        for &(session, timeout_ms) in submission.touched() {
            let deaf = self.zab.planted(Mutant::LocalNotTouched);
            let is_own = !deaf && self.locals.touch(session, timeout_ms, self.clock.mono_ms);
            let leaks = self.zab.planted(Mutant::LocalTouchesPassed);
            if is_own && !leaks && !self.is_watched_above(session) {
                continue;
            }
            if self.route == Route::Me {
                self.expiry.touch(session, timeout_ms, self.clock.mono_ms);
            } else {
                self.touched.insert(session, timeout_ms);
            }
        }
        for (item, body) in submission.items() {
            let shakes_hands = matches!(item.ask, Ask::Open { .. } | Ask::Resume { .. });
            if shakes_hands && let Some(outcome) = self.greet(item, body, out) {
                self.reply(item.origin, self.applied.zxid, outcome, out);
                continue;
            }
            if matches!(item.ask, Ask::Write(_) | Ask::Sync) && self.only_reads(item) {
                self.decline(item, out);
                continue;
            }
            if self.take_local(item, body, out) {
                continue;
            }
            match item.ask {
                Ask::Left => self.left(item, out),
                // This server ended the connection, which had not heard of it yet.
                Ask::Write(op) if self.has_moved(self.zab.me(), item, op) => {
                    self.give_back(item, out);
                }
                Ask::Ephemerals => self.ephemerals(item, body, out),
                Ask::Open { .. } => {
                    // Named here, so that the record says whose it is whoever leads.
                    let session = self.new_session_id();
                    let mut item = item.clone();
                    item.session = session;
                    self.asks.push(item, body, self.clock.mono_ms);
                }
                Ask::Write(_) | Ask::Sync | Ask::Resume { .. } => {
                    if self.route == Route::Me {
                        self.touch_who_returns(item, body);
                    }
                    self.asks.push(item.clone(), body, self.clock.mono_ms);
                    if item.ask == Ask::Write(OpCode::CloseSession) {
                        self.look_for_holder(item);
                    }
                }
            }
        }
    }

    /// The end of a session that lives, and that its connection did not hold any more when this
    /// came: its reactor had not heard yet that the session moved.
    fn look_for_holder(&mut self, item: &Item) {
        let held = self.attached.get(&item.session);
        let here = held.is_some_and(|held| held.is(self.zab.me(), item.origin));
        if !here && self.sessions.contains(item.session) {
            let others = |ask: &Item| !is_same_connection(ask.origin, item.origin);
            self.asks.overtake(item.session, others);
        }
    }

    fn left(&mut self, item: &Item, out: &mut Output) {
        let (session, origin) = (item.session, item.origin);
        self.guest_left(origin);
        let (me, any) = (self.zab.me(), self.zab.planted(Mutant::LeftTakesNewer));
        let held = self.attached.get_mut(&session).filter(|held| any || held.is(me, origin));
        match (held, self.route) {
            (Some(held), Route::Me) => held.left = true,
            (Some(_), _) => drop(self.attached.remove(&session)),
            (None, _) => {}
        }
        let is_local = self.locals.detach(session, origin);
        match self.route {
            Route::Me | Route::Lost => {}
            // It was told, or will be by the same message, that the session is here.
            Route::Asking(..) | Route::Settling(..) | Route::Open(..) => {
                if !is_local && self.zab.is_following() {
                    self.request.left.push((session, origin));
                }
            }
        }
        // Elsewhere nothing waits: it is on its way at once.
        if !self.is_serving() || matches!(self.route, Route::Asking(..) | Route::Settling(..)) {
            for item in self.asks.abandon(|ask| is_same_connection(ask.origin, origin)) {
                self.give_back(&item, out);
            }
        }
    }

    /// A read of what only the writer knows. Its connection has nothing before it under way.
    fn ephemerals(&self, item: &Item, prefix: &[u8], out: &mut Output) {
        let start = out.bytes.len() as u32;
        let all = prefix.trim_ascii().is_empty() || *prefix == *b"/";
        let owned = self.writer.ephemerals(item.session);
        let paths: Vec<&[u8]> = owned.filter(|path| all || path.starts_with(prefix)).collect();
        crate::wire::jute::Writer::new(&mut out.bytes).strings(paths.into_iter());
        let outcome = Outcome::Done { err: ErrorCode::Ok, start, end: out.bytes.len() as u32 };
        self.reply(item.origin, self.applied.zxid, outcome, out);
    }

    /// Takes waiting asks to whoever decides them, as far as that is possible now. Where all cannot be, others
    /// and this server's own clients come first in turn.
    pub(super) fn ask_waiting(&mut self, out: &mut Output) {
        if self.own_first {
            self.ask_own(out);
            self.run_deferred(out);
        } else {
            self.run_deferred(out);
            self.ask_own(out);
        }
        while let Some(event) = self.events.pop_front() {
            self.drive(event, out);
        }
    }

    fn ask_own(&mut self, out: &mut Output) {
        let mut size = Size::default();
        while let Some(number) = self.asks.unasked() {
            let ask = self.asks.get_mut(number).expect("it is pending");
            if ask.stage == Stage::Done {
                self.asks.skip();
                continue;
            }
            if ask.overtaken {
                let (item, told) = (ask.item.clone(), ask.told);
                self.asks.done(number);
                if !told {
                    self.give_back(&item, out);
                }
                continue;
            }
            match self.route {
                Route::Me => {
                    let (item, body) = (ask.item.clone(), Arc::clone(&ask.body));
                    let asked = Asked { number, scope: self.scope_of(&item), item, body };
                    self.note_upgrading(&asked);
                    if !self.decide(self.zab.me(), &asked, out) {
                        break;
                    }
                    self.asks.decided(number);
                }
                Route::Open(..) if self.zab.is_following() => {
                    let (item, body) = (ask.item.clone(), Arc::clone(&ask.body));
                    let asked = Asked { number, scope: self.scope_of(&item), item, body };
                    self.note_upgrading(&asked);
                    if self.zab.planted(Mutant::AskedTwice) {
                        self.request.asks.push(asked.clone());
                    }
                    let bytes = size.add(&asked);
                    self.request.asks.push(asked);
                    self.asks.asked();
                    if bytes > REQUEST_BYTES_MAX {
                        size = Size::default();
                        self.send_request(out);
                    }
                }
                Route::Open(..) | Route::Lost | Route::Asking(..) | Route::Settling(..) => break,
            }
        }
    }

    fn on_request(&mut self, from: ServerId, session: u64, bytes: &[u8], out: &mut Output) {
        let Ok(request) = Request::decode(bytes) else {
            out.warnings.push(format!("server {from} asks what this version does not understand"));
            return;
        };
        self.note_room(from, &request);
        let Request { hosted, asks, touched, left, coming, room: _, applied } = request;
        self.heard.insert(from, self.clock.mono_ms);
        let coming = coming.into_iter().filter(|id| self.zab.serves(*id));
        self.coming.extend(coming.map(|id| (id, self.clock.mono_ms)));
        // What waits to be decided was asked before that.
        if self.deferred.is_empty() {
            self.upgrades.applied(from, applied);
        }
        if let Some(hosted) = hosted {
            // What it asked before, it asks again if it is not in the history. Its numbers may be
            // another process's by now.
            self.deferred.retain(|(whose, _)| *whose != from);
            for asked in &mut self.confirming {
                asked.take_if(|it| it.0 == from);
            }
            self.responses.remove(&from);
            for (&session, held) in self.attached.iter_mut().filter(|it| it.1.server == from) {
                // But for those that it names, and what it does not know to be global.
                held.left |= !self.upgrades.is_of(session, from);
            }
            for Hosted { session, origin, hold, timeout_ms } in hosted {
                let (server, left) = (from, false);
                self.host(session, Holder { server, origin, hold, timeout_ms, left }, out);
            }
            let early = self.zab.planted(Mutant::WelcomeTooEarly);
            let proposed = if early { self.applied.zxid } else { self.named() };
            let welcome = Some((session, proposed));
            self.responses.entry(from).or_default().welcome = welcome;
        }
        for (session, timeout_ms) in touched {
            self.expiry.touch(session, timeout_ms, self.clock.mono_ms);
        }
        for asked in asks {
            let now = self.deferred.is_empty() && self.decide(from, &asked, out);
            if !now {
                self.touch_who_returns(&asked.item, &asked.body);
                self.deferred.push_back((from, asked));
            }
        }
        for (session, origin) in left {
            if let Some(held) = self.attached.get_mut(&session).filter(|it| it.is(from, origin)) {
                held.left = true;
            }
        }
    }

    /// A server says that a session is connected to it. The one that was given the session last
    /// has it.
    fn host(&mut self, session: SessionId, holder: Holder, out: &mut Output) {
        if !self.sessions.contains(session) {
            return; // it ended, which that server has yet to hear
        }
        // A connection may know less of its own hold: where the word on it was lost.
        let held = self.attached.get(&session);
        let other = held.filter(|held| !held.is(holder.server, holder.origin));
        let older = self.zab.planted(Mutant::OlderHoldWins);
        if other.is_some_and(|held| (holder.hold < held.hold) != older) {
            return self.displace(session, holder.server, holder.origin, out);
        }
        self.expiry.touch(session, holder.timeout_ms, self.clock.mono_ms);
        self.attach(session, holder, out);
    }

    fn on_response(&mut self, bytes: &[u8], out: &mut Output) {
        let Ok(response) = Response::decode(bytes) else {
            out.warnings.push("the leader says what this version does not understand".to_owned());
            return;
        };
        let Response { welcome, verdicts, displaced, digest } = response;
        // Before it is open, a verdict can only be about what was asked in another session, where
        // those before it were lost; and by another process, with the same number.
        if matches!(self.route, Route::Open(..)) {
            // From now on a verdict comes before its record. In a new epoch of the same leader the
            // first records may have come before.
            self.asks.trust();
            for (number, verdict) in verdicts {
                self.settle(number, verdict, out);
            }
        }
        if let (Some((its, upto)), Route::Asking(leader, session)) = (welcome, self.route)
            && its == session
        {
            self.route = Route::Settling(leader, session, upto);
            self.open_if_settled(out);
        }
        for (session, origin) in displaced {
            self.release(session, origin, out);
        }
        if let Some((zxid, digest)) = digest {
            self.compare(zxid, digest, out);
        }
    }

    /// A connection of this server must end: its session is not its own any more.
    pub(super) fn release(&mut self, session: SessionId, origin: Origin, out: &mut Output) {
        let held = self.attached.get(&session);
        if held.is_some_and(|held| is_same_connection(held.origin, origin)) {
            self.attached.remove(&session);
        }
        self.locals.detach(session, origin);
        out.displaced.push((origin, session));
    }

    fn confirmed(&mut self, count: u64, out: &mut Output) {
        for _ in 0..count {
            let Some(asked) = self.confirming.pop_front() else { return };
            if let Some((from, number, verdict)) = asked {
                self.tell(from, number, verdict, out);
            }
        }
    }

    /// Ends what ends by time.
    pub(super) fn sweep(&mut self, out: &mut Output) {
        let now_ms = self.clock.mono_ms;
        if now_ms - self.swept_ms < SWEEP_INTERVAL_MS {
            return;
        }
        if now_ms - self.swept_ms > STOOD_STILL_MS {
            self.expiry.prolong_all(now_ms);
            self.locals.prolong_all(now_ms);
        }
        self.swept_ms = now_ms;
        self.forget_gone();
        // Between two epochs of one session what was decided stays, as does who is fed.
        let zab = &self.zab;
        self.responses.retain(|&id, _| zab.feeds(id) || zab.serves(id));
        self.expire();
        self.expire_locals(out);
        let (me, applied) = (self.zab.me(), self.applied.zxid);
        self.upgrades.applied(me, applied);
        self.forget_upgraded();
        self.mind_room(out);
        self.reap();
        // What a snapshot kept goes also when nobody writes any more.
        self.writer.reclaim();
        let feeds = self.zab.is_leading() || self.zab.served().next().is_some();
        if feeds && self.told != self.applied.zxid {
            self.tell_digest();
        }
        // Also before the way is open: a leader that cannot write holds it up, and ends nobody for it.
        let led = !matches!(self.route, Route::Me | Route::Lost) && self.zab.is_following();
        if led && now_ms - self.reported_ms >= TOUCH_INTERVAL_MS {
            self.reported_ms = now_ms;
            let touched = std::mem::take(&mut self.touched);
            if !self.zab.planted(Mutant::TouchesNotPassed) {
                self.request.touched.extend(touched);
            }
        }
        if led {
            self.stay_heard(out);
        }
        if !self.is_serving() {
            self.make_do(out);
        }
    }
}

/// Whether an ask whose fate is open is still worth doing: its connection is there, or it ends the
/// session.
fn is_wanted(ask: &Pending, is_there: impl Fn(&Item) -> bool) -> bool {
    match ask.item.ask {
        Ask::Open { .. } | Ask::Resume { .. } | Ask::Write(OpCode::CloseSession) => true,
        Ask::Write(_) | Ask::Sync | Ask::Ephemerals | Ask::Left => is_there(&ask.item),
    }
}

fn explain(divergence: Divergence) -> String {
    match divergence {
        Divergence::CommittedLost { committed, leader } => format!(
            "the ensemble's leader lacks what is committed here: {committed} here, {leader} there. \
             A majority of the voters lost their data. Do not wipe this server: restore the others, \
             or make this one the first of a new ensemble"
        ),
        Divergence::HistoriesDiffer { zxid } => format!(
            "this server's history differs from its leader's at {zxid}. Keep a copy of its data \
             directory, then start it with --rejoin, which copies the leader's history"
        ),
    }
}
