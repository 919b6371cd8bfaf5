//! What servers hold against each other: their trees, and the members that they are configured with.

use super::{Cluster, id_of};
use crate::node::{Event, Node, OnPartition, Output};
use crate::prepare::CONFIG_PATH;
use crate::record::Record;
use crate::txn::{NodeKind, Txn};
use crate::zab;
use crate::zxid::Zxid;

const SEEDS: std::ops::Range<u64> = 0..5;

/// Until clients of a new ensemble write.
const BEGUN_MS: u64 = 3_000;

/// A few looks of a leader at its digest, with writes between them.
const LOOKS_MS: u64 = 1_000;

/// How often an operator asks before something is wrong.
const HAND_OVERS_MAX: u32 = 5;

/// What a bit that flipped makes of a digest.
const FLIPPED: u64 = 1 << 17;

impl Cluster {
    /// An ensemble that nothing happens to, and that writes.
    fn untroubled(seed: u64, membership: &[u8]) -> Self {
        println!("seed {seed}");
        let mut cluster = Self::new(seed, OnPartition::Bounded, false);
        cluster.calm = true;
        cluster.plan.epoch_proposals = u32::MAX;
        for server in &mut cluster.servers {
            server.membership = membership.to_vec();
        }
        cluster.run(BEGUN_MS);
        cluster
    }

    fn running(&self, server: usize) -> &Node {
        &self.servers[server].process.as_ref().expect("it runs").node
    }

    fn leader(&self) -> usize {
        (0..self.servers.len()).find(|&at| self.running(at).is_leading()).expect("a leader")
    }

    fn after_leader(&self, distance: usize) -> usize {
        (self.leader() + distance) % self.servers.len()
    }

    /// Tells a follower a digest, as its leader does; what it stops with.
    fn tell_digest(&mut self, follower: usize, zxid: Zxid, digest: u64) -> Option<String> {
        let process = self.servers[follower].process.as_mut().expect("it runs");
        let mut out = Output::default();
        process.node.compare(zxid, digest, &mut out);
        out.halt
    }

    /// One byte of what a server wrote is another one when it starts again, and no checksum saw it.
    fn rot(&mut self, server: usize) {
        self.stop(server);
        let records = &mut self.servers[server].disk.records;
        // Of a node that stays: one that goes with its session leaves equal trees behind.
        let stays = |bytes: &[u8]| matches!(Record::own(bytes).txn(), Txn::Create(it) if it.kind == NodeKind::Persistent);
        let begins = |bytes: &[u8]| bytes.windows(2).position(|window| window == b"/w");
        let place = |bytes: &[u8]| begins(bytes).filter(|_| stays(bytes));
        let found = records.iter_mut().rev().find_map(|(_, it)| place(it).map(|at| (it, at)));
        let (record, at) = found.expect("clients wrote");
        let mut bytes = record.to_vec();
        bytes[at + 1] = b'v';
        *record = bytes.into();
        self.servers[server].rotten = true;
        self.start(server);
    }

    /// Asks for it again where it took its leader too long.
    fn hand_over(&mut self, to: usize) {
        for _ in 0..HAND_OVERS_MAX {
            let leader = self.leader();
            if leader == to {
                return;
            }
            self.step(leader, Event::Zab(zab::Event::Transfer(id_of(to))));
            self.run(LOOKS_MS);
        }
        assert_eq!(self.leader(), to, "seed {}: it was not handed over", self.seed);
    }

    fn configure(&mut self, server: usize, membership: &[u8]) {
        self.stop(server);
        self.servers[server].membership = membership.to_vec();
        self.start(server);
        self.run(LOOKS_MS);
    }

    /// All servers show these members, which were recorded for the `version`-th time.
    #[track_caller]
    fn shows(&self, membership: &[u8], version: i32) {
        for server in 0..self.servers.len() {
            let reader = self.running(server).tree().reader();
            let view = reader.view();
            let node = view.get(CONFIG_PATH).expect("built in");
            let shown = (node.data(), node.stat().version);
            assert_eq!(shown, (Some(membership), version), "seed {}: {server}", self.seed);
        }
    }
}

/// What the text of a server that stopped must name.
#[track_caller]
fn names_all(text: &str, zxid: Zxid, own: u64, leaders: u64) {
    let here = format!("at {zxid}: digest {own:#018x} here");
    let there = format!("{leaders:#018x} there");
    assert!(text.contains(&here) && text.contains(&there), "{here}, {there}: {text}");
}

#[test]
fn a_follower_whose_disk_rotted_unseen_stops_and_names_both_digests_and_the_zxid() {
    for seed in SEEDS {
        let mut cluster = Cluster::untroubled(seed, b"");
        let (rotten, sound) = (cluster.after_leader(1), cluster.after_leader(2));
        cluster.rot(rotten);
        cluster.run(LOOKS_MS);
        let text = cluster.servers[rotten].halted.clone().expect("it stopped");
        let digests = |server: usize| cluster.running(server).recent.iter().copied();
        let own: Vec<(Zxid, u64)> = digests(rotten).collect();
        let pair = digests(sound).find_map(|(zxid, leaders)| {
            let named = text.contains(&format!("at {zxid}:"));
            let at = own.binary_search_by_key(&zxid, |it| it.0).ok().filter(|_| named)?;
            Some((zxid, own[at].1, leaders))
        });
        let (zxid, own, leaders) = pair.unwrap_or_else(|| panic!("no zxid of both: {text}"));
        assert_ne!(own, leaders);
        names_all(&text, zxid, own, leaders);
    }
}

#[test]
fn a_follower_goes_on_when_it_is_told_its_own_digest_and_not_when_it_is_told_another() {
    for seed in SEEDS {
        let mut cluster = Cluster::untroubled(seed, b"");
        let follower = cluster.after_leader(1);
        let &(zxid, own) = cluster.running(follower).recent.back().expect("it applied");
        assert_eq!(cluster.tell_digest(follower, zxid, own), None);
        let text = cluster.tell_digest(follower, zxid, own ^ FLIPPED).expect("it stops");
        names_all(&text, zxid, own, own ^ FLIPPED);
    }
}

#[test]
fn a_digest_that_comes_before_its_record_is_compared_when_the_record_is_applied() {
    for seed in SEEDS {
        // What will be, from the same seed played before.
        let mut known = Cluster::untroubled(seed, b"");
        let follower = known.after_leader(1);
        let now = known.running(follower).applied();
        known.run(LOOKS_MS);
        let to_come = known.running(follower).recent.iter().find(|it| now < it.0);
        let &(zxid, own) = to_come.expect("clients went on writing");

        let mut cluster = Cluster::untroubled(seed, b"");
        assert_eq!(cluster.tell_digest(follower, zxid, own), None);
        assert!(cluster.running(follower).expected.contains(&(zxid, own)), "it lies ahead");
        cluster.run(LOOKS_MS); // fails if any server stops
        assert!(zxid <= cluster.running(follower).applied());
        assert!(!cluster.running(follower).expected.contains(&(zxid, own)), "it is never compared");

        let mut cluster = Cluster::untroubled(seed, b"");
        cluster.servers[follower].rotten = true;
        assert_eq!(cluster.tell_digest(follower, zxid, own ^ FLIPPED), None, "it lies ahead");
        cluster.run(LOOKS_MS);
        let text = cluster.servers[follower].halted.clone().expect("it stopped");
        names_all(&text, zxid, own, own ^ FLIPPED);
    }
}

#[test]
fn leaders_record_the_members_only_where_the_history_says_otherwise() {
    for seed in SEEDS {
        let mut cluster = Cluster::untroubled(seed, b"server.1=here");
        cluster.shows(b"server.1=here", 1);
        let alike = cluster.after_leader(1);
        cluster.hand_over(alike);
        cluster.shows(b"server.1=here", 1);
        let other = cluster.after_leader(1);
        cluster.configure(other, b"server.1=there");
        cluster.shows(b"server.1=here", 1); // a follower's word is nobody's
        cluster.hand_over(other);
        cluster.shows(b"server.1=there", 2);
        let old = cluster.after_leader(1);
        cluster.hand_over(old);
        cluster.shows(b"server.1=here", 3);
    }
}
