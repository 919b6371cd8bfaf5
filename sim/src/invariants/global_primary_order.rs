//! GlobalPrimaryOrder: what was proposed in an earlier epoch is applied earlier, and each epoch
//! begins with its first proposal. Source: ZooKeeper's `Zab.tla`.

use crate::disk::Entry;
use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, before: Option<Entry>, entry: Entry) {
    let before = before.map(|entry| entry.zxid).unwrap_or_default();
    let forward = before.epoch() <= entry.zxid.epoch();
    let begins = before.epoch() == entry.zxid.epoch() || entry.zxid.counter() == 1;
    if !forward || !begins {
        let text = format!("server {server} applied {:?} behind {before:?}", entry.zxid);
        witness.violate("global_primary_order", text);
    }
}
