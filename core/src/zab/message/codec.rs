//! Messages as bytes. Little endian; a version, a kind, then the fields in the order of the types.
//!
//! ```text
//! 0        1     2
//! ├version─┼kind─┼ fields …          lists and byte strings: u32 length, then the content
//!
//! 0      1          13
//! ├mark──┼ after ───┼ records …      records that follow what a learner was told last: see [`Thread`]
//! ```

use std::sync::Arc;

use thiserror::Error;

use super::{Ballot, Join, Message, Offer, Relayed, Stance, ToLeader, ToLearner, Vote};
use crate::codec::{Decoder, Encoder, Malformed};
use crate::record::Chain;
use crate::zab::run::Position;
use crate::zxid::{Epoch, ServerId, Zxid};

/// The layout that this build speaks.
pub const MESSAGE_VERSION: u8 = 1;

/// Servers that a ballot or a path can name. More voters than this are refused by the configuration.
const SERVERS_MAX: u32 = 256;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A version that this build does not speak.
    #[error("message version {0}: the peer runs another version of Farwatch; update the older one")]
    Version(u8),
    /// The bytes end too early, go on too long, or name a kind or value that does not exist.
    #[error("the peer sent what is no message of version {MESSAGE_VERSION}")]
    Malformed,
}

impl From<Malformed> for DecodeError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// In the place of a version: records, or what is committed already, of the session of the message before and next
/// in it. The bytes of the records are the rest.
const NEXT_RECORDS: u8 = 0xf1;
const NEXT_INFORM: u8 = 0xf2;

const BALLOT: u8 = 1;
const JOIN: u8 = 2;
const RESET: u8 = 3;
const FETCH: u8 = 4;
const FETCHED: u8 = 5;
const SEEK: u8 = 6;
const OFFER: u8 = 7;
const PROMISED: u8 = 10;
const HAVE: u8 = 11;
const SNAPSHOT_STORED: u8 = 12;
const SYNCED: u8 = 13;
const ACK: u8 = 14;
const PONG: u8 = 15;
const AHEAD: u8 = 16;
const REQUEST: u8 = 17;
const RELAYED_UP: u8 = 18;
const NEW_EPOCH: u8 = 30;
const COMPARE: u8 = 31;
const RECORDS: u8 = 32;
const INFORM: u8 = 33;
const SNAPSHOT: u8 = 34;
const NEW_LEADER: u8 = 35;
const UP_TO_DATE: u8 = 36;
const COMMIT: u8 = 37;
const PING: u8 = 38;
const TAKE_OVER: u8 = 39;
const RESPONSE: u8 = 40;
const QUEUED: u8 = 41;
const RELAYED_DOWN: u8 = 42;
const DISMISS: u8 = 43;
const AGE: u8 = 44;

impl Encoder<'_> {
    fn position(&mut self, at: Position) -> &mut Self {
        self.u64(at.zxid.0).u32(at.chain.0)
    }
    fn vote(&mut self, vote: Option<Vote>) -> &mut Self {
        match vote {
            None => self.u8(0),
            Some(vote) => self
                .u8(1)
                .u32(vote.current.0)
                .u64(vote.last.0)
                .u8(vote.preferred.into())
                .u32(vote.candidate.0),
        }
    }
    fn ballot(&mut self, ballot: &Ballot) {
        self.u64(ballot.boot).u64(ballot.serial).u64(ballot.round);
        match ballot.stance {
            Stance::Looking => self.u8(0),
            Stance::Watching => self.u8(1),
            Stance::Following(leader) => self.u8(2).u32(leader.0),
            Stance::Leading => self.u8(3),
        };
        self.vote(ballot.own).vote(ballot.vote).u32(ballot.heard.len() as u32);
        for server in &ballot.heard {
            self.u32(server.0);
        }
    }
    fn relayed(&mut self, relayed: &Relayed) -> &mut Self {
        self.u32(relayed.server.0).u64(relayed.session).bytes(&relayed.bytes)
    }
    fn offer(&mut self, offer: &Offer) {
        self.u8(offer.serving.into()).u32(offer.epoch.0).u64(offer.committed.0).u64(offer.begins.0);
        self.u32(offer.path.len() as u32);
        for server in &offer.path {
            self.u32(server.0);
        }
    }
    fn put_to_leader(&mut self, session: u64, sequence: u64, body: &ToLeader) {
        let kind = match body {
            ToLeader::Promised { .. } => PROMISED,
            ToLeader::Have(_) => HAVE,
            ToLeader::SnapshotStored(_) => SNAPSHOT_STORED,
            ToLeader::Synced(_) => SYNCED,
            ToLeader::Ack(_) => ACK,
            ToLeader::Pong(_) => PONG,
            ToLeader::Ahead(_) => AHEAD,
            ToLeader::Request(_) => REQUEST,
            ToLeader::Relayed(_) => RELAYED_UP,
        };
        self.u8(kind).u64(session).u64(sequence);
        match body {
            &ToLeader::Promised { epoch, counted, current, last } => {
                self.u32(epoch.0).u8(counted.into()).u32(current.0).position(last)
            }
            ToLeader::Have(None) => self.u8(0),
            ToLeader::Have(Some(at)) => self.u8(1).position(*at),
            ToLeader::SnapshotStored(number) | ToLeader::Pong(number) => self.u64(*number),
            ToLeader::Synced(epoch) | ToLeader::Ahead(epoch) => self.u32(epoch.0),
            ToLeader::Ack(upto) => self.u64(upto.0),
            ToLeader::Request(bytes) => self.bytes(bytes),
            ToLeader::Relayed(relayed) => self.relayed(relayed),
        };
    }
    fn put_to_learner(&mut self, session: u64, sequence: u64, body: &ToLearner) {
        let kind = match body {
            ToLearner::NewEpoch(_) => NEW_EPOCH,
            ToLearner::Compare(_) => COMPARE,
            ToLearner::Records { .. } => RECORDS,
            ToLearner::Inform { .. } => INFORM,
            ToLearner::Snapshot { .. } => SNAPSHOT,
            ToLearner::NewLeader { .. } => NEW_LEADER,
            ToLearner::UpToDate(_) => UP_TO_DATE,
            ToLearner::Commit(_) => COMMIT,
            ToLearner::Ping(_) => PING,
            ToLearner::TakeOver => TAKE_OVER,
            ToLearner::Queued => QUEUED,
            ToLearner::Response(_) => RESPONSE,
            ToLearner::Relayed(_) => RELAYED_DOWN,
            ToLearner::Dismiss { .. } => DISMISS,
            ToLearner::Age(_) => AGE,
        };
        self.u8(kind).u64(session).u64(sequence);
        match body {
            ToLearner::NewEpoch(epoch) => self.u32(epoch.0),
            ToLearner::Compare(at) => self.position(*at),
            ToLearner::Records { after, bytes } | ToLearner::Inform { after, bytes } => {
                self.position(*after).bytes(bytes)
            }
            ToLearner::Snapshot { at, offset, bytes, end } => {
                self.position(*at).u64(*offset).bytes(bytes).u8((*end).into())
            }
            ToLearner::NewLeader { epoch, at } => self.u32(epoch.0).position(*at),
            ToLearner::UpToDate(zxid) | ToLearner::Commit(zxid) => self.u64(zxid.0),
            ToLearner::Ping(number) => self.u64(*number),
            ToLearner::TakeOver | ToLearner::Queued => self,
            ToLearner::Response(bytes) => self.bytes(bytes),
            ToLearner::Relayed(relayed) => self.relayed(relayed),
            ToLearner::Dismiss { server, session } => self.u32(server.0).u64(*session),
            ToLearner::Age(ms) => self.u32(*ms),
        };
    }
}

impl Decoder<'_> {
    fn epoch(&mut self) -> Result<Epoch, Malformed> {
        Ok(Epoch(self.u32()?))
    }
    fn position(&mut self) -> Result<Position, Malformed> {
        Ok(Position { zxid: Zxid(self.u64()?), chain: Chain(self.u32()?) })
    }
    fn vote(&mut self) -> Result<Option<Vote>, Malformed> {
        if !self.flag()? {
            return Ok(None);
        }
        Ok(Some(Vote {
            current: self.epoch()?,
            last: Zxid(self.u64()?),
            preferred: self.flag()?,
            candidate: ServerId(self.u32()?),
        }))
    }
    fn relayed(&mut self) -> Result<Relayed, Malformed> {
        let (server, session) = (ServerId(self.u32()?), self.u64()?);
        Ok(Relayed { server, session, bytes: self.bytes()? })
    }
    fn servers(&mut self) -> Result<Vec<ServerId>, Malformed> {
        let count = self.u32()?;
        if count > SERVERS_MAX {
            return Err(Malformed);
        }
        (0..count).map(|_| self.u32().map(ServerId)).collect()
    }
    fn offer(&mut self) -> Result<Offer, Malformed> {
        Ok(Offer {
            serving: self.flag()?,
            epoch: self.epoch()?,
            committed: Zxid(self.u64()?),
            begins: Zxid(self.u64()?),
            path: self.servers()?,
        })
    }
    fn ballot(&mut self) -> Result<Ballot, Malformed> {
        let (boot, serial, round) = (self.u64()?, self.u64()?, self.u64()?);
        let stance = match self.u8()? {
            0 => Stance::Looking,
            1 => Stance::Watching,
            2 => Stance::Following(ServerId(self.u32()?)),
            3 => Stance::Leading,
            _unknown => return Err(Malformed),
        };
        let (own, vote) = (self.vote()?, self.vote()?);
        let heard = self.servers()?;
        Ok(Ballot { boot, serial, round, stance, own, vote, heard })
    }
    fn get_to_leader(&mut self, kind: u8) -> Result<Message, Malformed> {
        let (session, sequence) = (self.u64()?, self.u64()?);
        let body = match kind {
            PROMISED => ToLeader::Promised {
                epoch: self.epoch()?,
                counted: self.flag()?,
                current: self.epoch()?,
                last: self.position()?,
            },
            HAVE => ToLeader::Have(if self.flag()? { Some(self.position()?) } else { None }),
            SNAPSHOT_STORED => ToLeader::SnapshotStored(self.u64()?),
            SYNCED => ToLeader::Synced(self.epoch()?),
            ACK => ToLeader::Ack(Zxid(self.u64()?)),
            PONG => ToLeader::Pong(self.u64()?),
            AHEAD => ToLeader::Ahead(self.epoch()?),
            REQUEST => ToLeader::Request(self.bytes()?),
            RELAYED_UP => ToLeader::Relayed(self.relayed()?),
            _unknown => return Err(Malformed),
        };
        Ok(Message::ToLeader { session, sequence, body })
    }
    fn get_to_learner(&mut self, kind: u8) -> Result<Message, Malformed> {
        let (session, sequence) = (self.u64()?, self.u64()?);
        let body = match kind {
            NEW_EPOCH => ToLearner::NewEpoch(self.epoch()?),
            COMPARE => ToLearner::Compare(self.position()?),
            RECORDS => ToLearner::Records { after: self.position()?, bytes: self.bytes()? },
            INFORM => ToLearner::Inform { after: self.position()?, bytes: self.bytes()? },
            SNAPSHOT => ToLearner::Snapshot {
                at: self.position()?,
                offset: self.u64()?,
                bytes: self.bytes()?,
                end: self.flag()?,
            },
            NEW_LEADER => ToLearner::NewLeader { epoch: self.epoch()?, at: self.position()? },
            UP_TO_DATE => ToLearner::UpToDate(Zxid(self.u64()?)),
            COMMIT => ToLearner::Commit(Zxid(self.u64()?)),
            PING => ToLearner::Ping(self.u64()?),
            TAKE_OVER => ToLearner::TakeOver,
            QUEUED => ToLearner::Queued,
            RESPONSE => ToLearner::Response(self.bytes()?),
            RELAYED_DOWN => ToLearner::Relayed(self.relayed()?),
            DISMISS => ToLearner::Dismiss { server: ServerId(self.u32()?), session: self.u64()? },
            AGE => ToLearner::Age(self.u32()?),
            _unknown => return Err(Malformed),
        };
        Ok(Message::ToLearner { session, sequence, body })
    }
}

/// What was said last on a connection, in one direction of it: records that are next in the same session leave out
/// which session that is, their number and their length. Both sides keep one, from the connection's begin on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// A learner's session, and the number in it.
    last: Option<(u64, u64)>,
}

impl Thread {
    /// Whether `message` is next in the session of the last one.
    fn leads_to(self, message: &Message) -> bool {
        let next = self.last.and_then(|(session, last)| Some((session, last.checked_add(1)?)));
        matches!(message, &Message::ToLearner { session, sequence, .. } if next == Some((session, sequence)))
    }

    fn note(&mut self, message: &Message) {
        if let &Message::ToLearner { session, sequence, .. } = message {
            self.last = Some((session, sequence));
        }
    }

    fn decode(self, kind: u8, rest: &[u8]) -> Result<Message, Malformed> {
        let (session, last) = self.last.ok_or(Malformed)?;
        let sequence = last.checked_add(1).ok_or(Malformed)?;
        let mut decoder = Decoder(rest);
        let (after, bytes) = (decoder.position()?, decoder.0.into());
        let body = match kind {
            NEXT_RECORDS => ToLearner::Records { after, bytes },
            _ => ToLearner::Inform { after, bytes },
        };
        Ok(Message::ToLearner { session, sequence, body })
    }
}

impl ToLearner {
    /// The kind, and what a message of records holds.
    fn records(&self) -> Option<(u8, &Position, &Arc<[u8]>)> {
        match self {
            Self::Records { after, bytes } => Some((RECORDS, after, bytes)),
            Self::Inform { after, bytes } => Some((INFORM, after, bytes)),
            Self::NewEpoch(_)
            | Self::Compare(_)
            | Self::Snapshot { .. }
            | Self::NewLeader { .. }
            | Self::UpToDate(_)
            | Self::Commit(_)
            | Self::Ping(_)
            | Self::TakeOver
            | Self::Queued
            | Self::Response(_)
            | Self::Relayed(_)
            | Self::Dismiss { .. }
            | Self::Age(_) => None,
        }
    }
}

impl Message {
    /// As [`Message::encode_head`], shorter where `thread` allows it.
    pub fn encode_next(&self, thread: &mut Thread, out: &mut Vec<u8>) -> Option<&Arc<[u8]>> {
        let follows = thread.leads_to(self);
        thread.note(self);
        if let Self::ToLearner { body, .. } = self
            && follows
            && let Some((kind, after, bytes)) = body.records()
        {
            let mark = if kind == RECORDS { NEXT_RECORDS } else { NEXT_INFORM };
            Encoder(out).u8(mark).position(*after);
            return Some(bytes);
        }
        self.encode_head(out)
    }

    /// As [`Message::decode`], of what [`Message::encode_next`] or [`Message::encode`] said.
    pub fn decode_next(bytes: &[u8], thread: &mut Thread) -> Result<Self, DecodeError> {
        let message = match bytes {
            &[mark @ (NEXT_RECORDS | NEXT_INFORM), ref rest @ ..] => thread.decode(mark, rest)?,
            whole => Self::decode(whole)?,
        };
        thread.note(&message);
        Ok(message)
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u8(MESSAGE_VERSION);
        match self {
            Self::Ballot(ballot) => encoder.u8(BALLOT).ballot(ballot),
            Self::Join { session, join } => {
                encoder.u8(JOIN).u64(*session).u32(join.accepted.0).u32(join.current.0);
                encoder.position(join.last).u8(join.votes.into());
            }
            Self::ToLeader { session, sequence, body } => {
                encoder.put_to_leader(*session, *sequence, body);
            }
            Self::ToLearner { session, sequence, body } => {
                encoder.put_to_learner(*session, *sequence, body);
            }
            Self::Reset { session } => {
                encoder.u8(RESET).u64(*session);
            }
            Self::Seek => {
                encoder.u8(SEEK);
            }
            Self::Offer(offer) => encoder.u8(OFFER).offer(offer),
            Self::Fetch { after, until, bytes_max } => {
                encoder.u8(FETCH).position(*after).u64(until.0).u32(*bytes_max);
            }
            Self::Fetched { after, bytes } => {
                encoder.u8(FETCHED).position(*after).bytes(bytes);
            }
        }
    }

    /// As [`Message::encode`], without the records that end a message of records: they are handed
    /// back, and follow what was appended. All who are sent them can be sent the same memory.
    pub fn encode_head(&self, out: &mut Vec<u8>) -> Option<&Arc<[u8]>> {
        let Self::ToLearner { session, sequence, body } = self else {
            self.encode(out);
            return None;
        };
        let Some((kind, after, bytes)) = body.records() else {
            self.encode(out);
            return None;
        };
        let mut encoder = Encoder(out);
        encoder.u8(MESSAGE_VERSION).u8(kind).u64(*session).u64(*sequence).position(*after);
        encoder.u32(bytes.len() as u32);
        Some(bytes)
    }

    /// The message that is exactly `bytes`. Records inside are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder(bytes);
        let version = decoder.u8()?;
        if version != MESSAGE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let message = match decoder.u8()? {
            BALLOT => Self::Ballot(decoder.ballot()?),
            JOIN => Self::Join {
                session: decoder.u64()?,
                join: Join {
                    accepted: decoder.epoch()?,
                    current: decoder.epoch()?,
                    last: decoder.position()?,
                    votes: decoder.flag()?,
                },
            },
            RESET => Self::Reset { session: decoder.u64()? },
            SEEK => Self::Seek,
            OFFER => Self::Offer(decoder.offer()?),
            FETCH => Self::Fetch {
                after: decoder.position()?,
                until: Zxid(decoder.u64()?),
                bytes_max: decoder.u32()?,
            },
            FETCHED => Self::Fetched { after: decoder.position()?, bytes: decoder.bytes()? },
            kind if kind < NEW_EPOCH => decoder.get_to_leader(kind)?,
            kind => decoder.get_to_learner(kind)?,
        };
        if decoder.0.is_empty() { Ok(message) } else { Err(DecodeError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    fn samples() -> Vec<Message> {
        let at = Position { zxid: Zxid::new(Epoch(2), 3), chain: Chain(4) };
        let vote =
            Vote { current: Epoch(1), last: at.zxid, preferred: true, candidate: ServerId(9) };
        let bytes: Arc<[u8]> = (*b"records").into();
        let mut samples = Vec::new();
        for stance in
            [Stance::Looking, Stance::Watching, Stance::Following(ServerId(3)), Stance::Leading]
        {
            samples.push(Message::Ballot(Ballot {
                boot: 1,
                serial: 2,
                round: 3,
                stance,
                own: None,
                vote: Some(vote),
                heard: vec![ServerId(1), ServerId(2)],
            }));
        }
        let join = Join { accepted: Epoch(5), current: Epoch(4), last: at, votes: true };
        samples.push(Message::Join { session: 77, join });
        samples.push(Message::Reset { session: 78 });
        samples.push(Message::Fetch { after: at, until: Zxid(9), bytes_max: 4096 });
        samples.push(Message::Fetched { after: at, bytes: bytes.clone() });
        samples.push(Message::Seek);
        samples.push(Message::Offer(Offer {
            serving: true,
            epoch: Epoch(6),
            committed: at.zxid,
            begins: Zxid(8),
            path: vec![ServerId(3), ServerId(0x8000_0001)],
        }));
        let relayed = Relayed { server: ServerId(7), session: 79, bytes: bytes.clone() };
        for body in [
            ToLeader::Promised { epoch: Epoch(6), counted: true, current: Epoch(5), last: at },
            ToLeader::Have(None),
            ToLeader::Have(Some(at)),
            ToLeader::SnapshotStored(4096),
            ToLeader::Synced(Epoch(6)),
            ToLeader::Ack(at.zxid),
            ToLeader::Pong(12),
            ToLeader::Ahead(Epoch(9)),
            ToLeader::Request(bytes.clone()),
            ToLeader::Relayed(relayed.clone()),
        ] {
            samples.push(Message::ToLeader { session: 77, sequence: 5, body });
        }
        for body in [
            ToLearner::NewEpoch(Epoch(6)),
            ToLearner::Compare(at),
            ToLearner::Records { after: at, bytes: bytes.clone() },
            ToLearner::Inform { after: at, bytes: bytes.clone() },
            ToLearner::Snapshot { at, offset: 10, bytes: bytes.clone(), end: false },
            ToLearner::NewLeader { epoch: Epoch(6), at },
            ToLearner::UpToDate(at.zxid),
            ToLearner::Commit(at.zxid),
            ToLearner::Ping(12),
            ToLearner::TakeOver,
            ToLearner::Queued,
            ToLearner::Response(bytes),
            ToLearner::Relayed(relayed),
            ToLearner::Dismiss { server: ServerId(7), session: 79 },
            ToLearner::Age(250),
        ] {
            samples.push(Message::ToLearner { session: 77, sequence: 6, body });
        }
        samples
    }

    #[test]
    fn every_message_comes_back_as_it_was_and_no_prefix_of_it_is_one() {
        for message in samples() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            for length in 0..bytes.len() {
                assert!(Message::decode(&bytes[..length]).is_err(), "{message:?} cut to {length}");
            }
            bytes.push(0);
            assert_eq!(Message::decode(&bytes), Err(DecodeError::Malformed));
        }
    }

    #[test]
    fn a_message_in_two_parts_is_the_message() {
        for message in samples() {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            message.encode(&mut whole);
            if let Some(records) = message.encode_head(&mut parts) {
                parts.extend_from_slice(records);
            }
            assert_eq!(parts, whole, "{message:?}");
        }
    }

    const GOLDEN: &[u8] = include_bytes!("../../../../fixtures/peer-messages-v1");

    /// Every sample behind its length.
    #[test]
    fn records_that_are_next_in_their_session_say_where_they_follow_and_no_more() {
        let after = Position { zxid: Zxid::new(Epoch(2), 3), chain: Chain(4) };
        let bytes: Arc<[u8]> = (*b"records").into();
        let records = || ToLearner::Records { after, bytes: bytes.clone() };
        let inform = || ToLearner::Inform { after, bytes: bytes.clone() };
        let of = |session, sequence, body| Message::ToLearner { session, sequence, body };
        let (whole, short) = (34, 13);
        let told = [
            (of(9, 0, records()), whole), // nothing was said before
            (of(9, 1, records()), short),
            (of(9, 2, inform()), short),
            (of(9, 4, records()), whole), // one was lost
            (Message::Reset { session: 9 }, 10),
            (of(9, 5, ToLearner::Ping(1)), 26),
            (of(9, 6, inform()), short),
            (of(8, 7, records()), whole), // another session
            (of(8, u64::MAX, records()), whole),
            (of(8, 0, records()), whole),
        ];
        let (mut says, mut hears) = (Thread::default(), Thread::default());
        for (message, length) in told {
            let mut out = Vec::new();
            let behind = message.encode_next(&mut says, &mut out);
            assert_eq!(out.len(), length, "{message:?}");
            out.extend_from_slice(behind.map_or(&[], |it| it));
            assert_eq!(Message::decode_next(&out, &mut hears), Ok(message));
        }
        let mut nothing_before = Thread::default();
        let next = [&[NEXT_RECORDS][..], &[0; 12], b"records"].concat();
        assert_eq!(
            Message::decode_next(&next, &mut nothing_before),
            Err(DecodeError::Malformed),
            "of which session?"
        );
        assert_eq!(Message::decode(&next), Err(DecodeError::Version(NEXT_RECORDS)));
    }

    fn written() -> Vec<u8> {
        let mut file = Vec::new();
        for message in samples() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            file.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            file.extend_from_slice(&bytes);
        }
        file
    }

    #[test]
    fn messages_of_version_1_are_understood_for_ever_and_are_what_is_said_today() {
        // After a deliberate change: keep this file, add that of the new version. No release has
        // spoken version 1 yet.
        if let Ok(target) = std::env::var("FARWATCH_WRITE_FIXTURES") {
            std::fs::write(format!("{target}/peer-messages-v1"), written()).unwrap();
        }
        let (mut rest, mut known) = (GOLDEN, samples().into_iter());
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (bytes, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            assert_eq!(Message::decode(bytes).ok(), known.next());
            rest = behind;
        }
        assert_eq!(known.next(), None, "a message that is not in the file");
        assert!(written() == GOLDEN, "the layout changed without a new version");
    }

    #[test]
    fn no_bytes_whatever_stop_the_decoder() {
        let mut prng = Prng::new(0x5eed);
        let samples = samples();
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            samples[prng.below(samples.len() as u64) as usize].encode(&mut bytes);
            for _ in 0..prng.between(1, 4) {
                let at = prng.below(bytes.len() as u64) as usize;
                bytes[at] = prng.next() as u8;
            }
            if let Ok(message) = Message::decode(&bytes) {
                let mut again = Vec::new();
                message.encode(&mut again);
                assert_eq!(again, bytes, "one message, one encoding");
            }
        }
    }
}
