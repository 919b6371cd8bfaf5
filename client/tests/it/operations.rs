use std::sync::mpsc;
use std::time::Duration;

use farwatch_client::{
    Acl, AddWatchMode, Client, ClientError, CreateMode, ErrorCode, Event, Freshness, MultiOp,
    MultiResult, NodeEventKind, Operation, Options, Outcome, Perms, ReadOp, ReadResult, WatchKind,
};

use crate::server::{client_below, client_with, own_root};

const SERVER: fn(ErrorCode) -> ClientError = ClientError::Server;

#[test]
fn every_create_mode_makes_its_kind_of_node() {
    let client = client_below(&own_root());
    let open = Acl::open();
    let created = client.create("/p", b"x", &open, CreateMode::Persistent).unwrap();
    assert_eq!((created.path.as_str(), created.stat.ephemeral_owner), ("/p", 0));
    let e = client.create("/e", b"", &open, CreateMode::Ephemeral).unwrap();
    assert_eq!(e.stat.ephemeral_owner as u64, client.session().unwrap().id.0);
    let s = client.create("/s-", b"", &open, CreateMode::PersistentSequential).unwrap();
    assert_eq!(s.path, "/s-0000000002");
    let es = client.create("/", b"", &open, CreateMode::EphemeralSequential).unwrap();
    assert_eq!(es.path, "/0000000003");
    assert_eq!(client.create("/c", b"", &open, CreateMode::Container).unwrap().path, "/c");
    let ttl_ms = 60_000;
    let t = client.create("/t", b"", &open, CreateMode::PersistentWithTtl { ttl_ms }).unwrap();
    assert_eq!(t.path, "/t");
    let mode = CreateMode::PersistentSequentialWithTtl { ttl_ms };
    assert_eq!(client.create("/ts-", b"", &open, mode).unwrap().path, "/ts-0000000006");
    let too_long = CreateMode::PersistentWithTtl { ttl_ms: u64::MAX };
    assert_eq!(client.create("/u", b"", &open, too_long), Err(SERVER(ErrorCode::BadArguments)));
    let mut ephemerals = client.get_ephemerals("/").unwrap();
    ephemerals.sort();
    assert_eq!(ephemerals, ["/0000000003", "/e"]);
    assert_eq!(client.all_children_number("/").unwrap(), 7);
    client.close().unwrap();
}

#[test]
fn data_versions_and_errors_are_the_servers() {
    let client = client_below(&own_root());
    client.create("/a", b"one", &Acl::open(), CreateMode::Persistent).unwrap();
    assert_eq!(
        client.create("/a", b"", &Acl::open(), CreateMode::Persistent),
        Err(SERVER(ErrorCode::NodeExists))
    );
    assert_eq!(client.set("/a", b"two", 0).unwrap().version, 1);
    assert_eq!(client.set("/a", b"three", 0), Err(SERVER(ErrorCode::BadVersion)));
    let data = client.get("/a", false).unwrap();
    assert_eq!((data.data.as_deref(), data.stat.version), (Some(&b"two"[..]), 1));
    client.create("/a/b", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    assert_eq!(client.children("/a", false).unwrap().names, ["b"]);
    assert_eq!(client.delete("/a", -1), Err(SERVER(ErrorCode::NotEmpty)));
    client.delete("/a/b", 0).unwrap();
    assert_eq!(client.exists("/a/b", false).unwrap(), None);
    assert_eq!(client.exists("/a", false).unwrap().unwrap().num_children, 0);
    client.sync("/").unwrap();
    assert!(matches!(client.get("a", false), Err(ClientError::BadPath { .. })));
    let huge = vec![0; 1 << 20];
    assert!(matches!(client.set("/a", &huge, -1), Err(ClientError::TooLarge { .. })));
    assert_eq!(client.get("/a", false).unwrap().data.as_deref(), Some(&b"two"[..]));
    client.close().unwrap();
    assert_eq!(client.get("/a", false), Err(ClientError::Closed));
}

#[test]
fn null_data_stays_null() {
    let client = client_below(&own_root());
    let (path, data, acl) = ("/n".to_owned(), None, Acl::open());
    let mode = CreateMode::Persistent;
    client.call(&Operation::Create { path, data, acl, mode }).unwrap();
    assert_eq!(client.get("/n", false).unwrap().data, None);
    client.set("/n", b"", -1).unwrap();
    assert_eq!(client.get("/n", false).unwrap().data, Some(Vec::new()));
}

#[test]
fn acls_guard_and_credentials_open() {
    let root = own_root();
    let client = client_below(&root);
    client.add_auth("digest", b"bob:pw").unwrap();
    client.create("/mine", b"x", &Acl::creator_all(), CreateMode::Persistent).unwrap();
    let acl = client.get_acl("/mine").unwrap();
    assert_eq!(acl.acl, [Acl::new(Perms::ALL, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")]);
    let other = client_below(&root);
    assert_eq!(other.get("/mine", false), Err(SERVER(ErrorCode::NoAuth)));
    let stat = client.set_acl("/mine", &Acl::read_only(), 0).unwrap();
    assert_eq!(stat.aversion, 1);
    assert_eq!(other.get("/mine", false).unwrap().data.as_deref(), Some(&b"x"[..]));
    let who = client.whoami().unwrap();
    assert!(who.iter().any(|identity| identity.scheme == "digest" && identity.id == "bob"));
    assert_eq!(other.add_auth("nosuch", b"x"), Err(SERVER(ErrorCode::AuthFailed)));
    // The refused credential cost a connection, not the session.
    assert_eq!(other.get("/mine", false).unwrap().stat.aversion, 1);
}

#[test]
fn a_transaction_is_applied_whole_or_not_at_all() {
    let client = client_below(&own_root());
    let create = |path: &str| MultiOp::Create {
        path: path.to_owned(),
        data: Some(b"1".to_vec()),
        acl: Acl::open(),
        mode: CreateMode::Persistent,
    };
    let results = client
        .multi(vec![
            create("/m"),
            MultiOp::SetData { path: "/m".to_owned(), data: None, version: 0 },
            MultiOp::Check { path: "/m".to_owned(), version: 1 },
            create("/m/x"),
            MultiOp::Delete { path: "/m/x".to_owned(), version: -1 },
        ])
        .unwrap();
    let MultiResult::Created { path, .. } = &results[0] else { panic!("{results:?}") };
    assert_eq!(path, "/m");
    assert!(matches!(&results[1], MultiResult::Set { stat } if stat.version == 1));
    assert_eq!(results[2], MultiResult::Checked);
    assert_eq!(results[4], MultiResult::Deleted);
    let delete = MultiOp::Delete { path: "/none".to_owned(), version: -1 };
    assert_eq!(
        client.multi(vec![create("/never"), delete, create("/never2")]),
        Err(ClientError::MultiFailed { index: 1, code: ErrorCode::NoNode })
    );
    assert_eq!(client.exists("/never", false).unwrap(), None);
    client.check("/m", 1).unwrap();
    assert_eq!(client.check("/m", 7), Err(SERVER(ErrorCode::BadVersion)));
    let reads = client
        .multi_read(vec![
            ReadOp::GetData { path: "/m".to_owned() },
            ReadOp::GetChildren { path: "/".to_owned() },
            ReadOp::GetData { path: "/none".to_owned() },
        ])
        .unwrap();
    assert!(matches!(&reads[0], ReadResult::Data { data: None, stat } if stat.version == 1));
    assert_eq!(reads[1], ReadResult::Children { names: vec!["m".to_owned()] });
    assert_eq!(reads[2], ReadResult::Refused(ErrorCode::NoNode));
    assert!(client.multi(Vec::new()).unwrap().is_empty());
}

#[test]
fn watches_fire_once_or_stay_and_removal_is_told() {
    let root = own_root();
    let (sender, events) = mpsc::channel();
    let options = Options::default().on_event(move |event| drop(sender.send(event)));
    let client = client_with(&root, options);
    let next = || loop {
        match events.recv_timeout(Duration::from_secs(20)).unwrap() {
            Event::Session(_) => {}
            Event::Node(event) => return (event.kind, event.path),
        }
    };
    let writer = client_below(&root);
    let is = |kind, path: &str| (kind, path.to_owned());
    assert_eq!(client.exists("/w", true).unwrap(), None);
    client.children("/", true).unwrap();
    writer.create("/w", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    assert_eq!(next(), is(NodeEventKind::NodeCreated, "/w"));
    assert_eq!(next(), is(NodeEventKind::NodeChildrenChanged, "/"));
    client.get("/w", true).unwrap();
    writer.set("/w", b"1", -1).unwrap();
    assert_eq!(next(), is(NodeEventKind::NodeDataChanged, "/w"));
    client.add_watch("/w", AddWatchMode::PersistentRecursive).unwrap();
    writer.create("/w/c", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    writer.set("/w/c", b"1", -1).unwrap();
    writer.delete("/w/c", -1).unwrap();
    assert_eq!(next(), is(NodeEventKind::NodeCreated, "/w/c"));
    assert_eq!(next(), is(NodeEventKind::NodeDataChanged, "/w/c"));
    assert_eq!(next(), is(NodeEventKind::NodeDeleted, "/w/c"));
    assert!(client.check_watches("/w", WatchKind::Any).unwrap());
    client.remove_watches("/w", WatchKind::Any).unwrap();
    assert_eq!(next(), is(NodeEventKind::PersistentWatchRemoved, "/w"));
    assert!(!client.check_watches("/w", WatchKind::Any).unwrap());
    let none = client.remove_watches("/w", WatchKind::Any);
    assert_eq!(none, Err(SERVER(ErrorCode::NoWatcher)));
}

#[test]
fn pipelined_requests_are_executed_and_answered_in_order() {
    const REQUESTS: usize = 5000;
    let client = client_below(&own_root());
    client.create("/n", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let (sender, receiver) = mpsc::channel();
    for i in 0..REQUESTS {
        let sender = sender.clone();
        let data = Some(i.to_string().into_bytes());
        let operation = Operation::SetData { path: "/n".to_owned(), data, version: i as i32 };
        client.submit(&operation, move |result| sender.send((i, result)).unwrap()).unwrap();
    }
    for i in 0..REQUESTS {
        let (place, result) = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        let Ok(Outcome::Stat(stat)) = result else { panic!("{result:?}") };
        assert_eq!((place, stat.version), (i, i as i32 + 1));
    }
}

#[test]
fn many_threads_share_one_session() {
    let client = client_below(&own_root());
    client.create("/n", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    client.set("/n", b"x", -1).unwrap();
                }
            });
        }
    });
    assert_eq!(client.get("/n", false).unwrap().stat.version, 800);
}

#[test]
fn a_blocking_call_inside_a_callback_is_refused_instead_of_hanging() {
    let client = client_below(&own_root());
    let (sender, receiver) = mpsc::channel();
    let inner = client.clone();
    let operation = Operation::Sync { path: "/".to_owned() };
    client.submit(&operation, move |_result| sender.send(inner.get("/", false)).unwrap()).unwrap();
    let refused = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(refused, Err(ClientError::InsideCallback));
}

#[test]
fn more_than_the_sockets_hold_goes_both_ways_from_inside_callbacks() {
    // Each completion submits the next large read and write, all of it on the reader thread: it
    // must keep reading while the socket takes no more.
    const CHAINS: usize = 12;
    const ROUNDS: usize = 6;
    let client = client_below(&own_root());
    client.create("/n", &vec![1; 400_000], &Acl::open(), CreateMode::Persistent).unwrap();
    let (sender, receiver) = mpsc::channel();
    fn go(client: farwatch_client::Client, left: usize, done: mpsc::Sender<()>) {
        if left == 0 {
            return done.send(()).unwrap();
        }
        let next = client.clone();
        let operation = if left.is_multiple_of(2) {
            Operation::GetData { path: "/n".to_owned(), watch: false }
        } else {
            let data = Some(vec![1; 400_000]);
            Operation::SetData { path: "/n".to_owned(), data, version: -1 }
        };
        client
            .submit(&operation, move |result| {
                result.unwrap();
                go(next, left - 1, done);
            })
            .unwrap();
    }
    for _ in 0..CHAINS {
        go(client.clone(), ROUNDS, sender.clone());
    }
    for _ in 0..CHAINS {
        receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn a_read_of_a_transaction_that_nobody_knows_fails_and_of_one_that_is_known_does_not() {
    let client = client_below(&own_root());
    let made = client.create("/a", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let at = |at_least| client.with_freshness(Freshness { at_least, at_most: None });
    let known = made.stat.czxid;
    assert_eq!(at(Some(known)).get("/a", false).unwrap().stat.czxid, known);
    let wanted = known + (1 << 31);
    let stale = at(Some(wanted)).get("/a", false).unwrap_err();
    assert!(
        matches!(stale, ClientError::Stale { wanted: it, seen } if it == wanted && known <= seen)
    );
    // Writes are what they always are.
    at(Some(wanted)).set("/a", b"1", 0).unwrap();
    client.close().unwrap();
}

/// Asks the client something when it is dropped, as what an application's closure owns may.
struct Asks(Client, mpsc::Sender<bool>);

impl Drop for Asks {
    fn drop(&mut self) {
        self.1.send(self.0.is_over()).unwrap();
    }
}

#[test]
fn what_a_completion_owns_may_ask_the_client_when_it_is_dropped() {
    let client = client_below(&own_root());
    client.wait_connected(Duration::from_secs(60)).unwrap();
    let (sender, asked) = mpsc::channel();
    let owned = |client: &Client| {
        let asks = Asks(client.clone(), sender.clone());
        move |_result| drop(asks)
    };
    let next = || asked.recv_timeout(Duration::from_secs(60)).unwrap();
    let read = Operation::Exists { path: "/".to_owned(), watch: false };
    let data = Some(vec![0; 2_000_000]);
    let large = Operation::SetData { path: "/a".to_owned(), data, version: -1 };
    client.submit(&large, owned(&client)).unwrap_err();
    assert!(!next(), "refused");
    // Nothing listens there: it waits until it is given up.
    let nowhere = Client::open("127.0.0.1:1", Options::default()).unwrap();
    let request = nowhere.submit(&read, owned(&nowhere)).unwrap();
    nowhere.abandon(request);
    assert!(!next(), "abandoned");
    client.close().unwrap();
    client.with_freshness(Freshness::NOW).submit(&read, owned(&client)).unwrap_err();
    assert!(next(), "refused with the sync before it");
}
