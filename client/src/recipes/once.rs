//! Transactions that are applied once, also when their answer is lost.
//!
//! Each creates an ephemeral receipt beside what it does. When an answer is lost, the receipt tells
//! whether the transaction was applied; else it is asked again. Its czxid is that of all that the
//! transaction has made, which tells them from what others, or other handles of this session, made at the
//! same paths.

use std::time::Instant;

use farwatch_core::wire::{ErrorCode, Stat};
use farwatch_core::zxid::SessionId;

use super::place::Place;
use super::protected::{self, exists, unique_id};
use super::{FencingToken, RecipeError, pause, persist, until};
use crate::client::WeakClient;
use crate::error::ClientError;
use crate::operation::{ANY_VERSION, Acl, CreateMode, MultiOp, MultiResult, Operation};
use crate::outcome::Outcome;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Once {
    /// It was applied, as the transaction that this stat of its receipt names.
    Applied(Stat),
    /// It was refused as a whole, because of this part.
    Refused(usize, ErrorCode),
}

impl Once {
    pub(super) fn token(stat: &Stat) -> FencingToken {
        FencingToken(stat.czxid)
    }
}

/// What the names of receipts begin with.
const PREFIX: &str = "_r_";

/// Whether this is the name of a receipt. Groups have theirs among their members.
pub(super) fn is_receipt(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(protected::is_unique_id)
}

/// Applies `ops` once. `receipts` is where the receipt is made, and must exist: the part of a receipt
/// that cannot be made is the one behind `ops`.
pub(super) fn apply(
    receipts: &Place,
    ops: &[MultiOp],
    deadline: Instant,
) -> Result<Once, RecipeError> {
    let mut receipt = Receipt::new(receipts);
    let applied = receipt.ask_until_known(ops, deadline);
    if receipt.may_be_there {
        protected::remove(&receipts.client.downgrade(), &receipt.path);
    }
    applied.map_err(|error| if receipt.may_be_there { in_doubt(error) } else { error })
}

/// Makes an ephemeral node once. On an error it is not there, or is being removed: that of this
/// transaction, which the receipt names, and no other one at the same path.
pub(super) fn claim(
    receipts: &Place,
    path: &str,
    data: &[u8],
    acl: &[Acl],
    deadline: Instant,
) -> Result<Once, RecipeError> {
    let create = MultiOp::Create {
        path: path.to_owned(),
        data: Some(data.to_vec()),
        acl: acl.to_vec(),
        mode: CreateMode::Ephemeral,
    };
    let mut receipt = Receipt::new(receipts);
    let applied = receipt.ask_until_known(&[create], deadline);
    if receipt.may_be_there {
        let client = receipts.client.downgrade();
        match applied {
            Ok(_) => protected::remove(&client, &receipt.path),
            Err(_) => take_back(&client, &receipt.path, path),
        }
    }
    // Nothing stays in doubt for the caller.
    applied.map_err(|error| match error {
        RecipeError::Client(ClientError::Timeout { .. }) => RecipeError::Deadline,
        error => error,
    })
}

struct Receipt<'p> {
    receipts: &'p Place,
    path: String,
    may_be_there: bool,
}

impl<'p> Receipt<'p> {
    fn new(receipts: &'p Place) -> Self {
        let path = receipts.child(&format!("{PREFIX}{}", unique_id()));
        Self { receipts, path, may_be_there: false }
    }

    fn ask_until_known(&mut self, ops: &[MultiOp], deadline: Instant) -> Result<Once, RecipeError> {
        let mut all = ops.to_vec();
        all.push(MultiOp::Create {
            path: self.path.clone(),
            data: Some(Vec::new()),
            acl: self.receipts.acl.clone(),
            mode: CreateMode::Ephemeral,
        });
        loop {
            let session = self.session(deadline)?;
            match until(&self.receipts.client, deadline)?.multi(all.clone()) {
                Ok(results) => {
                    self.may_be_there = true;
                    return match results.last() {
                        Some(MultiResult::Created { stat: Some(stat), .. }) => {
                            Ok(Once::Applied(*stat))
                        }
                        _malformed => Err(ClientError::BadReply.into()),
                    };
                }
                Err(ClientError::MultiFailed { index, code }) => {
                    return Ok(Once::Refused(index, code));
                }
                Err(
                    ClientError::ConnectionLoss { maybe_applied: false }
                    | ClientError::Server(ErrorCode::ThrottledOp),
                ) => pause(&self.receipts.client, deadline),
                Err(ClientError::ConnectionLoss { maybe_applied: true }) => {
                    self.may_be_there = true;
                    if let Some(stat) = self.find(session, deadline)? {
                        return Ok(Once::Applied(stat));
                    }
                    self.may_be_there = false;
                }
                Err(ClientError::Timeout { maybe_applied: false }) => {
                    return Err(RecipeError::Deadline);
                }
                Err(error) => {
                    let unknown = ClientError::Timeout { maybe_applied: true };
                    self.may_be_there = error == unknown || error == ClientError::BadReply;
                    return Err(error.into()); // a timeout that may be applied says so
                }
            }
        }
    }

    /// The session that a receipt is going to be of.
    fn session(&self, deadline: Instant) -> Result<SessionId, RecipeError> {
        let client = &self.receipts.client;
        client.refuse_inside_callback()?;
        loop {
            if let Some(session) = client.session() {
                return Ok(session.id);
            }
            match client.wait_connected(deadline.saturating_duration_since(Instant::now())) {
                Err(ClientError::Timeout { .. }) => return Err(RecipeError::Deadline),
                connected => connected?,
            }
        }
    }

    /// What an older connection of that session asked for has been done by now, or never will be.
    /// Where another session has taken its place, that there is no receipt says nothing.
    fn find(&self, session: SessionId, deadline: Instant) -> Result<Option<Stat>, RecipeError> {
        let client = &self.receipts.client;
        protected::settle(client, None, &self.path, deadline)?;
        let found = persist(client, deadline, |client| client.exists(&self.path, false))?;
        if found.is_none() && self.session(deadline)? != session {
            return Err(ClientError::SessionExpired.into());
        }
        Ok(found)
    }
}

/// Removes an ephemeral node in the background, if it is that of the transaction of this receipt, and the
/// receipt. Goes on over reconnects, until both are gone or the session is, which takes them with it.
fn take_back(client: &WeakClient, receipt: &str, path: &str) {
    // Behind this, what an older connection asked for has been done or never will be.
    step(client, receipt, path, &protected::refused(receipt), |client, receipt, path, result| {
        if !protected::is_refused(&result) {
            return;
        }
        step(client, receipt, path, &exists(receipt), |client, receipt, path, result| {
            // Without a receipt nothing was done.
            let Ok(Outcome::Stat(made)) = result else { return };
            step(client, receipt, path, &exists(path), move |client, receipt, path, result| {
                match result {
                    Ok(Outcome::Stat(found)) if found.czxid == made.czxid => {
                        delete_both(client, receipt, path);
                    }
                    Ok(_) | Err(_) => protected::remove(client, receipt),
                }
            });
        });
    });
}

fn delete_both(client: &WeakClient, receipt: &str, path: &str) {
    let delete = |path: &str| MultiOp::Delete { path: path.to_owned(), version: ANY_VERSION };
    let both = Operation::Multi(vec![delete(path), delete(receipt)]);
    step(client, receipt, path, &both, |client, receipt, _path, result| {
        if !matches!(result, Ok(Outcome::Multi(_))) {
            protected::remove(client, receipt); // somebody else has removed the node
        }
    });
}

/// One request of [`take_back`], which begins anew where its answer is lost or a server refuses it for now.
fn step(
    client: &WeakClient,
    receipt: &str,
    path: &str,
    operation: &Operation,
    then: impl FnOnce(&WeakClient, &str, &str, Result<Outcome, ClientError>) + Send + 'static,
) {
    let own = || (receipt.to_owned(), path.to_owned());
    let (again, (receipt, path)) = (own(), own());
    protected::ask(
        client,
        operation,
        move |client| take_back(client, &again.0, &again.1),
        move |client, result| then(client, &receipt, &path, result),
    );
}

/// It stays open whether a transaction was applied, whatever kept us from finding out.
pub(super) fn in_doubt(error: RecipeError) -> RecipeError {
    match error {
        RecipeError::Deadline => ClientError::Timeout { maybe_applied: true }.into(),
        // These say so.
        RecipeError::Client(
            ClientError::Timeout { .. } | ClientError::BadReply | ClientError::Panicked,
        ) => error,
        _other => ClientError::ConnectionLoss { maybe_applied: true }.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use farwatch_core::wire::OpCode;

    use super::*;
    use crate::client::{Client, Options};
    use crate::stub;

    #[test]
    fn that_another_session_has_no_receipt_says_nothing() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let options = Options::default().transport(stub::server(move |op| {
            noted.lock().expect("nobody panics with it").push(op);
            ErrorCode::NoNode
        }));
        let client = Client::open("stub:1", options).unwrap();
        let place = Place::new(&client, "/");
        let receipt = Receipt::new(&place);
        let deadline = Instant::now() + Duration::from_secs(60);
        let session = receipt.session(deadline).unwrap();
        assert_eq!(receipt.find(session, deadline), Ok(None));
        // By what it has written is a session known to have moved.
        let asked = asked.lock().expect("nobody panics with it").clone();
        assert_eq!(asked, [OpCode::Delete, OpCode::Exists]);
        let former = SessionId(session.0 ^ 1);
        let lost = Err(ClientError::SessionExpired.into());
        assert_eq!(receipt.find(former, deadline), lost);
    }

    #[test]
    fn whatever_keeps_one_from_finding_out_is_a_doubt() {
        for error in [ClientError::SessionExpired, ClientError::Overloaded { queued: 1 }] {
            let loss = ClientError::ConnectionLoss { maybe_applied: true };
            assert_eq!(in_doubt(error.into()), loss.into());
        }
        let late = ClientError::Timeout { maybe_applied: true };
        assert_eq!(in_doubt(RecipeError::Deadline), late.into());
    }
}
