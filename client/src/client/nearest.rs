//! Which server is near: measured as a client feels it, by a question and its answer.
//!
//! ```text
//!   no connection: all servers are asked at once; who answers first, and serves, is dialled
//!   connected:     now and then all are asked; one that is twice as near, twice in a row, is moved to
//! ```
//!
//! The question is the four-letter word `srvr` on a connection of its own: it is answered by every server
//! that serves, also where it is not allowed, and says who does not. A connection alone would not do:
//! the kernel accepts it, or something in front of the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Shared;
use crate::backoff::{Prng, ServerChoice};
use crate::connect_string::ServerName;

/// How long a server may take to answer, milliseconds: one that takes longer is not near.
const ANSWER_MS_MAX: u64 = 1000;

/// Most of an answer that is looked at, bytes: several times what servers say.
const ANSWER_BYTES_MAX: usize = 4096;

/// Servers that are asked; whoever names more has them tried in turn.
const SERVERS_ASKED_MAX: usize = 16;

/// A server must be nearer by so much: less is noise of the machine.
const GAIN_MIN: Duration = Duration::from_millis(1);

/// The pause between checks doubles so many times while they find nothing.
const DOUBLINGS_MAX: u32 = 4;

/// A move waits for a moment without requests, at most so long, milliseconds.
const MOVE_MS_MAX: u64 = 10_000;

/// What is true of all checks of a client.
pub(super) struct Asking {
    /// Servers whose last question has not ended: a name may take long to be resolved.
    busy: Vec<AtomicBool>,
    /// The first pause between two checks.
    pub(super) pause: Duration,
    accepts_read_only: bool,
}

impl Asking {
    pub(super) fn new(servers: usize, pause: Duration, accepts_read_only: bool) -> Self {
        let busy = (0..servers).map(|_| AtomicBool::new(false)).collect();
        Self { busy, pause, accepts_read_only }
    }
}

/// What came of one question: the server, and how long its answer took if it serves.
type Answer = (usize, Option<Duration>);

/// Asks every server, each on a thread that ends with the answer. How many were asked.
fn ask_all(shared: &Arc<Shared>) -> (usize, Receiver<Answer>) {
    let (sender, answers) = mpsc::channel();
    let last_zxid = shared.lock().machine.session().map_or(0, |session| session.last_zxid);
    let mut asked = 0;
    for (server, name) in shared.servers.iter().enumerate().take(SERVERS_ASKED_MAX) {
        if shared.asking.busy[server].swap(true, Ordering::AcqRel) {
            continue;
        }
        let accepts_read_only = shared.asking.accepts_read_only;
        let (name, sender) = (name.clone(), sender.clone());
        let weak = Arc::downgrade(shared);
        let thread = std::thread::Builder::new().name("farwatch-nearest".to_owned());
        let started = thread.spawn(move || {
            let _free = Free { shared: weak, server };
            let answer = ask(&name).filter(|(_, text)| serves(text, accepts_read_only, last_zxid));
            let _nobody_waits = sender.send((server, answer.map(|(took, _)| took)));
        });
        match started {
            Ok(_detached) => asked += 1,
            Err(_no_thread) => shared.asking.busy[server].store(false, Ordering::Release),
        }
    }
    (asked, answers)
}

struct Free {
    shared: Weak<Shared>,
    server: usize,
}

impl Drop for Free {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.asking.busy[self.server].store(false, Ordering::Release);
        }
    }
}

/// How long an answer took to begin, from the first packet on, and what it says.
fn ask(name: &ServerName) -> Option<(Duration, String)> {
    let addresses: Vec<SocketAddr> =
        (name.host.as_str(), name.port).to_socket_addrs().ok()?.collect();
    let end = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
    let left =
        || Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    for address in addresses {
        let began = Instant::now();
        let Ok(mut stream) = TcpStream::connect_timeout(&address, left()?) else { continue };
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(left()?)).ok()?;
        stream.write_all(b"srvr").ok()?;
        let mut answer = Vec::new();
        let mut took = None;
        let mut buffer = [0; 1024];
        while answer.len() < ANSWER_BYTES_MAX {
            stream.set_read_timeout(Some(left()?)).ok()?;
            match stream.read(&mut buffer) {
                Ok(count) if 0 < count => {
                    took = took.or_else(|| Some(began.elapsed()));
                    answer.extend_from_slice(&buffer[..count]);
                }
                _end_or_error => break,
            }
        }
        return Some((took?, String::from_utf8_lossy(&answer).into_owned()));
    }
    None
}

/// Whether a server that says this would take the session. One that may not say more than that it is
/// there is taken to.
fn serves(answer: &str, accepts_read_only: bool, last_zxid: i64) -> bool {
    let value = |key: &str| {
        answer.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
    };
    let is_read_only = value("Mode:").is_some_and(|mode| mode.starts_with("read-only"));
    let zxid = value("Zxid:")
        .and_then(|zxid| i64::from_str_radix(zxid.strip_prefix("0x").unwrap_or(&zxid), 16).ok());
    !answer.contains("not currently serving")
        && (accepts_read_only || !is_read_only)
        && zxid.is_none_or(|zxid| last_zxid <= zxid)
}

/// The server to dial instead of `server`: at the beginning of a round the one that answers first.
pub(super) fn choose(shared: &Arc<Shared>, server: usize, deadline_ms: u64) -> usize {
    if !shared.asks_for_nearest() || !shared.lock().machine.has_begun_round() {
        return server;
    }
    let (asked, answers) = ask_all(shared);
    // The other half is for the server that is dialled, should none of them answer questions.
    let patience_ms = deadline_ms.saturating_sub(shared.now_ms()) / 2;
    let end = Instant::now() + Duration::from_millis(patience_ms.min(ANSWER_MS_MAX));
    for _ in 0..asked {
        let left = end.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left) {
            Ok((first, Some(took))) => {
                tracing::debug!(server = %shared.servers[first], ?took, "the nearest server");
                shared.lock().machine.dial_instead(first);
                return first;
            }
            Ok((_does_not_serve, None)) => {}
            Err(_nobody_in_time) => break,
        }
    }
    server
}

/// Looks for a nearer server while the session is connected: the reader thread's.
pub(super) struct Comparison {
    prng: Prng,
    /// When to ask next; `None` before the first connection.
    next: Option<Instant>,
    /// Checks that found nothing, since the last move or connection.
    in_vain: u32,
    running: Option<Running>,
    /// Who won the last check.
    candidate: Option<usize>,
    /// On which connection all of this was found.
    link: u64,
}

struct Running {
    answers: Receiver<Answer>,
    asked: usize,
    times: Vec<Option<Duration>>,
}

impl Comparison {
    pub(super) fn new(seed: u64) -> Self {
        let prng = Prng::new(seed);
        Self { prng, next: None, in_vain: 0, running: None, candidate: None, link: 0 }
    }

    /// What there is to do now. Never waits.
    pub(super) fn advance(&mut self, shared: &Arc<Shared>) {
        if !shared.asks_for_nearest() {
            return;
        }
        let state = shared.lock();
        let (links, server) = (state.links, state.server);
        let is_connected = state.machine.is_connected();
        let is_held = state.machine.is_lease_held();
        drop(state);
        let Some(server) = server.filter(|_| is_connected) else { return };
        if self.link != links {
            // Another connection: whatever was found before was found from there.
            (self.link, self.running, self.candidate, self.in_vain) = (links, None, None, 0);
            self.next = Some(self.later(shared.asking.pause));
        }
        if self.running.is_some() {
            self.gather(shared, server);
        } else if self.next.is_none_or(|next| next <= Instant::now()) {
            if is_held {
                self.next = Some(self.later(shared.asking.pause)); // it would not move anyway
                return;
            }
            let (asked, answers) = ask_all(shared);
            let times = vec![None; shared.servers.len()];
            self.running = Some(Running { answers, asked, times });
        }
    }

    /// Between half of `pause` and all of it, so that many clients do not ask at once.
    fn later(&mut self, pause: Duration) -> Instant {
        let half_us = u64::try_from(pause.as_micros() / 2).unwrap_or(u64::MAX / 2);
        Instant::now() + Duration::from_micros(half_us + self.prng.up_to(half_us))
    }

    fn gather(&mut self, shared: &Arc<Shared>, server: usize) {
        let Some(running) = &mut self.running else { return };
        while 0 < running.asked {
            match running.answers.try_recv() {
                Ok((server, took)) => {
                    running.times[server] = took;
                    running.asked -= 1;
                }
                Err(mpsc::TryRecvError::Empty) => return,
                Err(mpsc::TryRecvError::Disconnected) => running.asked = 0,
            }
        }
        let found = nearer(&running.times, server);
        self.running = None;
        let Some(found) = found else {
            self.candidate = None;
            self.in_vain = (self.in_vain + 1).min(DOUBLINGS_MAX);
            self.next = Some(self.later(shared.asking.pause * 2_u32.pow(self.in_vain)));
            return;
        };
        if self.candidate != Some(found) {
            // Once may be chance. Again soon.
            self.candidate = Some(found);
            self.next = Some(self.later(shared.asking.pause / 4));
            return;
        }
        self.candidate = None;
        self.next = Some(self.later(shared.asking.pause));
        let mut state = shared.lock();
        tracing::debug!(to = %shared.servers[found], "moving to a nearer server");
        let now_ms = shared.now_ms();
        state.machine.move_to(now_ms, found, now_ms + MOVE_MS_MAX);
    }
}

/// The nearest server, if it is twice as near as `current` and the difference more than noise.
fn nearer(times: &[Option<Duration>], current: usize) -> Option<usize> {
    let own = times[current]?; // without it there is nothing to compare with
    let (best, time) = times
        .iter()
        .enumerate()
        .filter_map(|(i, time)| Some((i, (*time)?)))
        .min_by_key(|it| it.1)?;
    (best != current && time * 2 < own && time + GAIN_MIN <= own).then_some(best)
}

impl Shared {
    fn asks_for_nearest(&self) -> bool {
        self.choice == ServerChoice::Nearest && 1 < self.servers.len() && self.transport.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_is_twice_as_near_is_worth_a_move() {
        let check = |times: &[u64], current, expected| {
            let time = |micros: &u64| (*micros != 0).then(|| Duration::from_micros(*micros));
            let times: Vec<_> = times.iter().map(time).collect();
            assert_eq!(nearer(&times, current), expected, "{times:?} from {current}");
        };
        check(&[10_000, 4_000], 0, Some(1));
        check(&[10_000, 4_000, 3_000], 0, Some(2));
        check(&[10_000, 5_000], 0, None);
        check(&[10_000, 4_000], 1, None);
        check(&[900, 100], 0, None);
        check(&[0, 100], 0, None);
        check(&[10_000, 0], 0, None);
    }

    #[test]
    fn who_does_not_serve_says_so() {
        let from_zookeeper = "Zookeeper version: 3.9\nLatency min/avg/max: 0/0/0\nZxid: 0x100000003\nMode: follower\n";
        assert!(serves(from_zookeeper, false, 0x1_0000_0003));
        assert!(!serves(from_zookeeper, false, 0x1_0000_0004), "it is behind the session");
        assert!(serves("srvr is not executed because it is not in the whitelist.\n", false, 9));
        assert!(!serves("This ZooKeeper instance is not currently serving requests\n", true, 0));
        assert!(!serves("Mode: read-only\n", false, 0));
        assert!(serves("Mode: read-only\n", true, 0));
    }
}
