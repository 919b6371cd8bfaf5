//! A task that always finds something to read, beside others, by epoll and by io_uring.

use std::io::Write as _;
use std::net::{TcpListener as Std, TcpStream as Client};

use super::*;

/// Both ends of a connection; the far one first.
fn connected() -> (Client, StdStream) {
    let listener = Std::bind("127.0.0.1:0").expect("a port");
    let far = Client::connect(listener.local_addr().expect("an address")).expect("a connection");
    (far, listener.accept().expect("accepted").0)
}

/// Reads a byte at a time until `enough`; how many it read.
async fn read_bytes(mut read: ReadHalf, enough: impl Fn(usize) -> bool) -> usize {
    let mut count = 0;
    while !enough(count) {
        let (result, _byte) = read.read(Vec::with_capacity(1)).await;
        assert_eq!(result.expect("a read"), 1, "byte {count}");
        count += 1;
    }
    count
}

/// More than the budget of reads, and less than a socket holds.
const BYTES: usize = 60_000;

#[test]
fn who_always_finds_something_to_read_lets_other_tasks_and_timers_run() {
    for allow_uring in [true, false] {
        let (mut far, near) = connected();
        far.write_all(&[7; BYTES]).expect("sent");
        let (read, since) = block_on(allow_uring, |_| async {
            let is_late = Rc::new(Cell::new(false));
            let timer = Rc::clone(&is_late);
            spawn(async move {
                sleep(Duration::from_millis(1)).await;
                timer.set(true);
            });
            let (read, _write, _socket) = adopt(near).expect("adopted");
            let told = Rc::clone(&is_late);
            let done = Rc::new(Cell::new(None));
            let (counted, end) = (Rc::clone(&done), Signal::default());
            let ended = end.clone();
            spawn(async move {
                let enough = |count| count == BYTES || told.get();
                counted.set(Some(read_bytes(read, enough).await));
                ended.notify();
            });
            end.wait().await;
            (done.take().expect("it has ended"), is_late.get())
        })
        .expect("a runtime");
        assert!(since && read < BYTES, "uring {allow_uring}: {read} bytes before the timer came");
    }
}

#[test]
fn a_turn_lets_every_other_task_go_first_and_keeps_no_descriptor() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("a list").count();
    for allow_uring in [true, false] {
        block_on(allow_uring, |_| async move {
            let ran = Rc::new(Cell::new(0));
            turn().await;
            let before = descriptors();
            for expected in 1..=600 {
                let other = Rc::clone(&ran);
                spawn(async move { other.set(other.get() + 1) });
                turn().await;
                assert_eq!(ran.get(), expected, "uring {allow_uring}");
            }
            // Other tests of this process may have some open meanwhile.
            assert!(descriptors() < before + 300, "uring {allow_uring}");
        })
        .expect("a runtime");
    }
}

#[test]
fn a_connection_that_was_accepted_ends_with_the_program_that_did() {
    for allow_uring in [true, false] {
        let listener = Std::bind("127.0.0.1:0").expect("a port");
        let _far = Client::connect(listener.local_addr().expect("an address")).expect("connected");
        let flags = block_on(allow_uring, |_| async {
            let listener = Listener::new(listener).expect("a listener");
            let (stream, _peer) = listener.accept().await.expect("a connection");
            rustix::io::fcntl_getfd(&stream).expect("its flags")
        });
        let flags = flags.expect("a runtime");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "uring: {allow_uring}");
    }
}
