//! What a server is doing, one type per phase; a transition consumes the phase it leaves.

use super::election::Looking;
use super::leader::Leading;
use super::learner::Learning;
use super::seeking::Seeking;
use crate::zxid::ServerId;

#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Not started.
    Idle,
    Looking(Looking),
    /// Looking for one of a list to learn from.
    Seeking(Seeking),
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
