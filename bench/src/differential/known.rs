//! Differences that are expected, each with its reason. `docs/compatibility.md` lists the same
//! ids, and a test holds the two together.

use super::compare::Difference;
use super::script::{Act, Data, End, Op, Reconnect, Step};
use super::value::Value;
use crate::raw::op;

/// The node that an ensemble's servers fill themselves.
const CONFIG_NODE: &[u8] = b"/zookeeper/config";

/// What runs on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache ZooKeeper of this release.
    ZooKeeper(u32, u32, u32),
    /// Farwatch.
    Farwatch,
    /// A server that could not be told.
    Unknown,
}

impl Kind {
    fn is_zookeeper_before(self, release: (u32, u32, u32)) -> bool {
        matches!(self, Self::ZooKeeper(major, minor, patch) if (major, minor, patch) < release)
    }

    fn is_zookeeper(self) -> bool {
        matches!(self, Self::ZooKeeper(..))
    }
}

/// The kinds of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// What runs as A.
    pub a: Kind,
    /// What runs as B.
    pub b: Kind,
    /// Whether several servers of each serve together.
    pub in_ensemble: bool,
}

impl Kinds {
    fn any(self, is: impl Fn(Kind) -> bool) -> bool {
        is(self.a) || is(self.b)
    }

    /// Whether `is` holds for one side only.
    fn differ_in(self, is: impl Fn(Kind) -> bool) -> bool {
        is(self.a) != is(self.b)
    }

    /// Whether a side is of the releases that send -1 in the header of every notification.
    pub(super) fn tell_no_event_zxids(self) -> bool {
        self.any(|kind| kind.is_zookeeper_before((3, 9, 0)))
    }

    fn is_farwatch_against_zookeeper(self) -> bool {
        let farwatch = |kind| kind == Kind::Farwatch;
        self.differ_in(farwatch) && self.any(Kind::is_zookeeper)
    }
}

/// An expected difference.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name in `docs/compatibility.md`.
    pub id: &'static str,
    /// Why it is expected.
    pub reason: &'static str,
    /// Whether it explains this difference.
    explains: fn(Kinds, &Step, &Difference) -> bool,
}

/// The table. The first entry that explains a difference is counted.
pub const KNOWN: &[Known] = &[
    Known {
        id: "notification-zxid",
        reason: "3.8 sends -1 in the header of every notification; 3.9 sends the zxid of the cause",
        explains: |kinds, _, difference| {
            kinds.differ_in(|kind| kind.is_zookeeper_before((3, 9, 0)))
                && difference.place.ends_with(" event.zxid")
                && (difference.a == Value::Zxid(-1) || difference.b == Value::Zxid(-1))
        },
    },
    Known {
        id: "config-node",
        reason: "the node names the members of each ensemble by their ports, and since when each \
                 server shows it",
        explains: |kinds, step, difference| {
            let reads = matches!(&step.act, Act::Send { op, .. } if op.names(CONFIG_NODE));
            kinds.in_ensemble && reads && difference.place.contains(" reply.body")
        },
    },
    Known {
        id: "wrong-password-closes",
        reason: "X7: ZooKeeper closes the session's proper connection before it looks at the \
                 password; Farwatch verifies first",
        explains: |kinds, step, _| {
            kinds.is_farwatch_against_zookeeper()
                && matches!(
                    step.act,
                    Act::Reconnect(Reconnect::WrongPassword | Reconnect::NullPassword)
                )
        },
    },
    Known {
        id: "undecodable-write-zxid",
        reason: "a write whose body cannot be decoded consumes a zxid in 3.8, none in 3.9 unless \
                 it is a multi, and none in Farwatch",
        explains: |kinds, step, difference| {
            (kinds.is_farwatch_against_zookeeper()
                || kinds.differ_in(|kind| kind.is_zookeeper_before((3, 9, 0))))
                && is_refused_body(step)
                && difference.place.ends_with(" reply.zxid")
        },
    },
    Known {
        id: "multi-read-partial-body",
        reason: "ZooKeeper leaves part of a MultiResponse behind the header of a multiRead that it \
                 refuses; clients ignore it, and Farwatch sends none",
        explains: |kinds, step, difference| {
            kinds.is_farwatch_against_zookeeper()
                && step.code() == Some(op::MULTI_READ)
                && difference.place.ends_with(" reply.body")
        },
    },
    Known {
        id: "null-in-acl",
        reason: "ZooKeeper fails inside of itself over a null scheme or id of an ACL and \
                 answers -5, for a whole multi too; Farwatch refuses the entry",
        explains: |kinds, step, difference| {
            let null = matches!(&step.act, Act::Send { op, .. } if op.has_null_in_acl());
            kinds.is_farwatch_against_zookeeper()
                && null
                && (difference.place.ends_with(" reply.err")
                    || difference.place.contains(" reply.body"))
        },
    },
    Known {
        id: "sasl-null-token",
        reason: "ZooKeeper fails inside of itself over a null token and closes; Farwatch answers \
                 as to any other token, that there is no SASL",
        explains: |kinds, step, _| {
            let is_null = |op: &Op| matches!(op, Op::Sasl { token: Data(None) });
            let null = match &step.act {
                Act::Send { op: Op::Padded { op }, .. } => is_null(op),
                Act::Send { op, .. } => is_null(op),
                Act::Reconnect(_) | Act::Garbage(_) => false,
            };
            kinds.is_farwatch_against_zookeeper() && null
        },
    },
];

/// The entry that explains `difference`.
#[must_use]
pub fn explanation(kinds: Kinds, step: &Step, difference: &Difference) -> Option<&'static Known> {
    KNOWN.iter().find(|known| (known.explains)(kinds, step, difference))
}

/// A step that no script holds because one of the sides would not survive it, or the trees would
/// differ from there on; with the reason.
#[derive(Clone, Copy, Debug)]
pub struct Withheld {
    /// Its name in `docs/compatibility.md`.
    pub id: &'static str,
    /// Why it is withheld.
    pub reason: &'static str,
    withholds: fn(Kinds, &Op) -> bool,
}

/// The table of what scripts leave out.
pub const WITHHELD: &[Withheld] = &[
    Withheld {
        id: "ensemble-undecodable-write",
        reason: "X4: an ensemble of ZooKeeper proposes a write that does not decode under a zxid that \
                 is taken, and commits nothing any more",
        withholds: |kinds, op| {
            kinds.in_ensemble && kinds.any(Kind::is_zookeeper) && may_not_decode(op)
        },
    },
    Withheld {
        id: "ttl-crash",
        reason: "X1: op 21 with a plain flag and a negative ttl stops ZooKeeper for good",
        withholds: |kinds, op| {
            kinds.any(Kind::is_zookeeper)
                && matches!(op, Op::Create { code: op::CREATE_TTL, flags: 0..=4, ttl, .. } if *ttl < 0)
        },
    },
    Withheld {
        id: "config-node-write",
        reason: "a server of ZooKeeper shows its configuration under version -1, and sets it anew at \
                 every start, over what a super user wrote; Farwatch counts such writes from 0",
        withholds: |kinds, op| {
            let is_write = matches!(op, Op::SetData { .. } | Op::SetAcl { .. } | Op::Multi { .. });
            kinds.in_ensemble && is_write && op.names(CONFIG_NODE)
        },
    },
    Withheld {
        id: "delete-container",
        reason: "X5: ZooKeeper executes the reaper's deleteContainer for any client",
        withholds: |kinds, op| {
            kinds.is_farwatch_against_zookeeper() && op.code() == op::DELETE_CONTAINER
        },
    },
    Withheld {
        id: "create-session",
        reason: "X6: ZooKeeper executes createSession for any client and answers in mid-stream",
        withholds: |kinds, op| kinds.any(Kind::is_zookeeper) && op.code() == op::CREATE_SESSION,
    },
    Withheld {
        id: "set-watches-null-list",
        reason: "ZooKeeper answers -5 to a null list behind the first, but has armed the lists \
                 before it and sent their events; Farwatch decodes the whole before it does any",
        withholds: |kinds, op| {
            kinds.is_farwatch_against_zookeeper()
                && matches!(op, Op::SetWatches { lists, .. } if lists.iter().skip(1).any(Option::is_none))
        },
    },
    Withheld {
        id: "children-number-of-nothing",
        reason: "ZooKeeper counts one node more below the empty path than below the root; Farwatch \
                 takes the one for the other",
        withholds: |kinds, op| {
            let Op::OfPath { code: op::GET_ALL_CHILDREN_NUMBER, path } = op else { return false };
            kinds.is_farwatch_against_zookeeper() && path.0.as_deref() == Some(b"")
        },
    },
    Withheld {
        id: "auth-null-id",
        reason: "ZooKeeper fails inside of itself over a null id of the scheme auth when another \
                 entry has the scheme too, and ignores it otherwise; Farwatch always ignores it",
        withholds: |kinds, op| kinds.is_farwatch_against_zookeeper() && op.has_null_in_auth(),
    },
    Withheld {
        id: "lone-check",
        reason: "X10: ZooKeeper before 3.8.5 never answers a check outside of a multi",
        withholds: |kinds, op| {
            op.code() == op::CHECK && kinds.any(|kind| kind.is_zookeeper_before((3, 8, 5)))
        },
    },
    Withheld {
        id: "release-watches",
        reason: "3.8 keeps one watch mode for a path, and does not know the types 4 and 5 of \
                 removeWatches: against a later release the watches would differ from there on",
        withholds: |kinds, op| {
            kinds.differ_in(|kind| kind.is_zookeeper_before((3, 9, 0)))
                && matches!(
                    op.code(),
                    op::ADD_WATCH | op::SET_WATCHES2 | op::CHECK_WATCHES | op::REMOVE_WATCHES
                )
        },
    },
];

/// The entry that keeps `op` out of scripts.
#[must_use]
pub fn withheld(kinds: Kinds, op: &Op) -> Option<&'static Withheld> {
    let inner = match op {
        Op::Truncated { op, .. } | Op::Padded { op } => op,
        other => other,
    };
    let of_both = |it: &&Withheld| (it.withholds)(kinds, op) || (it.withholds)(kinds, inner);
    WITHHELD.iter().find(of_both)
}

/// Whether a write, as far as it is not surely a read, holds anything that may keep a server from
/// reading it as a whole.
fn may_not_decode(op: &Op) -> bool {
    let spoils = |op: &Op| op.is_truncated() || op.has_null_path() || op.has_null_in_acl();
    let belongs = |part: &Op| match part {
        Op::Create { flags, .. } => (0..=4).contains(flags),
        Op::Delete { .. } | Op::SetData { .. } => true,
        Op::OfPathAndInt { code, .. } => *code == op::CHECK,
        _ => false,
    };
    match op {
        Op::Read { .. } | Op::OfPathAndInt { .. } | Op::SetWatches { .. } => false,
        Op::Multi { code: op::MULTI_READ, .. } => false,
        Op::Multi { items, end, .. } => {
            *end != End::Proper || items.iter().any(|part| spoils(part) || !belongs(part))
        }
        Op::Truncated { op, .. } => {
            !matches!(**op, Op::Read { .. } | Op::SetWatches { .. } | Op::OfPathAndInt { .. })
        }
        op => spoils(op),
    }
}

/// Whether the step is a write or a multi whose content a server refuses as a whole.
fn is_refused_body(step: &Step) -> bool {
    match &step.act {
        Act::Send { op, .. } => {
            op.is_truncated()
                || matches!(op.code(), op::MULTI | op::MULTI_READ)
                || op.has_null_path()
                || op.has_null_in_acl()
        }
        Act::Reconnect(_) | Act::Garbage(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Path;
    use super::*;

    const PAGE: &str = include_str!("../../../docs/compatibility.md");

    #[test]
    fn every_entry_is_on_the_page_and_the_page_has_no_other() {
        let in_code = KNOWN.iter().map(|known| known.id).chain(WITHHELD.iter().map(|it| it.id));
        let mut in_code: Vec<&str> = in_code.collect();
        let row = |line: &'static str| line.strip_prefix("| `")?.split('`').next();
        let mut on_page: Vec<&str> = PAGE.lines().filter_map(row).collect();
        in_code.sort_unstable();
        on_page.sort_unstable();
        assert_eq!(in_code, on_page);
    }

    #[test]
    fn a_difference_is_known_between_the_kinds_it_is_about_and_only_there() {
        let step =
            Step { client: 0, act: Act::Reconnect(Reconnect::WrongPassword), pipelined: false };
        let (a, b) = (Value::Zxid(7), Value::Zxid(-1));
        let difference = Difference { place: "0 event.zxid".to_owned(), a, b };
        let id = |a, b| {
            explanation(Kinds { a, b, in_ensemble: false }, &step, &difference)
                .map(|known| known.id)
        };
        let (old, new) = (Kind::ZooKeeper(3, 8, 0), Kind::ZooKeeper(3, 9, 4));
        assert_eq!(id(old, new), Some("notification-zxid"));
        assert_eq!(id(new, Kind::Farwatch), Some("wrong-password-closes"));
        assert_eq!(id(new, new), None);
        assert_eq!(id(Kind::Farwatch, Kind::Farwatch), None);
    }

    #[test]
    fn what_is_withheld_stays_withheld_with_bytes_behind_it() {
        let op = Op::OfPath { code: op::DELETE_CONTAINER, path: Path::new("~/a") };
        let kinds = Kinds { a: Kind::ZooKeeper(3, 9, 4), b: Kind::Farwatch, in_ensemble: false };
        let padded = Op::Padded { op: Box::new(op.clone()) };
        assert_eq!(withheld(kinds, &op).map(|it| it.id), Some("delete-container"));
        assert_eq!(withheld(kinds, &padded).map(|it| it.id), Some("delete-container"));
        let alike = Kinds { a: Kind::Farwatch, b: Kind::Farwatch, in_ensemble: false };
        assert!(withheld(alike, &op).is_none());
    }
}
