//! Who a connection is, and whether that grants what is asked.
//!
//! ```text
//! address, auth packets ─► authenticate ─► identities ┐
//! request's ACL ─► fix_up ─► canonical list ─► tree ──┴─► allowed
//! ```
//!
//! Source: client-protocol rules of ZooKeeper 3.9 (`ZooKeeperServer.checkACL`,
//! `PrepRequestProcessor.fixupACL`, `DigestAuthenticationProvider`, `IPAuthenticationProvider`).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use thiserror::Error;

use crate::acl::{self, AclEntry, AclList, Identity, Perms};
use crate::wire::jute::Writer;
use crate::wire::{ErrorCode, OpCode};

mod grants;
#[cfg(test)]
pub(crate) mod tests;

use grants::Who;
pub use grants::{Grants, LISTS_BYTES_MAX};

/// The scheme of an identity that passes every list.
pub const SUPER: &str = "super";
/// The scheme of a user name with a password's hash.
pub const DIGEST: &str = "digest";
/// The scheme of a network address.
pub const IP: &str = "ip";

/// Largest list that is stored, bytes: a thousand entries of `digest`, three thousand of `ip`. Every read
/// of its node and every event there looks through it, on a thread that others wait for, and `auth:` entries
/// multiply with the identities of their connection.
pub const ACL_BYTES_MAX: usize = 64 << 10;

/// What an operation needs, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// No permission.
    Nothing,
    /// Any of these, on the node that the request names.
    Node(Perms),
    /// Any of these, on the parent of the node that the request names.
    Parent(Perms),
    /// Any of these, on `/zookeeper/config`.
    Config(Perms),
    /// Whatever each of its parts needs.
    Parts,
}

/// The permission that `op` needs: the whole table, for reads and writes alike.
pub const fn needs(op: OpCode) -> Needs {
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            Needs::Parent(Perms::CREATE)
        }
        OpCode::Delete => Needs::Parent(Perms::DELETE),
        OpCode::SetData => Needs::Node(Perms::WRITE),
        OpCode::SetAcl => Needs::Node(Perms::ADMIN),
        OpCode::GetAcl => Needs::Node(Perms(Perms::READ.0 | Perms::ADMIN.0)),
        OpCode::Exists
        | OpCode::GetData
        | OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::GetAllChildrenNumber
        | OpCode::Check => Needs::Node(Perms::READ),
        OpCode::Reconfig => Needs::Config(Perms::WRITE),
        OpCode::Multi | OpCode::MultiRead => Needs::Parts,
        OpCode::Sync
        | OpCode::Ping
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::DeleteContainer
        | OpCode::Auth
        | OpCode::SetWatches
        | OpCode::Sasl
        | OpCode::GetEphemerals
        | OpCode::SetWatches2
        | OpCode::AddWatch
        | OpCode::WhoAmI
        | OpCode::CreateSession
        | OpCode::CloseSession => Needs::Nothing,
    }
}

/// Whether `identities` are granted any of `needed` by `list`. Who asks about many lists asks [`Grants`].
pub fn allowed(identities: &[Identity], list: AclList<'_>, needed: Perms) -> bool {
    // Most nodes have this list, and no identity can take anything from it.
    if list == acl::OPEN && Perms::ALL.allows(needed) {
        return true;
    }
    let mut entries = list.entries();
    let who = Who::new(identities, entries.len());
    if who.is_super() || entries.len() == 0 {
        return true;
    }
    entries.any(|entry| entry.perms.allows(needed) && who.is_named(&entry))
}

/// An address with the count of leading bits that matter.
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// `10.0.0.0/8`, `10.1.2.3`, `fe80::/10`; bits from 0 to the length of the address.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = parse_address(address)?;
        let length = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|&bits| bits <= length)?,
            None => length,
        };
        Some(Self { address, bits })
    }

    /// Whether `address` lies within; families must agree.
    fn contains(&self, address: &str) -> bool {
        // A link-local address is printed with its interface, which no list can know.
        let address = address.split_once('%').map_or(address, |(address, _interface)| address);
        match (self.address, parse_address(address)) {
            (IpAddr::V4(network), Some(IpAddr::V4(address))) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), Some(IpAddr::V6(address))) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _families_differ => false,
        }
    }
}

/// Four decimal numbers (leading zeros are harmless, as in ZooKeeper) or an IPv6 address.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = parts.next()?.parse().ok()?;
    }
    parts.next().is_none().then(|| IpAddr::from(octets))
}

/// Whether an entry of a stored list may name `id` of `scheme` on this server. `auth` is not stored
/// and not valid here; `sasl` and `x509` need a provider, which a server without TLS lacks.
pub fn valid_id(scheme: &[u8], id: &[u8]) -> bool {
    match scheme {
        b"world" => id == b"anyone",
        b"ip" => {
            let network = std::str::from_utf8(id).ok().and_then(Network::parse);
            network.is_some_and(|network| !is_mapped(network.address))
        }
        b"digest" => {
            // Java's split drops empty parts at the end, and two parts must be left.
            let end = id.iter().rposition(|&byte| byte != b':').map_or(0, |last| last + 1);
            id[..end].iter().filter(|&&byte| byte == b':').count() == 1
        }
        _unregistered => false,
    }
}

/// Whether `address` is one of IPv4 in the clothes of IPv6, as `::ffff:10.0.0.1`. No client has it: its
/// address is taken for the one within. Source: `IPAuthenticationProvider.v6addr2Bytes`.
fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Makes the list that is stored from the one that a request carries, appended to `out`: exact
/// duplicates dropped, `auth:` replaced by the identities of the connection, every entry checked.
/// `out` is as it was after an error.
pub fn fix_up(
    list: Option<AclList<'_>>,
    identities: &[Identity],
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let list = list.ok_or(ErrorCode::InvalidAcl)?;
    if list == acl::OPEN {
        out.extend_from_slice(list.as_bytes());
        return Ok(());
    }
    let start = out.len();
    let fixed = fix_up_entries(list, identities, out);
    if fixed.is_err() {
        out.truncate(start);
    }
    fixed
}

fn fix_up_entries(
    list: AclList<'_>,
    identities: &[Identity],
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let start = out.len();
    let mut w = Writer::new(out);
    w.int(0); // The count, known at the end.
    let mut count = 0_i32;
    let mut seen = BTreeSet::new();
    for entry in list.entries() {
        if !seen.insert(entry) {
            continue;
        }
        count += fix_up_entry(&entry, identities, start, &mut w)?;
    }
    if count == 0 {
        return Err(ErrorCode::InvalidAcl);
    }
    out[start..start + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// Appends what `entry` stands for to the list that starts at `start`, and returns how many entries
/// that is.
fn fix_up_entry(
    entry: &AclEntry<'_>,
    identities: &[Identity],
    start: usize,
    w: &mut Writer<'_>,
) -> Result<i32, ErrorCode> {
    let scheme = entry.scheme.ok_or(ErrorCode::InvalidAcl)?;
    if scheme == b"auth" {
        let mut count = 0;
        for identity in identities.iter().filter(|identity| is_authenticated(identity)) {
            let (scheme, id) = (identity.scheme.as_bytes(), identity.id.as_bytes());
            encode_entry(entry.perms, scheme, id, start, w)?;
            count += 1;
        }
        return if count == 0 { Err(ErrorCode::InvalidAcl) } else { Ok(count) };
    }
    let id = match entry.id {
        Some(id) => id,
        None if scheme == b"world" => return Err(ErrorCode::MarshallingError),
        None => return Err(ErrorCode::InvalidAcl),
    };
    if !valid_id(scheme, id) {
        return Err(ErrorCode::InvalidAcl);
    }
    encode_entry(entry.perms, scheme, id, start, w)?;
    Ok(1)
}

fn encode_entry(
    perms: Perms,
    scheme: &[u8],
    id: &[u8],
    start: usize,
    w: &mut Writer<'_>,
) -> Result<(), ErrorCode> {
    w.int(perms.0);
    w.string(scheme);
    w.string(id);
    if w.out.len() - start > ACL_BYTES_MAX { Err(ErrorCode::InvalidAcl) } else { Ok(()) }
}

/// Whether `identity` was proved, so that `auth:` may stand for it. An address proves nothing, and
/// `super` is never stored.
fn is_authenticated(identity: &Identity) -> bool {
    matches!(identity.scheme.as_str(), DIGEST | "sasl" | "x509")
}

/// Appends `list` as a caller without ADMIN sees it: every `digest` id from its first `:` on is
/// replaced by `:x`, so that a hash is not given away to be guessed at.
pub fn mask_digests(list: AclList<'_>, out: &mut Vec<u8>) {
    let entries = list.entries();
    let mut w = Writer::new(out);
    w.int(entries.len() as i32);
    let mut masked = Vec::new();
    for entry in entries {
        w.int(entry.perms.0);
        w.buffer(entry.scheme);
        let colon = entry.id.and_then(|id| id.iter().position(|&byte| byte == b':'));
        match (entry.scheme, entry.id, colon) {
            (Some(b"digest"), Some(id), Some(colon)) => {
                masked.clear();
                masked.extend_from_slice(&id[..colon]);
                masked.extend_from_slice(b":x");
                w.string(&masked);
            }
            (_, id, _) => w.buffer(id),
        }
    }
}

/// `super:<base64 of a hash>`, the digest identity that passes every ACL.
///
/// It is a secret: whoever reads it can try passwords against it. So it cannot be formatted, and a
/// configuration that is logged shows only that one is set.
#[derive(Clone)]
pub struct SuperDigest(String);

impl SuperDigest {
    /// Keeps `identity`, the text `super:HASH`.
    pub fn new(identity: String) -> Self {
        Self(identity)
    }

    /// Whether `identity`, computed from a client's credentials, is the one. Takes the same time
    /// wherever they differ.
    pub fn matches(&self, identity: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), identity.as_bytes());
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for SuperDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(set, not shown)")
    }
}

/// The hash of `digest` identities: `zookeeper.DigestAuthenticationProvider.digestAlg`. All servers
/// must have the same, and ACLs that name a hash must have been made with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// What clients that compute ACLs by themselves assume.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-224.
    Sha3_224,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

impl DigestAlgorithm {
    /// By the names that Java has for them, in any letter case, those of SHA-1 and SHA-2 also without the
    /// hyphen.
    pub fn by_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SHA1" | "SHA-1" | "SHA" => Some(Self::Sha1),
            "SHA224" | "SHA-224" => Some(Self::Sha224),
            "SHA256" | "SHA-256" => Some(Self::Sha256),
            "SHA384" | "SHA-384" => Some(Self::Sha384),
            "SHA512" | "SHA-512" => Some(Self::Sha512),
            "SHA3-224" => Some(Self::Sha3_224),
            "SHA3-256" => Some(Self::Sha3_256),
            "SHA3-384" => Some(Self::Sha3_384),
            "SHA3-512" => Some(Self::Sha3_512),
            _ => None,
        }
    }

    /// The hash of `text` in base 64.
    fn hash(self, text: &[u8]) -> String {
        match self {
            Self::Sha1 => STANDARD.encode(Sha1::digest(text)),
            Self::Sha224 => STANDARD.encode(Sha224::digest(text)),
            Self::Sha256 => STANDARD.encode(Sha256::digest(text)),
            Self::Sha384 => STANDARD.encode(Sha384::digest(text)),
            Self::Sha512 => STANDARD.encode(Sha512::digest(text)),
            Self::Sha3_224 => STANDARD.encode(Sha3_224::digest(text)),
            Self::Sha3_256 => STANDARD.encode(Sha3_256::digest(text)),
            Self::Sha3_384 => STANDARD.encode(Sha3_384::digest(text)),
            Self::Sha3_512 => STANDARD.encode(Sha3_512::digest(text)),
        }
    }
}

/// What an operator can set about authentication.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// `zookeeper.DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// `zookeeper.DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `zookeeper.DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<SuperDigest>,
    /// The names by which clients may call the ensemble that they want to reach, with the scheme
    /// `ensemble`; an empty list takes every name. Without it there is no such scheme.
    pub ensemble_names: Option<Vec<String>>,
}

impl Default for AuthOptions {
    fn default() -> Self {
        let digest_algorithm = DigestAlgorithm::Sha1;
        Self { digest_enabled: true, digest_algorithm, super_digest: None, ensemble_names: None }
    }
}

/// An auth packet that is answered AUTHFAILED, unless its kind says otherwise, whereupon the
/// connection closes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthRefused {
    /// No provider of this name takes credentials here.
    #[error("authentication scheme {0:?} is not available; this server has digest and ip")]
    Scheme(String),
    /// The packet carried no credentials.
    #[error("an auth packet of scheme digest carried null instead of user:password")]
    NullData,
    /// The client means another ensemble. It gets no answer: AUTHFAILED would end its session,
    /// and it shall try the next server of its list.
    #[error("the client looks for an ensemble of another name")]
    OtherEnsemble,
}

/// The identities that an auth packet adds to its connection. They may be there already: identities
/// are a set. `ip` adds nothing, because a connection has its address from the start, and `ensemble`
/// names nobody; digest
/// credentials that match the super digest give `super` and the digest both.
pub fn authenticate(
    scheme: Option<&[u8]>,
    data: Option<&[u8]>,
    options: &AuthOptions,
) -> Result<Vec<Identity>, AuthRefused> {
    match scheme {
        Some(b"ip") => Ok(Vec::new()),
        Some(b"digest") if options.digest_enabled => {
            let credentials = data.ok_or(AuthRefused::NullData)?;
            let digest = digest_identity(credentials, options.digest_algorithm);
            let is_super = options.super_digest.as_ref().is_some_and(|it| it.matches(&digest.id));
            let mut identities = Vec::with_capacity(2);
            if is_super {
                identities.push(Identity { scheme: SUPER.into(), id: String::new() });
            }
            identities.push(digest);
            Ok(identities)
        }
        Some(b"ensemble") if options.ensemble_names.is_some() => {
            let names = options.ensemble_names.as_deref().unwrap_or_default();
            let asked = data.unwrap_or_default();
            let any = asked.is_empty() || names.is_empty();
            if any || names.iter().any(|name| name.as_bytes() == asked) {
                Ok(Vec::new())
            } else {
                Err(AuthRefused::OtherEnsemble)
            }
        }
        scheme => {
            let scheme = scheme.map_or("null".into(), String::from_utf8_lossy);
            Err(AuthRefused::Scheme(scheme.chars().take(40).collect()))
        }
    }
}

/// `user:base64(hash(user:password))`, where the user is everything before the first colon.
pub fn digest_identity(credentials: &[u8], algorithm: DigestAlgorithm) -> Identity {
    let text = String::from_utf8_lossy(credentials);
    let user = text.split_once(':').map_or(&*text, |(user, _password)| user);
    let hash = algorithm.hash(text.as_bytes());
    Identity { scheme: DIGEST.into(), id: format!("{user}:{hash}") }
}

/// The identity that a connection has from its peer's address. A v4 address that arrives mapped
/// into v6 is a v4 address, or lists that name it would not match on a dual-stack listener.
pub fn ip_identity(address: IpAddr) -> Identity {
    Identity { scheme: IP.into(), id: address.to_canonical().to_string() }
}

/// Appends the body of a whoAmI reply: for each identity its scheme and what may be shown of it.
pub fn encode_who_am_i(identities: &[Identity], out: &mut Vec<u8>) {
    let mut w = Writer::new(out);
    w.int(identities.len() as i32);
    for identity in identities {
        let shown = match identity.scheme.as_str() {
            DIGEST => identity.id.split_once(':').map_or(&*identity.id, |(user, _hash)| user),
            _shown_whole => &identity.id,
        };
        w.string(identity.scheme.as_bytes());
        w.string(shown.as_bytes());
    }
}
