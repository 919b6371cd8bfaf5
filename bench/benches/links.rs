//! What it costs a server to send the same records to many observers: time of the core's thread,
//! memory, and bytes on the wire, per observer and message.
//!
//! `cargo bench -p farwatch-bench --bench links`; the observers are sockets that are read and
//! thrown away by a second thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farwatch_core::log::format::ClusterId;
use farwatch_core::record::{self, Chain};
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::zab::message::{Message, ToLearner};
use farwatch_core::zab::run::Position;
use farwatch_core::zxid::{ServerId, SessionId, Zxid};
use farwatch_observer::peers::handshake::{Attempt, Hello};
use farwatch_observer::peers::{PeerLimits, PeerOptions, Peers};
use farwatch_observer::runtime::{self, Signal};

const CLUSTER: ClusterId = ClusterId(1);

/// Between two messages, so that each is a batch of its own.
const PAUSE: Duration = Duration::from_millis(1);

/// The observers say nothing behind their hello, and are not to be missed for it.
const HOUR: Duration = Duration::from_secs(3600);

fn hello(number: u32, capabilities: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Hello {
        version_min: 1,
        version_max: 1,
        votes: false,
        cluster: CLUSTER,
        tentative: false,
        boot: 1,
        capabilities,
        me: ServerId(0x8000_0000 + number),
        you: ServerId(1),
        attempt: Attempt::default(),
    }
    .encode(&mut bytes);
    bytes
}

/// Connects so many observers, and reads whatever they are sent until it is told to end.
fn observers(
    at: SocketAddr,
    count: u32,
    capabilities: u64,
    over: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let connect = |number| {
            let mut stream = TcpStream::connect(at).expect("it listens");
            stream.write_all(&hello(number, capabilities)).expect("it reads");
            stream.set_nonblocking(true).expect("a socket");
            stream
        };
        let mut streams: Vec<TcpStream> = (0..count).map(connect).collect();
        let mut buffer = vec![0; 1 << 20];
        while !over.load(Ordering::Relaxed) {
            for stream in &mut streams {
                let _ = stream.read(&mut buffer);
            }
            std::thread::sleep(PAUSE);
        }
    })
}

/// Committed records of about 300 bytes, none like the other.
fn records(count: u64, from: u64) -> Arc<[u8]> {
    let (mut bytes, mut chain) = (Vec::new(), Chain(from as u32));
    for zxid in from..from + count {
        let mixed = zxid.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let path = format!("/services/svc-{:03}/instances/{:08x}", zxid % 120, mixed as u32 % 999);
        let json = format!(
            r#"{{"id":"{mixed:016x}","host":"10.1.{}.{}","port":8080,"status":"UP","since":{zxid}}}"#,
            mixed % 251,
            mixed % 241,
        );
        let data = Some(json.as_bytes());
        let txn = Txn::SetData { path: path.as_bytes(), data, version: (mixed % 400) as i32 };
        let session = SessionId(mixed);
        let head = TxnHead { zxid: Zxid(zxid), time_ms: zxid as i64 * 3, session, cxid: 1 };
        chain = record::append(&head, &txn, chain, &mut bytes);
    }
    bytes.into()
}

/// Nanoseconds that this thread has run.
fn ran() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|it| it.parse().ok()).expect("nanoseconds")
}

/// KiB of memory in use.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|it| it.starts_with("VmRSS")).expect("memory");
    line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("KiB")
}

async fn measure(name: &str, count: u32, capabilities: u64, per_message: u64, messages: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let wake = Signal::default();
    let peers = Peers::start(
        PeerOptions {
            me: ServerId(1),
            votes: true,
            cluster: CLUSTER,
            tentative: false,
            boot: 2,
            peers: Vec::new(),
            upstreams: Vec::new(),
            guests_max: count as usize,
            listeners: vec![listener],
            limits: PeerLimits {
                silence: HOUR,
                stall: HOUR,
                compressed_from: Duration::ZERO,
                ..PeerLimits::default()
            },
        },
        wake,
    )
    .expect("links");
    let over = Arc::new(AtomicBool::new(false));
    let thread = observers(at, count, capabilities, Arc::clone(&over));
    while peers.report().len() < count as usize {
        runtime::sleep(Duration::from_millis(10)).await;
    }
    let (memory, mut time, mut bytes) = (resident(), 0, 0);
    for sequence in 0..messages {
        let records = records(per_message, (5 << 32) + sequence * per_message);
        bytes += records.len();
        let begin = ran();
        for number in 0..count {
            let body = ToLearner::Inform { after: Position::default(), bytes: records.clone() };
            let message = Message::ToLearner { session: 7, sequence, body };
            peers.send(ServerId(0x8000_0000 + number), &message);
        }
        runtime::sleep(PAUSE).await;
        time += ran() - begin;
    }
    let sent: u64 = peers.report().iter().map(|peer| peer.bytes_out).sum();
    println!(
        "{name}: {count} observers, messages of {} bytes: {:.2} us, {:.2} of the bytes, {} KiB each",
        bytes as u64 / messages,
        time as f64 / 1000.0 / f64::from(count) / messages as f64,
        sent as f64 / bytes as f64 / f64::from(count),
        resident().saturating_sub(memory) / u64::from(count),
    );
    over.store(true, Ordering::Relaxed);
    thread.join().expect("a reader");
    peers.stop();
    peers.ended_within(Duration::from_secs(1)).await;
}

fn main() {
    // `cargo test --benches` and `cargo bench -- --test` only look whether it works.
    let has = |flag: &str| std::env::args().any(|it| it == flag);
    let messages = if has("--bench") && !has("--test") { 500 } else { 3 };
    runtime::block_on(true, |_| async move {
        for per_message in [1, 27] {
            measure("as frames", 100, 0, per_message, messages).await;
            measure("in blocks", 100, 2, per_message, messages).await;
        }
    })
    .expect("a runtime");
}
