//! The identity file: whose data directory this is.
//!
//! ```text
//! 0     4     8        10     12        16                24                 32
//! ├FWID─┼crc──┼version─┼flags─┼server───┼ cluster id ─────┼ former cluster id┤
//! ```
//!
//! Version 1 ends behind the cluster id and has no flags: what it says is firm.

use thiserror::Error;

use super::format::ClusterId;
use crate::zxid::ServerId;

/// The file's name.
pub const IDENTITY_FILE: &str = "identity";

/// Bytes of the file.
pub const IDENTITY_BYTES: usize = 32;

const BYTES_V1: usize = 24;

const MAGIC: [u8; 4] = *b"FWID";
/// Version of the directory's layout as a whole.
const VERSION: u16 = 2;
const FLAG_TENTATIVE: u16 = 1;
const _: () = assert!(16 + size_of::<ClusterId>() == BYTES_V1);
const _: () = assert!(BYTES_V1 + size_of::<ClusterId>() == IDENTITY_BYTES);

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ensemble.
    pub cluster: ClusterId,
    /// The server in it.
    pub server: ServerId,
    /// Whether the ensemble is only this server's proposal: the directory is fresh, and its voters
    /// have not agreed on one id yet.
    pub tentative: bool,
    /// What the ensemble was called before, as long as other files may still say so.
    pub former: Option<ClusterId>,
}

/// Why a directory's owner is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not written by Farwatch, or damaged.
    #[error(
        "the file is damaged or not Farwatch's: restore it from a backup of this directory. A voter \
         of an ensemble may begin with an empty directory instead, and copies what the others have"
    )]
    Damaged,
    /// Of a later version.
    #[error("layout version {0} is not known to this version of Farwatch: use a newer one")]
    Version(u16),
}

impl Identity {
    /// The file.
    pub fn encode(&self) -> [u8; IDENTITY_BYTES] {
        let mut bytes = [0; IDENTITY_BYTES];
        let flags = if self.tentative { FLAG_TENTATIVE } else { 0 };
        let former = self.former.map_or(0, |former| former.0);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&flags.to_le_bytes());
        bytes[24..32].copy_from_slice(&former.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.server.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.cluster.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The identity in `bytes`, checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.len() < BYTES_V1 || bytes[..4] != MAGIC {
            return Err(IdentityError::Damaged);
        }
        let crc = crc32c::crc32c(&bytes[8..]).to_le_bytes();
        if bytes[4..8] != crc {
            return Err(IdentityError::Damaged);
        }
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u64_at =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (flags, former) = match (u16_at(8), bytes.len()) {
            (1, BYTES_V1) => (0, 0),
            (VERSION, IDENTITY_BYTES) => (u16_at(10), u64_at(24)),
            (1 | VERSION, _other_length) => return Err(IdentityError::Damaged),
            (version, _) => return Err(IdentityError::Version(version)),
        };
        if flags & !FLAG_TENTATIVE != 0 {
            return Err(IdentityError::Damaged);
        }
        let server = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
        Ok(Self {
            cluster: ClusterId(u64_at(16)),
            server: ServerId(server),
            tentative: flags == FLAG_TENTATIVE,
            former: (former != 0).then_some(ClusterId(former)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_refused() {
        for (tentative, former) in [(false, None), (true, None), (true, Some(ClusterId(5)))] {
            let (cluster, server) = (ClusterId(77), ServerId(3));
            let identity = Identity { cluster, server, tentative, former };
            let mut bytes = identity.encode();
            assert_eq!(Identity::decode(&bytes), Ok(identity));
            for bit in 0..IDENTITY_BYTES * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Identity::decode(&bytes), Err(IdentityError::Damaged), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for length in 0..IDENTITY_BYTES {
                assert_eq!(Identity::decode(&bytes[..length]), Err(IdentityError::Damaged));
            }
        }
    }
}
