//! How long things take before somebody acts on it, all in ticks of the shell's choosing.

/// Limits in ticks. The defaults are for ticks of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A server that looks for a leader repeats its ballot this often.
    pub ballot_ticks: u64,
    /// A server counts as heard for this long after its last message.
    pub heard_ticks: u64,
    /// How long a quorum must agree before it decides, so that a better candidate whose ballot is
    /// on its way is not passed over. Nobody waits when every voter agrees that is not known to be
    /// gone.
    pub finalize_ticks: u64,
    /// Discovery and synchronisation together, up to a quorum. ZooKeeper's initLimit.
    pub join_ticks: u64,
    /// Leader and learner part after this much silence. ZooKeeper's syncLimit.
    pub silence_ticks: u64,
    /// As `silence_ticks`, between a server and a learner that does not vote: nobody waits for those
    /// to elect anybody, and the way to them may be long.
    pub observer_silence_ticks: u64,
    /// The leader speaks to each learner at least this often.
    pub ping_ticks: u64,
    /// As `ping_ticks`, to a learner that does not vote. Beside what it is told anyway this is all that
    /// such a learner costs: it acknowledges in answer to a ping what was little.
    pub observer_ping_ticks: u64,
    /// How often a learner asks those of its list that it prefers to the one it learns from. It goes
    /// over when one of them has twice said that it can.
    pub seek_ticks: u64,
    /// A leader whose disk has not finished a write for this long hands over.
    pub stall_ticks: u64,
    /// A planned hand-over that has not happened by then is given up.
    pub transfer_ticks: u64,
    /// Bytes of records sent to a learner and not yet acknowledged by it. Beyond, the learner is
    /// served from the log when it acknowledges, so that a slow link holds no memory.
    pub flight_bytes: u64,
    /// Instead of `flight_bytes`, to a learner that does not vote. Pings and answers wait behind it: over
    /// a link that is held back to a rate it is to be what that carries in a second or so.
    pub observer_flight_bytes: Option<u64>,
    /// Proposals of one epoch. A new one is founded beyond, without an election.
    pub epoch_proposals: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ballot_ticks: 10,
            heard_ticks: 35,
            finalize_ticks: 4,
            join_ticks: 500,
            silence_ticks: 60,
            observer_silence_ticks: 60,
            ping_ticks: 10,
            observer_ping_ticks: 25,
            seek_ticks: 200,
            stall_ticks: 300,
            transfer_ticks: 100,
            flight_bytes: 8 << 20,
            observer_flight_bytes: None,
            epoch_proposals: u32::MAX,
        }
    }
}

impl Timing {
    /// How long a learner and the server that it learns from are patient with each other.
    pub const fn patience(&self, votes: bool) -> u64 {
        if votes { self.silence_ticks } else { self.observer_silence_ticks }
    }

    /// Bytes of records that are sent to a learner and not acknowledged.
    pub const fn flight(&self, votes: bool) -> u64 {
        match self.observer_flight_bytes {
            Some(bytes) if !votes => bytes,
            Some(_) | None => self.flight_bytes,
        }
    }

    /// Panics where one limit makes another useless.
    pub fn assert_consistent(&self) {
        assert!(self.finalize_ticks < self.heard_ticks, "a ballot is forgotten before it counts");
        assert!(2 * self.ballot_ticks < self.heard_ticks, "one lost ballot is a lost server");
        assert!(2 * self.ping_ticks < self.silence_ticks, "one lost ping parts a learner");
        assert!(self.silence_ticks <= self.observer_silence_ticks, "voters are waited for longer");
        assert!(2 * self.observer_ping_ticks < self.observer_silence_ticks, "one lost ping parts");
        assert!(self.silence_ticks <= self.join_ticks, "joining takes at least a message");
        assert!(self.epoch_proposals > 0, "an epoch numbers a proposal");
        let least = self.flight_bytes.min(self.flight(false));
        assert!(least > 0, "nothing could ever be sent");
    }
}
