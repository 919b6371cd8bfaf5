//! Zab: who leads, what is proposed, what is committed. Pure: durability and time are events.
//!
//! ```text
//!            a quorum voted for me          epochs are on disk
//! Looking ───────────────────────► Founding ──────────────────► Leading (broadcast)
//!    ▲  alone, I am the quorum                                      │ counter spent:
//!    │                               ▲──────────────────────────────┘ a new epoch
//! ```
//!
//! Watermarks of a leader: `committed ≤ acknowledged by a quorum ≤ proposed`; a proposal is
//! acknowledged by a server only when it is durable there, this one included.
//!
//! An ensemble of one voter is an ensemble: it elects itself, founds an epoch of its own at every
//! start, and commits what a majority of one has made durable. Nothing here asks for its size.

pub mod quorum;

use crate::log::epochs::Epochs;
use crate::zab::quorum::Quorum;
use crate::zxid::{Epoch, ServerId, Zxid};

/// What the shell must do for the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make these epochs durable, then call [`Zab::epochs_saved`].
    SaveEpochs(Epochs),
}

/// What this voter is doing. A phase holds only what makes sense in it.
#[derive(Clone, Debug)]
enum Role {
    /// Nobody is known to lead.
    Looking,
    /// Elected, and waiting for its new epoch to be durable.
    Founding { epoch: Epoch },
    /// Broadcasting in its own epoch.
    Leading(Leader),
}

/// Proposals of one epoch and how far they are acknowledged.
#[derive(Clone, Debug)]
struct Leader {
    proposed: Zxid,
    acks: Vec<(ServerId, Zxid)>,
    committed: Zxid,
}

/// One voter's part in the protocol.
#[derive(Clone, Debug)]
pub struct Zab {
    me: ServerId,
    quorum: Quorum,
    epochs: Epochs,
    /// The last record in this voter's own log.
    logged: Zxid,
    role: Role,
}

impl Zab {
    /// A voter that has recovered its epochs and its log up to `logged`.
    ///
    /// Panics when `me` is not a voter, or the log is newer than the epoch it was written in: the
    /// shell refuses both with an explanation before it comes here.
    pub fn new(me: ServerId, quorum: Quorum, epochs: Epochs, logged: Zxid) -> Self {
        assert!(quorum.contains(me), "server {me} is not a voter");
        assert!(epochs.current <= epochs.accepted, "current epoch is newer than the accepted one");
        assert!(logged.epoch() <= epochs.current, "the log is newer than its epoch");
        Self { me, quorum, epochs, logged, role: Role::Looking }
    }

    /// Looks for a leader. A voter that is a quorum by itself elects itself here.
    pub fn start(&mut self) -> Option<Action> {
        assert!(matches!(self.role, Role::Looking), "started twice");
        self.quorum.is_reached([self.me]).then(|| self.found())
    }

    /// The epochs of the last [`Action::SaveEpochs`] are durable: broadcast begins.
    pub fn epochs_saved(&mut self, saved: Epochs) {
        let Role::Founding { epoch } = self.role else {
            panic!("epochs were saved that nobody asked for");
        };
        assert_eq!(epoch, saved.current, "another epoch was saved than the one being founded");
        self.epochs = saved;
        // Everything in the log so far is this leader's history and durable: recovery cut the rest.
        let acks = vec![(self.me, self.logged)];
        let committed = self.quorum.committed(&acks).expect("a leader has a quorum");
        self.role = Role::Leading(Leader { proposed: epoch.start(), acks, committed });
    }

    /// As if the epoch's counter were spent, and all of it committed.
    #[cfg(test)]
    pub(crate) fn spend_counter(&mut self) {
        let me = self.me;
        let Role::Leading(leader) = &mut self.role else { panic!("leads") };
        let last = Zxid::new(leader.proposed.epoch(), u32::MAX);
        (leader.proposed, leader.committed, leader.acks) = (last, last, vec![(me, last)]);
    }

    /// The zxid that the next proposal will have, or an error while this voter may not propose.
    ///
    /// When the epoch's counter is spent this founds the next epoch; the action is then due.
    pub fn next_proposal(&mut self) -> Result<Zxid, Option<Action>> {
        let Role::Leading(leader) = &mut self.role else { return Err(None) };
        match leader.proposed.next() {
            Some(zxid) => Ok(zxid),
            // The log must be wholly durable before its epoch is left: its records would otherwise
            // count as the new epoch's history without a quorum behind them.
            None if leader.committed == leader.proposed => {
                self.logged = leader.committed;
                Err(Some(self.found()))
            }
            None => Err(None),
        }
    }

    /// The proposal that [`Zab::next_proposal`] named was made.
    pub fn proposed(&mut self, zxid: Zxid) {
        let Role::Leading(leader) = &mut self.role else { panic!("only a leader proposes") };
        assert_eq!(leader.proposed.next(), Some(zxid), "proposals are contiguous");
        leader.proposed = zxid;
    }

    /// `server` has everything up to `upto` durable. Returns what is committed now, if that moved.
    pub fn acknowledged(&mut self, server: ServerId, upto: Zxid) -> Option<Zxid> {
        let Role::Leading(leader) = &mut self.role else { return None };
        assert!(upto <= leader.proposed, "{server} acknowledged {upto:?}, which nobody proposed");
        match leader.acks.iter_mut().find(|ack| ack.0 == server) {
            Some(ack) => {
                assert!(ack.1 <= upto, "acknowledgements of {server} went back");
                ack.1 = upto;
            }
            None => leader.acks.push((server, upto)),
        }
        let committed = self.quorum.committed(&leader.acks)?;
        if committed <= leader.committed {
            return None;
        }
        leader.committed = committed;
        Some(committed)
    }

    /// Whether this voter leads and may propose.
    pub fn is_leading(&self) -> bool {
        matches!(self.role, Role::Leading(_))
    }

    /// The epoch this voter works in.
    pub fn epoch(&self) -> Epoch {
        self.epochs.current
    }

    /// This voter's number.
    pub fn me(&self) -> ServerId {
        self.me
    }

    /// Voters in the ensemble.
    pub fn voters(&self) -> usize {
        self.quorum.voters()
    }

    fn found(&mut self) -> Action {
        let accepted = self.epochs.accepted.next().expect("2^32 epochs are never used up");
        self.role = Role::Founding { epoch: accepted };
        Action::SaveEpochs(Epochs { accepted, current: accepted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(logged: Zxid) -> Zab {
        let epoch = logged.epoch();
        let epochs = Epochs { accepted: epoch, current: epoch };
        Zab::new(ServerId(1), Quorum::majority([ServerId(1)]), epochs, logged)
    }

    fn propose(zab: &mut Zab) -> Zxid {
        let zxid = zab.next_proposal().expect("leads");
        zab.proposed(zxid);
        zxid
    }

    #[test]
    fn a_single_voter_founds_a_new_epoch_and_proposes_only_when_it_is_durable() {
        let mut zab = alone(Zxid::new(Epoch(4), 9));
        let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
        assert_eq!(epochs, Epochs { accepted: Epoch(5), current: Epoch(5) });
        assert_eq!(zab.next_proposal(), Err(None));
        zab.epochs_saved(epochs);
        assert_eq!(propose(&mut zab), Zxid::new(Epoch(5), 1));
        assert_eq!(propose(&mut zab), Zxid::new(Epoch(5), 2));
    }

    #[test]
    fn a_proposal_is_committed_once_it_is_durable_and_not_before() {
        let mut zab = alone(Zxid::ZERO);
        let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
        zab.epochs_saved(epochs);
        let first = propose(&mut zab);
        let second = propose(&mut zab);
        assert_eq!(zab.acknowledged(ServerId(1), Zxid::ZERO), None);
        assert_eq!(zab.acknowledged(ServerId(1), first), Some(first));
        assert_eq!(zab.acknowledged(ServerId(1), first), None);
        assert_eq!(zab.acknowledged(ServerId(1), second), Some(second));
    }

    #[test]
    fn a_spent_counter_founds_the_next_epoch_once_all_is_committed() {
        let mut zab = alone(Zxid::ZERO);
        let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
        zab.epochs_saved(epochs);
        let Role::Leading(leader) = &mut zab.role else { panic!("leads") };
        leader.proposed = Zxid::new(Epoch(1), u32::MAX - 1);
        let last = propose(&mut zab);
        assert_eq!(zab.next_proposal(), Err(None), "the last proposal is not durable yet");
        zab.acknowledged(ServerId(1), last);
        let Err(Some(Action::SaveEpochs(epochs))) = zab.next_proposal() else {
            panic!("must found")
        };
        zab.epochs_saved(epochs);
        assert_eq!(propose(&mut zab), Zxid::new(Epoch(2), 1));
    }

    #[test]
    fn one_voter_of_three_elects_nobody() {
        let voters = [ServerId(1), ServerId(2), ServerId(3)];
        let mut zab =
            Zab::new(ServerId(1), Quorum::majority(voters), Epochs::default(), Zxid::ZERO);
        assert_eq!(zab.start(), None);
        assert_eq!(zab.next_proposal(), Err(None));
    }
}
