//! Functions of the header in a random order, with arguments that are drawn: live handles of the right type and of others,
//! freed ones, texts, bytes and numbers that mean something and that do not. Beside `hostile.rs`, which gives
//! each function every bad argument once, these calls have a past.
//!
//! What is held against them: nothing crashes, hangs, panics or complains; outputs are written on success
//! only; an error has words. `FARWATCH_SEED` and `FARWATCH_CALLS` play others.

use std::fmt::Write;

use crate::hostile::{Function, functions};
use crate::observer::Voter;
use crate::program::{Program, own};

/// Calls of one seed.
const CALLS: &str = "6000";

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

/// The function's case: draws arguments, calls, and looks at what came of it.
fn case(function: &Function, types: &[String]) -> String {
    let number = |kind: &str| types.iter().position(|it| it == kind);
    let (name, fallible) = (&function.name, function.returns == "fw_status");
    let asks = fallible && function.parameters.iter().any(|it| it.starts_with("fw_error **"));
    let (mut before, mut arguments, mut after) = (String::new(), Vec::new(), String::new());
    let mut crowded = String::new();
    for (at, parameter) in function.parameters.iter().enumerate() {
        let (kind, stars, called) = parts(parameter);
        let (argument, value) = match (kind, stars, called) {
            ("fw_error", 2, _) => ("fw_error **".to_owned(), "draw(4) ? &error : NULL".to_owned()),
            (kind, 2, _) => {
                let size = "sizeof(uint64_t)";
                write!(after, "        void *given{at} = NULL;\n        memcpy(&given{at}, outputs[{at}], {size});\n        \
                       CHECK(unwritten({at}) && (status == FW_OK || outputs[{at}][0] == 0x5a));\n").unwrap();
                if let Some(number) = number(kind) {
                    writeln!(crowded, "        if (live[{number}] >= LIVE_MAX) break;").unwrap();
                    writeln!(after, "        if (status == FW_OK) keep({number}, given{at});")
                        .unwrap();
                }
                (
                    parameter.strip_suffix(called).unwrap_or_default().to_owned(),
                    format!("output({at})"),
                )
            }
            ("fw_stat" | "fw_lag", 1, _) => (
                format!("{kind} *"),
                format!("draw(4) ? sized_output({at}, sizeof({kind})) : NULL"),
            ),
            (kind, 1, _)
                if number(kind).is_some()
                    || ["fw_event", "fw_node", "fw_error"].contains(&kind) =>
            {
                let number = number(kind).map_or("63".to_owned(), |it| it.to_string());
                (format!("{kind} *"), format!("handle({number})"))
            }
            ("char", 1, "key") => ("const char *".to_owned(), "any_key()".to_owned()),
            ("char", 1, "value") => ("const char *".to_owned(), "any_value()".to_owned()),
            ("char", 1, _) => ("const char *".to_owned(), "any_text()".to_owned()),
            ("uint8_t", 1, "buffer") => {
                ("uint8_t *".to_owned(), format!("draw(8) ? output({at}) : NULL"))
            }
            ("uint8_t", 1, _) => ("const uint8_t *".to_owned(), "any_bytes()".to_owned()),
            ("void", 1, _) => ("void *".to_owned(), "outputs".to_owned()),
            (kind, 1, _) => (format!("{kind} *"), format!("draw(8) ? output({at}) : NULL")),
            ("size_t", 0, "capacity") => {
                ("size_t".to_owned(), format!("argument{} ? draw(1025) : 0", at - 1))
            }
            ("size_t", 0, called) if called.ends_with("_len") => {
                let of = if parts(&function.parameters[at - 1]).0 == "char" {
                    "text_len()"
                } else {
                    "bytes_len"
                };
                ("size_t".to_owned(), of.to_owned())
            }
            (kind, 0, _) if kind.ends_with("_fn") => (kind.to_owned(), format!("CALLBACK({kind})")),
            (kind, 0, "timeout_ms" | "patience_ms") => (kind.to_owned(), "any_time()".to_owned()),
            ("bool", 0, _) => ("bool".to_owned(), "draw(2)".to_owned()),
            (kind, 0, _) => (kind.to_owned(), format!("({kind})any_number()")),
            other => panic!("{name}: {other:?} has no arguments to draw"),
        };
        writeln!(before, "        {argument} argument{at} = {value};").unwrap();
        arguments.push(format!("argument{at}"));
    }
    let call = format!("{name}({})", arguments.join(", "));
    let ends = ["_free", "_close", "_detach", "_release", "_resign"];
    if ends.iter().any(|end| name.ends_with(end)) {
        crowded += "        if (draw(6)) break; /* or nothing would live for long */\n";
    }
    let mut body = crowded + &before;
    if asks {
        let error = arguments.last().expect("an error");
        write!(body, "        fw_status status = {call};\n        settle(\"{name}\", status, {error} != NULL);\n").unwrap();
    } else if fallible && name.ends_with("_free") && name != "fw_error_free" {
        writeln!(body, "        if ({call} == FW_OK) freed(argument0);").unwrap();
    } else if name == "fw_error_free" {
        body = "        break; /* each is freed where it came */\n".to_owned();
    } else {
        writeln!(body, "        (void){call};").unwrap();
    }
    if asks { body + &after } else { body }
}

fn program(functions: &[Function]) -> String {
    let types = types(functions);
    let mut source = String::from(
        "#include \"random_calls.h\"\n\nstatic void call(uint64_t which) {\n    switch (which) {\n",
    );
    for (number, function) in functions.iter().enumerate() {
        let body = case(function, &types);
        write!(source, "    case {number}: {{\n{body}        break;\n    }}\n").unwrap();
    }
    source += "    }\n}\n\nstatic fw_status end(int type, void *at) {\n    switch (type) {\n";
    for (number, kind) in types.iter().enumerate() {
        writeln!(source, "    case {number}: return {kind}_free(at);").unwrap();
    }
    let number = |kind: &str| types.iter().position(|it| it == kind).expect("a type");
    let (config, client, observer) =
        (number("fw_config"), number("fw_client"), number("fw_observer"));
    let count = functions.len();
    write!(
        source,
        r#"    }}
    return FW_OK;
}}

/* Some that work, when there are none. */
static void begin(void) {{
    fw_config *config = configured(address);
    fw_client *client = NULL;
    fw_observer *observer = NULL;
    OK(fw_client_open(config, &client, &error));
    OK(fw_client_wait_connected(client, 60000, &error));
    keep({config}, config), keep({client}, client);
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, peers, FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    keep({config}, config), keep({observer}, observer);
}}

int main(int count, char **arguments) {{
    CHECK(count == 5);
    address = arguments[1];
    draws = strtoull(arguments[3], NULL, 10);
    peers = arguments[2];
    for (uint64_t calls = strtoull(arguments[4], NULL, 10); calls > 0; calls--) {{
        if (live[{client}] == 0 || live[{observer}] == 0) begin();
        call(draw({count}));
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
    printf("%zu handles, %llu calls back\n", held_count, (unsigned long long)called_back);
    return 0;
}}
"#
    )
    .unwrap();
    source
}

#[test]
fn no_order_of_calls_and_no_arguments_bring_the_library_down() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("random_calls.c");
    std::fs::write(&file, program(&functions(&header))).expect("a file");
    let program = Program::compile_file(&file);
    let calls = std::env::var("FARWATCH_CALLS").unwrap_or_else(|_| CALLS.to_owned());
    let seeds = match std::env::var("FARWATCH_SEED") {
        Ok(seed) => vec![seed],
        Err(_) => (1..=4).map(|seed| seed.to_string()).collect(),
    };
    let voter = Voter::start();
    for seed in seeds {
        println!("FARWATCH_SEED={seed} FARWATCH_CALLS={calls}");
        print!("{}", program.run(&[&voter.clients, &voter.peers, &seed, &calls]));
    }
}
