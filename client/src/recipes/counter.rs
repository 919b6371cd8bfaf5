//! A number that many count.

use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::once::{self, Once};
use super::place::Place;
use super::{FencingToken, RecipeError, persist};
use crate::client::Client;
use crate::error::ClientError;
use crate::operation::{Acl, CreateMode, MultiOp};

/// A counter at a path: decimal digits in the data of a node, which is there from the first change
/// on. kazoo's `Counter` counts in the same node.
///
/// Each change is made once, also when its answer is lost.
#[derive(Clone, Debug)]
pub struct Counter {
    place: Place,
}

/// A value that the counter had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The value.
    pub value: i64,
    /// Grows with every change of the counter.
    pub token: FencingToken,
}

impl Counter {
    /// The counter at `path`. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self { place: Place::new(client, path) }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// The value, and the version of the node that has it. `None` without a node.
    fn read(&self, deadline: Instant) -> Result<Option<(Count, i32)>, RecipeError> {
        let (client, path) = (&self.place.client, &self.place.path);
        let node = match persist(client, deadline, |client| client.get(path, false)) {
            Ok(node) => node,
            Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = node.data.as_deref().unwrap_or_default();
        let value = match str::from_utf8(text).map(str::trim) {
            Ok("") => 0,
            Ok(digits) => {
                digits.parse().map_err(|_| RecipeError::BadData { path: path.clone() })?
            }
            Err(_) => return Err(RecipeError::BadData { path: path.clone() }),
        };
        let token = FencingToken(node.stat.mzxid);
        Ok(Some((Count { value, token }, node.stat.version)))
    }

    /// The value as the connected server has it; 0 without a node. Blocks.
    pub fn get(&self, deadline: Instant) -> Result<Count, RecipeError> {
        let none = Count { value: 0, token: FencingToken(0) };
        Ok(self.read(deadline)?.map_or(none, |(count, _version)| count))
    }

    /// Adds `delta`, which may be negative, and returns what it makes. Repeats itself when others were
    /// faster. Blocks.
    pub fn add(&self, delta: i64, deadline: Instant) -> Result<Count, RecipeError> {
        let add = |value: i64| value.checked_add(delta).map(Some).ok_or(RecipeError::Overflow);
        let count = self.change(add, deadline)?;
        Ok(count.expect("it always changes"))
    }

    /// Sets the counter to `new` if it is `expected`; `None` if it is not. Blocks.
    pub fn compare_and_set(
        &self,
        expected: i64,
        new: i64,
        deadline: Instant,
    ) -> Result<Option<Count>, RecipeError> {
        self.change(|value| Ok((value == expected).then_some(new)), deadline)
    }

    fn change(
        &self,
        next: impl Fn(i64) -> Result<Option<i64>, RecipeError>,
        deadline: Instant,
    ) -> Result<Option<Count>, RecipeError> {
        loop {
            let Some((count, version)) = self.read(deadline)? else {
                // A node that is made twice is made once.
                self.place.make_as(&self.place.path, CreateMode::Persistent, deadline)?;
                continue;
            };
            let Some(value) = next(count.value)? else {
                // A server may be behind, and its value an old one.
                let (client, path) = (&self.place.client, &self.place.path);
                persist(client, deadline, |client| client.sync(path))?;
                match self.read(deadline)? {
                    Some((_, now)) if now == version => return Ok(None),
                    Some(_) | None => continue,
                }
            };
            let (path, data) = (self.place.path.clone(), Some(value.to_string().into_bytes()));
            let set = MultiOp::SetData { path, data, version };
            match once::apply(&self.place, &[set], deadline)? {
                Once::Applied(stat) => {
                    return Ok(Some(Count { value, token: Once::token(&stat) }));
                }
                // Others were faster; or it was deleted.
                Once::Refused(_, ErrorCode::BadVersion | ErrorCode::NoNode) => {}
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
        }
    }
}
