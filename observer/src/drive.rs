//! The core thread: gathers events, steps the machine, carries out what comes of it.
//!
//! ```text
//! reactors' asks ─┐                       ┌─► log.submit (one durable write per batch)
//! log completions ├─► Node::step ─► Output┼─► reactors: events, replies
//! ticks ──────────┘                       └─► epochs, snapshots, purges
//! ```
//!
//! Acknowledged records first, then asks, then time; everything that is ready at once. Nothing
//! awaits between reading the machine's state and changing it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use farwatch_core::log::epochs::Epochs;
use farwatch_core::node::submission::Submission;
use farwatch_core::node::{Clock, Event, Node, Output};
use farwatch_core::record;
use farwatch_core::record::run::{Position, Run};
use farwatch_core::snapshot::format::SessionImage;
use farwatch_core::zxid::Zxid;
use tracing::{error, info, warn};

use crate::config::Standing;
use crate::connection;
use crate::data_dir::DataDir;
use crate::four_letter::counters::{Counter, Summary};
use crate::four_letter::server::Mode;
use crate::inbox::{OwnedDelivery, Snapshot, ToCore, ToReactor};
use crate::log_file::{LogCounters, LogFile};
use crate::port::{Port, Receiver};
use crate::reactor::{ConnectionKey, Delivery, Reactor};
use crate::recover::SnapshotJob;
use crate::report::{CoreReport, Part, Question};
use crate::runtime::{self, Doorbell, Signal};
use crate::server::{Shared, random, wall_ms};
use crate::snapshot_file;

/// Between two ticks of the machine.
const TICK: Duration = Duration::from_millis(50);

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

/// Makes a pair of epochs durable. Whoever decides gives it; it ends the process when it cannot.
pub type SaveEpochs = Box<dyn FnMut(Epochs)>;

/// The core of a server, on its thread.
pub struct Core {
    shared: Arc<Shared>,
    node: Node,
    log: LogFile,
    dir: DataDir,
    reactors: Vec<ReactorLink>,
    inbox: Arc<Port<ToCore>>,
    save_epochs: SaveEpochs,
    output: Output,
    gathered: Submission,
    wake: Signal,
    ticked: Rc<std::cell::Cell<bool>>,
    last_write: Instant,
    /// The log's counts at the last look.
    synced: LogCounters,
    snapshots: Snapshots,
    stopping: bool,
}

/// When the next snapshot is due.
struct Snapshots {
    running: bool,
    transactions: u64,
    log_bytes: u64,
    /// Thresholds of this round, with jitter, so that servers do not all write at once.
    due_transactions: u64,
    due_log_bytes: u64,
}

impl Snapshots {
    fn new(shared: &Shared, replayed: u64) -> Self {
        let mut snapshots = Self {
            running: false,
            transactions: replayed,
            log_bytes: 0,
            due_transactions: 0,
            due_log_bytes: 0,
        };
        snapshots.draw(shared);
        snapshots
    }

    /// Between half of what is configured and all of it, as ZooKeeper draws it.
    fn draw(&mut self, shared: &Shared) {
        let draw = |limit: u64| {
            let half = limit / 2;
            half + u64::from_ne_bytes(random()) % (limit - half).max(1)
        };
        self.due_transactions = draw(u64::from(shared.config.snapshot_txns)).max(1);
        self.due_log_bytes = match shared.config.snapshot_log_bytes {
            0 => u64::MAX,
            limit => draw(limit),
        };
    }

    fn is_due(&self) -> bool {
        !self.running
            && 0 < self.transactions
            && (self.due_transactions <= self.transactions || self.due_log_bytes <= self.log_bytes)
    }
}

impl Core {
    /// A core that has recovered and looks for a leader in its first turn.
    #[allow(clippy::too_many_arguments, reason = "each is another part of the server")]
    pub fn new(
        shared: Arc<Shared>,
        node: Node,
        log: LogFile,
        dir: DataDir,
        replayed: u64,
        inbox: Arc<Port<ToCore>>,
        save_epochs: SaveEpochs,
        wake: Signal,
    ) -> Self {
        let snapshots = Snapshots::new(&shared, replayed);
        Self {
            shared,
            node,
            log,
            dir,
            reactors: Vec::new(),
            inbox,
            save_epochs,
            output: Output::default(),
            gathered: Submission::default(),
            wake,
            ticked: Rc::default(),
            last_write: Instant::now(),
            synced: LogCounters::default(),
            snapshots,
            stopping: false,
        }
    }

    /// Adds a reactor; its number is its place.
    pub fn add_reactor(&mut self, link: ReactorLink) {
        self.reactors.push(link);
    }

    /// Elects: returns when this server leads, or when it cannot by itself.
    pub fn start(&mut self) {
        self.node.step(Event::Start, &mut self.output);
        self.carry_out();
    }

    /// Whether this server leads.
    pub fn is_leading(&self) -> bool {
        self.node.is_leading()
    }

    /// Turns until it is told to stop; then everything acknowledged is durable and sealed.
    pub async fn run(mut self) -> std::io::Result<()> {
        let bell = Doorbell::new(self.log.event_fd())?;
        let event = self.log.event_fd().try_clone_to_owned()?;
        let wake = self.wake.clone();
        runtime::spawn(async move {
            while bell.rung().await.is_ok() {
                let _ = rustix::io::read(&event, &mut [0_u8; 8]); // rung: there is something
                wake.notify();
            }
        });
        let (wake, ticked) = (self.wake.clone(), Rc::clone(&self.ticked));
        runtime::spawn(async move {
            loop {
                runtime::sleep(TICK).await;
                ticked.set(true);
                wake.notify();
            }
        });
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
            if self.stopping {
                self.stop();
                return Ok(());
            }
        }
    }

    fn turn(&mut self) {
        for link in &mut self.reactors {
            if let ReactorLink::Remote(inbox, backlog) = link {
                push_backlog(inbox, backlog); // it may have made room since the last turn
            }
        }
        if let Some(upto) = self.log.completed() {
            self.node.step(Event::Durable(upto), &mut self.output);
            self.count_syncs();
        }
        let room = self.log.room_bytes();
        self.node.step(Event::LogRoom(room), &mut self.output);
        self.gather();
        if self.ticked.replace(false) {
            self.node.step(Event::Tick(self.clock()), &mut self.output);
            if self.last_write.elapsed() >= IDLE_BEFORE_SEAL {
                self.log.seal();
            }
        }
        self.carry_out();
        if self.snapshots.is_due() {
            self.begin_snapshot();
        }
        self.shared.unapplied_bytes.store(self.node.unapplied_bytes(), Ordering::Relaxed);
    }

    /// Notes what the durable writes since the last look took.
    fn count_syncs(&mut self) {
        let (before, now) = (self.synced, self.log.counters());
        let writes = now.writes - before.writes;
        let took_us = (now.write_time - before.write_time).as_micros() as u64;
        if let Some(took_us) = took_us.checked_div(writes) {
            let counters = self.shared.counters.thread(self.reactors.len());
            counters.record_many(Summary::FsyncTime, took_us, writes);
        }
        self.synced = now;
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
            match self.inbox.pop() {
                None => return,
                Some(ToCore::Submitted(submission)) => {
                    self.gathered = submission;
                    self.submit(clock);
                }
                Some(ToCore::Question(question, back)) => self.answer(question, &back),
                Some(ToCore::SnapshotDone(result)) => self.snapshot_done(result),
                Some(ToCore::Stop) => self.stopping = true,
            }
        }
        self.wake.notify(); // there may be more
    }

    fn submit(&mut self, clock: Clock) {
        if self.gathered.is_empty() {
            return;
        }
        let submission = &self.gathered;
        self.node.step(Event::Submitted { submission, clock }, &mut self.output);
        // First counted here, then no longer there: never too little.
        self.shared.unapplied_bytes.store(self.node.unapplied_bytes(), Ordering::Relaxed);
        self.shared.in_transit_bytes.fetch_sub(submission.body_bytes(), Ordering::Relaxed);
        self.gathered.clear();
    }

    /// Does what the machine asked for, and tells those who wait.
    fn carry_out(&mut self) {
        while let Some(epochs) = self.output.save_epochs.take() {
            (self.save_epochs)(epochs);
            self.node.step(Event::EpochsSaved(epochs), &mut self.output);
        }
        while let Some((bytes, first)) = self.node.waiting_batch() {
            // A full disk is met again at the next look, and new writes are refused meanwhile.
            if self.log.ready_for(bytes, first) != Ok(true) {
                break;
            }
            let batch = self.node.next_batch().expect("it was waiting");
            self.snapshots.log_bytes += batch.records.len() as u64;
            self.last_write = Instant::now();
            let counters = self.shared.counters.thread(self.reactors.len());
            for bytes in record::lengths(&batch.records) {
                counters.add(Counter::Proposals, 1);
                counters.proposal_size(bytes);
            }
            let upto = Position { zxid: batch.last, chain: batch.chain };
            let run = Run::own(self.log.position(), upto, batch.records.as_slice().into());
            let handed = self.log.submit(&run);
            if handed.is_err() {
                // The machine refuses writes before the log is full, so this is the disk running
                // full between two looks. Nothing of the batch was promised to anybody.
                self.node.batch_not_taken();
                break;
            }
        }
        for warning in self.output.warnings.drain(..) {
            warn!("{warning}");
        }
        if self.output.is_empty() {
            return;
        }
        self.snapshots.transactions += self.output.transactions;
        let counters = self.shared.counters.thread(self.reactors.len());
        counters.add(Counter::Commits, self.output.transactions);
        // Before anybody is told: who waits for room looks at this when it is.
        self.shared.unapplied_bytes.store(self.node.unapplied_bytes(), Ordering::Relaxed);
        self.distribute();
        self.output.clear();
    }

    fn distribute(&mut self) {
        let upto = self.node.applied();
        let mut replies: Vec<Vec<_>> = Vec::new();
        let alone = self.reactors.len() == 1;
        if !alone {
            replies.resize_with(self.reactors.len(), Vec::new);
            for reply in &self.output.replies {
                replies[usize::from(reply.origin.reactor)].push(*reply);
            }
        }
        let mut displaced: Vec<Vec<(ConnectionKey, _)>> = vec![Vec::new(); self.reactors.len()];
        for &(origin, session) in &self.output.displaced {
            let key = ConnectionKey { index: origin.connection, generation: origin.generation };
            displaced[usize::from(origin.reactor)].push((key, session));
        }
        if let ([ReactorLink::Local(reactor)], true) = (&self.reactors[..], alone) {
            reactor.borrow_mut().deliver(Delivery {
                upto,
                events: self.output.events(),
                replies: &self.output.replies,
                bytes: &self.output.bytes,
                closed: &self.output.closed,
                displaced: &displaced[0],
            });
            connection::flush_dirty(reactor);
            return;
        }
        let events = Arc::new(std::mem::take(&mut self.output.applied.events));
        let bytes = Arc::new(std::mem::take(&mut self.output.bytes));
        let closed: Arc<[_]> = self.output.closed.as_slice().into();
        let each = self.reactors.iter_mut().zip(replies).zip(displaced);
        for ((link, replies), displaced) in each {
            let delivery = OwnedDelivery {
                upto,
                events: Arc::clone(&events),
                replies,
                bytes: Arc::clone(&bytes),
                closed: Arc::clone(&closed),
                displaced,
            };
            match link {
                ReactorLink::Local(reactor) => {
                    reactor.borrow_mut().deliver(delivery.borrow());
                    connection::flush_dirty(reactor);
                }
                ReactorLink::Remote(inbox, backlog) => {
                    backlog.push_back(ToReactor::Deliver(delivery));
                    push_backlog(inbox, backlog);
                }
            }
        }
        self.shared.set_visible(upto);
    }

    fn answer(&mut self, question: Question, back: &Arc<Port<Part>>) {
        if question != Question::Core {
            return;
        }
        let wall = wall_ms() - self.clock().mono_ms;
        let mut sessions: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        for (id, due_ms) in self.node.expiry().iter() {
            sessions.entry(wall + due_ms).or_default().push(id);
        }
        let ephemerals = self
            .node
            .writer()
            .sessions_with_ephemerals()
            .map(|(session, _count)| {
                let paths = self.node.writer().ephemerals(session);
                (session, paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
            })
            .collect();
        let report = CoreReport {
            mode: match self.shared.config.standing {
                Standing::Alone => Mode::Standalone,
                Standing::Member => Mode::Leader,
            },
            is_serving: self.node.is_leading(),
            sessions,
            ephemerals,
            digests: self.node.digests().collect(),
        };
        // The asker made room for every part.
        let _ = back.push(Part::Core(report));
    }

    fn begin_snapshot(&mut self) {
        self.snapshots.running = true;
        self.snapshots.transactions = 0;
        self.snapshots.log_bytes = 0;
        self.snapshots.draw(&self.shared);
        let job = SnapshotJob {
            zxid: self.node.applied(),
            chain: self.node.applied_chain(),
            digest: self.node.writer().digest(),
            reader: self.node.tree().reader(),
            sessions: self
                .node
                .sessions()
                .iter()
                .map(|(id, state)| SessionImage {
                    id,
                    timeout_ms: state.timeout_ms,
                    password: state.password,
                })
                .collect(),
        };
        let (dir, inbox, shared) =
            (self.dir.clone(), Arc::clone(&self.inbox), Arc::clone(&self.shared));
        let thread_index = self.reactors.len();
        let write = move || {
            let started = Instant::now();
            let zxid = job.zxid;
            let keep = shared.config.autopurge.snapshots_retained as usize;
            let purges = shared.config.autopurge.interval_ms != 0;
            let result = job.write(&dir).map_err(|error| error.to_string()).map(|_| {
                // Old snapshots are read whole before one is counted as good, so this belongs here
                // and not on the core's thread.
                let log_from = if purges { purge(&dir, keep) } else { None };
                Snapshot { zxid, log_from }
            });
            let took = started.elapsed().as_micros() as u64;
            shared.counters.thread(thread_index).record(Summary::SnapshotTime, took);
            let mut message = ToCore::SnapshotDone(result);
            while let Err(back) = inbox.push(message) {
                message = back;
                std::thread::yield_now();
            }
        };
        let builder = std::thread::Builder::new().name("farwatch-snapshot".to_owned());
        if let Err(cause) = builder.spawn(write) {
            self.snapshot_done(Err(format!("its thread cannot be started: {cause}")));
        }
    }

    fn snapshot_done(&mut self, result: Result<Snapshot, String>) {
        self.snapshots.running = false;
        match result {
            Ok(Snapshot { zxid, log_from }) => {
                info!(%zxid, "snapshot written");
                if let Some(from) = log_from {
                    self.log.purge(from);
                }
            }
            Err(cause) => {
                self.shared.counters.thread(self.reactors.len()).add(Counter::SnapshotErrors, 1);
                error!("a snapshot failed and will be tried again later: {cause}");
            }
        }
    }

    /// Makes everything durable and says so on disk; then the connections end.
    fn stop(&mut self) {
        loop {
            let waiting = self.node.waiting_batch();
            if waiting.is_none() && !self.node.has_unapplied() {
                break;
            }
            if let Some((bytes, first)) = waiting
                && self.log.wait_ready(bytes, first).is_err()
            {
                break; // the disk is full; what is left was promised to nobody
            }
            self.carry_out();
            if let Some(upto) = self.log.wait_all() {
                self.node.step(Event::Durable(upto), &mut self.output);
                self.carry_out();
            }
        }
        self.log.seal();
        self.log.wait_all();
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
                        push_backlog(inbox, backlog);
                        std::thread::yield_now(); // nothing else is left to do on this thread
                    }
                }
            }
        }
    }
}

/// Removes snapshots beyond those to keep; what the log must keep for the oldest of these.
fn purge(dir: &DataDir, keep: usize) -> Option<Zxid> {
    snapshot_file::purge(dir, keep).unwrap_or_else(|cause| {
        warn!("old snapshots cannot be purged: {cause}");
        None
    })
}

fn push_backlog(inbox: &Port<ToReactor>, backlog: &mut VecDeque<ToReactor>) {
    while let Some(message) = backlog.pop_front() {
        if let Err(back) = inbox.push(message) {
            backlog.push_front(back);
            return;
        }
    }
}

#[cfg(test)]
mod tests;
