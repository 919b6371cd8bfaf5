//! Nodes that are neither forgotten nor made twice when an answer is lost.
//!
//! Each has a random id in its name. When it is not known whether a create was applied, the id is
//! looked for behind a change that is refused ([`refused`]): what an older connection of the session asked for has
//! been done by then or never will be.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use farwatch_core::wire::ErrorCode;
use farwatch_core::zxid::SessionId;

use super::place::{Place, child};
use super::{RecipeError, pause, persist, until};
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
    settle(&place.client, &place.child(prefix), deadline)?;
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

/// Asks for [`refused`], until that is answered.
pub(super) fn settle(client: &Client, path: &str, deadline: Instant) -> Result<(), RecipeError> {
    persist(client, deadline, |client| match client.call(&refused(path)) {
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
            remove(client, None, &child(&directory, name));
        }
    });
}

fn sweep_again(directory: &str, prefix: &str) -> impl FnOnce(&WeakClient) + Send + 'static {
    let (directory, prefix) = (directory.to_owned(), prefix.to_owned());
    move |client| sweep(client, &directory, &prefix)
}

/// Deletes a node of ours in the background, in the same way. One whose name another session may have for a
/// node of its own by then, only in `session`, which ours is of and goes with.
pub(super) fn remove(client: &WeakClient, session: Option<SessionId>, path: &str) {
    let target = path.to_owned();
    let again = move |client: &WeakClient| remove(client, session, &target);
    ask_within(client, session, &deletion(path), again, |_client, _done_or_over| {});
}

fn deletion(path: &str) -> Operation {
    Operation::Delete { path: path.to_owned(), version: ANY_VERSION }
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
    let own = client.clone();
    submit(client, session, operation, move |result| match result {
        Err(error) if error.is_passing() => own.clone().again(move || again(&own)),
        result => then(&own, result),
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

/// Deletes a node of ours, as [`remove`] does, and waits for it; one that is gone already is as good. At the
/// deadline it goes on in the background.
pub(super) fn delete(
    client: &Client,
    session: Option<SessionId>,
    path: &str,
    deadline: Instant,
) -> Result<(), RecipeError> {
    let deleted = persist(client, deadline, |client| delete_now(client, session, path));
    if matches!(deleted, Err(RecipeError::Deadline | RecipeError::Client(ClientError::BadReply))) {
        remove(&client.downgrade(), session, path);
    }
    deleted
}

/// One attempt at it, which is a loss of the connection where the next one may come to an answer.
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
        let former = Some(SessionId(session.0 ^ 1));
        let refused = Err(ClientError::SessionExpired.into());
        assert_eq!(delete(&client, former, "/a", deadline()), refused);
        remove(&client.downgrade(), former, "/a");
        assert_eq!(delete(&client, Some(session), "/a", deadline()), Ok(()));
        assert_eq!(deletes.load(Ordering::SeqCst), 1, "its own session's");
        assert_eq!(delete(&client, None, "/a", deadline()), Ok(()));
        assert_eq!(deletes.load(Ordering::SeqCst), 2);
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
