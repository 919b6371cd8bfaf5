//! Descriptors that run out: clients leave some for the server's own files and links.

use std::net::TcpStream;

use farwatch_bench::raw::{Connection, Handshake, request};
use farwatch_bench::subject::Options;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{connections, create, ok, until};
use crate::subject::{connect, farwatch};

/// Descriptors that the server may have.
const LIMIT: u64 = 160;

/// More than fill one segment of the log, so that the next one must be opened.
const MEGABYTES: usize = 66;

#[test]
fn idle_connections_leave_descriptors_for_the_log_and_are_told_of_once() {
    for threads in [1, 3] {
        let options = Options::new().line("maxClientCnxns=0");
        let subject = farwatch(options.line(&format!("farwatch.threads={threads}")));
        let address = subject.address();
        let pid = i32::try_from(subject.pid().expect("a running server")).ok();
        let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
        prlimit(pid.and_then(Pid::from_raw), Resource::Nofile, limit).expect("a lower limit");
        let (mut writer, _) = connect(address);
        let idle: Vec<TcpStream> = (0..LIMIT + 40)
            .map(|_| TcpStream::connect(address).expect("the system accepts it"))
            .collect();
        until("those too many are closed", || closed(&idle) > 40);
        let open = idle.len() - closed(&idle);
        assert!(open >= LIMIT as usize / 4, "only {open} connections are served");
        ok(&mut writer, &create("/large", b""));
        let data = vec![7; 1_000_000];
        for _ in 0..MEGABYTES {
            ok(&mut writer, &request::set_data("/large", Some(&data), -1));
        }
        let log = subject.log().expect("a log");
        let told = log.lines().filter(|line| line.contains("the last descriptors are kept"));
        assert_eq!(told.count(), 1, "{log}");
        // Whoever goes makes room.
        drop(idle);
        until("somebody is served again", || {
            Connection::connect(address, &Handshake::default()).is_ok()
        });
        assert!(0 < connections(address));
    }
}

/// How many of `streams` were hung up on.
fn closed(streams: &[TcpStream]) -> usize {
    let is_closed = |stream: &&TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        match stream.peek(&mut [0]) {
            Ok(got) => got == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    streams.iter().filter(is_closed).count()
}
