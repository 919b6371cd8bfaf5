//! Watches at a site that is cut off: each fires once, afterwards, in the order of the changes.

use farwatch_bench::raw::{Connection, Handshake, request};

use super::sites::{
    NEAR, TIMEOUT_MS, committed, create, guest, patient_client, until_at, until_it_learns, voters,
    wire,
};
use crate::ensemble::servers::PATIENCE;
use crate::subject::Chance;
use farwatch_cli::demo::wire::Cut;

const NODES: u32 = 200;

/// Kinds of events.
const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

/// What becomes of one node while the way is cut.
#[derive(Clone, Copy, Debug)]
enum Change {
    Data,
    DataTwice,
    Deletion,
    Creation,
    Child,
    Nothing,
}

impl Change {
    fn drawn(chance: &mut Chance) -> Self {
        match chance.below(6) {
            0 => Self::Data,
            1 => Self::DataTwice,
            2 => Self::Deletion,
            3 => Self::Creation,
            4 => Self::Child,
            _ => Self::Nothing,
        }
    }

    /// The event that a watch is told.
    fn kind(self) -> Option<i32> {
        match self {
            Self::Data | Self::DataTwice => Some(DATA_CHANGED),
            Self::Deletion => Some(DELETED),
            Self::Creation => Some(CREATED),
            Self::Child => Some(CHILDREN_CHANGED),
            Self::Nothing => None,
        }
    }
}

#[test]
fn each_watch_through_a_cut_fires_once_and_in_the_order_of_the_changes() {
    let test = "watches_through_a_cut";
    let mut chance = Chance::printed(test);
    let ensemble = voters(&[]);
    let mut writer = patient_client(ensemble.server(ensemble.leader().0));
    let changes: Vec<(String, Change)> =
        (0..NODES).map(|node| (format!("/n{node}"), Change::drawn(&mut chance))).collect();
    for (path, change) in &changes {
        if !matches!(change, Change::Creation) {
            create(&mut writer, path, b"");
        }
    }
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut first = guest(&ensemble, 11, way.places(), &[]);
    let mut site = guest(&ensemble, 12, &[first.quorum], &[]);
    first.start();
    site.start();
    until_it_learns(&site);
    until_at(&site, committed(&ensemble));
    let opened = Connection::connect(site.client, &Handshake::with_timeout(TIMEOUT_MS));
    let (mut watcher, session) = opened.expect("a handshake");
    assert!(!session.is_expired());
    watcher.set_deadline(PATIENCE).expect("a deadline");
    for (path, change) in &changes {
        let arm = match change {
            Change::Creation => request::exists(path, true),
            Change::Child => request::get_children(path, true),
            Change::Data | Change::DataTwice | Change::Deletion | Change::Nothing => {
                request::get_data(path, true)
            }
        };
        watcher.call(&arm).expect("armed");
    }

    way.cut(Cut::Silent);
    let mut expected = Vec::new();
    for (path, change) in &changes {
        let data = request::set_data(path, Some(b"changed"), -1);
        match change {
            Change::Nothing => {}
            Change::Data => assert_eq!(writer.must(&data).err, 0),
            Change::DataTwice => (0..2).for_each(|_| assert_eq!(writer.must(&data).err, 0)),
            Change::Deletion => assert_eq!(writer.must(&request::delete(path, -1)).err, 0),
            Change::Creation => drop(create(&mut writer, path, b"")),
            Change::Child => drop(create(&mut writer, &format!("{path}/child"), b"")),
        }
        expected.extend(change.kind().map(|kind| (kind, path.clone())));
    }
    assert_eq!(watcher.drain_events().expect("a ping"), [], "events of what is not there yet");
    way.heal();
    until_at(&site, committed(&ensemble));
    let told: Vec<(i32, String)> = (watcher.drain_events().expect("a ping").into_iter())
        .map(|event| (event.kind, event.path))
        .collect();
    assert_eq!(told, expected);
    eprintln!("{test}: {} of {NODES} watches fired, once each", told.len());
}
