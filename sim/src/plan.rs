//! What a seed decides before anything happens: how large the cluster is and what befalls it.

use farwatch_core::prng::Prng;
use farwatch_core::zab::timing::Timing;

use crate::network::Weather;

#[derive(Clone, Debug)]
pub struct Plan {
    pub voters: usize,
    pub learners: usize,
    pub weather: Weather,
    pub timing: Timing,
    pub tick_us: u64,
    /// Percent by which ticks of servers differ.
    pub skew_percent: u64,
    pub disk_us: u64,
    pub disk_jitter_us: u64,
    /// Microseconds between faults on average; 0 for none.
    pub fault_us: u64,
    /// One in so many actions is followed by a crash of its server.
    pub crash_in_actions: u64,
    pub sync_fails: u64,
    pub may_wipe: bool,
    pub may_partition: bool,
    pub may_stick: bool,
    pub clients: usize,
    pub snapshot_every: u64,
    /// Faults end here.
    pub calm_at_us: u64,
    /// The run ends here.
    pub end_us: u64,
}

impl Plan {
    pub fn of(seed: u64, seconds: u64) -> Self {
        let mut prng = Prng::new(seed ^ 0x706c_616e);
        let p = &mut prng;
        let voters = [1, 2, 3, 3, 3, 3, 5, 5, 5, 7][p.below(10) as usize];
        let stormy = p.one_in(2);
        let weather = Weather {
            delay_us: p.between(50, 2_000),
            jitter_us: p.between(50, 5_000),
            loss: if stormy { p.between(30, 500) } else { 0 },
            doubling: if stormy { p.between(30, 500) } else { 0 },
            reordering: if stormy { p.between(50, 500) } else { 0 },
        };
        let timing = Timing {
            stall_ticks: p.between(50, 200),
            flight_bytes: p.between(200, 8_000),
            join_ticks: 200,
            // So that it is spent while the cluster is watched.
            epoch_proposals: if p.one_in(4) { p.between(3, 60) as u32 } else { u32::MAX },
            ..Timing::default()
        };
        let calm_at_us = seconds * 1_000_000;
        Self {
            voters,
            learners: [0, 0, 1, 2][p.below(4) as usize],
            weather,
            timing,
            tick_us: 10_000,
            skew_percent: p.between(0, 25),
            disk_us: p.between(50, 3_000),
            disk_jitter_us: p.between(50, 20_000),
            fault_us: p.between(50_000, 2_000_000),
            crash_in_actions: if p.one_in(2) { p.between(200, 5_000) } else { 0 },
            sync_fails: if p.one_in(4) { p.between(100, 2_000) } else { 0 },
            may_wipe: p.one_in(3),
            may_partition: p.one_in(2) || stormy,
            may_stick: p.one_in(2),
            clients: p.between(1, 6) as usize,
            snapshot_every: p.between(5, 200),
            calm_at_us,
            end_us: calm_at_us + 15_000_000,
        }
    }
}
