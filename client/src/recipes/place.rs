//! Where a recipe's nodes are, and with which rights they are made.

use std::time::Instant;

use super::{RecipeError, persist};
use crate::client::{Client, Created};
use crate::error::ClientError;
use crate::operation::{Acl, CreateMode};
use farwatch_core::wire::ErrorCode;

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) path: String,
    pub(super) acl: Vec<Acl>,
}

impl Place {
    pub(super) fn new(client: &Client, path: &str) -> Self {
        Self { client: client.clone(), path: path.to_owned(), acl: Acl::open() }
    }

    /// A path below.
    pub(super) fn child(&self, name: &str) -> String {
        child(&self.path, name)
    }

    /// Makes the place and what it stands in, which were found missing. Containers, which the servers
    /// remove once they are empty, so that nobody has to; persistent nodes where a server knows no
    /// containers.
    pub(super) fn make(&self, deadline: Instant) -> Result<(), RecipeError> {
        if self.path == "/" {
            return Err(no_node());
        }
        self.make_as(&self.path, CreateMode::Container, deadline)
    }

    /// The same for a path and a mode.
    pub(super) fn make_as(
        &self,
        path: &str,
        mode: CreateMode,
        deadline: Instant,
    ) -> Result<(), RecipeError> {
        if path == "/" || path.is_empty() {
            return Ok(());
        }
        let made = persist(&self.client, deadline, |client| create(client, path, &self.acl, mode));
        match made {
            Ok(_) | Err(RecipeError::Client(ClientError::Server(ErrorCode::NodeExists))) => Ok(()),
            Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => {
                self.make_as(above(path)?, mode, deadline)?;
                self.make_as(path, mode, deadline)
            }
            Err(RecipeError::Client(ClientError::Server(ErrorCode::Unimplemented)))
                if mode == CreateMode::Container =>
            {
                self.make_as(path, CreateMode::Persistent, deadline)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes what the place stands in, which was found missing.
    pub(super) fn make_above(
        &self,
        mode: CreateMode,
        deadline: Instant,
    ) -> Result<(), RecipeError> {
        self.make_as(above(&self.path)?, mode, deadline)
    }

    /// The names of the children; none where the place is missing.
    pub(super) fn names(&self, watch: bool, deadline: Instant) -> Result<Vec<String>, RecipeError> {
        let asked = persist(&self.client, deadline, |client| client.children(&self.path, watch));
        match asked {
            Ok(children) => Ok(children.names),
            Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// The path of a child.
pub(super) fn child(directory: &str, name: &str) -> String {
    if directory == "/" { format!("/{name}") } else { format!("{directory}/{name}") }
}

fn above(path: &str) -> Result<&str, RecipeError> {
    let parent = path.rfind('/').map_or("", |slash| &path[..slash]);
    // Without one it is the root that is missing: the chroot is not there.
    if parent.is_empty() { Err(no_node()) } else { Ok(parent) }
}

fn no_node() -> RecipeError {
    ClientError::Server(ErrorCode::NoNode).into()
}

fn create(
    client: &Client,
    path: &str,
    acl: &[Acl],
    mode: CreateMode,
) -> Result<Created, ClientError> {
    client.create(path, b"", acl, mode)
}
