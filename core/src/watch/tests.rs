use proptest::prelude::*;

use super::*;

fn fired(table: &mut WatchTable, kind: EventType, through: Table, path: &[u8]) -> Vec<u32> {
    let mut told = Vec::new();
    table.fire(kind, through, path, |connection| told.push(connection));
    told.sort_unstable();
    told
}

#[test]
fn a_one_shot_watch_fires_once_and_a_persistent_one_stays() {
    let mut table = WatchTable::new(1);
    table.add(1, b"/a", WatchMode::Data);
    table.add(2, b"/a", WatchMode::Persistent);
    assert_eq!(fired(&mut table, EventType::NodeDataChanged, Table::Data, b"/a"), [1, 2]);
    assert_eq!(fired(&mut table, EventType::NodeDataChanged, Table::Data, b"/a"), [2]);
    assert_eq!(fired(&mut table, EventType::NodeChildrenChanged, Table::Child, b"/a"), [2]);
}

#[test]
fn a_delete_is_told_once_to_a_connection_with_both_watches_and_consumes_both() {
    let mut table = WatchTable::new(1);
    table.add(1, b"/a", WatchMode::Data);
    table.add(1, b"/a", WatchMode::Child);
    table.add(2, b"/a", WatchMode::Child);
    assert_eq!(fired(&mut table, EventType::NodeDeleted, Table::Data, b"/a"), [1]);
    assert_eq!(fired(&mut table, EventType::NodeDeleted, Table::Child, b"/a"), [2]);
    assert_eq!(table.watches(), 0);
    assert!(table.paths.iter().all(Option::is_none), "an unwatched path leaves nothing behind");
}

#[test]
fn a_recursive_watch_hears_descendants_and_no_children_events() {
    let mut table = WatchTable::new(1);
    table.add(1, b"/a", WatchMode::Recursive);
    table.add(1, b"/a/b", WatchMode::Data);
    assert_eq!(fired(&mut table, EventType::NodeCreated, Table::Data, b"/a/b"), [1]);
    assert_eq!(fired(&mut table, EventType::NodeCreated, Table::Data, b"/a/b/c"), [1]);
    assert!(fired(&mut table, EventType::NodeChildrenChanged, Table::Child, b"/a").is_empty());
    assert!(fired(&mut table, EventType::NodeCreated, Table::Data, b"/ab").is_empty());
    table.add(2, b"/", WatchMode::Recursive);
    assert_eq!(fired(&mut table, EventType::NodeDeleted, Table::Data, b"/x/y"), [2]);
}

/// The same rules over a plain list.
#[derive(Default)]
struct Scanned {
    entries: Vec<(u32, Vec<u8>, u8)>,
    served: Vec<u32>,
}

impl Scanned {
    fn add(&mut self, connection: u32, path: &[u8], mode: WatchMode) {
        match self.entries.iter_mut().find(|e| e.0 == connection && e.1 == path) {
            Some(entry) => entry.2 |= mode.mask(),
            None => self.entries.push((connection, path.to_vec(), mode.mask())),
        }
    }

    fn fire(&mut self, kind: EventType, table: Table, path: &[u8]) -> Vec<u32> {
        if !(kind == EventType::NodeDeleted && table == Table::Child) {
            self.served.clear();
        }
        let (one_shot, firing) = match table {
            Table::Data => (DATA, DATA | PERSISTENT),
            Table::Child => (CHILD, CHILD | PERSISTENT),
        };
        let mut told = Vec::new();
        for (connection, at, modes) in &mut self.entries {
            let exact = at == path && *modes & firing != 0;
            let below =
                table == Table::Data && *modes & RECURSIVE != 0 && path::is_within(path, at);
            if (exact || below) && !self.served.contains(connection) {
                told.push(*connection);
            }
            if exact {
                *modes &= !one_shot;
            }
        }
        self.entries.retain(|entry| entry.2 != 0);
        told.sort_unstable();
        told.dedup();
        self.served.extend(&told);
        told
    }
}

fn paths() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![&b"/"[..], b"/a", b"/a/b", b"/a/b/c", b"/ab", b"/d", b"junk"])
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32, &'static [u8], WatchMode),
    Fire(EventType, Table, &'static [u8]),
    Remove(u32, &'static [u8], WatcherKind),
    Drop(u32),
}

fn steps() -> impl Strategy<Value = Step> {
    use WatchMode::{Child, Data, Persistent, Recursive};
    let mode = prop::sample::select(vec![Data, Child, Persistent, Recursive]);
    let kind = (1..=5_i32).prop_map(|code| WatcherKind::from_code(code).unwrap());
    let event = (1..=4_i32).prop_map(|code| EventType::from_code(code).unwrap());
    let table = prop::sample::select(vec![Table::Data, Table::Child]);
    prop_oneof![
        4 => (0..4_u32, paths(), mode).prop_map(|(c, p, m)| Step::Add(c, p, m)),
        3 => (event, table, paths()).prop_map(|(e, t, p)| Step::Fire(e, t, p)),
        1 => (0..4_u32, paths(), kind).prop_map(|(c, p, k)| Step::Remove(c, p, k)),
        1 => (0..4_u32).prop_map(Step::Drop),
    ]
}

proptest! {
    #[test]
    fn the_table_and_a_scanned_list_tell_the_same(steps in prop::collection::vec(steps(), 1..80)) {
        let mut table = WatchTable::new(7);
        let mut scanned = Scanned::default();
        for step in steps {
            match step {
                Step::Add(connection, path, mode) => {
                    table.add(connection, path, mode);
                    scanned.add(connection, path, mode);
                }
                Step::Fire(kind, through, path) => prop_assert_eq!(
                    fired(&mut table, kind, through, path),
                    scanned.fire(kind, through, path)
                ),
                Step::Remove(connection, path, kind) => {
                    let had = scanned.entries.iter_mut().find(|e| e.0 == connection && e.1 == path);
                    let expected = had.is_some_and(|entry| {
                        let hit = entry.2 & kind.mask() != 0;
                        entry.2 &= !kind.mask();
                        hit
                    });
                    scanned.entries.retain(|entry| entry.2 != 0);
                    prop_assert_eq!(table.check(connection, path, kind), expected);
                    prop_assert_eq!(table.remove(connection, path, kind), expected);
                }
                Step::Drop(connection) => {
                    table.drop_connection(connection);
                    scanned.entries.retain(|entry| entry.0 != connection);
                    scanned.served.retain(|&served| served != connection);
                }
            }
            let data = scanned.entries.iter().filter(|e| e.2 & !CHILD != 0).count();
            prop_assert_eq!(table.data_watches(), data);
        }
    }
}
