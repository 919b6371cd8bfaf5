//! What goes wrong.

use super::{Cluster, Happening};
use crate::disk::{Damage, Disk};
use crate::plan::Shares;
use farwatch_core::log::epochs::Epochs;
use farwatch_core::zab::Event;

/// How long whoever tries to lead is in danger, after a disk was lost while a voter lagged.
const DANGER_US: u64 = 2_000_000;

/// A kind of fault, as named in [`Shares`].
type Fault = fn(&mut Cluster, usize);

impl Cluster {
    pub(super) fn strike(&mut self) {
        if !self.is_rough() && self.servers.iter().all(|server| server.core) {
            return;
        }
        let next = self.now + self.prng.between(self.plan.fault_us / 2, self.plan.fault_us * 3 / 2);
        self.schedule(next, Happening::Fault);
        let server = self.prng.below(self.servers.len() as u64) as usize;
        let faults = if self.calm {
            if self.servers[server].core {
                return;
            }
            lasting_faults(&self.plan.shares)
        } else {
            faults(&self.plan.shares)
        };
        let total: u64 = faults.iter().map(|fault| fault.0).sum();
        if total == 0 {
            return;
        }
        let mut place = self.prng.below(total);
        for (share, fault) in faults {
            if place < share {
                return fault(self, server);
            }
            place -= share;
        }
    }

    fn leader(&self) -> Option<usize> {
        (0..self.servers.len()).find(|&server| {
            self.servers[server].process.as_ref().is_some_and(|process| process.zab().is_leading())
        })
    }

    fn crash_leader(&mut self, _: usize) {
        if let Some(leader) = self.leader() {
            self.crash(leader);
        }
    }

    fn crash_all(&mut self, _: usize) {
        for server in 0..self.servers.len() {
            self.crash(server);
        }
    }

    fn freeze(&mut self, server: usize) {
        let until = self.now + self.prng.between(10_000, 3_000_000);
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} is stopped for a while"));
        self.servers[server].frozen_until = until;
    }

    fn clock_jumps(&mut self, server: usize) {
        let ticks = self.prng.between(5, 150);
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("the clock of {id} jumps by {ticks} ticks"));
        for _ in 0..ticks {
            if self.servers[server].frozen_until <= self.now {
                self.tick(server, true);
                self.watch_leader(server);
            }
        }
    }

    fn clock_stops(&mut self, server: usize) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("the clock of {id} stands still for a while"));
        self.servers[server].clock_stopped_until = self.now + self.prng.between(50_000, 2_000_000);
    }

    fn disk_hangs(&mut self, server: usize) {
        let id = self.servers[server].id;
        let until = self.now + self.prng.between(100_000, 5_000_000);
        if self.prng.one_in(2) {
            self.trace.line(self.now, format_args!("the disk of {id} hangs"));
            self.servers[server].stuck_until = until;
        } else {
            self.trace.line(self.now, format_args!("the log's own disk of {id} hangs"));
            self.servers[server].log_stuck_until = until;
        }
    }

    fn disk_is_full(&mut self, server: usize) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("the disk of {id} is full"));
        self.witness.disks_filled = true;
        self.servers[server].full_until = self.now + self.prng.between(100_000, 3_000_000);
    }

    /// Whether the others can make good what this server's disk held. One voter's at a time: a
    /// second one before the first has it again may have held the same record.
    fn may_lose(&self, server: usize) -> bool {
        let whole = |(index, other): (usize, &super::Server)| {
            index == server || !other.votes || !(other.disk.rejoining || other.disk.is_damaged())
        };
        !self.servers[server].votes
            || (self.plan.voters >= 3 && self.servers.iter().enumerate().all(whole))
    }

    /// The disk is an empty one from now on, and a voter is started to rejoin.
    pub fn lose_disk(&mut self, server: usize) {
        let mut disk = Disk::new(self.mutant);
        disk.rejoining = self.servers[server].votes;
        self.servers[server].disk = disk;
        self.witness.epochs.insert(server, Epochs::default());
        self.witness.wiped.insert(server, self.now);
    }

    fn disk_is_lost(&mut self, server: usize) {
        if !self.may_lose(server) {
            return;
        }
        self.crash(server);
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} loses its disk, and is started to rejoin"));
        self.lose_disk(server);
    }

    fn disk_is_damaged(&mut self, server: usize) {
        if !self.may_lose(server) {
            return;
        }
        let mut prng = farwatch_core::prng::Prng::new(self.prng.next());
        if let Some(damage) = self.servers[server].disk.damage(&mut prng) {
            let id = self.servers[server].id;
            self.trace.line(self.now, format_args!("on the disk of {id} is damaged: {damage:?}"));
        }
    }

    /// A running server met a block that is not what was written.
    pub(super) fn met_damage(&mut self, server: usize, damage: Damage) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} reads {damage:?} damaged, and stops"));
        self.crash(server);
    }

    /// A server that starts met one: it is refused, and the operator lets it rejoin without its
    /// disk, as soon as no other voter is without one.
    pub(super) fn refuse_start(&mut self, server: usize, damage: Damage) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} is refused: {damage:?} is damaged"));
        if self.may_lose(server) {
            self.lose_disk(server);
        }
        self.schedule(self.now + 300_000, Happening::Start { server });
    }

    /// A voter is cut off, so that it lacks what comes now; then another loses its disk.
    fn disk_and_leader_are_lost(&mut self, lost: usize) {
        let lags = self.prng.below(self.plan.voters as u64) as usize;
        if lags == lost || !self.servers[lost].votes || self.leader() == Some(lost) {
            return;
        }
        let id = self.servers[lags].id;
        self.trace.line(self.now, format_args!("{id} is cut off, and worse is to come"));
        self.network.heal();
        self.isolate(lags);
        let at = self.now + self.prng.between(200_000, 700_000);
        self.schedule(at, Happening::DiskLost { server: lost });
    }

    /// The disk is lost, the server is back at once, and soon the leader dies.
    pub(super) fn disk_lost_while_one_lags(&mut self, server: usize) {
        if !self.is_rough() || !self.may_lose(server) {
            return;
        }
        self.disk_is_lost(server);
        let at = self.now + self.prng.below(20_000);
        self.schedule(at, Happening::Start { server });
        let at = at + self.prng.between(2_000, 250_000);
        self.schedule(at, Happening::LeaderLost);
    }

    pub(super) fn leader_lost_while_one_lags(&mut self) {
        if !self.is_rough() {
            return;
        }
        self.network.heal();
        self.danger_until = self.now + DANGER_US;
        if self.prng.one_in(2) {
            self.crash_leader(0);
        }
    }

    /// It goes on proposing, to nobody and to a disk that takes it in and does not finish it. When all
    /// is well again it follows another, and what it proposed is cut while the disk still has it.
    fn leader_log_hangs(&mut self, _: usize) {
        let Some(leader) = self.leader() else { return };
        let id = self.servers[leader].id;
        self.trace.line(self.now, format_args!("{id} leads, is cut off, and its log hangs"));
        self.isolate(leader);
        let healed = self.now + self.prng.between(500_000, 1_500_000);
        self.servers[leader].log_stuck_until = healed + self.prng.between(200_000, 2_000_000);
        self.schedule(healed, Happening::Healed);
    }

    /// It does not notice that it hears nobody, while others elect another leader.
    fn leader_is_stale(&mut self, with: usize) {
        let Some(leader) = self.leader() else { return };
        let id = self.servers[leader].id;
        self.trace.line(self.now, format_args!("the clock of {id}, which leads, stands still"));
        let healed = self.now + self.prng.between(900_000, 3_000_000);
        self.servers[leader].clock_stopped_until = healed;
        self.network.heal();
        for one in [leader, with] {
            for other in (0..self.servers.len()).filter(|&other| other != leader && other != with) {
                self.network.cut(one, other);
                self.network.cut(other, one);
            }
        }
        self.schedule(healed, Happening::Healed);
    }

    pub(super) fn healed(&mut self) {
        if self.is_rough() {
            self.heal(0);
        }
    }

    pub(super) fn isolate(&mut self, server: usize) {
        for other in (0..self.servers.len()).filter(|&other| other != server) {
            self.network.cut(server, other);
            self.network.cut(other, server);
        }
    }

    /// One that does not vote, for long enough that sessions, waits and bounds run out.
    fn observer_is_cut(&mut self, server: usize) {
        let voters = self.plan.voters;
        let server = voters + server % self.plan.learners;
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} is cut off for a while"));
        self.network.heal();
        self.isolate(server);
        let healed = self.now + self.prng.between(100_000, 5_000_000);
        self.schedule(healed, Happening::Healed);
    }

    fn partition(&mut self, _: usize) {
        self.network.heal();
        let count = self.servers.len();
        let sides: Vec<bool> = (0..count).map(|_| self.prng.one_in(2)).collect();
        self.trace.line(self.now, format_args!("the network falls apart: {sides:?}"));
        for from in 0..count {
            for to in 0..count {
                if sides[from] != sides[to] {
                    self.network.cut(from, to);
                }
            }
        }
    }

    fn cut_one_way(&mut self, server: usize) {
        let id = self.servers[server].id;
        let hears = self.prng.one_in(2);
        self.trace.line(self.now, format_args!("{id} is cut one way, hears: {hears}"));
        for other in (0..self.servers.len()).filter(|&other| other != server) {
            if hears {
                self.network.cut(server, other);
            } else {
                self.network.cut(other, server);
            }
        }
    }

    fn cut_pair(&mut self, server: usize) {
        let other = self.prng.below(self.servers.len() as u64) as usize;
        self.trace.line(
            self.now,
            format_args!("{} and {} are cut", self.servers[server].id, self.servers[other].id),
        );
        self.network.cut(server, other);
        self.network.cut(other, server);
    }

    fn slow(&mut self, server: usize) {
        let delay = self.prng.between(10_000, 400_000);
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("what {id} sends takes {delay} µs more"));
        for other in 0..self.servers.len() {
            self.network.slow(server, other, delay);
        }
    }

    fn transfer(&mut self, to: usize) {
        let id = self.servers[to].id;
        if let Some(leader) = self.leader().filter(|&leader| leader != to) {
            self.trace.line(self.now, format_args!("the operator wants {id} to lead"));
            self.step(leader, Event::Transfer(id));
        }
    }

    fn heal(&mut self, _: usize) {
        self.trace.line(self.now, format_args!("all links are well again"));
        self.network.heal();
    }

    /// How a server is broken that is not among those who are well in the end.
    pub(super) fn leave_out(&mut self, server: usize) {
        let id = self.servers[server].id;
        let kind = self.prng.below(6);
        let how = ["is gone", "is cut off", "is cut one way", "is cut partly", "is slow", "fails"];
        self.trace.line(self.now, format_args!("{id} stays out: it {}", how[kind as usize]));
        match kind {
            0 => {
                self.servers[server].process = None;
                self.connections_end(server);
                self.servers[server].left_out = true;
                // What is still under way belongs to no process any more.
                self.servers[server].life += 1;
            }
            1 => self.isolate(server),
            2 => self.cut_one_way(server),
            3 => self.cut_partly(server),
            4 => self.slow(server),
            _ => {}
        }
    }

    fn cut_partly(&mut self, server: usize) {
        for other in (0..self.servers.len()).filter(|&other| other != server) {
            if self.prng.one_in(2) {
                self.network.cut(server, other);
            }
            if self.prng.one_in(2) {
                self.network.cut(other, server);
            }
        }
    }
}

fn faults(shares: &Shares) -> Vec<(u64, Fault)> {
    vec![
        (shares.crash, Cluster::crash),
        (shares.crash_leader, Cluster::crash_leader),
        (shares.crash_all, Cluster::crash_all),
        (shares.freeze, Cluster::freeze),
        (shares.clock_jump, Cluster::clock_jumps),
        (shares.clock_stop, Cluster::clock_stops),
        (shares.disk_hang, Cluster::disk_hangs),
        (shares.disk_full, Cluster::disk_is_full),
        (shares.disk_lost, Cluster::disk_is_lost),
        (shares.disk_damage, Cluster::disk_is_damaged),
        (shares.disk_and_leader_lost, Cluster::disk_and_leader_are_lost),
        (shares.leader_log_hang, Cluster::leader_log_hangs),
        (shares.stale_leader, Cluster::leader_is_stale),
        (shares.partition, Cluster::partition),
        (shares.one_way, Cluster::cut_one_way),
        (shares.pair, Cluster::cut_pair),
        (shares.slow, Cluster::slow),
        (shares.transfer, Cluster::transfer),
        (shares.heal, Cluster::heal),
        (shares.observer_cut, Cluster::observer_is_cut),
    ]
}

/// What goes on breaking the servers that are not among those who are well.
fn lasting_faults(shares: &Shares) -> Vec<(u64, Fault)> {
    vec![
        (shares.crash, Cluster::crash),
        (shares.freeze, Cluster::freeze),
        (shares.clock_jump, Cluster::clock_jumps),
        (shares.clock_stop, Cluster::clock_stops),
        (shares.disk_hang, Cluster::disk_hangs),
        (shares.disk_full, Cluster::disk_is_full),
        (shares.disk_damage, Cluster::disk_is_damaged),
    ]
}
