//! Functions of the header in a random order, with arguments that are drawn: live handles of the right type and of others,
//! freed ones, texts, bytes and numbers that mean something and that do not. Beside `hostile.rs`, which gives
//! each function every bad argument once, these calls have a past.
//!
//! What is held against them: nothing crashes, hangs, panics or complains; outputs are written on success
//! only, and no more than there is room for; an error has words; contexts are destroyed once. `FARWATCH_SEED` and
//! `FARWATCH_CALLS` play others; what a failing program says ends with its last calls.

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

/// How a parameter is drawn: its type, the expression, and what is looked at after the call.
fn argument(function: &Function, at: usize, types: &[String]) -> (String, String, String) {
    let parameter = &function.parameters[at];
    let number = |kind: &str| types.iter().position(|it| it == kind);
    let (kind, stars, called) = parts(parameter);
    let output = format!("draw(8) ? output({at}) : NULL");
    let none = String::new();
    // What a failing call must not write.
    let untouched = match function.returns.as_str() {
        "fw_status" => format!("CHECK(!argument{at} || status == FW_OK || unwritten({at}, 0));"),
        _ => none.clone(),
    };
    let (type_name, value, after) = match (kind, stars, called) {
        ("fw_error", 2, _) => {
            ("fw_error **".to_owned(), "draw(4) ? &error : NULL".to_owned(), none)
        }
        (kind, 2, _) => {
            let keep = number(kind).map_or(none, |number| {
                format!(
                    "void *given{at} = NULL; memcpy(&given{at}, outputs[{at}], sizeof given{at}); \
                     if (status == FW_OK) keep({number}, given{at});"
                )
            });
            let written =
                format!("CHECK(unwritten({at}, status == FW_OK ? sizeof(void *) : 0)); {keep}");
            let type_name = parameter.strip_suffix(called).unwrap_or_default().to_owned();
            (type_name, format!("output({at})"), written)
        }
        ("fw_stat" | "fw_lag", 1, _) => {
            let value = format!("draw(4) ? sized_output({at}, sizeof({kind})) : NULL");
            (format!("{kind} *"), value, none)
        }
        (kind, 1, _)
            if number(kind).is_some() || ["fw_event", "fw_node", "fw_error"].contains(&kind) =>
        {
            let number = number(kind).map_or("TYPES_MAX".to_owned(), |it| it.to_string());
            (format!("{kind} *"), format!("handle({number})"), none)
        }
        ("char", 1, "key") => ("const char *".to_owned(), "any_key()".to_owned(), none),
        ("char", 1, "value") => ("const char *".to_owned(), "any_value()".to_owned(), none),
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
        (kind, 0, _) if kind.ends_with("_fn") => {
            (kind.to_owned(), format!("CALLBACK({kind})"), none)
        }
        (kind, 0, "timeout_ms" | "patience_ms") => (kind.to_owned(), "any_time()".to_owned(), none),
        ("bool", 0, _) => ("bool".to_owned(), "draw(2)".to_owned(), none),
        (kind, 0, _) => (kind.to_owned(), format!("({kind})any_number()"), none),
        other => panic!("{}: {other:?} has no arguments to draw", function.name),
    };
    (type_name, value, after)
}

/// The function's case: draws arguments, calls, and looks at what came of it.
fn case(function: &Function, types: &[String]) -> String {
    let name = &function.name;
    if name == "fw_error_free" {
        return "        break; /* each is freed where it came */\n".to_owned();
    }
    let (mut body, mut after, mut arguments) = (String::new(), String::new(), Vec::new());
    let ends = ["_free", "_close", "_detach", "_release", "_resign"];
    if ends.iter().any(|end| name.ends_with(end)) {
        body += "        if (draw(6)) break; /* or nothing would live for long */\n";
    }
    for parameter in &function.parameters {
        let (kind, stars, _) = parts(parameter);
        if let Some(number) = types.iter().position(|it| it == kind).filter(|_| stars == 2) {
            writeln!(body, "        if (live[{number}] >= LIVE_MAX) break;").unwrap();
        }
    }
    writeln!(body, "        calling(\"{name}\");").unwrap();
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
        return body + &after;
    }
    if name.ends_with("_free") {
        writeln!(body, "        if ({call} == FW_OK) freed(argument0);").unwrap();
    } else {
        writeln!(body, "        (void){call};").unwrap();
    }
    body
}

fn program(functions: &[Function]) -> String {
    let types = types(functions);
    assert!(types.len() < 63, "random_calls.h has room for fewer");
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
    let [view, feed, lock] = ["fw_view", "fw_feed", "fw_lock"].map(number);
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
    watch_over_calls();
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
    /* Contexts are destroyed on whichever thread finds out. */
    for (int i = 0; i < 10000 && __atomic_load_n(&destroyed, __ATOMIC_RELAXED) != destroyable; i++) usleep(1000);
    printf("%zu handles, %llu calls back, %llu contexts destroyed of %llu\n", held_count, (unsigned long long)called_back,
           (unsigned long long)destroyed, (unsigned long long)destroyable);
    CHECK(destroyed == destroyable);
    CHECK(calls_made < 5000 || (called_back > 0 && ever[{view}] > 0 && ever[{feed}] > 0 && ever[{lock}] > 0));
    is_well = true;
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
    for seed in seeds {
        let voter = Voter::start();
        println!("FARWATCH_SEED={seed} FARWATCH_CALLS={calls}");
        print!("{}", program.run(&[&voter.clients, &voter.peers, &seed, &calls]));
    }
}
