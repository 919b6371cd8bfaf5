//! What this server's connections wait for, in the order in which they asked.
//!
//! ```text
//! Waiting ─► Asked ─► Proposed(zxid) ─► applied: answered
//!    ▲          └───► Behind(zxid, answer) ─► applied: answered
//!    └── the way to the leader was lost, and the history does not have it
//! ```
//!
//! Everything from `unasked` on is waiting. Numbers rise by one and are never used twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::exchange::Hold;
use super::submission::{Item, Outcome};
use crate::answer::Answer;
use crate::txn::TxnHead;
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
    /// Bodies of all that is pending.
    bytes: usize,
}

impl Asks {
    pub fn push(&mut self, item: Item, body: &[u8], now_ms: i64) -> u64 {
        let number = self.end();
        self.bytes += body.len();
        self.pending.push_back(Pending {
            item,
            body: body.into(),
            answer: None,
            since_ms: now_ms,
            stage: Stage::Waiting,
        });
        number
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

    /// Takes the next ask that is due when everything up to `upto` is applied.
    pub fn take_due(&mut self, upto: Zxid) -> Option<u64> {
        self.due.pop_front_if(|due| due.0 <= upto).map(|due| due.1)
    }

    /// The ask that the record of `head` came from, if it is one of this server's.
    pub fn of_record(&mut self, head: &TxnHead) -> Option<u64> {
        if let Some(&(zxid, number)) = self.due.front()
            && zxid == head.zxid
            && matches!(self.get(number).map(|it| it.stage), Some(Stage::Proposed(..)))
        {
            self.due.pop_front();
            return Some(number);
        }
        self.doubted(head)
    }

    fn doubted(&mut self, head: &TxnHead) -> Option<u64> {
        if self.in_doubt.is_empty() {
            return None;
        }
        let (first, pending) = (self.first, &self.pending);
        let asks = self.in_doubt.get_mut(&head.session)?;
        // A leader takes a session's asks in their order, so its records come in their order.
        let place = asks.iter().position(|&number| {
            let ask = number.checked_sub(first).and_then(|at| pending.get(at as usize));
            ask.is_some_and(|ask| ask.stage == Stage::Asked && ask.item.cxid == head.cxid)
        })?;
        asks.drain(..=place).next_back()
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
    /// done, never will be, and waits again. Those that `keeps` does not want are dropped.
    pub fn resolve(&mut self, mut keeps: impl FnMut(&Pending) -> bool) {
        let end = self.end();
        self.in_doubt.clear();
        self.due.clear();
        self.pending.retain_mut(|ask| {
            if ask.stage == Stage::Done || !keeps(ask) {
                self.bytes -= ask.body.len();
                return false;
            }
            ask.stage = Stage::Waiting;
            true
        });
        // Fresh numbers: a verdict about an old one must find nothing.
        (self.first, self.unasked) = (end, end);
    }

    /// The ask was answered.
    pub fn done(&mut self, number: u64) {
        if let Some(ask) = self.get_mut(number) {
            ask.stage = Stage::Done;
        }
        while let Some(done) = self.pending.pop_front_if(|ask| ask.stage == Stage::Done) {
            self.bytes -= done.body.len();
            self.first += 1;
        }
        self.unasked = self.unasked.max(self.first);
    }

    /// Those that wait since before `since_ms` and were neither decided nor answered.
    pub fn overdue(&self, since_ms: i64) -> impl Iterator<Item = (u64, &Pending)> {
        let ages = (self.first..).zip(&self.pending);
        ages.take_while(move |(_, ask)| ask.since_ms < since_ms)
            .filter(|(_, ask)| ask.stage != Stage::Done)
    }

    /// Waiting asks of a connection that is gone, but for its session's end, are not worth doing.
    pub fn abandon(&mut self, gone: impl Fn(&Item) -> bool) {
        let (first, unasked) = (self.first, self.unasked);
        for (at, ask) in self.pending.iter_mut().enumerate() {
            let closes =
                matches!(ask.item.ask, super::submission::Ask::Write(OpCode::CloseSession));
            if unasked <= first + at as u64 && !closes && gone(&ask.item) {
                ask.stage = Stage::Done;
            }
        }
    }
}
