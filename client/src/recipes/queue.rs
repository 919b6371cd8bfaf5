//! First in, first out.

use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::contender::line;
use super::once::{self, Once};
use super::place::Place;
use super::signal::look_until;
use super::{FencingToken, Lock, RecipeError, persist};
use crate::client::Client;
use crate::error::ClientError;
use crate::operation::{ANY_VERSION, Acl, CreateMode, MultiOp};

/// A queue at a path. Each item is put once and taken once, also when answers are lost; one whose taker
/// dies with it is not given to another. For hundreds of items, not for a million: who takes reads the
/// list.
#[derive(Clone, Debug)]
pub struct Queue {
    items: Place,
    receipts: Place,
    /// Of those that wait for an item, one looks; else each item would wake all.
    waiting: Lock,
}

/// What was taken from a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// As it was put.
    pub data: Vec<u8>,
    /// Grows from item to item.
    pub token: FencingToken,
}

impl Queue {
    /// The queue at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        let at = |name: &str| Place::new(client, &Place::new(client, path).child(name));
        let waiting = Lock::new(client, &at("takers").path);
        Self { items: at("items"), receipts: at("receipts"), waiting }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.items.acl.clone_from(&acl);
        self.receipts.acl.clone_from(&acl);
        self.waiting = self.waiting.with_acl(acl);
        self
    }

    fn make(&self, deadline: Instant) -> Result<(), RecipeError> {
        for place in [&self.items, &self.receipts] {
            place.make_as(&place.path, CreateMode::Persistent, deadline)?;
        }
        Ok(())
    }

    /// Puts an item behind all others. Blocks for the request. An error of which
    /// [`ClientError::Timeout`] says that it may have been applied leaves open whether it was put.
    pub fn put(&self, data: &[u8], deadline: Instant) -> Result<FencingToken, RecipeError> {
        let put = [MultiOp::Create {
            path: self.items.child("item-"),
            data: Some(data.to_vec()),
            acl: self.items.acl.clone(),
            mode: CreateMode::PersistentSequential,
        }];
        loop {
            match once::apply(&self.receipts, &put, deadline)? {
                Once::Applied(stat) => return Ok(Once::token(&stat)),
                Once::Refused(_, ErrorCode::NoNode) => self.make(deadline)?,
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
        }
    }

    /// Takes the first item if there is one. Blocks for the requests that this takes.
    pub fn try_take(&self, deadline: Instant) -> Result<Option<Item>, RecipeError> {
        self.take_first(self.items.names(false, deadline)?, deadline)
    }

    fn take_first(
        &self,
        names: Vec<String>,
        deadline: Instant,
    ) -> Result<Option<Item>, RecipeError> {
        for item in line(names) {
            let path = self.items.child(&item.name);
            let node =
                match persist(&self.items.client, deadline, |client| client.get(&path, false)) {
                    Ok(node) => node,
                    Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => continue,
                    Err(error) => return Err(error),
                };
            let delete = MultiOp::Delete { path, version: ANY_VERSION };
            match once::apply(&self.receipts, &[delete], deadline)? {
                Once::Applied(_) => {
                    let token = FencingToken(node.stat.czxid);
                    return Ok(Some(Item { data: node.data.unwrap_or_default(), token }));
                }
                Once::Refused(0, ErrorCode::NoNode) => {} // another one has it
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
        }
        Ok(None)
    }

    /// Waits for an item and takes it. Blocks. Those that wait are served in order; an item wakes one.
    pub fn take(&self, deadline: Instant) -> Result<Item, RecipeError> {
        if let Some(item) = self.try_take(deadline)? {
            return Ok(item);
        }
        let _turn = self.waiting.acquire(deadline)?;
        self.make(deadline)?;
        look_until(&self.items.client, &[&self.items.path], deadline, || {
            self.take_first(self.items.names(true, deadline)?, deadline)
        })
    }
}
