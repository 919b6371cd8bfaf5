//! The dialing side: one thread per peer or upstream that resolves names and connects, because both
//! block, and one task that makes links of its connections.
//!
//! ```text
//! task: Fresh(when) ─► thread: wait, resolve, connect to the first ─► Connected ─► handshake ─► link
//!       Next ────────► thread: connect to the next ─► Connected … or Exhausted ─► Fresh(later)
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::port::{Port, Receiver};
use farwatch_core::zxid::ServerId;

use super::backoff::{Backoff, When};
use super::greeting::{Greeting, read_whole};
use super::handshake::{Answer, Attempt, Hello, QUESTIONS, Rejection};
use super::hub::{Hub, SETTLED};
use super::link::{self, Link};
use super::peer::Peer;
use super::refusal::{ADOPTING, ALREADY_CONNECTED, BUSY, FULL};
use super::upstream::Upstream;
use super::wire::{self, Incoming, Outgoing};

/// A request is outstanding at most, and a word to stop may come beside its answer.
const PORT_ITEMS: usize = 2;

/// What the task asks of the thread.
#[derive(Debug)]
enum Request {
    /// Resolve the names anew, and connect to the first address.
    Fresh(When),
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
    Exhausted(Option<Failed>),
    /// From the hub: it is over.
    Stop,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct Failed {
    address: Option<SocketAddr>,
    reason: String,
    /// Nobody said no: what was sent there is lost on its way.
    unanswered: bool,
}

/// What is dialed.
#[derive(Clone)]
pub enum Target {
    /// A server of the configuration.
    Server(Rc<Peer>),
    /// An address, whoever is there.
    Upstream(Rc<Upstream>),
}

impl Target {
    /// Whom the hello is for.
    fn sought(&self) -> ServerId {
        match self {
            Self::Server(peer) => peer.id,
            Self::Upstream(_) => ServerId::ANYONE,
        }
    }

    fn hosts(&self) -> Vec<(String, u16)> {
        match self {
            Self::Server(peer) => peer.hosts.clone(),
            Self::Upstream(upstream) => vec![upstream.host.clone()],
        }
    }

    /// The server that answers there.
    fn found(&self, hub: &Hub, hello: &Hello) -> Rc<Peer> {
        match self {
            Self::Server(peer) => Rc::clone(peer),
            Self::Upstream(upstream) => upstream.found(hub, hello),
        }
    }

    fn failed(&self, address: Option<SocketAddr>, reason: &str) {
        match self {
            Self::Server(peer) => peer.failed(address, reason),
            Self::Upstream(upstream) => upstream.failed(address, reason),
        }
    }

    fn note(&self, address: Option<SocketAddr>, reason: &str) {
        match self {
            Self::Server(peer) => peer.note(address, reason),
            Self::Upstream(upstream) => upstream.note(address, reason),
        };
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(peer) => peer.id.fmt(f),
            Self::Upstream(upstream) => upstream.fmt(f),
        }
    }
}

/// Starts dialing `target`, the process's way of this number.
pub fn start(hub: &Rc<Hub>, target: Target, way: u32, seed: u64) -> io::Result<()> {
    let port = Arc::new(Port::new(PORT_ITEMS)?);
    let (requests, incoming) = mpsc::channel();
    let (hosts, answers) = (target.hosts(), Arc::clone(&port));
    std::thread::Builder::new()
        .name(format!("farwatch-dial-{target}"))
        .spawn(move || connect_for_ever(&hosts, &incoming, &answers))?;
    hub.add_dialer(Arc::clone(&port));
    let task_hub = Rc::clone(hub);
    hub.spawn(async move {
        let backoff = Backoff::new(seed, task_hub.votes(), task_hub.limits.connect_timeout);
        // The thread ends when `requests` is dropped.
        if let Err(error) =
            dial_for_ever(&task_hub, &target, way, &port, (&requests, backoff)).await
        {
            target.failed(None, &format!("it is not dialed any more: {error}"));
        }
    });
    Ok(())
}

async fn dial_for_ever(
    hub: &Rc<Hub>,
    target: &Target,
    way: u32,
    port: &Port<Dialed>,
    (requests, mut backoff): (&mpsc::Sender<Request>, Backoff),
) -> io::Result<()> {
    let receiver = Receiver::new(port)?;
    let mut request = Request::Fresh(backoff.at_once());
    let mut attempt = Attempt { way, number: 0 };
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
            Dialed::Connected(stream, address) => {
                attempt.number = attempt.number.saturating_add(1);
                match serve(hub, (target, attempt), stream, address).await {
                    Ok((lived, nearest)) => {
                        Request::Fresh(backoff.ended(lived >= SETTLED, nearest))
                    }
                    Err(failure) => {
                        if matches!(failure, Failure::Later(_)) {
                            backoff.later();
                        }
                        tell(hub, target, address, &failure);
                        Request::Next
                    }
                }
            }
            Dialed::Exhausted(failure) => {
                if let Some(Failed { address, reason, unanswered }) = failure {
                    target.failed(address, &reason);
                    if unanswered {
                        backoff.unanswered();
                    }
                }
                Request::Fresh(backoff.again())
            }
        };
    }
}

fn tell(hub: &Hub, target: &Target, address: SocketAddr, failure: &Failure) {
    match failure {
        _ if hub.is_stopped() => {}
        Failure::Adopting(reason) => target.note(Some(address), reason),
        Failure::Later(reason) | Failure::Other(reason) => target.failed(Some(address), reason),
    }
}

/// Why a connection does not become a link.
enum Failure {
    /// The ensemble is new and has no agreed id yet: over in a moment.
    Adopting(String),
    /// Nothing is wrong, and to try again soon would only be one more burden.
    Later(String),
    /// For the log.
    Other(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

/// Makes a link of a connection and serves it to its end: how long it lived and its shortest round
/// trip, or why there was none.
async fn serve(
    hub: &Rc<Hub>,
    (target, attempt): (&Target, Attempt),
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(Duration, Option<Duration>), Failure> {
    let (mut read, mut write, socket) = wire::open(stream).map_err(|error| error.to_string())?;
    let greeting = hub.greet(&socket, false);
    let asked = Instant::now();
    let greeted = greet(hub, (target, attempt), &greeting, &mut read, &mut write).await;
    hub.greeted(&greeting);
    let linked = greeted.and_then(|(answer, input)| {
        if hub.is_stopped() {
            return Err(Failure::Other("this server stops".to_owned()));
        }
        let peer = target.found(hub, &answer.hello);
        if let Some(old) = peer.link() {
            return Err(already_linked(&peer, &old));
        }
        let (own, from) = (hub.hello(target.sought()), (address, Some(target.clone())));
        let link = Link::new(&peer, (&own, &answer.hello), from, &hub.limits, socket.clone());
        let is_answered = answer.hello.capabilities & own.capabilities & QUESTIONS != 0;
        if is_answered && target.sought() == ServerId::ANYONE {
            link.asked.set(Some(asked));
        }
        hub.install(&link, &answer.hello);
        Ok((link, input))
    });
    match linked {
        Ok((link, input)) => {
            link::run(hub, &link, (read, write), Vec::new(), input).await;
            Ok((link.age(), link.nearest()))
        }
        Err(reason) => {
            socket.forget();
            Err(reason)
        }
    }
}

/// Two addresses lead to one server, or it dials as well: one link is enough.
fn already_linked(peer: &Peer, link: &Link) -> Failure {
    let through = match link.upstream() {
        Some(upstream) => format!("upstream {upstream}"),
        None => link.address.to_string(),
    };
    Failure::Later(format!("this is server {}, which is linked by {through} already", peer.id))
}

/// Says hello, and reads an answer that makes a link.
async fn greet(
    hub: &Rc<Hub>,
    (target, attempt): (&Target, Attempt),
    greeting: &Greeting,
    read: &mut Incoming,
    write: &mut Outgoing,
) -> Result<(Answer, Vec<u8>), Failure> {
    let own = Hello { attempt, ..hub.hello(target.sought()) };
    let mut bytes = Vec::new();
    own.encode(&mut bytes);
    if let Err(error) = write.write_all(bytes).await {
        let failed = format!("the handshake failed: {error}");
        return Err(greeting.ended().unwrap_or(failed).into());
    }
    let (answer, input) = read_whole(read, greeting, Answer::decode).await?;
    hub.compare_clusters(&answer.hello);
    if let Err(rejection) = &answer.verdict {
        return Err(refused(hub, target, &answer.hello, rejection));
    }
    check(&own, &answer, hub)?;
    Ok((answer, input))
}

/// What a refusal means to who dialed.
fn refused(hub: &Hub, target: &Target, other: &Hello, rejection: &Rejection) -> Failure {
    let reason = format!("refused there: {}", rejection.text);
    match rejection.code {
        ADOPTING => Failure::Adopting(reason),
        FULL | BUSY => Failure::Later(reason),
        ALREADY_CONNECTED if target.sought() == ServerId::ANYONE => {
            let peer = target.found(hub, other);
            match peer.link() {
                Some(link) => already_linked(&peer, &link),
                None => Failure::Other(reason),
            }
        }
        _other => Failure::Other(reason),
    }
}

/// Whether an answer makes a link: who accepts has judged, and is not trusted to have judged well.
fn check(own: &Hello, answer: &Answer, hub: &Hub) -> Result<(), Failure> {
    let hello = &answer.hello;
    let is_sought = match own.you {
        ServerId::ANYONE => hello.me != ServerId::ANYONE && hello.me != own.me,
        sought => hello.me == sought,
    };
    if !is_sought {
        return Err(format!("server {} answers there, correct its address", hello.me).into());
    }
    let Ok(version) = answer.verdict else { unreachable!("refusals were looked at before") };
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
    requests: &mpsc::Receiver<Request>,
    port: &Port<Dialed>,
) {
    let mut addresses = VecDeque::new();
    let mut failure = None;
    let mut good = None;
    let mut timeout = Duration::ZERO;
    while let Ok(request) = requests.recv() {
        match request {
            Request::Next => good = None,
            Request::Fresh(when) => {
                timeout = when.connect_within;
                match requests.recv_timeout(when.after) {
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
                Err(error) => {
                    failure = Some(Failed {
                        address: Some(address),
                        reason: error.to_string(),
                        unanswered: error.kind() != io::ErrorKind::ConnectionRefused,
                    });
                }
            }
        };
        if port.push(dialed).is_err() {
            return; // only when the hub has stopped is there no room
        }
    }
}

/// Every address of every name in order, and what the last name that has none says.
fn resolve(hosts: &[(String, u16)]) -> (VecDeque<SocketAddr>, Option<Failed>) {
    let (mut addresses, mut failure) = (VecDeque::new(), None);
    for (host, port) in hosts {
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(found) => addresses.extend(found),
            Err(error) => {
                let reason = format!("the name {host} cannot be resolved: {error}");
                failure = Some(Failed { address: None, reason, unanswered: false });
            }
        }
    }
    (addresses, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_every_name_is_listed_in_order_and_a_bad_name_hides_none() {
        let hosts = [("127.0.0.1", 1), ("not a name", 2), ("127.0.0.2", 3)];
        let hosts = hosts.map(|(host, port)| (host.to_owned(), port));
        let (addresses, failure) = resolve(&hosts);
        let wanted: Vec<SocketAddr> =
            ["127.0.0.1:1", "127.0.0.2:3"].iter().map(|it| it.parse().unwrap()).collect();
        assert_eq!(addresses, wanted);
        assert!(failure.unwrap().reason.contains("not a name"));
    }
}
