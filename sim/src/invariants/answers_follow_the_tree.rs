//! Every answer is the one that the history gives at the answer's zxid: reads show the state there, and
//! a write says what the record at exactly this place did. What is acknowledged is in the history.
//! Source: ZooKeeper's guarantees of atomicity and of a single system image.

use farwatch_core::wire::{ErrorCode, OpCode};
use farwatch_core::zxid::{SessionId, Zxid};

use crate::client::Sent;
use crate::model::{Children, Done, Model};
use crate::request::{Body, Request};
use crate::witness::Witness;

pub fn check(
    witness: &mut Witness,
    (client, session): (usize, SessionId),
    sent: &Sent,
    (zxid, err): (Zxid, ErrorCode),
    body: &Body,
) {
    let model = &witness.model;
    let done = model.done.get(&(session, sent.xid)).copied();
    let (property, wrong) = match sent.request.write() {
        None => ("reads_see_their_state", wrong_read(model, &sent.request, (zxid, err), body)),
        // The end of a session that no record began needs none.
        Some(OpCode::CloseSession) if done.is_none() && !model.sessions.contains_key(&session) => {
            return;
        }
        Some(_) if done.is_none() && err == ErrorCode::Ok => {
            ("no_acknowledged_write_lost", Some("nothing of it is in the history".to_string()))
        }
        Some(op) => {
            let wrong = wrong_write(model, (op, &sent.request), done, (zxid, err));
            ("answers_follow_the_tree", wrong)
        }
    };
    if let Some(wrong) = wrong {
        let text = format!(
            "client {client} of {session} asked {} {:?} and is answered {err:?} {body:?} at {zxid}: \
             {wrong}",
            sent.xid, sent.request
        );
        witness.violate(property, text);
    }
}

fn wrong_read(
    model: &Model,
    request: &Request,
    (zxid, err): (Zxid, ErrorCode),
    body: &Body,
) -> Option<String> {
    let (path, children) = match request {
        Request::Get { path, .. } | Request::Exists { path, .. } => (path, false),
        Request::Children { path, .. } => (path, true),
        // That its session is over can be the answer to anything; `expired_is_true` judges that.
        _sync => {
            let may = ErrorCode::ConnectionLoss == err || err == ErrorCode::NotReadOnly;
            let fails = !may && !matches!(err, ErrorCode::Ok | ErrorCode::SessionExpired);
            return fails.then(|| "a sync does not fail".to_string());
        }
    };
    let node = model.at(path, zxid);
    let right = match body {
        Body::Nothing => node.is_none() && err == ErrorCode::NoNode,
        Body::Node(shown) => node.is_some() && *shown == node,
        Body::Children(shown) => {
            children && node.is_some() && *shown == model.children_at(path, zxid)
        }
        Body::Path(_) => false,
    };
    let sum: Children = model.children_at(path, zxid);
    (!right).then(|| format!("there is {node:?} with {sum:?}"))
}

fn wrong_write(
    model: &Model,
    (op, request): (OpCode, &Request),
    done: Option<Done>,
    (zxid, err): (Zxid, ErrorCode),
) -> Option<String> {
    if err == ErrorCode::ConnectionLoss {
        return None; // it may be done, or will be, or not
    }
    let Some(done) = done else {
        // Refused before it took a place: no room, or the session is another connection's.
        let may = matches!(err, ErrorCode::NotReadOnly | ErrorCode::SessionExpired);
        return (!may).then(|| "only a record can say so".to_string());
    };
    if done.zxid != zxid || done.error.unwrap_or(ErrorCode::Ok) != err {
        return Some(format!("the history has {done:?}"));
    }
    let before = |path: &[u8]| model.at(path, Zxid(zxid.0 - 1));
    let right = match (request, err) {
        (Request::Create { mode, path, .. }, ErrorCode::Ok) => {
            mode.sequential || before(path).is_none()
        }
        (Request::Create { path, .. }, ErrorCode::NodeExists) => before(path).is_some(),
        (Request::Set { path, version, .. }, ErrorCode::Ok) => {
            before(path).is_some_and(|node| *version == -1 || node.version == *version)
        }
        (Request::Set { path, version, .. }, ErrorCode::BadVersion) => {
            before(path).is_some_and(|node| node.version != *version)
        }
        (Request::Delete { path }, ErrorCode::Ok) => before(path).is_some(),
        (Request::Delete { path } | Request::Set { path, .. }, ErrorCode::NoNode) => {
            before(path).is_none()
        }
        _other => true,
    };
    (!right).then(|| format!("{op:?} met another state"))
}
