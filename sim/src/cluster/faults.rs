//! What goes wrong, and the calm after it.

use super::{Cluster, Happening};
use crate::disk::Disk;
use crate::network::Weather;
use farwatch_core::log::epochs::Epochs;
use farwatch_core::zab::Event;

impl Cluster {
    pub(super) fn strike(&mut self) {
        if self.calm {
            return;
        }
        let next = self.now + self.prng.between(self.plan.fault_us / 2, self.plan.fault_us * 3 / 2);
        self.schedule(next, Happening::Fault);
        let server = self.prng.below(self.servers.len() as u64) as usize;
        match self.prng.below(12) {
            0 | 1 => self.crash(server),
            2 => self.crash_leader(),
            3 => self.freeze(server),
            4 if self.plan.may_stick => self.stick(server),
            5 if self.plan.may_wipe => self.wipe(server),
            6 | 7 if self.plan.may_partition => self.partition(),
            8 if self.plan.may_partition => self.cut_one_way(server),
            9 if self.plan.may_partition => self.cut_pair(server),
            10 => self.transfer(server),
            11 => self.slow(server),
            _ => {
                self.trace.line(self.now, format_args!("all links are well again"));
                self.network.heal();
            }
        }
    }

    fn leader(&self) -> Option<usize> {
        (0..self.servers.len()).find(|&server| {
            self.servers[server].process.as_ref().is_some_and(|process| process.zab.is_leading())
        })
    }

    fn crash_leader(&mut self) {
        if let Some(leader) = self.leader() {
            self.crash(leader);
        }
    }

    fn freeze(&mut self, server: usize) {
        let until = self.now + self.prng.between(10_000, 3_000_000);
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} is stopped for a while"));
        self.servers[server].frozen_until = until;
    }

    fn stick(&mut self, server: usize) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("the disk of {id} hangs"));
        self.servers[server].stuck_until = self.now + self.prng.between(100_000, 5_000_000);
    }

    /// A voter loses its disk. Only as many as the others can make good are out at a time.
    fn wipe(&mut self, server: usize) {
        let out = self.servers.iter().filter(|s| s.votes && s.disk.rejoining).count();
        let voters = self.plan.voters;
        if !self.servers[server].votes || (out + 1) * 2 >= voters || voters < 3 {
            return;
        }
        // Not a second one before the first has what it lost: both may hold the same record.
        if out > 0 {
            return;
        }
        self.crash(server);
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} loses its disk, and is started to rejoin"));
        self.servers[server].disk = Disk::new();
        self.servers[server].disk.rejoining = true;
        self.witness.epochs.insert(server, Epochs::default());
        self.witness.wiped.insert(server, self.now);
    }

    fn partition(&mut self) {
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

    /// The faults stop, for all or for a bare quorum of voters.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.trace.line(self.now, format_args!("calm"));
        self.network.heal();
        self.network.weather = Weather::CLEAR;
        let all = self.prng.one_in(2);
        let wiped = self.servers.iter().any(|server| server.disk.rejoining);
        let mut out = (self.plan.voters - 1) / 2;
        for server in 0..self.servers.len() {
            self.servers[server].frozen_until = 0;
            self.servers[server].stuck_until = 0;
            let spared = all || wiped || out == 0 || !self.servers[server].votes;
            if !spared && self.prng.one_in(2) {
                out -= 1;
                self.leave_out(server);
            } else if self.servers[server].process.is_none() {
                self.start(server);
            }
        }
    }

    /// This one stays broken: it is gone, or it is there and cut off.
    fn leave_out(&mut self, server: usize) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} stays out"));
        self.servers[server].process = None;
        self.servers[server].left_out = true;
        // What is still under way belongs to no process any more.
        self.servers[server].life += 1;
    }
}
