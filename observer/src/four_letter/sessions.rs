//! `dump`: sessions by expiry, ephemerals by session, connections by expiry.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::date::java_date;
use super::server::{JavaAddr, put};

/// Facts of `dump`.
#[derive(Clone, Debug, Default)]
pub struct DumpFacts {
    /// This server's own sessions by the moment of their expiry, milliseconds since 1970, where local
    /// sessions are on.
    pub local: Option<BTreeMap<i64, Vec<u64>>>,
    /// The global sessions, as this server knows them.
    pub sessions: SessionFacts,
    /// The paths of ephemerals by the session that owns them.
    pub ephemerals: BTreeMap<u64, Vec<String>>,
    /// Connections by the moment of their expiry, milliseconds since 1970: the client's address and
    /// its session, 0 before the handshake.
    pub connections: BTreeMap<i64, Vec<(SocketAddr, u64)>>,
}

/// The global sessions, as a server knows them.
#[derive(Clone, Debug)]
pub enum SessionFacts {
    /// A server that decides about expiry: its sessions by the moment of expiry, milliseconds since
    /// 1970. A moment may be without sessions.
    Tracked(BTreeMap<i64, Vec<u64>>),
    /// A server that learns: sessions with their timeout, milliseconds.
    Learned(BTreeMap<u64, u32>),
}

impl Default for SessionFacts {
    fn default() -> Self {
        Self::Tracked(BTreeMap::new())
    }
}

/// `dump`.
pub fn dump(facts: &DumpFacts) -> String {
    let mut text = String::from("SessionTracker dump:\n");
    if let Some(local) = &facts.local {
        text.push_str("Local ");
        tracked(local, &mut text);
    }
    match &facts.sessions {
        SessionFacts::Tracked(sessions) => {
            if facts.local.is_some() {
                text.push_str("Global ");
            }
            tracked(sessions, &mut text);
        }
        SessionFacts::Learned(global) => {
            put(&mut text, format_args!("Global Sessions({}):\n", global.len()));
            for (id, timeout_ms) in global {
                put(&mut text, format_args!("{id:#x}\t{timeout_ms}ms\n"));
            }
        }
    }
    text.push_str("ephemeral nodes dump:\n");
    put(&mut text, format_args!("Sessions with Ephemerals ({}):\n", facts.ephemerals.len()));
    for (id, paths) in &facts.ephemerals {
        put(&mut text, format_args!("{id:#x}:\n"));
        paths.iter().for_each(|path| put(&mut text, format_args!("\t{path}\n")));
    }
    text.push_str("Connections dump:\nConnections ");
    sets(&facts.connections, &mut text, |(peer, session)| {
        format!("ip: {} sessionId: {session:#x}", JavaAddr(*peer))
    });
    text
}

fn tracked(sessions: &BTreeMap<i64, Vec<u64>>, text: &mut String) {
    text.push_str("Session ");
    sets(sessions, text, |id| format!("{id:#x}"));
}

fn sets<T>(sets: &BTreeMap<i64, Vec<T>>, text: &mut String, show: impl Fn(&T) -> String) {
    let members: usize = sets.values().map(Vec::len).sum();
    put(text, format_args!("Sets ({})/({members}):\n", sets.len()));
    for (&expiry, members) in sets {
        put(text, format_args!("{} expire at {}:\n", members.len(), java_date(expiry)));
        members.iter().for_each(|member| put(text, format_args!("\t{}\n", show(member))));
    }
}
