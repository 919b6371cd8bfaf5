//! The children of a node with their data, followed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farwatch_core::wire::ErrorCode;

use super::FencingToken;
use super::follow::{self, Follow, Followed};
use super::group::Member;
use super::once;
use super::place::child;
use crate::client::{Client, Subscription, WeakClient};
use crate::error::ClientError;
use crate::event::NodeEventKind;
use crate::operation::Operation;
use crate::outcome::Outcome;

#[derive(Default)]
struct Known {
    members: BTreeMap<String, Member>,
    listening: BTreeMap<String, Subscription>,
    /// Whose data must be read again.
    stale: BTreeSet<String>,
    /// Reads of this look that have no answer yet.
    pending: usize,
    /// An answer of this look was lost.
    is_lost: bool,
    /// Why this look fails.
    error: Option<ClientError>,
}

pub(super) struct Roster {
    client: WeakClient,
    path: String,
    known: Mutex<Known>,
    followed: Followed<Vec<Member>>,
}

impl Roster {
    pub(super) fn new(client: &Client, path: &str) -> Arc<Self> {
        let roster = Arc::new(Self {
            client: client.downgrade(),
            path: path.to_owned(),
            known: Mutex::default(),
            followed: Followed::new(client, Vec::new()),
        });
        let weak = Arc::downgrade(&roster);
        roster.followed.keep(client.on_node(path, move |_event| {
            if let Some(roster) = weak.upgrade() {
                follow::poke(&roster);
            }
        }));
        roster
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) {
        self.followed.end();
        let listening = std::mem::take(&mut self.lock().listening);
        drop(listening);
    }

    fn child(&self, name: &str) -> String {
        child(&self.path, name)
    }

    /// There is nobody, nor the node itself.
    fn await_creation(self: Arc<Self>) {
        let exists = Operation::Exists { path: self.path.clone(), watch: true };
        follow::ask(&self, &exists, |roster, result| match result {
            Ok(_made_meanwhile) => roster.look(),
            Err(ClientError::Server(ErrorCode::NoNode)) => roster.list(Vec::new()),
            Err(error) => follow::done(&roster, Err(error)),
        });
    }

    /// Reads those of whom nothing is known, or not the latest.
    fn list(self: Arc<Self>, names: Vec<String>) {
        let names: BTreeSet<String> = names.into_iter().collect();
        let mut known = self.lock();
        known.members.retain(|name, _| names.contains(name));
        let gone: Vec<String> =
            known.listening.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let ended: Vec<_> = gone.iter().map(|name| known.listening.remove(name)).collect();
        let stale = std::mem::take(&mut known.stale);
        let unread: Vec<String> = names
            .into_iter()
            .filter(|name| stale.contains(name) || !known.members.contains_key(name))
            .collect();
        known.pending = unread.len();
        (known.is_lost, known.error) = (false, None);
        drop(known);
        drop(ended);
        if unread.is_empty() {
            return self.publish();
        }
        for name in unread {
            self.listen(&name);
            let read = Operation::GetData { path: self.child(&name), watch: true };
            let (roster, own) = (Arc::clone(&self), name.clone());
            let asked = follow::submit(&self, &read, move |result| roster.learn(own, result));
            if let Err(error) = asked {
                Arc::clone(&self).learn(name, Err(error));
            }
        }
    }

    fn listen(self: &Arc<Self>, name: &str) {
        let Some(client) = self.client.upgrade() else { return };
        if self.lock().listening.contains_key(name) {
            return;
        }
        let (weak, own) = (Arc::downgrade(self), name.to_owned());
        let subscription = client.on_node(&self.child(name), move |event| {
            let Some(roster) = weak.upgrade() else { return };
            roster.lock().stale.insert(own.clone());
            // That one is gone, or back, the watch on the list tells as well.
            if event.kind == NodeEventKind::NodeDataChanged {
                follow::poke(&roster);
            }
        });
        let replaced = self.lock().listening.insert(name.to_owned(), subscription);
        drop(replaced);
    }

    fn learn(self: Arc<Self>, name: String, result: Result<Outcome, ClientError>) {
        let mut known = self.lock();
        known.pending -= 1;
        match result {
            Ok(Outcome::Data { data, stat }) => {
                let (data, token) = (data.unwrap_or_default(), FencingToken(stat.czxid));
                let member = Member { name: name.clone(), data, token, mzxid: stat.mzxid };
                known.members.insert(name, member);
            }
            // It is gone, or not for us to see.
            Err(ClientError::Server(ErrorCode::NoNode | ErrorCode::NoAuth)) => {
                drop(known.members.remove(&name));
            }
            unread => {
                known.stale.insert(name);
                match unread {
                    Err(error) if follow::is_passing(&*self, &error) => known.is_lost = true,
                    Err(error) => known.error = Some(error),
                    Ok(_) => known.error = Some(ClientError::BadReply),
                }
            }
        }
        if 0 < known.pending {
            return;
        }
        let (is_lost, error) = (known.is_lost, known.error.take());
        drop(known);
        match error {
            Some(error) => follow::done(&self, Err(error)),
            None if is_lost => follow::look_again(self),
            None => self.publish(),
        }
    }

    fn publish(self: Arc<Self>) {
        let members = self.lock().members.values().cloned().collect();
        follow::done(&self, Ok(members));
    }
}

impl Follow for Roster {
    type Value = Vec<Member>;

    fn followed(&self) -> &Followed<Self::Value> {
        &self.followed
    }

    fn look(self: Arc<Self>) {
        let list = Operation::GetChildren { path: self.path.clone(), watch: true };
        follow::ask(&self, &list, |roster, result| match result {
            Ok(Outcome::Children { mut names, .. }) => {
                names.retain(|name| !once::is_receipt(name));
                roster.list(names);
            }
            Err(ClientError::Server(ErrorCode::NoNode)) => roster.await_creation(),
            Ok(_) => follow::done(&roster, Err(ClientError::BadReply)),
            Err(error) => follow::done(&roster, Err(error)),
        });
    }
}
