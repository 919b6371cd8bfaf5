//! Whether a change fits its quota.

use super::state::QuotaFacts;
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

/// A change of a subtree's usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) count: i64,
    pub(super) bytes: i64,
}

/// Checks `change` on top of what is committed and what is `pending`. A measure that does not change
/// is not checked, and one that shrinks is: that is ZooKeeper's rule.
pub(super) fn check(
    quota: &QuotaFacts<'_>,
    pending: Usage,
    change: Usage,
) -> Result<Option<QuotaWarning>, ErrorCode> {
    let limits = quota.limits.ok_or(ErrorCode::MarshallingError)?;
    let mut warning = None;
    let count = (QuotaMeasure::Count, limits.count, limits.count_hard);
    let bytes = (QuotaMeasure::Bytes, limits.bytes, limits.bytes_hard);
    for ((measure, soft, hard), used, pending, change) in [
        (count, quota.count, pending.count, change.count),
        (bytes, quota.bytes, pending.bytes, change.bytes),
    ] {
        let is_hard = hard >= 0;
        let limit = if is_hard { hard } else { soft };
        let value = used.saturating_add(pending).saturating_add(change);
        if change == 0 || limit < 0 || value <= limit {
            continue;
        }
        if is_hard {
            return Err(ErrorCode::QuotaExceeded);
        }
        let prefix = quota.prefix.into();
        warning.get_or_insert(QuotaWarning { prefix, measure, limit, value });
    }
    Ok(warning)
}
