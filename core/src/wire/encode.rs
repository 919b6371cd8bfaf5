//! Requests as bytes: the client's half of [`Request`].

use super::jute::{Reader, Strings, Writer, begin_frame, end_frame};
use super::request::{
    AuthRequest, CreateRequest, MultiHeader, PathKind, PathVersion, PathWatch, Request,
    RequestHeader, SetWatchesRequest,
};
use crate::acl::AclList;

impl Request<'_> {
    /// Appends a whole frame: length, header, body.
    pub fn encode_frame(&self, xid: i32, out: &mut Vec<u8>) {
        let start = begin_frame(out);
        RequestHeader { xid, op: self.op().code() }.encode(&mut Writer::new(out));
        self.encode(out);
        end_frame(out, start);
    }

    /// Appends the body of the request: what [`Request::decode`] reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        match self {
            Self::Create(r) | Self::Create2(r) | Self::CreateContainer(r) => create(r, &mut w),
            Self::CreateTtl(r) => {
                create(r, &mut w);
                w.long(r.ttl);
            }
            Self::Delete(PathVersion { path, version })
            | Self::Check(PathVersion { path, version }) => {
                w.string(path);
                w.int(*version);
            }
            Self::Exists(PathWatch { path, watch })
            | Self::GetData(PathWatch { path, watch })
            | Self::GetChildren(PathWatch { path, watch })
            | Self::GetChildren2(PathWatch { path, watch }) => {
                w.string(path);
                w.boolean(*watch);
            }
            Self::SetData(r) => {
                w.string(r.path);
                w.buffer(r.data);
                w.int(r.version);
            }
            Self::GetAcl { path }
            | Self::GetAllChildrenNumber { path }
            | Self::DeleteContainer { path } => w.string(path),
            Self::SetAcl(r) => {
                w.string(r.path);
                acl(r.acl, &mut w);
                w.int(r.version);
            }
            Self::Sync { path } => w.buffer(*path),
            Self::GetEphemerals { prefix } => w.buffer(*prefix),
            Self::Sasl { token } => w.buffer(*token),
            Self::Ping | Self::WhoAmI | Self::CloseSession => {}
            Self::Multi(r) | Self::MultiRead(r) => w.out.extend_from_slice(r.body),
            Self::Reconfig(r) => {
                w.buffer(r.joining);
                w.buffer(r.leaving);
                w.buffer(r.members);
                w.long(r.config_version);
            }
            Self::CheckWatches(PathKind { path, kind })
            | Self::RemoveWatches(PathKind { path, kind }) => {
                w.string(path);
                w.int(*kind);
            }
            Self::Auth(AuthRequest { scheme, auth }) => {
                w.int(0); // a type that servers ignore
                w.buffer(*scheme);
                w.buffer(*auth);
            }
            Self::SetWatches(r) | Self::SetWatches2(r) => set_watches(r, &mut w),
            Self::AddWatch(r) => {
                w.string(r.path);
                w.int(r.mode);
            }
            Self::CreateSession { timeout_ms } => w.int(*timeout_ms),
        }
    }

    /// Appends this request as one part of a multi: its header, then its body.
    pub fn encode_part(&self, out: &mut Vec<u8>) {
        let header = MultiHeader { kind: self.op().code(), done: false, err: -1 };
        header.encode(&mut Writer::new(out));
        self.encode(out);
    }
}

impl<'a> Strings<'a> {
    /// A vector from bytes that [`Writer::strings`] wrote, checked again. `None` if they do not
    /// hold exactly one vector.
    pub fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let strings = r.strings().ok().flatten()?;
        r.rest().is_empty().then_some(strings)
    }
}

fn create(r: &CreateRequest<'_>, w: &mut Writer<'_>) {
    w.string(r.path);
    w.buffer(r.data);
    acl(r.acl, w);
    w.int(r.flags);
}

fn acl(list: Option<AclList<'_>>, w: &mut Writer<'_>) {
    match list {
        None => w.int(-1),
        Some(list) => w.out.extend_from_slice(list.as_bytes()),
    }
}

fn set_watches(r: &SetWatchesRequest<'_>, w: &mut Writer<'_>) {
    w.long(r.relative_zxid);
    for list in [Some(r.data), Some(r.exist), Some(r.child), r.persistent, r.recursive] {
        let Some(list) = list else { continue };
        w.int(i32::try_from(list.len()).expect("a vector's count is below 2^31"));
        for path in list {
            w.string(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{
        AddWatchRequest, MultiRequest, OpCode, ReconfigRequest, SetAclRequest, SetDataRequest,
    };
    use super::*;
    use crate::acl;

    fn requests<'a>(paths: &'a [u8], multi: &'a [u8]) -> Vec<Request<'a>> {
        let create =
            CreateRequest { path: b"/a", data: None, acl: Some(acl::OPEN), flags: 3, ttl: -1 };
        let list = Strings::from_bytes(paths).unwrap();
        let watches = SetWatchesRequest {
            relative_zxid: 9,
            data: list,
            exist: list,
            child: list,
            persistent: None,
            recursive: None,
        };
        let watches2 =
            SetWatchesRequest { persistent: Some(list), recursive: Some(list), ..watches };
        let version = PathVersion { path: b"/v", version: 7 };
        let watch = PathWatch { path: b"/w", watch: true };
        let kind = PathKind { path: b"/k", kind: 3 };
        vec![
            Request::Create(create),
            Request::Create2(CreateRequest { data: Some(b""), acl: None, ..create }),
            Request::CreateContainer(create),
            Request::CreateTtl(CreateRequest { flags: 5, ttl: 1234, ..create }),
            Request::Delete(version),
            Request::Check(version),
            Request::Exists(watch),
            Request::GetData(watch),
            Request::GetChildren(watch),
            Request::GetChildren2(watch),
            Request::SetData(SetDataRequest { path: b"/s", data: Some(b"x"), version: -1 }),
            Request::GetAcl { path: b"/g" },
            Request::SetAcl(SetAclRequest { path: b"/g", acl: Some(acl::READ_ONLY), version: 2 }),
            Request::Sync { path: None },
            Request::Ping,
            Request::Multi(MultiRequest { body: multi }),
            Request::MultiRead(MultiRequest { body: multi }),
            Request::Reconfig(ReconfigRequest {
                joining: Some(b"server.1=a:1:2;3"),
                leaving: None,
                members: Some(b""),
                config_version: -1,
            }),
            Request::CheckWatches(kind),
            Request::RemoveWatches(kind),
            Request::Auth(AuthRequest { scheme: Some(b"digest"), auth: Some(b"u:p") }),
            Request::SetWatches(watches),
            Request::SetWatches2(watches2),
            Request::Sasl { token: Some(b"t") },
            Request::GetEphemerals { prefix: Some(b"/") },
            Request::GetAllChildrenNumber { path: b"/" },
            Request::AddWatch(AddWatchRequest { path: b"/", mode: 1 }),
            Request::WhoAmI,
            Request::CloseSession,
            Request::DeleteContainer { path: b"/c" },
            Request::CreateSession { timeout_ms: 5 },
        ]
    }

    #[test]
    fn what_encode_writes_decode_reads_for_every_operation() {
        let mut paths = Vec::new();
        Writer::new(&mut paths).strings([&b"/x"[..], b"/y"].into_iter());
        let mut multi = Vec::new();
        Request::Check(PathVersion { path: b"/m", version: 0 }).encode_part(&mut multi);
        MultiHeader::END.encode(&mut Writer::new(&mut multi));
        let requests = requests(&paths, &multi);
        let covered: Vec<OpCode> = requests.iter().map(Request::op).collect();
        assert!(OpCode::ALL.iter().all(|op| covered.contains(op)));
        for request in requests {
            let mut body = Vec::new();
            request.encode(&mut body);
            let decoded = Request::decode(request.op(), &body).unwrap();
            let mut again = Vec::new();
            decoded.encode(&mut again);
            assert_eq!(body, again, "{request:?}");
        }
    }

    #[test]
    fn a_ping_is_the_golden_frame() {
        let mut out = Vec::new();
        Request::Ping.encode_frame(-2, &mut out);
        assert_eq!(out, [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0x0b]);
    }
}
