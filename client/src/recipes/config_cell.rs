//! A value that is pushed to all who follow it.

use std::sync::Arc;
use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::follow::{self, Follow, Followed};
use super::once::{self, Once};
use super::place::Place;
use super::{FencingToken, RecipeError};
use crate::client::Client;
use crate::error::ClientError;
use crate::operation::{ANY_VERSION, Acl, CreateMode, MultiOp, Operation};
use crate::outcome::Outcome;

/// What a configuration node held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// The data.
    pub data: Vec<u8>,
    /// The version of the data: what [`ConfigCell::set`] takes.
    pub version: i32,
    /// Grows with every change.
    pub token: FencingToken,
}

/// The data of a node, kept here and renewed when it changes. A change that is followed by another
/// may be skipped; the last one never is.
///
/// While no server serves the session the cell keeps its value, which may be old then:
/// [`ConfigCell::is_current`]. It goes on with the next server, and with the next session where the
/// client begins one.
pub struct ConfigCell {
    place: Place,
    cell: Arc<Cell>,
}

impl std::fmt::Debug for ConfigCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigCell").field("path", &self.place.path).finish_non_exhaustive()
    }
}

impl ConfigCell {
    /// Follows the node at `path` from now on. Does not block.
    pub fn open(client: &Client, path: &str) -> Self {
        let followed = Followed::new(client, None);
        let cell = Arc::new(Cell { path: path.to_owned(), followed });
        let weak = Arc::downgrade(&cell);
        cell.followed.keep(client.on_node(path, move |_event| {
            if let Some(cell) = weak.upgrade() {
                follow::poke(&cell);
            }
        }));
        follow::poke(&cell);
        Self { place: Place::new(client, path), cell }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// The value that was read last; `None` before the first read, and where there is no node. Does not
    /// block.
    pub fn get(&self) -> Option<ConfigValue> {
        (*self.cell.followed.value()).clone()
    }

    /// Whether a server serves the session, so that a change is pushed. Does not block.
    pub fn is_current(&self) -> bool {
        self.place.client.is_connected()
    }

    /// Calls back with each new value, on the client's reader thread: it must not block. What is known
    /// already is not told: set the callback first, then [`ConfigCell::get`].
    pub fn on_change(&self, mut callback: impl FnMut(Option<&ConfigValue>) + Send + 'static) {
        self.cell.followed.on_change(move |value| callback(value.as_ref()));
    }

    /// How many values were seen; 0 before the first. Does not block.
    pub fn revision(&self) -> u64 {
        self.cell.followed.revision()
    }

    /// Waits for a value beyond that revision, and returns its revision: with 0 for the first. Blocks.
    pub fn wait_beyond(&self, revision: u64, deadline: Instant) -> Result<u64, RecipeError> {
        self.cell.followed.wait_beyond(revision, deadline)
    }

    /// Sets the data, once, where the version is `version` or that is `None`; makes the node where it is
    /// missing. `Ok(None)`: another version is there. Blocks. Like all others, this cell sees the new
    /// value when it is told of it.
    pub fn set(
        &self,
        data: &[u8],
        version: Option<i32>,
        deadline: Instant,
    ) -> Result<Option<FencingToken>, RecipeError> {
        let (path, data) = (self.place.path.clone(), Some(data.to_vec()));
        let (acl, mode) = (self.place.acl.clone(), CreateMode::Persistent);
        let expected = version.unwrap_or(ANY_VERSION);
        let set = MultiOp::SetData { path: path.clone(), data: data.clone(), version: expected };
        let create = MultiOp::Create { path: path.clone(), data, acl, mode };
        loop {
            match once::apply(&self.place, std::slice::from_ref(&set), deadline)? {
                Once::Applied(stat) => return Ok(Some(Once::token(&stat))),
                Once::Refused(_, ErrorCode::BadVersion) => return Ok(None),
                Once::Refused(_, ErrorCode::NoNode) if version.is_some() => return Ok(None),
                Once::Refused(_, ErrorCode::NoNode) => {}
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
            match once::apply(&self.place, std::slice::from_ref(&create), deadline)? {
                Once::Applied(stat) => return Ok(Some(Once::token(&stat))),
                Once::Refused(_, ErrorCode::NodeExists) => {} // another one made it
                Once::Refused(_, ErrorCode::NoNode) => {
                    self.place.make_above(CreateMode::Persistent, deadline)?;
                }
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
        }
    }
}

impl Drop for ConfigCell {
    fn drop(&mut self) {
        self.cell.followed.end();
    }
}

struct Cell {
    path: String,
    followed: Followed<Option<ConfigValue>>,
}

impl Follow for Cell {
    type Value = Option<ConfigValue>;

    fn followed(&self) -> &Followed<Self::Value> {
        &self.followed
    }

    fn look(self: Arc<Self>) {
        let read = Operation::GetData { path: self.path.clone(), watch: true };
        follow::ask(&self, &read, |cell, result| match result {
            Ok(Outcome::Data { data, stat }) => {
                let (data, token) = (data.unwrap_or_default(), FencingToken(stat.mzxid));
                let value = ConfigValue { data, version: stat.version, token };
                follow::done(&cell, Ok(Some(value)));
            }
            Err(ClientError::Server(ErrorCode::NoNode)) => cell.await_creation(),
            Ok(_) => follow::done(&cell, Err(ClientError::BadReply)),
            Err(error) => follow::done(&cell, Err(error)),
        });
    }
}

impl Cell {
    fn await_creation(self: Arc<Self>) {
        let exists = Operation::Exists { path: self.path.clone(), watch: true };
        follow::ask(&self, &exists, |cell, result| match result {
            Ok(_made_meanwhile) => cell.look(),
            Err(ClientError::Server(ErrorCode::NoNode)) => follow::done(&cell, Ok(None)),
            Err(error) => follow::done(&cell, Err(error)),
        });
    }
}
