//! Whose log has room: a leader that has none, among voters that have or have not.

use super::clients::Fate;
use super::partition::{CUT, PLAIN};
use super::{Cluster, id_of};
use crate::node::OnPartition;
use crate::wire::ErrorCode;

/// Longer than a leader without room waits, and than another takes to lead.
const HANDED_OVER_MS: u64 = 3000;

impl Cluster {
    /// Three voters and a learner that has the clients; who leads, and who follows.
    fn with_a_leader() -> (Self, usize, [usize; 2]) {
        let cluster = Self::observed(OnPartition::Serve);
        let leader = cluster.leads();
        let followers: Vec<usize> = (0..CUT).filter(|&it| it != leader).collect();
        (cluster, leader, followers.try_into().expect("two of three"))
    }

    fn fill(&mut self, servers: &[usize]) {
        servers.iter().for_each(|&server| self.servers[server].room = 0);
    }

    /// What a write comes to.
    #[track_caller]
    fn write_now(&mut self) -> Fate {
        let write = self.writes(PLAIN);
        self.stay(500);
        self.fate(write)
    }
}

#[test]
fn a_leader_without_room_lets_another_lead_and_writes_go_on() {
    let (mut cluster, leader, _) = Cluster::with_a_leader();
    cluster.fill(&[leader]);
    cluster.run(20);
    assert_eq!(cluster.write_now(), Fate::Failed(ErrorCode::NotReadOnly));
    cluster.stay(HANDED_OVER_MS);
    assert_ne!(cluster.leads(), leader);
    assert!(matches!(cluster.write_now(), Fate::Done(_)));
}

#[test]
fn nobody_leads_instead_where_those_with_room_are_no_quorum() {
    let (mut cluster, leader, [one, other]) = Cluster::with_a_leader();
    let epoch = cluster.node_of(leader).zab().epoch();
    for full in [vec![leader, one], vec![leader, one, other]] {
        cluster.fill(&full);
        cluster.stay(4 * HANDED_OVER_MS);
        assert_eq!(cluster.node_of(leader).zab().epoch(), epoch, "it goes on to serve reads");
        assert_eq!(cluster.write_now(), Fate::Failed(ErrorCode::NotReadOnly));
    }
    // What a follower said of its room is not for ever.
    for server in [one, other] {
        cluster.servers[server].room = u64::MAX;
    }
    cluster.stay(HANDED_OVER_MS);
    assert_ne!(cluster.leads(), leader);
    assert!(matches!(cluster.write_now(), Fate::Done(_)));
}

#[test]
fn who_was_without_room_in_an_earlier_session_is_asked_anew() {
    let (mut cluster, leader, [one, other]) = Cluster::with_a_leader();
    cluster.fill(&[one, other]);
    cluster.stay(500);
    let without = cluster.node_of(leader).room.without();
    assert_eq!(without, [one, other].map(id_of));
    // One has room before it follows again, and the other has none.
    cluster.cut(leader, one, 1500);
    cluster.cut(leader, other, 100);
    cluster.servers[one].room = u64::MAX;
    cluster.stay(3000);
    let without = cluster.node_of(leader).room.without();
    assert_eq!(without, [id_of(other)]);
}

#[test]
fn what_a_quorum_has_no_room_for_is_refused_by_a_leader_that_has() {
    let (mut cluster, leader, [one, other]) = Cluster::with_a_leader();
    cluster.fill(&[one]);
    cluster.stay(500);
    assert!(matches!(cluster.write_now(), Fate::Done(_)), "two of three have room");
    cluster.fill(&[one, other]);
    cluster.stay(500);
    assert_eq!(cluster.write_now(), Fate::Failed(ErrorCode::NotReadOnly));
    assert_eq!(cluster.leads(), leader);
    cluster.servers[one].room = u64::MAX;
    cluster.stay(500);
    assert!(matches!(cluster.write_now(), Fate::Done(_)));
}

#[test]
fn sessions_begin_for_a_while_where_a_quorum_has_no_room_and_can_end_behind_that() {
    let (mut cluster, leader, [one, other]) = Cluster::with_a_leader();
    cluster.fill(&[one, other]);
    cluster.stay(500);
    let sessions = |cluster: &Cluster| cluster.node_of(leader).sessions.len();
    let before = sessions(&cluster);
    let mut last = before;
    for number in 0.. {
        cluster.clients[PLAIN].session = None;
        cluster.connect_to(PLAIN, CUT);
        // Short: none of them ends for its silence meanwhile.
        cluster.stay(25);
        assert!(number < 200, "{number} sessions began");
        if sessions(&cluster) == last {
            assert!(20 < number, "{number} sessions began");
            break;
        }
        last = sessions(&cluster);
    }
    // Those that say nothing end, all of them: what is left is for that.
    cluster.run(60_000);
    assert!(sessions(&cluster) <= before, "{} are left of {last}", sessions(&cluster));
}
