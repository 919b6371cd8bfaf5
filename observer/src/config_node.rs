//! `/zookeeper/config` of a server in an ensemble: who its members are.
//!
//! Every server shows what it was configured with, and the tree holds nothing of it: the node's
//! Stat names a time of this server's own, which must be in no digest and in no snapshot. A super
//! user who writes to the node makes it one as all others. Source: a running ensemble of
//! ZooKeeper 3.9; `ZKDatabase.initConfigInZKDatabase`.

use farwatch_core::tree::Node;
use farwatch_core::wire::Stat;
use farwatch_core::zxid::Zxid;

use crate::config::{ServerConfig, Standing};

const PATH: &[u8] = b"/zookeeper/config";

/// What is shown in place of what the tree holds.
#[derive(Debug)]
pub struct ConfigNode {
    text: Vec<u8>,
    since_ms: i64,
}

impl ConfigNode {
    /// Of a server that began at `since_ms` of the wall clock; `None` where it stands alone.
    pub fn new(config: &ServerConfig, since_ms: i64) -> Option<Self> {
        match config.standing {
            Standing::Alone => None,
            Standing::Member => Some(Self { text: config.membership().into_bytes(), since_ms }),
        }
    }

    /// The data of `node`, if it is the one that this is about and nobody wrote to it.
    pub fn data_of(&self, node: &Node<'_>) -> Option<&[u8]> {
        (node.path() == PATH && node.mzxid() == Zxid::ZERO).then_some(&self.text)
    }

    /// Its Stat, likewise.
    pub fn stat_of(&self, node: &Node<'_>) -> Option<Stat> {
        let text = self.data_of(node)?;
        let data_length = i32::try_from(text.len()).unwrap_or(i32::MAX);
        // It was set with -1 for its version, and clients see that.
        Some(Stat { mtime: self.since_ms, version: -1, data_length, ..node.stat() })
    }
}
