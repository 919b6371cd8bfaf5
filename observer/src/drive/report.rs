//! What the core tells about itself and its ensemble.

use std::collections::BTreeMap;
use std::sync::Arc;

use farwatch_core::node::Serving;
use farwatch_core::session::Expiry;
use farwatch_core::zab::{Event as ZabEvent, Membership, Status};
use farwatch_core::zxid::{ServerId, SessionId, Zxid};

use super::Core;
use crate::admin::{AdminAnswer, AdminReply, AdminRequest};
use crate::config::{ServerRole, Standing};
use crate::four_letter::server::Mode;
use crate::port::Port;
use crate::report::{CoreReport, EnsembleReport, Part, PeerReport, Question};
use crate::server::wall_ms;

impl Core {
    pub(super) fn answer(&mut self, question: Question, back: &Arc<Port<Part>>) {
        let part = match question {
            Question::Core => Part::Core(self.report_in_full()),
            Question::Role => Part::Core(self.report()),
            Question::Ensemble => Part::Ensemble(self.ensemble_report()),
            Question::Connections
            | Question::WatchCounts
            | Question::Watches
            | Question::ResetConnections => return,
        };
        // The asker made room for every part.
        let _ = back.push(part);
    }

    pub(super) fn administer(&mut self, request: AdminRequest, back: &AdminReply) {
        let answer = match request {
            AdminRequest::Report => Ok(AdminAnswer::Report(Box::new(self.ensemble_report()))),
            AdminRequest::Transfer { to } => self.transfer(ServerId(to)),
        };
        // Who asked may have gone away; then nobody is told.
        let _ = back.try_send(answer);
    }

    fn transfer(&mut self, to: ServerId) -> Result<AdminAnswer, String> {
        let zab = self.node.zab();
        if !zab.is_leading() {
            return Err(match zab.status().leader {
                Some(leader) => format!("this server follows: ask server {leader}, which leads"),
                None => "there is no leader now: look at `farwatch status`".to_owned(),
            });
        }
        if to == zab.me() {
            return Err(format!("server {to} leads already"));
        }
        if self.shared.config.standing == Standing::Alone {
            return Err("this server does not lead an ensemble: there is no other one".to_owned());
        }
        if !self.shared.config.voters().any(|spec| spec.id == u64::from(to.0)) {
            return Err(format!(
                "server {to} has no vote, and cannot lead: name a voter of `farwatch status`"
            ));
        }
        if !zab.status().synced.iter().any(|(id, _)| *id == to) {
            return Err(format!(
                "server {to} is no follower with the whole history: look at `farwatch status`"
            ));
        }
        self.step(ZabEvent::Transfer(to));
        self.carry_out();
        Ok(AdminAnswer::Begun)
    }

    /// The state of the machine, without sessions.
    fn report(&self) -> CoreReport {
        let counts = CoreReport {
            serving: self.node.serving(),
            global_sessions: match self.node.is_leading() {
                true => self.node.expiry().len() as u64,
                false => self.node.sessions().len() as u64,
            },
            local_sessions_count: self.node.local_expiry().map_or(0, Expiry::len) as u64,
            ..CoreReport::default()
        };
        if self.shared.config.standing == Standing::Alone {
            return counts;
        }
        let serving = counts.serving;
        let status = self.node.zab().status();
        let voters: Vec<u64> = self.shared.config.voters().map(|spec| spec.id).collect();
        let votes = |id: ServerId| voters.contains(&u64::from(id.0));
        let mode = self.mode(serving);
        let upstream = status.leader.filter(|&leader| leader != self.node.zab().me());
        let round_trip_us = |id: ServerId| {
            self.ensemble.report().iter().find(|peer| peer.id == id.0).and_then(|peer| peer.rtt_us)
        };
        let synced = |of_voters| status.synced.iter().filter(|it| votes(it.0) == of_voters).count();
        CoreReport {
            mode,
            stale_ms: Some(self.stale_ms()),
            peer_state: Some(format!("{} - {}", status.role, status.phase)),
            voters: Some(voters.len() as u64),
            learns_from: upstream.filter(|_| mode == Mode::Observer).map(|id| u64::from(id.0)),
            upstream_rtt_us: upstream.and_then(round_trip_us),
            leading_ms: self.role_since.elapsed().as_millis() as u64,
            learners: self.node.zab().served().count() as u64,
            synced_followers: synced(true) as u64,
            synced_observers: synced(false) as u64,
            pending_syncs: self.node.pending_syncs() as u64,
            ..counts
        }
    }

    fn mode(&self, serving: Serving) -> Mode {
        match self.node.zab().membership() {
            _any if serving == Serving::Readers => Mode::ReadOnly,
            _any if self.node.is_leading() => Mode::Leader,
            Membership::Voter | Membership::Rejoining => Mode::Follower,
            Membership::Learner => Mode::Observer,
        }
    }

    fn report_in_full(&self) -> CoreReport {
        let wall = wall_ms() - self.clock().mono_ms;
        let by_expiry = |expiry: &Expiry| {
            let mut sessions: BTreeMap<i64, Vec<SessionId>> = BTreeMap::new();
            for (id, due_ms) in expiry.iter() {
                sessions.entry(wall + due_ms).or_default().push(id);
            }
            sessions
        };
        let local_sessions = self.node.local_expiry().map(by_expiry);
        let (mut sessions, mut learned_sessions) = (BTreeMap::new(), BTreeMap::new());
        if self.node.is_leading() {
            sessions = by_expiry(self.node.expiry());
        } else {
            let known = self.node.sessions().iter();
            learned_sessions =
                known.map(|(id, session)| (id, session.timeout_ms.unsigned_abs())).collect();
        }
        let ephemerals = self
            .node
            .writer()
            .sessions_with_ephemerals()
            .map(|(session, _count)| {
                let paths = self.node.writer().ephemerals(session);
                (session, paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
            })
            .collect();
        let digests = self.node.digests().collect();
        CoreReport {
            sessions,
            learned_sessions,
            local_sessions,
            ephemerals,
            digests,
            ..self.report()
        }
    }

    fn ensemble_report(&self) -> EnsembleReport {
        let zab = self.node.zab();
        let status = zab.status();
        let mut peers = self.ensemble.report();
        for peer in &mut peers {
            self.describe(peer, &status);
        }
        EnsembleReport {
            me: zab.me().0,
            role: status.role.to_owned(),
            phase: status.phase.to_owned(),
            role_for_ms: self.role_since.elapsed().as_millis() as u64,
            leader: status.leader.map(|leader| leader.0),
            epoch: status.epochs.current.0,
            accepted_epoch: status.epochs.accepted.0,
            logged: status.log.zxid.0,
            durable: status.durable.0,
            committed: status.committed.0,
            applied: self.node.applied().0,
            stale_ms: self.stale_ms(),
            serves: self.node.serving().to_string(),
            quorum: zab.voters() as u32 / 2 + 1,
            observes: zab.membership() == Membership::Learner,
            rejoining: zab.membership() == Membership::Rejoining,
            peers,
        }
    }

    fn stale_ms(&self) -> u64 {
        self.node.stale_ms().max(0).unsigned_abs()
    }

    /// Adds what the protocol knows of a peer.
    fn describe(&self, peer: &mut PeerReport, status: &Status) {
        let listed = self.shared.config.servers.iter().find(|spec| spec.id == u64::from(peer.id));
        peer.votes = listed.is_some_and(|spec| spec.role == ServerRole::Participant);
        if !self.node.is_leading() {
            return;
        }
        let (zab, id) = (self.node.zab(), ServerId(peer.id));
        peer.learns = Some(zab.feeds(id));
        peer.through = Some(zab.way_to(id).0).filter(|&through| through != peer.id);
        let synced = status.synced.iter().find(|(id, _)| id.0 == peer.id);
        peer.synced = Some(synced.is_some());
        peer.acknowledged = synced.map(|(_, acked)| acked.0);
        peer.lag = synced.map(|&(_, acked)| lag(status.log.zxid, acked));
    }
}

/// How many transactions lie between two places, as far as one epoch tells.
fn lag(log: Zxid, acked: Zxid) -> u64 {
    let from = if acked.epoch() == log.epoch() { acked.counter() } else { 0 };
    u64::from(log.counter().saturating_sub(from))
}
