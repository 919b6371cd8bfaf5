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

/// What was asked and is being read.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: u64,
    after: Position,
    until: Zxid,
}

/// One of each peer at most: whoever asks again has given up what it asked before.
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
        let ticket = base.new_read();
        self.0.insert(from, Asked { ticket, after, until });
        let bytes_max = u64::from(bytes_max.min(FETCH_BYTES_MAX));
        out.push(Action::ReadLog { ticket, from: after.zxid, bytes_max });
    }

    /// Answers whoever asked for this, or gives back what somebody else did.
    pub fn on_log_read(
        &mut self,
        base: &Base,
        ticket: u64,
        (at, run): (Option<Position>, Option<Run>),
        out: &mut Vec<Action>,
    ) -> Option<Option<Run>> {
        let found = self.0.iter().find(|(_, asked)| asked.ticket == ticket);
        let Some((&to, &Asked { after, until, .. })) = found else { return Some(run) };
        self.0.remove(&to);
        let wanted = run.filter(|_| at == Some(after)).and_then(|run| run.split(until).0);
        let bytes: Arc<[u8]> = wanted.map_or_else(|| [].into(), |run| run.bytes().clone());
        base.send(to, Message::Fetched { after, bytes }, out);
        None
    }

    pub fn forget(&mut self, peer: ServerId) {
        self.0.remove(&peer);
    }
}
