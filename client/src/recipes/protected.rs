//! Nodes that are neither forgotten nor made twice when an answer is lost.
//!
//! Each has a random id in its name. When it is not known whether a create was applied, the id is
//! looked for behind a change that is refused ([`refused`]): what an older connection of the session asked for has
//! been done by then or never will be.
//!
//! So is a node whose deletion has no answer, where it has a name that others wait for ([`Named`]): it may be
//! gone, and the next owner's node at its place.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use farwatch_core::wire::ErrorCode;
use farwatch_core::zxid::SessionId;

use super::place::{Place, child};
use super::{FencingToken, RecipeError, pause, persist, until};
use crate::client::{Client, Created, WeakClient};
use crate::error::ClientError;
use crate::operation::{ANY_VERSION, CreateMode, Operation};
use crate::outcome::Outcome;

/// 128 random bits in the form of a version 4 UUID, as Curator has them.
pub(super) fn unique_id() -> String {
    let bits = || RandomState::new().build_hasher().finish();
    let (high, low) = (bits(), bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Whether this text has the form of these ids.
pub(super) fn is_unique_id(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit())
}

/// Removes what may have been made, unless it is told that this is settled.
struct Doubt<'p> {
    place: &'p Place,
    prefix: &'p str,
    is_open: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.is_open {
            sweep(&self.place.client.downgrade(), &self.place.path, self.prefix);
        }
    }
}

/// Creates a sequential node whose name begins with `prefix`, which nobody else uses. On an error it
/// is not there, or is being removed.
pub(super) fn create(
    place: &Place,
    prefix: &str,
    data: &[u8],
    mode: CreateMode,
    deadline: Instant,
) -> Result<Created, RecipeError> {
    let mut doubt = Doubt { place, prefix, is_open: false };
    loop {
        if doubt.is_open {
            let found = find(place, prefix, deadline)?;
            doubt.is_open = false;
            if let Some(created) = found {
                return Ok(created);
            }
        }
        let client = until(&place.client, deadline)?;
        match client.create(&place.child(prefix), data, &place.acl, mode) {
            Ok(created) => return Ok(created),
            Err(ClientError::Server(ErrorCode::NoNode)) => place.make(deadline)?,
            Err(ClientError::Server(ErrorCode::ThrottledOp)) => pause(&place.client, deadline),
            Err(ClientError::ConnectionLoss { maybe_applied }) => {
                doubt.is_open = maybe_applied;
                pause(&place.client, deadline);
            }
            Err(ClientError::Timeout { maybe_applied }) => {
                doubt.is_open = maybe_applied;
                return Err(RecipeError::Deadline);
            }
            Err(error) => {
                doubt.is_open = error == ClientError::BadReply;
                return Err(error.into());
            }
        }
    }
}

/// The node whose name begins with `prefix`, as the servers' latest state has it.
fn find(place: &Place, prefix: &str, deadline: Instant) -> Result<Option<Created>, RecipeError> {
    settle(&place.client, None, &place.child(prefix), deadline)?;
    let names = place.names(false, deadline)?;
    let Some(name) = names.iter().find(|name| name.starts_with(prefix)) else { return Ok(None) };
    let path = place.child(name);
    let stat = persist(&place.client, deadline, |client| client.exists(&path, false))?;
    Ok(stat.map(|stat| Created { path, stat }))
}

/// A change that is refused, as there is nothing at `path`, or nothing that was ever set. Behind its answer what an
/// older connection of the session asked for has been done or never will be. A sync would tell as much, but
/// where another server leads since: that a session has moved is known to it by what it has written.
pub(super) fn refused(path: &str) -> Operation {
    Operation::Delete { path: path.to_owned(), version: i32::MAX }
}

/// Whether a change was asked for and refused for what is there, and not on its way.
pub(super) fn is_refused(result: &Result<Outcome, ClientError>) -> bool {
    let because = |code: &ErrorCode| {
        matches!(code, ErrorCode::NoNode | ErrorCode::BadVersion | ErrorCode::NoAuth)
    };
    matches!(result, Err(ClientError::Server(code)) if because(code))
}

/// Asks for [`refused`], in that session where one is named, until that is answered.
pub(super) fn settle(
    client: &Client,
    session: Option<SessionId>,
    path: &str,
    deadline: Instant,
) -> Result<(), RecipeError> {
    persist(client, deadline, |client| match client.call_within(session, &refused(path)) {
        result if is_refused(&result) => Ok(()),
        Err(ClientError::Server(ErrorCode::NotReadOnly)) => {
            Err(ClientError::ConnectionLoss { maybe_applied: false })
        }
        Err(error) => Err(error),
        Ok(_) => Err(ClientError::BadReply),
    })
}

/// Removes in the background what is called `prefix…` in `directory`. Goes on over reconnects, until
/// it is gone or the session is, which takes its ephemeral nodes with it.
fn sweep(client: &WeakClient, directory: &str, prefix: &str) {
    let refused = refused(&child(directory, prefix));
    let again = sweep_again(directory, prefix);
    let (directory, prefix) = (directory.to_owned(), prefix.to_owned());
    ask(client, &refused, again, move |client, result| {
        if is_refused(&result) {
            sweep_settled(client, &directory, &prefix);
        }
    });
}

fn sweep_settled(client: &WeakClient, directory: &str, prefix: &str) {
    let list = Operation::GetChildren { path: directory.to_owned(), watch: false };
    let again = sweep_again(directory, prefix);
    let (directory, prefix) = (directory.to_owned(), prefix.to_owned());
    ask(client, &list, again, move |client, result| {
        // Without its directory it is gone, too.
        let Ok(Outcome::Children { names, .. }) = result else { return };
        for name in names.iter().filter(|name| name.starts_with(&prefix)) {
            remove(client, &child(&directory, name));
        }
    });
}

fn sweep_again(directory: &str, prefix: &str) -> impl FnOnce(&WeakClient) + Send + 'static {
    let (directory, prefix) = (directory.to_owned(), prefix.to_owned());
    move |client| sweep(client, &directory, &prefix)
}

/// Deletes a node in the background, in the same way, whose name nobody else ever has.
pub(super) fn remove(client: &WeakClient, path: &str) {
    let target = path.to_owned();
    let again = move |client: &WeakClient| remove(client, &target);
    ask(client, &deletion(path), again, |_client, _done_or_over| {});
}

fn deletion(path: &str) -> Operation {
    Operation::Delete { path: path.to_owned(), version: ANY_VERSION }
}

pub(super) fn exists(path: &str) -> Operation {
    Operation::Exists { path: path.to_owned(), watch: false }
}

/// Asks in the background, and has it begun anew where the way to an answer was lost, or a server refuses it
/// for now.
pub(super) fn ask(
    client: &WeakClient,
    operation: &Operation,
    again: impl FnOnce(&WeakClient) + Send + 'static,
    then: impl FnOnce(&WeakClient, Result<Outcome, ClientError>) + Send + 'static,
) {
    ask_within(client, None, operation, again, then);
}

fn ask_within(
    client: &WeakClient,
    session: Option<SessionId>,
    operation: &Operation,
    again: impl FnOnce(&WeakClient) + Send + 'static,
    then: impl FnOnce(&WeakClient, Result<Outcome, ClientError>) + Send + 'static,
) {
    let Some(errand) = client.begin_errand() else { return };
    let own = client.clone();
    submit(client, session, operation, move |result| match result {
        Err(error) if error.is_passing() => own.clone().again(move || {
            again(&own);
            drop(errand); // behind the next one's begin
        }),
        result => {
            then(&own, result);
            drop(errand);
        }
    });
}

/// A client that is gone or over has taken the session's ephemeral nodes with it. Otherwise it is done,
/// however much else is asked of the client: others wait for it.
fn submit(
    client: &WeakClient,
    session: Option<SessionId>,
    operation: &Operation,
    completion: impl FnOnce(Result<Outcome, ClientError>) + Send + 'static,
) {
    let Some(client) = client.upgrade() else { return };
    if let Err(error) = client.submit_within(session, operation, Box::new(completion)) {
        tracing::debug!(%error, "nothing is removed");
    }
}

/// A node whose name others wait for. Once it is gone the next owner's stands there, of another session or of the
/// same one: where a deletion has no answer, it is looked for before it is deleted again.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// It is asked for in this one alone; `None` is any.
    pub(super) session: Option<SessionId>,
    pub(super) path: String,
    /// That of its creation, which no other node has.
    pub(super) token: FencingToken,
}

impl Named {
    /// Deletes it in the background, as [`remove`] does. In its own session, which it goes with.
    pub(super) fn remove(&self, client: &WeakClient) {
        let own = self.clone();
        let again = move |client: &WeakClient| own.remove_if_there(client);
        ask_within(client, self.session, &deletion(&self.path), again, |_client, _over| {});
    }

    /// The same where a deletion may have been done, or may be under way.
    fn remove_if_there(&self, client: &WeakClient) {
        self.step(client, &refused(&self.path), |own, client, result| {
            if !is_refused(&result) {
                return;
            }
            own.step(client, &exists(&own.path), |own, client, result| {
                if matches!(result, Ok(Outcome::Stat(stat)) if stat.czxid == own.token.0) {
                    own.remove(client);
                }
            });
        });
    }

    fn step(
        &self,
        client: &WeakClient,
        operation: &Operation,
        then: impl FnOnce(&Self, &WeakClient, Result<Outcome, ClientError>) + Send + 'static,
    ) {
        let (own, begun_anew) = (self.clone(), self.clone());
        ask_within(
            client,
            self.session,
            operation,
            move |client| begun_anew.remove_if_there(client),
            move |client, result| then(&own, client, result),
        );
    }

    /// Deletes it, and waits for that; where it is gone already is as good. At the deadline it goes on in the
    /// background.
    pub(super) fn delete(&self, client: &Client, deadline: Instant) -> Result<(), RecipeError> {
        let mut is_in_doubt = false;
        let deleted = self.delete_until_known(client, &mut is_in_doubt, deadline);
        if matches!(
            deleted,
            Err(RecipeError::Deadline | RecipeError::Client(ClientError::BadReply))
        ) {
            let client = client.downgrade();
            if is_in_doubt { self.remove_if_there(&client) } else { self.remove(&client) }
        }
        deleted
    }

    /// The same, and nothing of it goes on behind an error, but for what `is_in_doubt`: whether it was, or is going
    /// to be, done.
    pub(super) fn delete_until_known(
        &self,
        client: &Client,
        is_in_doubt: &mut bool,
        deadline: Instant,
    ) -> Result<(), RecipeError> {
        loop {
            if *is_in_doubt && !self.is_there(client, deadline)? {
                return Ok(());
            }
            *is_in_doubt = false;
            match delete_now(&until(client, deadline)?, self.session, &self.path) {
                Err(ClientError::ConnectionLoss { maybe_applied }) => {
                    *is_in_doubt = maybe_applied;
                    pause(client, deadline);
                }
                Err(ClientError::Server(ErrorCode::ThrottledOp)) => pause(client, deadline),
                Err(ClientError::Timeout { maybe_applied }) => {
                    *is_in_doubt = maybe_applied;
                    return Err(RecipeError::Deadline);
                }
                answer => {
                    *is_in_doubt = answer == Err(ClientError::BadReply);
                    return answer.map_err(RecipeError::from);
                }
            }
        }
    }

    /// Whether it is there still, and no deletion that was asked for can take it any more.
    fn is_there(&self, client: &Client, deadline: Instant) -> Result<bool, RecipeError> {
        settle(client, self.session, &self.path, deadline)?;
        let exists = exists(&self.path);
        let found =
            persist(client, deadline, |client| match client.call_within(self.session, &exists) {
                Ok(Outcome::Stat(stat)) => Ok(Some(stat.czxid)),
                Err(ClientError::Server(ErrorCode::NoNode)) => Ok(None),
                Ok(_) => Err(ClientError::BadReply),
                Err(error) => Err(error),
            })?;
        Ok(found == Some(self.token.0))
    }
}

/// One attempt at a deletion, which is a loss of the connection where the next one may come to an answer.
pub(super) fn delete_now(
    client: &Client,
    session: Option<SessionId>,
    path: &str,
) -> Result<(), ClientError> {
    match client.call_within(session, &deletion(path)) {
        Ok(_) | Err(ClientError::Server(ErrorCode::NoNode)) => Ok(()),
        Err(ClientError::Server(ErrorCode::NotReadOnly)) => {
            Err(ClientError::ConnectionLoss { maybe_applied: false })
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use farwatch_core::wire::OpCode;

    use super::*;
    use crate::client::Options;
    use crate::stub;

    #[test]
    fn what_one_session_had_no_other_one_is_asked_to_delete() {
        let deletes = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&deletes);
        let options = Options::default().transport(stub::server(move |op| {
            counted.fetch_add(u32::from(op == OpCode::Delete), Ordering::SeqCst);
            ErrorCode::Ok
        }));
        let client = Client::open("stub:1", options).unwrap();
        client.wait_connected(Duration::from_secs(60)).unwrap();
        let session = client.session().unwrap().id;
        let deadline = || Instant::now() + Duration::from_secs(60);
        let named = |session| Named { session, path: "/a".to_owned(), token: FencingToken(1) };
        let (former, own) = (named(Some(SessionId(session.0 ^ 1))), named(Some(session)));
        let refused = Err(ClientError::SessionExpired.into());
        assert_eq!(former.delete(&client, deadline()), refused);
        former.remove(&client.downgrade());
        former.remove_if_there(&client.downgrade());
        assert_eq!(own.delete(&client, deadline()), Ok(()));
        assert_eq!(deletes.load(Ordering::SeqCst), 1, "its own session's");
    }

    #[test]
    fn an_id_has_the_form_that_curator_looks_for_and_is_not_given_twice() {
        let ids: std::collections::BTreeSet<String> = (0..10_000).map(|_| unique_id()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!(is_unique_id(&id) && !is_unique_id(&id[1..]), "{id}");
        }
    }
}
