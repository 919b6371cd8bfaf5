//! The dialing side: one thread per peer that resolves names and connects, because both block, and
//! one task that makes links of its connections.
//!
//! ```text
//! task: Fresh(after) ─► thread: wait, resolve, connect to the first ─► Connected ─► handshake ─► link
//!       Next ─────────► thread: connect to the next ─► Connected … or Exhausted ─► Fresh(longer)
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::port::{Port, Receiver};
use farwatch_core::prng::Prng;

use super::greeting::read_whole;
use super::handshake::{Answer, Hello};
use super::hub::{Greeting, Hub, Peer, SETTLED};
use super::link::{self, Link};
use super::refusal::{ADOPTING, Refusal};
use super::wire::{self, Incoming, Outgoing};

/// The first wait is drawn from zero to this: a peer that restarts is back within milliseconds.
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// Later waits are drawn from zero to this: it bounds how late a peer that is back is noticed.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A request is outstanding at most, and a word to stop may come beside its answer.
const PORT_ITEMS: usize = 2;

/// What the task asks of the thread.
#[derive(Debug)]
enum Request {
    /// Resolve the names anew after this time, and connect to the first address.
    Fresh(Duration),
    /// What was connected to was not the peer: connect to the next address.
    Next,
}

/// What the thread answers.
#[derive(Debug)]
pub enum Dialed {
    /// A connection.
    Connected(TcpStream, SocketAddr),
    /// No address is left. What failed last, if nothing was connected since the names were
    /// resolved.
    Exhausted(Option<(Option<SocketAddr>, String)>),
    /// From the hub: it is over.
    Stop,
}

/// Starts dialing `peer`.
pub fn start(hub: &Rc<Hub>, peer: &Rc<Peer>, seed: u64) -> io::Result<()> {
    let port = Arc::new(Port::new(PORT_ITEMS)?);
    let (requests, incoming) = mpsc::channel();
    let (timeout, hosts, answers) =
        (hub.limits.connect_timeout, peer.hosts.clone(), Arc::clone(&port));
    std::thread::Builder::new()
        .name(format!("farwatch-dial-{}", peer.id))
        .spawn(move || connect_for_ever(&hosts, timeout, &incoming, &answers))?;
    hub.add_dialer(Arc::clone(&port));
    let (task_hub, peer) = (Rc::clone(hub), Rc::clone(peer));
    hub.spawn(async move {
        // The thread ends when `requests` is dropped.
        if let Err(error) = dial_for_ever(&task_hub, &peer, &port, &requests, seed).await {
            task_hub.failed(&peer, None, &format!("it is not dialed any more: {error}"));
        }
    });
    Ok(())
}

async fn dial_for_ever(
    hub: &Rc<Hub>,
    peer: &Rc<Peer>,
    port: &Port<Dialed>,
    requests: &mpsc::Sender<Request>,
    seed: u64,
) -> io::Result<()> {
    let receiver = Receiver::new(port)?;
    let mut backoff = Backoff::new(seed);
    let mut request = Request::Fresh(Duration::ZERO);
    loop {
        requests.send(request).map_err(|_| io::Error::other("its thread has ended"))?;
        let dialed = loop {
            if hub.is_stopped() {
                return Ok(());
            }
            match port.pop() {
                Some(dialed) => break dialed,
                None => receiver.wait().await?,
            }
        };
        request = match dialed {
            Dialed::Stop => return Ok(()),
            Dialed::Connected(stream, address) => match serve(hub, peer, stream, address).await {
                Ok(lived) if lived >= SETTLED => {
                    backoff.reset();
                    Request::Fresh(Duration::ZERO)
                }
                Ok(_) => Request::Fresh(backoff.next()),
                Err(failure) => {
                    tell(hub, peer, address, &failure);
                    Request::Next
                }
            },
            Dialed::Exhausted(failure) => {
                if let Some((address, reason)) = failure {
                    hub.failed(peer, address, &reason);
                }
                Request::Fresh(backoff.next())
            }
        };
    }
}

fn tell(hub: &Hub, peer: &Peer, address: SocketAddr, failure: &Failure) {
    match failure {
        _ if hub.is_stopped() => {}
        Failure::Adopting(reason) => {
            hub.note(peer, Some(address), reason);
        }
        Failure::Other(reason) => hub.failed(peer, Some(address), reason),
    }
}

/// Why a connection does not become a link.
enum Failure {
    /// The ensemble is new and has no agreed id yet: over in a moment.
    Adopting(String),
    /// For the log.
    Other(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

/// Makes a link of a connection and serves it to its end: how long it lived, or why there was none.
async fn serve(
    hub: &Rc<Hub>,
    peer: &Rc<Peer>,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<Duration, Failure> {
    let (mut read, mut write, socket) = wire::open(stream).map_err(|error| error.to_string())?;
    let greeting = hub.greet(&socket, false);
    let greeted = greet(hub, peer, &greeting, &mut read, &mut write).await;
    hub.greeted(&greeting);
    let linked = greeted.and_then(|(answer, input)| {
        let link = Link::new(peer, &answer.hello, address, true, socket.clone(), Vec::new());
        match peer.link() {
            _ if hub.is_stopped() => Err(Failure::Other("this server stops".to_owned())),
            Some(old) => {
                let already = Refusal::AlreadyConnected { other: peer.id, address: old.address };
                Err(Failure::Other(already.to_string()))
            }
            None => {
                hub.install(&link, &answer.hello);
                Ok((link, input))
            }
        }
    });
    match linked {
        Ok((link, input)) => {
            link::run(hub, &link, read, write, input).await;
            Ok(link.age())
        }
        Err(reason) => {
            socket.forget();
            Err(reason)
        }
    }
}

/// Says hello, and reads an answer that makes a link.
async fn greet(
    hub: &Rc<Hub>,
    peer: &Rc<Peer>,
    greeting: &Greeting,
    read: &mut Incoming,
    write: &mut Outgoing,
) -> Result<(Answer, Vec<u8>), Failure> {
    let own = hub.hello(peer.id);
    let mut bytes = Vec::new();
    own.encode(&mut bytes);
    if let Err(error) = write.write_all(bytes).await {
        let failed = format!("the handshake failed: {error}");
        return Err(greeting.ended().unwrap_or(failed).into());
    }
    let (answer, input) = read_whole(read, greeting, Answer::decode).await?;
    hub.compare_clusters(&answer.hello);
    check(&own, &answer, hub)?;
    Ok((answer, input))
}

/// Whether an answer makes a link: who accepts has judged, and is not trusted to have judged well.
fn check(own: &Hello, answer: &Answer, hub: &Hub) -> Result<(), Failure> {
    let hello = &answer.hello;
    let version = match &answer.verdict {
        Ok(version) => *version,
        Err(rejection) => {
            let reason = format!("refused there: {}", rejection.text);
            return Err(match rejection.code {
                ADOPTING => Failure::Adopting(reason),
                _other => Failure::Other(reason),
            });
        }
    };
    if hello.me != own.you {
        return Err(format!("server {} answers there, correct its address", hello.me).into());
    }
    if !(own.version_min..=own.version_max).contains(&version) {
        return Err(format!("it chose version {version} of the peer protocol, unknown here").into());
    }
    // The id may have changed here while the answer was on its way.
    if hello.cluster != hub.hello(own.you).cluster {
        return Err(Failure::Other("the ensemble's id has just changed".to_owned()));
    }
    Ok(())
}

/// The thread: answers each request with one item, until nobody asks any more.
fn connect_for_ever(
    hosts: &[(String, u16)],
    timeout: Duration,
    requests: &mpsc::Receiver<Request>,
    port: &Port<Dialed>,
) {
    let mut addresses = VecDeque::new();
    let mut failure = None;
    let mut good = None;
    while let Ok(request) = requests.recv() {
        match request {
            Request::Next => good = None,
            Request::Fresh(after) => {
                match requests.recv_timeout(after) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(_) => unreachable!("one request is outstanding"),
                }
                (addresses, failure) = resolve(hosts);
                if let Some(at) = addresses.iter().position(|address| Some(*address) == good) {
                    // What worked last is tried first: another may cost its whole timeout.
                    addresses.swap(0, at);
                }
            }
        }
        let dialed = loop {
            let Some(address) = addresses.pop_front() else {
                break Dialed::Exhausted(failure.take());
            };
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    good = Some(address);
                    failure = None;
                    break Dialed::Connected(stream, address);
                }
                Err(error) => failure = Some((Some(address), error.to_string())),
            }
        };
        if port.push(dialed).is_err() {
            return; // only when the hub has stopped is there no room
        }
    }
}

/// Every address of every name in order, and what the last name that has none says.
#[allow(clippy::type_complexity, reason = "the parts are explained by the enum they go into")]
fn resolve(
    hosts: &[(String, u16)],
) -> (VecDeque<SocketAddr>, Option<(Option<SocketAddr>, String)>) {
    let (mut addresses, mut failure) = (VecDeque::new(), None);
    for (host, port) in hosts {
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(found) => addresses.extend(found),
            Err(error) => {
                failure = Some((None, format!("the name {host} cannot be resolved: {error}")));
            }
        }
    }
    (addresses, failure)
}

/// How long to wait before the next attempt: full jitter under a bound that doubles.
struct Backoff {
    prng: Prng,
    bound: Duration,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Self { prng: Prng::new(seed), bound: BACKOFF_MIN }
    }

    fn next(&mut self) -> Duration {
        let wait = self.prng.below(self.bound.as_micros() as u64 + 1);
        self.bound = (self.bound * 2).min(BACKOFF_MAX);
        Duration::from_micros(wait)
    }

    fn reset(&mut self) {
        self.bound = BACKOFF_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_drawn_under_a_bound_that_doubles_to_a_second_and_begins_anew() {
        let mut backoff = Backoff::new(7);
        for bound in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert!(backoff.next() <= Duration::from_millis(bound), "{bound} ms");
        }
        assert!((0..100).any(|_| backoff.next() > Duration::from_millis(500)), "it uses its room");
        backoff.reset();
        assert!(backoff.next() <= BACKOFF_MIN);
    }

    #[test]
    fn every_address_of_every_name_is_listed_in_order_and_a_bad_name_hides_none() {
        let hosts = [("127.0.0.1", 1), ("not a name", 2), ("127.0.0.2", 3)];
        let hosts = hosts.map(|(host, port)| (host.to_owned(), port));
        let (addresses, failure) = resolve(&hosts);
        let wanted: Vec<SocketAddr> =
            ["127.0.0.1:1", "127.0.0.2:3"].iter().map(|it| it.parse().unwrap()).collect();
        assert_eq!(addresses, wanted);
        assert!(failure.unwrap().1.contains("not a name"));
    }
}
