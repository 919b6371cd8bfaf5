//! Memory and threads that run out: whatever can fail or block is called without them, in the programs of
//! `tests/c/memory*.c`, and answers. A function of the header that none of them calls so is missed here.

use std::collections::BTreeMap;

use crate::hostile::{Function, functions};
use crate::observer::Voter;
use crate::program::{Program, own};

/// Whether it makes something, waits for something, or can fail at all.
fn can_want(function: &Function) -> bool {
    let takes = |kind: &str| function.parameters.iter().any(|it| it.starts_with(kind));
    let text = function.text.replace("\n*", "").to_lowercase();
    let waits = ["may block", "waits"].iter().any(|word| text.contains(word));
    function.name != "fw_error_free" && (takes("fw_error **") || waits)
}

/// What starts threads of its own.
const STARTS_THREADS: [&str; 5] = [
    "fw_client_enqueue",
    "fw_client_open",
    "fw_client_submit",
    "fw_observer_client",
    "fw_observer_open",
];

/// How often a function had too little memory, and how often it was refused for want of a thread.
#[derive(Clone, Copy, Default)]
struct Times {
    starved: u32,
    threadless: u32,
}

/// What a program printed of a function.
fn told(line: &str) -> Option<(&str, Times)> {
    let mut words = line.strip_prefix("function ")?.split(' ');
    let name = words.next()?;
    let mut numbers = words.skip(1).step_by(2).map(|number| number.parse().expect("a number"));
    let (starved, _refused, threadless) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some((name, Times { starved, threadless }))
}

#[test]
fn whatever_can_fail_or_block_answers_without_threads_and_without_memory() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let programs = ["memory_calls.c", "memory_held.c", "memory_places.c", "memory_observer.c"];
    let said = std::thread::scope(|scope| {
        let run = |source| {
            let voter = Voter::start();
            drop(voter.client());
            let is_of_observers = source == "memory_observer.c";
            let more = is_of_observers.then_some(voter.peers.as_str());
            let arguments: Vec<&str> = [voter.clients.as_str()].into_iter().chain(more).collect();
            Program::compile(source).run(&arguments)
        };
        let running = programs.map(|source| scope.spawn(move || run(source)));
        running.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    println!("{}", said.concat());
    let mut times: BTreeMap<&str, Times> = BTreeMap::new();
    for (name, more) in said.iter().flat_map(|said| said.lines()).filter_map(told) {
        let sum = times.entry(name).or_default();
        sum.starved += more.starved;
        sum.threadless += more.threadless;
    }
    let functions = functions(&header);
    let wanting = functions.iter().filter(|it| can_want(it)).map(|it| it.name.as_str());
    let missed: Vec<&str> =
        wanting.filter(|name| times.get(name).is_none_or(|it| it.starved == 0)).collect();
    assert!(missed.is_empty(), "never called without memory: {missed:?}");
    let refused = times.iter().filter(|(_, it)| it.threadless > 0).map(|(name, _)| *name);
    assert_eq!(refused.collect::<Vec<_>>(), STARTS_THREADS);
}
