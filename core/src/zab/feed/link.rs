//! One learner, as its leader sees it.
//!
//! ```text
//! Greeted ─NewEpoch, Promised─► Promised ─the epoch is owned─► Locating ◄─┐
//!                                         not in our log: Compare │ Have  │
//!                                                 Comparing ──────┼───────┘
//!           Live ◄── all sent ── CatchUp ◄── proven in our log ───┤
//!             └── too much in flight ──▲ ◄── Snapshotting ◄── Queued ◄── log begins later
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::zab::base::Base;
use crate::zab::event::Action;
use crate::zab::message::{Join, Message, ToLearner};
use crate::zab::mutant::Mutant;
use crate::zab::quorum::Quorum;
use crate::zab::run::Position;
use crate::zxid::{Epoch, ServerId, Zxid};

/// What is sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It joined, and has not promised the epoch.
    Greeted,
    /// It promised; the leader may not own the epoch yet.
    Promised,
    /// The leader's log is asked for the learner's position.
    Locating { at: Position, ticket: u64 },
    /// The learner is asked for the leader's.
    Comparing,
    /// Records come from the log.
    CatchUp { reading: Option<u64> },
    /// A snapshot is needed, and as many as may be sent at once are: in this order.
    Queued { order: u64 },
    /// A snapshot comes.
    Snapshotting(Sending),
    /// It is sent what is proposed as it is proposed.
    Live,
}

/// Whether who joined without a vote, and is listed with one, was asked to vote again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vote {
    #[default]
    Unasked,
    Offered,
    /// An epoch for it alone would be followed by the next one, for ever.
    Declined,
}

/// A snapshot on its way to a learner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    pub ticket: u64,
    /// What it stands for, once that is known.
    pub at: Option<Position>,
    /// Where the next part begins.
    pub offset: u64,
    /// What the learner has of it.
    pub stored: u64,
    /// A part is being read.
    pub reading: bool,
    /// The last part, which waits until all before it are stored.
    pub last: Option<Arc<[u8]>>,
    /// The last part has been sent.
    pub end: bool,
}

#[derive(Clone, Debug)]
pub struct Link {
    pub id: ServerId,
    pub session: u64,
    pub join: Join,
    /// Counted by quorums: a voter of the configuration that has its disk.
    pub votes: bool,
    pub vote: Vote,
    /// The epoch it was last asked to promise.
    pub epoch: Epoch,
    sent_count: u64,
    pub received: u64,
    pub heard: u64,
    pub stage: Stage,
    /// A promise to this leader, new with its epoch.
    pub promised: bool,
    /// Where the learner's history ends once all that was sent has arrived.
    pub sent: Position,
    /// Durable there.
    pub acked: Zxid,
    /// The end of the history that it was told to be the epoch's, once it was sent all of that.
    pub new_leader: Option<Zxid>,
    /// It has this leader's history and its epoch, durably.
    pub synced: bool,
    pub up_to_date: bool,
    /// It was told so in this session, in whichever epoch: what it asks may be taken.
    pub was_served: bool,
    pub commit_sent: Zxid,
    /// Ends and sizes of what is in flight.
    flight: VecDeque<(Zxid, u64)>,
    flight_bytes: u64,
    /// The last number that came back.
    pub ponged: u64,
}

impl Link {
    pub fn new(id: ServerId, session: u64, join: Join, votes: bool, now: u64) -> Self {
        Self {
            id,
            session,
            join,
            votes,
            vote: Vote::default(),
            epoch: Epoch::ZERO,
            sent_count: 0,
            received: 0,
            heard: now,
            stage: Stage::Greeted,
            promised: false,
            sent: Position::ROOT,
            acked: Zxid::ZERO,
            new_leader: None,
            synced: false,
            up_to_date: false,
            was_served: false,
            commit_sent: Zxid::ZERO,
            flight: VecDeque::new(),
            flight_bytes: 0,
            ponged: 0,
        }
    }

    /// Whether this is a voter without its disk that has the history of this leader's epoch again. The
    /// next epoch that it hears of makes it a voter, and must be promised by a quorum before.
    pub fn rejoins(&self, quorum: &Quorum) -> bool {
        let may_vote = !self.join.votes && self.vote != Vote::Declined;
        may_vote && self.up_to_date && quorum.contains(self.id)
    }

    /// Asks who rejoins for a promise of this epoch, which a quorum has made without it.
    pub fn offer_vote(&mut self, epoch: Epoch, out: &mut Vec<Action>) {
        self.vote = Vote::Offered;
        self.greet(epoch, out);
    }

    /// It promised nothing: where it was asked to vote, it is an observer by its own list. The next session finds
    /// out anew.
    pub fn promised_nothing(&mut self) {
        if self.vote == Vote::Offered {
            self.vote = Vote::Declined;
        }
    }

    /// Back to the beginning, for another epoch of the same leader in the same session.
    pub fn greet(&mut self, epoch: Epoch, out: &mut Vec<Action>) {
        self.epoch = epoch;
        self.stage = Stage::Greeted;
        self.promised = false;
        self.new_leader = None;
        self.synced = false;
        self.up_to_date = false;
        self.flight.clear();
        self.flight_bytes = 0;
        self.say(ToLearner::NewEpoch(epoch), out);
    }

    /// Who does not vote promises nothing: it saves nothing between when it hears of the epoch and when what it
    /// misses comes, so that there is nothing to wait for. What its answer would say it said when it joined, with all
    /// of its log durable. Over a long way that round trip is saved. One that knows a newer epoch says so.
    pub fn skip_promise(&mut self) {
        if self.join.current.max(self.join.accepted) <= self.epoch {
            self.stage = Stage::Promised;
        }
    }

    /// Whether it waits for this read of the log.
    pub fn reads(&self, ticket: u64) -> bool {
        match self.stage {
            Stage::Locating { ticket: asked, .. } => asked == ticket,
            Stage::CatchUp { reading } => reading == Some(ticket),
            Stage::Greeted
            | Stage::Promised
            | Stage::Comparing
            | Stage::Queued { .. }
            | Stage::Snapshotting(_)
            | Stage::Live => false,
        }
    }

    pub fn say(&mut self, body: ToLearner, out: &mut Vec<Action>) {
        let (session, sequence) = (self.session, self.sent_count);
        self.sent_count += 1;
        out.push(Action::Send {
            to: self.id,
            message: Message::ToLearner { session, sequence, body },
        });
    }

    /// How far it was told that the history is committed.
    const fn told(&self) -> Zxid {
        if self.join.votes { self.commit_sent } else { self.sent.zxid }
    }

    /// Says how long ago who has what this learner was told lacked nothing. A leader that has told it all
    /// need not: it speaks, and that is the time.
    pub fn say_age(&mut self, base: &Base, leads: bool, out: &mut Vec<Action>) {
        let lags = self.told() < base.committed && !base.planted(Mutant::LaggardsCurrent);
        if self.up_to_date && (lags || !leads) {
            self.say(ToLearner::Age(base.age.of(self.told(), base.committed)), out);
        }
    }

    /// Speaks to the learner.
    pub fn ping(&mut self, base: &Base, number: u64, leads: bool, out: &mut Vec<Action>) {
        self.say_age(base, leads, out);
        self.say(ToLearner::Ping(number), out);
    }

    /// The learner's history ends at `at`, which the leader has proven to be its own too.
    pub fn proven(&mut self, at: Position) {
        self.sent = at;
        self.acked = Zxid::ZERO;
        self.flight.clear();
        self.flight_bytes = 0;
        self.stage = Stage::CatchUp { reading: None };
    }

    /// Notes that records were sent.
    pub fn flew(&mut self, upto: Position, bytes: u64) {
        self.sent = upto;
        self.flight.push_back((upto.zxid, bytes));
        self.flight_bytes += bytes;
    }

    pub fn acknowledged(&mut self, upto: Zxid) {
        self.acked = self.acked.max(upto);
        while let Some(&(end, bytes)) = self.flight.front()
            && end <= upto
        {
            self.flight.pop_front();
            self.flight_bytes -= bytes;
        }
    }

    pub const fn flight_bytes(&self) -> u64 {
        self.flight_bytes
    }

    /// The learner was sent the whole history of an epoch.
    pub fn tell_new_leader(&mut self, epoch: Epoch, out: &mut Vec<Action>) {
        let at = self.sent;
        self.new_leader = Some(at.zxid);
        self.say(ToLearner::NewLeader { epoch, at }, out);
    }

    /// Whether what it acknowledges counts.
    pub const fn counts(&self) -> bool {
        self.votes && self.synced
    }

    /// Tells it what is committed of what it was sent.
    pub fn tell_commit(&mut self, committed: Zxid, out: &mut Vec<Action>) {
        let upto = committed.min(self.sent.zxid);
        if self.up_to_date && self.commit_sent < upto {
            self.commit_sent = upto;
            self.say(ToLearner::Commit(upto), out);
        }
    }
}
