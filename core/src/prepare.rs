//! A write request becomes a transaction: decided once, by the leader, in request order.
//!
//! ```text
//! WriteRequest ─► decode ─✗─► Refused (nothing logged, no zxid)
//!                   │
//!                   ▼
//!        rules over committed state + outstanding changes ──► Txn, or Txn::Error(code)
//!                   │                        ▲                        │
//!                   └── its own changes ─────┘                        ▼
//!                       applied(upto) forgets them             one record of the log
//! ```
//!
//! A write sees everything decided before it, whether or not that was applied yet, so pipelined
//! writes behave as if each had waited for the one before. Every write that decodes takes exactly
//! the zxid it is given, in success and failure alike.
//!
//! Quotas are the one thing taken as committed: the limits and prefixes that count are those already
//! applied, while outstanding changes do count as usage. ZooKeeper does not count even these.

use std::sync::Arc;

use crate::acl::Identity;
use crate::answer::{Answer, PartKind};
use crate::auth::Grants;
use crate::limits::RECORD_BYTES_MAX;
use crate::record::{self, Chain};
use crate::session::SessionTable;
use crate::txn::{MultiTxn, Txn, TxnHead};
use crate::wire::handshake::Password;
use crate::wire::request::MultiRequest;
use crate::wire::{ErrorCode, OpCode, Request};
use crate::zxid::{SessionId, Zxid};

mod change;
mod overlay;
pub(crate) mod part;
mod quota;
mod state;
#[cfg(test)]
mod tests;

use change::{Decision, Scratch};
use overlay::Overlay;
use part::{Part, multi_part, single_mode};

pub use overlay::Changes;
pub use quota::{QuotaMeasure, QuotaWarning};
pub use state::{NodeFacts, State};

/// A write as its client sent it.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest<'a> {
    /// The session that asks.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The operation.
    pub op: OpCode,
    /// The frame behind the request header.
    pub body: &'a [u8],
    /// The connection's identities when the request was read.
    pub identities: &'a [Identity],
    /// Whether the session is the asking server's own. It lives, though no table has it, and can own
    /// no node.
    pub is_local: bool,
}

/// What an operator can set about writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `zookeeper.extendedTypesEnabled`: whether nodes may have a time to live.
    pub extended_types: bool,
    /// `enforceQuota`: whether hard quotas refuse writes.
    pub enforce_quota: bool,
    /// `zookeeper.skipACL`: whether everybody may do everything.
    pub skip_acl: bool,
    /// `reconfigEnabled`: whether reconfig is answered UNIMPLEMENTED instead of RECONFIGDISABLED.
    pub reconfig_enabled: bool,
}

/// What became of a write.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// A record was appended. This is how to answer when it is applied.
    Logged(Answer),
    /// Nothing was appended and the zxid is still free. Answer this at once.
    Refused(ErrorCode),
}

/// A change that the leader makes on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Internal<'a> {
    /// A session begins.
    CreateSession {
        /// Its new id.
        session: SessionId,
        /// Its negotiated timeout, milliseconds.
        timeout_ms: i32,
        /// Its random secret.
        password: Password,
    },
    /// A session's time is over.
    CloseSession(SessionId),
    /// The members of the ensemble, as clients see them, are these from now on.
    Configure {
        /// What `/zookeeper/config` holds.
        text: &'a [u8],
    },
    /// A container or a node with a time to live seemed to be over when the reaper looked.
    Reap {
        /// The node.
        path: &'a [u8],
        /// How long a container may wait for its first child, milliseconds; `None` is for ever.
        never_used_ms: Option<i64>,
    },
}

/// Where clients find the members of the ensemble. Source: ZooKeeper's `ZooDefs.CONFIG_NODE`.
pub const CONFIG_PATH: &[u8] = b"/zookeeper/config";

/// The leader's machine that decides writes. A new leader starts with a new one.
#[derive(Debug)]
pub struct Prepare {
    options: Options,
    overlay: Overlay,
    prepared: Zxid,
    warning: Option<QuotaWarning>,
    scratch: Scratch,
    parts: Vec<u8>,
}

impl Prepare {
    /// Nothing is outstanding. `hash_seed` should be random and is the only thing here that need not
    /// be the same on a replay.
    pub fn new(options: Options, hash_seed: u64) -> Self {
        Self {
            options,
            overlay: Overlay::new(hash_seed),
            prepared: Zxid::ZERO,
            warning: None,
            scratch: Scratch::default(),
            parts: Vec::new(),
        }
    }

    /// As new, where nothing of what was outstanding here will be applied as it was prepared; what was
    /// counted goes on.
    pub fn renewed(&self, hash_seed: u64) -> Self {
        let mut renewed = Self::new(self.options, hash_seed);
        let before = self.changes();
        renewed.overlay.changes = Changes { removed: before.queued, ..before };
        renewed
    }

    /// Decides `request` and appends its record, with this `zxid` and behind `chain`, to `out`.
    ///
    /// `state` and `sessions` are what was applied up to the last [`Prepare::applied`]. Panics when
    /// zxids do not rise.
    #[allow(clippy::too_many_arguments, reason = "the state, the request and its place in history")]
    pub fn prepare(
        &mut self,
        state: &impl State,
        sessions: &SessionTable,
        request: &WriteRequest<'_>,
        zxid: Zxid,
        time_ms: i64,
        chain: &mut Chain,
        out: &mut Vec<u8>,
    ) -> Prepared {
        self.warning = None;
        let Ok(decoded) = Request::decode(request.op, request.body) else {
            return Prepared::Refused(ErrorCode::MarshallingError);
        };
        let work = match Work::of(&decoded) {
            Ok(work) => work,
            Err(code) => return Prepared::Refused(code),
        };
        let &WriteRequest { session, cxid, identities, is_local, .. } = request;
        let head = self.head(zxid, time_ms, session, cxid);
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut parts = std::mem::take(&mut self.parts);
        parts.clear();
        let options = self.options;
        let mut decision = Decision {
            state,
            overlay: &mut self.overlay,
            sessions,
            options: &options,
            identities,
            grants: None,
            session,
            is_local,
            zxid,
            time_ms,
            warning: &mut self.warning,
        };
        let (txn, answer) = match work {
            Work::One(part) => {
                (decision.decide(&part, &mut scratch), Answer::for_request(&decoded))
            }
            Work::Multi(multi, kinds) => {
                decision.grants = Some(Grants::new(identities));
                decision.multi(multi, kinds.len(), &mut scratch, &mut parts);
                (Ok(Txn::Multi(MultiTxn { parts: &parts })), Answer::Multi(kinds))
            }
            Work::Reconfig => (Err(decision.reconfig()), Answer::HeaderOnly),
            Work::CloseSession => {
                let closed = decision.check_session();
                let closed = closed.map(|()| {
                    decision.close_session(session);
                    Txn::CloseSession
                });
                (closed, Answer::HeaderOnly)
            }
        };
        *chain = record::append(&head, &txn.unwrap_or_else(Txn::Error), *chain, out);
        self.prepared = zxid;
        self.overlay.count_write(zxid);
        self.scratch = scratch;
        self.parts = parts;
        Prepared::Logged(answer)
    }

    /// Decides a change of the leader's own and appends its record to `out`. Returns false, with
    /// nothing appended and the zxid still free, when the change is pointless by now: the session
    /// exists already, is closing or has the id of none, the node lives on.
    #[allow(clippy::too_many_arguments, reason = "the state, the request and its place in history")]
    pub fn prepare_internal(
        &mut self,
        state: &impl State,
        sessions: &SessionTable,
        change: Internal<'_>,
        zxid: Zxid,
        time_ms: i64,
        chain: &mut Chain,
        out: &mut Vec<u8>,
    ) -> bool {
        self.warning = None;
        let session = match change {
            Internal::CreateSession { session, .. } | Internal::CloseSession(session) => session,
            Internal::Reap { .. } | Internal::Configure { .. } => SessionId::NONE,
        };
        let head = self.head(zxid, time_ms, session, 0);
        let options = self.options;
        let mut decision = Decision {
            state,
            overlay: &mut self.overlay,
            sessions,
            options: &options,
            identities: &[],
            grants: None,
            session,
            is_local: false,
            zxid,
            time_ms,
            warning: &mut self.warning,
        };
        let lives = decision.check_session().is_ok();
        let begins = !lives && session != SessionId::NONE;
        let txn = match change {
            Internal::CreateSession { timeout_ms, password, .. } if begins => {
                decision.overlay.open_session(session, zxid);
                Txn::CreateSession { timeout_ms, password }
            }
            Internal::CloseSession(_) if lives => {
                decision.close_session(session);
                Txn::CloseSession
            }
            Internal::Reap { path, never_used_ms } if decision.reap(path, never_used_ms) => {
                Txn::Delete { path }
            }
            Internal::Configure { text } => {
                let Some(version) = decision.configure(text) else { return false };
                Txn::SetData { path: CONFIG_PATH, data: Some(text), version }
            }
            Internal::CreateSession { .. } | Internal::CloseSession(_) | Internal::Reap { .. } => {
                return false;
            }
        };
        *chain = record::append(&head, &txn, *chain, out);
        self.prepared = zxid;
        self.overlay.count_write(zxid);
        true
    }

    /// Everything up to `upto` is in the state and the session table now: what was outstanding of it
    /// is forgotten.
    pub fn applied(&mut self, upto: Zxid) {
        self.overlay.applied(upto);
    }

    /// Whether `session`, which is in the session table, has a close under way.
    pub fn is_closing(&self, session: SessionId) -> bool {
        !self.overlay.session_lives(session, true)
    }

    /// Whether the begin or the end of `session` is under way.
    pub fn is_changing(&self, session: SessionId) -> bool {
        self.overlay.session_lives(session, false) || !self.overlay.session_lives(session, true)
    }

    /// How many writes were prepared and not yet applied.
    pub fn outstanding(&self) -> usize {
        self.overlay.writes()
    }

    /// What was ever prepared of what operators count.
    pub fn changes(&self) -> Changes {
        self.overlay.changes
    }

    /// The soft quota that the last write passed, if it did. The write is not refused for it.
    pub fn quota_warning(&self) -> Option<&QuotaWarning> {
        self.warning.as_ref()
    }

    fn head(&self, zxid: Zxid, time_ms: i64, session: SessionId, cxid: i32) -> TxnHead {
        assert!(self.prepared < zxid, "history goes on with {zxid} behind {}", self.prepared);
        TxnHead { zxid, time_ms, session, cxid }
    }
}

/// A decoded request by what is to be done.
enum Work<'a> {
    One(Part<'a>),
    Multi(MultiRequest<'a>, Arc<[PartKind]>),
    Reconfig,
    CloseSession,
}

impl<'a> Work<'a> {
    /// The error refuses the request before it is part of the history.
    fn of(request: &Request<'a>) -> Result<Self, ErrorCode> {
        Ok(match *request {
            Request::Create(create)
            | Request::Create2(create)
            | Request::CreateContainer(create)
            | Request::CreateTtl(create) => {
                Self::One(Part::Create(create, single_mode(request.op(), &create)))
            }
            Request::Delete(delete) => Self::One(Part::Delete(delete)),
            Request::SetData(set) => Self::One(Part::SetData(set)),
            Request::SetAcl(set) => Self::One(Part::SetAcl(set)),
            Request::Multi(multi) => match Answer::for_request(request) {
                Answer::Multi(kinds) => Self::Multi(multi, kinds),
                Answer::HeaderOnly | Answer::Path | Answer::PathAndStat | Answer::Stat => {
                    return Err(ErrorCode::MarshallingError);
                }
            },
            Request::Reconfig(_) => Self::Reconfig,
            Request::CloseSession => Self::CloseSession,
            Request::Exists(_)
            | Request::GetData(_)
            | Request::GetAcl { .. }
            | Request::GetChildren(_)
            | Request::GetChildren2(_)
            | Request::Sync { .. }
            | Request::Ping
            | Request::Check(_)
            | Request::MultiRead(_)
            | Request::CheckWatches(_)
            | Request::RemoveWatches(_)
            | Request::Auth(_)
            | Request::SetWatches(_)
            | Request::SetWatches2(_)
            | Request::Sasl { .. }
            | Request::GetEphemerals { .. }
            | Request::GetAllChildrenNumber { .. }
            | Request::AddWatch(_)
            | Request::WhoAmI
            | Request::DeleteContainer { .. }
            | Request::CreateSession { .. } => return Err(ErrorCode::Unimplemented),
        })
    }
}

impl<S: State> Decision<'_, S> {
    /// Decides all `count` parts, or none: then each part's record says what became of it.
    fn multi(
        &mut self,
        multi: MultiRequest<'_>,
        count: usize,
        scratch: &mut Scratch,
        parts: &mut Vec<u8>,
    ) {
        let mark = self.overlay.begin();
        let mut decoded = multi.parts().map(|part| part.expect("decoded for its answer"));
        let failure = decoded.by_ref().enumerate().find_map(|(index, request)| {
            let (part, _) = multi_part(&request).expect("allowed for its answer");
            let decided = self.decide(&part, scratch).and_then(|txn| {
                record::push_part(&txn, parts);
                // Lists that `auth:` expanded are the only thing that grows beyond its request.
                if parts.len() > RECORD_BYTES_MAX { Err(ErrorCode::InvalidAcl) } else { Ok(()) }
            });
            decided.err().map(|code| (index, code))
        });
        let Some((failed, code)) = failure else {
            self.overlay.keep(mark);
            return;
        };
        self.overlay.roll_back(mark);
        *self.warning = None;
        parts.clear();
        for index in 0..count {
            let code = match index.cmp(&failed) {
                std::cmp::Ordering::Less => ErrorCode::Ok,
                std::cmp::Ordering::Equal => code,
                std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
            };
            record::push_part(&Txn::Error(code), parts);
        }
    }

    /// Membership does not change yet, alone or in an ensemble.
    fn reconfig(&self) -> ErrorCode {
        if !self.options.reconfig_enabled {
            return ErrorCode::ReconfigDisabled;
        }
        self.check_session().err().unwrap_or(ErrorCode::Unimplemented)
    }
}
