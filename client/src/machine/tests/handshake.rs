use super::{EventType, Settings, Stage, WatcherEvent, data, get, set};
use expect_test::expect;
use farwatch_core::wire::ErrorCode;

#[test]
fn a_session_that_only_readers_gave_is_asked_for_anew_until_a_writer_gives_one() {
    let mut stage = Stage::new(Settings { read_only: true, ..Settings::new(1, 1) });
    stage.start();
    for (is_read_only, session) in [(true, 0x51), (true, 0x52), (false, 0x53), (true, 0x53)] {
        stage.connect();
        stage.accept_as(session, 6000, is_read_only);
        stage.disconnect();
        stage.pass();
    }
    stage.connect();
    stage.accept(0, 0);
    stage.check(expect![[r#"
        [0] start
            Dial { server: 0, deadline_ms: 30000 }
        [0] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(true)
        [0] accept session 0x51, 6000 ms
            Session(ConnectedReadOnly)
        [0] disconnected
            Session(Disconnected)
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(true)
        [44] accept session 0x52, 6000 ms
            Session(ConnectedReadOnly)
        [44] disconnected
            Session(Disconnected)
        [78] time
            Dial { server: 0, deadline_ms: 6078 }
        [78] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(true)
        [78] accept session 0x53, 6000 ms
            Session(Connected)
        [78] disconnected
            Session(Disconnected)
        [78] time
            Dial { server: 0, deadline_ms: 6078 }
        [78] connected
            -> connect session 0x53 known password true zxid 0 timeout 30000 ro Some(true)
        [78] accept session 0x53, 6000 ms
            Session(ConnectedReadOnly)
        [78] disconnected
            Session(Disconnected)
        [107] time
            Dial { server: 0, deadline_ms: 6107 }
        [107] connected
            -> connect session 0x53 known password true zxid 0 timeout 30000 ro Some(true)
        [107] accept session 0x0, 0 ms
            HangUp
            Session(Expired)
    "#]]);
}

#[test]
fn the_next_server_is_not_behind_an_event_and_watches_are_armed_as_of_the_last_reply() {
    let mut stage = Stage::up(Settings::new(1, 1));
    for (xid, path) in [(1, "/a"), (2, "/b")] {
        stage.submit("watched", get(path, true));
        stage.reply(xid, 40, ErrorCode::Ok, &data());
    }
    let mut bytes = Vec::new();
    WatcherEvent { kind: EventType::NodeDataChanged, path: b"/a" }.encode_frame(100, &mut bytes);
    stage.receive("event of 100", &bytes);
    assert_eq!(stage.machine.session().unwrap().last_zxid, 100);
    stage.disconnect();
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.check(expect![[r#"
        [0] submit watched
            -> GetData xid 1 /a
        [0] reply 1 zxid 40 Ok
            watched: Data
        [0] submit watched
            -> GetData xid 2 /b
        [0] reply 2 zxid 40 Ok
            watched: Data
        [0] event of 100
            Node(NodeEvent { kind: NodeDataChanged, path: "/a", zxid: 100 })
        [0] disconnected
            Session(Disconnected)
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 100 timeout 30000 ro Some(false)
        [44] accept session 0x51, 6000 ms
            -> SetWatches xid -8 since 40 ["/b", "", "", "", ""]
            Session(Connected)
    "#]]);
}

#[test]
fn a_slow_resolver_takes_no_time_from_the_server() {
    let mut stage = Stage::new(Settings::new(3, 1));
    stage.start();
    stage.now_ms = 12_000; // longer than a third of the session timeout, which is a server's share
    assert_eq!(stage.machine.handle_resolved(stage.now_ms), 22_000);
    stage.connect();
    stage.machine.handle_timeout(stage.now_ms);
    stage.note("time");
    stage.accept(0x51, 6000);
    assert!(stage.machine.is_connected());
}

#[test]
fn a_server_that_gives_no_session_ends_nobody_who_wants_a_new_one() {
    let settings = Settings { renew_expired: true, ..Settings::new(1, 1) };
    let mut stage = Stage::new(settings);
    stage.start();
    stage.submit("waits", set("/a"));
    stage.connect();
    stage.accept(0, 0);
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.check(expect![[r#"
        [0] start
            Dial { server: 0, deadline_ms: 30000 }
        [0] submit waits
        [0] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(false)
        [0] accept session 0x0, 0 ms
            HangUp
        [47] time
            Dial { server: 0, deadline_ms: 30047 }
        [47] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(false)
        [47] accept session 0x51, 6000 ms
            -> SetData xid 1
            Session(Connected)
    "#]]);
}
