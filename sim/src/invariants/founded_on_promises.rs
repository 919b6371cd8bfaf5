//! A leader founds an epoch only when a quorum, itself counted, has promised exactly this epoch to it.
//! Source: Zab's discovery. Each of two leaders with a quorum of promises would share a voter with
//! the other, which promises an epoch once.

use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zxid::{Epoch, ServerId};

use crate::witness::Witness;

/// `leader` saves this epoch as the one it leads.
pub fn check(witness: &mut Witness, leader: usize, epoch: Epoch, quorum: &Quorum) {
    let id = |server: usize| ServerId(server as u32 + 1);
    let mut promised: Vec<ServerId> = witness
        .promises
        .iter()
        .filter(|&(&(_, _, of), &to)| of == epoch && to == leader)
        .map(|(&(server, _, _), _)| id(server))
        .chain([id(leader)])
        .collect();
    promised.sort_unstable();
    promised.dedup();
    if !quorum.is_reached(promised.iter().copied()) {
        let text = format!("server {leader} founds epoch {epoch} with promises of {promised:?}");
        witness.violate("founded_on_promises", text);
    }
}
