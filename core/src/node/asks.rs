//! What this server's connections wait for, in the order in which they asked.
//!
//! ```text
//! Waiting ─► Asked ─► Proposed(zxid) ─► applied: answered
//!    ▲          └───► Behind(zxid, answer) ─► that one applied: answered
//!    └── the way to the leader was lost, and the history does not have it
//! ```
//!
//! Everything from `unasked` on is waiting. Numbers rise by one, and one that anybody was told is
//! never used twice. What was answered before anybody was asked leaves no gap: the rest moves up.

mod likeness;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::exchange::Hold;
use super::submission::{Ask, Item, Outcome};
use crate::answer::Answer;
use crate::txn::{Txn, TxnHead};
use crate::wire::handshake::Password;
use crate::wire::{ErrorCode, OpCode};
use crate::zxid::{SessionId, Zxid};

/// How far one ask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody who could decide it knows of it.
    Waiting,
    /// The leader was asked.
    Asked,
    /// It is this proposal or, if that is lost, nothing.
    Proposed(Zxid, Hold),
    /// It is answered with this once so much is applied.
    Behind(Zxid, Ending),
    /// It was answered.
    Done,
}

/// The answer to an ask that is no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The request's own body: a sync.
    Echo,
    /// This error.
    Fail(ErrorCode),
    /// The session goes on here.
    Resumed(Hold, i32, Password),
    /// No body, no header: the handshake's own.
    Handshake(Outcome),
}

#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub item: Item,
    pub body: Arc<[u8]>,
    /// Known once it was decided; else worked out when it is needed.
    pub answer: Option<Answer>,
    pub since_ms: i64,
    pub stage: Stage,
    /// Its client was told that nobody knows what becomes of it: what does is not told again.
    pub told: bool,
    /// It ends the session, which has gone on at another connection since.
    pub overtaken: bool,
}

impl Pending {
    /// What it counts of the room for writes. Nothing once its client was told: no client can make
    /// more of those while the way is lost, and what waits must not be held back by them. Who asks counts as well: the
    /// leader is told with each request, and what a cut has held back goes to it all at once.
    fn charge(&self) -> usize {
        let identities = self.item.identities.iter().map(|it| it.scheme.len() + it.id.len());
        if self.told { 0 } else { self.body.len() + identities.sum::<usize>() }
    }

    /// Whether it ends its session, which is worth doing also when nobody waits for it any more.
    pub const fn closes(&self) -> bool {
        matches!(self.item.ask, Ask::Write(OpCode::CloseSession))
    }
}

#[derive(Debug, Default)]
pub(super) struct Asks {
    /// The number of the first in `pending`.
    first: u64,
    pending: VecDeque<Pending>,
    /// The first that is waiting.
    unasked: u64,
    /// What is answered when so much is applied, in that order.
    due: VecDeque<(Zxid, u64)>,
    /// Asks whose way to the leader was lost, by session, oldest first.
    in_doubt: BTreeMap<SessionId, VecDeque<u64>>,
    /// Of those, what the history passed over: it has a later ask of the session and not this one.
    passed: Vec<u64>,
    /// How many ends of which session are pending.
    ends: BTreeMap<SessionId, u32>,
    /// Bodies of all that clients wait for, and who asks.
    bytes: usize,
}

impl Asks {
    pub fn push(&mut self, item: Item, body: &[u8], now_ms: i64) -> u64 {
        let number = self.end();
        let (since_ms, stage) = (now_ms, Stage::Waiting);
        let (body, answer, told, overtaken) = (body.into(), None, false, false);
        let ask = Pending { item, body, answer, since_ms, stage, told, overtaken };
        self.bytes += ask.charge();
        if ask.closes() {
            *self.ends.entry(ask.item.session).or_default() += 1;
        }
        self.pending.push_back(ask);
        number
    }

    /// Whether nobody waits for anything.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let open = self.due.is_empty() && self.in_doubt.is_empty() && self.ends.is_empty();
        self.pending.is_empty() && open
    }

    /// Who comes back with a session and waits for that to be asked.
    pub fn returning(&self) -> Vec<(Item, Arc<[u8]>)> {
        let waiting = self.pending.iter().skip((self.unasked - self.first) as usize);
        let returns = waiting.filter(|it| matches!(it.item.ask, Ask::Resume { .. }));
        returns.map(|it| (it.item.clone(), Arc::clone(&it.body))).collect()
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Behind the last number.
    pub fn end(&self) -> u64 {
        self.first + self.pending.len() as u64
    }

    /// The first that nobody was asked yet.
    pub fn unasked(&self) -> Option<u64> {
        (self.unasked < self.end()).then_some(self.unasked)
    }

    /// The first waiting ask is on its way.
    pub fn asked(&mut self) {
        let number = self.unasked;
        self.unasked += 1;
        self.get_mut(number).expect("it is pending").stage = Stage::Asked;
    }

    /// The first waiting ask was given up.
    pub fn skip(&mut self) {
        self.unasked += 1;
    }

    /// The first waiting ask, which this is, was decided here and perhaps answered.
    pub fn decided(&mut self, number: u64) {
        if self.unasked == number {
            self.unasked += 1;
        }
        if let Some(ask) = self.get_mut(number)
            && ask.stage == Stage::Waiting
        {
            ask.stage = Stage::Asked;
        }
    }

    pub fn get(&self, number: u64) -> Option<&Pending> {
        self.pending.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Pending> {
        self.pending.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The ask is answered once `zxid` is applied.
    pub fn due_at(&mut self, zxid: Zxid, number: u64) {
        let place = self.due.partition_point(|&due| due <= (zxid, number));
        self.due.insert(place, (zxid, number));
    }

    /// Takes the next of those that are due by the time that everything up to `upto` is applied,
    /// and the zxid that it was due at.
    pub fn take_due(&mut self, upto: Zxid) -> Option<(Zxid, u64)> {
        self.due.pop_front_if(|due| due.0 <= upto)
    }

    /// The ask that the record came from, if it is one of this server's.
    pub fn of_record(&mut self, head: &TxnHead, txn: &Txn<'_>) -> Option<u64> {
        // The first, but for proposals that were lost with their leader.
        let lost = self.due.front().is_some_and(|due| due.0 < head.zxid);
        let found = if lost { self.due.partition_point(|due| due.0 < head.zxid) } else { 0 };
        if let Some(&(zxid, number)) = self.due.get(found)
            && zxid == head.zxid
            && matches!(self.get(number).map(|it| it.stage), Some(Stage::Proposed(..)))
        {
            self.due.remove(found);
            return Some(number);
        }
        self.doubted(head, txn)
    }

    fn doubted(&mut self, head: &TxnHead, txn: &Txn<'_>) -> Option<u64> {
        if self.in_doubt.is_empty() {
            return None;
        }
        let (first, pending) = (self.first, &self.pending);
        let open = |number: u64| {
            let ask = number.checked_sub(first).and_then(|at| pending.get(at as usize));
            ask.filter(|ask| ask.stage == Stage::Asked)
        };
        let asks = self.in_doubt.get_mut(&head.session)?;
        // A leader takes a session's asks in their order, so its records come in their order.
        let place = asks.iter().position(|&number| {
            open(number).is_some_and(|ask| ask.item.cxid == head.cxid && likeness::fits(ask, txn))
        })?;
        let found = asks.drain(..=place).filter(|&number| open(number).is_some());
        self.passed.extend(found);
        self.passed.pop()
    }

    /// Takes what was asked before the last record's ask, by the same session, and refused by a
    /// leader whose word on it was lost.
    pub fn take_passed(&mut self) -> Option<u64> {
        if self.passed.is_empty() { None } else { Some(self.passed.remove(0)) }
    }

    /// The way to the leader was not lost after all: it says what becomes of each ask.
    pub fn trust(&mut self) {
        self.in_doubt.clear();
    }

    /// The way to the leader is lost: what was asked is in doubt.
    pub fn doubt(&mut self) {
        self.in_doubt.clear();
        for (at, ask) in self.pending.iter().enumerate() {
            if ask.stage == Stage::Asked {
                let number = self.first + at as u64;
                self.in_doubt.entry(ask.item.session).or_default().push_back(number);
            }
        }
    }

    /// The history is known as far as anything in doubt could be in it: what is still open was not
    /// done, never will be, and waits again. Those that `keeps` does not want are given up and
    /// returned, unless their clients were told before: those never wait again, but for the end of
    /// a session.
    #[must_use]
    pub fn resolve(&mut self, mut keeps: impl FnMut(&Pending) -> bool) -> Vec<Item> {
        let end = self.end();
        let mut given_up = Vec::new();
        self.in_doubt.clear();
        self.due.clear();
        self.pending.retain_mut(|ask| {
            if ask.stage == Stage::Done {
                return false;
            }
            if (!ask.told || ask.closes()) && keeps(ask) {
                ask.stage = Stage::Waiting;
                return true;
            }
            if !ask.told {
                given_up.push(ask.item.clone());
            }
            finish(ask, &mut self.bytes, &mut self.ends);
            false
        });
        // Fresh numbers: a verdict about an old one must find nothing.
        (self.first, self.unasked) = (end, end);
        given_up
    }

    /// The ask was answered. It may keep its place behind one whose fate is open for as long as a cut
    /// lasts, and costs no more than that place.
    pub fn done(&mut self, number: u64) {
        let place = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(ask) = place.and_then(|at| self.pending.get_mut(at)) {
            finish(ask, &mut self.bytes, &mut self.ends);
        }
        self.forget_done();
    }

    /// Takes out what was answered before anybody was asked, wherever it stands: a cut may last for
    /// days, and an ask in doubt before it all for as long. Those behind it have other numbers then,
    /// which nobody was told yet.
    pub fn close_up(&mut self) {
        let asked = self.unasked.saturating_sub(self.first) as usize;
        let mut at = 0;
        self.pending.retain(|ask| {
            at += 1;
            at <= asked || ask.stage != Stage::Done
        });
        self.forget_done();
    }

    fn forget_done(&mut self) {
        while self.pending.pop_front_if(|ask| ask.stage == Stage::Done).is_some() {
            self.first += 1;
        }
        self.unasked = self.unasked.max(self.first);
        if self.pending.is_empty() {
            self.in_doubt.clear();
        }
    }

    /// The client hears that nobody knows what becomes of its ask, which stays where it is: what
    /// the history has of it is then known to be its own.
    pub fn told(&mut self, number: u64) {
        let Some(ask) = self.get_mut(number) else { return };
        let charge = ask.charge();
        ask.told = true;
        self.bytes -= charge;
    }

    /// Whose asks may be done yet, and of whom a client waits for an answer.
    pub fn sessions(&self) -> (BTreeSet<SessionId>, BTreeSet<SessionId>) {
        let open = || self.pending.iter().filter(|ask| ask.stage != Stage::Done);
        let awaited = open().filter(|ask| !ask.told);
        (open().map(|ask| ask.item.session).collect(), awaited.map(|it| it.item.session).collect())
    }

    /// The same, of these sessions only.
    pub fn sessions_among(
        &self,
        sessions: &BTreeSet<SessionId>,
    ) -> (BTreeSet<SessionId>, BTreeSet<SessionId>) {
        let (mut open, mut awaited) = (BTreeSet::new(), BTreeSet::new());
        if sessions.is_empty() {
            return (open, awaited);
        }
        for ask in self.pending.iter().filter(|ask| sessions.contains(&ask.item.session)) {
            if ask.stage == Stage::Done {
                continue;
            }
            open.insert(ask.item.session);
            if !ask.told {
                awaited.insert(ask.item.session);
            }
        }
        (open, awaited)
    }

    /// Those that wait since before `since_ms` and were neither decided nor answered.
    pub fn overdue(&self, since_ms: i64) -> impl Iterator<Item = (u64, &Pending)> {
        let ages = (self.first..).zip(&self.pending);
        ages.take_while(move |(_, ask)| ask.since_ms < since_ms)
            .filter(|(_, ask)| ask.stage != Stage::Done && !ask.told)
    }

    /// Waiting asks of a connection that is gone, but for its session's end, are not worth doing.
    /// They are given up and returned.
    #[must_use]
    pub fn abandon(&mut self, gone: impl Fn(&Item) -> bool) -> Vec<Item> {
        let (first, unasked) = (self.first, self.unasked);
        let mut given_up = Vec::new();
        for (at, ask) in self.pending.iter_mut().enumerate() {
            let waits = unasked <= first + at as u64 && ask.stage == Stage::Waiting;
            if waits && !ask.closes() && gone(&ask.item) {
                given_up.push(ask.item.clone());
                finish(ask, &mut self.bytes, &mut self.ends);
            }
        }
        if !given_up.is_empty() {
            self.close_up();
        }
        given_up
    }

    /// The session has gone on at a connection that `holds` it, of another server if none here does:
    /// what others ask to end it would be done behind what that one asks, and is not done any more.
    pub fn overtake(&mut self, session: SessionId, holds: impl Fn(&Item) -> bool) {
        if !self.ends.contains_key(&session) {
            return;
        }
        for ask in &mut self.pending {
            if ask.item.session == session && ask.closes() && !holds(&ask.item) {
                ask.overtaken = true;
            }
        }
    }
}

/// Nothing more comes of the ask: what it holds is let go, and counts no more.
fn finish(ask: &mut Pending, bytes: &mut usize, ends: &mut BTreeMap<SessionId, u32>) {
    if ask.stage == Stage::Done {
        return;
    }
    *bytes -= ask.charge();
    ask.stage = Stage::Done;
    ask.body = Arc::default();
    ask.item.identities = Arc::default();
    ask.answer = None;
    if ask.closes()
        && let Some(count) = ends.get_mut(&ask.item.session)
    {
        *count -= 1;
        if *count == 0 {
            ends.remove(&ask.item.session);
        }
    }
}
