//! What befalls an ensemble, and the end of it.

use super::*;

impl Cluster {
    pub fn link(&self, a: usize, b: usize) -> (u64, u64) {
        self.links.get(&(a.min(b), a.max(b))).copied().unwrap_or_default()
    }

    /// Cuts a link for some time. Both ends hear of it, and what is under way is lost.
    pub fn cut(&mut self, a: usize, b: usize, ms: u64) {
        let (cuts, until) = self.link(a, b);
        let until = until.max(self.now + ms);
        self.links.insert((a.min(b), a.max(b)), (cuts + 1, until));
        self.after(0, Happening::Disconnected { server: a, peer: b });
        self.after(0, Happening::Disconnected { server: b, peer: a });
        self.link_up(a, b);
    }

    /// Makes the link between two servers, where one of them learns from the other, as soon as it can
    /// be.
    pub fn link_up(&mut self, a: usize, b: usize) {
        let (cut, until) = self.link(a, b);
        let wait = until.saturating_sub(self.now) + 1;
        for (server, upstream) in [(a, b), (b, a)] {
            if self.plan.upstreams(server).contains(&upstream) {
                self.after(wait, Happening::Linked { server, upstream, cut });
            }
        }
    }

    pub fn fault(&mut self) {
        if self.calm {
            return;
        }
        let count = self.servers.len() as u64;
        let server = self.prng.below(count) as usize;
        let peer = (server + self.prng.between(1, count - 1) as usize) % count as usize;
        let most = if self.prng.one_in(4) { 3000 } else { 400 };
        let long = self.prng.between(0, most);
        match self.prng.below(10) {
            0..=2 => self.cut(server, peer, long),
            // A link that is there again at once: what was under way is lost all the same.
            3 | 4 => self.cut(server, peer, 0),
            5 if self.servers[server].process.is_some() => {
                self.stop(server);
                let Self { servers, prng, .. } = self;
                servers[server].disk.crash(prng);
                self.after(long + 50, Happening::Start { server });
            }
            6 => self.servers[server].frozen_until = self.now + long,
            7 => {
                // Long enough that only readers are served.
                let reads_only = u64::from(self.policy == OnPartition::ReadOnly);
                let long = long + 3000 * reads_only;
                for peer in (0..count as usize).filter(|&peer| peer != server) {
                    self.cut(server, peer, long);
                }
            }
            8 => self.step(server, Event::Zab(zab::Event::Transfer(id_of(peer)))),
            9 if self.plan.full_disks => {
                let room = &mut self.servers[server].room;
                *room = if *room == 0 { u64::MAX } else { 0 };
            }
            _ => {}
        }
        if let Some(process) = &self.servers[server].process
            && self.plan.purges
        {
            let committed = process.node.zab().committed();
            self.servers[server].disk.purge(committed);
        }
        let pause = self.prng.between(1, 2 * self.plan.fault_ms);
        self.after(pause, Happening::Fault);
    }

    pub fn heal(&mut self) {
        self.calm = true;
        for link in self.links.values_mut() {
            link.1 = 0;
        }
        for a in 0..self.servers.len() {
            for b in 0..a {
                self.link_up(a, b);
            }
        }
        for server in 0..self.servers.len() {
            self.servers[server].frozen_until = 0;
            self.servers[server].room = u64::MAX;
            self.start(server);
        }
    }
}
