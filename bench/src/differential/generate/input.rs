//! One random request.

use super::super::prng::Prng;
use super::super::script::{AclEntry, AclList, Data, End, Op, Path};
use crate::raw::op;

/// Draws the parts of requests.
pub(super) struct Input<'a> {
    pub(super) prng: &'a mut Prng,
    /// The number of the subtree in use.
    pub(super) subtree: usize,
}

/// Everyone may do everything.
pub(super) fn open_acl() -> AclList {
    Some(vec![AclEntry(31, Some("world"), Some("anyone"))])
}

/// Nodes below a subtree that scripts meet in.
const NAMES: &[&str] = &["", "/a", "/b", "/c", "/a/a", "/a/b", "/b/a", "/a/a/a", "/a/a/b"];

/// Names that a client may send and a server must refuse, or take to the letter.
const ODD_TAILS: &[&str] = &[
    "/",
    "//a",
    "/.",
    "/..",
    "/./a",
    "/.b",
    "/...",
    "/a.",
    "/ ",
    "/a/",
    "/\u{1}",
    "/\u{7f}",
    "/\u{a0}",
    "/\u{e000}",
    "/\u{f8ff}",
    "/\u{f900}",
    "/\u{ffef}",
    "/\u{fff0}",
    "/\u{1f600}",
    "/\0",
    "/a\0b",
    "/ä",
    "/nope/a",
    "/nope/..",
];

/// Paths outside of the subtree. None of them can be changed by these scripts.
const FOREIGN: &[&str] =
    &["", "foo", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/nope"];

/// Credentials that clients have; the last ones are odd.
const CREDENTIALS: &[&[u8]] =
    &[b"alice:one", b"bob:two", b"alice:three", b"super:admin", b"nocolon", b"", b":", b"a:b:c"];

/// The digests of `alice:one` and `bob:two`.
const ALICE: &str = "alice:Cuk7ajo4ciREnCr0kLoqUur5dbU=";
const BOB: &str = "bob:yqVrLFrvoaI9z9fohteaNPJvRu8=";

#[derive(Clone, Copy)]
enum Sort {
    Create,
    Delete,
    Read,
    SetData,
    GetAcl,
    SetAcl,
    Sync,
    Ping,
    Multi,
    MultiRead,
    SetWatches,
    AddWatch,
    FindWatches,
    Ephemerals,
    ChildrenNumber,
    WhoAmI,
    Auth,
    Sasl,
    Reconfig,
    Close,
    Unknown,
    Forbidden,
}

const SORTS: &[(usize, Sort)] = &[
    (200, Sort::Create),
    (90, Sort::Delete),
    (220, Sort::Read),
    (90, Sort::SetData),
    (20, Sort::GetAcl),
    (20, Sort::SetAcl),
    (10, Sort::Sync),
    (12, Sort::Ping),
    (90, Sort::Multi),
    (25, Sort::MultiRead),
    (20, Sort::SetWatches),
    (40, Sort::AddWatch),
    (25, Sort::FindWatches),
    (12, Sort::Ephemerals),
    (15, Sort::ChildrenNumber),
    (8, Sort::WhoAmI),
    (16, Sort::Auth),
    (3, Sort::Sasl),
    (3, Sort::Reconfig),
    (5, Sort::Close),
    (3, Sort::Unknown),
    (3, Sort::Forbidden),
];

impl Input<'_> {
    /// Any request.
    pub(super) fn op(&mut self) -> Op {
        match self.prng.weighted(SORTS) {
            Sort::Create => self.create(),
            Sort::Delete => self.delete(),
            Sort::Read => {
                self.read(&[op::EXISTS, op::GET_DATA, op::GET_CHILDREN, op::GET_CHILDREN2])
            }
            Sort::SetData => self.set_data(),
            Sort::GetAcl => self.of_path(op::GET_ACL),
            Sort::SetAcl => self.set_acl(),
            Sort::Sync => self.of_path(op::SYNC),
            Sort::Ping => Op::Bare { code: op::PING },
            Sort::Multi => self.multi(),
            Sort::MultiRead => self.multi_read(),
            Sort::SetWatches => self.set_watches(),
            Sort::AddWatch => {
                let value = self.prng.weighted(&[(20, 0), (20, 1), (1, 2), (1, -1)]);
                Op::OfPathAndInt { code: op::ADD_WATCH, path: self.any_path(), value }
            }
            Sort::FindWatches => {
                let code = *self.prng.pick(&[op::CHECK_WATCHES, op::REMOVE_WATCHES]);
                let value =
                    self.prng.weighted(&[(3, 1), (3, 2), (3, 3), (3, 4), (3, 5), (1, 0), (1, 6)]);
                Op::OfPathAndInt { code, path: self.any_path(), value }
            }
            Sort::Ephemerals => self.of_path(op::GET_EPHEMERALS),
            Sort::ChildrenNumber => self.of_path(op::GET_ALL_CHILDREN_NUMBER),
            Sort::WhoAmI => Op::Bare { code: op::WHO_AM_I },
            Sort::Auth => self.auth(),
            Sort::Sasl => Op::Sasl { token: self.data() },
            Sort::Reconfig => {
                let members = *self.prng.pick(&[None, Some("server.1=a:1:2;3"), Some("")]);
                Op::Reconfig { members, from_config: -1 }
            }
            Sort::Close => Op::Bare { code: op::CLOSE_SESSION },
            Sort::Unknown => Op::Bare { code: *self.prng.pick(&[999, 0, -1, 10, 108, -12]) },
            Sort::Forbidden => match self.prng.below(3) {
                0 => Op::OfPathAndInt { code: op::CHECK, path: self.any_path(), value: -1 },
                1 => self.of_path(op::DELETE_CONTAINER),
                _ => Op::CreateSession,
            },
        }
    }

    fn name(&mut self) -> String {
        format!("~/{}{}", self.subtree, self.prng.pick(NAMES))
    }

    /// Mostly a path that other operations use too.
    fn any_path(&mut self) -> Path {
        match self.prng.below(1_000) {
            0..20 => Path::new(format!("~/{}{}", self.subtree, self.prng.pick(ODD_TAILS))),
            20..50 => Path::new(*self.prng.pick(FOREIGN)),
            50..54 => Path(None),
            54..58 => {
                let mut bytes = format!("~/{}/", self.subtree).into_bytes();
                bytes.extend_from_slice(self.prng.pick::<&[u8]>(&[
                    b"\xff",
                    b"\xc3",
                    b"\xed\xa0\xbd\xed\xb8\x80",
                ]));
                Path(Some(bytes))
            }
            58..120 => {
                let number = self.prng.below(6);
                Path::new(format!("{}/s{number:010}", self.name()))
            }
            _ => Path::new(self.name()),
        }
    }

    /// A path whose change stays inside of the subtree, or is refused.
    fn write_path(&mut self) -> Path {
        loop {
            let path = self.any_path();
            let foreign_and_open: [&[u8]; 4] =
                [b"/", b"/zookeeper", b"/zookeeper/quota", b"/zookeeper/nope"];
            if !path.0.as_deref().is_some_and(|path| foreign_and_open.contains(&path)) {
                return path;
            }
        }
    }

    fn data(&mut self) -> Data {
        Data(match self.prng.below(10) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![b'x'; self.prng.below(5_000)]),
            _ => Some(self.prng.pick::<&[u8]>(&[b"one", b"two", b"\0\xff", b"three"]).to_vec()),
        })
    }

    fn version(&mut self) -> i32 {
        self.prng.weighted(&[
            (12, -1),
            (6, 0),
            (4, 1),
            (3, 2),
            (2, 3),
            (1, 7),
            (1, -2),
            (1, i32::MAX),
        ])
    }

    fn acl(&mut self) -> AclList {
        match self.prng.below(100) {
            0..70 => open_acl(),
            70..72 => None,
            72..74 => Some(Vec::new()),
            _ => {
                let count = 1 + self.prng.below(3);
                Some((0..count).map(|_| self.acl_entry()).collect())
            }
        }
    }

    fn acl_entry(&mut self) -> AclEntry {
        let perms = self.prng.weighted(&[
            (8, 31),
            (3, 1),
            (2, 2),
            (2, 4),
            (2, 8),
            (2, 16),
            (3, 15),
            (1, 0),
            (1, 64),
            (1, -1),
        ]);
        let ids = [
            (12, (Some("world"), Some("anyone"))),
            (8, (Some("auth"), Some(""))),
            (8, (Some("digest"), Some(ALICE))),
            (8, (Some("digest"), Some(BOB))),
            (6, (Some("ip"), Some("127.0.0.1"))),
            (2, (Some("ip"), Some("127.0.0.0/8"))),
            (2, (Some("ip"), Some("10.0.0.0/8"))),
            (1, (Some("ip"), Some("10.0.0"))),
            (1, (Some("ip"), Some("10.0.0.0/33"))),
            (1, (Some("ip"), Some("10.0.0.0/-1"))),
            (1, (Some("ip"), Some("::1"))),
            (1, (Some("ip"), Some("fe80::/10"))),
            (1, (Some("world"), Some("bob"))),
            (1, (Some("foo"), Some("x"))),
            (1, (Some("super"), Some("x"))),
            (1, (Some("sasl"), Some("x"))),
            (1, (Some("x509"), Some("CN=x"))),
            (1, (Some("digest"), Some("bob"))),
            (1, (Some("digest"), Some("a:"))),
            (1, (Some("digest"), Some(":b"))),
            (1, (Some("digest"), Some("a:b::"))),
            (1, (Some("digest"), Some("a:b:c"))),
            (1, (Some("auth"), None)),
            (1, (None, Some("anyone"))),
            (1, (Some("world"), None)),
            (1, (Some("digest"), None)),
        ];
        let (scheme, id) = self.prng.weighted(&ids);
        AclEntry(perms, scheme, id)
    }

    fn create(&mut self) -> Op {
        let code = self.prng.weighted(&[
            (10, op::CREATE),
            (6, op::CREATE2),
            (2, op::CREATE_CONTAINER),
            (2, op::CREATE_TTL),
        ]);
        self.create_as(code)
    }

    fn create_as(&mut self, code: i32) -> Op {
        let proper = match code {
            op::CREATE_CONTAINER => self.prng.weighted(&[(8, 4), (1, 0), (1, 1), (1, 2)]),
            op::CREATE_TTL => self.prng.weighted(&[(6, 5), (4, 6), (1, 0), (1, 4)]),
            _ => self.prng.weighted(&[(10, 0), (6, 1), (4, 2), (4, 3), (1, 4)]),
        };
        let odd = *self.prng.pick(&[4, 5, 6, 7, -1, i32::MAX]);
        let flags = if self.prng.percent(2) { odd } else { proper };
        // A name of its own for sequences, so that suffixes meet the paths of other operations.
        let sequential = matches!(flags, 2 | 3 | 6) && self.prng.percent(80);
        let path =
            if sequential { Path::new(format!("{}/s", self.name())) } else { self.write_path() };
        // An hour: no reaper comes by while a script runs.
        let ttl = self.prng.weighted(&[
            (20, 3_600_000),
            (1, 0),
            (1, -1),
            (1, 0xff_ffff_ffff),
            (1, 0x100_0000_0000),
            (1, i64::MIN),
        ]);
        Op::Create { code, path, data: self.data(), acl: self.acl(), flags, ttl }
    }

    fn delete(&mut self) -> Op {
        // All special paths are refused, so that they may come up.
        let path = if self.prng.percent(4) {
            Path::new(*self.prng.pick(FOREIGN))
        } else {
            self.write_path()
        };
        Op::Delete { path, version: self.version() }
    }

    fn read(&mut self, codes: &[i32]) -> Op {
        let watch = self.prng.weighted(&[(10, 0), (10, 1), (1, 2)]);
        Op::Read { code: *self.prng.pick(codes), path: self.any_path(), watch }
    }

    fn of_path(&mut self, code: i32) -> Op {
        // The count below the root holds what earlier runs left behind.
        let path =
            if code == op::GET_ALL_CHILDREN_NUMBER { self.write_path() } else { self.any_path() };
        Op::OfPath { code, path }
    }

    fn set_data(&mut self) -> Op {
        Op::SetData { path: self.write_path(), data: self.data(), version: self.version() }
    }

    fn set_acl(&mut self) -> Op {
        Op::SetAcl { path: self.write_path(), acl: self.acl(), version: self.version() }
    }

    fn multi(&mut self) -> Op {
        let count = self.prng.weighted(&[(1, 0), (4, 1), (6, 2), (5, 3), (3, 5), (1, 9)]);
        let mut items: Vec<Op> = (0..count).map(|_| self.multi_item()).collect();
        if self.prng.percent(4) {
            let foreign = match self.prng.below(5) {
                0 => self.set_acl(),
                1 => self.read(&[op::EXISTS, op::GET_DATA, op::GET_CHILDREN, op::GET_CHILDREN2]),
                2 => self.of_path(op::SYNC),
                3 => Op::Bare { code: op::PING },
                _ => Op::Multi { code: op::MULTI, items: Vec::new(), end: End::Proper },
            };
            items.insert(self.prng.below(items.len() + 1), foreign);
        }
        Op::Multi { code: op::MULTI, items, end: self.end() }
    }

    fn multi_item(&mut self) -> Op {
        match self.prng.below(20) {
            0..8 => {
                let code = self.prng.weighted(&[
                    (10, op::CREATE),
                    (6, op::CREATE2),
                    (2, op::CREATE_CONTAINER),
                    (2, op::CREATE_TTL),
                ]);
                self.create_as(code)
            }
            8..12 => self.delete(),
            12..17 => self.set_data(),
            _ => {
                let value = self.version();
                Op::OfPathAndInt { code: op::CHECK, path: self.any_path(), value }
            }
        }
    }

    fn multi_read(&mut self) -> Op {
        let count = self.prng.weighted(&[(1, 0), (4, 1), (6, 2), (5, 3)]);
        let mut items: Vec<Op> =
            (0..count).map(|_| self.read(&[op::GET_DATA, op::GET_CHILDREN])).collect();
        if self.prng.percent(4) {
            let foreign = match self.prng.below(3) {
                0 => self.delete(),
                1 => self.read(&[op::EXISTS, op::GET_CHILDREN2]),
                _ => self.of_path(op::GET_ACL),
            };
            items.insert(self.prng.below(items.len() + 1), foreign);
        }
        Op::Multi { code: op::MULTI_READ, items, end: self.end() }
    }

    fn end(&mut self) -> End {
        self.prng.weighted(&[(60, End::Proper), (1, End::OddType), (1, End::Missing)])
    }

    fn set_watches(&mut self) -> Op {
        let lists = *self.prng.pick(&[3, 5]);
        let lists = (0..lists).map(|_| {
            let count = self.prng.below(4);
            let paths = (0..count).map(|_| self.any_path()).filter(|path| path.0.is_some());
            let paths = paths.collect();
            if self.prng.percent(1) { None } else { Some(paths) }
        });
        let lists = lists.collect();
        Op::SetWatches { back: *self.prng.pick(&[0, 0, 1, 5, 50, i64::MAX]), lists }
    }

    fn auth(&mut self) -> Op {
        let scheme = self.prng.weighted(&[
            (30, Some("digest")),
            (2, Some("ip")),
            (1, Some("world")),
            (1, Some("auth")),
            (1, Some("super")),
            (1, Some("sasl")),
            (1, Some("nobody")),
            (1, None),
        ]);
        let proper = self.prng.percent(85);
        let credentials = if proper { &CREDENTIALS[..2] } else { CREDENTIALS };
        let credentials = self.prng.pick(credentials).to_vec();
        Op::Auth { scheme, credentials: Data(Some(credentials)) }
    }
}
