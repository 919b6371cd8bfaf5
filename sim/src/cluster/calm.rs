//! The end of the faults, for all or for a bare quorum, and what is expected of it.

use super::Cluster;
use crate::client::Link;
use crate::invariants::digests_equal;
use crate::network::Weather;
use crate::plan::Mode;
use crate::server::Server;

/// The longest that a quorum which is well may leave a write without an answer, whatever the
/// others do: an election that ran into its deadline and one more that did not.
pub const UNANSWERED_US: u64 = 6_500_000;

/// Clients go on for so long after the first answer in the calm, and then leave it quiet: what a
/// server was not told must not need the next write to come.
const BUSY_US: u64 = 700_000;

/// By then everything that was under way has arrived.
const QUIET_US: u64 = 800_000;

impl Cluster {
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.trace.line(self.now, format_args!("calm"));
        self.network.heal();
        self.network.weather = Weather::CLEAR;
        if self.plan.mode == Mode::Liveness {
            self.choose_core();
            self.leave_the_broken();
        }
        for server in 0..self.servers.len() {
            if self.servers[server].core {
                self.make_well(server);
            } else {
                self.leave_out(server);
            }
        }
    }

    /// Nothing is wrong with this server any more.
    pub(super) fn make_well(&mut self, server: usize) {
        let it = &mut self.servers[server];
        // The ticks of one that did not run were put off until then: it runs, and its clock stands.
        it.clock_stopped_until = it.frozen_until;
        (it.frozen_until, it.stuck_until, it.full_until, it.log_stuck_until) = (0, 0, 0, 0);
        if it.process.is_none() {
            self.start(server);
        }
    }

    /// A bare quorum of voters that have their disks.
    fn choose_core(&mut self) {
        self.servers.iter_mut().for_each(|server| server.core = false);
        let mut whole: Vec<usize> = (0..self.servers.len())
            .filter(|&index| {
                let server = &self.servers[index];
                server.votes && !server.disk.rejoining && !server.disk.is_damaged()
            })
            .collect();
        for _ in 0..self.quorum.needed() {
            let chosen = self.prng.below(whole.len() as u64) as usize;
            let chosen = whole.swap_remove(chosen);
            self.servers[chosen].core = true;
        }
    }

    /// Whether clients have said enough.
    pub(super) fn is_quiet(&self) -> bool {
        self.plan.mode == Mode::Safety
            && self.recovered_at.is_some_and(|at| self.now > at + BUSY_US)
    }

    /// A write that began in the calm was answered.
    pub(super) fn answered_in_calm(&mut self) {
        let since = self.answered_at.unwrap_or(self.plan.calm_at_us);
        self.unanswered_us = self.unanswered_us.max(self.now - since);
        self.answered_at = Some(self.now);
        self.recovered_at.get_or_insert(self.now);
    }

    /// Nothing more is to be seen: progress was made after the calm, and all agree.
    pub(super) fn is_done(&self) -> bool {
        self.plan.mode == Mode::Safety
            && self.recovered_at.is_some_and(|at| self.now > at + BUSY_US + QUIET_US)
            && self.servers.iter().all(|server| {
                server
                    .process
                    .as_ref()
                    .is_some_and(|process| process.applied_at.zxid == self.witness.committed())
            })
            && self.servers.iter().all(|server| !server.votes || self.is_known_whole(server))
            && self.waits().is_none()
    }

    /// A client that is served and waits for an answer, and how many it waits for.
    fn waits(&self) -> Option<(usize, usize)> {
        let served =
            self.clients.iter().enumerate().filter(|it| matches!(it.1.link, Link::Open(..)));
        served.map(|(at, client)| (at, client.sent.len())).find(|&(_, count)| 0 < count)
    }

    /// Whether no leader takes a voter for one that lacks something: leadership could not be handed over to it.
    fn is_known_whole(&self, voter: &Server) -> bool {
        self.servers.iter().filter_map(|it| it.process.as_ref()).all(|process| {
            let status = process.node.zab().status();
            let known = status.synced.iter().find(|(id, _)| *id == voter.id);
            known.is_none_or(|&(_, acknowledged)| acknowledged == status.log.zxid)
        })
    }

    /// All have applied all: the trees are one.
    pub fn compare_trees(&mut self) {
        let Self { servers, witness, .. } = self;
        for (server, it) in servers.iter().enumerate() {
            if let Some(process) = &it.process
                && process.node.applied() == witness.committed()
            {
                digests_equal::check_end(witness, server, process.node.tree());
            }
        }
    }

    pub(super) fn judge(&mut self) {
        if self.witness.violations.is_empty() {
            self.history.check(&mut self.witness);
            if self.is_done() {
                self.compare_trees();
            }
        }
        if !self.witness.violations.is_empty() {
            return;
        }
        let last = self.answered_at.unwrap_or(self.plan.calm_at_us);
        let unanswered = self.unanswered_us.max(self.now.saturating_sub(last));
        if self.recovered_at.is_none() {
            // Where the only clients set what is not there, as it happens, those are answered too. Not where
            // progress itself is judged.
            let refused = self.refused_at.is_some_and(|at| self.now - at < UNANSWERED_US);
            if refused && self.plan.mode == Mode::Safety {
                return;
            }
            let states = self.describe();
            self.witness.violate("progress", format!("no write in time after the calm: {states}"));
        } else if self.plan.mode == Mode::Liveness {
            if unanswered > UNANSWERED_US {
                let states = self.describe();
                let text = format!("{unanswered} µs without an answer after the calm: {states}");
                self.witness.violate("progress", text);
            }
        } else if !self.is_done() {
            let states = self.describe();
            let text = match self.waits() {
                Some((client, count)) => {
                    format!("client {client} waits for {count} answers: {states}")
                }
                None => format!("servers differ in the end: {states}"),
            };
            self.witness.violate("convergence", text);
        }
    }
}
