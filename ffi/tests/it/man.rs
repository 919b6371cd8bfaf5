//! The manual's pages, section 3, are written from the header: one for each type with its functions, and
//! `libfarwatch.3` with what belongs to none. `UPDATE_EXPECT=1 cargo test -p farwatch-ffi man` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;

use expect_test::expect_file;

use crate::program::{has, own};

/// The page of what belongs to no type.
const OVERVIEW: &str = "libfarwatch";

/// Something that the header declares, with what stands above it.
struct Item {
    text: String,
    code: String,
}

impl Item {
    /// The name of a function, a type or a constant.
    fn name(&self) -> &str {
        let code = self.code.trim();
        if let Some(define) = code.strip_prefix("#define ") {
            return define.split([' ', '(']).next().expect("a name");
        }
        let name = if let Some((head, _)) = code.split_once(")(") {
            head.rsplit('*').next() // a type of functions
        } else if self.is_function() {
            code.split('(').next().and_then(|head| head.rsplit([' ', '*']).next())
        } else if code.starts_with("enum ") {
            code.split_whitespace().nth(1)
        } else {
            code.trim_end_matches(';').rsplit([' ', '}']).next()
        };
        name.expect("a name")
    }

    fn is_function(&self) -> bool {
        self.code.starts_with("fw_")
            || self.code.contains(" fw_") && self.code.contains('(') && {
                let code = &self.code;
                !["typedef", "enum ", "#define"].iter().any(|word| code.starts_with(word))
            }
    }

    fn is_handle(&self) -> bool {
        self.code.starts_with("typedef struct fw_")
    }
}

/// What the header says, item by item.
fn items(header: &str) -> Vec<Item> {
    let body = header.split("#include <stdint.h>\n").nth(1).expect("what follows the includes");
    let mut found = Vec::new();
    let (mut text, mut code) = (String::new(), String::new());
    let mut is_comment = false;
    for line in body.lines() {
        let is_inside = code.contains('{') && !code.starts_with("#define");
        let trimmed = line.trim();
        if !is_inside && (is_comment || trimmed.starts_with("/**")) {
            if !is_comment {
                text.clear();
            }
            is_comment = !trimmed.ends_with("*/");
            let said = trimmed.trim_start_matches("/**").trim_end_matches("*/");
            text.push_str(said.trim_start_matches('*').trim());
            text.push('\n');
            continue;
        }
        let is_preprocessor = trimmed.starts_with('#') && !trimmed.starts_with("#define");
        if is_preprocessor || trimmed.is_empty() || trimmed.starts_with(": ") {
            continue;
        }
        if trimmed.starts_with("extern \"C\"") || trimmed.starts_with("}  //") {
            continue;
        }
        code.push_str(line);
        code.push('\n');
        let is_open = code.matches('{').count() != code.matches('}').count();
        let is_define = code.starts_with("#define");
        if is_define || !is_open && code.trim_end().ends_with(';') {
            let (text, code) = (std::mem::take(&mut text), std::mem::take(&mut code));
            if !text.trim().is_empty() {
                found.push(Item { text: text.trim().to_owned(), code: code.trim().to_owned() });
            }
        }
    }
    assert!(found.len() > 150, "only {} items", found.len());
    found
}

/// The text of a header's comment in roff: paragraphs and points of lists.
fn roff(text: &str) -> String {
    let mut page = String::new();
    let mut paragraph = String::new();
    // A point of the last list must not go on in what follows.
    for line in text.lines().chain([""]) {
        let point = line.strip_prefix("- ");
        if (line.is_empty() || point.is_some()) && !paragraph.is_empty() {
            writeln!(page, "{}", sentences(&paragraph)).expect("a string");
            paragraph.clear();
        }
        match point {
            Some(_) => page.push_str(".IP \\(bu 2\n"),
            None if line.is_empty() => page.push_str(".PP\n"),
            None => {}
        }
        paragraph = format!("{paragraph} {}", point.unwrap_or(line)).trim().to_owned();
    }
    page.strip_suffix(".PP\n").map(str::to_owned).unwrap_or(page)
}

/// Each sentence on a line of its own, as roff wants them.
fn sentences(paragraph: &str) -> String {
    inline(paragraph).replace(". ", ".\n").replace("\n.", "\n\\&.")
}

/// A line of text: code and stress are bold, and nothing is taken for a command.
fn inline(line: &str) -> String {
    let mut is_bold = false;
    let mut said = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let mark = ["**", "`"].into_iter().find(|mark| rest.starts_with(mark));
        // Two asterisks inside of code are a pointer to a pointer.
        let mark = mark.filter(|mark| *mark == "`" || !rest.starts_with("**`"));
        if let Some(mark) = mark {
            is_bold = !is_bold;
            said.push_str(if is_bold { "\\fB" } else { "\\fR" });
            rest = &rest[mark.len()..];
            continue;
        }
        match first {
            '\\' => said.push_str("\\e"),
            '-' => said.push_str("\\-"),
            '\'' => said.push_str("\\(aq"),
            '`' => said.push_str("\\(ga"),
            first => said.push(first),
        }
        rest = &rest[first.len_utf8()..];
    }
    assert!(!is_bold, "an odd number of marks: {line}");
    if said.starts_with('.') { format!("\\&{said}") } else { said }
}

/// Code as it stands.
fn code(text: &str) -> String {
    let mut page = String::from(".nf\n");
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        let guard = if line.starts_with('.') { "\\&" } else { "" };
        writeln!(page, "{guard}{line}").expect("a string");
    }
    page + ".fi\n"
}

fn first_sentence(text: &str) -> String {
    let line = text.replace('\n', " ");
    let end = line.find(['.', ':', ';']).unwrap_or(line.len());
    line[..end].replace(['`', '*'], "").replace('-', "\\-").trim().to_owned()
}

/// One page. Its second line tells the makefile which other names lead to it.
fn page(name: &str, about: &str, head: &str, items: &[&Item], see: &[&str]) -> String {
    let functions: Vec<&str> =
        items.iter().filter(|item| item.is_function()).map(|item| item.name()).collect();
    let mut page = format!(
        ".\\\" Written from farwatch.h by a test: do not edit.\n.\\\" functions: {}\n",
        functions.join(" ")
    );
    let version = env!("CARGO_PKG_VERSION");
    writeln!(page, ".TH {} 3 \"\" \"Farwatch {version}\" \"libfarwatch\"", name.to_uppercase())
        .expect("a string");
    writeln!(page, ".SH NAME\n{name} \\- {about}").expect("a string");
    page += ".SH SYNOPSIS\n.nf\n\\fB#include <farwatch.h>\\fR\n.PP\n";
    for item in items.iter().filter(|item| item.is_function()) {
        page.push_str(code(&item.code).trim_start_matches(".nf\n").trim_end_matches(".fi\n"));
    }
    page += ".fi\n.PP\nLink with \\fI\\-lfarwatch\\fR.\n.SH DESCRIPTION\n";
    page += &roff(head);
    for item in items {
        let name = item.name().replace('-', "\\-");
        if item.is_function() {
            writeln!(page, ".SS {name}()").expect("a string");
            page += &roff(&item.text);
        } else {
            writeln!(page, ".SS {name}").expect("a string");
            page += &roff(&item.text);
            page += ".PP\n";
            page += &code(&item.code);
        }
    }
    page += ".SH SEE ALSO\n";
    let see: Vec<String> = see.iter().map(|name| format!("\\fB{name}\\fR(3)")).collect();
    page += &see.join(",\n");
    page.push('\n');
    page
}

/// Every page by its name.
fn pages(header: &str) -> BTreeMap<String, String> {
    let items = items(header);
    let handles: Vec<&Item> = items.iter().filter(|item| item.is_handle()).collect();
    let home = |item: &Item| {
        let name = item.name();
        let is_of = |handle: &&&Item| name.starts_with(&format!("{}_", handle.name()));
        let handle = handles.iter().filter(|_| item.is_function()).filter(is_of);
        handle.max_by_key(|handle| handle.name().len()).map_or(OVERVIEW, |handle| handle.name())
    };
    let mut names: Vec<&str> = handles.iter().map(|item| item.name()).collect();
    names.push(OVERVIEW);
    let mut pages = BTreeMap::new();
    for handle in &handles {
        let own: Vec<&Item> = items.iter().filter(|it| home(it) == handle.name()).collect();
        let about = first_sentence(&handle.text);
        let see: Vec<&str> = names.iter().copied().filter(|name| *name != handle.name()).collect();
        pages.insert(
            handle.name().to_owned(),
            page(handle.name(), &about, &handle.text, &own, &see),
        );
    }
    let is_loose = |item: &&Item| home(item) == OVERVIEW && !item.is_handle();
    let loose: Vec<&Item> = items.iter().filter(is_loose).collect();
    let head = header.split("*/").next().expect("its first comment");
    let head: Vec<&str> =
        head.lines().skip(1).map(|line| line.trim().trim_start_matches('*').trim()).collect();
    let head = head.join("\n").replace("\n\nWritten by cbindgen from the source: do not edit.", "");
    let about = "client of Farwatch and ZooKeeper servers, and a replica in the process";
    let see = &names[..names.len() - 1];
    pages.insert(OVERVIEW.to_owned(), page(OVERVIEW, about, head.trim(), &loose, see));
    pages
}

#[test]
fn the_manual_is_what_the_header_says() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let pages = pages(&header);
    for (name, page) in &pages {
        expect_file![own(&format!("man/{name}.3"))].assert_eq(page);
    }
    let there = std::fs::read_dir(own("man")).expect("a folder").map(|entry| {
        entry.expect("an entry").file_name().into_string().expect("text").replace(".3", "")
    });
    assert_eq!(there.collect::<BTreeSet<_>>(), pages.keys().cloned().collect());
    let told = pages.values().map(|page| page.matches(".SS fw_").count()).sum::<usize>();
    assert!(crate::hostile::functions(&header).len() < told, "only {told} are told of");
}

#[test]
fn readers_of_manuals_take_the_pages_without_a_word() {
    for (reader, arguments) in [
        ("groff", &["-man", "-ww", "-z", "-Tutf8", "-rHY=0"][..]),
        ("mandoc", &["-T", "lint", "-W", "error"][..]),
    ] {
        if !has(reader) {
            continue;
        }
        for entry in std::fs::read_dir(own("man")).expect("a folder") {
            let file = entry.expect("an entry").path();
            let output = Command::new(reader).args(arguments).arg(&file).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(said, "", "{}", file.display());
        }
    }
}
