//! How old what a server shows is, as it says.

use super::Cluster;
use super::partition::{CUT, PLAIN};
use crate::node::OnPartition;
use crate::prng::Prng;

#[test]
fn a_leader_that_gives_up_to_lead_again_is_as_old_as_when_it_stopped() {
    let mut plan = Cluster::observed(OnPartition::Serve).plan;
    plan.epoch_proposals = 40;
    let mut cluster = Cluster::of(7, OnPartition::Serve, Prng::new(7), plan);
    cluster.run(3000);
    cluster.connect_to(PLAIN, CUT);
    cluster.stay(200);
    // Until the epoch is spent, and another one is to be founded.
    let (begun, leader) = (cluster.now, cluster.leads());
    while cluster.node_of(leader).is_leading() {
        assert!(cluster.now - begun < 5000, "it leads on");
        if cluster.now.is_multiple_of(10) {
            cluster.writes(PLAIN);
        }
        cluster.run(1);
    }
    assert!(cluster.node_of(leader).zab().leading_epoch().is_some(), "it is to lead again");
    let stopped = cluster.now as i64;
    for at in (0..=CUT).filter(|&at| at != leader) {
        cluster.servers[at].frozen_until = cluster.now + 60_000;
    }
    while cluster.node_of(leader).zab().leading_epoch().is_some() {
        assert!((cluster.now as i64) < stopped + 30_000, "it never gives up");
        cluster.run(10);
    }
    cluster.run(50);
    let (stale_ms, since_ms) = (cluster.node_of(leader).stale_ms(), cluster.now as i64 - stopped);
    assert!(500 < since_ms && since_ms <= stale_ms + 20, "{stale_ms} of {since_ms}");
}
