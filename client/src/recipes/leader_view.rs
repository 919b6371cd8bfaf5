//! Who leads, followed: by a watch on the leader's node, and on the list only while nobody leads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::contender::line;
use super::election::Leader;
use super::follow::{self, Follow, Followed};
use super::place::child;
use super::{FencingToken, RecipeError};
use crate::client::{Client, Subscription, WeakClient};
use crate::error::ClientError;
use crate::operation::Operation;
use crate::outcome::Outcome;

/// Who leads, kept here and renewed when that changes: for those who lost, and for those who only want
/// to know. Each change wakes all who follow, once. While no server serves the session it keeps the
/// leader that it knows: [`LeaderView::is_current`].
pub struct LeaderView {
    client: Client,
    first: Arc<First>,
}

impl std::fmt::Debug for LeaderView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderView").field("leader", &self.leader()).finish_non_exhaustive()
    }
}

impl LeaderView {
    pub(super) fn open(client: &Client, path: &str) -> Self {
        let first = Arc::new(First {
            client: client.downgrade(),
            path: path.to_owned(),
            listening: Mutex::new(None),
            followed: Followed::new(client, None),
        });
        let subscription = First::listen(&first, client, path);
        first.followed.keep(subscription);
        follow::poke(&first);
        Self { client: client.clone(), first }
    }

    /// Who led when this was last told; `None` before the first read, and while nobody does. Does not
    /// block.
    pub fn leader(&self) -> Option<Leader> {
        (*self.first.followed.value()).clone()
    }

    /// Whether a server serves the session, so that a change is pushed. Does not block.
    pub fn is_current(&self) -> bool {
        self.client.is_connected()
    }

    /// Calls back with each new leader, on the client's reader thread: it must not block. What is known
    /// already is not told: set the callback first, then [`LeaderView::leader`].
    pub fn on_change(&self, mut callback: impl FnMut(Option<&Leader>) + Send + 'static) {
        self.first.followed.on_change(move |leader| callback(leader.as_ref()));
    }

    /// How many states were seen; 0 before the first. Does not block.
    pub fn revision(&self) -> u64 {
        self.first.followed.revision()
    }

    /// Waits for a state beyond that revision, and returns its revision: with 0 for the first. Blocks.
    pub fn wait_beyond(&self, revision: u64, deadline: Instant) -> Result<u64, RecipeError> {
        self.first.followed.wait_beyond(revision, deadline)
    }
}

impl Drop for LeaderView {
    fn drop(&mut self) {
        self.first.followed.end();
        drop(self.first.replace(None));
    }
}

struct First {
    client: WeakClient,
    path: String,
    /// To the node of the one that leads.
    listening: Mutex<Option<Subscription>>,
    followed: Followed<Option<Leader>>,
}

impl First {
    fn listen(first: &Arc<Self>, client: &Client, path: &str) -> Subscription {
        let weak = Arc::downgrade(first);
        client.on_node(path, move |_event| {
            if let Some(first) = weak.upgrade() {
                follow::poke(&first);
            }
        })
    }

    fn replace(&self, subscription: Option<Subscription>) -> Option<Subscription> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *listening, subscription)
    }

    /// The list is watched only where it is empty: else each candidate would wake all.
    fn list(self: Arc<Self>, watch: bool) {
        let list = Operation::GetChildren { path: self.path.clone(), watch };
        follow::ask(&self, &list, move |first, result| match result {
            Ok(Outcome::Children { names, .. }) => match line(names).into_iter().next() {
                Some(rival) => first.read(&rival.name),
                None if watch => follow::done(&first, Ok(None)),
                None => first.list(true),
            },
            Err(ClientError::Server(ErrorCode::NoNode)) => first.await_creation(),
            Ok(_) => follow::done(&first, Err(ClientError::BadReply)),
            Err(error) => follow::done(&first, Err(error)),
        });
    }

    fn read(self: Arc<Self>, name: &str) {
        let path = child(&self.path, name);
        let Some(client) = self.client.upgrade() else { return };
        drop(self.replace(Some(Self::listen(&self, &client, &path))));
        let read = Operation::GetData { path, watch: true };
        follow::ask(&self, &read, |first, result| match result {
            Ok(Outcome::Data { data, stat }) => {
                let (id, token) = (data.unwrap_or_default(), FencingToken(stat.czxid));
                follow::done(&first, Ok(Some(Leader { id, token })));
            }
            Err(ClientError::Server(ErrorCode::NoNode)) => first.look(),
            Ok(_) => follow::done(&first, Err(ClientError::BadReply)),
            Err(error) => follow::done(&first, Err(error)),
        });
    }

    fn await_creation(self: Arc<Self>) {
        let exists = Operation::Exists { path: self.path.clone(), watch: true };
        follow::ask(&self, &exists, |first, result| match result {
            Ok(_made_meanwhile) => first.look(),
            Err(ClientError::Server(ErrorCode::NoNode)) => follow::done(&first, Ok(None)),
            Err(error) => follow::done(&first, Err(error)),
        });
    }
}

impl Follow for First {
    type Value = Option<Leader>;

    fn followed(&self) -> &Followed<Self::Value> {
        &self.followed
    }

    fn look(self: Arc<Self>) {
        self.list(false);
    }
}
