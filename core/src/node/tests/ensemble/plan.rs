//! What a seed brings before anything happens.

use crate::prng::Prng;
use crate::session::LocalSessions;

/// What a seed brings.
pub struct Plan {
    pub servers: u64,
    /// Of the servers, those at the end that do not vote.
    pub learners: u64,
    pub clients: u64,
    pub delay_ms: u64,
    pub disk_ms: u64,
    pub fault_ms: u64,
    pub epoch_proposals: u32,
    pub few_xids: bool,
    pub garbage: bool,
    pub full_disks: bool,
    pub purges: bool,
    /// For each server that does not vote, whom it learns from; nobody is the ensemble's leader.
    pub observers: Vec<Vec<usize>>,
    pub local_sessions: LocalSessions,
    /// Whether its servers take in several events before they tell anybody what came of them.
    pub long_turns: bool,
}

impl Plan {
    pub fn of(prng: &mut Prng) -> Self {
        Self {
            servers: if prng.one_in(4) { 5 } else { 3 },
            learners: 0,
            clients: prng.between(3, 8),
            delay_ms: prng.between(1, 30),
            disk_ms: prng.between(1, 40),
            fault_ms: prng.between(150, 1500),
            epoch_proposals: if prng.one_in(3) { prng.between(5, 60) as u32 } else { u32::MAX },
            few_xids: prng.one_in(3),
            garbage: prng.one_in(3),
            full_disks: prng.one_in(4),
            purges: prng.one_in(3),
            observers: Vec::new(),
            local_sessions: LocalSessions::Off,
            long_turns: prng.one_in(3),
        }
    }

    /// Adds servers that do not vote. Most learn from a list: of voters, and of each other.
    pub fn observed(mut self, prng: &mut Prng) -> Self {
        let (voters, count) = (self.servers as usize, prng.between(1, 4) as usize);
        for at in voters..voters + count {
            let mut list = Vec::new();
            if !prng.one_in(5) {
                // The last one is a voter: else some could have nobody but each other.
                for _ in 0..prng.below(3) {
                    list.push(prng.below((voters + count) as u64) as usize);
                }
                list.push(prng.below(voters as u64) as usize);
                list.retain(|&upstream| upstream != at);
            }
            self.observers.push(list);
        }
        self
    }

    pub fn upstreams(&self, server: usize) -> &[usize] {
        let at = server.checked_sub(self.servers as usize);
        at.map_or(&[], |at| &self.observers[at])
    }
}
