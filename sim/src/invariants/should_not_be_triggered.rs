//! ShouldNotBeTriggered: no server meets a message that its state can never see from a correct
//! peer, and none finds its committed history contradicted. Source: the flags of ZooKeeper's
//! TLA+ specifications.

use std::fmt;

use crate::witness::Witness;

pub fn check(witness: &mut Witness, server: usize, what: fmt::Arguments<'_>) {
    witness.violate("should_not_be_triggered", format!("server {server}: {what}"));
}
