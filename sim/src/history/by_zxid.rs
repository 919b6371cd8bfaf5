//! The fast checker: it trusts zxids for the order and judges everything by them.
//!
//! Each acknowledged write is in the one history, at its zxid, with its value. An operation that
//! began after another had ended has no smaller place. A read saw what its key held at its
//! place.

use farwatch_core::zxid::Zxid;

use super::{Asked, History, Told};
use crate::client::key_path;
use crate::witness::Witness;

pub fn check(history: &History, witness: &mut Witness) {
    let mut ends = Vec::new();
    for (number, operation) in history.operations.iter().enumerate() {
        let held = |key: u64, zxid: Zxid| {
            witness.model.at(&key_path(key), zxid).map_or(0, |node| node.value)
        };
        match (operation.asked, operation.told) {
            (_, Told::Nothing) => {}
            (Asked::Write { key, value }, Told::Written { at, zxid }) => {
                if held(key, zxid) != value {
                    let found = held(key, zxid);
                    let text = format!("{value:#x} was acknowledged at {zxid:?}: {found:x?}");
                    witness.violate("no_acknowledged_write_lost", text);
                    return;
                }
                ends.push((at, zxid, number));
            }
            (Asked::Read { key }, Told::Read { at, upto, value }) => {
                let due = held(key, upto);
                if due != value {
                    let text = format!("key {key} at {upto:?} is {due:#x}; read was {value:#x}");
                    witness.violate("reads_see_their_state", text);
                    return;
                }
                ends.push((at, upto, number));
            }
            (Asked::Write { .. }, Told::Read { .. })
            | (Asked::Read { .. }, Told::Written { .. }) => {
                unreachable!("an operation is told what it asked")
            }
        }
    }
    real_time(history, ends, witness);
}

/// Sweeps over ends and beginnings in order of time.
fn real_time(history: &History, mut ends: Vec<(u64, Zxid, usize)>, witness: &mut Witness) {
    ends.sort_unstable();
    let mut begins: Vec<(u64, usize)> = history
        .operations
        .iter()
        .enumerate()
        .map(|(number, operation)| (operation.began, number))
        .collect();
    begins.sort_unstable();
    let (mut done, mut newest) = (0, Zxid::ZERO);
    for (began, number) in begins {
        while done < ends.len() && ends[done].0 < began {
            newest = newest.max(ends[done].1);
            done += 1;
        }
        let place = match history.operations[number].told {
            Told::Nothing => continue,
            Told::Written { zxid, .. } if zxid <= newest => zxid,
            Told::Read { upto, .. } if upto < newest => upto,
            Told::Written { .. } | Told::Read { .. } => continue,
        };
        let operation = history.operations[number];
        let text = format!("{operation:?} has place {place:?} after {newest:?} had ended");
        witness.violate("real_time_order", text);
        return;
    }
}
