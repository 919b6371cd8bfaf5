//! Tokens that only grow, and the resource's side of them.

use std::sync::atomic::{AtomicI64, Ordering};

use thiserror::Error;

/// Says who came later. The zxid by which the holder's node was created: it grows from holder to
/// holder, over sessions, restarts and elections of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(pub i64);

impl std::fmt::Display for FencingToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A token was refused: a later holder has been here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("token {token} is refused, as {largest} was seen: its holder was overtaken and must stop")]
pub struct StaleToken {
    /// The token that was presented.
    pub token: FencingToken,
    /// The largest that was seen.
    pub largest: FencingToken,
}

/// The guarded resource's memory of the largest token. It belongs to the resource, and is stored with
/// it: a fence that forgets lets a holder in that was overtaken before.
///
/// Not for a semaphore of several: its holders are not ordered.
#[derive(Debug)]
pub struct Fence {
    largest: AtomicI64,
}

impl Default for Fence {
    fn default() -> Self {
        Self::new(FencingToken(i64::MIN))
    }
}

impl Fence {
    /// Begins with what the resource remembers.
    pub const fn new(largest: FencingToken) -> Self {
        Self { largest: AtomicI64::new(largest.0) }
    }

    /// Lets a use with this token in, unless a larger one was here. Does not block.
    ///
    /// What follows must be done before the next one is admitted, by a lock of the resource's own or
    /// in one transaction with the stored token; else an older use may end behind a newer one.
    pub fn admit(&self, token: FencingToken) -> Result<(), StaleToken> {
        let largest = self.largest.fetch_max(token.0, Ordering::SeqCst);
        if token.0 < largest {
            return Err(StaleToken { token, largest: FencingToken(largest) });
        }
        Ok(())
    }

    /// The largest token that was admitted: what to store. Does not block.
    pub fn largest(&self) -> FencingToken {
        FencingToken(self.largest.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_refused_behind_a_larger_one_and_never_before() {
        let fence = Fence::default();
        let [old, new] = [FencingToken(0x1_0000_0007), FencingToken(0x2_0000_0001)];
        fence.admit(old).unwrap();
        fence.admit(old).unwrap();
        fence.admit(new).unwrap();
        assert_eq!(fence.admit(old), Err(StaleToken { token: old, largest: new }));
        fence.admit(new).unwrap();
        let restarted = Fence::new(fence.largest());
        assert!(restarted.admit(old).is_err());
    }
}
