//! What can be told to a demo: a letter, and the number of a server.

/// The commands.
pub(super) const HELP: &str = "Commands:
  k N  kill -9      r N  start it again       f N  freeze      c N  let it continue
  w N  kill it, wipe its disk, and let it come back from the others
  s    status       q    stop all";

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Kill(u32),
    Restart(u32),
    Freeze(u32),
    Continue(u32),
    Wipe(u32),
    Status,
    Help,
    Quit,
}

impl Command {
    /// Reads a line for a demo of `servers` servers: nothing on an empty line, or what is wrong.
    pub(super) fn parse(line: &str, servers: u32) -> Result<Option<Self>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of_all = match words[..] {
            [] => return Ok(None),
            ["s"] => Some(Self::Status),
            ["q"] => Some(Self::Quit),
            ["h" | "?"] => Some(Self::Help),
            _ => None,
        };
        if of_all.is_some() {
            return Ok(of_all);
        }
        let [letter, number] = words[..] else {
            return Err(format!("`{}` is not known:\n{HELP}", line.trim()));
        };
        let number = match number.parse() {
            Ok(number) if (1..=servers).contains(&number) => number,
            Ok(_) | Err(_) => {
                return Err(format!("`{number}` is no server: write a number from 1 to {servers}"));
            }
        };
        match letter {
            "k" => Ok(Some(Self::Kill(number))),
            "r" => Ok(Some(Self::Restart(number))),
            "f" => Ok(Some(Self::Freeze(number))),
            "c" => Ok(Some(Self::Continue(number))),
            "w" => Ok(Some(Self::Wipe(number))),
            _ => Err(format!("`{letter}` is not known:\n{HELP}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn commands_are_a_letter_and_a_server() {
        let parse = |line| Command::parse(line, 3);
        assert_eq!(parse("k 2"), Ok(Some(Command::Kill(2))));
        assert_eq!(parse("  w   3 "), Ok(Some(Command::Wipe(3))));
        assert_eq!(parse("s"), Ok(Some(Command::Status)));
        assert_eq!(parse(""), Ok(None));
        for (line, expected) in [("k 4", "from 1 to 3"), ("k x", "`x` is no"), ("k", "`k` is not")]
        {
            let why = parse(line).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert!(parse("z 1").unwrap_err().contains("k N  kill -9"));
    }
}
