//! What servers send: reply headers, Stats, events, results of multi.

use std::io;

use farwatch_core::wire::ErrorCode;

use super::body::{Reader, invalid};
use super::request::op;

/// One frame after the handshake, its 16-byte header decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The xid of the request; -1 in a notification, -2 in the answer to a ping.
    pub xid: i32,
    /// The last transaction this reply can reflect.
    pub zxid: i64,
    /// 0, or an error code of the protocol.
    pub err: i32,
    /// Everything behind the header.
    pub body: Vec<u8>,
}

impl Reply {
    /// Splits a frame into header and body.
    pub fn parse(frame: &[u8]) -> io::Result<Self> {
        let mut reader = Reader::new(frame);
        let (xid, zxid, err) = (reader.int()?, reader.long()?, reader.int()?);
        Ok(Self { xid, zxid, err, body: reader.rest().to_vec() })
    }

    /// Reads the body from its start.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.body)
    }

    /// The Stat of a reply whose body is one Stat: exists, setData, setACL.
    pub fn stat(&self) -> io::Result<Stat> {
        self.decode(Stat::read)
    }

    /// The path of a reply to create or sync.
    pub fn path(&self) -> io::Result<String> {
        self.decode(Reader::string)
    }

    /// The path and Stat of a reply to create2, createContainer and createTTL.
    pub fn path_and_stat(&self) -> io::Result<(String, Stat)> {
        self.decode(|reader| Ok((reader.string()?, Stat::read(reader)?)))
    }

    /// The data and Stat of a reply to getData; null data is `None`.
    pub fn data_and_stat(&self) -> io::Result<(Option<Vec<u8>>, Stat)> {
        self.decode(|reader| Ok((reader.buffer()?.map(<[u8]>::to_vec), Stat::read(reader)?)))
    }

    /// The strings of a reply to getChildren or getEphemerals, sorted: servers promise no order.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = self.decode(Reader::strings)?;
        names.sort();
        Ok(names)
    }

    /// The sorted names and the Stat of a reply to getChildren2.
    pub fn names_and_stat(&self) -> io::Result<(Vec<String>, Stat)> {
        let (mut names, stat) =
            self.decode(|reader| Ok((reader.strings()?, Stat::read(reader)?)))?;
        names.sort();
        Ok((names, stat))
    }

    /// The one int of a reply to addWatch or getAllChildrenNumber.
    pub fn int(&self) -> io::Result<i32> {
        self.decode(Reader::int)
    }

    /// Decodes the whole body with `read` and insists that nothing is left.
    pub fn decode<'a, T>(
        &'a self,
        read: impl FnOnce(&mut Reader<'a>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut reader = Reader::new(&self.body);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

/// What the server says of a znode: 68 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    /// Reads the eleven fields in their order on the wire.
    pub fn read(reader: &mut Reader<'_>) -> io::Result<Self> {
        Ok(Self {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            data_length: reader.int()?,
            num_children: reader.int()?,
            pzxid: reader.long()?,
        })
    }
}

/// A notification: a frame with xid -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The causing transaction; -1 in the catch-up of setWatches.
    pub zxid: i64,
    /// 1 created, 2 deleted, 3 data changed, 4 children changed.
    pub kind: i32,
    /// Always 3, SyncConnected.
    pub state: i32,
    /// The full path.
    pub path: String,
}

impl Event {
    /// Decodes a reply that is known to be a notification.
    pub fn parse(reply: &Reply) -> io::Result<Self> {
        if reply.xid != -1 || reply.err != 0 {
            return Err(invalid(format!("not a notification: {reply:?}")));
        }
        reply.decode(|reader| {
            let (kind, state, path) = (reader.int()?, reader.int()?, reader.string()?);
            Ok(Self { zxid: reply.zxid, kind, state, path })
        })
    }
}

/// One result inside the reply to multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult {
    /// Type 1: the path with its suffix.
    Create(String),
    /// Type 15: also for containers and TTL nodes.
    Create2(String, Stat),
    /// Type 2.
    Delete,
    /// Type 5.
    SetData(Stat),
    /// Type 13.
    Check,
    /// Type 4; null data is `None`.
    GetData(Option<Vec<u8>>, Stat),
    /// Type 8, in the server's order.
    GetChildren(Vec<String>),
    /// Type -1: the err of the MultiHeader, then the code of the ErrorResponse.
    Error(i32, i32),
}

impl MultiResult {
    /// The type number of the result's MultiHeader.
    #[must_use]
    pub fn kind(&self) -> i32 {
        match self {
            Self::Create(_) => op::CREATE,
            Self::Create2(..) => op::CREATE2,
            Self::Delete => op::DELETE,
            Self::SetData(_) => op::SET_DATA,
            Self::Check => op::CHECK,
            Self::GetData(..) => op::GET_DATA,
            Self::GetChildren(_) => op::GET_CHILDREN,
            Self::Error(..) => op::ERROR,
        }
    }
}

/// Decodes the body of a reply to multi or multiRead, terminator included.
pub fn multi_results(reply: &Reply) -> io::Result<Vec<MultiResult>> {
    reply.decode(|reader| {
        let mut results = Vec::new();
        loop {
            let (kind, done, err) = (reader.int()?, reader.boolean()?, reader.int()?);
            if done {
                if (kind, err) != (op::ERROR, -1) {
                    return Err(invalid(format!("the terminator is type {kind}, err {err}")));
                }
                return Ok(results);
            }
            if kind != op::ERROR && err != 0 {
                return Err(invalid(format!("a result of type {kind} has err {err}")));
            }
            results.push(match kind {
                op::CREATE => MultiResult::Create(reader.string()?),
                op::CREATE2 => MultiResult::Create2(reader.string()?, Stat::read(reader)?),
                op::DELETE => MultiResult::Delete,
                op::SET_DATA => MultiResult::SetData(Stat::read(reader)?),
                op::CHECK => MultiResult::Check,
                op::GET_DATA => {
                    MultiResult::GetData(reader.buffer()?.map(<[u8]>::to_vec), Stat::read(reader)?)
                }
                op::GET_CHILDREN => MultiResult::GetChildren(reader.strings()?),
                op::ERROR => MultiResult::Error(err, reader.int()?),
                other => return Err(invalid(format!("a result has the type {other}"))),
            });
        }
    })
}

/// An error code for people: its name and number where the name is known, such as `NotReadOnly (-119)`.
#[must_use]
pub fn error_name(code: i32) -> String {
    match ErrorCode::from_code(code) {
        Some(name) => format!("{name:?} ({code})"),
        None => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::error_name;

    #[test]
    fn errors_are_named_where_their_name_is_known() {
        assert_eq!(error_name(-119), "NotReadOnly (-119)");
        assert_eq!(error_name(-9999), "-9999");
    }
}
