//! When sessions end: a wheel of buckets that is moved lazily.
//!
//! ```text
//! expires(heard, timeout) = (floor((heard + timeout) / tick) + 1) × tick
//!
//! buckets:  tick 7 ─► [a, c]     a was heard since: moved when tick 7 is due, to where it now belongs
//!           tick 9 ─► [b]        slots: id, heard, timeout, where it is queued
//! ```
//!
//! A session is in exactly one bucket, never later than the one where it is due, so a touch that
//! prolongs only notes the time. A silent session ends between its timeout and a tick later.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::hash::Seeded;
use crate::zxid::SessionId;

/// One session. `position` is its place in the bucket of `queued_tick`.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: SessionId,
    heard_ms: i64,
    queued_tick: i64,
    timeout_ms: i32,
    position: u32,
}

/// A session whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub session: SessionId,
    /// When it was last heard from, milliseconds.
    pub heard_ms: i64,
    /// How long it may be silent, milliseconds.
    pub timeout_ms: i32,
}

/// The leader's clock over all sessions. Times are milliseconds of a monotonic clock.
#[derive(Debug)]
pub struct Expiry {
    tick_ms: i64,
    slots: Vec<Slot>,
    by_id: HashTable<u32>,
    buckets: BTreeMap<i64, Vec<u32>>,
}

impl Expiry {
    /// No session yet. Panics when `tick_ms` is not positive.
    pub fn new(tick_ms: i32) -> Self {
        assert!(tick_ms > 0, "a tick takes time");
        Self {
            tick_ms: i64::from(tick_ms),
            slots: Vec::new(),
            by_id: HashTable::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// How many sessions are watched.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no session is watched.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Begins to watch a session, or begins anew with a full timeout.
    pub fn add(&mut self, id: SessionId, timeout_ms: i32, now_ms: i64) {
        if self.touch(id, timeout_ms, now_ms) {
            return;
        }
        let index = u32::try_from(self.slots.len()).expect("below 2^32 sessions");
        // Sessions come one by one: doubling would hold twice the memory of a full table.
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(64.max(self.slots.len() / 4));
        }
        let slot = Slot { id, heard_ms: now_ms, queued_tick: 0, timeout_ms, position: 0 };
        self.slots.push(slot);
        let slots = &self.slots;
        self.by_id.insert_unique(hash(id), index, |&other| hash(slots[other as usize].id));
        self.enqueue(index, self.due_tick(&slot));
    }

    /// Notes that the session's client was heard at `heard_ms`, with the timeout that its connection
    /// negotiated. A report that comes late changes nothing that a later one said. Returns whether
    /// the session is watched.
    pub fn touch(&mut self, id: SessionId, timeout_ms: i32, heard_ms: i64) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        let slot = &mut self.slots[index as usize];
        if heard_ms < slot.heard_ms {
            return true;
        }
        slot.heard_ms = heard_ms;
        slot.timeout_ms = timeout_ms;
        let slot = *slot;
        let due_tick = self.due_tick(&slot);
        // A reconnect may negotiate a shorter timeout: only then must it move at once.
        if due_tick < slot.queued_tick {
            self.dequeue(index);
            self.enqueue(index, due_tick);
        }
        true
    }

    /// All are as if they had been heard from now, each with the timeout that it has.
    pub fn prolong_all(&mut self, now_ms: i64) {
        for slot in &mut self.slots {
            slot.heard_ms = slot.heard_ms.max(now_ms);
        }
    }

    /// Nothing could be heard for `pause_ms` up to `now_ms`: that is nobody's silence.
    pub fn forgive(&mut self, pause_ms: i64, now_ms: i64) {
        for slot in &mut self.slots {
            slot.heard_ms = slot.heard_ms.max(now_ms.min(slot.heard_ms.saturating_add(pause_ms)));
        }
    }

    /// Ends watching a session that was closed. Returns whether it was watched.
    pub fn remove(&mut self, id: SessionId) -> bool {
        let Some(index) = self.find(id) else {
            return false;
        };
        self.dequeue(index);
        self.forget(index);
        true
    }

    /// Appends the sessions whose time is over at `now_ms` to `out` and ends watching them.
    pub fn due(&mut self, now_ms: i64, out: &mut Vec<Due>) {
        out.extend(std::iter::from_fn(|| self.take_due(now_ms)));
    }

    /// A session whose time is over at `now_ms`, which is not watched any more. Those that are not
    /// taken are watched on, and are not due any more when their clients are heard in time.
    pub fn take_due(&mut self, now_ms: i64) -> Option<Due> {
        let now_tick = now_ms.div_euclid(self.tick_ms);
        loop {
            let mut entry = self.buckets.first_entry().filter(|entry| *entry.key() <= now_tick)?;
            let index = entry.get_mut().pop().expect("a bucket is not empty");
            if entry.get().is_empty() {
                entry.remove();
            }
            let slot = self.slots[index as usize];
            let due_tick = self.due_tick(&slot);
            if due_tick <= now_tick {
                self.forget(index);
                let Slot { id: session, heard_ms, timeout_ms, .. } = slot;
                return Some(Due { session, heard_ms, timeout_ms });
            }
            self.enqueue(index, due_tick);
        }
    }

    /// Every session with the moment when it is over if it stays silent, milliseconds.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, i64)> {
        self.slots.iter().map(|slot| (slot.id, self.due_tick(slot) * self.tick_ms))
    }

    /// When [`Expiry::due`] must be called next, milliseconds. Nothing is due before.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(&tick, _)| tick * self.tick_ms)
    }

    /// Bytes on the heap, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        let buckets = self.buckets.values();
        self.slots.capacity() * size_of::<Slot>()
            + self.by_id.allocation_size()
            + buckets.map(|bucket| 64 + bucket.capacity() * size_of::<u32>()).sum::<usize>()
    }

    fn due_tick(&self, slot: &Slot) -> i64 {
        slot.heard_ms.saturating_add(i64::from(slot.timeout_ms)).div_euclid(self.tick_ms) + 1
    }

    fn find(&self, id: SessionId) -> Option<u32> {
        let slots = &self.slots;
        self.by_id.find(hash(id), |&index| slots[index as usize].id == id).copied()
    }

    fn enqueue(&mut self, index: u32, tick: i64) {
        let bucket = self.buckets.entry(tick).or_default();
        let slot = &mut self.slots[index as usize];
        slot.queued_tick = tick;
        slot.position = bucket.len() as u32;
        bucket.push(index);
    }

    fn dequeue(&mut self, index: u32) {
        let Slot { queued_tick, position, .. } = self.slots[index as usize];
        let bucket = self.buckets.get_mut(&queued_tick).expect("a session is in a bucket");
        let removed = bucket.swap_remove(position as usize);
        assert!(removed == index, "a session's place in its bucket is not where it says");
        if let Some(&moved) = bucket.get(position as usize) {
            self.slots[moved as usize].position = position;
        }
        if bucket.is_empty() {
            self.buckets.remove(&queued_tick);
        }
    }

    /// Frees the slot at `index`, which is in no bucket. The last slot takes its place.
    fn forget(&mut self, index: u32) {
        let id = self.slots[index as usize].id;
        let last = self.slots.len() as u32 - 1;
        let moved = self.slots[last as usize];
        let Ok(entry) = self.by_id.find_entry(hash(id), |&other| other == index) else {
            unreachable!("every slot has an entry");
        };
        entry.remove();
        self.slots.swap_remove(index as usize);
        if last == index {
            return;
        }
        if let Some(entry) = self.by_id.find_mut(hash(moved.id), |&other| other == last) {
            *entry = index;
        }
        if let Some(bucket) = self.buckets.get_mut(&moved.queued_tick)
            && let Some(entry) = bucket.get_mut(moved.position as usize)
            && *entry == last
        {
            *entry = index;
        }
    }
}

/// Ids are given away by servers, not chosen by clients: no seed is needed.
fn hash(id: SessionId) -> u64 {
    Seeded(0).hash_one(id.0)
}
