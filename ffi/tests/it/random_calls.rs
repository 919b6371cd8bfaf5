//! Functions of the header in a random order, with arguments that are drawn: live handles of the right type and of others,
//! freed ones, texts, bytes and numbers that mean something and that do not. Beside `hostile.rs`, which gives
//! each function every bad argument once, these calls have a past.
//!
//! What is held against them: nothing crashes, hangs, panics or complains; outputs are written on success
//! only, and no more than there is room for; an error has words; contexts are destroyed once; what is returned can be
//! read to its end. And each function of the header was called, and most did what they are for. `FARWATCH_SEED` and
//! `FARWATCH_CALLS` play others; what a failing program says ends with its last calls.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::hostile::{Function, functions};
use crate::observer::Voter;
use crate::program::{Program, own};

/// Calls of one seed.
const CALLS: &str = "2000";

/// The types that a function of the header hands out, by name; their places are their numbers.
fn types(functions: &[Function]) -> Vec<String> {
    let freed = functions.iter().filter_map(|it| it.name.strip_suffix("_free"));
    freed.filter(|it| *it != "fw_error").map(str::to_owned).collect()
}

/// A parameter's type without `const` and stars, how many stars, and its name.
fn parts(parameter: &str) -> (&str, usize, &str) {
    let name = parameter.rsplit([' ', '*']).next().unwrap_or_default();
    let kind = parameter.strip_suffix(name).unwrap_or_default().trim();
    let stars = kind.matches('*').count();
    let bare = kind.trim_end_matches(['*', ' ']);
    (bare.strip_prefix("const ").unwrap_or(bare), stars, name)
}

/// How a parameter that is no pointer to anything is drawn.
fn number_of(kind: &str, called: &str) -> String {
    match (kind, called) {
        (kind, _) if kind.ends_with("_fn") => format!("CALLBACK({kind})"),
        (_, "timeout_ms" | "patience_ms") => "any_time()".to_owned(),
        (_, "request") => "is_kind ? last_request : any_number()".to_owned(),
        (kind, "from_zxid") => format!("is_kind ? 0 : ({kind})any_number()"),
        (kind, "version") => format!("({kind})any_version()"),
        (kind, "members" | "permits" | "bound") => {
            format!("is_kind ? draw(2) + 1 : ({kind})any_number()")
        }
        ("bool", _) => "draw(2)".to_owned(),
        (kind, _) => format!("({kind})any_number()"),
    }
}

/// How a parameter is drawn: its type, the expression, and what is looked at after the call.
fn argument(function: &Function, at: usize, types: &[String]) -> (String, String, String) {
    let parameter = &function.parameters[at];
    let number = |kind: &str| types.iter().position(|it| it == kind);
    let (kind, stars, called) = parts(parameter);
    let output = format!("draw(8) || is_kind ? output({at}) : NULL");
    let none = String::new();
    // What a failing call must not write.
    let untouched = match (function.returns.as_str(), called) {
        ("fw_status", "request") => format!(
            "CHECK(!argument{at} || status == FW_OK || unwritten({at}, 0)); \
             if (argument{at} && status == FW_OK) last_request = *argument{at};"
        ),
        ("fw_status", _) => {
            format!("CHECK(!argument{at} || status == FW_OK || unwritten({at}, 0));")
        }
        _ => none.clone(),
    };
    let (type_name, value, after) = match (kind, stars, called) {
        ("fw_error", 2, _) => {
            ("fw_error **".to_owned(), "draw(4) ? &error : NULL".to_owned(), none)
        }
        (kind, 2, _) => {
            let (len, given) = (at + 1, format!("given{at}"));
            let use_it = match number(kind) {
                Some(number) => format!("keep({number}, {given})"),
                None => format!("read_all({given}, argument{len})"),
            };
            let written = format!(
                "CHECK(unwritten({at}, status == FW_OK ? sizeof(void *) : 0)); void *{given} = NULL; \
                 memcpy(&{given}, outputs[{at}], sizeof {given}); if (status == FW_OK) {use_it};"
            );
            let type_name = parameter.strip_suffix(called).unwrap_or_default().to_owned();
            (type_name, format!("output({at})"), written)
        }
        ("fw_stat" | "fw_lag", 1, _) => {
            let value = format!("draw(4) ? sized_output({at}, sizeof({kind})) : NULL");
            (format!("{kind} *"), value, none)
        }
        ("fw_acl", 1, "acl") if function.parameters.len() > 4 => {
            let value =
                format!("is_kind && draw(8) ? NULL : handle({})", number(kind).expect("a type"));
            ("fw_acl *".to_owned(), value, none)
        }
        (kind, 1, _)
            if number(kind).is_some() || ["fw_event", "fw_node", "fw_error"].contains(&kind) =>
        {
            let number = number(kind).map_or("TYPES_MAX".to_owned(), |it| it.to_string());
            (format!("{kind} *"), format!("handle({number})"), none)
        }
        ("char", 1, "key") => ("const char *".to_owned(), "any_key()".to_owned(), none),
        ("char", 1, "value") => ("const char *".to_owned(), "any_value()".to_owned(), none),
        ("char", 1, "path" | "prefix") => {
            let family = function.name.split('_').nth(1).unwrap_or_default();
            let has_none = ["client", "op", "observer", "view"].contains(&family);
            let family = if has_none { String::new() } else { format!("-{family}") };
            ("const char *".to_owned(), format!("any_path(\"{family}\")"), none)
        }
        ("char", 1, "name" | "service" | "instance") => {
            ("const char *".to_owned(), "any_name()".to_owned(), none)
        }
        ("char", 1, _) => ("const char *".to_owned(), "any_text()".to_owned(), none),
        ("uint8_t", 1, "buffer") => {
            let after = format!("CHECK(!argument{at} || unwritten({at}, argument{}));", at + 1);
            ("uint8_t *".to_owned(), output, after)
        }
        ("uint8_t", 1, _) => ("const uint8_t *".to_owned(), "any_bytes()".to_owned(), none),
        ("void", 1, _) => ("void *".to_owned(), "outputs".to_owned(), none),
        // How long the data is, is said where the room is too small.
        (kind, 1, "len") if function.name == "fw_observer_get" => {
            (format!("{kind} *"), output, none)
        }
        (kind, 1, _) => (format!("{kind} *"), output, untouched),
        ("size_t", 0, "capacity") => {
            ("size_t".to_owned(), format!("argument{} ? draw(1025) : 0", at - 1), none)
        }
        ("size_t", 0, called) if called.ends_with("_len") => {
            let is_text = parts(&function.parameters[at - 1]).0 == "char";
            ("size_t".to_owned(), if is_text { "text_len()" } else { "bytes_len" }.to_owned(), none)
        }
        ("fw_destroy_fn", 0, _) => {
            let value = "CALLBACK(fw_destroy_fn)".to_owned();
            (kind.to_owned(), value, format!("destroyable += argument{at} != NULL;"))
        }
        (kind, 0, called) => (kind.to_owned(), number_of(kind, called), none),
        other => panic!("{}: {other:?} has no arguments to draw", function.name),
    };
    (type_name, value, after)
}

/// What the library lends: in a callback, with another handle, or as an error, which is freed where it came.
const LENT: [&str; 4] = ["fw_error", "fw_event", "fw_node", "fw_result"];

/// Of which of those types a function tells something without making a handle.
fn lent_to(function: &Function) -> Option<&'static str> {
    let first = parts(function.parameters.first()?).0;
    let makes = |it: &String| parts(it).1 == 2 && !it.starts_with("fw_error **");
    let tells = !function.name.ends_with("_free") && !function.parameters.iter().any(makes);
    LENT.into_iter().find(|kind| *kind == first && tells)
}

/// What is done with what a function returns: bytes are read, and what is lent is looked at.
fn read(function: &Function, call: &str, len: &str) -> String {
    let has_len = function.parameters.iter().any(|it| it.starts_with("size_t *"));
    match parts(&format!("{} it", function.returns)) {
        ("char" | "uint8_t", 1, _) if has_len => format!("read_all({call}, {len});"),
        (kind, 1, _) if LENT.contains(&kind) => format!("look_at_{kind}({call});"),
        _other => format!("(void){call};"),
    }
}

/// Functions that ask a lent handle for all it can tell.
fn looks(functions: &[Function]) -> String {
    let mut source = String::new();
    for kind in LENT {
        writeln!(source, "static void look_at_{kind}(const {kind} *it) {{").unwrap();
        source += "    if (it == NULL) return;\n    for (size_t index = 0; index < 3; index++) {\n";
        source += "        size_t len = 0;\n        fw_stat stat = FW_STAT_INIT;\n        (void)len, (void)stat;\n";
        for (number, function) in functions.iter().enumerate() {
            if lent_to(function) != Some(kind) {
                continue;
            }
            let arguments =
                function.parameters[1..].iter().map(|parameter| match parts(parameter) {
                    ("size_t", 1, _) => "&len",
                    ("size_t", 0, _) => "index",
                    ("fw_stat", 1, _) => "&stat",
                    ("fw_error", 2, _) => "NULL",
                    other => panic!("{}: {other:?} is not asked for", function.name),
                });
            let arguments: Vec<&str> = ["it"].into_iter().chain(arguments).collect();
            let call = format!("{}({})", function.name, arguments.join(", "));
            writeln!(source, "        {}", read(function, &call, "&len")).unwrap();
            writeln!(source, "        reached({number});").unwrap();
        }
        source += "    }\n}\n\n";
    }
    source
}

/// When a call did what its function is for.
fn is_reached(function: &Function, types: &[String]) -> String {
    let first = function.parameters.first().map(|it| parts(it));
    let number = |kind: &str| types.iter().position(|it| it == kind);
    if function.name.ends_with("_free") {
        "status == FW_OK && argument0 != NULL".to_owned()
    } else if function.parameters.iter().any(|it| it.starts_with("fw_error **")) {
        "status == FW_OK".to_owned()
    } else {
        match first.map(|(kind, stars, _)| (number(kind), stars)) {
            Some((Some(number), 1)) => format!("is_live({number}, argument0)"),
            _none => "true".to_owned(),
        }
    }
}

/// The function's case: draws arguments, calls, and looks at what came of it.
fn case(function: &Function, types: &[String], at: usize) -> String {
    let name = &function.name;
    if name == "fw_error_free" {
        return format!(
            "        calling(\"{name}\", {at}), reached({at}); /* each is freed where it came */\n"
        );
    }
    let (mut body, mut after, mut arguments) = (String::new(), String::new(), Vec::new());
    let ends = ["_free", "_close", "_detach", "_release", "_resign"];
    if ends.iter().any(|end| name.ends_with(end)) {
        body += "        if (draw(6)) break; /* or nothing would live for long */\n";
    }
    for parameter in &function.parameters {
        let (kind, stars, _) = parts(parameter);
        if let Some(number) = types.iter().position(|it| it == kind).filter(|_| stars == 2) {
            writeln!(body, "        make_room({number});").unwrap();
        }
    }
    writeln!(body, "        calling(\"{name}\", {at});").unwrap();
    for at in 0..function.parameters.len() {
        let (kind, value, checks) = argument(function, at, types);
        writeln!(body, "        {kind} argument{at} = {value};").unwrap();
        writeln!(after, "        {checks}").unwrap();
        arguments.push(format!("argument{at}"));
    }
    let call = format!("{name}({})", arguments.join(", "));
    if function.parameters.iter().any(|it| it.starts_with("fw_error **")) {
        let error = arguments.last().expect("an error");
        writeln!(body, "        fw_status status = {call};").unwrap();
        writeln!(body, "        settle(\"{name}\", status, {error} != NULL);").unwrap();
        body += &after;
    } else if name.ends_with("_free") {
        writeln!(body, "        fw_status status = {call};").unwrap();
        writeln!(body, "        if (status == FW_OK) freed(argument0);").unwrap();
    } else {
        let len = function.parameters.iter().position(|it| it.starts_with("size_t *"));
        let len = len.map_or(String::new(), |at| format!("argument{at}"));
        writeln!(body, "        {}", read(function, &call, &len)).unwrap();
    }
    if lent_to(function).is_none_or(|kind| types.iter().any(|it| it == kind)) {
        writeln!(body, "        if ({}) reached({at});", is_reached(function, types)).unwrap();
    }
    body
}

fn program(functions: &[Function]) -> String {
    let types = types(functions);
    assert!(types.len() < 63 && functions.len() <= 512, "random_calls.h has room for fewer");
    let number = |kind: &str| types.iter().position(|it| it == kind).expect("a type");
    let mut source = format!(
        "#define CLIENT_TYPE {}\n#define OBSERVER_TYPE {}\n#include \"random_calls.h\"\n\n",
        number("fw_client"),
        number("fw_observer")
    );
    source += &looks(functions);
    source += "static void call(uint64_t which) {\n    switch (which) {\n";
    for (number, function) in functions.iter().enumerate() {
        let body = case(function, &types, number);
        write!(source, "    case {number}: {{\n{body}        break;\n    }}\n").unwrap();
    }
    source += "    }\n}\n\nstatic void tell_reached(void) {\n";
    for (number, function) in functions.iter().enumerate() {
        writeln!(source, "    tell_how_often(\"{}\", {number});", function.name).unwrap();
    }
    source += "}\n\nstatic fw_status end(int type, void *at) {\n    switch (type) {\n";
    for (number, kind) in types.iter().enumerate() {
        writeln!(source, "    case {number}: return {kind}_free(at);").unwrap();
    }
    source + "    }\n    return FW_OK;\n}\n\n" + &preparation(&types) + &driver(functions, &types)
}

/// What makes what other calls need, and these would hardly make by chance.
fn preparation(types: &[String]) -> String {
    let number = |kind: &str| types.iter().position(|it| it == kind).expect("a type");
    let [election, board, tenure] = ["fw_election", "fw_task_board", "fw_tenure"].map(number);
    let [op, result] = ["fw_op", "fw_result"].map(number);
    format!(
        r#"/* What takes several hands: who works on a board, and who leads, which takes its chances like all other calls. */
static void prepare(void) {{
    fw_client *client = one_that_works(CLIENT_TYPE);
    fw_election *election = NULL;
    fw_task_board *board = NULL;
    fw_tenure *worker = NULL;
    fw_op *take = NULL;
    fw_result *taken = NULL;
    uint64_t time = 4 * PATIENCE;
    make_room({election}), make_room({board}), make_room({tenure}), make_room({op}), make_room({result});
    if (fw_election_join(client, path_of("-election"), FW_CSTR, NULL, 0, time, &election, NULL) != FW_OK) return;
    keep({election}, election);
    fw_election_lead(election, time, NULL);
    if (fw_task_board_new(client, path_of("-task"), FW_CSTR, NULL, &board, NULL) != FW_OK) return;
    keep({board}, board);
    for (int i = 0; i < 20; i++) fw_task_board_put(board, NULL, 0, time, NULL, NULL);
    if (fw_task_board_work(board, "a", 1, time, &worker, NULL) != FW_OK) return;
    keep({tenure}, worker);
    fw_task_board_assign(board, election, time, NULL, NULL);
    if (fw_op_worker_take(worker, time, &take, NULL) != FW_OK) return;
    keep({op}, take);
    if (fw_client_call(client, take, time, &taken, NULL) == FW_OK) keep({result}, taken);
}}

"#
    )
}

/// What begins, makes the calls and looks at what is left.
fn driver(functions: &[Function], types: &[String]) -> String {
    let number = |kind: &str| types.iter().position(|it| it == kind).expect("a type");
    let config = number("fw_config");
    let runs =
        |it: &&Function| it.parameters.get(1).is_some_and(|it| it.starts_with("const fw_op *"));
    let runners = functions.iter().enumerate().filter(|(_, it)| runs(it));
    let runners: Vec<String> = runners.map(|(number, _)| number.to_string()).collect();
    let (runners, runner_count) = (runners.join(", "), runners.len());
    let count = functions.len();
    format!(
        r#"/* A client and an observer that work, when there are none. */
static void begin(void) {{
    fw_config *config = configured(address);
    fw_client *client = NULL;
    fw_observer *observer = NULL;
    OK(fw_client_open(config, &client, &error));
    OK(fw_client_wait_connected(client, 60000, &error));
    keep({config}, config), keep(CLIENT_TYPE, client);
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, peers, FW_CSTR, &error));
    bool is_driven = draw(2);
    if (is_driven) OK(fw_config_set(config, "thread", FW_CSTR, "none", FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
    while (is_driven && fw_observer_wait_ready(observer, 0, 0, NULL) != FW_OK)
        OK(fw_observer_drive(observer, 20, &error));
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    keep({config}, config), keep(OBSERVER_TYPE, observer);
}}

int main(int count, char **arguments) {{
    static const uint64_t runners[] = {{{runners}}};
    size_t next_prepared = 0;
    CHECK(count == 5);
    address = arguments[1];
    draws = strtoull(arguments[3], NULL, 10);
    watch_over_calls();
    peers = arguments[2];
    for (uint64_t calls = strtoull(arguments[4], NULL, 10); calls > 0; calls--) {{
        if (one_that_works(CLIENT_TYPE) == NULL || one_that_works(OBSERVER_TYPE) == NULL) begin();
        if (calls_made >= next_prepared) prepare(), next_prepared = calls_made + ERA_CALLS / 4;
        call(next_function({count}, runners, {runner_count}));
    }}
    /* What is left, in any order. */
    for (size_t i = held_count; i > 1; i--) {{
        size_t other = draw(i);
        void *at = held[other].at;
        int type = held[other].type;
        bool was = held[other].freed;
        held[other] = held[i - 1];
        held[i - 1].at = at, held[i - 1].type = type, held[i - 1].freed = was;
    }}
    for (size_t i = 0; i < held_count; i++)
        if (!held[i].freed) CHECK(end(held[i].type, held[i].at) == FW_OK);
    /* Contexts are destroyed on whichever thread finds out. */
    for (int i = 0; i < 10000 && __atomic_load_n(&destroyed, __ATOMIC_RELAXED) != destroyable; i++) usleep(1000);
    printf("%zu handles, %llu calls back, %llu contexts destroyed of %llu\n", held_count, (unsigned long long)called_back,
           (unsigned long long)destroyed, (unsigned long long)destroyable);
    CHECK(destroyed == destroyable);
    tell_reached();
    is_well = true;
    return 0;
}}
"#
    )
}

/// How often a function was called, and how often it did what it is for, as a program printed it.
fn how_often(line: &str) -> Option<(&str, [u64; 2])> {
    let mut words = line.strip_prefix("function ")?.split(' ');
    let name = words.next()?;
    let mut number = || words.next()?.parse().ok();
    Some((name, [number()?, number()?]))
}

#[test]
fn no_order_of_calls_and_no_arguments_bring_the_library_down() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let functions = functions(&header);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("random_calls.c");
    std::fs::write(&file, program(&functions)).expect("a file");
    let program = Program::compile_file(&file);
    let [seed, calls] = ["FARWATCH_SEED", "FARWATCH_CALLS"].map(|name| std::env::var(name).ok());
    let is_usual = seed.is_none() && calls.is_none();
    let calls = calls.unwrap_or_else(|| CALLS.to_owned());
    let seeds = seed.map_or_else(|| (1..=8).map(|seed| seed.to_string()).collect(), |it| vec![it]);
    let mut times: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for seed in seeds {
        let voter = Voter::start();
        println!("FARWATCH_SEED={seed} FARWATCH_CALLS={calls}");
        let said = program.run(&[&voter.clients, &voter.peers, &seed, &calls]);
        for line in said.lines() {
            match how_often(line) {
                Some((name, more)) => {
                    let sum = times.entry(name.to_owned()).or_default();
                    *sum = [sum[0] + more[0], sum[1] + more[1]];
                }
                None => println!("{line}"),
            }
        }
    }
    let without = |at: usize| -> Vec<&str> {
        let never = functions.iter().filter(|it| times.get(&it.name).is_none_or(|it| it[at] == 0));
        never.map(|it| it.name.as_str()).collect()
    };
    let (uncalled, unreached) = (without(0), without(1));
    println!("of {} functions these did not do what they are for: {unreached:?}", functions.len());
    if is_usual {
        assert!(uncalled.is_empty(), "never called: {uncalled:?}");
        // The rest is a matter of luck, and of how soon a busy machine answers.
        assert!(unreached.len() * 4 < functions.len(), "{} refused all calls", unreached.len());
    }
}
