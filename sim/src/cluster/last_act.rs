//! The last act: what takes several steps in one order, each at its moment, and therefore almost never
//! comes about by chance. The faults are over then, and all is well but for what is done here.
//!
//! ```text
//! StaleReader       gather ─► move clients ─► nobody writes ─► the leader's clock stops, it is cut off
//! UnfinishedEpoch   gather ─► the leader is cut off ─► nobody hears promises ─► its founder dies, heal
//! LateSnapshot      gather ─► a voter is cut off, the log purged ─► its snapshot hangs, the leader dies
//! ```

use farwatch_core::zxid::Epoch;

use super::{Cluster, Happening};
use crate::client::{KEYS, Link, key_path};
use crate::network::Weather;
use crate::plan::LastAct;
use crate::request::{Request, ToServer};

/// It is not begun later than this: what it waits for takes time, too.
const GATHER_US: u64 = 2_000_000;

/// Time for clients to go where they belong.
const MOVE_US: u64 = 250_000;

/// Time for what was proposed to be committed.
const QUIET_US: u64 = 150_000;

/// Time for writes that a voter misses.
const MISSING_US: u64 = 300_000;

/// How long a snapshot then takes to replace the history: others elect another leader meanwhile.
const INSTALLING_US: u64 = 1_800_000;

/// Between two looks. A promise is on its way for longer.
const LOOK_US: u64 = 100;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Gather,
    Move,
    Quiet,
    /// The old leader does not know that it is one no more.
    Stale,
    /// Another epoch has to begin.
    Discovery,
    /// Somebody has to promise it to this server.
    Promise(usize, Epoch),
    /// This voter misses what is written.
    Missing(usize),
    /// It is to be given a snapshot.
    Installing(usize),
    /// Nothing more is done.
    Over,
}

#[derive(Debug)]
pub struct Act {
    which: LastAct,
    step: Step,
    /// When the step began.
    since: u64,
    leader: usize,
    /// The client that reads where nobody writes, and the server that it reads from.
    reader: Option<(usize, usize)>,
}

impl Cluster {
    pub(super) fn last_act_begins(&mut self, which: LastAct) {
        self.trace.line(self.now, format_args!("the last act: {which:?}"));
        self.network.heal();
        self.network.weather = Weather::CLEAR;
        (0..self.servers.len()).for_each(|server| self.make_well(server));
        let (step, since) = (Step::Gather, self.now);
        self.act = Some(Act { which, step, since, leader: 0, reader: None });
        self.schedule(self.now, Happening::Act);
    }

    /// Whether faults come by chance.
    pub(super) fn is_rough(&self) -> bool {
        !self.calm && self.act.is_none()
    }

    /// A look at how far it is.
    pub(super) fn act(&mut self) {
        let Some(act) = &self.act else { return };
        let (step, since, leader) = (act.step, act.since, act.leader);
        if self.calm || step == Step::Over {
            return;
        }
        self.schedule(self.now + LOOK_US, Happening::Act);
        let waited = self.now - since;
        let next = match step {
            Step::Gather if waited > GATHER_US => Some(Step::Over),
            Step::Gather => self.gathered(),
            Step::Move => (waited > MOVE_US).then_some(Step::Quiet),
            Step::Quiet => (waited > QUIET_US).then(|| self.make_stale(leader)),
            Step::Stale | Step::Over => None,
            Step::Discovery => self.founder(leader).map(|(founder, epoch)| {
                self.unheard(founder);
                Step::Promise(founder, epoch)
            }),
            Step::Promise(founder, epoch) => {
                self.is_promised(leader, founder, epoch).then(|| self.goes_on(leader, founder))
            }
            Step::Missing(voter) => (waited > MISSING_US).then(|| self.purged(leader, voter)),
            Step::Installing(voter) => {
                self.servers[voter].disk.installs().then(|| self.abandoned(leader))
            }
        };
        if let (Some(step), Some(act)) = (next, &mut self.act) {
            (act.step, act.since) = (step, self.now);
        }
    }

    /// Whether a leader leads all that vote; then the act begins.
    fn gathered(&mut self) -> Option<Step> {
        let leads = |server: &usize| {
            let process = self.servers[*server].process.as_ref();
            process.is_some_and(|it| it.zab().is_leading() && it.zab().proposable().is_some())
        };
        let leader = (0..self.servers.len()).find(leads)?;
        let served: Vec<usize> = {
            let zab = self.servers[leader].process.as_ref().expect("it leads").zab();
            zab.served().map(|id| id.0 as usize - 1).collect()
        };
        let votes = |server: &&usize| self.servers[**server].votes;
        if served.iter().filter(votes).count() + 1 < self.plan.voters {
            return None;
        }
        let id = self.servers[leader].id;
        let which = self.act.as_ref().expect("it is on").which;
        let mut reader = None;
        let step = match which {
            LastAct::StaleReader => {
                let mut hosts: Vec<usize> =
                    served.into_iter().filter(|&at| !self.servers[at].votes).collect();
                hosts.extend([leader; 2]);
                let host = hosts[self.prng.below(hosts.len() as u64) as usize];
                let client = self.prng.below(self.clients.len() as u64) as usize;
                reader = Some((client, host));
                self.trace.line(self.now, format_args!("client {client} shall read of {id}"));
                Step::Move
            }
            LastAct::UnfinishedEpoch => {
                self.trace.line(self.now, format_args!("{id}, which leads, is put to sleep"));
                self.servers[leader].clock_stopped_until = u64::MAX;
                self.isolate(leader);
                Step::Discovery
            }
            LastAct::LateSnapshot => {
                let voters: Vec<usize> =
                    served.into_iter().filter(|&at| self.servers[at].votes).collect();
                let voter = voters[self.prng.below(voters.len() as u64) as usize];
                self.isolate(voter);
                Step::Missing(voter)
            }
        };
        if let Some(act) = &mut self.act {
            (act.leader, act.reader) = (leader, reader);
        }
        self.move_clients();
        Some(step)
    }

    /// Whether a server is, or will be, on the side of the leader that grows stale.
    fn is_aside(&self, server: usize) -> bool {
        let Some(Act { leader, reader: Some(_), .. }) = self.act else { return false };
        server == leader || !self.servers[server].votes
    }

    /// Whether the client may be connected to the server, as far as the act goes.
    pub(super) fn may_serve(&self, client: usize, server: usize) -> bool {
        match &self.act {
            Some(Act { reader: Some((reader, host)), .. }) if *reader == client => *host == server,
            Some(Act { step: Step::Quiet, .. }) => false,
            _other => !self.is_aside(server),
        }
    }

    fn move_clients(&mut self) {
        for client in 0..self.clients.len() {
            if let Link::Opening(id, server, _) | Link::Open(id, server) = self.clients[client].link
                && !self.may_serve(client, server)
            {
                self.say_to_server(id, ToServer::Gone);
                self.clients[client].disconnected();
            }
        }
    }

    /// What the act has the client ask, if it decides on that: nothing, or a sync and a read.
    pub(super) fn told_to_ask(&mut self, client: usize) -> Option<Vec<Request>> {
        let Some(Act { reader: Some((reader, _)), step, .. }) = self.act else { return None };
        if client == reader {
            let path = key_path(self.prng.below(KEYS));
            return Some(vec![Request::Sync, Request::Get { path, watch: false }]);
        }
        (step == Step::Quiet).then(Vec::new)
    }

    /// It does not notice that it hears nobody, as time does not pass for it. All that it proposed is
    /// committed, so that nothing but the others' word keeps it from answering what it is asked.
    fn make_stale(&mut self, leader: usize) -> Step {
        let id = self.servers[leader].id;
        self.trace.line(self.now, format_args!("{id} is cut off from voters, its clock stops"));
        self.servers[leader].clock_stopped_until = u64::MAX;
        for one in 0..self.servers.len() {
            for other in 0..self.servers.len() {
                if self.is_aside(one) != self.is_aside(other) {
                    self.network.cut(one, other);
                }
            }
        }
        Step::Stale
    }

    /// Who is about to win an epoch, and which.
    fn founder(&self, leader: usize) -> Option<(usize, Epoch)> {
        (0..self.servers.len()).filter(|&server| server != leader).find_map(|server| {
            let zab = self.servers[server].process.as_ref()?.zab();
            let epoch = zab.leading_epoch().filter(|&epoch| epoch != Epoch::ZERO)?;
            (!zab.is_leading()).then_some((server, epoch))
        })
    }

    /// It asks for promises, and hears none.
    fn unheard(&mut self, founder: usize) {
        let id = self.servers[founder].id;
        self.trace.line(self.now, format_args!("{id} hears nobody from now on"));
        for other in (0..self.servers.len()).filter(|&other| other != founder) {
            self.network.cut(other, founder);
        }
    }

    fn is_promised(&self, leader: usize, founder: usize, epoch: Epoch) -> bool {
        let mut others = (0..self.servers.len()).filter(|&it| it != leader && it != founder);
        others.any(|other| self.servers[other].disk.epochs.accepted == epoch)
    }

    /// The epoch that was promised never comes to be: its founder dies, and is soon back, and the old
    /// leader is there again as if nothing had been.
    fn goes_on(&mut self, leader: usize, founder: usize) -> Step {
        self.trace.line(self.now, format_args!("and dies, and all else is well again"));
        self.kill(founder);
        let at = self.now + self.prng.between(5_000, 100_000);
        self.schedule(at, Happening::Start { server: founder });
        self.servers[leader].clock_stopped_until = 0;
        self.network.heal();
        Step::Over
    }

    /// What the voter missed is in no log of the leader's any more, when it is back.
    fn purged(&mut self, leader: usize, voter: usize) -> Step {
        let id = self.servers[voter].id;
        self.trace.line(self.now, format_args!("{id} is back, and needs a snapshot"));
        let crate::server::Server { disk, process: Some(process), .. } = &mut self.servers[leader]
        else {
            return Step::Over;
        };
        disk.compact(process.applied_at, &process.applied, true);
        self.network.heal();
        Step::Installing(voter)
    }

    /// How long the snapshot of the act takes at least.
    pub(super) fn installs_for(&self, server: usize) -> u64 {
        let step = self.act.as_ref().map(|act| act.step);
        if step == Some(Step::Installing(server)) { INSTALLING_US } else { 0 }
    }

    /// Whoever gave the snapshot is gone before it is the voter's history.
    fn abandoned(&mut self, leader: usize) -> Step {
        let id = self.servers[leader].id;
        self.trace.line(self.now, format_args!("{id} dies before its snapshot is installed"));
        self.kill(leader);
        Step::Over
    }
}
