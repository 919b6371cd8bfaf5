//! What servers do for their clients while they are cut off, and with sessions of their own: the
//! witness's eye on it.

use std::collections::BTreeSet;

use farwatch_core::node::{OnPartition, sessions_told_of};
use farwatch_core::record::Record;
use farwatch_core::wire::ErrorCode;
use farwatch_core::zab::message::{Message, ToLeader, ToLearner};
use farwatch_core::zxid::{SessionId, Zxid};

use super::Cluster;
use crate::client::Link;
use crate::invariants::cut_as_documented::{self, Moment};
use crate::invariants::{
    cut_spares_sessions, local_sessions_cost_nothing, local_sessions_stay,
    staleness_not_understated,
};
use crate::reactor::{ConnectionId, Look};
use crate::request::ToClient;
use crate::server::{Process, TICK_US};
use crate::service::Service;

/// How much later a word arrives than what it says is true, microseconds, and since when it is on its
/// way.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    at: u64,
    late_us: u64,
}

/// The way to whom a server learns from, and how fresh its state was before it heard something.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    following: Option<(farwatch_core::zxid::ServerId, u64)>,
    current_ms: i64,
}

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
        let Some(process) = &self.servers[server].process else { return };
        let Some(late_us) = process.late_us.filter(|_| !self.servers[server].votes) else { return };
        let Some(&committed) = self.witness.committed_at.get(process.applied.len()) else { return };
        let told_us = process.node.stale_ms().unsigned_abs() * 1_000 * tick_us / TICK_US;
        let missing_us = self.now - committed;
        staleness_not_understated::check(&mut self.witness, server, told_us, late_us, missing_us);
    }

    /// By how much what a server says now is behind what it seems to say: what it has not told that
    /// other one to be committed, and since when it does not know that it was replaced.
    pub(super) fn said(&self, from: usize, to: usize) -> Said {
        let at = self.now;
        let process = self.servers[from].process.as_ref().expect("it speaks");
        let learned_us = if process.zab().is_leading() {
            let own = process.zab().epoch();
            let newer = self.witness.established_at.range(own..).find(|(epoch, _)| **epoch != own);
            newer.map_or(0, |(_, since)| at - since)
        } else {
            process.late_us.unwrap_or(0)
        };
        let told = self.witness.told_upto.get(&(from, to)).copied().unwrap_or(Zxid::ZERO);
        let first = self.witness.history.partition_point(|(at, _)| at.zxid <= told);
        // What it has not heard of itself it cannot say, and counts.
        let unsaid = (first < process.applied.len()).then(|| self.witness.committed_at[first]);
        let unsaid_us = unsaid.map_or(0, |since| at - since);
        Said { at, late_us: learned_us + unsaid_us }
    }

    /// Notes what a server tells one that does not vote, and judges what it tells its leader.
    pub(super) fn note_said(&mut self, from: usize, to: usize, message: &Message) {
        let told = match message {
            Message::ToLearner { body: ToLearner::Inform { bytes, .. }, .. } => {
                let (mut rest, mut last) = (&bytes[..], Zxid::ZERO);
                while !rest.is_empty() {
                    let record = Record::own(rest);
                    last = record.head().zxid;
                    rest = &rest[record.bytes().len()..];
                }
                last
            }
            Message::ToLearner { body: ToLearner::Commit(upto), .. }
            | Message::ToLearner { body: ToLearner::UpToDate(upto), .. } => *upto,
            Message::ToLearner { body: ToLearner::Snapshot { .. }, .. } => {
                *self.witness.snapshots.entry(to).or_default() += 1;
                return;
            }
            Message::ToLeader { body: ToLeader::Request(bytes), .. } => {
                return self.judge_request(from, bytes);
            }
            _other => return,
        };
        let known = self.witness.told_upto.entry((from, to)).or_insert(Zxid::ZERO);
        *known = (*known).max(told);
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
        let following = process.zab().session().filter(|_| process.zab().is_following());
        let current_ms = process.clock.mono_ms - process.node.stale_ms();
        Before { following, current_ms }
    }

    /// A server has heard this, and may count from it now.
    pub(super) fn note_heard(
        &mut self,
        (from, to): (usize, usize),
        (said, before): (Said, Before),
        message: &Message,
    ) {
        self.note_asked(from, to, message);
        let Message::ToLearner { body, .. } = message else { return };
        // An age is counted by the clock of whoever says it.
        let slower = self.servers[from].tick_us.saturating_sub(self.servers[to].tick_us);
        let rate_us = if let ToLearner::Age(ms) = body {
            u64::from(*ms) * 1_000 * slower / TICK_US
        } else {
            0
        };
        let way = self.servers[from].id;
        let Some(process) = self.servers[to].process.as_mut() else { return };
        let current_ms = process.clock.mono_ms - process.node.stale_ms();
        let late_us = said.late_us + (self.now - said.at) + rate_us;
        let follows = process.zab().is_following()
            && process.zab().session().is_some_and(|session| session.0 == way);
        if !follows || current_ms < before.current_ms {
            return;
        }
        let same = current_ms == before.current_ms && before.following.is_some();
        process.late_us = match process.late_us {
            Some(known) if same => Some(known.min(late_us)),
            _other => Some(late_us),
        };
    }

    fn note_asked(&mut self, from: usize, to: usize, message: &Message) {
        let whose = match message {
            Message::ToLeader { body: ToLeader::Request(_), .. } => from,
            Message::ToLeader { body: ToLeader::Relayed(relayed), .. } => {
                relayed.server.0 as usize - 1
            }
            _other => return,
        };
        let life = self.servers[to].life;
        if let Some(process) = &self.servers[to].process {
            self.witness.asked_by.insert((to, whose), (life, process.clock.mono_ms));
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
        let knows = since_ms < heard_ms || services.lists_learners;
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
            let counts = matches!(client.link, Link::Open(id, _) if id == origin.connection)
                && client.session.is_some_and(|it| it.0 == session)
                && !client.left_handshake
                && !self.witness.closing.contains(&session);
            if counts {
                cut_as_documented::hung_up(&mut self.witness, server, &service, stale_ms);
            }
        }
    }
}
