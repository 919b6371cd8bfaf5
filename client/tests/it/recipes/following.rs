//! What is kept here and pushed: members, services, configuration, leaders.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{
    ConfigCell, Group, GroupView, LeaderLatch, RecipeError, ServiceDirectory, Standing,
};
use farwatch_client::{Acl, ClientError, CreateMode, ErrorCode, Options};

use super::loss::through;
use super::way::{GET_DATA, MULTI, NO_AUTH, THROTTLED, Way};
use super::{Counting, await_children, fresh, shortly, soon};
use crate::server::client_below;

/// Waits until the view shows these names.
fn await_names(view: &GroupView, names: &[&str]) {
    let mut revision = 0;
    loop {
        revision = view.wait_beyond(revision, soon()).unwrap();
        if view.members().iter().map(|member| member.name.as_str()).eq(names.iter().copied()) {
            return;
        }
    }
}

#[test]
fn a_group_shows_who_came_who_went_and_what_they_say() {
    let (root, client) = fresh();
    let group = Group::new(&client, "/hosts");
    let view = group.follow();
    await_names(&view, &[]);
    let (sender, told) = mpsc::channel();
    view.on_change(move |members| sender.send(members.to_vec()).unwrap());
    let others = [client_below(&root), client_below(&root)];
    let one = Group::new(&others[0], "/hosts").join("one", b"1", soon()).unwrap();
    await_names(&view, &["one"]);
    let two = Group::new(&others[1], "/hosts").join("two", b"2", soon()).unwrap();
    await_names(&view, &["one", "two"]);
    assert_eq!(view.members()[1].data, b"2");
    assert_eq!(view.members()[1].token, two.token());
    others[0].set(one.path(), b"busy", -1).unwrap();
    let mut revision = 0;
    while view.members()[0].data != b"busy" {
        revision = view.wait_beyond(revision, soon()).unwrap();
    }
    others[1].close().unwrap();
    await_names(&view, &["one"]);
    assert_eq!(two.standing(), Standing::Lost);
    one.leave(soon()).unwrap();
    await_names(&view, &[]);
    let told: Vec<usize> =
        (0..5).map(|_| told.recv_timeout(Duration::from_secs(60)).unwrap().len()).collect();
    assert_eq!(told, [1, 2, 2, 1, 0]);
}

#[test]
fn one_that_comes_back_under_its_name_is_seen_as_another() {
    let (_root, client) = fresh();
    let group = Group::new(&client, "/hosts");
    let view = group.follow();
    let before = group.join("host", b"before", soon()).unwrap();
    await_names(&view, &["host"]);
    let token = before.token();
    before.leave(soon()).unwrap();
    let again = group.join("host", b"after", soon()).unwrap();
    let mut revision = 0;
    while view.members().first().is_none_or(|member| member.data != b"after") {
        revision = view.wait_beyond(revision, soon()).unwrap();
    }
    assert_eq!(view.members()[0].token, again.token());
    assert!(token < again.token());
}

#[test]
fn a_name_is_given_to_one_at_a_time() {
    let (root, client) = fresh();
    let (ours, theirs) =
        (Group::new(&client, "/hosts"), Group::new(&client_below(&root), "/hosts"));
    let held = ours.join("host", b"", soon()).unwrap();
    let taken = theirs.join("host", b"", shortly());
    assert_eq!(taken.map(drop), Err(RecipeError::Taken { path: "/hosts/host".to_owned() }));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| theirs.join("host", b"", soon()).unwrap());
        let token = held.token();
        held.leave(soon()).unwrap();
        assert!(token < waiting.join().unwrap().token());
    });
}

#[test]
fn a_join_whose_answer_is_lost_is_the_members_own_and_a_view_outlives_cuts() {
    let (root, client) = fresh();
    let way = Way::open();
    let cut = through(&way, &root, Options::default());
    let group = Group::new(&cut, "/hosts");
    drop(group.join("first", b"", soon()).unwrap());
    way.lose_answer(MULTI);
    let member = group.join("cut", b"", soon()).unwrap();
    assert_eq!(way.lost(), 1);
    let stat = client.exists("/hosts/cut", false).unwrap().unwrap();
    assert_eq!(member.token().0, stat.czxid);
    let view = group.follow();
    await_names(&view, &["cut"]);
    for round in 0..3 {
        way.close();
        let other = Group::new(&client, "/hosts").join("other", b"", soon()).unwrap();
        assert_eq!(view.members().len(), 1, "what was known stays, round {round}");
        way.reopen();
        await_names(&view, &["cut", "other"]);
        assert!(view.is_current());
        other.leave(soon()).unwrap();
        await_names(&view, &["cut"]);
    }
    drop(member);
}

#[test]
fn a_directory_spreads_the_load_over_those_that_offer_a_service() {
    let (root, client) = fresh();
    let directory = ServiceDirectory::new(&client, "/services");
    let (web, mail) = (directory.follow("web"), directory.follow("mail"));
    assert_eq!(web.pick(), None);
    let offered: Vec<_> = (0..3)
        .map(|number| {
            let directory = ServiceDirectory::new(&client_below(&root), "/services");
            let (name, address) = (format!("web{number}"), format!("10.0.0.{number}:80"));
            directory.register("web", &name, address.as_bytes(), soon()).unwrap()
        })
        .collect();
    await_names(&web, &["web0", "web1", "web2"]);
    let mut picked: Vec<Vec<u8>> = (0..6).map(|_| web.pick().unwrap().data).collect();
    picked.sort();
    picked.dedup();
    assert_eq!(picked.len(), 3, "each in its turn");
    drop(offered);
    await_names(&web, &[]);
    assert_eq!((web.pick(), mail.pick()), (None, None));
}

#[test]
fn a_cell_has_the_last_value_across_creation_cuts_and_deletion() {
    let (root, client) = fresh();
    let way = Way::open();
    let cell = ConfigCell::open(&through(&way, &root, Options::default()), "/app/config");
    let (sender, told) = mpsc::channel();
    cell.on_change(move |value| sender.send(value.map(|it| it.data.clone())).unwrap());
    let mut seen = cell.wait_beyond(0, soon()).unwrap();
    assert_eq!(cell.get(), None);
    let writer = ConfigCell::open(&client, "/app/config");
    let token = writer.set(b"1", None, soon()).unwrap().unwrap();
    seen = cell.wait_beyond(seen, soon()).unwrap();
    let value = cell.get().unwrap();
    assert_eq!((value.data.as_slice(), value.token), (&b"1"[..], token));
    for round in 0..3 {
        way.close();
        writer.set(format!("cut {round}").as_bytes(), None, soon()).unwrap().unwrap();
        assert_eq!(cell.revision(), seen);
        way.reopen();
        seen = cell.wait_beyond(seen, soon()).unwrap();
        assert_eq!(cell.get().unwrap().data, format!("cut {round}").as_bytes());
    }
    // Its version guards a value against those who have not seen it.
    let version = cell.get().unwrap().version;
    assert_eq!(writer.set(b"late", Some(version - 1), soon()).unwrap(), None);
    writer.set(b"last", Some(version), soon()).unwrap().unwrap();
    seen = cell.wait_beyond(seen, soon()).unwrap();
    client.delete("/app/config", -1).unwrap();
    cell.wait_beyond(seen, soon()).unwrap();
    assert_eq!(cell.get(), None);
    drop(cell);
    let told: Vec<Option<Vec<u8>>> = told.iter().collect();
    assert_eq!(told[told.len() - 2..], [Some(b"last".to_vec()), None]);
}

#[test]
fn a_value_whose_answer_is_lost_is_set_once() {
    let (root, client) = fresh();
    client.create("/config", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let way = Way::open();
    let cell = ConfigCell::open(&through(&way, &root, Options::default()), "/config");
    for round in 1..=3 {
        way.lose_answer(MULTI);
        let token = cell.set(b"value", Some(round - 1), soon()).unwrap().unwrap();
        assert_eq!(way.lost(), i64::from(round));
        let stat = client.get("/config", false).unwrap().stat;
        assert_eq!((stat.version, stat.mzxid), (round, token.0));
    }
}

#[test]
fn those_who_follow_an_election_are_told_of_each_leader_and_not_of_each_candidate() {
    let (root, client) = fresh();
    let counting = Counting::below(&root);
    let view = LeaderLatch::new(&counting.client, "/leader").follow();
    let (sender, told) = mpsc::channel();
    let mut revision = view.wait_beyond(0, soon()).unwrap();
    assert_eq!(view.leader(), None);
    view.on_change(move |leader| sender.send(leader.map(|it| it.id.clone())).unwrap());
    let latch = LeaderLatch::new(&client, "/leader");
    let mut candidates = vec![latch.join(b"0", soon()).unwrap()];
    revision = view.wait_beyond(revision, soon()).unwrap();
    let before = counting.told();
    candidates.extend((1..5).map(|id| latch.join(format!("{id}").as_bytes(), soon()).unwrap()));
    // The list was watched while it was empty, which the second candidate may have ended.
    assert!(counting.told() <= before + 1, "four candidates wake nobody");
    for candidate in candidates {
        assert!(candidate.is(&view.leader().unwrap()));
        candidate.withdraw(soon()).unwrap();
        revision = view.wait_beyond(revision, soon()).unwrap();
    }
    assert_eq!(view.leader(), None);
    drop(view);
    let told: Vec<Option<Vec<u8>>> = told.iter().collect();
    let ids = told.iter().flatten().map(|id| id[0] - b'0').collect::<Vec<u8>>();
    assert_eq!((ids, told.len()), (vec![0, 1, 2, 3, 4], 6), "{told:?}");
}

#[test]
fn what_a_server_refuses_to_show_for_now_is_followed_later() {
    let (root, observer) = fresh();
    observer.create("/config", b"1", &Acl::open(), CreateMode::Persistent).unwrap();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    way.refuse(GET_DATA, &[THROTTLED; 2]);
    let cell = ConfigCell::open(&client, "/config");
    let seen = cell.wait_beyond(0, soon()).unwrap();
    assert_eq!((cell.get().unwrap().data.as_slice(), way.still_refuses()), (&b"1"[..], 0));
    observer.set("/config", b"2", -1).unwrap();
    cell.wait_beyond(seen, soon()).unwrap();
    // One that is refused for what it is, is told, and looks again.
    way.refuse(GET_DATA, &[NO_AUTH; 100]);
    let cell = ConfigCell::open(&client, "/config");
    let refused = Err(ClientError::Server(ErrorCode::NoAuth).into());
    assert_eq!(cell.wait_beyond(0, soon()), refused);
    way.refuse(GET_DATA, &[]);
    let deadline = soon();
    while cell.revision() == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(cell.get().unwrap().data, b"2");
}

#[test]
fn a_member_that_a_server_does_not_show_for_now_is_not_gone() {
    let (root, observer) = fresh();
    let member = Group::new(&observer, "/hosts").join("host", b"", soon()).unwrap();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    way.refuse(GET_DATA, &[THROTTLED]);
    let view = Group::new(&client, "/hosts").follow();
    let mut revision = view.wait_beyond(0, soon()).unwrap();
    let (sender, told) = mpsc::channel();
    view.on_change(move |members| sender.send(members.len()).unwrap());
    way.refuse(GET_DATA, &[THROTTLED; 2]);
    observer.set(member.path(), b"busy", -1).unwrap();
    while view.members().first().is_none_or(|member| member.data != b"busy") {
        revision = view.wait_beyond(revision, soon()).unwrap();
    }
    drop(view);
    assert_eq!((told.iter().collect::<Vec<_>>(), way.still_refuses()), (vec![1], 0));
}

#[test]
fn an_election_at_the_root_is_followed() {
    let (_root, client) = fresh();
    let latch = LeaderLatch::new(&client, "/");
    let candidate = latch.join(b"first", soon()).unwrap();
    let view = latch.follow();
    view.wait_beyond(0, soon()).unwrap();
    assert!(candidate.is(&view.leader().unwrap()));
}

#[test]
fn who_waits_for_a_change_hears_that_the_client_is_closed() {
    let (_root, client) = fresh();
    let cell = ConfigCell::open(&client, "/config");
    let seen = cell.wait_beyond(0, soon()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| cell.wait_beyond(seen, soon()));
        client.close().unwrap();
        assert_eq!(waiting.join().unwrap(), Err(ClientError::Closed.into()));
    });
    assert_eq!(cell.wait_beyond(seen, soon()), Err(ClientError::Closed.into()));
}

#[test]
fn who_waits_for_a_change_hears_of_the_end_of_the_session_unless_another_one_follows() {
    let (root, observer) = fresh();
    for renews in [false, true] {
        let way = Way::open();
        let short = Options::default().session_timeout(Duration::from_secs(1));
        let client = through(&way, &root, short.renew_expired(renews));
        client.create("/mark", b"", &Acl::open(), CreateMode::Ephemeral).unwrap();
        let cell = ConfigCell::open(&client, "/config");
        let seen = cell.wait_beyond(0, soon()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cell.wait_beyond(seen, soon()));
            way.close();
            await_children(&observer, "/", 0);
            way.reopen();
            if renews {
                client.wait_connected(Duration::from_secs(60)).unwrap();
                observer.create("/config", b"1", &Acl::open(), CreateMode::Persistent).unwrap();
                assert_eq!(waiting.join().unwrap(), Ok(seen + 1));
            } else {
                assert_eq!(waiting.join().unwrap(), Err(ClientError::SessionExpired.into()));
            }
        });
    }
}
