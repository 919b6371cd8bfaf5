//! What a program that was built against this version relies on. `UPDATE_EXPECT=1` writes the
//! lists; a line that changes or goes is a new ABI version.

use std::fmt::Write;
use std::process::Command;

use expect_test::expect_file;

use crate::hostile::{Function, functions};
use crate::program::{Program, library, own};

fn symbols() -> Vec<String> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output();
    let output = String::from_utf8(output.expect("nm runs").stdout).expect("text");
    let name = |line: &str| line.split_whitespace().last().map(str::to_owned);
    let mut symbols: Vec<String> = output.lines().filter_map(name).collect();
    symbols.sort();
    symbols
}

#[test]
fn exported_symbols_are_the_headers_functions_and_nothing_else() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let mut declared: Vec<String> = functions(&header).into_iter().map(|f| f.name).collect();
    declared.sort();
    assert_eq!(symbols(), declared);
    expect_file!["../../abi/symbols.txt"].assert_eq(&(declared.join("\n") + "\n"));
}

/// The types of callbacks, as the header has them.
fn callbacks(header: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in header.split("\ntypedef ").skip(1) {
        let Some((code, _)) = part.split_once(';') else { continue };
        if code.contains("(*") {
            found.push(code.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found
}

/// A linker compares names only. Those of parameters count, too: two that swap places are of one type.
#[test]
fn prototypes_are_those_that_programs_were_built_with() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let prototype = |it: &Function| {
        let space = if it.returns.ends_with('*') { "" } else { " " };
        let parameters = match it.parameters.join(", ") {
            none if none.is_empty() => "void".to_owned(),
            some => some,
        };
        format!("{}{space}{}({parameters})", it.returns, it.name)
    };
    let mut functions = functions(&header);
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    let mut prototypes: Vec<String> = functions.iter().map(prototype).collect();
    let callbacks = callbacks(&header);
    assert!(callbacks.len() > 5, "{callbacks:?}");
    prototypes.extend(callbacks);
    // What a program has of these is compiled into it, too.
    let defines = header.lines().filter(|line| line.starts_with("#define FW_"));
    prototypes.extend(defines.map(str::to_owned));
    expect_file!["../../abi/prototypes.txt"].assert_eq(&(prototypes.join("\n") + "\n"));
}

#[test]
fn the_shared_library_is_found_by_the_number_of_its_abi() {
    let output = Command::new("readelf").arg("-d").arg(library()).output().expect("readelf runs");
    let output = String::from_utf8(output.stdout).expect("text");
    let soname = format!("[libfarwatch.so.{}]", farwatch::version::ABI_VERSION);
    assert!(output.contains(&soname), "{output}");
    assert!(output.contains("NODELETE"), "a thread of a freed client may still run\n{output}");
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    assert!(
        header.contains(&format!("#define FW_ABI_VERSION {}\n", farwatch::version::ABI_VERSION))
    );
}

/// Names in the header that have a value: statuses, kinds, flags.
fn constants(header: &str) -> Vec<&str> {
    let name = |line: &'_ str| line.trim().split_once(" = ").map(|(name, _value)| name.len());
    let is_constant = |line: &&str| line.trim().starts_with("FW_") && name(line).is_some();
    header.lines().filter(is_constant).map(|line| &line.trim()[..name(line).unwrap_or(0)]).collect()
}

/// Structures whose fields the header tells, which programs have in their own memory: name and fields.
fn plain_structures(header: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    for part in header.split("typedef struct {").skip(1) {
        let (fields, behind) = part.split_once("\n} ").expect("it ends");
        let name = behind.split(';').next().expect("it has a name");
        let lines = fields.lines().map(str::trim).filter(|line| line.ends_with(';'));
        let field = |line: &'_ str| line.rfind(' ').map_or(0, |at| at + 1);
        found.push((name, lines.map(|line| line[field(line)..].trim_end_matches(';')).collect()));
    }
    found
}

#[test]
fn sizes_places_and_numbers_are_those_that_programs_were_built_with() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let mut source = String::from(
        "#include <farwatch.h>\n#include <stdio.h>\n\
         #define PLACE(type, field) printf(#type \".\" #field \" at %zu, %zu bytes\\n\", \\\n\
             offsetof(type, field), sizeof(((type *)0)->field))\n\
         int main(void) {\n",
    );
    let plain = plain_structures(&header);
    assert!(plain.len() > 1, "{plain:?}");
    for (name, fields) in plain {
        writeln!(source, "printf(\"{name} %zu bytes\\n\", sizeof({name}));").expect("a string");
        for field in fields {
            writeln!(source, "PLACE({name}, {field});").expect("a string");
        }
    }
    let constants = constants(&header);
    assert!(constants.len() > 60, "{constants:?}");
    for constant in constants {
        writeln!(source, "printf(\"{constant} %d\\n\", (int){constant});").expect("a string");
    }
    source.push_str("printf(\"fw_status %zu bytes\\n\", sizeof(fw_status));\nreturn 0;\n}\n");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("layout.c");
    std::fs::write(&file, source).expect("a file");
    let layout = Program::compile_file(&file).run(&[]);
    expect_file!["../../abi/layout.txt"].assert_eq(&layout);
}
