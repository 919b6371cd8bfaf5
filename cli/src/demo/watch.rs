//! What a look at the servers finds, and what has changed since the last one.

use std::collections::BTreeMap;
use std::fmt;

use farwatch_observer::report::EnsembleReport;

use super::child::Condition;

/// What one look finds of one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Its process is not there.
    Down,
    /// It was frozen.
    Frozen,
    /// It runs and does not answer.
    Silent,
    /// It looks for a leader, or is with one that has no quorum yet.
    Looking,
    /// It takes over the history of a leader.
    Joins(u32),
    /// It serves under a leader.
    Follows(u32),
    /// It leads, in an epoch.
    Leads(u32),
    /// An observer without a way to a leader.
    Alone,
}

impl Seen {
    /// What a running server says of itself, if it answers.
    pub(super) fn of(report: Option<&EnsembleReport>, votes: bool) -> Self {
        let Some(report) = report else { return Self::Silent };
        let serves = report.phase == "broadcast";
        match (report.role.as_str(), report.leader) {
            ("leading", _) if serves => Self::Leads(report.epoch),
            ("following" | "learning", Some(leader)) if serves => Self::Follows(leader),
            ("following" | "learning", Some(leader)) => Self::Joins(leader),
            _ if votes => Self::Looking,
            _ => Self::Alone,
        }
    }

    /// With the numbers that the demo has for servers in place of those that they have drawn.
    pub(super) fn renumbered(self, number: impl Fn(u32) -> u32) -> Self {
        match self {
            Self::Joins(other) => Self::Joins(number(other)),
            Self::Follows(other) => Self::Follows(number(other)),
            other => other,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("is down"),
            Self::Frozen => f.write_str("is frozen"),
            Self::Silent => f.write_str("does not answer"),
            Self::Looking => f.write_str("looks for a leader"),
            Self::Joins(leader) => write!(f, "takes over the history of server {leader}"),
            Self::Follows(leader) => write!(f, "follows server {leader}"),
            Self::Leads(epoch) => write!(f, "leads, epoch {epoch}"),
            Self::Alone => f.write_str("serves what it has"),
        }
    }
}

/// One line for each server of `now` that is not as it was `before`.
pub(super) fn changes(before: &BTreeMap<u32, Seen>, now: &BTreeMap<u32, Seen>) -> Vec<String> {
    let changed = now.iter().filter(|(server, seen)| match before.get(*server) {
        None => **seen != Seen::Down, // it is still to be started
        Some(before) => before != *seen,
    });
    changed
        .map(|(server, seen)| match (before.get(server), seen) {
            (None | Some(Seen::Down), Seen::Silent) => format!("server {server} starts"),
            (_, seen) => format!("server {server} {seen}"),
        })
        .collect()
}

/// Who leads, and in which epoch; the newest where an old leader does not know yet that it is none.
pub(super) fn leader(seen: &BTreeMap<u32, Seen>) -> Option<(u32, u32)> {
    let leads = seen.iter().filter_map(|(&server, seen)| match seen {
        Seen::Leads(epoch) => Some((server, *epoch)),
        _ => None,
    });
    leads.max_by_key(|(_, epoch)| *epoch)
}

/// That fewer `voters` can vote than must, and what to type; nothing where enough can. One that was `wiped`
/// copies the history of the others before it votes.
pub(super) fn too_few(voters: &[(u32, Condition)], wiped: Option<u32>) -> Option<String> {
    let can_vote = |(number, condition): &&(u32, Condition)| {
        *condition == Condition::Running && wiped != Some(*number)
    };
    let (can, must) = (voters.iter().filter(can_vote).count(), voters.len() / 2 + 1);
    if must <= can {
        return None;
    }
    let back = voters.iter().find_map(|(number, condition)| match condition {
        Condition::Stopped => Some(format!("r {number}")),
        Condition::Frozen => Some(format!("c {number}")),
        Condition::Running => None,
    })?;
    let count = voters.len();
    Some(format!(
        "{can} of {count} voters can vote, and {must} must: nothing is written. Type `{back}`"
    ))
}

/// Whether every server serves.
pub(super) fn is_whole(seen: &BTreeMap<u32, Seen>) -> bool {
    leader(seen).is_some()
        && seen.values().all(|seen| matches!(seen, Seen::Leads(_) | Seen::Follows(_)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use farwatch_observer::report::EnsembleReport;

    use super::{Condition, Seen, changes, is_whole, leader, too_few};

    #[test]
    fn only_what_changed_is_told() {
        let before = BTreeMap::from([(1, Seen::Leads(3)), (2, Seen::Follows(1)), (3, Seen::Down)]);
        assert_eq!(changes(&before, &before), [""; 0]);
        let now = BTreeMap::from([(1, Seen::Frozen), (2, Seen::Leads(4)), (3, Seen::Joins(2))]);
        let expected = [
            "server 1 is frozen",
            "server 2 leads, epoch 4",
            "server 3 takes over the history of server 2",
        ];
        assert_eq!(changes(&before, &now), expected);
        assert!(!is_whole(&before) && !is_whole(&now));
        let silent = BTreeMap::from([(1, Seen::Silent), (2, Seen::Follows(1)), (3, Seen::Silent)]);
        let expected = ["server 1 does not answer", "server 3 starts"];
        assert_eq!(changes(&before, &silent), expected);
        assert_eq!(changes(&BTreeMap::new(), &BTreeMap::from([(5, Seen::Down)])), [""; 0]);
        assert_eq!(Seen::Follows(0x8000_0001).renumbered(|_| 4), Seen::Follows(4));
        let whole = BTreeMap::from([(1, Seen::Follows(2)), (2, Seen::Leads(4))]);
        assert!(is_whole(&whole));
    }

    #[test]
    fn that_too_few_can_vote_is_said_with_what_helps() {
        use Condition::{Frozen, Running, Stopped};
        let three = |all: [Condition; 3]| [(1, all[0]), (2, all[1]), (3, all[2])];
        let one_left = |back: &str| {
            Some(format!("1 of 3 voters can vote, and 2 must: nothing is written. Type `{back}`"))
        };
        assert_eq!(too_few(&three([Running, Stopped, Running]), None), None);
        assert_eq!(too_few(&three([Running, Running, Running]), Some(3)), None);
        assert_eq!(too_few(&three([Frozen, Stopped, Running]), None), one_left("c 1"));
        assert_eq!(too_few(&three([Running, Stopped, Running]), Some(3)), one_left("r 2"));
    }

    #[test]
    fn the_newest_of_two_leaders_counts() {
        let seen = BTreeMap::from([(1, Seen::Leads(3)), (2, Seen::Leads(4)), (3, Seen::Looking)]);
        assert_eq!(leader(&seen), Some((2, 4)));
    }

    #[test]
    fn a_server_leads_or_follows_only_in_broadcast() {
        let seen = |role: &str, phase: &str, leader| {
            let (role, phase) = (role.to_owned(), phase.to_owned());
            let report = EnsembleReport { role, phase, leader, ..EnsembleReport::default() };
            Seen::of(Some(&EnsembleReport { epoch: 5, ..report }), true)
        };
        assert_eq!(seen("leading", "broadcast", Some(1)), Seen::Leads(5));
        assert_eq!(seen("leading", "discovery", Some(1)), Seen::Looking);
        assert_eq!(seen("following", "synchronization", Some(2)), Seen::Joins(2));
        assert_eq!(seen("following", "broadcast", Some(2)), Seen::Follows(2));
        assert_eq!(seen("looking", "election", None), Seen::Looking);
        assert_eq!(Seen::of(None, true), Seen::Silent);
        let lonely = EnsembleReport { role: "looking".to_owned(), ..EnsembleReport::default() };
        assert_eq!(Seen::of(Some(&lonely), false), Seen::Alone);
    }
}
