//! One server: core's machine, its disk, and a state that is the list of applied commands.

use std::collections::{BTreeMap, VecDeque};

use farwatch_core::zab::mutant::Mutant;
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zab::run::Position;
use farwatch_core::zab::timing::Timing;
use farwatch_core::zab::{Membership, Options, Recovered, Standing, Zab};
use farwatch_core::zxid::{ServerId, Zxid};

use crate::disk::{Disk, Entry};

/// A process, from its start to its crash.
pub struct Process {
    pub zab: Zab,
    /// What was applied, and the position of the last of it.
    pub applied: Vec<Entry>,
    pub applied_at: Position,
    /// Which client waits with which operation for which proposal.
    pub writers: BTreeMap<Zxid, (usize, usize)>,
    /// Which client waits with which operation for a confirmation, oldest first.
    pub readers: VecDeque<(usize, usize)>,
    pub standing: Standing,
}

pub struct Server {
    pub id: ServerId,
    /// Whether the configuration lets it vote.
    pub votes: bool,
    /// It stays down to the end of the run.
    pub left_out: bool,
    /// It belongs to those who are well in the end.
    pub core: bool,
    /// Rises with every start, so that what belongs to an earlier process is recognised.
    pub life: u64,
    pub process: Option<Process>,
    pub disk: Disk,
    pub tick_us: u64,
    /// The process does not run until then (it is stopped, or swapped out).
    pub frozen_until: u64,
    /// The disk finishes nothing until then.
    pub stuck_until: u64,
    /// The disk of the log, which may be another one, finishes nothing until then.
    pub log_stuck_until: u64,
    /// The disk has no room until then.
    pub full_until: u64,
    /// The clock stands still until then.
    pub clock_stopped_until: u64,
    /// When the last write of the log completes: they complete in order.
    pub log_busy_until: u64,
}

impl Server {
    /// Starts with what recovery left on the disk.
    pub fn start(&mut self, quorum: &Quorum, timing: Timing, seed: u64, mutant: Option<Mutant>) {
        assert!(self.process.is_none(), "a server is started twice");
        self.life += 1;
        let membership = match (self.votes, self.disk.rejoining) {
            (false, _) => Membership::Learner,
            (true, false) => Membership::Voter,
            (true, true) => Membership::Rejoining,
        };
        let options = Options {
            me: self.id,
            quorum: quorum.clone(),
            membership,
            timing,
            seed: seed ^ self.life,
        };
        let log = self.disk.end();
        let committed = self.disk.snapshot_at.zxid;
        let zab = Zab::with(options, Recovered { epochs: self.disk.epochs, log, committed });
        let zab = plant(zab, mutant);
        self.log_busy_until = 0;
        self.process = Some(Process {
            zab,
            applied: self.disk.snapshot.clone(),
            applied_at: self.disk.snapshot_at,
            writers: BTreeMap::new(),
            readers: VecDeque::new(),
            standing: Standing::Alone,
        });
    }
}

#[cfg(feature = "mutants")]
fn plant(mut zab: Zab, mutant: Option<Mutant>) -> Zab {
    if let Some(mutant) = mutant {
        zab.plant(mutant);
    }
    zab
}

#[cfg(not(feature = "mutants"))]
fn plant(zab: Zab, mutant: Option<Mutant>) -> Zab {
    assert!(mutant.is_none(), "bugs can be planted only with the feature `mutants`");
    zab
}
