//! Whoever applied the same history has the same tree, digest for digest; in the end node for node, and
//! as the plain model has it. Source: promise 5 of this project.

use farwatch_core::tree::Tree;
use farwatch_core::zab::run::Position;
use farwatch_core::zxid::SessionId;
use std::sync::Arc;

use super::ephemerals_live_with_sessions;
use crate::model::{Shown, value_of};
use crate::witness::Witness;

/// `server` has applied everything up to `at`.
pub fn check(witness: &mut Witness, server: usize, at: Position, digest: u64) {
    let &mut (first, known) =
        witness.digests.entry((at.zxid, at.chain.0)).or_insert((server, digest));
    if known != digest {
        let text = format!(
            "server {server} has digest {digest:#x} at {}, server {first} {known:#x}",
            at.zxid
        );
        witness.violate("digests_equal", text);
    }
}

/// `server` has applied all that there is.
pub fn check_end(witness: &mut Witness, server: usize, tree: &Arc<Tree>) {
    let mut nodes = Vec::new();
    tree.reader().view().walk(&mut |image| {
        let built_in = image.path == b"/" || image.path.starts_with(b"/zookeeper");
        if !built_in {
            nodes.push(image.path.to_vec());
        }
    });
    nodes.sort_unstable();
    let reader = tree.reader();
    let view = reader.view();
    let shown: Vec<(Vec<u8>, Shown)> = nodes
        .into_iter()
        .map(|path| {
            let node = view.get(&path).expect("it was walked over");
            let (value, stat) = (value_of(node.data()), node.stat());
            let owner = SessionId(stat.ephemeral_owner as u64);
            (path, Shown { value, version: stat.version, owner })
        })
        .collect();
    for (path, node) in &shown {
        ephemerals_live_with_sessions::check_owner(witness, server, path, node.owner);
    }
    let due: Vec<(Vec<u8>, Shown)> =
        witness.model.nodes().map(|(path, node)| (path.to_vec(), node)).collect();
    if shown != due {
        let wrong = shown.iter().zip(&due).find(|(shown, due)| shown != due);
        let text =
            format!("server {server} has {} nodes, due {}: {wrong:?}", shown.len(), due.len());
        witness.violate("digests_equal", text);
    }
}
