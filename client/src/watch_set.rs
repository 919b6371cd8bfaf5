//! Which watches the server keeps for us, so that the next server can be told.

use std::collections::BTreeSet;

use farwatch_core::wire::EventType;
use farwatch_core::wire::jute::{Strings, Writer};
use farwatch_core::wire::request::{Request, SetWatchesRequest, XID_SET_WATCHES};

use crate::operation::WatchKind;

/// Path text in one setWatches request, bytes. Below every server's frame limit, and what
/// ZooKeeper's own client uses.
pub const SET_WATCHES_BYTES_MAX: usize = 128 * 1024;

/// The lists that setWatches2 tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchTable {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

impl WatchTable {
    /// Whether a removal of `kind` takes its watches, too.
    pub(crate) fn is_of(self, kind: WatchKind) -> bool {
        match kind {
            WatchKind::Any => true,
            WatchKind::Data => matches!(self, Self::Data | Self::Exist),
            WatchKind::Children => self == Self::Child,
            WatchKind::Persistent => self == Self::Persistent,
            WatchKind::PersistentRecursive => self == Self::Recursive,
        }
    }
}

/// What a successful reply changes in the [`WatchSet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Arm(WatchTable, String),
    Disarm(WatchKind, String),
}

impl Effect {
    pub(crate) fn arm(watch: bool, table: WatchTable, path: String) -> Self {
        if watch { Self::Arm(table, path) } else { Self::None }
    }
}

/// The watches of this session by the server's full path.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchSet {
    tables: [BTreeSet<String>; 5],
}

impl WatchSet {
    pub(crate) fn arm(&mut self, table: WatchTable, path: String) {
        self.tables[table as usize].insert(path);
    }

    fn remove(&mut self, table: WatchTable, path: &str) -> bool {
        self.tables[table as usize].remove(path)
    }

    /// An event consumes the one-shot watches that it answers.
    pub(crate) fn fired(&mut self, kind: EventType, path: &str) {
        match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.remove(WatchTable::Data, path);
                self.remove(WatchTable::Exist, path);
            }
            EventType::NodeDeleted => {
                self.remove(WatchTable::Data, path);
                self.remove(WatchTable::Exist, path);
                self.remove(WatchTable::Child, path);
            }
            EventType::NodeChildrenChanged => {
                self.remove(WatchTable::Child, path);
            }
        }
    }

    /// Forgets watches that the server has removed. Returns which kinds there were: data, child,
    /// persistent.
    pub(crate) fn disarm(&mut self, kind: WatchKind, path: &str) -> [bool; 3] {
        let any = kind == WatchKind::Any;
        let mut removed = [false; 3];
        if any || kind == WatchKind::Data {
            removed[0] = self.remove(WatchTable::Data, path);
            removed[0] |= self.remove(WatchTable::Exist, path);
        }
        if any || kind == WatchKind::Children {
            removed[1] = self.remove(WatchTable::Child, path);
        }
        if any || kind == WatchKind::Persistent {
            removed[2] = self.remove(WatchTable::Persistent, path);
        }
        if any || kind == WatchKind::PersistentRecursive {
            removed[2] |= self.remove(WatchTable::Recursive, path);
        }
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(BTreeSet::len).sum()
    }

    /// Appends as many setWatches frames as it takes. The server answers each list against
    /// `relative_zxid`: what changed since is told at once.
    pub(crate) fn encode_rearm(&self, relative_zxid: i64, out: &mut Vec<u8>) {
        let mut lists: [Vec<&str>; 5] = Default::default();
        let mut bytes = 0;
        for (table, paths) in self.tables.iter().enumerate() {
            for path in paths {
                if bytes != 0 && SET_WATCHES_BYTES_MAX < bytes + path.len() {
                    encode_chunk(relative_zxid, &mut lists, out);
                    bytes = 0;
                }
                bytes += path.len();
                lists[table].push(path);
            }
        }
        if bytes != 0 {
            encode_chunk(relative_zxid, &mut lists, out);
        }
    }
}

fn encode_chunk(relative_zxid: i64, lists: &mut [Vec<&str>; 5], out: &mut Vec<u8>) {
    let encoded: [Vec<u8>; 5] = std::array::from_fn(|table| {
        let mut bytes = Vec::new();
        let paths = lists[table].drain(..).collect::<Vec<_>>();
        Writer::new(&mut bytes).strings(paths.iter().map(|path| path.as_bytes()));
        bytes
    });
    let list = |table: WatchTable| {
        Strings::from_bytes(&encoded[table as usize]).expect("encoded just now")
    };
    let request = SetWatchesRequest {
        relative_zxid,
        data: list(WatchTable::Data),
        exist: list(WatchTable::Exist),
        child: list(WatchTable::Child),
        persistent: None,
        recursive: None,
    };
    let (persistent, recursive) = (list(WatchTable::Persistent), list(WatchTable::Recursive));
    // Servers before 3.6 know only the first form, and need no more for one-shot watches.
    let request = if persistent.is_empty() && recursive.is_empty() {
        Request::SetWatches(request)
    } else {
        Request::SetWatches2(SetWatchesRequest {
            persistent: Some(persistent),
            recursive: Some(recursive),
            ..request
        })
    };
    request.encode_frame(XID_SET_WATCHES, out);
}

#[cfg(test)]
mod tests {
    use farwatch_core::limits::CLIENT_FRAME_BYTES_MAX;
    use farwatch_core::wire::OpCode;
    use farwatch_core::wire::jute::Reader;
    use farwatch_core::wire::request::RequestHeader;

    use super::*;

    fn frames(mut bytes: &[u8]) -> Vec<(OpCode, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            assert!(length <= CLIENT_FRAME_BYTES_MAX);
            let mut r = Reader::new(&bytes[4..4 + length]);
            let header = RequestHeader::decode(&mut r).unwrap();
            assert_eq!(header.xid, XID_SET_WATCHES);
            frames.push((OpCode::from_code(header.op).unwrap(), r.rest().to_vec()));
            bytes = &bytes[4 + length..];
        }
        frames
    }

    #[test]
    fn many_watches_are_rearmed_in_frames_below_the_limit_and_none_is_lost() {
        let mut set = WatchSet::default();
        let mut expected = BTreeSet::new();
        for i in 0..4000 {
            let path = format!("/{}/{i}", "d".repeat(100));
            set.arm(
                if i % 2 == 0 { WatchTable::Data } else { WatchTable::Recursive },
                path.clone(),
            );
            expected.insert(path);
        }
        assert_eq!(set.len(), 4000);
        let mut out = Vec::new();
        set.encode_rearm(77, &mut out);
        let frames = frames(&out);
        assert!(frames.len() == 4, "{}", frames.len());
        assert_eq!(frames[0].0, OpCode::SetWatches);
        assert_eq!(frames[3].0, OpCode::SetWatches2);
        let mut seen = BTreeSet::new();
        for (op, body) in &frames {
            let (Request::SetWatches(r) | Request::SetWatches2(r)) =
                Request::decode(*op, body).unwrap()
            else {
                panic!("{op:?}");
            };
            assert_eq!(r.relative_zxid, 77);
            for path in r.data.chain(r.recursive.into_iter().flatten()) {
                assert!(seen.insert(String::from_utf8(path.to_vec()).unwrap()));
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_one_shot_watch_is_gone_once_it_fired_and_a_persistent_one_stays() {
        let mut set = WatchSet::default();
        set.arm(WatchTable::Exist, "/a".to_owned());
        set.arm(WatchTable::Child, "/a".to_owned());
        set.arm(WatchTable::Persistent, "/a".to_owned());
        set.fired(EventType::NodeCreated, "/a");
        assert_eq!(set.len(), 2);
        set.fired(EventType::NodeDeleted, "/a");
        assert_eq!(set.len(), 1);
        assert_eq!(set.disarm(WatchKind::Any, "/a"), [false, false, true]);
        assert_eq!(set.len(), 0);
    }
}
