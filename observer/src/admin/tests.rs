//! The door with a core that answers from a thread of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{AdminAnswer, AdminError, AdminRequest, AdminSocket, AskError, SOCKET, ask};
use crate::inbox::ToCore;
use crate::port::Port;
use crate::report::EnsembleReport;

/// Answers so many requests: a report, and that only server 2 can lead.
fn core(requests: usize) -> (Arc<Port<ToCore>>, JoinHandle<()>) {
    let port = Arc::new(Port::new(4).unwrap());
    let inbox = Arc::clone(&port);
    let answering = thread::spawn(move || {
        let mut left = requests;
        while 0 < left {
            let Some(ToCore::Admin(request, back)) = inbox.pop() else {
                thread::yield_now();
                continue;
            };
            left -= 1;
            let report = EnsembleReport { me: 1, leader: Some(1), ..EnsembleReport::default() };
            let answer = match request {
                AdminRequest::Report => Ok(AdminAnswer::Report(Box::new(report))),
                AdminRequest::Transfer { to: 2 } => Ok(AdminAnswer::Begun),
                AdminRequest::Transfer { to } => Err(format!("server {to} is no voter")),
            };
            back.send(answer).unwrap();
        }
    });
    (port, answering)
}

#[test]
fn requests_reach_the_core_and_its_answers_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (port, answering) = core(3);
    let socket = AdminSocket::open(dir.path(), port).unwrap();
    assert_eq!(ask(dir.path(), AdminRequest::Transfer { to: 2 }).unwrap(), AdminAnswer::Begun);
    let refused = ask(dir.path(), AdminRequest::Transfer { to: 9 }).unwrap_err();
    assert!(matches!(refused, AskError::Refused(why) if why == "server 9 is no voter"));
    let AdminAnswer::Report(report) = ask(dir.path(), AdminRequest::Report).unwrap() else {
        panic!("no report");
    };
    assert_eq!((report.me, report.leader), (1, Some(1)));
    answering.join().unwrap();
    drop(socket);
    assert!(!dir.path().join(SOCKET).exists());
    assert!(matches!(ask(dir.path(), AdminRequest::Report), Err(AskError::NoServer { .. })));
}

#[test]
fn lines_are_the_documented_ones_and_another_is_answered_too() {
    let dir = tempfile::tempdir().unwrap();
    let (port, answering) = core(2);
    let _socket = AdminSocket::open(dir.path(), port).unwrap();
    let mut stream = UnixStream::connect(dir.path().join(SOCKET)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |line: &str| {
        stream.write_all(line.as_bytes()).unwrap();
        lines.next().unwrap().unwrap()
    };
    assert_eq!(say("{\"do\":\"transfer\",\"to\":2}\n"), "{\"ok\":true}");
    let refused = say("{\"do\":\"transfer\",\"to\":3}\n");
    assert_eq!(refused, "{\"ok\":false,\"why\":\"server 3 is no voter\"}");
    let unknown = say("{\"do\":\"dance\"}\n");
    assert!(unknown.starts_with("{\"ok\":false,\"why\":\"`{\\\"do\\\":\\\"dance\\\"}` is no"));
    answering.join().unwrap();
}

#[test]
fn only_the_servers_user_may_open_it_and_a_stale_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a crashed server leaves its file");
    let (port, answering) = core(1);
    let socket = AdminSocket::open(dir.path(), port).unwrap();
    assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(ask(dir.path(), AdminRequest::Report).is_ok());
    answering.join().unwrap();
}

#[test]
fn a_path_that_no_socket_can_have_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(120));
    fs::create_dir(&long).unwrap();
    let (port, answering) = core(0);
    let error = AdminSocket::open(&long, port).unwrap_err();
    assert!(matches!(&error, AdminError::PathTooLong { path } if path.ends_with(SOCKET)));
    assert!(error.to_string().contains("give dataDir a shorter path"), "{error}");
    answering.join().unwrap();
}
