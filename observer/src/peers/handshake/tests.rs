use farwatch_core::prng::Prng;

use super::*;

fn some_hello(prng: &mut Prng) -> Hello {
    let version_min = prng.below(4) as u16;
    Hello {
        version_min,
        version_max: version_min + prng.below(4) as u16,
        votes: prng.one_in(2),
        cluster: ClusterId(prng.next()),
        tentative: prng.one_in(2),
        boot: prng.next(),
        capabilities: prng.next(),
        me: ServerId(prng.next() as u32),
        you: ServerId(prng.next() as u32),
        attempt: match prng.one_in(2) {
            true => Attempt { way: prng.below(9) as u32, number: prng.between(1, 99) as u32 },
            false => Attempt::default(),
        },
    }
}

fn some_answer(prng: &mut Prng) -> Answer {
    let text = (0..prng.below(80)).map(|_| (b'a' + prng.below(26) as u8) as char).collect();
    let verdict = match prng.below(2) {
        0 => Ok(prng.next() as u16),
        _ => Err(Rejection { code: prng.between(1, u64::from(u16::MAX)) as u16, text }),
    };
    Answer { hello: some_hello(prng), verdict }
}

fn hello_bytes(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    bytes
}

fn answer_bytes(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer.encode(&mut bytes);
    bytes
}

const GOLDEN: &[u8] = include_bytes!("../../../../fixtures/peer-handshake-v1");

/// A hello, and a good and a bad answer to it.
fn golden() -> (Hello, [Answer; 2]) {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        votes: true,
        cluster: ClusterId(0x0102_0304_0506_0708),
        tentative: true,
        boot: 9,
        capabilities: 10,
        me: ServerId(2),
        you: ServerId(1),
        attempt: Attempt::default(),
    };
    let own = Hello { votes: false, tentative: false, me: ServerId(1), you: ServerId(2), ..hello };
    let rejection = Rejection { code: 4, text: "not in the configuration".to_owned() };
    let answers = [Ok(1), Err(rejection)].map(|verdict| Answer { hello: own, verdict });
    (hello, answers)
}

#[test]
fn handshakes_of_version_1_are_understood_for_ever_and_are_what_is_said_today() {
    let (hello, [good, bad]) = golden();
    let written = [hello_bytes(&hello), answer_bytes(&good), answer_bytes(&bad)].concat();
    // After a deliberate change: keep this file, add that of the new version.
    if let Ok(target) = std::env::var("FARWATCH_WRITE_FIXTURES") {
        std::fs::write(format!("{target}/peer-handshake-v1"), &written).unwrap();
    }
    assert_eq!(Hello::decode(GOLDEN), Ok(Arrived::Whole(hello, HELLO_BYTES)));
    let mut rest = &GOLDEN[HELLO_BYTES..];
    for answer in [good, bad] {
        let Ok(Arrived::Whole(found, used)) = Answer::decode(rest) else { panic!("{rest:?}") };
        assert_eq!(found, answer);
        rest = &rest[used..];
    }
    assert!(rest.is_empty() && written == GOLDEN, "the layout changed without a new version");
}

#[test]
fn hello_and_answer_come_back_as_they_were_and_no_prefix_of_them_is_one() {
    for seed in 0..300 {
        let mut prng = Prng::new(seed);
        let (hello, answer) = (some_hello(&mut prng), some_answer(&mut prng));
        let bytes = hello_bytes(&hello);
        assert_eq!(Hello::decode(&bytes), Ok(Arrived::Whole(hello, bytes.len())), "seed {seed}");
        for cut in 0..bytes.len() {
            assert!(
                matches!(Hello::decode(&bytes[..cut]), Ok(Arrived::Needs(more)) if cut < more),
                "seed {seed}, cut to {cut}"
            );
        }
        let mut bytes = answer_bytes(&answer);
        for cut in 0..bytes.len() {
            assert!(
                matches!(Answer::decode(&bytes[..cut]), Ok(Arrived::Needs(more)) if cut < more),
                "seed {seed}, cut to {cut}"
            );
        }
        let length = bytes.len();
        bytes.extend_from_slice(b"frames");
        assert_eq!(Answer::decode(&bytes), Ok(Arrived::Whole(answer, length)), "seed {seed}");
    }
}

#[test]
fn a_changed_byte_is_always_seen() {
    for seed in 0..3_000 {
        let mut prng = Prng::new(seed);
        let mut hello = hello_bytes(&some_hello(&mut prng));
        let at = prng.below(hello.len() as u64) as usize;
        hello[at] ^= prng.between(1, 255) as u8;
        assert!(!matches!(Hello::decode(&hello), Ok(Arrived::Whole(..))), "seed {seed}");
        let mut answer = answer_bytes(&some_answer(&mut prng));
        let at = prng.below(answer.len() as u64) as usize;
        answer[at] ^= prng.between(1, 255) as u8;
        assert!(!matches!(Answer::decode(&answer), Ok(Arrived::Whole(..))), "seed {seed}");
    }
}

#[test]
fn no_bytes_make_the_decoders_panic() {
    for seed in 0..20_000 {
        let mut prng = Prng::new(seed);
        let mut bytes: Vec<u8> = (0..prng.below(200)).map(|_| prng.next() as u8).collect();
        // Half of them are right as far as magic, length and checksum go.
        if prng.one_in(2) && bytes.len() >= PREFIX_BYTES {
            let magic = if prng.one_in(2) { HELLO_MAGIC } else { ANSWER_MAGIC };
            bytes[..4].copy_from_slice(&magic);
            let length = bytes.len() as u16;
            bytes[8..10].copy_from_slice(&length.to_le_bytes());
            seal(&mut bytes);
        }
        let _ = Hello::decode(&bytes);
        let _ = Answer::decode(&bytes);
    }
}

#[test]
fn a_later_version_may_say_more_in_its_hello() {
    let mut prng = Prng::new(1);
    let attempt = Attempt { way: 1, number: 2 };
    let hello = Hello { attempt, ..some_hello(&mut prng) };
    let mut bytes = hello_bytes(&hello);
    bytes.extend_from_slice(b"what a later version adds");
    let length = bytes.len();
    bytes[8..10].copy_from_slice(&(length as u16).to_le_bytes());
    seal(&mut bytes);
    assert_eq!(Hello::decode(&bytes), Ok(Arrived::Whole(hello, length)));
}

#[test]
fn a_stranger_is_known_by_its_first_byte_and_named_without_control_characters() {
    assert!(matches!(Hello::decode(b"G"), Err(HandshakeError::Stranger(_))));
    let Err(HandshakeError::Stranger(text)) = Hello::decode(b"\x1b[2JGET / HTTP/1.1\r\n") else {
        panic!("a browser is no peer");
    };
    assert_eq!(text, ".[2JGET / HTTP/1");
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut prng = Prng::new(1);
    let text = "é".repeat(TEXT_BYTES_MAX);
    let verdict = Err(Rejection { code: 3, text });
    let bytes = answer_bytes(&Answer { hello: some_hello(&mut prng), verdict });
    let Ok(Arrived::Whole(Answer { verdict: Err(rejection), .. }, _)) = Answer::decode(&bytes)
    else {
        panic!("it is a refusal");
    };
    assert_eq!(rejection.text, "é".repeat(TEXT_BYTES_MAX / 2));
}

#[test]
fn the_layout_is_frozen() {
    let hello = Hello {
        version_min: 1,
        version_max: 2,
        votes: false,
        cluster: ClusterId(0x0807_0605_0403_0201),
        tentative: true,
        boot: 9,
        capabilities: 10,
        me: ServerId(11),
        you: ServerId(12),
        attempt: Attempt::default(),
    };
    let mut wanted = b"FWPH".to_vec();
    wanted.extend_from_slice(&[0; 4]);
    wanted.extend_from_slice(&[48, 0, 1, 0, 2, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
    wanted.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0]);
    wanted.extend_from_slice(&[11, 0, 0, 0, 12, 0, 0, 0]);
    let bytes = hello_bytes(&hello);
    assert_eq!(bytes[..4], wanted[..4]);
    assert_eq!(bytes[8..], wanted[8..]);
    assert_eq!(bytes[4..8], crc32c::crc32c(&bytes[8..]).to_le_bytes());
    // Who dials says more behind it, which older builds pass over.
    let more = hello_bytes(&Hello { attempt: Attempt { way: 13, number: 14 }, ..hello });
    assert_eq!((more.len(), &more[8..10]), (56, &[56, 0][..]));
    assert_eq!(more[10..HELLO_BYTES], wanted[10..]);
    assert_eq!(more[HELLO_BYTES..], [13, 0, 0, 0, 14, 0, 0, 0]);
}
