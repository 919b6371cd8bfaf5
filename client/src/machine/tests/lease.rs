use super::{Settings, Stage, data, get, set, stat};
use expect_test::expect;
use farwatch_core::wire::ErrorCode;

#[test]
fn only_what_the_leader_answered_proves_the_lease_and_from_when_it_was_sent() {
    let mut stage = Stage::new(Settings::new(1, 1));
    assert_eq!(stage.machine.lease_until_ms(), None);
    stage.start();
    stage.connect();
    stage.now_ms = 30;
    stage.accept(0x51, 6000);
    assert_eq!(stage.machine.lease_until_ms(), Some(4000), "from the handshake's own time on");
    stage.now_ms = 100;
    stage.submit("read", get("/a", false));
    stage.submit("write", set("/a"));
    stage.now_ms = 900;
    stage.reply(1, 5, ErrorCode::Ok, &data());
    assert_eq!(stage.machine.lease_until_ms(), Some(4000), "a server can read alone");
    stage.reply(2, 6, ErrorCode::Ok, &stat());
    assert_eq!(stage.machine.lease_until_ms(), Some(4100));
    stage.submit("refused", set("/a"));
    stage.reply(3, 6, ErrorCode::NoNode, &[]);
    assert_eq!(stage.machine.lease_until_ms(), Some(4100), "a server can refuse alone");
    stage.now_ms = 2900;
    stage.machine.handle_timeout(2900);
    stage.reply(-2, 6, ErrorCode::Ok, &[]);
    assert_eq!(stage.machine.lease_until_ms(), Some(4100), "a server can be pinged alone");
    stage.disconnect();
    assert_eq!(stage.machine.lease_until_ms(), Some(4100), "a cut takes nothing away");
    stage.pass();
    stage.connect();
    stage.accept(0, 0);
    assert_eq!(stage.machine.lease_until_ms(), None, "the session is over");
}

#[test]
fn a_held_lease_is_asked_for_every_third_of_the_timeout_however_busy_the_session_is() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.machine.hold_lease(stage.now_ms);
    stage.note("hold");
    stage.now_ms = 1900;
    stage.submit("read", get("/a", false));
    stage.reply(1, 5, ErrorCode::Ok, &data());
    stage.pass();
    stage.reply(2, 5, ErrorCode::Ok, &[0, 0, 0, 1, b'/']);
    assert_eq!(stage.machine.lease_until_ms(), Some(6000));
    stage.pass();
    stage.machine.drop_lease();
    stage.pass();
    stage.check(expect![[r#"
        [0] hold
        [1900] submit read
            -> GetData xid 1 /a
        [1900] reply 1 zxid 5 Ok
            read: Data
        [2000] time
            -> Sync xid 2
        [2000] reply 2 zxid 5 Ok
        [4000] time
            -> Ping xid -2
            -> Sync xid 3
        [6000] time
            HangUp
            Session(Disconnected)
    "#]]);
}

#[test]
fn a_lease_that_was_not_confirmed_is_asked_for_at_the_next_server() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.machine.hold_lease(stage.now_ms);
    stage.pass();
    stage.disconnect();
    assert_eq!(stage.machine.lease_until_ms(), Some(4000));
    stage.now_ms = 4500;
    stage.machine.handle_timeout(4500);
    stage.connect();
    stage.now_ms = 4600;
    stage.accept(0x51, 6000);
    assert_eq!(stage.machine.lease_until_ms(), Some(8500));
    stage.transcript.clear();
    stage.pass();
    stage.check(expect![[r#"
        [6500] time
            -> Sync xid 2
    "#]]);
}

#[test]
fn nothing_is_certain_once_the_end_of_the_session_was_asked_for() {
    let mut stage = Stage::up(Settings::new(1, 1));
    assert_eq!(stage.machine.lease_until_ms(), Some(4000));
    stage.submit("write", set("/a"));
    stage.machine.close(stage.now_ms, "close");
    stage.note("close");
    assert_eq!(stage.machine.lease_until_ms(), None, "a server may have ended it");
    stage.now_ms = 100;
    stage.reply(1, 6, ErrorCode::Ok, &stat());
    assert_eq!(
        stage.machine.lease_until_ms(),
        None,
        "what was asked before proves nothing for later"
    );
}

#[test]
fn a_timeout_that_the_leader_did_not_grant_does_not_lengthen_the_lease() {
    let mut stage = Stage::up(Settings { read_only: true, ..Settings::new(1, 1) });
    assert_eq!(stage.machine.lease_until_ms(), Some(4000));
    for read_only_ms in [60_000, 1000] {
        stage.disconnect();
        stage.pass();
        stage.connect();
        stage.accept_as(0x51, read_only_ms, true);
        assert_eq!(stage.machine.lease_until_ms(), Some(4000));
    }
    stage.disconnect();
    stage.pass();
    stage.connect();
    let connected_ms = stage.now_ms;
    stage.accept(0x51, 3000);
    assert_eq!(stage.machine.lease_until_ms(), Some(connected_ms + 2000));
}
