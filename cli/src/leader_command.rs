//! `farwatch leader`: what an operator may ask of the server that leads, on its own machine.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use farwatch_observer::admin::{self, AdminAnswer, AdminRequest, AskError};
use farwatch_observer::report::EnsembleReport;

/// Asks the leader of an ensemble, on the machine that it runs on, through the socket in its data
/// directory.
#[derive(Args, Debug)]
pub struct LeaderArgs {
    #[command(subcommand)]
    command: LeaderCommand,
}

#[derive(Subcommand, Debug)]
enum LeaderCommand {
    /// Hands leadership over to another voter without an election, and waits until it leads.
    Transfer(TransferArgs),
}

#[derive(Args, Debug)]
struct TransferArgs {
    /// The number of the voter that is to lead.
    #[arg(long, value_name = "ID")]
    to: u32,

    /// The data directory of the server that leads.
    #[arg(long, value_name = "DIR", default_value = "farwatch-data")]
    data_dir: PathBuf,

    /// Seconds to wait until the other one leads.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// The pause between two looks at who leads: short against a hand-over, which takes some
/// milliseconds, and long against a look.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why leadership is not where it was wanted.
#[derive(Debug, thiserror::Error)]
pub enum LeaderCommandError {
    /// The server cannot be asked, or refuses.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It is no leader, and perhaps knows who is.
    #[error("server {me} does not lead{}: ask on the machine of the one that does", other(*leader))]
    NotLeading {
        /// Who was asked.
        me: u32,
        /// Who leads.
        leader: Option<u32>,
    },
    /// It leads already.
    #[error("server {0} leads already")]
    LeadsAlready(u32),
    /// It began and did not end well.
    #[error("the hand-over to server {to} did not succeed within {seconds} s: {found}")]
    Failed {
        /// Who was to lead.
        to: u32,
        /// How long was waited.
        seconds: u64,
        /// What was found instead.
        found: String,
    },
    /// Nobody reads what is said.
    #[error(transparent)]
    Output(#[from] io::Error),
}

fn other(leader: Option<u32>) -> String {
    leader.map_or_else(String::new, |leader| format!(", server {leader} does"))
}

/// Does what `args` ask, and says so on `out`.
pub fn run(args: &LeaderArgs, out: &mut impl Write) -> Result<(), LeaderCommandError> {
    match &args.command {
        LeaderCommand::Transfer(args) => transfer(args, out),
    }
}

fn transfer(args: &TransferArgs, out: &mut impl Write) -> Result<(), LeaderCommandError> {
    let TransferArgs { to, data_dir, timeout } = args;
    let before = report(data_dir)?;
    match before.leader {
        Some(leader) if leader == *to => return Err(LeaderCommandError::LeadsAlready(*to)),
        Some(leader) if leader == before.me => {}
        leader => return Err(LeaderCommandError::NotLeading { me: before.me, leader }),
    }
    let begun = Instant::now();
    admin::ask(data_dir, AdminRequest::Transfer { to: *to })?;
    loop {
        let now = report(data_dir)?;
        if is_led_by(&now, *to) {
            let took = begun.elapsed().as_secs_f64();
            let epoch = now.epoch;
            writeln!(
                out,
                "server {to} leads in epoch {epoch}, {took:.3} s after it was asked for"
            )?;
            return Ok(());
        }
        if Duration::from_secs(*timeout) < begun.elapsed() {
            let (to, seconds, found) = (*to, *timeout, found(&now));
            return Err(LeaderCommandError::Failed { to, seconds, found });
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn report(data_dir: &Path) -> Result<EnsembleReport, LeaderCommandError> {
    match admin::ask(data_dir, AdminRequest::Report)? {
        AdminAnswer::Report(report) => Ok(*report),
        AdminAnswer::Begun => {
            let error = io::Error::from(io::ErrorKind::InvalidData);
            Err(AskError::NoAnswer(error).into())
        }
    }
}

/// Whether `report` is of a server that serves under `leader`.
fn is_led_by(report: &EnsembleReport, leader: u32) -> bool {
    report.leader == Some(leader) && report.me != leader && report.phase == "broadcast"
}

fn found(report: &EnsembleReport) -> String {
    let EnsembleReport { me, role, phase, leader, .. } = report;
    let mut text = format!("server {me} is {role}, in {phase}");
    if let Some(leader) = leader {
        write!(text, ", and server {leader} leads").expect("a String takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use farwatch_observer::report::EnsembleReport;

    use super::{LeaderCommandError, found, is_led_by};

    fn report(role: &str, phase: &str, leader: Option<u32>) -> EnsembleReport {
        let (role, phase) = (role.to_owned(), phase.to_owned());
        EnsembleReport { me: 1, role, phase, leader, ..EnsembleReport::default() }
    }

    #[test]
    fn a_hand_over_is_done_when_the_old_leader_serves_under_the_new_one() {
        assert!(!is_led_by(&report("leading", "broadcast", Some(1)), 2));
        assert!(!is_led_by(&report("looking", "election", None), 2));
        assert!(!is_led_by(&report("following", "synchronization", Some(2)), 2));
        assert!(!is_led_by(&report("following", "broadcast", Some(3)), 2));
        assert!(is_led_by(&report("following", "broadcast", Some(2)), 2));
    }

    #[test]
    fn what_went_wrong_is_said_with_what_was_found() {
        let text = found(&report("following", "broadcast", Some(3)));
        assert_eq!(text, "server 1 is following, in broadcast, and server 3 leads");
        let elsewhere = LeaderCommandError::NotLeading { me: 1, leader: Some(3) };
        let expected =
            "server 1 does not lead, server 3 does: ask on the machine of the one that does";
        assert_eq!(elsewhere.to_string(), expected);
    }
}
