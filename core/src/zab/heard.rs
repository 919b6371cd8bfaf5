//! What other servers say, and that they are there or gone: who of this machine's parts it is for.

use super::Zab;
use super::base::Upstream;
use super::event::Action;
use super::message::{Ballot, Join, Message, Offer, Stance, ToLeader};
use super::role::{Next, Role};
use crate::zxid::ServerId;

impl Zab {
    pub(super) fn received(
        &mut self,
        from: ServerId,
        message: Message,
        out: &mut Vec<Action>,
    ) -> Next {
        match message {
            Message::Ballot(ballot) => {
                if self.base.hear(from, Some(&ballot)) {
                    return self.on_ballot(from, &ballot, out);
                }
                Next::Stay
            }
            Message::Join { session, join } => self.on_join(from, session, join, out),
            Message::ToLeader { session, sequence, body } => {
                self.on_learner(from, (session, sequence), body, out)
            }
            Message::ToLearner { session, sequence, body } => {
                let base = &mut self.base;
                base.hear(from, None);
                match &mut self.role {
                    Role::Learning(learning) if learning.leader() == from => {
                        learning.on_message(base, (session, sequence), body, out)
                    }
                    Role::Idle
                    | Role::Looking(_)
                    | Role::Seeking(_)
                    | Role::Learning(_)
                    | Role::Leading(_) => Next::Stay,
                }
            }
            Message::Seek => {
                self.base.hear(from, None);
                let offer = self.offer();
                self.base.send(from, Message::Offer(offer), out);
                Next::Stay
            }
            Message::Offer(offer) => self.on_offer(from, offer, out),
            // Who heals its log takes part in nothing yet: that it is there means nothing.
            Message::Fetch { after, until, bytes_max } => {
                let base = &mut self.base;
                self.fetches.on_fetch(base, from, (after, until), bytes_max, out);
                Next::Stay
            }
            Message::Fetched { .. } => Next::Stay, // it has healed since, or given up
            Message::Reset { session } => self.on_reset(from, session, out),
        }
    }

    /// Somebody wants to learn from this server.
    fn on_join(&mut self, from: ServerId, session: u64, join: Join, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        base.hear(from, None);
        match &mut self.role {
            Role::Leading(leading) => leading.on_join(base, from, session, join, out),
            Role::Learning(learning) if learning.can_feed(base, from) => {
                learning.on_join(base, from, session, join, out);
                Next::Stay
            }
            Role::Idle => Next::Stay,
            Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => self.decline(from, out),
        }
    }

    /// Somebody who learns from this server, or believes to, says something.
    fn on_learner(
        &mut self,
        from: ServerId,
        place: (u64, u64),
        body: ToLeader,
        out: &mut Vec<Action>,
    ) -> Next {
        let base = &mut self.base;
        base.hear(from, None);
        match &mut self.role {
            Role::Leading(leading) => leading.on_message(base, from, place, body, out),
            Role::Learning(learning) if learning.can_feed(base, from) => {
                learning.on_learner(base, from, place, body, out);
                Next::Stay
            }
            Role::Idle => Next::Stay,
            Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => self.decline(from, out),
        }
    }

    /// A server that this one can learn from says whether it can.
    fn on_offer(&mut self, from: ServerId, offer: Offer, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        base.hear(from, None);
        if !base.offered(from, offer) {
            return Next::Stay;
        }
        match &mut self.role {
            Role::Idle | Role::Looking(_) | Role::Leading(_) => Next::Stay,
            Role::Seeking(seeking) => seeking.consider(base),
            Role::Learning(learning) => learning.on_offer(base, from, out),
        }
    }

    /// A session is over: this server's own, or that of one which learns from it and has gone.
    fn on_reset(&mut self, from: ServerId, session: u64, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        base.hear(from, None);
        match &mut self.role {
            Role::Learning(learning) if learning.leader() == from => {
                learning.on_reset(base, session, out)
            }
            Role::Learning(learning) => {
                learning.feed_mut().on_left(from, session);
                Next::Stay
            }
            Role::Leading(leading) => {
                leading.feed_mut().on_left(from, session);
                Next::Stay
            }
            Role::Idle | Role::Looking(_) | Role::Seeking(_) => Next::Stay,
        }
    }

    fn on_ballot(&mut self, from: ServerId, ballot: &Ballot, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        let asks = matches!(ballot.stance, Stance::Looking | Stance::Watching);
        match &mut self.role {
            Role::Idle | Role::Seeking(_) => Next::Stay,
            Role::Looking(looking) => looking.on_ballot(base, from, ballot, out),
            Role::Learning(learning) => {
                if learning.leader() == from {
                    let next = learning.on_leaders_ballot(base, ballot, out);
                    if next != Next::Stay {
                        return next;
                    }
                }
                if asks { self.decline(from, out) } else { Next::Stay }
            }
            Role::Leading(leading) => {
                if asks {
                    let own = base.ballot(Stance::Leading, None);
                    base.send(from, Message::Ballot(own), out);
                    return Next::Stay;
                }
                leading.yield_to(base, out)
            }
        }
    }

    /// Tells a server that takes this one for a leader, or looks for one, what this one is doing.
    fn decline(&mut self, to: ServerId, out: &mut Vec<Action>) -> Next {
        match &self.role {
            // Who asks takes this one for an upstream that it is not now.
            Role::Seeking(_) => {
                let offer = self.offer();
                self.base.send(to, Message::Offer(offer), out);
            }
            Role::Looking(looking) => looking.answer(&mut self.base, to, out),
            Role::Learning(learning) => {
                let ballot = self.base.ballot(Stance::Following(learning.leader()), None);
                self.base.send(to, Message::Ballot(ballot), out);
            }
            Role::Idle | Role::Leading(_) => {}
        }
        Next::Stay
    }

    /// What this server offers to those who look for one to learn from.
    fn offer(&self) -> Offer {
        let base = &self.base;
        match &self.role {
            Role::Idle | Role::Looking(_) | Role::Seeking(_) => base.offer(false, Vec::new()),
            Role::Learning(learning) => learning.offer(base),
            Role::Leading(leading) => leading.offer(base),
        }
    }

    /// A server that does not vote has a link to this one, and asks who leads.
    pub(super) fn asked_who_leads(&mut self, from: ServerId, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        base.hear(from, None);
        match &self.role {
            Role::Leading(_) => {
                let own = base.ballot(Stance::Leading, None);
                base.send(from, Message::Ballot(own), out);
                Next::Stay
            }
            Role::Idle | Role::Looking(_) | Role::Seeking(_) | Role::Learning(_) => {
                self.decline(from, out)
            }
        }
    }

    /// There is a link to an upstream, which may have been asked so many ticks ago what it offers.
    pub(super) fn linked(
        &mut self,
        peer: ServerId,
        rank: u32,
        asked: Option<u64>,
        out: &mut Vec<Action>,
    ) -> Next {
        let base = &mut self.base;
        if base.upstreams.contains_key(&peer) {
            return Next::Stay;
        }
        let upstream = Upstream {
            rank,
            asked_at: base.now.saturating_sub(asked.unwrap_or(0)),
            round_trip: 0,
            good_offers: 0,
            lags: 0,
            stands_still: false,
            left: 0,
            kept: 0,
            offer: None,
        };
        base.upstreams.insert(peer, upstream);
        if base.listed && asked.is_none() {
            base.seek(peer, out);
        }
        Next::Stay
    }

    pub(super) fn arriving(&mut self, from: ServerId) -> Next {
        let base = &self.base;
        match &mut self.role {
            Role::Learning(learning) if learning.leader() == from => learning.arriving(base),
            Role::Learning(learning) => learning.feed_mut().arriving(base, from),
            Role::Leading(leading) => leading.feed_mut().arriving(base, from),
            Role::Idle | Role::Looking(_) | Role::Seeking(_) => {}
        }
        Next::Stay
    }

    pub(super) fn disconnected(&mut self, peer: ServerId, out: &mut Vec<Action>) -> Next {
        let base = &mut self.base;
        base.forget(peer);
        self.fetches.forget(peer);
        match &mut self.role {
            Role::Idle => Next::Stay,
            Role::Looking(looking) => looking.consider(base, out),
            Role::Seeking(seeking) => seeking.consider(base),
            Role::Learning(learning) if learning.leader() == peer => learning.leave(base, out),
            Role::Learning(learning) => {
                learning.feed_mut().drop_link(base, peer, out);
                Next::Stay
            }
            Role::Leading(leading) => {
                leading.feed_mut().drop_link(base, peer, out);
                Next::Stay
            }
        }
    }
}
