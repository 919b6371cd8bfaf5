//! Following a leader: discovery and synchronisation as a learner, then its broadcast. Voters and
//! those who do not vote share every step; only promises and informs differ.
//!
//! ```text
//! Joining ─NewEpoch─► Promising ─saved─► Syncing ◄─────────────────────────┐
//!    ▲                                    │ │ └─Compare─► Comparing ─cut─► Truncating
//!    │ gap, Reset                         │ └─Snapshot─► Installing ─last──┘
//!    │                                    ▼ NewLeader
//!    └────── any ◄── Following ◄─UpToDate─ Synced ◄─saved─ Saving ◄─durable─ Recording
//! ```
//!
//! `committed ≤ appended`, `acknowledged ≤ durable ≤ appended`. The order of Recording, Saving,
//! Synced is history, epoch, answer; it must never change.

mod feeding;
mod patience;

use std::sync::Arc;

use super::base::{Base, Membership};
use super::event::{Action, Anomaly, Divergence, Standing};
use super::feed::Feed;
use super::message::{Ballot, Join, Message, Stance, ToLeader, ToLearner};
use super::mutant::Mutant;
use super::role::Next;
use super::run::{Position, Run};
use crate::log::epochs::Epochs;
use crate::zxid::{Epoch, ServerId, Zxid};

#[derive(Clone, Debug)]
pub(super) struct Learning {
    leader: ServerId,
    session: u64,
    sent: u64,
    received: u64,
    heard: u64,
    /// When it last said something to its leader.
    said_at: u64,
    deadline: u64,
    phase: Phase,
    epoch: Epoch,
    acknowledged: Zxid,
    /// Bytes of records that came since the last acknowledgement.
    unacknowledged: u64,
    /// The servers from the leader to the one that this learner learns from.
    path: Vec<ServerId>,
    /// When those of the list that it prefers are asked again.
    seek_at: u64,
    /// How old what this server was sent is, where that was said right before, milliseconds.
    aged: Option<u32>,
    /// By the last word that told of it that was much.
    lags: bool,
    /// Who learns from this server.
    feed: Feed,
}

/// How far this learner is with its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The leader has not answered.
    Joining { resend_at: u64 },
    /// The promise is being saved.
    Promising,
    /// The history comes.
    Syncing,
    /// The own log is being asked for the leader's position.
    Comparing { with: Position, ticket: u64 },
    /// The own log is being cut.
    Truncating { ticket: u64 },
    /// A snapshot comes.
    Installing { at: Position, ticket: u64, end: bool },
    /// The leader's history is here and not durable yet.
    Recording { upto: Zxid },
    /// It is durable, and its epoch is being saved.
    Saving,
    /// Answered; the leader is not established as far as is known.
    Synced,
    /// It serves.
    Following,
}

impl Learning {
    pub fn begin(base: &mut Base, leader: ServerId, out: &mut Vec<Action>) -> Self {
        let mut learning = Self {
            leader,
            session: 0,
            sent: 0,
            received: 0,
            heard: base.now,
            said_at: base.now,
            deadline: base.now + base.timing.join_ticks,
            phase: Phase::Joining { resend_at: base.now },
            epoch: Epoch::ZERO,
            acknowledged: Zxid::ZERO,
            unacknowledged: 0,
            path: base.way_to(leader),
            seek_at: base.now + base.timing.seek_ticks,
            aged: None,
            lags: false,
            feed: Feed::default(),
        };
        learning.join_anew(base, out);
        learning.tell_voters(base, out);
        learning
    }

    /// Voters count followers; who learns from a list has no word in that.
    fn tell_voters(&self, base: &mut Base, out: &mut Vec<Action>) {
        if !base.listed {
            let ballot = base.ballot(Stance::Following(self.leader), None);
            base.send_voters(&Message::Ballot(ballot), out);
        }
    }

    /// Whether it learns from its leader itself.
    pub fn learns_from_leader(&self) -> bool {
        self.path.len() == 1
    }

    /// The servers from the leader to the one that this learner learns from.
    pub fn path(&self) -> &[ServerId] {
        &self.path
    }

    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    pub const fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    pub const fn leader(&self) -> ServerId {
        self.leader
    }

    pub fn is_following(&self) -> bool {
        self.phase == Phase::Following
    }

    pub const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Joining { .. } | Phase::Promising => "discovery",
            Phase::Syncing
            | Phase::Comparing { .. }
            | Phase::Truncating { .. }
            | Phase::Installing { .. }
            | Phase::Recording { .. }
            | Phase::Saving
            | Phase::Synced => "synchronization",
            Phase::Following => "broadcast",
        }
    }

    /// Begins a new session with the same leader.
    fn join_anew(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        self.feed.drop_all(base, out);
        if self.is_following() {
            out.push(Action::Became(Standing::Alone));
        }
        base.sessions += 1;
        // Two starts of one server never choose the same session, and of one start the later is the larger.
        self.session = (base.boot << 32) | base.sessions;
        (self.sent, self.received) = (0, 0);
        self.acknowledged = Zxid::ZERO;
        (self.aged, self.lags) = (None, false);
        self.deadline = base.now + base.timing.join_ticks;
        self.phase = Phase::Joining { resend_at: base.now };
        // What is still being written counts only once all of it is known to be durable.
        if base.durable != base.log.zxid {
            let ticket = base.new_ticket();
            out.push(Action::Flush { ticket });
        }
        self.ask(base, out);
    }

    fn ask(&mut self, base: &Base, out: &mut Vec<Action>) {
        let Phase::Joining { resend_at } = &mut self.phase else { return };
        *resend_at = base.now + base.timing.ballot_ticks;
        if !base.is_settled() && !base.planted(Mutant::StaleTicketAcks) {
            return;
        }
        let join = Join {
            accepted: base.epochs.accepted,
            current: base.epochs.current,
            last: base.log,
            votes: base.is_voter(),
        };
        base.send(self.leader, Message::Join { session: self.session, join }, out);
    }

    fn say(&mut self, base: &Base, body: ToLeader, out: &mut Vec<Action>) {
        let (mut session, sequence) = (self.session, self.sent);
        self.sent += 1;
        self.said_at = base.now;
        if base.planted(Mutant::AcksInOldSession) && matches!(body, ToLeader::Ack(_)) {
            session -= 1;
        }
        base.send(self.leader, Message::ToLeader { session, sequence, body }, out);
    }

    /// Passes on what this server asks, in order with all that it says.
    pub fn request(&mut self, base: &Base, bytes: Arc<[u8]>, out: &mut Vec<Action>) {
        if self.is_following() {
            self.say(base, ToLeader::Request(bytes), out);
        }
    }

    pub const fn session(&self) -> u64 {
        self.session
    }

    pub fn on_tick(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        if let Phase::Joining { resend_at } = self.phase
            && base.now >= resend_at
        {
            self.ask(base, out);
        }
        let joining = self.phase != Phase::Following;
        let silent = base.now - self.heard > base.timing.patience(base.is_voter());
        if silent || (joining && base.now > self.deadline) {
            return self.leave(base, out);
        }
        self.say_something(base, out);
        self.feed_on_tick(base, out);
        self.seek_better(base, out);
        Next::Stay
    }

    pub fn leave(&mut self, base: &Base, out: &mut Vec<Action>) -> Next {
        self.feed.drop_all(base, out);
        if self.is_following() {
            out.push(Action::Became(Standing::Alone));
        }
        Next::Look
    }

    /// The leader's ballot tells whether it still is one.
    pub fn on_leaders_ballot(
        &mut self,
        base: &Base,
        ballot: &Ballot,
        out: &mut Vec<Action>,
    ) -> Next {
        let leads = match ballot.stance {
            Stance::Leading => true,
            // Before it has counted the votes that made this server follow it. In a later round it
            // looks again: it did not come to lead.
            Stance::Looking => {
                matches!(self.phase, Phase::Joining { .. })
                    && ballot.vote.is_some_and(|vote| vote.candidate == self.leader)
                    && ballot.round == base.round
            }
            Stance::Watching | Stance::Following(_) => false,
        };
        if leads { Next::Stay } else { self.leave(base, out) }
    }

    pub fn on_reset(&mut self, base: &mut Base, session: u64, out: &mut Vec<Action>) -> Next {
        if session != self.session {
            return Next::Stay;
        }
        if base.listed {
            // It may have lost its own way, or have another one: its next offer tells.
            return self.leave(base, out);
        }
        self.join_anew(base, out);
        Next::Stay
    }

    /// A message of the leader.
    pub fn on_message(
        &mut self,
        base: &mut Base,
        (session, sequence): (u64, u64),
        body: ToLearner,
        out: &mut Vec<Action>,
    ) -> Next {
        if session != self.session && !base.planted(Mutant::SessionIgnored) {
            return Next::Stay;
        }
        // A leader that came to lead anew knows nothing of what it said before, which can only be pings: it counts
        // from its greeting on. And one that was asked twice, before that and behind it, greets twice.
        let greets = sequence == 0 && matches!(body, ToLearner::NewEpoch(_));
        if greets && matches!(self.phase, Phase::Joining { .. }) {
            self.received = 0;
        }
        let again = greets && matches!(body, ToLearner::NewEpoch(epoch) if self.epoch < epoch);
        if !base.planted(Mutant::SessionIgnored) {
            if sequence < self.received && !again && !base.planted(Mutant::DuplicatesTaken) {
                return Next::Stay;
            }
            if sequence > self.received || (again && 0 < self.received) {
                self.join_anew(base, out);
                return Next::Stay;
            }
        }
        self.received += 1;
        self.heard = base.now;
        match body {
            ToLearner::NewEpoch(epoch) => return self.on_new_epoch(base, epoch, out),
            ToLearner::Compare(with) => self.on_compare(base, with, out),
            ToLearner::Records { after, bytes } => self.on_records(base, after, bytes, false, out),
            ToLearner::Inform { after, bytes } => self.on_records(base, after, bytes, true, out),
            ToLearner::Snapshot { at, offset, bytes, end } => {
                self.on_snapshot(base, at, (offset, bytes, end), out);
            }
            ToLearner::NewLeader { epoch, at } => self.on_new_leader(base, epoch, at, out),
            ToLearner::UpToDate(committed) => self.on_up_to_date(base, committed, out),
            ToLearner::Commit(upto) => self.on_commit(base, upto, out),
            ToLearner::Queued => self.on_queued(base, out),
            ToLearner::Ping(number) => {
                self.note_word(base);
                self.acknowledge(base, true, out);
                self.say(base, ToLeader::Pong(number), out);
            }
            ToLearner::Response(bytes) => out.push(Action::Responded(bytes)),
            ToLearner::Relayed(relayed) => self.feed.pass_down(relayed, out),
            ToLearner::Dismiss { server, session } => {
                self.feed.on_dismiss(base, server, session, out);
            }
            ToLearner::Age(ms) => self.aged = Some(ms),
            ToLearner::TakeOver => {
                base.preferred = base.is_voter();
                base.resigned(self.leader);
                return self.leave(base, out);
            }
        }
        Next::Stay
    }

    fn on_new_epoch(&mut self, base: &mut Base, epoch: Epoch, out: &mut Vec<Action>) -> Next {
        if self.is_following() {
            self.feed.drop_all(base, out);
            out.push(Action::Became(Standing::Alone));
        }
        if base.membership == Membership::Rejoining
            && ((self.is_following() && self.epoch < epoch && self.epoch == base.epochs.current)
                || base.planted(Mutant::RejoinsTooEarly))
        {
            // The leader's history is here, and this epoch was promised by a quorum without this
            // server: whatever it promised before it lost its disk is older.
            base.membership = Membership::Voter;
        }
        self.epoch = epoch;
        self.deadline = base.now + base.timing.join_ticks;
        if !base.is_voter() && epoch < base.log.zxid.epoch() {
            // Who does not vote promises nothing, but has a history of a later leader: this one was
            // replaced and does not know it yet.
            return self.leave(base, out);
        }
        if epoch < base.epochs.accepted && !base.planted(Mutant::PromiseForgotten) {
            self.say(base, ToLeader::Ahead(base.epochs.accepted), out);
            self.phase = Phase::Syncing;
            return Next::Stay;
        }
        let counted = base.epochs.accepted < epoch || base.planted(Mutant::EqualPromiseCounts);
        let restoring = base.restoring.is_some() && !base.planted(Mutant::JoinsWhileRestoring);
        if base.saving.is_some() || base.cutting.is_some() || restoring {
            // What the disk is doing for an earlier epoch of this leader must end first.
            self.join_anew(base, out);
            return Next::Stay;
        }
        if base.is_voter() && base.epochs.accepted < epoch {
            if base.planted(Mutant::PromiseNeverSaved) {
                base.epochs.accepted = epoch;
            } else {
                base.save(Epochs { accepted: epoch, current: base.epochs.current }, out);
                self.phase = Phase::Promising;
                if base.planted(Mutant::PromiseBeforeDurable) {
                    self.promised(base, counted, out);
                    self.phase = Phase::Promising;
                }
                return Next::Stay;
            }
        }
        self.promised(base, counted && base.is_voter(), out);
        Next::Stay
    }

    fn promised(&mut self, base: &Base, counted: bool, out: &mut Vec<Action>) {
        self.phase = Phase::Syncing;
        let (epoch, current, last) = (self.epoch, base.epochs.current, base.log);
        self.say(base, ToLeader::Promised { epoch, counted, current, last }, out);
    }

    fn on_compare(&mut self, base: &mut Base, with: Position, out: &mut Vec<Action>) {
        if self.phase != Phase::Syncing {
            return self.violation(base, Anomaly::Phase, out);
        }
        if with.zxid < base.committed {
            out.push(Action::Halt(Divergence::CommittedLost {
                committed: base.committed,
                leader: with.zxid,
            }));
            return;
        }
        let ticket = base.new_read();
        self.phase = Phase::Comparing { with, ticket };
        out.push(Action::ReadLog { ticket, from: with.zxid, bytes_max: 0 });
    }

    pub fn on_log_read(
        &mut self,
        base: &mut Base,
        ticket: u64,
        at: Option<Position>,
        out: &mut Vec<Action>,
    ) {
        let Phase::Comparing { with, ticket: asked } = self.phase else { return };
        if ticket != asked {
            return;
        }
        match at {
            Some(at) if at == with => self.truncate(base, at, out),
            Some(at) if at.zxid == with.zxid => {
                out.push(Action::Halt(Divergence::HistoriesDiffer { zxid: at.zxid }));
            }
            other => {
                self.phase = Phase::Syncing;
                self.say(base, ToLeader::Have(other), out);
            }
        }
    }

    fn truncate(&mut self, base: &mut Base, to: Position, out: &mut Vec<Action>) {
        assert!(base.committed <= to.zxid, "what is committed is never cut");
        if base.planted(Mutant::TruncationSkipped) {
            self.phase = Phase::Syncing;
            self.say(base, ToLeader::Have(Some(to)), out);
            return;
        }
        if to == base.log {
            self.phase = Phase::Syncing;
            self.say(base, ToLeader::Have(Some(to)), out);
            return;
        }
        let ticket = base.new_ticket();
        base.log = to;
        if !base.planted(Mutant::CutKeepsDurable) {
            base.durable = base.durable.min(to.zxid);
        }
        base.cutting = Some(ticket);
        self.acknowledged = Zxid::ZERO;
        self.phase = Phase::Truncating { ticket };
        out.push(Action::Truncate { ticket, to });
    }

    pub fn on_truncated(
        &mut self,
        base: &mut Base,
        ticket: u64,
        to: Position,
        out: &mut Vec<Action>,
    ) {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.ask(base, out);
        }
        if self.phase != (Phase::Truncating { ticket }) {
            return self.on_durable(base, out);
        }
        assert_eq!(to, base.log, "the log was cut to another place than was ordered");
        self.phase = Phase::Syncing;
        self.say(base, ToLeader::Have(Some(to)), out);
    }

    fn on_records(
        &mut self,
        base: &mut Base,
        after: Position,
        bytes: Arc<[u8]>,
        committed: bool,
        out: &mut Vec<Action>,
    ) {
        let in_phase = match self.phase {
            Phase::Syncing
            | Phase::Recording { .. }
            | Phase::Saving
            | Phase::Synced
            | Phase::Following => true,
            Phase::Joining { .. }
            | Phase::Promising
            | Phase::Comparing { .. }
            | Phase::Truncating { .. }
            | Phase::Installing { .. } => false,
        };
        if !in_phase {
            return self.violation(base, Anomaly::Phase, out);
        }
        // The leader asserts the same when it sends: a hole is caught on whichever side it is made.
        if after != base.log && !base.planted(Mutant::TruncationSkipped) {
            return self.violation(base, Anomaly::Records, out);
        }
        let Ok(run) = Run::read(after, bytes) else {
            return self.violation(base, Anomaly::Records, out);
        };
        self.progressed(base);
        base.log = run.upto();
        self.unacknowledged += run.bytes().len() as u64;
        let upto = run.upto().zxid;
        if self.is_following() && !self.feed.links.is_empty() {
            self.feed.uncommitted.push_back(run.clone());
        }
        out.push(Action::Append { ticket: base.ticket, run });
        if base.planted(Mutant::AckBeforeDurable) {
            base.durable = upto;
            self.on_durable(base, out);
        }
        // Who does not vote is sent nothing that is not committed, also while it catches up: what it
        // missed is shown as it comes, and not all at once when it has come.
        let committed = committed || base.membership == Membership::Learner;
        if committed || (base.planted(Mutant::AppliesUncommitted) && self.is_following()) {
            self.commit(base, upto, out);
        }
    }

    fn on_snapshot(
        &mut self,
        base: &mut Base,
        at: Position,
        (offset, bytes, end): (u64, Arc<[u8]>, bool),
        out: &mut Vec<Action>,
    ) {
        let end = end || base.planted(Mutant::SnapshotWithoutEnd);
        let begins = self.phase == Phase::Syncing;
        let ticket = match self.phase {
            Phase::Syncing if offset == 0 => base.new_read(),
            Phase::Installing { at: begun, ticket, .. } if begun == at || offset == 0 => ticket,
            Phase::Joining { .. }
            | Phase::Promising
            | Phase::Syncing
            | Phase::Comparing { .. }
            | Phase::Truncating { .. }
            | Phase::Installing { .. }
            | Phase::Recording { .. }
            | Phase::Saving
            | Phase::Synced
            | Phase::Following => return self.violation(base, Anomaly::Phase, out),
        };
        if at.zxid < base.committed {
            out.push(Action::Halt(Divergence::CommittedLost {
                committed: base.committed,
                leader: at.zxid,
            }));
            return;
        }
        // Epochs may have followed each other while this snapshot was waited for. A voter has none of a
        // history before it is durable here that older epochs are not followed any more.
        if base.is_voter() && base.epochs.accepted < at.zxid.epoch() {
            if base.saving.is_none() {
                let accepted = at.zxid.epoch();
                base.save(Epochs { accepted, current: base.epochs.current }, out);
            }
            if end {
                return self.join_anew(base, out);
            }
        }
        self.deadline = base.now + base.timing.join_ticks;
        let length = bytes.len() as u64;
        if begins
            && !end
            && let Some(upto) = base.resume(self.leader, at, length)
        {
            self.phase = Phase::Installing { at, ticket, end };
            return self.say(base, ToLeader::SnapshotStored(upto), out);
        }
        if !base.store(self.leader, at, offset, length) {
            return self.violation(base, Anomaly::Phase, out);
        }
        self.phase = Phase::Installing { at, ticket, end };
        if end {
            base.incoming = None;
            base.restoring = Some((ticket, at));
        }
        out.push(Action::StoreSnapshot { ticket, at, offset, bytes, end });
    }

    pub fn on_snapshot_stored(
        &mut self,
        base: &mut Base,
        ticket: u64,
        upto: u64,
        out: &mut Vec<Action>,
    ) {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.ask(base, out);
        }
        let Phase::Installing { at, ticket: asked, end } = self.phase else { return };
        if ticket != asked {
            return;
        }
        if end {
            assert_eq!(base.log, at, "the snapshot is this server's history");
            self.acknowledged = Zxid::ZERO;
            self.phase = Phase::Syncing;
        }
        self.say(base, ToLeader::SnapshotStored(upto), out);
    }

    fn on_new_leader(
        &mut self,
        base: &mut Base,
        epoch: Epoch,
        at: Position,
        out: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Syncing || epoch != self.epoch {
            return self.violation(base, Anomaly::Phase, out);
        }
        if at != base.log && !base.planted(Mutant::TruncationSkipped) {
            return self.violation(base, Anomaly::Records, out);
        }
        self.phase = Phase::Recording { upto: at.zxid };
        self.on_durable(base, out);
    }

    /// The log, or more of it, is durable.
    pub fn on_durable(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.ask(base, out);
        }
        if let Phase::Recording { upto } = self.phase
            && (upto <= base.durable || base.planted(Mutant::EpochBeforeHistory))
            && base.saving.is_none()
            && base.cutting.is_none()
        {
            // The history is durable before the epoch says that it is here: a crash between the two
            // leaves a server that claims less than it has, never more.
            self.phase = Phase::Saving;
            let accepted = base.epochs.accepted.max(self.epoch);
            base.save(Epochs { accepted, current: self.epoch }, out);
            if base.planted(Mutant::SyncedBeforeEpochSaved) {
                self.phase = Phase::Synced;
                self.say(base, ToLeader::Synced(self.epoch), out);
            }
        }
        self.acknowledge(base, false, out);
    }

    /// Says how far the log is durable. Nobody waits for that of a learner that does not vote: it says
    /// so when it is asked, and before what is sent to it could be held up.
    fn acknowledge(&mut self, base: &Base, asked: bool, out: &mut Vec<Action>) {
        let joined = self.has_joined();
        let little = self.unacknowledged < self.unacknowledged_max(base);
        if !asked && little && self.is_following() && !base.is_voter() {
            return;
        }
        if joined && self.acknowledged < base.durable {
            (self.acknowledged, self.unacknowledged) = (base.durable, 0);
            self.say(base, ToLeader::Ack(base.durable), out);
        }
    }

    pub fn on_epochs_saved(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Joining { .. } => self.ask(base, out),
            Phase::Promising => self.promised(base, true, out),
            Phase::Saving => {
                self.phase = Phase::Synced;
                self.say(base, ToLeader::Synced(self.epoch), out);
                self.acknowledge(base, false, out);
            }
            Phase::Recording { .. } => self.on_durable(base, out),
            Phase::Syncing
            | Phase::Comparing { .. }
            | Phase::Truncating { .. }
            | Phase::Installing { .. }
            | Phase::Synced
            | Phase::Following => {}
        }
    }

    fn on_up_to_date(&mut self, base: &mut Base, committed: Zxid, out: &mut Vec<Action>) {
        if self.phase != Phase::Synced {
            return self.violation(base, Anomaly::Phase, out);
        }
        self.phase = Phase::Following;
        self.note_word(base);
        base.preferred = false;
        self.on_commit(base, committed, out);
        out.push(Action::Became(Standing::Following(self.leader, self.epoch)));
        self.tell_voters(base, out);
    }

    fn on_commit(&mut self, base: &mut Base, upto: Zxid, out: &mut Vec<Action>) {
        if self.phase != Phase::Following {
            return self.violation(base, Anomaly::Phase, out);
        }
        if base.log.zxid < upto {
            return self.violation(base, Anomaly::Commit, out);
        }
        self.commit(base, upto, out);
    }

    /// The leader, or the way to it, is at fault: nothing it said in this session is built upon.
    fn violation(&mut self, base: &mut Base, anomaly: Anomaly, out: &mut Vec<Action>) {
        base.refuse(self.leader, anomaly, out);
        self.join_anew(base, out);
    }
}
