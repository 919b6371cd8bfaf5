//! What a transaction did, for those who wait: watch events and the Stats of replies.

use std::sync::Arc;

use crate::acl::AclList;
use crate::watch::Table;
use crate::wire::{EventType, Stat};
use crate::zxid::Zxid;

/// Something happened at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventType,
    /// Through which table.
    pub table: Table,
    /// By which transaction.
    pub zxid: Zxid,
    start: usize,
    end: usize,
    guard: Option<Arc<[u8]>>,
}

impl Event {
    /// The list in which the receiver needs READ at delivery; `None` when anyone has it.
    pub fn acl(&self) -> Option<AclList<'_>> {
        self.guard.as_deref().map(AclList::from_checked)
    }
}

/// Events in the order in which they fire. Paths lie in one arena; to be shared with other threads
/// as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    paths: Vec<u8>,
    list: Vec<Event>,
}

impl Events {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The events with their paths, in firing order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Event, &[u8])> + DoubleEndedIterator {
        self.list.iter().map(|event| (event, self.path(event)))
    }

    /// The path of one of these events.
    pub fn path(&self, event: &Event) -> &[u8] {
        &self.paths[event.start..event.end]
    }

    /// Forgets all events and keeps the memory.
    pub fn clear(&mut self) {
        self.paths.clear();
        self.list.clear();
    }

    /// Remembers a path, so that events at it and at its parent share the bytes.
    pub(super) fn at<'e>(&'e mut self, zxid: Zxid, path: &[u8]) -> Firing<'e> {
        let start = self.paths.len();
        self.paths.extend_from_slice(path);
        Firing { events: self, zxid, start }
    }
}

/// The events of one change at one path.
pub(super) struct Firing<'e> {
    events: &'e mut Events,
    zxid: Zxid,
    start: usize,
}

impl Firing<'_> {
    /// An event at the path or, with fewer `bytes`, at an ancestor.
    pub(super) fn fire(
        &mut self,
        kind: EventType,
        table: Table,
        bytes: usize,
        guard: Option<Arc<[u8]>>,
    ) {
        let (start, end) = (self.start, self.start + bytes);
        assert!(end <= self.events.paths.len());
        self.events.list.push(Event { kind, table, zxid: self.zxid, start, end, guard });
    }
}

/// What [`super::Writer::apply`] adds to; the caller clears and reuses it.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Watch events, in firing order.
    pub events: Events,
    /// One for each create, setData and setACL, in order: the node right after that part.
    pub stats: Vec<Stat>,
}

impl Applied {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.stats.clear();
    }
}
