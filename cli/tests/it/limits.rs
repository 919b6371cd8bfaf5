//! Hostile and greedy peers: each limit has an answer, and nobody else notices.

mod descriptors;
mod malformed;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{
    Connection, Handshake, Request, four_letter_word, framed, ids, multi_results, request,
    request_bytes,
};
use farwatch_bench::subject::{Options, Subject};

use crate::subject::{connect, farwatch};

/// A limit of 1 MiB less one on frames: what is over it has no answer but the close.
const FRAME_BYTES_MAX: usize = 1_048_575;

fn create(path: &str, data: &[u8]) -> Request {
    request::create(path, Some(data), &ids::open(), 0)
}

#[track_caller]
fn ok(connection: &mut Connection, request: &Request) -> farwatch_bench::raw::Reply {
    let reply = connection.call(request).expect("a reply");
    assert_eq!(reply.err, 0, "{:?}", request.op);
    reply
}

/// Polls what the server says until it is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Open connections, the asking one not counted.
fn connections(address: SocketAddr) -> u64 {
    let text = four_letter_word(address, "srvr").expect("srvr");
    let line = text.lines().find_map(|line| line.strip_prefix("Connections: "));
    line.expect("a count of connections").parse::<u64>().expect("a number") - 1
}

/// A number that the server counts.
fn mntr(address: SocketAddr, name: &str) -> u64 {
    let text = four_letter_word(address, "mntr").expect("mntr");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    value.and_then(|value| value.parse::<f64>().ok()).expect("a number") as u64
}

/// Memory that the server holds, bytes.
fn resident_bytes(subject: &Subject) -> u64 {
    let resident = status_line(subject, "VmRSS").expect("a line");
    resident.trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// A line of the kernel's description of the server.
fn status_line(subject: &Subject, name: &str) -> Option<String> {
    let pid = subject.pid().expect("a running server");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
}

#[test]
fn an_idle_server_takes_ten_megabytes_and_pages_of_two_come_with_a_large_tree() {
    let mut subject = farwatch(Options::new());
    if status_line(&subject, "THP_enabled").is_none() {
        println!("not run: pages of 2 MiB, because this kernel does not say who uses them");
        return;
    }
    assert_eq!(status_line(&subject, "THP_enabled").as_deref(), Some("0"));
    let anonymous = status_line(&subject, "RssAnon").expect("a line");
    let kilobytes: u64 = anonymous.trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 10_000, "{anonymous}"); // a debug build has much to relocate
    let (mut connection, _) = connect(subject.address());
    let large = vec![7; 1_000_000];
    for number in 0..10 {
        let path = format!("/large-{number}");
        ok(&mut connection, &request::create(&path, Some(&large), &ids::open(), 0));
    }
    until("pages of 2 MiB", || status_line(&subject, "THP_enabled").as_deref() == Some("1"));
    subject.restart().expect("it starts"); // and finds the tree in its log
    until("and again", || status_line(&subject, "THP_enabled").as_deref() == Some("1"));
}

#[test]
fn a_bad_frame_closes_its_connection_alone_and_the_first_of_a_kind_is_logged_with_peer_and_reason()
{
    let subject = farwatch(Options::new());
    let (mut other, _) = connect(subject.address());
    let lengths = [FRAME_BYTES_MAX as i32 + 1, i32::MAX, -1, i32::MIN];
    let mut frames: Vec<Vec<u8>> = lengths.iter().map(|len| len.to_be_bytes().to_vec()).collect();
    frames.push(framed(&[0; 7])); // shorter than a header
    for (at, frame) in frames.into_iter().enumerate() {
        let (mut bad, _) = connect(subject.address());
        // A request before it is answered; one behind it is not carried out.
        ok(&mut bad, &request::exists("/", false));
        let peer = bad.local_address().expect("an address").to_string();
        let mut bytes = frame.clone();
        let behind = request_bytes(9, &create("/behind", b""));
        bytes.extend_from_slice(&framed(&behind));
        bad.send_raw(&bytes).expect("sent");
        bad.expect_close().expect("a close without a reply");
        ok(&mut other, &request::get_data("/", false));
        let log = subject.log().expect("a log");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&peer)).collect();
        // One line a minute tells of all that knock in a loop: of the lengths, and of the short one.
        if !matches!(at, 0 | 4) {
            assert_eq!(lines, [""; 0], "{frame:02x?}");
            continue;
        }
        let [line] = lines[..] else { panic!("{frame:02x?}: {lines:?}") };
        assert!(line.contains("WARN") && line.contains("closing a connection"), "{line}");
    }
    assert_eq!(other.call(&request::exists("/behind", false)).expect("a reply").err, -101);
    // The same before a handshake.
    for length in lengths {
        let mut bad = Connection::open(subject.address()).expect("a connection");
        bad.send_raw(&length.to_be_bytes()).expect("sent");
        bad.expect_close().expect("a close");
    }
    ok(&mut other, &request::get_data("/", false));
}

#[test]
fn a_client_that_never_reads_its_replies_costs_a_bounded_buffer_and_holds_up_nobody() {
    let subject = farwatch(Options::new());
    let (mut other, _) = connect(subject.address());
    ok(&mut other, &create("/large", &vec![7; 1_000_000]));
    let before = resident_bytes(&subject);
    let mut slow: Vec<Connection> = Vec::new();
    for _ in 0..4 {
        let (mut connection, _) = connect(subject.address());
        // Two gigabytes of replies for each.
        let read = framed(&request_bytes(1, &request::get_data("/large", false)));
        connection.send_raw(&read.repeat(2000)).expect("small requests fit into the sockets");
        slow.push(connection);
    }
    for number in 0..50 {
        ok(&mut other, &create(&format!("/n{number}"), b""));
        ok(&mut other, &request::get_data("/large", false));
    }
    let grown = resident_bytes(&subject).saturating_sub(before);
    assert!(grown < 64 << 20, "four slow readers cost {grown} bytes");
    drop(slow);
    until("the slow readers are let go", || connections(subject.address()) == 1);
}

/// Its pings are behind what it asked, and its session lives by them.
#[test]
fn a_client_is_heard_while_it_is_sent_what_its_way_takes_long_for() {
    let subject = farwatch(Options::new().line("4lw.commands.whitelist=*"));
    let (mut other, _) = connect(subject.address());
    ok(&mut other, &create("/large", &[7; 100_000]));
    let (slow, session) = connect(subject.address());
    let mut slow = slow.into_stream();
    rustix::net::sockopt::set_socket_recv_buffer_size(&slow, 4096).expect("a small window");
    let read = framed(&request_bytes(1, &request::get_data("/large", false)));
    // More than is written at once, and than waits to be.
    slow.write_all(&read.repeat(30)).expect("small requests fit into the sockets");
    let received = |count: u32| {
        let cons = four_letter_word(subject.address(), "cons").expect("cons");
        let its = format!("sid={:#x}", session.id);
        let line = cons.lines().find(|line| line.contains(&its)).expect("its line").to_owned();
        line.contains(&format!("recved={count},"))
    };
    until("all reads are taken", || received(31));
    slow.write_all(&framed(&request_bytes(-2, &request::ping()))).expect("sent");
    until("the ping is heard", || received(32));
    let mut all = vec![0; 30 * 100_000];
    slow.read_exact(&mut all).expect("whoever reads gets it all");
}

#[test]
fn large_replies_behind_an_unanswered_write_cost_a_bounded_buffer() {
    let subject = farwatch(Options::new());
    let (mut other, _) = connect(subject.address());
    ok(&mut other, &create("/large", &vec![7; 1_000_000]));
    let before = resident_bytes(&subject);
    let (mut slow, _) = connect(subject.address());
    // All of it arrives before the write can be durable, so that the reads queue behind it.
    let mut bytes = framed(&request_bytes(1, &create("/first", b"")));
    bytes.extend(framed(&request_bytes(2, &request::get_data("/large", false))).repeat(400));
    slow.send_raw(&bytes).expect("small requests fit into the sockets");
    for number in 0..50 {
        ok(&mut other, &create(&format!("/n{number}"), b""));
    }
    let grown = resident_bytes(&subject).saturating_sub(before);
    assert!(grown < 64 << 20, "one slow reader behind a write of its own costs {grown} bytes");
    // Whoever reads gets it all.
    for number in 0..=400 {
        let reply = slow.receive_reply().expect("a reply");
        assert_eq!((reply.err, reply.xid), (0, if number == 0 { 1 } else { 2 }));
    }
}

#[test]
fn a_session_that_lists_its_many_ephemerals_again_and_again_costs_a_bounded_buffer() {
    let subject = farwatch(Options::new());
    let (mut greedy, _) = connect(subject.address());
    let name = "e".repeat(20_000);
    let count = 200;
    for number in 0..count {
        let path = format!("/{number}{name}");
        greedy.send(1, &request::create(&path, None, &ids::open(), 1)).expect("sent");
    }
    for _ in 0..count {
        assert_eq!(greedy.receive_reply().expect("a reply").err, 0);
    }
    let before = resident_bytes(&subject);
    // Four megabytes for each of twelve bytes.
    let list = framed(&request_bytes(2, &request::get_ephemerals(Some("/"))));
    greedy.send_raw(&list.repeat(100)).expect("small requests fit into the sockets");
    let (mut other, _) = connect(subject.address());
    for number in 0..50 {
        ok(&mut other, &create(&format!("/n{number}"), b""));
    }
    let grown = resident_bytes(&subject).saturating_sub(before);
    assert!(grown < 96 << 20, "one greedy client costs {grown} bytes");
    for _ in 0..100 {
        assert_eq!(greedy.receive_reply().expect("a reply").err, 0);
    }
}

#[test]
fn who_counts_many_nodes_again_and_again_holds_up_nobody() {
    const NODES: i32 = 20_000;
    const COUNTS: u64 = 2000;
    for driver in ["auto", "epoll"] {
        let options = Options::new().line("farwatch.threads=1");
        let subject = farwatch(options.line(&format!("farwatch.socketDriver={driver}")));
        let (mut other, _) = connect(subject.address());
        ok(&mut other, &create("/a", b""));
        for start in (0..NODES).step_by(5000) {
            for number in start..start + 5000 {
                other.send(1, &create(&format!("/a/{number}"), b"")).expect("sent");
            }
            for _ in 0..5000 {
                assert_eq!(other.receive_reply().expect("a reply").err, 0);
            }
        }
        let sent = || mntr(subject.address(), "zk_packets_sent");
        let before = sent();
        let (mut greedy, _) = connect(subject.address());
        let count = framed(&request_bytes(2, &request::get_all_children_number("/a")));
        greedy.send_raw(&count.repeat(COUNTS as usize)).expect("small requests fit");
        let first = greedy.receive_reply().expect("a reply");
        assert_eq!(first.int().expect("a count"), NODES);
        ok(&mut other, &request::exists("/a", false));
        // A server that answers all of them in one turn has nothing left to say to it.
        let answered = sent() - before;
        assert!(answered < COUNTS, "{driver}: {answered} answers before another client's turn");
        for _ in 0..20 {
            assert_eq!(greedy.receive_reply().expect("and so on").int().expect("a count"), NODES);
        }
    }
}

#[test]
fn a_client_that_never_reads_its_events_is_cut_off_and_its_memory_comes_back() {
    let subject = farwatch(Options::new());
    let (mut other, _) = connect(subject.address());
    let (mut slow, _) = connect(subject.address());
    ok(&mut slow, &request::add_watch("/", 1));
    let before = resident_bytes(&subject);
    let name = "x".repeat(60_000);
    ok(&mut other, &create(&format!("/{name}"), b""));
    let set = framed(&request_bytes(1, &request::set_data(&format!("/{name}"), None, -1)));
    let mut sent = 0;
    while connections(subject.address()) == 2 {
        assert!(sent < 4000, "240 MB of events wait for a client that does not read");
        for _ in 0..50 {
            other.send_raw(&set).expect("sent");
        }
        for _ in 0..50 {
            assert_eq!(other.receive_reply().expect("a reply").err, 0);
        }
        sent += 50;
    }
    let grown = resident_bytes(&subject).saturating_sub(before);
    assert!(grown < 160 << 20, "a client that does not read cost {grown} bytes");
}

#[test]
fn a_connection_that_authenticates_as_more_and_more_is_answered_and_closed() {
    let subject = farwatch(Options::new());
    let (mut connection, session) = connect(subject.address());
    let user = |number: u32| format!("{number}{}:pw", "u".repeat(30_000));
    for number in [1, 2, 1, 2, 2] {
        ok(&mut connection, &request::auth("digest", user(number).as_bytes()));
    }
    ok(&mut connection, &request::who_am_i());
    let third = connection.call(&request::auth("digest", user(3).as_bytes()));
    assert_eq!(third.expect("a reply").err, -115);
    connection.expect_close().expect("a close");
    let resumed = Connection::connect(subject.address(), &Handshake::resume(&session));
    assert!(!resumed.expect("the session goes on").1.is_expired());
}

#[test]
fn a_handshake_that_never_comes_or_comes_a_byte_at_a_time_is_cut_off() {
    let subject = farwatch(Options::new().line("nio.sessionlessCnxnTimeout=1000"));
    let address = subject.address();
    let mut silent = Connection::open(address).expect("a connection");
    let mut begun = Connection::open(address).expect("a connection");
    begun.send_raw(&[0, 0]).expect("sent");
    let mut promised = Connection::open(address).expect("a connection");
    promised.send_raw(&framed(Handshake::default().encode().as_bytes())[..20]).expect("sent");
    let mut dribbling = Connection::open(address).expect("a connection");
    dribbling.send_raw(&1_000_000_i32.to_be_bytes()).expect("sent");
    let started = Instant::now();
    while dribbling.send_raw(&[0]).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(15), "a byte now and then keeps a place");
        thread::sleep(Duration::from_millis(100)); // the pace of the attack
    }
    for connection in [&mut silent, &mut begun, &mut promised] {
        connection.expect_close().expect("a close without a byte");
    }
    until("all are let go", || connections(address) == 0);
    connect(address);
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() {
    let subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    ok(&mut connection, &create("/p", b""));
    let mut bytes = Vec::new();
    for xid in 0..10_000 {
        let request = match xid % 4 {
            0 => request::create("/p/s", Some(b"v"), &ids::open(), 2),
            1 => request::get_data("/p", false),
            2 => request::set_data("/p", Some(b"v"), -1),
            _ => request::exists("/absent", false),
        };
        bytes.extend_from_slice(&framed(&request_bytes(xid, &request)));
    }
    let address = connection.local_address().expect("an address");
    let mut stream = connection.into_stream();
    let mut sender = stream.try_clone().expect("a second handle");
    thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut sender, &bytes).expect("all is taken"));
        let mut last = 0;
        for xid in 0..10_000 {
            let reply = read_reply(&mut stream);
            assert_eq!(reply.xid, xid, "{address}");
            assert!(last <= reply.zxid);
            last = reply.zxid;
            assert_eq!(reply.err, if xid % 4 == 3 { -101 } else { 0 });
        }
    });
}

fn read_reply(stream: &mut TcpStream) -> farwatch_bench::raw::Reply {
    use std::io::Read as _;
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("a reply");
    let mut frame = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut frame).expect("a whole reply");
    farwatch_bench::raw::Reply::parse(&frame).expect("a header")
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    for threads in [1, 3] {
        let subject = farwatch(Options::new().line(&format!("farwatch.threads={threads}")));
        let address = subject.address();
        thread::scope(|scope| {
            for index in 0..8 {
                scope.spawn(move || {
                    for turn in 0..60 {
                        let mut open = Connection::open(address).expect("a connection");
                        let hello = framed(Handshake::default().encode().as_bytes());
                        match (index + turn) % 4 {
                            0 => drop(open),                           // not a byte
                            1 => open.send_raw(&hello).expect("sent"), // gone before the answer
                            2 => open.send_raw(&hello[..9]).expect("sent"),
                            _ => {
                                open.send_raw(&hello).expect("sent");
                                open.receive_frame().expect("an answer");
                            }
                        }
                    }
                });
            }
        });
        until("all connections are let go", || connections(address) == 0);
        let (mut connection, _) = connect(address);
        ok(&mut connection, &create("/after", b""));
    }
}

#[test]
fn writes_that_wait_for_room_go_on_when_there_is_some_on_every_reactor() {
    let subject =
        farwatch(Options::new().line("farwatch.threads=3").line("jute.maxbuffer=4200000"));
    let address = subject.address();
    thread::scope(|scope| {
        for index in 0..5 {
            scope.spawn(move || {
                let (mut connection, _) = connect(address);
                let path = format!("/f{index}");
                ok(&mut connection, &create(&path, b""));
                // 48 MB from each, where 64 may wait in all.
                let data = vec![index as u8; 4_000_000];
                let set = framed(&request_bytes(1, &request::set_data(&path, Some(&data), -1)));
                let mut sender = connection.into_stream();
                let mut receiver = sender.try_clone().expect("a second handle");
                scope.spawn(move || {
                    for _ in 0..12 {
                        std::io::Write::write_all(&mut sender, &set).expect("all is taken");
                    }
                });
                for _ in 0..12 {
                    assert_eq!(read_reply(&mut receiver).err, 0);
                }
            });
        }
    });
    // What waits ends in one batch, and a batch in one segment: a limit that does not hold is seen.
    for file in fs::read_dir(subject.data_directory().join("log")).expect("the log") {
        let bytes = file.expect("a file").metadata().expect("its size").len();
        assert!(bytes < 128 << 20, "a batch of {bytes} bytes waited where 64 MiB may");
    }
}

#[test]
fn a_multi_as_large_as_a_frame_is_one_transaction_and_a_larger_one_closes() {
    let mut subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    ok(&mut connection, &create("/m", b""));
    let part = |number: usize| create(&format!("/m/{number:06}"), b"");
    // A part has a header of nine bytes; the whole has one of eight, and a terminator of nine.
    let count = (FRAME_BYTES_MAX - 17) / (part(0).body.as_bytes().len() + 9);
    let parts: Vec<_> = (0..count).map(part).collect();
    let multi = request::multi(&parts);
    let reply = ok(&mut connection, &multi);
    assert_eq!(multi_results(&reply).expect("results").len(), parts.len());
    let one_more: Vec<_> = (count..=2 * count).map(part).collect();
    // The server may close while the rest is still being sent.
    let _ = connection.send(7, &request::multi(&one_more));
    assert_eq!(connection.read_to_close().expect("a close"), b"");
    subject.restart().expect("a restart");
    let (mut connection, _) = connect(subject.address());
    let shown = ok(&mut connection, &request::get_children2("/m", false));
    let (names, stat) = shown.names_and_stat().expect("names");
    assert_eq!((names.len(), stat.pzxid), (parts.len(), reply.zxid));
}

#[test]
fn a_session_with_a_hundred_thousand_ephemerals_ends_in_one_transaction() {
    const COUNT: i32 = 100_000;
    let mut subject = farwatch(Options::new());
    let (mut reader, _) = connect(subject.address());
    ok(&mut reader, &create("/e", b""));
    let (mut owner, _) = connect(subject.address());
    for start in (0..COUNT).step_by(5000) {
        let parts: Vec<_> = (start..start + 5000)
            .map(|number| request::create(&format!("/e/{number}"), None, &ids::open(), 1))
            .collect();
        ok(&mut owner, &request::multi(&parts));
    }
    let count = request::get_all_children_number("/e");
    assert_eq!(ok(&mut reader, &count).int().expect("a count"), COUNT);
    let end = ok(&mut owner, &request::close_session());
    owner.expect_close().expect("a close");
    let root = ok(&mut reader, &request::exists("/e", false)).stat().expect("a Stat");
    assert_eq!((root.num_children, root.pzxid), (0, end.zxid), "not all in one transaction");
    subject.restart().expect("what was logged can be replayed");
    let (mut reader, _) = connect(subject.address());
    assert_eq!(ok(&mut reader, &count).int().expect("a count"), 0);
}

#[test]
fn nodes_of_a_megabyte_are_written_read_listed_and_replayed() {
    let mut subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    // The frame holds the header, the path, the lengths and the ACL besides.
    let overhead = request_bytes(0, &create("/b0", b"")).len();
    let data = |number: u8| vec![number; FRAME_BYTES_MAX - overhead];
    for number in 0..10 {
        ok(&mut connection, &create(&format!("/b{number}"), &data(number)));
    }
    let one_more = vec![1; FRAME_BYTES_MAX - overhead + 1];
    let _ = connection.send(7, &create("/b9", &one_more));
    assert_eq!(connection.read_to_close().expect("a close"), b"");
    for round in 0..2 {
        let (mut connection, _) = connect(subject.address());
        for number in 0..10 {
            let reply = ok(&mut connection, &request::get_data(&format!("/b{number}"), false));
            let (found, _) = reply.data_and_stat().expect("data");
            assert!(found.as_deref() == Some(&data(number)[..]), "/b{number} in round {round}");
        }
        subject.restart().expect("a restart");
    }
}

#[test]
fn a_multi_read_that_asks_for_gigabytes_is_refused_and_costs_little() {
    let subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    ok(&mut connection, &create("/g", &vec![1; 1_000_000]));
    let before = resident_bytes(&subject);
    let reads = vec![request::get_data("/g", false); 20_000];
    let reply = connection.call(&request::multi_read(&reads)).expect("a reply");
    assert_eq!((reply.err, reply.body.len()), (-5, 0));
    let grown = resident_bytes(&subject).saturating_sub(before);
    assert!(grown < 200 << 20, "it cost {grown} bytes");
    let reads = vec![request::get_data("/g", false); 10];
    let reply = ok(&mut connection, &request::multi_read(&reads));
    assert_eq!(multi_results(&reply).expect("results").len(), 10);
}
