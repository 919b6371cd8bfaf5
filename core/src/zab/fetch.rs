//! Giving records to a server that lost them, whatever this one is doing.
//!
//! ```text
//! Fetch{after, until} ─► ReadLog ─► LogRead ─► Fetched{after, records}, or nothing
//! ```
//!
//! Nothing is decided here. Who asks knows what stands on both sides of its hole, and takes only
//! records that the chained checksum proves to be the ones between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::base::Base;
use super::event::Action;
use super::message::Message;
use super::run::{Position, Run};
use crate::zxid::{ServerId, Zxid};

/// Records of one answer: as many as a learner that catches up is sent at a time, so that whoever
/// heals takes no larger share of the disk and the link than any learner.
pub const FETCH_BYTES_MAX: u32 = 1 << 20;

/// What is wanted: behind which place, up to where, and how much at most.
type Question = (Position, Zxid, u64);

/// What was asked and is being read.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: u64,
    question: Question,
    /// What was asked since.
    next: Option<Question>,
}

/// One read of each peer at most, and the last question behind it: whoever asks again has given up what it asked
/// before, and many questions cost as much as one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetches(BTreeMap<ServerId, Asked>);

impl Fetches {
    pub fn on_fetch(
        &mut self,
        base: &mut Base,
        from: ServerId,
        (after, until): (Position, Zxid),
        bytes_max: u32,
        out: &mut Vec<Action>,
    ) {
        let question = (after, until, u64::from(bytes_max.min(FETCH_BYTES_MAX)));
        match self.0.get_mut(&from) {
            Some(asked) => asked.next = Some(question),
            None => self.begin(base, from, question, out),
        }
    }

    fn begin(
        &mut self,
        base: &mut Base,
        from: ServerId,
        question: Question,
        out: &mut Vec<Action>,
    ) {
        let (ticket, next) = (base.new_read(), None);
        self.0.insert(from, Asked { ticket, question, next });
        let (after, _until, bytes_max) = question;
        out.push(Action::ReadLog { ticket, from: after.zxid, bytes_max });
    }

    fn take(&mut self, ticket: u64) -> Option<(ServerId, Asked)> {
        let from = *self.0.iter().find(|(_, asked)| asked.ticket == ticket)?.0;
        self.0.remove(&from).map(|asked| (from, asked))
    }

    /// Answers whoever asked for this, or gives back what somebody else did.
    pub fn on_log_read(
        &mut self,
        base: &mut Base,
        ticket: u64,
        (at, run): (Option<Position>, Option<Run>),
        out: &mut Vec<Action>,
    ) -> Option<Option<Run>> {
        let Some((to, Asked { question, next, .. })) = self.take(ticket) else { return Some(run) };
        if let Some(next) = next {
            self.begin(base, to, next, out);
            return None;
        }
        let (after, until, _) = question;
        let wanted = run.filter(|_| at == Some(after)).and_then(|run| run.split(until).0);
        let bytes: Arc<[u8]> = wanted.map_or_else(|| [].into(), |run| run.bytes().clone());
        base.send(to, Message::Fetched { after, bytes }, out);
        None
    }

    /// A read was given up: whoever asked does so again, or has.
    pub fn on_read_dropped(&mut self, base: &mut Base, ticket: u64, out: &mut Vec<Action>) {
        if let Some((from, Asked { next: Some(next), .. })) = self.take(ticket) {
            self.begin(base, from, next, out);
        }
    }

    pub fn forget(&mut self, peer: ServerId) {
        self.0.remove(&peer);
    }
}
