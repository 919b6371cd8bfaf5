//! Quotas: which prefixes have one, and the text of their limits and usage.
//!
//! ```text
//! /zookeeper/quota<prefix>/zookeeper_limits    count=5,bytes=20=;byteHardLimit=20;countHardLimit=4
//! /zookeeper/quota<prefix>/zookeeper_stats     count=3,bytes=17
//! ```
//!
//! Both are ordinary nodes that anyone with the right may fill with anything; what does not parse is
//! never an error here. The usage is kept in the node alone: it is the same on every server, before
//! and after a restart. Source: ZooKeeper 3.9, `Quotas`, `StatsTrack`, `DataTree`.

use std::collections::{BTreeMap, BTreeSet};

use crate::path;

/// Below this node a prefix's two nodes lie.
const QUOTA_ROOT: &[u8] = b"/zookeeper/quota";
const LIMITS_NAME: &[u8] = b"zookeeper_limits";
const USAGE_NAME: &[u8] = b"zookeeper_stats";

/// What a subtree may hold; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Nodes; passing it is logged.
    pub count_soft: Option<i64>,
    /// Bytes of data; passing it is logged.
    pub bytes_soft: Option<i64>,
    /// Nodes; passing it is refused.
    pub count_hard: Option<i64>,
    /// Bytes of data; passing it is refused.
    pub bytes_hard: Option<i64>,
}

/// What a subtree holds, by its usage node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Nodes, the quota's own root included.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
}

/// The quota that a path is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaFacts<'t> {
    /// The deepest prefix of the path that has a quota.
    pub prefix: &'t [u8],
    /// `None` when the text of the limits is junk.
    pub limits: Option<QuotaLimits>,
    /// `None` when there is no usage node; nothing can be enforced then. Counted anew when its text
    /// is junk.
    pub usage: Option<QuotaUsage>,
}

/// What a node below `/zookeeper/quota` is to quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuotaNode<'p> {
    /// The limits of this prefix.
    Limits(&'p [u8]),
    /// The usage of this prefix.
    Usage(&'p [u8]),
}

impl<'p> QuotaNode<'p> {
    /// `None` for an ordinary node. So is a limits node right below `/zookeeper/quota`: there is no
    /// quota on the whole tree, and upstream dies of that node.
    pub(super) fn of(path: &'p [u8]) -> Option<Self> {
        let prefix = path::parent(path)?.strip_prefix(QUOTA_ROOT)?;
        if prefix.first() != Some(&b'/') {
            return None;
        }
        match path::name(path) {
            LIMITS_NAME => Some(Self::Limits(prefix)),
            USAGE_NAME => Some(Self::Usage(prefix)),
            _ordinary => None,
        }
    }
}

/// The prefixes that have a limits node.
#[derive(Default)]
pub(super) struct Prefixes {
    sorted: BTreeSet<Box<[u8]>>,
}

impl Prefixes {
    pub(super) fn insert(&mut self, prefix: &[u8]) {
        self.sorted.insert(Box::from(prefix));
    }

    pub(super) fn remove(&mut self, prefix: &[u8]) {
        self.sorted.remove(prefix);
    }

    /// The deepest prefix that `path` is or lies below.
    pub(super) fn deepest(&self, path: &[u8]) -> Option<&[u8]> {
        if self.sorted.is_empty() {
            return None;
        }
        let mut above = path;
        loop {
            if let Some(prefix) = self.sorted.get(above) {
                return Some(prefix);
            }
            above = path::parent(above)?;
        }
    }
}

/// What subtrees really hold that were counted before, kept up by every change. A count walks all of a subtree, and
/// whoever may write a usage node makes that happen, again and again.
#[derive(Default)]
pub(super) struct Sums {
    kept: BTreeMap<Box<[u8]>, QuotaUsage>,
}

/// How many of them are kept: more than one multi can name of subtrees that lie in each other.
const SUMS_MAX: usize = 4096;

/// Smaller subtrees are counted each time.
const KEPT_COUNT_MIN: i64 = 1_000;

impl Sums {
    pub(super) fn get(&self, prefix: &[u8]) -> Option<QuotaUsage> {
        self.kept.get(prefix).copied()
    }

    pub(super) fn keep(&mut self, prefix: &[u8], usage: QuotaUsage) {
        if usage.count < KEPT_COUNT_MIN {
            return;
        }
        if self.kept.len() == SUMS_MAX {
            self.kept.clear();
        }
        self.kept.insert(Box::from(prefix), usage);
    }

    /// `path` was changed by so much.
    pub(super) fn change(&mut self, path: &[u8], count: i64, bytes: i64) {
        let mut above = (!self.kept.is_empty()).then_some(path);
        while let Some(prefix) = above {
            if let Some(usage) = self.kept.get_mut(prefix) {
                usage.count += count;
                usage.bytes += bytes;
            }
            above = path::parent(prefix);
        }
    }
}

pub(super) fn limits_path(prefix: &[u8]) -> Vec<u8> {
    [QUOTA_ROOT, prefix, b"/", LIMITS_NAME].concat()
}

pub(super) fn usage_path(prefix: &[u8]) -> Vec<u8> {
    [QUOTA_ROOT, prefix, b"/", USAGE_NAME].concat()
}

impl QuotaLimits {
    /// From the data of a limits node.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let text = Text::parse(data)?;
        let limit = |value: i64| (value >= 0).then_some(value);
        Some(Self {
            count_soft: limit(text.count),
            bytes_soft: limit(text.bytes),
            count_hard: limit(text.count_hard),
            bytes_hard: limit(text.bytes_hard),
        })
    }
}

impl QuotaUsage {
    /// From the data of a usage node.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let text = Text::parse(data)?;
        Some(Self { count: text.count, bytes: text.bytes })
    }

    /// As the data of a usage node.
    pub(super) fn text(self) -> String {
        format!("count={},bytes={}", self.count, self.bytes)
    }
}

struct Text {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Text {
    /// Pairs between commas and semicolons; of a pair, what is before and behind the first `=`. The
    /// odd `=;` of the full form is there so that old servers read it too.
    fn parse(data: &[u8]) -> Option<Self> {
        let mut text = Self { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };
        for pair in std::str::from_utf8(data).ok()?.split([',', ';']) {
            if pair.is_empty() {
                continue;
            }
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            let value = if value.is_empty() { -1 } else { value.parse().ok()? };
            match key {
                "count" => text.count = value,
                "bytes" => text.bytes = value,
                "countHardLimit" => text.count_hard = value,
                "byteHardLimit" => text.bytes_hard = value,
                _unknown => {}
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_both_forms() {
        let soft = QuotaLimits { count_soft: Some(5), bytes_soft: Some(20), ..Default::default() };
        assert_eq!(QuotaLimits::parse(b"count=5,bytes=20"), Some(soft));
        let full = QuotaLimits { count_hard: Some(4), bytes_hard: Some(20), ..soft };
        let text = b"count=5,bytes=20=;byteHardLimit=20;countHardLimit=4";
        assert_eq!(QuotaLimits::parse(text), Some(full));
        assert_eq!(QuotaLimits::parse(b"count=-1,bytes=-1"), Some(QuotaLimits::default()));
        assert_eq!(QuotaLimits::parse(b""), Some(QuotaLimits::default()));
        for junk in [&b"junk"[..], b"count=x", b"count=5,bytes", b"\xff", b"count=1e3"] {
            assert_eq!(QuotaLimits::parse(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn the_deepest_prefix_counts() {
        let mut prefixes = Prefixes::default();
        prefixes.insert(b"/a");
        prefixes.insert(b"/a/b");
        assert_eq!(prefixes.deepest(b"/a/b/c"), Some(&b"/a/b"[..]));
        assert_eq!(prefixes.deepest(b"/a/bb"), Some(&b"/a"[..]));
        assert_eq!(prefixes.deepest(b"/ab"), None);
        prefixes.remove(b"/a");
        assert_eq!(prefixes.deepest(b"/a/c"), None);
    }

    #[test]
    fn only_nodes_below_a_prefix_are_quota_nodes() {
        let limits = QuotaNode::of(b"/zookeeper/quota/a/zookeeper_limits");
        assert_eq!(limits, Some(QuotaNode::Limits(b"/a")));
        let usage = QuotaNode::of(b"/zookeeper/quota/a/b/zookeeper_stats");
        assert_eq!(usage, Some(QuotaNode::Usage(b"/a/b")));
        for plain in [
            &b"/zookeeper/quota/zookeeper_limits"[..],
            b"/zookeeper/quota/zookeeper_stats",
            b"/zookeeper/quota2/zookeeper_limits",
            b"/zookeeper/quota/a",
            b"/",
        ] {
            assert_eq!(QuotaNode::of(plain), None);
        }
    }
}
