//! Which server a client takes, through ways of different lengths to one server.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use farwatch_client::{
    Acl, Client, ClientError, CreateMode, Event, NodeEventKind, Options, ServerChoice, SessionState,
};

use crate::server::{address, client_below, own_root};
use crate::way::Way;

const PATIENCE: Duration = Duration::from_secs(60);
const FAR: Duration = Duration::from_millis(60);

fn open(ways: &[&Way], root: &str, options: Options) -> (Client, Receiver<Event>) {
    let addresses: Vec<&str> = ways.iter().map(|way| way.address.as_str()).collect();
    let (sender, events) = mpsc::channel();
    let options = options.on_event(move |event| drop(sender.send(event)));
    (Client::open(&format!("{}{root}", addresses.join(",")), options).unwrap(), events)
}

fn nearest(seed: u64) -> Options {
    Options::default().server_choice(ServerChoice::Nearest).seed(seed)
}

fn await_state(events: &Receiver<Event>, state: SessionState) {
    while events.recv_timeout(PATIENCE).unwrap() != Event::Session(state) {}
}

fn server(client: &Client) -> String {
    client.server().expect("connected").to_string()
}

#[test]
fn the_nearest_that_serves_is_taken_first_and_the_next_nearest_when_it_is_gone() {
    let root = own_root();
    let dead = Way::to("127.0.0.1:1");
    let mute = Way::to(address());
    mute.mute(); // accepts at once and never says a word
    let near = Way::to(address());
    let far = Way::of_length(address(), FAR);
    let farther = Way::of_length(address(), FAR * 4);
    for seed in 0..6 {
        println!("seed {seed}");
        let ways = [&farther, &dead, &far, &mute, &near];
        let (client, events) = open(&ways, &root, nearest(seed));
        await_state(&events, SessionState::Connected);
        assert_eq!(server(&client), near.address);
        let before = client.session().unwrap();
        near.cut();
        await_state(&events, SessionState::Connected);
        assert_eq!(server(&client), far.address);
        assert_eq!(client.session().unwrap().id, before.id);
        near.heal();
    }
}

#[test]
fn a_session_comes_back_to_the_nearest_without_losing_a_request_or_an_event() {
    let root = own_root();
    let (near, far) = (Way::to(address()), Way::of_length(address(), FAR));
    near.cut();
    let options = nearest(1)
        .nearest_pause(Duration::from_millis(100))
        .session_timeout(Duration::from_secs(4)); // its reader looks around twelve times as often
    let (client, events) = open(&[&far, &near], &root, options);
    client.create("/mine", b"", &Acl::open(), CreateMode::Ephemeral).unwrap();
    client.create("/data", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    client.get("/data", true).unwrap();
    assert_eq!(server(&client), far.address);
    let before = client.session().unwrap();
    near.heal();
    // Requests go on, one after the other: none fails, and between two of them is the moment to move.
    let mut requests = 0;
    while client.server().is_none_or(|server| server.to_string() != near.address) {
        let read = client.exists("/mine", false);
        assert!(matches!(read, Ok(Some(_))), "request {requests}: {read:?}");
        requests += 1;
    }
    println!("{requests} requests until it was back");
    await_state(&events, SessionState::Disconnected);
    await_state(&events, SessionState::Connected);
    client_below(&root).set("/data", b"1", -1).unwrap();
    let Event::Node(event) = events.recv_timeout(PATIENCE).unwrap() else { panic!("no event") };
    assert_eq!(event.kind, NodeEventKind::NodeDataChanged);
    assert_eq!(client.session().unwrap().id, before.id);
    assert_eq!(client.get_ephemerals("/").unwrap(), ["/mine"]);
}

#[test]
fn a_held_lock_and_a_small_gain_keep_a_session_where_it_is() {
    let root = own_root();
    let (near, far) = (Way::of_length(address(), FAR / 2), Way::of_length(address(), FAR));
    near.cut();
    let options =
        nearest(2).nearest_pause(Duration::from_millis(20)).session_timeout(Duration::from_secs(2));
    let (client, events) = open(&[&far, &near], &root, options);
    await_state(&events, SessionState::Connected);
    near.set_length(FAR * 4 / 5);
    near.heal();
    let told = events.recv_timeout(Duration::from_secs(2)); // silence is the claim
    assert!(told.is_err(), "{told:?} for a gain of a fifth");
    let lock = farwatch_client::recipes::Lock::new(&client, "/lock");
    let held = lock.acquire(Instant::now() + PATIENCE).expect("it is free");
    near.set_length(Duration::ZERO);
    let told = events.recv_timeout(Duration::from_secs(2)); // as above
    assert!(told.is_err(), "{told:?} while a lock is held");
    drop(held);
    await_state(&events, SessionState::Disconnected);
    await_state(&events, SessionState::Connected);
    assert_eq!(server(&client), near.address);
}

#[test]
fn in_order_the_first_that_serves_is_taken_after_each_loss() {
    let root = own_root();
    let ways = [Way::to(address()), Way::to(address()), Way::to(address())];
    let options = || Options::default().server_choice(ServerChoice::Order);
    let (client, events) = open(&[&ways[0], &ways[1], &ways[2]], &root, options());
    await_state(&events, SessionState::Connected);
    assert_eq!(server(&client), ways[0].address);
    ways[0].cut();
    await_state(&events, SessionState::Connected);
    assert_eq!(server(&client), ways[1].address);
    ways[0].heal();
    ways[1].sever();
    await_state(&events, SessionState::Connected);
    assert_eq!(server(&client), ways[0].address);
    client.close().unwrap();
    assert_eq!(client.get("/", false), Err(ClientError::Closed));
}
