//! Servers that do not vote, long ways to them, and when they are level with the voters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{ids, request};
use farwatch_cli::demo::wire::{Quality, Wire};

use crate::ensemble::audit::{Tree, equal_trees_of};
use crate::ensemble::client::Client;
use crate::ensemble::servers::{Ensemble, Layout, PATIENCE, Server, configure, until};
use crate::subject::Chance;

/// The ways that are tried: within a continent, and around the world.
pub const NEAR: Duration = Duration::from_millis(80);
pub const FAR: Duration = Duration::from_millis(300);

/// Sessions outlive every cut here.
pub const TIMEOUT_MS: i32 = 60_000;
const LINES: [&str; 1] = ["maxSessionTimeout=60000"];

/// Lines of every server, with `more`.
pub fn lines(more: &[&str]) -> Vec<String> {
    LINES.iter().chain(more).map(|&line| line.to_owned()).collect()
}

/// Three voters that serve, with these lines beside the usual.
pub fn voters(more: &[&str]) -> Ensemble {
    let mut ensemble = Ensemble::configured(3, &Layout { lines: lines(more), ..Layout::default() });
    ensemble.start_all();
    ensemble.until_all_serve();
    ensemble
}

/// Where observers reach the voters directly.
pub fn places(ensemble: &Ensemble) -> Vec<SocketAddr> {
    ensemble.servers.iter().map(|server| server.quorum).collect()
}

/// A long way to all voters, a little uneven.
pub fn wire(ensemble: &Ensemble, rtt: Duration, chance: &mut Chance) -> Wire {
    let quality = Quality { jitter: rtt / 20, seed: chance.next(), ..Quality::with_rtt(rtt) };
    Wire::start(&places(ensemble), quality).expect("a wire")
}

/// An observer that is in no list, with its files and no process yet.
pub fn guest(ensemble: &Ensemble, number: u32, upstreams: &[SocketAddr], more: &[&str]) -> Server {
    let server = ensemble.another(&format!("guest-{number}"), number);
    point_at(&server, upstreams, more);
    server
}

/// A site at the far end of a way: an observer, and one that learns from it. `/value` is there, and both
/// have it.
pub fn site(ensemble: &Ensemble, rtt: Duration, chance: &mut Chance) -> (Wire, [Server; 2]) {
    let way = wire(ensemble, rtt, chance);
    let mut first = guest(ensemble, 11, way.places(), &[]);
    let mut behind = guest(ensemble, 12, &[first.quorum], &[]);
    first.start();
    behind.start();
    create(&mut patient_client(ensemble.server(1)), "/value", b"first");
    for observer in [&first, &behind] {
        until_it_learns(observer);
        until_at(observer, committed(ensemble));
    }
    (way, [first, behind])
}

/// Writes whom a guest learns from into its configuration.
pub fn point_at(server: &Server, upstreams: &[SocketAddr], more: &[&str]) {
    let list: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
    let mut lines = lines(more);
    lines.push(format!("farwatch.observe={}", list.join(",")));
    lines.push(format!("farwatch.peerAddress={}", server.quorum));
    configure(server, &[], &lines);
}

/// Waits until an observer takes part.
#[track_caller]
pub fn until_it_learns(server: &Server) {
    let learns =
        || server.report().is_some_and(|it| it.role == "learning" && it.phase == "broadcast");
    until(&format!("observer {} learns", server.number), PATIENCE, learns);
}

/// What the leader has committed.
#[track_caller]
pub fn committed(ensemble: &Ensemble) -> u64 {
    let (leader, _) = ensemble.leader();
    let mut found = None;
    until("the leader says how far it is", PATIENCE, || {
        found = ensemble.server(leader).report().map(|report| report.committed);
        found.is_some()
    });
    found.expect("it was waited for")
}

/// Waits until a server has applied everything up to `zxid`; how long that took.
#[track_caller]
pub fn until_at(server: &Server, zxid: u64) -> Duration {
    let asked = Instant::now();
    until(&format!("server {} is at {zxid:#x}", server.number), PATIENCE, || {
        server.report().is_some_and(|report| zxid <= report.applied)
    });
    asked.elapsed()
}

/// The trees of the voters and of these observers, which must be one: nobody writes meanwhile.
#[track_caller]
pub fn equal_everywhere(ensemble: &Ensemble, observers: &[&Server]) -> Tree {
    ensemble.until_all_serve();
    observers.iter().for_each(|observer| until_it_learns(observer));
    let all: Vec<&Server> = ensemble.servers.iter().chain(observers.iter().copied()).collect();
    equal_trees_of(&all)
}

/// How often a server was sent a snapshot.
pub fn snapshots_taken_over(server: &Server) -> usize {
    server.log().matches("the state on disk is the leader's now").count()
}

/// A connected client of one server whose session outlives every cut.
pub fn patient_client(server: &Server) -> Client {
    let mut client = Client::new(vec![server.client], 0, TIMEOUT_MS).with_patience(PATIENCE);
    client.connect();
    client
}

/// Makes a node, which is not there.
#[track_caller]
pub fn create(client: &mut Client, path: &str, data: &[u8]) -> i64 {
    let made = client.must(&request::create(path, Some(data), &ids::open(), 0));
    assert_eq!(made.err, 0, "{path}");
    made.zxid
}

/// Writes to a node, which is there.
#[track_caller]
pub fn set(client: &mut Client, path: &str, data: &[u8]) -> i64 {
    let done = client.must(&request::set_data(path, Some(data), -1));
    assert_eq!(done.err, 0, "{path}");
    done.zxid
}

/// The text of a node as a server shows it now, if it does.
pub fn shown(client: &mut Client, path: &str) -> Option<String> {
    let reply = client.must(&request::get_data(path, false));
    if reply.err != 0 {
        return None;
    }
    let (data, _) = reply.data_and_stat().expect("data");
    Some(String::from_utf8(data.unwrap_or_default()).expect("text"))
}
