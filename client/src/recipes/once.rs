//! Transactions that are applied once, also when their answer is lost.
//!
//! Each creates an ephemeral receipt beside what it does. When an answer is lost, the receipt tells
//! whether the transaction was applied; else it is asked again.

use std::time::Instant;

use farwatch_core::wire::{ErrorCode, Stat};

use super::place::Place;
use super::protected::{self, unique_id};
use super::{FencingToken, RecipeError, persist, until};
use crate::error::ClientError;
use crate::operation::{CreateMode, MultiOp, MultiResult};

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

/// Applies `ops` once. `receipts` is where the receipt is made, and must exist: the part of a receipt
/// that cannot be made is the one behind `ops`.
pub(super) fn apply(
    receipts: &Place,
    ops: &[MultiOp],
    deadline: Instant,
) -> Result<Once, RecipeError> {
    let receipt = receipts.child(&format!("_r_{}", unique_id()));
    let applied = ask_until_known(receipts, &receipt, ops, deadline);
    if !matches!(applied, Ok(Once::Refused(..))) {
        protected::remove(&receipts.client.downgrade(), &receipt);
    }
    applied
}

fn ask_until_known(
    receipts: &Place,
    receipt: &str,
    ops: &[MultiOp],
    deadline: Instant,
) -> Result<Once, RecipeError> {
    let mut all = ops.to_vec();
    all.push(MultiOp::Create {
        path: receipt.to_owned(),
        data: Some(Vec::new()),
        acl: receipts.acl.clone(),
        mode: CreateMode::Ephemeral,
    });
    loop {
        match until(&receipts.client, deadline)?.multi(all.clone()) {
            Ok(results) => match results.last() {
                Some(MultiResult::Created { stat: Some(stat), .. }) => {
                    return Ok(Once::Applied(*stat));
                }
                _malformed => return Err(ClientError::BadReply.into()),
            },
            Err(ClientError::MultiFailed { index, code }) => return Ok(Once::Refused(index, code)),
            Err(ClientError::ConnectionLoss { maybe_applied: false }) => {}
            Err(ClientError::ConnectionLoss { maybe_applied: true }) => {
                let found = in_doubt(find(receipts, receipt, deadline))?;
                if let Some(stat) = found {
                    return Ok(Once::Applied(stat));
                }
            }
            Err(ClientError::Timeout { maybe_applied: false }) => {
                return Err(RecipeError::Deadline);
            }
            Err(error) => return Err(error.into()), // a timeout that may be applied says so
        }
    }
}

fn find(receipts: &Place, receipt: &str, deadline: Instant) -> Result<Option<Stat>, RecipeError> {
    persist(&receipts.client, deadline, |client| client.sync(receipt))?;
    persist(&receipts.client, deadline, |client| client.exists(receipt, false))
}

/// Without an answer in time it stays open whether the transaction was applied.
fn in_doubt<T>(found: Result<T, RecipeError>) -> Result<T, RecipeError> {
    found.map_err(|error| match error {
        RecipeError::Deadline => ClientError::Timeout { maybe_applied: true }.into(),
        error => error,
    })
}
