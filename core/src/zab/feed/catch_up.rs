//! Giving a learner this server's history: from the log on disk, or as a snapshot.
//!
//! The log is the one source. A learner's position is *proven* to be in it, by the chained
//! checksum, before anything is sent behind it; a position that is not in it is narrowed down by
//! asking back and forth for the nearest one below, which ends at the first common record.

use std::sync::Arc;

use super::Feed;
use super::link::{Link, Sending, Stage};
use crate::zab::base::Base;
use crate::zab::event::Action;
use crate::zab::message::ToLearner;
use crate::zab::mutant::Mutant;
use crate::zab::run::{Position, Run};
use crate::zxid::{ServerId, Zxid};

/// Records that are read from the log for a learner at a time.
pub const READ_BYTES_MAX: u64 = 1 << 20;

/// What may be in flight to a learner is read in at least so many parts.
const READS_IN_FLIGHT: u64 = 4;

/// Learners that are sent a snapshot at once, of those who vote and of the others. More would make each of them
/// wait longer for its last byte, and the leader's disk and link are needed for proposals meanwhile. One that
/// votes does not wait for those who do not, over ways that may take hours.
pub const SNAPSHOTS_SENT_MAX: usize = 2;

/// What may be in flight to all who do not vote and catch up: each is read its own part of the log. One of
/// many still has its least.
const CATCH_UP_BYTES: u64 = 64 << 20;
pub const CATCH_UP_BYTES_MIN: u64 = 256 << 10;

impl Feed {
    pub fn on_have(
        &mut self,
        base: &mut Base,
        from: ServerId,
        at: Option<Position>,
        out: &mut Vec<Action>,
    ) {
        let link = self.links.get_mut(&from).expect("looked up by the caller");
        if link.stage != Stage::Comparing {
            return;
        }
        match at {
            Some(at) => locate(base, link, at, out),
            None => {
                link.stage = Stage::Queued { order: base.new_read() };
                self.grant_snapshots(base, out);
            }
        }
    }

    pub fn on_log_read(
        &mut self,
        base: &mut Base,
        ticket: u64,
        at: Option<Position>,
        run: Option<Run>,
        out: &mut Vec<Action>,
    ) {
        let Some(link) = self.links.values_mut().find(|link| link.reads(ticket)) else { return };
        let id = link.id;
        match (&link.stage, at) {
            (Stage::Locating { at: asked, .. }, Some(at)) => {
                let blind = base.planted(Mutant::HistoryNotProven) && at.zxid <= asked.zxid;
                if at == *asked || blind {
                    let asked = *asked;
                    link.proven(asked);
                    self.continue_catch_up(base, id, out);
                } else if !link.join.votes && base.committed < at.zxid {
                    // What is not committed is not named to who is sent nothing else.
                    let (asked, committed) = (*asked, base.committed);
                    look_up(base, link, asked, committed, out);
                } else {
                    link.stage = Stage::Comparing;
                    link.say(ToLearner::Compare(at), out);
                }
            }
            (Stage::CatchUp { .. }, Some(at)) => {
                assert_eq!(at, link.sent, "what was sent is in this leader's log");
                link.stage = Stage::CatchUp { reading: None };
                if let Some(run) = run {
                    self.send_read(base, id, run, out);
                }
                self.continue_catch_up(base, id, out);
            }
            // The log was purged while a learner that serves fell behind: it stops serving and
            // joins again, for a snapshot is no part of a broadcast.
            (Stage::CatchUp { .. }, None)
                if link.new_leader.is_some() && !base.planted(Mutant::SnapshotWhileServing) =>
            {
                self.drop_link(base, id, out);
            }
            // The log begins behind the learner's history, or was purged up to beyond it.
            (_, None) => {
                link.stage = Stage::Queued { order: base.new_read() };
                self.grant_snapshots(base, out);
            }
            (
                Stage::Greeted
                | Stage::Promised
                | Stage::Comparing
                | Stage::Queued { .. }
                | Stage::Snapshotting(_)
                | Stage::Live,
                Some(_),
            ) => {}
        }
    }

    /// A read has no answer: whoever waits for it joins again.
    pub fn on_read_dropped(&mut self, base: &Base, ticket: u64, out: &mut Vec<Action>) {
        if let Some(id) = self.links.values().find(|link| link.reads(ticket)).map(|link| link.id) {
            self.drop_link(base, id, out);
        }
    }

    fn send_read(&mut self, base: &Base, id: ServerId, run: Run, out: &mut Vec<Action>) {
        let link = self.links.get_mut(&id).expect("reading");
        let open = link.join.votes || base.planted(Mutant::CatchUpUncommitted);
        let limit = if open { base.log.zxid } else { base.committed };
        let (Some(run), _) = run.split(limit) else { return };
        assert_eq!(run.after(), link.sent, "a learner's history has no hole");
        link.flew(run.upto(), run.bytes().len() as u64);
        let (after, bytes): (_, Arc<[u8]>) = (run.after(), run.bytes().clone());
        let body = if link.join.votes || !link.up_to_date {
            ToLearner::Records { after, bytes }
        } else {
            link.commit_sent = run.upto().zxid;
            ToLearner::Inform { after, bytes }
        };
        link.say(body, out);
        if link.join.votes {
            link.tell_commit(base.committed, out);
        }
    }

    /// Reads on for a learner, or ends its synchronisation when it has been sent everything.
    pub fn continue_catch_up(&mut self, base: &mut Base, id: ServerId, out: &mut Vec<Action>) {
        let is_next = |link: &Link| {
            let goal = if link.join.votes { base.log.zxid } else { base.committed };
            link.stage == (Stage::CatchUp { reading: None }) && link.sent.zxid < goal
        };
        let link = self.links.get(&id).expect("looked up by the caller");
        let own = base.timing.flight(link.join.votes);
        let limit = match link.join.votes || !is_next(link) {
            true => own,
            false => own.min(self.catch_up_share()),
        };
        self.catch_up_within(base, id, limit, out);
    }

    /// The same, with no more than `limit` in flight.
    pub fn catch_up_within(
        &mut self,
        base: &mut Base,
        id: ServerId,
        limit: u64,
        out: &mut Vec<Action>,
    ) {
        let epoch = self.epoch;
        let link = self.links.get_mut(&id).expect("looked up by the caller");
        if link.stage != (Stage::CatchUp { reading: None }) {
            return;
        }
        let goal = if link.join.votes { base.log.zxid } else { base.committed };
        if base.planted(Mutant::NewLeaderTooEarly) && link.new_leader.is_none() {
            link.tell_new_leader(epoch, out);
        }
        if link.sent.zxid < goal {
            let early = base.planted(Mutant::HandoverForgetsInFlight)
                && goal.0 - link.sent.zxid.0 < 3
                && link.sent.zxid.epoch() == epoch;
            if early {
                link.sent = base.log;
                link.stage = Stage::Live;
                return;
            }
            if link.flight_bytes() <= limit {
                read_on(base, link, limit, out);
            }
            return;
        }
        assert!(link.sent.zxid == goal || goal < link.sent.zxid && !link.join.votes);
        link.stage = Stage::Live;
        if link.new_leader.is_none() {
            link.tell_new_leader(epoch, out);
        }
        link.tell_commit(base.committed, out);
    }

    /// What may be in flight to each of those who do not vote and catch up. Looks at every link.
    pub fn catch_up_share(&self) -> u64 {
        let catches_up =
            |link: &&Link| !link.join.votes && matches!(link.stage, Stage::CatchUp { .. });
        let count = self.links.values().filter(catches_up).count() as u64;
        (CATCH_UP_BYTES / count.max(1)).max(CATCH_UP_BYTES_MIN)
    }

    pub fn on_snapshot_stored(
        &mut self,
        base: &mut Base,
        from: ServerId,
        upto: u64,
        out: &mut Vec<Action>,
    ) {
        let epoch = self.epoch;
        let link = self.links.get_mut(&from).expect("looked up by the caller");
        let ahead_max = ahead_max(base, link);
        let Stage::Snapshotting(sending) = &mut link.stage else { return };
        let Some(at) = sending.at else { return };
        // A learner that has more of the same snapshot from before is not sent that again. It
        // verifies the whole: what it has may be wrong, and is then not taken.
        let resumed = sending.stored == 0 && sending.offset < upto && !sending.end;
        if upto <= sending.stored || sending.offset < upto && !resumed {
            return;
        }
        sending.stored = upto;
        if resumed {
            let wrong = base.planted(Mutant::SnapshotResumesWrong);
            sending.offset = if wrong { upto.saturating_sub(1) } else { upto };
            sending.stored = sending.offset;
        }
        if sending.end && sending.stored == sending.offset {
            if link.epoch == epoch {
                // It is this leader's own snapshot: proven, if the log still has its place.
                locate(base, link, at, out);
            } else {
                link.greet(epoch, out);
            }
        } else {
            send_on(link, ahead_max, out);
        }
        self.grant_snapshots(base, out);
    }

    /// Begins to send snapshots to those who wait for one while few are sent.
    pub fn grant_snapshots(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        for votes in [true, false] {
            self.grant_some(base, votes, out);
        }
    }

    /// The same for those who vote, or who do not.
    fn grant_some(&mut self, base: &mut Base, votes: bool, out: &mut Vec<Action>) {
        let quorum = base.quorum.clone();
        let is_meant = |link: &Link| quorum.contains(link.id) == votes;
        let is_sent = |link: &&Link| matches!(link.stage, Stage::Snapshotting(_)) && is_meant(link);
        for _ in self.links.values().filter(is_sent).count()..SNAPSHOTS_SENT_MAX {
            let place = |link: &mut Link| match link.stage {
                Stage::Queued { order } => is_meant(link).then_some(order),
                Stage::Greeted
                | Stage::Promised
                | Stage::Locating { .. }
                | Stage::Comparing
                | Stage::CatchUp { .. }
                | Stage::Snapshotting(_)
                | Stage::Live => None,
            };
            let waiting = self.links.values_mut().filter_map(|link| Some((place(link)?, link)));
            let Some((_, link)) = waiting.min_by_key(|(place, _)| *place) else { return };
            let ticket = base.new_read();
            let sending = Sending { ticket, reading: true, ..Sending::default() };
            link.stage = Stage::Snapshotting(sending);
            out.push(Action::ReadSnapshot { ticket, offset: 0 });
        }
    }

    pub fn on_snapshot_read(
        &mut self,
        base: &Base,
        ticket: u64,
        (at, offset, end): (Position, u64, bool),
        bytes: Arc<[u8]>,
        out: &mut Vec<Action>,
    ) {
        for link in self.links.values_mut() {
            let ahead_max = ahead_max(base, link);
            let Stage::Snapshotting(sending) = &mut link.stage else { continue };
            if sending.ticket != ticket || !std::mem::take(&mut sending.reading) {
                continue;
            }
            sending.at = Some(at);
            // Who claims to have more than there is is sent all of it.
            sending.stored = sending.stored.min(offset);
            if end {
                sending.offset = offset;
                sending.last = Some(bytes);
            } else {
                sending.offset = offset + bytes.len() as u64;
                link.say(ToLearner::Snapshot { at, offset, bytes, end }, out);
            }
            return send_on(link, ahead_max, out);
        }
    }
}

/// How much more of a snapshot than a learner has stored may be on its way to it, bytes; 0: a part at a time.
/// Over a long way a part at a time would be a part in each round trip. Of a voter it is not said that a part
/// of a message has come: it would miss its leader behind several.
fn ahead_max(base: &Base, link: &Link) -> u64 {
    if link.join.votes { 0 } else { base.timing.flight(false) / 2 }
}

/// Reads on in a snapshot, or sends what was read, if it is time to.
fn send_on(link: &mut Link, ahead_max: u64, out: &mut Vec<Action>) {
    let Stage::Snapshotting(sending) = &mut link.stage else { return };
    let (offset, all_stored) = (sending.offset, sending.stored == sending.offset);
    if let Some(bytes) = sending.last.take_if(|_| all_stored) {
        let at = sending.at.expect("a part of it was read");
        sending.offset += bytes.len() as u64;
        sending.end = true;
        return link.say(ToLearner::Snapshot { at, offset, bytes, end: true }, out);
    }
    // Behind the first part the learner says whether it has more from before.
    let goes_ahead = 0 < sending.stored && offset - sending.stored < ahead_max;
    let done = sending.end || sending.last.is_some();
    if !done && !sending.reading && (all_stored || goes_ahead) {
        sending.reading = true;
        out.push(Action::ReadSnapshot { ticket: sending.ticket, offset });
    }
}

pub fn locate(base: &mut Base, link: &mut Link, at: Position, out: &mut Vec<Action>) {
    look_up(base, link, at, at.zxid, out);
}

/// Looks whether the log has `at`, or what it has nearest below `from`.
fn look_up(base: &mut Base, link: &mut Link, at: Position, from: Zxid, out: &mut Vec<Action>) {
    let ticket = base.new_read();
    link.stage = Stage::Locating { at, ticket };
    out.push(Action::ReadLog { ticket, from, bytes_max: 0 });
}

/// Reads a part of what may fly, which is `limit`.
fn read_on(base: &mut Base, link: &mut Link, limit: u64, out: &mut Vec<Action>) {
    let ticket = base.new_read();
    link.stage = Stage::CatchUp { reading: Some(ticket) };
    // So that the rest of it is on its way while this is read.
    let part = (limit / READS_IN_FLIGHT).max(1);
    let bytes_max = READ_BYTES_MAX.min(part);
    out.push(Action::ReadLog { ticket, from: link.sent.zxid, bytes_max });
}
