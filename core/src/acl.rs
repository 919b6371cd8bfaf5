//! Who may do what: identities, permissions, lists of them.
//!
//! A list travels, is stored and is compared as one thing: the bytes of jute's `vector<ACL>`.

use crate::wire::jute::{DecodeError, Reader, Writer};

/// READ 1, WRITE 2, CREATE 4, DELETE 8, ADMIN 16. Unknown bits are kept as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Perms(pub i32);

impl Perms {
    /// Read the data, list the children, see the Stat.
    pub const READ: Self = Self(1);
    /// Set the data.
    pub const WRITE: Self = Self(2);
    /// Create children.
    pub const CREATE: Self = Self(4);
    /// Delete children.
    pub const DELETE: Self = Self(8);
    /// Set the ACL, and see it unmasked.
    pub const ADMIN: Self = Self(16);
    /// All five.
    pub const ALL: Self = Self(31);

    /// Whether any of `needed` is granted.
    pub const fn allows(self, needed: Self) -> bool {
        self.0 & needed.0 != 0
    }
}

/// An identity that a connection has: `(scheme, id)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `ip`, `digest`, `super`, later `x509` and `sasl`.
    pub scheme: String,
    /// What the scheme says who it is.
    pub id: String,
}

/// One entry of a list, borrowed. A null scheme or id is kept apart from an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclEntry<'a> {
    /// What is granted.
    pub perms: Perms,
    /// The scheme.
    pub scheme: Option<&'a [u8]>,
    /// The id within the scheme.
    pub id: Option<&'a [u8]>,
}

/// A list as the bytes of jute's `vector<ACL>`, walked once when it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclList<'a> {
    bytes: &'a [u8],
}

/// `world:anyone` with all permissions, the list most nodes have.
pub const OPEN: AclList<'static> =
    AclList { bytes: b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone" };
/// `world:anyone` with READ.
pub const READ_ONLY: AclList<'static> =
    AclList { bytes: b"\0\0\0\x01\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone" };

impl<'a> AclList<'a> {
    /// Reads a vector; `None` is a null one.
    pub fn decode(r: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
        let start = r.rest();
        let Some(count) = r.count()? else {
            return Ok(None);
        };
        for _ in 0..count {
            AclEntry::decode(r)?;
        }
        Ok(Some(Self { bytes: &start[..start.len() - r.rest().len()] }))
    }

    /// A list from bytes that [`AclList::as_bytes`] gave, checked again.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let list = Self::decode(&mut r)?.ok_or(DecodeError::UnexpectedNull)?;
        if r.rest().is_empty() { Ok(list) } else { Err(DecodeError::Truncated) }
    }

    /// A list from bytes that came from a list and were kept since.
    pub(crate) const fn from_checked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The whole vector, its count included, as it goes on the wire, the log and the snapshot.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entries in order.
    pub fn entries(&self) -> AclEntries<'a> {
        let mut rest = Reader::new(self.bytes);
        let count = rest.count().ok().flatten().unwrap_or(0);
        AclEntries { count, rest }
    }

    /// Appends a vector of `entries` to `out`.
    pub fn encode<'e>(entries: impl ExactSizeIterator<Item = AclEntry<'e>>, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.int(entries.len() as i32);
        for entry in entries {
            w.int(entry.perms.0);
            w.buffer(entry.scheme);
            w.buffer(entry.id);
        }
    }
}

impl<'a> AclEntry<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { perms: Perms(r.int()?), scheme: r.buffer()?, id: r.buffer()? })
    }
}

/// Iterates a list that was checked when it was decoded.
#[derive(Clone, Debug)]
pub struct AclEntries<'a> {
    count: usize,
    rest: Reader<'a>,
}

impl<'a> Iterator for AclEntries<'a> {
    type Item = AclEntry<'a>;

    fn next(&mut self) -> Option<AclEntry<'a>> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        Some(AclEntry::decode(&mut self.rest).expect("walked when it was decoded"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for AclEntries<'_> {}
