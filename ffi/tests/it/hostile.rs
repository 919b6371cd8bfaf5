//! Every function of the header with every kind of bad argument. The program is written from the
//! header, so that a new function is tested without being listed.

use std::fmt::Write;

use crate::program::{Program, own};

/// A function of the header.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What stands above it.
    pub text: String,
    /// Its type.
    pub returns: String,
    /// Each with its type.
    pub parameters: Vec<String>,
}

/// All functions that the header declares.
pub fn functions(header: &str) -> Vec<Function> {
    let body = header.split("extern \"C\" {").nth(1).expect("declarations");
    let mut found = Vec::new();
    let mut text = String::new();
    let mut code = String::new();
    for line in body.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with("/*") || line.starts_with('*') {
            if line.starts_with("/*") {
                text.clear();
            }
            text.push_str(line);
            text.push('\n');
            continue;
        }
        code.push_str(line);
        code.push(' ');
        if line.ends_with(");") {
            found.extend(parse(&std::mem::take(&mut code), &text));
        }
    }
    assert!(found.len() > 50, "only {} functions", found.len());
    found
}

fn parse(code: &str, text: &str) -> Option<Function> {
    let (head, parameters) = code.trim().strip_suffix(");")?.split_once('(')?;
    let start = head.rfind([' ', '*'])? + 1;
    let (returns, name) = head.split_at(start);
    let parameters = match parameters.trim() {
        "void" => Vec::new(),
        list => list.split(',').map(|parameter| parameter.trim().to_owned()).collect(),
    };
    let (name, text, returns) = (name.to_owned(), text.to_owned(), returns.trim().to_owned());
    Some(Function { name, text, returns, parameters })
}

/// What a parameter is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Handle,
    Output,
    Text,
    Bytes,
    Length,
    Number,
    Opaque,
    Function,
}

fn role(parameter: &str) -> Role {
    let name = parameter.rsplit([' ', '*']).next().unwrap_or_default();
    let kind = parameter.strip_suffix(name).unwrap_or_default().trim();
    match kind {
        kind if kind.ends_with("**") => Role::Output,
        "const char *" => Role::Text,
        "const uint8_t *" => Role::Bytes,
        "void *" => Role::Opaque,
        "size_t" if name.ends_with("_len") => Role::Length,
        "fw_stat *" | "fw_lag *" | "size_t *" | "uint64_t *" | "bool *" | "int64_t *"
        | "uint32_t *" | "double *" => Role::Output,
        kind if kind.ends_with("_fn") => Role::Function,
        kind if kind.contains("fw_") && kind.ends_with('*') => Role::Handle,
        kind if kind.ends_with('*') => Role::Output,
        _number => Role::Number,
    }
}

/// The arguments of one attack on a function.
fn arguments(function: &Function, of: impl Fn(Role, &str) -> String) -> String {
    let each = function.parameters.iter().map(|parameter| of(role(parameter), parameter));
    each.collect::<Vec<_>>().join(", ")
}

/// A call whose status is compared, when it has one.
fn call(function: &Function, arguments: &str, expected: &str) -> String {
    let name = &function.name;
    // A question about a status is not itself one that can fail.
    if function.returns == "fw_status" && !name.ends_with("_status") {
        format!("    EXPECT({name}, {name}({arguments}), {expected});\n")
    } else {
        format!("    (void){name}({arguments});\n")
    }
}

fn handles(function: &Function) -> usize {
    function.parameters.iter().filter(|parameter| role(parameter) == Role::Handle).count()
}

/// Null wherever a pointer can be, and a number for every number.
fn nulls(function: &Function, number: &str) -> String {
    let arguments = arguments(function, |role, _| match role {
        Role::Length | Role::Number => number.to_owned(),
        _pointer => "0".to_owned(),
    });
    let frees = function.name.ends_with("_free");
    // A list of access rights may be null, and so may texts that are not meant.
    call(function, &arguments, if frees { "status == FW_OK" } else { "status != FW_OK" })
}

/// A live handle of another type, and outputs that must stay as they are.
fn wrong_handle(function: &Function, handle: &str) -> String {
    if handles(function) == 0 {
        return String::new();
    }
    let wrong = arguments(function, |role, parameter| match role {
        Role::Handle => format!("(void *){handle}"),
        Role::Output if parameter.starts_with("fw_error **") => "&error".to_owned(),
        Role::Output => "(void *)outputs".to_owned(),
        Role::Text => "\"/text\"".to_owned(),
        Role::Bytes => "(const uint8_t *)\"bytes\"".to_owned(),
        Role::Length => "5".to_owned(),
        Role::Number => "1".to_owned(),
        Role::Opaque => "outputs".to_owned(),
        Role::Function => "0".to_owned(),
    });
    let mut lines = String::from("    reset();\n");
    // With a null callback either is a reason.
    lines += &call(function, &wrong, "status == FW_BAD_HANDLE || status == FW_NULL");
    lines += "    untouched();\n";
    lines
}

/// Lengths that cannot be, with pointers that can.
fn lengths(function: &Function, length: &str) -> String {
    if !function.parameters.iter().any(|parameter| role(parameter) == Role::Length) {
        return String::new();
    }
    let long = arguments(function, |role, parameter| match role {
        Role::Handle => "0".to_owned(),
        Role::Output if parameter.starts_with("fw_error **") => "&error".to_owned(),
        Role::Output => "(void *)outputs".to_owned(),
        Role::Text => "\"/text\"".to_owned(),
        Role::Bytes => "(const uint8_t *)\"bytes\"".to_owned(),
        Role::Length => length.to_owned(),
        Role::Number => "1".to_owned(),
        Role::Opaque | Role::Function => "0".to_owned(),
    });
    format!("    reset();\n{}    untouched();\n", call(function, &long, "status != FW_OK"))
}

/// Declarations that the attacks use.
const PRELUDE: &str = r#"#include "check.h"
static void *outputs[64];
static fw_error *error;

#define EXPECT(name, call, condition)                                                              \
    do {                                                                                           \
        fw_status status = call;                                                                   \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s returned %d, and not: %s\n", #name, (int)status, #condition);      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void reset(void) {
    fw_error_free(error);
    error = NULL;
    memset(outputs, 0x5a, sizeof outputs);
}

/* What a failing function must not write. */
static void untouched(void) {
    for (size_t i = 0; i < sizeof outputs; i++) CHECK(((unsigned char *)outputs)[i] == 0x5a);
}
"#;

#[test]
fn no_function_believes_a_bad_argument() {
    let header = std::fs::read_to_string(own("include/farwatch.h")).expect("the header");
    let functions = functions(&header);
    let mut source = String::from(PRELUDE);
    for function in &functions {
        writeln!(
            source,
            "static void {}_attacked(fw_acl *wrong, fw_config *other, void *freed) {{",
            function.name
        )
        .expect("a string");
        source += "    (void)wrong, (void)other, (void)freed;\n";
        source += &nulls(function, "0");
        source += &nulls(function, "-1");
        // A list of access rights is no wrong handle where one is asked for, nor a configuration.
        let wants = |kind: &str| function.parameters.iter().any(|p| p.contains(kind));
        if !wants("fw_acl *") {
            source += &wrong_handle(function, "wrong");
        }
        if !wants("fw_config *") {
            source += &wrong_handle(function, "other");
        }
        source += &wrong_handle(function, "freed");
        source += &wrong_handle(function, "((char *)wrong + 1)");
        source += &lengths(function, "(size_t)-2");
        source += &lengths(function, "(size_t)1 << 40");
        source += "    reset();\n}\n";
    }
    source += "int main(void) {\n    fw_acl *wrong = NULL;\n    fw_config *other = NULL;\n    \
               fw_op *freed = NULL;\n    OK(fw_acl_new(&wrong, &error));\n    \
               OK(fw_config_new(&other, &error));\n    OK(fw_op_multi(&freed, &error));\n    \
               CHECK(fw_op_free(freed) == FW_OK);\n";
    for function in &functions {
        writeln!(source, "    {}_attacked(wrong, other, freed);", function.name).expect("a string");
    }
    source += "    fw_acl_free(wrong);\n    fw_config_free(other);\n    return 0;\n}\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hostile.c");
    std::fs::write(&file, source).expect("a file");
    assert_eq!(Program::compile_file(&file).run(&[]), "");
}
