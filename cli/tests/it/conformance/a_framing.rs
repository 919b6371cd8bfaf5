//! A: framing and four-letter words.

use std::time::{Duration, Instant};

use farwatch_bench::raw::{
    Body, Connection, Handshake, Request, four_letter_word, ids, op, request,
};
use farwatch_bench::subject::Options;

use super::{Client, Kind, code, event, fresh, own, server};

/// The longest frame a server with the default `jute.maxbuffer` takes.
const FRAME_BYTES_MAX: usize = 1_048_575;

/// Two connections: one sends `bytes` right after the handshake and must be closed without a byte,
/// the other must not notice.
#[track_caller]
fn closes_that_connection_only(bytes: &[u8]) {
    let mut bystander = Client::new(Kind::Plain);
    let mut client = Client::new(Kind::Plain);
    client.send_raw(bytes).expect("a write");
    client.expect_close().expect("a close without bytes");
    bystander.ok(&request::ping());
}

#[test]
fn a1_a_frame_of_1048575_bytes_is_accepted_and_one_more_closes() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("a1");
    let path = format!("{root}/big");
    // Header, path, length of the data, ACL of one entry, flags.
    let around = request::create(&path, Some(b""), &ids::open(), 0).body.as_bytes().len() + 8;
    let data = vec![7; FRAME_BYTES_MAX - around];
    let create = request::create(&path, Some(&data), &ids::open(), 0);
    assert_eq!(create.body.as_bytes().len() + 8, FRAME_BYTES_MAX);
    client.ok(&create);
    let (stored, stat) = client.ok(&request::get_data(&path, false)).data_and_stat().expect("data");
    assert_eq!(stored.as_deref(), Some(&data[..]));
    assert_eq!(stat.data_length, i32::try_from(data.len()).expect("a small length"));

    closes_that_connection_only(&1_048_576_i32.to_be_bytes());
    client.ok(&request::ping());
}

#[test]
fn a2_a_frame_length_that_is_negative_or_below_a_header_closes() {
    closes_that_connection_only(&(-1_i32).to_be_bytes());
    closes_that_connection_only(&i32::MIN.to_be_bytes());
    closes_that_connection_only(&0_i32.to_be_bytes());
    closes_that_connection_only(Body::new().int(4).int(1).as_bytes());
}

#[test]
fn a3_bytes_after_the_last_field_are_ignored() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("a3");
    let longer = |request: Request| Request::new(request.op, request.body.raw(b"more bytes"));
    client.ok(&longer(request::get_data(&root, false)));
    client.ok(&longer(request::set_data(&root, Some(b"2"), 0)));
    client.ok(&longer(request::ping()));
    let path = format!("{root}/a");
    client.ok(&longer(request::create(&path, None, &ids::open(), 0)));
    client.ok(&longer(request::multi(&[request::check(&path, 0)])));
}

#[test]
fn a4_a_boolean_byte_of_2_is_true() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("a4");
    client.ok(&Request::new(op::GET_DATA, Body::new().string(&root).byte(2)));
    client.set(&root, "2");
    assert_eq!(client.events(), [(event::CHANGED, root)]);
}

#[test]
fn a5_a_truncated_body_is_a_marshalling_error_and_the_connection_stays() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("a5");
    let cut = Request::new(op::GET_DATA, Body::new().int(100).raw(b"/x"));
    assert_eq!(client.err(&cut), code::MARSHALLING_ERROR);
    let no_flag = Request::new(op::GET_DATA, Body::new().string(&root));
    assert_eq!(client.err(&no_flag), code::MARSHALLING_ERROR);
    assert_eq!(client.err(&Request::new(op::GET_DATA, Body::new())), code::MARSHALLING_ERROR);
    client.ok(&request::get_data(&root, false));
}

#[test]
fn a6_an_impossible_string_length_is_a_marshalling_error() {
    let mut client = Client::new(Kind::Plain);
    for len in [-5, i32::MIN, 0x7fff_ffff] {
        let body = Body::new().int(len).raw(b"/x").boolean(false);
        assert_eq!(client.err(&Request::new(op::EXISTS, body)), code::MARSHALLING_ERROR, "{len}");
    }
    client.ok(&request::ping());
}

#[test]
fn a7_ruok_is_answered_imok_also_in_two_segments_or_with_more_behind_it() {
    let address = server(Kind::Plain);
    assert_eq!(four_letter_word(address, "ruok").expect("an answer"), "imok");
    assert_eq!(four_letter_word(address, "ruok\n").expect("an answer"), "imok");

    let mut connection = Connection::open(address).expect("a connection");
    connection.send_raw(b"ru").expect("a write");
    // The answer to another connection shows that the server had time to read the first half.
    assert_eq!(four_letter_word(address, "ruok").expect("an answer"), "imok");
    connection.send_raw(b"ok").expect("a write");
    assert_eq!(connection.read_to_close().expect("a close"), b"imok");
}

#[test]
fn a8_isro_is_answered_rw_without_a_newline() {
    assert_eq!(four_letter_word(server(Kind::Plain), "isro").expect("an answer"), "rw");
}

#[test]
fn a9_a_word_that_is_not_allowed_is_refused_by_name() {
    let (_turn, address) = fresh();
    assert_eq!(
        four_letter_word(address, "dump").expect("an answer"),
        "dump is not executed because it is not in the whitelist.\n"
    );
    assert_eq!(four_letter_word(address, "ruok").expect("an answer"), "imok");
}

#[test]
fn srvr_is_answered_whatever_the_list() {
    let server = own(Options::new().words("ruok"));
    let answer = |word| four_letter_word(server.address(), word).expect("an answer");
    assert!(answer("srvr").contains("Mode: "));
    assert_eq!(answer("stat"), "stat is not executed because it is not in the whitelist.\n");
}

#[test]
fn a10_an_unknown_word_and_a_word_after_the_handshake_close_without_bytes() {
    let mut connection = Connection::open(server(Kind::Plain)).expect("a connection");
    connection.send_raw(b"xxxx").expect("a write");
    connection.expect_close().expect("a close without bytes");
    closes_that_connection_only(b"ruok");
}

#[test]
fn a11_srvr_names_mode_and_zxid_and_an_empty_server_counts_five_nodes() {
    let (_turn, address) = fresh();
    let text = four_letter_word(address, "srvr").expect("an answer");
    let lines: Vec<&str> = text.lines().collect();
    let line = |start: &str| lines.iter().find(|line| line.starts_with(start));
    assert!(lines[0].starts_with("Zookeeper version: ") && lines[0].contains(", built on "));
    let latency = line("Latency min/avg/max: ").expect("a latency line");
    let numbers: Vec<&str> = latency["Latency min/avg/max: ".len()..].split('/').collect();
    assert!(matches!(numbers[..], [_, average, _] if average.contains('.')), "{latency}");
    for start in ["Received: ", "Sent: ", "Connections: ", "Outstanding: "] {
        let number = &line(start).expect("a counter line")[start.len()..];
        number.parse::<u64>().expect("a number");
    }
    let zxid = line("Zxid: 0x").expect("a zxid line");
    i64::from_str_radix(&zxid["Zxid: 0x".len()..], 16).expect("a hexadecimal number");
    assert!(line("Mode: ").is_some(), "{text}");
    assert!(lines.contains(&"Node count: 5"), "{text}");
}

#[test]
fn a12_a_connection_that_sends_nothing_is_closed() {
    let start = Instant::now();
    let mut connection = Connection::open(server(Kind::Quick)).expect("a connection");
    let mut client = Client::with(server(Kind::Quick), &Handshake::with_timeout(20_000));
    connection.expect_close().expect("a close without bytes");
    // Configured to 1000 ms; the connection with a session stays.
    assert!(start.elapsed() >= Duration::from_millis(1_000), "{:?}", start.elapsed());
    client.ok(&request::ping());
}
