//! How old what a read shows may be, where its server is not the leader.
//!
//! A server that is behind answers from what it has. What makes its answer fresh is a `sync` before it:
//! then it shows everything that was acknowledged, to anybody, before the sync was sent. So the client
//! remembers when it sent the last sync on this connection that was answered, and sends another one
//! where that is too long ago.

use std::time::{Duration, Instant};

use super::Client;
use crate::error::ClientError;
use crate::operation::Operation;
use crate::outcome::Outcome;

/// What a read may show at the oldest. `Freshness::default()` is whatever the server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The state of this transaction or a later one: `mzxid` or `czxid` of something that another
    /// client has seen.
    pub at_least: Option<i64>,
    /// A state of so long ago or later, by this machine's clock that never goes back. Zero: what was
    /// acknowledged before the read was asked for.
    pub at_most: Option<Duration>,
}

/// The last sync that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Synced {
    /// On which connection, counted.
    link: u64,
    /// When it was sent.
    sent: Instant,
}

impl Operation {
    /// Whether it shows a state and changes none.
    fn is_read(&self) -> bool {
        matches!(
            self,
            Self::GetData { .. }
                | Self::Exists { .. }
                | Self::GetChildren { .. }
                | Self::GetAcl { .. }
                | Self::MultiRead { .. }
        )
    }
}

impl Client {
    /// The same session, whose blocking reads show nothing older than that. A read that cannot be
    /// answered so fails: with [`ClientError::Timeout`] or [`ClientError::ConnectionLoss`] where no
    /// leader can be asked, with [`ClientError::Stale`] where the transaction is not known there.
    pub fn with_freshness(&self, freshness: Freshness) -> Self {
        Self { freshness, ..self.clone() }
    }

    /// Asks for `operation` and waits for the result, as fresh as it must be.
    pub(super) fn call_fresh(&self, operation: &Operation) -> Result<Outcome, ClientError> {
        if self.freshness == Freshness::default() || !operation.is_read() {
            return self.call_once(operation);
        }
        let asked = Instant::now();
        // The sync and the read share the time that one of them would have.
        let left = || {
            let left = self.request_timeout.saturating_sub(asked.elapsed());
            if left.is_zero() {
                Err(ClientError::Timeout { maybe_applied: false })
            } else {
                Ok(left)
            }
        };
        loop {
            let link = self.with_request_timeout(left()?).make_fresh(asked)?;
            let outcome = self.with_request_timeout(left()?).call_once(operation)?;
            // The sync was this connection's, and another server may be behind.
            if self.handle.shared.lock().links == link {
                return Ok(outcome);
            }
        }
    }

    /// Syncs if that is needed for a read that was asked for at `asked`. The connection that is fresh now.
    fn make_fresh(&self, asked: Instant) -> Result<u64, ClientError> {
        let oldest = |age: Duration| asked.checked_sub(age).unwrap_or(asked);
        let (link, seen, synced) = {
            let state = self.handle.shared.lock();
            let seen = state.machine.session().map_or(0, |session| session.last_zxid);
            (state.links, seen, state.synced)
        };
        let Freshness { at_least, at_most } = self.freshness;
        let is_late_enough = at_least.is_none_or(|zxid| zxid <= seen);
        let synced = synced.filter(|synced| synced.link == link).map(|synced| synced.sent);
        let is_young_enough =
            at_most.is_none_or(|age| synced.is_some_and(|sent| oldest(age) <= sent));
        if is_late_enough && is_young_enough {
            return Ok(link);
        }
        let sent = Instant::now();
        self.call_once(&Operation::Sync { path: "/".to_owned() })?;
        let mut state = self.handle.shared.lock();
        let seen = state.machine.session().map_or(0, |session| session.last_zxid);
        if let Some(wanted) = at_least.filter(|wanted| seen < *wanted) {
            return Err(ClientError::Stale { wanted, seen });
        }
        if state.links == link {
            state.synced = Some(Synced { link, sent });
        }
        Ok(link)
    }
}
