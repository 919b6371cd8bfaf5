//! What clients are told, and what they hold it against.

use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::{ErrorCode, EventType};
use farwatch_core::zxid::{Epoch, SessionId, Zxid};

use super::Cluster;
use crate::client::{Link, Sent};
use crate::invariants::{
    answers_follow_the_tree, connections_stay, events_before_replies, expired_is_true,
    local_sessions_stay, never_replaced, no_watch_lost, password_needed, session_fifo,
    session_never_goes_back, watches_fire_once,
};
use crate::reactor::ConnectionId;
use crate::request::{Body, Request, ToClient};

impl Cluster {
    /// A message of a server arrives at its client, if that still has this connection.
    pub(super) fn client_hears(&mut self, client: usize, id: ConnectionId, message: ToClient) {
        if matches!(message, ToClient::Gone) {
            self.wires.remove(&id);
        }
        if self.clients[client].link.connection() != Some(id) {
            return;
        }
        self.clients[client].heard_at = self.now;
        match message {
            ToClient::Attached { session, password, read_only, .. } => {
                self.client_attached(client, id, (session, password), read_only);
            }
            ToClient::Expired => self.client_expired(client),
            ToClient::Reply { xid, zxid, err, body } => {
                self.client_answered(client, (xid, zxid, err), &body);
            }
            ToClient::Event { kind, path, zxid } => self.client_notified(client, kind, path, zxid),
            ToClient::Pong { zxid } => self.client_shown(client, zxid),
            ToClient::Gone => {
                self.trace.line(self.now, format_args!("client {client} is disconnected"));
                self.client_disconnected(client);
            }
        }
    }

    fn client_attached(
        &mut self,
        client: usize,
        id: ConnectionId,
        (session, password): (SessionId, Password),
        read_only: bool,
    ) {
        let it = &mut self.clients[client];
        let Link::Opening(_, server, _) = it.link else { return };
        password_needed::check(&mut self.witness, client, session, it.intrudes);
        never_replaced::check(&mut self.witness, client, it.presented, session);
        it.session = Some((session, password));
        it.reads_only = read_only;
        it.link = Link::Open(id, server);
        it.open_since = self.now;
        self.trace.note(self.now, 8, client, &session.0.to_le_bytes());
        self.trace.line(self.now, format_args!("client {client} has session {session}"));
        let missing = self.witness.model.at(b"/q", Zxid(u64::MAX)).is_none();
        if missing && !read_only {
            self.furnish_tree(client);
        }
    }

    fn client_expired(&mut self, client: usize) {
        let it = &mut self.clients[client];
        let (intrudes, link) = (it.intrudes, it.link);
        let said = link.connection().and_then(|id| self.witness.said_over.remove(&id));
        it.disconnected();
        if intrudes {
            return;
        }
        let (session, _) = it.session.expect("only a session expires");
        it.ended();
        self.trace.line(self.now, format_args!("client {client} is told that {session} is over"));
        self.judge_expired(client, session, (link, said));
    }

    /// The connection is gone. Half of the clients forget a session that was only for reading with it.
    pub(super) fn client_disconnected(&mut self, client: usize) {
        let lost = matches!(self.clients[client].link, Link::Open(..));
        if lost && self.readers.contains_key(&client) {
            self.tally.reads_failed += 1;
        }
        let it = &mut self.clients[client];
        it.disconnected();
        if let Some((session, _)) = it.session
            && !it.keeps_guest
            && local_sessions_stay::is_guest(&self.witness, session)
        {
            it.ended();
        }
    }

    /// A client hears that its session is over; as the answer to its handshake, from a server that was
    /// in the epoch `said` then.
    fn judge_expired(
        &mut self,
        client: usize,
        session: SessionId,
        (link, said): (Link, Option<Epoch>),
    ) {
        self.tally.told_over += u64::from(self.readers.contains_key(&client));
        let (Link::Opening(_, server, _) | Link::Open(_, server)) = link else { return };
        let place = (server, self.servers[server].life);
        // A leader that was replaced does not tell the next one whom it told that.
        let moved = local_sessions_stay::moved(&self.witness, server, session);
        let begun = self.witness.begun_at.get(&session);
        let later = begun.zip(said).is_some_and(|(begun, said)| said < begun.epoch());
        let over = local_sessions_stay::is_over(&self.witness, place, session);
        if let Some(said) = said {
            expired_is_true::heard(&mut self.witness, session, said);
        }
        if !(over || moved && later) {
            expired_is_true::check(&mut self.witness, client, session);
        }
    }

    /// Something from the server shows how far it is.
    fn client_shown(&mut self, client: usize, zxid: Zxid) {
        let it = &mut self.clients[client];
        session_never_goes_back::check(&mut self.witness, client, it.replied, it.seen, zxid);
        it.seen = it.seen.max(zxid);
        it.replied = it.replied.max(zxid);
        no_watch_lost::check(&mut self.witness, client, &it.watches, zxid);
    }

    fn client_answered(
        &mut self,
        client: usize,
        (xid, zxid, err): (i32, Zxid, ErrorCode),
        body: &Body,
    ) {
        self.trace.note(self.now, 6, client, &zxid.0.to_le_bytes());
        let sent = self.clients[client].sent.pop_front();
        let first = sent.as_ref().map(|sent| sent.xid);
        session_fifo::check(&mut self.witness, client, first, xid);
        let Some(sent) = sent else { return };
        self.trace.line(
            self.now,
            format_args!("client {client} is answered {xid}: {err:?} {zxid} {body:?}"),
        );
        self.client_shown(client, zxid);
        let (session, _) = self.clients[client].session.expect("it is connected");
        if !matches!(err, ErrorCode::Ok) && sent.request == Request::Sync {
            // What is read behind it is no newer for it.
            self.clients[client].forget_next_number();
        }
        let witness = &mut self.witness;
        answers_follow_the_tree::check(witness, (client, session), &sent, (zxid, err), body);
        if let Some((path, table)) = sent.request.watch(err) {
            let child = table == farwatch_core::watch::Table::Child;
            let watch = self.clients[client].watches.entry((path.to_vec(), child));
            watch.or_insert(zxid);
        }
        self.note_answer(client, &sent, (zxid, err), body);
    }

    fn note_answer(
        &mut self,
        client: usize,
        sent: &Sent,
        (zxid, err): (Zxid, ErrorCode),
        body: &Body,
    ) {
        if let Some(number) = sent.number {
            match (&sent.request, body) {
                (Request::Get { .. }, Body::Node(node)) => {
                    let value = node.map_or(0, |node| node.value);
                    self.history.read_ends(number, self.now, zxid, value);
                }
                (Request::Get { .. }, _) if err == ErrorCode::NoNode => {
                    self.history.read_ends(number, self.now, zxid, 0);
                }
                (Request::Set { .. } | Request::Create { .. }, _) if err == ErrorCode::Ok => {
                    self.history.write_ends(number, self.now, zxid);
                    if self.calm && self.history.began(number) >= self.plan.calm_at_us {
                        self.answered_in_calm();
                    }
                }
                (Request::Set { .. } | Request::Create { .. }, _)
                    if is_refusal(err)
                        && self.calm
                        && self.history.began(number) >= self.plan.calm_at_us =>
                {
                    self.refused_at = Some(self.now);
                }
                _unanswered => {}
            }
        }
        self.tally.told_open += u64::from(err == ErrorCode::ConnectionLoss);
        if self.readers.contains_key(&client) {
            let done = matches!(err, ErrorCode::Ok | ErrorCode::NoNode);
            self.tally.reads_answered += u64::from(done);
            self.tally.reads_failed += u64::from(!done);
        }
        let it = &mut self.clients[client];
        match (&sent.request, err) {
            (Request::Close, ErrorCode::Ok) => {
                it.disconnected();
                it.ended();
            }
            (Request::Create { .. }, ErrorCode::Ok) => {
                if let Body::Path(path) = body
                    && path.iter().filter(|&&byte| byte == b'/').count() > 1
                {
                    it.own.push(path.clone());
                }
            }
            (_, ErrorCode::SessionExpired) => {
                let link = it.link;
                it.disconnected();
                let (session, _) = it.session.take().expect("it was connected");
                it.ended();
                self.judge_expired(client, session, (link, None));
            }
            _other => {}
        }
    }

    fn client_notified(&mut self, client: usize, kind: EventType, path: Vec<u8>, zxid: Zxid) {
        let it = &mut self.clients[client];
        let witness = &mut self.witness;
        self.trace.note(self.now, 9, client, &zxid.0.to_le_bytes());
        self.trace.line(
            self.now,
            format_args!(
                "client {client} is told {kind:?} of {} at {zxid}",
                String::from_utf8_lossy(&path)
            ),
        );
        events_before_replies::check(witness, client, it.replied, (&path, zxid));
        watches_fire_once::check(witness, client, &mut it.watches, kind, (&path, zxid));
    }

    /// Those on whom a server hangs up because their session is not theirs.
    pub(super) fn judge_hang_ups(&mut self, server: usize) {
        let Some(process) = &self.servers[server].process else { return };
        if !process.node.is_serving() {
            return self.judge_hung_up(server); // whoever waits for a leader may be sent to look for another server
        }
        let displaced = process.out.displaced.iter().copied();
        let kept: Vec<_> = displaced.filter(|it| !self.ends_for_silence(server, it.1)).collect();
        for (origin, session) in kept {
            let Some(wire) = self.wires.get(&origin.connection) else { continue };
            let (client, held) = (&self.clients[wire.client], (session, origin.connection));
            if client.reads_only {
                continue; // it is to find a server that writes
            }
            connections_stay::check(&mut self.witness, server, client, held);
        }
    }

    /// What a server says of sessions is held against the history as it says it.
    pub(super) fn judge_said(
        &mut self,
        server: usize,
        (client, id): (usize, ConnectionId),
        message: &ToClient,
    ) {
        self.judge_service(server, (client, id), message);
        if let Some(process) = &self.servers[server].process {
            let epoch = process.zab().epoch();
            match message {
                ToClient::Expired => _ = self.witness.said_over.insert(id, epoch),
                ToClient::Attached { .. } => _ = self.witness.given_in.insert(id, epoch),
                ToClient::Reply { .. } | ToClient::Event { .. } => {}
                ToClient::Pong { .. } | ToClient::Gone => {}
            }
        }
        let mut processes = self.servers.iter().filter_map(|it| it.process.as_ref());
        if let (ToClient::Expired, Some((session, _))) = (message, self.clients[client].session)
            && processes.any(|process| process.node.proposable().is_some())
        {
            // Its end may be among what waits for the leader's log.
            self.witness.ending.insert(session);
        }
        if let ToClient::Attached { session, zxid, .. } = *message {
            let lease = self.witness.model.sessions.get(&session);
            if let Some(ended) = lease.and_then(|lease| lease.ended)
                && ended <= zxid
            {
                let text =
                    format!("server {server} goes on with {session}, which ended at {ended}");
                self.witness.violate("ended_sessions_stay_ended", text);
            }
        }
    }
}

/// What a leader decides about a write that it does not do.
fn is_refusal(err: ErrorCode) -> bool {
    use ErrorCode::{BadVersion, NoNode, NodeExists};
    matches!(err, NoNode | NodeExists | BadVersion)
}
