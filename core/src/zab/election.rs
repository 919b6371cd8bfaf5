//! Looking for a leader.
//!
//! ```text
//!            ┌── a quorum follows one leader, which hears me ──────────► follow it
//! Looking ───┤
//!            └── a quorum votes as I do, for finalize_ticks ──► me: lead; another: follow it
//! ```
//!
//! Each server votes for the best candidate *that it hears itself and that hears it*, and only who
//! hears a quorum is a candidate. So the elected can reach a quorum, also when links are cut one way
//! or between some pairs only. Whoever has a leader answers with that and does not vote: a server
//! that comes back, or is cut off one way, unseats nobody. Nothing here is needed for safety: that
//! is discovery's, which refuses a candidate whose history lacks anything.

use super::base::Base;
use super::event::Action;
use super::message::{Ballot, Message, Stance, Vote};
use super::mutant::Mutant;
use super::role::Next;
use crate::zxid::ServerId;

#[derive(Clone, Debug)]
pub(super) struct Looking {
    vote: Option<Vote>,
    /// Since when the vote and its round are as they are.
    since: u64,
    round: u64,
    resend_at: u64,
    /// What was said last, to say it again only when it changed.
    said: Option<Ballot>,
}

impl Looking {
    pub fn begin(base: &mut Base, out: &mut Vec<Action>) -> (Self, Next) {
        base.round += 1;
        if base.durable != base.log.zxid {
            // Only a server that knows its own history to be durable offers it to others.
            let ticket = base.new_ticket();
            out.push(Action::Flush { ticket });
        }
        let mut looking = Self {
            vote: None,
            since: base.now,
            round: base.round,
            resend_at: base.now,
            said: None,
        };
        let next = looking.consider(base, out);
        (looking, next)
    }

    pub fn stance(base: &Base) -> Stance {
        if base.is_voter() { Stance::Looking } else { Stance::Watching }
    }

    /// A newer ballot of `from` was noted.
    pub fn on_ballot(
        &mut self,
        base: &mut Base,
        from: ServerId,
        ballot: &Ballot,
        out: &mut Vec<Action>,
    ) -> Next {
        if ballot.stance == Stance::Looking && base.quorum.contains(from) {
            base.round = base.round.max(ballot.round);
        }
        let next = self.consider(base, out);
        // Who does not vote has no round to tell of: two such answers would go back and forth.
        let behind =
            base.is_voter() && ballot.stance == Stance::Looking && ballot.round < base.round;
        if behind || ballot.stance == Stance::Watching {
            self.answer(base, from, out);
        }
        next
    }

    pub fn on_tick(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        let next = self.consider(base, out);
        if base.now >= self.resend_at {
            self.say(base, out);
        }
        next
    }

    /// Votes for the best candidate in reach, says so if that is new, and decides if it can.
    pub fn consider(&mut self, base: &mut Base, out: &mut Vec<Action>) -> Next {
        if let Some(vote) = self.vote
            && let Some(ballot) = base.peers.get(&vote.candidate).and_then(|p| base.fresh(p))
            && ballot.stance == Stance::Leading
            && ballot.heard.contains(&base.me)
            && !base.planted(Mutant::CountedLeaderLeft)
        {
            // It has counted the votes before this server has, this server's among them. Whoever
            // looked for another candidate now would leave it without its quorum.
            return Next::Follow(vote.candidate);
        }
        let vote = if base.is_voter() { best(base) } else { None };
        if (vote, base.round) != (self.vote, self.round) {
            (self.vote, self.round, self.since) = (vote, base.round, base.now);
        }
        let ballot = base.ballot(Self::stance(base), self.vote);
        if self.said.as_ref().is_none_or(|said| !says_the_same(said, &ballot)) {
            self.say(base, out);
        }
        self.decide(base)
    }

    fn say(&mut self, base: &mut Base, out: &mut Vec<Action>) {
        let ballot = base.ballot(Self::stance(base), self.vote);
        base.send_voters(&Message::Ballot(ballot.clone()), out);
        self.said = Some(ballot);
        let jitter = base.prng.below(base.timing.ballot_ticks / 2 + 1);
        self.resend_at = base.now + base.timing.ballot_ticks - jitter;
    }

    /// Tells one server what this one told all.
    pub fn answer(&self, base: &mut Base, to: ServerId, out: &mut Vec<Action>) {
        let ballot = base.ballot(Self::stance(base), self.vote);
        base.send(to, Message::Ballot(ballot), out);
    }

    fn decide(&self, base: &Base) -> Next {
        if let Some(leader) = established(base) {
            return Next::Follow(leader);
        }
        let Some(vote) = self.vote else { return Next::Stay };
        let agreeing: Vec<ServerId> = ballots(base)
            .filter(|(_, ballot)| ballot.round == base.round)
            .filter(|(_, ballot)| match ballot.stance {
                Stance::Looking => ballot.vote == Some(vote),
                // It has counted the votes already, and its own is among them.
                Stance::Following(leader) => leader == vote.candidate,
                Stance::Watching => base.planted(Mutant::WipedVoterCounted),
                Stance::Leading => false,
            })
            .map(|(id, _)| id)
            .chain([base.me])
            .collect();
        let waited = base.now - self.since >= base.timing.finalize_ticks;
        // Whoever is known to be gone is not waited for: a leader's death is seen at once.
        let parted = base.parted.iter().filter(|&&id| base.quorum.contains(id)).count();
        let everybody = agreeing.len() + parted == base.quorum.voters();
        if !base.quorum.is_reached(agreeing) || !(everybody || waited) {
            return Next::Stay;
        }
        if vote.candidate == base.me { Next::Lead } else { Next::Follow(vote.candidate) }
    }
}

/// Fresh ballots of other voters.
fn ballots(base: &Base) -> impl Iterator<Item = (ServerId, &Ballot)> {
    base.peers
        .iter()
        .filter(|&(&id, _)| id != base.me && base.quorum.contains(id))
        .filter_map(|(&id, peer)| base.fresh(peer).map(|ballot| (id, ballot)))
}

fn best(base: &Base) -> Option<Vote> {
    ballots(base)
        .filter(|(_, ballot)| {
            ballot.stance == Stance::Looking
                && ballot.round == base.round
                && ballot.heard.contains(&base.me)
        })
        .filter_map(|(id, ballot)| ballot.own.filter(|own| own.candidate == id))
        .chain(base.candidacy())
        .max_by(|a, b| if base.planted(Mutant::VotesForShortest) { b.cmp(a) } else { a.cmp(b) })
}

/// The leader that a quorum has, if it has this server's ear too.
pub(super) fn established(base: &Base) -> Option<ServerId> {
    ballots(base)
        .filter(|(_, ballot)| ballot.stance == Stance::Leading && ballot.heard.contains(&base.me))
        .filter(|(_, b)| b.round == base.round || !base.planted(Mutant::JoinsSameRoundOnly))
        .map(|(leader, _)| leader)
        .find(|&leader| {
            let following = ballots(base)
                .filter(|(_, ballot)| ballot.stance == Stance::Following(leader))
                .map(|(id, _)| id);
            // With this server it is a quorum: a follower that restarts comes back at once, even
            // where the leader has no other.
            base.quorum.is_reached(following.chain([leader, base.me]))
        })
}

fn says_the_same(a: &Ballot, b: &Ballot) -> bool {
    (a.round, a.stance, a.own, a.vote, &a.heard) == (b.round, b.stance, b.own, b.vote, &b.heard)
}
