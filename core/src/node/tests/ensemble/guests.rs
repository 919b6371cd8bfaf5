//! Who is served by a server that only reads, until it goes.

use super::Cluster;
use super::clients::{Phase, Waiting};
use super::partition::{CUT, READER};
use crate::node::OnPartition;

impl Cluster {
    fn guests(&self) -> usize {
        self.node_of(CUT).guests.len()
    }

    fn served_connections(&self) -> usize {
        let process = self.servers[CUT].process.as_ref().expect("it runs");
        let conns = process.reactor.conns.values();
        conns.filter(|it| it.client == READER && it.phase == Phase::Serving).count()
    }
}

#[test]
fn a_guest_that_closes_is_forgotten_though_its_connection_says_no_more() {
    let mut cluster = Cluster::observed(OnPartition::ReadOnly);
    cluster.cut_off(9000);
    cluster.stay(3000);
    cluster.clients[READER].session = None;
    cluster.connect_to(READER, CUT);
    cluster.stay(500);
    assert_eq!(cluster.guests(), 1);
    let (server, index) = cluster.place(READER).expect("it is served");
    cluster.ask(server, index, Waiting::Close, &[]);
    cluster.submit_all();
    cluster.stay(50);
    assert!(cluster.clients[READER].session.is_none(), "its end was answered");
    assert_eq!(cluster.guests(), 0);
}

#[test]
fn a_guest_that_comes_again_with_its_session_has_one_connection() {
    let mut cluster = Cluster::observed(OnPartition::ReadOnly);
    cluster.cut_off(9000);
    cluster.stay(4500);
    for _ in 0..2 {
        cluster.connect_to(READER, CUT);
        cluster.stay(300);
        assert_eq!((cluster.guests(), cluster.served_connections()), (1, 1));
    }
}
