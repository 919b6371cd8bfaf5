//! From committed records to the tree, and to those who waited.

use super::submission::{Origin, Outcome, Reply};
use super::{Node, Output};
use crate::record::Record;
use crate::txn::{Txn, TxnHead};
use crate::zxid::Zxid;

/// Every how many transactions the tree's digest is noted. Source: ZooKeeper's `DIGEST_LOG_INTERVAL`.
const DIGEST_INTERVAL: u64 = 128;

/// How many noted digests are kept. Source: ZooKeeper's `DIGEST_LOG_LIMIT`.
const DIGESTS_KEPT: usize = 1024;

impl Node {
    /// Applies everything up to `committed`, in order, and answers whoever asked for it.
    pub(super) fn apply(&mut self, committed: Zxid, out: &mut Output) {
        while let Some(mut unapplied) = self.unapplied.pop_front() {
            while let Some(bytes) = unapplied.batch.records.get(unapplied.offset..)
                && !bytes.is_empty()
            {
                let record = Record::own(bytes);
                if committed < record.head().zxid {
                    break;
                }
                unapplied.offset += record.bytes().len();
                self.apply_one(&record, out);
            }
            if unapplied.offset < unapplied.batch.records.len() {
                self.unapplied.push_front(unapplied);
                break;
            }
        }
        assert_eq!(self.applied, committed, "a committed proposal was not at hand");
        self.prepare.applied(committed);
        self.writer.reclaim();
    }

    fn apply_one(&mut self, record: &Record<'_>, out: &mut Output) {
        let (head, txn) = (record.head(), record.txn());
        assert!(self.applied < head.zxid, "{:?} is applied after {:?}", head.zxid, self.applied);
        out.applied.stats.clear();
        self.writer.apply(&head, &txn, &mut out.applied);
        self.sessions.apply(&head, &txn);
        self.applied = head.zxid;
        self.applied_chain = record.chain();
        out.transactions += 1;
        let waiting = self.outstanding.pop_front().expect("each proposal is outstanding");
        assert_eq!(waiting.zxid, head.zxid, "proposals are applied in their order");
        match txn {
            Txn::CreateSession { timeout_ms, password } => {
                self.expiry.add(head.session, timeout_ms, self.clock.mono_ms);
                if let Some(origin) = waiting.origin {
                    let session = head.session;
                    self.attach(session, origin, out);
                    let outcome = Outcome::Attached { session, password, timeout_ms };
                    out.replies.push(Reply { origin, zxid: head.zxid, outcome });
                }
            }
            Txn::CloseSession => {
                self.expiry.remove(head.session);
                self.attached.remove(&head.session);
                out.closed.push((head.zxid, head.session));
                self.answer(waiting.origin, &waiting.answer, &head, &txn, out);
            }
            Txn::Create(_)
            | Txn::Delete { .. }
            | Txn::SetData { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Error(_)
            | Txn::Multi(_) => self.answer(waiting.origin, &waiting.answer, &head, &txn, out),
        }
        while let Some((_, origin, turn)) = self.turns.pop_front_if(|turn| turn.0 <= head.zxid) {
            self.take_turn(origin, &turn, out);
        }
        if self.applied.counter().is_multiple_of(DIGEST_INTERVAL as u32) {
            if self.digests.len() == DIGESTS_KEPT {
                self.digests.pop_front();
            }
            self.digests.push_back((self.applied, self.writer.digest()));
        }
    }

    fn answer(
        &self,
        origin: Option<Origin>,
        answer: &crate::answer::Answer,
        head: &TxnHead,
        txn: &Txn<'_>,
        out: &mut Output,
    ) {
        let Some(origin) = origin else { return };
        let start = out.bytes.len() as u32;
        let err = answer.encode(txn, &out.applied.stats, &mut out.bytes);
        let outcome = Outcome::Done { err, start, end: out.bytes.len() as u32 };
        out.replies.push(Reply { origin, zxid: head.zxid, outcome });
    }
}
