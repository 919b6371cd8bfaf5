//! The header that is in the repository is the one that the source gives, and compilers like it.

use expect_test::expect_file;

use crate::hostile::functions;
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

/// Types whose text speaks for all functions on them.
fn types_that_speak(header: &str) -> Vec<String> {
    let mut prefixes = Vec::new();
    for part in header.split("/**").skip(1) {
        let Some((text, code)) = part.split_once("*/") else { continue };
        let name = code.trim().strip_prefix("typedef struct ").and_then(|it| it.split(' ').next());
        if let Some(name) = name.filter(|_| text.contains("functions on it: any thread")) {
            prefixes.push(format!("{name}_"));
        }
    }
    prefixes
}

#[test]
fn every_function_says_which_threads_may_call_it_or_its_type_does() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let header = header.replace("\n * ", " "); // sentences, not lines
    let spoken_for = types_that_speak(&header);
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
