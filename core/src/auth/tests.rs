use std::cell::Cell;
use std::sync::Arc;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

thread_local! {
    /// How often an identity was compared with something.
    pub(crate) static COMPARED: Cell<usize> = const { Cell::new(0) };
}

fn list(entries: &[(i32, &str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let entries = entries.iter().map(|(perms, scheme, id)| AclEntry {
        perms: Perms(*perms),
        scheme: Some(scheme.as_bytes()),
        id: Some(id.as_bytes()),
    });
    AclList::encode(entries.collect::<Vec<_>>().into_iter(), &mut out);
    out
}

fn identity(scheme: &str, id: &str) -> Identity {
    Identity { scheme: scheme.into(), id: id.into() }
}

fn render(bytes: &[u8]) -> String {
    let entries = AclList::from_bytes(bytes).unwrap().entries();
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap()).into_owned();
    let line = |e: AclEntry<'_>| format!("{}:{}:{}\n", e.perms.0, text(e.scheme), text(e.id));
    entries.map(line).collect()
}

fn fixed(entries: &[(i32, &str, &str)], identities: &[Identity]) -> Result<String, ErrorCode> {
    let bytes = list(entries);
    let mut out = b"before".to_vec();
    let result = fix_up(Some(AclList::from_bytes(&bytes).unwrap()), identities, &mut out);
    assert_eq!(&out[..6], b"before");
    assert!(result.is_ok() || out.len() == 6, "an error leaves nothing behind");
    result.map(|()| render(&out[6..]))
}

/// I3: the golden digests of ZooKeeper.
#[test]
fn digests_are_those_of_zookeeper() {
    for (credentials, id) in [
        ("super:admin", "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="),
        ("bob:pw", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="),
    ] {
        assert_eq!(
            digest_identity(credentials.as_bytes(), DigestAlgorithm::Sha1),
            identity("digest", id)
        );
    }
    assert!(digest_identity(b"nocolon", DigestAlgorithm::Sha1).id.starts_with("nocolon:"));
    assert_eq!(digest_identity(b"", DigestAlgorithm::Sha1).id, ":2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
}

/// Those that ZooKeeper gives to the same credentials where `digestAlg` says so.
#[test]
fn another_hash_makes_other_digests() {
    for (name, hash) in [
        ("SHA-224", "opwh3FU/0WUpM+8JAOS98bsQFC+823kv438mIg=="),
        ("sha256", "wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig="),
        ("SHA-384", "FA/2SgoedA21NnGcUl5C1HBsMwuibAPXlAq/FqXTuUQPExUJgxpf8gWeD4eOupjP"),
        (
            "SHA-512",
            "cMAGk13FCMtJkaVQImGEKhjqoGELCiVjYdIhiD8stB1FnIpdGeFvKwAHh5mf4tUYmBR2ZY9181dZTXEHMlkVhg==",
        ),
        ("SHA3-224", "774X6Nz1d3BUO6raVFndfjoMF6e1LHrnHVv5IA=="),
        ("SHA3-256", "cRy/KPYuDpW/dtsepniTMpuiuupnWgdU9txltIfv3hA="),
        ("SHA3-384", "a3efqz9Fj+qRHgJMpOPAzqpMP86/aPKowwZfSsm/gM+qBf87ZmeQYtueLs53P8Rw"),
        (
            "sha3-512",
            "AdTSPtJYC1bEo1Z0UG5z1VXkw2AEUReEjF0RV0jap6VKcDva8ZPEO/WxrOy888alfiJyM5cm5BKhrI4X/YFcTg==",
        ),
    ] {
        let algorithm = DigestAlgorithm::by_name(name).expect(name);
        let id = format!("super:{hash}");
        let super_digest = Some(SuperDigest::new(id.clone()));
        let options =
            AuthOptions { digest_algorithm: algorithm, super_digest, ..AuthOptions::default() };
        let identities = authenticate(Some(b"digest"), Some(b"super:test"), &options);
        assert_eq!(identities, Ok(vec![identity("super", ""), identity("digest", &id)]));
    }
    assert_eq!(DigestAlgorithm::by_name("MD5"), None);
}

/// I1, I2, I4.
#[test]
fn auth_takes_digest_and_ip_and_nothing_else() {
    let options = AuthOptions {
        super_digest: Some(SuperDigest::new("super:xQJmxLMiHGwaqBvst5y6rkB6HQs=".into())),
        ..AuthOptions::default()
    };
    let auth = |scheme, data| authenticate(scheme, data, &options);
    assert_eq!(auth(Some(b"ip"), Some(b"x")), Ok(vec![]));
    assert_eq!(auth(Some(b"digest"), Some(b"a:b")).unwrap().len(), 1);
    let administrator = auth(Some(b"digest"), Some(b"super:admin")).unwrap();
    assert_eq!(administrator[0], identity("super", ""));
    assert_eq!(administrator[1].scheme, "digest");
    assert_eq!(auth(Some(b"digest"), None), Err(AuthRefused::NullData));
    for scheme in [&b"world"[..], b"auth", b"super", b"sasl", b"x509", b"foo", b""] {
        assert!(auth(Some(scheme), Some(b"a:b")).is_err(), "{scheme:?}");
    }
    assert!(auth(None, Some(b"a:b")).is_err());
    let off = AuthOptions { digest_enabled: false, ..AuthOptions::default() };
    assert!(authenticate(Some(b"digest"), Some(b"a:b"), &off).is_err());
    assert!(matches!(auth(Some(b"ensemble"), Some(b"a")), Err(AuthRefused::Scheme(_))));
}

#[test]
fn the_name_of_another_ensemble_is_refused_and_none_names_anybody() {
    let with = |names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        AuthOptions { ensemble_names: Some(names), ..AuthOptions::default() }
    };
    let auth = |names: &[&str], asked| authenticate(Some(b"ensemble"), asked, &with(names));
    assert_eq!(auth(&[], Some(b"any")), Ok(vec![]));
    for asked in [None, Some(&b""[..]), Some(b"foo"), Some(b"bar")] {
        assert_eq!(auth(&["foo", "bar"], asked), Ok(vec![]), "{asked:?}");
    }
    for asked in [&b"fo"[..], b"Foo", b"foo,bar", b"\xff"] {
        assert_eq!(auth(&["foo", "bar"], Some(asked)), Err(AuthRefused::OtherEnsemble));
    }
}

/// D8, and §9.3's list of digest ids.
#[test]
fn ids_are_valid_by_their_schemes_rule() {
    let valid = |text: &str| {
        let (scheme, id) = text.split_once(':').unwrap();
        valid_id(scheme.as_bytes(), id.as_bytes())
    };
    for good in [
        "world:anyone",
        "digest:a:b",
        "digest::b",
        "digest:a:b::",
        "ip:10.0.0.1",
        "ip:10.0.0.0/0",
        "ip:10.0.0.0/32",
        "ip:::1",
        "ip:fe80::/10",
        "ip:::/128",
        "ip:::7f00:1",
    ] {
        assert!(valid(good), "{good}");
    }
    for bad in [
        "world:bob",
        "foo:x",
        "digest:bob",
        "digest:a",
        "digest:a:",
        "digest::",
        "digest:",
        "digest:a:b:c",
        "digest:a::b",
        "ip:10.0.0",
        "ip:10.0.0.0/33",
        "ip:10.0.0.0/-1",
        "ip:10.0.0.256",
        "ip:1.2.3.4.5",
        "ip:::/129",
        "ip:host",
        "ip:::ffff:127.0.0.1",
        "ip:::ffff:7f00:1",
        "ip:::FFFF:10.0.0.0/104",
        "ip:",
        "super:x",
        "sasl:bob",
        "x509:CN=bob",
        "auth:",
    ] {
        assert!(!valid(bad), "{bad}");
    }
}

/// E11, D7, D8, D9 and the order of §9.5.
#[test]
fn a_list_is_fixed_up_as_zookeeper_does() {
    let nobody = [identity("ip", "127.0.0.1")];
    let two = [
        identity("ip", "127.0.0.1"),
        identity("super", ""),
        identity("digest", "a:1"),
        identity("digest", "b:2"),
    ];
    expect![["31:digest:a:1\n31:digest:b:2\n"]]
        .assert_eq(&fixed(&[(31, "auth", ""), (31, "auth", "")], &two).unwrap());
    expect![["1:world:anyone\n3:ip:10.0.0.0/8\n"]].assert_eq(
        &fixed(&[(1, "world", "anyone"), (3, "ip", "10.0.0.0/8"), (1, "world", "anyone")], &nobody)
            .unwrap(),
    );
    // Duplicates that only the expansion makes are kept.
    expect![["1:digest:a:1\n1:digest:a:1\n1:digest:b:2\n"]]
        .assert_eq(&fixed(&[(1, "digest", "a:1"), (1, "auth", "x")], &two).unwrap());
    for bad in [&[(31, "auth", "")][..], &[], &[(1, "world", "anyone"), (1, "world", "bob")]] {
        assert_eq!(fixed(bad, &nobody), Err(ErrorCode::InvalidAcl), "{bad:?}");
    }
    assert_eq!(fix_up(None, &two, &mut Vec::new()), Err(ErrorCode::InvalidAcl));
    let null_id = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\xff\xff\xff\xff";
    let null_id = AclList::from_bytes(null_id).unwrap();
    let result = fix_up(Some(null_id), &two, &mut Vec::new());
    assert_eq!(result, Err(ErrorCode::MarshallingError));
}

#[test]
fn a_list_that_expansion_makes_too_large_is_refused() {
    let long = identity("digest", &format!("{}:h", "u".repeat(100_000)));
    let entries: Vec<_> = (0..20).map(|perms| (perms, "auth", "")).collect();
    assert_eq!(fixed(&entries, &[long]), Err(ErrorCode::InvalidAcl));
}

/// I8: masks, families, mapped addresses.
#[test]
fn addresses_match_by_their_leading_bits() {
    let check = |pattern: &str, address: &str, expected: bool| {
        let bytes = list(&[(1, "ip", pattern)]);
        let list = AclList::from_bytes(&bytes).unwrap();
        let granted = allowed(&[identity("ip", address)], list, Perms::READ);
        assert_eq!(granted, expected, "{pattern} and {address}");
    };
    check("10.0.0.0/8", "10.9.8.7", true);
    check("10.0.0.0/8", "11.9.8.7", false);
    check("10.0.0.1", "10.0.0.1", true);
    check("10.0.0.1/32", "10.0.0.2", false);
    check("1.2.3.4/0", "200.1.1.1", true);
    check("1.2.3.4/0", "::1", false);
    check("::1", "::1", true);
    check("fe80::/10", "fe80::1%eth0", true);
    check("fe80::/10", "fd80::1", false);
    check("::/0", "2001:db8::1", true);
    check("2001:db8::1/128", "2001:db8::2", false);
    assert_eq!(ip_identity("::ffff:10.0.0.1".parse().unwrap()), identity("ip", "10.0.0.1"));
}

/// §9.2, step by step.
#[test]
fn a_list_grants_what_its_entries_say_and_nothing_more() {
    let bob = [identity("digest", "bob:h")];
    let grants = |entries: &[(i32, &str, &str)], who: &[Identity], needed| {
        allowed(who, AclList::from_bytes(&list(entries)).unwrap(), needed)
    };
    assert!(grants(&[], &[], Perms::ADMIN), "an empty list allows");
    assert!(grants(&[(1, "world", "anyone")], &[], Perms::READ));
    assert!(!grants(&[(1, "world", "anyone")], &bob, Perms::WRITE));
    assert!(grants(&[(2, "digest", "bob:h")], &bob, Perms::WRITE));
    assert!(!grants(&[(2, "digest", "bob:h")], &bob, Perms::READ));
    assert!(!grants(&[(2, "digest", "eve:h")], &bob, Perms::WRITE));
    assert!(!grants(&[(2, "x509", "bob:h")], &bob, Perms::WRITE), "schemes do not mix");
    assert!(grants(&[(0, "world", "anyone")], &[identity("super", "")], Perms::ALL));
    assert!(grants(&[(1, "sasl", "bob")], &[identity("sasl", "bob")], Perms::READ));
    assert!(grants(&[(1, "x509", "CN=b")], &[identity("x509", "CN=b")], Perms::READ));
    assert!(!grants(&[(31, "foo", "x")], &[identity("foo", "x")], Perms::READ));
}

/// The matrix of operations and permissions, from the enum itself: a new operation must appear.
#[test]
fn every_operation_needs_exactly_its_permission() {
    let mut matrix = String::new();
    for &op in OpCode::ALL {
        let (perms, place) = match needs(op) {
            Needs::Node(perms) => (perms, "node"),
            Needs::Parent(perms) => (perms, "parent"),
            Needs::Config(perms) => (perms, "config"),
            Needs::Nothing | Needs::Parts => continue,
        };
        let granting: String = [(1, 'r'), (2, 'w'), (4, 'c'), (8, 'd'), (16, 'a')]
            .into_iter()
            .filter(|&(bit, _)| {
                let bytes = list(&[(bit, "world", "anyone")]);
                allowed(&[], AclList::from_bytes(&bytes).unwrap(), perms)
            })
            .map(|(_, letter)| letter)
            .collect();
        matrix.push_str(&format!("{op:?} {granting} {place}\n"));
    }
    expect![[r#"
        Create c parent
        Delete d parent
        Exists r node
        GetData r node
        SetData w node
        GetAcl ra node
        SetAcl a node
        GetChildren r node
        GetChildren2 r node
        Check r node
        Create2 c parent
        Reconfig w config
        CreateContainer c parent
        CreateTtl c parent
        GetAllChildrenNumber r node
    "#]]
    .assert_eq(&matrix);
}

/// E10, F6.
#[test]
fn hashes_are_not_shown() {
    let bytes = list(&[(31, "digest", "bob:h:h"), (1, "world", "anyone"), (1, "digest", "x")]);
    let mut out = Vec::new();
    mask_digests(AclList::from_bytes(&bytes).unwrap(), &mut out);
    assert_eq!(render(&out), "31:digest:bob:x\n1:world:anyone\n1:digest:x\n");
    let who = [identity("ip", "::1"), identity("digest", "bob:h"), identity("super", "")];
    let mut out = Vec::new();
    encode_who_am_i(&who, &mut out);
    assert_eq!(
        out,
        b"\0\0\0\x03\0\0\0\x02ip\0\0\0\x03::1\0\0\0\x06digest\0\0\0\x03bob\0\0\0\x05super\0\0\0\0"
    );
}

/// The rules, entry by entry and identity by identity.
fn plainly_allowed(identities: &[Identity], list: AclList<'_>, needed: Perms) -> bool {
    let of = |scheme: &'static str| identities.iter().filter(move |it| it.scheme == scheme);
    let names = |entry: &AclEntry<'_>| {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        let (scheme, id) = (text(entry.scheme), text(entry.id));
        match &*scheme {
            "world" => id == "anyone",
            "ip" => Network::parse(&id).is_some_and(|it| of("ip").any(|at| it.contains(&at.id))),
            "digest" => of("digest").any(|it| it.id == id),
            "x509" => of("x509").any(|it| it.id == id),
            "sasl" => of("sasl").any(|it| it.id == id || it.id == "super"),
            _ => false,
        }
    };
    of("super").next().is_some()
        || list.entries().len() == 0
        || list.entries().any(|entry| entry.perms.allows(needed) && names(&entry))
}

fn names() -> impl Strategy<Value = (&'static str, String)> {
    let scheme = prop::sample::select(vec!["digest", "digest", "x509", "sasl", "ip", "foo"]);
    let id = prop_oneof![
        8 => (0..60_u32).prop_map(|n| format!("u{n}:h")),
        3 => (0..4_u32).prop_map(|n| format!("10.0.0.{n}")),
        1 => Just("10.0.0.0/30".into()),
    ];
    prop_oneof![
        60 => (scheme, id),
        1 => Just(("world", "anyone".into())),
        1 => Just(("sasl", "super".into())),
    ]
}

proptest! {
    #[test]
    fn what_is_granted_is_what_the_rules_say_however_many_ask(
        mut who in prop::collection::vec(names(), 0..40),
        entries in prop::collection::vec((0..64_i32, names()), 0..12),
        is_super in prop::bool::weighted(0.05),
    ) {
        if is_super {
            who.push((SUPER, String::new()));
        }
        let who: Vec<_> = who.iter().map(|(scheme, id)| identity(scheme, id)).collect();
        let entries: Vec<_> = entries.iter().map(|(p, (s, id))| (*p, *s, &**id)).collect();
        let bytes: Arc<[u8]> = list(&entries).into();
        let list = AclList::from_bytes(&bytes).unwrap();
        let grants = Grants::new(&who);
        for needed in (0..5).map(|bit| Perms(1 << bit)).chain([Perms(17)]) {
            let expected = plainly_allowed(&who, list, needed);
            prop_assert_eq!(allowed(&who, list, needed), expected);
            prop_assert_eq!(grants.check(Some(&bytes), needed).is_ok(), expected);
            prop_assert_eq!(grants.check(None, needed), Ok(()));
        }
    }
}

/// As many users of one connection, or of one list, as there can be about.
fn users(count: usize, prefix: &str) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number:05}:{}", "h".repeat(28))).collect()
}

#[test]
fn the_longest_list_and_the_most_identities_meet_in_few_comparisons() {
    let who: Vec<_> = users(760, "u").iter().map(|id| identity(DIGEST, id)).collect();
    let others = users(1_100, "v");
    let entries: Vec<_> = others.iter().map(|id| (31, DIGEST, &**id)).collect();
    let bytes = list(&entries);
    COMPARED.set(0);
    assert!(!allowed(&who, AclList::from_bytes(&bytes).unwrap(), Perms::READ));
    let compared = COMPARED.get();
    assert!(compared <= 1_100 * 12, "760 identities and 1,100 entries: {compared} comparisons");
}

/// Lists that were stored before there was a limit may be as long.
#[test]
fn whoever_passes_every_list_passes_as_many_as_a_request_can_meet() {
    let entries = users(20_000, "v");
    let entries: Vec<_> = entries.iter().map(|id| (31, DIGEST, &**id)).collect();
    let lists: Vec<Arc<[u8]>> = (0..6).map(|_| list(&entries).into()).collect();
    assert!(LISTS_BYTES_MAX < lists.iter().map(|list| list.len()).sum());
    let (operator, other) = (identity(SUPER, ""), identity(DIGEST, "u:h"));
    let all = |who: &[Identity]| {
        let grants = Grants::new(who);
        let checked: Vec<_> =
            lists.iter().map(|list| grants.check(Some(list), Perms::DELETE)).collect();
        checked[lists.len() - 1]
    };
    assert_eq!(all(&[operator]), Ok(()));
    assert_eq!(all(&[other]), Err(ErrorCode::BadArguments));
}

#[test]
fn a_list_is_stored_up_to_its_limit_whatever_it_is_made_of() {
    let ids: Vec<_> = (0..5_000).map(|n| format!("10.9.{}.{}", n >> 8, n & 255)).collect();
    let of = |count: usize| {
        let entries: Vec<_> = ids[..count].iter().map(|id| (1, IP, &**id)).collect();
        fixed(&entries, &[]).map(|stored| stored.lines().count())
    };
    let fits = (1..ids.len()).take_while(|&count| {
        let entries: Vec<_> = ids[..count].iter().map(|id| (1, IP, &**id)).collect();
        list(&entries).len() <= ACL_BYTES_MAX
    });
    let most = fits.last().unwrap();
    assert!(2_500 < most, "{most} addresses");
    assert_eq!((of(most), of(most + 1)), (Ok(most), Err(ErrorCode::InvalidAcl)));
}
