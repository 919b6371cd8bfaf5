//! Stories of those who are cut off: readers that go on, what servers do for whom, and what they hold.

use farwatch_core::node::OnPartition;
use farwatch_core::session::LocalSessions;

use super::{Stage, index, number};
use crate::client::Link;
use crate::service::{Service, Services};

/// Between two looks of whoever writes all the time, microseconds.
const LOAD_US: u64 = 50_000;

impl Services {
    /// `serve`, `locals`, `write-wait` and the like, each of one server: `4=serve`.
    pub(super) fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        if key == "grace" {
            self.grace_ms = number(text)? as i32;
            return Ok(());
        }
        let (server, value) = text.split_once('=').ok_or(format!("`{text}` is of no server"))?;
        let service: &mut Service =
            self.of.get_mut(index(server)?).ok_or(format!("there is no server {server}"))?;
        match (key, value) {
            ("policy", "bounded") => service.on_partition = OnPartition::Bounded,
            ("policy", "serve") => service.on_partition = OnPartition::Serve,
            ("policy", "readonly") => service.on_partition = OnPartition::ReadOnly,
            ("policy", "disconnect") => service.on_partition = OnPartition::Disconnect,
            ("locals", "on") => service.local_sessions = LocalSessions::On,
            ("locals", "upgrading") => service.local_sessions = LocalSessions::Upgrading,
            ("max-staleness", ms) => service.stale_ms_max = Some(number(ms)? as i64),
            ("write-wait", ms) => service.wait_ms = number(ms)? as i64,
            _ => return Err(format!("`{key} {text}` is nothing that a server can be told")),
        }
        Ok(())
    }
}

impl Stage {
    /// What befalls clients and servers in a cut; `None`: that is no line of these.
    pub(super) fn play_cut(&mut self, words: &[&str]) -> Option<Result<(), String>> {
        let done = match *words {
            ["readers", count, "at", id] => self.readers(count, id, false),
            ["readers", count, "at", id, "taking-read-only"] => self.readers(count, id, true),
            ["load", ms] => number(ms).map(|ms| self.load(ms)),
            ["told-open", ms] => number(ms).and_then(|ms| self.told_open(ms)),
            _ => return None,
        };
        Some(done)
    }

    fn readers(&mut self, count: &str, id: &str, read_only: bool) -> Result<(), String> {
        let (count, server) = (number(count)?, index(id)?);
        for _ in 0..count {
            self.cluster.add_reader(server, read_only);
        }
        Ok(())
    }

    /// Somebody writes at the leader, all the time.
    fn load(&mut self, ms: u64) {
        let end = self.cluster.now + ms * 1_000;
        while self.cluster.now < end {
            if let Some(leader) = self.leader() {
                self.cluster.client_tries(0, leader);
            }
            self.cluster.run_for(LOAD_US.min(end - self.cluster.now));
        }
    }

    fn told_open(&mut self, ms: u64) -> Result<(), String> {
        let (before, id) =
            (self.cluster.tally.told_open, self.cluster.clients[0].link.connection());
        self.cluster.run_for(ms * 1_000);
        if self.cluster.tally.told_open == before {
            return Err(format!("nobody was told within {ms} ms"));
        }
        let stays = self.cluster.clients[0].link.connection() == id;
        if stays { Ok(()) } else { Err("its connection is gone".to_string()) }
    }

    /// What is so in a cut; `None`: that is no line of these.
    pub(super) fn claim_cut(&mut self, words: &[&str]) -> Option<Result<bool, String>> {
        let holds = match *words {
            ["reads-failed", count] => {
                number(count).map(|it| self.cluster.tally.reads_failed == it)
            }
            ["reads-answered", count] => number(count).map(|it| {
                let answered = std::mem::take(&mut self.cluster.tally.reads_answered);
                it <= answered
            }),
            ["sessions-kept"] => Ok(self.readers_served() && self.cluster.tally.told_over == 0),
            ["told-over", count] => number(count).map(|it| self.cluster.tally.told_over == it),
            ["recorded-sessions", count] => {
                number(count).map(|it| self.cluster.witness.model.sessions.len() as u64 == it)
            }
            ["snapshots-to", id, count] => index(id).and_then(|id| {
                let sent = self.cluster.witness.snapshots.get(&id).copied().unwrap_or(0);
                number(count).map(|it| it == sent)
            }),
            ["serves", id, whom] => index(id).map(|id| {
                let process = self.cluster.servers[id].process.as_ref();
                process.is_some_and(|it| it.node.serving().to_string() == whom)
            }),
            ["connected", id, count] => index(id).and_then(|id| {
                let process = self.cluster.servers[id].process.as_ref();
                let looks = process.map_or(0, |it| {
                    it.reactor.looks().filter(|look| look.session.is_some()).count()
                });
                number(count).map(|it| it == looks as u64)
            }),
            ["stale", id, ms] => index(id).and_then(|id| {
                let process = self.cluster.servers[id].process.as_ref();
                let stale_ms = process.map_or(0, |it| it.node.stale_ms());
                number(ms).map(|ms| ms as i64 <= stale_ms)
            }),
            ["digests-equal"] => Ok(self.digests_equal()),
            _ => return None,
        };
        Some(holds)
    }

    fn readers_served(&self) -> bool {
        let cluster = &self.cluster;
        cluster.readers.keys().all(|&at| matches!(cluster.clients[at].link, Link::Open(..)))
    }

    fn digests_equal(&self) -> bool {
        let processes = self.cluster.servers.iter().filter_map(|it| it.process.as_ref());
        let mut digests = processes.map(|it| (it.node.applied(), it.node.writer().digest()));
        let first = digests.next();
        first.is_some() && digests.all(|it| Some(it) == first)
    }
}
