//! From committed records to the tree, and to those who waited.

use std::sync::Arc;

use super::asks::{Ending, Stage};
use super::exchange::Hold;
use super::route::Route;
use super::submission::{Ask, Item, Outcome};
use super::{Holder, Node, Output, is_same_connection};
use crate::record::Record;
use crate::txn::{Txn, TxnHead};
use crate::wire::handshake::Password;
use crate::zab::mutant::Mutant;
use crate::zab::run::Position;
use crate::zxid::{SessionId, Zxid};

/// Every how many transactions the tree's digest is noted. Source: ZooKeeper's `DIGEST_LOG_INTERVAL`.
const DIGEST_INTERVAL: u64 = 128;

/// How many noted digests are kept. Source: ZooKeeper's `DIGEST_LOG_LIMIT`.
const DIGESTS_KEPT: usize = 1024;

/// Digests that the leader told and that lie ahead are kept up to this many: it tells one at every
/// look, and what a server far behind has yet to come to is compared as well as anything later.
const EXPECTED_DIGESTS_KEPT: usize = 1024;

/// Digests of the last transactions that are kept, so that what the leader tells finds its own. More
/// than a server applies between a leader's telling and its hearing of it.
const RECENT_DIGESTS_KEPT: usize = 8192;

impl Node {
    /// Applies everything up to `committed`, in order, and answers whoever asked for it.
    pub(super) fn apply(&mut self, committed: Zxid, out: &mut Output) {
        if self.applied.zxid <= committed {
            // All that a start applied is committed now.
            self.answer_due(self.applied.zxid, out);
        }
        while self.applied.zxid < committed
            && let Some(mut unapplied) = self.unapplied.pop_front()
        {
            let bytes = Arc::clone(unapplied.run.bytes());
            while let Some(rest) = bytes.get(unapplied.offset..).filter(|rest| !rest.is_empty()) {
                let record = Record::own(rest);
                if committed < record.head().zxid {
                    break;
                }
                unapplied.offset += record.bytes().len();
                if self.applied.zxid < record.head().zxid {
                    self.apply_one(&record, out);
                }
            }
            if unapplied.offset < bytes.len() {
                self.unapplied.push_front(unapplied);
                break;
            }
        }
        assert!(committed <= self.applied.zxid, "a committed proposal was not at hand");
        self.prepare.applied(committed);
        self.writer.reclaim();
    }

    fn apply_one(&mut self, record: &Record<'_>, out: &mut Output) {
        let (head, txn) = (record.head(), record.txn());
        out.applied.stats.clear();
        let closes = txn == Txn::CloseSession;
        let astray = self.zab.planted(Mutant::TreeGoesAstray) && self.zab.me().0 == 2;
        let lost = astray && matches!(txn, Txn::SetData { .. }) && head.zxid.counter() % 32 == 0;
        if lost || (closes && self.zab.planted(Mutant::EphemeralsKept)) {
            let nothing = Txn::Error(crate::wire::ErrorCode::NoNode);
            self.writer.apply(&head, &nothing, &mut out.applied);
        } else {
            self.writer.apply(&head, &txn, &mut out.applied);
        }
        if !(closes && self.zab.planted(Mutant::ClosedSessionKept)) {
            self.sessions.apply(&head, &txn);
        }
        self.applied = Position { zxid: head.zxid, chain: record.chain() };
        out.transactions += 1;
        out.applied_time_ms = head.time_ms;
        let mine = self.asks.of_record(&head, &txn);
        while let Some(number) = self.asks.take_passed() {
            self.pass_over(number, out);
        }
        match txn {
            Txn::CreateSession { timeout_ms, password } => {
                self.expiry.add(head.session, timeout_ms, self.clock.mono_ms);
                if let Some(number) = mine {
                    self.opened(number, &head, timeout_ms, password, out);
                } else if let Some(local) = self.locals.remove(head.session)
                    && !self.zab.planted(Mutant::UpgradeForgetsHolder)
                {
                    self.went_global(head.session, &local, head.zxid);
                }
            }
            Txn::CloseSession => {
                self.expiry.remove(head.session);
                self.let_go(head.session, mine, out);
                self.touched.remove(&head.session);
                out.closed.push((head.zxid, head.session));
                self.answer(mine, &head, &txn, out);
            }
            Txn::Create(_)
            | Txn::Delete { .. }
            | Txn::SetData { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Error(_)
            | Txn::Multi(_) => {
                if mine.is_none() {
                    self.look_for_move(&head, out);
                }
                self.answer(mine, &head, &txn, out);
            }
        }
        self.answer_due(head.zxid, out);
        self.note_digest(out);
    }

    /// A session is over, by the ask `mine` if that is one of this server's. Another connection that has it here
    /// goes first: what it asks from now on is given back at once, before what it asked earlier is answered.
    fn let_go(&mut self, session: SessionId, mine: Option<u64>, out: &mut Output) {
        let Some(held) = self.attached.remove(&session) else { return };
        let closer = mine.and_then(|number| self.asks.get(number)).map(|ask| ask.item.origin);
        if held.server == self.zab.me()
            && !held.left
            && closer.is_none_or(|origin| !is_same_connection(origin, held.origin))
        {
            out.displaced.push((held.origin, session));
        }
    }

    /// Answers what was to be answered once `zxid` is applied, which it is. What was due before and
    /// has not come was due behind a proposal that was lost with its leader.
    fn answer_due(&mut self, zxid: Zxid, out: &mut Output) {
        // A leader counts a connection as a session's as long as this server's session with it lasts:
        // what was resumed in an earlier one is resumed again.
        let counts = matches!(self.route, Route::Me | Route::Open(..));
        while let Some((at, number)) = self.asks.take_due(zxid) {
            if at == zxid
                && let Some(&Stage::Behind(_, ending)) = self.asks.get(number).map(|it| &it.stage)
                && (counts || !matches!(ending, Ending::Resumed(..)))
            {
                self.end(number, ending, out);
            }
        }
    }

    /// A leader refused this ask, and its reason was lost with the way to it, while what the same
    /// session asked behind it was done. It can be neither answered nor asked again: its connection
    /// ends, and its client knows no more than that.
    fn pass_over(&mut self, number: u64, out: &mut Output) {
        let Some(ask) = self.asks.get(number) else { return };
        let item = ask.item.clone();
        if ask.told {
            return self.asks.done(number);
        }
        if matches!(item.ask, Ask::Write(_) | Ask::Sync) {
            self.release(item.session, item.origin, out);
            self.asks.done(number);
            self.give_back(&item, out);
        }
    }

    fn opened(
        &mut self,
        number: u64,
        head: &TxnHead,
        timeout_ms: i32,
        password: Password,
        out: &mut Output,
    ) {
        let session = head.session;
        let ask = self.asks.get(number).expect("it was found");
        let (origin, server) = (ask.item.origin, self.zab.me());
        let hold = match ask.stage {
            Stage::Proposed(_, hold) => hold,
            // Found in the history: whoever held it since was given it by a later leader.
            Stage::Waiting | Stage::Asked | Stage::Behind(..) | Stage::Done => {
                Hold::of_history(head.zxid)
            }
        };
        self.attach(session, Holder { server, origin, hold, timeout_ms, left: false }, out);
        self.note_hosted_anew();
        let outcome = Outcome::Attached { session, password, timeout_ms, read_only: false };
        self.reply(origin, head.zxid, outcome, out);
        self.asks.done(number);
    }

    fn answer(&mut self, mine: Option<u64>, head: &TxnHead, txn: &Txn<'_>, out: &mut Output) {
        let Some(number) = mine else { return };
        let ask = self.asks.get_mut(number).expect("it was found");
        let Ask::Write(op) = ask.item.ask else { return self.asks.done(number) };
        if ask.told {
            return self.asks.done(number);
        }
        let answer = ask.answer.take().unwrap_or_else(|| Self::answer_of(op, &ask.body));
        let origin = ask.item.origin;
        let start = out.bytes.len() as u32;
        let err = answer.encode(txn, &out.applied.stats, &mut out.bytes);
        let outcome = Outcome::Done { err, start, end: out.bytes.len() as u32 };
        self.reply(origin, head.zxid, outcome, out);
        self.asks.done(number);
    }

    /// A session has done something that was not asked here: its client has gone on elsewhere, and
    /// what an old connection here still has under way must not be done any more. A leader knows by
    /// itself who holds what.
    fn look_for_move(&mut self, head: &TxnHead, out: &mut Output) {
        let (me, session) = (self.zab.me(), head.session);
        let here = self.attached.get(&session).copied().filter(|held| held.server == me);
        if let Some(holder) = here
            && self.route != Route::Me
        {
            self.release(session, holder.origin, out);
        }
        let attached = &self.attached;
        let holds = |item: &Item| attached.get(&session).is_some_and(|it| it.is(me, item.origin));
        self.asks.overtake(session, holds);
    }

    fn note_digest(&mut self, out: &mut Output) {
        let (zxid, digest) = (self.applied.zxid, self.writer.digest());
        if zxid.counter().is_multiple_of(DIGEST_INTERVAL as u32) {
            if self.digests.len() == DIGESTS_KEPT {
                self.digests.pop_front();
            }
            self.digests.push_back((zxid, digest));
        }
        if self.zab.is_leading() {
            return;
        }
        if self.recent.len() == RECENT_DIGESTS_KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back((zxid, digest));
        while let Some((at, expected)) = self.expected.pop_front_if(|it| it.0 <= zxid) {
            self.compare(at, expected, out);
        }
    }

    /// Holds the leader's digest against this server's own, now or when it comes there.
    pub(super) fn compare(&mut self, zxid: Zxid, leaders: u64, out: &mut Output) {
        if self.applied.zxid < zxid {
            if self.expected.len() < EXPECTED_DIGESTS_KEPT {
                self.expected.push_back((zxid, leaders));
            }
            return;
        }
        let place = self.recent.binary_search_by_key(&zxid, |it| it.0);
        let Some(&(_, own)) = place.ok().and_then(|at| self.recent.get(at)) else { return };
        if own != leaders && !self.zab.planted(Mutant::TreeGoesAstray) {
            out.halt = Some(format!(
                "this server's tree differs from its leader's at {zxid}: digest {own:#018x} here, \
                 {leaders:#018x} there. It stops so that nobody reads from it. Keep a copy of its \
                 data directory for a report, then start it with --rejoin"
            ));
        }
    }
}
