//! B: the handshake.

use farwatch_bench::raw::{
    Body, Connection, Handshake, Reply, Session, framed, ids, request, request_bytes,
};
use farwatch_bench::subject::Options;

use super::{Client, Kind, own, server};

/// The body of the answer to a session that is over, asked for with a read-only byte.
fn expired_response() -> Vec<u8> {
    Body::new().int(0).int(0).long(0).buffer(Some(&[0; 16])).boolean(false).into_bytes()
}

/// Sends `handshake` and returns the first frame.
fn first_frame(handshake: &Handshake) -> Vec<u8> {
    let mut connection = Connection::open(server(Kind::Plain)).expect("a connection");
    connection.send_frame(handshake.encode().as_bytes()).expect("a write");
    connection.receive_frame().expect("a frame")
}

/// Expects that `handshake` is told the session is over, and closed.
#[track_caller]
fn is_told_expired(handshake: &Handshake) {
    let mut connection = Connection::open(server(Kind::Plain)).expect("a connection");
    connection.send_frame(handshake.encode().as_bytes()).expect("a write");
    assert_eq!(connection.receive_frame().expect("a frame"), expired_response());
    connection.expect_close().expect("a close");
}

#[test]
fn b1_the_read_only_byte_is_answered_only_when_it_was_sent() {
    let with = Handshake::default();
    assert_eq!(with.encode().as_bytes().len(), 45);
    let frame = first_frame(&with);
    assert_eq!(frame.len(), 37);
    assert_eq!(Session::parse(&frame).expect("a response").read_only, Some(false));

    let without = Handshake { read_only: None, ..Handshake::default() };
    assert_eq!(without.encode().as_bytes().len(), 44);
    let frame = first_frame(&without);
    assert_eq!(frame.len(), 36);
    assert_eq!(Session::parse(&frame).expect("a response").read_only, None);
}

#[test]
fn b2_the_timeout_is_clamped_to_2_and_20_ticks() {
    let negotiated = |wanted| {
        Client::with(server(Kind::Plain), &Handshake::with_timeout(wanted)).session.timeout_millis
    };
    assert_eq!(negotiated(0), 4_000);
    assert_eq!(negotiated(-5), 4_000);
    assert_eq!(negotiated(3_999), 4_000);
    assert_eq!(negotiated(4_001), 4_001);
    assert_eq!(negotiated(1_000_000), 40_000);
}

#[test]
fn b3_a_new_session_may_have_any_password_and_gets_one_of_16_bytes() {
    for password in [None, Some(vec![]), Some(vec![0; 16]), Some(vec![9; 16])] {
        let handshake = Handshake { password, ..Handshake::default() };
        let client = Client::with(server(Kind::Plain), &handshake);
        assert_eq!(client.session.password.len(), 16);
        assert_ne!(client.session.password, [0; 16]);
        assert_ne!(client.session.id, 0);
    }
}

#[test]
fn b4_any_protocol_version_is_accepted_and_answered_with_0() {
    let handshake = Handshake { protocol_version: 7, ..Handshake::default() };
    assert_eq!(Client::with(server(Kind::Plain), &handshake).session.protocol_version, 0);
}

#[test]
fn b5_a_client_that_has_seen_more_than_the_server_is_closed_without_a_response() {
    let mut client = Client::new(Kind::Plain);
    let zxid = client.ok(&request::ping()).zxid;
    let seen = |last_zxid_seen| Handshake { last_zxid_seen, ..Handshake::default() };
    Client::with(server(Kind::Plain), &seen(zxid)).close();

    let mut connection = Connection::open(server(Kind::Plain)).expect("a connection");
    let ahead = seen(zxid + 1_000_000_000);
    connection.send_frame(ahead.encode().as_bytes()).expect("a write");
    connection.expect_close().expect("a close without a response");
}

#[test]
fn b6_a_session_is_resumed_with_id_and_password_and_negotiates_its_timeout_afresh() {
    let first = Client::new(Kind::Plain);
    let mut handshake = Handshake::resume(&first.session);
    handshake.timeout_millis = 5_000;
    let mut second = Client::with(first.address, &handshake);
    assert_eq!(second.session.id, first.session.id);
    assert_eq!(second.session.password, first.session.password);
    assert_eq!(second.session.timeout_millis, 5_000);
    second.ok(&request::ping());
}

#[test]
fn b7_a_wrong_password_is_told_expired_and_the_session_stays_usable() {
    let first = Client::new(Kind::Plain);
    let resume = Handshake::resume(&first.session);
    let mut wrong = first.session.password.clone();
    wrong[0] ^= 1;
    is_told_expired(&Handshake { password: Some(wrong), ..resume.clone() });
    is_told_expired(&Handshake { password: Some(vec![1; 4]), ..resume.clone() });
    is_told_expired(&Handshake { password: None, ..resume });
    let mut resumed = first.resumed();
    resumed.ok(&request::ping());
}

#[test]
fn b8_an_unknown_session_is_told_expired() {
    let session_id = 0x0102_0304_0506_0708;
    is_told_expired(&Handshake { session_id, ..Handshake::default() });
}

#[test]
fn b9_a_closed_session_is_told_expired() {
    let client = Client::new(Kind::Plain);
    let resume = Handshake::resume(&client.session);
    client.close();
    is_told_expired(&resume);
}

#[test]
fn b10_a_resumed_session_closes_its_previous_connection() {
    let mut first = Client::new(Kind::Plain);
    let mut second = first.resumed();
    first.expect_close().expect("a close without bytes");
    second.ok(&request::ping());
}

#[test]
fn b11_requests_behind_the_handshake_are_answered_in_order() {
    let mut connection = Connection::open(server(Kind::Plain)).expect("a connection");
    let root = format!("/b11-{}", std::process::id());
    let requests = [
        (1, request::create(&root, Some(b"x"), &ids::open(), 0)),
        (2, request::get_data(&root, false)),
        (-2, request::ping()),
        (3, request::delete(&root, -1)),
    ];
    let mut bytes = framed(Handshake::default().encode().as_bytes());
    for (xid, request) in &requests {
        bytes.extend(framed(&request_bytes(*xid, request)));
    }
    connection.send_raw(&bytes).expect("one write");
    let session =
        Session::parse(&connection.receive_frame().expect("a frame")).expect("a response");
    assert!(!session.is_expired());
    let replies: Vec<Reply> = (0..requests.len())
        .map(|_| Reply::parse(&connection.receive_frame().expect("a frame")).expect("a reply"))
        .collect();
    assert!(replies.iter().all(|reply| reply.err == 0), "{replies:?}");
    // A ping's reply may overtake: it must not wait for the disk that the create waits for.
    let is_ping = |xid: &i32| *xid == -2;
    let xids: Vec<i32> = replies.iter().map(|reply| reply.xid).collect();
    assert_eq!(xids.iter().filter(|xid| is_ping(xid)).count(), 1);
    let ordinary: Vec<i32> = xids.into_iter().filter(|xid| !is_ping(xid)).collect();
    assert_eq!(ordinary, [1, 2, 3]);
}

#[test]
fn b12_a_truncated_handshake_closes_without_bytes() {
    let whole = Handshake::default().encode().into_bytes();
    for len in [0, 4, 20, 30] {
        let mut connection = Connection::open(server(Kind::Plain)).expect("a connection");
        connection.send_frame(&whole[..len]).expect("a write");
        connection.expect_close().unwrap_or_else(|error| panic!("{len} bytes: {error}"));
    }
}

#[test]
fn b13_the_61st_connection_of_one_address_is_closed_without_bytes() {
    let server = own(Options::new().max_client_connections(60));
    let mut clients: Vec<Client> = (0..60).map(|_| Client::at(server.address())).collect();
    let mut excess = Connection::open(server.address()).expect("a connection");
    excess.expect_close().expect("a close without bytes");
    for client in &mut clients {
        client.ok(&request::ping());
    }
    // One that leaves makes room for one.
    clients.pop().expect("60 clients").close();
    Client::at(server.address()).ok(&request::ping());
}

#[test]
fn x7_a_wrong_password_does_not_disconnect_the_session_it_names() {
    if super::differs("X7", "the older connection is closed before the password is looked at") {
        return;
    }
    let mut first = Client::new(Kind::Plain);
    is_told_expired(&Handshake { password: None, ..Handshake::resume(&first.session) });
    first.ok(&request::ping());
}
