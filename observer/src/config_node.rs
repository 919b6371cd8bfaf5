//! `/zookeeper/config` of a server in an ensemble: who its members are.
//!
//! The tree holds it from the first leader's term on, as any other change. Until then every server
//! shows what it was configured with, and for as long as that is what the tree holds, the Stat that
//! ZooKeeper shows: with a time of this server's own, which is in no digest and in no snapshot.
//! Other data, of a leader that was configured otherwise or of a super user, is shown as it is. Source: a running ensemble of
//! ZooKeeper 3.9; `ZKDatabase.initConfigInZKDatabase`.

use farwatch_core::prepare::CONFIG_PATH;
use farwatch_core::tree::Node;
use farwatch_core::wire::Stat;
use farwatch_core::zxid::Zxid;

use crate::config::{ServerConfig, Standing};

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

    /// The data of `node`, if it is the one that this is about and holds nothing else.
    pub fn data_of(&self, node: &Node<'_>) -> Option<&[u8]> {
        let as_configured =
            || node.mzxid() == Zxid::ZERO || node.data() == Some(self.text.as_slice());
        (node.path() == CONFIG_PATH && as_configured()).then_some(&self.text)
    }

    /// Its Stat, likewise.
    pub fn stat_of(&self, node: &Node<'_>) -> Option<Stat> {
        let text = self.data_of(node)?;
        let data_length = i32::try_from(text.len()).unwrap_or(i32::MAX);
        // It was set with -1 for its version and no zxid, and clients see that.
        Some(Stat { mzxid: 0, mtime: self.since_ms, version: -1, data_length, ..node.stat() })
    }
}
