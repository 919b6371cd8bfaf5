//! The identity file: whose data directory this is.
//!
//! ```text
//! 0     4     8        10  12        16                24
//! ├FWID─┼crc──┼version─┼0──┼server───┼ cluster id ─────┤
//! ```

use thiserror::Error;

use super::format::ClusterId;
use crate::zxid::ServerId;

/// The file's name.
pub const IDENTITY_FILE: &str = "identity";

/// Bytes of the file.
pub const IDENTITY_BYTES: usize = 24;

const MAGIC: [u8; 4] = *b"FWID";
/// Version of the directory's layout as a whole.
const VERSION: u16 = 1;
const _: () = assert!(16 + size_of::<ClusterId>() == IDENTITY_BYTES);

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ensemble.
    pub cluster: ClusterId,
    /// The server in it.
    pub server: ServerId,
}

/// Why a directory's owner is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Not written by Farwatch, or damaged.
    #[error("the file is damaged or not Farwatch's: restore it from a backup of this directory")]
    Damaged,
    /// Of a later version.
    #[error("layout version {0} is not known to this version of Farwatch: use a newer one")]
    Version(u16),
}

impl Identity {
    /// The file.
    pub fn encode(&self) -> [u8; IDENTITY_BYTES] {
        let mut bytes = [0; IDENTITY_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.server.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.cluster.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The identity in `bytes`, checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes: &[u8; IDENTITY_BYTES] = bytes.try_into().map_err(|_| IdentityError::Damaged)?;
        let crc = crc32c::crc32c(&bytes[8..]).to_le_bytes();
        if bytes[..4] != MAGIC || bytes[4..8] != crc {
            return Err(IdentityError::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(IdentityError::Version(version));
        }
        let server = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
        let cluster = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
        Ok(Self { cluster: ClusterId(cluster), server: ServerId(server) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_refused() {
        let identity = Identity { cluster: ClusterId(77), server: ServerId(3) };
        let mut bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity));
        for bit in 0..IDENTITY_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Identity::decode(&bytes), Err(IdentityError::Damaged), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
