//! Cargo, started again by what cargo has started: the same program, into the same directory, as locked and as
//! offline as before.
//!
//! `CARGO`, `CARGO_TARGET_DIR`, `CARGO_NET_OFFLINE` and all other settings of cargo's environment are inherited by
//! every child. Flags are not: cargo says them to nobody, so they are read from its command line.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags that are passed on as they are.
const ALONE: [&str; 3] = ["--offline", "--locked", "--frozen"];

/// Flags with a value, which is a path for the first.
const WITH_VALUE: [&str; 3] = [TARGET_DIR, "--jobs", "--config"];
const TARGET_DIR: &str = "--target-dir";

/// How cargo is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cargo {
    program: OsString,
    flags: Vec<OsString>,
}

impl Cargo {
    /// As the cargo that started this process was; where none did, as whoever started this would.
    #[must_use]
    pub fn again() -> Self {
        let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let parent = PathBuf::from(format!("/proc/{}", parent_id()));
        let line = fs::read(parent.join("cmdline")).unwrap_or_default();
        let arguments = line.split(|&it| it == 0).map(|it| OsString::from_vec(it.to_vec()));
        let directory = fs::read_link(parent.join("cwd")).unwrap_or_default();
        Self { program, flags: flags_of(arguments, &directory) }
    }

    /// `cargo ACTION` with these flags. Its arguments and directory are the caller's to add.
    #[must_use]
    pub fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(action).args(&self.flags);
        command
    }
}

/// What is passed on of the command line of a cargo that ran in `directory`; nothing of another program's.
fn flags_of(line: impl IntoIterator<Item = OsString>, directory: &Path) -> Vec<OsString> {
    let mut line = line.into_iter();
    let program = line.next().unwrap_or_default();
    if Path::new(&program).file_name().is_none_or(|name| name != "cargo") {
        return Vec::new();
    }
    let mut flags = Vec::new();
    // What follows is for the benches.
    let mut line = line.take_while(|it| it != "--");
    while let Some(argument) = line.next() {
        if ALONE.iter().any(|flag| argument == *flag) {
            flags.push(argument);
            continue;
        }
        let Some((flag, value)) = with_value(&argument, || line.next()) else { continue };
        let is_path = flag == TARGET_DIR;
        // Who is started again may run elsewhere.
        let value = if is_path { directory.join(value).into_os_string() } else { value };
        flags.extend([OsString::from(flag), value]);
    }
    flags
}

/// Of `--jobs 2`, where `next` has the value, and of `--jobs=2`.
fn with_value(
    argument: &OsString,
    next: impl FnOnce() -> Option<OsString>,
) -> Option<(&'static str, OsString)> {
    let flag =
        WITH_VALUE.into_iter().find(|flag| argument.as_bytes().starts_with(flag.as_bytes()))?;
    match &argument.as_bytes()[flag.len()..] {
        [] => Some((flag, next()?)),
        [b'=', value @ ..] => Some((flag, OsString::from_vec(value.to_vec()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    fn flags(line: &[&str]) -> Vec<String> {
        let found = flags_of(line.iter().map(OsString::from), Path::new("/src"));
        found.into_iter().map(|it| it.into_string().expect("as given")).collect()
    }

    #[test]
    fn flags_of_cargo_are_passed_on_and_those_of_benches_and_others_are_not() {
        let line = [
            "/bin/cargo",
            "bench",
            "--locked",
            "--target-dir",
            "out",
            "--offline",
            "--",
            "--frozen",
        ];
        assert_eq!(flags(&line), ["--locked", "--target-dir", "/src/out", "--offline"]);
        let line = [
            "cargo",
            "bench",
            "--target-dir=/out",
            "--jobs=1",
            "--bench",
            "all",
            "--frozen",
            "set",
        ];
        assert_eq!(flags(&line), ["--target-dir", "/out", "--jobs", "1", "--frozen"]);
        assert!(flags(&["cargo", "bench", "--target", "x", "--jobs"]).is_empty());
        assert!(flags(&["perf", "record", "--offline"]).is_empty());
    }

    #[test]
    fn the_command_has_the_flags_behind_its_action() {
        let cargo = Cargo { program: "c".into(), flags: vec!["--offline".into()] };
        let command = cargo.command("bench");
        assert_eq!(command.get_program(), "c");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["bench", "--offline"]);
        // What cargo's own variables say reaches it, as nothing is taken out of the environment.
        assert_eq!(command.get_envs().count(), 0);
    }

    #[test]
    fn flags_are_those_of_the_process_that_started_this_one() {
        const INNER: &str = "FARWATCH_TEST_INNER";
        if env::var_os(INNER).is_some() {
            println!("flags: {:?}", Cargo::again().flags);
            return;
        }
        let test = "cargo::tests::flags_are_those_of_the_process_that_started_this_one";
        let output = Command::new("sh")
            .arg0("cargo")
            .args(["-c", &format!("\"$0\" --exact {test} --nocapture; exit $?")])
            .arg(env::current_exe().expect("this test"))
            .args(["--locked", "--target-dir", "out"])
            .env(INNER, "1")
            .current_dir("/")
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(r#"flags: ["--locked", "--target-dir", "/out"]"#), "{said}");
    }
}
