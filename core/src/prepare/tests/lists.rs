//! Long lists and many parts: what one write may cost.

use std::sync::Arc;

use super::super::State;
use super::memory::World;
use super::{FIRST, Options, render_record, request};
use crate::acl::Identity;
use crate::auth::tests::COMPARED;
use crate::auth::{ACL_BYTES_MAX, LISTS_BYTES_MAX};

/// Addresses of a list that is about as long as it may be.
const ADDRESSES: usize = 2_300;

/// Bytes of one of these lists.
fn list_bytes(world: &World, path: &str) -> usize {
    world.tree.node(path.as_bytes()).expect("created").acl.expect("its own").len()
}

/// `create path`, which only everyone may read; that stands last, and no address before it is the client's.
fn guarded(path: &str, of: usize) -> String {
    let address = |n: usize| format!("1:ip:10.{}.{:03}.{:03}", 100 + of, n >> 8, n & 255);
    let addresses: Vec<_> = (0..ADDRESSES).map(address).collect();
    format!("create {path} acl={},1:world:anyone,8:world:anyone", addresses.join(","))
}

fn world() -> World {
    let mut world = World::over_a_tree(Options::default());
    world.open(1).unwrap();
    let scheme = "ip".to_owned();
    world.identities.insert(FIRST, vec![Identity { scheme, id: "127.0.0.1".into() }]);
    world
}

fn write(world: &mut World, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let (op, body) = request(&words);
    let (record, _) = world.write(FIRST, op, &body).expect("it decodes");
    render_record(&record)
}

fn multi_of(part: impl Fn(usize) -> String, count: usize) -> String {
    let parts: Vec<_> = (0..count).map(part).collect();
    format!("multi {}", parts.join(" ; "))
}

#[test]
fn a_multi_of_very_many_parts_looks_through_a_list_once() {
    let mut world = world();
    write(&mut world, &guarded("/a", 0));
    for is_applied in [false, true] {
        COMPARED.set(0);
        let record = write(&mut world, &multi_of(|_| "check /a".into(), 50_000));
        assert_eq!(record.matches("check /a").count(), 50_000, "applied: {is_applied}");
        let compared = COMPARED.get();
        assert!((ADDRESSES..2 * ADDRESSES).contains(&compared), "{compared} comparisons");
        world.apply(usize::MAX);
    }
}

#[test]
fn lists_that_a_multi_meets_by_turns_count_once_and_too_much_of_them_is_refused() {
    let mut world = world();
    for node in 0..150 {
        write(&mut world, &guarded(&format!("/n{node}"), node));
        world.apply(usize::MAX);
    }
    let bytes = list_bytes(&world, "/n7");
    assert!(bytes <= ACL_BYTES_MAX);
    let fit = LISTS_BYTES_MAX / bytes;
    assert!((50..150).contains(&fit), "{fit} lists of {bytes} bytes");
    let check = |of: usize| move |part: usize| format!("check /n{}", part % of);
    let by_turns = write(&mut world, &multi_of(check(fit), 20 * fit));
    assert_eq!(by_turns.matches("check /n").count(), 20 * fit);
    COMPARED.set(0);
    let refused = write(&mut world, &multi_of(check(150), 3_000));
    let codes = |code: &str| refused.matches(code).count();
    assert_eq!((codes("error 0"), codes("error -8"), codes("error -2")), (fit, 1, 2_999 - fit));
    assert!(COMPARED.get() < 2 * fit * ADDRESSES);
    let after = write(&mut world, "multi check /n149 ; check /n0");
    assert!(after.contains("check /n149; check /n0"), "each write begins anew: {after}");
}

#[test]
fn what_a_multi_changes_again_and_again_shares_its_list_with_the_tree() {
    let mut world = world();
    write(&mut world, &guarded("/a", 0).replace("8:world:anyone", "2:world:anyone"));
    world.apply(usize::MAX);
    write(&mut world, &multi_of(|_| "set /a".into(), 100));
    let outstanding = world.prepare.overlay.get(&world.tree, b"/a").expect("changed");
    assert_eq!(outstanding.version, 100);
    let committed = world.tree.node(b"/a").expect("created").acl;
    assert!(Arc::ptr_eq(outstanding.acl.unwrap(), committed.unwrap()));
}
