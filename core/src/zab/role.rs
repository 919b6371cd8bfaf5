//! What a server is doing, one type per phase; a transition consumes the phase it leaves.

use super::election::Looking;
use super::leader::Leading;
use super::learner::Learning;
use crate::zxid::ServerId;

#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Not started.
    Idle,
    Looking(Looking),
    Learning(Learning),
    Leading(Leading),
}

/// Where a step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    Stay,
    Look,
    Lead,
    Follow(ServerId),
}
