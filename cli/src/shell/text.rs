//! How the shell writes nodes, lists, times and errors, for people and as JSON.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use farwatch_client::{
    Acl, ClientError, ErrorCode, Event, NodeEventKind, Perms, SessionState, Stat,
};
use serde_json::{Value, json};

/// The letters of the permissions, in the order in which `getAcl` shows them.
const PERMISSIONS: [(char, Perms); 5] = [
    ('c', Perms::CREATE),
    ('d', Perms::DELETE),
    ('r', Perms::READ),
    ('w', Perms::WRITE),
    ('a', Perms::ADMIN),
];

/// The block of eleven lines.
pub fn stat_block(stat: &Stat) -> String {
    format!(
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\n\
         dataVersion = {}\naclVersion = {}\nephemeralOwner = {:#x}\ndataLength = {}\n\
         numChildren = {}",
        stat.czxid,
        date(stat.ctime),
        stat.mzxid,
        date(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children
    )
}

/// The same as an object; zxids and sessions as the text that other tools print.
pub fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": format!("{:#x}", stat.czxid),
        "ctime": stat.ctime,
        "mzxid": format!("{:#x}", stat.mzxid),
        "mtime": stat.mtime,
        "pzxid": format!("{:#x}", stat.pzxid),
        "cversion": stat.cversion,
        "version": stat.version,
        "aversion": stat.aversion,
        "ephemeral_owner": format!("{:#x}", stat.ephemeral_owner),
        "data_length": stat.data_length,
        "num_children": stat.num_children,
    })
}

/// Java's `Date.toString`, always in UTC: a shell's output must not depend on where it runs.
pub fn date(ms: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, counted in eras of 400 years from 0000-03-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        WEEKDAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// `[a, b]`.
pub fn list(names: &[String]) -> String {
    format!("[{}]", names.join(", "))
}

/// Data as a line of text; null has a word of its own.
pub fn data(data: Option<&[u8]>) -> String {
    data.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Data as JSON fields: text where it is text, else base64 under another name.
pub fn data_json(data: Option<&[u8]>) -> (&'static str, Value) {
    match data.map(std::str::from_utf8) {
        None => ("data", Value::Null),
        Some(Ok(text)) => ("data", text.into()),
        Some(Err(_)) => ("data_base64", BASE64.encode(data.unwrap_or_default()).into()),
    }
}

/// Sixteen bytes a line in hex and as text, framed as Netty frames it.
pub fn hex_dump(bytes: &[u8]) -> String {
    let rule = format!("+--------+{}+{}+", "-".repeat(49), "-".repeat(16));
    let mut out = format!("         +{}+\n         |", "-".repeat(49));
    for column in 0..16 {
        write!(out, "  {column:x}").expect("into a string");
    }
    write!(out, " |\n{rule}").expect("into a string");
    for (row, line) in bytes.chunks(16).enumerate() {
        let hex: String = line.iter().map(|byte| format!(" {byte:02x}")).collect();
        let text: String = line
            .iter()
            .map(|&byte| if (0x20..0x7f).contains(&byte) { byte as char } else { '.' })
            .collect();
        write!(out, "\n|{:08x}|{hex:<48} |{text:<16}|", row * 16).expect("into a string");
    }
    write!(out, "\n{rule}").expect("into a string");
    out
}

/// Data in base64.
pub fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Data from base64.
pub fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| format!("the data is not base64: {error}"))
}

/// `scheme:id:perms[,…]`. An id may hold colons.
pub fn parse_acl(text: &str) -> Result<Vec<Acl>, String> {
    text.split(',')
        .map(|entry| {
            let form = || format!("{entry} does not have the form scheme:id:perm");
            let (scheme, rest) = entry.split_once(':').ok_or_else(form)?;
            let (id, letters) = rest.rsplit_once(':').ok_or_else(form)?;
            let mut perms = 0;
            for letter in letters.chars() {
                // Refused, where ZooKeeper's shell goes on with the other letters: a typing error
                // must not set another list than was meant.
                let known = PERMISSIONS.iter().find(|(known, _)| *known == letter);
                perms |= known.ok_or_else(|| format!("Unknown perm type: {letter}"))?.1.0;
            }
            Ok(Acl::new(Perms(perms), scheme, id))
        })
        .collect()
}

/// Two lines for each entry.
pub fn acl(entries: &[Acl]) -> String {
    let entry = |entry: &Acl| {
        format!("'{},'{}\n: {}", entry.scheme, entry.id, permission_letters(entry.perms))
    };
    entries.iter().map(entry).collect::<Vec<_>>().join("\n")
}

/// The same as an array.
pub fn acl_json(entries: &[Acl]) -> Value {
    let entry = |entry: &Acl| json!({"scheme": entry.scheme, "id": entry.id, "perms": permission_letters(entry.perms)});
    entries.iter().map(entry).collect()
}

fn permission_letters(perms: Perms) -> String {
    PERMISSIONS.iter().filter(|(_, one)| perms.allows(*one)).map(|(letter, _)| letter).collect()
}

/// What went wrong at `path`, in the words of ZooKeeper's shell.
pub fn error(error: &ClientError, path: Option<&str>) -> String {
    let shown = path.unwrap_or("null");
    let Some(code) = error.code() else {
        return match error {
            ClientError::BadPath { error, .. } => capitalized(&error.to_string()),
            ClientError::SessionExpired => format!("{}: {error}", keeper("Session expired", path)),
            ClientError::ConnectionLoss { .. } | ClientError::Timeout { .. } => {
                format!("{}: {error}", keeper("ConnectionLoss", path))
            }
            ClientError::Closed => "Not connected".to_owned(),
            other => other.to_string(),
        };
    };
    match code {
        ErrorCode::NoNode => format!("Node does not exist: {shown}"),
        ErrorCode::NoChildrenForEphemerals => format!("Ephemerals cannot have children: {shown}"),
        ErrorCode::NodeExists => format!("Node already exists: {shown}"),
        ErrorCode::NotEmpty => format!("Node not empty: {shown}"),
        ErrorCode::NotReadOnly => format!("Not a read-only call: {shown}"),
        ErrorCode::InvalidAcl => format!("Acl is not valid : {shown}"),
        ErrorCode::NoAuth => format!("Insufficient permission : {shown}"),
        ErrorCode::BadArguments => format!("Arguments are not valid : {shown}"),
        ErrorCode::BadVersion => format!("version No is not valid : {shown}"),
        ErrorCode::QuotaExceeded => format!("Quota has exceeded : {shown}"),
        ErrorCode::ReconfigInProgress => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
                .to_owned()
        }
        ErrorCode::NewConfigNoQuorum => {
            "No quorum of new config is connected and up-to-date with the leader of last committed \
             config - try invoking reconfiguration after new servers are connected and synced"
                .to_owned()
        }
        ErrorCode::NoWatcher => keeper("No such watcher", path),
        ErrorCode::ReconfigDisabled => keeper("Reconfig is disabled", None),
        ErrorCode::SessionExpired => keeper("Session expired", path),
        ErrorCode::SessionClosedRequireSaslAuth => {
            keeper("Session closed because client failed to authenticate", path)
        }
        ErrorCode::EphemeralOnLocalSession => keeper("Ephemeral node on local session", path),
        other => keeper(&format!("{other:?}"), path),
    }
}

fn keeper(name: &str, path: Option<&str>) -> String {
    match path {
        Some(path) => format!("KeeperErrorCode = {name} for {path}"),
        None => format!("KeeperErrorCode = {name}"),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An event as the lines that ZooKeeper 3.9's shell prints.
pub fn event(event: &Event) -> String {
    let (state, kind, path, zxid) = event_parts(event);
    let path = path.unwrap_or("null");
    format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}")
}

/// An event as an object.
pub fn event_json(event: &Event) -> Value {
    let (state, kind, path, zxid) = event_parts(event);
    json!({"event": {"state": state, "type": kind, "path": path, "zxid": zxid}})
}

fn event_parts(event: &Event) -> (&'static str, &'static str, Option<&str>, i64) {
    match event {
        Event::Session(state) => (state_name(*state), "None", None, -1),
        Event::Node(node) => ("SyncConnected", kind_name(node.kind), Some(&node.path), node.zxid),
    }
}

fn state_name(state: SessionState) -> &'static str {
    match state {
        SessionState::Connected => "SyncConnected",
        SessionState::ConnectedReadOnly => "ConnectedReadOnly",
        SessionState::Disconnected => "Disconnected",
        SessionState::Expired => "Expired",
        SessionState::AuthFailed => "AuthFailed",
        SessionState::Closed => "Closed",
    }
}

fn kind_name(kind: NodeEventKind) -> &'static str {
    match kind {
        NodeEventKind::NodeCreated => "NodeCreated",
        NodeEventKind::NodeDeleted => "NodeDeleted",
        NodeEventKind::NodeDataChanged => "NodeDataChanged",
        NodeEventKind::NodeChildrenChanged => "NodeChildrenChanged",
        NodeEventKind::DataWatchRemoved => "DataWatchRemoved",
        NodeEventKind::ChildWatchRemoved => "ChildWatchRemoved",
        NodeEventKind::PersistentWatchRemoved => "PersistentWatchRemoved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_javas() {
        assert_eq!(date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(1_795_486_451_999), "Tue Nov 24 02:14:11 UTC 2026");
        assert_eq!(date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(-1), "Wed Dec 31 23:59:59 UTC 1969");
    }

    #[test]
    fn acl_texts_go_both_ways_and_typing_errors_are_refused() {
        let text = "world:anyone:r,digest:bob:x=:cdrwa";
        let parsed = parse_acl(text).unwrap();
        assert_eq!(acl(&parsed), "'world,'anyone\n: r\n'digest,'bob:x=\n: cdrwa");
        assert_eq!(parse_acl("junk").unwrap_err(), "junk does not have the form scheme:id:perm");
        assert_eq!(parse_acl("a:b").unwrap_err(), "a:b does not have the form scheme:id:perm");
        assert_eq!(parse_acl("world:anyone:rq").unwrap_err(), "Unknown perm type: q");
    }

    #[test]
    fn a_hex_dump_has_a_frame_and_whole_columns() {
        let dump = hex_dump(b"hello world, hello\x00");
        let lines: Vec<&str> = dump.lines().collect();
        assert_eq!(lines[1], "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |");
        assert_eq!(
            lines[3],
            "|00000000| 68 65 6c 6c 6f 20 77 6f 72 6c 64 2c 20 68 65 6c |hello world, hel|"
        );
        assert_eq!(lines[4].len(), lines[3].len());
        assert!(lines[4].ends_with("|lo.             |"));
    }
}
