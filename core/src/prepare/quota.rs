//! Whether a change fits its quota.

use crate::tree::{QuotaFacts, QuotaUsage};
use crate::wire::ErrorCode;

/// A soft limit that a write passed, for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaWarning {
    /// The root of the quota's subtree.
    pub prefix: Box<[u8]>,
    /// What is limited.
    pub measure: QuotaMeasure,
    /// The limit.
    pub limit: i64,
    /// What the write made of it.
    pub value: i64,
}

impl std::fmt::Display for QuotaWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = String::from_utf8_lossy(&self.prefix);
        let measure = match self.measure {
            QuotaMeasure::Count => "count",
            QuotaMeasure::Bytes => "bytes",
        };
        let (value, limit) = (self.value, self.limit);
        write!(f, "quota of {prefix} exceeded: {measure} {value}, soft limit {limit}")
    }
}

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaMeasure {
    /// Nodes of the subtree.
    Count,
    /// Bytes of data in the subtree.
    Bytes,
}

/// Checks `change` on top of what is committed and what is `pending`. A measure that does not change
/// is not checked, and one that shrinks is: that is ZooKeeper's rule.
pub(super) fn check(
    quota: &QuotaFacts<'_>,
    pending: QuotaUsage,
    change: QuotaUsage,
) -> Result<Option<QuotaWarning>, ErrorCode> {
    let limits = quota.limits.ok_or(ErrorCode::MarshallingError)?;
    let Some(used) = quota.usage else {
        return Ok(None);
    };
    let mut warning = None;
    let count = (QuotaMeasure::Count, limits.count_hard, limits.count_soft);
    let bytes = (QuotaMeasure::Bytes, limits.bytes_hard, limits.bytes_soft);
    for ((measure, hard, soft), used, pending, change) in [
        (count, used.count, pending.count, change.count),
        (bytes, used.bytes, pending.bytes, change.bytes),
    ] {
        let Some(limit) = hard.or(soft) else {
            continue;
        };
        let value = used.saturating_add(pending).saturating_add(change);
        if change == 0 || value <= limit {
            continue;
        }
        if hard.is_some() {
            return Err(ErrorCode::QuotaExceeded);
        }
        let prefix = quota.prefix.into();
        warning.get_or_insert(QuotaWarning { prefix, measure, limit, value });
    }
    Ok(warning)
}
