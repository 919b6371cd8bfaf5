//! The cluster: a queue of what happens when, and the servers it happens to.

mod answers;
mod calm;
mod faults;
mod last_act;
mod load;
mod serving;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use farwatch_core::prng::Prng;
use farwatch_core::zab::Event;
use farwatch_core::zab::message::Message;
use farwatch_core::zab::mutant::Mutant;
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zxid::ServerId;

use crate::client::Client;
use crate::disk::{Completion, Disk};
use crate::history::History;
use crate::network::Network;
use crate::plan::{LAST_ACT_US, LastAct, Plan};
use crate::reactor::ConnectionId;
use crate::request::{ToClient, ToServer};
use crate::server::Server;
use crate::trace::Trace;
use crate::witness::{Violation, Witness};

pub use calm::UNANSWERED_US;
use last_act::Act;
use load::Wire;
use serving::Said;
pub use serving::Word;

/// Between two looks of a server at its links. Source: `observer/src/peers.rs`.
const SWEEP_US: u64 = 100_000;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Happening {
    Tick {
        server: usize,
        life: u64,
    },
    Arrival {
        from: usize,
        to: usize,
        said: Said,
        bytes: Arc<[u8]>,
        /// Of its link, when it was sent.
        breaks: u64,
    },
    /// A part of a message is there that is whole at `until`.
    Arriving {
        from: usize,
        to: usize,
        until: u64,
        breaks: u64,
    },
    LinkBroke {
        server: usize,
        life: u64,
        peer: ServerId,
    },
    WriteDone {
        server: usize,
        life: u64,
        number: u64,
    },
    /// A completion that needs no more of the disk.
    Told {
        server: usize,
        life: u64,
        completion: Completion,
    },
    LogRead {
        server: usize,
        life: u64,
        ticket: u64,
        from: u64,
        bytes_max: u64,
    },
    SnapshotRead {
        server: usize,
        life: u64,
        ticket: u64,
        offset: u64,
    },
    Start {
        server: usize,
    },
    Client {
        client: usize,
    },
    ToServer {
        server: usize,
        id: ConnectionId,
        message: ToServer,
    },
    ToClient {
        client: usize,
        id: ConnectionId,
        message: ToClient,
    },
    /// The core looks at what its connections asked.
    Submit {
        server: usize,
        life: u64,
    },
    Fault,
    /// Of one that is lost while another lags.
    DiskLost {
        server: usize,
    },
    LeaderLost,
    Healed,
    LastAct(LastAct),
    /// A look at how far it is.
    Act,
    Calm,
}

/// What a run came to.
#[derive(Debug)]
pub struct Verdict {
    pub seed: u64,
    pub plan: Plan,
    pub violations: Vec<Violation>,
    pub hash: u64,
    pub events: u64,
    /// Actions of all machines that were carried out.
    pub actions: u64,
    pub committed: usize,
    pub answered: usize,
    pub epochs: usize,
    pub end_us: u64,
    /// Microseconds from the end of faults to the next answered write.
    pub recovered_us: Option<u64>,
    /// The longest time between two answers after that.
    pub unanswered_us: u64,
    pub lines: Vec<String>,
}

/// What clients of a scenario were told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub reads_answered: u64,
    /// Connections that were lost, and reads that came to nothing.
    pub reads_failed: u64,
    pub told_over: u64,
    pub told_open: u64,
}

pub struct Cluster {
    pub seed: u64,
    pub plan: Plan,
    pub prng: Prng,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    pub servers: Vec<Server>,
    pub network: Network,
    pub clients: Vec<Client>,
    wires: BTreeMap<ConnectionId, Wire>,
    connections: ConnectionId,
    pub history: History,
    pub witness: Witness,
    pub trace: Trace,
    pub quorum: Quorum,
    pub calm: bool,
    /// The last act, from its beginning on.
    act: Option<Act>,
    /// Microseconds at which a write that began after the calm was answered.
    pub recovered_at: Option<u64>,
    /// When the last such write was answered, and the longest that one was not.
    answered_at: Option<u64>,
    /// When a write that began in the calm was last decided, and refused.
    refused_at: Option<u64>,
    unanswered_us: u64,
    /// Until then whoever tries to lead may die.
    danger_until: u64,
    actions: u64,
    unled_ticks: BTreeMap<usize, u64>,
    mutant: Option<Mutant>,
    /// Clients act only when a scenario says so.
    pub idle_clients: bool,
    /// How many writes were asked that take long over a link with a rate, and at which servers in the calm.
    long_writes: u64,
    long_writes_in_calm: BTreeSet<usize>,
    /// Those of a scenario that only read, and where.
    pub readers: BTreeMap<usize, usize>,
    /// What became of what they ask.
    pub tally: Tally,
}

impl Cluster {
    pub fn new(seed: u64, plan: Plan, mutant: Option<Mutant>, keeps_lines: bool) -> Self {
        let mut prng = Prng::new(seed);
        let quorum = Quorum::majority((1..=plan.voters as u32).map(ServerId));
        let servers = (0..plan.voters + plan.learners)
            .map(|index| {
                let skew = plan.tick_us * plan.skew_percent / 100;
                Server {
                    id: ServerId(index as u32 + 1),
                    votes: index < plan.voters,
                    left_out: false,
                    core: true,
                    life: 0,
                    process: None,
                    disk: Disk::new(mutant),
                    tick_us: plan.tick_us - skew / 2 + prng.below(skew + 1),
                    frozen_until: 0,
                    stuck_until: 0,
                    log_stuck_until: 0,
                    part_stored_at: 0,
                    full_until: 0,
                    clock_stopped_until: 0,
                    log_busy_until: 0,
                }
            })
            .collect();
        let mut cluster = Self {
            seed,
            prng,
            now: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
            servers,
            network: Network::new(plan.weather),
            clients: Vec::new(),
            wires: BTreeMap::new(),
            connections: 0,
            history: History::default(),
            witness: Witness::default(),
            trace: Trace::new(keeps_lines),
            quorum,
            calm: false,
            act: None,
            recovered_at: None,
            answered_at: None,
            refused_at: None,
            unanswered_us: 0,
            danger_until: 0,
            actions: 0,
            unled_ticks: BTreeMap::new(),
            mutant,
            idle_clients: false,
            long_writes: 0,
            long_writes_in_calm: BTreeSet::new(),
            readers: BTreeMap::new(),
            tally: Tally::default(),
            plan,
        };
        cluster.narrow_links();
        cluster.furnish();
        cluster
    }

    /// The links between learners that are far away and voters.
    fn narrow_links(&mut self) {
        for learner in self.plan.voters..self.servers.len() {
            if let Some(rate) = self.plan.rate_of(learner) {
                (0..self.plan.voters).for_each(|voter| self.network.narrow(voter, learner, rate));
            }
        }
    }

    fn furnish(&mut self) {
        for server in 0..self.servers.len() {
            let at = self.prng.below(50_000);
            self.schedule(at, Happening::Start { server });
        }
        self.drawn_clients();
        if self.plan.fault_us > 0 {
            self.schedule(self.plan.fault_us, Happening::Fault);
        }
        let calm_at = self.plan.calm_at_us;
        if let Some(act) = self.plan.last_act {
            self.schedule(calm_at - LAST_ACT_US, Happening::LastAct(act));
        }
        self.schedule(calm_at, Happening::Calm);
    }

    pub fn schedule(&mut self, at: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), happening);
    }

    /// Runs to the end, or to the first violation.
    pub fn run(mut self) -> Verdict {
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > self.plan.end_us || !self.witness.violations.is_empty() || self.is_done() {
                break;
            }
            let (_, happening) = self.queue.pop_first().expect("it was there");
            self.now = at;
            self.happen(happening);
        }
        self.judge();
        Verdict {
            seed: self.seed,
            violations: std::mem::take(&mut self.witness.violations),
            hash: self.trace.hash(),
            events: self.trace.events(),
            actions: self.actions,
            committed: self.witness.history.len(),
            answered: self.history.answered(),
            epochs: self.witness.established.len(),
            end_us: self.now,
            recovered_us: self.recovered_at.map(|at| at - self.plan.calm_at_us),
            unanswered_us: self.unanswered_us,
            lines: self.trace.lines.take().unwrap_or_default(),
            plan: self.plan,
        }
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, us: u64) {
        let until = self.now + us;
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > until {
                break;
            }
            let (_, happening) = self.queue.pop_first().expect("it was there");
            self.now = at;
            self.happen(happening);
        }
        self.now = until;
    }

    /// The process dies and stays dead until it is started.
    pub fn kill(&mut self, server: usize) {
        if self.servers[server].process.take().is_some() {
            let mut prng = Prng::new(self.prng.next());
            self.servers[server].disk.crash(&mut prng);
            self.servers[server].frozen_until = 0;
            self.connections_end(server);
        }
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            let state = match &server.process {
                None => "down".to_string(),
                Some(process) => {
                    let status = process.zab().status();
                    format!(
                        "{} {} of {:?} epochs {}/{} log {:?} durable {:?} committed {:?}",
                        status.role,
                        status.phase,
                        status.leader,
                        status.epochs.accepted,
                        status.epochs.current,
                        status.log.zxid,
                        status.durable,
                        status.committed
                    )
                }
            };
            text.push_str(&format!("\n    {}: {state}", server.id));
        }
        text
    }

    fn happen(&mut self, happening: Happening) {
        // A process that does not run learns of it when it runs again.
        let (subject, life) = subject_of(&happening);
        if let Some(server) = subject {
            let gone = self.servers[server].process.is_none();
            if life.is_some_and(|life| gone || life != self.servers[server].life) {
                return;
            }
            let until = self.servers[server].frozen_until;
            if until > self.now {
                if let Happening::ToServer { id, .. } = happening {
                    self.wait_on_wire(id, until);
                }
                return self.schedule(until, happening);
            }
        }
        match happening {
            Happening::Tick { server, .. } => {
                let life = self.servers[server].life;
                if self.servers[server].process.is_some() {
                    let at = self.now + self.servers[server].tick_us;
                    self.schedule(at, Happening::Tick { server, life });
                    if self.servers[server].clock_stopped_until <= self.now {
                        self.link_upstreams(server);
                        self.tick(server, false);
                        self.watch_leader(server);
                        self.judge_serving(server);
                    }
                }
            }
            Happening::Arrival { from, to, said, bytes, breaks } => {
                if self.network.breaks((from, to)) == breaks {
                    self.arrive(from, to, said, &bytes);
                }
            }
            Happening::Arriving { from, to, breaks, .. } => {
                if self.network.breaks((from, to)) == breaks {
                    self.trace.note(self.now, 10, to, &[]);
                    self.step(to, Event::Arriving(self.servers[from].id));
                    self.part_arrives(self.now, happening);
                }
            }
            Happening::LinkBroke { server, peer, .. } => {
                self.step(server, Event::Disconnected(peer));
            }
            Happening::WriteDone { server, number, .. } => self.write_done(server, number),
            Happening::Told { server, completion, .. } => self.tell(server, completion),
            Happening::LogRead { server, ticket, from, bytes_max, .. } => {
                let from = farwatch_core::zxid::Zxid(from);
                match self.servers[server].disk.read(from, bytes_max) {
                    Ok((at, run)) => self.step(server, Event::LogRead { ticket, at, run }),
                    Err(damage) => self.met_damage(server, damage),
                }
            }
            Happening::SnapshotRead { server, ticket, offset, .. } => {
                match self.servers[server].disk.read_snapshot(ticket, offset) {
                    Ok((at, bytes, end)) => {
                        let read = Event::SnapshotRead { ticket, at, offset, bytes, end };
                        self.step(server, read);
                    }
                    Err(damage) => self.met_damage(server, damage),
                }
            }
            Happening::Start { server } => self.start(server),
            Happening::Client { client } => self.client_acts(client),
            Happening::ToServer { server, id, message } => self.server_hears(server, id, message),
            Happening::ToClient { client, id, message } => self.client_hears(client, id, message),
            Happening::Submit { server, .. } => self.submit(server),
            Happening::Fault => self.strike(),
            Happening::DiskLost { server } => self.disk_lost_while_one_lags(server),
            Happening::LeaderLost => self.leader_lost_while_one_lags(),
            Happening::Healed => self.healed(),
            Happening::LastAct(act) => self.last_act_begins(act),
            Happening::Act => self.act(),
            Happening::Calm => self.calm_down(),
        }
    }

    fn arrive(&mut self, from: usize, to: usize, said: Said, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("what was encoded is decoded");
        self.trace.note(self.now, 1, to, bytes);
        if self.servers[to].process.is_none() {
            return;
        }
        if self.trace.lines.is_some() && is_telling(&message) {
            let (from, to) = (self.servers[from].id, self.servers[to].id);
            self.trace.line(self.now, format_args!("{from} → {to}  {}", brief(&message)));
        }
        let id = self.servers[from].id;
        let before = self.before(to);
        self.step(to, Event::Received { from: id, message: message.clone() });
        self.note_heard((from, to), (said, before), &message);
    }

    /// At the next look at its links a server sees that a message has come in part, if it is not whole by then.
    pub(super) fn part_arrives(&mut self, since: u64, arriving: Happening) {
        let Happening::Arriving { until, .. } = arriving else { return };
        if since + SWEEP_US < until {
            self.schedule(since + SWEEP_US, arriving);
        }
    }

    /// Whom a learner learns from.
    fn upstreams(&self, server: usize) -> &[usize] {
        let list = server.checked_sub(self.plan.voters).and_then(|at| self.plan.lists.get(at));
        list.map_or(&[], Vec::as_slice)
    }

    /// Links a learner with those of its list that run.
    fn link_upstreams(&mut self, server: usize) {
        for (place, upstream) in (0..).zip(self.upstreams(server).to_vec()) {
            let rank = if self.plan.nearest { 0 } else { place };
            let runs = self.servers[upstream].process.is_some();
            if runs && self.servers[server].process.is_some() {
                let peer = self.servers[upstream].id;
                self.step(server, Event::Upstream { peer, rank });
            }
        }
    }

    pub fn start(&mut self, server: usize) {
        if self.servers[server].process.is_some() || self.servers[server].left_out {
            return;
        }
        let full_until = self.servers[server].full_until;
        if self.now < full_until {
            return self.schedule(full_until, Happening::Start { server });
        }
        if let Err(damage) = self.servers[server].disk.recover() {
            return self.refuse_start(server, damage);
        }
        let seed = self.prng.next();
        let (timing, mutant) = (self.plan.timing, self.mutant);
        let quorum = self.quorum.clone();
        let listed = !self.upstreams(server).is_empty();
        let listed = (listed, &self.plan.services);
        self.servers[server].start(&quorum, listed, timing, (self.now, seed), mutant);
        let (life, id) = (self.servers[server].life, self.servers[server].id);
        let end = self.servers[server].disk.end().zxid;
        let epochs = self.servers[server].disk.epochs;
        self.trace.note(self.now, 2, server, &life.to_le_bytes());
        self.trace.line(self.now, format_args!("{id} starts with {epochs:?}, log up to {end:?}"));
        let at = self.now + self.prng.below(self.servers[server].tick_us);
        self.schedule(at, Happening::Tick { server, life });
        self.step(server, Event::Start);
    }

    /// The process dies; what its disk had not finished may be lost.
    pub fn crash(&mut self, server: usize) {
        if self.servers[server].process.take().is_none() {
            return;
        }
        let id = self.servers[server].id;
        self.trace.note(self.now, 3, server, &[]);
        self.trace.line(self.now, format_args!("{id} crashes"));
        let mut prng = Prng::new(self.prng.next());
        self.servers[server].disk.crash(&mut prng);
        self.servers[server].frozen_until = 0;
        self.unled_ticks.remove(&server);
        self.connections_end(server);
        // Half the time peers notice: the connection is reset. Else the machine is gone.
        if self.prng.one_in(2) {
            for peer in 0..self.servers.len() {
                if peer != server && !self.network.is_cut(server, peer) {
                    let life = self.servers[peer].life;
                    let at = self.now + self.prng.below(2_000);
                    self.schedule(at, Happening::LinkBroke { server: peer, life, peer: id });
                }
            }
        }
        let wait = self.prng.between(1_000, 3_000_000);
        self.schedule(self.now + wait, Happening::Start { server });
    }
}

fn subject_of(happening: &Happening) -> (Option<usize>, Option<u64>) {
    match *happening {
        Happening::Tick { server, life }
        | Happening::LinkBroke { server, life, .. }
        | Happening::WriteDone { server, life, .. }
        | Happening::Told { server, life, .. }
        | Happening::LogRead { server, life, .. }
        | Happening::Submit { server, life }
        | Happening::SnapshotRead { server, life, .. } => (Some(server), Some(life)),
        Happening::Arrival { to, .. } | Happening::Arriving { to, .. } => (Some(to), None),
        Happening::ToServer { server, .. } => (Some(server), None),
        Happening::Start { .. }
        | Happening::Client { .. }
        | Happening::ToClient { .. }
        | Happening::Fault
        | Happening::DiskLost { .. }
        | Happening::LeaderLost
        | Happening::Healed
        | Happening::LastAct(_)
        | Happening::Act
        | Happening::Calm => (None, None),
    }
}

/// Whether a reader of the transcript wants to know.
fn is_telling(message: &Message) -> bool {
    use farwatch_core::zab::message::{ToLeader, ToLearner};
    match message {
        Message::Ballot(_) | Message::Join { .. } | Message::Reset { .. } => true,
        Message::Fetch { .. } | Message::Fetched { .. } => true,
        Message::Seek | Message::Offer(_) => true,
        Message::ToLeader { body, .. } => !matches!(body, ToLeader::Pong(_)),
        Message::ToLearner { body, .. } => !matches!(body, ToLearner::Ping(_) | ToLearner::Age(_)),
    }
}

/// A transcript shows whole requests up to here.
const WHOLE_BYTES: usize = 1024;

fn brief(message: &Message) -> String {
    use farwatch_core::zab::message::{ToLeader, ToLearner};
    match message {
        Message::Ballot(ballot) => format!(
            "ballot round {} {:?} own {:?} vote {:?} heard {:?}",
            ballot.round,
            ballot.stance,
            ballot.own.map(|own| (own.current, own.last)),
            ballot.vote.map(|vote| vote.candidate),
            ballot.heard
        ),
        Message::ToLearner { body: ToLearner::Records { after, bytes }, .. } => {
            format!("records behind {:?}, {} bytes", after.zxid, bytes.len())
        }
        Message::ToLearner { body: ToLearner::Inform { after, bytes }, .. } => {
            format!("inform behind {:?}, {} bytes", after.zxid, bytes.len())
        }
        Message::ToLearner { body: ToLearner::Snapshot { at, offset, end, .. }, .. } => {
            format!("snapshot at {:?} from byte {offset}, end {end}", at.zxid)
        }
        Message::ToLearner { body, .. } => format!("{body:?}"),
        Message::ToLeader {
            body: ToLeader::Promised { epoch, counted, current, last }, ..
        } => {
            let last = last.zxid;
            format!("promise of {epoch}, counted {counted}; in {current}, log up to {last:?}")
        }
        Message::ToLeader { body: ToLeader::Request(bytes), .. } if bytes.len() > WHOLE_BYTES => {
            format!("request, {} bytes", bytes.len())
        }
        Message::ToLeader { body: ToLeader::Relayed(relayed), .. }
            if relayed.bytes.len() > WHOLE_BYTES =>
        {
            format!("request of {} passed on, {} bytes", relayed.server, relayed.bytes.len())
        }
        Message::ToLeader { body, .. } => format!("{body:?}"),
        Message::Seek => "seek".to_owned(),
        Message::Offer(offer) => format!("{offer:?}"),
        Message::Join { join, .. } => format!(
            "join: accepted {}, in {}, log up to {:?}, votes {}",
            join.accepted, join.current, join.last.zxid, join.votes
        ),
        Message::Reset { .. } => "reset".to_string(),
        Message::Fetch { after, until, .. } => format!("fetch {:?} to {until:?}", after.zxid),
        Message::Fetched { after, bytes } => {
            format!("fetched behind {:?}, {} bytes", after.zxid, bytes.len())
        }
    }
}
