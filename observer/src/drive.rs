//! The core thread: gathers events, steps the machine, carries out what comes of it.
//!
//! ```text
//! reactors' asks ──┐                        ┌─► storage: log, snapshots (one durable write a batch)
//! peers' messages ─┼─► Node::step ─► Output ┼─► peers: messages
//! completions ─────┤                        ├─► reactors: events, replies
//! ticks ───────────┘                        └─► epochs, on a thread of their own
//! ```
//!
//! Acknowledged records first, then asks, then time; everything that is ready at once. Nothing
//! awaits between reading the machine's state and changing it.

mod counting;
mod distribute;
mod embedder;
mod epochs;
mod list;
mod report;
mod snapshots;
mod stages;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use farwatch_core::log::format::ClusterId;
use farwatch_core::node::submission::Submission;
use farwatch_core::node::{Clock, Event, Node, OnPartition, Output};
use farwatch_core::zab::run::Run;
use farwatch_core::zab::{Action, Event as ZabEvent, Membership, Standing as Role};
use farwatch_core::zxid::Zxid;
use tracing::{info, warn};

use crate::config::Standing;
use crate::connection;
use crate::data_dir::DataDir;
use crate::ensemble::{Ensemble, PeerEvent, SaveEpochs};
use crate::four_letter::counters::{Counter, Summary};
use crate::inbox::{ToCore, ToReactor};
use crate::log_file::{LogCounters, LogFile};
use crate::port::{Port, Receiver};
use crate::reactor::Reactor;
use crate::runtime::{self, Doorbell, Signal};
use crate::server::{Shared, wall_ms};
use crate::storage::Storage;
use crate::voice::Voice;
pub use embedder::{Embedder, Stands};
use epochs::EpochThread;
use snapshots::Snapshots;
use stages::Stages;

/// Between two ticks of a server alone: nothing waits for them but what ends by time.
const TICK_ALONE: Duration = Duration::from_millis(50);

/// Between two ticks of an ensemble's member; see [`farwatch_core::zab::timing::Timing`].
pub const TICK_MEMBER: Duration = Duration::from_millis(10);

/// Ticks made up for in one turn. A server that stood still first hears what was said meanwhile,
/// and does not count its own absence as the others' silence.
const TICKS_PER_TURN_MAX: u32 = 2;

/// The log is sealed when nothing was written for so long.
const IDLE_BEFORE_SEAL: Duration = Duration::from_millis(20);

/// How long a stopping core waits for a reactor whose inbox is full.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Messages taken from the inbox in one turn, so that acknowledgements are not held up.
const MESSAGES_PER_TURN: usize = 256;

/// Where a reactor is.
pub enum ReactorLink {
    /// On the core's own thread.
    Local(Rc<RefCell<Reactor>>),
    /// On another thread; what did not fit its inbox waits here, in order.
    Remote(Arc<Port<ToReactor>>, VecDeque<ToReactor>),
}

/// Why a core ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Its state on disk is another one now: the server must be opened anew.
    Reopen,
    /// It must not go on, for this reason.
    Halted(String),
}

/// What a core is made of.
pub struct CoreParts {
    /// Shared with all threads.
    pub shared: Arc<Shared>,
    /// The machine, recovered and not begun.
    pub node: Node,
    /// Its log.
    pub log: LogFile,
    /// Its directory.
    pub dir: DataDir,
    /// Records behind its snapshot.
    pub replayed: u64,
    /// Where other threads speak to it.
    pub inbox: Arc<Port<ToCore>>,
    /// How epochs are saved.
    pub save_epochs: SaveEpochs,
    /// The rest of its ensemble.
    pub ensemble: Box<dyn Ensemble>,
    /// Poked when there is something to do.
    pub wake: Signal,
    /// Who else is told.
    pub embedder: Option<Box<dyn Embedder>>,
}

/// The core of a server, on its thread.
pub struct Core {
    shared: Arc<Shared>,
    node: Node,
    storage: Storage,
    reactors: Vec<ReactorLink>,
    inbox: Arc<Port<ToCore>>,
    epochs: EpochThread,
    ensemble: Box<dyn Ensemble>,
    output: Output,
    gathered: Submission,
    heard: Vec<PeerEvent>,
    told: Vec<ZabEvent>,
    written: Vec<Run>,
    wake: Signal,
    ticked: Rc<std::cell::Cell<u32>>,
    last_write: Instant,
    /// The log's counts at the last look.
    synced: LogCounters,
    snapshots: Snapshots,
    /// Where the log began when that was last told.
    log_begins: Zxid,
    /// What this server is.
    role: Role,
    /// Since when this server is what it is.
    role_since: Instant,
    /// What the machine had counted at the last look.
    counted: [u64; 6],
    stages: Stages,
    /// When the list of members was written that was compared last.
    list_compared: Option<Zxid>,
    /// How often servers say what none says.
    anomalies: Voice,
    ended: Option<Ended>,
    /// The ensemble that this server joins when its log is at rest, and whether that has a history.
    adopting: Option<(ClusterId, bool)>,
    embedder: Option<Box<dyn Embedder>>,
}

impl Core {
    /// A core that has recovered and looks for a leader in its first turn.
    pub fn new(parts: CoreParts) -> io::Result<Self> {
        let CoreParts { shared, node, log, dir, replayed, inbox, .. } = parts;
        let CoreParts { save_epochs, ensemble, wake, embedder, .. } = parts;
        let snapshots = Snapshots::new(&shared, replayed);
        let epochs = EpochThread::start(save_epochs, log.bell()?)?;
        let cap = shared.config.snapshot_transfer_bytes_per_second;
        Ok(Self {
            shared,
            node,
            storage: Storage::new(log, dir, cap),
            reactors: Vec::new(),
            inbox,
            epochs,
            ensemble,
            output: Output::default(),
            gathered: Submission::default(),
            heard: Vec::new(),
            told: Vec::new(),
            written: Vec::new(),
            wake,
            ticked: Rc::default(),
            last_write: Instant::now(),
            synced: LogCounters::default(),
            snapshots,
            log_begins: Zxid::ZERO,
            role: Role::Alone,
            role_since: Instant::now(),
            counted: [0; 6],
            stages: Stages::default(),
            list_compared: None,
            anomalies: Voice::default(),
            ended: None,
            adopting: None,
            embedder,
        })
    }

    /// Adds a reactor; its number is its place.
    pub fn add_reactor(&mut self, link: ReactorLink) {
        self.reactors.push(link);
    }

    /// Begins to look for a leader. A server that is a quorum by itself leads when this returns.
    pub fn start(&mut self) {
        self.count_looking();
        self.step(ZabEvent::Start);
        self.carry_out();
        while self.node.zab().voters() == 1
            && let Some(epochs) = self.epochs.wait()
        {
            self.step(ZabEvent::EpochsSaved(epochs));
            self.carry_out();
        }
    }

    /// Whether this server leads.
    pub fn is_leading(&self) -> bool {
        self.node.is_leading()
    }

    /// Turns until it is told to stop; then everything acknowledged is durable and sealed.
    pub async fn run(mut self) -> io::Result<Ended> {
        let bell = Doorbell::new(self.storage.log.event_fd())?;
        let event = self.storage.log.event_fd().try_clone_to_owned()?;
        let wake = self.wake.clone();
        runtime::spawn(async move {
            while bell.rung().await.is_ok() {
                let _ = rustix::io::read(&event, &mut [0_u8; 8]); // rung: there is something
                wake.notify();
            }
        });
        self.spawn_clock();
        let (wake, inbox, taken) = (self.wake.clone(), Arc::clone(&self.inbox), Signal::default());
        let taken_here = taken.clone();
        runtime::spawn(async move {
            let Ok(receiver) = Receiver::new(&inbox) else { return };
            while receiver.wait().await.is_ok() {
                wake.notify();
                taken_here.wait().await;
            }
        });
        loop {
            self.wake.wait().await;
            self.turn();
            taken.notify();
            if let Some(ended) = self.ended.take() {
                self.ensemble.stop();
                self.stop(&ended);
                return Ok(self.adopted(ended));
            }
        }
    }

    fn spawn_clock(&self) {
        let tick = match self.shared.config.standing {
            Standing::Alone => TICK_ALONE,
            Standing::Member => TICK_MEMBER,
        };
        let (wake, ticked) = (self.wake.clone(), Rc::clone(&self.ticked));
        runtime::spawn(async move {
            let mut due = Instant::now() + tick;
            loop {
                runtime::sleep(due.saturating_duration_since(Instant::now())).await;
                let mut ticks = ticked.get();
                while due <= Instant::now() {
                    due += tick;
                    ticks += 1;
                }
                ticked.set(ticks.min(TICKS_PER_TURN_MAX));
                wake.notify();
            }
        });
    }

    fn turn(&mut self) {
        for link in &mut self.reactors {
            if let ReactorLink::Remote(inbox, backlog) = link {
                distribute::push_backlog(inbox, backlog); // it may have made room since
            }
        }
        self.hear();
        if self.adopting.is_some() {
            return; // what it heard in the other ensemble's name is nothing to act on
        }
        self.look_at_disk();
        let room = self.storage.room_bytes();
        self.node.step(Event::LogRoom(room), &mut self.output);
        let begins = self.storage.log.begins();
        if self.log_begins != begins {
            self.log_begins = begins;
            self.step(ZabEvent::LogBegins(begins));
        }
        self.gather();
        let ticks = self.ticked.replace(0);
        if 0 < ticks {
            self.compare_lists();
        }
        for _ in 0..ticks {
            self.node.step(Event::Tick(self.clock()), &mut self.output);
            if self.last_write.elapsed() >= IDLE_BEFORE_SEAL && !self.storage.is_busy() {
                self.storage.log.seal();
            }
        }
        self.carry_out();
        self.mind_snapshots(Instant::now());
        self.shared.unapplied_bytes.store(self.node.unapplied_bytes(), Ordering::Relaxed);
        self.tell_where_it_stands();
    }

    fn step(&mut self, event: ZabEvent) {
        self.take_step(Event::Zab(event));
    }

    fn take_step(&mut self, event: Event<'_>) {
        let (applied, began) = (self.output.transactions, Instant::now());
        self.node.step(event, &mut self.output);
        if applied < self.output.transactions {
            self.took(Summary::CommitTime, began);
        }
    }

    /// Takes what peers said. Acknowledgements and commits come before asks.
    fn hear(&mut self) {
        let mut heard = std::mem::take(&mut self.heard);
        self.ensemble.take_events(&mut heard);
        let clock = self.clock();
        for event in heard.drain(..) {
            match event {
                PeerEvent::Received { from, message } => {
                    self.take_step(Event::Heard { from, message, clock });
                }
                PeerEvent::Arriving(from) => self.step(ZabEvent::Arriving(from)),
                PeerEvent::Upstream { peer, rank, asked: None } => {
                    self.step(ZabEvent::Upstream { peer, rank });
                }
                PeerEvent::Upstream { peer, rank, asked: Some(ago) } => {
                    let ticks = (ago.as_millis() / TICK_MEMBER.as_millis()) as u64;
                    self.step(ZabEvent::AskedUpstream { peer, rank, ticks });
                }
                PeerEvent::Asked(from) => self.step(ZabEvent::Asked(from)),
                PeerEvent::Disconnected(peer) => self.step(ZabEvent::Disconnected(peer)),
                PeerEvent::Adopt { cluster, firm } => self.adopt(cluster, firm),
            }
        }
        self.heard = heard;
    }

    /// This server is new and the others have an ensemble already: it becomes theirs. Where that
    /// has a history, this server may have lost its part of it, and copies it before it votes.
    fn adopt(&mut self, cluster: ClusterId, firm: bool) {
        if self.ended.is_some() || !self.storage.dir().is_tentative() {
            return;
        }
        info!(copies_first = firm, "joining the ensemble that the others belong to");
        (self.adopting, self.ended) = (Some((cluster, firm)), Some(Ended::Reopen));
    }

    /// Makes the directory the other ensemble's. Only when nothing is written any more: a cut of the log
    /// that was under way would say, in the old one's name, where the history ends.
    fn adopted(&mut self, ended: Ended) -> Ended {
        let Some((cluster, firm)) = self.adopting.take() else { return ended };
        // What is being saved says that too.
        while self.epochs.wait().is_some() {}
        match self.storage.dir().adopt(cluster, firm) {
            Ok(()) => ended,
            Err(cause) => Ended::Halted(cause.to_string()),
        }
    }

    fn look_at_disk(&mut self) {
        while let Some(epochs) = self.epochs.saved() {
            self.step(ZabEvent::EpochsSaved(epochs));
        }
        self.turn_storage();
    }

    /// Lets the disk go on, and tells the machine what it has done. Whether that was anything.
    fn turn_storage(&mut self) -> bool {
        let mut told = std::mem::take(&mut self.told);
        let result = self.storage.turn(&mut told, &mut self.written);
        let any = !told.is_empty();
        if told.iter().any(|event| matches!(event, ZabEvent::Durable { .. })) {
            self.count_syncs();
        }
        for event in told.drain(..) {
            match &event {
                ZabEvent::Durable { upto, .. } => {
                    let counters = self.shared.counters.core();
                    self.stages.durable(*upto, counters);
                }
                ZabEvent::Truncated { .. } => self.stages.forget(),
                _others => {}
            }
            self.step(event);
        }
        self.told = told;
        self.count_written();
        if let Err(damage) = result {
            self.ended.get_or_insert(Ended::Halted(damage));
        }
        any
    }

    /// Notes what something took that began then.
    fn took(&self, what: Summary, began: Instant) {
        let counters = self.shared.counters.core();
        counters.record(what, began.elapsed().as_micros() as u64);
    }

    fn clock(&self) -> Clock {
        let mono_ms = self.shared.started.elapsed().as_millis() as i64;
        Clock { mono_ms, wall_ms: wall_ms() }
    }

    /// Takes what reactors ask. Messages of the inbox keep their order.
    fn gather(&mut self) {
        let clock = self.clock();
        for at in 0..self.reactors.len() {
            let ReactorLink::Local(reactor) = &self.reactors[at] else { continue };
            reactor.borrow_mut().swap_submission(&mut self.gathered);
            self.submit(clock);
        }
        for _ in 0..MESSAGES_PER_TURN {
            let message = self.inbox.pop();
            if self.shared.is_stop_asked.load(Ordering::SeqCst) {
                self.ended.get_or_insert(Ended::Stopped);
            }
            match message {
                None => return,
                Some(ToCore::Submitted(submission)) => {
                    self.gathered = submission;
                    self.submit(clock);
                }
                Some(ToCore::Question(question, back)) => self.answer(question, &back),
                Some(ToCore::Admin(request, back)) => self.administer(request, &back),
                Some(ToCore::SnapshotDone(result)) => self.snapshot_done(result),
                Some(ToCore::Adopt(stream)) => self.take_in(stream),
                Some(ToCore::Stop) => {} // seen above
            }
        }
        self.wake.notify(); // there may be more
    }

    fn submit(&mut self, clock: Clock) {
        if self.gathered.is_empty() {
            return;
        }
        let (submission, began) = (&self.gathered, Instant::now());
        self.node.step(Event::Submitted { submission, clock }, &mut self.output);
        self.took(Summary::PrepTime, began);
        let counters = self.shared.counters.core();
        counters.add(Counter::PrepQueued, submission.items().len() as u64);
        counters.record(Summary::PrepQueueSize, submission.items().len() as u64);
        // First counted here, then no longer there: never too little.
        self.shared.unapplied_bytes.store(self.node.unapplied_bytes(), Ordering::Relaxed);
        self.shared.in_transit_bytes.fetch_sub(submission.body_bytes(), Ordering::Relaxed);
        self.gathered.clear();
    }

    /// Does what the machine asked for, and tells those who wait.
    fn carry_out(&mut self) {
        loop {
            let mut actions = std::mem::take(&mut self.output.actions);
            let any = !actions.is_empty();
            for action in actions.drain(..) {
                self.perform(action);
            }
            self.output.actions = actions; // empty, with its memory
            if any && self.turn_storage() {
                continue;
            }
            // The log takes what was proposed since: a run is as long as the disk was busy. Where
            // nothing can be added, nothing is waited for: a leader whose disk hangs could not hand
            // over, as the others would not get what it still has to give them.
            let gathers = self.node.zab().proposable().is_some();
            match self.node.proposable() {
                Some((bytes, first)) if !gathers || self.storage.is_ready(bytes, first) => {
                    let began = Instant::now();
                    self.node.propose(&mut self.output);
                    self.took(Summary::ProposalTime, began);
                }
                Some(_) | None if self.output.actions.is_empty() => break,
                Some(_) | None => {}
            }
        }
        self.mind_end();
        for warning in self.output.warnings.drain(..) {
            warn!("{warning}");
        }
        self.count_decided();
        if self.output.is_empty() {
            return;
        }
        self.snapshots.transactions += self.output.transactions;
        let counters = self.shared.counters.core();
        counters.add(Counter::Commits, self.output.transactions);
        if self.shared.config.standing == Standing::Member {
            counters.add(Counter::RequestsCommitQueued, self.output.transactions);
        }
        if 0 < self.output.transactions {
            // By the clocks of two servers, as ZooKeeper counts it; those of the future count as now.
            let ago_ms = (wall_ms() - self.output.applied_time_ms).max(0) as u64;
            let times = self.output.transactions;
            counters.record_many(Summary::PropagationLatency, 1000 * ago_ms, times);
            self.stages.applied(self.node.applied(), counters);
        }
        // Before anybody is told: who waits for room looks at this when it is.
        self.shared.unapplied_bytes.store(self.node.unapplied_bytes(), Ordering::Relaxed);
        self.distribute();
        self.output.clear();
    }

    fn perform(&mut self, action: Action) {
        if let Action::Append { run, .. } = &action {
            let (leads, began) = (matches!(self.role, Role::Leading(_)), Instant::now());
            let counters = self.shared.counters.core();
            self.stages.appended(run, leads, counters);
            self.storage.order(&action);
            return self.took(Summary::SyncTime, began);
        }
        if self.storage.order(&action) {
            return;
        }
        match action {
            Action::Send { to, message } => {
                self.count_sync(&message);
                self.ensemble.send(to, &message);
            }
            Action::SaveEpochs(epochs) => {
                let rejoining = self.node.zab().membership() == Membership::Rejoining;
                self.epochs.save(epochs, rejoining);
            }
            Action::Became(role) => self.became(role),
            Action::Refused { peer, anomaly } => {
                if let Some(unsaid) = self.anomalies.failure(Instant::now()) {
                    warn!(%peer, ?anomaly, unsaid, "a server says what no server says: its session is begun anew");
                }
            }
            // The machine has done its part with these, and the storage its own with the others.
            Action::Committed(_)
            | Action::Confirmed(_)
            | Action::ConfirmsFailed
            | Action::Requested { .. }
            | Action::Responded(_)
            | Action::Halt(_)
            | Action::Append { .. }
            | Action::Flush { .. }
            | Action::Truncate { .. }
            | Action::ReadLog { .. }
            | Action::ReadSnapshot { .. }
            | Action::StoreSnapshot { .. } => {}
        }
    }

    fn became(&mut self, role: Role) {
        let before = std::mem::replace(&mut self.role, role);
        let since = std::mem::replace(&mut self.role_since, Instant::now());
        self.stages.forget();
        if before == Role::Alone && role != Role::Alone {
            self.took(Summary::ElectionTime, since);
            self.took(Summary::UnavailableTime, since);
        }
        if self.shared.config.standing == Standing::Alone {
            return;
        }
        match role {
            Role::Alone => {
                self.count_looking();
                let what = match self.shared.config.on_partition {
                    OnPartition::Bounded | OnPartition::Serve => "reads go on, writes wait",
                    OnPartition::ReadOnly => "connections end, those for reading only are taken",
                    OnPartition::Disconnect => "connections end",
                };
                info!("without a leader: {what}");
                return;
            }
            Role::Leading(epoch) => info!(epoch = epoch.0, "leading"),
            Role::Following(leader, epoch) => info!(%leader, epoch = epoch.0, "following"),
        }
        // A history that a quorum has belongs to this ensemble and to none else.
        if self.storage.dir().is_tentative() {
            if let Err(cause) = self.storage.dir().make_firm() {
                self.ended = Some(Ended::Halted(cause.to_string()));
                return;
            }
            self.ensemble.made_firm();
        }
    }

    fn mind_end(&mut self) {
        if let Some(reason) = self.output.halt.take() {
            self.ended = Some(Ended::Halted(reason));
        } else if std::mem::take(&mut self.output.reopen) {
            info!("the state on disk is the leader's now: reading it");
            self.ended = Some(Ended::Reopen);
        }
    }

    /// Makes everything durable and says so on disk; then the connections end.
    fn stop(&mut self, ended: &Ended) {
        // What replaces the state is to be read, and not to be written behind.
        if *ended == Ended::Stopped {
            self.finish_writes();
        }
        self.storage.log.wait_all();
        for link in &mut self.reactors {
            match link {
                ReactorLink::Local(reactor) => {
                    connection::flush_dirty(reactor);
                    reactor.borrow_mut().finish_all();
                }
                ReactorLink::Remote(inbox, backlog) => {
                    backlog.push_back(ToReactor::Stop);
                    let asked = Instant::now();
                    while !backlog.is_empty() && asked.elapsed() < STOP_PATIENCE {
                        distribute::push_backlog(inbox, backlog);
                        std::thread::yield_now(); // nothing else is left to do on this thread
                    }
                }
            }
        }
    }

    fn finish_writes(&mut self) {
        while let Some(epochs) = self.epochs.wait() {
            self.step(ZabEvent::EpochsSaved(epochs));
        }
        while self.node.proposable().is_some() || self.storage.is_busy() {
            self.node.propose(&mut self.output);
            self.carry_out();
            let mut told = Vec::new();
            let finished = self.storage.finish(&mut told, &mut self.written);
            let idle = told.is_empty();
            for event in told {
                self.step(event);
            }
            self.carry_out();
            if idle || finished.is_err() {
                break; // the disk is full or broken; what is left was promised to nobody
            }
        }
        self.storage.log.seal();
    }
}

#[cfg(test)]
mod tests;
