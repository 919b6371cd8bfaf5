//! `farwatch.hpp`: that it has all of `farwatch.h`, and that what is built with it works.

use crate::hostile::functions;
use crate::observer::Voter;
use crate::program::{Program, check_syntax_with, has, own};
use crate::server::{address, own_root};

/// Words of C++ code, without what its comments say.
fn words(code: &str) -> std::collections::BTreeSet<String> {
    let mut words = std::collections::BTreeSet::new();
    let mut rest = code;
    while !rest.is_empty() {
        let (before, comment) = rest.split_once("/*").unwrap_or((rest, ""));
        for line in before.lines() {
            let line = line.split("//").next().unwrap_or_default();
            let parts = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.extend(parts.map(str::to_owned));
        }
        rest = comment.split_once("*/").map_or("", |(_comment, behind)| behind);
    }
    words
}

#[test]
fn every_function_of_the_header_is_reached_through_cpp() {
    let [c, cpp] = ["farwatch.h", "farwatch.hpp"].map(|name| {
        std::fs::read_to_string(own("include").join(name)).expect("a header of this crate")
    });
    let called = words(&cpp);
    let missing: Vec<String> =
        functions(&c).into_iter().map(|it| it.name).filter(|it| !called.contains(it)).collect();
    assert!(missing.is_empty(), "farwatch.hpp does not have {missing:?}");
    assert_eq!(words("a /* b */ c // d\ne(f)").into_iter().collect::<String>(), "acef");
}

/// For those who have neither exceptions nor types at run time.
const WITHOUT: [&str; 2] = ["-fno-exceptions", "-fno-rtti"];

/// Runs a program as g++ and as clang++ build it, once with and once without exceptions.
fn run_by_both(source: &str, mut arguments: impl FnMut() -> Vec<String>) {
    for (compiler, flags) in [("g++", &[] as &[&str]), ("clang++", &WITHOUT)] {
        if has(compiler) {
            let arguments = arguments();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let said = Program::compile_by(compiler, flags, source).run(&arguments);
            assert_eq!(said, "", "{source} by {compiler} {flags:?}");
        }
    }
}

/// What `run_by_both` does not build so: by g++ without exceptions, and as C++20.
#[test]
fn all_of_it_compiles_without_exceptions_and_as_cpp20() {
    if !has("g++") {
        return;
    }
    for source in ["recipes.cpp", "guards.cpp", "rarer.cpp", "futures.cpp"] {
        check_syntax_with("g++", "c++17", &WITHOUT, &own("tests/c").join(source));
    }
    check_syntax_with("g++", "c++20", &[], &own("tests/c/futures.cpp"));
}

fn connect() -> Vec<String> {
    vec![format!("{}{}", address(), own_root())]
}

#[test]
fn fences_rights_and_shared_locks_keep_others_out_in_cpp() {
    run_by_both("guards.cpp", connect);
}

#[test]
fn what_is_asked_more_rarely_is_asked_in_cpp_too() {
    let mut voters = Vec::new(); // a tree of its own for each
    run_by_both("rarer.cpp", || {
        let voter = Voter::start();
        drop(voter.client());
        let addresses = vec![voter.clients.clone(), voter.peers.clone()];
        voters.push(voter);
        addresses
    });
}

#[test]
fn futures_have_results_and_end_with_their_client() {
    run_by_both("futures.cpp", connect);
}
