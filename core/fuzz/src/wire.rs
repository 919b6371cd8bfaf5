//! What clients and servers send each other.

use farwatch_core::wire::jute::Reader;
use farwatch_core::wire::request::{MultiHeader, RequestHeader};
use farwatch_core::wire::{
    ConnectRequest, ConnectResponse, OpCode, ReplyHeader, Request, WatcherEvent,
};

/// Any bytes, as each of the things that a frame can be. What is read is written back as it was.
pub fn frame(data: &[u8]) {
    let mut out = Vec::new();
    if let Ok(request) = ConnectRequest::decode(data) {
        request.encode(&mut out);
        assert_eq!(ConnectRequest::decode(&out), Ok(request));
    }
    if let Ok(response) = ConnectResponse::decode(data) {
        out.clear();
        response.encode(&mut out);
        assert_eq!(ConnectResponse::decode(&out), Ok(response));
    }
    if let Ok(header) = RequestHeader::decode(&mut Reader::new(data)) {
        let body = &data[RequestHeader::BYTES..];
        if let Some(op) = OpCode::from_code(header.op) {
            assert_eq!(op.code(), header.op);
            decode(op, body);
        }
    }
    let mut r = Reader::new(data);
    if ReplyHeader::decode(&mut r).is_ok()
        && let Ok(event) = WatcherEvent::decode(&mut r)
    {
        out.clear();
        event.encode_frame(7, &mut out);
        let mut again = Reader::new(&out[4..]);
        ReplyHeader::decode(&mut again).expect("written just now");
        assert_eq!(WatcherEvent::decode(&mut again).as_ref(), Ok(&event));
    }
}

/// The first byte chooses the operation, the rest is its body.
pub fn request(data: &[u8]) {
    let Some((&first, body)) = data.split_first() else { return };
    decode(OpCode::ALL[first as usize % OpCode::ALL.len()], body);
}

/// Decodes, looks at everything inside, and encodes: that must decode to the same bytes again.
fn decode(op: OpCode, body: &[u8]) {
    let Ok(request) = Request::decode(op, body) else { return };
    assert_eq!(request.op(), op);
    walk(&request);
    let mut once = Vec::new();
    request.encode(&mut once);
    let again = Request::decode(op, &once).expect("written just now");
    let mut twice = Vec::new();
    again.encode(&mut twice);
    assert_eq!(once, twice, "{request:?}");
}

fn walk(request: &Request<'_>) {
    match request {
        Request::Create(create)
        | Request::Create2(create)
        | Request::CreateContainer(create)
        | Request::CreateTtl(create) => {
            if let Some(acl) = create.acl {
                walk_acl(acl);
            }
        }
        Request::SetAcl(set) => {
            if let Some(acl) = set.acl {
                walk_acl(acl);
            }
        }
        Request::SetWatches(set) | Request::SetWatches2(set) => {
            let more = [set.persistent, set.recursive].into_iter().flatten();
            for list in [set.data, set.exist, set.child].into_iter().chain(more) {
                let announced = list.len();
                assert_eq!(list.count(), announced);
            }
        }
        Request::Multi(multi) | Request::MultiRead(multi) => {
            let parts: Vec<_> = multi.parts().collect();
            let whole = parts.last().is_none_or(Result::is_ok);
            let mut out = Vec::new();
            for part in parts.iter().flatten() {
                walk(part);
                part.encode_part(&mut out);
            }
            if whole {
                MultiHeader::END.encode(&mut farwatch_core::wire::jute::Writer::new(&mut out));
                let again = farwatch_core::wire::request::MultiRequest { body: &out };
                assert_eq!(again.parts().filter(Result::is_ok).count(), parts.len());
            }
        }
        _ => {}
    }
}

fn walk_acl(acl: farwatch_core::acl::AclList<'_>) {
    let announced = acl.entries().len();
    assert_eq!(acl.entries().count(), announced);
    let again = farwatch_core::acl::AclList::from_bytes(acl.as_bytes());
    assert_eq!(again, Ok(acl));
    let mut masked = Vec::new();
    farwatch_core::auth::mask_digests(acl, &mut masked);
    assert!(farwatch_core::acl::AclList::from_bytes(&masked).is_ok());
    let _any = farwatch_core::auth::allowed(&[], acl, farwatch_core::acl::Perms::READ);
}
