//! Writers and readers on every server while something is done to the servers, and the judgement of
//! what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::audit::{Tree, equal_trees};
use super::client::{ANSWER_WITHIN, Client};
use super::ledger::Ledger;
use super::reader::Reader;
use super::servers::{Ensemble, ask, leads, pass};
use super::writer::{Writer, prepare};
use crate::subject::Chance;

/// Between two questions who leads.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who does what.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sessions that write: through each server in turn.
    pub writers: usize,
    /// Sessions that read and watch.
    pub readers: usize,
    /// The session timeout that they ask for, milliseconds.
    pub timeout_ms: i32,
    /// Between two writes of one session: what is read at the end is bounded by it.
    pub pause: Duration,
    /// How long a client waits for an answer before it looks for another server.
    pub patience: Duration,
    /// Whether servers may refuse writes because their disk is full.
    pub disks_fill: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            writers: 6,
            readers: 3,
            timeout_ms: 10_000,
            pause: Duration::ZERO,
            patience: ANSWER_WITHIN,
            disks_fill: false,
        }
    }
}

/// What came of it.
pub struct Outcome {
    /// Of all servers, at the end.
    pub tree: Tree,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes whose connection was lost before the answer.
    pub unanswered: u32,
    /// Writes that a full disk refused.
    pub refused: u32,
    /// Reads, and events of watches.
    pub reads: u64,
    pub events: u64,
    /// The longest time between two answers to a reader.
    pub read_gap: Duration,
    /// Connections that readers lost.
    pub reader_drops: u32,
}

/// Stops the load when it goes, also by a panic: the writers' threads are waited for.
pub struct StopOnDrop<'s>(pub &'s AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who led in which epoch, as far as anybody saw.
#[derive(Default)]
struct Leaders(Mutex<BTreeMap<u32, u32>>);

impl Leaders {
    fn watch(&self, servers: &[SocketAddr], stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for report in servers.iter().filter_map(|&server| ask(server)).filter(leads) {
                let mut known = self.0.lock().expect("nobody panics with it");
                let leader = *known.entry(report.epoch).or_insert(report.me);
                drop(known);
                assert_eq!(leader, report.me, "two leaders in epoch {}", report.epoch);
            }
            pass(LOOK_EVERY);
        }
    }
}

/// Loads the servers, does `what` meanwhile, and judges everything that anybody was told. The
/// servers must all serve at the end of `what`, or be about to.
pub fn under_load(
    ensemble: &mut Ensemble,
    plan: Plan,
    chance: &mut Chance,
    what: impl FnOnce(&mut Ensemble, &Ledger),
) -> Outcome {
    let ledger = Ledger::default();
    let servers = ensemble.clients();
    prepare(&mut Client::of(servers[0]));
    let client = |at: usize| {
        let client = Client::new(servers.clone(), at % servers.len(), plan.timeout_ms);
        client.with_patience(plan.patience)
    };
    let mut writers: Vec<Writer<'_>> = (0..plan.writers)
        .map(|index| Writer::new(client(index), &ledger, index, chance.fork()))
        .collect();
    let mut readers: Vec<Reader<'_>> = (0..plan.readers)
        .map(|index| {
            let mut client = client(index);
            client.connect();
            Reader::new(client, &ledger)
        })
        .collect();
    let (stop, leaders) = (AtomicBool::new(false), Leaders::default());
    thread::scope(|scope| {
        let _guard = StopOnDrop(&stop);
        for writer in &mut writers {
            writer.refusals_allowed = plan.disks_fill;
            scope.spawn(|| writer.run(&stop, plan.pause));
        }
        for reader in &mut readers {
            scope.spawn(|| reader.run(&stop));
        }
        scope.spawn(|| leaders.watch(&servers, &stop));
        ledger.until_more(20);
        what(ensemble, &ledger);
        ledger.until_more(20);
    });
    ledger.judge();
    writers.iter_mut().for_each(Writer::is_alive);
    let tree = equal_trees(ensemble);
    ledger.compare(&tree);
    writers.iter().for_each(|writer| writer.compare(&tree));
    let outcome = Outcome {
        tree,
        acknowledged: ledger.count(),
        unanswered: writers.iter().map(|writer| writer.unanswered).sum(),
        refused: writers.iter().map(|writer| writer.refused).sum(),
        reads: readers.iter().map(|reader| reader.reads).sum(),
        events: readers.iter().map(|reader| reader.events).sum(),
        read_gap: readers.iter().map(|reader| reader.gap).max().unwrap_or_default(),
        reader_drops: readers.iter().map(|reader| reader.client.drops).sum(),
    };
    let mut witness = Client::of(servers[servers.len() - 1]);
    writers.into_iter().for_each(|writer| writer.close(&mut witness));
    outcome
}

impl Outcome {
    pub fn print(&self, test: &str) {
        eprintln!(
            "{test}: {} writes acknowledged, {} unanswered, {} refused; {} reads, {} events, \
             longest gap of a reader {:?}, {} connections of readers lost; {} nodes",
            self.acknowledged,
            self.unanswered,
            self.refused,
            self.reads,
            self.events,
            self.read_gap,
            self.reader_drops,
            self.tree.len()
        );
    }
}
