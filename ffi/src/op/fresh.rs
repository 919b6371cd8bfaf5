//! How fresh the answer of a read must be.

use std::time::Duration;

use farwatch_client::Freshness;

use super::{fw_op, lock};
use crate::error::fw_error;
use crate::guard::borrow;
use crate::status::fw_status;

/// Says how fresh the answer of a read must be, whichever way it is asked for: it shows the state of the
/// transaction `at_least` or a later one (0: any), as it was `at_most_ms` ago or later (0: all that was
/// acknowledged to anybody before the read was asked for, as with `FW_SYNC`; negative: whenever). The
/// server is made to catch up with the leader where it is not known to be that fresh, and only then.
/// Replaces what `FW_SYNC` said. `op` is of `fw_op_get`, `_exists`, `_children`, `_get_acl`,
/// `_ephemerals`, `_count_descendants`, or of `fw_op_multi` after reads were added. Any thread, never
/// blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT` (no such read).
///
/// A read that no server can answer so fails with `FW_TIMEOUT` or `FW_CONNECTION_LOSS` where no leader
/// can be asked, and with `FW_STALE` where the transaction is not known there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_op_fresh(
    op: *mut fw_op,
    at_least: i64,
    at_most_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let op = borrow(op.cast_const())?;
        let mut order = lock(&op);
        *order = order.clone().fresh(freshness(at_least, at_most_ms))?;
        Ok(())
    })
}

/// A freshness as C says it.
pub fn freshness(at_least: i64, at_most_ms: i64) -> Freshness {
    let at_most = u64::try_from(at_most_ms).ok().map(Duration::from_millis);
    Freshness { at_least: Some(at_least).filter(|zxid| 0 < *zxid), at_most }
}
