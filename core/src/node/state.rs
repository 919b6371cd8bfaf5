//! The tree as `prepare` wants to know it.

use crate::prepare::{NodeFacts, QuotaFacts, QuotaLimits, State};
use crate::tree::Writer;
use crate::zxid::SessionId;

impl State for Writer {
    fn node(&self, path: &[u8]) -> Option<NodeFacts<'_>> {
        if path.is_empty() {
            return None; // the tree takes it for the root, writes do not
        }
        let node = self.get(path)?;
        let stat = node.stat();
        Some(NodeFacts {
            kind: node.kind(),
            version: stat.version,
            cversion: node.stored_cversion(),
            aversion: stat.aversion,
            num_children: stat.num_children,
            data_length: stat.data_length,
            mtime: stat.mtime,
            acl: node.acl(),
        })
    }

    fn quota(&self, path: &[u8]) -> Option<QuotaFacts<'_>> {
        let facts = self.quota_of(path)?;
        let usage = facts.usage?; // without a usage node nothing is counted
        let limit = |limit: Option<i64>| limit.unwrap_or(-1);
        Some(QuotaFacts {
            prefix: facts.prefix,
            limits: facts.limits.map(|limits| QuotaLimits {
                count: limit(limits.count_soft),
                bytes: limit(limits.bytes_soft),
                count_hard: limit(limits.count_hard),
                bytes_hard: limit(limits.bytes_hard),
            }),
            count: usage.count,
            bytes: usage.bytes,
        })
    }

    fn ephemerals(&self, session: SessionId, visit: &mut dyn FnMut(&[u8])) {
        Writer::ephemerals(self, session).for_each(visit);
    }
}
