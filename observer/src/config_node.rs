//! `/zookeeper/config` of a server in an ensemble: who its members are.
//!
//! The tree holds it from the first leader's term on, as any other change. Until then every server
//! shows what it was configured with, and for as long as that is what the tree holds, the Stat that
//! ZooKeeper shows. Other data, of a leader that was configured otherwise or of a super user, is shown
//! as it is. A guest is configured with no members: whatever list a leader left there is its own, so
//! that clients that go from a voter to a guest find the same Stat. Source: a running ensemble of ZooKeeper 3.9; `ZKDatabase.initConfigInZKDatabase`.

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
    is_guest: bool,
}

impl ConfigNode {
    /// Of a server that began at `since_ms` of the wall clock; `None` where it stands alone.
    pub fn new(config: &ServerConfig, since_ms: i64) -> Option<Self> {
        match config.standing {
            Standing::Alone => None,
            Standing::Member => {
                let text = config.membership().into_bytes();
                Some(Self { text, since_ms, is_guest: config.is_guest() })
            }
        }
    }

    /// The data of `node`, if it is the one that this is about and holds nothing else.
    pub fn data_of<'n>(&'n self, node: &Node<'n>) -> Option<&'n [u8]> {
        if node.path() != CONFIG_PATH {
            return None;
        }
        match node.data() {
            _ if node.mzxid() == Zxid::ZERO => Some(&self.text),
            Some(held) if held == self.text => Some(held),
            // Every list of members ends in the same line.
            Some(held) if self.is_guest && held.ends_with(&self.text) => Some(held),
            Some(_) | None => None,
        }
    }

    /// The members that the ensemble has where `node` holds others than this server was configured with, and
    /// those: by number and vote only, for addresses may well be written otherwise on each server. A guest
    /// has no list, and before the first leader nobody has another.
    pub fn others(&self, node: &Node<'_>) -> Option<(String, String)> {
        let held = node.data().filter(|_| node.mzxid() != Zxid::ZERO && !self.is_guest)?;
        let (theirs, own) = (members(held), members(&self.text));
        (theirs != own).then(|| (theirs.join(", "), own.join(", ")))
    }

    /// Its Stat, likewise.
    pub fn stat_of(&self, node: &Node<'_>) -> Option<Stat> {
        let text = self.data_of(node)?;
        let data_length = i32::try_from(text.len()).unwrap_or(i32::MAX);
        let held = node.stat();
        let mtime = if node.mzxid() == Zxid::ZERO { self.since_ms } else { held.mtime };
        // It was set with -1 for its version and no zxid, and clients see that.
        Some(Stat { mzxid: 0, mtime, version: -1, data_length, ..held })
    }
}

/// Who is in a list, and has which vote: `1`, `2`, `3 without a vote`.
fn members(list: &[u8]) -> Vec<String> {
    let list = String::from_utf8_lossy(list);
    let member = |line: &str| {
        let (number, place) = line.strip_prefix("server.")?.split_once('=')?;
        let vote = if place.contains(":observer") { " without a vote" } else { "" };
        Some(format!("{number}{vote}"))
    };
    list.lines().filter_map(member).collect()
}
