//! What a server does for its clients while it has no leader.
//!
//! ```text
//! leader lost ──► an election's time ──┬─ Bounded     reads go on, for each session's own timeout
//!                 (nothing changes)    ├─ Serve       reads go on; writes fail without the connection;
//!                                      │              who asked for a reader's connection gets one
//!                                      └─ ReadOnly    only who asked for a reader's connection has one
//!             └─► Disconnect           nobody is served
//! ```
//!
//! Nobody is shown what is not known to be committed: a server that was started without a leader has
//! applied its whole log, and serves nobody before it had one.

use std::collections::BTreeSet;
use std::fmt;

use super::asks::{Pending, Stage};
use super::route::HANDSHAKE_PATIENCE_MS;
use super::submission::{Ask, Item, Origin, Outcome};
use super::{Connection, Holder, Node, Output, connection_of, is_same_connection};
use crate::wire::{ErrorCode, OpCode};
use crate::zab::mutant::Mutant;
use crate::zxid::SessionId;

/// What a server does for its clients while it has no leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPartition {
    /// Reads and watches go on for as long as a session's own timeout, as its client must find a
    /// server with a leader by then, or lose it. A write that has waited too long ends its
    /// connection. What a voter does: another one is near.
    #[default]
    Bounded,
    /// Reads and watches go on for as long as it takes, or up to
    /// [`super::NodeOptions::stale_ms_max`]. A write that has waited too long is told
    /// `CONNECTIONLOSS`, and its connection stays. Who comes and takes a server that only reads is
    /// served as under [`OnPartition::ReadOnly`]. What an observer does: whom it serves has no other
    /// server.
    Serve,
    /// Connections end, and those that are made for reading only are served. Source: ZooKeeper's
    /// `ReadOnlyZooKeeperServer`.
    ReadOnly,
    /// Connections end, and none is taken. What ZooKeeper's servers do.
    Disconnect,
}

/// Whom a server serves at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serving {
    /// It has a leader or is one.
    All,
    /// It has none, and its policy is to serve reads to everybody who is connected.
    Reads,
    /// It has none and serves those who asked for a server that only reads.
    Readers,
    /// It waits for a leader.
    #[default]
    Nobody,
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Reads => "reads",
            Self::Readers => "readers",
            Self::Nobody => "nobody",
        })
    }
}

impl Node {
    /// Whom this server serves.
    pub fn serving(&self) -> Serving {
        match self.options.on_partition {
            _any if self.is_serving() => Serving::All,
            OnPartition::Serve if self.may_show() => Serving::Reads,
            OnPartition::ReadOnly if self.reads_only => Serving::Readers,
            OnPartition::Bounded
            | OnPartition::Serve
            | OnPartition::ReadOnly
            | OnPartition::Disconnect => Serving::Nobody,
        }
    }

    /// Whether what is in the tree may be shown without a leader: a leader has confirmed it, and not
    /// too long ago.
    fn may_show(&self) -> bool {
        self.was_led && self.is_settled() && !self.is_too_stale()
    }

    /// Whether what this server shows is older than the operator allows.
    fn is_too_stale(&self) -> bool {
        let limit = self.options.stale_ms_max;
        limit.is_some_and(|max| max < self.stale_ms()) && !self.zab.planted(Mutant::StaleServed)
    }

    /// Whether there is no leader, and what this server shows is too old for a session of this timeout.
    pub(super) fn shows_too_old(&self, timeout_ms: i32) -> bool {
        let bounded = self.options.on_partition == OnPartition::Bounded;
        let limit = self.options.stale_ms_max.or(bounded.then_some(timeout_ms.into()));
        !self.is_serving() && limit.is_some_and(|max| max < self.stale_ms())
    }

    /// Whether a handshake is answered at once without a leader, and with what: an election may be
    /// over soon, but a client that waits for longer had better look for another server.
    pub(super) fn greet(
        &mut self,
        item: &Item,
        presented: &[u8],
        out: &mut Output,
    ) -> Option<Outcome> {
        if self.is_serving() {
            return None;
        }
        // A local session needs no leader: it is served as long as those that are here already.
        let (timeout_ms, local) = match item.ask {
            Ask::Open { timeout_ms, .. } => (timeout_ms, self.local_expiry().is_some()),
            Ask::Resume { timeout_ms, .. } => (timeout_ms, self.locals.contains(item.session)),
            Ask::Write(_) | Ask::Sync | Ask::Ephemerals | Ask::Left => return None,
        };
        let (local, limit) = (local && self.has_served, self.options.stale_ms_max);
        let patience_ms = match self.options.on_partition {
            OnPartition::Disconnect => -1,
            OnPartition::Bounded if local => limit.unwrap_or(timeout_ms.into()),
            OnPartition::Serve if local => limit.unwrap_or(i64::MAX),
            OnPartition::Bounded | OnPartition::Serve | OnPartition::ReadOnly => {
                HANDSHAKE_PATIENCE_MS
            }
        };
        (patience_ms < self.stale_ms()).then(|| self.guest(item, presented, out))
    }

    /// Whether a connection for reading only is given to who asks for one.
    fn takes_guests(&self) -> bool {
        match self.options.on_partition {
            OnPartition::Serve => self.may_show(),
            OnPartition::ReadOnly => self.reads_only,
            OnPartition::Bounded | OnPartition::Disconnect => false,
        }
    }

    /// A handshake without a leader. One for reading only needs none: a session that is known here
    /// goes on, for reading, and is its client's own when there is a leader; else it is one that
    /// ends with its connection. Another connection that the session has here ends, as it does when a
    /// session comes back to a server that has a leader.
    fn guest(&mut self, item: &Item, presented: &[u8], out: &mut Output) -> Outcome {
        let known = self.sessions.get(item.session).map(|it| it.password);
        let known = known.or(self.locals.get(item.session).map(|it| it.password));
        let (session, password, timeout_ms) = match item.ask {
            _any if !self.takes_guests() => return Outcome::Refused,
            Ask::Open { timeout_ms, password, read_only: true } => {
                (self.new_session_id(), password, timeout_ms)
            }
            Ask::Resume { timeout_ms, read_only: true } => {
                match known {
                    Some(password) if password.matches(Some(presented)) => {
                        self.locals.touch(item.session, timeout_ms, self.clock.mono_ms);
                        (item.session, password, timeout_ms)
                    }
                    Some(_) => return Outcome::Expired,
                    // An earlier guest of this server's, or a session that is over.
                    None if self.ids.has_given(item.session)
                        && !self.locals.upgrading.contains(&item.session) =>
                    {
                        return Outcome::Expired;
                    }
                    // It may have begun elsewhere since, or been made global.
                    None => return Outcome::Refused,
                }
            }
            Ask::Open { .. }
            | Ask::Resume { .. }
            | Ask::Write(_)
            | Ask::Sync
            | Ask::Ephemerals
            | Ask::Left => return Outcome::Refused,
        };
        let held = self.attached.get(&session).filter(|held| held.server == self.zab.me());
        if let Some(origin) = held.map(|held| held.origin) {
            self.release(session, origin, out);
        }
        for before in self.guests.extract_if(.., |guest| guest.0 == session) {
            out.displaced.push((before.1, session));
        }
        self.guests.push((session, item.origin));
        Outcome::Attached { session, password, timeout_ms, read_only: true }
    }

    /// Whether nothing but reads is done on this connection.
    pub(super) fn only_reads(&self, item: &Item) -> bool {
        let is_guest = |guest: &(SessionId, Origin)| is_same_connection(guest.1, item.origin);
        self.reads_only || self.guests.iter().any(is_guest)
    }

    /// A write or a sync where only reads are served. A guest's own session ends with its
    /// connection, so that nothing is missing at its end; a real one's end is for a leader.
    pub(super) fn decline(&mut self, item: &Item, out: &mut Output) {
        let ends = item.ask == Ask::Write(OpCode::CloseSession);
        // What it asked before may make it everybody's yet: then it ends with its time.
        if ends
            && self.locals.contains(item.session)
            && !self.asks.sessions().0.contains(&item.session)
        {
            return self.end_local(item, false, out);
        }
        let ends =
            ends && !self.locals.contains(item.session) && !self.sessions.contains(item.session);
        let err = if ends { ErrorCode::Ok } else { ErrorCode::NotReadOnly };
        let at = out.bytes.len() as u32;
        let outcome = Outcome::Done { err, start: at, end: at };
        self.reply(item.origin, self.applied.zxid, outcome, out);
        if ends {
            self.guest_left(item.origin);
            out.closed.push((self.applied.zxid, item.session));
        }
    }

    /// A guest's connection is gone.
    pub(super) fn guest_left(&mut self, origin: Origin) {
        self.guests.retain(|guest| !is_same_connection(guest.1, origin));
    }

    /// There is a leader: guests look for a server that writes, and this is one.
    pub(super) fn see_guests_off(&mut self, out: &mut Output) {
        self.reads_only = false;
        let stay = self.zab.planted(Mutant::ReadersStay);
        for (session, origin) in std::mem::take(&mut self.guests) {
            if stay {
                continue;
            }
            out.displaced.push((origin, session));
        }
    }

    /// Without a leader: what has waited too long fails, and who is not to be served any more is
    /// sent to look for another server.
    pub(super) fn make_do(&mut self, out: &mut Output) {
        let (now_ms, stale_ms) = (self.clock.mono_ms, self.stale_ms());
        let (wait_ms, limit) = (self.options.wait_ms, self.options.stale_ms_max);
        if HANDSHAKE_PATIENCE_MS < stale_ms {
            self.refuse_handshakes(out);
        }
        match self.options.on_partition {
            OnPartition::Bounded => {
                self.fail(now_ms - wait_ms, out);
                self.send_away(|timeout_ms| limit.unwrap_or(timeout_ms.into()) < stale_ms, out);
            }
            // The wait is counted from the loss, so that not every write of a long cut holds up the
            // reads behind it for as long.
            OnPartition::Serve => {
                if wait_ms < stale_ms && !self.zab.planted(Mutant::CutOffWritesWait) {
                    self.fail(now_ms + 1, out);
                }
                let too_stale = self.is_too_stale();
                self.send_away(|_| too_stale, out);
                if too_stale {
                    self.see_guests_off(out);
                }
            }
            OnPartition::ReadOnly if self.reads_only => {
                if self.is_too_stale() {
                    self.see_guests_off(out);
                }
            }
            OnPartition::ReadOnly => {
                self.reads_only = HANDSHAKE_PATIENCE_MS < stale_ms && self.may_show();
                let over = self.reads_only || HANDSHAKE_PATIENCE_MS < stale_ms;
                let since_ms = if over { now_ms + 1 } else { now_ms - wait_ms };
                let parts = HANDSHAKE_PATIENCE_MS < stale_ms || self.is_too_stale();
                self.send_away(|_| parts, out);
                self.fail(since_ms, out);
            }
            OnPartition::Disconnect => {
                self.send_away(|_| true, out);
                self.fail(now_ms + 1, out);
            }
        }
    }

    /// An election would be over: who came during it looks for another server, but for those whose
    /// session is here and readers, where they are served.
    fn refuse_handshakes(&mut self, out: &mut Output) {
        if self.options.on_partition == OnPartition::ReadOnly {
            return;
        }
        let shakes_hands =
            |ask: &Pending| matches!(ask.item.ask, Ask::Open { .. } | Ask::Resume { .. });
        let overdue = self.asks.overdue(self.clock.mono_ms + 1);
        let overdue = overdue.filter(|(_, ask)| shakes_hands(ask));
        let over: Vec<(u64, Pending)> = overdue.map(|(at, ask)| (at, ask.clone())).collect();
        for (number, Pending { item, body, .. }) in over {
            let outcome = self.guest(&item, &body, out);
            self.reply(item.origin, self.applied.zxid, outcome, out);
            self.asks.done(number);
        }
        self.asks.close_up();
    }

    /// Fails what waits since before `since_ms`, so that every client recovers: what it asked for may
    /// have been done or may yet be, and it is not told that it was not.
    fn fail(&mut self, since_ms: i64, out: &mut Output) {
        let overdue = self.asks.overdue(since_ms);
        let overdue: Vec<(u64, Pending)> = overdue.map(|(at, ask)| (at, ask.clone())).collect();
        let stays = self.options.on_partition == OnPartition::Serve;
        let mut gone = BTreeSet::new();
        for (number, ask) in overdue {
            let Pending { item, body, stage, .. } = &ask;
            match item.ask {
                Ask::Open { .. } | Ask::Resume { .. } => {
                    let outcome = self.guest(item, body, out);
                    self.reply(item.origin, self.applied.zxid, outcome, out);
                    self.asks.done(number);
                }
                // Its client is done with it all: the end is asked for when there is a leader.
                Ask::Write(OpCode::CloseSession) => {
                    self.release(item.session, item.origin, out);
                    self.give_back(item, out);
                    self.asks.told(number);
                }
                Ask::Write(_) | Ask::Sync if stays => {
                    let at = out.bytes.len() as u32;
                    let lies = self.zab.planted(Mutant::OpenFateToldAsNotDone);
                    let err = if lies { ErrorCode::NoNode } else { ErrorCode::ConnectionLoss };
                    let outcome = Outcome::Done { err, start: at, end: at };
                    self.reply(item.origin, self.applied.zxid, outcome, out);
                    match stage {
                        // Nobody knows of it, and nobody will.
                        Stage::Waiting => self.asks.done(number),
                        Stage::Asked | Stage::Proposed(..) | Stage::Behind(..) | Stage::Done => {
                            self.asks.told(number);
                        }
                    }
                }
                Ask::Write(_) | Ask::Sync | Ask::Ephemerals | Ask::Left => {
                    self.release(item.session, item.origin, out);
                    self.give_back(item, out);
                    gone.insert(connection_of(item.origin));
                    match stage {
                        Stage::Waiting => self.asks.done(number),
                        // A record of it must not be taken for one that was asked elsewhere.
                        Stage::Asked | Stage::Proposed(..) | Stage::Behind(..) | Stage::Done => {
                            self.asks.told(number);
                        }
                    }
                }
            }
        }
        self.asks.close_up();
        // What its connection asked later must not be done without what is given up.
        let is_gone = |ask: &Item| gone.contains(&connection_of(ask.origin));
        if !gone.is_empty() {
            for item in self.asks.abandon(is_gone) {
                self.give_back(&item, out);
            }
        }
        self.fail_locals(since_ms, gone, out);
    }

    /// The same for what waits here behind what a local session asked before, and for all of connections that are
    /// `gone`.
    fn fail_locals(&mut self, since_ms: i64, gone: BTreeSet<Connection>, out: &mut Output) {
        for item in self.locals.take_overdue(since_ms, gone) {
            match item.ask {
                Ask::Open { .. } | Ask::Resume { .. } => {
                    self.reply(item.origin, self.applied.zxid, Outcome::Refused, out);
                }
                Ask::Write(_) | Ask::Sync | Ask::Ephemerals | Ask::Left => {
                    self.release(item.session, item.origin, out);
                    self.give_back(&item, out);
                }
            }
        }
    }

    /// Ends the connections of this server that it is `over` for, by the timeouts of their sessions,
    /// which live on.
    fn send_away(&mut self, over: impl Fn(i32) -> bool, out: &mut Output) {
        let me = self.zab.me();
        let here = |held: &Holder| held.server == me && !held.left;
        let global = self.attached.iter().filter(|(_, it)| here(it) && over(it.timeout_ms));
        let local = self.locals.iter().filter(|(_, it)| it.connected && over(it.timeout_ms));
        let global = global.map(|(&id, it)| (id, it.origin));
        let ends: Vec<(SessionId, Origin)> =
            global.chain(local.map(|(id, it)| (id, it.origin))).collect();
        for (session, origin) in ends {
            self.release(session, origin, out);
        }
    }
}
