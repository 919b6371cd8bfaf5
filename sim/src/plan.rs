//! What a seed decides before anything happens: how large the cluster is and what befalls it.

use farwatch_core::prng::Prng;
use farwatch_core::zab::timing::Timing;

use crate::network::Weather;
use crate::service::Services;

/// What a run is to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is lost or contradicted, whatever happens. In the end all is well, and all agree.
    Safety,
    /// A bare quorum of voters is well from some moment on, all others stay broken or go on
    /// breaking: writes are answered within a bound, again and again.
    Liveness,
}

/// How often each fault strikes, as its share among all; 0 for never. Each seed draws its own, and
/// leaves some out, so that no fault hides behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// A process dies; its disk stays.
    pub crash: u64,
    /// The process that leads dies.
    pub crash_leader: u64,
    /// All processes die within moments.
    pub crash_all: u64,
    /// A process is stopped for a while, and goes on as if nothing had been.
    pub freeze: u64,
    /// A clock jumps: many ticks at once.
    pub clock_jump: u64,
    /// A clock stands still, while everything else goes on.
    pub clock_stop: u64,
    /// A disk finishes nothing for a while.
    pub disk_hang: u64,
    /// A disk is full for a while.
    pub disk_full: u64,
    /// A disk is lost with all that it held.
    pub disk_lost: u64,
    /// A block at rest changes: bits flip, or the block of another place is there.
    pub disk_damage: u64,
    /// A disk is lost while a voter lags, and then whoever tries to lead dies.
    pub disk_and_leader_lost: u64,
    /// The leader is cut off while the disk of its log hangs: what it wrote is cut before it is done.
    pub leader_log_hang: u64,
    /// The clock of the leader stands still, and it is alone with one other server.
    pub stale_leader: u64,
    /// The network falls into two parts.
    pub partition: u64,
    /// A server hears nobody, or is heard by nobody.
    pub one_way: u64,
    /// Two servers do not hear each other.
    pub pair: u64,
    /// What a server sends takes long.
    pub slow: u64,
    /// The operator wants another leader.
    pub transfer: u64,
    /// The network is well again.
    pub heal: u64,
    /// A server that does not vote hears nobody and is heard by nobody for a while.
    pub observer_cut: u64,
}

impl Shares {
    /// Nothing goes wrong by itself.
    pub const NONE: Self = Self {
        crash: 0,
        crash_leader: 0,
        crash_all: 0,
        freeze: 0,
        clock_jump: 0,
        clock_stop: 0,
        disk_hang: 0,
        disk_full: 0,
        disk_lost: 0,
        disk_damage: 0,
        disk_and_leader_lost: 0,
        leader_log_hang: 0,
        stale_leader: 0,
        partition: 0,
        one_way: 0,
        pair: 0,
        slow: 0,
        transfer: 0,
        heal: 0,
        observer_cut: 0,
    };

    fn drawn(p: &mut Prng) -> Self {
        let mut share = |usual: u64| if p.one_in(3) { 0 } else { p.between(1, 2 * usual) };
        Self {
            crash: share(4),
            crash_leader: share(3),
            crash_all: share(1),
            freeze: share(2),
            clock_jump: share(1),
            clock_stop: share(1),
            disk_hang: share(2),
            disk_full: share(1),
            disk_lost: share(1),
            disk_damage: share(1),
            disk_and_leader_lost: share(1),
            leader_log_hang: share(1),
            stale_leader: share(1),
            partition: share(3),
            one_way: share(2),
            pair: share(2),
            slow: share(2),
            transfer: share(2),
            heal: share(3),
            observer_cut: share(5),
        }
    }
}

/// What befalls the cluster behind all other faults, step by step: what chance brings about too
/// rarely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAct {
    /// A leader does not notice that it was replaced, and a client that only reads asks it.
    StaleReader,
    /// A newer epoch is promised and never founded, and the leader of the old one goes on.
    UnfinishedEpoch,
    /// A voter's snapshot replaces its history only when it has another leader.
    LateSnapshot,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub mode: Mode,
    pub voters: usize,
    pub learners: usize,
    /// Whom each learner learns from, in its order of preference; where it is missing, from the leader.
    pub lists: Vec<Vec<usize>>,
    /// How many bytes a second each learner's links with voters carry, 0 for any number; none where no learner is
    /// far away.
    pub rates: Vec<u64>,
    /// Whether all of a list are as good, so that the nearest is learned from.
    pub nearest: bool,
    pub services: Services,
    pub weather: Weather,
    pub timing: Timing,
    pub tick_us: u64,
    /// Percent by which ticks of servers differ.
    pub skew_percent: u64,
    pub disk_us: u64,
    pub disk_jitter_us: u64,
    /// Microseconds between faults on average; 0 for none.
    pub fault_us: u64,
    pub shares: Shares,
    /// One in so many actions is followed by a crash of its server.
    pub crash_in_actions: u64,
    /// The server of exactly this action, of all that are carried out, crashes instead.
    pub crash_at_action: u64,
    /// One in so many steps of a server that is about to lead, and does not yet, kills it.
    pub crash_in_founding: u64,
    /// One in so many snapshots meets a disk that hangs just when it replaces a history.
    pub hang_in_install: u64,
    /// A snapshot replaces the history beside the log's own writes, and not in turn with them.
    pub installs_beside: bool,
    /// One in so many writes fails, which ends the process.
    pub sync_fails: u64,
    pub clients: usize,
    /// One in so many looks of a client at its situation breaks its connection.
    pub link_breaks: u64,
    pub snapshot_every: u64,
    /// Begins when the faults by chance are over.
    pub last_act: Option<LastAct>,
    /// Faults end here, for all or for a quorum.
    pub calm_at_us: u64,
    /// The run ends here.
    pub end_us: u64,
}

/// Time for the whole of a last act, until the calm comes.
pub const LAST_ACT_US: u64 = 4_000_000;

/// How long the calm may last until everybody agrees: restarts and a discovery that must run into
/// its deadline are in it.
const CALM_US: u64 = 15_000_000;

/// How much longer where a history, or a snapshot, goes over a link with a rate.
const FAR_CALM_US: u64 = 45_000_000;

/// How long a quorum is watched that makes progress among servers that are broken.
const WATCHED_US: u64 = 12_000_000;

/// One seed in so many has no faults.
const FAIR_ONE_IN: u64 = 12;

impl Plan {
    /// How many bytes a second a server's links with voters carry, if that is bounded.
    pub fn rate_of(&self, server: usize) -> Option<u64> {
        let rate = server.checked_sub(self.voters).and_then(|learner| self.rates.get(learner));
        rate.copied().filter(|&rate| 0 < rate)
    }

    /// Whether nothing ever goes wrong but what clients do themselves.
    pub fn is_fair(&self) -> bool {
        self.shares == Shares::NONE
            && self.weather.loss == 0
            && [self.crash_in_actions, self.crash_at_action, self.crash_in_founding] == [0; 3]
            && [self.hang_in_install, self.sync_fails] == [0; 2]
            && self.last_act.is_none()
    }

    pub fn of(seed: u64, seconds: u64, mode: Mode) -> Self {
        let mut prng = Prng::new(seed ^ 0x706c_616e);
        let p = &mut prng;
        // What came to plans later is drawn apart, so that a seed without it tells what it told.
        let mut habits = Prng::new(seed ^ 0x6861_6269_7473);
        let voters = [1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7][p.below(12) as usize];
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
        let learners = [1, 1, 2, 3][p.below(4) as usize];
        let lists = lists(seed, voters, learners);
        let rates = rates(seed, learners);
        let far_us = if rates.is_empty() { 0 } else { FAR_CALM_US };
        let calm_at_us = seconds * 1_000_000;
        let end_us = calm_at_us
            + match mode {
                Mode::Safety => CALM_US + far_us,
                Mode::Liveness => WATCHED_US,
            };
        let drawn = Self {
            mode,
            voters,
            learners,
            lists,
            rates,
            nearest: Prng::new(seed ^ 0x6e65_6172).one_in(3),
            services: Services::drawn(seed, voters, learners),
            weather,
            timing,
            tick_us: 10_000,
            skew_percent: p.between(0, 25),
            disk_us: p.between(50, 3_000),
            disk_jitter_us: p.between(50, 20_000),
            fault_us: p.between(50_000, 2_000_000),
            shares: Shares::drawn(p),
            crash_in_actions: if p.one_in(2) { p.between(200, 5_000) } else { 0 },
            crash_at_action: 0,
            crash_in_founding: if p.one_in(4) { p.between(5, 60) } else { 0 },
            hang_in_install: if p.one_in(2) { p.between(2, 10) } else { 0 },
            installs_beside: habits.one_in(2),
            sync_fails: if p.one_in(4) { p.between(100, 2_000) } else { 0 },
            clients: p.between(1, 8) as usize,
            link_breaks: if p.one_in(3) { 0 } else { p.between(20, 400) },
            snapshot_every: p.between(5, 200),
            last_act: None,
            calm_at_us,
            end_us,
        };
        if mode == Mode::Liveness {
            return drawn;
        }
        if seed.is_multiple_of(FAIR_ONE_IN) {
            return drawn.fair();
        }
        match habits.below(9) {
            0 if voters >= 3 && drawn.clients >= 2 => drawn.then(LastAct::StaleReader),
            1 if voters >= 3 => drawn.then(LastAct::UnfinishedEpoch),
            2 if voters >= 3 => Self { installs_beside: true, ..drawn }.then(LastAct::LateSnapshot),
            _ => drawn,
        }
    }

    /// The same with a last act.
    fn then(self, act: LastAct) -> Self {
        Self {
            last_act: Some(act),
            calm_at_us: self.calm_at_us + LAST_ACT_US,
            end_us: self.end_us + LAST_ACT_US,
            ..self
        }
    }

    /// The same without a fault, where more is to be expected.
    pub fn fair(self) -> Self {
        let weather = Weather { loss: 0, doubling: 0, reordering: 0, ..self.weather };
        let act_us = if self.last_act.is_some() { LAST_ACT_US } else { 0 };
        Self {
            weather,
            last_act: None,
            calm_at_us: self.calm_at_us - act_us,
            end_us: self.end_us - act_us,
            shares: Shares::NONE,
            fault_us: 0,
            crash_in_actions: 0,
            crash_in_founding: 0,
            hang_in_install: 0,
            sync_fails: 0,
            ..self
        }
    }
}

/// Rates of one seed in five: of one learner at least, bytes a second.
fn rates(seed: u64, learners: usize) -> Vec<u64> {
    let p = &mut Prng::new(seed ^ 0x0072_6174_6573);
    if !p.one_in(5) {
        return Vec::new();
    }
    let mut rates: Vec<u64> =
        (0..learners).map(|_| if p.one_in(2) { 0 } else { p.between(12_000, 40_000) }).collect();
    rates[p.below(learners as u64) as usize] = p.between(12_000, 40_000);
    rates
}

/// Lists of one seed in three: of voters, and of other learners. Each ends with a voter, or some could
/// have nobody but each other.
fn lists(seed: u64, voters: usize, learners: usize) -> Vec<Vec<usize>> {
    let p = &mut Prng::new(seed ^ 0x006c_6973_7473);
    if !p.one_in(3) {
        return Vec::new();
    }
    let mut list = |own: usize| {
        let others = p.below(3);
        let mut list: Vec<usize> =
            (0..others).map(|_| p.below((voters + learners) as u64) as usize).collect();
        list.push(p.below(voters as u64) as usize);
        list.retain(|&at| at != own);
        list
    };
    (voters..voters + learners).map(&mut list).collect()
}
