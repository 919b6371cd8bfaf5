//! LocalPrimaryOrder: what one leader proposed in one epoch is applied in that order, and all of
//! it up to the last that is. Source: ZooKeeper's `Zab.tla`, checked here for all pairs.

use crate::disk::Entry;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, before: Option<Entry>, entry: Entry) {
    let Some(before) = before else { return };
    let same_epoch = before.zxid.epoch() == entry.zxid.epoch();
    if same_epoch && entry.zxid.counter() != before.zxid.counter() + 1 {
        let text = format!("server {server} applied {:?} behind {:?}", entry.zxid, before.zxid);
        witness.violate("local_primary_order", text);
    }
}
