use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use farwatch_client::{
    Acl, AddWatchMode, Client, ClientError, CreateMode, Event, NodeEventKind, Options, SessionId,
    SessionState,
};

use crate::server::{address, client_below, client_with, own_root};
use crate::way::Way;

const PATIENCE: Duration = Duration::from_secs(30);

fn through(proxy: &Way, root: &str, options: Options) -> (Client, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let options = options.on_event(move |event| drop(sender.send(event)));
    let client = Client::open(&format!("{}{root}", proxy.address), options).unwrap();
    (client, events)
}

fn await_state(events: &Receiver<Event>, state: SessionState) {
    while events.recv_timeout(PATIENCE).unwrap() != Event::Session(state) {}
}

#[test]
fn a_patience_without_end_is_one() {
    let client = client_below(&own_root()).with_request_timeout(Duration::MAX);
    client.wait_connected(Duration::MAX).unwrap();
    client.create("/a", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    drop(client.get("/a", false).unwrap());
    client.close().unwrap();
}

#[test]
fn a_session_survives_its_connection_with_ephemerals_watches_and_credentials() {
    let root = own_root();
    let proxy = Way::to(address());
    let (client, events) = through(&proxy, &root, Options::default());
    client.add_auth("digest", b"bob:pw").unwrap();
    client.create("/eph", b"", &Acl::creator_all(), CreateMode::Ephemeral).unwrap();
    client.create("/data", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    client.get("/data", true).unwrap();
    client.exists("/later", true).unwrap();
    client.add_watch("/data", AddWatchMode::PersistentRecursive).unwrap();
    let before = client.session().unwrap();
    await_state(&events, SessionState::Connected);

    let writer = client_below(&root);
    proxy.sever();
    await_state(&events, SessionState::Disconnected);
    await_state(&events, SessionState::Connected);
    assert_eq!(client.session().unwrap().id, before.id);
    client.get("/eph", false).unwrap(); // needs the credential
    writer.create("/later", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    writer.create("/data/x", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    writer.set("/data", b"1", -1).unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        if let Event::Node(event) = events.recv_timeout(PATIENCE).unwrap() {
            kinds.push((event.kind, event.path));
        }
    }
    let expected = [
        (NodeEventKind::NodeCreated, "/later".to_owned()),
        (NodeEventKind::NodeCreated, "/data/x".to_owned()),
        (NodeEventKind::NodeDataChanged, "/data".to_owned()),
    ];
    assert_eq!(kinds, expected);
    client.close().unwrap();
    await_state(&events, SessionState::Closed);
    assert_eq!(writer.exists("/eph", false).unwrap(), None);
}

#[test]
fn what_changed_while_disconnected_is_told_at_reconnect() {
    let root = own_root();
    let proxy = Way::to(address());
    let (client, events) = through(&proxy, &root, Options::default());
    client.create("/data", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let writer = client_below(&root);
    for round in 0..5 {
        client.get("/data", true).unwrap();
        let token = client.session().unwrap();
        proxy.sever();
        writer.set("/data", b"1", -1).unwrap();
        let changed = loop {
            if let Event::Node(event) = events.recv_timeout(PATIENCE).unwrap() {
                break event;
            }
        };
        assert_eq!(changed.kind, NodeEventKind::NodeDataChanged, "round {round}");
        assert_eq!(client.get("/data", false).unwrap().stat.version, round + 1);
        assert!(token.last_zxid <= client.session().unwrap().last_zxid);
    }
}

#[test]
fn a_session_moves_to_another_client_by_id_and_password() {
    let root = own_root();
    let first = client_below(&root);
    first.create("/eph", b"", &Acl::open(), CreateMode::Ephemeral).unwrap();
    let token = first.detach().unwrap().unwrap();
    assert_eq!(first.get("/eph", false), Err(ClientError::Closed));
    let second = client_with(&root, Options::default().resume(token));
    assert_eq!(second.get_ephemerals("/").unwrap(), ["/eph"]);
    assert_eq!(second.session().unwrap().id, token.id);
    second.close().unwrap();
    let third = client_below(&root);
    assert_eq!(third.exists("/eph", false).unwrap(), None);
}

#[test]
fn an_expired_session_is_told_once_and_never_replaced_silently() {
    let root = own_root();
    let gone = client_below(&root);
    gone.sync("/").unwrap();
    let token = gone.session().unwrap();
    gone.close().unwrap();
    let (sender, events) = mpsc::channel();
    let options = Options::default().resume(token).on_event(move |event| drop(sender.send(event)));
    let client = client_with(&root, options);
    assert_eq!(client.get("/", false), Err(ClientError::SessionExpired));
    assert_eq!(client.get("/", false), Err(ClientError::SessionExpired));
    drop(client);
    let told: Vec<Event> = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok()).collect();
    assert_eq!(told, [Event::Session(SessionState::Expired)]);
}

#[test]
fn an_expired_session_is_replaced_when_that_was_asked_for() {
    let root = own_root();
    let gone = client_below(&root);
    gone.sync("/").unwrap();
    let token = gone.session().unwrap();
    gone.close().unwrap();
    let (sender, events) = mpsc::channel();
    let options = Options::default()
        .resume(token)
        .renew_expired(true)
        .on_event(move |event| drop(sender.send(event)));
    let client = client_with(&root, options);
    await_state(&events, SessionState::Expired);
    await_state(&events, SessionState::Connected);
    client.create("/eph", b"", &Acl::open(), CreateMode::Ephemeral).unwrap();
    assert_ne!(client.session().unwrap().id, token.id);
}

#[test]
fn an_idle_session_is_kept_alive_by_pings() {
    let root = own_root();
    let options = Options::default().session_timeout(Duration::from_millis(1));
    let (sender, events) = mpsc::channel();
    let client = client_with(&root, options.on_event(move |event| drop(sender.send(event))));
    client.create("/eph", b"", &Acl::open(), CreateMode::Ephemeral).unwrap();
    // The server grants its minimum, 1 s with the ticks of this suite.
    let granted = client.session_timeout();
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), Event::Session(SessionState::Connected));
    // Silence of the event stream for three timeouts is the claim itself, not a synchronization.
    let told = events.recv_timeout(granted * 3);
    assert!(told.is_err(), "{told:?}");
    assert_eq!(client.get_ephemerals("/").unwrap(), ["/eph"]);
}

#[test]
fn without_a_server_an_operation_fails_at_its_deadline_and_was_not_applied() {
    let options = Options::default().request_timeout(Duration::from_millis(50));
    let client = Client::open("127.0.0.1:1", options).unwrap();
    let error = client.create("/x", b"", &Acl::open(), CreateMode::Persistent).unwrap_err();
    assert_eq!(error, ClientError::Timeout { maybe_applied: false });
    assert_eq!(client.session(), None);
    assert_eq!(client.close(), Err(ClientError::ConnectionLoss { maybe_applied: false }));
}

#[test]
fn a_dead_server_in_the_list_is_passed_over() {
    let root = own_root();
    let live = crate::server::address();
    for seed in 0..4 {
        let options = Options::default().seed(seed);
        let client = Client::open(&format!("127.0.0.1:1,{live}{root}"), options).unwrap();
        client.wait_connected(PATIENCE).unwrap();
        assert_ne!(client.session().unwrap().id, SessionId::NONE);
        assert_eq!(client.server().unwrap().to_string(), live);
    }
}

#[test]
fn closing_twice_is_answered_at_once() {
    let client = client_below(&own_root());
    client.wait_connected(PATIENCE).unwrap();
    client.close().unwrap();
    client.close().unwrap(); // nobody is left to deliver a result: a wait would end in a timeout
}

#[test]
fn a_callback_that_does_not_return_does_not_hold_up_closing() {
    let (open, closed) = mpsc::channel::<()>();
    let options = Options::default().on_event(move |event| {
        if event == Event::Session(SessionState::Closed) {
            let _closed_either_way = closed.recv(); // until the test lets go
        }
    });
    let client = client_with(&own_root(), options);
    client.wait_connected(PATIENCE).unwrap();
    client.with_request_timeout(Duration::from_secs(2)).close().unwrap();
    drop(open);
}
