//! Majorities of voters.

use crate::zxid::{ServerId, Zxid};

/// The voters, more than half of whom decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    voters: Vec<ServerId>,
}

impl Quorum {
    /// A majority system. Panics when there is no voter or one is named twice.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> Self {
        let mut voters: Vec<ServerId> = voters.into_iter().collect();
        voters.sort_unstable();
        assert!(!voters.is_empty(), "an ensemble has a voter");
        assert!(voters.windows(2).all(|pair| pair[0] != pair[1]), "a voter is named twice");
        Self { voters }
    }

    /// Of a server that learns from a list, and is not told who votes: nobody ever decides there.
    pub const fn unknown() -> Self {
        Self { voters: Vec::new() }
    }

    /// How many voters there are.
    pub fn voters(&self) -> usize {
        self.voters.len()
    }

    /// Who votes, in order.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.iter().copied()
    }

    /// Whether `server` votes.
    pub fn contains(&self, server: ServerId) -> bool {
        self.voters.binary_search(&server).is_ok()
    }

    /// How many voters must agree.
    pub fn needed(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Whether `servers`, each named once, hold a quorum; others than voters do not count.
    pub fn is_reached(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        let agreeing = servers.into_iter().filter(|&server| self.contains(server)).count();
        agreeing >= self.needed()
    }

    /// The largest zxid that a quorum has acknowledged, or `None` when fewer than a quorum spoke.
    pub fn committed(&self, acks: &[(ServerId, Zxid)]) -> Option<Zxid> {
        let mut acked: Vec<Zxid> =
            acks.iter().filter(|ack| self.contains(ack.0)).map(|ack| ack.1).collect();
        acked.sort_unstable_by(|a, b| b.cmp(a));
        acked.get(self.needed() - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts, for every zxid that was acknowledged at all, who has it.
    fn committed_by_counting(voters: u32, acks: &[(ServerId, Zxid)]) -> Option<Zxid> {
        acks.iter()
            .map(|ack| ack.1)
            .filter(|&zxid| {
                let have = acks.iter().filter(|a| a.0.0 < voters && zxid <= a.1).count();
                have * 2 > voters as usize
            })
            .max()
    }

    proptest! {
        #[test]
        fn what_is_committed_agrees_with_counting(
            voters in 1..8_u32,
            zxids in prop::collection::vec(0..20_u64, 0..10),
        ) {
            let quorum = Quorum::majority((0..voters).map(ServerId));
            let acks: Vec<_> = (0..).map(ServerId).zip(zxids.into_iter().map(Zxid)).collect();
            prop_assert_eq!(quorum.committed(&acks), committed_by_counting(voters, &acks));
        }
    }
}
