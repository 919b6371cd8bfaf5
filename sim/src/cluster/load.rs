//! Clients: each has one operation open, and knows of it what an application would know.

use farwatch_core::record;
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::zab::Event;
use farwatch_core::zab::run::{Position, Run};
use farwatch_core::zxid::{SessionId, Zxid};

use super::{Cluster, Happening};

/// Commands are spread over so many keys; a read asks for the last command of one.
pub const KEYS: u64 = 16;

/// How long a client waits for an answer.
const PATIENCE_US: u64 = 1_500_000;

/// What a client is waiting for.
#[derive(Clone, Copy, Debug)]
enum Open {
    Nothing,
    /// The number of the operation in the history.
    Operation {
        number: usize,
        attempt: u64,
    },
}

pub struct Client {
    session: u64,
    commands: u64,
    attempts: u64,
    open: Open,
}

impl Client {
    pub fn new(index: usize) -> Self {
        Self { session: index as u64 + 1, commands: 0, attempts: 0, open: Open::Nothing }
    }
}

impl Cluster {
    /// A client without an open operation writes to this server.
    pub fn client_tries(&mut self, client: usize, server: usize) {
        if matches!(self.clients[client].open, Open::Nothing) {
            self.client_writes(client, server);
        }
    }

    pub(super) fn client_acts(&mut self, client: usize) {
        if self.idle_clients || self.is_quiet() {
            return;
        }
        if let Open::Operation { .. } = self.clients[client].open {
            return;
        }
        let leaders: Vec<usize> = (0..self.servers.len())
            .filter(|&server| self.servers[server].frozen_until <= self.now)
            .filter(|&server| {
                self.servers[server].process.as_ref().is_some_and(|p| p.zab.is_leading())
            })
            .collect();
        // A client may be connected to a leader that is none any more, and does not know.
        if leaders.is_empty() {
            return self.client_waits(client);
        }
        let server = leaders[self.prng.below(leaders.len() as u64) as usize];
        if self.prng.one_in(4) {
            self.client_reads(client, server);
        } else {
            self.client_writes(client, server);
        }
    }

    fn open(&mut self, client: usize, number: usize) {
        let it = &mut self.clients[client];
        it.attempts += 1;
        let attempt = it.attempts;
        it.open = Open::Operation { number, attempt };
        self.schedule(self.now + PATIENCE_US, Happening::GiveUp { client, attempt });
    }

    fn client_reads(&mut self, client: usize, server: usize) {
        let key = self.prng.below(KEYS);
        let number = self.history.read_begins(self.now, client, key);
        self.open(client, number);
        let process = self.servers[server].process.as_mut().expect("it leads");
        process.readers.push_back((client, number));
        self.step(server, Event::Confirm);
    }

    fn client_writes(&mut self, client: usize, server: usize) {
        if self.now < self.servers[server].full_until {
            // Refused before it takes a zxid.
            return self.client_waits(client);
        }
        let process = self.servers[server].process.as_mut().expect("it leads");
        let Some(zxid) = process.zab.proposable() else { return self.client_waits(client) };
        let (log, limit) = (process.zab.log(), self.plan.timing.epoch_proposals);
        if zxid.counter() > limit {
            let text = format!("{zxid:?} is beyond the {limit} proposals of an epoch");
            return self.witness.violate("epochs_end", text);
        }
        process.zab.proposed(zxid);
        let it = &mut self.clients[client];
        it.commands += 1;
        let (session, cxid) = (it.session, it.commands as i32);
        let command = (session << 32) | it.commands;
        let head =
            TxnHead { zxid, time_ms: (self.now / 1_000) as i64, session: SessionId(session), cxid };
        let mut bytes = Vec::new();
        let txn = Txn::SetData { path: b"/", data: Some(b"x"), version: cxid };
        let chain = record::append(&head, &txn, log.chain, &mut bytes);
        let run = Run::own(log, Position { zxid, chain }, bytes.into());
        self.witness.proposed.insert(zxid, (server, command));
        self.trace.line(
            self.now,
            format_args!("client {client} writes {command:#x} at {} as {zxid:?}", server + 1),
        );
        let number = self.history.write_begins(self.now, client, command);
        self.open(client, number);
        let process = self.servers[server].process.as_mut().expect("it leads");
        process.writers.insert(zxid, (client, number));
        self.step(server, Event::Proposed(run));
    }

    /// The server applied more: writes that it proposed are answered.
    pub(super) fn answer_writers(&mut self, server: usize) {
        let Some(process) = self.servers[server].process.as_mut() else { return };
        let open = process.writers.split_off(&Zxid(process.applied_at.zxid.0 + 1));
        let done = std::mem::replace(&mut process.writers, open);
        for (zxid, (client, number)) in done {
            if !self.waits(client, number) {
                continue;
            }
            self.history.write_ends(number, self.now, zxid);
            if self.calm && self.history.began(number) >= self.plan.calm_at_us {
                self.answered_in_calm();
            }
            self.trace.note(self.now, 6, server, &zxid.0.to_le_bytes());
            self.trace.line(self.now, format_args!("client {client} is answered {zxid:?}"));
            self.close(client);
        }
    }

    fn close(&mut self, client: usize) {
        self.clients[client].open = Open::Nothing;
        self.client_waits(client);
    }

    fn client_waits(&mut self, client: usize) {
        let wait = self.prng.between(2_000, 60_000);
        self.schedule(self.now + wait, Happening::Client { client });
    }

    /// Whether the client still waits for the end of this operation.
    fn waits(&self, client: usize, number: usize) -> bool {
        matches!(self.clients[client].open, Open::Operation { number: open, .. } if open == number)
    }

    pub(super) fn confirmed(&mut self, server: usize, count: u64) {
        for _ in 0..count {
            let process = self.servers[server].process.as_mut().expect("it acts");
            let Some((client, number)) = process.readers.pop_front() else { return };
            if !self.waits(client, number) {
                continue;
            }
            let process = self.servers[server].process.as_ref().expect("it acts");
            let key = self.history.key_of(number);
            let upto = process.applied_at.zxid;
            let value = process.applied.iter().rev().find(|entry| entry.command % KEYS == key);
            let value = value.map_or(0, |entry| entry.command);
            self.history.read_ends(number, self.now, upto, value);
            self.trace.note(self.now, 7, server, &upto.0.to_le_bytes());
            self.close(client);
        }
    }

    pub(super) fn confirms_failed(&mut self, server: usize) {
        let process = self.servers[server].process.as_mut().expect("it acts");
        for (client, number) in std::mem::take(&mut process.readers) {
            self.client_unsure(client, number);
        }
    }

    /// The client will never know. It goes on with something else.
    pub(super) fn client_unsure(&mut self, client: usize, number: usize) {
        if self.waits(client, number) {
            self.close(client);
        }
    }

    pub(super) fn client_gives_up(&mut self, client: usize, attempt: u64) {
        if let Open::Operation { attempt: open, number } = self.clients[client].open
            && open == attempt
        {
            self.client_unsure(client, number);
        }
    }
}
