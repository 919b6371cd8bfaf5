//! Who is no voter of the configuration votes for nobody, offers itself to nobody, gives no promise
//! that counts and leads nothing. Source: ZOOKEEPER-1805, and this project's rule that an observer
//! carries no election.

use farwatch_core::zab::message::{Message, ToLeader, ToLearner};

use crate::witness::Witness;

/// `server`, which is no voter, says this.
pub fn check(witness: &mut Witness, server: usize, message: &Message) {
    let votes = match message {
        Message::Ballot(ballot) => ballot.own.is_some() || ballot.vote.is_some(),
        Message::Join { join, .. } => join.votes,
        Message::ToLeader { body, .. } => matches!(body, ToLeader::Promised { counted: true, .. }),
        // It may feed others that do not vote, and hand nothing over.
        Message::ToLearner { body, .. } => matches!(body, ToLearner::TakeOver),
        Message::Reset { .. } | Message::Fetch { .. } | Message::Fetched { .. } => false,
        Message::Seek | Message::Offer(_) => false,
    };
    if votes {
        let text = format!("server {server} is no voter and says {message:?}");
        witness.violate("observers_never_vote", text);
    }
}
