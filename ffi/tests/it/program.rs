//! Compiles C and C++ against the library of this build.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// As strict as a program may be.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// How long a program may run on a busy machine.
const RUN_SECONDS_MAX: u64 = 120;

/// How much longer it may run with a tool that looks at its memory.
const LOOKED_AT_TIMES: u64 = 4;

/// What no tool looks at, by a part of the name, each for a reason: it takes the place of malloc, asks for more
/// than there is, is killed, has a session that does not outlive a tool's start, counts time, or does for seconds
/// what others do once.
const LEFT_ALONE: [&str; 8] =
    ["memory", "exhausted", "host", "killed", "detach", "silent", "bench", "observer_stress"];

/// What ends with things open, and forks: nobody frees in a child what the parent's other threads have.
const LEAVES_OPEN: [&str; 3] = ["unload", "random_calls", "followed"];

/// What a freed handle leaves in a debug build, so that its use is found: no leak to be told of.
const KEPT_FOR_VALGRIND: &str = "{\n   a kept handle\n   Memcheck:Leak\n   match-leak-kinds: definite\n   \
    ...\n   fun:*farwatch5guard4give*\n}\n";

/// Which tool looks at the memory of the programs that this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    None,
    /// `FARWATCH_VALGRIND=1`.
    Valgrind,
    /// `FARWATCH_SANITIZE=address,undefined`: what the program was compiled with.
    Sanitizers(String),
    /// `FARWATCH_ASAN_LIBRARY=libfarwatch.so`, and its archive beside it: the library is one that was built with
    /// AddressSanitizer, and so is the program.
    Library {
        /// `FARWATCH_ASAN_RUNTIME`: that of the library's compiler. Each process has one only.
        runtime: PathBuf,
        /// `FARWATCH_ASAN_LEAKS=1`: the library gives the memory of its handles back, as a release does, so that a
        /// use after it is found, and so is what stays.
        leaks: bool,
    },
}

fn is_one_of(source: &Path, parts: &[&str]) -> bool {
    let name = source.file_stem().unwrap_or_default().to_string_lossy();
    parts.iter().any(|part| name.contains(part))
}

impl Look {
    fn at(source: &Path) -> Self {
        if let Some(runtime) = std::env::var_os("FARWATCH_ASAN_RUNTIME") {
            // Every program, as the library finds its runtime in no other; some cannot run so.
            let leaks = std::env::var("FARWATCH_ASAN_LEAKS").is_ok_and(|it| it == "1");
            return Self::Library { runtime: PathBuf::from(runtime), leaks };
        }
        if is_one_of(source, &LEFT_ALONE) {
            return Self::None;
        }
        match std::env::var("FARWATCH_SANITIZE") {
            Ok(kinds) if !kinds.is_empty() => Self::Sanitizers(kinds),
            _ if std::env::var("FARWATCH_VALGRIND").is_ok_and(|it| it == "1") => Self::Valgrind,
            _ => Self::None,
        }
    }
}

/// A folder of this crate.
pub fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where the library of this build is, or the one that is looked into.
pub fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let looked_into = std::env::var_os("FARWATCH_ASAN_LIBRARY").map(PathBuf::from);
    let library = looked_into.unwrap_or_else(|| test.with_file_name("libfarwatch.so"));
    assert!(library.exists(), "no library at {}", library.display());
    library
}

fn is_cpp(source: &Path) -> bool {
    source.extension().is_some_and(|extension| extension == "cpp")
}

/// A host's own shared library that was linked with the archive of this build.
pub fn plugin(folder: &Path) -> PathBuf {
    let plugin = folder.join("plugin.so");
    let mut command = Command::new("cc");
    command.args(["-shared", "-Wl,--whole-archive"]).arg(library().with_extension("a"));
    command.args([
        "-Wl,--no-whole-archive",
        "-lgcc_s",
        "-lutil",
        "-lrt",
        "-lpthread",
        "-lm",
        "-ldl",
    ]);
    command.arg("-o").arg(&plugin);
    run_compiler(command);
    plugin
}

/// A C or C++ program and the folder that it lives in.
pub struct Program {
    folder: tempfile::TempDir,
    look: Look,
    leaves_open: bool,
}

impl Program {
    /// Compiles `source` of `tests/c`, as strictly as C11 goes with POSIX, or as C++17.
    pub fn compile(source: &str) -> Self {
        Self::compile_file(&own("tests/c").join(source))
    }

    /// Compiles `source` of `tests/c` without the library, which it loads by itself.
    pub fn compile_alone(source: &str) -> Self {
        Self::compile_with(&own("tests/c").join(source), None)
    }

    /// Compiles `source` of `tests/c` by this compiler, which gets these arguments too.
    pub fn compile_by(compiler: &str, arguments: &[&str], source: &str) -> Self {
        Self::compiled(compiler, arguments, &own("tests/c").join(source), Some(&library()))
    }

    /// Compiles `source` of `tests/c` for Apache's library instead of this one.
    pub fn compile_for_zookeeper(source: &str) -> Self {
        let program = Self {
            folder: tempfile::tempdir().expect("a folder"),
            look: Look::None,
            leaves_open: true,
        };
        let mut command = Command::new("cc");
        command.args(["-std=gnu11", "-g", "-O1", "-pthread"]).args(WARNINGS);
        command.arg(own("tests/c").join(source)).arg("-lzookeeper_mt");
        command.arg("-o").arg(program.folder.path().join("program"));
        run_compiler(command);
        program
    }

    /// Compiles the file.
    pub fn compile_file(source: &Path) -> Self {
        Self::compile_with(source, Some(&library()))
    }

    fn compile_with(source: &Path, library: Option<&Path>) -> Self {
        let compiler = if is_cpp(source) { "c++" } else { "cc" };
        Self::compiled(compiler, &[], source, library)
    }

    fn compiled(compiler: &str, arguments: &[&str], source: &Path, library: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let standard = if is_cpp(source) { "-std=c++17" } else { "-std=gnu11" };
        let mut command = Command::new(compiler);
        command.args([standard, "-g", "-O1", "-pthread"]).args(WARNINGS).args(arguments);
        command.arg("-I").arg(own("include")).arg("-I").arg(own("tests/c"));
        let look = Look::at(source);
        if matches!(look, Look::Sanitizers(_) | Look::Library { .. }) {
            // What is warned of in the checks' own code is nobody's fault.
            command.arg("-Wno-error");
        }
        match &look {
            Look::None | Look::Valgrind => _ = command.arg(source),
            Look::Sanitizers(kinds) => {
                command.arg(format!("-fsanitize={kinds}")).arg("-fno-sanitize-recover=all");
                command.arg(source);
            }
            Look::Library { runtime, .. } => {
                // In two steps, as a compiler that links with its own runtime would bring a second one.
                let object = folder.path().join("program.o");
                command.arg("-fsanitize=address").arg("-c").arg(source).arg("-o").arg(&object);
                run_compiler(command);
                command = Command::new(compiler);
                command.args(["-pthread", "-rdynamic"]).arg(object);
                command.arg("-Wl,--whole-archive").arg(runtime).arg("-Wl,--no-whole-archive");
                command.args(["-ldl", "-lrt", "-lm"]);
            }
        }
        command.arg("-o").arg(folder.path().join("program"));
        if let Some(library) = library {
            // Programs look for the library by its soname.
            let link = folder.path().join("libfarwatch.so.0");
            std::os::unix::fs::symlink(library, link).expect("a link");
            command.arg(library).arg(format!("-Wl,-rpath,{}", folder.path().display()));
        }
        run_compiler(command);
        Self { folder, look, leaves_open: is_one_of(source, &LEAVES_OPEN) }
    }

    /// The command that runs it, with the tool that looks at it.
    fn command(&self) -> Command {
        let program = self.folder.path().join("program");
        let kept = self.folder.path().join("kept");
        match &self.look {
            Look::None => Command::new(program),
            Look::Valgrind => {
                std::fs::write(&kept, KEPT_FOR_VALGRIND).expect("a file");
                let mut command = Command::new("valgrind");
                command.args(["--quiet", "--error-exitcode=99", "--fair-sched=yes"]);
                command.arg(if self.leaves_open { "--leak-check=no" } else { "--leak-check=full" });
                command.arg("--show-leak-kinds=definite");
                command.args(["--errors-for-leak-kinds=definite", "--num-callers=40"]);
                command.arg(format!("--suppressions={}", kept.display())).arg(program);
                command
            }
            Look::Sanitizers(_) => {
                // Leaks are valgrind's: through frames of Rust this one does not see who kept what.
                let mut command = Command::new(program);
                command.env("ASAN_OPTIONS", "detect_leaks=0");
                command
            }
            Look::Library { leaks, .. } => {
                let leaks = u8::from(*leaks && !self.leaves_open);
                let mut command = Command::new(program);
                command.env("ASAN_OPTIONS", format!("detect_leaks={leaks}"));
                command
            }
        }
    }

    /// Starts it with pipes.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Runs it to its end, which must be a good one, and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        finish(self.start(arguments))
    }
}

/// Waits for a good end, and returns what was printed.
pub fn finish(mut child: Child) -> String {
    let is_looked_at = Look::at(Path::new("")) != Look::None;
    let times = if is_looked_at { LOOKED_AT_TIMES } else { 1 };
    let deadline = Instant::now() + Duration::from_secs(RUN_SECONDS_MAX * times);
    while child.try_wait().expect("a child").is_none() {
        if deadline < Instant::now() {
            child.kill().expect("it is ours");
            break;
        }
        std::thread::sleep(Duration::from_millis(5)); // a child has no other way to be waited for
    }
    let output = child.wait_with_output().expect("a child");
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}\nafter:\n{printed}", output.status);
    assert_eq!(said, "", "a program that ends well has nothing to complain of");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a compiler, and says what it says when it fails.
pub fn run_compiler(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether there is such a compiler on this machine; says so if not.
pub fn has(compiler: &str) -> bool {
    let there = Command::new(compiler).arg("--version").output().is_ok();
    if !there {
        println!("not run: {compiler}, because it is not installed");
    }
    there
}

/// Checks a file's syntax without making anything of it.
pub fn check_syntax(compiler: &str, standard: &str, source: &Path) {
    check_syntax_with(compiler, standard, &[], source);
}

/// The same with more arguments for the compiler.
pub fn check_syntax_with(compiler: &str, standard: &str, arguments: &[&str], source: &Path) {
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(WARNINGS).args(arguments).arg("-fsyntax-only");
    command.arg("-I").arg(own("include")).arg(source);
    run_compiler(command);
}
