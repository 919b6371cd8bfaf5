//! Reads and watches: answered from the tree as it was at the zxid where the reactor stands.

use farwatch_core::acl::{Identity, Perms};
use farwatch_core::auth::{self, Grants};
use farwatch_core::tree::{Node, View};
use farwatch_core::watch::{ConnectionId, WatchMode, WatchTable, WatcherKind};
use farwatch_core::wire::jute::{DecodeError, Writer, begin_frame, end_frame};
use farwatch_core::wire::request::{
    AddWatchRequest, MultiHeader, MultiRequest, PathKind, PathWatch, Request, SetWatchesRequest,
};
use farwatch_core::wire::{ErrorCode, EventType, OpCode, ReplyHeader, Stat, WatcherEvent};

use super::lists::Lists;
use super::{ConnectionKey, Reactor};
use crate::config_node::ConfigNode;
use crate::four_letter::counters::Counter;

/// Bytes that one multiRead may be answered with. A frame of a megabyte can ask for the largest node
/// tens of thousands of times; clients accept a few megabytes in a frame.
const MULTI_READ_BYTES_MAX: usize = 64 << 20;

/// Everything that answering one read needs.
struct Answering<'r> {
    view: View<'r>,
    watches: &'r mut WatchTable,
    connection: ConnectionId,
    identities: &'r [Identity],
    /// Of a multiRead, whose parts meet many lists.
    grants: Option<Grants<'r>>,
    skip_acl: bool,
    config_node: Option<&'r ConfigNode>,
    /// Gets the body, and before the reply's frame any catch-up events.
    out: &'r mut Vec<u8>,
    scratch: &'r mut Vec<u8>,
    lists: &'r mut Lists,
    /// Nodes that were walked over since all others had a turn.
    walked: &'r mut u64,
}

/// What a child's name is taken to need in a list, bytes, when it is not worth counting.
const NAME_BYTES_EXPECTED: usize = 32;

impl Reactor {
    /// About how many bytes a read will be answered with, as nodes are now.
    pub(super) fn expected_reply_bytes(&self, op: OpCode, body: &[u8]) -> usize {
        let view = self.reader.view_at(self.delivered);
        let bytes_at = |path: &[u8], of_children: bool| {
            view.get(path).map_or(0, |node| {
                let stat = node.stat();
                if of_children {
                    stat.num_children.max(0) as usize * NAME_BYTES_EXPECTED
                } else {
                    stat.data_length.max(0) as usize
                }
            })
        };
        let part = |request: &Request<'_>| match *request {
            Request::GetData(PathWatch { path, .. }) => bytes_at(path, false),
            Request::GetChildren(PathWatch { path, .. })
            | Request::GetChildren2(PathWatch { path, .. }) => bytes_at(path, true),
            Request::GetAcl { path } => view.get(path).map_or(0, |it| it.acl().as_bytes().len()),
            _of_bounded_size => 0,
        };
        match Request::decode(op, body) {
            Ok(Request::MultiRead(multi)) => {
                let parts = multi.parts().map_while(Result::ok);
                parts.map(|request| part(&request)).fold(0, usize::saturating_add)
            }
            Ok(request) => part(&request),
            Err(_) => 0,
        }
    }

    /// Answers a read into the connection's buffer.
    pub(super) fn execute(
        &mut self,
        key: ConnectionKey,
        xid: i32,
        op: OpCode,
        body: &[u8],
        identities: &[Identity],
    ) {
        let (delivered, now_us) = (self.delivered, self.now_us);
        let Some(Some(connection)) = self.connections.get_mut(key.index as usize) else { return };
        let request = Request::decode(op, body);
        let out = &mut connection.out;
        if let Ok(Request::SetWatches(lists) | Request::SetWatches2(lists)) = &request {
            let view = self.reader.view_at(delivered);
            catch_up(&view, &mut self.watches, key.index, lists, out);
        }
        let start = begin_frame(out);
        out.extend_from_slice(&[0; ReplyHeader::BYTES]);
        let body_start = out.len();
        let mut answering = Answering {
            view: self.reader.view_at(delivered),
            watches: &mut self.watches,
            connection: key.index,
            identities,
            grants: (op == OpCode::MultiRead).then(|| Grants::new(identities)),
            skip_acl: self.shared.config.skip_acl,
            config_node: self.shared.config_node.as_ref(),
            out,
            scratch: &mut self.scratch,
            lists: &mut self.lists,
            walked: &mut self.walked,
        };
        let code = match request {
            Ok(request) => answering.answer(&request),
            Err(_) => Err(ErrorCode::MarshallingError),
        };
        let out = &mut connection.out;
        let err = match code {
            Ok(()) => ErrorCode::Ok,
            Err(code) => {
                out.truncate(body_start); // an error is a header and nothing else
                code
            }
        };
        let header = ReplyHeader { xid, zxid: delivered.as_i64(), err: err.code() };
        out[start..start + 4].copy_from_slice(&header.xid.to_be_bytes());
        out[start + 4..start + 12].copy_from_slice(&header.zxid.to_be_bytes());
        out[start + 12..start + 16].copy_from_slice(&header.err.to_be_bytes());
        end_frame(out, start);
        let bytes = out.len() - start;
        connection.replied(delivered, now_us, 0);
        self.reads += 1;
        let counters = self.counters();
        counters.add(Counter::PacketsSent, 1);
        counters.add(Counter::ResponseBytes, bytes as u64);
        counters.response_size(bytes);
    }
}

impl<'r> Answering<'r> {
    fn answer(&mut self, request: &Request<'_>) -> Result<(), ErrorCode> {
        match *request {
            Request::Exists(PathWatch { path, watch }) => self.exists(path, watch),
            Request::GetData(PathWatch { path, watch }) => {
                self.data(path)?;
                self.arm(path, watch, WatchMode::Data);
                Ok(())
            }
            Request::GetChildren(PathWatch { path, watch }) => {
                self.children(path)?;
                self.arm(path, watch, WatchMode::Child);
                Ok(())
            }
            Request::GetChildren2(PathWatch { path, watch }) => {
                let node = self.children(path)?;
                self.stat(&node).encode(&mut Writer::new(self.out));
                self.arm(path, watch, WatchMode::Child);
                Ok(())
            }
            Request::GetAcl { path } => self.acl(path),
            Request::GetAllChildrenNumber { path } => {
                self.readable(path)?;
                let count = self.view.count_descendants(path).ok_or(ErrorCode::NoNode)?;
                *self.walked += 1 + count;
                Writer::new(self.out).int(i32::try_from(count).unwrap_or(i32::MAX));
                Ok(())
            }
            Request::MultiRead(multi) => self.multi_read(multi),
            Request::SetWatches(_) | Request::SetWatches2(_) => Ok(()), // done before the frame
            Request::AddWatch(AddWatchRequest { path, mode }) => {
                let mode = match mode {
                    0 => WatchMode::Persistent,
                    1 => WatchMode::Recursive,
                    _unknown => return Err(ErrorCode::MarshallingError),
                };
                self.watches.add(self.connection, path, mode);
                Writer::new(self.out).int(0);
                Ok(())
            }
            Request::CheckWatches(PathKind { path, kind }) => {
                let kind = WatcherKind::from_code(kind).ok_or(ErrorCode::MarshallingError)?;
                let found = self.watches.check(self.connection, path, kind);
                if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::RemoveWatches(PathKind { path, kind }) => {
                let kind = WatcherKind::from_code(kind).ok_or(ErrorCode::MarshallingError)?;
                let found = self.watches.remove(self.connection, path, kind);
                if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::WhoAmI => {
                auth::encode_who_am_i(self.identities, self.out);
                Ok(())
            }
            Request::Create(_)
            | Request::Create2(_)
            | Request::CreateContainer(_)
            | Request::CreateTtl(_)
            | Request::Delete(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::Sync { .. }
            | Request::Ping
            | Request::Check(_)
            | Request::Multi(_)
            | Request::Reconfig(_)
            | Request::Auth(_)
            | Request::Sasl { .. }
            | Request::GetEphemerals { .. }
            | Request::CloseSession
            | Request::DeleteContainer { .. }
            | Request::CreateSession { .. } => unreachable!("not a read: {:?}", request.op()),
        }
    }

    fn exists(&mut self, path: &[u8], watch: bool) -> Result<(), ErrorCode> {
        if path.contains(&0) {
            return Err(ErrorCode::BadArguments);
        }
        let found = self.readable(path);
        if found.is_ok() || matches!(found, Err(ErrorCode::NoNode)) {
            self.arm(path, watch, WatchMode::Data);
        }
        self.stat(&found?).encode(&mut Writer::new(self.out));
        Ok(())
    }

    fn data(&mut self, path: &[u8]) -> Result<(), ErrorCode> {
        let node = self.readable(path)?;
        let configured = self.config_node.and_then(|config| config.data_of(&node));
        let stat = self.stat(&node);
        let mut w = Writer::new(self.out);
        w.buffer(configured.or(node.data()));
        stat.encode(&mut w);
        Ok(())
    }

    fn children(&mut self, path: &[u8]) -> Result<Node<'r>, ErrorCode> {
        let node = self.readable(path)?;
        let stat = node.stat();
        let state = (stat.czxid, stat.pzxid, stat.num_children);
        let is_long = Lists::takes(stat.num_children);
        if is_long && let Some(list) = self.lists.get(path, state) {
            self.out.extend_from_slice(list);
            return Ok(node);
        }
        let count_at = self.out.len();
        let mut w = Writer::new(self.out);
        w.int(0);
        let mut count = 0_i32;
        for name in node.children() {
            w.string(name);
            count += 1;
        }
        self.out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        if is_long {
            self.lists.answered(path, state, &self.out[count_at..]);
        }
        Ok(node)
    }

    fn acl(&mut self, path: &[u8]) -> Result<(), ErrorCode> {
        let node = self.view.get(path).ok_or(ErrorCode::NoNode)?;
        let list = node.acl();
        let is_admin = self.allowed(&node, Perms::ADMIN);
        if !is_admin && !self.allowed(&node, Perms::READ) {
            return Err(ErrorCode::NoAuth);
        }
        if is_admin {
            self.out.extend_from_slice(list.as_bytes());
        } else {
            self.scratch.clear();
            auth::mask_digests(list, self.scratch);
            self.out.extend_from_slice(self.scratch);
        }
        self.stat(&node).encode(&mut Writer::new(self.out));
        Ok(())
    }

    fn stat(&self, node: &Node<'_>) -> Stat {
        let configured = self.config_node.and_then(|config| config.stat_of(node));
        configured.unwrap_or_else(|| node.stat())
    }

    fn multi_read(&mut self, multi: MultiRequest<'_>) -> Result<(), ErrorCode> {
        let first = self.out.len();
        for part in multi.parts() {
            let part = part.map_err(|_: DecodeError| ErrorCode::MarshallingError)?;
            let header_at = self.out.len();
            let ok = MultiHeader { kind: part.op().code(), done: false, err: 0 };
            ok.encode(&mut Writer::new(self.out));
            // Watch flags of the parts are ignored, as ZooKeeper does.
            let result = match part {
                Request::GetData(read) => self.data(read.path),
                Request::GetChildren(read) => self.children(read.path).map(drop),
                _not_a_read_here => return Err(ErrorCode::MarshallingError),
            };
            if self.out.len() - first > MULTI_READ_BYTES_MAX {
                return Err(ErrorCode::MarshallingError);
            }
            if let Err(code) = result {
                self.out.truncate(header_at);
                let mut w = Writer::new(self.out);
                MultiHeader { kind: -1, done: false, err: code.code() }.encode(&mut w);
                w.int(code.code());
            }
        }
        MultiHeader::END.encode(&mut Writer::new(self.out));
        Ok(())
    }

    fn readable(&self, path: &[u8]) -> Result<Node<'r>, ErrorCode> {
        let node = self.view.get(path).ok_or(ErrorCode::NoNode)?;
        match &self.grants {
            Some(grants) if !self.skip_acl => grants.check(node.shared_acl(), Perms::READ)?,
            _one_list if self.allowed(&node, Perms::READ) => {}
            _one_list => return Err(ErrorCode::NoAuth),
        }
        Ok(node)
    }

    fn allowed(&self, node: &Node<'_>, needed: Perms) -> bool {
        self.skip_acl || auth::allowed(self.identities, node.acl(), needed)
    }

    fn arm(&mut self, path: &[u8], watch: bool, mode: WatchMode) {
        if watch {
            self.watches.add(self.connection, path, mode);
        }
    }
}

/// Re-arms a client's watches after a reconnect; what changed meanwhile is told at once instead.
/// Persistent watches are armed and told nothing, as ZooKeeper does.
fn catch_up(
    view: &View<'_>,
    watches: &mut WatchTable,
    connection: ConnectionId,
    lists: &SetWatchesRequest<'_>,
    out: &mut Vec<u8>,
) {
    let mut tell = |kind, path| WatcherEvent { kind, path }.encode_frame(-1, out);
    let since = lists.relative_zxid;
    for path in lists.data {
        match view.get(path) {
            None => tell(EventType::NodeDeleted, path),
            Some(node) if node.mzxid().as_i64() > since => tell(EventType::NodeDataChanged, path),
            Some(_) => watches.add(connection, path, WatchMode::Data),
        }
    }
    for path in lists.exist {
        match view.get(path) {
            Some(_) => tell(EventType::NodeCreated, path),
            None => watches.add(connection, path, WatchMode::Data),
        }
    }
    for path in lists.child {
        match view.get(path) {
            None => tell(EventType::NodeDeleted, path),
            Some(node) if node.pzxid().as_i64() > since => {
                tell(EventType::NodeChildrenChanged, path);
            }
            Some(_) => watches.add(connection, path, WatchMode::Child),
        }
    }
    for path in lists.persistent.into_iter().flatten() {
        watches.add(connection, path, WatchMode::Persistent);
    }
    for path in lists.recursive.into_iter().flatten() {
        watches.add(connection, path, WatchMode::Recursive);
    }
}
