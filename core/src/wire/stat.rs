//! A znode's metadata as clients see it.

use super::jute::{DecodeError, Reader, Writer};

/// The 68 bytes of `Stat`. `cversion` is the wire form: it counts creates and deletes of children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// zxid of the transaction that created the node.
    pub czxid: i64,
    /// zxid of the last change of the data.
    pub mzxid: i64,
    /// Creation time, milliseconds since 1970, the leader's clock.
    pub ctime: i64,
    /// Time of the last change of the data.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Changes of the children.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// The owning session of an ephemeral node, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 also for null.
    pub data_length: i32,
    /// Children now.
    pub num_children: i32,
    /// zxid of the last creation or deletion of a child; the node's own czxid before that.
    pub pzxid: i64,
}

impl Stat {
    /// Bytes on the wire.
    pub const BYTES: usize = 68;

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut bytes = [0_u8; Self::BYTES];
        bytes[0..8].copy_from_slice(&self.czxid.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.mzxid.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.ctime.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.mtime.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.version.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.cversion.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.aversion.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.ephemeral_owner.to_be_bytes());
        bytes[52..56].copy_from_slice(&self.data_length.to_be_bytes());
        bytes[56..60].copy_from_slice(&self.num_children.to_be_bytes());
        bytes[60..68].copy_from_slice(&self.pzxid.to_be_bytes());
        w.out.extend_from_slice(&bytes);
    }

    /// Reads the record.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            czxid: r.long()?,
            mzxid: r.long()?,
            ctime: r.long()?,
            mtime: r.long()?,
            version: r.int()?,
            cversion: r.int()?,
            aversion: r.int()?,
            ephemeral_owner: r.long()?,
            data_length: r.int()?,
            num_children: r.int()?,
            pzxid: r.long()?,
        })
    }
}
