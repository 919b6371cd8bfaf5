//! The accepting side of the handshake.

use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::descriptors::{self, For};
use crate::runtime::{self, Listener, Socket};
use crate::voice::Voice;
use farwatch_core::zab::message::Message;
use farwatch_core::zxid::ServerId;
use tracing::warn;

use super::PeerEvent;
use super::greeting::{Greeting, read_whole};
use super::handshake::{Answer, Hello, QUESTIONS};
use super::hub::Hub;
use super::link::{self, Link};
use super::peer::Peer;
use super::refusal::{self, Refusal};
use super::wire::{self, Incoming, Outgoing};

/// After a failed accept, most likely for want of descriptors, the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the hub is stopped.
pub async fn accept_for_ever(hub: Rc<Hub>, listener: Listener, listening: Socket) {
    let mut failing = Voice::default();
    while !hub.is_stopped() {
        match listener.accept().await {
            // Nobody would answer it: it ends here, and is not left to its peer's patience.
            Ok(_) if hub.is_stopped() => {}
            Ok((stream, address)) => {
                hub.spawn(serve(Rc::clone(&hub), stream, address));
            }
            Err(_) if hub.is_stopped() => {}
            Err(error) => {
                if let Some(unsaid) = failing.failure(Instant::now()) {
                    warn!(%error, unsaid, "a peer cannot be accepted; are there too many open files?");
                }
                runtime::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    listening.forget();
}

async fn serve(hub: Rc<Hub>, stream: TcpStream, address: SocketAddr) {
    let is_kept = descriptors::is_kept_from(For::Guest, &stream, hub.listed());
    let (mut read, mut write, socket) = match wire::open(stream) {
        Ok(halves) => halves,
        Err(error) => return hub.turned_away(address, error.to_string()),
    };
    let greeting = hub.greet(&socket, true);
    let socket_of = (&socket, is_kept);
    let accepted = greet(&hub, &greeting, &mut read, &mut write, socket_of, address).await;
    hub.greeted(&greeting);
    match accepted {
        Some((link, answer, input)) if !hub.is_stopped() => {
            link::run(&hub, &link, (read, write), answer, input).await;
        }
        _ => socket.forget(),
    }
}

/// Reads a hello and answers it. A link that comes of it is installed, and the acceptance, which
/// comes back with it, is what it sends first: nothing can happen between the verdict and the link.
/// Beside the socket stands whether its descriptor is kept from guests.
async fn greet(
    hub: &Rc<Hub>,
    greeting: &Greeting,
    read: &mut Incoming,
    write: &mut Outgoing,
    (socket, is_kept): (&Socket, bool),
    address: SocketAddr,
) -> Option<(Rc<Link>, Vec<u8>, Vec<u8>)> {
    let (hello, input) = match read_whole(read, greeting, Hello::decode).await {
        Ok(read) => read,
        Err(reason) => {
            hub.turned_away(address, reason);
            return None;
        }
    };
    if hub.is_stopped() {
        return None;
    }
    let own = hub.hello(hello.me);
    let mut answer = Vec::new();
    match judge(hub, &own, &hello, is_kept) {
        Ok((peer, version)) => {
            Answer { hello: own, verdict: Ok(version) }.encode(&mut answer);
            let link =
                Link::new(&peer, (&own, &hello), (address, None), &hub.limits, socket.clone());
            hub.install(&link, &hello);
            if let Some(question) = question(&own, &hello) {
                hub.tell(question);
            }
            Some((link, answer, input))
        }
        Err(refusal) => {
            // Whom nobody listed may be of another ensemble, and names none.
            let is_listed = hub.peer(hello.me).is_some_and(|peer| peer.listed);
            if is_listed && matches!(refusal, Refusal::Adopting { .. }) {
                hub.compare_clusters(&hello);
            }
            hub.refused(address, &hello, &refusal);
            Answer { hello: own, verdict: Err(refusal.to_rejection()) }.encode(&mut answer);
            // It hangs up on its own if it does not want to know why.
            let _ = write.write_all(answer).await;
            None
        }
    }
}

/// What who dials asks with its hello, now that it is accepted.
fn question(own: &Hello, hello: &Hello) -> Option<PeerEvent> {
    if hello.votes || own.capabilities & hello.capabilities & QUESTIONS == 0 {
        return None;
    }
    let from = hello.me;
    Some(match hello.you {
        ServerId::ANYONE => PeerEvent::Received { from, message: Message::Seek },
        _this_server => PeerEvent::Asked(from),
    })
}

/// Judges a hello, and takes what an acceptance takes: a place among the guests, and that of an old
/// link. `is_kept` is whether the connection's descriptor is kept from guests.
fn judge(hub: &Hub, own: &Hello, hello: &Hello, is_kept: bool) -> Result<(Rc<Peer>, u16), Refusal> {
    let version = refusal::judge(own, hello, hub.standing(hello))?;
    let known = hub.peer(hello.me);
    let replaced = match &known {
        Some(peer) => hub.may_replace(peer, hello)?,
        None => None,
    };
    if known.as_ref().is_none_or(|peer| !peer.listed) {
        hub.admit_guest(known.is_none(), is_kept)?;
    }
    if let Some(old) = replaced {
        hub.cut(&old, "its server connected anew");
    }
    Ok((known.unwrap_or_else(|| Rc::new(Peer::unlisted(hello))), version))
}
