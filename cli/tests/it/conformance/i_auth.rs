//! I: authentication.

use farwatch_bench::raw::{Body, Request, ids, op, request};
use farwatch_bench::subject::Options;

use super::{Client, Kind, code, own, perms};

const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";

#[test]
fn i1_any_digest_is_accepted_and_repeating_it_changes_nothing() {
    let mut client = Client::new(Kind::Plain);
    for credentials in ["bob:pw", "bob:pw", "bob:other", "nocolon", ""] {
        client.login(credentials);
    }
    let root = client.root("i1");
    let bob = [ids::acl(perms::ALL, "digest", BOB)];
    client.ok(&request::set_acl(&root, &bob, -1));
    client.ok(&request::get_data(&root, false));
    let mut stranger = Client::new(Kind::Plain);
    stranger.login("bob:wrong");
    assert_eq!(stranger.err(&request::get_data(&root, false)), code::NO_AUTH);
}

#[test]
fn i2_a_scheme_that_gives_no_identity_fails_and_closes_and_the_session_survives() {
    let scheme = |name: &str| request::auth(name, b"x");
    let null_scheme = Body::new().int(0).null().buffer(Some(b"x"));
    let null_data = Body::new().int(0).string("digest").null();
    let refused = [
        scheme("unknown"),
        scheme("world"),
        scheme("super"),
        scheme("auth"),
        Request::new(op::AUTH, null_scheme),
        Request::new(op::AUTH, null_data),
    ];
    for request in refused {
        let mut client = Client::new(Kind::Plain);
        let reply = client.err_and_close(&request, code::AUTH_FAILED);
        assert_eq!((reply.zxid, reply.body.len()), (0, 0), "{request:?}");
        client.resumed().ok(&request::ping());
    }
}

#[test]
fn i3_a_digest_is_the_user_and_the_hash_of_the_credentials() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("i3");
    client.login("bob:pw");
    client.ok(&request::set_acl(&root, &[ids::acl(perms::ALL, "auth", "")], -1));
    let reply = client.ok(&request::get_acl(&root));
    let stored = reply.reader().acls().expect("an ACL");
    assert_eq!(stored, [ids::acl(perms::ALL, "digest", BOB)]);
}

#[test]
fn i4_the_super_user_passes_every_acl() {
    let mut client = Client::new(Kind::Guarded);
    let root = client.root("i4");
    client.ok(&request::set_acl(&root, &[ids::acl(perms::ALL, "digest", BOB)], -1));
    let config = request::set_data("/zookeeper/config", Some(b""), -1);
    client.login("super:wrong");
    assert_eq!(client.err(&request::get_data(&root, false)), code::NO_AUTH);
    assert_eq!(client.err(&config), code::NO_AUTH);
    client.login("super:admin");
    client.ok(&request::get_data(&root, false));
    client.ok(&request::set_acl(&root, &ids::world(0), -1));
    client.create(&format!("{root}/a"));
    client.delete(&format!("{root}/a"));
    assert_eq!(client.err(&config), 0);
}

#[test]
fn i5_an_identity_ends_with_its_connection() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("i5");
    client.login("bob:pw");
    client.ok(&request::set_acl(&root, &[ids::acl(perms::ALL, "digest", BOB)], -1));
    client.ok(&request::get_data(&root, false));
    let mut resumed = client.resumed();
    assert_eq!(resumed.err(&request::get_data(&root, false)), code::NO_AUTH);
    resumed.login("bob:pw");
    resumed.ok(&request::get_data(&root, false));
}

#[test]
fn i6_enforced_authentication_refuses_and_closes_until_an_identity_is_given() {
    for request in [request::ping(), request::get_data("/", false), request::close_session()] {
        let mut client = Client::new(Kind::EnforceAuth);
        let reply = client.err_and_close(&request, code::SESSION_CLOSED_REQUIRE_AUTH);
        assert_eq!((reply.zxid, reply.body.len()), (0, 0), "{request:?}");
    }
    let mut client = Client::new(Kind::EnforceAuth);
    client.login("bob:pw");
    client.ok(&request::ping());
    client.root("i6");
}

#[test]
fn i7_sasl_without_configuration_is_answered_with_a_null_token() {
    let mut client = Client::new(Kind::Plain);
    for token in [Some(&b""[..]), Some(b"token")] {
        let reply = client.ok(&request::sasl(token));
        let answer = reply.decode(|reader| reader.buffer()).expect("a token");
        assert_eq!(answer, None);
    }
    client.ok(&request::ping());
}

#[test]
fn i8_an_ip_acl_matches_by_its_mask_and_may_be_ipv6() {
    let mut client = Client::new(Kind::Plain);
    let root = client.root("i8");
    let cases = [
        ("127.0.0.0/8", true),
        ("127.0.0.1", true),
        ("127.255.0.1/8", true),
        ("0.0.0.0/0", true),
        ("127.0.0.2", false),
        ("127.0.0.2/31", false),
        ("10.0.0.0/8", false),
        ("::1", false),
        ("2001:db8::/32", false),
    ];
    for (id, matches) in cases {
        let path = format!("{root}/{}", id.replace('/', "-"));
        let list = [ids::acl(perms::ALL, "ip", id)];
        client.ok(&request::create(&path, None, &list, 0));
        let expected = if matches { 0 } else { code::NO_AUTH };
        assert_eq!(client.err(&request::get_data(&path, false)), expected, "{id}");
    }
}

#[test]
fn i9_with_skip_acl_nothing_is_refused() {
    let mut client = Client::new(Kind::SkipAcl);
    let root = client.root("i9");
    let path = format!("{root}/a");
    for node in [&path, &root] {
        if node == &path {
            client.create(node);
        }
        client.ok(&request::set_acl(node, &ids::world(0), -1));
    }
    client.ok(&request::get_data(&path, false));
    client.ok(&request::get_acl(&path));
    client.set(&path, "2");
    client.ok(&request::set_acl(&path, &ids::open(), -1));
    client.delete(&path);
    assert_eq!(client.err(&request::set_data("/zookeeper/config", Some(b""), -1)), 0);
}

#[test]
fn who_looks_for_another_ensemble_is_hung_up_on_without_a_word() {
    let provider = "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
    let options = Options::new()
        .property("zookeeper.authProvider.1", provider)
        .property("zookeeper.ensembleAuthName", " foo,bar ");
    let server = own(options);
    let name = |name: &str| request::auth("ensemble", name.as_bytes());
    let mut client = Client::at(server.address());
    for asked in ["foo", "bar", ""] {
        let reply = client.ok(&name(asked));
        assert_eq!((reply.zxid, reply.body.len()), (0, 0));
    }
    client.send(-4, &name("foo,bar")).expect("a write");
    client.expect_close().expect("a close without bytes");
    client.resumed().ok(&request::ping());
    let mut stranger = Client::new(Kind::Plain);
    stranger.err_and_close(&name("foo"), code::AUTH_FAILED);
}
