//! The binary of this build under fire: servers for one test, chance with a printed seed, and the
//! switch of the long versions.

use std::env;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use farwatch_bench::raw::{Connection, Handshake, Session};
use farwatch_bench::subject::{Options, Subject};

/// Starts a server for one test alone.
#[track_caller]
pub fn farwatch(options: Options) -> Subject {
    Subject::farwatch(env!("CARGO_BIN_EXE_farwatch"), options).expect("a server that starts")
}

/// A new session of 30 seconds.
#[track_caller]
pub fn connect(address: SocketAddr) -> (Connection, Session) {
    let opened = Connection::connect(address, &Handshake::default());
    let (connection, session) = opened.expect("a handshake");
    assert!(!session.is_expired(), "a new session was refused");
    (connection, session)
}

/// Whether the long version of a test runs; says what is left out when it does not.
pub fn is_slow_asked_for(left_out: &str) -> bool {
    let asked = env::var_os("FARWATCH_SLOW").is_some_and(|value| value == "1");
    if !asked {
        eprintln!("not run: {left_out}, because FARWATCH_SLOW=1 is not set");
    }
    asked
}

/// SplitMix64: enough for tests, and one number repeats a run.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From `FARWATCH_SEED`, or else from the clock; the seed is printed either way.
    pub fn printed(test: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970");
        let seed = match env::var("FARWATCH_SEED") {
            Ok(text) => text.parse().expect("FARWATCH_SEED is a number"),
            Err(_) => now.as_nanos() as u64,
        };
        eprintln!("{test}: FARWATCH_SEED={seed}");
        Self(seed)
    }

    /// An independent one.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
