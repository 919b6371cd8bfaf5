//! How each server serves its clients, as its operator chose: which sessions it keeps to itself, and
//! what it does for whom while it has no leader.

use farwatch_core::node::OnPartition;
use farwatch_core::prng::Prng;
use farwatch_core::session::LocalSessions;

/// What one server does for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    pub on_partition: OnPartition,
    /// `maxStaleness`, milliseconds.
    pub stale_ms_max: Option<i64>,
    /// `writeWaitMs`.
    pub wait_ms: i64,
    pub local_sessions: LocalSessions,
}

impl Service {
    /// A voter that is not told otherwise.
    pub const VOTER: Self = Self {
        on_partition: OnPartition::Bounded,
        stale_ms_max: None,
        wait_ms: 3_000,
        local_sessions: LocalSessions::Off,
    };

    /// An observer that is not told otherwise.
    pub const OBSERVER: Self = Self {
        on_partition: OnPartition::Serve,
        local_sessions: LocalSessions::Upgrading,
        ..Self::VOTER
    };
}

/// What all of them do, and what a leader does for those who do not vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    pub of: Vec<Service>,
    /// `observerSessionGraceMs`.
    pub grace_ms: i32,
    /// Whether the configuration lists those who do not vote.
    pub lists_learners: bool,
}

impl Services {
    /// All as voters are, and no grace.
    pub fn plain(servers: usize) -> Self {
        Self { of: vec![Service::VOTER; servers], grace_ms: 0, lists_learners: false }
    }

    /// Of one seed in three all servers are as voters are; else observers are as they are run, or as
    /// their operator might want them, and so may be voters.
    pub fn drawn(seed: u64, voters: usize, learners: usize) -> Self {
        let p = &mut Prng::new(seed ^ 0x0073_6572_7669_6365);
        if p.one_in(3) {
            return Self::plain(voters + learners);
        }
        let voters_are_told = p.one_in(4);
        let of = (0..voters + learners)
            .map(|at| match at < voters {
                true if voters_are_told => Self::told(Service::VOTER, p),
                true => Service::VOTER,
                false => Self::told(Service::OBSERVER, p),
            })
            .collect();
        let grace_ms = if p.one_in(3) { 0 } else { p.between(700, 3_000) as i32 };
        Self { of, grace_ms, lists_learners: p.one_in(2) }
    }

    fn told(usual: Service, p: &mut Prng) -> Service {
        use OnPartition::{Bounded, Disconnect, ReadOnly, Serve};
        let policies =
            [usual.on_partition, usual.on_partition, Serve, ReadOnly, ReadOnly, Disconnect];
        let mut on_partition = policies[p.below(6) as usize];
        if p.one_in(12) {
            on_partition = Bounded;
        }
        let stale_ms_max = p.one_in(3).then(|| p.between(400, 4_000) as i64);
        let wait_ms = p.between(200, 3_000) as i64;
        let sessions = [LocalSessions::Off, LocalSessions::On, LocalSessions::Upgrading];
        let local_sessions =
            if p.one_in(2) { usual.local_sessions } else { sessions[p.below(3) as usize] };
        Service { on_partition, stale_ms_max, wait_ms, local_sessions }
    }
}
