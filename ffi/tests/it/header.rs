//! The header that is in the repository is the one that the source gives, and compilers like it.

use std::collections::BTreeSet;

use expect_test::expect_file;

use crate::hostile::{Function, functions};
use crate::program::{check_syntax, check_syntax_with, has, own};
use crate::programs::recipes_of_the_document;

/// `UPDATE_EXPECT=1 cargo test -p farwatch-ffi header` writes it.
#[test]
fn the_header_is_what_the_source_says() {
    let config = cbindgen::Config::from_file(own("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_crate(own("")).with_config(config).generate();
    let mut header = Vec::new();
    bindings.expect("the source parses").write(&mut header);
    expect_file!["../../include/farwatch.h"].assert_eq(&String::from_utf8(header).expect("UTF-8"));
}

#[test]
fn strict_compilers_take_the_headers_as_c99_and_as_cpp17() {
    let folder = tempfile::tempdir().expect("a folder");
    let c = folder.path().join("header.c");
    let cpp = folder.path().join("header.cpp");
    let uses = "#include <farwatch.h>\n#include <farwatch.h>\nfw_stat stat = FW_STAT_INIT;\n\
                fw_status status = FW_OK;\nfw_config *config;\n";
    std::fs::write(&c, uses).expect("a file");
    std::fs::write(&cpp, uses.replacen("farwatch.h>", "farwatch.hpp>", 1)).expect("a file");
    for (cc, cxx) in [("gcc", "g++"), ("clang", "clang++")] {
        if has(cc) {
            check_syntax(cc, "c99", &c);
            check_syntax(cc, "c11", &c);
        }
        if has(cxx) {
            check_syntax(cxx, "c++17", &cpp);
            check_syntax(cxx, "c++20", &cpp);
        }
    }
}

/// Whoever compiles the programs elsewhere in these tests is the machine's `cc`; clang has warnings of its own.
#[test]
fn clang_takes_the_programs_and_the_examples_too() {
    if !has("clang") || !has("clang++") {
        return;
    }
    let folder = recipes_of_the_document();
    let document = ["-I", folder.path().to_str().expect("text")];
    let files =
        ["tests/c", "examples"].map(|folder| std::fs::read_dir(own(folder)).expect("it is there"));
    for file in files.into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("c") => check_syntax_with("clang", "gnu11", &document, &file),
            Some("cpp") => check_syntax_with("clang++", "c++17", &document, &file),
            Some(_) | None => {}
        }
    }
}

/// What the text of a type says of the functions on it begins so.
const OF_ALL: &str = "functions on it: any thread";

/// Types whose text speaks for all functions on them, and has these words behind that: the beginnings of their names.
fn types_that_speak(header: &str, words: &str) -> Vec<String> {
    let mut prefixes = Vec::new();
    for part in header.split("/**").skip(1) {
        let Some((text, code)) = part.split_once("*/") else { continue };
        let name = code.trim().strip_prefix("typedef struct ").and_then(|it| it.split(' ').next());
        let said = text.split_once(OF_ALL).map(|(_type, of_all)| of_all);
        if let Some(name) = name.filter(|_| said.is_some_and(|said| said.contains(words))) {
            prefixes.push(format!("{name}_"));
        }
    }
    prefixes
}

/// Its comments have no line breaks.
fn header_in_sentences() -> String {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    header.replace("\n * ", " ")
}

#[test]
fn every_function_says_which_threads_may_call_it_or_its_type_does() {
    let header = header_in_sentences();
    let spoken_for = types_that_speak(&header, "");
    assert!(spoken_for.contains(&"fw_client_".to_owned()), "{spoken_for:?}");
    let mut silent = Vec::new();
    for function in functions(&header) {
        let says = ["Any thread", "As `fw_", "as `fw_"].iter().any(|w| function.text.contains(w));
        if !says && !spoken_for.iter().any(|prefix| function.name.starts_with(prefix)) {
            silent.push(function.name);
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
}

/// Functions whose texts say whether they may block, in words of their own or of their types.
fn that_say_whether_they_block<'a>(header: &str, all: &'a [Function]) -> BTreeSet<&'a str> {
    let never = types_that_speak(header, "never block");
    assert!(never.contains(&"fw_op_".to_owned()), "{never:?}");
    assert!(!never.contains(&"fw_client_".to_owned()), "{never:?}");
    let says = |it: &&Function| {
        let words = ["ay block", "ever block", "Takes a lock for an instant"];
        words.iter().any(|word| it.text.contains(word))
            || never.iter().any(|prefix| it.name.starts_with(prefix))
    };
    all.iter().filter(says).map(|it| it.name.as_str()).collect()
}

#[test]
fn every_function_says_whether_it_may_block_or_which_other_one_does_as_it() {
    let header = header_in_sentences();
    let all = functions(&header);
    let that_say = that_say_whether_they_block(&header, &all);
    let says = |it: &Function| {
        let names = ["as `", "As `"].iter().flat_map(|word| it.text.split(word).skip(1));
        let mut others = names.filter_map(|rest| rest.split('`').next()).peekable();
        that_say.contains(it.name.as_str())
            || others.peek().is_some() && others.all(|other| that_say.contains(other))
    };
    let silent: Vec<&str> = all.iter().filter(|it| !says(it)).map(|it| it.name.as_str()).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
