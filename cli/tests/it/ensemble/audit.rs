//! The trees of all servers, read through each of them, and compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use farwatch_bench::raw::{Connection, Handshake, Stat, four_letter_word, request};

use super::servers::{Ensemble, PATIENCE, Server, until};

/// Requests sent before their replies are read.
const BATCH: usize = 128;

/// A node as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub data: Vec<u8>,
    pub stat: Stat,
}

impl Shown {
    pub fn text(&self) -> String {
        String::from_utf8(self.data.clone()).expect("text")
    }
}

/// Everything below the root, by path.
pub type Tree = BTreeMap<String, Shown>;

/// Reads everything behind a sync, through one server.
pub fn dump(server: SocketAddr) -> Tree {
    let (mut connection, session) =
        Connection::connect(server, &Handshake::default()).expect("a handshake");
    assert!(!session.is_expired());
    assert_eq!(connection.call(&request::sync("/")).expect("a reply").err, 0);
    let mut tree = Tree::new();
    let mut parents = vec!["/".to_owned()];
    while let Some(parent) = parents.pop() {
        let listed = connection.call(&request::get_children(&parent, false)).expect("a reply");
        let prefix = if parent == "/" { "" } else { &parent };
        let names = listed.names().expect("names");
        let paths: Vec<String> = names.iter().map(|name| format!("{prefix}/{name}")).collect();
        for batch in paths.chunks(BATCH) {
            for (xid, path) in (1..).zip(batch) {
                connection.send(xid, &request::get_data(path, false)).expect("sent");
            }
            for path in batch {
                let reply = connection.receive_reply().expect("a reply");
                assert_eq!(reply.err, 0, "{path} is listed and not there");
                let (data, stat) = reply.data_and_stat().expect("data");
                if stat.num_children > 0 {
                    parents.push(path.clone());
                }
                tree.insert(path.clone(), Shown { data: data.unwrap_or_default(), stat });
            }
        }
    }
    tree
}

/// The trees of all servers, which must be one: nobody writes meanwhile.
pub fn equal_trees(ensemble: &Ensemble) -> Tree {
    ensemble.until_all_serve();
    let servers: Vec<&Server> = ensemble.servers.iter().collect();
    equal_trees_of(&servers)
}

/// The trees of these servers, which must be one: all run, and nobody writes meanwhile.
pub fn equal_trees_of(servers: &[&Server]) -> Tree {
    let trees: Vec<Tree> = servers.iter().map(|server| dump(server.client)).collect();
    for (server, tree) in servers.iter().zip(&trees).skip(1) {
        let pair = format!("servers {} and {}", servers[0].number, server.number);
        for (path, shown) in tree {
            assert_eq!(trees[0].get(path), Some(shown), "{path} on {pair}");
        }
        assert_eq!(trees[0].len(), tree.len(), "{pair} differ");
    }
    equal_digests(servers);
    trees.into_iter().next().expect("there are servers")
}

/// The digests that servers keep of their trees, wherever two have one of the same transaction.
fn equal_digests(servers: &[&Server]) {
    until("all servers have applied the same", PATIENCE, || {
        let applied: Vec<_> =
            (servers.iter()).map(|server| server.report().map(|report| report.applied)).collect();
        applied.iter().all(|one| one.is_some() && *one == applied[0])
    });
    let mut known: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for server in servers {
        let text = four_letter_word(server.client, "hash").expect("an answer");
        for line in text.lines() {
            let (zxid, digest) = line.split_once(": ").expect("a zxid and a digest");
            let (before, whose) =
                known.entry(zxid.to_owned()).or_insert_with(|| (digest.to_owned(), server.number));
            let number = server.number;
            assert_eq!(*before, digest, "servers {whose} and {number} differ at {zxid}");
        }
    }
}
