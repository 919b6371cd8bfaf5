//! What each kind of client sees of an observer at each moment of a cut, as `docs/observers.md` has it.
//!
//! ```text
//! voters ◄─ wire, cut and healed ─ observer ◄─ connections that are there, that come, that come back
//! ```

use farwatch_bench::raw::request::{close_session, create, exists, get_data, set_data, sync};
use farwatch_bench::raw::{Connection, Handshake, Session, four_letter_word_within, ids};
use farwatch_cli::demo::wire::{Cut, Wire};

use super::sites::{
    NEAR, committed, guest, patient_client, set, shown, until_at, until_it_learns, voters, wire,
};
use crate::ensemble::servers::{Ensemble, PATIENCE, Server, until};
use crate::subject::Chance;

const CONNECTION_LOSS: i32 = -4;
const NO_NODE: i32 = -101;
const NOT_READ_ONLY: i32 = -119;
const EPHEMERAL: i32 = 1;

/// A session that outlives every cut here, and one that does not.
const LONG_MS: i32 = 30_000;
const SHORT_MS: i32 = 2000;

/// Lines of an observer whose sessions are the ensemble's, as ZooKeeper's are.
const GLOBAL: [&str; 2] = ["localSessionsEnabled=false", "writeWaitMs=1500"];

/// A site that can be cut off.
struct Site {
    ensemble: Ensemble,
    observer: Server,
    way: Wire,
}

impl Site {
    fn with(test: &str, voters_too: &[&str], lines: &[&str]) -> Self {
        let mut chance = Chance::printed(test);
        let ensemble = voters(voters_too);
        let way = wire(&ensemble, NEAR, &mut chance);
        let mut observer = guest(&ensemble, 11, way.places(), lines);
        observer.start();
        until_it_learns(&observer);
        let site = Self { ensemble, observer, way };
        let mut client = site.voters_client();
        assert_eq!(client.must(&create("/a", Some(b"1"), &ids::open(), 0)).err, 0);
        until_at(&site.observer, committed(&site.ensemble));
        site
    }

    fn voters_client(&self) -> crate::ensemble::client::Client {
        patient_client(self.ensemble.server(self.ensemble.leader().0))
    }

    fn connect(&self, handshake: &Handshake) -> Option<(Connection, Session)> {
        let (connection, session) = Connection::connect(self.observer.client, handshake).ok()?;
        connection.set_deadline(PATIENCE).expect("a deadline");
        Some((connection, session))
    }

    #[track_caller]
    fn client(&self) -> (Connection, Session) {
        self.connect(&Handshake::with_timeout(LONG_MS)).expect("a session")
    }

    #[track_caller]
    fn until_it_serves(&self, whom: &str) {
        until(&format!("it serves {whom}"), PATIENCE, || {
            self.observer.report().is_some_and(|it| it.serves == whom)
        });
    }

    fn cut(&self, serves: &str) {
        self.way.cut(Cut::Silent);
        self.until_it_serves(serves);
    }

    fn heal(&self) {
        self.way.heal();
        until_it_learns(&self.observer);
        until_at(&self.observer, committed(&self.ensemble));
    }

    fn says(&self, word: &str) -> String {
        four_letter_word_within(self.observer.client, word, PATIENCE).unwrap_or_default()
    }
}

fn reader(handshake: Handshake) -> Handshake {
    Handshake { read_only: Some(true), ..handshake }
}

#[track_caller]
fn must(connection: &mut Connection, request: &farwatch_bench::raw::Request) -> i32 {
    connection.call(request).expect("the connection lives").err
}

#[test]
fn who_comes_in_a_cut_and_takes_a_server_that_only_reads_is_served_and_sent_on_when_it_heals() {
    let site = Site::with("readers_come_in_a_cut", &[], &GLOBAL);
    let (mut stays, _) = site.client();
    assert_eq!(must(&mut stays, &create("/e", None, &ids::open(), EPHEMERAL)), 0);
    let (mut returns, known) = site.client();
    assert_eq!(must(&mut returns, &exists("/a", false)), 0);
    site.cut("reads");
    // Once an election would be over it is answered: with a session of this server's alone.
    let (mut new, granted) = site.connect(&reader(Handshake::default())).expect("it is served");
    assert_eq!((granted.read_only, granted.id == 0), (Some(true), false));
    let (mut back, again) = site.connect(&reader(Handshake::resume(&known))).expect("it is served");
    assert_eq!((again.read_only, again.id), (Some(true), known.id), "it is known here");
    returns.expect_close().expect("a session has one connection at a server");
    let stranger = Session { id: known.id ^ 0x77, ..known.clone() };
    assert!(site.connect(&reader(Handshake::resume(&stranger))).is_none(), "it may be elsewhere");
    for plain in [Handshake::default(), Handshake::resume(&known)] {
        assert!(site.connect(&plain).is_none(), "it did not ask for a server that only reads");
    }
    for guest in [&mut new, &mut back] {
        assert_eq!(must(guest, &get_data("/a", true)), 0);
        for write in [set_data("/a", None, -1), sync("/")] {
            assert_eq!(must(guest, &write), NOT_READ_ONLY);
        }
    }
    assert_eq!(must(&mut stays, &set_data("/a", None, -1)), CONNECTION_LOSS, "as ever");
    assert_eq!(must(&mut stays, &get_data("/a", false)), 0);
    let (mut leaves, _) = site.connect(&reader(Handshake::default())).expect("it is served");
    assert_eq!(must(&mut leaves, &close_session()), 0, "it ends here");
    assert_eq!(site.says("isro"), "ro");
    site.heal();
    for guest in [&mut new, &mut back] {
        guest.expect_close().expect("it looks for a server that writes");
    }
    let (_, over) = site.connect(&reader(Handshake::resume(&granted))).expect("an answer");
    assert!(over.is_expired(), "it was of the cut alone");
    let (mut back, again) = site.connect(&Handshake::resume(&known)).expect("an answer");
    assert_eq!((again.read_only, again.id), (Some(false), known.id));
    assert_eq!(must(&mut back, &set_data("/a", Some(b"2"), -1)), 0);
    // Who was there all the time noticed nothing.
    assert_eq!(must(&mut stays, &exists("/e", false)), 0);
}

#[test]
fn local_sessions_begin_and_go_on_at_an_observer_that_is_cut_off() {
    let site = Site::with("local_sessions_in_a_cut", &[], &["writeWaitMs=1500"]);
    let (mut returns, known) = site.client();
    site.cut("reads");
    let (mut new, granted) = site.client();
    assert_eq!(granted.read_only, Some(false), "a session like any other");
    let (mut reading, _) = site.connect(&reader(Handshake::default())).expect("it is served");
    let (mut back, again) = site.connect(&Handshake::resume(&known)).expect("it is served");
    assert_eq!(again.id, known.id);
    returns.expect_close().expect("a session has one connection");
    for client in [&mut new, &mut reading, &mut back] {
        assert_eq!(must(client, &get_data("/a", true)), 0);
        assert_eq!(must(client, &set_data("/a", None, -1)), CONNECTION_LOSS);
    }
    assert_eq!(must(&mut reading, &close_session()), 0);
    site.heal();
    for client in [&mut new, &mut back] {
        assert_eq!(must(client, &set_data("/a", Some(b"2"), -1)), 0, "on the same connection");
    }
}

#[test]
fn a_write_under_way_when_the_link_goes_down_is_told_once_and_done_at_most_once() {
    let site = Site::with("a_write_under_way", &[], &GLOBAL);
    let (mut client, _) = site.client();
    site.way.cut(Cut::Silent);
    // Nobody knows of the cut yet: it is passed on, and reads wait behind it.
    let made = create("/made-", None, &ids::open(), 2);
    client.send(1, &made).expect("it is sent");
    client.send(2, &get_data("/a", false)).expect("it is sent");
    let reply = client.receive_reply().expect("it is told");
    assert_eq!((reply.xid, reply.err), (1, CONNECTION_LOSS));
    assert_eq!(client.receive_reply().expect("the read behind it").err, 0);
    site.heal();
    assert_eq!(must(&mut client, &create("/behind", None, &ids::open(), 0)), 0);
    let names = client.call(&farwatch_bench::raw::request::get_children("/", false));
    let names = names.expect("a reply").names().expect("names");
    let made: Vec<_> = names.iter().filter(|name| name.starts_with("made-")).collect();
    assert!(made.len() <= 1, "it is done twice: {names:?}");
    let own = client.call(&exists("/behind", false)).expect("a reply").stat().expect("a Stat");
    for name in made {
        let first = client.call(&exists(&format!("/{name}"), false)).expect("a reply");
        assert!(first.stat().expect("a Stat").czxid < own.czxid, "before what was asked behind it");
    }
}

#[test]
fn a_session_that_expired_in_a_cut_is_told_so_when_it_heals_and_its_ephemerals_are_gone() {
    let site = Site::with("expired_in_a_cut", &["farwatch.observerSessionGraceMs=0"], &GLOBAL);
    let short = Handshake::with_timeout(SHORT_MS);
    let (mut client, session) = site.connect(&short).expect("a session");
    assert_eq!(must(&mut client, &create("/e", None, &ids::open(), EPHEMERAL)), 0);
    site.cut("reads");
    let mut voters = site.voters_client();
    until("the leader has ended it", PATIENCE, || voters.must(&exists("/e", false)).err == NO_NODE);
    assert_eq!(must(&mut client, &exists("/e", false)), 0, "which is not known here");
    site.heal();
    client.expect_close().expect("its session is over");
    let (_, again) = site.connect(&Handshake::resume(&session)).expect("an answer");
    assert!(again.is_expired());
    let (mut other, _) = site.client();
    assert_eq!(must(&mut other, &exists("/e", false)), NO_NODE);
}

#[test]
fn an_observer_serves_no_older_state_than_it_is_told_to() {
    let lines = ["maxStaleness=4000", "localSessionsEnabled=false"];
    let site = Site::with("too_stale", &[], &lines);
    let (mut client, session) = site.connect(&Handshake::default()).expect("a session");
    site.cut("reads");
    let (mut guest, _) = site.connect(&reader(Handshake::default())).expect("it is served");
    assert_eq!(must(&mut client, &get_data("/a", false)), 0);
    assert_eq!(must(&mut guest, &get_data("/a", false)), 0);
    for ends in [&mut client, &mut guest] {
        ends.expect_close().expect("it is too old");
    }
    site.until_it_serves("nobody");
    for handshake in [Handshake::resume(&session), Handshake::default()] {
        assert!(site.connect(&reader(handshake)).is_none());
    }
    site.heal();
    let (mut client, again) = site.connect(&Handshake::resume(&session)).expect("an answer");
    assert_eq!((again.id, must(&mut client, &get_data("/a", false))), (session.id, 0));
}

#[test]
fn an_observer_that_disconnects_or_only_reads_does_so_as_a_voter_does() {
    let lines = |policy: &str| vec![format!("farwatch.onPartition={policy}")];
    for (policy, serves, takes_readers) in
        [("disconnect", "nobody", false), ("readonly", "readers", true)]
    {
        let lines = lines(policy);
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.push(GLOBAL[0]);
        let site = Site::with(policy, &[], &lines);
        let (mut client, session) = site.connect(&Handshake::default()).expect("a session");
        site.way.cut(Cut::Silent);
        client.expect_close().expect("it ends");
        site.until_it_serves(serves);
        assert!(site.connect(&Handshake::default()).is_none(), "{policy}");
        assert!(site.connect(&Handshake::resume(&session)).is_none(), "{policy}");
        let guest = site.connect(&reader(Handshake::resume(&session)));
        assert_eq!(guest.is_some(), takes_readers, "{policy}");
        if let Some((mut guest, granted)) = guest {
            assert_eq!((granted.id, granted.read_only), (session.id, Some(true)));
            assert_eq!(must(&mut guest, &get_data("/a", true)), 0);
            assert_eq!(must(&mut guest, &sync("/")), NOT_READ_ONLY);
            assert_eq!(must(&mut guest, &close_session()), NOT_READ_ONLY, "it is the ensemble's");
        }
        site.heal();
        let (mut back, again) = site.connect(&Handshake::resume(&session)).expect("an answer");
        assert_eq!(again.id, session.id, "{policy}: it has its time");
        assert_eq!(must(&mut back, &set_data("/a", None, -1)), 0);
    }
}

#[test]
fn what_was_written_elsewhere_in_a_cut_is_told_to_its_watches_when_it_heals() {
    let site = Site::with("watches_in_a_cut", &[], &GLOBAL);
    let (mut client, _) = site.connect(&Handshake::default()).expect("a session");
    assert_eq!(must(&mut client, &get_data("/a", true)), 0);
    site.cut("reads");
    let mut voters = site.voters_client();
    set(&mut voters, "/a", b"elsewhere");
    assert_eq!(client.drain_events().expect("a ping"), [], "nothing changes here");
    site.heal();
    assert_eq!(client.next_event().expect("an event").path, "/a");
    let mut reads = patient_client(&site.observer);
    assert_eq!(shown(&mut reads, "/a").as_deref(), Some("elsewhere"));
}
