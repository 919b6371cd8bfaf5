//! A session moves and its client writes, its new server is cut off, and a leader comes that knows nothing
//! of the move: what the old connection still had under way is not done behind that write.

use super::clients::{Fate, Phase, Waiting};
use super::*;

/// By then an ensemble that nothing happens to has a leader and answers.
const BEGUN_MS: u64 = 1_500;
/// By then the others have another leader. Shorter than a session lives.
const ELECTED_MS: u64 = 1_500;
const LONG_MS: u64 = 100_000;
const CLIENT: usize = 0;

/// One client, which does what it is told, of an ensemble of three.
struct Story {
    cluster: Cluster,
    leader: usize,
    old: usize,
    new: usize,
    /// The client's connection at the old server.
    index: u32,
    session: SessionId,
}

impl Story {
    /// The session is held by a follower.
    fn begin() -> Self {
        let small = |seed: &u64| Plan::of(&mut Prng::new(*seed)).servers == 3;
        let seed = (0..).find(small).expect("three of four are");
        let mut cluster = Cluster::new(seed, OnPartition::Bounded, false);
        cluster.calm = true;
        cluster.plan.epoch_proposals = u32::MAX;
        cluster.queue.retain(|_, it| !matches!(it, Happening::Play { .. } | Happening::Fault));
        cluster.run(BEGUN_MS);
        let leads = |at: &usize| cluster.servers[*at].process.as_ref().unwrap().node.is_leading();
        let leader = (0..3).find(leads).expect("a leader");
        let (old, new) = ((leader + 1) % 3, (leader + 2) % 3);
        let (index, session) = (0, SessionId::NONE);
        let mut story = Self { cluster, leader, old, new, index, session };
        (story.index, story.session) = story.connect(old);
        story
    }

    /// The client goes on there, and is answered.
    fn connect(&mut self, server: usize) -> (u32, SessionId) {
        self.cluster.connect_to(CLIENT, server);
        self.cluster.submit_all();
        self.cluster.run(300);
        let (at, _, index) = self.cluster.clients[CLIENT].at.expect("it connects");
        let conn = &self.cluster.servers[server].process.as_ref().unwrap().reactor.conns[&index];
        assert_eq!((at, conn.phase), (server, Phase::Serving));
        (index, conn.session)
    }

    fn cut_off(&mut self, server: usize) {
        for peer in (0..3).filter(|&peer| peer != server) {
            self.cluster.cut(server, peer, LONG_MS);
        }
    }

    /// The client moves and writes; then the old server joins a leader that was told of no move.
    fn move_and_elect(&mut self) {
        let (index, _) = self.connect(self.new);
        let id = self.cluster.sent.len();
        self.cluster.write(self.new, index);
        self.cluster.submit_all();
        self.cluster.run(300);
        assert!(matches!(self.cluster.sent[id].fate, Fate::Done(_)));
        self.cut_off(self.new);
        self.cluster.stop(self.leader);
        self.cluster
            .links
            .get_mut(&(self.old.min(self.leader), self.old.max(self.leader)))
            .unwrap()
            .1 = 0;
        self.cluster.start(self.leader);
        self.cluster.run(ELECTED_MS);
        let node = |at: usize| &self.cluster.servers[at].process.as_ref().unwrap().node;
        assert!(node(self.old).is_serving() && node(self.leader).is_serving());
        assert!(!node(self.new).is_serving());
    }

    /// All meet again, and the client goes on where it is.
    fn end(mut self) -> Cluster {
        self.cluster.heal();
        self.cluster.run(ELECTED_MS);
        let (at, _, index) = self.cluster.clients[CLIENT].at.expect("it is connected");
        let id = self.cluster.sent.len();
        self.cluster.write(at, index);
        self.cluster.submit_all();
        self.cluster.run(500);
        let fate = self.cluster.sent[id].fate;
        assert!(matches!(fate, Fate::Done(_)), "{} is not what it was: {fate:?}", self.session);
        self.cluster
    }
}

#[test]
fn the_end_of_a_session_that_waited_for_a_leader_is_not_done_once_its_client_has_gone_on() {
    let mut story = Story::begin();
    story.cut_off(story.old);
    story.cluster.ask(story.old, story.index, Waiting::Close, &[]);
    story.cluster.hang_up(story.old, story.index);
    story.cluster.submit_all();
    story.cluster.run(500);
    story.move_and_elect();
    story.end();
}

#[test]
fn a_write_in_doubt_is_not_done_once_its_client_has_gone_on() {
    let mut story = Story::begin();
    story.cut_off(story.old);
    let id = story.cluster.sent.len();
    story.cluster.write(story.old, story.index);
    story.cluster.submit_all();
    story.cluster.run(500);
    story.move_and_elect();
    let cluster = story.end();
    let path = format!("/w{id}-");
    for server in &cluster.servers {
        for (_, record) in &server.disk.records {
            let found = record.windows(path.len()).any(|it| it == path.as_bytes());
            assert!(!found, "a client went on elsewhere, and its old connection wrote");
        }
    }
}
