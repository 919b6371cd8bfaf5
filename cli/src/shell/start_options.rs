//! The options before the command, with one dash or two.

use std::time::Duration;

/// What `farwatch shell --help` says about them.
pub const HELP: &str = "\
Options, with one dash or two, before the command:
  -server HOST:PORT[,HOST:PORT…][/CHROOT]  servers [default: localhost:2181]
  -timeout MS                              session timeout, and patience for an answer [30000]
  -r                                       accept a server that can only read
  -waitforconnection                       connect before the first command is run
  -client-configuration FILE               accepted for ZooKeeper's sake, and not read
  --json                                   one JSON document for each command

Type `farwatch shell help` for the commands.";

/// The options and the command behind them.
#[derive(Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// The connect string.
    pub server: String,
    /// Session timeout, and how long a command waits for its answer.
    pub timeout: Duration,
    /// Whether a server that can only read will do.
    pub read_only: bool,
    /// Whether to wait for the connection before the first command.
    pub wait_for_connection: bool,
    /// Whether answers are JSON documents.
    pub json: bool,
    /// The single command, or nothing.
    pub command: Vec<String>,
}

impl StartOptions {
    /// Reads options up to the first word that is none.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self {
            server: "localhost:2181".to_owned(),
            timeout: Duration::from_secs(30),
            read_only: false,
            wait_for_connection: false,
            json: false,
            command: Vec::new(),
        };
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                break;
            };
            rest = behind;
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let mut value = || match (&inline, rest.split_first()) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some((value, behind))) => {
                    rest = behind;
                    Ok(value.clone())
                }
                (None, None) => Err(format!("{word} needs a value\n\n{HELP}")),
            };
            match name {
                "server" => options.server = value()?,
                "timeout" => options.timeout = milliseconds(&value()?)?,
                "client-configuration" => drop(value()?),
                "r" | "readonly" | "read-only" => options.read_only = true,
                "waitforconnection" => options.wait_for_connection = true,
                "json" => options.json = true,
                "" => break, // a bare `--` ends the options
                _unknown => return Err(format!("unknown option {word}\n\n{HELP}")),
            }
        }
        options.command = rest.to_vec();
        Ok(options)
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(ms) if 0 < ms => Ok(Duration::from_millis(u64::from(ms))),
        Ok(_) | Err(_) => Err(format!("-timeout takes milliseconds from 1 on: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<StartOptions, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        StartOptions::parse(&words)
    }

    #[test]
    fn options_take_one_dash_or_two_and_end_at_the_command() {
        let single = parse("-server a:1/x -timeout 5000 -r -waitforconnection ls -R /").unwrap();
        let double =
            parse("--server=a:1/x --timeout 5000 --r --waitforconnection ls -R /").unwrap();
        assert_eq!(single, double);
        assert_eq!(single.server, "a:1/x");
        assert_eq!(single.timeout, Duration::from_millis(5000));
        assert!(single.read_only && single.wait_for_connection && !single.json);
        assert_eq!(single.command, ["ls", "-R", "/"]);
        assert_eq!(parse("--json").unwrap().command, [""; 0]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(parse("-sever a").unwrap_err().starts_with("unknown option -sever"));
        assert!(parse("-server").unwrap_err().starts_with("-server needs a value"));
        assert!(parse("-timeout 0 ls /").is_err());
    }
}
