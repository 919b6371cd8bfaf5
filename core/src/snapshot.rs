//! The tree as bytes at one zxid.
//!
//! ```text
//! header │ sessions chunk … │ nodes chunk … │ footer
//!          each chunk's checksum is seeded with the one before: the footer's covers the file
//! ```

use crate::acl::AclList;
use crate::txn::NodeKind;
use crate::zxid::Zxid;

pub mod files;
pub mod format;
pub mod reader;
pub mod writer;

/// One node as a snapshot holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeImage<'a> {
    /// Full path; the parent's image comes first.
    pub path: &'a [u8],
    /// `None` is null data.
    pub data: Option<&'a [u8]>,
    /// Who may do what.
    pub acl: AclList<'a>,
    /// What keeps it.
    pub kind: NodeKind,
    /// Created by.
    pub czxid: Zxid,
    /// Data last set by.
    pub mzxid: Zxid,
    /// Children last changed by.
    pub pzxid: Zxid,
    /// Created at, milliseconds since 1970.
    pub ctime: i64,
    /// Data last set at, milliseconds since 1970.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Stored cversion: the count of creates ever under it.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
}
