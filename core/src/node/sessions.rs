//! Sessions as their leader sees them: opened, moved, expired; and nodes that end by themselves.

use super::submission::{Item, Origin, Outcome, Reply};
use super::{LAST_RESERVE_BYTES, Node, Output, TOUCH_INTERVAL_MS, act, growing};
use crate::answer::Answer;
use crate::prepare::Internal;
use crate::tree::Node as Znode;
use crate::txn::NodeKind;
use crate::wire::handshake::Password;
use crate::zxid::SessionId;

/// How nodes that end by themselves are looked after. Source: ZooKeeper's `ContainerManager`.
#[derive(Clone, Copy, Debug)]
pub struct ReapOptions {
    /// Between two looks, milliseconds.
    pub interval_ms: i64,
    /// Nodes deleted in a minute at most, so that a flood of them does not starve clients.
    pub per_minute_max: u32,
    /// A container that never had a child goes after so many milliseconds; `None` is never.
    pub never_used_ms: Option<i64>,
}

/// Sessions closed in one step at most: the rest follow in the next, a tenth of a second later, so
/// that an outage of ten thousand clients does not hold up those that live.
const EXPIRED_PER_STEP_MAX: usize = 2048;

impl Node {
    pub(super) fn open(
        &mut self,
        item: &Item,
        timeout_ms: i32,
        password: Password,
        out: &mut Output,
    ) {
        let session = self.ids.allocate(&self.sessions);
        let begin = Internal::CreateSession { session, timeout_ms, password };
        if self.propose(begin, Some(item.origin), out) != Proposal::Made {
            let outcome = Outcome::Refused;
            out.replies.push(Reply { origin: item.origin, zxid: self.applied, outcome });
        }
    }

    pub(super) fn resume(
        &mut self,
        item: &Item,
        timeout_ms: i32,
        presented: &[u8],
        out: &mut Output,
    ) {
        let session = item.session;
        // The password first: whoever does not know it must not be able to disturb the session.
        let known = self.sessions.get(session).copied();
        let outcome = match known {
            Some(known)
                if self.sessions.verify(session, Some(presented))
                    && !self.prepare.is_closing(session) =>
            {
                self.expiry.touch(session, timeout_ms, self.clock.mono_ms);
                self.attach(session, item.origin, out);
                Outcome::Attached { session, password: known.password, timeout_ms }
            }
            Some(_) | None => Outcome::Expired,
        };
        out.replies.push(Reply { origin: item.origin, zxid: self.applied, outcome });
    }

    pub(super) fn attach(&mut self, session: SessionId, origin: Origin, out: &mut Output) {
        if let Some(before) = self.attached.insert(session, origin) {
            out.displaced.push((before, session));
        }
    }

    /// Proposes to end the sessions that nobody has heard from.
    pub(super) fn expire(&mut self, out: &mut Output) {
        if !self.zab.is_leading() {
            return;
        }
        let mut due = Vec::new();
        self.expiry.due(self.clock.mono_ms - 2 * TOUCH_INTERVAL_MS, &mut due);
        for (at, session) in due.into_iter().enumerate() {
            let asked = at < EXPIRED_PER_STEP_MAX
                && self.propose(Internal::CloseSession(session), None, out) != Proposal::NotNow;
            if !asked {
                // Its time is over and it is asked again at the next look.
                self.expiry.add(session, 0, self.clock.mono_ms);
            }
        }
    }

    /// Proposes to delete containers that lost their last child, and nodes whose time is over.
    pub(super) fn reap(&mut self, out: &mut Output) {
        let reap = self.options.reap;
        if !self.zab.is_leading() || self.clock.mono_ms - self.reaped_ms < reap.interval_ms {
            return;
        }
        self.reaped_ms = self.clock.mono_ms;
        let share = i64::from(reap.per_minute_max) * reap.interval_ms / 60_000;
        let now_ms = self.clock.wall_ms;
        let over: Vec<Vec<u8>> = self
            .writer
            .reapable()
            .filter(|node| is_over(node, now_ms, reap.never_used_ms))
            .take(usize::try_from(share.max(1)).unwrap_or(usize::MAX))
            .map(|node| node.path().to_vec())
            .collect();
        for path in over {
            let never_used_ms = reap.never_used_ms;
            self.propose(Internal::Reap { path: &path, never_used_ms }, None, out);
        }
    }

    /// Makes a proposal of the server's own.
    fn propose(
        &mut self,
        change: Internal<'_>,
        origin: Option<Origin>,
        out: &mut Output,
    ) -> Proposal {
        if self.is_full(0, LAST_RESERVE_BYTES) || !self.deferred.is_empty() {
            return Proposal::NotNow;
        }
        let zxid = match self.zab.next_proposal() {
            Ok(zxid) => zxid,
            Err(action) => {
                act(action, out); // the next epoch may be due, and nobody else would found it
                return Proposal::NotNow;
            }
        };
        let batch = growing(&mut self.growing, zxid);
        let made = self.prepare.prepare_internal(
            &self.writer,
            &self.sessions,
            change,
            zxid,
            self.clock.wall_ms,
            &mut self.chain,
            &mut batch.records,
        );
        if made {
            self.proposed(zxid, origin, Answer::HeaderOnly);
            return Proposal::Made;
        }
        if batch.records.is_empty() {
            self.growing = None;
        }
        Proposal::Pointless
    }
}

/// What came of a proposal of the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proposal {
    /// It is on its way.
    Made,
    /// What it wanted is so already, or no longer to be wanted.
    Pointless,
    /// None can be made now: the log is full, or an epoch is being founded.
    NotNow,
}

/// Whether a childless container or node with a time to live has had its time. Decided again by
/// `prepare` against what is outstanding.
fn is_over(node: &Znode<'_>, now_ms: i64, never_used_ms: Option<i64>) -> bool {
    let unwritten_ms = now_ms - node.stat().mtime;
    match node.kind() {
        NodeKind::Container => {
            0 < node.stored_cversion() || never_used_ms.is_some_and(|max| max < unwritten_ms)
        }
        NodeKind::Ttl(ttl_ms) => ttl_ms < unwritten_ms,
        NodeKind::Persistent | NodeKind::Ephemeral(_) => false,
    }
}
