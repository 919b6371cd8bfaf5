//! What clients do: connect, ask, wait, go elsewhere.

use farwatch_core::wire::handshake::Password;
use farwatch_core::zxid::SessionId;

use super::{Cluster, Happening};
use crate::client::{Client, KEYS, Link, Sent, key_path};
use crate::invariants::done_in_order;
use crate::plan::Mode;
use crate::reactor::ConnectionId;
use crate::request::{Request, ToClient, ToServer};

/// How long a client waits for the answer to its handshake.
const HANDSHAKE_US: u64 = 400_000;

/// Where links have a rate all clients act so much more seldom, or what they write would not go over those.
const FAR_PACE: u64 = 6;

/// One in so many requests at the end of a link with a rate is a long write, and so many are at most.
const LONG_WRITE_IN: u64 = 40;
const LONG_WRITES_MAX: u64 = 4;

/// The way between one client and one server, from its first message on.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    pub client: usize,
    pub server: usize,
    life: u64,
    /// Nothing arrives any more, on neither side.
    dead: bool,
    to_server: u64,
    to_client: u64,
}

impl Cluster {
    /// One look of a client at its situation.
    pub(super) fn client_acts(&mut self, client: usize) {
        let wait = self.prng.between(2_000, 30_000);
        let pace = if self.plan.rates.is_empty() { 1 } else { FAR_PACE };
        self.schedule(self.now + pace * wait, Happening::Client { client });
        self.leave_if_silent(client);
        if self.idle_clients {
            if let Some(&server) = self.readers.get(&client) {
                self.read_on(client, server);
            }
            return self.stay_alive(client);
        }
        match self.clients[client].link {
            Link::None => {
                if let Some(server) = self.chosen_server(client) {
                    self.connect(client, server);
                }
            }
            Link::Opening(..) => {}
            Link::Open(id, server) => {
                let often = self.is_being_upgraded(client) && self.prng.one_in(3);
                if self.is_rough() && (often || self.prng.one_in(self.plan.link_breaks)) {
                    return self.link_breaks(client, id);
                }
                self.stay_alive(client);
                let it = &self.clients[client];
                // Nobody asks for more behind the end of its session.
                let ends = it.sent.back().is_some_and(|sent| sent.request == Request::Close);
                if !self.is_quiet() && it.sent.len() < it.depth && !ends {
                    let told = if self.calm { None } else { self.told_to_ask(client) };
                    let told = told.or_else(|| self.long_write(client, server));
                    let requests =
                        told.unwrap_or_else(|| self.clients[client].choose(&mut self.prng));
                    self.ask(client, requests);
                }
            }
        }
    }

    /// At a server behind a link with a rate now and then, and once in the calm, a write that is longer on its way
    /// than anybody there bears silence.
    fn long_write(&mut self, client: usize, server: usize) -> Option<Vec<Request>> {
        let rate = self.plan.rate_of(server)?;
        let due = match self.calm {
            true => self.long_writes_in_calm.insert(server),
            false => self.long_writes < LONG_WRITES_MAX && self.prng.one_in(LONG_WRITE_IN),
        };
        if !due {
            return None;
        }
        self.long_writes += 1;
        let silence_ms = self.plan.timing.observer_silence_ticks * self.plan.tick_us / 1_000;
        let long_ms = silence_ms * self.prng.between(120, 300) / 100;
        let padding = (rate * long_ms / 1_000) as usize;
        let (path, value) = (key_path(self.prng.below(KEYS)), self.clients[client].fresh_value());
        Some(vec![Request::Set { path, value, version: -1, padding }])
    }

    /// In the end clients of a bare quorum know of nobody else.
    fn chosen_server(&mut self, client: usize) -> Option<usize> {
        let bare = self.calm && self.plan.mode == Mode::Liveness;
        let known: Vec<usize> = (0..self.servers.len())
            .filter(|&at| !bare || self.servers[at].core)
            .filter(|&at| self.calm || self.may_serve(client, at))
            .collect();
        if known.is_empty() {
            return None;
        }
        let drawn = known[self.prng.below(known.len() as u64) as usize];
        // Many come back to where they were: sessions may be known there only.
        let last = self.clients[client].last_server.filter(|last| known.contains(last));
        let server = last.filter(|_| self.prng.one_in(2)).unwrap_or(drawn);
        self.servers[server].process.is_some().then_some(server)
    }

    /// A server that stays broken is left by its clients.
    pub(super) fn leave_the_broken(&mut self) {
        for client in 0..self.clients.len() {
            if let Link::Opening(_, server, _) | Link::Open(_, server) = self.clients[client].link
                && !self.servers[server].core
            {
                self.clients[client].disconnected();
            }
        }
    }

    fn leave_if_silent(&mut self, client: usize) {
        let it = &self.clients[client];
        let over = match it.link {
            Link::None => return,
            Link::Opening(_, _, since) => since + HANDSHAKE_US < self.now,
            Link::Open(..) => it.heard_at + it.timeout_ms as u64 * 667 < self.now,
        };
        if over {
            let id = it.link.connection().expect("it has one");
            self.trace.line(self.now, format_args!("client {client} hears nothing and leaves"));
            self.link_breaks(client, id);
        }
    }

    /// Whether the client waits for the first ephemeral node of a session of its server's: few do at a time,
    /// and not for long.
    fn is_being_upgraded(&self, client: usize) -> bool {
        let session = self.clients[client].session.map(|it| it.0);
        session.is_some_and(|session| {
            self.witness.wants_ephemeral.contains(&session)
                && self.witness.locals.contains_key(&session)
                && !self.witness.begun_at.contains_key(&session)
        })
    }

    /// The client is without its connection. The server may learn of that, or not.
    fn link_breaks(&mut self, client: usize, id: ConnectionId) {
        match self.prng.below(4) {
            0 => {
                if let Some(wire) = self.wires.get_mut(&id) {
                    wire.dead = true;
                }
            }
            // It goes on elsewhere, while what it said is still on its way.
            1 => {}
            _ => self.say_to_server(id, ToServer::Gone),
        }
        self.client_disconnected(client);
    }

    fn stay_alive(&mut self, client: usize) {
        let it = &self.clients[client];
        let due = it.spoke_at + it.timeout_ms as u64 * 250 < self.now;
        if let (Link::Open(id, _), true) = (it.link, due) {
            self.clients[client].spoke_at = self.now;
            self.say_to_server(id, ToServer::Ping);
        }
    }

    pub(super) fn connect(&mut self, client: usize, server: usize) {
        self.connections += 1;
        let (id, life) = (self.connections, self.servers[server].life);
        let wire = Wire { client, server, life, dead: false, to_server: 0, to_client: 0 };
        self.wires.insert(id, wire);
        let strangers: Vec<SessionId> = self
            .clients
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != client)
            .filter_map(|(_, other)| other.session.map(|(session, _)| session))
            .collect();
        let it = &mut self.clients[client];
        it.link = Link::Opening(id, server, self.now);
        (it.heard_at, it.spoke_at) = (self.now, self.now);
        let mut session = it.session;
        if session.is_none() && !strangers.is_empty() && self.prng.one_in(10) {
            it.intrudes = true;
            let victim = strangers[self.prng.below(strangers.len() as u64) as usize];
            session = Some((victim, Password([7; 16])));
        }
        it.presented = session.map(|it| it.0).filter(|_| !it.intrudes);
        it.last_server = Some(server);
        let (timeout_ms, seen, read_only) = (it.timeout_ms, it.seen, it.takes_readers);
        self.say_to_server(id, ToServer::Connect { session, timeout_ms, seen, read_only });
    }

    fn ask(&mut self, client: usize, requests: Vec<Request>) {
        let Link::Open(id, _) = self.clients[client].link else { return };
        let began = requests.first() == Some(&Request::Sync);
        for request in requests {
            let number = match &request {
                Request::Set { path, value, .. } | Request::Create { path, value, .. } => {
                    key_of(path).map(|key| self.history.write_begins(self.now, client, key, *value))
                }
                Request::Get { path, .. } if began => {
                    key_of(path).map(|key| self.history.read_begins(self.now, client, key))
                }
                _other => None,
            };
            let it = &mut self.clients[client];
            let xid = it.next_xid();
            it.spoke_at = self.now;
            it.sent.push_back(Sent { xid, request: request.clone(), number });
            let (session, _) = it.session.expect("it is connected");
            match &request {
                Request::Create { mode, .. } if mode.ephemeral => {
                    self.witness.wants_ephemeral.insert(session);
                }
                Request::Close => _ = self.witness.closing.insert(session),
                _other => {}
            }
            if let Some(op) = request.write() {
                done_in_order::sent(&mut self.witness, session, xid, id, op);
            }
            self.trace.line(
                self.now,
                format_args!("client {client} of {session} asks {xid}: {request:?}"),
            );
            self.say_to_server(id, ToServer::Request { xid, request });
        }
    }

    /// What waits until then is not overtaken, whatever becomes of the reason for its waiting.
    pub(super) fn wait_on_wire(&mut self, id: ConnectionId, until: u64) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.to_server = wire.to_server.max(until);
        }
    }

    /// Messages of one direction of a connection keep their order.
    fn delay(&mut self, busy: u64) -> u64 {
        let delay = self.prng.between(30, 600);
        let lags = if !self.calm && self.prng.one_in(60) { self.prng.below(80_000) } else { 0 };
        (self.now + delay + lags).max(busy + 1)
    }

    pub(super) fn say_to_server(&mut self, id: ConnectionId, message: ToServer) {
        let Some(mut wire) = self.wires.get(&id).copied() else { return };
        if wire.dead {
            return;
        }
        wire.to_server = self.delay(wire.to_server);
        self.wires.insert(id, wire);
        self.schedule(wire.to_server, Happening::ToServer { server: wire.server, id, message });
    }

    pub(super) fn say_to_client(&mut self, id: ConnectionId, message: ToClient) {
        let Some(mut wire) = self.wires.get(&id).copied() else { return };
        if wire.dead {
            return;
        }
        wire.to_client = self.delay(wire.to_client);
        self.wires.insert(id, wire);
        self.schedule(wire.to_client, Happening::ToClient { client: wire.client, id, message });
    }

    /// A message of a client arrives, or finds nobody.
    pub(super) fn server_hears(&mut self, server: usize, id: ConnectionId, message: ToServer) {
        let Some(wire) = self.wires.get(&id).copied() else { return };
        let life = self.servers[server].life;
        let Some(process) = self.servers[server].process.as_mut().filter(|_| wire.life == life)
        else {
            return self.say_to_client(id, ToClient::Gone);
        };
        let gone = matches!(message, ToServer::Gone);
        process.reactor.take(id, message, process.clock.mono_ms);
        self.attend(server);
        if gone {
            self.wires.remove(&id);
        }
    }

    /// Lets out what a server's connections have to say, and in what they ask.
    pub(super) fn attend(&mut self, server: usize) {
        let Some(process) = &mut self.servers[server].process else { return };
        let out = std::mem::take(&mut process.reactor.out);
        if !process.reactor.submission.is_empty() && !process.submits {
            process.submits = true;
            // Sometimes the core is long in coming to it.
            let wait = if self.prng.one_in(50) { self.prng.below(20_000) } else { 0 };
            let at = self.now + self.prng.below(300) + wait;
            let life = self.servers[server].life;
            self.schedule(at, Happening::Submit { server, life });
        }
        for (id, message) in out {
            if let Some(client) = self.wires.get(&id).map(|wire| wire.client) {
                self.judge_said(server, (client, id), &message);
            }
            self.say_to_client(id, message);
        }
    }

    /// A process is no more, and its connections with it.
    pub(super) fn connections_end(&mut self, server: usize) {
        self.network.end(server);
        let lost: Vec<ConnectionId> =
            self.wires.iter().filter(|it| it.1.server == server).map(|it| *it.0).collect();
        // Half the time the machine still says so.
        let silent = self.prng.one_in(2);
        for id in lost {
            if silent {
                self.wires.get_mut(&id).expect("it is there").dead = true;
            } else {
                self.say_to_client(id, ToClient::Gone);
            }
        }
    }

    /// For scenarios: one more client, that reads at this server and nowhere else.
    pub fn add_reader(&mut self, server: usize, takes_readers: bool) {
        let client = self.clients.len();
        let mut reader = Client::new(client, &mut self.prng);
        reader.takes_readers = takes_readers;
        self.clients.push(reader);
        self.readers.insert(client, server);
        self.schedule(self.now, Happening::Client { client });
    }

    fn read_on(&mut self, client: usize, server: usize) {
        match self.clients[client].link {
            Link::None if self.servers[server].process.is_some() => self.connect(client, server),
            Link::Open(..) if self.clients[client].sent.is_empty() => {
                let path = key_path(self.prng.below(KEYS));
                self.ask(client, vec![Request::Get { path, watch: false }]);
            }
            Link::None | Link::Opening(..) | Link::Open(..) => {}
        }
    }

    /// For scenarios: a client without anything under way writes at this server.
    pub fn client_tries(&mut self, client: usize, server: usize) {
        match self.clients[client].link {
            Link::Open(_, at) if at == server => {
                if self.clients[client].sent.is_empty() {
                    let value = self.clients[client].fresh_value();
                    let (path, version) = (key_path(0), -1);
                    let set = Request::Set { path, value, version, padding: 0 };
                    self.ask(client, vec![set]);
                }
            }
            Link::Opening(_, at, since) if at == server && self.now < since + 50_000 => {}
            Link::Open(id, _) | Link::Opening(id, ..) => {
                self.say_to_server(id, ToServer::Gone);
                self.clients[client].disconnected();
                self.connect(client, server);
            }
            Link::None => self.connect(client, server),
        }
    }

    /// The client finds a tree in which there is nothing to do.
    pub(super) fn furnish_tree(&mut self, client: usize) {
        let furniture = self.clients[client].furniture();
        self.ask(client, furniture);
    }

    pub(super) fn drawn_clients(&mut self) {
        for client in 0..self.plan.clients {
            let drawn = Client::new(client, &mut self.prng);
            self.clients.push(drawn);
            let at = self.prng.below(400_000);
            self.schedule(at, Happening::Client { client });
        }
    }
}

/// The register at this path, if it is one.
fn key_of(path: &[u8]) -> Option<u64> {
    std::str::from_utf8(path.strip_prefix(b"/k")?).ok()?.parse().ok()
}
