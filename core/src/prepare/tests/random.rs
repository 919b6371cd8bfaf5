//! Random histories: what is applied when must not show.

use std::collections::BTreeMap;

use super::memory::World;
use super::{Options, request, run};
use crate::answer::Answer;
use crate::record::{Chain, Record};
use crate::wire::{ErrorCode, OpCode, Stat};
use crate::zxid::SessionId;

/// SplitMix64: a seed is a history.
struct Prng(u64);

impl Prng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    fn path(&mut self) -> String {
        let top = self.pick(&["/a", "/q", "/q/k", "/e"]);
        match self.below(3) {
            0 => top.into(),
            _below => format!("{top}{}", self.pick(&["/x", "/y", "/x/z"])),
        }
    }

    fn part(&mut self) -> String {
        let path = self.path();
        let version = self.pick(&["-1", "-1", "0", "1", "2"]);
        let data = self.pick(&["null", "1", "12345", "1234567890"]);
        let acl = self.pick(&["31:world:anyone", "31:world:anyone", "15:world:anyone", "31:auth:"]);
        match self.below(9) {
            0..=3 => {
                let flags = self.pick(&["0", "0", "1", "2", "3", "4"]);
                format!("create {path} flags={flags} data={data} acl={acl}")
            }
            4 => format!("container {path} acl={acl}"),
            5 => format!("ttl {path} ttl=5 acl={acl}"),
            6 => format!("delete {path} v={version}"),
            7 => format!("set {path} v={version} data={data}"),
            _check => format!("check {path} v={version}"),
        }
    }

    fn line(&mut self) -> String {
        let session = self.pick(&["s1", "s2", "s3"]);
        let acl = self.pick(&["31:world:anyone", "24:world:anyone", "31:auth:", "empty"]);
        match self.below(24) {
            0..=12 => loop {
                let part = self.part();
                if !part.starts_with("check") {
                    return format!("{session} {part}");
                }
            },
            13..=15 => {
                let parts: Vec<_> = (0..self.below(5)).map(|_| self.part()).collect();
                format!("{session} multi {}", parts.join(" ; "))
            }
            16 => format!("{session} setacl {} acl={acl}", self.path()),
            17 => format!("reap {} 3", self.path()),
            18 => "wait 2".into(),
            19 => format!("{session} {}", self.pick(&["close", "expire", "open", "open", "open"])),
            20 => format!("apply {}", 1 + self.below(12)),
            _common => format!("apply {}", 1 + self.below(4)),
        }
    }
}

#[test]
fn whether_earlier_writes_were_applied_never_shows() {
    let mut outcomes = BTreeMap::<String, usize>::new();
    for seed in 0..60 {
        let mut prng = Prng(seed);
        let mut script = String::from(
            "s2 who digest:b:1\ns3 open\ncreate /q\ncreate /q/k\napply\n\
             quota /q -1 -1 6 40\nquota /a 1 2 -1 25\n",
        );
        // The same quotas for the tree, which takes them from its nodes.
        let (on_q, on_a) =
            ("=;byteHardLimit=40;countHardLimit=6", "count=1,bytes=2=;byteHardLimit=25");
        for (path, data) in [
            ("/q", ""),
            ("/q/zookeeper_limits", &*format!("count=-1,bytes=-1{on_q}")),
            ("/q/zookeeper_stats", ""),
            ("/a", ""),
            ("/a/zookeeper_limits", on_a),
            ("/a/zookeeper_stats", ""),
        ] {
            script.push_str(&format!("create /zookeeper/quota{path} data={data}\n"));
        }
        script.push_str("apply\n");
        for _ in 0..120 {
            script.push_str(&prng.line());
            script.push('\n');
        }
        let options = Options { extended_types: true, enforce_quota: true, ..Options::default() };
        let at_once = run(World::new(options), &script, true);
        let late = run(World::new(options), &script, false);
        let over_a_tree = run(World::over_a_tree(options), &script, false);
        for ((one, other), third) in at_once.lines().zip(late.lines()).zip(over_a_tree.lines()) {
            assert_eq!(one, other, "seed {seed}");
            assert_eq!(one, third, "seed {seed}, over the tree");
            let outcome = one.rsplit_once("-> ").unwrap().1;
            let words = outcome.split(' ').skip(1).take(2).collect::<Vec<_>>();
            let is_error = words[..].first() == Some(&"error");
            let kind = if is_error { words.join(" ") } else { words.concat() };
            let kind: String = kind.chars().take_while(|&c| c != '/').collect();
            *outcomes.entry(kind).or_default() += 1;
        }
    }
    // Histories in which nothing happens would pass too.
    for kind in [
        "create",
        "delete",
        "set",
        "setacl",
        "close",
        "error -101",
        "error -102",
        "error -103",
        "error -108",
        "error -110",
        "error -111",
        "error -112",
        "error -114",
        "error -125",
    ] {
        assert!(outcomes.get(kind).is_some_and(|&count| count >= 10), "{kind}: {outcomes:?}");
    }
}

/// X4, K7: whatever a body holds, it is refused, or logged as what can be read, applied, answered.
#[test]
fn no_body_of_a_write_goes_unanswered() {
    let (mut refused, mut logged) = (0, 0);
    for seed in 0..60 {
        let mut prng = Prng(seed);
        let options = Options { extended_types: true, ..Options::default() };
        let mut world = World::new(options);
        (1..=3).for_each(|session| assert!(world.open(session).is_some()));
        world.apply(3);
        for _ in 0..150 {
            let line = match prng.below(3) {
                0 => format!("multi {} ; {}", prng.part(), prng.part()),
                _one => prng.part(),
            };
            let (op, mut body) = request(&line.split_whitespace().collect::<Vec<_>>());
            for _ in 0..prng.below(4) {
                let at = prng.below(body.len() as u64) as usize;
                match prng.below(4) {
                    0 => body.truncate(at.max(1)),
                    1 => body[at] = 0xff,
                    2 => body[at] ^= 1 << prng.below(8),
                    _any => body[at] = prng.below(256) as u8,
                }
            }
            let op = match prng.below(10) {
                0 => OpCode::ALL[prng.below(OpCode::ALL.len() as u64) as usize],
                _meant => op,
            };
            let session = SessionId(1 + prng.below(3));
            match world.write(session, op, &body) {
                Err(code) => {
                    assert!(matches!(code, ErrorCode::MarshallingError | ErrorCode::Unimplemented));
                    refused += 1;
                }
                Ok((mut record, answer)) => {
                    let crc = crc32c::crc32c(&record[4..]);
                    record[..4].copy_from_slice(&crc.to_le_bytes());
                    let record = Record::read(&record, Chain(0)).unwrap();
                    let decoded = crate::wire::Request::decode(op, &body).unwrap();
                    assert_eq!(answer, Answer::for_request(&decoded), "seed {seed}");
                    answer.encode(&record.txn(), &[Stat::default(); 4], &mut Vec::new());
                    logged += 1;
                }
            }
            world.apply(prng.below(3) as usize);
        }
    }
    assert!(refused > 500 && logged > 500, "{refused} refused, {logged} logged");
}
