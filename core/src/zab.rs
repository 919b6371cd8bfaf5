//! Zab: who leads, what is proposed, what is committed. Pure: durability and time are events.
//!
//! ```text
//!            a quorum votes for me     a quorum promised     a quorum has my history
//! Looking ───────────────────► Discovery ──────────► Founding, Syncing ─────► Broadcast
//!   ▲  │                           ▲─────────────────────────────────────────────┘ counter spent
//!   │  └ another is elected ► Joining ─► Promising ─► Syncing ─► Saving ─► Following
//!   └────────── silence, a stalled disk, a hand-over ──────────────────────────┘
//! ```
//!
//! Watermarks: `committed ≤ durable on a quorum ≤ proposed`, and on each server
//! `acknowledged ≤ durable ≤ appended`. What is promised, and which history a server has, is
//! durable before it is said.
//!
//! An ensemble of one voter is an ensemble: it elects itself, founds an epoch of its own at every
//! start, and commits what a majority of one has made durable. Nothing here asks for its size.
//! The protocol as a whole is told in `docs/zab.md`.

pub mod event;
pub mod fetch;
pub mod healing;
pub mod message;
pub mod mutant;
pub mod quorum;
pub mod timing;

mod age;
mod base;
mod election;
mod feed;
mod heard;
mod leader;
mod learner;
mod role;
mod seeking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::log::epochs::Epochs;
use crate::prng::Prng;
use crate::zab::age::Age;
use crate::zab::base::Base;
use crate::zab::election::Looking;
use crate::zab::feed::Feed;
use crate::zab::fetch::Fetches;
use crate::zab::leader::Leading;
use crate::zab::learner::Learning;
#[cfg(test)]
use crate::zab::message::Message;
use crate::zab::quorum::Quorum;
use crate::zab::role::{Next, Role};
use crate::zab::run::Position;
use crate::zab::seeking::Seeking;
use crate::zab::timing::Timing;
use crate::zxid::{Epoch, ServerId, Zxid};

pub use crate::record::run;
pub use base::Membership;
pub use event::{Action, Anomaly, Divergence, Event, Standing};

/// What a server is told once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its number.
    pub me: ServerId,
    /// The voters of its ensemble.
    pub quorum: Quorum,
    /// Its own part.
    pub membership: Membership,
    /// Whether it learns from the servers that [`Event::Upstream`] names, in their order, and not from
    /// the leader of its voters. Not for voters.
    pub listed: bool,
    /// Its limits.
    pub timing: Timing,
    /// Decides its random choices; also tells this start of the server from every other one.
    pub seed: u64,
}

/// What recovery found on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovered {
    /// The epochs file.
    pub epochs: Epochs,
    /// The end of the log, or the snapshot if that is newer. All of it is durable.
    pub log: Position,
    /// What is known to be committed: what the newest snapshot stands for.
    pub committed: Zxid,
}

/// What a server is doing, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `looking`, `leading`, `following` or `learning`.
    pub role: &'static str,
    /// `election`, `discovery`, `synchronization` or `broadcast`.
    pub phase: &'static str,
    /// Who leads, as far as this server knows.
    pub leader: Option<ServerId>,
    /// The epochs on disk.
    pub epochs: Epochs,
    /// The end of its log.
    pub log: Position,
    /// How far that is durable.
    pub durable: Zxid,
    /// What it knows to be committed.
    pub committed: Zxid,
    /// Of a leader: who has its history, and up to where.
    pub synced: Vec<(ServerId, Zxid)>,
    /// Since how many ticks each peer is silent.
    pub silent: Vec<(ServerId, u64)>,
}

/// One server's part in the protocol.
#[derive(Clone, Debug)]
pub struct Zab {
    base: Base,
    role: Role,
    fetches: Fetches,
}

impl Zab {
    /// A voter that has recovered its epochs and its log up to `logged`, with usual limits.
    ///
    /// Panics when `me` is not a voter, or the log is newer than every epoch it accepted: the
    /// shell refuses both with an explanation before it comes here.
    pub fn new(me: ServerId, quorum: Quorum, epochs: Epochs, logged: Zxid) -> Self {
        let membership = Membership::Voter;
        let (listed, timing) = (false, Timing::default());
        let options = Options { me, quorum, membership, listed, timing, seed: 0 };
        let log = Position { zxid: logged, ..Position::ROOT };
        Self::with(options, Recovered { epochs, log, committed: Zxid::ZERO })
    }

    /// A server that has recovered this and not begun. Panics as [`Zab::new`] does.
    pub fn with(options: Options, recovered: Recovered) -> Self {
        let Options { me, quorum, membership, listed, timing, seed } = options;
        let Recovered { epochs, log, committed } = recovered;
        timing.assert_consistent();
        assert!(epochs.current <= epochs.accepted, "current epoch is newer than the accepted one");
        assert!(committed <= log.zxid, "what is committed here is here");
        match membership {
            Membership::Voter => {
                assert!(quorum.contains(me), "server {me} is not a voter");
                assert!(log.zxid.epoch() <= epochs.accepted, "the log is newer than its epoch");
            }
            Membership::Rejoining => assert!(quorum.contains(me), "server {me} is not a voter"),
            Membership::Learner => assert!(!quorum.contains(me), "server {me} is a voter"),
        }
        assert!(!listed || membership == Membership::Learner, "voters know whom they follow");
        let mut prng = Prng::new(seed ^ u64::from(me.0));
        let boot = prng.next() >> 33;
        let base = Base {
            me,
            quorum,
            membership,
            timing,
            prng,
            mutant: None,
            now: 0,
            epochs,
            saving: None,
            log,
            durable: log.zxid,
            begins: Zxid::ZERO,
            cutting: None,
            restoring: None,
            incoming: None,
            ticket: 0,
            committed,
            round: 0,
            preferred: false,
            boot,
            serial: 0,
            sessions: 0,
            reads: 0,
            peers: BTreeMap::new(),
            listed,
            upstreams: BTreeMap::new(),
            known: VecDeque::new(),
            age: Age::default(),
            word: None,
            parted: BTreeSet::new(),
        };
        Self { base, role: Role::Idle, fetches: Fetches::default() }
    }

    /// Plants a bug, for testing the tests.
    #[cfg(feature = "mutants")]
    pub fn plant(&mut self, mutant: mutant::Mutant) {
        self.base.mutant = Some(mutant);
    }

    /// Whether this bug is planted.
    pub(crate) fn planted(&self, mutant: mutant::Mutant) -> bool {
        self.base.planted(mutant)
    }

    /// Acts on `event`; what must be done is added to `out`, in order.
    pub fn step(&mut self, event: Event, out: &mut Vec<Action>) {
        let next = self.act(event, out);
        self.enter(next, out);
    }

    fn act(&mut self, event: Event, out: &mut Vec<Action>) -> Next {
        match event {
            Event::Start => {
                assert!(matches!(self.role, Role::Idle), "started twice");
                Next::Look
            }
            Event::Tick => self.tick(out),
            Event::Received { from, message } => self.received(from, message, out),
            Event::Arriving(from) => self.arriving(from),
            Event::LogBegins(behind) => {
                self.base.begins = behind;
                Next::Stay
            }
            Event::Upstream { peer, rank } => self.linked(peer, rank, None, out),
            Event::AskedUpstream { peer, rank, ticks } => self.linked(peer, rank, Some(ticks), out),
            Event::Asked(from) => self.asked_who_leads(from, out),
            Event::Disconnected(peer) => self.disconnected(peer, out),
            Event::EpochsSaved(_)
            | Event::Durable { .. }
            | Event::Truncated { .. }
            | Event::LogRead { .. }
            | Event::ReadDropped(_)
            | Event::SnapshotRead { .. }
            | Event::SnapshotStored { .. } => self.disk_did(event, out),
            Event::Proposed(_)
            | Event::Confirm
            | Event::Transfer(_)
            | Event::Request(_)
            | Event::Respond { .. } => self.asked(event, out),
        }
    }

    fn tick(&mut self, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        base.now += 1;
        match &mut self.role {
            Role::Idle => Next::Stay,
            Role::Looking(looking) => looking.on_tick(base, out),
            Role::Seeking(seeking) => seeking.on_tick(base, out),
            Role::Learning(learning) => learning.on_tick(base, out),
            Role::Leading(leading) => leading.on_tick(base, out),
        }
    }

    /// The disk finished something.
    fn disk_did(&mut self, event: Event, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        match event {
            Event::EpochsSaved(epochs) => {
                base.saved(epochs);
                match &mut self.role {
                    Role::Idle | Role::Seeking(_) => Next::Stay,
                    Role::Looking(looking) => looking.consider(base, out),
                    Role::Learning(learning) => {
                        learning.on_epochs_saved(base, out);
                        Next::Stay
                    }
                    Role::Leading(leading) => leading.on_epochs_saved(base, out),
                }
            }
            Event::Durable { ticket, upto } => {
                if base.made_durable(ticket, upto) {
                    self.durable_moved(out)
                } else {
                    Next::Stay
                }
            }
            Event::Truncated { ticket, to } => self.truncated(ticket, to, out),
            Event::LogRead { ticket, at, run } => {
                let Some(run) = self.fetches.on_log_read(base, ticket, (at, run), out) else {
                    return Next::Stay;
                };
                match &mut self.role {
                    Role::Idle | Role::Looking(_) | Role::Seeking(_) => {}
                    Role::Learning(learning) => {
                        learning.on_log_read(base, ticket, at, out);
                        learning.feed_mut().on_log_read(base, ticket, at, run, out);
                    }
                    Role::Leading(leading) => {
                        leading.feed_mut().on_log_read(base, ticket, at, run, out)
                    }
                }
                Next::Stay
            }
            Event::ReadDropped(ticket) => {
                self.fetches.on_read_dropped(base, ticket, out);
                match &mut self.role {
                    Role::Leading(leading) => leading.feed_mut().on_read_dropped(base, ticket, out),
                    Role::Learning(learning) => {
                        learning.feed_mut().on_read_dropped(base, ticket, out);
                    }
                    Role::Idle | Role::Looking(_) | Role::Seeking(_) => {}
                }
                Next::Stay
            }
            Event::SnapshotRead { ticket, at, offset, bytes, end } => {
                let part = (at, offset, end);
                match &mut self.role {
                    Role::Leading(leading) => {
                        leading.feed_mut().on_snapshot_read(base, ticket, part, bytes, out);
                    }
                    Role::Learning(learning) => {
                        learning.feed_mut().on_snapshot_read(base, ticket, part, bytes, out);
                    }
                    Role::Idle | Role::Looking(_) | Role::Seeking(_) => {}
                }
                Next::Stay
            }
            Event::SnapshotStored { ticket, upto } => self.snapshot_stored(ticket, upto, out),
            Event::Start
            | Event::Tick
            | Event::Received { .. }
            | Event::Arriving(_)
            | Event::LogBegins(_)
            | Event::Upstream { .. }
            | Event::AskedUpstream { .. }
            | Event::Asked(_)
            | Event::Disconnected(_)
            | Event::Proposed(_)
            | Event::Confirm
            | Event::Transfer(_)
            | Event::Request(_)
            | Event::Respond { .. } => unreachable!("the caller hands over what the disk did"),
        }
    }

    /// This server's own node, or its operator, wants something.
    fn asked(&mut self, event: Event, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        match event {
            Event::Proposed(run) => {
                let Role::Leading(leading) = &mut self.role else {
                    panic!("only a leader proposes");
                };
                leading.broadcast(base, run, out);
            }
            Event::Confirm => match &mut self.role {
                Role::Leading(leading) => leading.confirm(base, out),
                Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => {
                    out.push(Action::ConfirmsFailed);
                }
            },
            Event::Request(bytes) => {
                if let Role::Learning(learning) = &mut self.role {
                    learning.request(base, bytes, out);
                }
            }
            Event::Respond { to, bytes } => {
                if let Some(feed) = self.feed_mut() {
                    feed.respond(to, bytes, out);
                }
            }
            Event::Transfer(to) => {
                if let Role::Leading(leading) = &mut self.role {
                    return leading.transfer(base, to, out);
                }
            }
            Event::Start
            | Event::Tick
            | Event::Received { .. }
            | Event::Arriving(_)
            | Event::LogBegins(_)
            | Event::Upstream { .. }
            | Event::AskedUpstream { .. }
            | Event::Asked(_)
            | Event::Disconnected(_)
            | Event::EpochsSaved(_)
            | Event::Durable { .. }
            | Event::Truncated { .. }
            | Event::LogRead { .. }
            | Event::ReadDropped(_)
            | Event::SnapshotRead { .. }
            | Event::SnapshotStored { .. } => unreachable!("the caller hands over what is asked"),
        }
        Next::Stay
    }

    fn truncated(&mut self, ticket: u64, to: Position, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        if base.cutting == Some(ticket) {
            base.cutting = None;
            base.durable = base.durable.max(to.zxid);
        }
        match &mut self.role {
            Role::Idle | Role::Seeking(_) | Role::Leading(_) => Next::Stay,
            Role::Looking(looking) => looking.consider(base, out),
            Role::Learning(learning) => {
                learning.on_truncated(base, ticket, to, out);
                Next::Stay
            }
        }
    }

    /// Carries out transitions until the server stays where it is.
    fn enter(&mut self, mut next: Next, out: &mut Vec<Action>) {
        let base = &mut self.base;
        loop {
            next = match next {
                Next::Stay => return,
                Next::Look if base.listed => {
                    self.role = Role::Seeking(Seeking::begin(base, out));
                    Next::Stay
                }
                Next::Look => {
                    let (looking, next) = Looking::begin(base, out);
                    self.role = Role::Looking(looking);
                    next
                }
                Next::Lead => {
                    let (leading, next) = Leading::begin(base, out);
                    self.role = Role::Leading(leading);
                    next
                }
                Next::Follow(leader) => {
                    self.role = Role::Learning(Learning::begin(base, leader, out));
                    Next::Stay
                }
            };
        }
    }

    fn durable_moved(&mut self, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        match &mut self.role {
            Role::Idle | Role::Seeking(_) => Next::Stay,
            Role::Looking(looking) => looking.consider(base, out),
            Role::Learning(learning) => {
                learning.on_durable(base, out);
                Next::Stay
            }
            Role::Leading(leading) => leading.own_durable(base, out),
        }
    }

    fn snapshot_stored(&mut self, ticket: u64, upto: u64, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        if let Some((asked, at)) = base.restoring
            && asked == ticket
            && upto > 0
        {
            base.restoring = None;
            base.restored(at);
        }
        match &mut self.role {
            Role::Idle | Role::Seeking(_) | Role::Leading(_) => Next::Stay,
            Role::Looking(looking) => looking.consider(base, out),
            Role::Learning(learning) => {
                learning.on_snapshot_stored(base, ticket, upto, out);
                Next::Stay
            }
        }
    }

    /// As if the epoch's counter were spent, and all of it committed.
    #[cfg(test)]
    pub(crate) fn spend_counter(&mut self) {
        self.base.timing.epoch_proposals = self.base.log.zxid.counter().max(1);
    }

    /// The zxid of the next proposal, while this server leads and takes any.
    pub fn proposable(&self) -> Option<Zxid> {
        match &self.role {
            Role::Leading(leading) => leading.next_proposal(&self.base),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => None,
        }
    }

    /// The proposal that [`Zab::proposable`] named was made.
    pub fn proposed(&mut self, zxid: Zxid) {
        let Role::Leading(leading) = &mut self.role else { panic!("only a leader proposes") };
        leading.propose(&self.base, zxid);
    }

    /// Whether this voter leads and may propose.
    pub fn is_leading(&self) -> bool {
        matches!(&self.role, Role::Leading(leading) if leading.is_broadcasting())
    }

    /// The epoch this voter works in.
    pub fn epoch(&self) -> Epoch {
        self.base.epochs.current
    }

    /// This voter's number.
    pub fn me(&self) -> ServerId {
        self.base.me
    }

    /// Voters in the ensemble.
    pub fn voters(&self) -> usize {
        self.base.quorum.voters()
    }

    /// Whether `id` decides with others.
    pub fn votes(&self, id: ServerId) -> bool {
        self.base.quorum.contains(id)
    }

    /// What part this server plays. A voter that lost its disk becomes one again by itself; the
    /// shell keeps that it has not, beside the epochs, until they are saved after it has.
    pub fn membership(&self) -> Membership {
        self.base.membership
    }

    /// The end of the log, as appended.
    pub fn log(&self) -> Position {
        self.base.log
    }

    /// What this server is doing, and since when.
    pub fn status(&self) -> Status {
        let base = &self.base;
        let (role, phase, leader, synced) = match &self.role {
            Role::Idle | Role::Looking(_) => ("looking", "election", None, Vec::new()),
            Role::Seeking(_) => ("looking", "upstreams", None, Vec::new()),
            Role::Learning(learning) => {
                let role = if base.is_voter() { "following" } else { "learning" };
                (role, learning.phase_name(), Some(learning.leader()), Vec::new())
            }
            Role::Leading(leading) => {
                ("leading", leading.phase_name(), Some(base.me), leading.synced().collect())
            }
        };
        Status {
            role,
            phase,
            leader,
            epochs: base.epochs,
            log: base.log,
            durable: base.durable,
            committed: base.committed,
            synced,
            silent: base.peers.iter().map(|(&id, peer)| (id, base.now - peer.heard)).collect(),
        }
    }

    /// The epoch this server leads or is about to, if it does.
    pub fn leading_epoch(&self) -> Option<Epoch> {
        match &self.role {
            Role::Leading(leading) => Some(leading.epoch()),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => None,
        }
    }

    /// What this server knows to be committed.
    pub fn committed(&self) -> Zxid {
        self.base.committed
    }

    /// How often the clock has ticked.
    pub fn now(&self) -> u64 {
        self.base.now
    }

    /// Whether what keeps a leader from writing since that tick has lasted for so long that another should lead.
    pub fn is_stall(&self, since: u64) -> bool {
        self.base.timing.stall_ticks < self.base.now - since
    }

    /// Of a leader: whether it and the `able` ones of those that follow are a quorum.
    pub fn has_quorum(&self, able: impl Fn(ServerId) -> bool) -> bool {
        match &self.role {
            Role::Leading(leading) => leading.has_quorum(&self.base, able),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => false,
        }
    }

    /// Of a leader: the best of the `able` voters that could lead in its place, without its help.
    pub fn successor(&self, able: impl Fn(ServerId) -> bool) -> Option<ServerId> {
        match &self.role {
            Role::Leading(leading) => leading.successor(&self.base, able),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => None,
        }
    }

    /// Whether this server leads or is followed, and `id` learns from it, or from one that does, and
    /// may serve.
    pub fn serves(&self, id: ServerId) -> bool {
        self.feed().is_some_and(|feed| feed.serves(id))
    }

    /// Whether `id` learns from this server itself, though it may still catch up.
    pub fn feeds(&self, id: ServerId) -> bool {
        self.feed().is_some_and(|feed| feed.links.contains_key(&id))
    }

    /// Who learns from this server itself and passes on what `id` says; `id`, where that learns from it itself.
    pub fn way_to(&self, id: ServerId) -> ServerId {
        self.feed().map_or(id, |feed| feed.way_to(id))
    }

    /// A server that learns from this one itself, and all whose words it passes on.
    pub fn behind(&self, id: ServerId) -> impl Iterator<Item = ServerId> + '_ {
        self.feed().into_iter().flat_map(move |feed| feed.behind(id))
    }

    /// Everybody who learns from this server itself and may serve.
    pub fn served(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.feed().into_iter().flat_map(Feed::served)
    }

    fn feed(&self) -> Option<&Feed> {
        match &self.role {
            Role::Leading(leading) => Some(leading.feed()),
            Role::Learning(learning) => Some(learning.feed()),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) => None,
        }
    }

    fn feed_mut(&mut self) -> Option<&mut Feed> {
        match &mut self.role {
            Role::Leading(leading) => Some(leading.feed_mut()),
            Role::Learning(learning) => Some(learning.feed_mut()),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) => None,
        }
    }

    /// The servers from the leader to the one that this server learns from, while it learns.
    pub fn path(&self) -> &[ServerId] {
        match &self.role {
            Role::Learning(learning) => learning.path(),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Leading(_) => &[],
        }
    }

    /// Whether this server learns from the leader itself, and not from one between them.
    pub fn learns_from_leader(&self) -> bool {
        matches!(&self.role, Role::Learning(learning) if learning.learns_from_leader())
    }

    /// It is `now_ms` of a clock that never goes back, and this server last knew itself to be current at
    /// `current_ms` of it, if ever: for those who learn from it.
    pub fn note_age(&mut self, now_ms: i64, current_ms: Option<i64>) {
        let committed = self.base.committed;
        self.base.age.note(now_ms, current_ms, committed);
    }

    /// How long ago this learner was current by what it last heard, milliseconds, once.
    pub fn take_word(&mut self) -> Option<u32> {
        self.base.word.take()
    }

    /// The session of this learner with its leader, and who that is. A new one begins when
    /// anything on the way between them was lost.
    pub fn session(&self) -> Option<(ServerId, u64)> {
        match &self.role {
            Role::Learning(learning) => Some((learning.leader(), learning.session())),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Leading(_) => None,
        }
    }

    /// Whether this server has everything its leader had committed when it began to follow.
    pub fn is_following(&self) -> bool {
        matches!(&self.role, Role::Learning(learning) if learning.is_following())
    }
}

#[cfg(test)]
mod tests;
