//! What clients of a server without a leader get at each moment is what its policy says: who stays
//! connected and for how long, how long writes wait, and how they fail. Source: the tables of
//! docs/observers.md, row by row.

use farwatch_core::node::OnPartition;
use farwatch_core::session::LocalSessions;
use farwatch_core::wire::ErrorCode;

use crate::reactor::Look;
use crate::service::Service;
use crate::witness::Witness;

/// Until a handshake is refused, and a server becomes one for readers, milliseconds: an election may be
/// over soon.
const PATIENCE_MS: i64 = 2_000;

/// Two looks of a server at what ends by time are 50 ms apart, and a tick; in a jump of its clock a tick is
/// twice as long.
const SPARE_MS: i64 = 70;

/// A server, by its own clock: what time it is, since when it has no leader, and how old it says its
/// state is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now_ms: i64,
    pub unled_since_ms: i64,
    pub stale_ms: i64,
}

/// A server without a leader has this connection.
pub fn without_leader(
    witness: &mut Witness,
    server: usize,
    service: &Service,
    moment: Moment,
    look: &Look,
) {
    let Moment { now_ms, unled_since_ms, stale_ms } = moment;
    let noticed = unled_since_ms + SPARE_MS < now_ms;
    let beyond = |limit: i64| limit + SPARE_MS < stale_ms && noticed;
    let max = service.stale_ms_max;
    let served = look.served_since_ms.is_some_and(|since| since + SPARE_MS < now_ms);
    let wrong = match service.on_partition {
        OnPartition::Disconnect if served && noticed => Some("it serves nobody"),
        OnPartition::Bounded if served && beyond(max.unwrap_or(look.timeout_ms.into())) => {
            Some("its session must find a server with a leader")
        }
        OnPartition::ReadOnly if served && !look.reads_only && beyond(PATIENCE_MS) => {
            Some("only readers are served")
        }
        OnPartition::Serve | OnPartition::ReadOnly if served && max.is_some_and(beyond) => {
            Some("it is too stale for maxStaleness")
        }
        _other => None,
    };
    let wrong = wrong.or_else(|| {
        let waits = look.waits_since_ms.is_some_and(|since| since + SPARE_MS < now_ms);
        let over = look.waits_since_ms.is_some_and(|it| it + service.wait_ms + SPARE_MS < now_ms);
        // One that comes back behind what its session asked before waits as long as that may.
        let keeps = service.local_sessions != LocalSessions::Off;
        let patience_ms = if keeps { PATIENCE_MS.max(service.wait_ms) } else { PATIENCE_MS };
        let opened = |since: i64| since + patience_ms + SPARE_MS < now_ms;
        let opens = look.session.is_none() && look.opened_ms.is_some_and(opened);
        let serves = service.on_partition == OnPartition::Serve;
        let waits = (serves && waits && beyond(service.wait_ms)) || (over && noticed && !serves);
        let waits = waits || (opens && beyond(patience_ms));
        waits.then_some("what it asked has waited for too long")
    });
    if let Some(wrong) = wrong {
        let text = format!("server {server}, {service:?}, {moment:?}, has {look:?}: {wrong}");
        witness.violate("cut_as_documented", text);
    }
}

/// A server with a leader has this connection.
pub fn with_leader(witness: &mut Witness, server: usize, look: &Look) {
    if look.reads_only && look.session.is_some() {
        let text = format!("server {server} has a leader, and a reader's connection: {look:?}");
        witness.violate("cut_as_documented", text);
    }
}

/// A server tells a client that nobody knows what becomes of what it asked; `None` is with a leader.
pub fn told_open(witness: &mut Witness, server: usize, service: &Service, moment: Option<Moment>) {
    let may = service.on_partition == OnPartition::Serve
        && moment.is_some_and(|moment| service.wait_ms < moment.stale_ms);
    if !may {
        let text = format!("server {server}, {service:?}, gives up a write at {moment:?}");
        witness.violate("cut_as_documented", text);
    }
}

/// A server that serves on hangs up on a client that counts on its connection.
pub fn hung_up(witness: &mut Witness, server: usize, service: &Service, stale_ms: i64) {
    let may = service.stale_ms_max.is_some_and(|max| max < stale_ms);
    if service.on_partition == OnPartition::Serve && !may {
        let text = format!("server {server}, {service:?}, {stale_ms} ms stale, ends a connection");
        witness.violate("cut_as_documented", text);
    }
}

/// A server gives a session for reading only.
pub fn gives_reader(
    witness: &mut Witness,
    server: usize,
    service: &Service,
    moment: Option<Moment>,
    takes: bool,
) {
    let fresh_enough = |moment: &Moment| {
        // It looked at its clock before it was asked here.
        service.stale_ms_max.is_none_or(|max| moment.stale_ms <= max + SPARE_MS)
    };
    let may = takes
        && moment.is_some_and(|moment| match service.on_partition {
            OnPartition::ReadOnly => PATIENCE_MS < moment.stale_ms,
            OnPartition::Serve => fresh_enough(&moment),
            OnPartition::Bounded | OnPartition::Disconnect => false,
        });
    if !may {
        let text = format!("server {server}, {service:?}, takes a reader at {moment:?}: {takes}");
        witness.violate("cut_as_documented", text);
    }
}

/// A client is answered so where it may write, and no disk was ever full.
pub fn refused(witness: &mut Witness, server: usize, err: ErrorCode, reads_only: bool) {
    if err == ErrorCode::NotReadOnly && !reads_only && !witness.disks_filled {
        let text = format!("server {server} refuses what a client that may write asks");
        witness.violate("cut_as_documented", text);
    }
}
