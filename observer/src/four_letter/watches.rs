//! `wchs`, `wchc`, `wchp` and `hash`: watches and the history of tree digests.

use std::collections::BTreeMap;

use farwatch_core::zxid::Zxid;

use super::server::put;

/// Facts of `wchs`: of data watches only, as ZooKeeper counts there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchSummary {
    /// Connections that watch something.
    pub connections: u64,
    /// Paths that somebody watches.
    pub paths: u64,
    /// Pairs of the two.
    pub watches: u64,
}

/// `wchs`.
pub fn wchs(facts: WatchSummary) -> String {
    let WatchSummary { connections, paths, watches } = facts;
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

/// `wchc`: watched paths by session.
pub fn wchc<P: AsRef<str>>(watches: &BTreeMap<u64, Vec<P>>) -> String {
    let mut text = String::new();
    for (session, paths) in watches {
        put(&mut text, format_args!("{session:#x}\n"));
        paths.iter().for_each(|path| put(&mut text, format_args!("\t{}\n", path.as_ref())));
    }
    text.push('\n');
    text
}

/// `wchp`: watching sessions by path.
pub fn wchp<P: AsRef<str> + Ord>(watches: &BTreeMap<P, Vec<u64>>) -> String {
    let mut text = String::new();
    for (path, sessions) in watches {
        put(&mut text, format_args!("{}\n", path.as_ref()));
        sessions.iter().for_each(|session| put(&mut text, format_args!("\t{session:#x}\n")));
    }
    text.push('\n');
    text
}

/// `hash`: tree digests, oldest first.
pub fn hash(digests: &[(Zxid, u64)]) -> String {
    digests.iter().map(|(zxid, digest)| format!("{:x}: {digest}\n", zxid.0)).collect()
}
