//! The order of history.

use std::fmt;

/// A leader's term. Each leader that reaches broadcast owns exactly one epoch, and no two share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch before any leader.
    pub const ZERO: Self = Self(0);

    /// The epoch that follows, or `None` when all 2^32 have been used.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(epoch) => Some(Self(epoch)),
            None => None,
        }
    }

    /// The zxid that stands for the start of this epoch; no transaction carries it.
    pub const fn start(self) -> Zxid {
        Zxid((self.0 as u64) << 32)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in the replicated history: the leader's epoch, then that leader's proposal counter.
///
/// Ordered as a plain 64-bit number, which clients see as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before the first transaction.
    pub const ZERO: Self = Self(0);

    /// The zxid of proposal `counter` in `epoch`.
    pub const fn new(epoch: Epoch, counter: u32) -> Self {
        Self(((epoch.0 as u64) << 32) | counter as u64)
    }

    /// The epoch of the leader that proposed it.
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// The proposal's number within its epoch; 0 is the epoch's start and no transaction.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next proposal of the same epoch. `None` when the epoch's counter is spent: the leader
    /// must then begin a new epoch.
    pub const fn next(self) -> Option<Self> {
        if self.counter() == u32::MAX { None } else { Some(Self(self.0 + 1)) }
    }

    /// Whether `self` may directly follow `before` in a history: the next counter of the same
    /// epoch, or the first proposal of a later epoch.
    pub const fn follows(self, before: Self) -> bool {
        if self.epoch().0 == before.epoch().0 {
            self.0 == before.0 + 1
        } else {
            self.epoch().0 > before.epoch().0 && self.counter() == 1
        }
    }

    /// As the protocol's signed long.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch().0, self.counter())
    }
}

/// `0x` and lower-case hex, as ZooKeeper's tools print it.
impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A client session, unique for the life of an ensemble. Opaque 64 bits; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub u64);

impl SessionId {
    /// No session: asks for a new one in a connect request, answers an expired one.
    pub const NONE: Self = Self(0);
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A voter's or observer's number: from `myid`, or of a guest, which nobody numbered, its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServerId(pub u32);

impl ServerId {
    /// The smallest number of a guest: an observer that is in nobody's configuration. It draws its
    /// number once, at random from here up to [`ServerId::ANYONE`], and keeps it with its data:
    /// nobody has to number thousands of observers, and what another server knows of one still
    /// holds when it comes back. Half of all numbers are theirs, so that two of a thousand meet in
    /// one of four thousand ensembles, where the second is refused by name; and none that a
    /// configuration can hold, so that an observer is never taken for a member.
    pub const GUEST_MIN: Self = Self(0x8000_0000);

    /// Whoever is there: said by who dials an address and does not know whose it is. Nobody's
    /// number.
    pub const ANYONE: Self = Self(u32::MAX);

    /// Whether no configuration lists this number.
    pub const fn is_guest(self) -> bool {
        Self::GUEST_MIN.0 <= self.0 && self.0 != Self::ANYONE.0
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_contiguous_within_an_epoch_and_restarts_at_one() {
        let last = Zxid::new(Epoch(3), 7);
        assert!(Zxid::new(Epoch(3), 8).follows(last));
        assert!(Zxid::new(Epoch(5), 1).follows(last));
        assert!(!Zxid::new(Epoch(3), 9).follows(last));
        assert!(!Zxid::new(Epoch(4), 2).follows(last));
        assert!(!Zxid::new(Epoch(2), 1).follows(last));
    }

    #[test]
    fn the_upper_half_of_the_numbers_is_for_guests_and_the_last_of_them_for_nobody() {
        let guests = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX]
            .map(|number| ServerId(number).is_guest());
        assert_eq!(guests, [false, false, false, true, true, false]);
    }

    #[test]
    fn a_spent_counter_has_no_next() {
        assert_eq!(Zxid::new(Epoch(1), u32::MAX).next(), None);
    }
}
