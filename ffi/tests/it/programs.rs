//! The programs of `tests/c`, each a list of claims, against a real server.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use farwatch_client::{Client, Options};

use crate::program::{Program, finish, own};
use crate::server::{address, own_root};
use crate::way::Way;

fn connect() -> String {
    format!("{}{}", address(), own_root())
}

#[test]
fn every_operation_answers_what_it_should() {
    assert_eq!(Program::compile("operations.c").run(&[&connect()]), "");
}

/// What stands in a document in this language, in order.
fn blocks_of(document: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(own("..").join(document)).expect("a document");
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// The programs for `farwatch.h` in a document, in order.
pub fn programs_of(document: &str) -> Vec<String> {
    let programs = blocks_of(document, "c").into_iter();
    programs.filter(|code| code.contains("<farwatch.h>")).collect()
}

/// What stands in `docs/recipes.md`, as the headers that `document.c` and `document.cpp` include.
pub fn recipes_of_the_document() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (language, header) in [("c", "document.h"), ("cpp", "document.hpp")] {
        let blocks = blocks_of("docs/recipes.md", language);
        assert!(!blocks.is_empty(), "nothing in {language}");
        std::fs::write(folder.path().join(header), blocks.concat()).expect("a file");
    }
    folder
}

#[test]
fn the_recipes_of_the_document_work_as_they_are_written() {
    let folder = recipes_of_the_document();
    let arguments = ["-I", folder.path().to_str().expect("text")];
    let said = [("cc", "document.c"), ("c++", "document.cpp")].map(|(compiler, program)| {
        Program::compile_by(compiler, &arguments, program).run(&[&connect()])
    });
    let (token, who) = said[0].split_once('\n').expect("two lines");
    assert_eq!(who, format!("winner does it, under token {token}\n"));
    assert_eq!(said[1], "");
}

#[test]
fn the_documents_programs_work_as_they_are_written() {
    for (document, said) in
        [("docs/c-api.md", "/greeting is world\n"), ("README.md", "zookeeper\n")]
    {
        let programs = programs_of(document);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("program.c");
        assert!(programs[0].contains("127.0.0.1:2181"), "{document}");
        let source = programs[0].replace("127.0.0.1:2181", address());
        std::fs::write(&file, source).expect("a file");
        let output = Program::compile_file(&file).run(&[]);
        assert!(output.contains(said), "{document}: {output}");
    }
}

#[test]
fn a_session_goes_from_process_to_process_with_its_ephemeral_node() {
    let (program, connect) = (Program::compile("detach.c"), connect());
    let mut session = program.run(&[&connect, "begin"]);
    for _ in 0..2 {
        let mut child = program.start(&[&connect, "go-on"]);
        child.stdin.take().expect("piped").write_all(session.as_bytes()).expect("it reads");
        session = finish(child);
    }
    let mut child = program.start(&[&connect, "end"]);
    child.stdin.take().expect("piped").write_all(session.as_bytes()).expect("it reads");
    assert_eq!(finish(child), "ended\n");
}

#[test]
fn each_watch_tells_its_own_place_until_it_is_freed() {
    assert_eq!(Program::compile("watches.c").run(&[&connect()]), "");
}

#[test]
fn callbacks_come_once_each_and_contexts_are_destroyed_once() {
    assert_eq!(Program::compile("callbacks.c").run(&[&connect()]), "");
}

#[test]
fn locks_admit_one_and_elections_have_one_leader_with_tokens_that_grow() {
    assert_eq!(Program::compile("recipes.c").run(&[&connect()]), "");
}

#[test]
fn what_is_held_is_ones_own_until_it_is_released_freed_or_its_session_ends() {
    assert_eq!(Program::compile("held.c").run(&[&connect()]), "");
}

#[test]
fn barriers_counters_items_and_ids_are_as_in_rust_and_made_with_the_rights_that_were_given() {
    assert_eq!(Program::compile("places.c").run(&[&connect()]), "");
}

#[test]
fn what_is_followed_is_told_and_nothing_that_blocks_runs_in_a_callback() {
    assert_eq!(Program::compile("followed.c").run(&[&connect()]), "");
}

#[test]
fn recipes_are_waited_for_by_the_library_and_leave_nothing_behind() {
    assert_eq!(Program::compile("waits.c").run(&[&connect()]), "");
}

#[test]
fn names_rounds_and_tasks_are_waited_for_by_the_library_and_leave_nothing_behind() {
    assert_eq!(Program::compile("joined.c").run(&[&connect()]), "");
}

#[test]
fn tasks_are_done_once_and_handed_out_by_the_leader() {
    assert_eq!(Program::compile("tasks.c").run(&[&connect()]), "");
}

#[test]
fn every_recipe_has_its_cpp_class() {
    assert_eq!(Program::compile("recipes.cpp").run(&[&connect()]), "");
}

#[test]
fn an_expired_session_loses_all_that_it_held_and_goes_on_following() {
    let (way, root) = (Way::to(address()), own_root());
    let program = Program::compile("lost.c");
    let through = format!("{}{root}", way.address);
    let mut child = program.start(&[&through, &format!("{}{root}", address())]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("text")).unwrap_or_default();
    let mut said = vec![next()];
    way.cut();
    said.push(next());
    way.heal();
    said.push(next());
    finish(child);
    assert_eq!(said, ["held", "passed on", "done"]);
}

#[test]
fn the_host_keeps_its_signals_forks_and_limits() {
    assert_eq!(Program::compile("host.c").run(&[&connect()]), "");
}

#[test]
fn an_expired_session_is_replaced_and_told_with_what_it_took_along() {
    let (way, root) = (Way::to(address()), own_root());
    let mut program = Program::compile("expiry.c");
    let program = &mut program;
    let mut child = program.start(&[&format!("{}{root}", way.address)]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("text")).unwrap_or_default();
    assert_eq!(next(), "connected");
    way.cut();
    assert_eq!(next(), "suspended");
    let beside = Client::open(&format!("{}{root}", address()), Options::default()).expect("open");
    while beside.exists("/lost-1", false).expect("exists").is_some() {
        std::thread::sleep(Duration::from_millis(20)); // until the server has ended the session
    }
    way.heal();
    assert_eq!(next(), "expired /lost-1 /lost-2");
    assert_eq!(next(), "connected");
    assert_eq!(next(), "replaced /lost-1 /lost-2");
    assert_eq!(next(), "done");
    finish(child);
}

#[test]
fn a_server_that_falls_silent_holds_up_nobody() {
    let way = Way::to(address());
    let program = Program::compile("silent.c");
    let mut child = program.start(&[&format!("{}{}", way.address, own_root()), "answers"]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "connected");
    way.mute();
    child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it reads");
    finish(child);
}

#[test]
fn a_server_that_never_says_a_word_holds_up_nobody() {
    let way = Way::to(address());
    way.mute();
    Program::compile("silent.c").run(&[&way.address, "mute"]);
}
