//! `farwatch`: one binary that serves, asks servers, and looks into their files.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use farwatch_cli::bench::{self, BenchArgs};
use farwatch_cli::demo::{self, DemoArgs};
use farwatch_cli::huge_pages::{self, HugePages};
use farwatch_cli::last_words;
use farwatch_cli::leader_command::{self, LeaderArgs};
use farwatch_cli::log_command::{self, LogArgs, LogError};
use farwatch_cli::serve::{self, ServeArgs};
use farwatch_cli::shell::{self, ShellArgs};
use farwatch_cli::signals::StopSignals;
use farwatch_cli::snapshot_command::{self, SnapshotArgs, SnapshotCommandError};
use farwatch_cli::status::{self, StatusArgs};
use farwatch_observer::config::ServerConfig;
use farwatch_observer::data_dir::DataDirError;
use farwatch_observer::drive::Ended;
use farwatch_observer::host::StartError;
use farwatch_observer::memory_dir;
use tracing_subscriber::EnvFilter;

/// glibc's allocator costs half as much again on the tree's small blocks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Before anything is allocated: what the allocator touches first would each be a page of 2 MiB.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = huge_pages::do_without;

/// A coordination service that speaks the protocol of ZooKeeper.
#[derive(Parser, Debug)]
#[command(name = "farwatch", version, max_term_width = 100)]
struct Arguments {
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,farwatch_core=off`.
    /// Without it the variable FARWATCH_LOG counts, and without that `info`.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(ServeArgs),
    Demo(DemoArgs),
    /// Talks to a server with the commands of ZooKeeper's own shell.
    Shell(ShellArgs),
    Status(StatusArgs),
    Leader(LeaderArgs),
    Log(LogArgs),
    Snapshot(SnapshotArgs),
    Bench(BenchArgs),
    /// Prints the version.
    Version,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = arguments.log_level.or_else(|| std::env::var("FARWATCH_LOG").ok());
    if let Err(error) = log_to_stderr(level.as_deref().unwrap_or("info")) {
        eprintln!("farwatch: --log-level or FARWATCH_LOG cannot be used: {error}");
        return ExitCode::from(serve::EXIT_BAD_CONFIG);
    }
    match arguments.command {
        Command::Serve(args) => serve(&args),
        Command::Demo(args) => demo(&args),
        Command::Shell(args) => shell::run(args),
        Command::Status(args) => match status::run(&args, &mut io::stdout().lock()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) | Err(_) => ExitCode::FAILURE, // Err: nobody reads what we say
        },
        Command::Leader(args) => {
            said(leader_command::run(&args, &mut io::stdout().lock()).map(|()| true))
        }
        Command::Log(args) => {
            let mut out = BufWriter::new(io::stdout().lock());
            let done = log_command::run(&args, &mut out).and_then(|()| Ok(out.flush()?));
            said(match done {
                Err(LogError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    Ok(true)
                }
                done => done.map(|()| true),
            })
        }
        Command::Snapshot(args) => {
            let mut out = BufWriter::new(io::stdout().lock());
            let done = snapshot_command::run(&args, &mut out);
            said(match done.and_then(|whole| Ok(out.flush().map(|()| whole)?)) {
                // Who reads has seen enough, such as `head`.
                Err(SnapshotCommandError::Output(error))
                    if error.kind() == io::ErrorKind::BrokenPipe =>
                {
                    Ok(true)
                }
                done => done,
            })
        }
        Command::Bench(args) => said(
            bench::run(&args, &mut io::stdout().lock())
                .map(|()| true)
                .map_err(|it| format!("{it:#}")),
        ),
        Command::Version => {
            println!("farwatch {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// The exit code of a command that printed something: 1 when it found or met something bad.
fn said<E: std::fmt::Display>(done: Result<bool, E>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("farwatch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to stderr: stdout belongs to what was asked for.
fn log_to_stderr(level: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(level)?;
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(colours).init();
    Ok(())
}

fn serve(args: &ServeArgs) -> ExitCode {
    // Before any thread exists, so that all of them leave the signals to one.
    let signals = match StopSignals::block() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("SIGTERM, SIGINT and SIGHUP cannot be taken over: {error}");
            return ExitCode::FAILURE;
        }
    };
    // What is not UTF-8 is no variable of ours.
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = match serve::prepare(args, &variables) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(error.exit_code());
        }
    };
    if args.check {
        println!("the configuration can be used");
        return ExitCode::SUCCESS;
    }
    last_words::end_with_any_panic();
    serve::take_all_descriptors();
    match start(config, signals, args.stop_with_stdin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.downcast_ref() {
                Some(StartError::DataDir(DataDirError::Directory { path, cause })) => {
                    tracing::error!("{}", serve::explain_dir(path, cause));
                }
                Some(_) | None => tracing::error!("{error:#}"),
            }
            match error.downcast_ref() {
                Some(StartError::DataDir(_)) => ExitCode::from(serve::EXIT_DATA_DIR),
                Some(_) | None => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs an ensemble of child processes until it is asked to stop.
fn demo(args: &DemoArgs) -> ExitCode {
    let signals = match StopSignals::block() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("farwatch: SIGTERM, SIGINT and SIGHUP cannot be taken over: {error}");
            return ExitCode::FAILURE;
        }
    };
    said(demo::run(args, signals))
}

/// Runs the server until it is asked to stop.
fn start(config: ServerConfig, signals: StopSignals, with_stdin: bool) -> anyhow::Result<()> {
    let said = config.clone();
    let huge_pages = HugePages::for_server_in(&config.data_dir);
    let mut server = farwatch_voter::open(config).map_err(|error| match error {
        StartError::Bind { address, key, cause } => {
            anyhow::anyhow!(serve::explain_bind(address, key.as_deref(), &cause))
        }
        other => other.into(),
    })?;
    server.tell(Box::new(huge_pages));
    let stopper = server.stopper();
    if with_stdin {
        let stopper = stopper.clone();
        serve::on_stdin_end(move || {
            tracing::info!("standard input ended: finishing what is under way, then stopping");
            stopper.stop();
        })?;
    }
    let _door = match server.admin_socket() {
        Ok(door) => Some(door),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    };
    signals.on_stop(move |signal| {
        tracing::info!("{signal}: finishing what is under way, then stopping");
        stopper.stop();
    })?;
    let ended = server.run(|started| {
        let drivers = format!("sockets {}, log {}", started.io_driver, started.log_driver);
        tracing::info!("{}", serve::start_line(&said, &started.addresses, &drivers));
    })?;
    if said.memory_only && ended != Ended::Reopen {
        memory_dir::give_back(&said.data_dir, memory_dir::RELEASE_PATIENCE);
    }
    match ended {
        Ended::Stopped => {
            tracing::info!("stopped; everything acknowledged is on disk");
            Ok(())
        }
        Ended::Reopen => Err(serve::begin_again()),
        Ended::Halted(reason) => Err(anyhow::anyhow!(reason)),
    }
}
