//! Transactions and nodes as an operator reads them: one JSON object or one line each.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use farwatch_core::acl::AclList;
use farwatch_core::record::Record;
use farwatch_core::snapshot::NodeImage;
use farwatch_core::snapshot::format::SessionImage;
use farwatch_core::txn::{NodeKind, Txn};
use serde_json::{Map, Value, json};

/// A record of the log. Passwords of sessions are never shown.
pub fn record(record: &Record<'_>) -> Value {
    let head = record.head();
    let mut value = json!({
        "zxid": format!("{:#x}", head.zxid.0),
        "time_ms": head.time_ms,
        "session": format!("{:#x}", head.session.0),
        "cxid": head.cxid,
    });
    match record.txn() {
        Txn::Multi(multi) => {
            value["type"] = "multi".into();
            value["parts"] = multi.iter().map(|part| Value::Object(txn(&part))).collect();
        }
        one => value.as_object_mut().expect("made above").append(&mut txn(&one)),
    }
    value
}

fn txn(txn: &Txn<'_>) -> Map<String, Value> {
    let value = match txn {
        Txn::Create(create) => json!({
            "type": "create",
            "path": text(create.path),
            "data": data(create.data),
            "acl": acl(create.acl),
            "kind": kind(create.kind),
            "parent_cversion": create.parent_cversion,
        }),
        Txn::Delete { path } => json!({ "type": "delete", "path": text(path) }),
        Txn::SetData { path, data: bytes, version } => json!({
            "type": "setData", "path": text(path), "data": data(*bytes), "version": version,
        }),
        Txn::SetAcl { path, acl: list, version } => json!({
            "type": "setACL", "path": text(path), "acl": acl(*list), "version": version,
        }),
        Txn::Check { path } => json!({ "type": "check", "path": text(path) }),
        Txn::CreateSession { timeout_ms, .. } => {
            json!({ "type": "createSession", "timeout_ms": timeout_ms })
        }
        Txn::CloseSession => json!({ "type": "closeSession" }),
        Txn::Error(code) => json!({ "type": "error", "code": code.code() }),
        Txn::Multi(_) => json!({ "type": "multi" }), // never inside another
    };
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("every arm makes an object"),
    }
}

/// A node of a snapshot.
pub fn node(node: &NodeImage<'_>) -> Value {
    json!({
        "path": text(node.path),
        "data": data(node.data),
        "acl": acl(node.acl),
        "kind": kind(node.kind),
        "czxid": format!("{:#x}", node.czxid.0),
        "mzxid": format!("{:#x}", node.mzxid.0),
        "pzxid": format!("{:#x}", node.pzxid.0),
        "ctime": node.ctime,
        "mtime": node.mtime,
        "version": node.version,
        "cversion": node.cversion,
        "aversion": node.aversion,
    })
}

/// A session of a snapshot, without its password.
pub fn session(session: &SessionImage) -> Value {
    json!({ "session": format!("{:#x}", session.id.0), "timeout_ms": session.timeout_ms })
}

/// Data is any bytes: base64, and null for null data.
fn data(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| BASE64_STANDARD.encode(bytes).into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn kind(kind: NodeKind) -> Value {
    match kind {
        NodeKind::Persistent => "persistent".into(),
        NodeKind::Ephemeral(owner) => json!({ "ephemeral": format!("{:#x}", owner.0) }),
        NodeKind::Container => "container".into(),
        NodeKind::Ttl(ms) => json!({ "ttl_ms": ms }),
    }
}

fn acl(list: AclList<'_>) -> Value {
    let entry = |entry: farwatch_core::acl::AclEntry<'_>| {
        json!({
            "perms": entry.perms.0,
            "scheme": entry.scheme.map(text),
            "id": entry.id.map(text),
        })
    };
    list.entries().map(entry).collect()
}

/// The same on one line for eyes: the first fields without their names, the rest with.
pub fn line(value: &Value, unnamed: &[&str]) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut parts: Vec<String> =
        unnamed.iter().filter_map(|name| value.get(name)).map(plain).collect();
    for (name, value) in value.as_object().into_iter().flatten() {
        if !unnamed.contains(&name.as_str()) {
            parts.push(format!("{name}={}", plain(value)));
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests;
