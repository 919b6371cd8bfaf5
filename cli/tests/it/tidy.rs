//! The shape of the project, held by tests: who may know whom, how long things are, what has no
//! place here. A list of exceptions may only shrink.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which packages each package is built from. Dev-dependencies are free: tests may know more.
const ARROWS: [(&str, &[&str]); 8] = [
    ("core", &[]),
    ("observer", &["core"]),
    ("voter", &["core", "observer"]),
    ("client", &["core"]),
    ("ffi", &["client", "core", "observer"]),
    ("cli", &["bench", "client", "core", "observer", "voter"]),
    ("bench", &["client", "core", "observer", "voter"]),
    ("sim", &["core"]),
];

/// The modules of `core`, each line knowing only itself and the lines above it.
const CORE_ORDER: [&[&str]; 11] = [
    &["zxid", "limits", "hash", "path", "prng", "codec"],
    &["wire", "acl"],
    &["auth"],
    &["txn"],
    &["session", "record", "watch"],
    &["disk"],
    &["log", "snapshot"],
    &["tree"],
    &["prepare", "answer"],
    &["zab"],
    &["node"],
];

/// What Zab knows of the rest: places in the history, records as bytes, which epochs are on disk.
const ZAB_KNOWS: [&str; 6] = ["codec", "zab", "zxid", "log", "record", "prng"];

/// The only files with `unsafe` in them.
const UNSAFE_FILES: [&str; 16] = [
    "cli/src/main.rs",
    "cli/src/signals.rs",
    "cli/tests/it/process/seccomp.rs",
    "core/src/tree/places.rs",
    "core/src/tree/rcu.rs",
    "core/src/tree/rcu/life.rs",
    "core/src/tree/rcu/reclaim.rs",
    "core/src/tree/rcu/remains.rs",
    "core/src/tree/rcu/store.rs",
    "core/src/tree/rcu/visits.rs",
    "core/src/tree/registry.rs",
    "observer/src/log_file/aligned.rs",
    "observer/src/log_file/ring.rs",
    "observer/src/log_file/system.rs",
    "observer/src/runtime.rs",
    "observer/tests/allocations.rs",
];

/// The border to C: each function there takes pointers. `ffi/src/guard.rs` has the rules.
const UNSAFE_FOLDERS: [&str; 2] = ["ffi/src/", "ffi/tests/"];

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 90;

/// Files that are longer, with their lines and the reason.
const LONG_FILES: [(&str, usize, &str); 0] = [];

/// Functions that are longer, with their lines and the reason.
const LONG_FUNCTIONS: [(&str, &str, usize, &str); 1] =
    [("client/src/operation.rs", "prepare", 103, "one arm for each operation, each a few lines")];

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 6] =
    ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "types.rs"];

fn root() -> PathBuf {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    cli.parent().expect("the workspace is around this package").to_owned()
}

/// Every file of the project by its path from the root, without what is built or downloaded.
fn files() -> Vec<String> {
    /// What `.gitignore` says, and git's own.
    const LEFT_OUT: [&str; 8] = [
        "target",
        "farwatch-data",
        "bench-results",
        "__pycache__",
        ".git",
        "core/fuzz/corpus",
        "core/fuzz/artifacts",
        "core/fuzz/coverage",
    ];
    fn gather(root: &Path, folder: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of the project") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("names are text");
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if LEFT_OUT.contains(&name.as_str()) || LEFT_OUT.contains(&path.as_str()) {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() {
                gather(root, &path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    gather(&root(), "", &mut found);
    found.sort();
    assert!(found.iter().any(|file| file == "core/src/lib.rs"), "these are the project's files");
    found
}

/// `(path, text)` of every file that is text; what is not has nothing to tidy.
fn texts() -> Vec<(String, String)> {
    let root = root();
    let read = |file: String| fs::read_to_string(root.join(&file)).ok().map(|text| (file, text));
    files().into_iter().filter_map(read).collect()
}

fn sources() -> Vec<(String, String)> {
    texts().into_iter().filter(|(file, _)| file.ends_with(".rs")).collect()
}

fn check(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn packages_know_only_those_that_the_design_lets_them_know() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let short = |name: &serde_json::Value| {
        name.as_str().and_then(|name| name.strip_prefix("farwatch-")).map(str::to_owned)
    };
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut faults = Vec::new();
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), ARROWS.len(), "a new package needs its line in ARROWS");
    for package in packages {
        let name = short(&package["name"]).expect("packages are named farwatch-FOLDER");
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        for dependency in dependencies.iter().filter(|it| it["kind"] != "dev") {
            let Some(known) = short(&dependency["name"]) else { continue };
            if !allowed[name.as_str()].contains(&known.as_str()) {
                faults.push(format!("{name} must not know {known}: see ARCHITECTURE.md"));
            }
        }
    }
    check(faults);
}

/// The modules of `core` that a line of code names by `crate::`.
fn modules_named(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn modules_of_core_know_only_what_stands_below_them() {
    let rank: BTreeMap<&str, usize> = (CORE_ORDER.iter().enumerate())
        .flat_map(|(rank, modules)| modules.iter().map(move |module| (*module, rank)))
        .collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, text) in sources() {
        let Some(inside) = file.strip_prefix("core/src/") else { continue };
        let module = inside.split(['/', '.']).next().expect("a name");
        if module == "lib" || inside.contains("tests") {
            continue;
        }
        let Some(&own) = rank.get(module) else {
            faults.push(format!("{file}: `{module}` needs its place in CORE_ORDER"));
            continue;
        };
        seen.insert(module.to_owned());
        let code = text.split("#[cfg(test)]\nmod tests {").next().expect("the part before");
        for (number, line) in code.lines().enumerate() {
            for known in modules_named(line) {
                let fine = match rank.get(known) {
                    Some(_) if module == "zab" => ZAB_KNOWS.contains(&known),
                    Some(&rank) => rank <= own,
                    None => false,
                };
                if !fine {
                    faults.push(format!("{file}:{}: {module} must not know {known}", number + 1));
                }
            }
        }
    }
    assert_eq!(seen.len(), rank.len(), "CORE_ORDER names a module that is not there");
    check(faults);
}

/// Words in backquotes that look like paths of this project.
fn paths_named(text: &str) -> impl Iterator<Item = &str> {
    let tops =
        ["core/", "observer/", "voter/", "client/", "ffi/", "cli/", "bench/", "docs/", "fixtures/"];
    text.split('`').skip(1).step_by(2).filter(move |word| {
        tops.iter().any(|top| word.starts_with(top)) && !word.contains([' ', '*', '<', '{'])
    })
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let root = root();
    let mut named = 0;
    let mut faults = Vec::new();
    for document in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(document)).expect("it is there");
        for path in paths_named(&text) {
            named += 1;
            // `core/src/tree/rcu` may be a folder or the module of that name.
            if !root.join(path).exists() && !root.join(format!("{path}.rs")).exists() {
                faults.push(format!("{document}: {path} does not exist"));
            }
        }
    }
    assert!(named >= 10, "only {named} paths were found");
    check(faults);
}

/// The last part of each word in backquotes that looks like a test, an invariant or a scenario, and whether that is
/// only how its name begins.
fn holders_named(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let is_name = |word: &&str| {
        let known = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "_:…".contains(it);
        word.contains('_') && word.chars().all(known) && !word.starts_with("fw_")
    };
    text.split('`').skip(1).step_by(2).filter(is_name).map(|word| {
        let last = word.rsplit("::").next().unwrap_or(word);
        (last.trim_end_matches('…'), last.ends_with('…'))
    })
}

#[test]
fn every_promise_is_held_by_something_that_exists() {
    let mut known: HashSet<String> = HashSet::new();
    for (file, text) in sources() {
        let stem = Path::new(&file).file_stem().unwrap_or_default();
        known.insert(stem.to_string_lossy().into_owned());
        for line in text.lines() {
            let line = line.trim_start().trim_start_matches("pub ");
            if let Some(rest) = line.strip_prefix("fn ") {
                known.extend(rest.split(['(', '<']).next().map(str::to_owned));
            }
        }
    }
    let scenarios = fs::read_dir(root().join("sim/scenarios")).expect("they are there");
    for scenario in scenarios {
        let path = scenario.expect("it can be listed").path();
        known.insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    }
    // Rules of histories have their names where they are told.
    known.insert("real_time_order".to_owned());
    let text = fs::read_to_string(root().join("docs/guarantees.md")).expect("it is there");
    let mut faults = Vec::new();
    let mut named = 0;
    for (name, begins) in holders_named(&text) {
        named += 1;
        let is_there =
            known.contains(name) || begins && known.iter().any(|it| it.starts_with(name));
        if !is_there {
            faults.push(format!("docs/guarantees.md: nothing is called {name}"));
        }
    }
    assert!(named >= 60, "only {named} names were found");
    check(faults);
}

#[test]
fn no_file_and_no_function_grows_too_long() {
    let mut faults = Vec::new();
    let mut long_files = BTreeMap::new();
    let mut long_functions = BTreeMap::new();
    for (file, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            long_files.insert(file.clone(), lines.len());
        }
        for (name, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                long_functions.insert((file.clone(), name), length);
            }
        }
    }
    for (file, lines, _reason) in LONG_FILES {
        ratchet(&mut faults, file, long_files.remove(file), lines);
    }
    for (file, name, lines, _reason) in LONG_FUNCTIONS {
        let found = long_functions.remove(&(file.to_owned(), name.to_owned()));
        ratchet(&mut faults, &format!("{file}: {name}"), found, lines);
    }
    for (file, lines) in long_files {
        faults.push(format!("{file}: {lines} lines; split it by what its parts are about"));
    }
    for ((file, name), lines) in long_functions {
        faults.push(format!("{file}: {name} has {lines} lines; give its parts names"));
    }
    check(faults);
}

/// An exception is as long as it is listed: when it shrinks, so does the list.
fn ratchet(faults: &mut Vec<String>, what: &str, found: Option<usize>, listed: usize) {
    match found {
        Some(lines) if lines > listed => {
            faults.push(format!("{what}: grew from {listed} to {lines} lines"));
        }
        Some(lines) if lines == listed => {}
        Some(lines) => faults.push(format!("{what}: shrank to {lines} lines: list that")),
        None => faults.push(format!("{what}: is short enough now: take it off the list")),
    }
}

/// `(name, lines)` of the functions in formatted code: the closing brace stands below the `fn`.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words = code.split("fn ").next().unwrap_or_default();
        let begins = code.contains("fn ")
            && words.split_whitespace().all(|word| {
                ["const", "async", "unsafe"].contains(&word) || word.starts_with("pub")
            });
        if !begins {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let (open, end) = (format!("{indent}{{"), format!("{indent}}}"));
        // Of a function on one line, or one without a body, the first line that ends is the last.
        let mut opened = false;
        let length = lines[at..].iter().position(|line| {
            let ends = *line == end || !opened && line.ends_with([';', '}']);
            opened |= line.ends_with('{') || *line == open;
            ends
        });
        let name = code.split("fn ").nth(1).unwrap_or_default();
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let Some(length) = length {
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn files_are_named_after_what_is_in_them() {
    let name = |file: &str| file.rsplit('/').next().unwrap_or_default().to_owned();
    let banned = files().into_iter().filter(|file| BANNED_NAMES.contains(&name(file).as_str()));
    check(banned.map(|file| format!("{file}: name it after what is in it")).collect());
}

#[test]
fn nothing_is_left_to_be_done_later() {
    // Taken apart, so that this file does not hold what it looks for.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    let mut faults = Vec::new();
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            let mut words = comment.split(|c: char| !c.is_ascii_alphanumeric());
            if words.any(|word| marks.iter().any(|mark| mark == word)) {
                faults.push(format!("{file}:{}: do it, or open an issue", number + 1));
            }
        }
    }
    check(faults);
}

#[test]
fn unsafe_code_stays_in_the_files_that_are_reviewed_for_it() {
    let begins: Vec<String> =
        ["{", "fn", "impl", "extern"].iter().map(|next| format!("unsafe {next}")).collect();
    let attribute = "#[unsafe".to_owned() + "(";
    let mut found = BTreeSet::new();
    let mut faults = Vec::new();
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_unsafe = begins.iter().any(|b| code.contains(b)) || code.contains(&attribute);
            if !is_unsafe || code.contains("format!(") {
                continue;
            }
            if UNSAFE_FOLDERS.iter().any(|folder| file.starts_with(folder)) {
                continue;
            }
            found.insert(file.clone());
            if !UNSAFE_FILES.contains(&file.as_str()) {
                faults.push(format!("{file}:{}: unsafe code has no place here", number + 1));
            }
        }
    }
    for file in UNSAFE_FILES.iter().filter(|file| !found.contains(**file)) {
        faults.push(format!("{file}: holds no unsafe code any more: take it off the list"));
    }
    check(faults);
}

/// Where this checkout and its owner live, and what its cargo asks for crates: of no use to anybody
/// else, and perhaps private.
fn local_names() -> Vec<String> {
    let root = root();
    let mut names = vec![root.display().to_string()];
    let shared = ["/", "/tmp", "/var/tmp", "/home", "/opt", "/srv", "/usr/src", "/var"];
    let around = root.parent().map(|parent| parent.display().to_string());
    names.extend(around.filter(|around| !shared.contains(&around.as_str())).map(|it| it + "/"));
    let Some(home) = std::env::var_os("HOME").filter(|home| home.len() > 1) else { return names };
    let home = Path::new(&home);
    names.push(format!("{}/", home.display()));
    let cargo_home = std::env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from);
    for config in ["config.toml", "config"] {
        let text = fs::read_to_string(cargo_home.join(config)).unwrap_or_default();
        for host in text.split("://").skip(1).filter_map(|rest| rest.split(['/', '"', '\'']).next())
        {
            let public = ["crates.io", "github.com", "localhost", "127.0.0.1"];
            if !public.iter().any(|known| host.contains(known)) {
                names.push(host.to_owned());
            }
        }
    }
    names
}

#[test]
fn no_file_names_the_machine_that_it_was_written_on() {
    let names = local_names();
    let mut faults = Vec::new();
    for (file, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            if let Some(name) = names.iter().find(|name| line.contains(name.as_str())) {
                faults.push(format!("{file}:{}: names {name}", number + 1));
            }
        }
    }
    check(faults);
}
