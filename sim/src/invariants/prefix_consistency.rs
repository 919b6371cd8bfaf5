//! PrefixConsistency: what any two servers have applied is equal up to the shorter of both.
//! Source: ZooKeeper's `Zab.tla`. Here: what a server applies is what the first that got as far
//! applied, checksum of the whole history included, so that digests are compared on the way.

use farwatch_core::zab::run::Position;

use crate::disk::{Entry, Logged};
use crate::witness::Witness;

/// `server` applied `entry` as the `index`-th of its history.
pub fn check(witness: &mut Witness, server: usize, index: usize, at: Position, entry: Entry) {
    let Some(&(known_at, known)) = witness.history.get(index) else { return };
    if (known_at, known) != (at, entry) {
        let text = format!(
            "server {server} applied {entry:?} with {:?} as number {index}, where {known:?} with \
             {:?} was applied before",
            at.chain, known_at.chain
        );
        witness.violate("prefix_consistency", text);
    }
}

/// `server` took over a whole state, which ends at `at`.
pub fn check_restored(witness: &mut Witness, server: usize, at: Position, state: &[Logged]) {
    let known = &witness.history[..witness.history.len().min(state.len())];
    let same = known.iter().zip(state).all(|(known, record)| known.1 == record.entry())
        && state.len() <= witness.history.len()
        && (state.is_empty() || known.last().is_some_and(|last| last.0 == at));
    if !same {
        let text = format!("server {server} restored a state at {at:?} that is no prefix");
        witness.violate("prefix_consistency", text);
    }
}
