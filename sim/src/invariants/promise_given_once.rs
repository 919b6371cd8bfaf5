//! A voter gives its promise of an epoch to one leader. Source: Zab's discovery; with two, two
//! leaders could own one epoch. A disk that was taken away takes its promises with it.

use farwatch_core::zxid::Epoch;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, leader: usize, epoch: Epoch) {
    let life = witness.wiped.get(&server).copied().unwrap_or(0);
    let given = witness.promises.insert((server, life, epoch), leader);
    if let Some(other) = given.filter(|&other| other != leader) {
        let text = format!("server {server} promised epoch {epoch} to {other} and {leader}");
        witness.violate("promise_given_once", text);
    }
}
