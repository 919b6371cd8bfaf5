//! A session that no record began is its server's alone: it goes on nowhere else, ends only for its
//! silence, by its server's clock, or when its client ends it, and does end then. Whoever is told that it
//! is over can rely on it. Source: ZooKeeper's local sessions (ZOOKEEPER-1147), docs/guarantees.md.

use farwatch_core::session::LocalSessions;
use farwatch_core::wire::ErrorCode;
use farwatch_core::zxid::SessionId;

use crate::service::Service;
use crate::witness::Witness;

/// What is known of a session that began without a record.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Its server, and which life of it.
    place: (usize, u64),
    timeout_ms: i32,
    /// When its server last gave it to a connection, by that server's clock.
    attached_ms: i64,
    /// It is for reading only and ends with its connection.
    guest: bool,
    over: bool,
}

/// Milliseconds beyond a session's time at which it is gone: what a reactor may hold back, the step
/// between two looks, a tick.
const SPARE_MS: i64 = 400;

/// A server, in this life of it, gives the session to a connection.
pub fn attached(
    witness: &mut Witness,
    place: (usize, u64),
    service: &Service,
    (session, timeout_ms): (SessionId, i32),
    (reads_only, now_ms): (bool, i64),
) {
    if witness.model.sessions.contains_key(&session) {
        return;
    }
    let own = service.local_sessions != LocalSessions::Off;
    let wrong = match witness.locals.get(&session) {
        None if !own && !reads_only => Some("no record began it"),
        Some(known) if known.place != place => Some("it is another server's alone"),
        Some(known) if known.over => Some("it is over"),
        Some(known) if known.guest => Some("it ended with its connection"),
        None | Some(_) => None,
    };
    if let Some(wrong) = wrong {
        let text = format!("server {} goes on with {session}: {wrong}", place.0);
        return witness.violate("local_sessions_stay", text);
    }
    let guest = reads_only && !witness.locals.contains_key(&session);
    let local = Local { place, timeout_ms, attached_ms: now_ms, guest, over: false };
    witness.locals.insert(session, local);
}

/// A server, in this life of it, ends a session without a record, when its client was last heard at
/// `heard_ms`; or on the client's word.
pub fn ended(
    witness: &mut Witness,
    place: (usize, u64),
    session: SessionId,
    (now_ms, heard_ms): (i64, i64),
    asked: bool,
) {
    // A record may have made it everybody's, which its server has not applied: it ends here all the
    // same.
    if witness.model.sessions.get(&session).is_some_and(|lease| lease.ended.is_some()) {
        return;
    }
    let Some(local) = witness.locals.get_mut(&session) else { return };
    local.over = true;
    let (silent_ms, timeout_ms) = (now_ms - heard_ms.max(local.attached_ms), local.timeout_ms);
    if !asked && silent_ms < i64::from(timeout_ms) && local.place == place {
        let text =
            format!("server {} ends {session}, silent for {silent_ms} of {timeout_ms}", place.0);
        witness.violate("local_sessions_stay", text);
    }
}

/// Whether a session of this server, in this life of it, was silent for its time by that one's clock,
/// when its client was last heard at `heard_ms`.
pub fn was_silent(
    witness: &Witness,
    place: (usize, u64),
    session: SessionId,
    (now_ms, heard_ms): (i64, i64),
) -> bool {
    witness.locals.get(&session).is_some_and(|local| {
        let silent_ms = now_ms - heard_ms.max(local.attached_ms);
        local.place == place && i64::from(local.timeout_ms) <= silent_ms
    })
}

/// A server has sessions of its own, due then by its clock.
pub fn watched(
    witness: &mut Witness,
    server: usize,
    due: impl Iterator<Item = (SessionId, i64)>,
    now_ms: i64,
) {
    for (session, due_ms) in due {
        if due_ms + SPARE_MS < now_ms {
            let text = format!("server {server} keeps {session}, due at {due_ms}, at {now_ms}");
            return witness.violate("local_sessions_stay", text);
        }
    }
}

/// Whether a session that no record began may be told to be over, by this server in this life.
pub fn is_over(witness: &Witness, place: (usize, u64), session: SessionId) -> bool {
    let began = witness.model.sessions.contains_key(&session);
    let lives = |local: &Local| local.place == place && !local.over && !local.guest;
    !began && witness.locals.get(&session).is_some_and(|local| !lives(local))
}

/// Whether the session began at another server without a record.
pub fn moved(witness: &Witness, server: usize, session: SessionId) -> bool {
    witness.locals.get(&session).is_some_and(|local| local.place.0 != server)
}

/// Whether the session is for reading only and is nobody's but its connection's.
pub fn is_guest(witness: &Witness, session: SessionId) -> bool {
    witness.locals.get(&session).is_some_and(|local| local.guest)
}

/// A client of a server is answered so.
pub fn answered(witness: &mut Witness, server: usize, service: &Service, err: ErrorCode) {
    if err == ErrorCode::EphemeralOnLocalSession && service.local_sessions != LocalSessions::On {
        let text = format!("server {server} refuses an ephemeral node, and would make it global");
        witness.violate("local_sessions_stay", text);
    }
}
