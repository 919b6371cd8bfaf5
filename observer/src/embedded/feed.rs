//! Changes in the order of the history, for whoever subscribed.
//!
//! ```text
//! core's thread: take(events, values at their zxid) ─► window (bounded) ─► each Subscription's place
//!
//! a bell is armed ──(something to take, or it is over)──► rings once ──(all was taken)──► armed
//! ```
//!
//! The window begins with the first subscription and is kept from then on. A subscription that falls out
//! of it is told so: it reads anew and subscribes again.
//!
//! A bell is armed and rings with the window locked, so between the look that finds nothing and the next
//! change is no gap. While it is armed the core's thread passes over what the subscription does not tell: nobody
//! else looks, and it would fall out of the window for changes that are nothing to it.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

use farwatch_core::tree::{Events, Reader};
use farwatch_core::watch::Table;
use farwatch_core::wire::{EventType, Stat};
use farwatch_core::zxid::Zxid;
use thiserror::Error;

use super::state::State;

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// Its data was set.
    Set,
    /// It was deleted.
    Deleted,
}

/// One change of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// By which transaction. Changes of one multi share it.
    pub zxid: Zxid,
    /// What.
    pub kind: ChangeKind,
    /// The node.
    pub path: Box<[u8]>,
    /// Its data behind the transaction; `None` is null, or that there is no node.
    pub data: Option<Box<[u8]>>,
    /// Its metadata behind the transaction; `None` without a node.
    pub stat: Option<Stat>,
}

impl Change {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.data.as_ref().map_or(0, |data| data.len())
    }

    fn is_below(&self, prefix: &[u8]) -> bool {
        match self.path.strip_prefix(prefix) {
            Some(rest) => rest.is_empty() || rest[0] == b'/' || prefix.ends_with(b"/"),
            None => false,
        }
    }
}

/// Changes were missed: read what is there now, and subscribe again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "changes behind {from} are not known any more: read the state, and subscribe from its zxid"
)]
pub struct Lost {
    /// Behind which.
    pub from: Zxid,
}

/// What a subscription says.
#[derive(Clone, Debug)]
pub enum Next {
    /// The next change.
    Change(Arc<Change>),
    /// Nothing so far.
    Nothing,
    /// Nothing will come any more, for this reason.
    Ended(String),
}

/// What was changed lately.
pub(super) struct Feed {
    window: Mutex<Window>,
    grown: Condvar,
}

#[derive(Default)]
struct Window {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    bytes_max: usize,
    /// The number of the first one; numbers only grow.
    first: u64,
    /// Every change behind this zxid is in the window.
    from: Zxid,
    /// How far the history is in here.
    upto: Zxid,
    is_kept: bool,
    ended: Option<String>,
    /// The seats of subscriptions with a bell.
    with_bells: Vec<Arc<Seat>>,
}

impl Window {
    fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// Where the change behind `from` is.
    fn place_behind(&self, from: Zxid) -> Result<u64, Lost> {
        if !self.is_kept || from < self.from {
            return Err(Lost { from });
        }
        Ok(self.first + self.changes.partition_point(|change| change.zxid <= from) as u64)
    }

    fn push(&mut self, change: Change) {
        self.bytes += change.bytes();
        self.changes.push_back(Arc::new(change));
        while self.bytes_max < self.bytes
            && let Some(gone) = self.changes.pop_front()
        {
            self.bytes -= gone.bytes();
            self.first += 1;
            // What is left of its transaction is not all of it.
            self.from = self.from.max(gone.zxid);
        }
    }

    /// Rings where somebody has taken all there was, and there is more now.
    fn ring(&self) {
        for seat in &self.with_bells {
            seat.ring(self);
        }
    }
}

impl Feed {
    /// A window behind what is in the tree already.
    pub fn new(bytes_max: usize, upto: Zxid) -> Self {
        let window = Window { bytes_max, from: upto, upto, ..Window::default() };
        Self { window: Mutex::new(window), grown: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was applied up to `upto`; `reader` stands where the last take ended, or before.
    pub fn take(&self, upto: Zxid, events: &Events, reader: &Reader) {
        let mut window = self.lock();
        window.upto = upto;
        if !window.is_kept || events.is_empty() {
            return;
        }
        for (event, path) in events.iter() {
            let kind = match (event.kind, event.table) {
                (EventType::NodeCreated, Table::Data) => ChangeKind::Created,
                (EventType::NodeDataChanged, Table::Data) => ChangeKind::Set,
                (EventType::NodeDeleted, Table::Data) => ChangeKind::Deleted,
                _its_parents_or_doubled => continue,
            };
            let node = reader.view_at(event.zxid).get(path);
            let change = Change {
                zxid: event.zxid,
                kind,
                path: path.into(),
                data: node.and_then(|node| node.data()).map(Into::into),
                stat: node.map(|node| node.stat()),
            };
            window.push(change);
        }
        window.ring();
        drop(window);
        self.grown.notify_all();
    }

    /// The history goes on at `upto` without what lies before.
    pub fn break_off(&self, upto: Zxid) {
        let mut window = self.lock();
        // One number is skipped: whoever has read all there was has missed something, too.
        window.first = window.end() + 1;
        window.changes.clear();
        (window.bytes, window.from, window.upto) = (0, upto, upto);
        window.ring();
        drop(window);
        self.grown.notify_all();
    }

    pub fn end(&self, reason: String) {
        let mut window = self.lock();
        window.ended = Some(reason);
        window.ring();
        drop(window);
        self.grown.notify_all();
    }
}

/// A place in the order of changes. Threads that share one share its changes: each goes to one of them.
pub struct Subscription {
    state: Arc<State>,
    seat: Arc<Seat>,
}

/// What a subscription is to the window.
struct Seat {
    prefix: Box<[u8]>,
    /// Only what is behind it is told. A view may be a little ahead of the window.
    behind: Zxid,
    /// Locked for an instant, with the window if with anything; nobody waits with it.
    place: Mutex<Place>,
}

/// How far a subscription is.
struct Place {
    /// The number of the change to look at next.
    next: u64,
    /// Up to it everything was told.
    told: Zxid,
    bell: Option<Bell>,
}

/// Who does not wait, and is told that there is something to take.
struct Bell {
    ring: Box<dyn Fn() + Send>,
    /// All was taken that there was when somebody looked last.
    is_armed: bool,
}

impl Subscription {
    pub(super) fn new(state: Arc<State>, prefix: &[u8], from: Option<Zxid>) -> Result<Self, Lost> {
        let (next, told) = {
            let mut window = state.feed.lock();
            if !window.is_kept {
                (window.is_kept, window.from) = (true, window.upto);
            }
            match from {
                Some(from) => (window.place_behind(from)?, from),
                None => (window.end(), window.upto),
            }
        };
        let place = Mutex::new(Place { next, told, bell: None });
        let seat = Seat { prefix: prefix.into(), behind: told, place };
        Ok(Self { state, seat: Arc::new(seat) })
    }

    /// Up to where everything at the prefix was told. At first: where it begins.
    pub fn zxid(&self) -> Zxid {
        self.seat.place().told
    }

    /// The next change. Waits for it until `deadline`; one that has passed does not wait at all.
    pub fn next(&self, deadline: Instant) -> Result<Next, Lost> {
        let mut window = self.state.feed.lock();
        loop {
            match self.seat.look(&window)? {
                Next::Nothing => {}
                found => return Ok(found),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Next::Nothing);
            }
            let waited = self.state.feed.grown.wait_timeout(window, left);
            window = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has `ring` called once when there is something to take (a change, that changes were missed, or the end):
    /// at once where there is now, and again behind each [`Next::Nothing`]. Takes the place of an earlier one.
    /// It is called on whichever thread brings what there is, with changes locked: it must return at once and
    /// ask nothing of the observer. Not behind the drop of this, which it does not keep from going, nor behind
    /// [`Subscription::silence`].
    pub fn on_more(&self, ring: impl Fn() + Send + 'static) {
        let mut window = self.state.feed.lock();
        let bell = Bell { ring: Box::new(ring), is_armed: true };
        let earlier = self.seat.place().bell.replace(bell);
        if earlier.is_none() {
            window.with_bells.push(Arc::clone(&self.seat));
        }
        self.seat.ring(&window);
        drop(window);
        drop(earlier);
    }

    /// Takes away what [`Subscription::on_more`] was given: it is not called behind this.
    pub fn silence(&self) {
        let mut window = self.state.feed.lock();
        let earlier = self.seat.place().bell.take();
        if earlier.is_some() {
            window.with_bells.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        }
        drop(window);
        drop(earlier);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let has_bell = self.seat.place().bell.is_some();
        if has_bell {
            self.silence();
        }
    }
}

impl Seat {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes over what is not told here, up to the next change that is.
    fn seek<'a>(
        &self,
        place: &mut Place,
        window: &'a Window,
    ) -> Result<Option<&'a Arc<Change>>, Lost> {
        let Some(skipped) = place.next.checked_sub(window.first) else {
            return Err(Lost { from: place.told });
        };
        for change in window.changes.range(skipped as usize..) {
            if self.behind < change.zxid && change.is_below(&self.prefix) {
                return Ok(Some(change));
            }
            place.next += 1;
        }
        place.told = place.told.max(window.upto);
        Ok(None)
    }

    /// What the window has for it now.
    fn look(&self, window: &Window) -> Result<Next, Lost> {
        let mut place = self.place();
        if let Some(change) = self.seek(&mut place, window)? {
            place.next += 1;
            // Others of the same transaction may follow.
            place.told = place.told.max(Zxid(change.zxid.0 - 1));
            return Ok(Next::Change(Arc::clone(change)));
        }
        if let Some(reason) = &window.ended {
            return Ok(Next::Ended(reason.clone()));
        }
        if let Some(bell) = &mut place.bell {
            bell.is_armed = true;
        }
        Ok(Next::Nothing)
    }

    /// Rings if that is wanted and the window has something for it.
    fn ring(&self, window: &Window) {
        let mut place = self.place();
        if !place.bell.as_ref().is_some_and(|bell| bell.is_armed) {
            return;
        }
        let is_there_nothing = matches!(self.seek(&mut place, window), Ok(None));
        if is_there_nothing && window.ended.is_none() {
            return;
        }
        if let Some(bell) = &mut place.bell {
            bell.is_armed = false;
            (bell.ring)();
        }
    }
}
