//! What identities are granted, at a cost that has an end: a list may be long, a connection may have
//! many identities, and a multi or a multiRead names tens of thousands of nodes.
//!
//! ```text
//! identities ─► Who ──► names(entry): few are walked, many are searched
//! list, once a request ─► Grants ──► permissions, kept until the request is answered
//! ```

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Network, SUPER};
use crate::acl::{AclEntry, AclList, Identity, Perms};
use crate::wire::ErrorCode;

/// Bytes of lists that one request looks through, each list counted once. The shortest entry that a
/// list can have takes 16, and a look at it a fifth of a microsecond at most, so that this is 50 ms. What
/// one application writes at once has few lists that differ.
pub const LISTS_BYTES_MAX: usize = 4 << 20;

/// From so many identities on they are sorted before so many entries are looked for among them.
const MANY: usize = 16;

/// The identities of a connection, to be looked for.
pub(super) struct Who<'i> {
    identities: &'i [Identity],
    /// Whether to sort them, which takes longer than a look at a few entries.
    sorts: bool,
    /// Made when it is needed.
    sorted: OnceCell<Vec<&'i Identity>>,
}

impl<'i> Who<'i> {
    /// For a look at about so many entries.
    pub(super) const fn new(identities: &'i [Identity], entries: usize) -> Self {
        let sorts = MANY <= identities.len() && MANY <= entries;
        Self { identities, sorts, sorted: OnceCell::new() }
    }

    /// Whether they pass every list.
    pub(super) fn is_super(&self) -> bool {
        self.any_of(SUPER.as_bytes(), |_| true)
    }

    /// Whether `entry` speaks of one of them, or of everyone.
    pub(super) fn is_named(&self, entry: &AclEntry<'_>) -> bool {
        let (Some(scheme), Some(id)) = (entry.scheme, entry.id) else {
            return false;
        };
        match scheme {
            b"world" => id == b"anyone",
            b"ip" => {
                let Some(network) = std::str::from_utf8(id).ok().and_then(Network::parse) else {
                    return false;
                };
                self.any_of(scheme, |identity| network.contains(&identity.id))
            }
            b"digest" | b"x509" => self.has(scheme, id),
            b"sasl" => self.has(scheme, id) || self.has(scheme, SUPER.as_bytes()),
            _unknown => false,
        }
    }

    fn sorted(&self) -> Option<&[&'i Identity]> {
        if !self.sorts {
            return None;
        }
        Some(self.sorted.get_or_init(|| {
            let mut sorted: Vec<_> = self.identities.iter().collect();
            sorted.sort_unstable();
            sorted
        }))
    }

    fn has(&self, scheme: &[u8], id: &[u8]) -> bool {
        match self.sorted() {
            None => self.any_of(scheme, |identity| identity.id.as_bytes() == id),
            Some(sorted) => {
                let place = sorted.binary_search_by(|identity| {
                    compared();
                    (identity.scheme.as_bytes(), identity.id.as_bytes()).cmp(&(scheme, id))
                });
                place.is_ok()
            }
        }
    }

    /// Whether any of this scheme `is` it.
    fn any_of(&self, scheme: &[u8], is: impl Fn(&Identity) -> bool) -> bool {
        let of_scheme = |identity: &Identity| {
            compared();
            identity.scheme.as_bytes() == scheme
        };
        match self.sorted() {
            None => self.identities.iter().any(|identity| of_scheme(identity) && is(identity)),
            Some(sorted) => {
                let from = sorted.partition_point(|identity| {
                    compared();
                    identity.scheme.as_bytes() < scheme
                });
                let mut these = sorted[from..].iter().take_while(|identity| of_scheme(identity));
                these.any(|identity| is(identity))
            }
        }
    }

    /// All that `list` grants them.
    fn granted(&self, list: AclList<'_>) -> Perms {
        if self.is_super() || list.entries().len() == 0 {
            return Perms::ALL;
        }
        let mut granted = 0;
        for entry in list.entries() {
            let more = entry.perms.0 & Perms::ALL.0 & !granted;
            if more != 0 && self.is_named(&entry) {
                granted |= more;
            }
        }
        Perms(granted)
    }
}

/// A list that was looked through. It is held, so that no other list can be where it is.
struct Known {
    _list: Arc<[u8]>,
    granted: Perms,
}

/// What the identities of one request are granted by each of the lists that it meets.
pub struct Grants<'i> {
    who: Who<'i>,
    /// By where the list is.
    known: RefCell<BTreeMap<usize, Known>>,
    /// Bytes of lists that were looked through.
    looked: Cell<usize>,
}

impl<'i> Grants<'i> {
    /// Nothing was looked at yet.
    pub const fn new(identities: &'i [Identity]) -> Self {
        Self {
            who: Who::new(identities, usize::MAX),
            known: RefCell::new(BTreeMap::new()),
            looked: Cell::new(0),
        }
    }

    /// Whether `list`, which is [`crate::acl::OPEN`] where there is none, grants any of `needed`. Fails with
    /// NOAUTH if not, with BADARGUMENTS when the request meets too much of lists for that to be
    /// looked at.
    pub fn check(&self, list: Option<&Arc<[u8]>>, needed: Perms) -> Result<(), ErrorCode> {
        let granted = list.map_or(Ok(Perms::ALL), |list| self.granted(list))?;
        if granted.allows(needed) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn granted(&self, list: &Arc<[u8]>) -> Result<Perms, ErrorCode> {
        let mut known = self.known.borrow_mut();
        let place = list.as_ptr().addr();
        if let Some(known) = known.get(&place) {
            return Ok(known.granted);
        }
        if self.who.is_super() {
            return Ok(Perms::ALL); // whatever the list says: it is not looked through
        }
        let looked = self.looked.get() + list.len();
        if LISTS_BYTES_MAX < looked {
            return Err(ErrorCode::BadArguments);
        }
        self.looked.set(looked);
        let granted = self.who.granted(AclList::from_checked(list));
        known.insert(place, Known { _list: Arc::clone(list), granted });
        Ok(granted)
    }
}

/// Counts comparisons with an identity, for tests: what they cost depends on the machine, their
/// number does not.
#[inline(always)]
fn compared() {
    #[cfg(test)]
    super::tests::COMPARED.set(super::tests::COMPARED.get() + 1);
}
