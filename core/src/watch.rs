//! Who waits for what: the watches of one reactor's connections, fired by what was applied.
//!
//! ```text
//! path ──► [connection …]            (path, connection) ──► modes         connection ──► [path …]
//!          whom to tell              data | child | persistent | recursive       what to drop at close
//! ```
//!
//! A (path, connection) pair is one entry however often it was registered, as in ZooKeeper 3.9:
//! modes of one pair coexist. `data` and `child` are one-shot; the other two stay.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::hash::Seeded;
use crate::path;
use crate::wire::EventType;

/// A connection within its reactor; may be reused after [`WatchTable::drop_connection`].
pub type ConnectionId = u32;

/// Which of ZooKeeper's two tables an event goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Watches of getData, exists and addWatch.
    Data,
    /// Watches of getChildren and of addWatch mode 0.
    Child,
}

/// How a watch was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// exists and getData, once.
    Data,
    /// getChildren, once.
    Child,
    /// addWatch mode 0.
    Persistent,
    /// addWatch mode 1: this node and all below.
    Recursive,
}

/// What removeWatches and checkWatches ask for. Source: `Watcher.WatcherType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatcherKind {
    /// 1: one-shot child watches.
    Children,
    /// 2: one-shot data watches.
    Data,
    /// 3: every mode.
    Any,
    /// 4: persistent.
    Persistent,
    /// 5: persistent recursive.
    Recursive,
}

impl WatcherKind {
    /// The kind with this number.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Children),
            2 => Some(Self::Data),
            3 => Some(Self::Any),
            4 => Some(Self::Persistent),
            5 => Some(Self::Recursive),
            _other => None,
        }
    }

    const fn mask(self) -> u8 {
        match self {
            Self::Children => CHILD,
            Self::Data => DATA,
            Self::Any => DATA | CHILD | PERSISTENT | RECURSIVE,
            Self::Persistent => PERSISTENT,
            Self::Recursive => RECURSIVE,
        }
    }
}

const DATA: u8 = 1;
const CHILD: u8 = 2;
const PERSISTENT: u8 = 4;
const RECURSIVE: u8 = 8;

impl WatchMode {
    const fn mask(self) -> u8 {
        match self {
            Self::Data => DATA,
            Self::Child => CHILD,
            Self::Persistent => PERSISTENT,
            Self::Recursive => RECURSIVE,
        }
    }
}

type PathId = u32;

#[derive(Debug)]
struct PathEntry {
    path: Box<[u8]>,
    connections: Vec<ConnectionId>,
}

#[derive(Debug, Default)]
struct ConnectionEntry {
    /// May name paths that no longer have an entry for this connection; swept when it doubles.
    paths: Vec<PathId>,
    live: usize,
    /// The last event that reached it.
    told: u64,
}

/// The watches of one reactor's connections. Not shared: each reactor owns its own.
#[derive(Debug)]
pub struct WatchTable {
    ids: HashMap<Box<[u8]>, PathId, Seeded>,
    paths: Vec<Option<PathEntry>>,
    free: Vec<PathId>,
    modes: HashMap<(PathId, ConnectionId), u8, Seeded>,
    connections: HashMap<ConnectionId, ConnectionEntry, Seeded>,
    /// Entries with the recursive mode; while it is zero no ancestor is looked up.
    recursive: usize,
    /// Entries with a mode in the data table, which is what ZooKeeper's `wchs` counts.
    data: usize,
    child: usize,
    /// The event that is fired, so that it reaches nobody twice. A NodeDeleted and its twin of the
    /// child table are one.
    event: u64,
    /// Whom it reaches; empty between events.
    told: Vec<ConnectionId>,
}

impl WatchTable {
    /// An empty table; `seed` keeps chosen paths from colliding.
    pub fn new(seed: u64) -> Self {
        Self {
            ids: HashMap::with_hasher(Seeded(seed)),
            paths: Vec::new(),
            free: Vec::new(),
            modes: HashMap::with_hasher(Seeded(seed)),
            connections: HashMap::with_hasher(Seeded(seed)),
            recursive: 0,
            data: 0,
            child: 0,
            event: 1, // 0 is that of a connection that was told nothing
            told: Vec::new(),
        }
    }

    /// Arms a watch; a mode that is armed already stays as it is. Any bytes are accepted as a path.
    pub fn add(&mut self, connection: ConnectionId, path: &[u8], mode: WatchMode) {
        let id = self.intern(path);
        let modes = self.modes.entry((id, connection)).or_insert(0);
        let before = *modes;
        *modes |= mode.mask();
        let after = *modes;
        if before == 0 {
            let entry = self.paths[id as usize].as_mut().expect("interned above");
            entry.connections.push(connection);
            let known = self.connections.entry(connection).or_default();
            known.paths.push(id);
            known.live += 1;
            if known.paths.len() > 2 * known.live + 16 {
                known.paths.sort_unstable();
                known.paths.dedup();
                known.paths.retain(|&id| self.modes.contains_key(&(id, connection)));
            }
        }
        self.count(before, after);
    }

    /// Calls `tell` for each connection that an event reaches, and drops the one-shot watches it
    /// consumes. Events must come in the order in which the tree produced them.
    pub fn fire(
        &mut self,
        kind: EventType,
        table: Table,
        path: &[u8],
        mut tell: impl FnMut(ConnectionId),
    ) {
        let is_second_delete = kind == EventType::NodeDeleted && table == Table::Child;
        if !is_second_delete {
            self.event += 1;
        }
        if self.modes.is_empty() {
            return;
        }
        let mut told = std::mem::take(&mut self.told);
        if let Some(&id) = self.ids.get(path) {
            self.fire_exact(id, table, &mut told);
        }
        if table == Table::Data && self.recursive > 0 {
            self.fire_recursive(path, &mut told);
        }
        for connection in told.drain(..) {
            tell(connection);
        }
        self.told = told;
    }

    fn fire_exact(&mut self, id: PathId, table: Table, told: &mut Vec<ConnectionId>) {
        let (one_shot, firing) = match table {
            Table::Data => (DATA, DATA | PERSISTENT),
            Table::Child => (CHILD, CHILD | PERSISTENT),
        };
        let entry = self.paths[id as usize].as_mut().expect("an id in the map has its entry");
        let mut connections = std::mem::take(&mut entry.connections);
        connections.retain(|&connection| {
            let modes = self.modes.get_mut(&(id, connection)).expect("listed with its path");
            if *modes & firing == 0 {
                return true;
            }
            let before = *modes;
            *modes &= !one_shot;
            let after = *modes;
            let known = self.connections.get_mut(&connection).expect("has an entry");
            // What the data table's NodeDeleted told is not told twice, yet is consumed here too.
            if std::mem::replace(&mut known.told, self.event) != self.event {
                told.push(connection);
            }
            if after == 0 {
                self.modes.remove(&(id, connection));
                known.live -= 1;
            }
            self.count(before, after);
            after != 0
        });
        let entry = self.paths[id as usize].as_mut().expect("still there");
        entry.connections = connections;
        self.forget_path_if_unused(id);
    }

    /// Costs the same for each watch at the path and above it, however many there are.
    fn fire_recursive(&mut self, path: &[u8], told: &mut Vec<ConnectionId>) {
        let mut at = Some(path);
        while let Some(ancestor) = at {
            if let Some(&id) = self.ids.get(ancestor) {
                let entry = self.paths[id as usize].as_ref().expect("an id has its entry");
                for &connection in &entry.connections {
                    if self.modes[&(id, connection)] & RECURSIVE == 0 {
                        continue;
                    }
                    let known = self.connections.get_mut(&connection).expect("has an entry");
                    if std::mem::replace(&mut known.told, self.event) != self.event {
                        told.push(connection);
                    }
                }
            }
            at = path::parent(ancestor);
        }
    }

    /// Whether the connection has a watch of this kind at exactly this path.
    pub fn check(&self, connection: ConnectionId, path: &[u8], kind: WatcherKind) -> bool {
        self.ids
            .get(path)
            .and_then(|&id| self.modes.get(&(id, connection)))
            .is_some_and(|modes| modes & kind.mask() != 0)
    }

    /// Removes the connection's watches of this kind at this path. False: there was none.
    pub fn remove(&mut self, connection: ConnectionId, path: &[u8], kind: WatcherKind) -> bool {
        let Some(&id) = self.ids.get(path) else { return false };
        let Some(modes) = self.modes.get_mut(&(id, connection)) else { return false };
        let before = *modes;
        *modes &= !kind.mask();
        let after = *modes;
        if before == after {
            return false;
        }
        self.count(before, after);
        if after == 0 {
            self.unlist(id, connection);
            self.connections.get_mut(&connection).expect("had a watch").live -= 1;
        }
        true
    }

    /// Drops all watches of a connection that closed.
    pub fn drop_connection(&mut self, connection: ConnectionId) {
        let Some(known) = self.connections.remove(&connection) else { return };
        for id in known.paths {
            if let Some(&modes) = self.modes.get(&(id, connection)) {
                self.count(modes, 0);
                self.unlist(id, connection);
            }
        }
    }

    /// Watches in the data table, which is what `wchs` counts.
    pub fn data_watches(&self) -> usize {
        self.data
    }

    /// Watches in both tables, which is what `mntr`'s `watch_count` counts.
    pub fn watches(&self) -> usize {
        self.data + self.child
    }

    /// Paths in the data table with their connections, ordered by path: `wchp`, and turned
    /// around `wchc`.
    pub fn data_table(&self) -> BTreeMap<&[u8], Vec<ConnectionId>> {
        let mut table = BTreeMap::new();
        for (id, entry) in self.paths.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let watching: Vec<ConnectionId> = entry
                .connections
                .iter()
                .copied()
                .filter(|&connection| self.modes[&(id as PathId, connection)] & !CHILD != 0)
                .collect();
            if !watching.is_empty() {
                table.insert(&*entry.path, watching);
            }
        }
        table
    }

    fn intern(&mut self, path: &[u8]) -> PathId {
        if let Some(&id) = self.ids.get(path) {
            return id;
        }
        let entry = Some(PathEntry { path: path.into(), connections: Vec::new() });
        let id = match self.free.pop() {
            Some(id) => {
                self.paths[id as usize] = entry;
                id
            }
            None => {
                self.paths.push(entry);
                u32::try_from(self.paths.len() - 1).expect("fewer than 2^32 watched paths")
            }
        };
        self.ids.insert(path.into(), id);
        id
    }

    fn unlist(&mut self, id: PathId, connection: ConnectionId) {
        self.modes.remove(&(id, connection));
        let entry = self.paths[id as usize].as_mut().expect("a listed id has its entry");
        if let Some(at) = entry.connections.iter().position(|&other| other == connection) {
            entry.connections.swap_remove(at);
        }
        self.forget_path_if_unused(id);
    }

    fn forget_path_if_unused(&mut self, id: PathId) {
        let entry = self.paths[id as usize].as_ref().expect("called with a live id");
        if entry.connections.is_empty() {
            self.ids.remove(&entry.path);
            self.paths[id as usize] = None;
            self.free.push(id);
        }
    }

    fn count(&mut self, before: u8, after: u8) {
        let tables = |modes: u8| {
            (
                usize::from(modes & (DATA | PERSISTENT | RECURSIVE) != 0),
                usize::from(modes & (CHILD | PERSISTENT) != 0),
                usize::from(modes & RECURSIVE != 0),
            )
        };
        let (old, new) = (tables(before), tables(after));
        self.data = self.data + new.0 - old.0;
        self.child = self.child + new.1 - old.1;
        self.recursive = self.recursive + new.2 - old.2;
    }
}

#[cfg(test)]
mod tests;
