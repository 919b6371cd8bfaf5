//! What the application asks for, and what it no longer waits for.
//!
//! A context that is of no more use goes back to the caller, who drops it: what it owns may be code of
//! the application, which must not run while the machine is locked.

use farwatch_core::wire::request::RequestHeader;

use super::{
    Abandoned, IN_FLIGHT_REQUESTS_MAX, Machine, OUTGOING_BYTES_MAX, Phase, QUEUED_REQUESTS_MAX,
    Queued, RequestId,
};
use crate::error::ClientError;
use crate::operation::{Operation, Prepared, changes_state};
use crate::watch_set::Effect;

/// A request that was not taken: nothing was sent, and nothing will come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<C> {
    /// Why.
    pub error: ClientError,
    /// What was given to `submit`.
    pub context: C,
}

impl<C> Machine<C> {
    /// Command: asks for `operation`. An error means that nothing was sent; it has `context`.
    pub fn submit(
        &mut self,
        now_ms: u64,
        operation: &Operation,
        context: C,
    ) -> Result<RequestId, Refused<C>> {
        self.submit_at_least(now_ms, operation, 0, context)
    }

    /// Command: as [`Machine::submit`], of a read whose answer fails with [`ClientError::Stale`] when
    /// it shows a state before the transaction `at_least`.
    pub fn submit_at_least(
        &mut self,
        now_ms: u64,
        operation: &Operation,
        at_least: i64,
        context: C,
    ) -> Result<RequestId, Refused<C>> {
        let prepared = self.prepare(operation, at_least).and_then(|prepared| {
            self.refuse_too_many(operation)?;
            Ok(prepared)
        });
        match prepared {
            Ok(prepared) => Ok(self.accept(now_ms, operation, prepared, context)),
            Err(error) => Err(Refused { error, context }),
        }
    }

    /// Command: as [`Machine::submit`], and is never [`ClientError::Overloaded`]: for the few requests
    /// by which what was held is given back, or watched. That others ask for too much must not keep
    /// it from those who wait for it.
    pub fn submit_beyond_limits(
        &mut self,
        now_ms: u64,
        operation: &Operation,
        context: C,
    ) -> Result<RequestId, Refused<C>> {
        match self.prepare(operation, 0) {
            Ok(prepared) => Ok(self.accept(now_ms, operation, prepared, context)),
            Err(error) => Err(Refused { error, context }),
        }
    }

    /// Command: removes a watch, whose events are of no more interest. It is not set again with a later
    /// connection, also where the answer is lost; without a connection nobody has it.
    pub fn forget_watch(&mut self, now_ms: u64, remove: &Operation, context: C) {
        let Ok(prepared) = self.prepare(remove, 0) else { return };
        if let Effect::Disarm(kind, path) = &prepared.effect {
            self.watches.disarm(*kind, path);
            // Nor by the answer to what set it, which may come before the one to this.
            for sent in &mut self.in_flight {
                if matches!(&sent.effect, Effect::Arm(table, at) if table.is_of(*kind) && at == path)
                {
                    sent.effect = Effect::None;
                }
            }
        }
        if self.is_connected() {
            self.accept(now_ms, remove, prepared, context);
        }
    }

    fn prepare(&self, operation: &Operation, at_least: i64) -> Result<Prepared, ClientError> {
        if let Phase::Over(reason) = &self.phase {
            return Err(reason.clone());
        }
        if self.closing {
            return Err(ClientError::Closed);
        }
        let prepared = Prepared { at_least, ..operation.prepare(&self.settings.chroot)? };
        let bytes = RequestHeader::BYTES + prepared.body.len();
        if self.settings.frame_bytes_max < bytes {
            let bytes_max = self.settings.frame_bytes_max;
            return Err(ClientError::TooLarge { bytes, bytes_max });
        }
        Ok(prepared)
    }

    fn refuse_too_many(&self, operation: &Operation) -> Result<(), ClientError> {
        let (requests, waiting) = (self.in_flight.len(), self.outgoing.len());
        let queued = if matches!(operation, Operation::AddAuth { .. }) {
            return Ok(());
        } else if self.is_connected() {
            let is_full = IN_FLIGHT_REQUESTS_MAX <= requests || OUTGOING_BYTES_MAX <= waiting;
            is_full.then_some(requests)
        } else {
            let queued = self.queued.len();
            (QUEUED_REQUESTS_MAX <= queued).then_some(queued)
        };
        queued.map_or(Ok(()), |queued| Err(ClientError::Overloaded { queued }))
    }

    fn accept(
        &mut self,
        now_ms: u64,
        operation: &Operation,
        prepared: Prepared,
        context: C,
    ) -> RequestId {
        let id = self.next_id;
        self.next_id += 1;
        if let Operation::AddAuth { scheme, auth } = operation {
            self.add_credential(now_ms, id, scheme, auth, context);
        } else if self.is_connected() {
            self.send(now_ms, id, prepared, Some(context));
        } else {
            self.queued.push_back(Queued { id, prepared, context });
        }
        RequestId(id)
    }

    /// Command: the caller no longer waits for `request`. Its context comes back, unless it has been
    /// given back already.
    pub fn abandon(&mut self, request: RequestId) -> (Abandoned, Option<C>) {
        if let Some(place) = self.queued.iter().position(|queued| queued.id == request.0) {
            let queued = self.queued.remove(place);
            return (Abandoned::Unsent, queued.map(|queued| queued.context));
        }
        if let Some(sent) = self.in_flight.iter_mut().find(|sent| sent.id == request.0) {
            let maybe_applied = changes_state(sent.op);
            return (Abandoned::Sent { maybe_applied }, sent.context.take());
        }
        let credential = self.credentials.iter_mut().find(|credential| credential.id == request.0);
        match credential.and_then(|credential| credential.waiting.take()) {
            Some(context) => (Abandoned::Sent { maybe_applied: true }, Some(context)),
            None => (Abandoned::Completed, None),
        }
    }
}
