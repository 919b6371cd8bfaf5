//! What is exchanged comes back as it was, and no bytes whatever stop the decoder.

use super::*;
use crate::prng::Prng;
use crate::zxid::Epoch;

const GOLDEN: &[u8] = include_bytes!("../../../../fixtures/node-exchange-v2");
const GOLDEN_V3: &[u8] = include_bytes!("../../../../fixtures/node-exchange-v3");
const GOLDEN_V1: &[u8] = include_bytes!("../../../../fixtures/node-exchange-v1");

const AT: Origin = Origin { reactor: 1, connection: 2, generation: 3, sequence: 4 };

fn request() -> Request {
    let who = |id: &str| -> Arc<[Identity]> {
        Arc::from([Identity { scheme: "ip".to_owned(), id: id.to_owned() }])
    };
    // As two connections from one place have them.
    let (one, two, again) = (who("10.0.0.1"), who("10.0.0.2"), who("10.0.0.1"));
    let ask = |number, ask, identities: &Arc<[Identity]>| Asked {
        number,
        item: Item::new(AT, SessionId(7), -5, ask, Arc::clone(identities)),
        scope: Scope::Global,
        body: Arc::from(&b"body"[..]),
    };
    Request {
        hosted: Some(vec![Hosted {
            session: SessionId(9),
            origin: AT,
            hold: Hold(3),
            timeout_ms: 4000,
        }]),
        asks: vec![
            ask(1, Ask::Write(OpCode::Create2), &one),
            ask(2, Ask::Sync, &one),
            ask(
                3,
                Ask::Open { timeout_ms: 5, password: Password([8; 16]), read_only: false },
                &two,
            ),
            ask(4, Ask::Resume { timeout_ms: 6, read_only: false }, &again),
        ],
        touched: vec![(SessionId(1), 2)],
        left: vec![(SessionId(3), AT)],
        coming: Vec::new(),
        room: None,
        applied: Zxid::ZERO,
    }
}

fn response() -> Response {
    let zxid = Zxid::new(Epoch(2), 3);
    let (hold, password) = (Hold(4), Password([9; 16]));
    Response {
        welcome: Some((6, zxid)),
        verdicts: vec![
            (1, Verdict::Proposed { zxid, hold }),
            (2, Verdict::Refused { behind: zxid, code: ErrorCode::NoAuth }),
            (3, Verdict::Synced { upto: zxid }),
            (4, Verdict::Resumed { behind: zxid, hold, timeout_ms: 1, password }),
            (5, Verdict::Expired),
            (6, Verdict::Closed),
        ],
        displaced: vec![(SessionId(5), AT)],
        digest: Some((zxid, 77)),
    }
}

#[test]
fn what_is_exchanged_comes_back_and_no_prefix_of_it_is_anything() {
    let [.., local] = requests();
    for request in [local, beside()] {
        let bytes = request.encode();
        let back = Request::decode(&bytes).expect("it was encoded here");
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
        for length in 0..bytes.len() {
            assert!(Request::decode(&bytes[..length]).is_err());
        }
    }
    let bytes = response().encode();
    let back = Response::decode(&bytes).expect("it was encoded here");
    assert_eq!(format!("{back:?}"), format!("{:?}", response()));
    for length in 0..bytes.len() {
        assert!(Response::decode(&bytes[..length]).is_err());
    }
}

/// What the first version could say.
fn requests_v1() -> [Request; 2] {
    [request(), Request { touched: vec![(SessionId(11), 12)], ..Request::default() }]
}

fn requests() -> [Request; 3] {
    let [first, second] = requests_v1();
    let mut local = request();
    local.applied = Zxid::new(Epoch(3), 4);
    local.asks[0].scope = Scope::Upgradable { timeout_ms: 4000, password: Password([7; 16]) };
    local.asks[1].scope = Scope::Local;
    [first, second, local]
}

/// What the third version says, and no other is written for.
fn beside() -> Request {
    let [.., local] = requests();
    Request { coming: vec![ServerId(4), ServerId(0x0123_4567)], room: Some(false), ..local }
}

fn responses() -> [Response; 2] {
    [response(), Response { displaced: vec![(SessionId(13), AT)], ..Response::default() }]
}

/// Every sample behind its length, requests first.
fn written() -> Vec<u8> {
    let mut file = Vec::new();
    let samples = requests().map(|it| it.encode()).into_iter();
    for bytes in samples.chain(responses().map(|it| it.encode())) {
        file.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        file.extend_from_slice(&bytes);
    }
    file
}

/// The samples of a golden file.
fn parts(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (bytes, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        parts.push(bytes);
        rest = behind;
    }
    parts
}

#[track_caller]
fn is_understood(golden: &[u8], requests: &[Request]) {
    let parts = parts(golden);
    let (first, second) = parts.split_at(requests.len());
    let asked: Vec<_> = first.iter().map(|it| Request::decode(it).expect("a request")).collect();
    let told: Vec<_> = second.iter().map(|it| Response::decode(it).expect("a response")).collect();
    assert_eq!(format!("{asked:?}"), format!("{requests:?}"));
    assert_eq!(format!("{told:?}"), format!("{:?}", responses()));
}

/// It knew no local sessions: all its asks are of global ones.
#[test]
fn what_was_exchanged_in_version_1_is_understood_for_ever() {
    is_understood(GOLDEN_V1, &requests_v1());
}

#[test]
fn what_was_exchanged_in_version_2_is_understood_for_ever_and_is_what_is_said_today() {
    // After a deliberate change: keep this file, add that of the new version.
    if let Ok(target) = std::env::var("FARWATCH_WRITE_FIXTURES") {
        std::fs::write(format!("{target}/node-exchange-v2"), written()).unwrap();
    }
    is_understood(GOLDEN, &requests());
    assert!(written() == GOLDEN, "the layout changed without a new version");
}

#[test]
fn what_is_said_beside_is_in_version_3_and_nothing_else_is() {
    if let Ok(target) = std::env::var("FARWATCH_WRITE_FIXTURES") {
        std::fs::write(format!("{target}/node-exchange-v3"), beside().encode()).unwrap();
    }
    let asked = Request::decode(GOLDEN_V3).expect("a request");
    assert_eq!(format!("{asked:?}"), format!("{:?}", beside()));
    assert!(*beside().encode() == *GOLDEN_V3, "the layout changed without a new version");
}

#[test]
fn no_bytes_whatever_stop_the_decoders() {
    let mut prng = Prng::new(0xe8c4);
    let [.., local] = requests();
    let samples = [local.encode(), beside().encode(), response().encode()];
    for _ in 0..30_000 {
        let mut bytes = samples[prng.below(3) as usize].to_vec();
        for _ in 0..prng.between(1, 4) {
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] = prng.next() as u8;
        }
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes);
    }
}

fn ask_of(number: u64, session: u64, ask: Ask, identities: &Arc<[Identity]>) -> Asked {
    let item = Item::new(AT, SessionId(session), 1, ask, Arc::clone(identities));
    Asked { number, item, scope: Scope::Global, body: Arc::from(&b"/some/path"[..]) }
}

#[test]
fn connections_that_take_turns_send_their_identities_once_and_a_request_counts_all_that_it_takes() {
    let who = |of: u8| -> Arc<[Identity]> {
        let id = String::from_utf8(vec![of; 60_000]).expect("letters");
        Arc::from([Identity { scheme: "digest".to_owned(), id }])
    };
    let (one, two, nobody) = (who(b'a'), who(b'b'), Arc::from([]));
    let (mut request, mut size, mut counted) = (Request::default(), Size::default(), 0);
    for number in 0..3000 {
        let identities = [&one, &two, &nobody][number as usize % 3];
        let asked = ask_of(number, 7, Ask::Write(OpCode::Delete), identities);
        counted = size.add(&asked);
        request.asks.push(asked);
        if number.is_multiple_of(500) {
            let length = request.encode().len();
            assert!(length <= counted + 64, "{length} bytes, and {counted} were counted");
        }
    }
    assert!(counted < 600_000, "{counted}: a list is counted again");
    let bytes = request.encode();
    assert!(bytes.len() <= counted + 64, "{} bytes, and {counted} were counted", bytes.len());
    let back = Request::decode(&bytes).expect("what was encoded");
    for (sent, came) in request.asks.iter().zip(&back.asks) {
        assert_eq!(sent.item.identities, came.item.identities);
    }
    // As much as any ask takes.
    let mut asked = ask_of(1, 7, OPEN, &nobody);
    asked.scope = Scope::Upgradable { timeout_ms: 1, password: Password([7; 16]) };
    let counted = Size::default().add(&asked);
    let empty = Request::default().encode().len();
    let request = Request { asks: vec![asked], ..Request::default() };
    assert!(request.encode().len() - empty <= counted);
}

const OPEN: Ask = Ask::Open { timeout_ms: 4000, password: Password([8; 16]), read_only: false };

#[test]
fn no_session_begins_by_the_id_of_none_and_none_with_a_timeout_that_nobody_negotiates() {
    let nobody: Arc<[Identity]> = Arc::from([]);
    let decoded = |asked: Asked| {
        Request::decode(&Request { asks: vec![asked], ..Request::default() }.encode())
    };
    let upgradable = |session, timeout_ms| {
        let asked = ask_of(1, session, Ask::Write(OpCode::Create), &nobody);
        Asked { scope: Scope::Upgradable { timeout_ms, password: Password([7; 16]) }, ..asked }
    };
    assert!(decoded(ask_of(1, 0, OPEN, &nobody)).is_err());
    assert!(decoded(upgradable(0, 4000)).is_err());
    assert!(decoded(ask_of(1, 7, OPEN, &nobody)).is_ok());
    // Nothing else is a session's begin.
    assert!(decoded(ask_of(1, 0, Ask::Sync, &nobody)).is_ok());
    let negative =
        Ask::Open { timeout_ms: i32::MIN, password: Password([8; 16]), read_only: false };
    let back = decoded(ask_of(1, 7, negative, &nobody)).expect("it is understood").asks;
    assert!(matches!(back[0].item.ask, Ask::Open { timeout_ms: 1, .. }), "{back:?}");
    let back = decoded(upgradable(7, -5)).expect("it is understood").asks;
    assert!(matches!(back[0].scope, Scope::Upgradable { timeout_ms: 1, .. }), "{back:?}");
}
