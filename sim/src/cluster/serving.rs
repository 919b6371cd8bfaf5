//! What servers do for their clients while they are cut off, and with sessions of their own: the
//! witness's eye on it.

use std::collections::BTreeSet;

use farwatch_core::node::{OnPartition, sessions_held_by, sessions_told_of};
use farwatch_core::wire::ErrorCode;
use farwatch_core::zab::Standing;
use farwatch_core::zab::message::{Message, ToLeader, ToLearner};
use farwatch_core::zxid::{Epoch, ServerId, SessionId};

use super::Cluster;
use crate::client::Link;
use crate::invariants::cut_as_documented::{self, Moment};
use crate::invariants::{
    connections_stay, cut_spares_sessions, local_sessions_cost_nothing, local_sessions_stay,
    staleness_not_understated,
};
use crate::reactor::{ConnectionId, Look};
use crate::request::ToClient;
use crate::server::{Process, TICK_US};
use crate::service::Service;

/// What a server says of its own age, if that, and since when it is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    at: u64,
    word: Option<Word>,
}

/// A word from which whoever hears it counts its staleness.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// How old what its hearer was sent is, as it says, milliseconds of its clock.
    age_ms: u64,
    /// By how much more it is older, microseconds.
    late_us: u64,
}

/// The way to whom a server learns from, before it heard something.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    following: Option<(farwatch_core::zxid::ServerId, u64)>,
}

/// A leader proposes what it has decided this long after a disk that hung at most.
const DECIDED_BEFORE_US: u64 = 500_000;

impl Cluster {
    pub(super) fn service(&self, server: usize) -> Service {
        self.plan.services.of[server]
    }

    /// Where a server stands that has no leader.
    fn moment(process: &Process) -> Option<Moment> {
        let now_ms = process.clock.mono_ms;
        let unled_since_ms = process.unled_since_ms.unwrap_or(now_ms);
        let moment = Moment { now_ms, unled_since_ms, stale_ms: process.node.stale_ms() };
        (!process.node.is_serving()).then_some(moment)
    }

    /// What a server has after a tick.
    pub(super) fn judge_serving(&mut self, server: usize) {
        let service = self.service(server);
        let tick_us = self.servers[server].tick_us;
        let Some(process) = &mut self.servers[server].process else { return };
        let now_ms = process.clock.mono_ms;
        let moment = Self::moment(process);
        let looks: Vec<Look> = process.reactor.looks().collect();
        if let Some(expiry) = process.node.local_expiry() {
            local_sessions_stay::watched(&mut self.witness, server, expiry.iter(), now_ms);
        }
        for look in &looks {
            match moment {
                None => cut_as_documented::with_leader(&mut self.witness, server, look),
                Some(moment) => {
                    let witness = &mut self.witness;
                    cut_as_documented::without_leader(witness, server, &service, moment, look);
                }
            }
        }
        self.judge_staleness(server, tick_us);
    }

    fn judge_staleness(&mut self, server: usize, tick_us: u64) {
        let replaced_us = self.replaced_us(server);
        let Some(process) = &mut self.servers[server].process else { return };
        let (now_ms, stale_ms) = (process.clock.mono_ms, process.node.stale_ms());
        if let Some(late_us) = replaced_us {
            process.words.insert(now_ms, late_us);
            return;
        }
        let Some(late_us) = process.late_us(now_ms - stale_ms) else { return };
        let Some(&committed) = self.witness.committed_at.get(process.applied.len()) else { return };
        let told_us = own_us(stale_ms.unsigned_abs() + 1, tick_us);
        let missing_us = self.now - committed;
        staleness_not_understated::check(&mut self.witness, server, told_us, late_us, missing_us);
    }

    /// For how long a leader does not know that it was replaced.
    fn replaced_us(&self, server: usize) -> Option<u64> {
        let process = self.servers[server].process.as_ref()?;
        process.zab().is_leading().then(|| self.since_replaced_us(process.zab().epoch()))
    }

    fn since_replaced_us(&self, own: Epoch) -> u64 {
        let newer = self.witness.established_at.range(own..).find(|(epoch, _)| **epoch != own);
        newer.map_or(0, |(_, since)| self.now - since)
    }

    /// A server leads no more: it was current by its own word until now.
    pub(super) fn note_deposed(&mut self, server: usize, epoch: Epoch) {
        let late_us = self.since_replaced_us(epoch);
        let process = self.servers[server].process.as_mut().expect("it acts");
        process.words.insert(process.clock.mono_ms, late_us);
    }

    /// What a server says of its age now. A leader that says nothing before it speaks is current.
    pub(super) fn said(&mut self, from: usize, to: usize, message: &Message) -> Said {
        let (at, tick_us) = (self.now, self.servers[from].tick_us);
        let Message::ToLearner { body, .. } = message else { return Said { at, word: None } };
        let way = (from, self.servers[from].life, to);
        let replaced_us = self.replaced_us(from);
        let process = self.servers[from].process.as_ref().expect("it speaks");
        // What it says in the step in which it ends to lead, it says as a leader.
        let replaced_us = replaced_us.or_else(|| {
            let led =
                if let Standing::Leading(epoch) = process.standing { Some(epoch) } else { None };
            led.map(|epoch| self.since_replaced_us(epoch))
        });
        let word = match body {
            &ToLearner::Age(ms) => {
                let told_ms = process.clock.mono_ms - i64::from(ms);
                let unseen_us = at - process.looked_at;
                let late_us =
                    process.late_us(told_ms).unwrap_or(0) + unseen_us + own_us(1, tick_us);
                let word = (ms != u32::MAX).then_some(Word { age_ms: ms.into(), late_us });
                self.witness.aged.insert(way, word);
                None
            }
            ToLearner::Ping(_) | ToLearner::UpToDate(_) => {
                let plain = replaced_us.map(|late_us| Word { age_ms: 0, late_us });
                self.witness.aged.remove(&way).unwrap_or(plain)
            }
            _other => None,
        };
        Said { at, word }
    }

    /// Judges what a server says to others.
    pub(super) fn note_said(&mut self, from: usize, to: usize, message: &Message) {
        match message {
            Message::ToLearner { body: ToLearner::Snapshot { .. }, .. } => {
                *self.witness.snapshots.entry(to).or_default() += 1;
            }
            Message::ToLeader { body: ToLeader::Request(bytes), .. } => {
                self.judge_request(from, bytes);
            }
            _other => {}
        }
    }

    fn judge_request(&mut self, server: usize, bytes: &[u8]) {
        let Some(process) = &self.servers[server].process else { return };
        let Some(expiry) = process.node.local_expiry().filter(|it| !it.is_empty()) else { return };
        let own: BTreeSet<SessionId> = expiry.iter().map(|it| it.0).collect();
        let told = sessions_told_of(bytes).expect("what was encoded is decoded");
        local_sessions_cost_nothing::told(&mut self.witness, server, &own, &told);
    }

    /// How a server stands before it hears something.
    pub(super) fn before(&self, server: usize) -> Before {
        let process = self.servers[server].process.as_ref().expect("it hears");
        Before { following: process.zab().session().filter(|_| process.zab().is_following()) }
    }

    /// A server has heard this, and may count from it now.
    pub(super) fn note_heard(
        &mut self,
        (from, to): (usize, usize),
        (said, before): (Said, Before),
        message: &Message,
    ) {
        self.note_asked(from, to, message);
        let Message::ToLearner { session, body, .. } = message else { return };
        let Some(Word { age_ms, late_us }) = said.word else { return };
        // An age is counted by the clock of whoever says it.
        let slower = self.servers[from].tick_us.saturating_sub(self.servers[to].tick_us);
        let late_us = late_us + (self.now - said.at) + own_us(age_ms, slower);
        let way = Some((self.servers[from].id, *session));
        let Some(process) = self.servers[to].process.as_mut() else { return };
        let follows = process.zab().is_following() && process.zab().session() == way;
        if follows && (before.following == way || matches!(body, ToLearner::UpToDate(_))) {
            let current_ms = process.clock.mono_ms - age_ms as i64;
            let known = process.words.entry(current_ms).or_insert(late_us);
            *known = late_us.min(*known);
        }
    }

    fn note_asked(&mut self, from: usize, to: usize, message: &Message) {
        let (whose, bytes) = match message {
            Message::ToLeader { body: ToLeader::Request(bytes), .. } => (from, bytes),
            Message::ToLeader { body: ToLeader::Relayed(relayed), .. } => {
                (relayed.server.0 as usize - 1, &relayed.bytes)
            }
            _other => return,
        };
        let life = self.servers[to].life;
        // What it says by a link that is not served, any more or yet, counts for nothing.
        let served = |it: &&Process| it.zab().serves(ServerId(whose as u32 + 1));
        if let Some(process) = self.servers[to].process.as_ref().filter(served) {
            let when = (life, process.clock.mono_ms);
            self.witness.asked_by.insert((to, whose), when);
            for session in sessions_held_by(bytes).unwrap_or_default() {
                self.witness.held_at.insert((to, session), (when, whose));
            }
        }
    }

    /// A leader ends a session for its silence.
    pub(super) fn judge_spared(&mut self, leader: usize, session: SessionId) {
        let client = self.clients.iter().find(|it| it.session.is_some_and(|it| it.0 == session));
        let Some(client) = client else { return };
        let Link::Open(id, server) = client.link else { return };
        let Some(host) = &self.servers[server].process else { return };
        if host.reactor.session_of(id) != Some(session) {
            return; // it does not know yet that its connection is gone
        }
        let well = self.now < client.heard_at + client.timeout_ms as u64 * 400;
        let stood = client.open_since + client.timeout_ms as u64 * 1_000 < self.now;
        if self.servers[server].votes || !well || !stood || server == leader {
            return;
        }
        // What was decided while a disk hung is proposed when that goes on.
        let hung_until = self.servers[leader].stuck_until.max(self.servers[leader].log_stuck_until);
        if self.now < hung_until.saturating_add(DECIDED_BEFORE_US) {
            return;
        }
        // Whose clock stands still passes nothing on.
        if self.now < self.servers[server].clock_stopped_until + client.timeout_ms as u64 * 1_500 {
            return;
        }
        let Some(process) = &self.servers[leader].process else { return };
        let life = self.servers[leader].life;
        let asked = self.witness.asked_by.get(&(leader, server));
        let Some(&(_, heard_ms)) = asked.filter(|it| it.0 == life) else { return };
        let services = &self.plan.services;
        let (timeout_ms, grace_ms) = (i64::from(client.timeout_ms), i64::from(services.grace_ms));
        // One that came to office since knows nobody, and counts anew.
        let since_ms = process.led_since_ms.unwrap_or(process.clock.mono_ms);
        // It knows the session at the server that last said to hold it, be its client no more there.
        let held = self.witness.held_at.get(&(leader, session));
        if held.is_some_and(|&(when, whose)| when.0 == life && since_ms < when.1 && whose != server)
        {
            return;
        }
        let begun_at_voter = process.node.zab().votes(session.server());
        // That server may have been heard before its client came to it, and not since.
        let is_held = held.is_some_and(|&(when, _)| when.0 == life && since_ms < when.1);
        let knows = is_held || services.lists_learners || !begun_at_voter;
        let lives_ms = timeout_ms + if knows { grace_ms } else { 0 };
        let silent_ms = process.clock.mono_ms - heard_ms.max(since_ms);
        let witness = &mut self.witness;
        cut_spares_sessions::check(witness, (leader, server), session, silent_ms, lives_ms);
    }

    /// A server ended sessions without a record.
    pub(super) fn judge_ended(&mut self, server: usize) {
        let life = self.servers[server].life;
        let Some(process) = &self.servers[server].process else { return };
        let now_ms = process.clock.mono_ms;
        let closed: Vec<SessionId> = process.out.closed.iter().map(|it| it.1).collect();
        for session in closed {
            let asked = self.witness.closing.contains(&session);
            let heard_ms = process.heard.get(&session).copied().unwrap_or(i64::MIN);
            let times = (now_ms, heard_ms);
            local_sessions_stay::ended(&mut self.witness, (server, life), session, times, asked);
        }
    }

    /// What a server says to a client of sessions, and of what it does without a leader.
    pub(super) fn judge_service(
        &mut self,
        server: usize,
        (client, id): (usize, ConnectionId),
        message: &ToClient,
    ) {
        let (service, life) = (self.service(server), self.servers[server].life);
        let Some(process) = &self.servers[server].process else { return };
        let moment = Self::moment(process);
        let now_ms = process.clock.mono_ms;
        match *message {
            ToClient::Attached { session, read_only, timeout_ms, .. } => {
                let (place, given) = ((server, life), (session, timeout_ms));
                let at = (read_only, now_ms);
                let witness = &mut self.witness;
                local_sessions_stay::attached(witness, place, &service, given, at);
                if read_only {
                    let takes = self.clients[client].takes_readers;
                    cut_as_documented::gives_reader(witness, server, &service, moment, takes);
                }
            }
            ToClient::Reply { xid, err: ErrorCode::ConnectionLoss, .. } => {
                cut_as_documented::told_open(&mut self.witness, server, &service, moment);
                // It may be done or not: what is done behind it tells nothing of it.
                if let Some((session, _)) = self.clients[client].session
                    && let Some(sent) = self.witness.sent.get_mut(&session)
                {
                    sent.retain(|sent| sent.xid() != xid);
                }
            }
            ToClient::Reply { xid, err, .. } => {
                local_sessions_stay::answered(&mut self.witness, server, &service, err);
                let it = &self.clients[client];
                let reads_only = it.reads_only || it.link.connection() != Some(id);
                // A reader's server refuses what it does not pass on: nothing is done before it.
                if err == ErrorCode::NotReadOnly
                    && it.reads_only
                    && let Some((session, _)) = it.session
                    && let Some(sent) = self.witness.sent.get_mut(&session)
                {
                    sent.retain(|sent| sent.xid() != xid);
                }
                cut_as_documented::refused(&mut self.witness, server, err, reads_only);
            }
            ToClient::Expired | ToClient::Event { .. } | ToClient::Pong { .. } | ToClient::Gone => {
            }
        }
    }

    /// Whether a server ends a session of its own in this turn, and has not heard of it for its time by its
    /// clock: that one may have jumped.
    pub(super) fn ends_for_silence(&self, server: usize, session: SessionId) -> bool {
        let it = &self.servers[server];
        let Some(process) = &it.process else { return false };
        let heard_ms = process.heard.get(&session).copied().unwrap_or(i64::MIN);
        let times = (process.clock.mono_ms, heard_ms);
        process.out.closed.iter().any(|&(_, ended)| ended == session)
            && local_sessions_stay::was_silent(&self.witness, (server, it.life), session, times)
    }

    /// A server without a leader hangs up on those that it gave a session to.
    pub(super) fn judge_hung_up(&mut self, server: usize) {
        let service = self.service(server);
        let Some(process) = &self.servers[server].process else { return };
        if service.on_partition != OnPartition::Serve {
            return;
        }
        let stale_ms = process.node.stale_ms();
        let displaced = process.out.displaced.iter().copied();
        let kept: Vec<_> = displaced.filter(|it| !self.ends_for_silence(server, it.1)).collect();
        for (origin, session) in kept {
            let Some(wire) = self.wires.get(&origin.connection) else { continue };
            let client = &self.clients[wire.client];
            let lease = self.witness.model.sessions.get(&session);
            let is_over = lease.is_some_and(|lease| lease.ended.is_some());
            let counts = !is_over
                && matches!(client.link, Link::Open(id, _) if id == origin.connection)
                && client.session.is_some_and(|it| it.0 == session)
                && !client.left_handshake
                && !self.witness.closing.contains(&session)
                && !connections_stay::old_write_was_done(&self.witness, session, origin.connection);
            if counts {
                cut_as_documented::hung_up(&mut self.witness, server, &service, stale_ms);
            }
        }
    }
}

/// Milliseconds of a clock that ticks so often, in microseconds of the run.
const fn own_us(ms: u64, tick_us: u64) -> u64 {
    ms * 1_000 * tick_us / TICK_US
}
