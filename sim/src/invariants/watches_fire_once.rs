//! A one-shot watch fires once, at the first change behind the state with which it was armed, with the
//! kind of that change; and nobody is told what it does not watch.
//! Source: ZooKeeper's guarantees about watches.

use std::collections::BTreeMap;

use farwatch_core::watch::Table;
use farwatch_core::wire::EventType;
use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// The client is told this; the watches that it uses up go.
pub fn check(
    witness: &mut Witness,
    client: usize,
    watches: &mut BTreeMap<(Vec<u8>, bool), Zxid>,
    kind: EventType,
    (path, zxid): (&[u8], Zxid),
) {
    let tables: &[bool] = match kind {
        EventType::NodeCreated | EventType::NodeDataChanged => &[false],
        EventType::NodeDeleted => &[false, true],
        EventType::NodeChildrenChanged => &[true],
    };
    let mut right = false;
    for &child in tables {
        let Some(armed) = watches.remove(&(path.to_vec(), child)) else { continue };
        let table = if child { Table::Child } else { Table::Data };
        right |= witness.model.changed(path, table, armed) == Some(zxid);
    }
    if !right {
        let path = String::from_utf8_lossy(path);
        let text = format!("client {client} is told {kind:?} of {path} at {zxid} and need not be");
        witness.violate("watches_fire_once", text);
    }
}
