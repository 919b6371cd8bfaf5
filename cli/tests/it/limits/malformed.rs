//! Bodies that end too early, for every operation.

use farwatch_bench::raw::{Body, Connection, Request, ids, request};
use farwatch_bench::subject::Options;

use crate::subject::{connect, farwatch};

const MARSHALLING_ERROR: i32 = -5;

/// One whole request of every operation that has a body. Authentication comes last: a refused one
/// may end the connection.
fn whole() -> Vec<Request> {
    let open = ids::open();
    vec![
        request::create("/c", Some(b"data"), &open, 0),
        request::create2("/c2", Some(b"data"), &open, 0),
        request::create_container("/cc", Some(b"data"), &open, 4),
        request::create_ttl("/ct", Some(b"data"), &open, 5, 1000),
        request::delete("/a", -1),
        request::set_data("/a", Some(b"data"), -1),
        request::set_acl("/a", &open, -1),
        request::multi(&[request::check("/a", -1), request::set_data("/a", None, -1)]),
        request::exists("/a", true),
        request::get_data("/a", true),
        request::get_acl("/a"),
        request::get_children("/a", true),
        request::get_children2("/a", true),
        request::sync("/a"),
        request::multi_read(&[request::get_data("/a", false)]),
        request::check_watches("/a", 3),
        request::remove_watches("/a", 3),
        request::set_watches(0, &["/a"], &["/b"], &["/a"]),
        request::set_watches2(0, [&["/a"], &["/b"], &["/a"], &["/c"], &["/d"]]),
        request::add_watch("/a", 0),
        request::get_ephemerals(Some("/")),
        request::get_all_children_number("/a"),
        request::auth("digest", b"user:password"),
    ]
}

#[track_caller]
fn is_usable(connection: &mut Connection, behind: &str) {
    let reply = connection.call(&request::exists("/", false));
    let reply = reply.unwrap_or_else(|error| panic!("{behind}: {error}"));
    assert_eq!(reply.err, 0, "{behind}");
}

#[test]
fn every_beginning_of_every_body_is_answered_and_the_connection_goes_on() {
    let subject = farwatch(Options::new().line("extendedTypesEnabled=true"));
    let (mut connection, _) = connect(subject.address());
    let made = connection.call(&request::create("/a", None, &ids::open(), 0)).expect("a reply");
    assert_eq!(made.err, 0);
    for request in whole() {
        let bytes = request.body.as_bytes();
        for len in 0..bytes.len() {
            let cut = Request::new(request.op, Body::new().raw(&bytes[..len]));
            let said = format!("operation {} cut to {len} of {} bytes", request.op, bytes.len());
            let reply = connection.call(&cut).unwrap_or_else(|error| panic!("{said}: {error}"));
            assert_eq!((reply.err, reply.body.len()), (MARSHALLING_ERROR, 0), "{said}");
            is_usable(&mut connection, &said);
        }
    }
}

#[test]
fn lengths_that_lie_are_answered_and_reserve_no_memory() {
    let subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    for request in whole() {
        for length in [i32::MAX, i32::MAX / 2, -2, i32::MIN] {
            // Every aligned place where a length may stand.
            for at in (0..request.body.as_bytes().len().saturating_sub(3)).step_by(4) {
                let mut bytes = request.body.as_bytes().to_vec();
                bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
                let lying = Request::new(request.op, Body::new().raw(&bytes));
                let said = format!("operation {} with {length} at {at}", request.op);
                connection.send(1, &lying).expect("sent");
                // What is told of a path that is no text is no text either: only headers are read.
                let reply = loop {
                    let reply = connection.receive();
                    let reply = reply.unwrap_or_else(|error| panic!("{said}: {error}"));
                    if reply.xid != -1 {
                        break reply;
                    }
                };
                if reply.err == -115 {
                    // An authentication scheme that nobody knows ends the connection, as it must.
                    connection = connect(subject.address()).0;
                }
                is_usable(&mut connection, &said);
            }
        }
    }
}
