//! Whom a voter took for the voters of its ensemble when it last started.
//!
//! ```text
//! 0     4     8         10      12
//! ├FWVT─┼crc──┼ version ┼ count ┼ server … u32 each, rising
//! ```
//!
//! What was acknowledged is on a majority of them. A majority of other voters need not have any of it: a server
//! that is started alone, or with a list that differs by two, could begin a history without it. Nothing tells a
//! server who was started with which list, so what is refused is what may be wrong.

use std::collections::BTreeSet;

use farwatch_core::disk::{self, DiskCause, DiskError};
use farwatch_core::zxid::ServerId;

use super::{DataDir, DataDirError};

/// The file's name.
pub const VOTERS_FILE: &str = "voters";

const MAGIC: [u8; 4] = *b"FWVT";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 12;

/// As many as a list can have. More than a configuration is taken with.
const BYTES_MAX: usize = HEAD_BYTES + 4 * 256;

/// Voters by their numbers.
pub type Voters = BTreeSet<ServerId>;

impl DataDir {
    /// Notes that the server is about to vote among `voters`, itself included. Those before are handed back where
    /// they were others. Refused where a majority of the ones need not share a server with a majority of the
    /// others, unless all of them are changed at once, which `on_purpose` says.
    pub fn settle_voters(
        &self,
        voters: &Voters,
        on_purpose: bool,
    ) -> Result<Option<Voters>, DataDirError> {
        let before = self.voters()?;
        if before.as_ref() == Some(voters) {
            return Ok(None);
        }
        if let Some(before) = &before
            && !on_purpose
            && (1 < before.symmetric_difference(voters).count() || voters.len() == 1)
        {
            let (before, now) = (named(before), named(voters));
            return Err(DataDirError::Voters { path: self.root().to_owned(), before, now });
        }
        // Of a server that was never one of several nothing is anywhere else.
        if before.is_some() || 1 < voters.len() {
            match disk::replace(self, VOTERS_FILE, &encode(voters)) {
                // Of a version that kept none: on a full disk it is noted by a later start.
                Err(DiskError { cause: DiskCause::Full, .. }) if before.is_none() => {}
                noted => noted?,
            }
        }
        Ok(before)
    }

    /// Whether it can be read among whom the server last voted: before anything is changed.
    pub fn check_voters(&self) -> Result<(), DataDirError> {
        self.voters().map(drop)
    }

    fn voters(&self) -> Result<Option<Voters>, DataDirError> {
        let Some(bytes) = disk::read_small(self, VOTERS_FILE, BYTES_MAX + 1)? else {
            return Ok(None);
        };
        let path = || self.path(VOTERS_FILE);
        match decode(&bytes) {
            Some(Ok(voters)) => Ok(Some(voters)),
            Some(Err(version)) => Err(DataDirError::VotersVersion { path: path(), version }),
            None => Err(DataDirError::VotersDamaged { path: path() }),
        }
    }
}

/// `1, 2 and 3`.
pub fn named(voters: &Voters) -> String {
    let mut names: Vec<String> = voters.iter().map(ToString::to_string).collect();
    match names.pop() {
        Some(last) if names.is_empty() => format!("{last} alone"),
        Some(last) => format!("{} and {last}", names.join(", ")),
        None => "nobody".to_owned(),
    }
}

fn encode(voters: &Voters) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(voters.len() as u16).to_le_bytes());
    bytes.extend(voters.iter().flat_map(|voter| voter.0.to_le_bytes()));
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// `None` is damage, a number the version of a release that writes something else.
fn decode(bytes: &[u8]) -> Option<Result<Voters, u16>> {
    let (head, body) = bytes.split_at_checked(8)?;
    let ([0x46, 0x57, 0x56, 0x54, crc @ ..], [v0, v1, c0, c1, servers @ ..]) = (head, body) else {
        return None;
    };
    if crc != crc32c::crc32c(body).to_le_bytes() {
        return None;
    }
    let (version, count) = (u16::from_le_bytes([*v0, *v1]), u16::from_le_bytes([*c0, *c1]));
    if version != VERSION {
        return Some(Err(version));
    }
    let voter = |bytes: &[u8; 4]| ServerId(u32::from_le_bytes(*bytes));
    let is_whole = servers.len() == 4 * usize::from(count);
    is_whole.then(|| Ok(servers.as_chunks().0.iter().map(voter).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::{Founding, tests::SERVER};
    use super::*;

    fn of(voters: &[u32]) -> Voters {
        voters.iter().copied().map(ServerId).collect()
    }

    #[test]
    fn files_of_version_1_are_read_and_those_of_a_later_one_are_no_damage() {
        let golden = include_bytes!("../../../fixtures/voters-v1");
        let voters = of(&[1, 4, 9]);
        assert_eq!(encode(&voters), golden);
        assert_eq!(decode(golden), Some(Ok(voters)));
        let mut later = golden.to_vec();
        later[8] = 2;
        later.push(0);
        let crc = crc32c::crc32c(&later[8..]);
        later[4..8].copy_from_slice(&crc.to_le_bytes());
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(VOTERS_FILE), &later).unwrap();
        let dir = DataDir::open(root.path(), None, SERVER, Founding::Member).unwrap();
        let refused = dir.settle_voters(&of(&[1, 4, 9]), true).unwrap_err();
        assert!(matches!(refused, DataDirError::VotersVersion { version: 2, .. }), "{refused}");
    }

    #[test]
    fn every_flipped_bit_and_every_prefix_is_refused() {
        let voters = of(&[1, 4, 9]);
        let bytes = encode(&voters);
        assert_eq!(decode(&bytes), Some(Ok(voters)));
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
        }
        (0..bytes.len()).for_each(|length| assert_eq!(decode(&bytes[..length]), None));
    }

    #[test]
    fn lists_whose_majorities_share_no_server_follow_each_other_on_purpose_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path(), None, SERVER, Founding::Member).unwrap();
        let alone = of(&[4]);
        assert_eq!(dir.settle_voters(&alone, false).unwrap(), None);
        assert_eq!(dir.voters().unwrap(), None, "nobody else has anything");
        // Whoever joins it has nothing that anybody was promised.
        let three = of(&[2, 4, 6]);
        assert_eq!(dir.settle_voters(&three, false).unwrap(), None);
        assert_eq!(dir.settle_voters(&three, false).unwrap(), None);
        for other in [alone.clone(), of(&[2, 4, 7]), of(&[2, 4, 6, 7, 8])] {
            let refused = dir.settle_voters(&other, false).unwrap_err().to_string();
            assert!(
                refused.contains("2, 4 and 6") && refused.contains(&named(&other)),
                "{refused}"
            );
        }
        // One comes or goes at a time, but the last but one.
        let four = of(&[2, 3, 4, 6]);
        assert_eq!(dir.settle_voters(&four, false).unwrap(), Some(three.clone()));
        assert_eq!(dir.settle_voters(&three, false).unwrap(), Some(four));
        assert_eq!(dir.settle_voters(&alone, true).unwrap(), Some(three.clone()));
        assert!(dir.settle_voters(&three, false).is_err(), "it went on alone");
        let two = of(&[4, 6]);
        assert_eq!(dir.settle_voters(&two, false).unwrap(), Some(alone.clone()));
        assert!(dir.settle_voters(&alone, false).is_err(), "by two steps it would be alone");
        std::fs::write(root.path().join(VOTERS_FILE), b"FWVT").unwrap();
        assert!(dir.settle_voters(&three, false).unwrap_err().to_string().contains("damaged"));
    }
}
