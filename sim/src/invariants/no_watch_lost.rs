//! Whoever is shown a state that lies behind a change it watches for was told of the change before.
//! Source: ZooKeeper's guarantee that a client sees the event before the new data.

use std::collections::BTreeMap;

use farwatch_core::watch::Table;
use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// A client that still has these watches is shown `zxid`.
pub fn check(
    witness: &mut Witness,
    client: usize,
    watches: &BTreeMap<(Vec<u8>, bool), Zxid>,
    zxid: Zxid,
) {
    for ((path, child), &armed) in watches {
        let table = if *child { Table::Child } else { Table::Data };
        if let Some(changed) = witness.model.changed(path, table, armed)
            && changed <= zxid
        {
            let path = String::from_utf8_lossy(path);
            let text = format!(
                "client {client} watches {path} ({table:?}) since {armed}, is shown {zxid}, and was \
                 not told of the change at {changed}"
            );
            return witness.violate("no_watch_lost", text);
        }
    }
}
