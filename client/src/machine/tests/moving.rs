use super::{ServerChoice, Settings, Stage, data, get};
use crate::error::ClientError;
use expect_test::expect;
use farwatch_core::wire::ErrorCode;

fn settings() -> Settings {
    Settings { choice: ServerChoice::Order, ..Settings::new(3, 1) }
}

#[test]
fn a_move_waits_for_what_was_asked_and_what_is_asked_meanwhile_waits_for_it() {
    let mut stage = Stage::up(settings());
    stage.submit("before", get("/a", false));
    stage.now_ms = 10;
    stage.machine.move_to(stage.now_ms, 2, 5000);
    stage.note("move to 2");
    stage.reply(1, 5, ErrorCode::Ok, &data());
    stage.submit("meanwhile", get("/a", false));
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.check(expect![[r#"
        [0] submit before
            -> GetData xid 1 /a
        [10] move to 2
        [10] reply 1 zxid 5 Ok
            HangUp
            before: Data
            Session(Disconnected)
        [10] submit meanwhile
        [10] time
            Dial { server: 2, deadline_ms: 2010 }
        [10] connected
            -> connect session 0x51 known password true zxid 5 timeout 30000 ro Some(false)
        [10] accept session 0x51, 6000 ms
            -> GetData xid 2 /a
            Session(Connected)
    "#]]);
}

#[test]
fn a_move_is_given_up_when_its_time_is_over_or_a_lease_is_held() {
    let mut stage = Stage::up(settings());
    stage.submit("long", get("/a", false));
    stage.machine.move_to(0, 2, 100);
    stage.now_ms = 101;
    stage.reply(1, 5, ErrorCode::Ok, &data());
    assert!(stage.machine.is_connected());
    stage.machine.hold_lease(stage.now_ms);
    stage.machine.move_to(stage.now_ms, 2, 5000);
    assert!(stage.machine.is_connected());
    stage.machine.drop_lease();
    stage.submit("after", get("/a", false));
    stage.reply(2, 5, ErrorCode::Ok, &data());
    assert!(stage.machine.is_connected(), "a move that was refused does not come later");
}

#[test]
fn an_answer_of_an_older_state_than_was_asked_for_is_none() {
    let mut stage = Stage::up(settings());
    for (at_least, zxid, err) in [(7, 6, ErrorCode::Ok), (7, 6, ErrorCode::NoNode)] {
        stage.machine.submit_at_least(0, &get("/a", true), at_least, "read").unwrap();
        stage.note("read");
        let xid = if err == ErrorCode::Ok { 1 } else { 2 };
        stage.machine.handle_bytes(0, &super::reply(xid, zxid, err, &data()));
        let Some(super::Output::Completed { result, .. }) = stage.machine.poll_output() else {
            panic!("no result");
        };
        assert_eq!(result, Err(ClientError::Stale { wanted: 7, seen: 6 }));
    }
    assert_eq!(stage.machine.watches(), 1, "the server has it all the same");
    stage.machine.submit_at_least(0, &get("/a", false), 7, "read").unwrap();
    stage.machine.handle_bytes(0, &super::reply(3, 7, ErrorCode::Ok, &data()));
    let Some(super::Output::Completed { result: Ok(_), .. }) = stage.machine.poll_output() else {
        panic!("no answer");
    };
}
