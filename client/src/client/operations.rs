//! The blocking form of every operation.

use farwatch_core::acl::Identity;
use farwatch_core::wire::{ErrorCode, Stat};

use super::Client;
use crate::error::ClientError;
use crate::operation::{
    Acl, AddWatchMode, CreateMode, MultiOp, MultiResult, Operation, ReadOp, ReadResult, WatchKind,
};
use crate::outcome::Outcome;

/// A node that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its path, the counter of a sequential one included.
    pub path: String,
    /// Its metadata; `stat.czxid` is fit to be a fencing token.
    pub stat: Stat,
}

/// A node's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeData {
    /// The data. `None` is null, which is not the same as empty.
    pub data: Option<Vec<u8>>,
    /// The metadata of the same state.
    pub stat: Stat,
}

/// A node's access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAcl {
    /// The entries.
    pub acl: Vec<Acl>,
    /// The metadata of the same state; `stat.aversion` counts changes of the list.
    pub stat: Stat,
}

/// A node's children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    /// Their names, without the path, in the server's order.
    pub names: Vec<String>,
    /// The metadata of the same state.
    pub stat: Stat,
}

/// The answer has the kind that its operation has, because `Outcome::decode` chose it by the
/// operation. Anything else is a bug of this crate.
macro_rules! expect {
    ($outcome:expr, $pattern:pat => $value:expr) => {
        match $outcome? {
            $pattern => Ok($value),
            other => unreachable!("an answer of another operation: {other:?}"),
        }
    };
}

impl Client {
    /// Creates a node.
    pub fn create(
        &self,
        path: &str,
        data: &[u8],
        acl: &[Acl],
        mode: CreateMode,
    ) -> Result<Created, ClientError> {
        let (path, data, acl) = (path.to_owned(), Some(data.to_vec()), acl.to_vec());
        let outcome = self.call(&Operation::Create { path, data, acl, mode });
        expect!(outcome, Outcome::Created { path, stat } => Created { path, stat })
    }

    /// Deletes a node without children whose version is `version` (or any).
    pub fn delete(&self, path: &str, version: i32) -> Result<(), ClientError> {
        expect!(self.call(&Operation::Delete { path: path.to_owned(), version }), Outcome::Done => ())
    }

    /// The metadata of a node, or `None` if there is no such node. With `watch`, its creation,
    /// deletion or next change of data is told once.
    pub fn exists(&self, path: &str, watch: bool) -> Result<Option<Stat>, ClientError> {
        match self.call(&Operation::Exists { path: path.to_owned(), watch }) {
            Err(ClientError::Server(ErrorCode::NoNode)) => Ok(None),
            outcome => expect!(outcome, Outcome::Stat(stat) => Some(stat)),
        }
    }

    /// The data of a node. With `watch`, its deletion or next change of data is told once.
    pub fn get(&self, path: &str, watch: bool) -> Result<NodeData, ClientError> {
        let outcome = self.call(&Operation::GetData { path: path.to_owned(), watch });
        expect!(outcome, Outcome::Data { data, stat } => NodeData { data, stat })
    }

    /// Replaces the data of a node whose version is `version` (or any).
    pub fn set(&self, path: &str, data: &[u8], version: i32) -> Result<Stat, ClientError> {
        let (path, data) = (path.to_owned(), Some(data.to_vec()));
        let outcome = self.call(&Operation::SetData { path, data, version });
        expect!(outcome, Outcome::Stat(stat) => stat)
    }

    /// The children of a node. With `watch`, the next child that comes or goes, or the node's own
    /// deletion, is told once.
    pub fn children(&self, path: &str, watch: bool) -> Result<Children, ClientError> {
        let outcome = self.call(&Operation::GetChildren { path: path.to_owned(), watch });
        expect!(outcome, Outcome::Children { names, stat } => Children { names, stat })
    }

    /// The access control list of a node.
    pub fn get_acl(&self, path: &str) -> Result<NodeAcl, ClientError> {
        let outcome = self.call(&Operation::GetAcl { path: path.to_owned() });
        expect!(outcome, Outcome::Acl { acl, stat } => NodeAcl { acl, stat })
    }

    /// Replaces the access control list of a node whose `aversion` is `version` (or any).
    pub fn set_acl(&self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, ClientError> {
        let (path, acl) = (path.to_owned(), acl.to_vec());
        let outcome = self.call(&Operation::SetAcl { path, acl, version });
        expect!(outcome, Outcome::Stat(stat) => stat)
    }

    /// Waits until the connected server has caught up with the leader: a read behind it sees all
    /// that was committed before.
    pub fn sync(&self, path: &str) -> Result<(), ClientError> {
        expect!(self.call(&Operation::Sync { path: path.to_owned() }), Outcome::Done => ())
    }

    /// Applies all of `ops` or none of them.
    pub fn multi(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, ClientError> {
        match self.call(&Operation::Multi(ops))? {
            Outcome::Multi(results) => Ok(results),
            Outcome::MultiRefused { index, code } => Err(ClientError::MultiFailed { index, code }),
            other => unreachable!("an answer of another operation: {other:?}"),
        }
    }

    /// Several reads that see one state; each has its own result.
    pub fn multi_read(&self, ops: Vec<ReadOp>) -> Result<Vec<ReadResult>, ClientError> {
        expect!(self.call(&Operation::MultiRead(ops)), Outcome::MultiRead(results) => results)
    }

    /// Whether a node exists with this version (or any): a transaction of a single check.
    pub fn check(&self, path: &str, version: i32) -> Result<(), ClientError> {
        match self.multi(vec![MultiOp::Check { path: path.to_owned(), version }]) {
            Ok(_checked) => Ok(()),
            Err(ClientError::MultiFailed { code, .. }) => Err(ClientError::Server(code)),
            Err(error) => Err(error),
        }
    }

    /// The ephemeral nodes of this session whose paths begin with `prefix`.
    pub fn get_ephemerals(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let outcome = self.call(&Operation::GetEphemerals { prefix: prefix.to_owned() });
        expect!(outcome, Outcome::Ephemerals(paths) => paths)
    }

    /// How many nodes there are below a node, at any depth.
    pub fn all_children_number(&self, path: &str) -> Result<i32, ClientError> {
        let outcome = self.call(&Operation::GetAllChildrenNumber { path: path.to_owned() });
        expect!(outcome, Outcome::Count(count) => count)
    }

    /// Sets a watch that stays until it is removed or the session ends. It survives reconnects;
    /// events that fall between two connections are lost.
    pub fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<(), ClientError> {
        expect!(self.call(&Operation::AddWatch { path: path.to_owned(), mode }), Outcome::Done => ())
    }

    /// Removes watches; each kind that there was is told as an event.
    pub fn remove_watches(&self, path: &str, kind: WatchKind) -> Result<(), ClientError> {
        let outcome = self.call(&Operation::RemoveWatches { path: path.to_owned(), kind });
        expect!(outcome, Outcome::Done => ())
    }

    /// Whether the server keeps such a watch for this session.
    pub fn check_watches(&self, path: &str, kind: WatchKind) -> Result<bool, ClientError> {
        match self.call(&Operation::CheckWatches { path: path.to_owned(), kind }) {
            Err(ClientError::Server(ErrorCode::NoWatcher)) => Ok(false),
            outcome => expect!(outcome, Outcome::Done => true),
        }
    }

    /// Who the server takes this client for.
    pub fn whoami(&self) -> Result<Vec<Identity>, ClientError> {
        expect!(self.call(&Operation::WhoAmI), Outcome::Identities(identities) => identities)
    }

    /// Adds an identity, now and after every reconnect. A digest password is not verified here: a
    /// wrong one shows as `NoAuth` later.
    pub fn add_auth(&self, scheme: &str, auth: &[u8]) -> Result<(), ClientError> {
        let (scheme, auth) = (scheme.to_owned(), auth.to_vec());
        expect!(self.call(&Operation::AddAuth { scheme, auth }), Outcome::Done => ())
    }

    /// The ensemble's configuration; empty at a standalone ZooKeeper server.
    pub fn config(&self, watch: bool) -> Result<NodeData, ClientError> {
        let outcome = self.call(&Operation::GetConfig { watch });
        expect!(outcome, Outcome::Data { data, stat } => NodeData { data, stat })
    }

    /// Changes the ensemble's membership: either `members` as a whole, or `joining` and `leaving`.
    /// `version` is that of the expected configuration, or -1.
    pub fn reconfig(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        members: Option<&str>,
        version: i64,
    ) -> Result<NodeData, ClientError> {
        let [joining, leaving, members] = [joining, leaving, members].map(|s| s.map(str::to_owned));
        let outcome = self.call(&Operation::Reconfig { joining, leaving, members, version });
        expect!(outcome, Outcome::Data { data, stat } => NodeData { data, stat })
    }
}
