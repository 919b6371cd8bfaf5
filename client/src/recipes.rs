//! What applications build from a coordination service, each on top of a [`Client`].
//!
//! ```text
//!  Lock  ReadWriteLock  Semaphore  LeaderLatch  LeaderSelector
//!    └────────┴────────────┴───────────┴──────────┘
//!               contender: a node in line, which watches only the one before it
//!                      └── tenure: does the session that it depends on live?
//! ```
//!
//! **Threads.** Every type here may be shared between threads. What takes a `deadline` blocks, at
//! most until then, and fails with [`ClientError::InsideCallback`] inside any callback of the client.
//! What takes none does not block and may be called from anywhere, callbacks included. Callbacks run
//! on the client's reader thread: while one runs, the session neither reads nor pings.
//!
//! **Stopped.** What blocks on one thread is ended from another one by a [`Stop`](crate::Stop), as at its
//! deadline.
//!
//! **Suspended.** While no server serves the session, a handle is [`Standing::Suspended`]: it may be
//! held still, or not. Stop, or act only while [`Tenure::check`] agrees: it looks at the lease, which
//! ends before the servers can have ended the session.
//!
//! **Lost.** When the session has expired or somebody deleted the handle's node, it is
//! [`Standing::Lost`], which is told once and is final, also where the client begins a new session.
//!
//! **A create whose answer was lost.** Nodes carry a random id in their names. After a reconnect
//! the id is looked for, so that a node is neither forgotten nor made twice.
//!
//! **Fencing.** A lease depends on clocks that run; a [`FencingToken`] does not: pass it with each
//! use of what is guarded, where a [`Fence`] refuses whoever was overtaken.

//!
//! `docs/recipes.md` has an example of each.

use std::time::{Duration, Instant};

use farwatch_core::wire::ErrorCode;
use thiserror::Error;

use crate::client::{Client, is_stopped};
use crate::error::ClientError;

mod barrier;
mod config_cell;
mod contender;
mod counter;
mod election;
mod fence;
mod follow;
mod group;
mod leader_view;
mod lock;
mod once;
mod place;
mod protected;
mod queue;
mod read_write_lock;
mod roster;
mod semaphore;
mod signal;
mod snowflake;
mod tasks;
mod tenure;
mod worker_id;

pub use barrier::{Barrier, DoubleBarrier, Inside};
pub use config_cell::{ConfigCell, ConfigValue};
pub use counter::{Count, Counter};
pub use election::{Candidate, Election, Leader, LeaderLatch, LeaderSelector, Leadership};
pub use fence::{Fence, FencingToken, StaleToken};
pub use group::{Group, GroupView, Member, Membership, ServiceDirectory, ServiceView};
pub use leader_view::LeaderView;
pub use lock::{Lock, LockGuard};
pub use queue::{Item, Queue};
pub use read_write_lock::ReadWriteLock;
pub use semaphore::{Permit, Semaphore};
pub use snowflake::{SNOWFLAKE_EPOCH_MS, SNOWFLAKE_WORKERS, Snowflake, SnowflakeOptions};
pub use tasks::{Assignment, Inbox, TaskBoard, Worker};
pub use tenure::{Standing, Tenure};
pub use worker_id::{WorkerId, WorkerIds};

/// Why a recipe did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecipeError {
    /// The deadline passed. Nothing is left behind: what may have been made is being removed.
    #[error("the deadline passed; wait longer, or see who holds what is waited for")]
    Deadline,
    /// The session expired, or somebody deleted the node: what was held is not held any more.
    #[error("it is lost: its session has expired or its node was deleted; begin anew")]
    Lost,
    /// The lease has run out and no server has confirmed the session since.
    #[error("no server has confirmed the session in time: it may have been lost; stop for now")]
    LeaseOver,
    /// Another one has it, and had it still at the deadline.
    #[error("{path} is taken by another session: choose another name, or wait until that ends")]
    Taken {
        /// The node that the other one has.
        path: String,
    },
    /// A node that the recipe shares with others holds what it cannot read.
    #[error("the data of {path} is not this recipe's: use another path, or remove the node")]
    BadData {
        /// The node.
        path: String,
    },
    /// A number would leave its range: a counter, which is left as it is, or the time in an id.
    #[error("the number would leave its range, and is left as it is")]
    Overflow,
    /// All numbers are taken.
    #[error("all numbers are taken: raise the bound, or wait until a session ends")]
    NoneFree,
    /// The clock shows a time before one for which ids may have been made.
    #[error("the clock is {by_ms} ms behind the ids that were made: wait, or set it right")]
    ClockBehind {
        /// By how much, milliseconds.
        by_ms: u64,
    },
    /// Not at this moment: try again, or wait with the blocking form.
    #[error("not at this moment: try again")]
    Busy,
    /// The client could not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// When so much has passed, and at the deadline at the latest.
fn bounded(patience: Duration, deadline: Instant) -> Instant {
    Instant::now().checked_add(patience).map_or(deadline, |until| until.min(deadline))
}

/// The client with no more patience than is left.
fn until(client: &Client, deadline: Instant) -> Result<Client, RecipeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let is_over = left.is_zero() || is_stopped();
    if is_over { Err(RecipeError::Deadline) } else { Ok(client.with_request_timeout(left)) }
}

/// Asks until there is an answer: for what may be asked twice.
fn persist<T>(
    client: &Client,
    deadline: Instant,
    mut ask: impl FnMut(&Client) -> Result<T, ClientError>,
) -> Result<T, RecipeError> {
    loop {
        match ask(&until(client, deadline)?) {
            // The next one waits for a server; one that has lost its leader answers by itself.
            Err(
                ClientError::ConnectionLoss { .. } | ClientError::Server(ErrorCode::ThrottledOp),
            ) => pause(client, deadline),
            Err(ClientError::Timeout { .. }) => return Err(RecipeError::Deadline),
            answer => return answer.map_err(RecipeError::from),
        }
    }
}

/// The same for a change: where it may have been made, or may still be, the error says so.
fn persist_change<T>(
    client: &Client,
    deadline: Instant,
    mut ask: impl FnMut(&Client) -> Result<T, ClientError>,
) -> Result<T, RecipeError> {
    let mut is_in_doubt = false;
    let asked = persist(client, deadline, |client| {
        let asked = ask(client);
        is_in_doubt |= matches!(
            asked,
            Err(ClientError::ConnectionLoss { maybe_applied: true }
                | ClientError::Timeout { maybe_applied: true })
        );
        asked
    });
    match asked {
        // An answer is about all that this session has asked for before.
        Ok(_) | Err(RecipeError::Client(ClientError::Server(_))) => asked,
        Err(error) if is_in_doubt => Err(once::in_doubt(error)),
        Err(_) => asked,
    }
}

/// Where a server is there and cannot do what was asked, it is not asked again at once.
fn pause(client: &Client, deadline: Instant) {
    if client.is_connected() {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()).min(PAUSE));
    }
}

/// Between two attempts at a server that is there. Short against the second or so that an election takes.
const PAUSE: Duration = Duration::from_millis(20);

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/recipes.md")]
struct Guide;
