//! A way to a server that can be cut, muted, paused and made long. The tests of `ffi` use it too.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Forwards bytes to an address, as it is told to.
pub struct Way {
    /// Where clients connect to.
    pub address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Default)]
struct Orders {
    /// New connections are closed at once.
    is_cut: bool,
    /// Bytes are taken and passed on to nobody.
    is_mute: bool,
    /// Bytes wait until it goes on.
    is_paused: bool,
    /// How long bytes are on their way, in each direction.
    delay: Duration,
    streams: Vec<TcpStream>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().expect("nobody panics with it")
    }
}

#[allow(dead_code, reason = "each suite uses its part")]
impl Way {
    /// A way to `target`, from a free port.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(State::default());
        let (shared, target) = (Arc::clone(&state), target.to_owned());
        std::thread::spawn(move || {
            for inward in listener.incoming().flatten() {
                if shared.lock().is_cut {
                    continue; // closed by its drop
                }
                let Ok(outward) = TcpStream::connect(&target) else { continue };
                for (from, to) in [(&inward, &outward), (&outward, &inward)] {
                    from.set_nodelay(true).expect("an option");
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    shared.lock().streams.push(from.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || pass_on(&shared, from, to));
                }
            }
        });
        Self { address, state }
    }

    /// The same, whose bytes take so long in each direction.
    pub fn of_length(target: &str, delay: Duration) -> Self {
        let way = Self::to(target);
        way.set_length(delay);
        way
    }

    /// How long bytes take from here on, in each direction.
    pub fn set_length(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// Cuts every connection that stands now.
    pub fn sever(&self) {
        for stream in self.state.lock().streams.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Cuts what stands, and refuses what comes.
    pub fn cut(&self) {
        self.state.lock().is_cut = true;
        self.sever();
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.state.lock().is_cut = false;
    }

    /// Takes everything and answers nothing, from here on.
    pub fn mute(&self) {
        self.state.lock().is_mute = true;
    }

    /// Keeps bytes back, until `go_on`.
    pub fn pause(&self) {
        self.state.lock().is_paused = true;
    }

    /// Passes on what was kept back.
    pub fn go_on(&self) {
        self.state.lock().is_paused = false;
        self.state.changed.notify_all();
    }
}

/// Reads on one thread and writes on another, so that a long way holds many bytes at once.
fn pass_on(state: &Arc<State>, mut from: TcpStream, mut to: TcpStream) {
    let line = Arc::new((Mutex::new(VecDeque::new()), Condvar::new()));
    let (arriving, shared) = (Arc::clone(&line), Arc::clone(state));
    let writer = std::thread::spawn(move || {
        loop {
            let mut waiting = arriving.0.lock().expect("a lock");
            let (due, bytes): (Instant, Vec<u8>) = loop {
                match waiting.pop_front() {
                    Some(first) => break first,
                    None => waiting = arriving.1.wait(waiting).expect("a lock"),
                }
            };
            drop(waiting);
            // The length of the way is what is modelled.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut orders = shared.lock();
            while orders.is_paused {
                orders = shared.changed.wait(orders).expect("a lock");
            }
            let is_mute = orders.is_mute;
            drop(orders);
            if bytes.is_empty() || !is_mute && to.write_all(&bytes).is_err() {
                drop(to.shutdown(Shutdown::Both));
                return;
            }
        }
    });
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let due = Instant::now() + state.lock().delay;
        line.0.lock().expect("a lock").push_back((due, buffer[..count].to_vec()));
        line.1.notify_one();
        if count == 0 {
            break;
        }
    }
    drop(writer.join());
}
