//! Binding the client port and taking connections in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::{info, warn};

use crate::descriptors::{self, For};
use crate::four_letter::counters::Counter;
use crate::runtime::{self, Listener};
use crate::server::Shared;
use crate::voice::Voice;

/// Connections that may wait to be accepted, unless configured. Java's default of 50 makes a storm
/// of reconnecting clients wait for retransmissions.
const BACKLOG: i32 = 4096;

/// A process that was just killed holds its port a few milliseconds longer than its life.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// After a failed accept, most likely for want of descriptors, the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `address` and listens.
pub fn bind(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let started = Instant::now();
    loop {
        match bind_once(address, backlog) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && started.elapsed() < BIND_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Every address of this machine: of IPv6, which takes IPv4 as well, where the system has it.
pub fn everywhere(port: u16) -> SocketAddr {
    let ip = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, port)
}

fn bind_once(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The unspecified v6 address takes v4 clients too, as Java's sockets do.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(if backlog < 0 { BACKLOG } else { backlog })?;
    Ok(socket.into())
}

/// Accepts for ever; `take` gets each connection that no limit refuses, already counted in.
pub async fn accept(
    listener: Listener,
    shared: Arc<Shared>,
    mut take: impl FnMut(TcpStream, SocketAddr) + 'static,
) {
    let (mut crowded, mut refused, mut failing) =
        (Voice::default(), Voice::default(), Voice::default());
    let servers = shared.config.servers.len();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) if descriptors::is_kept_from(For::Client, &stream, servers) => {
                drop(stream);
                shared.counters.thread(0).add(Counter::ConnectionsRejected, 1);
                if let Some(unsaid) = crowded.failure(Instant::now()) {
                    warn!(%peer, unsaid, "closing a connection: the last descriptors are kept for the server's own files and links; raise its limit of open files (ulimit -n, LimitNOFILE=), or lower maxClientCnxns or maxCnxns");
                }
            }
            Ok((stream, peer)) => {
                if !shared.admit(peer.ip()) {
                    shared.counters.thread(0).add(Counter::ConnectionsRejected, 1);
                    if let Some(unsaid) = refused.failure(Instant::now()) {
                        info!(%peer, unsaid, "closing a connection: too many from this address, see maxClientCnxns");
                    }
                    continue;
                }
                if shared.config.client_tcp_keep_alive {
                    let _ = SockRef::from(&stream).set_keepalive(true); // a wish, not a need
                }
                take(stream, peer);
            }
            Err(error) => {
                if let Some(unsaid) = failing.failure(Instant::now()) {
                    warn!(%error, unsaid, "a connection cannot be accepted; are there too many open files?");
                }
                runtime::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
