//! The way to the server, which a test can close, or let lose one answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::server;

/// Codes of the requests whose answers tests lose.
pub const DELETE: i32 = 2;
pub const SET: i32 = 5;
pub const MULTI: i32 = 14;
pub const CREATE: i32 = 15;

/// No request has this xid.
const NONE: i64 = i64::MIN;

#[derive(Default)]
struct Shared {
    is_closed: AtomicBool,
    /// The code of the request whose answer is lost next, and its connection with it.
    losing: Mutex<Option<i32>>,
    /// Nothing gets in any more behind that.
    is_closing: AtomicBool,
    lost: AtomicI64,
    streams: Mutex<Vec<TcpStream>>,
}

pub struct Way {
    pub address: String,
    shared: Arc<Shared>,
}

impl Way {
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for inward in listener.incoming().flatten() {
                if !of_thread.is_closed.load(Ordering::SeqCst) {
                    carry(&of_thread, inward);
                }
            }
        });
        Self { address, shared }
    }

    /// Cuts all connections and lets none in.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    pub fn reopen(&self) {
        self.shared.is_closed.store(false, Ordering::SeqCst);
    }

    /// The server gets the next request with this code; its answer is lost with the connection.
    pub fn lose_answer(&self, op: i32) {
        *self.shared.losing.lock().unwrap() = Some(op);
    }

    /// The same, and none is let in behind it before `reopen`.
    pub fn close_at_answer(&self, op: i32) {
        self.shared.is_closing.store(true, Ordering::SeqCst);
        self.lose_answer(op);
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> i64 {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

fn carry(shared: &Arc<Shared>, inward: TcpStream) {
    let outward = TcpStream::connect(server::address()).expect("the server");
    let copy = |stream: &TcpStream| stream.try_clone().expect("a stream");
    shared.streams.lock().unwrap().extend([copy(&inward), copy(&outward)]);
    if shared.is_closed.load(Ordering::SeqCst) {
        drop(inward.shutdown(Shutdown::Both));
    }
    let doomed = Arc::new(AtomicI64::new(NONE));
    for is_request in [true, false] {
        let (from, to) = if is_request { (&inward, &outward) } else { (&outward, &inward) };
        let (from, to) = (copy(from), copy(to));
        let (shared, doomed) = (Arc::clone(shared), Arc::clone(&doomed));
        std::thread::spawn(move || {
            carry_frames(&from, &to, |xid, second| {
                if is_request {
                    let mut losing = shared.losing.lock().unwrap();
                    if losing.is_some_and(|op| op == second) {
                        *losing = None;
                        doomed.store(i64::from(xid), Ordering::SeqCst);
                    }
                    return true;
                }
                let is_doomed = doomed.load(Ordering::SeqCst) == i64::from(xid);
                if is_doomed && shared.is_closing.swap(false, Ordering::SeqCst) {
                    shared.is_closed.store(true, Ordering::SeqCst);
                }
                shared.lost.fetch_add(i64::from(is_doomed), Ordering::SeqCst);
                !is_doomed
            });
            drop(from.shutdown(Shutdown::Both));
            drop(to.shutdown(Shutdown::Both));
        });
    }
}

/// Carries whole frames for as long as `passes` lets those behind the handshake pass: by the first two
/// numbers in them, xid and code of a request.
fn carry_frames(
    mut from: &TcpStream,
    mut to: &TcpStream,
    mut passes: impl FnMut(i32, i32) -> bool,
) {
    let mut is_handshake = true;
    let mut length = [0; 4];
    while from.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        if from.read_exact(&mut frame).is_err() {
            return;
        }
        let number = |at| i32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
        if !is_handshake && !passes(number(0), number(4)) {
            return;
        }
        is_handshake = false;
        if to.write_all(&[&length[..], &frame].concat()).is_err() {
            return;
        }
    }
}
