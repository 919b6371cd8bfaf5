//! Lasting watches with listeners of their own.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use farwatch_client::{
    Acl, AddWatchMode, Client, ClientError, CreateMode, Event, NodeEventKind, Options,
    SessionState, Watch, WatchKind,
};

use crate::server::{address, client_below, client_with, own_root};
use crate::way::Way;

const PATIENCE: Duration = Duration::from_secs(30);

fn watch(client: &Client, path: &str, mode: AddWatchMode) -> (Watch, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let listener = move |event: &Event| drop(sender.send(event.clone()));
    (client.watch(path, mode, listener).unwrap(), events)
}

fn create(client: &Client, path: &str) {
    client.create(path, b"", &Acl::open(), CreateMode::Persistent).unwrap();
}

/// What was told so far, in short.
fn told(events: &Receiver<Event>) -> Vec<String> {
    let short = |event| match event {
        Event::Node(event) => {
            let kind = match event.kind {
                NodeEventKind::NodeCreated => "created",
                NodeEventKind::NodeDeleted => "deleted",
                NodeEventKind::NodeDataChanged => "set",
                NodeEventKind::NodeChildrenChanged => "children of",
                other => panic!("{other:?}"),
            };
            format!("{kind} {}", event.path)
        }
        Event::Session(state) => format!("{state:?}"),
    };
    events.try_iter().map(short).collect()
}

fn await_state(events: &Receiver<Event>, state: SessionState) {
    while events.recv_timeout(PATIENCE).unwrap() != Event::Session(state) {}
}

#[test]
fn each_listener_hears_its_own_watch_until_it_is_dropped_and_the_server_forgets_the_last_one() {
    let client = client_below(&own_root());
    for path in ["/a", "/a/b", "/ab"] {
        create(&client, path);
    }
    let (first, of_first) = watch(&client, "/a", AddWatchMode::Persistent);
    let (second, of_second) = watch(&client, "/a", AddWatchMode::Persistent);
    let (tree, of_tree) = watch(&client, "/a", AddWatchMode::PersistentRecursive);
    let (_all, of_all) = watch(&client, "/", AddWatchMode::PersistentRecursive);
    create(&client, "/a/b/c");
    create(&client, "/a/d");
    client.set("/a", b"1", -1).unwrap();
    client.set("/ab", b"1", -1).unwrap();
    let own = ["children of /a", "set /a"];
    assert_eq!(told(&of_first), own);
    assert_eq!(told(&of_second), own);
    let below = ["created /a/b/c", "created /a/d", "set /a"];
    assert_eq!(told(&of_tree), below);
    assert_eq!(told(&of_all), [&below[..], &["set /ab"]].concat());

    drop(first);
    client.set("/a", b"2", -1).unwrap();
    assert_eq!(told(&of_first), [""; 0]);
    assert_eq!(told(&of_second), ["set /a"], "the other one's watch is still there");
    drop(second);
    assert!(!client.check_watches("/a", WatchKind::Persistent).unwrap());
    assert!(client.check_watches("/a", WatchKind::PersistentRecursive).unwrap());
    client.delete("/a/d", -1).unwrap();
    assert_eq!(told(&of_tree), ["set /a", "deleted /a/d"]);
    drop(tree);
    assert!(!client.check_watches("/a", WatchKind::PersistentRecursive).unwrap());
}

#[test]
fn a_watch_that_is_refused_leaves_nothing_behind() {
    let client = client_below(&own_root());
    let bad = client.watch("no-slash", AddWatchMode::Persistent, |_event| {});
    assert!(matches!(bad, Err(ClientError::BadPath { .. })), "{bad:?}");
    let nowhere = Client::open("127.0.0.1:1", Options::default()).unwrap();
    let nowhere = nowhere.with_request_timeout(Duration::from_millis(1));
    let late = nowhere.watch("/a", AddWatchMode::Persistent, |_event| {});
    assert_eq!(late.err(), Some(ClientError::Timeout { maybe_applied: false }));
}

#[test]
fn a_watch_outlives_its_connection_and_its_session_and_tells_when_to_read_again() {
    let root = own_root();
    let way = Way::to(address());
    let options = Options::default().renew_expired(true);
    let client = Client::open(&format!("{}{root}", way.address), options).unwrap();
    let writer = client_below(&root);
    create(&writer, "/a");
    let (_watch, events) = watch(&client, "/a", AddWatchMode::PersistentRecursive);

    way.sever();
    await_state(&events, SessionState::Disconnected);
    await_state(&events, SessionState::Connected);
    client.sync("/").unwrap(); // behind what the client armed anew
    create(&writer, "/a/b");
    client.sync("/").unwrap();
    assert_eq!(told(&events), ["created /a/b"]);

    let session = client.session().unwrap();
    way.cut();
    let other = client_with(&root, Options::default().resume(session));
    other.sync("/").unwrap();
    other.close().unwrap();
    way.heal();
    await_state(&events, SessionState::Expired);
    await_state(&events, SessionState::Connected);
    client.sync("/").unwrap();
    create(&writer, "/a/c");
    client.sync("/").unwrap();
    assert_eq!(told(&events), ["created /a/c"]);
    client.close().unwrap();
    await_state(&events, SessionState::Closed);
}

#[test]
fn a_watch_whose_removal_is_lost_with_its_connection_is_not_set_again() {
    let root = own_root();
    let way = Way::to(address());
    let client = Client::open(&format!("{}{root}", way.address), Options::default()).unwrap();
    create(&client, "/a");
    let (_other, events) = watch(&client, "/", AddWatchMode::Persistent);
    let (gone, of_gone) = watch(&client, "/a", AddWatchMode::PersistentRecursive);
    assert!(client.check_watches("/a", WatchKind::PersistentRecursive).unwrap());
    way.pause();
    drop(gone);
    way.sever();
    way.go_on();
    await_state(&events, SessionState::Connected);
    assert!(!client.check_watches("/a", WatchKind::PersistentRecursive).unwrap());
    assert!(client.check_watches("/", WatchKind::Persistent).unwrap());
    assert_eq!(told(&of_gone), [""; 0]);
}
