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

/// Codes of the requests that tests have refused, and of answers.
pub const GET_DATA: i32 = 4;
pub const GET_CHILDREN: i32 = 12;
pub const NO_AUTH: i32 = -102;
pub const NOT_READ_ONLY: i32 = -119;
pub const THROTTLED: i32 = -127;

/// No request has this xid.
const NONE: i64 = i64::MIN;

#[derive(Default)]
struct Shared {
    is_closed: AtomicBool,
    /// The code of the request whose answer is lost next, and its connection with it.
    losing: Mutex<Option<i32>>,
    /// The code of the request that is lost next, in the same way.
    swallowing: Mutex<Option<i32>>,
    /// The code of the requests that are not passed on, and what they are answered, in turn.
    refusing: Mutex<(i32, Vec<i32>)>,
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

    /// The server does not get the next request with this code, which is lost with the connection.
    pub fn lose_request(&self, op: i32) {
        *self.shared.swallowing.lock().unwrap() = Some(op);
    }

    /// As [`Way::lose_answer`], and no connection is let in behind it before `reopen`.
    pub fn close_at_answer(&self, op: i32) {
        self.shared.is_closing.store(true, Ordering::SeqCst);
        self.lose_answer(op);
    }

    /// The next requests with this code do not get to the server, and are answered so, the last answer first.
    pub fn refuse(&self, op: i32, answers: &[i32]) {
        *self.shared.refusing.lock().unwrap() = (op, answers.to_vec());
    }

    /// How many of them have not come yet.
    pub fn still_refuses(&self) -> usize {
        self.shared.refusing.lock().unwrap().1.len()
    }

    /// How many requests and answers were lost so far.
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
                    let mut refusing = shared.refusing.lock().unwrap();
                    let answer = if refusing.0 == second { refusing.1.pop() } else { None };
                    if let Some(code) = answer {
                        refuse(&from, xid, code);
                        return Fate::Kept;
                    }
                    drop(refusing);
                    if shared.swallowing.lock().unwrap().take_if(|op| *op == second).is_some() {
                        shared.lost.fetch_add(1, Ordering::SeqCst);
                        return Fate::Cut;
                    }
                    let mut losing = shared.losing.lock().unwrap();
                    if losing.is_some_and(|op| op == second) {
                        *losing = None;
                        doomed.store(i64::from(xid), Ordering::SeqCst);
                    }
                    return Fate::Passed;
                }
                let is_doomed = doomed.load(Ordering::SeqCst) == i64::from(xid);
                if is_doomed && shared.is_closing.swap(false, Ordering::SeqCst) {
                    shared.is_closed.store(true, Ordering::SeqCst);
                }
                shared.lost.fetch_add(i64::from(is_doomed), Ordering::SeqCst);
                if is_doomed { Fate::Cut } else { Fate::Passed }
            });
            drop(from.shutdown(Shutdown::Both));
            drop(to.shutdown(Shutdown::Both));
        });
    }
}

/// What becomes of a frame, and of its connection.
#[derive(PartialEq)]
enum Fate {
    Passed,
    Kept,
    Cut,
}

/// Answers a request in the server's place.
fn refuse(mut client: &TcpStream, xid: i32, code: i32) {
    let head = [16_i32.to_be_bytes(), xid.to_be_bytes()].concat();
    let frame = [&head[..], &0_i64.to_be_bytes(), &code.to_be_bytes()].concat();
    // Who has hung up is told nothing.
    drop(client.write_all(&frame));
}

/// Carries whole frames, those behind the handshake as `fate` has it: by the first two numbers in them, xid
/// and code of a request.
fn carry_frames(mut from: &TcpStream, mut to: &TcpStream, mut fate: impl FnMut(i32, i32) -> Fate) {
    let mut is_handshake = true;
    let mut length = [0; 4];
    while from.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        if from.read_exact(&mut frame).is_err() {
            return;
        }
        let number = |at| i32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
        let fate = if is_handshake { Fate::Passed } else { fate(number(0), number(4)) };
        is_handshake = false;
        if fate == Fate::Cut {
            return;
        }
        if fate == Fate::Passed && to.write_all(&[&length[..], &frame].concat()).is_err() {
            return;
        }
    }
}
