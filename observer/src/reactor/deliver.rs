//! From what was applied to what clients hear: events first, then replies, zxid by zxid.

use std::sync::atomic::Ordering;

use farwatch_core::acl::Perms;
use farwatch_core::auth;
use farwatch_core::node::submission::{Outcome, Reply};
use farwatch_core::tree::{Event, Events};
use farwatch_core::wire::jute::{Writer, begin_frame, end_frame};
use farwatch_core::wire::{ErrorCode, EventType, OpCode, ReplyHeader, WatcherEvent};
use farwatch_core::zxid::{SessionId, Zxid};

use super::{ConnectionKey, OUT_BYTES_AT_ONCE_MAX, OUT_BYTES_MAX, Pending, Phase, Reactor};
use crate::four_letter::counters::{Counter, Summary};
use crate::inbox::{OwnedDelivery, ToReactor};

/// Looks at what is visible before the processor is given away; a push takes the core less.
const SPINS: u32 = 1000;

/// What one turn of the core means to one reactor.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'d> {
    /// Everything up to here is applied.
    pub upto: Zxid,
    /// What watches may wait for, in the order of the history.
    pub events: &'d Events,
    /// Outcomes of this reactor's asks, in the order in which they came about.
    pub replies: &'d [Reply],
    /// Bodies of the replies.
    pub bytes: &'d [u8],
    /// Sessions that ended.
    pub closed: &'d [(Zxid, SessionId)],
    /// Connections of this reactor whose session moved to another one.
    pub displaced: &'d [(ConnectionKey, SessionId)],
}

impl Reactor {
    /// Takes in a delivery. Afterwards [`Reactor::take_dirty`] names whom to write to.
    pub fn deliver(&mut self, delivery: Delivery<'_>) {
        self.look_at_clock();
        for &(key, session) in delivery.displaced {
            self.displaced(key, session);
        }
        let mut events = delivery.events.iter().peekable();
        for reply in delivery.replies {
            while let Some((event, path)) = events.next_if(|(event, _)| event.zxid <= reply.zxid) {
                self.fire(event, path);
            }
            self.stand_at(reply.zxid);
            self.complete(reply, delivery.bytes);
        }
        events.for_each(|(event, path)| self.fire(event, path));
        self.stand_at(delivery.upto);
        for &(_zxid, session) in delivery.closed {
            self.session_closed(session);
        }
        if self.reader.zxid() < self.delivered {
            self.reader.advance(self.delivered);
        }
        // Whoever was held back by too many outstanding writes looks again, also when it was the
        // writes of another reactor that became fewer.
        self.wake_waiting();
    }

    /// Takes in a delivery from another thread once every reactor can see it: a reply that leaves
    /// earlier would let its client find an older state at another reactor.
    pub fn deliver_when_visible(&mut self, delivery: &OwnedDelivery) {
        // The core is between two pushes of one loop; it waits for nobody.
        let mut looks = 0_u32;
        while self.shared.visible() < delivery.upto {
            looks += 1;
            if looks < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        self.deliver(delivery.borrow());
    }

    /// Takes in what was visible to all when a read began, so that the read sees every write that
    /// was acknowledged before it, also through another reactor.
    pub(super) fn catch_up(&mut self) {
        let visible = self.shared.visible();
        while self.delivered < visible {
            let Some(inbox) = &self.inbox else { return };
            match inbox.pop() {
                Some(ToReactor::Deliver(delivery)) => self.deliver(delivery.borrow()),
                Some(other) => self.set_aside.push_back(other),
                // The inbox was full and the core holds the rest back: it offers it again.
                None => std::thread::yield_now(),
            }
        }
        // What is no delivery goes back, behind what came meanwhile, and wakes who reads the inbox.
        while let (Some(inbox), Some(other)) = (&self.inbox, self.set_aside.pop_front()) {
            if let Err(other) = inbox.push(other) {
                self.set_aside.push_front(other); // it is full now, and tried again next time
                break;
            }
        }
    }

    fn stand_at(&mut self, zxid: Zxid) {
        self.delivered = self.delivered.max(zxid);
    }

    fn fire(&mut self, event: &Event, path: &[u8]) {
        let mut notified = 0_u64;
        let mut bytes = 0_u64;
        let now_ms = self.now_ms();
        let (connections, dirty) = (&mut self.connections, &mut self.dirty);
        let skip_acl = self.shared.config.skip_acl;
        let told = WatcherEvent { kind: event.kind, path };
        self.watches.fire(event.kind, event.table, path, |index| {
            let Some(Some(connection)) = connections.get_mut(index as usize) else { return };
            // A one-shot watch is used up also when its owner may no longer see the node.
            let guarded = event.acl().is_some_and(|list| {
                !skip_acl && !auth::allowed(&connection.identities, list, Perms::READ)
            });
            if guarded {
                return;
            }
            if connection.phase != Phase::Serving {
                return;
            }
            let before = connection.out.len();
            told.encode_frame(event.zxid.as_i64(), &mut connection.out);
            notified += 1;
            bytes += (connection.out.len() - before) as u64;
            connection.stats.sent += 1;
            let is_being_written = connection.writer.is_none();
            let limit = if is_being_written { OUT_BYTES_MAX } else { OUT_BYTES_AT_ONCE_MAX };
            if connection.out.len() > limit {
                connection.cut(now_ms); // it does not read, and events cannot be held back
            }
            dirty.push(ConnectionKey { index, generation: connection.generation });
        });
        if notified > 0 {
            let counters = self.counters();
            counters.add(Counter::PacketsSent, notified);
            counters.add(Counter::WatchBytes, bytes);
            let of_kind = match event.kind {
                EventType::NodeCreated => Summary::NodeCreatedWatches,
                EventType::NodeDeleted => Summary::NodeDeletedWatches,
                EventType::NodeDataChanged => Summary::NodeChangedWatches,
                EventType::NodeChildrenChanged => Summary::NodeChildrenWatches,
            };
            counters.record(of_kind, notified);
        }
    }

    fn complete(&mut self, reply: &Reply, bytes: &[u8]) {
        let origin = reply.origin;
        let key = ConnectionKey { index: origin.connection, generation: origin.generation };
        match reply.outcome {
            Outcome::Attached { session, password, timeout_ms, read_only } => {
                self.attached(key, session, password, timeout_ms, read_only);
            }
            Outcome::Expired => self.expired(key),
            Outcome::Refused => {
                let now_ms = self.now_ms();
                if let Some(connection) = self.connection(key) {
                    connection.cut(now_ms);
                    self.counters().add(Counter::ClosedWithoutServing, 1);
                }
            }
            Outcome::Done { err, start, end } => {
                self.shared.outstanding.fetch_sub(1, Ordering::Relaxed);
                let body = &bytes[start as usize..end as usize];
                self.answered(key, origin.sequence, reply.zxid, err, body);
            }
        }
    }

    fn answered(
        &mut self,
        key: ConnectionKey,
        sequence: u32,
        zxid: Zxid,
        err: ErrorCode,
        body: &[u8],
    ) {
        let now_us = self.now_us;
        let Some(connection) = self.connection(key) else {
            self.counters().add(Counter::StaleReplies, 1);
            return;
        };
        if connection.phase == Phase::Closing {
            return; // it was told all that it will be told
        }
        // The core answers the asks of a connection in their order.
        let Some(Pending::Waiting { sequence: first, xid, op, since_us, charge }) =
            connection.pending.pop_front()
        else {
            panic!("an answer without an ask");
        };
        connection.pending_bytes -= charge;
        connection.syncs -= u32::from(op == OpCode::Sync);
        assert_eq!(first, sequence, "answers come in the order of their asks");
        let took_us = now_us.saturating_sub(since_us);
        connection.replied(zxid, now_us, took_us);
        let out = &mut connection.out;
        let start = begin_frame(out);
        ReplyHeader { xid, zxid: zxid.as_i64(), err: err.code() }.encode(&mut Writer::new(out));
        out.extend_from_slice(body);
        end_frame(out, start);
        if op == OpCode::CloseSession && err == ErrorCode::Ok {
            // The reply goes out, then the end of the stream; the session is no longer its.
            connection.session = SessionId::NONE;
            self.end(key);
        }
        self.run_queue(key);
        self.go_on(key);
        let counters = self.counters();
        counters.add(Counter::PacketsSent, 1);
        counters.latency(took_us, 1);
        counters.record(Summary::UpdateLatency, took_us);
    }

    /// A session ended: by its own request, which is answered before, or because it expired.
    fn session_closed(&mut self, session: SessionId) {
        let Some(key) = self.sessions.remove(&session) else { return };
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(key) else { return };
        connection.session = SessionId::NONE;
        if connection.phase != Phase::Closing {
            connection.cut(now_ms);
        }
    }

    fn wake_waiting(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            let Some(connection) = self.connection(key) else { continue };
            connection.is_waiting = false;
            connection.signal.notify();
            if !connection.held.is_empty() {
                self.go_on(key);
            }
        }
    }
}
